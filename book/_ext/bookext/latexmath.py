r"""The book's LaTeX, read and evaluated: scalar algebra, matrices, indices, sums, integrals, means.

:func:`parse` turns a displayed equation into relations between expressions; :func:`evaluate` gives an expression's value once
its symbols have one. What a symbol's scripts mean depends on that value: a superscript picks a layer from an :class:`Up`, a
subscript one from a :class:`Down`, or an entry (counted from 1) of a matrix or a list; what is left is a power.
Two-dimensional arrays are matrices and multiply as such; one-dimensional arrays hold a random variable's values.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np


class MathError(ValueError):
    """The text cannot be read as the book's mathematics, or a symbol in it has no meaning."""


class Up(list[Any]):
    """One value a layer, picked by a superscript: h^t is ``h[t]``."""


class Down(list[Any]):
    """One value a layer, picked by a subscript: n_t is ``n[t]``."""


class Derived:
    """A value computed from others at each look-up, as they may move: a limit's variable, an integral's."""

    def __init__(self, compute: Callable[[Mapping[str, Any]], Any]) -> None:
        self.compute = compute


@dataclass(frozen=True)
class Node:
    """A piece of mathematics; ``subs`` and ``sup`` are what stands below and above it."""

    op: str
    args: tuple[Node, ...] = ()
    text: str = ""
    subs: tuple[Node, ...] = ()
    sup: Node | None = None


@dataclass(frozen=True)
class Relation:
    """``left sign right``; without a sign an expression that stands alone. ``start`` is its first token."""

    left: Node
    sign: str = ""
    right: Node | None = None


@dataclass
class Group:
    """Relations stated together; an ``implied`` group follows from the one before, ``conditions`` stand after a "for"."""

    relations: list[Relation] = field(default_factory=list)
    implied: bool = False
    conditions: list[Relation] = field(default_factory=list)


TOKEN = re.compile(r"\\(?:text|mathrm|operatorname)\{[^{}]*\}|\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|'+|\S", re.DOTALL)
NOISE = re.compile(
    r"\\begin\{aligned\}|\\end\{aligned\}|\\(?:left|right)\.|\\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])|(?<!\\)\\[,;:! ]|\\\\\[\w+\]"
    r"|\\underbrace|_\{\\text\{[^{}]*\}\}|&|\{\}|\{ +\}"
)
SIGNS = {"=", r"\approx", "<", ">", r"\le", r"\ge", r"\ne", r"\to", r"\longrightarrow", r"\sim", r"\propto"}
IMPLIES = {r"\Rightarrow", r"\Longrightarrow"}
SEPARATORS = {",", ".", ":", ";", r"\quad", r"\qquad", r"\\"}
TIMES = {r"\cdot", r"\times", r"\odot"}
CLOSE = {"(": ")", "[": "]", r"\lvert": r"\rvert", r"\lVert": r"\rVert", r"\lfloor": r"\rfloor", "{": "}", "|": "|"}
ACCENTS = {r"\bar", r"\tilde", r"\widetilde", r"\mathbf"}
WORDS = {"and", "for", "if", "for all"}
BARE = {r"\ln", r"\log", r"\tanh", r"\arctan", r"\arccos", r"\exp", r"\det", r"\psi"}


def tokens(tex: str) -> list[str]:
    """The tokens of an equation, its layout (spaces, sizes of brackets, alignment, rows run on) left out."""
    tex = re.sub(r"\\E\\,", r"\\Eof ", tex)
    tex = re.sub(r"\\begin\{pmatrix\}(.*?)\\end\{pmatrix\}", _matrix, tex, flags=re.DOTALL)
    tex = re.sub(r"\\begin\{cases\}(.*?)\\end\{cases\}", _cases, tex, flags=re.DOTALL)
    tex = re.sub(r"\\substack", "", re.sub(r"\\dots", r"\\cdots", tex))
    raw = TOKEN.findall(NOISE.sub(" ", tex))
    joins = SIGNS | {"+", "-"} | TIMES
    kept: list[str] = []
    for i, token in enumerate(raw):
        after = next((t for t in raw[i + 1 :] if t not in {r"\\", r"\quad", r"\qquad"}), "")
        if token in {r"\\", r"\quad", r"\qquad"} and (after in SIGNS | {"+"} or (kept and kept[-1] in joins)):
            continue
        kept.append(token)
    return kept


