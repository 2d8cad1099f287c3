"""An honest student loses nothing: odd notebooks of the real homework get full points, or reach a person with a note."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from pathlib import Path

import pytest

from instructor.grading import batch, report
from instructor.grading.sandbox import Sandbox
from instructor.grading.submissions import Submission, collect
from instructor.tests.odd import EXPLAINED, FULL, ODD, SCRIPTS, J, Odd, cell, made, place, script
from instructor.tests.test_grading import of_tier_on

# One worker for all sandboxes: two would share a student's user and see each other's processes
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("grading")]
SECRET = b"a secret for tests"
SECONDS = 4
ASSIGNMENTS = {name: batch.Assignment(name, SECRET) for name in FULL}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(1, marks=pytest.mark.xdist_group("odd")),
        pytest.param(2, marks=[pytest.mark.rehearsal, pytest.mark.xdist_group("odd2")]),
    ],
)
def of_tier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    yield from of_tier_on(42, request, tmp_path_factory)


@pytest.fixture
def sandbox(of_tier: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    monkeypatch.setattr(of_tier, "seconds", SECONDS)
    return of_tier


def settled(sandbox: Sandbox, raw: bytes, folder: Path, homework: str = "hw1", suffix: str = ".ipynb") -> dict:
    """The record of a file, through every layer, as the report sees it."""
    path = folder / f"s123{suffix}"
    path.write_bytes(raw)
    idle: queue.Queue[Sandbox] = batch.free([sandbox])
    submission = Submission("s123", "s123", path=path)
    assert batch.record_of(ASSIGNMENTS[homework], submission, idle, folder)
    record = batch.load(folder / "s123.json")
    assert record and record["key"], record
    return report.settle(record, [], 0)


def judge(record: dict, case: Odd) -> None:
    points = sum(r["points"] or 0 for r in record["results"])
    if case.person and record["state"] == report.PERSON:
        said = [*record["notes"], *(r["note"] for r in record["results"] if r["person"])]
        assert (
            all(said) and all(r["points"] == r["out_of"] or r["person"] for r in record["results"] if not r["read"])
        ) or record["notes"]
    else:
        assert points == FULL[case.hw], [(r["question"], r["points"], r["note"]) for r in record["results"]]
        assert record["state"] == "to read", record["notes"]


# These wait for a limit: 20 s.
LONG = ("a cell that waits", "an answer that takes too long")


# Each needs a sandbox of its own: every third with each test, all of them in the rehearsal.
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.rehearsal] * (name in LONG or k % 3 > 0)) for k, name in enumerate(ODD)],
)
def test_nothing_is_lost(sandbox: Sandbox, name: str, tmp_path: Path) -> None:
    judge(settled(sandbox, made(ODD[name]), tmp_path, ODD[name].hw), ODD[name])


@pytest.mark.parametrize("name", EXPLAINED)
def test_an_explanation_reaches_a_person(sandbox: Sandbox, name: str, tmp_path: Path) -> None:
    record = settled(sandbox, made(Odd("7", EXPLAINED[name])), tmp_path)
    judge(record, Odd("7", ()))
    last = record["results"][-1]
    assert last["state"] == "to read" and last["points"] is None and "spectral radius" in last["text"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_loses_nothing(sandbox: Sandbox, name: str, tmp_path: Path) -> None:
    judge(settled(sandbox, script(SCRIPTS[name]), tmp_path, suffix=".py"), Odd("script", ()))


def test_a_helper_beside_the_notebook_is_imported(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "in" / "s123").mkdir(parents=True)
    answer = "import utils\nfrom lib.more import two\nassert two == 2 and open('data.txt').read() == 'x'\nlayer_jacobian = utils.jacobian"
    files = {"hw1.ipynb": made(Odd("2", (answer,))), "utils.py": b"import numpy as np\ndef jacobian(W, h):\n    return (1 - np.tanh(W @ h) ** 2)[:, None] * W",
             "lib/more.py": b"two = 2", "data.txt": b"x"}  # fmt: skip
    for name, raw in files.items():
        (tmp_path / "in" / "s123" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / "s123" / name).write_bytes(raw)
    [person], _ = collect(tmp_path / "in", None, homework="hw1")
    batch.record_of(ASSIGNMENTS["hw1"], person, batch.free([sandbox]), tmp_path)
    record = report.settle(batch.load(tmp_path / "s123.json") or {}, [], 0)
    judge(record, Odd("2", ()))


@pytest.mark.parametrize("line", ["%run utils.py", "exec(open('utils.py').read())", "%run utils"])
def test_a_file_beside_the_notebook_is_run(sandbox: Sandbox, line: str, tmp_path: Path) -> None:
    (tmp_path / "in" / "s123").mkdir(parents=True)
    (tmp_path / "in" / "s123" / "hw1.ipynb").write_bytes(made(Odd("2", (line,))))
    (tmp_path / "in" / "s123" / "utils.py").write_text(J)
    [person], _ = collect(tmp_path / "in", None, homework="hw1")
    batch.record_of(ASSIGNMENTS["hw1"], person, batch.free([sandbox]), tmp_path)
    judge(report.settle(batch.load(tmp_path / "s123.json") or {}, [], 0), Odd("2", ()))


# A dict of two has no order that a check knows; what it cannot read, a person does.
FORMED = {
    "dict": "def linear_gradients(W, x, delta_top):\n    deltas, gradients = _right(W, x, delta_top)\n    return {'deltas': deltas, 'gradients': gradients}",
    "dict, the other way": "def linear_gradients(W, x, delta_top):\n    deltas, gradients = _right(W, x, delta_top)\n    return {'gradients': gradients, 'deltas': deltas}",
    "text": "def linear_gradients(W, x, delta_top):\n    return str(_right(W, x, delta_top))",
}  # fmt: skip


@pytest.mark.parametrize("name", FORMED)
def test_an_answer_in_another_container_counts_or_names_its_cell(sandbox: Sandbox, name: str, tmp_path: Path) -> None:
    raw = made(Odd("before", (), "hw3"))
    node = json.loads(raw)
    at = place(node, "2b")
    node["cells"].insert(at + 1, cell("_right = linear_gradients\n" + FORMED[name]))
    record = settled(sandbox, json.dumps(node).encode(), tmp_path, "hw3")
    [asked] = [r for r in record["results"] if r["question"] == "2b"]
    assert asked["points"] == 3 or (
        asked["person"] and "cell" in asked["note"] and "`linear_gradients`" in asked["note"]
    )
    assert (asked["points"] == 3) == (name == "dict")


# Where points cannot be decided, a note says which cell and why.
NOTED = {
    "data that are not here": (Odd("5b", ("data = np.load('norms.npy')\nbelow_one = int(data.argmax())",)), "5b", ("cell", "FileNotFoundError")),
    "a package that is not here": (Odd("5b", ("import pandas_missing as pd\nbelow_one = int(pd.Series([1]).mean())",)), "5b", ("pandas_missing is not installed here",)),
    "a cell without end": (Odd("5b", ("while True: pass\nbelow_one = 3",)), "5b", ()),
    "a value without end": (Odd("5b", ("below_one = 0\nwhile True: below_one += 1",)), "5b", ("cell", "did not finish")),
    "no Python": (Odd("5b", ("below_one = = 3",)), "5b", ("cell", "SyntaxError")),
    "a correction at the end": (Odd("after", ("below_one = 0",)), "", ()),
    "no such name": (Odd("5b", ("lower_one = 3",)), "5b", ("there is no `below_one`",)),
}  # fmt: skip


@pytest.mark.parametrize("name", NOTED)
def test_the_note_says_which_cell_and_why(sandbox: Sandbox, name: str, tmp_path: Path) -> None:
    case, question, words = NOTED[name]
    record = settled(sandbox, made(case), tmp_path)
    for r in record["results"]:
        if r["question"] == question and words:
            assert r["person"] and all(word in r["note"] for word in words), r
        elif not r["read"] and r["question"] != question:
            assert r["points"] == r["out_of"] and not r["person"], r


def test_a_right_correction_further_down_is_for_a_person(sandbox: Sandbox, tmp_path: Path) -> None:
    record = settled(sandbox, made(Odd("after", ("a, b = 5, 1",))).replace(b"a = 5", b"a = 6"), tmp_path)
    by_number = {r["question"]: r for r in record["results"]}
    assert (
        by_number["3a"]["points"] == 0 and "would get 1" in by_number["3a"]["note"] and record["state"] == report.PERSON
    )


def test_scratch_without_checks_is_for_a_person(sandbox: Sandbox, tmp_path: Path) -> None:
    """Who deletes the checks, and uses the names again."""
    raw = made(Odd("after", ("a, b = 3, 4\nA[:] = 0",))).replace(b"hw.check(", b"(lambda *given: np.errstate())(")
    record = settled(sandbox, raw, tmp_path)
    by_number = {r["question"]: r for r in record["results"]}
    assert record["state"] == report.PERSON
    for number, full in (("3a", 1), ("5a", 2)):
        assert by_number[number]["person"] and f"would get {full}" in by_number[number]["note"]
