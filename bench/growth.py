"""How the book's commands grow with its chapters, and the memory they take: books of copied chapters (``synthetic``), built and checked.

Seconds are CPU seconds of all processes; the outputs of copies are lent, as to execute them only repeats what their chapters take.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from .book import OURS, Copy, adopt, used
from .synthetic import grow, settle
from .table import Row

TITLE = "Growth"
ROOT = Path(__file__).resolve().parents[1]
SIZES = (10, 40, 100)
FILES = {
    "search index": "_build/html/_static/search-index.js",
    "what Sphinx keeps": "_build/.doctrees/environment.pickle",
}
# The build, and how long the English run of it was at the search index and at the ledger.
TIMED = """
import json, sys, time
from bookext.pages import ledgerpage, search

spent = {}

def timed(owner, name, what):
    inner = getattr(owner, name)

    def outer(*arguments):
        begun = time.process_time()
        found = inner(*arguments)
        spent[what] = spent.get(what, 0) + time.process_time() - begun
        return found

    setattr(owner, name, outer)

timed(search, "write_index", "search index")
timed(ledgerpage.LedgerDirective, "run", "ledger")
from bookext.run.build import main
code = main()
print("SPENT", json.dumps(spent))
sys.exit(code)
"""
# Every formula and every claim changed in turn; the records of copies are as old as those that they are copies of.
MUTATION = """
from bookext.check import formulas, mutate
from bookext.read.book import executed_pages
from bookext.read.chapter import read_chapter
chapters = [read_chapter(page) for page in executed_pages()]
fared = [mutate.changed(chapter, formulas.problems(chapter)) for chapter in chapters]
assert mutate.report(chapters, fared) == []
assert sum(each["formulas"][0]["made"] for each in fared) > 100, "hardly anything was changed"
"""


@dataclass(frozen=True)
class Run:
    """A command: CPU and clock seconds, the most memory that all its processes held at once (MB), what it printed."""

    cpu: float
    clock: float
    memory: float
    printed: str


def held(process: psutil.Process) -> int:
    """Bytes of a process and of those it has started; what they share counts once."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            shares = Path(f"/proc/{one.pid}/smaps_rollup").read_text("utf8")
        except OSError:  # it has ended
            continue
        total += sum(int(found) for found in re.findall(r"^Pss: +(\d+) kB", shares, re.MULTILINE))
    return 1024 * total


def measured(command: Sequence[str], folder: Path, environment: dict[str, str]) -> Run:
    """Run a command that must succeed."""
    adopt()
    most, over, before = [0], threading.Event(), used()
    with tempfile.TemporaryFile("w+") as out:
        begun = os.times().elapsed
        started = psutil.Popen(command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT, text=True)

        def watch() -> None:
            while not over.wait(0.3):
                try:
                    most[0] = max(most[0], held(psutil.Process(started.pid)))
                except psutil.Error:
                    return

        watcher = threading.Thread(target=watch)
        watcher.start()
        status = os.waitpid(started.pid, 0)[1]
        clock = os.times().elapsed - begun
        over.set()
        watcher.join()
        out.seek(0)
        printed = out.read()
    if status:
        raise RuntimeError(f"{' '.join(command)} failed:\n{printed[-3000:]}")
    return Run(used() - before, clock, most[0] / 1e6, printed)


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """The power of the number of chapters with which a value grows, between the two largest books.

    >>> exponent([10, 40, 100], [1.0, 8.0, 50.0])
    2.0
    """
    return round(math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2]), 2)


def of_size(chapters: int, folder: Path, outputs: Path) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """CPU seconds and megabytes of each command in a book of so many chapters, and megabytes of what grows with it.

    ``outputs`` has what the real chapters print.
    """
    copy = Copy(folder)
    made = grow(folder, chapters)
    shutil.copytree(outputs, folder / "_build" / "cache")
    settle(folder, made, copy.environment)
    page = folder / "book/01-chained-jacobians.md"

    def run(*command: str) -> Run:
        return measured(command, folder, copy.environment)

    cold = run(sys.executable, "-c", TIMED)
    spent = json.loads(re.findall(r"SPENT (.*)", cold.printed)[0])
    unchanged = run(*OURS)
    page.write_text(page.read_text("utf8").replace("Neither factor looks", "No factor looks"), "utf8")
    prose = run(*OURS)
    mutation = run(sys.executable, "-c", MUTATION)
    runs = {
        "cold build": cold,
        "unchanged rebuild": unchanged,
        "one prose edit": prose,
        "mutation": mutation,
    }
    sizes = {name: (folder / path).stat().st_size / 1e6 for name, path in FILES.items()}
    return {name: r.cpu for name, r in runs.items()} | spent, {name: r.memory for name, r in runs.items()}, sizes


