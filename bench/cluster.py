"""Grading with Dask workers beside grading in one process, on the same cores; then a long batch whose worker and scheduler are killed.

    python -m bench.cluster 100      with 100 submissions instead of 2,000

Rates come from the times at which records appear, from the fifth on: starting a cluster is not what is compared. Then one
batch runs undisturbed in one process and once more on a scheduler and two workers of their own processes, of which a worker
is killed after a third and the scheduler after two thirds. All records must be the same bytes, none may be written twice.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import psutil
from bookext.read.chapter import notebook_node

from .grading import ALL_WRONG, ROOT, hand_in
from .table import Row, seconds, spread

TITLE = "Grading on several workers"
COUNT, ROUNDS, EACH = 2000, 5, 40
ADDRESS = "tcp://127.0.0.1:18790"


def grading(folder: Path, submissions: Path, out: Path, *options: str) -> list[str]:
    command = [sys.executable, "-m", "instructor.grading", "grade", "hw1", str(submissions)]
    return [*command, "--secret", str(folder / "secret"), "--out", str(out), *options]


def begin(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        command = ["setpriv", "--pdeathsig", "KILL", *command]  # also when this process is killed
        return subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file, start_new_session=True)


def end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def written(out: Path) -> dict[str, int]:
    """Each record's time, in nanoseconds."""
    return {path.name: path.stat().st_mtime_ns for path in (out / "records").glob("s*.json")}


def rate(out: Path) -> float:
    """Records a second, from the fifth on."""
    times = sorted(written(out).values())[4:]
    return 1e9 * (len(times) - 1) / (times[-1] - times[0])


def follow(
    process: subprocess.Popen[bytes], out: Path, harm: dict[int, Callable[[], object]]
) -> tuple[list[int], float]:
    """Wait for a grader; do harm when so many records are there; its memory in MB, twice a second, and its CPU's seconds."""
    memory, todo, used = [], dict(harm), 0.0
    while process.poll() is None:
        there = len(written(out)) if out.exists() else 0
        for count in [count for count in todo if there >= count]:
            todo.pop(count)()
        with contextlib.suppress(psutil.NoSuchProcess):
            memory.append(psutil.Process(process.pid).memory_info().rss // 2**20)
            used = sum(psutil.Process(process.pid).cpu_times()[:2])
        time.sleep(0.5)
    if process.returncode or todo:
        raise RuntimeError(f"grading ended with {process.returncode}; harm not done: {list(todo)}")
    return memory, used


@contextlib.contextmanager
def machines(log: Path) -> Iterator[dict[str, Callable[[], float]]]:
    """A scheduler and two workers, begun anew when they end; what kills one of them, and says what CPU it had used."""
    dask = [sys.executable, "-m", "dask"]
    parts = {
        "scheduler": [*dask, "scheduler", "--host", "127.0.0.1", "--port", ADDRESS.rpartition(":")[2]],
        "workers": [*dask, "worker", ADDRESS, "--nworkers", "2", "--nthreads", "1"],
    }
    parts["scheduler"] += ["--dashboard-address", ":0"]
    loop = ["sh", "-c", 'while :; do "$@"; sleep 0.2; done', "sh"]
    running = {name: begin([*loop, *command], log) for name, command in parts.items()}

    def kill(name: str, word: str) -> Callable[[], float]:
        def now() -> float:
            below = psutil.Process(running[name].pid).children(recursive=True)
            victim = next(p for p in below if word in " ".join(p.cmdline()))
            used = sum(victim.cpu_times()[:2])
            victim.kill()
            return used

        return now

    try:
        yield {"worker": kill("workers", "spawn_main"), "scheduler": kill("scheduler", "dask scheduler")}
    finally:
        for process in running.values():
            end(process)


def measured(folder: Path, count: int, rounds: int, each: int) -> list[Row | str]:
    from instructor.release import release

    text = (ROOT / "instructor" / "hw1" / "hw1.md").read_text("utf8")
    solved, wrong = notebook_node(text), notebook_node(release(text))
    wrong.cells.append(nbformat.v4.new_code_cell(ALL_WRONG))
    many, few, log = hand_in(folder / "many", solved, count), hand_in(folder / "few", solved, each), folder / "log"
    for k, path in enumerate(sorted(hand_in(folder / "wrong", wrong, count).iterdir())):
        if k % 4 == 0:
            path.replace(many / path.name)

    rates: dict[str, list[float]] = {"--jobs": [], "--workers": []}
    for k in range(rounds):
        for option in sorted(rates, reverse=k % 2 > 0):
            out = folder / f"few{option}{k}"
            follow(begin(grading(folder, few, out, option, "2"), log), out, {})
            rates[option].append(rate(out))
    ratios = [many / one for many, one in zip(rates["--workers"], rates["--jobs"], strict=True)]

    one, two = folder / "one", folder / "two"
    follow(begin(grading(folder, many, one, "--jobs", "2"), log), one, {})
    with machines(log) as harm:
        client = begin(grading(folder, many, two, "--cluster", ADDRESS), folder / "client")
        before: dict[str, int] = {}
        scheduling = []

        def kill_scheduler() -> None:
            before.update(written(two))
            scheduling.append(harm["scheduler"]() / len(before))

        memory, used = follow(client, two, {count // 3: harm["worker"], 2 * count // 3: kill_scheduler})
    for path in sorted((one / "records").glob("*.json")):
        if path.read_bytes() != (two / "records" / path.name).read_bytes():
            raise RuntimeError(f"{path.name} differs from the record of one process")
    after = written(two)
    again = sum(after[name] != at for name, at in before.items())
    said = re.findall(r"(\d+) graded now", (folder / "client").read_text("utf8"))
    if len(after) != count or again or said != [str(count)]:
        raise RuntimeError(f"{len(after)} records of {count}, {again} written twice, graded {said}")
    early, late = (max(part) for part in (memory[: len(memory) // 3], memory[-len(memory) // 3 :]))
    pool, dask = (statistics.median(rates[option]) for option in ("--jobs", "--workers"))
    harmed = f"{count:,} submissions, a worker and the scheduler killed: records the same, twice written, lost"
    size = f"MB of the client at most, in the first and the last third of {count:,}"
    return [
        Row(f"submissions of homework 1 a second, two workers ({rounds} times {each}, in turns)", f"{dask:.2f}",
            "one process, two sandboxes", f"{pool:.2f}", spread(ratios)),
        Row(harmed, f"{len(after):,}, {again}, 0", "one process", f"{count:,}", ""),
        Row(size, f"{early}, {late}", "", "", ""),
        Row("CPU for a submission: this process, the scheduler", f"{seconds(used / count)}, {seconds(scheduling[0])}",
            "", "", ""),
    ]  # fmt: skip


def rows(count: int = COUNT, rounds: int = ROUNDS, each: int = EACH) -> list[Row | str]:
    if not (ROOT / "instructor").is_dir():
        return ["Not measured: this copy is without the instructor's folder."]
    with tempfile.TemporaryDirectory() as name:
        try:
            return measured(Path(name), count, rounds, each)
        except RuntimeError as error:
            logs = [
                p.read_text("utf8", "replace")[-3000:]
                for p in (Path(name) / "log", Path(name) / "client")
                if p.exists()
            ]
            raise RuntimeError("\n".join([str(error), *logs])) from error


if __name__ == "__main__":
    print(*rows(*map(int, sys.argv[1:])), sep="\n")
