"""What a course is put together from: the exercises and the questions of the homework, by the section that they are about."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .blocks import translation_of
from .book import ROOT, book_pages, numbered_chapters
from .chapter import read_chapter
from .labels import labels

EXERCISE = re.compile(r"^(:{3,})\{exercise\} (.*?)\n:label: (ex-[\w-]+)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
QUESTION = re.compile(
    r"^\((sec-hw[\w-]+)\)=\n## (Question \d+)\. (.*?) \((\d+) points?\)\n(.*?)(?=^\(sec-hw|^## |\Z)",
    re.MULTILINE | re.DOTALL,
)
REFERENCE = re.compile(r"\{(?:eq|ref|numref)\}`(?:[^`<]*<)?([\w:.-]+)>?`")
LABEL = re.compile(r"^\(([^()\n]+)\)=|^\$\$ \(([^()\n]+)\)|^\s+name: (\S+)$", re.MULTILINE)
SECTION = re.compile(r"((?:^\([\w:.-]+\)=\s*\n(?:\{[.#][^\n]*\}\s*\n)?)+)## (.*)$", re.MULTILINE)
CHINESE_QUESTION = re.compile(r"^\((sec-hw[\w-]+)\)=\n## (.*?)（\d+分）$", re.MULTILINE)
LIVE = re.compile(r"^`{3,}\{live-figure\}\n:name: ([\w-]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Section:
    """A section of a chapter: where it begins and ends in the page's text, and its labels."""

    page: Path
    title: str
    names: tuple[str, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Task:
    """An exercise or a question of the homework; ``places`` are the labels that it refers to."""

    label: str
    title: str
    points: int
    places: tuple[str, ...]


@lru_cache(maxsize=1)
def sections() -> list[Section]:
    """The sections of the numbered chapters, in the book's order."""
    return [section for page in numbered_chapters() for section in sections_in(page.read_text("utf8"), page)]


@lru_cache(maxsize=64)
def sections_in(text: str, page: Path) -> tuple[Section, ...]:
    """The sections of a page with this text."""
    found, heads = [], list(SECTION.finditer(text))
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        names = tuple(re.findall(r"\(([\w:.-]+)\)=", head[1]))
        found.append(Section(page, head[2], names, head.start(), following.start() if following else len(text)))
    return tuple(found)


@lru_cache(maxsize=64)
def written_at(text: str) -> dict[str, int]:
    """Where each label of a text stands in it."""
    found: dict[str, int] = {}
    for place in LABEL.finditer(text):
        found.setdefault(next(filter(None, place.groups())), place.start())
    return found


def section_of(label: str) -> Section | None:
    """The section of a chapter that a label stands in."""
    if label not in labels():
        return None
    page = labels()[label][0]
    at = written_at(page.read_text("utf8")).get(label, -1)
    return next((s for s in sections() if s.page == page and s.begin <= at < s.end), None)


def exercises(page: Path) -> tuple[Task, ...]:
    """The exercises of a chapter."""
    return exercises_in(page.read_text("utf8"))


@lru_cache(maxsize=64)
def exercises_in(text: str) -> tuple[Task, ...]:
    """The exercises of a text."""
    found = EXERCISE.findall(text)
    return tuple(Task(label, title, 0, tuple(REFERENCE.findall(body))) for _, title, label, body in found)


@lru_cache(maxsize=1)
def chinese_titles() -> dict[str, str]:
    """What the Chinese pages call the exercises and questions, by their labels, and the chapters, by the names of their files."""
    found: dict[str, str] = {}
    for page in [*numbered_chapters(), *homework_pages()]:
        if (path := translation_of(page)).exists():
            text = path.read_text("utf8")
            found |= {label: title for _, title, label, _ in EXERCISE.findall(text)} | dict(
                CHINESE_QUESTION.findall(text)
            )
            if title := re.search(r"^# (.*)$", text, re.MULTILINE):
                found[page.stem] = title[1]
    return found


def homework_pages() -> list[Path]:
    """The pages of the homework, in order."""
    return [page for page in book_pages() if page.parent == ROOT / "book" / "homework"]


@lru_cache(maxsize=8)
def questions(page: Path) -> list[Task]:
    """The questions of an assignment; what they refer to is what they say one should read, if they say so."""
    found = []
    for label, number, title, points, body in QUESTION.findall(page.read_text("utf8")):
        read = re.search(r"^\*Read:\*(.*)$", body, re.MULTILINE)
        found.append(
            Task(label, f"{number}. {title}", int(points), tuple(REFERENCE.findall(read[1] if read else body)))
        )
    return found


@lru_cache(maxsize=1)
def tasks_by_section() -> dict[Section, list[Task]]:
    """Of each section the exercises and questions about it: a task is about the sections that it refers to, of its own chapter if any."""
    found: dict[Section, list[Task]] = {section: [] for section in sections()}
    for page in numbered_chapters():
        for task in exercises(page):
            own = [s for label in task.places if (s := section_of(label)) and s.page == page]
            fallback = next(s for s in sections() if s.page == page and "exercises" in s.title.lower())
            for section in dict.fromkeys(own) or {fallback: None}:
                found[section].append(task)
    for page in homework_pages():
        for task in questions(page):
            for section in dict.fromkeys(s for label in task.places if (s := section_of(label))):
                found[section].append(task)
    return found


def live_figures(page: Path) -> list[str]:
    """The names of a chapter's live figures."""
    return LIVE.findall(read_chapter(page).text)
