"""A chapter's source as every other module sees it: cells, sections, equations, claimed numbers.

Chapters are MyST text notebooks, and jupytext reads them. The same reading serves the site, the ``.ipynb`` generator and the
ledger.
"""

import ast
import copy
import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Any

import nbformat
from jupytext.myst import MystMetadataParsingError, myst_to_notebook
from nbformat.validator import NotebookValidationError

from .book import ROOT, display_path, front_matter
from .kept import of_page

# {num}`4.0656e17 <growth>`, or with an absolute tolerance of its own: {num}`0.24 <ratio ± 0.05>`
NUM = re.compile(r"\{num\}`([^`<]*)<([^`]*)>`")
NUM_LIKE = re.compile(r"\{num\}`[^`]*`")
FENCE = re.compile(r"^\s*(`{3,}|~{3,})")
HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*$")
TARGET = re.compile(r"^\(([\w:.-]+)\)=\s*$")
ATTRIBUTES = re.compile(r"^\{[.#][^}]*\}\s*$")  # such as {.fold}, above a heading and below its targets
DISPLAYED = "write displayed mathematics as $$ … $$ (eq-label)"
EQUATION_END = re.compile(r"^\s*\$\$(?:\s*\(([^)]+)\))?\s*$")


class SourceError(ValueError):
    """Something in a chapter's text is not as the book writes it; names file and line."""


@dataclass
class Cell:
    """One notebook cell; ``line`` is where its first source line stands in the chapter (1-based)."""

    kind: str
    source: str
    line: int
    section: str
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def checks(self) -> list[str]:
        """What the cell says it checks or proves: equation labels, C1 … C20 (results), E1 … E14 (errata)."""
        return [*self.metadata.get("checks", []), *self.proves]

    @property
    def proves(self) -> list[str]:
        """The equations of which the cell says that SymPy proves them."""
        return list(self.metadata.get("proves", []))


@dataclass
class Equation:
    """A displayed equation; ``label`` is None where the author forgot it."""

    label: str | None
    tex: str
    line: int
    section: str


@dataclass
class Number:
    """A number in the prose, and the expression whose value it states."""

    literal: str
    expression: str
    value: float
    rounding: float  # half a unit of the last digit
    tolerance: float  # by how much other machines may differ: its ±, else the rounding
    line: int
    section: str


@dataclass
class Chapter:
    """Everything the build reads from one ``.md``."""

    path: Path
    text: str
    front: dict[str, Any]
    cells: list[Cell]
    equations: list[Equation]
    numbers: list[Number]

    @property
    def name(self) -> str:
        """The path as messages show it, relative to the repository."""
        return display_path(self.path)

    @property
    def title(self) -> str:
        titles = (re.search(r"^#\s+(.*?)\s*$", c.source, re.MULTILINE) for c in self.cells if c.kind == "markdown")
        return next((title[1] for title in titles if title), self.path.stem)

    @property
    def code(self) -> list[Cell]:
        """The code cells: the n-th of them is the page's cell n, if the page shows it."""
        return [cell for cell in self.cells if cell.kind == "code"]


def literal_value(literal: str) -> tuple[float, float]:
    """The value of a number as prose writes it, and half a unit of its last digit.

    >>> literal_value("4.07e17")
    (4.07e+17, 500000000000000.0)
    >>> literal_value("96 %")
    (0.96, 0.005)
    """
    text = literal.strip().replace("−", "-")
    percent = text.endswith("%")
    try:
        number = Decimal(text.rstrip("% "))
    except InvalidOperation:
        raise ValueError(f"{literal!r} is not a number such as 28, 0.25, 4.07e17 or 96 %") from None
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):
        raise ValueError(f"{literal!r} is not finite")
    scale = Decimal("0.01") if percent else Decimal(1)
    return float(number * scale), float(Decimal(5).scaleb(exponent - 1) * scale)


def _number(literal: str, target: str, where: str, line: int, section: str) -> Number:
    expression, _, tolerance = target.partition("±")
    try:
        value, half_unit = literal_value(literal)
        allowed = float(tolerance) if tolerance else half_unit
        ast.parse(expression.strip(), mode="eval")
    except (ValueError, SyntaxError) as error:
        raise SourceError(f"{where}:{line}: {{num}}`{literal}<{target}>`: {error}") from None
    return Number(literal.strip(), expression.strip(), value, half_unit, max(allowed, half_unit), line, section)


def computing(chapter: Chapter) -> str:
    """All of a chapter that computes, and in which section: its prose is not among it."""
    return repr([(cell.source, cell.section, cell.metadata) for cell in chapter.code])


