r"""Does anything notice when the page is wrong? Each formula, number and assertion is changed, one at a time.

*Formulas*: in each statement a sign, a number, an index, a width, a relation, a transpose, a prime or a mean is changed in the
text; the comparison (:mod:`bookext.check.formulas`) must fail. A changed text which says the same is *equivalent*: it reads the same, or
it exchanges indices that the page's assumptions make interchangeable, or the entry names it as still true, with the reason. Caught
*unread* is what no longer has a value: shapes that do not fit, a layer that is not there.

*Numbers*: each ``{num}`` is moved up and down in its last digit, where the book is not built until beyond its ±, changes its sign,
and becomes ten times as large; the comparison of the chapter's last cell, with the value that the chapter computes, must fail.

*Assertions*: each part of each assertion is negated, and so is what its ``all(…)`` asserts of each item; the negated one must
fail. One run a chapter decides: it finds the parts that never ran, the ``all(…)`` that had nothing to look at, and a cell that
proves without SymPy.

*Claims* are changed in :mod:`bookext.check.overstate`.
"""

import math
import re
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bookext.read.chapter import Chapter, Equation, Number
from bookext.read.machine import is_build_machine, workers

from . import overstate
from .case import Meaning
from .formulas import Disagreement, cases_of, compare, relations, statements_of
from .meanings import all_meanings
from .probe import Record, probe
from .tokens import MathError

Fared = tuple[Counter[str], list[str]]  # how many changes there were and were caught; those that nothing noticed


@dataclass(frozen=True)
class Mutant:
    """A changed text: what kind of change, and what became what."""

    kind: str
    old: str
    new: str
    around: tuple[str, str]
    tex: str

    @property
    def change(self) -> str:
        """The place, and what became what."""
        return f"{self.around[0]}[{self.old} -> {self.new}]{self.around[1]}"


PROSE = re.compile(r"\\(?:text|mathrm|operatorname|begin|end)\{[^{}]*\}|\\\\\[\w+\]|\\[bB]igg?[lr]?|\\[A-Za-z]+")
RELATIONS = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", r"\leq": r"\geq", r"\geq": r"\leq"}
# kind, pattern, what takes its place
RULES: list[tuple[str, re.Pattern[str], str]] = [
    ("sign", re.compile(r"\+"), "-"),
    ("sign", re.compile(r"-"), "+"),
    ("index", re.compile(r"(?<![A-Za-z\\])([tds])\s*-\s*1(?!\d)"), r"\1"),
    ("index", re.compile(r"(?<![A-Za-z\\])([tisd])\s*\+\s*1(?!\d)"), r"\1"),
    ("index", re.compile(r"(?<=[\^_])([tsd])(?![A-Za-z])"), r"{\1-1}"),
    ("index", re.compile(r"(?<=[\^_]\{)([tsd])(?=\})"), r"\1-1"),
    ("index", re.compile(r"(?<=_)i(?![A-Za-z])|(?<=_\{)i|(?<=_\{[a-z])i(?=\})"), "j"),
    ("index", re.compile(r"(?<=_)j(?![A-Za-z])|(?<=_\{)j|(?<=_\{[a-z])j(?=\})"), "i"),
    ("width", re.compile(r"n_t(?![A-Za-z])"), "n_{t-1}"),
    ("width", re.compile(r"n_\{t-1\}"), "n_t"),
    ("width", re.compile(r"n'"), "n"),
    ("transpose", re.compile(r"\^\\T(?![A-Za-z])"), ""),
    ("prime", re.compile(r"(?<=\\sigma)'|(?<=\\relu)'"), ""),
    ("relation", re.compile(r"<|>|\\[lg]eq?(?![A-Za-z])"), ""),
    ("mean", re.compile(r"\\E(?=[\[\\bB]*\w*\[)"), r"\\Var"),
    ("mean", re.compile(r"\\Var(?=[\[\\bB]*\w*\[)"), r"\\E"),
]
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def _next(number: str) -> str:
    """The number with its last digit one up (a 9 goes down)."""
    last = int(number[-1])
    return number[:-1] + str(last + 1 if last < 9 else 8)


def mutants(tex: str) -> Iterator[Mutant]:
    """Every changed text of an equation."""
    prose = [m.span() for m in PROSE.finditer(tex)]

    def change(kind: str, start: int, end: int, new: str) -> Iterator[Mutant]:
        old = tex[start:end]
        inside = any(a <= start < b and not (a == start and b == end) for a, b in prose)
        if new != old and not (inside and kind not in {"relation", "mean"}):
            around = [part.replace("\n", " ") for part in (tex[max(0, start - 14) : start], tex[end : end + 14])]
            yield Mutant(kind, old, new, (around[0], around[1]), tex[:start] + new + tex[end:])

    for kind, pattern, new in RULES:
        for match in pattern.finditer(tex):
            text = RELATIONS[match[0]] if kind == "relation" else match.expand(new)
            yield from change(kind, *match.span(), text)
    for match in NUMBER.finditer(tex):
        start, end = match.span()
        if re.search(r"\\[td]?frac$", tex[:start].rstrip()) and end - start == 2 and "." not in match[0]:
            for at in (start, start + 1):  # \frac12 is one over two
                yield from change("number", at, at + 1, _next(tex[at]))
        else:
            yield from change("number", start, end, _next(match[0]))