def _matrix(match: re.Match[str]) -> str:
    rows = [" , ".join(row.split("&")) for row in match[1].split(r"\\")]
    return r"\matrix[" + " ; ".join(rows) + "]"


def _cases(match: re.Match[str]) -> str:
    rows = [row.strip().rstrip(",. ") for row in match[1].split(r"\\")]
    return r"\cases[" + " ; ".join(rows) + "]"


def parse(tex: str, functions: Collection[str] = (), names: Collection[str] = ()) -> list[Group]:
    r"""The relations an equation states. ``functions`` are the symbols whose bracket is an argument, not a factor.

    ``names`` are words, written ``\text{…}``, that stand for a value; others are prose and left out.

    >>> [group.relations[0].sign for group in parse(r"a < b, \qquad \frac12 x = y")]
    ['<', '=']
    """
    return _Parser(tokens(tex), functions, names).groups()


class _Parser:
    def __init__(self, given: list[str], functions: Collection[str], names: Collection[str]) -> None:
        self.functions, self.names = {*functions, *BARE}, names
        self.given = [word for word in given if not self._is_prose(word)]
        self.at = 0

    def _is_prose(self, token: str) -> bool:
        return token.startswith(r"\text{") and token not in self.names and token[6:-1].strip() not in WORDS

    def peek(self, ahead: int = 0) -> str:
        return self.given[self.at + ahead] if self.at + ahead < len(self.given) else ""

    def take(self, wanted: str = "") -> str:
        token = self.peek()
        if wanted and token != wanted:
            raise MathError(
                f"expected {wanted!r}, found {token or 'the end'!r} after {' '.join(self.given[: self.at])!r}"
            )
        self.at += 1
        return token

    def groups(self) -> list[Group]:
        found = [Group()]
        while token := self.peek():
            if token in SEPARATORS or token in IMPLIES:
                self.take()
                if found[-1].relations:
                    found.append(Group())
                found[-1].implied |= token in IMPLIES
            elif token.startswith(r"\text{") and token not in self.names:
                self.word(found)
            elif token == r"\}":  # a brace: what stands before it has one right side
                self.take()
                sign, right = self.take(), self.expression()
                for group in found:
                    group.relations = [Relation(r.left, sign, right) for r in group.relations]
            elif token == "(" and not found[-1].relations:
                found[-1].relations += self.aside()
            else:
                found[-1].relations += self.chain()
        return [group for group in found if group.relations]

    def word(self, found: list[Group]) -> None:
        """``and``: the group goes on; ``for``: a condition of what stands before; ``for all``: no condition at all."""
        word = self.take()[6:-1].strip()
        if word in {"for", "if"}:
            if not found[-1].relations:
                found.pop()
            found[-1].conditions = self.chain()
        while word == "for all" and self.peek() and self.peek() not in SEPARATORS | IMPLIES:
            self.take()

    def aside(self) -> list[Relation]:
        """A relation in brackets, ``(n \\to \\infty)``; else the bracket begins a formula."""
        begin = self.at
        inside = _Parser(self.bracket("("), self.functions, self.names)
        relations = inside.chain()
        if inside.peek() or not relations[0].sign:
            self.at = begin
            return self.chain()
        return relations

    def chain(self) -> list[Relation]:
        terms, signs = [self.expression()], []
        while self.peek() in SIGNS:
            signs.append(self.take())
            terms.append(self.expression())
        pairs = list(zip(terms, signs, terms[1:], strict=False))
        return [Relation(a, sign, b) for a, sign, b in pairs] or [Relation(terms[0])]

    def expression(self) -> Node:
        sign = self.take() if self.peek() in {"+", "-"} else ""
        first = self.term() if not sign else Node("neg" if sign == "-" else "pos", (self.term(),))
        while self.peek() in {"+", "-"}:
            sign = self.take()
            first = Node("add" if sign == "+" else "sub", (first, self.term()))
        return first

    def term(self) -> Node:
        factors = [self.factor()]
        while True:
            token = self.peek()
            if token in TIMES:
                self.take()
                if self.peek() != r"\cdots":
                    factors.append(self.factor())
            elif token == "/":
                self.take()
                above, below = self._product(factors), self.factor()
                slope = above.op == below.op == "total"
                factors = [Node("partial", above.args + below.args) if slope else Node("div", (above, below))]
            elif token == r"\cdots":
                self.take()
                if self.peek() in TIMES:
                    self.take()
                if self.peek() in {"+", "-"}:
                    raise MathError("a sum with an ellipsis")
                factors.append(Node("to", (factors.pop(), self.factor())))
            elif self._begins_factor(token):
                factors.append(self.factor())
            else:
                return self._product(factors)

    @staticmethod
    def _product(factors: list[Node]) -> Node:
        return factors[0] if len(factors) == 1 else Node("mul", tuple(factors))

    def _begins_factor(self, token: str) -> bool:
        stops = SIGNS | IMPLIES | SEPARATORS | {"", "+", "-", ")", "]", "}", r"\rvert", r"\rVert", r"\rfloor", r"\}"}
        return token not in stops and (not token.startswith(r"\text{") or token in self.names)

    def factor(self) -> Node:
        base = self.base()
        while self.peek() in {"^", "_"}:
            base = self.scripted(base)
        return base

    def scripted(self, base: Node) -> Node:
        """The base with the scripts that follow it."""
        if base.sup is not None and self.peek() == "^":
            base = Node("group", (base,))
        if self.take() == "_":
            return replace(base, subs=self.indices())
        return replace(base, sup=self.argument())

    def indices(self) -> tuple[Node, ...]:
        """A subscript: what stands side by side in it are indices, not factors."""
        given = self.raw_argument()
        if given == ["*"] or given[0] in self.names:
            return (Node("mark", text=given[0]),)
        digits = [digit for token in given for digit in (token if token.isdigit() else [token])]  # w_{12}: two indices
        inner = _Parser(digits, self.functions, self.names)
        found = []
        while inner.peek():
            if inner.peek() == ",":
                inner.take()
                continue
            negative = inner.peek() == "-" and inner.take() == "-"
            index = inner.factor()
            index = Node("neg", (index,)) if negative else index
            while inner.peek() in {"+", "-"}:
                sign = inner.take()
                index = Node("add" if sign == "+" else "sub", (index, inner.factor()))
            found.append(index)
        return tuple(found)

    def raw_argument(self) -> list[str]:
        """The tokens of a macro's argument or a script: a group, or one token (of a number, one digit)."""
        if self.peek() != "{":
            token = self.take()
            if re.fullmatch(r"\d\d+", token):
                self.at -= 1
                self.given[self.at] = token[1:]
                token = token[0]
            if token in {r"\frac", r"\tfrac", r"\sqrt"}:
                raise MathError(f"put braces around the argument that begins with {token}")
            return [token]
        return self.bracket("{")

    def bracket(self, opening: str) -> list[str]:
        """The tokens between an opening bracket and its partner."""
        self.take(opening)
        begin, depth, closing = self.at, 1, CLOSE[opening]
        while depth:
            token = self.take()
            if not token:
                raise MathError(f"{opening} is not closed")
            depth += (token == opening) - (token == closing) if opening != closing else -(token == closing)
        return self.given[begin : self.at - 1]

    def inner(self, given: list[str]) -> Node:
        parser = _Parser(given, self.functions, self.names)
        node = parser.expression()
        if parser.peek():
            raise MathError(f"cannot read {' '.join(given)!r} beyond {parser.peek()!r}")
        return node

    def argument(self) -> Node:
        given = self.raw_argument()
        if given in (["*"], [r"\T"], [r"\circ"]):
            return Node("mark", text=given[0])
        return self.inner(given)

    def listed(self, opening: str) -> tuple[Node, ...]:
        """The arguments in a bracket, separated by commas (a matrix's rows by semicolons)."""
        parts: list[list[str]] = [[]]
        depth = 0
        for token in self.bracket(opening):
            depth += (token in "([{") - (token in ")]}")
            if token in {",", ";"} and not depth:
                parts += [[]] if token == "," else [[";"], []]
            else:
                parts[-1].append(token)
        return tuple(Node("row") if part == [";"] else self.inner(part) for part in parts)

    def base(self) -> Node:
        token = self.peek()
        if re.fullmatch(r"\d+(\.\d+)?", token):
            return Node("number", text=self.take())
        if token in {r"\frac", r"\tfrac"}:
            return self.fraction()
        if token == r"\sqrt":
            self.take()
            return Node("sqrt", (self.argument(),))
        if token == r"\matrix":
            self.take()
            return Node("matrix", self.listed("["))
        if token == r"\cases":
            self.take()
            return self.cases()
        if token in {r"\sum", r"\prod", r"\max", r"\lim"}:
            return self.bound()
        if token == r"\int":
            return self.integral()
        if token == r"\binom":
            self.take()
            return Node("binom", (self.argument(), self.argument()))
        if token in CLOSE:
            return self.group()
        if re.fullmatch(r"[A-Za-z]|\\[A-Za-z]+(\{.*\})?", token, re.DOTALL):
            return self.symbol()
        raise MathError(
            f"cannot read {token or 'the end'!r} after {' '.join(self.given[max(0, self.at - 6) : self.at])!r}"
        )

    def cases(self) -> Node:
        """One value for each condition: value, left and right of the condition, and so on; ``text`` has the signs."""
        parser = _Parser([*self.bracket("["), ";"], self.functions, self.names)
        parts: list[Node] = []
        signs: list[str] = []
        while parser.peek():
            parts.append(parser.expression())
            if parser.peek().startswith(r"\text{"):
                parser.take()
            else:
                parser.take(",")
            (condition,) = parser.chain()
            parts += [condition.left, condition.right or condition.left]
            signs.append(condition.sign)
            parser.take(";")
        return Node("cases", tuple(parts), " ".join(signs))

    def group(self) -> Node:
        opening = self.peek()
        kind = {r"\lvert": "abs", "|": "abs", r"\lVert": "norm", r"\lfloor": "floor"}.get(opening, "group")
        inside = self.inner(self.bracket(opening))
        if kind == "norm" and self.peek() == "_" and self.peek(1) == "F":
            self.at += 2
        return Node(kind, (inside,))

    def fraction(self) -> Node:
        self.take()
        above, below = self.raw_argument(), self.raw_argument()
        if below[:1] == [r"\partial"]:
            number = above.index(r"\partial") if r"\partial" in above else -1
            if above[:2] == [r"\partial", "("]:
                scaled = _Parser(above[1:], self.functions, self.names).listed("(")[0]
                return Node("partial", (scaled, self.inner(below[1:])))
            if number == 0 and below.count(r"\partial") == 1:
                return Node("partial", (self.inner(above[1:]), self.inner(below[1:])))
        if below[0] == "d" and above[:1] == ["d"] and len(below) == 2:
            return Node("derivative", (self.inner(above[1:]),), below[1])
        return Node("div", (self.inner(above), self.inner(below)))

    def bound(self) -> Node:
        """A sum, product, maximum or limit, with the index below it, and the product it applies to."""
        kind, low, high = self.take()[1:], [], None
        while self.peek() in {"_", "^"}:
            if self.take() == "_":
                low = self.raw_argument()
            else:
                high = self.argument()
        if kind == "lim":
            return Node("lim", (self.factor(), self.inner(low[2:])), low[0])
        body = self.term()
        if "=" in low and r"\\" not in low:
            at = low.index("=")
            if high is None:
                raise MathError("a sum from … without an upper end")
            return Node(kind, (body, self.inner(low[at + 1 :]), high), "".join(low[:at]))
        return Node(kind, (body,), " ".join(low))

    def integral(self) -> Node:
        self.take()
        ends: list[Node] = []
        while self.peek() in {"_", "^"}:
            self.take()
            ends.append(self.argument())
        begin = self.at
        while self.peek() and not (self.peek() == "d" and re.fullmatch("[a-z]", self.peek(1))):
            self.take()
        body = self.inner(self.given[begin : self.at])
        self.take("d")
        return Node("int", (body, *ends), self.take())

    def symbol(self) -> Node:
        name = self.take()
        if name in ACCENTS:
            name = f"{name} {''.join(self.raw_argument())}"
        if name == r"\partial":
            return Node("total", (self.factor(),))
        if name == r"\mathbf 1":
            (relation,) = _Parser(self.bracket("["), self.functions, self.names).chain()
            return Node("indicator", (relation.left, relation.right or relation.left), relation.sign)
        if self.peek().startswith("'"):
            name += self.take()
        node = Node("symbol", text=name)
        if self.peek() == "_" and f"{name}_{''.join(self._ahead())}" in self.functions:
            name = f"{name}_{''.join(self._ahead())}"
            self.take()
            self.raw_argument()
        if name in self.functions and (called := self.application(name)):
            return called
        while self.peek() in {"^", "_"}:
            if (self.peek() == "^" and node.sup is not None) or (self.peek() == "_" and node.subs):
                break
            node = self.scripted(node)
        return node

    def _ahead(self) -> list[str]:
        """The subscript that comes next, without taking it."""
        copy = _Parser(list(self.given), self.functions, self.names)
        copy.at = self.at + 1
        return copy.raw_argument()

    def application(self, name: str) -> Node | None:
        """The function applied to what follows; None when nothing does, and the name is a symbol."""
        scripts, begin = Node("group"), self.at
        while self.peek() in {"^", "_"}:
            scripts = self.scripted(scripts)
        if (self.peek() == "(" and name != r"\E") or (self.peek() == "[" and name != r"\Eof"):
            arguments = self.listed(self.peek())
        elif name in BARE | {r"\E", r"\Eof"}:  # \E (x)^2 is the mean of the square
            arguments = (self.factor(),)
        else:
            self.at = begin
            return None
        return replace(Node("call", arguments, name), subs=scripts.subs, sup=scripts.sup)


