"""The ledger page: every equation and number of the book, with its kind, its cell and its tolerance."""

from __future__ import annotations

import pytest
from bookext.check import mutate
from bookext.check.ledger import kind_of
from bookext.check.probe import record
from bookext.pages import ledgerpage
from bookext.read.book import ROOT, executed_pages
from bookext.read.chapter import parse_chapter, read_chapter
from bs4 import BeautifulSoup
from support import FRONT, PARSED, SITE, parsed

pytestmark = PARSED

PROOF = (
    FRONT
    + """
# A chapter

## Squares

$$
(a + b)^2 = a^2 + 2ab + b^2
$$ (eq-square)

```{code-cell} ipython3
:proves: [eq-square]

import sympy as sp
a, b = sp.symbols("a b")
assert sp.expand((a + b) ** 2) == a**2 + 2 * a * b + b**2
```
"""
)
NUMERICALLY = PROOF.replace('import sympy as sp\na, b = sp.symbols("a b")', "a, b = 2, 3").replace("sp.expand", "abs")


def chapter(text):
    return parse_chapter(text, ROOT / "book" / "planted.md")


def test_only_a_cell_that_compares_sympy_proves():
    proof, numerical = chapter(PROOF), chapter(NUMERICALLY)
    assert kind_of(proof, proof.equations[0]) == "proved"
    assert mutate.assertions(proof, record(proof))[1] == []
    (survivor,) = mutate.assertions(numerical, record(numerical))[1]
    assert survivor.startswith("book/planted.md:") and "eq-square" in survivor and "SymPy" in survivor


def test_a_number_belongs_to_the_last_cell_of_its_section_that_binds_it():
    read = chapter(
        FRONT + "\n# A\n\n## B\n\n```{code-cell} ipython3\nx = 1\n```\n\n"
        "```{code-cell} ipython3\nx = 2\n```\n\n```{code-cell} ipython3\ny = 3\n```\n\nIt is {num}`2 <x>`.\n"
    )
    assert ledgerpage.computing_cell(read, read.numbers[0]) == 2


@pytest.fixture(scope="module")
def page():
    return parsed(SITE / "book/appendix/ledger.html")


@pytest.mark.site
@pytest.mark.parametrize("path", executed_pages(), ids=lambda p: p.stem)
def test_the_page_lists_each_equation_and_each_number_of_a_chapter(page, path):
    read = read_chapter(path)
    if not read.equations and not read.numbers:
        return
    section = page.find(id=f"ledger-{path.stem}")
    rows = [[cell for cell in row.find_all("td")] for row in section.select("tbody tr")]
    equations = {row[0].code.get_text(): row for row in rows if len(row) == 6}
    assert list(equations) == [e.label for e in read.equations]
    for equation in read.equations:
        row = equations[equation.label]
        assert row[1].get_text() == kind_of(read, equation)
        if equation.label.startswith("eq-"):
            assert row[2].a and "#cell-" in row[2].a["href"] and row[3].get_text() and row[4].get_text()
    numbers = [row for row in rows if len(row) == 5]
    assert [row[1].get_text() for row in numbers] == [c.expression for c in read.numbers]
    assert all(row[3].a for row in numbers)


@pytest.mark.site
def test_the_landing_page_shows_the_totals():
    shown = (SITE / "book/index.html").read_text("utf8")
    totals = ledgerpage.totals()
    assert totals["unlabelled"] == 0
    for kind in ("proved", "checked", "numbers", "claims", "results", "errata"):
        assert str(totals[kind]) in BeautifulSoup(shown, "html.parser").select_one(".ledger-totals").get_text()
