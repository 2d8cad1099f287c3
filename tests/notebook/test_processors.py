"""What a notebook asserts holds on other processors too: sums in another order may change a digit, not a conclusion."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bookext.read.book import notebook_pages

# What libraries choose by the processor: matrix products, torch's own loops, oneDNN's.
SETS = {
    "as it is": {},
    "AVX2": {"MKL_CBWR": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "SSE": {"MKL_CBWR": "SSE4_2", "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "torch's plain loops": {"ATEN_CPU_CAPABILITY": "default"},
}


@pytest.mark.rehearsal
@pytest.mark.parametrize("name", SETS)
def test_every_notebook_runs_with_other_instructions(name: str, tmp_path: Path) -> None:
    for page in notebook_pages():
        shutil.copy(page.with_suffix(".ipynb"), tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "--nbval-lax"]
    command += ["-p", "no:cacheprovider", "-c", os.devnull, f"--rootdir={tmp_path}", str(tmp_path)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | SETS[name]
    environment |= {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    told = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout[-6000:]
