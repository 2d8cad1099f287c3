"""Run one notebook as a reader on Colab would, in this Python's environment: the file alone, in an empty folder.

    python rehearse.py NOTEBOOK.ipynb REPORT.json [--wall]

Needs nothing of the book and only what Colab ships (nbclient, nbformat). ``labs`` is taken out before and after, so that the
notebook's own set-up cell has to bring it. The report: what that cell printed, its seconds, those from opening to the first
figure and those of the whole notebook, the packages that changed, and the error, if there was one. Exit status 1 when the
notebook fails, changed a package, or took too long: in seconds of processor time, which other work on this machine does not
stretch, or with --wall by the clock.
"""

from __future__ import annotations

import datetime
import importlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

PROJECT = "numerical-stability-labs"
SETUP_SECONDS, NOTEBOOK_SECONDS = 15, 60
CLOCK = """
import resource as _resource, time as _time
_used = [_resource.getrusage(who) for who in (_resource.RUSAGE_SELF, _resource.RUSAGE_CHILDREN)]
print("clock", _time.perf_counter(), sum(use.ru_utime + use.ru_stime for use in _used))
"""


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


def printed(cell: Any) -> str:
    """What a cell printed."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def first_figure(cells: list[Any], opened: datetime.datetime) -> float:
    """Seconds by the clock from opening the notebook, kernel start and set-up included, to its first figure; NaN without one."""
    for cell in cells:
        if any(kind.startswith("image/") for output in cell.get("outputs", []) for kind in output.get("data", {})):
            return (
                datetime.datetime.fromisoformat(cell.metadata.execution["iopub.status.idle"]) - opened
            ).total_seconds()
    return float("nan")


def rehearse(path: Path) -> dict[str, Any]:
    """Execute one notebook in a folder that holds nothing else, its set-up cell once more at the end."""
    before, error = without_labs(), ""
    notebook = nbformat.read(path, as_version=4)
    first = next(i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    setup, again = notebook.cells[first], nbformat.from_dict(notebook.cells[first] | {"id": "set-up-again"})
    clocks = [nbformat.v4.new_code_cell(CLOCK) for _ in range(3)]
    notebook.cells[first : first + 1] = [clocks[0], setup, clocks[1]]
    notebook.cells += [again, clocks[2]]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(path, folder)
        opened = datetime.datetime.now(datetime.UTC)
        client = NotebookClient(notebook, timeout=180, kernel_name="python3", resources={"metadata": {"path": folder}})
        try:
            client.execute()
        except CellExecutionError as problem:
            error = re.sub(r"\x1b\[[0-9;]*m", "", str(problem))
        left = sorted(set(os.listdir(folder)) - {path.name})
    after = without_labs()
    # a clock that an error kept from running reads NaN
    readings = [[float(word) for word in printed(clock).split()[1:]] or [float("nan")] * 2 for clock in clocks]
    wall, processor = ([reading[i] for reading in readings] for i in (0, 1))
    return {
        "notebook": path.name,
        "python": sys.version.split()[0],
        "setup": printed(setup),
        "again": printed(again),
        "setup_seconds": {"wall": wall[1] - wall[0], "processor": processor[1] - processor[0]},
        "seconds": {"wall": wall[2] - wall[0], "processor": processor[2]},
        "first_figure": first_figure(notebook.cells, opened),
        "error": error,
        "changed": sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)),
        "left": left,
    }


def main(path: Path, report: Path, clock: str) -> int:
    """Rehearse a notebook and write the report; exit status 1 when it is not as a reader should find it."""
    found = rehearse(path)
    report.write_text(json.dumps(found, indent=1), "utf8")
    for name in ("wall", "processor"):
        setup, whole = found["setup_seconds"][name], found["seconds"][name]
        print(f"{found['notebook']}: {name} time: set-up {setup:.1f} s, whole {whole:.1f} s")
    print(found["setup"].strip())
    problems = [found["error"]] if found["error"] else []
    installed = re.compile(r"labs \d+\.\d+")  # told in each language
    if not installed.search(found["setup"]):
        problems.append("the set-up cell did not install labs")
    if not found["error"] and (not found["again"].strip() or installed.search(found["again"])):
        problems.append(f"a second run of the set-up cell did not find labs: {found['again']}")
    if found["changed"]:
        problems.append(f"packages changed by set-up: {', '.join(found['changed'])}")
    if found["setup_seconds"][clock] > SETUP_SECONDS:
        problems.append(f"set-up took more than {SETUP_SECONDS} s ({clock} time)")
    if found["seconds"][clock] > NOTEBOOK_SECONDS:
        problems.append(f"the notebook took more than {NOTEBOOK_SECONDS} s ({clock} time)")
    print("\n".join(problems), file=sys.stderr)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), "wall" if "--wall" in sys.argv else "processor"))
