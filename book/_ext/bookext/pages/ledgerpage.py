"""The ledger as a page: every equation, claim and claimed number, how it is checked, where, how closely, after which source.

``{ledger}`` writes the tables, ``{ledger-totals}`` the sentence of totals. Both are read from the chapters, so they are never
out of step with what the ledger checks.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

from bookext.check.ledger import ITEM, bound_names, counts, kind_of, used_names
from bookext.check.results import LEDGER_HERE, results, tolerances
from bookext.read.blocks import translation_of
from bookext.read.book import ROOT, executed_pages, numbered_chapters
from bookext.read.chapter import ATTRIBUTES, TARGET, Chapter, Equation, Number, read_chapter
from bookext.read.kept import files, of_page, text_digest
from bookext.read.labels import citation, cited, labels
from bookext.read.plaintext import plain_number

from .chinese import is_chinese, is_translated, language_there, say_there
from .claims import LEDGER, claims_here
from .roles import chapter_url

Row = Sequence[str | nodes.Node]
APPROXIMATE = re.compile(r"\\(?:approx|to|longrightarrow|propto)(?![a-z])")
MACHINERY = [
    *files("book/_ext/bookext/read"),
    Path(__file__),
    Path(__file__).with_name("claims.py"),
    ROOT / "book/references.bib",
]
CELL = "cell\u00a0{number}"


def computing_cell(chapter: Chapter, number: Number) -> int:
    """The number of the cell that gives a claimed number its value: the last of its section to bind a name of it."""
    own = [(n, cell) for n, cell in enumerate(chapter.code, 1) if cell.section == number.section]
    return max(n for n, cell in own if used_names(number) & bound_names(cell.source))


def sources(chapter: Chapter, equation: Equation) -> list[str]:
    """The lecture's item that an equation stands under, and what its section cites."""
    lines = chapter.text.splitlines()
    headings = [i for i, line in enumerate(lines) if line.startswith("## ")]
    start = max((i for i in headings if i < equation.line), default=0)
    end = min((i for i in headings if i >= equation.line), default=len(lines))
    while start and (not lines[start - 1] or TARGET.match(lines[start - 1]) or ATTRIBUTES.match(lines[start - 1])):
        start -= 1
    items = ITEM.findall("\n".join(lines[start : equation.line]))
    keys = cited("\n".join(lines[start:end]))
    return [*items[-1:], *dict.fromkeys(citation(key, False) for key in keys if key != "d2l")]


def tie_of(equation: Equation) -> tuple[str, str]:
    """Whether the page's own formula is compared with what is computed, and to which relative tolerance."""
    if equation.label not in tolerances():
        return "", ""
    exact, loose = tolerances()[equation.label]
    shown = [exact] + [loose] * bool(APPROXIMATE.search(equation.tex))
    return "tied", ", ".join(dict.fromkeys(f"{t:.0e}".replace("e-0", "e-") if t else "exact" for t in shown))