# --- values -----------------------------------------------------------------------------------------------------------------

Values = Mapping[str, Any]


def _digamma(x: float) -> float:
    """Digamma: recurrence up to 10, then its asymptotic series."""
    shift = 0.0
    while x < 10:
        shift, x = shift - 1 / x, x + 1
    return shift + math.log(x) - 1 / (2 * x) - 1 / (12 * x**2) + 1 / (120 * x**4) - 1 / (252 * x**6)


STANDARD: dict[str, Any] = {
    r"\ln": np.log, r"\log": np.log, r"\tanh": np.tanh, r"\arctan": np.arctan, r"\arccos": np.arccos, r"\exp": np.exp,
    r"\det": np.linalg.det, r"\diag": lambda v: np.diag(np.ravel(v)), r"\pi": math.pi, "e": math.e, r"\psi": _digamma,
    r"\circ": math.pi / 180, r"\infty": math.inf, r"\mathrm{Inf}": math.inf, r"\mathrm{NaN}": math.nan,
    r"\relu": lambda x: x * (np.real(x) > 0), r"\relu'": lambda x: 1.0 * (np.real(x) > 0), "O": lambda x: 0.0 * x,
}  # fmt: skip


def functions_of(values: Values) -> set[str]:
    """The names that are applied to a bracket."""
    return {name for name, value in {**STANDARD, **values}.items() if callable(value)}


