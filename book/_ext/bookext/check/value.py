r"""The value of the book's LaTeX: scalar algebra, matrices, indices, sums, integrals, means.

:func:`evaluate` gives an expression's value once its symbols have one. What a symbol's scripts mean depends on that value: a
superscript picks a layer from an :class:`Up`, a subscript one from a :class:`Down`, or an entry (counted from 1) of a matrix or a
list; what is left is a power. Two-dimensional arrays are matrices and multiply as such; one-dimensional arrays hold a random
variable's values.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
from scipy.integrate import fixed_quad
from scipy.special import digamma

from .case import Case, Derived, Down, Up
from .latex import Node, product
from .tokens import MathError

STANDARD: dict[str, Any] = {
    r"\ln": np.log, r"\log": np.log, r"\tanh": np.tanh, r"\arctan": np.arctan, r"\arccos": np.arccos, r"\exp": np.exp,
    r"\det": np.linalg.det, r"\diag": lambda v: np.diag(np.ravel(v)), r"\pi": math.pi, "e": math.e, r"\psi": digamma,
    r"\circ": math.pi / 180, r"\infty": math.inf, r"\mathrm{Inf}": math.inf, r"\mathrm{NaN}": math.nan,
    r"\relu": lambda x: x * (np.real(x) > 0), r"\relu'": lambda x: 1.0 * (np.real(x) > 0), "O": lambda x: 0.0 * x,
}  # fmt: skip


def functions_of(case: Case) -> set[str]:
    """The names that are applied to a bracket."""
    return {name for name, value in {**STANDARD, **case.symbols}.items() if callable(value)}


def names_of(case: Case) -> set[str]:
    r"""The words, written ``\text{…}``, that are part of a symbol."""
    return {word for name in case.symbols for word in re.findall(r"\\text\{[^{}]*\}", name)}


def evaluate(node: Node, case: Case) -> Any:
    """The value of an expression in a case; MathError when a symbol of it has none."""
    try:
        with np.errstate(all="ignore"):
            return _value(node, case)
    except (TypeError, IndexError, OverflowError, ZeroDivisionError, np.linalg.LinAlgError) as error:
        raise MathError(f"has no value: {error}") from None
    except ValueError as error:  # shapes that do not fit
        raise MathError(str(error)) from None


def _known(name: str, case: Case) -> bool:
    return name in case.symbols or name in STANDARD


def _lookup(name: str, case: Case) -> Any:
    for table in (case.symbols, case.bare, STANDARD):
        if name in table:
            value = table[name]
            return value.compute(case.symbols) if isinstance(value, Derived) else value
    raise MathError(f"{name} has no meaning here")


def _text(node: Node) -> str:
    inside = "".join(map(_text, node.args))
    below = "".join(map(_text, node.subs))
    above = _text(node.sup) if node.sup else ""
    sign = {"sub": "-", "neg": "-", "add": "+"}.get(node.op, "")
    if node.op in {"sub", "add"}:
        inside = sign.join(map(_text, node.args))
    return f"{node.text}{inside}" + (f"_{below}" if below else "") + (f"^{above}" if above else "")


def _whole(node: Node, case: Case) -> int:
    number = _value(node, case)
    if np.ndim(number) or isinstance(number, str) or not float(number).is_integer():
        raise MathError(f"the index {_text(node)} is {number}, not a whole number")
    return int(number)


def _value(node: Node, case: Case) -> Any:
    free = [index for index in node.subs if index.op == "symbol" and not _known(index.text, case)]
    if node.op == "group" and free:
        return _comprehension(node, node.subs, case)
    if node.op == "symbol":
        base, node = _symbol(node, case)
    else:
        base = OPERATIONS[node.op](node, case)
    return _with_scripts(base, node, case)


def _symbol(node: Node, case: Case) -> tuple[Any, Node]:
    """A symbol's value, and what is left of its scripts: w_0, \\sigma_w, q^* may be names of their own."""
    below = "".join(map(_text, node.subs))
    if node.subs and _known(f"{node.text}_{below}", case):
        node = replace(node, text=f"{node.text}_{below}", subs=())
    elif words := "".join(index.text for index in node.subs if index.text.startswith(r"\text{")):
        if not _known(f"{node.text}_{words}", case):
            raise MathError(f"{node.text}_{words} has no meaning here")
        node = replace(node, text=f"{node.text}_{words}", subs=tuple(i for i in node.subs if r"\text{" not in i.text))
    if node.sup is not None and _known(f"{node.text}^{_text(node.sup)}", case):
        node = replace(node, text=f"{node.text}^{_text(node.sup)}", sup=None)
    return _lookup(node.text, case), node


