"""The ledger as a page: every equation and every claimed number, how it is checked, where, how closely, after which source.

``{ledger}`` writes the tables, ``{ledger-totals}`` the sentence of totals. Both are read from the chapters, so they are never
out of step with what the ledger checks.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

from .build import BUILD, digest
from .decided import cell_url
from .ledger import bound_names, counts, kind_of
from .notebooks import citation, labels, numbered_chapters, role
from .source import Cell, Chapter, Claim, Equation, executed_pages, read_chapter

Row = Sequence[str | nodes.Node]
CITED = re.compile(r"\{cite(?::[pt])?\}`([^`]+)`")
APPROXIMATE = re.compile(r"\\(?:approx|to|longrightarrow|propto)(?![a-z])")
LEDGER = "book/appendix/ledger"
ITEM = re.compile(r"^\((L\d+)\)=\s*$")


def code_cells(chapter: Chapter) -> list[tuple[int, Cell]]:
    """The chapter's code cells with the numbers that their anchors have."""
    return list(enumerate((cell for cell in chapter.cells if cell.kind == "code"), 1))


def computing_cell(chapter: Chapter, claim: Claim) -> int:
    """The number of the cell that gives a claimed number its value: the last of its section to bind a name of it."""
    names = {node.id for node in ast.walk(ast.parse(claim.expression)) if isinstance(node, ast.Name)}
    return max(n for n, cell in code_cells(chapter) if cell.section == claim.section and names & bound_names(cell))


def sources(chapter: Chapter, equation: Equation) -> list[str]:
    """The lecture's item that an equation stands under, and what its section cites."""
    lines = chapter.text.splitlines()
    headings = [i for i, line in enumerate(lines) if line.startswith("## ")]
    start = max((i for i in headings if i < equation.line), default=0)
    end = min((i for i in headings if i >= equation.line), default=len(lines))
    while start and (not lines[start - 1] or ITEM.match(lines[start - 1])):
        start -= 1
    items = [match[1] for line in lines[start : equation.line] if (match := ITEM.match(line))]
    cited = [key for keys in CITED.findall("\n".join(lines[start:end])) for key in keys.split(",")]
    return [*items[-1:], *dict.fromkeys(citation(key, False) for key in cited if key != "d2l")]


@lru_cache(maxsize=1)
def ties() -> dict[str, str | tuple[float, float]]:
    """Of each tied equation its relative tolerances, exact and loose; of another why it is restated.

    They are kept beside the executed chapters: the ties import SymPy and torch, which would double the time of a small edit.
    """
    kept = BUILD / "ties" / f"{digest([Path(__file__).with_name('tied.py')])}.json"
    if not kept.exists():
        from .tied import TIES

        plain = {label: tie if isinstance(tie, str) else (tie.rtol, tie.loose) for label, tie in TIES.items()}
        shutil.rmtree(kept.parent, ignore_errors=True)
        kept.parent.mkdir(parents=True)
        kept.write_text(json.dumps(plain), "utf8")
    return json.loads(kept.read_text("utf8"))


def tie_of(equation: Equation) -> tuple[str, str]:
    """How the page's own formula is compared with what is computed, and to which relative tolerance."""
    entry = ties().get(equation.label or "", "")
    if isinstance(entry, str):
        return (f"restated: {entry}" if entry else "", "")
    exact, loose = entry
    tolerances = [exact] + [loose] * bool(APPROXIMATE.search(equation.tex))
    return "tied", ", ".join(dict.fromkeys(f"{t:.0e}".replace("e-0", "e-") if t else "exact" for t in tolerances))


