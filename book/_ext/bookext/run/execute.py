"""Chapters executed side by side, their outputs kept.

A chapter's outputs come from a cache whose folder is named by a hash of ``labs/`` and ``requirements.txt``: jupyter-cache itself
sees only the chapter's own cells and would reuse outputs of an older ``labs``. Into a new folder go from the older ones the outputs
of those chapters that use none of the modules that have changed. The Chinese site has a cache of its own below it, with the outputs
of the same execution and the figures in Chinese: a chapter whose figures would say something else now is executed anew.
"""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable
from concurrent.futures import as_completed
from datetime import datetime
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.cache.db import NbCacheRecord
from jupyter_cache.cache.main import JupyterCacheBase
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, CellExecutionError, DeadKernelError

from bookext.read import numbers
from bookext.read.blocks import language_of, text_of, translation_of
from bookext.read.book import config, display_path
from bookext.read.chapter import Chapter, read_chapter
from bookext.read.kept import BUILD, cache_path, digest, of_page
from bookext.read.machine import workers
from bookext.read.numbers import executed_notebook
from bookext.read.uses import made_with
from bookext.read.words import drawn

from . import figures, kernels
from .figures import KIND, SVG
from .letters import faults, texts

NUMBERS = Path(numbers.__file__)
ANSI = re.compile(r"\x1b\[[0-9;]*m")
WRONG = re.compile(r"^(?P<section>.*): the text says (?P<literal>.*), computed (?P<computed>.*)$", re.MULTILINE)


def wrong_numbers(chapter: Chapter, message: str, stopped: int = 0) -> list[str]:
    """For each number that the chapter's last cell refuses: the line that states it, and what was computed.

    An expression without a value is found by the line of the cell at which that ``stopped``: its rows begin on the third.
    """
    if not WRONG.search(message):
        row = chapter.numbers[stopped - 3 : stopped - 2] if stopped > 2 else []
        named = [f"{chapter.name}:{c.line}: {{num}}`{c.literal} <{c.expression}>`: {message}" for c in row]
        return named or [f"{chapter.name}: some {{num}} of it is not a single number: {message}"]
    shown = []
    for section, literal, computed in WRONG.findall(message):
        lines = [str(c.line) for c in chapter.numbers if (c.section, c.literal) == (section, literal)]
        place = f"{chapter.name}:{lines[0]}" + (f" (or {', '.join(lines[1:])})" if lines[1:] else "")
        shown.append(f"{place}: the text says {literal}, computed {computed}")
    return shown


def failure(page: Path, notebook: nbformat.NotebookNode, error: Exception) -> str:
    """What stopped a chapter, ready to print: file, line and cell, then the traceback; a wrong number in one line."""
    chapter, cells = read_chapter(page), notebook.cells
    # the last cell that was started is the one that failed, timed out or took the kernel with it
    number = max((i for i, cell in enumerate(cells) if "execution" in cell.metadata), default=0)
    text = ANSI.sub("", str(error))
    inside = int(([*re.findall(r"^Cell In\[\d+\], line (\d+)", text, re.MULTILINE), 1])[-2:][0])
    if number == len(chapter.cells) and isinstance(error, CellExecutionError):  # the cell of claimed numbers
        return "\n".join(wrong_numbers(chapter, f"{error.ename}: {error.evalue}", inside))
    line = chapter.cells[min(number, len(chapter.cells) - 1)].line + inside - 1
    code = sum(cell.cell_type == "code" for cell in cells[: number + 1])
    return f"{display_path(page)}:{line}: code cell {code}\n{text}"


def execute(page: Path, notebook: nbformat.NotebookNode, forked: bool) -> tuple[float, str | None]:
    """Execute a notebook in place; the seconds it took, and what stopped it."""
    begun = time.perf_counter()
    arguments = ["--log-level=ERROR"]  # else each kernel warns that its loopback port is not encrypted
    if translation_of(page).exists():
        arguments.append(f"--IPKernelApp.extra_extensions={figures.__name__}")
    client = NotebookClient(
        notebook,
        timeout=config()["execute"]["timeout"],
        kernel_name="python3",
        kernel_manager_class=kernels.ForkedKernelManager if forked else AsyncKernelManager,
        resources={"metadata": {"path": str(page.parent)}},
        extra_arguments=arguments,
        coalesce_streams=True,
    )
    try:
        client.execute()
    except (CellControlSignal, DeadKernelError) as error:
        return time.perf_counter() - begun, failure(page, notebook, error)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # time stamps are no part of the cache's key
    return time.perf_counter() - begun, "\n".join(faults(notebook, display_path(page))) or None


