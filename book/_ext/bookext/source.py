"""A chapter's source as every other module sees it: cells, sections, equations, claimed numbers.

Chapters are MyST text notebooks. Nothing here needs Sphinx to run, so the same reading serves the site, the ``.ipynb``
generator and the ledger.
"""

from __future__ import annotations

import ast
import copy
import json
import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Any

import nbformat
import yaml
from myst_nb.core.read import is_myst_markdown_notebook, read_myst_markdown_notebook
from myst_parser.config.main import MdParserConfig

ROOT = Path(__file__).resolve().parents[3]
EXTENSIONS = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath", "smartquotes"]

# {num}`4.0656e17 <growth>`, or with an absolute tolerance of its own: {num}`0.24 <ratio ± 0.05>`
NUM = re.compile(r"\{num\}`([^`<]*)<([^`]*)>`")
NUM_LIKE = re.compile(r"\{num\}`[^`]*`")
FENCE = re.compile(r"^\s*(`{3,}|~{3,})")
HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*$")
EQUATION_END = re.compile(r"^\s*\$\$(?:\s*\(([^)]+)\))?\s*$")


def display_path(path: Path) -> str:
    """A path as messages show it: relative to the repository where it lies in it."""
    return (path.relative_to(ROOT) if path.is_relative_to(ROOT) else path).as_posix()


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

    @property
    def tags(self) -> list[str]:
        return list(self.metadata.get("tags", []))


@dataclass
class Equation:
    """A displayed equation; ``label`` is None where the author forgot it."""

    label: str | None
    tex: str
    line: int
    section: str


@dataclass
class Claim:
    """A number in the prose, and the expression whose value it states."""

    literal: str
    expression: str
    value: float
    tolerance: float
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
    claims: list[Claim]

    @property
    def name(self) -> str:
        """The path as messages show it, relative to the repository."""
        return display_path(self.path)

    @property
    def title(self) -> str:
        return next((h for c in self.cells if c.kind == "markdown" for h in headings(c.source, 1)), self.path.stem)

    @property
    def is_notebook(self) -> bool:
        return any(cell.kind == "code" for cell in self.cells)


def headings(markdown: str, level: int) -> list[str]:
    """The titles of the headings of one level, fences left out."""
    found, fence = [], False
    for line in markdown.splitlines():
        fence ^= bool(FENCE.match(line))
        match = HEADING.match(line)
        if match and not fence and len(match[1]) == level:
            found.append(match[2])
    return found


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


def _claim(literal: str, target: str, where: str, line: int, section: str) -> Claim:
    expression, _, tolerance = target.partition("±")
    try:
        value, half_unit = literal_value(literal)
        if tolerance:
            half_unit = float(tolerance)
        ast.parse(expression.strip(), mode="eval")
    except (ValueError, SyntaxError) as error:
        raise SourceError(f"{where}:{line}: {{num}}`{literal}<{target}>`: {error}") from None
    return Claim(literal.strip(), expression.strip(), value, half_unit, line, section)


def read_chapter(path: str | Path) -> Chapter:
    """Read a chapter; raises ``SourceError`` naming file and line when a claim or an equation cannot be read."""
    path = Path(path).resolve()
    return parse_chapter(path.read_text("utf8"), path)


def front_matter(text: str) -> dict[str, Any]:
    """What stands between the first two lines of dashes; empty if the text does not begin with one."""
    return yaml.safe_load(text.split("---", 2)[1]) if text.startswith("---\n") else {}


@lru_cache(maxsize=64)
def parse_chapter(text: str, path: Path) -> Chapter:
    """As ``read_chapter``, for text that need not be on disk."""
    name = display_path(path)
    cells: list[Cell] = []
    equations: list[Equation] = []
    claims: list[Claim] = []
    section = ""
    notebook = notebook_node(text) if is_myst_markdown_notebook(text) else None
    raw = zip(notebook.cells, notebook.metadata["source_map"], strict=True) if notebook else []
    if notebook is None:  # a plain page: one Markdown cell
        body = text.split("---\n", 2)[2] if text.startswith("---\n") else text
        offset = text[: len(text) - len(body)].count("\n")
        raw = [(nbformat.v4.new_markdown_cell(body), offset)]
    for node, start in raw:
        if node.cell_type == "code":
            # the source map points at the fence; options stand between it and the first line of code
            cells.append(Cell("code", node.source, _code_line(text, start), section, dict(node.metadata)))
            continue
        cells.append(Cell("markdown", node.source, start + 1, section, dict(node.metadata)))
        section = _read_markdown(text, node.source, start, name, section, equations, claims)
    return Chapter(path, text, front_matter(text), cells, equations, claims)


def _code_line(text: str, start: int) -> int:
    """The 1-based line of a cell's first line of code, its options passed over."""
    lines = text.splitlines()
    block = start < len(lines) and lines[start].strip() == "---"
    number = start + 1 if block else start
    while block and lines[number].strip() != "---":
        number += 1
    number += block
    while not block and number < len(lines) and re.match(r"^:[\w-]+:", lines[number]):
        number += 1
    while number < len(lines) and not lines[number].strip():
        number += 1
    return number + 1