def table(sizes: Sequence[int], found: dict[int, dict[str, float]], unit: str) -> str:
    """Rows of one kind, with their exponents where there are two books or more."""
    head = (
        f"| {unit} | " + " | ".join(f"{n} chapters" for n in sizes) + " | exponent |\n|---|" + "---|" * (len(sizes) + 1)
    )
    lines = []
    for name in found[sizes[0]]:
        values = [found[n][name] for n in sizes]
        grows = f"{exponent(sizes, values)}" if len(sizes) > 1 else ""
        lines.append(f"| {name} | " + " | ".join(f"{v:.3g}" for v in values) + f" | {grows} |")
    return "\n".join([head, *lines])


def thousand(sizes: Sequence[int], found: dict[int, tuple[dict[str, float], ...]]) -> list[str]:
    """What 1,000 chapters would take if all goes on as between the two largest books: on paper."""

    def then(kind: int, name: str) -> float:
        values = [found[n][kind][name] for n in sizes]
        return float(values[-1] * (1000 / sizes[-1]) ** exponent(sizes, values))

    return [
        f"At 1,000 chapters, on paper: a search index of {then(2, 'search index'):.0f} MB, which a reader's first search would "
        "load, breaks first: it would have to be cut up by chapter. Then the author's edit, "
        f"{then(0, 'one prose edit'):.0f} s, in which Sphinx reads and writes {then(2, 'what Sphinx keeps'):.0f} MB that it keeps "
        f"of all pages. A cold build would take {then(0, 'cold build') / 60:.0f} minutes and {then(1, 'cold build') / 1000:.0f} GB."
    ]


def single(folder: Path) -> list[str]:
    """The memory of what has no chapters to grow with: the stress of a claim, and a homework graded."""
    said, environment = list[str](), Copy.paths(ROOT)
    stress = [sys.executable, "-m", "bookext.run.stress", "--compare", "jac-fades"]
    said.append(f"Memory of a stress run (claim `jac-fades`): {measured(stress, ROOT, environment).memory:.0f} MB.")
    if (ROOT / "instructor").is_dir():
        from .grading import hand_in, notebook_node

        solved = hand_in(folder / "solved", notebook_node((ROOT / "instructor/hw1/hw1.md").read_text("utf8")), 2)
        command = [sys.executable, "-m", "instructor.grading", "grade", "hw1", str(solved)]
        command += ["--secret", str(folder / "secret"), "--out", str(folder / "out"), "--jobs", "1"]
        said.append(f"Memory of grading, one at a time: {measured(command, ROOT, environment).memory:.0f} MB.")
    return said


def rows() -> list[Row | str]:
    sizes = [int(n) for n in os.environ.get("BENCH_CHAPTERS", "").split()] or list(SIZES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = Copy(folder / "real")
        executed = measured(OURS, first.folder, first.environment)
        outputs = first.folder / "_build" / "cache"
        alone = single(folder)  # what may be missing here is missed before the long runs
        found = {n: of_size(n, folder / str(n), outputs) for n in sizes}
    chapters = re.findall(r"executed in ([\d.]+) s", executed.printed)
    return [
        table(sizes, {n: cpu for n, (cpu, _, _) in found.items()}, "CPU seconds"),
        table(sizes, {n: memory for n, (_, memory, _) in found.items()}, "megabytes at most, all processes"),
        table(sizes, {n: files for n, (_, _, files) in found.items()}, "megabytes of a file"),
        *(thousand(sizes, found) if len(sizes) > 1 else []),
        f"The real book, executed: {executed.cpu:.0f} CPU seconds in {executed.clock:.0f} s, {executed.memory:.0f} MB; "
        f"its {len(chapters)} notebooks by themselves {sum(map(float, chapters)):.0f} s.",
        *alone,
    ]