def _with_scripts(base: Any, node: Node, case: Case) -> Any:
    subs, sup = node.subs, node.sup
    if isinstance(base, Up) and sup is not None:
        base, sup = _pick(base, _whole(sup, case)), None
    if isinstance(base, Down) and subs:
        base, subs = _pick(base, _whole(subs[0], case)), subs[1:]
    for index in subs:
        base = _entry(base, _whole(index, case))
    if sup is None:
        return base
    if sup.op == "mark":
        if sup.text == r"\circ":
            return base * math.pi / 180
        if np.ndim(base) != 2:
            raise MathError("only a matrix is transposed")
        return np.transpose(base)
    exponent = _value(sup, case)
    if np.ndim(base) == 2 and np.shape(base) != (1, 1):
        return np.linalg.matrix_power(base, int(exponent))
    return _power(base, exponent)


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, Up | Down | list) or base is None:
        raise MathError("a list of layers has no power")
    number = np.asarray(base)
    return np.power(number if number.dtype.kind in "fc" else number.astype(float), exponent)


def _pick(layers: list[Any], index: int) -> Any:
    if not 0 <= index < len(layers) or layers[index] is None:
        raise MathError(f"there is no layer {index}")
    return layers[index]


def _entry(base: Any, index: int) -> Any:
    """Entry ``index``, counted from 1: of a list, a row of a matrix, a component of a column."""
    if not isinstance(base, list) and np.ndim(base) == 0:
        raise MathError("a number has no entries")
    size = np.shape(base)[-2] if np.ndim(base) == 3 else len(base)
    if not 1 <= index <= size:
        raise MathError(f"there is no entry {index} of {size}")
    if isinstance(base, np.ndarray) and base.ndim == 3:  # random columns
        return base[:, index - 1, 0]
    entry = base[index - 1]
    if isinstance(base, np.ndarray) and base.ndim == 2:
        return entry[0] if base.shape[1] == 1 else list(entry)
    return entry


def _comprehension(node: Node, subs: tuple[Node, ...], case: Case) -> Any:
    r"""The matrix whose entry (i, j) is given: (a_{ij})_{ij}."""
    ranges = [_range(index.text, case) for index in subs]
    bare = replace(node, subs=())
    rows = [[_value(bare, case.put({subs[0].text: i, subs[1].text: j})) for j in ranges[1]] for i in ranges[0]]
    return np.array(rows)


def _range(name: str, case: Case) -> range:
    if name not in case.ranges:
        raise MathError(f"the index {name} has no range")
    return case.ranges[name]


def _times(a: Any, b: Any) -> Any:
    if isinstance(a, list) or isinstance(b, list) or a is None or b is None:
        raise MathError("a list of layers is no factor")
    if np.ndim(a) >= 2 and np.ndim(b) >= 2:
        if np.shape(a)[-1] != np.shape(b)[-2]:
            raise MathError(f"shapes {np.shape(a)} and {np.shape(b)} do not multiply")
        return a @ b
    return a * b


