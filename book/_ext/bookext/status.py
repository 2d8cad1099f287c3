"""The status page: what the site was built with, and how long each notebook ran."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from sphinx.application import Sphinx

from .build import cache_path
from .source import executed_notebook, executed_pages


@dataclass(frozen=True)
class Run:
    """One notebook, as it last ran."""

    page: str
    title: str
    cells: int
    seconds: float
    ran: str


def runs(app: Sphinx) -> Iterator[Run]:
    """The notebooks in the order of the book, with what the cache of outputs knows of them."""
    from jupyter_cache import get_cache

    cache = get_cache(cache_path())
    for path in executed_pages():
        notebook = executed_notebook(path)
        record = cache.match_cache_notebook(notebook)
        page = app.env.path2doc(str(path)) or ""
        cells = sum(cell.cell_type == "code" for cell in notebook.cells)
        seconds = float(record.data["execution_seconds"])
        yield Run(page, app.env.titles[page].astext(), cells, seconds, f"{record.created:%Y-%m-%d %H:%M}")


def status_page(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    rows = list(runs(app))
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "sympy", "jupyter-book"))
    machine = f"Python {platform.python_version()} on {platform.system()} ({platform.machine()}), {packages}"
    total = sum(row.seconds for row in rows)
    yield "status", {"title": "Build status", "rows": rows, "total": total, "machine": machine}, "status.html"


def setup(app: Sphinx) -> None:
    app.connect("html-collect-pages", status_page)
