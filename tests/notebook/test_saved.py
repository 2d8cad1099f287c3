"""A page that was opened, run and saved in JupyterLab comes back byte for byte.

JupyterLab reads and writes through jupytext's contents manager, which calls ``jupytext.reads`` and ``jupytext.writes`` with the
settings of pyproject.toml. These tests call them in the same way; the server itself is no part of the book's environment.
"""

from __future__ import annotations

import json
import shutil

import jupytext
import nbformat
import pytest
from bookext.notebook import generator
from bookext.notebook.saved import LayoutError, difference, laid_out, main, opened, saved, settings
from bookext.read.book import ROOT, notebook_pages
from bookext.read.chapter import parse_chapter
from nbclient import NotebookClient

PAGES = [*notebook_pages(), *sorted(ROOT.glob("instructor/hw*/hw*.md"))]
LIGHT = ROOT / "book" / "08-nan-clinic.md"


def name(page):
    return f"{page.parent.name}/{page.stem}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_saving_changes_nothing(page):
    assert difference(page) is None


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=name)
def test_laying_out_and_a_round_trip_change_nothing(page):
    text = page.read_text("utf8")
    assert laid_out(text, page.name) == text
    assert jupytext.writes(jupytext.reads(text, "md:myst", config=settings()), "md:myst", config=settings()) == text


@pytest.mark.slow
def test_a_chapter_that_was_run_comes_back(tmp_path):
    """The whole trip: opened, every cell executed, outputs and JupyterLab's own metadata added, saved."""
    page = tmp_path / LIGHT.name
    shutil.copy(LIGHT, page)
    notebook = jupytext.read(page, config=settings())  # the format stands in the page, as for JupyterLab
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    assert notebook.metadata["language_info"]["version"]  # what the kernel said
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 10 and all(cell.execution_count for cell in code) and any(cell.outputs for cell in code)
    notebook.metadata |= {
        "kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"},
        "widgets": {"application/vnd.jupyter.widget-state+json": {"state": {}}},
        "toc-autonumbering": True,
    }
    for cell in notebook.cells:
        cell.metadata |= {"trusted": True, "editable": True, "slideshow": {"slide_type": ""}}
    for cell in code:
        cell.metadata |= {"collapsed": False, "scrolled": True, "jupyter": {"source_hidden": True}}
        assert cell.metadata["execution"]  # nbclient's time stamps
    jupytext.write(notebook, page, config=settings())
    assert page.read_bytes() == LIGHT.read_bytes()


SMALL = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  name: python3
  display_name: Python 3 (ipykernel)
  language: python
ledger:
  claims: [C1]
---

# A page

(there)=
{.fold}
## There

Before the split.

It is {num}`1 <x>`.

```{code-cell} ipython3
---
checks: [C1]
mystnb:
  image:
    alt: 'A line: it rises.'
  figure:
    name: fig-x
    caption: The first sentence is long, so that YAML has to break the caption somewhere.
      The second is not.
---
x = 1
assert x == 1
```
"""


def test_a_page_of_this_form_stays():
    assert laid_out(SMALL, "small.md") == SMALL


@pytest.mark.parametrize(
    "old, new, line",
    [
        ("  display_name: Python 3 (ipykernel)\n  language: python\n", "  display_name: Python 3\n", 8),
        ("'A line: it rises.'", '"A line: it rises."', 29),
        ("caption: The first sentence is", "caption: |\n      The first sentence is", 32),
        ("checks: [C1]", "checks:\n- C1", 26),
        ("assert x == 1\n", "assert x == 1\n\n\n", 37),
        ("# A page\n", "# A page\n\n+++\n", None),
        ("It is {num}`1 <x>`.\n", "It is {num}`1 <x>`.\n\n\n", 24),
    ],
)
def test_what_saving_would_change_is_named_and_mended(old, new, line, tmp_path, monkeypatch, capsys):
    assert old in SMALL
    page = tmp_path / "planted.md"
    page.write_text(SMALL.replace(old, new))
    monkeypatch.setattr("bookext.notebook.saved.notebook_pages", lambda: [page])
    if line is None:  # a cell that was split: JupyterLab writes it so
        assert difference(page) is None and main([]) == 0 and page.read_text() == SMALL.replace(old, new)
        return
    message = difference(page)
    assert message is not None and message.startswith(f"{page}:{line}: "), message
    assert repr(page.read_text().splitlines()[line - 1]) in message and message.endswith("Run `make format`.")
    assert main(["--check"]) == 1 and capsys.readouterr().err == message + "\n"
    assert main([]) == 0 and page.read_text() == SMALL and main(["--check"]) == 0


@pytest.mark.parametrize(
    "old, new, lost",
    [
        ("ledger:\n", "# written by hand\nledger:\n", "# written by hand"),
        ("checks: [C1]\n", "checks: [C1]\n# and more\n", "# and more"),
        ("ledger:\n", "language_info:\n  name: python\nledger:\n", "language_info"),
    ],
)
def test_what_would_be_lost_is_not_laid_out(old, new, lost, tmp_path, monkeypatch, capsys):
    page = tmp_path / "planted.md"
    page.write_text(SMALL.replace(old, new))
    with pytest.raises(LayoutError, match=lost):
        laid_out(page.read_text(), "planted.md")
    monkeypatch.setattr("bookext.notebook.saved.notebook_pages", lambda: [page])
    assert main([]) == 1 and page.read_text() == SMALL.replace(old, new)
    assert f"planted.md: JupyterLab would not keep: {lost}" in capsys.readouterr().err


def test_a_split_cell_is_a_page_like_another(monkeypatch):
    """JupyterLab's *Split Cell* leaves +++ between two cells: sections go on, and the .ipynb has one cell more."""
    notebook = opened(SMALL)
    before, after = notebook.cells[0].source.split("\n\nIt is", 1)
    notebook.cells[0].source = before
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(f"It is{after}"))
    text = saved(notebook)
    assert text == SMALL.replace("It is", "+++\n\nIt is") and laid_out(text, "small.md") == text
    whole, split = (parse_chapter(t, ROOT / "book" / "planted.md") for t in (SMALL, text))
    assert [c.kind for c in split.cells] == ["markdown", "markdown", "code"]
    assert [(c.literal, c.section) for c in split.numbers] == [(c.literal, c.section) for c in whole.numbers]
    assert [c.section for c in split.code] == [c.section for c in whole.code] == ["There"]

    def made(chapter):
        monkeypatch.setattr(generator, "read_chapter", lambda page: chapter)
        monkeypatch.setattr(generator, "labels", lambda *_: {"fig-x": (chapter.path, "Figure 1", "fig-x")})
        return [(c["cell_type"], "".join(c["source"])) for c in json.loads(generator.convert(chapter.path))["cells"]]

    [one] = [source for _, source in made(whole) if "Before" in source]
    first, second = [source for _, source in made(split) if "Before" in source or "It is" in source]
    assert f"{first}\n\n{second}" == one and len(made(split)) == len(made(whole)) + 1