def _add(a: Any, b: Any) -> Any:
    if isinstance(a, list) or isinstance(b, list):
        raise MathError("a list of layers is no term")
    if np.ndim(a) >= 2 and np.ndim(b) >= 2 and np.shape(a)[-2:] != np.shape(b)[-2:]:
        raise MathError(f"shapes {np.shape(a)} and {np.shape(b)} do not add")
    return a + b


def _divide(node: Node, case: Case) -> Any:
    above, below = (_value(arg, case) for arg in node.args)
    if isinstance(above, list) or isinstance(below, list):
        raise MathError("a list of layers in a fraction")
    return np.divide(above, below)


def _steps(node: Node, case: Case) -> Iterator[Case]:
    """The case at each value of a bound index, one after the other."""
    if len(node.args) == 3:
        first, last = (_whole(arg, case) for arg in node.args[1:])
        yield from (case.put({node.text: i}) for i in range(first, last + 1))
        return
    if node.text in case.sums:
        yield from (case.put(step) for step in case.sums[node.text])
        return
    if not re.fullmatch(r"[a-z]( [,>] [a-z])*", node.text):
        raise MathError(f"cannot sum over {node.text!r}")
    names = re.findall(r"[a-z]", node.text)
    for chosen in itertools.product(*(_range(name, case) for name in names)):
        if ">" not in node.text or chosen[0] > chosen[1]:
            yield case.put(dict(zip(names, chosen, strict=True)))


def _terms(node: Node, case: Case) -> Iterator[Any]:
    """What stands behind a sum, product or maximum, at each value of its index."""
    return (_value(node.args[0], step) for step in _steps(node, case))


def _to(node: Node, case: Case) -> Any:
    r"""``A^d \cdots A^1``: the factors between, each index one less than the one before."""
    first, last = node.args
    pairs = _differences(first, last)
    spans = {_whole(a, case) - _whole(b, case) for a, b in pairs}
    if len(spans) != 1:
        raise MathError("the factors at the two ends of an ellipsis differ by more than one step of an index")
    total: Any = 1.0
    for k in range(spans.pop() + 1):
        factor = first
        for a, _ in pairs:
            factor = _replace(factor, a, Node("number", text=str(_whole(a, case) - k)))
        total = _times(total, _value(factor, case))
    return total


def _differences(a: Node, b: Node) -> list[tuple[Node, Node]]:
    """The indices in which two factors of one form differ."""
    if a == b:
        return []
    if a.op != b.op or a.text != b.text or len(a.args) != len(b.args) or len(a.subs) != len(b.subs):
        raise MathError("the factors at the two ends of an ellipsis have different forms")
    found = [pair for x, y in zip(a.args, b.args, strict=True) for pair in _differences(x, y)]
    found += [(x, y) for x, y in zip(a.subs, b.subs, strict=True) if x != y]
    return found + ([(a.sup, b.sup)] if a.sup and b.sup and a.sup != b.sup else [])


def _replace(node: Node, old: Node, new: Node) -> Node:
    """The same with one index put in place of another; only scripts are indices."""
    return replace(
        node,
        args=tuple(_replace(arg, old, new) for arg in node.args),
        subs=tuple(new if sub == old else sub for sub in node.subs),
        sup=new if node.sup == old else node.sup,
    )


def _integral(node: Node, case: Case) -> Any:
    """By Gauss and Legendre's rule; without ends over ±12, beyond which a Gaussian is 0 to rounding."""
    low, high = (float(_value(end, case)) for end in node.args[1:]) if len(node.args) == 3 else (-12.0, 12.0)
    return float(fixed_quad(lambda at: _value(node.args[0], case.put({node.text: at})), low, high, n=2000)[0])


def _limit(node: Node, case: Case) -> Any:
    """The body's value close to the limit's point; Inf when it still grows like a power."""
    point = _value(node.args[1], case)
    near, nearer = (float(_value(node.args[0], case.put({node.text: point + step}))) for step in (1e-7, 1e-9))
    return math.inf if abs(nearer) > 5 * abs(near) else nearer