def names_of(values: Values) -> set[str]:
    r"""The words, written ``\text{…}``, that are part of a symbol."""
    return {word for name in values for word in re.findall(r"\\text\{[^{}]*\}", name)}


def evaluate(node: Node, values: Values) -> Any:
    """The value of an expression whose symbols mean ``values``; MathError when one has none."""
    try:
        with np.errstate(all="ignore"):
            return _value(node, {**STANDARD, **values})
    except (TypeError, IndexError, OverflowError, ZeroDivisionError, np.linalg.LinAlgError) as error:
        raise MathError(f"has no value: {error}") from None
    except ValueError as error:  # shapes that do not fit
        raise MathError(str(error)) from None


def _lookup(name: str, values: Values) -> Any:
    if name not in values:
        raise MathError(f"{name} has no meaning here")
    value = values[name]
    return value.compute(values) if isinstance(value, Derived) else value


def _text(node: Node) -> str:
    inside = "".join(map(_text, node.args))
    below = "".join(map(_text, node.subs))
    above = _text(node.sup) if node.sup else ""
    sign = {"sub": "-", "neg": "-", "add": "+"}.get(node.op, "")
    if node.op in {"sub", "add"}:
        inside = sign.join(map(_text, node.args))
    return f"{node.text}{inside}" + (f"_{below}" if below else "") + (f"^{above}" if above else "")


