r"""The page's own LaTeX against what was computed.

A labelled statement (``eq-…``) has an entry in :mod:`bookext.check.meanings`: its text is parsed, its symbols get the values that
the entry computes, and both sides of each relation must agree in every case. An equation without an entry fails, one that cannot
be read fails, and so does an entry without an equation.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from bookext.read.chapter import Chapter, Equation, literal_value

from .case import Case, Meaning
from .latex import Group, Node, Relation, order_term, parse
from .meanings import all_meanings
from .results import tolerances
from .tokens import MathError
from .value import STANDARD, evaluate, functions_of, names_of

PLACE = "book/_ext/bookext/check/meanings"
ORDERED = {"<": np.less, ">": np.greater, r"\le": np.less_equal, r"\ge": np.greater_equal}
LOOSE = {r"\approx", r"\to", r"\longrightarrow", r"\propto"}


class Disagreement(Exception):
    """A relation does not hold: both values."""


@lru_cache(maxsize=256)
def cases_of(label: str) -> tuple[Case, ...]:
    """The cases of an equation: three draws, from a seed of the label's own."""
    generator = np.random.default_rng(list(label.encode()))
    return tuple(case for _ in range(3) for case in all_meanings()[label].cases(generator))


def relations(tex: str, meaning: Meaning, case: Case) -> list[Group]:
    """The relations an equation states, read with the symbols of one case."""
    for word, name in meaning.words.items():
        tex = tex.replace(word, f"{{{name}}}")
    return parse(tex, functions_of(case), names_of(case))


def numeral(node: Node) -> tuple[float, float] | None:
    r"""The value of a decimal as the page prints it, ``4.07 \times 10^{17}``, and half a unit of its last digit."""
    factors = node.args if node.op == "mul" and len(node.args) == 2 else (node,)
    if factors[0].op != "number" or factors[0].sup is not None:
        return None
    exponent = 0
    if len(factors) == 2:
        if factors[1].text != "10" or factors[1].sup is None:
            return None
        exponent = int(evaluate(factors[1].sup, Case({})))
    return literal_value(f"{factors[0].text}e{exponent}")


def _shown(value: Any) -> str:
    if isinstance(value, tuple | str):
        return str(value)
    return np.array2string(np.asarray(value), precision=6, threshold=9, separator=", ").replace("\n", " ")


