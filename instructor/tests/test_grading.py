"""The grader on hostile and on odd notebooks, in both tiers: no unearned point, no lost one, and nothing left behind."""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support import missing

from instructor.grading import batch, gradescope
from instructor.grading.sandbox import FIRST_UID, Sandbox
from instructor.grading.submissions import Submission
from instructor.tests import notebooks
from instructor.tests.notebooks import BLANK, HONEST, HOSTILE, RIGHT, WRONG, saved

pytestmark = pytest.mark.rehearsal  # sandboxes and hundreds of submissions


@pytest.fixture(autouse=True, scope="module")
def outside_tmp() -> None:
    if Path(sys.prefix).is_relative_to("/tmp"):
        missing("an environment outside /tmp", "Submissions see a /tmp of their own: clone the repository elsewhere.")


HERE = Path(__file__).parent
SECRET = b"a secret for tests"
ASSIGNMENT = batch.Assignment("small", SECRET, HERE / "small", salt="test")
POINTS = {"1": 2, "2": 1, "3": 1, "4": 1}


def autograder(folder: Path) -> list[str]:
    """Lay out Gradescope's folder in ``folder``; the command that starts a container without user namespaces around it."""
    for name in ("source", "submission", "results"):
        (folder / name).mkdir(parents=True)
    gradescope.make_zip("hw1", SECRET, folder / "autograder.zip")
    zipfile.ZipFile(folder / "autograder.zip").extractall(folder / "source")
    (folder / "autograder.zip").unlink()
    shutil.copy(folder / "source" / "run_autograder", folder)  # as Gradescope does, and makes it executable
    (folder / "run_autograder").chmod(0o700)
    subprocess.run(["chmod", "-R", "go=", *folder.iterdir()], check=True)
    return [sys.executable, str(HERE / "container.py"), str(folder)]


def of_tier_on(slot: int, request: pytest.FixtureRequest, folders: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """For a fixture: the sandbox of tier 1 that this process has, or one of tier 2 in a container, as ``request.param`` says."""
    if request.param == 1:
        yield request.getfixturevalue("walled")
        return
    if os.getuid() != 0:
        missing("root", "Run as root: tier 2 is rehearsed in a container.")
    made = Sandbox(2, slot=slot, wrapper=autograder(folders.mktemp("autograder")))
    yield made
    made.close()


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    if os.getuid() != 0 or not shutil.which("bwrap"):
        missing("root or bubblewrap", "Run as root, with `apt install bubblewrap`: tier 2 is rehearsed in a container.")
    return autograder(tmp_path_factory.mktemp("autograder"))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(1, marks=pytest.mark.xdist_group("tier1")),
        pytest.param(2, marks=pytest.mark.xdist_group("tier2")),
    ],
)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A sandbox of either tier, with short limits."""
    if request.param == 1 and not shutil.which("bwrap"):
        missing("bubblewrap", "Install it: `apt install bubblewrap`.")
    wrapper = request.getfixturevalue("container") if request.param == 2 else ()
    made = Sandbox(
        request.param,
        slot=10 * request.param + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]),
        seconds=2,
        wrapper=wrapper,
    )
    yield made
    made.close()


def graded(sandbox: Sandbox, raw: bytes, folder: Path, suffix: str = ".ipynb", student: str = "s123") -> dict:
    """The record of a file, through every layer."""
    path = folder / f"{student}{suffix}"
    path.write_bytes(raw)
    idle: queue.Queue[Sandbox] = queue.Queue()
    idle.put(sandbox)
    assert batch.record_of(ASSIGNMENT, Submission(student, student, path=path), idle, folder)
    record = batch.load(folder / f"{batch.safe(student)}.json")
    assert record
    return record


def earned(record: dict) -> dict[str, float]:
    return {r["question"]: r["points"] or 0 for r in record["results"] if r["question"] != "5"}


def left_behind(sandbox: Sandbox) -> list[str]:
    """Processes of the students' user, and files where a student may write, as the executor sees them."""
    uid = FIRST_UID + sandbox.slot
    found = [str(p) for p in psutil.process_iter(["uids", "cmdline"]) if p.info["uids"] and p.info["uids"].real == uid]
    tree = (
        [psutil.Process(sandbox.process.pid), *psutil.Process(sandbox.process.pid).children(recursive=True)]
        if sandbox.process
        else []
    )
    roots = {f"/proc/{p.pid}/root" for p in tree[-1:]} | {""}
    places = [root + place for root in roots for place in ("/tmp", "/var/tmp", "/dev/shm", "/run/lock", "/dev/mqueue")]
    # find goes down trees of any depth, such as another test's, and its errors are of what went away meanwhile
    command = ["find", *places, "(", "-uid", str(uid), "-o", "-name", "HOSTILE", "-type", "f", ")", "-print0"]
    found += subprocess.run(command, capture_output=True).stdout.decode(errors="replace").split("\0")[:-1]
    return found


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(sandbox: Sandbox, name: str, tmp_path: Path) -> None:
    record = graded(sandbox, HOSTILE[name], tmp_path)
    passed = {item["rule"] for r in record["results"] for item in r["items"] if item["ok"]}
    assert passed <= {"shape"} and sum(earned(record).values()) <= 0.5, record  # NaN of the right shape has its shape
    assert record["key"], record["notes"]  # not an error of the grader's
    assert "Traceback" not in str(record)
    assert left_behind(sandbox) == []
    assert not Path("/tmp/HOSTILE").exists()


