"""Building the book with `make book`'s own command, beside a plain `jupyter-book build` of the same sources that executes as it reads."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

from .table import Row, seconds, spread, version

TITLE = "Book"
ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = shutil.ignore_patterns(".venv", ".git", "_build", "__pycache__", ".*_cache", ".hypothesis", "instructor")
PLAIN = [
    sys.executable,
    "-c",
    "from jupyter_book.cli.main import main; main()",
    "build",
    ".",
    "-n",
    "-W",
    "--keep-going",
    "-q",
]
OURS = [sys.executable, "-m", "bookext.run.build"]


def adopt() -> None:
    """Become the parent of what a build leaves behind when it ends, such as the server of its kernels, whose CPU seconds count too."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def used() -> float:
    """CPU seconds of the processes that were started here, once all have ended, and of those that they started."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


class Copy:
    """A copy of the sources that is built and edited."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
        self.environment = self.paths(folder)

    @staticmethod
    def paths(folder: Path) -> dict[str, str]:
        """The environment in which a copy runs its own code."""
        paths = f"{folder / 'book/_ext'}{os.pathsep}{folder}"
        own = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "TQDM_DISABLE": "1"}
        return {**os.environ, **own}

    def build(self, command: list[str]) -> tuple[float, float, str]:
        """Seconds by the clock, CPU seconds, and what it printed; a failed build stops the benchmark."""
        begun, before = time.perf_counter(), used()
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        took = time.perf_counter() - begun
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return took, used() - before, done.stdout

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text("utf8")
        if old not in text:
            raise RuntimeError(f"{name} no longer has the words {old!r} that this benchmark edits")
        path.write_text(text.replace(old, new, 1), "utf8")


UNSEEN = "labs edited, the plain build cleaned before"
PROSE, CELL = "one prose edit", "one cell edited"
ROUNDS = 5
WHY = (
    "Where the plain build is quicker with an edit of a cell: it builds English alone. Ours draws the chapter's figures for both "
    "languages and builds both; make serve, which is meant for edits, shows the page sooner (below)."
)


def edits(what: str) -> list[list[tuple[str, str, str]]]:
    """What is changed before each round of a row: file, old words, new words; never back to what the outputs are kept of."""
    if what == PROSE:
        words = ["Neither factor", *("No factor", "None of them", "Not one factor", "No such factor", "No factor now")]
        return [[("book/01-chained-jacobians.md", f"{a} looks", f"{b} looks")] for a, b in pairwise(words)]
    if what == CELL:
        words = ["=", "is", "was", "stays", "here is", "now is"]
        both = ("book/09-summary.md", "book/zh/09-summary.md")  # the twin has the same code, which make drift writes
        return [[(page, f'print(f"q {a} {{q', f'print(f"q {b} {{q') for page in both] for a, b in pairwise(words)]
    if what == UNSEEN:
        return [[("labs/stabilisers.py", '"""', '"""\n')]]
    return [[]] * (1 if what == "cold build" else ROUNDS)


def rows() -> list[Row | str]:
    peer = f"plain build, {version('jupyter-book')}"
    found: list[Row | str] = []
    adopt()
    with tempfile.TemporaryDirectory() as folder:
        ours, plain = Copy(Path(folder) / "ours"), Copy(Path(folder) / "plain")

        def both(what: str) -> str:
            """One row; the clock's seconds, as both run on an otherwise idle machine or the row is worth little."""
            took: dict[str, list[tuple[float, float, str]]] = {"ours": [], "theirs": []}
            for changed in edits(what):
                for copy, edit in ((copy, edit) for edit in changed for copy in (ours, plain)):
                    copy.edit(*edit)
                if what == UNSEEN:  # by the plain build: its author has to clean before it
                    shutil.rmtree(plain.folder / "_build")
                for name in random.sample(sorted(took), 2):
                    took[name].append(ours.build(OURS) if name == "ours" else plain.build(PLAIN))
            clock, cpu = ({name: [run[k] for run in took[name]] for name in took} for k in (0, 1))
            ratios = [a / b for a, b in zip(clock["ours"], clock["theirs"], strict=True)]
            a, b = (seconds(median(clock[name])) for name in ("ours", "theirs"))
            found.append(Row(what, a, peer, b, spread(ratios)))
            own, others = (seconds(median(cpu[name])) for name in ("ours", "theirs"))
            found.append(f"{what}: {own} of CPU, the peer {others}.")
            return took["ours"][-1][2]

        cold = both("cold build")
        chapters = re.findall(r"(\S+): executed in ([\d.]+ s)", cold)
        found.append("Chapters, executed side by side: " + ", ".join(f"{name} {took}" for name, took in chapters) + ".")
        both("unchanged rebuild")
        for what in (PROSE, CELL, UNSEEN):
            executed = re.findall(r"(\S+): executed in", both(what))
            found.append(f"{what}: executed again {', '.join(executed) or 'nothing'}.")
            if what == CELL:
                found.append(WHY)
    return found