def _derivative(node: Node, case: Case) -> Any:
    return np.imag(_value(node.args[0], case.put({node.text: _lookup(node.text, case) + 1e-30j}))) / 1e-30


def _partial(node: Node, case: Case) -> Any:
    """A derivative: ``case.partial`` gets what is differentiated (times a number) and by what, indices in numbers."""
    scale, (above, below) = 1.0, node.args
    if above.op == "mul":
        *scales, above = above.args
        scale = _value(product(scales), case)
    if case.partial is None:
        raise MathError("a derivative, of which the case says nothing: give it partial=")
    return case.partial(_reference(above, case), _reference(below, case), scale)


def _reference(node: Node, case: Case) -> tuple[str, int | None, tuple[int, ...]]:
    if node.op != "symbol":
        raise MathError("a derivative of something other than a symbol")
    layer = None if node.sup is None else _whole(node.sup, case)
    return node.text, layer, tuple(_whole(index, case) for index in node.subs)


SIGN: dict[str, Callable[[Any, Any], Any]] = {
    "=": np.equal, r"\ne": np.not_equal, "<": np.less, ">": np.greater, r"\le": np.less_equal, r"\ge": np.greater_equal,
}  # fmt: skip


def _indicator(node: Node, case: Case) -> Any:
    a, b = (_value(arg, case) for arg in node.args)
    return 1.0 * SIGN[node.text](np.real(a), np.real(b))


def _cases_of(node: Node, case: Case) -> Any:
    """The value whose condition holds; there must be one, and one only."""
    met = [
        value
        for sign, (value, a, b) in zip(node.text.split(), zip(*[iter(node.args)] * 3, strict=True), strict=True)
        if SIGN[sign](_value(a, case), _value(b, case))
    ]
    if len(met) != 1:
        raise MathError(f"{len(met)} of the cases apply")
    return _value(met[0], case)


def _matrix_of(node: Node, case: Case) -> Any:
    rows: list[list[Any]] = [[]]
    for entry in node.args:
        if entry.op == "row":
            rows.append([])
        else:
            rows[-1].append(_value(entry, case))
    return np.array(rows, dtype=float)


OPERATIONS: dict[str, Callable[[Node, Case], Any]] = {
    "number": lambda node, case: case.number(node.text),
    "neg": lambda node, case: -_value(node.args[0], case),
    "add": lambda node, case: _add(_value(node.args[0], case), _value(node.args[1], case)),
    "sub": lambda node, case: _add(_value(node.args[0], case), -_value(node.args[1], case)),
    "mul": lambda node, case: reduce(_times, (_value(factor, case) for factor in node.args)),
    "div": _divide,
    "sqrt": lambda node, case: np.sqrt(_value(node.args[0], case)),
    "abs": lambda node, case: np.abs(_value(node.args[0], case)),
    "norm": lambda node, case: np.sqrt(np.sum(np.square(_value(node.args[0], case)), axis=(-2, -1))),
    "floor": lambda node, case: np.floor(_value(node.args[0], case)),
    "mark": lambda node, case: _lookup(node.text, case),
    "group": lambda node, case: _value(node.args[0], case),
    "binom": lambda node, case: math.comb(*(_whole(arg, case) for arg in node.args)),
    "cases": _cases_of,
    "matrix": _matrix_of,
    "sum": lambda node, case: reduce(_add, _terms(node, case), 0.0),
    "prod": lambda node, case: reduce(lambda old, new: _times(new, old), _terms(node, case), 1.0),  # new to the left
    "max": lambda node, case: max(_terms(node, case)),
    "lim": _limit,
    "int": _integral,
    "to": _to,
    "partial": _partial,
    "derivative": _derivative,
    "call": lambda node, case: _lookup(node.text, case)(*(_value(arg, case) for arg in node.args)),
    "indicator": _indicator,
}  # fmt: skip
