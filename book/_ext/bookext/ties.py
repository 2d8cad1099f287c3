r"""The page's own LaTeX against what was computed.

A labelled statement (``eq-…``) is *tied*: its text is parsed, its symbols get the values that :mod:`bookext.tied` computes, and
both sides of each relation must agree. What no parser reads is *restated*, with the reason. An equation without an entry fails,
and so does an entry without an equation.

    python -m bookext.ties           each statement, tied or restated, and totals; exit status 1 when a tie does not hold
    python -m bookext.ties --bare    numbers in the prose that no cell checks, for review
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from .latexmath import Group, MathError, Node, Relation, evaluate, functions_of, names_of, order_term, parse
from .source import NUM_LIKE, Chapter, Equation, book_pages, literal_value, read_chapter
from .tied import TIES, Tie, Values


class Disagreement(Exception):
    """A relation does not hold: both values."""


@lru_cache(maxsize=256)
def cases_of(label: str) -> tuple[Values, ...]:
    """The meanings of an equation's symbols; three draws, from a seed of the label's own."""
    tie = TIES[label]
    assert isinstance(tie, Tie)
    generator = np.random.default_rng(list(label.encode()))
    return tuple(case for _ in range(3) for case in tie.cases(generator))


def relations(tex: str, tie: Tie, values: Values) -> list[Group]:
    """The relations an equation states, read with the symbols of one case."""
    for word, name in tie.words.items():
        tex = tex.replace(word, f"{{{name}}}")
    return parse(tex, functions_of(values), names_of(values))


def numeral(node: Node) -> tuple[float, float] | None:
    r"""The value of a decimal as the page prints it, ``4.07 \times 10^{17}``, and half a unit of its last digit."""
    factors = node.args if node.op == "mul" and len(node.args) == 2 else (node,)
    if factors[0].op != "number" or factors[0].sup is not None:
        return None
    mantissa, exponent = Decimal(factors[0].text), 0
    if len(factors) == 2:
        if factors[1].text != "10" or factors[1].sup is None:
            return None
        exponent = int(evaluate(factors[1].sup, {}))
    digits = mantissa.as_tuple().exponent
    assert isinstance(digits, int)
    return float(mantissa.scaleb(exponent)), float(Decimal(5).scaleb(digits - 1 + exponent))


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


def _remainder_order(relation: Relation, values: Values, name: str) -> float:
    """The power with which the difference of both sides vanishes in ``name``."""
    assert relation.right is not None
    gaps = []
    for at in (0.04, 0.02):
        step = {**values, name: at}
        gaps.append(abs(evaluate(relation.left, step) - evaluate(relation.right, step)))
    return float(np.log2(gaps[0] / gaps[1])) if gaps[1] > 0 else np.inf


def check(relation: Relation, values: Values, tie: Tie) -> float:
    """Raise ``Disagreement`` unless the relation holds in this case; returns the gap that an inequality leaves."""
    sign = relation.sign
    if relation.right is None:
        raise MathError("an expression that the entry gives no reference for (bare)")
    if sign == r"\propto":
        (a, b), (a2, b2) = (
            [evaluate(side, case) for side in (relation.left, relation.right)]
            for case in (values, {**values, **values["also"]})
        )
        with np.errstate(all="ignore"):
            a, b = np.divide(a, a2), np.divide(b, b2)
    else:
        a, b = (evaluate(side, values) for side in (relation.left, relation.right))
    rounded = numeral(relation.right) if sign == r"\approx" else None
    small = order_term(relation.right)
    failed = Disagreement(f"left {_shown(a)}, right {_shown(b)}")
    if sign in {"<", ">", r"\le", r"\ge"}:
        low, high = (a, b) if sign in {"<", r"\le"} else (b, a)
        if not (np.less if sign in {"<", ">"} else np.less_equal)(low, high + 0):
            raise failed
        return float(np.max(np.abs(np.asarray(high) - low)) / max(1e-300, np.max(np.abs([a, b]))))
    if sign == r"\ne":
        holds = bool(np.all(np.asarray(a) != b))
    elif small:
        order = _remainder_order(relation, values, small[0])
        holds = abs(order - small[1]) < 0.1
        failed = Disagreement(f"the difference vanishes with the power {order:.2f}, not {small[1]}")
    elif rounded:
        holds = np.ndim(a) == 0 and abs(a - rounded[0]) <= rounded[1] * (1 + 1e-9)
    elif np.ndim(b) == 0 and not isinstance(b, tuple) and b == np.inf and sign == r"\to":
        holds = bool(a >= 100)
    else:
        loose = sign in {r"\approx", r"\to", r"\longrightarrow", r"\propto"}
        holds = agree(a, b, tie.loose if loose else tie.rtol)
    if not holds:
        raise failed
    return 0.0


def _holds(group: list[Relation], values: Values, tie: Tie) -> bool:
    try:
        for relation in group:
            check(relation, values, tie)
    except Disagreement:
        return False
    return True


def statements(groups: list[Group], values: Values, tie: Tie) -> Iterator[tuple[int, Relation, bool]]:
    """The relations that this case decides, each with its number in the equation and whether its condition is met."""
    number, premise = -1, True
    references = iter(values.get("bare", ()))
    for at, group in enumerate(groups):
        supposes = at + 1 < len(groups) and groups[at + 1].implied
        if supposes:
            premise = _holds(group.relations, values, tie)
        applies = premise and _holds(group.conditions, values, tie)
        for relation in group.relations:
            number += 1
            if relation.right is None:
                relation = Relation(relation.left, "=", Node("mark", text=next(references, "")))
            if not supposes and number in values.get("only", range(99)):
                yield number, relation, applies


def compare(tex: str, label: str) -> None:
    """Raise ``Disagreement`` or ``MathError`` unless the text holds in every case, and each part of it in some."""
    tie = TIES[label]
    assert isinstance(tie, Tie)
    total, decided = 0, set[int]()
    idle: dict[int, bool] = {}  # the relations under a condition that have held wherever the condition did not
    gaps: dict[int, float] = {}
    for values in cases_of(label):
        groups = relations(tex, tie, values)
        premises = {i for i, group in enumerate(groups[1:]) if group.implied}
        total = sum(len(group.relations) for i, group in enumerate(groups) if i not in premises)
        if values.get("fails"):
            if all(_holds([relation], values, tie) for _, relation, _ in statements(groups, values, tie)):
                raise Disagreement("a condition, met where it should not be")
            continue
        for number, relation, applies in statements(groups, values, tie):
            if not applies:
                idle[number] = idle.get(number, True) and _holds([relation], values, tie)
                continue
            gap = check(relation, values, tie)
            decided.add(number)
            if relation.sign in {"<", ">", r"\le", r"\ge"}:
                gaps[number] = min(gap, gaps.get(number, np.inf))
    if len(decided) != total or not total:
        raise Disagreement(f"{total - len(decided)} of {total} relations hold nowhere, or their condition does not")
    if any(idle.values()):
        raise Disagreement("a statement under a condition, true without it")
    for gap in gaps.values():
        if gap > 2e-3:  # a bound that nothing comes near could be a smaller one
            raise Disagreement(f"a bound that is never nearly reached: the closest is {gap:.1%} away")


def statements_of(chapter: Chapter) -> list[Equation]:
    """The equations that are statements: ``eq-…``."""
    return [e for e in chapter.equations if (e.label or "").startswith("eq-")]


def problems(chapter: Chapter) -> list[str]:
    """Ties of a chapter that do not hold, each as ``file:line: label: both values``."""
    found = []
    for equation in statements_of(chapter):
        label = equation.label or ""
        where = f"{chapter.name}:{equation.line}: {label}"
        if label not in TIES:
            found.append(f"{where}: no tie; enter it in bookext/tied.py")
        elif isinstance(TIES[label], Tie):
            try:
                compare(equation.tex, label)
            except Disagreement as error:
                found.append(f"{where}: {error}")
            except MathError as error:
                found.append(f"{where}: cannot be read: {error}")
    return found


def orphans(chapters: Sequence[Chapter]) -> list[str]:
    """Entries whose equation no page has."""
    present = {e.label for chapter in chapters for e in chapter.equations}
    return [f"bookext/tied.py: {label}: no page has this equation" for label in TIES if label not in present]


# A number that claims: a decimal, a percentage, a power. Not {num}, not a formula's own (labels, links and code are left out).
BARE = re.compile(r"(?<![\w.])(\d+\.\d+(?:\s*%)?|\d+\s*%|\d+(?:\.\d+)?\^(?:\{[^}]*\}|\d+))")
SKIPPED = re.compile(r"`[^`]*`|\]\([^)]*\)|\{[\w:]+\}`[^`]*`")


def _number(text: str) -> float:
    """The value of a bare number; NaN for a power of something."""
    base, _, exponent = text.partition("^")
    try:
        return float(base) ** float(exponent.strip("{}")) if exponent else literal_value(base)[0]
    except ValueError:
        return math.nan


def bare_numbers(chapter: Chapter) -> list[str]:
    """Decimals, percentages and powers in the prose that neither a ``{num}`` carries nor a cell uses, for review."""
    found, fence, display = [], False, False
    code = "\n".join(cell.source for cell in chapter.cells if cell.kind == "code")
    settings = {abs(float(m[0])) for m in re.finditer(r"\d+(?:\.\d+)?(?:e-?\d+)?", code)}
    for number, line in enumerate(chapter.text.splitlines(), 1):
        fence ^= line.startswith(("```", "~~~"))
        display ^= line.strip().startswith("$$")
        if fence or display or line.startswith((":", "#", "| L")):
            continue
        rest = SKIPPED.sub(" ", NUM_LIKE.sub(" ", line))
        found += [f"{chapter.name}:{number}: {m[1]}   … {rest[max(0, m.start() - 40) : m.end() + 20].strip()} …"
                  for m in BARE.finditer(rest) if _number(m[1]) not in settings]  # fmt: skip
    return found


def main(arguments: list[str]) -> int:
    """See the module; paths of chapters may be given."""
    paths = [Path(a) for a in arguments if not a.startswith("-")]
    chapters = [read_chapter(path) for path in paths or book_pages()]
    if "--bare" in arguments:
        print("\n".join(line for chapter in chapters for line in bare_numbers(chapter)))
        return 0
    found, tied, restated = [], 0, 0
    for chapter in chapters:
        if not statements_of(chapter):
            continue
        print(chapter.name)
        for equation in statements_of(chapter):
            entry = TIES.get(equation.label or "")
            tied += isinstance(entry, Tie)
            restated += isinstance(entry, str)
            how = f"restated: {entry}" if isinstance(entry, str) else "tied" if entry else "no entry"
            print(f"  {equation.label:32} {how}")
        found += problems(chapter)
    if not paths:
        found += orphans(chapters)
    print(f"ties  {tied} tied, {restated} restated ({restated / max(1, tied + restated):.0%})")
    print("\n".join(found) if found else "ties  every tie holds")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
