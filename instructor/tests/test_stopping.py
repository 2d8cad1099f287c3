"""A batch never stops and never waits without end: each kind of obstacle once, with short limits; in tier 2 as a rehearsal."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from instructor.grading.inside import executor, plain
from instructor.grading.sandbox import ROOT, Sandbox
from instructor.tests.notebooks import BLANK, RIGHT, STOPPING, deep_tree, saved, with_cell
from instructor.tests.test_grading import POINTS, earned, graded, left_behind, of_tier_on

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stopping")]


@pytest.fixture(autouse=True)
def together(request: pytest.FixtureRequest) -> None:
    """One process runs them all: two would count each other's submissions as left behind."""
    assert "PYTEST_XDIST_WORKER" not in os.environ or request.node.nodeid.endswith("@stopping")


@pytest.fixture(scope="module", params=[1, pytest.param(2, marks=pytest.mark.rehearsal)], ids=["tier1", "tier2"])
def of_tier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    yield from of_tier_on(55, request, tmp_path_factory)


@pytest.fixture
def sandbox(of_tier: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    monkeypatch.setattr(of_tier, "seconds", 1)
    return of_tier


# These two end with the time for the whole submission, after 84 s.
LONG = (
    "a new cell without end",
    "loops in many processes",
    "a loop that ignores all signals",
    "a line without end, slowly",
    "stops its parents and itself",
    "many empty arrays",
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.rehearsal] * (name in LONG)) for name in STOPPING]
)
def test_the_batch_goes_on(sandbox: Sandbox, name: str, tmp_path: Path) -> None:
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    record = graded(sandbox, STOPPING[name], tmp_path)
    assert sum(earned(record).values()) <= 0.5, record
    assert (tmp_path / "s123.json").stat().st_size < 200_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB
    assert time.monotonic() - begun < 20 * 84  # of a clock that is at most 20 times slower than the wall's
    assert left_behind(sandbox) == [], record
    assert earned(graded(sandbox, saved(RIGHT), tmp_path)) == POINTS


@pytest.mark.parametrize("when", ["before", "during"])
def test_a_killed_executor_is_replaced(walled: Sandbox, when: str, tmp_path: Path) -> None:
    graded(walled, saved(RIGHT), tmp_path)
    assert walled.process
    victim = psutil.Process(walled.process.pid)
    if when == "before":
        victim.kill()
        victim.wait(10)
    else:
        threading.Timer(0.7, victim.kill).start()
    slow = with_cell(1, "import time\ntime.sleep(1.5)")
    record = graded(walled, slow, tmp_path)
    assert earned(record) == POINTS and record["key"] and not record["notes"], record
    assert not victim.is_running()


def test_a_sandbox_that_cannot_start_is_said_and_tried_again(tmp_path: Path) -> None:
    made = Sandbox(2, slot=52, wrapper=["false"])
    record = graded(made, saved(RIGHT), tmp_path)
    assert not record["key"] and "run `grade` again" in record["notes"][0]
    assert {r["state"] for r in record["results"]} == {"not graded"}


@contextlib.contextmanager
def crowded(each: int) -> Iterator[None]:
    """Processes that want a core, so many for each."""
    hogs = [
        subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(each * (os.cpu_count() or 1))
    ]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


@pytest.mark.parametrize("each", [2, pytest.param(8, marks=pytest.mark.rehearsal)])
def test_a_neighbour_that_fills_the_cores_costs_nothing(sandbox: Sandbox, each: int, tmp_path: Path) -> None:
    """A cell near its limit, beside processes that wait for the same cores: what counts is its own time."""
    burn = "import time\nt = time.process_time()\nwhile time.process_time() - t < 0.6: pass\n"
    raw = saved([RIGHT[0], burn + RIGHT[1], *RIGHT[2:]])
    graded(sandbox, saved(BLANK), tmp_path)  # the sandbox is there before the neighbours
    with crowded(each):
        record = graded(sandbox, raw, tmp_path)
    assert earned(record) == POINTS and not record["cells"], record


def test_a_clock_stands_while_all_waits_and_never_for_good() -> None:
    made = executor.Executor(3, os.getuid(), 1000)
    made.child, made.most, made.end = 1, 1e9, 1e9
    made.refuse_calls = lambda: None
    spent: dict[int, tuple[float, float]] = {7: (0.0, 0.0)}
    for ran, waited, passed in ((0.0, 10.0, 0.5), (0.0, 0.0, 10.0), (3.0, 6.0, 9.0)):
        before, made.looked = made.clock, 100 - 9 - 1 * (passed != 9.0)
        spent[7] = (spent[7][0] + ran, spent[7][1] + waited)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(executor.Executor, "living", lambda self: {7: 0})
            patch.setattr(executor, "_times", lambda pid: spent.get(pid, (0.0, 0.0)))
            patch.setattr(time, "monotonic", lambda: 100.0)
            made.home = "/"
            made.watch()
        assert made.clock - before == pytest.approx(passed if passed != 9.0 else 3.0)


def test_deep_trees_are_removed(tmp_path: Path) -> None:
    executor._remove([str(deep_tree(tmp_path))])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.rehearsal
def test_without_isolation_processes_that_end_by_themselves_are_no_error(tmp_path: Path) -> None:
    unsafe = Sandbox(3, seconds=2)
    try:
        cell = "import os, time\nfor k in range(30):\n    if os.fork() == 0:\n        time.sleep(k / 100); os._exit(0)"
        for k in range(3):
            assert earned(graded(unsafe, with_cell(2, f"{cell}\n# {k}"), tmp_path)) == POINTS
    finally:
        unsafe.close()


@pytest.mark.parametrize(
    "value", [[["x" * 10**6, *["y"] * 400]], {"a": ["x" * 10**5] + [0] * 1000}, [1, ["x" * 10**6], [2] * 60]]
)
def test_what_would_pad_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="too long"):
        plain.decode({"dict": value} if isinstance(value, dict) else value)


def test_what_nests_is_refused() -> None:
    value: list = []
    for _ in range(700):
        value = [value]
    with pytest.raises(ValueError, match="nested"):
        plain.decode(value)


@pytest.mark.parametrize("prefix", ["", "hw1"])
def test_a_python_without_the_packages_is_told_which_to_take(tmp_path: Path, prefix: str) -> None:
    """``python -m instructor.grading`` with another Python than the repository's."""
    done = subprocess.run([sys.executable, "-S", "-m", "instructor.grading", "doctor"], cwd=ROOT, capture_output=True, text=True,
                          env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]})  # fmt: skip
    assert done.returncode == 1 and "lacks" in done.stderr and "Traceback" not in done.stderr
    assert "use .venv/bin/python" in done.stderr
