"""The page's LaTeX is tied to what was computed: the parser, planted faults, and no change that goes unnoticed."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from bookext import mutate, ties
from bookext.latexmath import Down, MathError, Up, evaluate, functions_of, parse
from bookext.source import ROOT, Chapter, book_pages, executed_pages, parse_chapter, read_chapter
from bookext.tied import TIES, Tie

PAGES = [page for page in book_pages() if ties.statements_of(read_chapter(page))]
RNG = np.random.default_rng(0)
LAYERS = Up([None, RNG.normal(size=(3, 2)), RNG.normal(size=(2, 3))])
MATRICES = {"W": LAYERS, "d": 2, "t": 2, "x": RNG.normal(size=(2, 1))}


def value(tex: str, **symbols: object) -> object:
    """The value of an expression."""
    named = {name.replace("__", "\\"): v for name, v in symbols.items()}
    return evaluate(parse(tex, functions_of(named))[0].relations[0].left, named)


@pytest.mark.parametrize(
    "tex, expected",
    [
        (r"\tfrac14 - \frac{1}{2}", -0.25),
        (r"1.5^{2} \cdot 2 \times 10^{-1}", 0.45),
        (r"2^{-d/2}", 0.5),
        (r"\sqrt{\frac{2}{n_{t-1} + n_t}}", math.sqrt(2 / 8)),
        (r"n_{t-1}^2\,x", 9 * 2.0),
        (r"\Bigl(1 + \frac1d\Bigr)^{d}", 2.25),
        (r"\ln x + \tfrac12\bigl(\ln 2\bigr)", 1.5 * math.log(2)),
        (r"\sum_{i=1}^{n_t} i\, x", 30.0),
        (r"\prod_{i=t}^{d} (i + 1)", 3.0),
        (r"\left\lfloor \frac{\ln 65504}{\ln 1.5} \right\rfloor + 1", 28.0),
        (r"\frac{1}{2 x}\int_{-x}^{x} z^2\, dz", 4 / 3),
        (r"\int \frac{e^{-u^2/2}}{\sqrt{2\pi}} \, du", 1.0),
        (r"\binom{4}{2} |{-x}|", 12.0),
        (r"\frac{d\sqrt x}{dx}", 1 / (2 * math.sqrt(2))),
        (r"45^\circ - \arctan 1", 0.0),
        (r"\sigma'(0) - \sigma(0)", -0.25),
        (r"\begin{cases} 1 & \text{if } x < 0, \\ 3 & \text{if } x \ge 0 . \end{cases}", 3.0),
        (r"\lim_{q \to 0} \frac{\tanh(q)}{q}", 1.0),
        (r"\max_j (j - 2)", 1.0),
    ],
)
def test_the_books_constructs_have_the_value_they_show(tex, expected):
    symbols = {"n": Down([2, 3, 5]), "t": 2, "d": 2, "x": 2.0, "q": 1.0, "ranges": {"j": range(1, 4)}}
    logistic = {"__sigma": lambda z: 1 / (1 + math.exp(-z)), "__sigma'": lambda z: 0.25 if z == 0 else math.nan}
    assert value(tex, **symbols, **logistic) == pytest.approx(expected, rel=1e-12, abs=1e-12)  # rounding


def test_matrices_multiply_in_the_order_written():
    W_1, W_2, x = MATRICES["W"][1], MATRICES["W"][2], MATRICES["x"]
    assert np.array_equal(value(r"W^t W^{t-1} x", **MATRICES), W_2 @ W_1 @ x)
    assert np.array_equal(value(r"W^d \cdots W^1", **MATRICES), W_2 @ W_1)
    assert np.array_equal(value(r"\prod_{s=1}^{d} W^s", **MATRICES), W_2 @ W_1)  # new factors to the left
    assert np.array_equal(value(r"(W^t)^\T", **MATRICES), W_2.T)
    assert value(r"\bigl(W^t\bigr)_{12}", **MATRICES) == W_2[0, 1]


def test_E_before_a_round_bracket_is_the_mean_of_all_that_follows():
    symbols = {"__E": np.mean, "X": np.array([1.0, 2.0, 4.0])}
    assert value(r"\E (X)^2", **symbols) == 7.0
    assert value(r"\E[X]^2", **symbols) == pytest.approx(49 / 9, rel=1e-14)


@pytest.mark.parametrize(
    "tex, message",
    [
        (r"W^t W^t", "do not multiply"),
        (r"W^3", "no layer 3"),
        (r"V + 1", "V has no meaning"),
        (r"W^{t", "not closed"),
        (r"(W^t)_{91}", "no entry 9"),
        (r"x +", "cannot read"),
    ],
)
def test_what_cannot_be_read_says_why(tex, message):
    with pytest.raises(MathError, match=message):
        value(tex, **MATRICES)


def test_relations_are_split_and_rows_run_on():
    groups = parse(r"\begin{aligned} a &= b \\ &\quad + c \le d, \qquad e \approx f \\ g &< h \end{aligned}")
    assert [[r.sign for r in group.relations] for group in groups] == [["=", r"\le"], [r"\approx"], ["<"]]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_equation_is_tied_or_restated_and_every_tie_holds(page):
    assert ties.problems(read_chapter(page)) == []


def test_every_entry_has_its_equation_and_few_are_restated():
    assert ties.orphans([read_chapter(page) for page in book_pages()]) == []
    reasons = [entry for entry in TIES.values() if isinstance(entry, str)]
    assert len(reasons) <= 0.4 * len(TIES)
    assert all(len(reason.split()) >= 4 for reason in reasons)


def planted(stem: str, label: str, old: str, new: str) -> tuple[Chapter, int]:
    """A copy of a chapter with one change in one equation, and the line on which that equation opens."""
    page = next(page for page in PAGES if page.stem.startswith(stem))
    text = page.read_text("utf8")
    end = text.index(f"$$ ({label})")
    start = text.rindex("\n$$\n", 0, end) + 1
    assert old in text[start:end]
    changed = text[:start] + text[start:end].replace(old, new, 1) + text[end:]
    return parse_chapter(changed, ROOT / "book" / "planted.md"), text[:start].count("\n") + 1


@pytest.mark.parametrize(
    "stem, label, old, new",
    [
        ("01", "eq-explode", "4.0656", "4.0657"),  # last digit
        ("01", "eq-delta", r"^\T", ""),  # transpose
        ("01", "eq-product", "W^{i+1} h^i", "W^i h^i"),  # index
        ("03", "eq-sig-slope", r"1 - \sigma", r"1 + \sigma"),  # sign
        ("05", "eq-cv-default", "3", "2"),  # factor
        ("05", "eq-cv-loss-bounds", r"\frac{v}{2}", r"\frac{v}{3}"),  # a bound too low
        ("06", "eq-xavier-gamma", "n_{t-1}", "n_t"),  # width
        ("06", "eq-xavier-forward", "n_{t-1}", "n_t"),  # width
        ("06", "eq-xavier-pair", r"\le", r"\ge"),  # relation
        ("07", "eq-taylor-tanh", "x^5", "x^4"),  # order
    ],
)
def test_a_planted_fault_is_named_with_chapter_line_and_label(stem, label, old, new):
    chapter, line = planted(stem, label, old, new)
    reports = ties.problems(chapter)
    assert len(reports) == 1 and reports[0].startswith(f"book/planted.md:{line}: {label}: "), reports


def test_an_equation_without_an_entry_and_an_entry_without_an_equation_are_named(monkeypatch):
    chapter = parse_chapter("# A page\n\n$$\na = b\n$$ (eq-new)\n", ROOT / "book" / "planted.md")
    assert ties.problems(chapter) == ["book/planted.md:3: eq-new: no tie; enter it in bookext/tied.py"]
    monkeypatch.setitem(TIES, "eq-old", "restated for no reason at all")
    chapters = [read_chapter(page) for page in book_pages()]
    assert ties.orphans(chapters) == ["bookext/tied.py: eq-old: no page has this equation"]


def test_a_bound_that_nothing_reaches_and_a_needless_condition_are_refused(monkeypatch):
    monkeypatch.setitem(TIES, "eq-bound", Tie(lambda rng: [{"x": 1.0}]))
    monkeypatch.setitem(TIES, "eq-premise", Tie(lambda rng: [{"x": 1.0}, {"x": 2.0}]))
    with pytest.raises(ties.Disagreement, match="never nearly reached"):
        ties.compare("x < 3", "eq-bound")
    with pytest.raises(ties.Disagreement, match="true without it"):
        ties.compare(r"x = 1 \;\Rightarrow\; x < 3", "eq-premise")
    ties.cases_of.cache_clear()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_no_changed_formula_goes_unnoticed(page):
    score, survivors = mutate.formulas(read_chapter(page))
    assert not survivors, "\n".join(survivors)
    # many facts about NaN stay true when changed, so the shares leave room for that chapter
    assert score["caught by value"] > 0.4 * score["made"]
    assert score["equivalent"] < 0.4 * score["made"]


def test_each_kind_of_change_is_made():
    kinds = {m.kind for page in PAGES for e in ties.statements_of(read_chapter(page)) for m in mutate.mutants(e.tex)}
    assert kinds == {"sign", "number", "index", "width", "transpose", "prime", "relation", "mean"}


def test_a_number_is_moved_just_beyond_its_tolerance():
    text = "# A\n\n{num}`0.25 <x>` and {num}`15 % <y ± 0.1>`\n"
    first, second = (mutate.changed_values(claim) for claim in parse_chapter(text, ROOT / "book" / "planted.md").claims)
    assert first["up"] == pytest.approx(0.27) and first["down"] == pytest.approx(0.23)  # ± 0.005, so two hundredths off
    assert second["up"] == pytest.approx(0.36)  # ± 0.1, so 21 per cent off


PROBED = """---
jupytext:
  text_representation:
    format_name: myst
