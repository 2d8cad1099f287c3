"""What the labels of the book stand for, and how its sources are cited."""

import re
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from .blocks import text_of
from .book import ROOT, book_pages, numbered_chapters, parsed
from .chapter import read_chapter
from .words import say

# A label above something, past further labels and attributes, and the line that it is above.
LABELLED = re.compile(r"^\(([\w:.-]+)\)=\s*\n(?=(?:(?:\([^\n]*\)=|\{[.#][^\n]*\})\s*\n)*([^\n]*))", re.MULTILINE)


@lru_cache(maxsize=1)
def bibliography() -> Any:
    """book/references.bib, parsed."""
    from pybtex.database import parse_string

    return parsed(ROOT / "book" / "references.bib", lambda text: parse_string(text, "bibtex")).entries


@lru_cache(maxsize=2)
def labels(language: str = "en") -> dict[str, tuple[Path, str, str]]:
    """Every label of the book → (page, the text a bare reference shows in a language, anchor)."""
    figure, exercise = say(language, "Figure {number}"), say(language, "Exercise {number}")
    found: dict[str, tuple[Path, str, str]] = {}
    for page in book_pages():
        chapter = read_chapter(text_of(page, language))
        number = numbered_chapters().get(page)
        prefix = f"{number}." if number else ""
        for i, equation in enumerate((e for e in chapter.equations if e.label), 1):
            found[str(equation.label)] = (page, f"({prefix}{i})", f"equation-{equation.label}")
        figures = [cell.metadata.get("mystnb", {}).get("figure", {}) for cell in chapter.cells]
        for i, name in enumerate((f["name"] for f in figures if "caption" in f), 1):
            found[name] = (page, figure.format(number=f"{prefix}{i}"), name)
        for i, name in enumerate(re.findall(r"^:label:\s*(ex-[\w-]+)", chapter.text, re.MULTILINE), 1):
            found[name] = (page, exercise.format(number=f"{prefix}{i}"), name)
        for target, rest in LABELLED.findall(chapter.text):
            found[target] = (page, re.sub(r"^#+\s*", "", rest).strip(), target.replace("_", "-"))
    return found


CITE = re.compile(r"\{cite(?::[pt])?\}`([^`]+)`")


def cited(text: str) -> list[str]:
    """The keys of the sources that a text cites, in its order."""
    return [key.strip() for keys in CITE.findall(text) for key in keys.split(",")]


@cache
def from_latex(text: str) -> str:
    """A field of the bibliography without BibTeX's braces and accents."""
    from pybtex.richtext import Text

    return str(Text.from_latex(text))


def surname(person: Any) -> str:
    """A person's family name, or the name of a body."""
    return from_latex(" ".join(person.prelast_names + person.last_names))


def citation(key: str, parenthesised: bool, both: str = " and ", others: str = " et al.") -> str:
    """'Glorot and Bengio (2010)', or with the year inside the same parentheses; ``both`` and ``others`` are of another language."""
    entry = bibliography()[key.strip()]
    people = [surname(p) for p in entry.persons["author"]]
    names = both.join(people) if len(people) <= 2 else people[0] + others
    return f"{names}, {entry.fields['year']}" if parenthesised else f"{names} ({entry.fields['year']})"