class LedgerDirective(SphinxDirective):
    """``{ledger}``: for each chapter its equations and its claims, and folded its claimed numbers."""

    def run(self) -> list[nodes.Node]:
        shown: list[nodes.Node] = []
        for chapter in map(read_chapter, executed_pages()):
            if chapter.equations or chapter.numbers or claims_here(chapter):
                shown += self.chapter(chapter)
        return shown

    def chapter(self, chapter: Chapter) -> list[nodes.Node]:
        """One chapter's section."""
        twin = twin_of(chapter) if is_translated(self.env.app, self.env.docname) else None
        number, name = numbered_chapters().get(chapter.path), (twin or chapter).title
        title = f"{number}. {name}" if number else name
        section = nodes.section("", nodes.title("", title), ids=[f"ledger-{chapter.path.stem}"])
        if chapter.equations:
            header = ["Equation", "Kind", "Cell", "Tie", "Tolerance", "Source"]
            section += self.table(header, (self.equation(chapter, e) for e in chapter.equations))
        if here := claims_here(chapter, twin):
            header = ["Claim", "Stands for", "Result", "Cell"]
            section += self.table(header, (self.claim(chapter, *c) for c in here), "ledger-claims")
        if chapter.numbers:
            count = self.say("{count} numbers claimed in the text").format(count=len(chapter.numbers))
            summary = f"<summary>{count}</summary>"
            section += nodes.raw("", f'<details class="ledger-numbers">{summary}', format="html")
            header = ["Number", "Computed as", "Tolerance", "Cell", "Section"]
            numbers = zip(chapter.numbers, sections(chapter, twin), strict=True)
            section += self.table(header, (self.number(chapter, *found) for found in numbers))
            section += nodes.raw("", "</details>", format="html")
        return [section]

    def say(self, text: str) -> str:
        """A fixed word of the tables in the page's language."""
        return say_there(self.env.app, self.env.docname, text) if text else ""

    def table(self, header: Sequence[str], rows: Iterable[Row], *classes: str) -> nodes.Node:
        return table([*map(self.say, header)], rows, *classes)

    def equation(self, chapter: Chapter, equation: Equation) -> Row:
        label = str(equation.label)
        _, number, anchor = labels()[label]
        cells = [n for n, cell in enumerate(chapter.code, 1) if label in cell.checks]
        link = nodes.reference("", number, internal=True, refuri=chapter_url(self.env, chapter, anchor))
        name = nodes.inline("", "", link, nodes.Text(" "), nodes.literal("", label))
        kind, (tie, tolerance) = self.say(kind_of(chapter, equation)), tie_of(equation)
        shown = [self.say(tie), tolerance.replace("exact", self.say("exact"))]
        return [name, kind, self.cells(chapter, cells), *shown, "; ".join(sources(chapter, equation))]

    def claim(self, chapter: Chapter, name: str, sentence: str, cell: int) -> Row:
        stands_for, result = results(language_there(self.env.app, self.env.docname))[name]
        said, _ = self.state.inline_text(sentence, self.lineno)
        return [nodes.inline("", "", *said, ids=[f"claim-{name}"]), stands_for, result, self.cells(chapter, [cell])]

    def number(self, chapter: Chapter, number: Number, section: str) -> Row:
        shown, expression = plain_number(number.literal), nodes.literal("", number.expression)
        cell = self.cells(chapter, [computing_cell(chapter, number)])
        return [shown, expression, f"± {number.tolerance:.3g}", cell, with_mathematics(section)]

    def cells(self, chapter: Chapter, numbers: Sequence[int]) -> nodes.Node:
        shown = nodes.inline()
        for number in numbers:
            url = chapter_url(self.env, chapter, f"cell-{number}")
            shown += [nodes.Text(", ")] if len(shown) else []
            name = self.say(CELL).format(number=number)
            shown += nodes.reference("", name, internal=True, refuri=url)
        return shown


def table(header: Sequence[str], rows: Iterable[Row], *classes: str) -> nodes.Node:
    """A table as docutils has it; narrow columns of text."""

    def row(cells: Row) -> nodes.row:
        entries = [nodes.entry("", nodes.paragraph("", "", nodes.Text(c) if isinstance(c, str) else c)) for c in cells]
        return nodes.row("", *entries)

    columns = [nodes.colspec(colwidth=1) for _ in header]
    group = nodes.tgroup("", *columns, nodes.thead("", row(header)), nodes.tbody("", *map(row, rows)), cols=len(header))
    return nodes.table("", group, classes=["ledger", *classes])


def with_mathematics(title: str) -> nodes.Node:
    """A heading's text, its ``$…$`` as mathematics."""
    parts = re.sub(r"\{\w+\}`([^`<]*)[^`]*`|`([^`]*)`", r"\1\2", title).split("$")
    return nodes.inline("", "", *(nodes.math(t, t) if i % 2 else nodes.Text(t) for i, t in enumerate(parts)))


