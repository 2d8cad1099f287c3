"""The monitor stands on its own feet: it needs torch, and what torch needs, and is quick to import."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
IMPORTED = """
import sys, time
import torch
before, start = set(sys.modules), time.process_time()  # of this process: until here it is torch's
import labs.monitor
print((time.process_time() - start) / start, *sorted(set(sys.modules) - before))
"""
USED = """
import sys, torch
from torch import nn
from labs.monitor import StabilityMonitor, find_nonfinite_origin, stability_report, trap_nonfinite
net, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(32, 4)
print(stability_report(net, x, lambda out: out.square().mean()).verdict)
print(find_nonfinite_origin(net, lambda: (net(x) * 0).log().sum()).operation)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
with StabilityMonitor(net, every=1) as monitor, trap_nonfinite(net, optimizer) as trap:
    trap(lambda x: net(x).square().mean(), x).backward()
    optimizer.step()
    monitor.step()
print(monitor.report.verdict, trap.origin, *{"numpy", "matplotlib", "labs.plots"} & set(sys.modules))
"""


def python(code: str, executable: str = sys.executable, **environment: str) -> str:
    command = [executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_an_import_is_quick_and_brings_little_along():
    share, *modules = python(IMPORTED, PYTHONPATH=str(ROOT)).split()
    assert "labs.monitor" in modules
    assert float(share) <= 0.08, share  # of torch's time, 0.1 s or so: a busy or slow processor stretches both
    assert {name for name in modules if name.startswith("labs.")} <= {"labs.formats", "labs.words"} | {
        m for m in modules if "monitor" in m
    }
    assert not {"numpy", "sympy", "matplotlib"} & {name.partition(".")[0] for name in modules}


def needed(name: str) -> set[str]:
    """A distribution and those that it cannot do without."""
    found = {name}
    for line in distribution(name).requires or []:
        if ";" not in line or "extra" not in line.partition(";")[2]:
            required = re.match(r"[\w.-]+", line)[0]
            if required != "setuptools":
                found |= needed(required)
    return found


@pytest.mark.slow
def test_with_torch_alone(tmp_path):
    """An environment with nothing but labs, torch and the packages that torch itself requires."""
    only = tmp_path / "only"
    only.mkdir()
    for name in needed("torch"):
        for path in {(str(file).split("/")[0]) for file in distribution(name).files if not str(file).startswith("..")}:
            target = Path(distribution(name).locate_file(path))
            if not (only / path).exists() and path != "__pycache__":
                (only / path).symlink_to(target)
    (only / "labs").symlink_to(ROOT / "labs")
    venv.create(tmp_path / "env", with_pip=False)
    site = next((tmp_path / "env").glob("lib/*/site-packages"))
    (site / "only.pth").write_text(str(only))
    printed = python(USED, str(tmp_path / "env" / "bin" / "python"), PYTHONPATH="")
    assert printed.split() == ["healthy", "log", "healthy", "None"]
