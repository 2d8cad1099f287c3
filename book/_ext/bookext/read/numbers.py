"""A chapter's last cell, which compares the numbers claimed in its prose with what the cells above computed."""

from pathlib import Path
from string import Template

import nbformat

from .book import is_notebook
from .chapter import Chapter, notebook_node, parse_chapter
from .machine import EXACT

NUMBERS_TITLE = "The numbers in the text"
CODE = Template(r"""# Each number claimed in the text, and what this notebook computed for it.
numbers = [  # (section, as printed, its value, computed, its rounding, by how much other machines may differ)
$rows
]
import os

exact = '$exact' in os.environ  # where the book is built, each is the rounded value
wrong = [f'{where}: the text says {shown}, computed {float(got):.6g}'
         for where, shown, value, got, rounding, other in numbers
         if not abs(float(got) - value) <= (rounding if exact else other) * (1 + 1e-9)]
assert not wrong, '\n'.join(['A number in the text does not hold here:', *wrong])
print(f'{len(numbers)} numbers in the text agree with what was computed here.')""")


def numbers_code(chapter: Chapter) -> str | None:
    """The chapter's last cell: each number claimed in its prose beside what the cells above computed."""
    if not chapter.numbers:
        return None
    shown = [
        f"{n.section!r}, {n.literal!r}, {n.value!r}, {n.expression}, {n.rounding!r}, {n.tolerance!r}"
        for n in chapter.numbers
    ]
    return CODE.substitute(rows="\n".join(f"    ({row})," for row in shown), exact=EXACT)


def with_numbers_cell(text: str, path: Path) -> str:
    """The chapter's text with its cell of numbers appended, unseen on the page."""
    if not is_notebook(text):
        return text
    code = numbers_code(parse_chapter(text, path.resolve()))
    return text if code is None else f"{text}\n\n```{{code-cell}} ipython3\n:tags: [remove-cell]\n\n{code}\n```\n"


def executed_notebook(page: Path) -> nbformat.NotebookNode:
    """The notebook in ``with_numbers_cell`` of a page, without reading the page's text again."""
    text = page.read_text("utf8")
    code, notebook = numbers_code(parse_chapter(text, page.resolve())), notebook_node(text, page.resolve())
    if code is not None:
        notebook.cells.append(nbformat.v4.new_code_cell(code, metadata={"tags": ["remove-cell"]}))
        notebook.metadata["source_map"].append(text.count("\n") + 3)
    return notebook
