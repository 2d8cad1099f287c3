"""A deck of slides as its source says it: titles, what each slide shows of the book, and the speaker's notes.

    ## A hundred factors
    from: L4 L5
    pause: 60

    {poll}`sec-jac-hundred-factors`

    {equation}`eq-explode`

    Note:
    What one would say.

    {slide}`lecture: Layers are functions`    shows that slide of the lecture's deck

A slide refers. ``from:`` names the places of the book that it is about; what it types itself, a formula within a line or a number,
must stand there as well. A deck's length is that of its notes, spoken, and of its polls. The Chinese of a deck names a borrowed slide
by its English title, and shows the Chinese of it.
"""

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from .blocks import language_of, text_of
from .book import ROOT, display_path, front_matter, numbered_chapters
from .chapter import SourceError, read_chapter
from .labels import labels

FOLDER = ROOT / "book" / "slides"
WORDS_A_MINUTE, CHARACTERS_A_MINUTE = 130, 190  # as one explains in English and in Chinese, slower than one reads aloud
PAUSE = 60  # seconds for a poll, unless its deck or its slide says otherwise
ROLE = re.compile(r"\{(\w+)\}`([^`]*)`")
FORMULA = re.compile(r"(?<![\\$])\$([^$\n]+)\$")
CODE = re.compile(r"`[^`]*`")
BORROWED = re.compile(r"^\{slide\}`([\w-]+): (.*)`\s*$")
FIELD = re.compile(r"^(from|pause|layout):\s*(.*?)\s*$")
NUMBER = re.compile(r"(?<![\w.,^_])\d+(?:[.,]\d+)*")
ITEM = re.compile(r"L\d+")
CHARACTER = re.compile(r"[\u3400-\u9fff]")


@dataclass
class Slide:
    """One slide; ``sources`` are labels of the book, ``pause`` the seconds that its poll is given."""

    title: str
    line: int
    divides: bool = False
    sources: list[str] = field(default_factory=list)
    pause: int = 0
    layout: str = ""
    body: str = ""
    notes: str = ""
    language: str = "en"

    @property
    def minutes(self) -> float:
        """How long it takes: the notes as they are spoken, and the poll."""
        characters = len(CHARACTER.findall(ROLE.sub("", self.notes)))
        return spoken_words(self.notes) / WORDS_A_MINUTE + characters / CHARACTERS_A_MINUTE + self.pause / 60

    @property
    def items(self) -> set[str]:
        """The items of the lecture that it names."""
        return {label for label in self.sources if ITEM.fullmatch(label)}


@dataclass
class Deck:
    """A file of ``book/slides``; ``minutes`` is how long it promises to take."""

    path: Path
    title: str
    minutes: int
    slides: list[Slide]
    front: dict[str, Any]

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def length(self) -> float:
        """How many minutes it does take."""
        return sum(slide.minutes for slide in self.slides)


def spoken_words(notes: str) -> int:
    """The words of a note, Chinese left out; a formula or a reference is spoken as one.

    >>> spoken_words("So $h^t$ grows by {num}`2.3 <growth>` a layer, don't we say?")
    10
    >>> spoken_words("用He的权重，每层乘以{num}`2.3 <growth>`。")
    2
    """
    return len(re.findall(r"[\w'’.-]*\w[\w'’-]*", CHARACTER.sub(" ", FORMULA.sub(" x ", ROLE.sub(" x ", notes)))))


def deck_paths() -> list[Path]:
    """Every deck in English: the lecture's first, then the chapters'."""
    return sorted(FOLDER.glob("*.md"), key=lambda path: (path.stem[0].isdigit(), path.stem))


def read_deck(path: Path) -> Deck:
    """Read a deck; ``SourceError`` names the file and the line of what is no slide."""
    return parse_deck(path.read_text("utf8"), path)


@lru_cache(maxsize=32)
def parse_deck(text: str, path: Path) -> Deck:
    """As ``read_deck``, for text that need not be on disk."""
    front, name = front_matter(text), display_path(path)
    if not isinstance(front.get("title"), str) or not isinstance(front.get("minutes"), int):
        raise SourceError(f"{name}:1: the front matter of a deck says title and minutes")
    slides: list[Slide] = []
    part, heads, begun = "body", False, text.startswith("---\n")
    for number, line in enumerate(text.splitlines(), 1):
        if begun:  # the front matter
            begun = number == 1 or line.rstrip() != "---"
            continue
        if heading := re.match(r"(#{1,2})\s+(.*?)\s*$", line):
            slides.append(Slide(heading[2], number, len(heading[1]) == 1, language=language_of(path)))
            part, heads = "body", True
        elif borrowed := BORROWED.match(line):
            slides.append(_borrow(borrowed, language_of(path), front.get("pause", PAUSE), f"{name}:{number}"))
            part, heads = "after", False
        elif not slides or part == "after":
            if line.strip():
                raise SourceError(f"{name}:{number}: a slide begins with '## Title'")
        elif heads and (said := FIELD.match(line)):
            _note_field(slides[-1], said[1], said[2], f"{name}:{number}")
        elif line.strip() == "Note:":
            part = "notes"
        else:
            heads = False
            setattr(slides[-1], part, f"{getattr(slides[-1], part)}{line}\n")
    for slide in slides:
        if "{poll}`" in slide.body and not slide.pause:
            slide.pause = front.get("pause", PAUSE)
        if not slide.divides and not slide.sources:
            raise SourceError(f"{name}:{slide.line}: '{slide.title}' says under from: which place of the book it shows")
        if not slide.notes.strip():
            raise SourceError(f"{name}:{slide.line}: '{slide.title}' has no Note:")
    return Deck(path, front["title"], front["minutes"], slides, front)