kernelspec: {name: python3}
---

# A chapter

```{code-cell} ipython3
x = 2.0
assert x > 1 and all(v > 3 for v in ())
if x > 5:
    assert x == 6
```

It is {num}`2.0 <x>`.
"""


def test_an_assertion_that_looks_at_nothing_or_never_runs_survives():
    from bookext.probe import record

    chapter = parse_chapter(PROBED, ROOT / "book" / "planted.md")
    found = record(chapter)
    score, survivors = mutate.assertions(chapter, found)
    assert score == {"made": 3, "caught": 1, "survived": 2}
    assert [re.sub(r"^.*: ", "", s) for s in survivors] == ["its all(…) has nothing to look at", "never runs"]
    assert survivors[0].startswith("book/planted.md:12: ") and survivors[1].startswith("book/planted.md:14: ")
    assert mutate.numbers(chapter, found) == ({"made": 4, "caught": 4}, [])


def test_bare_numbers_are_listed_and_claimed_ones_are_not():
    text = "# A\n\nIt is {num}`0.25 <x>` or 0.35, of `0.45`, 12 % and $2^{10}$.\n\n$$\n0.5\n$$ (def-a)\n"
    listed = ties.bare_numbers(parse_chapter(text, ROOT / "book" / "planted.md"))
    assert [re.match(r"book/planted.md:3: (\S+(?: %)?) ", line)[1] for line in listed] == ["0.35", "12 %", "2^{10}"]


def test_the_command_names_the_fault_and_fails(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n$$\n1.5^{100} \\approx 4.06 \\times 10^{17}\n$$ (eq-explode)\n", "utf8")
    assert ties.main([str(page)]) == 1
    shown = capsys.readouterr().out
    assert "page.md:3: eq-explode: left 4.065612e+17, right 4.06e+17" in shown
    assert mutate.formulas(read_chapter(page))[0]["made"] > 3


@pytest.mark.slow  # the chapter runs once more, unless nothing has changed since it did
@pytest.mark.parametrize("page", executed_pages(), ids=lambda p: p.stem)
def test_no_changed_number_and_no_negated_assertion_goes_unnoticed(page):
    from bookext.probe import probe

    chapter = read_chapter(page)
    found = probe(chapter)
    for judge in (mutate.numbers, mutate.assertions):
        assert judge(chapter, found)[1] == []