class LedgerDirective(SphinxDirective):
    """``{ledger}``: for each chapter its equations, and folded its claimed numbers."""

    def run(self) -> list[nodes.Node]:
        shown: list[nodes.Node] = []
        for chapter in map(read_chapter, executed_pages()):
            if chapter.equations or chapter.claims:
                shown += self.chapter(chapter)
        return shown

    def chapter(self, chapter: Chapter) -> list[nodes.Node]:
        """One chapter's section."""
        number = numbered_chapters().get(chapter.path)
        title = f"{number}. {chapter.title}" if number else chapter.title
        section = nodes.section("", nodes.title("", title), ids=[f"ledger-{chapter.path.stem}"])
        if chapter.equations:
            header = ["Equation", "Kind", "Cell", "Tie", "Tolerance", "Source"]
            section += table(header, (self.equation(chapter, e) for e in chapter.equations))
        if chapter.claims:
            summary = f"<summary>{len(chapter.claims)} numbers claimed in the text</summary>"
            section += nodes.raw("", f'<details class="ledger-numbers">{summary}', format="html")
            header = ["Number", "Computed as", "Tolerance", "Cell", "Section"]
            section += table(header, (self.claim(chapter, c) for c in chapter.claims))
            section += nodes.raw("", "</details>", format="html")
        return [section]

    def equation(self, chapter: Chapter, equation: Equation) -> Row:
        label = str(equation.label)
        _, number, anchor = labels()[label]
        cells = [n for n, cell in code_cells(chapter) if label in cell.checks]
        link = nodes.reference("", number, internal=True, refuri=self.url(chapter, anchor))
        name = nodes.inline("", "", link, nodes.Text(" "), nodes.literal("", label))
        kind = kind_of(chapter, equation)
        return [name, kind, self.cells(chapter, cells), *tie_of(equation), "; ".join(sources(chapter, equation))]

    def claim(self, chapter: Chapter, claim: Claim) -> Row:
        literal = role(chapter, "num", f"{claim.literal} <{claim.expression}>")
        cell = self.cells(chapter, [computing_cell(chapter, claim)])
        return [
            literal,
            nodes.literal("", claim.expression),
            f"± {claim.tolerance:.3g}",
            cell,
            with_mathematics(claim.section),
        ]

    def cells(self, chapter: Chapter, numbers: Sequence[int]) -> nodes.Node:
        shown = nodes.inline()
        for number in numbers:
            url = cell_url(self.env.app, self.env.docname, chapter, number)
            shown += [nodes.Text(", ")] if len(shown) else []
            shown += nodes.reference("", f"cell {number}", internal=True, refuri=url)
        return shown

    def url(self, chapter: Chapter, anchor: str) -> str:
        document = self.env.path2doc(str(chapter.path)) or ""
        return f"{self.env.app.builder.get_relative_uri(self.env.docname, document)}#{anchor}"


def table(header: Sequence[str], rows: Iterable[Row]) -> nodes.Node:
    """A table as docutils has it; narrow columns of text."""

    def row(cells: Row) -> nodes.row:
        entries = [nodes.entry("", nodes.paragraph("", "", nodes.Text(c) if isinstance(c, str) else c)) for c in cells]
        return nodes.row("", *entries)

    columns = [nodes.colspec(colwidth=1) for _ in header]
    group = nodes.tgroup("", *columns, nodes.thead("", row(header)), nodes.tbody("", *map(row, rows)), cols=len(header))
    return nodes.table("", group, classes=["ledger"])


def with_mathematics(title: str) -> nodes.Node:
    """A heading's text, its ``$…$`` as mathematics."""
    parts = re.sub(r"\{\w+\}`([^`<]*)[^`]*`|`([^`]*)`", r"\1\2", title).split("$")
    return nodes.inline("", "", *(nodes.math(t, t) if i % 2 else nodes.Text(t) for i, t in enumerate(parts)))


def totals() -> Counter[str]:
    """Equations of each kind, ties, numbers, results and errata of the whole book."""
    chapters = [read_chapter(page) for page in executed_pages()]
    entries = [ties()[e.label] for chapter in chapters for e in chapter.equations if e.label in ties()]
    restated = sum(isinstance(e, str) for e in entries)
    return sum((counts(chapter) for chapter in chapters), Counter(tied=len(entries) - restated, restated=restated))


class TotalsDirective(SphinxDirective):
    """``{ledger-totals}``: the counts in words, with a link to the ledger."""

    def run(self) -> list[nodes.Node]:
        n = totals()
        statements = n["proved"] + n["checked"]
        text = (
            f"{statements} statements, {n['proved']} of them proved with SymPy and {n['checked']} checked numerically; "
            f"the formula as printed is itself evaluated for {n['tied']} of them. {n['numbers']} numbers in the text, "
            f"{n['results']} results and {n['errata']} errata of the lecture, each decided by a cell."
        )
        shown = nodes.paragraph("", text, classes=["ledger-totals"])
        if self.env.docname != LEDGER:
            url = self.env.app.builder.get_relative_uri(self.env.docname, LEDGER)
            link = nodes.reference("", "the ledger", internal=True, refuri=url)
            shown += [nodes.Text(" All of them stand in "), link, nodes.Text(".")]
        return [shown]


def read_from(chapter: Chapter) -> tuple[object, ...]:
    """All of a chapter that the ledger shows; its prose is not among it."""
    equations = [(e.label, e.tex, e.section, sources(chapter, e)) for e in chapter.equations]
    claims = [(c.literal, c.expression, c.tolerance, c.section) for c in chapter.claims]
    cells = [(cell.source, cell.section, cell.metadata) for _, cell in code_cells(chapter)]
    return chapter.title, chapter.front, equations, claims, cells


def outdated(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """The pages with tables or totals, if what they are read from has changed; not at every change of a chapter's prose."""
    seen = repr([read_from(read_chapter(page)) for page in executed_pages()])
    if getattr(env, "ledger_read_from", None) == seen:
        return []
    vars(env)["ledger_read_from"] = seen
    return [name for name in env.found_docs if "```{ledger" in Path(env.doc2path(name)).read_text("utf8")]


def setup(app: Sphinx) -> None:
    app.connect("env-get-outdated", outdated)
    app.add_directive("ledger", LedgerDirective)
    app.add_directive("ledger-totals", TotalsDirective)