def _borrow(said: re.Match[str], language: str, pause: int, where: str) -> Slide:
    """A slide of another deck, by its English title, as it is there in a language; a poll without a time of its own gets this deck's."""
    deck, title = said.groups()
    path = FOLDER / f"{deck}.md"
    titles = [slide.title for slide in read_deck(path).slides] if path.exists() else []
    if title not in titles:
        raise SourceError(f"{where}: {deck}.md has no slide '{title}'")
    slides = read_deck(text_of(path, language)).slides
    if len(slides) != len(titles):
        raise SourceError(f"{where}: {deck}.md has {len(titles)} slides and its Chinese {len(slides)}")
    found = slides[titles.index(title)]
    return replace(found, pause=pause) if found.pause == PAUSE else found


def _note_field(slide: Slide, name: str, value: str, where: str) -> None:
    if name == "from":
        slide.sources = value.split()
        if unknown := [label for label in slide.sources if label not in labels()]:
            raise SourceError(f"{where}: the book has no label {', '.join(unknown)}")
    elif name == "pause":
        if not value.isdigit():
            raise SourceError(f"{where}: pause: expected seconds, got {value!r}")
        slide.pause = int(value)
    else:
        slide.layout = value


def pages_of(slide: Slide) -> list[Path]:
    """The pages of the book that a slide is about."""
    return list(dict.fromkeys(labels()[label][0] for label in slide.sources))


@lru_cache(maxsize=64)
def _dense(page: Path) -> str:
    """A page's source without blanks, and without TeX's thin spaces and sizes."""
    return dense(page.read_text("utf8"))


@lru_cache(maxsize=64)
def _numbers(page: Path) -> set[str]:
    """The numbers that a page's source has, whatever they are there for."""
    return set(NUMBER.findall(page.read_text("utf8")))


def dense(text: str) -> str:
    """Formulas that look alike are alike.

    >>> dense(r"W^t \\, h^{t-1}") == dense("W^t h^{t-1}")
    True
    """
    return re.sub(r"\\[,;!]|\\(?:[bB]igg?|left|right)[lr]?(?![a-zA-Z])|[\s&]", "", text)


def typed_anew(slide: Slide) -> list[str]:
    """The formulas and numbers that a slide types and its places in the book do not have."""
    pages = [*pages_of(slide), ROOT / "book" / "notation.md"]
    text = f"{slide.title}\n{slide.body}\n{slide.notes}"
    bare = ROLE.sub(" ", text)
    formulas = [tex for tex in FORMULA.findall(bare) if not any(dense(tex.strip()) in _dense(page) for page in pages)]
    words = CODE.sub(" ", FORMULA.sub(" ", bare))
    said = {number for page in pages[:-1] for number in _numbers(page)}
    numbers = [n for n in NUMBER.findall(words) if n not in said and len(n) > 1]
    return [f"${tex}$" for tex in formulas] + numbers


def number_said(slide: Slide, expression: str) -> str:
    """What the book says for an expression: ``growth``, or ``03: growth`` for the chapter whose file begins with 03.

    Raises ``LookupError`` where no page of the slide says it, or two numbers are said for it.
    """
    chapter, _, bare = expression.rpartition(":") if re.match(r"\d\d:", expression) else ("", "", expression)
    pages = [page for page in numbered_chapters() if page.name.startswith(chapter)] if chapter else pages_of(slide)
    found = [
        (number.section, number.literal)
        for page in pages
        for number in read_chapter(page).numbers
        if number.expression == bare.strip()
    ]
    titles = {labels()[label][1] for label in slide.sources}
    near = {literal for section, literal in found if section in titles} or {literal for _, literal in found}
    if len(near) != 1:
        raise LookupError(
            f"{{num}}`{expression}`: " + (f"said as {', '.join(sorted(near))}" if near else "no page says it")
        )
    return near.pop()


def faults(deck: Deck) -> list[str]:
    """What the slides of a deck type though their places in the book do not have it."""
    name = display_path(deck.path)
    return [
        f"{name}:{slide.line}: '{slide.title}' types {', '.join(typed)}, which its places in the book do not have"
        for slide in deck.slides
        if (typed := typed_anew(slide))
    ]
