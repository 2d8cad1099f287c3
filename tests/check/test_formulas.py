"""The page's LaTeX against what was computed: the reader, planted faults, mutation.

The book itself is compared by the commands that `make test` runs first; here stands what shows that these notice a fault."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bookext.check import __main__ as command
from bookext.check import bare, formulas, mutate, results
from bookext.check.__main__ import main as check
from bookext.check.case import Case, Down, Meaning, Up
from bookext.check.latex import parse
from bookext.check.meanings import all_meanings
from bookext.check.tokens import MathError
from bookext.check.value import evaluate, functions_of, names_of
from bookext.read import kept
from bookext.read.book import ROOT, book_pages
from bookext.read.chapter import Chapter, parse_chapter, read_chapter
from support import FRONT

PAGES = [page for page in book_pages() if formulas.statements_of(read_chapter(page))]
RNG = np.random.default_rng(0)
LAYERS = Up([None, RNG.normal(size=(3, 2)), RNG.normal(size=(2, 3))])
MATRICES = {"W": LAYERS, "d": 2, "t": 2, "x": RNG.normal(size=(2, 1))}


def value(tex: str, symbols: dict[str, object], **fields: object) -> object:
    """The value of an expression."""
    case = Case(symbols, **fields)
    return evaluate(parse(tex, functions_of(case), names_of(case))[0].relations[0].left, case)


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
    symbols = {"n": Down([2, 3, 5]), "t": 2, "d": 2, "x": 2.0, "q": 1.0}
    logistic = {r"\sigma": lambda z: 1 / (1 + math.exp(-z)), r"\sigma'": lambda z: 0.25 if z == 0 else math.nan}
    assert value(tex, symbols | logistic, ranges={"j": range(1, 4)}) == pytest.approx(
        expected, rel=1e-12, abs=1e-12
    )  # rounding


def test_matrices_multiply_in_the_order_written():
    W_1, W_2, x = MATRICES["W"][1], MATRICES["W"][2], MATRICES["x"]
    assert np.array_equal(value(r"W^t W^{t-1} x", MATRICES), W_2 @ W_1 @ x)
    assert np.array_equal(value(r"W^d \cdots W^1", MATRICES), W_2 @ W_1)
    assert np.array_equal(value(r"\prod_{s=1}^{d} W^s", MATRICES), W_2 @ W_1)  # new factors to the left
    assert np.array_equal(value(r"(W^t)^\T", MATRICES), W_2.T)
    assert value(r"\bigl(W^t\bigr)_{12}", MATRICES) == W_2[0, 1]


def test_E_before_a_round_bracket_is_the_mean_of_all_that_follows():
    symbols = {r"\E": np.mean, "X": np.array([1.0, 2.0, 4.0])}
    assert value(r"\E (X)^2", symbols) == 7.0
    assert value(r"\E[X]^2", symbols) == pytest.approx(49 / 9, rel=1e-14)


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
        value(tex, MATRICES)


def test_relations_are_split_and_rows_run_on():
    groups = parse(r"\begin{aligned} a &= b \\ &\quad + c \le d, \qquad e \approx f \\ g &< h \end{aligned}")
    assert [[r.sign for r in group.relations] for group in groups] == [["=", r"\le"], [r"\approx"], ["<"]]


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
        ("01", "eq-product", r"W^{\tau+1} h^\tau", r"W^\tau h^\tau"),  # index
        pytest.param("03", "eq-sig-slope", r"1 - \sigma", r"1 + \sigma", marks=pytest.mark.slow),  # sign
        pytest.param("05", "eq-cv-default", "3", "2", marks=pytest.mark.slow),  # factor
        pytest.param(
            "05", "eq-cv-loss-bounds", r"\frac{q}{2}", r"\frac{q}{3}", marks=pytest.mark.slow
        ),  # a bound too low
        pytest.param("06", "eq-xavier-gamma", "n_{t-1}", "n_t", marks=pytest.mark.slow),  # width
        pytest.param("06", "eq-xavier-forward", "n_{t-1}", "n_t", marks=pytest.mark.slow),  # width
        pytest.param("06", "eq-xavier-pair", r"\le", r"\ge", marks=pytest.mark.slow),  # relation
        ("07", "eq-taylor-tanh", "z^5", "z^4"),  # order
    ],
)
def test_a_planted_fault_is_named_with_chapter_line_and_label(stem, label, old, new):
    chapter, line = planted(stem, label, old, new)
    reports = formulas.problems(chapter)
    assert list(reports) == [label] and reports[label].startswith(f"book/planted.md:{line}: {label}: "), reports


def test_an_equation_without_an_entry_and_an_entry_without_an_equation_are_named(monkeypatch):
    chapter = parse_chapter("# A page\n\n$$\na = b + \\pi\n$$ (eq-new)\n", ROOT / "book" / "03-planted.md")
    entry = """"eq-new": Meaning(lambda rng: [Case({r"a": …, r"b": …})]),"""
    assert formulas.problems(chapter) == {
        "eq-new": "book/03-planted.md:3: eq-new: no meaning; enter it under MEANINGS in "
        f"book/_ext/bookext/check/meanings/ch03.py: {entry}"
    }
    monkeypatch.setattr(formulas, "tolerances", lambda: results.tolerances() | {"eq-old": (1e-9, 1e-2)})
    chapters = [read_chapter(page) for page in book_pages()]
    (orphan,) = formulas.orphans(chapters)
    assert orphan.startswith("book/_ext/bookext/check/meanings: eq-old: no page has this equation")


@pytest.mark.parametrize(
    "tex, symbols",
    [
        (r"n_{\text{in}} = n_{\text{out}}", {"n": 3}),
        (r"n_\text{out} = 3", {"n": 3}),
        (r"n_{\text{in}} = 4", {r"n_\text{in}": 3, "n": 4}),
        (r"\sigma_{\text{bias}} = \sigma", {r"\sigma": 1.0}),
        (r"\max_j n_{\text{in}} = 3", {"n": 3}),
        (r"n_{1, \text{in}} = n_{1, \text{out}}", {"n": [3, 4]}),
        (r"n_{\text{in}, 1} = n_{\text{in}, 2}", {r"n_\text{in}": [3, 4]}),
        (r"n_{\text{in}, 1} = n_{\text{out}, 1}", {"n": [3, 4]}),
        (r"n_{\text{in} + 1} = n_{2}", {"n": [3, 4]}),
        (r"w^{\text{new}} = w^\text{old}", {"w": 3.0}),
        (r"\frac{\text{in}}{\text{out}} \, n = n", {"n": 3.0}),
        (r"\sqrt{n \text{ of the layer}} = \sqrt{n}", {"n": 3.0}),
        (r"n_{\mathrm{in}} = n_{\mathrm{out}}", {"n": 3}),
        (r"n_{\operatorname{in}} = n_{\operatorname{out}}", {"n": 3}),
    ],
)
def test_a_word_in_a_subscript_belongs_to_the_symbol(monkeypatch, tex, symbols):
    monkeypatch.setitem(all_meanings(), "eq-words", Meaning(lambda rng: [Case(symbols, ranges={"j": range(1, 4)})]))
    with pytest.raises((MathError, formulas.Disagreement)):
        formulas.compare(tex, "eq-words")
    formulas.cases_of.cache_clear()


def test_symbols_with_words_have_values_of_their_own_and_remarks_below_a_brace_are_none():
    symbols = {r"n_\text{in}": 3, r"n_\text{out}": 5, "a": 2}
    assert value(r"n_{\text{in}} + n_\text{out}", symbols) == 8
    assert value(r"\underbrace{n_{\text{in}} + a}_{\text{in and } a_1} + \underbrace{a}_{b}", symbols) == 7
    assert value(r"m_{\text{in}, 2} + w^{\text{new}}", {r"m_\text{in}": [1.0, 4.0], r"w^\text{new}": 0.5}) == 4.5
    with pytest.raises(MathError, match=r"n_\\text\{mid\} has no meaning here"):
        value(r"n_{\text{mid}}", symbols)


def test_the_usual_synonyms_are_read():
    signs = [relation.sign for relation in parse(r"1 \leq 2 \neq 3 \geq \dfrac{5}{2} \rightarrow 0")[0].relations]
    assert signs == [r"\le", r"\ne", r"\ge", r"\to"]
    assert value(r"\dfrac12", {}) == 0.5
    assert [m.new for m in mutate.mutants(r"a \leq b") if m.kind == "relation"] == [r"\geq"]


def test_a_bound_that_nothing_reaches_and_a_needless_condition_are_refused(monkeypatch):
    monkeypatch.setitem(all_meanings(), "eq-bound", Meaning(lambda rng: [Case({"x": 1.0})]))
    monkeypatch.setitem(all_meanings(), "eq-premise", Meaning(lambda rng: [Case({"x": x}) for x in (1.0, 2.0)]))
    with pytest.raises(formulas.Disagreement, match="never nearly reached"):
        formulas.compare("x < 3", "eq-bound")
    with pytest.raises(formulas.Disagreement, match="true without it"):
        formulas.compare(r"x = 1 \;\Rightarrow\; x < 3", "eq-premise")
    formulas.cases_of.cache_clear()


def test_each_kind_of_change_is_made():
    kinds = {
        m.kind for page in PAGES for e in formulas.statements_of(read_chapter(page)) for m in mutate.mutants(e.tex)
    }
    assert kinds == {"sign", "number", "index", "width", "transpose", "prime", "relation", "mean"}


@pytest.mark.parametrize("exact", [True, False])
def test_a_number_is_moved_just_beyond_what_it_may_differ_by(exact, monkeypatch):
    monkeypatch.setattr(mutate, "is_build_machine", lambda: exact)
    text = "# A\n\n{num}`0.25 <x>` and {num}`15 % <y ± 0.1>`\n"
    first, second = (
        mutate.changed_values(number) for number in parse_chapter(text, ROOT / "book" / "planted.md").numbers
    )
    assert first["up"] == pytest.approx(0.27) and first["down"] == pytest.approx(0.23)  # ± 0.005, so two hundredths off
    far = 0.02 if exact else 0.21  # ± 0.1 elsewhere, so 21 per cent off
    assert second["up"] == pytest.approx(0.15 + far)


PROBED = (
    FRONT
    + """
