"""From saving a file to its words being served: `make serve`, beside sphinx-autobuild on the plain build, which has English alone."""

from __future__ import annotations

import http.client
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .book import OURS, Copy
from .extra import FOLDER
from .table import Row, seconds, spread, version

TITLE = "The author's loop"
ROOT = Path(__file__).resolve().parents[1]
ROUNDS, LETTERS = 5, " abcdefghij"
SETTLED = 8  # seconds between edits
SAID = "_build/served.txt"


@dataclass(frozen=True)
class Edit:
    """Words in files, what stands there after an edit, and what the page then shows; ``#`` is a letter: a number needs its Chinese."""

    page: str
    files: tuple[str, ...]
    old: str
    new: str
    shown: str


EDITS = {
    "one prose edit, make serve": Edit(
        "book/01-chained-jacobians",
        ("book/01-chained-jacobians.md",),
        "Neither factor looks",
        "Neither factor # looks",
        "Neither factor # looks",
    ),
    "one cell edit, make serve": Edit(
        "book/09-summary",
        ("book/09-summary.md", "book/zh/09-summary.md"),  # the twin has the same code, which make drift writes
        'print(f"q = {q:.3f}',
        'print(f"q# = {q:.3f}',
        "q# = 0.",
    ),
}
OURS_SERVED = [sys.executable, "-m", "bookext.run.serve"]
CONF = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "config", "sphinx", "."]
AUTOBUILD = [sys.executable, "-m", "sphinx_autobuild", "-q", "-n", "-W", "--keep-going", "--re-ignore", "/_build/"]
# The seconds that the chapter's last execution took.
EXECUTED = """
from bookext.read.book import ROOT
from bookext.read.kept import cache_path
from bookext.run.execute import get_cache, record_of
print(record_of(get_cache(cache_path()), ROOT / "book/09-summary.md").data["execution_seconds"])
"""


@contextmanager
def serving(copy: Copy, *command: str) -> Iterator[int]:
    """A copy that is served, and the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**copy.environment, "PYTHONPATH": f"{copy.environment['PYTHONPATH']}{os.pathsep}{FOLDER}"}
    said = copy.folder / SAID
    with said.open("w") as out:
        process = subprocess.Popen(
            [*command, str(port)], cwd=copy.folder, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        while not page(port, EDITS["one prose edit, make serve"].page):
            if process.poll() is not None:
                raise RuntimeError(f"{' '.join(command)} ended:\n{said.read_text('utf8')[-2000:]}")
            time.sleep(0.5)
        yield port
    finally:
        process.terminate()
        process.wait()


def page(port: int, name: str) -> str:
    """A page as it is served now; empty where there is none."""
    with (
        suppress(OSError, http.client.HTTPException),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}.html", timeout=300) as answer,
    ):
        return answer.read().decode("utf8")
    return ""


def until_shown(copy: Copy, port: int, edit: Edit, number: int) -> float:
    """Seconds from saving an edit to its words on the page."""
    before, now = (edit.new.replace("#", LETTERS[n]) if n else edit.old for n in (number - 1, number))
    texts = {}
    for name in edit.files:
        path = copy.folder / name
        text = path.read_text("utf8")
        if before not in text:
            raise RuntimeError(f"{name} no longer has the words {before!r} that this benchmark edits")
        texts[path] = text.replace(before, now, 1)
    begun = time.perf_counter()
    for path, text in texts.items():
        path.write_text(text, "utf8")
    while edit.shown.replace("#", LETTERS[number]) not in page(port, edit.page):
        if time.perf_counter() - begun > 600:
            raise RuntimeError(f"{edit.page} was not built anew:\n{(copy.folder / SAID).read_text('utf8')[-2000:]}")
        time.sleep(0.02)
    return time.perf_counter() - begun


def rows() -> list[Row | str]:
    sys.path.append(str(FOLDER))
    peer = f"{version('sphinx-autobuild')}, jupyter-book's conf.py"
    found: list[Row | str] = []
    with tempfile.TemporaryDirectory() as folder:
        ours, plain = Copy(Path(folder) / "ours"), Copy(Path(folder) / "plain")
        for copy in (ours, plain):  # outputs are lent: what is measured begins with a built book
            if (ROOT / "_build/cache").exists():
                shutil.copytree(ROOT / "_build/cache", copy.folder / "_build/cache")
        ours.build(OURS)
        plain.build(CONF)
        with (
            serving(ours, *OURS_SERVED) as here,
            serving(plain, *AUTOBUILD, ".", "_build/html", "--port") as there,
        ):
            for what, edit in EDITS.items():
                a, b = list[float](), list[float]()
                for number in range(1, ROUNDS + 1):
                    for copy, port, times in random.sample([(ours, here, a), (plain, there, b)], 2):
                        times.append(until_shown(copy, port, edit, number))
                        time.sleep(SETTLED)
                ratios = [mine / theirs for mine, theirs in zip(a, b, strict=True)]
                found.append(
                    Row(what, seconds(statistics.median(a)), peer, seconds(statistics.median(b)), spread(ratios))
                )
                found.append(f"{what}: {spread(a)} s; the peer {spread(b)} s.")
                whole = re.findall(r"built in ([\d.]+) s", (ours.folder / SAID).read_text("utf8"))[-ROUNDS:]
                found.append(
                    f"{what}: until search, slides and both languages are built, too, {spread(map(float, whole))} s."
                )
        took = float(
            subprocess.run(
                [sys.executable, "-c", EXECUTED],
                cwd=ours.folder,
                env=ours.environment,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
    found.append(f"To execute that chapter took {took:.1f} s of the last of these cell edits.")
    return found