def twin_of(chapter: Chapter) -> Chapter | None:
    """A chapter in Chinese, if it is translated."""
    there = translation_of(chapter.path)
    return read_chapter(there) if there.exists() else None


def sections(chapter: Chapter, twin: Chapter | None) -> list[str]:
    """The section of each claimed number, as the twin names it unless it is behind."""
    told = twin.numbers if twin and len(twin.numbers) == len(chapter.numbers) else chapter.numbers
    return [number.section for number in told]


def totals() -> Counter[str]:
    """Equations of each kind, those that are tied, numbers, claims, results and errata of the whole book."""
    chapters = [read_chapter(page) for page in executed_pages()]
    tied = sum(e.label in tolerances() for chapter in chapters for e in chapter.equations)
    return sum((counts(chapter) for chapter in chapters), Counter(tied=tied))


TOTALS = (
    "The book has {statements} formulas ({proved} proved with SymPy, {checked} checked numerically; "
    "{tied} evaluated as they are printed), {numbers} numbers, {claims} conclusions, "
    "and {results} results and {errata} errata of the lecture."
)


class TotalsDirective(SphinxDirective):
    """``{ledger-totals}``: the counts in words, with a link to the ledger."""

    def run(self) -> list[nodes.Node]:
        n = totals()
        statements = n["proved"] + n["checked"]

        def say(words: str) -> str:
            return say_there(self.env.app, self.env.docname, words)

        tied = say("all") if n["tied"] == statements else n["tied"]
        named = {name: n[name] for name in ("proved", "checked", "numbers", "claims", "results", "errata")}
        text = say(TOTALS).format(statements=statements, tied=tied, **named)
        shown = nodes.paragraph("", text, classes=["ledger-totals"])
        if self.env.docname != LEDGER:
            url = self.env.app.builder.get_relative_uri(self.env.docname, LEDGER)
            link = nodes.reference("", say("the ledger"), internal=True, refuri=url)
            shown += [nodes.Text(say(" Each has its line in ")), link, nodes.Text(say("."))]
        return [shown]


def read_from(chapter: Chapter, twin: Chapter | None = None) -> tuple[object, ...]:
    """All of a chapter, and of its twin, that the ledger shows; its prose is not among it."""
    equations = [(e.label, e.tex, e.section, sources(chapter, e)) for e in chapter.equations]
    numbers = [(c.literal, c.expression, c.tolerance, c.section) for c in chapter.numbers]
    cells = [(cell.source, cell.section, cell.metadata) for cell in chapter.code]
    claims = [(claim, *results()[claim[0]]) for claim in claims_here(chapter, twin)]
    told = twin and (twin.title, sections(chapter, twin))
    return chapter.title, told, chapter.front, equations, numbers, claims, cells


def read_of(chapter: Chapter, twin: Chapter | None, said: str) -> str:
    """A hash of ``read_from``, kept while chapter, twin and results are as they were."""
    text = "\0".join([chapter.text, twin.text if twin else "", said])
    name = "ledger-zh" if twin else "ledger"
    return of_page(name, chapter.path, text, MACHINERY, lambda: text_digest(repr(read_from(chapter, twin))))


def outdated(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """The pages with tables or totals, if what they are read from has changed; not at every change of a chapter's prose."""
    pages = [name for name in env.found_docs if LEDGER_HERE in Path(env.doc2path(name)).read_text("utf8")]
    chapters = [read_chapter(page) for page in executed_pages()] if pages else []
    said = text_digest(repr(results()))
    read = [read_of(chapter, twin_of(chapter) if is_chinese(app) else None, said) for chapter in chapters]
    seen = repr([tolerances(), *read]) if pages else ""
    if getattr(env, "ledger_read_from", None) == seen:
        return []
    vars(env)["ledger_read_from"] = seen
    return pages


def setup(app: Sphinx) -> None:
    app.connect("env-get-outdated", outdated)
    app.add_directive("ledger", LedgerDirective)
    app.add_directive("ledger-totals", TotalsDirective)