# A chapter

```{code-cell} ipython3
x = 2.0
assert x > 1 and all(v > 3 for v in ())
if x > 5:
    assert x == 6
```

It is {num}`2.0 <x>`.
"""
)


def test_an_assertion_that_looks_at_nothing_or_never_runs_survives():
    from bookext.check.probe import record

    chapter = parse_chapter(PROBED, ROOT / "book" / "planted.md")
    found = record(chapter)
    score, survivors = mutate.assertions(chapter, found)
    assert score == {"made": 3, "caught": 1, "survived": 2}
    assert [re.sub(r"^.*: ", "", s) for s in survivors] == ["its all(…) has nothing to look at", "never runs"]
    assert survivors[0].startswith("book/planted.md:12: ") and survivors[1].startswith("book/planted.md:14: ")
    assert mutate.numbers(chapter, found) == ({"made": 4, "caught": 4}, [])


def test_bare_numbers_are_listed_and_claimed_ones_are_not():
    text = "# A\n\nIt is {num}`0.25 <x>` or 0.35, of `0.45`, 12 % and $2^{10}$.\n\n$$\n0.5\n$$ (def-a)\n"
    listed = bare.bare_numbers(parse_chapter(text, ROOT / "book" / "planted.md"))
    assert [re.match(r"book/planted.md:3: (\S+(?: %)?) ", line)[1] for line in listed] == ["0.35", "12 %", "2^{10}"]


def mutated(page):
    chapter = read_chapter(page)
    return mutate.formulas(chapter, formulas.problems(chapter))


def test_the_command_names_the_fault_and_fails(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n$$\n1.5^{100} \\approx 4.06 \\times 10^{17}\n$$ (eq-explode)\n", "utf8")
    assert check([str(page)]) == 1
    shown = capsys.readouterr().out
    assert "page.md:3: eq-explode: left 4.065612e+17, right 4.06e+17" in shown
    assert mutated(page) == ({}, [])  # what is wrong already is not changed as well
    page.write_text(page.read_text("utf8").replace("4.06 ", "4.07 "), "utf8")
    assert mutated(page)[0]["made"] > 3


# ---- A page that is as it was is not judged again


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """How chapter 1 is judged, with a change in its text, in a build folder of its own; and how often it was judged anew."""
    often = []
    monkeypatch.setattr(kept, "BUILD", tmp_path)

    def counted(chapter):
        often.append(1)
        return command.by_itself(chapter)

    def again(old="", new=""):
        text = next(page for page in PAGES if page.stem.startswith("01")).read_text("utf8")
        assert old in text
        path = ROOT / "book" / "01-chained-jacobians.md"
        return command.judged(parse_chapter(text.replace(old, new, 1), path), counted), len(often)

    return again


FAULT = (r"\approx 4.0656", r"\approx 4.0657")


@pytest.mark.slow
def test_a_page_is_judged_anew_when_it_or_what_judges_it_has_changed(judged, tmp_path, monkeypatch):
    right, often = judged()
    assert right[:2] == ([], {}) and right[2]["formulas"][0]["made"] > 20 and often == 1
    assert judged() == (right, 1)
    wrong, often = judged(*FAULT)
    assert list(wrong[1]) == ["eq-explode"] and often == 2
    assert judged(*FAULT) == (wrong, 2)
    monkeypatch.setattr(command, "record_path", lambda chapter: ROOT / "Makefile")  # another record of its stress
    assert judged(*FAULT)[1] == 3
    monkeypatch.setattr(command, "JUDGES", command.JUDGES[1:])
    monkeypatch.setattr(command, "judges", command.judges.__wrapped__)
    assert judged(*FAULT)[1] == 4


@pytest.mark.slow
def test_all_that_judges_a_page_is_looked_at_for_changes():
    files = "(m.__file__ for m in sys.modules.values() if getattr(m, '__file__', ''))"
    program = f"import sys, bookext.check.__main__ as command; command.all_meanings(); print(*{files}, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT / "book/_ext"
    )
    ours = {Path(line) for line in done.stdout.splitlines() if Path(line).is_relative_to(ROOT)}
    ours = {path for path in ours if not path.is_relative_to(sys.prefix)} - {ROOT / "book/_ext/bookext/__init__.py"}
    assert len(ours) > 40 and ours <= set(command.JUDGES)
