"""Run one notebook as a reader on Colab would, in this Python's environment: the file alone, in an empty folder.

    python rehearse.py NOTEBOOK.ipynb REPORT.json

Needs nothing of the book and only what Colab ships (nbclient, nbformat). ``labs`` is taken out before and after, so that the
notebook's own set-up cell has to bring it. The report: what that cell printed, its seconds, those of the whole notebook, the
packages before and after, and the error, if there was one. Exit status 1 when the notebook fails, when its set-up takes too
long, or when it changed a package.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

PROJECT = "numerical-stability-labs"
SETUP_SECONDS, NOTEBOOK_SECONDS = 15, 60


def packages() -> dict[str, str]:
    """Every package of this environment and its version."""
    importlib.invalidate_caches()
    return {package.name: package.version for package in importlib.metadata.distributions()}


def without_labs() -> dict[str, str]:
    """Take labs out of this environment; returns the packages that are left."""
    if PROJECT in packages():
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "uninstall", "--quiet", "--yes"]
        subprocess.run([*pip, PROJECT], check=True)
    return packages()


def seconds(cell: Any) -> float:
    """How long a cell ran."""
    begun, ended = (
        datetime.fromisoformat(cell.metadata["execution"][key].replace("Z", "+00:00"))
        for key in ("iopub.execute_input", "shell.execute_reply")
    )
    return (ended - begun).total_seconds()


def printed(cell: Any) -> str:
    """What a cell printed."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def rehearse(path: Path) -> dict[str, Any]:
    """Execute one notebook in a folder that holds nothing else."""
    before, error = without_labs(), ""
    notebook = nbformat.read(path, as_version=4)
    setup = next(cell for cell in notebook.cells if cell.cell_type == "code")
    again = nbformat.from_dict(setup | {"id": "set-up-again"})
    notebook.cells.append(again)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(path, folder)
        client = NotebookClient(notebook, timeout=180, kernel_name="python3", resources={"metadata": {"path": folder}})
        begun = time.perf_counter()
        try:
            client.execute()
        except CellExecutionError as problem:
            error = re.sub(r"\x1b\[[0-9;]*m", "", str(problem))
        whole = time.perf_counter() - begun
        left = sorted(set(os.listdir(folder)) - {path.name})
    after = without_labs()
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return {
        "notebook": path.name,
        "python": sys.version.split()[0],
        "setup": printed(setup),
        "again": printed(again),
        "setup_seconds": round(seconds(setup), 1)
        if "shell.execute_reply" in setup.metadata.get("execution", {})
        else None,
        "seconds": round(whole, 1),
        "error": error,
        "changed": changed,
        "left": left,
    }


def main(path: Path, report: Path) -> int:
    """Rehearse a notebook and write the report; exit status 1 when it is not as a reader should find it."""
    found = rehearse(path)
    report.write_text(json.dumps(found, indent=1), "utf8")
    print(
        f"{found['notebook']}: set-up {found['setup_seconds']} s, whole {found['seconds']} s. {found['setup'].strip()}"
    )
    problems = [found["error"]] if found["error"] else []
    if "Installed labs" not in found["setup"]:
        problems.append("the set-up cell did not install labs")
    if not found["error"] and "already" not in found["again"]:
        problems.append(f"a second run of the set-up cell did not find labs: {found['again']}")
    if found["changed"]:
        problems.append(f"packages changed by set-up: {', '.join(found['changed'])}")
    if (found["setup_seconds"] or 0) > SETUP_SECONDS:
        problems.append(f"set-up took more than {SETUP_SECONDS} s")
    if found["seconds"] > NOTEBOOK_SECONDS:
        problems.append(f"the notebook took more than {NOTEBOOK_SECONDS} s")
    print("\n".join(problems), file=sys.stderr)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
