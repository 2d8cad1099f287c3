"""``make book``: execute the chapters that changed, side by side, then build the site strictly.

A chapter's outputs come from a cache whose folder is named by a hash of ``labs/`` and ``requirements.txt``: jupyter-cache itself
sees only the chapter's own cells and would reuse outputs of an older ``labs``.
"""

from __future__ import annotations

import gc
import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import lru_cache
from pathlib import Path

from .source import ROOT, SourceError, display_path, executed_notebook, executed_pages, recall, remember

ANSI = re.compile(r"\x1b\[[0-9;]*m")
BUILD = ROOT / "_build"
SITE = BUILD / "html"
# One thread a kernel: sums come out the same on every machine, and chapters run side by side. Progress bars are for those
# who run a notebook by hand.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "JUPYTER_PLATFORM_DIRS": "1",
    "TQDM_DISABLE": "1",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # what a kernel sets for itself before matplotlib is imported
}


def digest(paths: Iterable[Path]) -> str:
    """A short hash of files' names and contents."""
    total = hashlib.sha256(sys.version.encode())
    for path in sorted(paths):
        total.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return total.hexdigest()[:16]


def _files(folder: str) -> list[Path]:
    return [p for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts]


@lru_cache(maxsize=1)
def cache_path() -> Path:
    """The folder of outputs computed with this very ``labs`` and these very pins."""
    return BUILD / "cache" / digest([*_files("labs"), ROOT / "requirements.txt"])


def fingerprint() -> str:
    """A hash of everything the site is made from."""
    tops = [ROOT / name for name in ("_config.yml", "_toc.yml", "requirements.txt", "pyproject.toml")]
    return digest([*_files("book"), *_files("labs"), *tops])


def machinery() -> str:
    """A hash of what shapes every page: Sphinx by itself would rewrite only the pages whose text changed."""
    return digest(
        [*_files("book/_ext"), *_files("book/_static"), *_files("labs"), ROOT / "_config.yml", ROOT / "_toc.yml"]
    )


def execute_all(pages: list[Path]) -> list[str]:
    """Execute the pages whose code is not in the cache, side by side; returns what failed, ready to print."""
    import nbformat
    from jupyter_cache import get_cache
    from jupyter_cache.base import CacheBundleIn
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellControlSignal, DeadKernelError

    from .kernels import ForkedKernelManager

    cache = get_cache(cache_path())
    waiting: dict[Path, nbformat.NotebookNode] = {}
    for page in pages:
        notebook = executed_notebook(page)
        try:
            cache.match_cache_notebook(notebook)
            print(f"  {page.stem}: from the cache", flush=True)
        except KeyError:
            waiting[page] = notebook

    def execute(page: Path) -> tuple[float, str | None]:
        begun, cells = time.perf_counter(), waiting[page].cells
        where = {"metadata": {"path": str(page.parent)}}
        quiet = ["--log-level=ERROR"]  # else each kernel warns that its loopback port is not encrypted
        client = NotebookClient(
            waiting[page],
            timeout=120,
            kernel_name="python3",
            kernel_manager_class=ForkedKernelManager if len(waiting) > 2 else AsyncKernelManager,
            resources=where,
            extra_arguments=quiet,
            coalesce_streams=True,
        )
        try:
            client.execute()
        except (CellControlSignal, DeadKernelError) as error:
            # the last cell that was started is the one that failed, timed out or took the kernel with it
            number = max((i for i, cell in enumerate(cells) if "execution" in cell.metadata), default=0)
            line = waiting[page].metadata["source_map"][number]
            code = sum(cell.cell_type == "code" for cell in cells[: number + 1])
            return (
                time.perf_counter() - begun,
                f"{display_path(page)}: code cell {code}, line {line}\n{ANSI.sub('', str(error))}",
            )
        for cell in cells:
            cell.metadata.pop("execution", None)  # time stamps are no part of the cache's key
        return time.perf_counter() - begun, None

    failures = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        running = {pool.submit(execute, page): page for page in waiting}
        for count, future in enumerate(as_completed(running), 1):
            page, (seconds, failure) = running[future], future.result()
            print(
                f"  {page.stem}: {'FAILED' if failure else 'executed'} in {seconds:.1f} s ({count} of {len(running)})",
                flush=True,
            )
            if failure:
                failures.append(failure)
            else:
                data = {"execution_seconds": seconds}
                cache.cache_notebook_bundle(
                    CacheBundleIn(waiting[page], str(page), data=data), check_validity=False, overwrite=True
                )
    return failures


def forget_old_caches() -> None:
    """Keep the outputs of the three newest versions of labs: switching back and forth stays quick, the disk stays small."""
    folders = sorted((BUILD / "cache").iterdir(), key=lambda p: p.stat().st_mtime)
    for folder in folders[:-3]:
        shutil.rmtree(folder)


def build_site(options: list[str]) -> int:
    """``jupyter-book build`` in this process, which has read the chapters already; its exit status."""
    from jupyter_book.cli.main import main as jupyter_book

    try:
        jupyter_book(["build", str(ROOT), *options])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def main() -> int:
    """Build the site; exit status 1, with chapter, cell and traceback, when something is wrong."""
    index, stamp, now = SITE / "book" / "index.html", BUILD / "fingerprint", fingerprint()
    if index.exists() and stamp.exists() and stamp.read_text() == now:
        print(f"Nothing changed. The site: {index}")
        return 0
    stamp.unlink(missing_ok=True)
    os.environ |= ENVIRONMENT
    gc.disable()  # collecting cycles among the nodes of 25 pages, where there are few, takes a third of a small edit's time
    cache_path().mkdir(parents=True, exist_ok=True)
    os.utime(cache_path())
    forget_old_caches()
    print("Executing chapters", flush=True)
    notebooks = BUILD / "notebooks.json"  # reading 14 chapters takes a fifth of a small edit's time
    reader = digest([Path(__file__).with_name("source.py"), ROOT / "requirements.txt"])
    recall(notebooks, reader)
    try:
        failures = execute_all(executed_pages())
    except SourceError as error:
        failures = [str(error)]
    if failures:
        print("\n\n".join(["", *failures]), file=sys.stderr)
        print("\nThe book was not built.", file=sys.stderr)
        return 1
    print("Building the site", flush=True)
    shape, shaped = machinery(), BUILD / "machinery"
    everything = [] if shaped.exists() and shaped.read_text() == shape else ["--all"]
    if build_site(["-n", "-W", "--keep-going", "-q", *everything]):
        print("\nThe book was not built: mend the warnings above.", file=sys.stderr)
        return 1
    remember(notebooks, reader)
    shaped.write_text(shape)
    stamp.write_text(now)
    print(f"The site: {index}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