def _whole(node: Node, values: Values) -> int:
    number = _value(node, values)
    if np.ndim(number) or isinstance(number, str) or not float(number).is_integer():
        raise MathError(f"the index {_text(node)} is {number}, not a whole number")
    return int(number)


def _value(node: Node, values: Values) -> Any:
    free = [index for index in node.subs if index.op == "symbol" and index.text not in values]
    if node.op == "group" and free:
        return _comprehension(node, node.subs, values)
    if node.op == "symbol":
        base, node = _symbol(node, values)
    else:
        base = OPERATIONS[node.op](node, values)
    return _with_scripts(base, node, values)


def _symbol(node: Node, values: Values) -> tuple[Any, Node]:
    """A symbol's value, and what is left of its scripts: w_0, \\sigma_w, q^* may be names of their own."""
    below = "".join(map(_text, node.subs))
    if node.subs and f"{node.text}_{below}" in values:
        node = replace(node, text=f"{node.text}_{below}", subs=())
    if node.sup is not None and f"{node.text}^{_text(node.sup)}" in values:
        node = replace(node, text=f"{node.text}^{_text(node.sup)}", sup=None)
    return _lookup(node.text, values), node


def _with_scripts(base: Any, node: Node, values: Values) -> Any:
    subs, sup = node.subs, node.sup
    if isinstance(base, Up) and sup is not None:
        base, sup = _pick(base, _whole(sup, values)), None
    if isinstance(base, Down) and subs:
        base, subs = _pick(base, _whole(subs[0], values)), subs[1:]
    for index in subs:
        base = _entry(base, _whole(index, values))
    if sup is None:
        return base
    if sup.op == "mark":
        if sup.text == r"\circ":
            return base * math.pi / 180
        if np.ndim(base) != 2:
            raise MathError("only a matrix is transposed")
        return np.transpose(base)
    exponent = _value(sup, values)
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


