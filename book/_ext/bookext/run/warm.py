"""The process that builds for ``run/serve``: what a build imports it has imported, and each line that it reads is a build in a fork.

So nothing is left over from one build to the next, and each is ``make book``, less its start. What this process has read itself is
code, settings and catalogues, for which ``run/serve`` starts another one when they change, and texts that it knows by their content.
"""

import contextlib
import importlib.metadata
import logging
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import nbformat
from jupyter_cache import get_cache

import bookext
from bookext.check.twins import translated_pages
from bookext.read.blocks import text_of
from bookext.read.book import book_pages, executed_pages
from bookext.read.chapter import read_chapter
from bookext.read.claims import claims_of, decisions_of
from bookext.read.course import exercises_in, sections_in, written_at
from bookext.read.kept import cache_path, keep, pins, remembered
from bookext.read.labels import bibliography
from bookext.read.machine import build_environment
from bookext.read.numbers import executed_notebook
from bookext.read.uses import used_by
from bookext.read.words import catalogue

from . import build, chinese, command, execute, kernels

LEXERS = "ipython3", "python", "console"  # of the code on the pages


def import_all(names: Iterable[str]) -> None:
    """Import what an earlier build has imported; what cannot be imported by itself is left to the next one."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    for name in names:
        with contextlib.suppress(Exception):
            import_module(name)
    root.handlers[:], root.level = before  # one of them, a style for code, would have every library log what it does


def ask_once() -> None:
    """What is installed is asked of hundreds of packages, several times a build; here their answer is kept."""
    for library in (importlib.metadata, sys.modules.get("importlib_metadata")):
        asked: Any = getattr(library, "entry_points", None)
        for module in [m for m in sys.modules.values() if asked and vars(m).get("entry_points") is asked]:
            module.entry_points = asked().select  # type: ignore[attr-defined]


def read_all() -> None:
    """Read what is known by its content; what is wrong with a page the build says."""
    with contextlib.suppress(Exception):
        kept = get_cache(cache_path())
        for page in executed_pages():
            execute.has(kept, page)
        nbformat.writes(executed_notebook(page))  # compiles what validates a notebook
    for page in book_pages():
        with contextlib.suppress(Exception):
            chapter, twin = read_chapter(page), read_chapter(text_of(page, "zh"))
            decisions_of(chapter), claims_of(chapter), claims_of(twin), used_by(page)
            exercises_in(chapter.text), sections_in(chapter.text, page), written_at(chapter.text)
    for language in LEXERS:
        list(import_module("pygments.lexers").get_lexer_by_name(language).get_tokens("a"))  # compiles its patterns


def child(answer: Connection, served: bool) -> None:
    """``make book``; it tells of each page that it has written, and at its end which modules it had to import."""
    before, status = set(sys.modules), 1

    def tell(page: Path) -> None:
        if not chinese.refused():
            answer.send(page)

    build.on_page = tell
    if served:
        kernels.use_parents_server()
    try:
        status = command.guarded(build.__name__, partial(build.main, wait=True))
    finally:
        answer.send((status, sorted(set(sys.modules) - before)))


def built(tell: Callable[[Path], None], served: bool) -> tuple[int, list[str]]:
    """The exit status of a build, ``served`` with kernels by this process, and the modules that it imported; each page is told of
    once it is written."""
    here, there = multiprocessing.Pipe(duplex=False)
    run = multiprocessing.get_context("fork").Process(target=child, args=(there, served))
    run.start()
    there.close()
    try:
        while isinstance(told := here.recv(), Path):
            tell(told)
        return told
    except EOFError:  # killed
        return 1, []
    finally:
        run.join()


def main() -> int:
    """Build whenever asked to, and answer with the pages as they are written, and with the exit status."""
    build.load_builder()
    import_all(f"bookext.pages.{name}" for name in bookext.PAGES)
    import_all(late := remembered("late", pins(), list))
    ask_once()
    bibliography()
    if translated_pages():
        catalogue()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    say = partial(print, file=answers, flush=True)
    os.environ |= build_environment()  # of the kernels
    for number, _ in enumerate(sys.stdin):
        status, imported = built(say, number > 0)
        say(status)
        kernels.start_server()  # here, lest the first build wait for it
        if imported:
            keep("late", pins(), late := [*late, *imported])
            import_all(imported)
        read_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