def equivalent(mutant: Mutant, equation: Equation, meaning: Meaning) -> bool:
    """Whether a changed text that still holds says what the page says."""
    case = cases_of(equation.label or "")[0]
    if relations(mutant.tex, meaning, case) == relations(equation.tex, meaning, case):
        return True
    if mutant.kind in {"index", "number"} and {mutant.old, mutant.new} <= set(meaning.alike):
        return True
    if mutant.kind == "sign" and mutant.around[1].lstrip().startswith("O("):
        return True  # what is only bounded has no sign
    return any(known in mutant.change for known in meaning.true)


def formulas(chapter: Chapter, failed: Container[str]) -> Fared:
    """How a chapter's changed formulas fared, and those that nothing noticed; what fails unchanged is not tried."""
    score, survivors = Counter[str](), list[str]()
    for equation in statements_of(chapter):
        if equation.label in failed:
            continue
        for mutant in mutants(equation.tex):
            score["made"] += 1
            try:
                compare(mutant.tex, equation.label or "")
            except Disagreement:
                score["caught by value"] += 1
            except MathError:
                score["caught unread"] += 1
            else:
                same = equivalent(mutant, equation, all_meanings()[equation.label or ""])
                score["equivalent" if same else "survived"] += 1
                if not same:
                    unnoticed = f"nothing notices this change of the formula ({mutant.kind}): {mutant.change}"
                    survivors.append(f"{chapter.name}:{equation.line}: {equation.label}: {unnoticed}")
    return score, survivors


def may_differ(number: Number) -> float:
    """By how much what is computed here may differ from a number in the text."""
    return number.rounding if is_build_machine() else number.tolerance


def changed_values(number: Number) -> dict[str, float]:
    """What a claimed number becomes: its last digit moved, as far as what it may differ by asks, its sign, its power of ten."""
    unit, allowed = 2 * number.rounding, may_differ(number)
    # the computed value lies within that of the printed one, so beyond twice that it is beyond it from the changed one
    far = unit * (math.floor(2 * allowed / unit + 1e-9) + 1)
    values = {"up": number.value + far, "down": number.value - far}
    if abs(number.value) > allowed:
        values |= {"sign": -number.value, "times ten": 10 * number.value}
    return values


def numbers(chapter: Chapter, record: Record) -> Fared:
    """How a chapter's changed numbers fared."""
    score, survivors = Counter[str](), list[str]()
    for number, computed in zip(chapter.numbers, record["numbers"], strict=True):
        for kind, value in changed_values(number).items():
            caught = not abs(computed - value) <= may_differ(number) * (1 + 1e-9)
            score["made"] += 1
            score["caught" if caught else "survived"] += 1
            if not caught:
                what = f"{{num}} {number.literal} <{number.expression}>"
                survivors.append(f"{chapter.name}:{number.line}: {what}: {kind}: {value:g} passes too")
    return score, survivors


def assertions(chapter: Chapter, record: Record) -> Fared:
    """How a chapter's negated assertions fared."""
    score, survivors = Counter[str](), list[str]()
    for key, source in record["parts"].items():
        score["made"] += 1
        why = {
            key not in record["runs"]: "never runs",
            key in record["empty"]: "its all(…) has nothing to look at",
            key in record["false"]: "is false",
        }.get(True)
        score["survived" if why else "caught"] += 1
        if why:
            survivors.append(f"{chapter.name}:{key.partition(':')[0]}: assert {source}: {why}")
    lines = {int(key.partition(":")[0]) for key in record["symbolic"]}
    for cell in (cell for cell in chapter.cells if cell.proves):
        if not lines & set(range(cell.line, cell.line + cell.source.count("\n") + 1)):
            unproved = f":proves: {', '.join(cell.proves)}, but no assertion compares SymPy"
            survivors.append(f"{chapter.name}:{cell.line}: {unproved}")
    return score, survivors


def changed(chapter: Chapter, failed: Container[str]) -> dict[str, Fared]:
    """How a chapter's changed formulas and claims fared."""
    return {"formulas": formulas(chapter, failed), "claims": overstate.claims(chapter)}


def executed(chapters: Sequence[Chapter]) -> list[dict[str, Fared]]:
    """How the changed numbers and assertions of each chapter fared, which is executed for it."""
    with workers(2) as pool:
        records = list(pool.map(probe, chapters))
    pairs = list(zip(chapters, records, strict=True))
    return [{"numbers": numbers(*pair), "assertions": assertions(*pair)} for pair in pairs]


def report(chapters: Sequence[Chapter], fared: Sequence[Mapping[str, Fared]]) -> list[str]:
    """Print how the changes fared, kind by kind and chapter by chapter; returns the survivors."""
    survivors: list[str] = []
    for what in fared[0] if fared else ():
        total: Counter[str] = Counter()
        for chapter, each in zip(chapters, fared, strict=True):
            score, survived = each[what]
            total += score
            survivors += survived
            if score:
                counts = ", ".join(f"{n} {kind}" for kind, n in score.items())
                print(f"changed {what}  {chapter.path.stem}: {counts}", flush=True)
        if len(chapters) > 1:
            print(f"changed {what}  " + ", ".join(f"{n} {kind}" for kind, n in total.items()))
    return survivors