def agree(a: Any, b: Any, rtol: float) -> bool:
    """Equal up to ``rtol`` of the larger; NaN agrees with NaN, Inf with Inf, the zero matrix with 0."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(agree(x, y, rtol) for x, y in zip(a, b, strict=True))
    if isinstance(a, str | tuple | list) or isinstance(b, str | tuple | list):
        return type(a) is type(b) and a == b
    if np.ndim(a) and np.ndim(b) and np.shape(a) != np.shape(b):
        return False
    if (np.ndim(a) == 0) != (np.ndim(b) == 0) and np.any((b if np.ndim(a) else a) != 0):
        return False
    scale = np.max(np.abs(np.nan_to_num(np.concatenate([np.ravel(a), np.ravel(b)]), posinf=0, neginf=0)), initial=0)
    # 1e-12: sums that are 0 but for rounding, of terms of size 1
    return bool(np.allclose(a, b, rtol=0, atol=max(rtol * scale, 1e-12 if rtol else 0), equal_nan=True))


def _remainder_order(relation: Relation, case: Case, name: str) -> float:
    """The power with which the difference of both sides vanishes in ``name``."""
    gaps = [abs(np.subtract(*_both_sides(relation, case.put({name: at})))) for at in (0.04, 0.02)]
    return float(np.log2(gaps[0] / gaps[1])) if gaps[1] > 0 else np.inf


def _both_sides(relation: Relation, case: Case) -> tuple[Any, Any]:
    if relation.right is None:
        raise MathError("an expression without a relation, for which the case names no reference: give it bare=")
    return evaluate(relation.left, case), evaluate(relation.right, case)


def _values(relation: Relation, case: Case) -> tuple[Any, Any]:
    """What is compared: both sides, or for a proportionality their ratios to the second case."""
    a, b = _both_sides(relation, case)
    if relation.sign == r"\propto":
        a2, b2 = _both_sides(relation, case.put(case.also))
        with np.errstate(all="ignore"):
            return np.divide(a, a2), np.divide(b, b2)
    return a, b


def _equal(relation: Relation, a: Any, b: Any, meaning: Meaning) -> bool:
    """Whether a relation holds that states an equality, exact, rounded, approximate or in a limit."""
    if relation.sign == r"\ne":
        return bool(np.all(np.asarray(a) != b))
    if relation.sign == r"\approx" and relation.right and (rounded := numeral(relation.right)):
        return bool(np.ndim(a) == 0 and abs(a - rounded[0]) <= rounded[1] * (1 + 1e-9))
    if relation.sign == r"\to" and np.ndim(b) == 0 and not isinstance(b, tuple) and b == np.inf:
        return bool(a >= 100)
    return agree(a, b, meaning.loose if relation.sign in LOOSE else meaning.rtol)


def check(relation: Relation, case: Case, meaning: Meaning) -> float:
    """Raise ``Disagreement`` unless the relation holds in this case; returns the gap that an inequality leaves."""
    a, b = _values(relation, case)
    failed = Disagreement(f"left {_shown(a)}, right {_shown(b)}")
    if relation.sign in ORDERED:
        if not ORDERED[relation.sign](a, b + 0):
            raise failed
        return float(np.max(np.abs(np.asarray(b) - a)) / max(1e-300, np.max(np.abs([a, b]))))
    if relation.right and (small := order_term(relation.right)) and relation.sign != r"\ne":
        order = _remainder_order(relation, case, small[0])
        if not abs(order - small[1]) < 0.1:
            raise Disagreement(f"the difference vanishes with the power {order:.2f}, not {small[1]}")
    elif not _equal(relation, a, b, meaning):
        raise failed
    return 0.0


def where(case: Case) -> str:
    """The numbers of a case, if they are few enough to be read."""
    shown = [f"{name} = {value:.4g}" for name, value in case.symbols.items() if isinstance(value, int | float)]
    return f", where {', '.join(shown)}" if 0 < len(shown) <= 4 else ""


def _holds(group: list[Relation], case: Case, meaning: Meaning) -> bool:
    try:
        for relation in group:
            check(relation, case, meaning)
    except Disagreement:
        return False
    return True


def statements(groups: list[Group], case: Case, meaning: Meaning) -> Iterator[tuple[int, Relation, bool]]:
    """The relations that this case decides, each with its number in the equation and whether its condition is met."""
    number, premise = -1, True
    references = iter(case.bare)
    for at, group in enumerate(groups):
        supposes = at + 1 < len(groups) and groups[at + 1].implied
        if supposes:
            premise = _holds(group.relations, case, meaning)
        applies = premise and _holds(group.conditions, case, meaning)
        for relation in group.relations:
            number += 1
            if relation.right is None and (reference := next(references, None)) is not None:
                relation = Relation(relation.left, "=", Node("mark", text=reference))
            if not supposes and (case.only is None or number in case.only):
                yield number, relation, applies


@dataclass
class _Seen:
    """What the cases of an equation have decided of its relations, by their numbers."""

    decided: set[int] = field(default_factory=set)
    idle: dict[int, bool] = field(default_factory=dict)  # under a condition: held wherever the condition did not
    gaps: dict[int, float] = field(default_factory=dict)  # of an inequality: the smallest that a case left

    def take(self, groups: list[Group], case: Case, meaning: Meaning) -> None:
        """Decide what one case decides."""
        for number, relation, applies in statements(groups, case, meaning):
            if not applies:
                self.idle[number] = self.idle.get(number, True) and _holds([relation], case, meaning)
                continue
            try:
                gap = check(relation, case, meaning)
            except Disagreement as error:
                raise Disagreement(f"{error}{where(case)}") from None
            self.decided.add(number)
            if relation.sign in ORDERED:
                self.gaps[number] = min(gap, self.gaps.get(number, np.inf))


def compare(tex: str, label: str) -> None:
    """Raise ``Disagreement`` or ``MathError`` unless the text holds in every case, and each part of it in some."""
    meaning, seen, total = all_meanings()[label], _Seen(), 0
    for case in cases_of(label):
        groups = relations(tex, meaning, case)
        premises = {i for i, group in enumerate(groups[1:]) if group.implied}
        total = sum(len(group.relations) for i, group in enumerate(groups) if i not in premises)
        if not case.fails:
            seen.take(groups, case, meaning)
        elif all(_holds([relation], case, meaning) for _, relation, _ in statements(groups, case, meaning)):
            raise Disagreement("a condition, met where it should not be")
    undecided = total - len(seen.decided)
    if undecided or not total:
        raise Disagreement(f"{undecided} of {total} relations hold nowhere, or their condition does not")
    if any(seen.idle.values()):
        raise Disagreement("a statement under a condition, true without it")
    if (gap := max(seen.gaps.values(), default=0)) > 2e-3:  # a bound that nothing comes near could be a smaller one
        raise Disagreement(f"a bound that is never nearly reached: the closest is {gap:.1%} away")


def statements_of(chapter: Chapter) -> list[Equation]:
    """The equations that are statements: ``eq-…``."""
    return [e for e in chapter.equations if (e.label or "").startswith("eq-")]


def entry_for(chapter: Chapter, equation: Equation) -> str:
    """Where the meaning of a new equation is written, and how such an entry begins."""
    number = chapter.path.stem[:2]
    file = f"{PLACE}/ch{number}.py" if number.isdigit() else f"a ch….py in {PLACE}"
    symbols = ", ".join(f'r"{name}": …' for name in symbols_of(equation.tex))
    return f'enter it under MEANINGS in {file}: "{equation.label}": Meaning(lambda rng: [Case({{{symbols}}})]),'


def symbols_of(tex: str) -> list[str]:
    """The names in an equation that only its meaning can give a value, where the text can be read without one."""
    try:
        trees = [side for group in parse(tex) for r in group.relations for side in (r.left, r.right) if side]
    except MathError:
        return []
    return sorted({name for tree in trees for name in tree.names() if name not in STANDARD})


def problem(chapter: Chapter, equation: Equation) -> str | None:
    """Why a statement does not hold; None where it does."""
    label = equation.label or ""
    if label not in all_meanings():
        return f"no meaning; {entry_for(chapter, equation)}"
    try:
        compare(equation.tex, label)
    except Disagreement as error:
        return str(error)
    except MathError as error:
        return f"cannot be read: {error}"
    return None


def problems(chapter: Chapter) -> dict[str, str]:
    """The statements of a chapter that do not hold: from the label to ``file:line: label: why``."""
    judged = ((e, problem(chapter, e)) for e in statements_of(chapter))
    return {e.label or "": f"{chapter.name}:{e.line}: {e.label}: {why}" for e, why in judged if why}


def orphans(chapters: Sequence[Chapter]) -> list[str]:
    """Entries whose equation no page has."""
    present = {e.label for chapter in chapters for e in chapter.equations}
    missing = [label for label in tolerances() if label not in present]
    return [f"{PLACE}: {label}: no page has this equation; take the entry out" for label in missing]


def report(chapters: Sequence[Chapter], failed: Sequence[Mapping[str, str]]) -> None:
    """Print how many statements of each chapter hold."""
    for chapter, fails in zip(chapters, failed, strict=True):
        if number := len(statements_of(chapter)):
            print(f"formulas  {chapter.name}: {number - len(fails)} hold{f', {len(fails)} FAIL' if fails else ''}")
