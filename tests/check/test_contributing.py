"""CONTRIBUTING.md's example, put where it says: it passes, and its planted mistakes read as it shows."""

from __future__ import annotations

import re
import textwrap

import pytest
import torch
from bookext.check import formulas, ledger, mutate
from bookext.check.meanings import all_meanings, ch03
from bookext.read.chapter import Chapter, parse_chapter
from support import ROOT

GUIDE = (ROOT / "CONTRIBUTING.md").read_text("utf8")
SECTION = re.search(r"^````markdown\n(.*?)^````$", GUIDE, re.MULTILINE | re.DOTALL)[1]
ENTRY = textwrap.dedent(re.search(r"^   ```python\n(.*?)^   ```$", GUIDE, re.MULTILINE | re.DOTALL)[1])
BEFORE = "(sec-sig-remember)=\n"


def chapter(section: str = SECTION) -> Chapter:
    page = ROOT / "book" / "03-vanishing-sigmoid.md"
    text = page.read_text("utf8")
    assert text.count(BEFORE) == 1
    return parse_chapter(text.replace(BEFORE, f"{section}\n{BEFORE}"), page)


@pytest.fixture
def entered(monkeypatch):
    names = dict(vars(ch03))
    exec(ENTRY, names)
    assert list(names["MEANINGS"]) == ["eq-sig-halved"]
    monkeypatch.setitem(all_meanings(), "eq-sig-halved", names["MEANINGS"]["eq-sig-halved"])
    yield
    formulas.cases_of.cache_clear()


@pytest.mark.slow
def test_the_example_passes(entered):
    page = chapter()
    with_it, without = ([p.partition(": ")[2] for p in ledger.problems(c)] for c in (page, chapter("")))
    assert with_it == without and formulas.problems(page) == {}
    (equation,) = (e for e in page.equations if e.label == "eq-sig-halved")
    assert len(list(mutate.mutants(equation.tex))) >= 5 and mutate.formulas(page, ())[1] == []
    names = {"torch": torch}
    (cell,) = (cell for cell in page.code if "eq-sig-halved" in cell.checks)
    exec(cell.source, names)
    (number,) = (number for number in page.numbers if number.section == "A halved sigmoid")
    assert abs(eval(number.expression, names) - number.value) <= number.tolerance


@pytest.mark.slow
@pytest.mark.parametrize(
    "old, new, says",
    [
        (":checks: [eq-sig-halved]\n\n", "", "is checked by no cell of 'A halved sigmoid'; list it under :checks:"),
        (" (eq-sig-halved)", "", "a displayed equation without a label; close it with $$ (eq-…)"),
        ("inputs = torch", "inputs" + 90 * " " + "= torch", "characters of code, and 85 fit the page; break the line"),
        ("\\tfrac12\\, ", "", "eq-sig-halved: left 0.125, right 0.25, where z = 0"),
        ("(\\frac{z}{2}\\Bigr) =", "(z\\Bigr) =", "eq-sig-halved: left 0.25, right 0.125, where z = 0"),
    ],
)
def test_a_mistake_in_it_is_named_with_its_line(entered, old, new, says):
    assert old in SECTION
    page = chapter(SECTION.replace(old, new, 1))
    first, last = (page.text[: page.text.index(mark)].count("\n") + 1 for mark in ("(sec-sig-halved)=", BEFORE))
    found = [*ledger.problems(page), *formulas.problems(page).values()]
    (line,) = {
        line for text in found if says in text for line in re.findall(r"^book/03-vanishing-sigmoid.md:(\d+): ", text)
    }
    assert first < int(line) < last


@pytest.mark.slow
def test_without_a_meaning_the_message_says_what_to_write_where():
    (message,) = formulas.problems(chapter()).values()
    shown = re.search(r"^book/03-vanishing-sigmoid.md:\d+: (eq-sig-halved: no meaning.*)$", GUIDE, re.MULTILINE)[1]
    assert message.endswith(shown)
