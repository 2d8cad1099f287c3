"""Notebook pages laid out as jupytext writes them: JupyterLab then saves what it opened, byte for byte.

    python -m bookext.notebook.saved [FILES]            lay out every notebook page of the book, and the files
    python -m bookext.notebook.saved --check [FILES]    name the first line of each that saving would change

What JupyterLab adds, and is not kept, is listed in pyproject.toml under ``[tool.jupytext]``.
"""

import itertools
import sys
from functools import lru_cache
from pathlib import Path

import jupytext
from jupytext.config import JupytextConfiguration, load_jupytext_config
from nbformat import NotebookNode

from bookext.read.book import ROOT, display_path, front_matter, notebook_pages

FORMAT = "md:myst"
# What JupyterLab writes into a page that it has run, from the kernel of the book's own environment, and in its order.
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}


class LayoutError(ValueError):
    """A page of which saving would lose something; names the file and what."""


@lru_cache(maxsize=1)
def settings() -> JupytextConfiguration:
    """What pyproject.toml says to jupytext, and so to JupyterLab."""
    return load_jupytext_config(str(ROOT / "book"))


def opened(text: str) -> NotebookNode:
    """The notebook of a page that JupyterLab has opened and given a kernel."""
    notebook = jupytext.reads(text, FORMAT, config=settings())
    notebook.metadata["kernelspec"] = KERNEL
    return notebook


def saved(notebook: NotebookNode) -> str:
    """The page's text as JupyterLab saves the notebook."""
    return jupytext.writes(notebook, FORMAT, config=settings())


def laid_out(text: str, name: str) -> str:
    """A notebook page's text as it comes back from JupyterLab unchanged.

    A figure's caption and description become one paragraph, else YAML would quote them line by line; code ends with its last
    line. Raises LayoutError where a comment in YAML, or an entry of the front matter, would be lost.
    """
    notebook = opened(text)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = cell.source.rstrip("\n")
        shown = cell.metadata.get("mystnb", {})
        for place, key in itertools.product(("figure", "image"), ("caption", "alt")):
            if key in shown.get(place, {}):
                shown[place][key] = " ".join(shown[place][key].split())
    made = saved(notebook)
    entries = set(front_matter(text)) - set(front_matter(made))
    kept = {line.strip() for line in made.splitlines()}
    comments = {line.strip() for line in text.splitlines() if line.lstrip().startswith("#")} - kept
    if lost := sorted(entries | comments):
        raise LayoutError(f"{name}: JupyterLab would not keep: {'; '.join(lost)}")
    return made


def difference(page: Path) -> str | None:
    """The first line of a page that JupyterLab would change in saving it, and the remedy; None where it would change nothing."""
    there = page.read_text("utf8")
    back = saved(opened(there))
    if there == back:
        return None
    pairs = itertools.zip_longest(there.split("\n"), back.split("\n"))
    number, (old, new) = next((i, pair) for i, pair in enumerate(pairs, 1) if pair[0] != pair[1])
    return f"{display_path(page)}:{number}: {old!r} would be saved as {new!r} by JupyterLab. Run `make format`."


def main(arguments: list[str]) -> int:
    """Lay out the pages, or with ``--check`` name what is not laid out; exit status 1 where something is wrong."""
    found: list[str] = []
    for page in [*notebook_pages(), *(Path(a).resolve() for a in arguments if a != "--check")]:
        if "--check" in arguments:
            found += filter(None, [difference(page)])
            continue
        text = page.read_text("utf8")
        try:
            made = laid_out(text, display_path(page))
        except LayoutError as error:
            found.append(str(error))
            continue
        if made != text:
            page.write_text(made, "utf8")
            print(f"laid out {display_path(page)}")
    print("\n".join(found), end="\n" * bool(found), file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
