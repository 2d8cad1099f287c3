"""The ledger: no formula and no number on a page without a check in the same section.

* A displayed equation carries a label: ``eq-…`` (a statement: some cell in its section lists the label under ``:checks:``, or
  under ``:proves:`` if SymPy does, and asserts), ``def-…`` (a definition) or ``asm-…`` (an assumption).
* A number claimed in prose is written ``{num}`28 <overflow_step>```; the expression is computed by a cell in the same section,
  and the chapter's last cell compares both.
* A sentence that claims how networks behave ends with ``{claim}`name```; what that asks for is in :mod:`bookext.check.claims`.
* The chapter's front matter promises which items of the lecture (L1 … L40) it treats and which results (C1 … C20) and errata
  (E1 … E14) its cells decide.
"""

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache

from bookext.read.book import waits_for_nobody
from bookext.read.chapter import Chapter, Equation, Number
from bookext.read.claims import decisions_of

from . import claims, notation, tolerances, words

Found = Iterator[tuple[int, str]]  # the line, and what is wrong there with the remedy
Rule = Callable[[Chapter], Found]
KINDS = {"eq": "checked", "def": "definition", "asm": "assumption"}
FUNCTIONS = {"float", "len", "abs", "max", "min", "int"}
ITEM = re.compile(r"^\((L\d+)\)=\s*$", re.MULTILINE)  # the anchor of an item of the lecture
IDS = {f"C{i}" for i in range(1, 21)} | {f"E{i}" for i in range(1, 15)}


def _names(tree: ast.AST, context: type[ast.expr_context]) -> set[str]:
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, context)}


def used_names(number: Number) -> set[str]:
    """Names that a claimed number's expression reads, functions of Python's own left out."""
    return expression_names(number.expression)


def expression_names(expression: str) -> set[str]:
    """The same of an expression."""
    return _names(ast.parse(expression.strip(), mode="eval"), ast.Load) - FUNCTIONS


@cache
def bound_names(source: str) -> set[str]:
    """Names that a cell's source binds at its top level (assignments, imports, functions, loops)."""
    tree = ast.parse("\n".join("" if line.startswith(("%", "!")) else line for line in source.splitlines()))
    names: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names.add(statement.name)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
        else:
            names |= _names(statement, ast.Store)
    return names


def _labels(chapter: Chapter) -> Found:
    """Each displayed equation has a label of its own that says what it is; a statement is checked in its section."""
    for label, count in Counter(e.label for e in chapter.equations if e.label).items():
        if count > 1:
            yield next(e.line for e in chapter.equations if e.label == label), f"label {label} stands {count} times"
    for e in chapter.equations:
        kind = KINDS.get((e.label or "").partition("-")[0])
        if e.label is None:
            yield e.line, f"in '{e.section}': a displayed equation without a label; close it with $$ (eq-…)"
        elif kind is None:
            yield e.line, f"label {e.label}: begin it with eq- (a statement), def- or asm-"
        elif kind == "checked" and not any(e.label in c.checks and c.section == e.section for c in chapter.code):
            yield e.line, f"{e.label} is checked by no cell of '{e.section}'; list it under :checks:"


def _checks(chapter: Chapter) -> Found:
    """A cell that checks something asserts, and what it names is there."""
    labels = {e.label for e in chapter.equations}
    for cell in chapter.code:
        for name in cell.checks:
            if name not in IDS and name not in labels:
                unknown = "which is no label of this chapter and no C or E number"
                yield cell.line, f":checks: or :proves: names {name}, {unknown}"
        if cell.checks and not any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(cell.source))):
            yield cell.line, f"the cell checks {', '.join(cell.checks)} but asserts nothing"


def _promises(chapter: Chapter) -> Found:
    """The front matter and the cells agree on the results and errata that are decided, and on the lecture's items."""
    ledger = chapter.front.get("ledger", {})
    promised = [*ledger.get("claims", []), *ledger.get("errata", [])]
    decided = {name for cell in chapter.code for name in cell.checks}
    for name in promised:
        if name not in decided:
            yield 1, f"the front matter promises {name}, but no cell lists it under :checks:"
    for item in ledger.get("items", []):
        if (count := anchors(chapter).count(item)) != 1:
            wanted = f"so one heading has the line ({item})= above it; {count} do"
            yield 1, f"the front matter promises item {item}, {wanted}"
    for cell in chapter.code:
        for name in sorted(set(cell.checks) & IDS - set(promised)):
            yield cell.line, f"the cell checks {name}; promise it in the front matter under ledger:"