def _comprehension(node: Node, subs: tuple[Node, ...], values: Values) -> Any:
    r"""The matrix whose entry (i, j) is given: (a_{ij})_{ij}."""
    ranges = [_range(index.text, values) for index in subs]
    bare = replace(node, subs=())
    rows = [[_value(bare, {**values, subs[0].text: i, subs[1].text: j}) for j in ranges[1]] for i in ranges[0]]
    return np.array(rows)


def _range(name: str, values: Values) -> range:
    ranges = values.get("ranges", {})
    if name not in ranges:
        raise MathError(f"the index {name} has no range")
    return ranges[name]


def _times(a: Any, b: Any) -> Any:
    if isinstance(a, list) or isinstance(b, list) or a is None or b is None:
        raise MathError("a list of layers is no factor")
    if np.ndim(a) >= 2 and np.ndim(b) >= 2:
        if np.shape(a)[-1] != np.shape(b)[-2]:
            raise MathError(f"shapes {np.shape(a)} and {np.shape(b)} do not multiply")
        return a @ b
    return a * b


def _product(node: Node, values: Values) -> Any:
    total = _value(node.args[0], values)
    for factor in node.args[1:]:
        total = _times(total, _value(factor, values))
    return total


def _add(a: Any, b: Any) -> Any:
    if isinstance(a, list) or isinstance(b, list):
        raise MathError("a list of layers is no term")
    if np.ndim(a) >= 2 and np.ndim(b) >= 2 and np.shape(a)[-2:] != np.shape(b)[-2:]:
        raise MathError(f"shapes {np.shape(a)} and {np.shape(b)} do not add")
    return a + b