@pytest.mark.parametrize("name", HONEST)
def test_honest(sandbox: Sandbox, name: str, tmp_path: Path) -> None:
    record = graded(sandbox, HONEST[name], tmp_path)
    assert earned(record) == POINTS, record
    assert not record["notes"]


def test_reference_blank_and_wrong(sandbox: Sandbox, tmp_path: Path) -> None:
    assert earned(graded(sandbox, saved(RIGHT), tmp_path)) == POINTS
    blank = graded(sandbox, saved(BLANK), tmp_path)
    assert {r["state"] for r in blank["results"]} == {"unanswered"} and not sum(earned(blank).values())
    assert sum(earned(graded(sandbox, saved(WRONG), tmp_path)).values()) == 0


# A crash costs the question it stands in, or the cell, and no other.
COSTS = {
    "endless loop in a function": ("def layer_jacobian(W, h):\n    while True: pass", {"1"}),
    "os._exit in a function": ("import os\ndef layer_jacobian(W, h): os._exit(0)", {"1"}),
    "recursion": ("def layer_jacobian(W, h): return layer_jacobian(W, h)", {"1"}),
    "endless loop at top level": ("while True: pass", set()),
    "os._exit at top level": ("import os\nos._exit(0)", set()),
    "sleeps": ("import time\ndef layer_jacobian(W, h): time.sleep(1000)", {"1"}),
    "syntax error": ("def layer_jacobian(W h): pass", set()),
    "an expression that never ends": (
        "variance = sp.Integral(sp.exp(sp.sin(sp.exp(n * gamma)) ** sp.cos(n ** n)), (n, 0, sp.oo)) ** 99",
        {"3"},
    ),
    "memory": ("def layer_jacobian(W, h): return np.ones(10**11)", {"1"}),
    "fork bomb": (
        "import os\ndef layer_jacobian(W, h):\n    while True:\n        try: os.fork()\n        except OSError: pass",
        {"1"},
    ),
}


@pytest.mark.parametrize("name", COSTS)
def test_partial_credit_after_a_crash(sandbox: Sandbox, name: str, tmp_path: Path) -> None:
    cell, lost = COSTS[name]
    record = graded(sandbox, saved([*RIGHT, cell]), tmp_path)
    assert earned(record) == {q: 0 if q in lost else p for q, p in POINTS.items()}, record
    assert left_behind(sandbox) == []
    said = [*record["cells"], *(r["note"] for r in record["results"] if r["question"] in lost)]
    assert any(said), record


def test_submissions_do_not_see_each_other(sandbox: Sandbox, tmp_path: Path) -> None:
    leave = "import os, builtins\nfor d in ('/tmp', '/dev/shm', '/var/tmp', '.'):\n    try: open(f'{d}/answers', 'w').write('[2, 0, 1]')\n    except OSError: pass\nbuiltins.answers = [2, 0, 1]\nnp.answers = [2, 0, 1]"
    take = "import builtins, os\nranking = getattr(builtins, 'answers', None) or getattr(np, 'answers', None)\nfor d in ('/tmp', '/dev/shm', '/var/tmp', '.'):\n    if os.path.exists(f'{d}/answers'): ranking = [2, 0, 1]"
    graded(sandbox, saved([*RIGHT, leave]), tmp_path)
    assert earned(graded(sandbox, saved([*RIGHT[:4], take]), tmp_path, student="thief"))["4"] == 0


def test_another_students_id(sandbox: Sandbox, tmp_path: Path) -> None:
    record = graded(sandbox, saved(RIGHT), tmp_path, student="s999")
    assert "s123" in record["notes"][0] and "s999" in record["notes"][0]
    assert earned(record)["1"] == 2 and earned(record)["2"] == 0  # graded with the roster's numbers


def test_the_same_bytes_again(sandbox: Sandbox, tmp_path: Path) -> None:
    odd = saved([*RIGHT, "raise ValueError(object())", "def layer_jacobian(W, h): return np.random.randn(2, 5)"])
    first = graded(sandbox, odd, tmp_path)
    (tmp_path / "s123.json").unlink()
    assert graded(sandbox, odd, tmp_path) == first


def test_a_sandbox_without_limits_would_fail_these(tmp_path: Path) -> None:
    """The corpus bites: without isolation, the forged files and background processes are there."""
    unsafe = Sandbox(3, seconds=2)
    try:
        attack = notebooks.wrong_with("open('/tmp/HOSTILE-control', 'w').write('x')")
        graded(unsafe, attack, tmp_path)
        assert Path("/tmp/HOSTILE-control").exists()
    finally:
        unsafe.close()
        Path("/tmp/HOSTILE-control").unlink(missing_ok=True)
