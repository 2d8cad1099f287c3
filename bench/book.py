"""Building the book with `make book`'s own command, beside a plain `jupyter-book build` of the same sources that executes as it reads."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .table import Row, seconds, version

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


def used() -> float:
    """CPU seconds of the processes that were started here and have ended, and of those that they started."""
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
EDITS = {
    "one prose edit": [("book/01-chained-jacobians.md", "Neither factor looks", "No factor looks")],
    "one cell edited": [
        (f"book/{language}09-summary.md", 'print(f"q = {q:.3f}', 'print(f"q is {q:.3f}') for language in ("", "zh/")
    ],  # the twin has the same code, which make drift writes
    UNSEEN: [("labs/stabilisers.py", '"""', '"""\n')],
}


def rows() -> list[Row | str]:
    peer = f"plain build, {version('jupyter-book')}"
    found: list[Row | str] = []
    with tempfile.TemporaryDirectory() as folder:
        ours, plain = Copy(Path(folder) / "ours"), Copy(Path(folder) / "plain")

        def both(what: str) -> str:
            """One row; the clock's seconds, as both run on an otherwise idle machine or the row is worth little."""
            b, theirs, _ = plain.build(PLAIN)
            a, own, printed = ours.build(OURS)
            found.append(Row(what, seconds(a), peer, seconds(b), f"{a / b:.2f}"))
            found.append(f"{what}: {seconds(own)} of CPU, the peer {seconds(theirs)}.")
            return printed

        cold = both("cold build")
        chapters = re.findall(r"(\S+): executed in ([\d.]+ s)", cold)
        found.append("Chapters, executed side by side: " + ", ".join(f"{name} {took}" for name, took in chapters) + ".")
        both("unchanged rebuild")
        for what, edits in EDITS.items():
            for copy, edit in ((copy, edit) for edit in edits for copy in (ours, plain)):
                copy.edit(*edit)
            if what == UNSEEN:  # by the plain build: its author has to clean before it
                shutil.rmtree(plain.folder / "_build")
            printed = both(what)
            executed = re.findall(r"(\S+): executed in", printed)
            found.append(f"{what}: executed again {', '.join(executed) or 'nothing'}.")
    return found
