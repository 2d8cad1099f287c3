"""``make book``: execute the chapters that changed, side by side, then build the site strictly."""

import contextlib
import functools
import gc
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from filelock import FileLock, Timeout

from bookext.read.book import ROOT, book_pages, config, contents, executed_pages, parsed
from bookext.read.kept import BUILD, cache_path, digest, files
from bookext.read.machine import build_environment, is_build_machine

SITE, UNFINISHED = BUILD / "html", BUILD / "unfinished"
TOPS = [ROOT / name for name in ("_config.yml", "_toc.yml", "requirements.txt", "pyproject.toml")]
# What is done with a page once it is written, before the rest of the site is: ``make serve`` shows it.
on_page: Callable[[Path], None] | None = None
SHAPES = ("book/_ext/bookext/pages", "book/_ext/bookext/read", "book/_ext/bookext/notebook", "book/_static")


def fingerprint() -> str:
    """A hash of everything the site is made from."""
    return digest([*files("book"), *files("labs"), *TOPS])


def machinery() -> str:
    """A hash of what shapes every page: Sphinx by itself would rewrite only the pages whose text changed."""
    checks = [f"book/_ext/bookext/check/{name}.py" for name in ("ledger", "results", "slices", "stress", "twins")]
    alone = ["book/_ext/bookext/__init__.py", "book/_ext/bookext/run/figures.py", *checks, "_config.yml", "_toc.yml"]
    words = (ROOT / "book" / "zh").glob("words.po")  # none in a book without Chinese
    return digest([*(file for folder in SHAPES for file in files(folder)), *(ROOT / name for name in alone), *words])


def load_builder() -> None:
    """Import what both runs of Sphinx need, before the one is forked from the other."""
    for name in ("jupyter_book.sphinx", "sphinx.builders.html", *config()["sphinx"]["config"]["extensions"]):
        import_module(name)


def get_ready(everything: bool) -> None:
    """What both runs of Sphinx ask for worked out, and, where all pages are written, the modules that they document parsed."""
    from bookext.check.results import prepare

    load_builder()
    prepare()
    analyzer = import_module("sphinx.pycode").ModuleAnalyzer
    for page in book_pages() if everything else ():
        for name in re.findall(r"^\.\. automodule:: (\S+)", page.read_text("utf8"), re.MULTILINE):
            with contextlib.suppress(Exception):  # Sphinx says what is wrong with it, or the chapter that uses it
                import_module(name)
                analyzer.for_module(name).analyze()


def build_site(options: list[str]) -> int:
    """``jupyter-book build`` in this process, which has read the chapters already; its exit status."""
    from jupyter_book.cli.main import main as jupyter_book

    try:
        jupyter_book(["build", str(ROOT), *options])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def forget(begun: float, *homes: Path) -> None:
    """Have a build read and write again what has been done since one began that failed or was ended: it warns of nothing it finds done."""
    for home in homes:
        for tree in (home / ".doctrees").rglob("*.doctree"):
            if tree.stat().st_mtime >= begun:
                tree.unlink()
        for page in (home / "html").rglob("*.html"):
            if page.stat().st_mtime >= begun:
                os.utime(page, (0, 0))


def main(wait: bool = False) -> int:
    """One build at a time in a folder; where another is at work, ``wait`` for it, or exit status 1."""
    BUILD.mkdir(exist_ok=True)
    try:
        with FileLock(BUILD / "lock", timeout=-1 if wait else 0):
            return build()
    except Timeout:
        print("Another build is at work in this folder: wait for it, then run this again.", file=sys.stderr)
        return 1


def build() -> int:
    """Build the site; exit status 1, with chapter, cell and traceback, when something is wrong."""
    index, stamp, now = SITE / "book" / "index.html", BUILD / "fingerprint", fingerprint()
    if index.exists() and stamp.exists() and stamp.read_text() == now:
        print(f"Nothing changed. The site: {index}")
        return 0
    # An unchanged book does not wait for Jupyter.
    from bookext.read.chapter import SourceError
    from bookext.read.labels import bibliography

    from . import chinese
    from .execute import execute_all, forget_old_caches

    # A fault in one of these files is said now, not when all chapters have run.
    config(), contents(), bibliography(), parsed(ROOT / "pyproject.toml", tomllib.loads)

    stamp.unlink(missing_ok=True)
    os.environ |= build_environment()
    gc.disable()  # collecting cycles among the nodes of 25 pages, where there are few, takes a third of a small edit's time
    cache_path().mkdir(parents=True, exist_ok=True)
    os.utime(cache_path())
    forget_old_caches()
    where = "" if is_build_machine() else " (not on the build machine: a number may differ by its ±)"
    print(f"Executing chapters{where}", flush=True)
    shape, shaped = machinery(), BUILD / "machinery"
    everything = [] if shaped.exists() and shaped.read_text() == shape else ["--all"]
    ready = functools.partial(get_ready, bool(everything))
    try:
        failures = execute_all(executed_pages(), ready)
    except SourceError as error:
        failures = [str(error)]
    if failures:
        print("\n\n".join(["", *failures, "The book was not built."]), file=sys.stderr)
        return 1
    print("Building the site", flush=True)
    shutil.rmtree(SITE / "zh", ignore_errors=True)  # else the English run would take its pages for its own
    options = ["-n", "-W", "--keep-going", "-q", *everything]
    gc.freeze()  # sphinx_external_toc looks at every object that the collector knows, torch's too
    if UNFINISHED.exists():
        forget(UNFINISHED.stat().st_mtime, BUILD, chinese.HOME / "_build")
    else:
        UNFINISHED.touch()
    other = chinese.begin(build_site, options)
    failed = build_site(options)
    if other:
        other.join()
    if failed or (other and other.exitcode):
        print("\nThe book was not built: mend the warnings above.", file=sys.stderr)
        return 1
    if other:
        chinese.put(SITE)
    UNFINISHED.unlink()
    shaped.write_text(shape)
    stamp.write_text(now)
    print(f"The site: {index}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
