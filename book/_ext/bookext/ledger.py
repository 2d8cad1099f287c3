"""The ledger: no formula and no number on a page without a check in the same section.

* A displayed equation carries a label: ``eq-…`` (a statement: some cell in its section lists the label under ``:checks:``, or
  under ``:proves:`` if SymPy does, and asserts), ``def-…`` (a definition) or ``asm-…`` (an assumption).
* A number claimed in prose is written ``{num}`28 <overflow_step>```; the expression is computed by a cell in the same section,
  and the chapter's last cell compares both.
* The chapter's front matter promises which items of the lecture (L1 … L40) it treats and which results (C1 … C20) and errata
  (E1 … E14) its cells decide.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path

from .source import Cell, Chapter, Equation, SourceError, book_pages, read_chapter

KINDS = {"eq": "checked", "def": "definition", "asm": "assumption"}
IDS = {f"C{i}" for i in range(1, 21)} | {f"E{i}" for i in range(1, 15)}


def _names(tree: ast.AST, context: type[ast.expr_context]) -> set[str]:
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, context)}


def bound_names(cell: Cell) -> set[str]:
    """Names that a cell binds at its top level (assignments, imports, functions, loops)."""
    return _bound_names(cell.source)


@cache
def _bound_names(source: str) -> set[str]:
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


def _asserts(cell: Cell) -> bool:
    return any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(cell.source)))


def problems(chapter: Chapter) -> list[str]:
    """What breaks the ledger's rules in one chapter, each as ``file:line: what, and the remedy``."""
    found: list[str] = []
    code = [cell for cell in chapter.cells if cell.kind == "code"]

    def report(line: int, what: str) -> None:
        found.append(f"{chapter.name}:{line}: {what}")

    labels = [e.label for e in chapter.equations if e.label]
    for label, count in Counter(labels).items():
        if count > 1:
            report(next(e.line for e in chapter.equations if e.label == label), f"label {label} stands {count} times")
    for equation in chapter.equations:
        kind = KINDS.get((equation.label or "").partition("-")[0])
        if equation.label is None:
            report(
                equation.line, f"in '{equation.section}': a displayed equation without a label; close it with $$ (eq-…)"
            )
        elif kind is None:
            report(equation.line, f"label {equation.label}: begin it with eq- (a statement), def- or asm-")
        elif kind == "checked" and not any(equation.label in c.checks and c.section == equation.section for c in code):
            report(
                equation.line, f"{equation.label} is checked by no cell of '{equation.section}'; list it under :checks:"
            )
    for cell in code:
        for name in cell.checks:
            if name not in IDS and name not in labels:
                report(
                    cell.line,
                    f":checks: or :proves: names {name}, which is no label of this chapter and no C or E number",
                )
        if cell.checks and not _asserts(cell):
            report(cell.line, f"the cell checks {', '.join(cell.checks)} but asserts nothing")
    ledger = chapter.front.get("ledger", {})
    for name in [*ledger.get("claims", []), *ledger.get("errata", [])]:
        if not any(name in cell.checks for cell in code):
            report(1, f"the front matter promises {name}, but no cell lists it under :checks:")
    for item in ledger.get("items", []):
        if anchors(chapter).count(item) != 1:
            report(
                1,
                f"the front matter promises item {item}, so one heading has the line ({item})= above it; {anchors(chapter).count(item)} do",
            )
    promised = {*ledger.get("claims", []), *ledger.get("errata", [])}
    for cell in code:
        for name in set(cell.checks) & IDS - promised:
            report(cell.line, f"the cell checks {name}; promise it in the front matter under ledger:")
    found += _claim_problems(chapter, code)
    return found


def _claim_problems(chapter: Chapter, code: list[Cell]) -> list[str]:
    """A claimed number must come from its own section, and nothing later may rebind what it comes from."""
    found = []
    bound = [(cell, bound_names(cell)) for cell in code]
    for claim in chapter.claims:
        where = f"{chapter.name}:{claim.line}: {{num}}`{claim.literal} <{claim.expression}>`"
        names = _names(ast.parse(claim.expression, mode="eval"), ast.Load) - {
            "float",
            "len",
            "abs",
            "max",
            "min",
            "int",
        }
        if not names:
            found.append(f"{where}: the expression uses no name, so nothing computes it")
        for name in sorted(names):
            sections = [cell.section for cell, names_of in bound if name in names_of]
            if claim.section not in sections:
                found.append(f"{where}: no cell of '{claim.section}' computes {name}")
            elif sections[-1] != claim.section:
                found.append(f"{where}: {name} is bound again in '{sections[-1]}'; give it a name of its own")
    return found


def anchors(chapter: Chapter) -> list[str]:
    """The lecture's items (L1 … L40) that have an anchor in this chapter, in order."""
    return re.findall(r"^\((L\d+)\)=\s*$", chapter.text, re.MULTILINE)


def kind_of(chapter: Chapter, equation: Equation) -> str:
    """proved (by SymPy), checked (numerically), definition or assumption."""
    if any(equation.label in cell.proves for cell in chapter.cells):
        return "proved"
    return KINDS.get((equation.label or "").partition("-")[0], "unlabelled")


def counts(chapter: Chapter) -> Counter[str]:
    """How many equations of each kind and how many claimed numbers a chapter has."""
    kinds = Counter(kind_of(chapter, equation) for equation in chapter.equations)
    kinds["numbers"] = len(chapter.claims)
    kinds["results"] = len(chapter.front.get("ledger", {}).get("claims", []))
    kinds["errata"] = len(chapter.front.get("ledger", {}).get("errata", []))
    return kinds


def main(paths: list[str]) -> int:
    """Print every problem, then a line of counts a chapter; exit status 1 when there is a problem."""
    found: list[str] = []
    for path in [Path(p) for p in paths] or book_pages():
        try:
            chapter = read_chapter(path)
            found += problems(chapter)
        except SourceError as error:
            found.append(str(error))
            continue
        if total := counts(chapter):
            shown = ", ".join(f"{number} {kind}" for kind, number in total.items() if number)
            if shown:
                print(f"ledger  {chapter.name}: {shown}")
    print("\n".join(found) if found else "ledger  nothing unchecked")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