def execute_all(pages: list[Path], meanwhile: Callable[[], None]) -> list[str]:
    """Execute the pages whose code is not in the cache, side by side; returns what failed, ready to print.

    ``meanwhile`` is done when this returns: one chapter, and what kernels import at first, leave a core free for it.
    """
    cache, older = get_cache(cache_path()), older_caches()
    waiting: dict[Path, nbformat.NotebookNode] = {}
    for page in pages:
        if has(cache, page) or any(take_over(cache, other, page) for other in older):
            print(f"  {page.stem}: from the cache", flush=True)
        else:
            waiting[page] = executed_notebook(page)
    failures = []
    if forked := kernels.lent or len(waiting) > 2:  # a fork server is worth its start where several kernels are wanted
        kernels.start_server()
    with workers(os.cpu_count() or 1) as pool, workers(1) as aside:
        begun = aside.submit(meanwhile)
        longest_first = sorted(waiting, key=lambda page: -len(waiting[page].cells))  # lest one run alone at the end
        running = {pool.submit(execute, page, waiting[page], forked): page for page in longest_first}
        for count, future in enumerate(as_completed(running), 1):
            page, (seconds, failed) = running[future], future.result()
            how = "FAILED" if failed else "executed"
            print(f"  {page.stem}: {how} in {seconds:.1f} s ({count} of {len(running)})", flush=True)
            if failed:
                failures.append(failed)
            else:
                told = {
                    "execution_seconds": seconds,
                    "ran": f"{datetime.now():%Y-%m-%d %H:%M}",
                    "made_with": made_with(page),
                    "drawn_with": drawn_with(),
                    "figures": texts(waiting[page]),
                }
                bundle = CacheBundleIn(waiting[page], str(page), data=told)
                cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
        if not failures:
            begun.result()
    return failures


def record_of(cache: JupyterCacheBase, page: Path) -> NbCacheRecord:
    """The record of a page's outputs; ``KeyError`` where the cache has none."""
    text = page.read_text("utf8")
    key = of_page("key", page, text, [NUMBERS], lambda: cache.create_hashed_notebook(executed_notebook(page))[1])
    return NbCacheRecord.record_from_hashkey(key, cache.db)


def has(cache: JupyterCacheBase, page: Path) -> bool:
    """Whether a page's outputs are in the cache, its figures in the Chinese of today's catalogue."""
    try:
        return holds(page, record_of(cache, page))
    except KeyError:
        return False


def drawn_with() -> str:
    """A hash of what shapes a figure's second drawing, its texts left out: a font with more characters draws these the same."""
    return digest(p for p in (Path(figures.__file__), figures.FONT.with_name("VERSION")) if p.exists())


def holds(page: Path, record: NbCacheRecord) -> bool:
    """Whether the figures of a page that has a translation would come out as they are."""
    told = record.data
    return not translation_of(page).exists() or (
        told.get("drawn_with") == drawn_with() and all(drawn(text) == said for text, said in told["figures"].items())
    )


def older_caches() -> list[JupyterCacheBase]:
    """What was computed with other versions of ``labs``, the newest first."""
    folders = sorted(cache_path().parent.iterdir(), key=lambda p: p.stat().st_mtime, reverse=True)
    return [get_cache(folder) for folder in folders if folder != cache_path()]


def take_over(cache: JupyterCacheBase, other: JupyterCacheBase, page: Path) -> bool:
    """Take a page's outputs from an older cache, if all that they came from is as it was; whether it did."""
    try:
        record = record_of(other, page)
        if record.data.get("made_with") != made_with(page) or not holds(page, record):
            return False
        ran = other.get_cache_bundle(record.pk).nb
    except KeyError:
        return False
    bundle = CacheBundleIn(ran, str(page), data=record.data)
    cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
    return True


def lend_outputs(pages: list[Path]) -> None:
    """Keep the outputs for the Chinese site too: a translation's cells compute the same (check/twins), and differ in their comments."""
    cache, chinese = get_cache(cache_path()), get_cache(cache_path("zh"))
    for page in pages:
        lend(cache, page, text_of(page, "zh"), chinese)


def lend(cache: JupyterCacheBase, page: Path, other: Path, into: JupyterCacheBase) -> None:
    """Keep a page's outputs for another text whose cells compute the same, with its figures where they are drawn for it."""
    record = record_of(cache, page)
    with contextlib.suppress(KeyError):
        if record_of(into, other).data == record.data:
            return
    twin, ran = executed_notebook(other), cache.get_cache_bundle(record.pk).nb
    code = ([cell for cell in notebook.cells if cell.cell_type == "code"] for notebook in (twin, ran))
    for cell, done in zip(*code, strict=True):
        cell.outputs, cell.execution_count = done.outputs, done.execution_count
        for output in cell.outputs if language_of(other) == "zh" else ():
            if drawing := output.get("metadata", {}).pop(KIND, {}).get("drawing"):
                output.data[SVG] = drawing
    twin.metadata["language_info"] = ran.metadata["language_info"]  # what the kernel said
    bundle = CacheBundleIn(twin, str(other), data=record.data)
    into.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def forget_old_caches() -> None:
    """Keep the outputs of the three newest versions of labs: switching back and forth stays quick, the disk stays small."""
    folders = sorted((BUILD / "cache").iterdir(), key=lambda p: p.stat().st_mtime)
    for folder in folders[:-3]:
        shutil.rmtree(folder)
