"""The book's own Sphinx extension, its notebook generator, its checks and its build. ARCHITECTURE.md draws the house.

``read`` says what a page says; ``check`` whether it is true; ``run`` executes and builds; ``pages`` is what Sphinx draws;
``notebook`` makes the ``.ipynb``. Only ``pages`` imports Sphinx.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

if not find_spec(
    "yaml"
):  # whatever is started with another Python fails for want of some package; this says for want of what
    sys.exit(
        f"{sys.executable} lacks the book's packages: use .venv/bin/python (rm -f .venv/ready && make book completes that one)."
    )

if sys.argv[:1] == [
    "-m"
]:  # python -m bookext.…, instructor.… or bench.…: what stops it is said in one line, as under make
    sys.excepthook = lambda kind, error, trace: import_module("bookext.run.command").say(error)

# In this order: handlers of one event run as they were connected.
PAGES = (
    "early",
    "chinese",
    "writer",
    "references",
    "roles",
    "claims",
    "folds",
    "tables",
    "math",
    "ledgerpage",
    "live",
    "explore",
    "proof",
    "layout",
    "search",
    "counting",
    "previews",
    "decks",
    "course",
    "finish",
)


def setup(app: Any) -> dict[str, Any]:
    for name in PAGES:
        import_module(f"bookext.pages.{name}").setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
