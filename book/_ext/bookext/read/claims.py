"""Conclusions: the sentences that end with ``{claim}`name```, and the assertions whose message is ``claim: name``.

A claim is cited in prose, in a figure's caption, in an exercise or its solution, as often as it is said. One assertion of the
book decides it, in a cell of a section that says it.
"""

import ast
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .book import executed_pages
from .chapter import FENCE, HEADING, Cell, Chapter, parse_chapter, read_chapter

CLAIM = re.compile(r"\s*\{claim\}`\s*([^`]*?)\s*`")
NAME = re.compile(r"[a-z]\w*(?:-\w+)+")
SPAN = re.compile(r"``.+?``(?!`)")  # how a page about the book shows a role without using it
MARK = "claim: "


@dataclass(frozen=True)
class Claim:
    """A sentence that claims something; ``text`` is its source line, or the caption that it ends, without the role."""

    name: str
    text: str
    line: int
    section: str
    caption: bool = False


@dataclass(frozen=True)
class Decision:
    """The assertion that decides a claim: the n-th code cell of its page (from 0), its section, and the assertion's line."""

    name: str
    cell: int
    section: str
    line: int


def statements(cell: Cell) -> list[ast.stmt]:
    """A code cell's statements, their lines counted in the page; lines for IPython alone are left out."""
    lines = ["" if line.lstrip().startswith(("%", "!")) else line for line in cell.source.splitlines()]
    return ast.parse("\n" * (cell.line - 1) + "\n".join(lines)).body


def decided_by(node: ast.AST) -> str | None:
    """The claim that an assertion names in its message."""
    message = node.msg if isinstance(node, ast.Assert) else None
    if isinstance(message, ast.Constant) and isinstance(message.value, str) and message.value.startswith(MARK):
        return message.value.removeprefix(MARK).strip()
    return None


def claims_of(chapter: Chapter) -> list[Claim]:
    """What a page claims, in its order, citations included."""
    return list(_claims(chapter.text, chapter.path))


def decisions_of(chapter: Chapter) -> list[Decision]:
    """The claims that a page's cells decide."""
    return list(_decisions(chapter.text, chapter.path))


@lru_cache(maxsize=1024)
def _claims(text: str, path: Path) -> tuple[Claim, ...]:
    chapter, found = parse_chapter(text, path), list[Claim]()
    code = {cell.line + n for cell in chapter.code for n in range(cell.source.count("\n") + 1)}
    captions: dict[str, Cell] = {}  # a caption may be folded over several lines; its cell's source begins below it
    for cell in chapter.code:
        captions |= dict.fromkeys(CLAIM.findall(str(cell.metadata.get("mystnb", {}))), cell)
    section, fence = "", False
    for number, line in enumerate(text.splitlines(), 1):
        if number in code:
            continue
        fence ^= bool(FENCE.match(line))
        heading = HEADING.match(line)
        if heading and not fence and len(heading[1]) <= 2:
            section = heading[2]
        for name in CLAIM.findall(SPAN.sub("", line)):
            drawn = captions.get(name)
            caption = drawn is not None and fence and number < drawn.line and drawn.section == section
            shown = drawn.metadata["mystnb"]["figure"].get("caption", "") if drawn and caption else line
            bare = re.sub(r"^\s*(?:[-*>]|\d+\.)\s+", "", CLAIM.sub("", shown)).strip()
            found.append(Claim(name, bare, number, section, caption))
    return tuple(found)


@lru_cache(maxsize=1024)
def _decisions(text: str, path: Path) -> tuple[Decision, ...]:
    found = []
    for n, cell in enumerate(parse_chapter(text, path).code):
        if MARK in cell.source:
            nodes = [node for statement in statements(cell) for node in ast.walk(statement)]
            named = [
                (name, node.lineno) for node in nodes if isinstance(node, ast.Assert) and (name := decided_by(node))
            ]
            found += [Decision(name, n, cell.section, line) for name, line in named]
    return tuple(found)


def deciding_pages() -> dict[str, list[tuple[Chapter, Decision]]]:
    """Each claim that some page of the book decides, and where."""
    found: dict[str, list[tuple[Chapter, Decision]]] = {}
    for chapter in map(read_chapter, executed_pages()):
        for decision in decisions_of(chapter):
            found.setdefault(decision.name, []).append((chapter, decision))
    return found
