"""jupytext reads the pages, and what it reads is what the site's builder reads."""

from __future__ import annotations

import subprocess
import sys

import pytest
from bookext.read.book import ROOT, book_pages, config, executed_pages, is_notebook
from bookext.read.chapter import SourceError, notebook_node, parse_chapter
from bookext.read.numbers import executed_notebook, with_numbers_cell
from myst_nb.core.read import is_myst_markdown_notebook, read_myst_markdown_notebook
from myst_parser.config.main import MdParserConfig
from support import FRONT

PAGES = [*book_pages(), *sorted(ROOT.glob("instructor/hw*/hw*.md"))]
# Reading and making notebooks need neither the site's builder nor what the chapters compute with.
ALONE = """
import importlib, pkgutil, sys
import bookext.notebook, bookext.read
for package in (bookext.notebook, bookext.read):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
from bookext.read.labels import labels
assert labels()
print(*sorted({"sphinx", "docutils", "myst_nb", "myst_parser", "torch", "sympy"} & set(sys.modules)))
"""


@pytest.mark.slow
def test_reading_needs_no_builder():
    done = subprocess.run([sys.executable, "-c", ALONE], cwd=ROOT / "book" / "_ext", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_the_builder_reads_the_same_cells(page):
    """Outputs are found by the cells and the kernel: a difference would execute a chapter in vain, or show it without outputs."""
    text = page.read_text("utf8")
    assert is_notebook(text) == is_myst_markdown_notebook(text)
    if not is_notebook(text):
        return
    extensions = set(config()["parse"]["myst_enable_extensions"])
    theirs = read_myst_markdown_notebook(text, MdParserConfig(enable_extensions=extensions), add_source_map=True)
    ours = notebook_node(text)
    parts = [[(c.cell_type, c.source, dict(c.metadata)) for c in notebook.cells] for notebook in (ours, theirs)]
    assert parts[0] == parts[1]
    assert [ours.metadata[key] for key in ("kernelspec", "source_map")] == [
        theirs.metadata[key] for key in ("kernelspec", "source_map")
    ]


SMALL = (
    FRONT
    + """

# A page

(there)=
{.fold}
## There

Words, and one blank at the end.\x20

```{code-cell} ipython3
---
checks: [eq-x]
mystnb:
  figure:
    name: fig-x
---
x = 1
```

+++

It is {num}`1 <x>`.

+++ {"tags": ["aside"]}

$$
x = 1
$$ (eq-x)

```{code-cell} ipython3
:tags: [hide-input]

y = 2
```

## Elsewhere

```{code-cell} ipython3
z = 3
```
"""
)


def test_cells_know_their_lines_and_sections():
    chapter = parse_chapter(SMALL, ROOT / "book" / "planted.md")
    lines = SMALL.splitlines()
    assert [lines[cell.line - 1] for cell in chapter.cells] == [
        "# A page", "x = 1", "It is {num}`1 <x>`.", "$$", "y = 2", "## Elsewhere", "z = 3"
    ]  # fmt: skip
    assert [cell.section for cell in chapter.code] == ["There", "There", "Elsewhere"]
    assert chapter.cells[3].metadata["tags"] == ["aside"]
    [number], [equation] = chapter.numbers, chapter.equations
    assert lines[number.line - 1] == "It is {num}`1 <x>`." and number.section == "There"
    assert lines[equation.line - 1] == "$$" and equation.section == "There" and equation.label == "eq-x"


@pytest.mark.parametrize(
    "old, new, message",
    [
        (", display_name: Python 3", "", "'display_name' is a required property"),
        ("[hide-input]", "[hide-input", "Code cell 4 at line 37 could not be read"),
        ('{"tags": ["aside"]}', "{tags: aside}", "Markdown cell 3 at line 31 could not be read"),
    ],
)
def test_what_jupyterlab_could_not_open_is_named(old, new, message):
    assert old in SMALL
    with pytest.raises(SourceError) as error:
        parse_chapter(SMALL.replace(old, new), ROOT / "book" / "planted.md")
    assert str(error.value).startswith(f"book/planted.md: jupytext cannot read this page: {message}")


@pytest.mark.parametrize("page", executed_pages(), ids=lambda p: p.stem)
def test_what_is_executed_is_what_the_builder_reads(page):
    """The cell of claimed numbers is appended twice, as text for Sphinx and as a cell for the kernel: a difference misses the outputs."""
    ours, theirs = executed_notebook(page), notebook_node(with_numbers_cell(page.read_text("utf8"), page))
    parts = [[(c.cell_type, c.source, dict(c.metadata)) for c in notebook.cells] for notebook in (ours, theirs)]
    assert parts[0] == parts[1] and ours.metadata == theirs.metadata