def _read_markdown(
    text: str, source: str, start: int, name: str, section: str, equations: list[Equation], claims: list[Claim]
) -> str:
    """Collect equations and claims of one Markdown cell; returns the section in force at its end."""
    lines = text.splitlines()[start:]
    while lines and not lines[0].strip():  # the reader drops leading blank lines, the map does not
        lines, start = lines[1:], start + 1
    fence, opened = False, 0
    tex: list[str] = []
    for number, line in enumerate(lines[: source.count("\n") + 1], start + 1):
        if FENCE.match(line):
            fence = not fence
            if re.match(r"^\s*`{3,}\{math\}", line):
                raise SourceError(
                    f"{name}:{number}: write displayed mathematics as $$ … $$ (eq-label), not as {{math}}"
                )
        if fence:
            continue
        heading = HEADING.match(line)
        if heading and len(heading[1]) <= 2:
            section = heading[2]
        if not opened and re.match(r"^\s*\\begin\{(align|equation|gather|multline)", line):
            raise SourceError(
                f"{name}:{number}: write displayed mathematics as $$ … $$ (eq-label), not as a bare amsmath block"
            )
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
        good = [_claim(m[1], m[2], name, number, section) for m in NUM.finditer(line)]
        if len(good) != len(NUM_LIKE.findall(line)):
            raise SourceError(f"{name}:{number}: a {{num}} without <expression>; write {{num}}`28 <overflow_step>`")
        claims.extend(good)
    if opened:
        raise SourceError(f"{name}:{opened}: this $$ is not closed in the same cell")
    return section


_recalled: dict[str, nbformat.NotebookNode] = {}


@lru_cache(maxsize=64)
def _read_notebook(text: str) -> nbformat.NotebookNode:
    if text in _recalled:
        return _recalled[text]
    config = MdParserConfig(enable_extensions=set(EXTENSIONS))
    return read_myst_markdown_notebook(text, config=config, add_source_map=True)


def notebook_node(text: str) -> nbformat.NotebookNode:
    """The notebook in a MyST text, as the site's builder reads it (same cells, so the same cache key)."""
    return copy.deepcopy(_read_notebook(text))


def recall(kept: Path, reader: str) -> None:
    """Take over the notebooks that :func:`remember` wrote to ``kept`` for the same version of the ``reader``."""
    if kept.exists():
        by, notebooks = json.loads(kept.read_text("utf8"))
        _recalled.update({text: nbformat.from_dict(node) for text, node in notebooks} if by == reader else {})


def remember(kept: Path, reader: str) -> None:
    """Write the book's notebooks to ``kept``, each with the text that it was read from."""
    texts = [page.read_text("utf8") for page in notebook_pages()]
    kept.write_text(json.dumps([reader, [(text, _read_notebook(text)) for text in texts]]), "utf8")


CLAIMS_TITLE = "The numbers in the text"


def claims_code(chapter: Chapter) -> str | None:
    """The chapter's last cell: each number claimed in its prose beside what the cells above computed."""
    if not chapter.claims:
        return None
    rows = [
        f"    ({c.section!r}, {c.literal!r}, {c.value!r}, {c.expression}, {c.tolerance!r})," for c in chapter.claims
    ]
    return "\n".join(
        [
            "# Each number claimed in the text, and what this notebook computed for it.",
            "claims = [  # (section, as printed, its value, computed, tolerance)",
            *rows,
            "]",
            "wrong = [f'{where}: the text says {shown}, computed {float(got):.6g}'",
            "         for where, shown, value, got, tolerance in claims",
            "         if not abs(float(got) - value) <= tolerance * (1 + 1e-9)]",
            "assert not wrong, '\\n'.join(['A number in the text does not hold here:', *wrong])",
            "print(f'{len(claims)} numbers in the text agree with what was computed here.')",
        ]
    )


def with_claims_cell(text: str, path: Path) -> str:
    """The chapter's text with its claims cell appended, unseen on the page."""
    if not is_myst_markdown_notebook(text):
        return text
    code = claims_code(parse_chapter(text, path.resolve()))
    return text if code is None else f"{text}\n\n```{{code-cell}} ipython3\n:tags: [remove-cell]\n\n{code}\n```\n"


def executed_notebook(page: Path) -> nbformat.NotebookNode:
    """The notebook in ``with_claims_cell`` of a page, without reading the page's text again."""
    text = page.read_text("utf8")
    notebook, code = notebook_node(text), claims_code(parse_chapter(text, page.resolve()))
    if code is not None:
        notebook.cells.append(nbformat.v4.new_code_cell(code, metadata={"tags": ["remove-cell"]}))
        notebook.metadata["source_map"].append(text.count("\n") + 3)
    return notebook


def book_pages() -> list[Path]:
    """Every page that _toc.yml names, in its order."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf8"))
    names = [toc["root"]]

    def walk(entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            if "file" in entry:
                names.append(entry["file"])
            walk(entry.get("chapters", []) + entry.get("sections", []))

    walk(toc.get("parts", []) + toc.get("chapters", []))
    return [ROOT / f"{name}.md" for name in names]


@lru_cache(maxsize=1)
def notebook_pages() -> list[Path]:
    """The pages that are notebooks: each has a generated ``.ipynb`` beside it."""
    return [p for p in book_pages() if is_myst_markdown_notebook(p.read_text("utf8"))]


def executed_pages() -> list[Path]:
    """The notebooks that the build executes: all but homework, which waits for the student."""
    return [
        p
        for p in notebook_pages()
        if front_matter(p.read_text("utf8")).get("mystnb", {}).get("execution_mode") != "off"
    ]


@lru_cache(maxsize=1)
def config() -> dict[str, Any]:
    """_config.yml."""
    return yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))
