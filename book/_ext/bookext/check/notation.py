r"""One symbol, one meaning: the symbols of formulas, displayed and in the text, against the tables of ``book/notation.md``.

A symbol is a letter or a macro with its typeface, or with an index that the table fixes (``\sigma_w``, ``q^*``). Bars, tildes and
primes change no symbol unless the table has the changed one. A letter of the second table belongs to one section.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path

from bookext.read.book import ROOT, display_path
from bookext.read.chapter import HEADING, Chapter
from bookext.read.labels import labels

from .tokens import SIGNS, tokens

PAGE = ROOT / "book" / "notation.md"
FACES = {r"\mathbf", r"\mathcal", r"\mathbb", r"\texttt", r"\mathrm"}
ACCENTS = {r"\bar", r"\tilde", r"\widetilde"}
# Ordinary mathematics, whose letters and macros need no table.
WORDS = re.compile(
    r"\\(?:[td]?frac|sqrt|sum|prod|int|lim|max|min|ln|log|exp|tanh|[sc](?:in|os)h?|arc(?:tan|cos)|det|dim|partial|infty|binom"
    r"|[cl]dots|[lr][vV]ert|[lr]floor|in|ll|circ|c?dot|odot|times|q?quad|underbrace|matrix|cases|pm|mapsto|Delta|Eof|T"
    r"|[Ll]ongrightarrow|[Rr]ightarrow|left(?:right)?arrow)"
    r"|\\text\{.*\}|\\operatorname\{(?:erfc|tr|sigmoid)\}"
)
ROW = re.compile(r"^\| (\$.*?\$(?:, \$.*?\$)*) \|(?: (.*?) \|)?", re.MULTILINE)
INLINE = re.compile(r"(?<![\\$])\$(?!\$)(.+?)(?<!\\)\$")
LETTER = re.compile(r"[A-Za-z]|\\[A-Za-z]+|\\(?:operatorname|mathrm)\{.*\}", re.DOTALL)


def _group(given: list[str], at: int) -> list[str]:
    """The tokens of an argument or a script that begins at ``at``, its braces left out."""
    if given[at : at + 1] != ["{"]:
        return given[at : at + 1]
    depth, end = 1, at + 1
    while depth and end < len(given):
        depth += (given[end] == "{") - (given[end] == "}")
        end += 1
    return given[at + 1 : end - 1]


def _width(given: list[str], at: int) -> int:
    return len(_group(given, at)) + (2 if given[at : at + 1] == ["{"] else 0)


def symbols(given: list[str], known: Collection[str]) -> Iterator[str]:
    """The symbols among an equation's tokens; ``known`` are those with a fixed index or accent."""
    at = 0
    while at < len(given):
        token = given[at]
        at += 1
        if token in ACCENTS | FACES:
            inner = _group(given, at)
            at += _width(given, at)
            plain = list(symbols(inner, known))
            name = f"{token} {plain[0] if plain else ''.join(inner)}"
            if token in ACCENTS and name not in known:
                yield from plain
                continue
        elif not LETTER.fullmatch(token) or WORDS.fullmatch(token) or token in SIGNS:
            continue
        else:
            name = token
        scripts = at + (given[at : at + 1] != [] and given[at].startswith("'"))
        if given[scripts : scripts + 1] in (["_"], ["^"]):
            fixed = f"{name}{given[scripts]}{''.join(_group(given, scripts + 1))}"
            if fixed in known:
                name, at = fixed, scripts + 1 + _width(given, scripts + 1)
        yield name


def entries(text: str) -> list[tuple[str, str]]:
    """Every symbol that a table of the page lists, and what stands in its row's second column."""
    found = []
    for cells, second in ROW.findall(text):
        for written in re.findall(r"\$(.*?)\$", cells):
            given = tokens(written)
            # a running index, t for the layer or i for the component, is no part of the symbol
            fixed = re.sub(r"[\^_][tijn]+(?![A-Za-z])", "", "".join(_spaced(given)))
            found.append((fixed, second))
    return found


def _spaced(given: list[str]) -> Iterator[str]:
    """Tokens as :func:`symbols` joins them: a blank between a typeface or an accent and its letter, braces of scripts left out."""
    at = 0
    while at < len(given):
        token = given[at]
        at += 1
        if token in ACCENTS | FACES:
            yield f"{token} {''.join(_spaced(_group(given, at)))}"
            at += _width(given, at)
        elif token in {"_", "^"}:
            yield token + "".join(_group(given, at))
            at += _width(given, at)
        else:
            yield token


@lru_cache(maxsize=2)
def tables(page: Path = PAGE) -> tuple[dict[str, str], dict[str, str]]:
    """The book's symbols, and those of one section with the label of that section; raises ValueError where one stands twice."""
    text = page.read_text("utf8")
    whole, _, local = text.partition("(sec-notation-local)=")
    book, own = entries(whole), entries(local)
    twice = [name for name, count in Counter(name for name, _ in [*book, *own]).items() if count > 1]
    if twice:
        raise ValueError(f"{display_path(page)}: {', '.join(twice)}: listed twice; one symbol means one thing")
    return dict(book), {name: re.sub(r"^\{ref\}`(.*)`$", r"\1", where) for name, where in own}


def unknown(chapter: Chapter) -> Iterator[tuple[int, str]]:
    """The line of each formula with a symbol that is not in the tables, or belongs to another section."""
    book, own = tables() if PAGE.exists() and chapter.path != PAGE else ({}, {})
    for tex, line, section in formulas(chapter) if book else []:
        for name in dict.fromkeys(symbols(tokens(tex), {*book, *own})):
            if name in own:
                page, heading, _ = labels()[own[name]]
                if (page, heading) != (chapter.path, section):
                    yield line, f"{name} belongs to '{heading}'; see {display_path(PAGE)}"
            elif name not in book:
                yield line, f"the symbol {name} is not in {display_path(PAGE)}"


def formulas(chapter: Chapter) -> Iterator[tuple[str, int, str]]:
    """The mathematics of a page, displayed and in its text: LaTeX, line and section."""
    yield from ((e.tex, e.line, e.section) for e in chapter.equations)
    for cell in chapter.cells:
        section = cell.section
        for number, line in enumerate(cell.source.splitlines() if cell.kind == "markdown" else [], cell.line):
            heading = HEADING.match(line)
            section = heading[2] if heading and len(heading[1]) <= 2 else section
            yield from ((tex, number, section) for tex in INLINE.findall(re.sub(r"`[^`]*`", "", line)))