def read_chapter(path: str | Path) -> Chapter:
    """Read a chapter; raises ``SourceError`` naming file and line when a number or an equation cannot be read."""
    path = Path(path).resolve()
    return parse_chapter(path.read_text("utf8"), path)


@lru_cache(maxsize=1024)
def parse_chapter(text: str, path: Path) -> Chapter:
    """As ``read_chapter``, for text that need not be on disk."""
    name = display_path(path)
    cells, equations, numbers = list[Cell](), list[Equation](), list[Number]()
    section, lines = "", [line.rstrip() for line in text.splitlines()]
    try:
        notebook = _read_notebook(text, path)
    except (MystMetadataParsingError, NotebookValidationError) as error:  # JupyterLab could not open it either
        raise SourceError(f"{name}: jupytext cannot read this page: {str(error).splitlines()[0]}") from None
    for node, start in zip(notebook.cells, notebook.metadata["source_map"], strict=True):
        kind = "code" if node.cell_type == "code" else "markdown"
        line = _first_line(lines, start, node.source)
        cells.append(Cell(kind, node.source, line, section, dict(node.metadata)))
        if kind == "markdown":
            section = _read_markdown(cells[-1], name, equations, numbers)
        else:
            _look_at_python(cells[-1], name)
    return Chapter(path, text, front_matter(text), cells, equations, numbers)


def _look_at_python(cell: Cell, name: str) -> None:
    """Raise ``SourceError`` with the line that Python cannot read; lines for IPython alone are left out."""
    lines = ["" if line.lstrip().startswith(("%", "!")) else line for line in cell.source.splitlines()]
    try:
        ast.parse("\n".join(lines))
    except SyntaxError as error:
        line = cell.line + (error.lineno or 1) - 1
        raise SourceError(f"{name}:{line}: this is no Python ({error.msg}); mend that line") from None


def _first_line(lines: list[str], start: int, source: str) -> int:
    """The 1-based line where a cell's source begins: at or below ``start``, past options and blank lines.

    The lines have no blanks at their ends, of which the reader drops some.
    """
    own = [line.rstrip() for line in source.splitlines()]
    return next((n for n in range(start, len(lines)) if lines[n : n + len(own)] == own), start) + 1


def _read_markdown(cell: Cell, name: str, equations: list[Equation], numbers: list[Number]) -> str:
    """Collect equations and numbers of one Markdown cell; returns the section in force at its end."""
    section, fence, opened = cell.section, False, 0
    tex: list[str] = []
    for number, line in enumerate(cell.source.splitlines(), cell.line):
        if FENCE.match(line):
            fence = not fence
            if re.match(r"^\s*`{3,}\{math\}", line):
                raise SourceError(f"{name}:{number}: {DISPLAYED}, not as {{math}}")
        if fence:
            continue
        heading = HEADING.match(line)
        if heading and len(heading[1]) <= 2:
            section = heading[2]
        if not opened and re.match(r"^\s*\\begin\{(align|equation|gather|multline)", line):
            raise SourceError(f"{name}:{number}: {DISPLAYED}, not as a bare amsmath block")
        if opened:
            end = EQUATION_END.match(line)
            if end:
                equations.append(Equation(end[1], "\n".join(tex), opened, section))
                opened = 0
            else:
                tex.append(line)
        elif line.strip().startswith("$$"):
            if line.strip() != "$$":
                raise SourceError(f"{name}:{number}: $$ stands on a line of its own")
            opened, tex = number, []
        good = [_number(m[1], m[2], name, number, section) for m in NUM.finditer(line)]
        if len(good) != len(NUM_LIKE.findall(line)):
            raise SourceError(f"{name}:{number}: a {{num}} without <expression>; write {{num}}`28 <overflow_step>`")
        numbers.extend(good)
    if opened:
        raise SourceError(f"{name}:{opened}: this $$ is not closed in the same cell")
    return section


@lru_cache(maxsize=1024)
def _read_notebook(text: str, path: Path | None = None) -> nbformat.NotebookNode:
    """A page's notebook as jupytext reads it, which takes longer than all else: that of a page of the book is kept."""

    def read() -> nbformat.NotebookNode:
        return myst_to_notebook(text, add_source_map=True)

    if path is None or not path.is_relative_to(ROOT / "book") or not path.exists():
        return read()
    return nbformat.from_dict(of_page("notebook", path, text, [], read))  # type: ignore[no-untyped-call]


def notebook_node(text: str, path: Path | None = None) -> nbformat.NotebookNode:
    """The notebook in a MyST text: the cells and kernel that the site's builder reads, so the same key of its outputs."""
    return copy.deepcopy(_read_notebook(text, path))