def _numbers(chapter: Chapter) -> Found:
    """A claimed number comes from its own section, and nothing later binds anew what it comes from."""
    bound = [(cell, bound_names(cell.source)) for cell in chapter.code]
    for number in chapter.numbers:
        what = f"{{num}}`{number.literal} <{number.expression}>`"
        names = used_names(number)
        if not names:
            yield number.line, f"{what}: the expression uses no name, so nothing computes it"
        for name in sorted(names):
            sections = [cell.section for cell, names_of in bound if name in names_of]
            if number.section not in sections:
                yield number.line, f"{what}: no cell of '{number.section}' computes {name}"
            elif sections[-1] != number.section:
                yield number.line, f"{what}: {name} is bound again in '{sections[-1]}'; give it a name of its own"


def _widths(chapter: Chapter) -> Found:
    """A line of code that must be scrolled sideways is not read on a phone; homework's stubs are filled in on a screen."""
    widest = 85 if waits_for_nobody(chapter.front) else 140
    for cell in chapter.code:
        for number, line in enumerate(cell.source.splitlines(), cell.line):
            if len(line) > widest:
                yield number, f"{len(line)} characters of code, and {widest} fit the page; break the line"


def _tables(chapter: Chapter) -> Found:
    """A table that a cell fills stands on the page: as the cell's last line, or by ``display``."""
    for cell in chapter.code:
        if "tables.Table(" not in cell.source:
            continue
        tree = ast.parse(cell.source)
        nodes, last = list(ast.walk(tree)), tree.body[-1]
        calls = [n for n in nodes if isinstance(n, ast.Call) and ast.unparse(n.func) == "display"]
        on_page = {ast.unparse(last)} | {ast.unparse(a) for n in calls for a in n.args}
        made = [n for n in nodes if isinstance(n, ast.Assign) and ast.unparse(n.value).startswith("tables.Table(")]
        for node in made:
            if (name := ast.unparse(node.targets[0])) not in on_page:
                yield cell.line + node.lineno - 1, f"the table {name} is shown nowhere; end the cell with {name}"


RULES: tuple[Rule, ...] = (
    _labels, _checks, _promises, _numbers, _widths, _tables, notation.unknown, tolerances.too_wide, words.unsaid,
    *claims.RULES,
)  # fmt: skip


def problems(chapter: Chapter, rules: Iterable[Rule] = RULES) -> list[str]:
    """What breaks the ledger's rules, or some of them, in one chapter, each as ``file:line: what, and the remedy``."""
    return [f"{chapter.name}:{line}: {what}" for rule in rules for line, what in rule(chapter)]


def anchors(chapter: Chapter) -> list[str]:
    """The lecture's items (L1 … L40) that have an anchor in this chapter, in order."""
    return ITEM.findall(chapter.text)


def kind_of(chapter: Chapter, equation: Equation) -> str:
    """proved (by SymPy), checked (numerically), definition or assumption."""
    if any(equation.label in cell.proves for cell in chapter.cells):
        return "proved"
    return KINDS.get((equation.label or "").partition("-")[0], "unlabelled")


def counts(chapter: Chapter) -> Counter[str]:
    """How many equations of each kind and how many claimed numbers a chapter has."""
    kinds = Counter(kind_of(chapter, equation) for equation in chapter.equations)
    kinds["numbers"] = len(chapter.numbers)
    kinds["claims"] = len(decisions_of(chapter))
    kinds["results"] = len(chapter.front.get("ledger", {}).get("claims", []))
    kinds["errata"] = len(chapter.front.get("ledger", {}).get("errata", []))
    return kinds


def report(chapters: Sequence[Chapter]) -> None:
    """Print a line of counts a chapter."""
    for chapter in chapters:
        if shown := ", ".join(f"{number} {kind}" for kind, number in counts(chapter).items() if number):
            print(f"ledger  {chapter.name}: {shown}")
