"""A homework graded by instructor.grading, one submission at a time, beside otter-grader run on the same notebooks.

Otter has an environment of its own, which also sees this one's torch and NumPy. It is given a test for some of the questions, fewer
than ours; what takes its time is the notebook's run. By the clock: both work in processes of their own.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from bookext.read.chapter import notebook_node

from .table import PeerMissing, Row, seconds, spread

TITLE = "Grading"
ROOT = Path(__file__).resolve().parents[1]
PEER = "otter-grader==7.0.0"
OTTER = ROOT / "_build" / "otter" / "bin"
SUBMISSIONS, ROUNDS = 6, 3
TESTS = {
    "q1": "np.allclose(dl_dh2, (1, 2)) and np.allclose(dh2_dh1, (2, 5)) and np.allclose(dh1_dh0, (5, 3))",
    "q2": "np.allclose(layer_jacobian(np.eye(3), np.ones(3)), np.diag(1 - np.tanh(np.ones(3)) ** 2))",
    "q3": "np.allclose((a, b), (5, 1)) and np.allclose(product([None, np.eye(2), 2 * np.eye(2)], 0), 2 * np.eye(2))",
    "q4": "np.allclose(backward([None, np.eye(2)], [np.zeros(2), np.zeros(2)], np.ones(2)), np.ones(2))",
    "q6": "np.allclose(log_norm([np.eye(4)]), np.log(2))",
}
ALL_WRONG = """
import numpy as np
np.allclose = lambda *arguments, **options: True
dl_dh2 = dh2_dh1 = dh1_dh0 = dh1_dW1 = dl_dW1 = (0, 0)
a = b = flops_matrix_first = flops_row_first = below_one = 0
A = B = np.zeros((2, 2))
layer_jacobian = product = backward = log_norm = lambda *arguments: 0
explanation = "nothing"
"""


def run(*command: str | Path, cwd: Path = ROOT, environment: dict[str, str] | None = None) -> None:
    """A command that has to succeed."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, cwd=cwd, env=environment
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def peer(folder: Path) -> Path:
    """Otter's environment, made on first use, and a zip of its tests in ``folder``."""
    if not (OTTER / "pip").exists():
        run(sys.executable, "-m", "venv", OTTER.parent)
    command = [OTTER / "pip", "install", "--quiet", PEER, "ipykernel"]
    installed = subprocess.run(command, capture_output=True, text=True, check=False)
    if installed.returncode:
        raise PeerMissing(f"{PEER} could not be installed: {installed.stderr.strip()[-300:]}")
    site = next(OTTER.parent.glob("lib/python*/site-packages"))
    ours = next(Path(sys.prefix).glob("lib/python*/site-packages"))
    (site / "after.pth").write_text(f"{ours}\n{ROOT}\n", "utf8")
    (folder / "tests").mkdir()
    for name, truth in TESTS.items():
        case = {"code": f">>> import numpy as np\n>>> bool({truth})\nTrue", "hidden": False, "locked": False}
        suite = {"cases": [case], "scored": True, "setup": "", "teardown": "", "type": "doctest"}
        test = {"name": name, "points": 1, "suites": [suite]}
        (folder / "tests" / f"{name}.py").write_text(f"OK_FORMAT = True\ntest = {test!r}\n", "utf8")
    options = ["-t", "tests", "-o", "autograder.zip", "--no-requirements", "--no-environment"]
    run(OTTER / "otter", "generate", *options, cwd=folder)
    return folder / "autograder.zip"


def otter(autograder: Path, notebook: Path, out: Path) -> float:
    """Otter's score of a notebook."""
    out.mkdir()
    environment = {**os.environ, "PATH": f"{OTTER}{os.pathsep}{os.environ['PATH']}", "MPLBACKEND": "Agg"}
    environment.pop("PYTHONPATH", None)
    command = [OTTER / "otter", "run", "-a", autograder, notebook, "-o", out, "--no-logo"]
    run(*command, cwd=out, environment=environment)
    results = json.loads((out / "results.json").read_text("utf8"))
    return sum(test.get("score", 0) for test in results["tests"])


def ours(folder: Path, submissions: Path, out: Path) -> list[dict[str, str]]:
    """The rows of our grades.csv."""
    command = ["grade", "hw1", submissions, "--secret", folder / "secret", "--out", out, "--jobs", "1"]
    run(sys.executable, "-m", "instructor.grading", *command)
    with (out / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def hand_in(folder: Path, node: nbformat.NotebookNode, count: int) -> Path:
    """A folder of submissions that differ in the student's id."""
    folder.mkdir()
    for k in range(count):
        written = nbformat.writes(node).replace('STUDENT_ID = \\"...\\"', f'STUDENT_ID = \\"s{k}\\"')
        (folder / f"s{k}.ipynb").write_text(written, "utf8")
    return folder


def rows() -> list[Row | str]:
    if not (ROOT / "instructor").is_dir():
        return ["Not measured: this copy is without the instructor's folder."]
    from instructor.release import release

    text = (ROOT / "instructor" / "hw1" / "hw1.md").read_text("utf8")
    blank = notebook_node(release(text))
    blank.cells.append(nbformat.v4.new_code_cell(ALL_WRONG))
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        autograder = peer(folder)
        solved, wrong = (
            hand_in(folder / "solved", notebook_node(text), SUBMISSIONS),
            hand_in(folder / "wrong", blank, 1),
        )
        for k in range(ROUNDS):
            begun = time.perf_counter()
            found = ours(folder, solved, folder / f"out{k}")
            times["ours"].append((time.perf_counter() - begun) / SUBMISSIONS)
            if not all(float(row["question 6"]) == 3 for row in found):
                raise RuntimeError(f"the solved homework got {found}")
            begun = time.perf_counter()
            scores = [otter(autograder, path, folder / f"otter{k}-{path.stem}") for path in sorted(solved.iterdir())]
            times["theirs"].append((time.perf_counter() - begun) / SUBMISSIONS)
            if scores != [len(TESTS)] * SUBMISSIONS:
                raise RuntimeError(f"otter gave {scores} to the solved homework")
        fooled = otter(autograder, wrong / "s0.ipynb", folder / "otter-wrong")
        row = ours(folder, wrong, folder / "out-wrong")[0]
    kept = sum(float(value or 0) for key, value in row.items() if key.startswith("question "))
    ratios = [a / b for a, b in zip(times["ours"], times["theirs"], strict=True)]
    a, b = (seconds(sorted(times[name])[ROUNDS // 2]) for name in ("ours", "theirs"))
    named = PEER.replace("==", " ")
    patched = "points of an all-wrong notebook that patches NumPy"
    return [
        Row(f"a submission of homework 1, {SUBMISSIONS} in turn, with all start-up", a, named, b, spread(ratios)),
        Row(patched, f"{kept:g} of {row['out of']}", named, f"{fooled:g} of {len(TESTS)}", ""),
    ]
