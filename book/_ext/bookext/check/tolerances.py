"""A tolerance says something: it is narrower than half of what it stands beside.

So a number and its double, or its half and itself, cannot both pass: ``39 ± 25`` would also be 20 and 60. A share has a second end:
``94 % ± 25`` would also be everything, so its ± stays below the distance to 100 % too. The same holds for literals in assertions.
"""

import ast
import math
from collections.abc import Iterator

from bookext.read.chapter import Chapter, Number
from bookext.read.claims import statements

CLOSE = {"isclose", "allclose", "assert_close", "approx"}
ABSOLUTE, RELATIVE = {"atol", "abs_tol", "abs"}, {"rtol", "rel_tol", "rel"}


def room(number: Number) -> float:
    """What a number's ± must stay below."""
    share = number.literal.endswith("%") and 0 < number.value < 1
    return min(abs(number.value) / 2, 1 - number.value if share else math.inf)


def _literal(node: ast.expr) -> float | None:
    """The value of a number as code writes it."""
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _compared(test: ast.AST) -> Iterator[tuple[float, float]]:
    """A literal value and its literal tolerance, where an expression compares with one: ``abs(x - 3) < 0.1``."""
    if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Lt | ast.LtE) and isinstance(test.left, ast.Call):
        limit = _literal(test.comparators[0])
        if limit is not None and ast.unparse(test.left.func) in {"abs", "torch.abs", "np.abs"} and test.left.args:
            inside = test.left.args[0]
            sides = (
                (inside.left, inside.right) if isinstance(inside, ast.BinOp) and isinstance(inside.op, ast.Sub) else ()
            )
            yield from ((value, limit) for side in sides if (value := _literal(side)))
    elif isinstance(test, ast.Call) and ast.unparse(test.func).rpartition(".")[2] in CLOSE:
        yield from _close(test)


def _close(call: ast.Call) -> Iterator[tuple[float, float]]:
    values = [value for argument in call.args if (value := _literal(argument))]
    for keyword in call.keywords:
        limit = _literal(keyword.value)
        if limit is not None and keyword.arg in ABSOLUTE | RELATIVE:
            yield from ((value, limit) for value in (values if keyword.arg in ABSOLUTE else [1.0]))


def too_wide(chapter: Chapter) -> Iterator[tuple[int, str]]:
    """The line of each number whose ± is too wide, and of each assertion whose literal tolerance is."""
    yield from _numbers(chapter)
    for cell in chapter.code:
        for assertion in (n for s in statements(cell) for n in ast.walk(s) if isinstance(n, ast.Assert)):
            compared = (pair for part in ast.walk(assertion.test) for pair in _compared(part))
            for value, limit in compared:
                if limit >= abs(value) / 2:
                    told = f"the assertion allows {limit:g} beside {value:g}"
                    yield assertion.lineno, f"{told}; {abs(value):g} and half of it would pass"


def _numbers(chapter: Chapter) -> Iterator[tuple[int, str]]:
    for number in chapter.numbers:
        if number.tolerance > number.rounding and not number.tolerance < room(number):
            told = f"± {number.tolerance:g} beside {number.literal}"
            yield number.line, f"{told}: stay below {room(number):g}, or print what varies less"