def _divide(node: Node, values: Values) -> Any:
    above, below = (_value(arg, values) for arg in node.args)
    if isinstance(above, list) or isinstance(below, list):
        raise MathError("a list of layers in a fraction")
    return np.divide(above, below)


def _steps(node: Node, values: Values) -> Iterator[dict[str, Any]]:
    """The values of a bound index, one after the other."""
    if len(node.args) == 3:
        first, last = (_whole(arg, values) for arg in node.args[1:])
        yield from ({**values, node.text: i} for i in range(first, last + 1))
        return
    if node.text in values.get("sums", {}):
        yield from ({**values, **step} for step in values["sums"][node.text])
        return
    if not re.fullmatch(r"[a-z]( [,>] [a-z])*", node.text):
        raise MathError(f"cannot sum over {node.text!r}")
    names = re.findall(r"[a-z]", node.text)
    for chosen in itertools.product(*(_range(name, values) for name in names)):
        if ">" not in node.text or chosen[0] > chosen[1]:
            yield {**values, **dict(zip(names, chosen, strict=True))}


def _sum(node: Node, values: Values) -> Any:
    total: Any = None
    for step in _steps(node, values):
        value = _value(node.args[0], step)
        total = value if total is None else _add(total, value)
    return 0.0 if total is None else total


def _prod(node: Node, values: Values) -> Any:
    """A product; of matrices, new factors to the left."""
    total: Any = None
    for step in _steps(node, values):
        factor = _value(node.args[0], step)
        total = factor if total is None else _times(factor, total)
    return 1.0 if total is None else total


def _to(node: Node, values: Values) -> Any:
    r"""``A^d \cdots A^1``: the factors between, each index one less than the one before."""
    first, last = node.args
    pairs = _differences(first, last)
    spans = {_whole(a, values) - _whole(b, values) for a, b in pairs}
    if len(spans) != 1:
        raise MathError("the factors at the two ends of an ellipsis differ by more than one step of an index")
    total: Any = 1.0
    for k in range(spans.pop() + 1):
        factor = first
        for a, _ in pairs:
            factor = _replace(factor, a, Node("number", text=str(_whole(a, values) - k)))
        total = _times(total, _value(factor, values))
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


