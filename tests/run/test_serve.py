"""``make serve`` on a small book: what is saved is on the page, by new code where code was saved; Ctrl-C leaves nothing."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from bookext.run import serve
from smallbook import CHAPTER, Book
from support import ROOT

LIMIT = 240  # seconds: of a machine with much else to do


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Served:
    """A small book that is being served."""

    def __init__(self, book: Book, said: Path) -> None:
        self.book, self.said, self.port = book, said, free_port()
        command = [sys.executable, "-m", "bookext.run.command", "bookext.run.serve", str(self.port)]
        with said.open("w") as out:
            self.process = subprocess.Popen(
                command, cwd=book.root, env=book.environment, stdout=out, stderr=out, start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores Ctrl-C
            )  # fmt: skip

    def get(self, name: str = "/book/small.html") -> str:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}{name}") as answer:
            return answer.read().decode("utf8")
        return ""

    def wait(self, what: Callable[[], object]) -> None:
        end = time.monotonic() + LIMIT
        while not what():
            assert time.monotonic() < end and self.process.poll() is None, self.said.read_text("utf8")
            time.sleep(0.1)

    def until(self, words: str) -> None:
        """Wait until the page says it."""
        self.wait(lambda: words in self.get())

    def until_built(self, words: str) -> None:
        """Wait until the page says it and all the rest is built, too."""
        self.until(words)
        self.wait((self.book.root / "_build" / "fingerprint").exists)

    def until_printed(self, words: str, times: int = 1) -> None:
        self.wait(lambda: self.said.read_text("utf8").count(words) >= times)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    book = Book(tmp_path_factory.mktemp("served"))
    code, output = book.build()
    assert code == 0, output
    made = Served(book, book.root / "_build" / "said.txt")
    made.until("labs says 42")
    yield made
    said, family = made.said.read_text("utf8"), list[psutil.Process]()
    book.chapter(CHAPTER.replace("See ", "Never again see "))
    made.wait(lambda: family.extend(psutil.Process(made.process.pid).children(recursive=True)) or len(set(family)) > 1)
    os.killpg(made.process.pid, signal.SIGINT)  # what Ctrl-C does, here in the midst of a build
    assert made.process.wait(LIMIT) == 0
    assert not psutil.wait_procs(family, timeout=LIMIT)[1]
    assert made.said.read_text("utf8") == f"{said}\n"  # it ends the line with ^C


pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("serve")]


def test_an_edited_word_is_on_the_page_and_what_is_built_is_what_make_book_builds(served):
    served.book.chapter(CHAPTER.replace("See ", "Do see "))
    served.until("Do see ")
    served.book.chapter(CHAPTER.replace("See ", "Please see "))
    served.until_built("Please see ")
    by_serve = served.book.site
    assert b"/built" not in by_serve["book/small.html"] and "/built" in served.get()
    (served.book.root / "_build" / "machinery").unlink()
    (served.book.root / "_build" / "fingerprint").unlink()
    served.wait(
        lambda: "Another build" not in served.book.build()[1]
    )  # it looks once more whether anything has changed
    assert (served.book.root / "_build" / "machinery").exists()
    assert served.book.site == by_serve


PARENT = 'import psutil\nprint("labs answers", value, "forkserver" in " ".join(psutil.Process().parent().cmdline()))'


def test_an_edited_cell_is_executed(served):
    """By a kernel that waits for no import."""
    served.book.chapter(CHAPTER.replace('print("labs says", value)', PARENT))
    served.until("labs answers 42 True")


def test_a_broken_edit_leaves_the_site_and_says_why(served):
    served.book.chapter(CHAPTER.replace("See ", "Once more see "))
    served.until_built("Once more see ")
    faults = (
        ("42 <value>", "43 <value>", "book/small.md:15: the text says 43, computed 42"),
        ("{ref}`below <there>`", "{ref}`nothing <nowhere>`", "undefined label: 'nowhere'"),
        ("value)\n```", "value)\n", "nothing closes this block"),
    )
    builders = psutil.Process(served.process.pid).children()
    for count, (old, new, why) in enumerate(faults, 1):
        served.book.chapter(CHAPTER.replace("See ", "Never see ").replace(old, new))
        served.until_printed("shown as it was", count)
        assert why in served.said.read_text("utf8") and "INFO" not in served.said.read_text("utf8")
        assert "Once more see " in served.get() and "Never see " not in served.get()
    served.book.chapter(CHAPTER.replace("See ", "Again see "))
    served.until("Again see ")
    assert psutil.Process(served.process.pid).children() == builders  # no fault of a page ends what builds


def test_a_fault_that_was_mended_while_it_was_built_is_not_told(served):
    served.book.chapter(CHAPTER.replace("See ", "Before that see "))
    served.until_built("Before that see ")
    told, held = served.said.read_text("utf8"), False
    for number in range(9):
        served.book.chapter(CHAPTER.replace("{ref}`below <there>`", "{ref}`nothing <nowhere>`"))
        served.wait(lambda: not (served.book.root / "_build" / "fingerprint").exists())
        warm = next(p for p in psutil.Process(served.process.pid).children() if "bookext.run.warm" in p.cmdline())
        warm.suspend()  # it tells of no end
        running = (psutil.STATUS_RUNNING, psutil.STATUS_SLEEPING, psutil.STATUS_DISK_SLEEP)
        held = False
        with contextlib.suppress(psutil.Error):  # one that ends just now
            held = any(p.status() in running for p in warm.children() if "bookext.run.warm" in p.cmdline())
        served.book.chapter(CHAPTER.replace("See ", f"Mended {number} see "))
        warm.resume()
        served.until_built(f"Mended {number} see ")
        if held:
            break
        told = served.said.read_text("utf8")
    assert held and not re.search("nowhere|shown as it was", served.said.read_text("utf8").removeprefix(told))


def test_a_page_is_shown_before_its_site_is_built_and_taken_back_if_that_fails(served):
    served.book.chapter(CHAPTER.replace("See ", "First see "))
    served.until_built("First see ")
    failed = served.said.read_text("utf8").count("shown as it was")
    index = served.book.root / "book" / "index.md"
    before = index.read_text("utf8")
    index.write_text(
        before.replace("Words", "Other words"), "utf8"
    )  # nothing is wrong with it, and it is written first
    served.book.chapter(CHAPTER.replace("{ref}`below <there>`", "{ref}`nothing <nowhere>`"))
    served.until_printed("shown as it was", failed + 1)
    assert "First see " in served.get() and "Other words" not in served.get("/book/index.html")
    served.book.chapter(CHAPTER.replace("See ", "Then see "))
    served.until("Then see ")
    assert "Other words" in served.get("/book/index.html")
    index.write_text(before, "utf8")
    served.wait(lambda: "Other words" not in served.get("/book/index.html"))


def test_a_page_is_shown_with_its_figures_or_not_yet(tmp_path, monkeypatch):
    site, shown = tmp_path / "html", tmp_path / "served"
    for folder in (site, shown):
        (folder / "_images").mkdir(parents=True)
        (folder / "page.html").write_text(f'{folder.name} <img src="_images/a.svg">')
    monkeypatch.setattr(serve, "SITE", site)
    monkeypatch.setattr(serve, "SERVED", shown)
    early = serve.Early()
    early.show(site / "page.html")
    assert (shown / "page.html").read_text().startswith("served")
    (site / "_images/a.svg").write_text("<svg/>")
    early.show(site / "page.html")
    assert (shown / "page.html").read_text().startswith("html") and (shown / "_images/a.svg").exists()
    early.take_back()
    assert (shown / "page.html").read_text().startswith("served")


def test_code_that_is_saved_builds_also_what_was_built_before(served):
    served.book.labs("return 42.0")
    served.until("labs says 42.0")
    extension = served.book.root / "book" / "_ext" / "bookext" / "__init__.py"
    before = extension.read_text("utf8")
    try:
        extension.write_text(f"{before}\n\nthis is no Python\n", "utf8")
        served.until_printed("invalid syntax")
        served.book.chapter(CHAPTER.replace("See ", "With code see "))
        said = 'lambda *a: a[3].update(body=a[3].get("body", "") + "Said by new code")'
        new = f'app.connect("html-page-context", {said}, priority=1)\n    for name in PAGES:'
        extension.write_text(before.replace("for name in PAGES:", new), "utf8")
        served.until("With code see ")
        served.until("Said by new code")
    finally:
        extension.write_text(before, "utf8")
    served.wait(lambda: "Said by new code" not in served.get())


def test_a_page_that_is_open_shows_what_was_saved(served, browser):
    page = browser.new_page()
    try:
        page.goto(f"http://127.0.0.1:{served.port}/book/small.html")
        for words in ("Look at ", "Gaze at "):
            served.book.chapter(CHAPTER.replace("See ", words))
            page.wait_for_function("words => document.body.innerText.includes(words)", arg=words, timeout=1000 * LIMIT)
    finally:
        page.close()


def test_a_taken_port_is_said_in_one_line(served):
    code, output = served.book.run("bookext.run.serve", str(served.port))
    assert code == 1 and output == (
        f"Port {served.port} is taken by another program; take another: make serve PORT={served.port + 1}\n"
    )


# What the process that builds may keep although a page is edited: code, settings, catalogues, and what is known by its text.
KEPT = {
    *("config", "contents", "pins", "catalogue", "bibliography", "numbered_chapters", "is_build_machine"),
    *("cache_path", "patterns", "drawn"),
    *("front_matter", "parse_chapter", "_read_notebook", "_claims", "_decisions", "_used", "_imports"),
    *("left_open", "sections_in", "exercises_in", "written_at"),
}


KEEPS = """
import functools, sys
from bookext.run import warm
warm.read_all()
caches = {f for name, module in list(sys.modules.items()) if name.startswith("bookext") for f in vars(module).values()
          if isinstance(f, functools._lru_cache_wrapper) and f.cache_info().currsize}
print(*(f.__name__ for f in caches))
"""


def test_the_process_that_builds_keeps_nothing_of_a_page_but_by_its_text():
    """In a process of its own: other tests have read more."""
    paths = os.pathsep.join([str(ROOT / "book" / "_ext"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", KEEPS],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "parse_chapter" in done.stdout.split() and set(done.stdout.split()) <= KEPT
