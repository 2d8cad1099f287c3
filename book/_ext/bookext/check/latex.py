r"""The book's LaTeX, read: relations between expressions, as trees.

:func:`parse` turns a displayed equation into relations; :mod:`bookext.check.value` gives an expression's value.
"""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace

from .tokens import IMPLIES, SEPARATORS, SIGNS, TIMES, MathError, tokens


@dataclass(frozen=True)
class Node:
    """A piece of mathematics; ``subs`` and ``sup`` are what stands below and above it."""

    op: str
    args: tuple["Node", ...] = ()
    text: str = ""
    subs: tuple["Node", ...] = ()
    sup: "Node | None" = None

    def names(self) -> Iterator[str]:
        """The symbols in it, without what stands below and above them."""
        if self.op == "symbol":
            yield self.text
        for part in (*self.args, *self.subs, *([self.sup] if self.sup else [])):
            yield from part.names()


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


CLOSE = {"(": ")", "[": "]", r"\lvert": r"\rvert", r"\lVert": r"\rVert", r"\lfloor": r"\rfloor", "{": "}", "|": "|"}
OPENING, CLOSING = {*CLOSE} - {"|"}, {*CLOSE.values()} - {"|"}
FRACTIONS = (r"\frac", r"\tfrac", r"\dfrac")
ACCENTS = {r"\bar", r"\tilde", r"\widetilde", r"\mathbf"}
WORDS = {"and", "for", "if", "for all"}
BARE = {r"\ln", r"\log", r"\tanh", r"\arctan", r"\arccos", r"\exp", r"\det", r"\psi"}


def parse(tex: str, functions: Collection[str] = (), names: Collection[str] = ()) -> list[Group]:
    r"""The relations an equation states. ``functions`` are the symbols whose bracket is an argument, not a factor.

    ``names`` are words, written ``\text{…}``, that stand for a value; others are prose and left out.

    >>> [group.relations[0].sign for group in parse(r"a < b, \qquad \frac12 x = y")]
    ['<', '=']
    >>> parse(r"a + \underbrace{b_{1}}_{\text{the rest}}") == parse(r"a + {b_{1}}")
    True
    """
    return _Parser(without_prose(tokens(tex), names), functions, names).groups()


def without_prose(given: list[str], names: Collection[str]) -> list[str]:
    r"""The tokens without the words between formulas; one inside a brace or a script belongs to a symbol: n_\text{in}."""
    kept, depth = list[str](), 0
    for token in given:
        depth += (token == "{") - (token == "}")
        word = token.startswith(r"\text{") and token not in names and token[6:-1].strip() not in WORDS
        if not word or depth or kept[-1:] in (["_"], ["^"]):
            kept.append(token)
    return kept


def product(factors: list[Node]) -> Node:
    """One factor by itself, several as a product."""
    return factors[0] if len(factors) == 1 else Node("mul", tuple(factors))


class _Parser:
    def __init__(self, given: list[str], functions: Collection[str], names: Collection[str]) -> None:
        self.given, self.functions, self.names = given, {*functions, *BARE}, names
        self.at = 0

    def peek(self, ahead: int = 0) -> str:
        return self.given[self.at + ahead] if self.at + ahead < len(self.given) else ""

    def take(self, wanted: str = "") -> str:
        token = self.peek()
        if wanted and token != wanted:
            before = " ".join(self.given[: self.at])
            raise MathError(f"expected {wanted!r}, found {token or 'the end'!r} after {before!r}")
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

    def expression(self, part: Callable[[], Node] | None = None) -> Node:
        """A sum of terms, or of other parts."""
        part = part or self.term
        sign = self.take() if self.peek() in {"+", "-"} else ""
        first = Node("neg", (part(),)) if sign == "-" else part()
        while self.peek() in {"+", "-"}:
            sign = self.take()
            first = Node("add" if sign == "+" else "sub", (first, part()))
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
                above, below = product(factors), self.factor()
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
                return product(factors)

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
        if given == ["*"]:
            return (Node("mark", text=given[0]),)
        digits = [digit for token in given for digit in (token if token.isdigit() else [token])]  # w_{12}: two indices
        inner = _Parser(digits, self.functions, self.names)
        found = []
        while inner.peek():
            if inner.peek() == ",":
                inner.take()
            else:
                found.append(inner.expression(inner.factor))
        return tuple(found)

    def raw_argument(self) -> list[str]:
        """The tokens of a macro's argument or a script: a group, or one token (of a number, one digit)."""
        if self.peek() != "{":
            token = self.take()
            if re.fullmatch(r"\d\d+", token):
                self.given[self.at - 1 : self.at] = token[0], token[1:]
                token = token[0]
            if token in {*FRACTIONS, r"\sqrt"}:
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
        if token in CLOSE:
            return self.group()
        if token in READERS:
            return READERS[self.take()](self)
        if token in {r"\sum", r"\prod", r"\max", r"\lim"}:
            return self.bound()
        if re.fullmatch(r"[A-Za-z]|\\[A-Za-z]+(\{.*\})?", token, re.DOTALL):
            return self.symbol()
        before = " ".join(self.given[max(0, self.at - 6) : self.at])
        raise MathError(f"cannot read {token or 'the end'!r} after {before!r}")

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

    def underbrace(self) -> Node:
        """What stands above the brace; what stands below it is a remark."""
        above = self.argument()
        if self.peek() == "_":
            self.take()
            self.raw_argument()
        return Node("group", (above,))

    def fraction(self) -> Node:
        above, below = self.raw_argument(), self.raw_argument()
        if len(above) == 1 and above[0] == below[0] and above[0] in {"d", r"\partial"} and len(below) > 1:
            above = [above[0], *self.rest_of_term()]  # d/dx f is df/dx
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

    def rest_of_term(self) -> list[str]:
        """The tokens up to the next sum or relation outside of brackets: what an operator in front applies to."""
        begin, depth = self.at, 0
        while (token := self.peek()) and (
            depth or self._begins_factor(token) or token in TIMES | {"/", "^", "_", r"\cdots"}
        ):
            depth += (token in OPENING) - (token in CLOSING)
            self.at += 1
        if begin == self.at:
            raise MathError("a derivative of nothing: write \\frac{d f}{dx}, or \\frac{d}{dx} f")
        return self.given[begin : self.at]

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
        if self.peek() == "_":
            begin, self.at = self.at, self.at + 1
            scripted = f"{name}_{''.join(self.raw_argument())}"
            if scripted in self.functions:
                name = scripted
            else:
                self.at = begin
        if name in self.functions and (called := self.application(name)):
            return called
        return Node("symbol", text=name)

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


# What reads the rest of a macro.
READERS: dict[str, Callable[[_Parser], Node]] = {
    **dict.fromkeys(FRACTIONS, _Parser.fraction),
    r"\binom": lambda parser: Node("binom", (parser.argument(), parser.argument())),
    r"\sqrt": lambda parser: Node("sqrt", (parser.argument(),)),
    r"\matrix": lambda parser: Node("matrix", parser.listed("[")),
    r"\cases": _Parser.cases,
    r"\underbrace": _Parser.underbrace,
    r"\int": _Parser.integral,
}


def order_term(node: Node) -> tuple[str, int] | None:
    r"""The variable and power of an ``O(x^k)`` in an expression."""
    if node.op == "call" and node.text == "O":
        (inside,) = node.args
        return inside.text, int(inside.sup.text) if inside.sup else 1
    return next((found for arg in node.args if (found := order_term(arg))), None)