def _quadrature(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the tanh-sinh rule, which does not mind a root at the ends."""
    s = np.linspace(-3.5, 3.5, 701)
    inside, slope = np.tanh(np.pi / 2 * np.sinh(s)), np.pi / 2 * np.cosh(s) / np.cosh(np.pi / 2 * np.sinh(s)) ** 2
    half = (high - low) / 2
    return (low + high) / 2 + half * inside, half * slope * (s[1] - s[0])


def _integral(node: Node, values: Values) -> Any:
    """By quadrature; without ends over ±12, beyond which a Gaussian is 0 to rounding."""
    low, high = (float(_value(end, values)) for end in node.args[1:]) if len(node.args) == 3 else (-12.0, 12.0)
    at, weights = _quadrature(low, high)
    return float(np.sum(weights * _value(node.args[0], {**values, node.text: at})))


def _limit(node: Node, values: Values) -> Any:
    """The body's value close to the limit's point; Inf when it still grows like a power."""
    point = _value(node.args[1], values)
    near, nearer = (float(_value(node.args[0], {**values, node.text: point + step})) for step in (1e-7, 1e-9))
    return math.inf if abs(nearer) > 5 * abs(near) else nearer


def _derivative(node: Node, values: Values) -> Any:
    return np.imag(_value(node.args[0], {**values, node.text: _lookup(node.text, values) + 1e-30j})) / 1e-30


def _partial(node: Node, values: Values) -> Any:
    """A derivative: ``values["partial"]`` gets what is differentiated (times a number) and by what, indices in numbers."""
    scale, (above, below) = 1.0, node.args
    if above.op == "mul":
        *scales, above = above.args
        scale = _value(_Parser._product(scales), values)
    return _lookup("partial", values)(_reference(above, values), _reference(below, values), scale)


def _reference(node: Node, values: Values) -> tuple[str, int | None, tuple[int, ...]]:
    if node.op != "symbol":
        raise MathError("a derivative of something other than a symbol")
    layer = None if node.sup is None else _whole(node.sup, values)
    return node.text, layer, tuple(_whole(index, values) for index in node.subs)


def _call(node: Node, values: Values) -> Any:
    return _lookup(node.text, values)(*(_value(arg, values) for arg in node.args))


SIGN: dict[str, Callable[[Any, Any], Any]] = {
    "=": np.equal, r"\ne": np.not_equal, "<": np.less, ">": np.greater, r"\le": np.less_equal, r"\ge": np.greater_equal,
}  # fmt: skip


def _indicator(node: Node, values: Values) -> Any:
    a, b = (_value(arg, values) for arg in node.args)
    return 1.0 * SIGN[node.text](np.real(a), np.real(b))


def _cases_of(node: Node, values: Values) -> Any:
    """The value whose condition holds; there must be one, and one only."""
    met = [
        value
        for sign, (value, a, b) in zip(node.text.split(), zip(*[iter(node.args)] * 3, strict=True), strict=True)
        if SIGN[sign](_value(a, values), _value(b, values))
    ]
    if len(met) != 1:
        raise MathError(f"{len(met)} of the cases apply")
    return _value(met[0], values)


def _matrix_of(node: Node, values: Values) -> Any:
    rows: list[list[Any]] = [[]]
    for entry in node.args:
        if entry.op == "row":
            rows.append([])
        else:
            rows[-1].append(_value(entry, values))
    return np.array(rows, dtype=float)


def _number(node: Node, values: Values) -> Any:
    return values.get("number", float)(node.text)


OPERATIONS: dict[str, Callable[[Node, Values], Any]] = {
    "number": _number,
    "neg": lambda node, values: -_value(node.args[0], values),
    "pos": lambda node, values: _value(node.args[0], values),
    "add": lambda node, values: _add(_value(node.args[0], values), _value(node.args[1], values)),
    "sub": lambda node, values: _add(_value(node.args[0], values), -_value(node.args[1], values)),
    "mul": _product,
    "div": _divide,
    "sqrt": lambda node, values: np.sqrt(_value(node.args[0], values)),
    "abs": lambda node, values: np.abs(_value(node.args[0], values)),
    "norm": lambda node, values: np.sqrt(np.sum(np.square(_value(node.args[0], values)), axis=(-2, -1))),
    "floor": lambda node, values: np.floor(_value(node.args[0], values)),
    "mark": lambda node, values: _lookup(node.text, values),
    "group": lambda node, values: _value(node.args[0], values),
    "binom": lambda node, values: math.comb(*(_whole(arg, values) for arg in node.args)),
    "cases": _cases_of,
    "matrix": _matrix_of,
    "sum": _sum,
    "prod": _prod,
    "max": lambda node, values: max(_value(node.args[0], step) for step in _steps(node, values)),
    "lim": _limit,
    "int": _integral,
    "to": _to,
    "partial": _partial,
    "derivative": _derivative,
    "call": _call,
    "indicator": _indicator,
}  # fmt: skip


def order_term(node: Node) -> tuple[str, int] | None:
    r"""The variable and power of an ``O(x^k)`` in an expression."""
    if node.op == "call" and node.text == "O":
        (inside,) = node.args
        return inside.text, int(inside.sup.text) if inside.sup else 1
    return next((found for arg in node.args if (found := order_term(arg))), None)
