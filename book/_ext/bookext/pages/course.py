"""The page for those who teach: decks and their minutes, a row for each chapter, and a bank of questions by section.

``{deck}`lecture` `` links a deck and says its minutes; ``{decks}`` lists all; ``{chapter-plan}`` has a row for each chapter: slides,
reading, live figures, homework; ``{question-bank}`` has the exercises and the questions of the homework by the section they are about.
Everything is read from the chapters, the homework and the decks.
"""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole

from bookext.notebook.wheel import FOLDER as WHEEL
from bookext.read.blocks import translation_of
from bookext.read.book import ROOT, config, numbered_chapters
from bookext.read.chapter import read_chapter
from bookext.read.course import (
    Section,
    Task,
    chinese_titles,
    homework_pages,
    live_figures,
    questions,
    tasks_by_section,
)
from bookext.read.deck import Deck, deck_paths, read_deck
from bookext.read.plaintext import tex_to_text

from .chinese import is_translated, say_there
from .decks import FOLDER


def deck_of(name: str) -> Deck | None:
    """A deck by the name of its file."""
    return next((read_deck(path) for path in deck_paths() if path.stem == name), None)


class DeckRole(SphinxRole):
    """``{deck}`lecture```: the title of a deck, linked, and its minutes."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        deck = deck_of(self.text.strip())
        if deck is None:
            return [], [self.inliner.reporter.error(f"there is no deck book/slides/{self.text}.md", line=self.lineno)]
        self.env.note_dependency(deck.path.relative_to(ROOT).as_posix())
        uri = f"{'../' * self.env.docname.count('/')}{FOLDER}/{deck.name}.html"
        link = nodes.reference("", "", refuri=uri, internal=True)
        link += nodes.Text(deck.title)
        told = say_there(self.env.app, self.env.docname, " ({minutes} minutes, {slides} slides)")
        return [link, nodes.Text(told.format(minutes=deck.minutes, slides=len(deck.slides)))], []


class Generated(SphinxDirective):
    """A directive that writes MyST in the language of its page; it depends on everything that it reads."""

    def say(self, text: str) -> str:
        return say_there(self.env.app, self.env.docname, text)

    def called(self, name: str, title: str) -> str:
        """The title of a task or a chapter, in the language of the page."""
        return chinese_titles().get(name, title) if is_translated(self.env.app, self.env.docname) else title

    def row_of(self, *cells: str) -> list[str]:
        """The head of a table."""
        return [f"| {' | '.join(map(self.say, cells))} |", "|---" * len(cells) + "|"]

    def lines(self) -> list[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        pages = [*numbered_chapters(), *homework_pages()]
        for path in [*pages, *filter(Path.exists, map(translation_of, pages)), *deck_paths()]:
            self.env.note_dependency(path.relative_to(ROOT).as_posix())
        made = nodes.container()
        self.state.nested_parse(StringList(self.lines(), self.env.docname), self.content_offset, made)
        return made.children


class Decks(Generated):
    """``{decks}``: every deck, as a list."""

    def lines(self) -> list[str]:
        return [f"- {{deck}}`{path.stem}`" for path in deck_paths()]


def doc(page: Any) -> str:
    """A page as a role links it."""
    return "/" + page.relative_to(ROOT).with_suffix("").as_posix()


class ChapterPlan(Generated):
    """``{chapter-plan}``: a row for each chapter."""

    def lines(self) -> list[str]:
        after: dict[str, list[str]] = {}
        for homework in homework_pages():
            places = [
                section.page
                for section, tasks in tasks_by_section().items()
                for task in tasks
                if task in questions(homework)
            ]
            last = max(places, key=lambda page: numbered_chapters()[page])
            after.setdefault(last.stem, []).append(f"{{doc}}`{doc(homework)}`")
        rows = self.row_of("Session", "Slides", "Read", "Live", "Homework, after it")
        for page, number in numbered_chapters().items():
            deck = f"{{deck}}`{page.stem}`" if deck_of(page.stem) else "–"
            minutes = re.search(r"takes about (\d+) minutes", read_chapter(page).text)
            read = f"{{doc}}`{doc(page)}`" + (
                self.say(", {minutes} minutes").format(minutes=minutes[1]) if minutes else ""
            )
            live = self.say(", ").join(f"{{ref}}`{self.say('the figure')} <{name}>`" for name in live_figures(page))
            rows.append(
                f"| {number} | {deck} | {read} | {live or '–'} | {self.say(', ').join(after.get(page.stem, [])) or '–'} |"
            )
        return rows


class QuestionBank(Generated):
    """``{question-bank}``: a table for each chapter."""

    def lines(self) -> list[str]:
        written: list[str] = []
        page = None
        for section, tasks in tasks_by_section().items():
            if not tasks:
                continue
            if section.page != page:
                page = section.page
                title = re.sub(r"\$", "", self.called(page.stem, read_chapter(page).title))
                chapter = self.say("Chapter {number}: {title}").format(number=numbered_chapters()[page], title=title)
                written += [
                    "",
                    f"**{chapter}**",
                    "",
                    *self.row_of("Section", "Exercises", "Homework"),
                ]
            written.append(self.row(section, tasks))
        return written

    def link(self, task: Task) -> str:
        """A task as it stands in the bank."""
        points = self.say(", {points} points").format(points=task.points) if task.points else ""
        title = re.sub(r"\$([^$]*)\$", lambda m: tex_to_text(m[1]), self.called(task.label, task.title)).replace(
            "`", ""
        )
        where = f"{task.label.split('-')[1]}{self.say(': ')}" if task.points else ""
        return f"{where}{{ref}}`{title} <{task.label}>`{points}"

    def row(self, section: Section, tasks: list[Task]) -> str:
        own = self.say("; ").join(self.link(task) for task in tasks if not task.points) or "–"
        asked = self.say("; ").join(self.link(task) for task in tasks if task.points) or "–"
        name = next(name for name in section.names if not re.fullmatch(r"L\d+", name))
        return f"| {{ref}}`{name}` | {own} | {asked} |"


class Downloads(Generated):
    """``{downloads}``: what a version's release has, and the wheel."""

    def lines(self) -> list[str]:
        repository = config()["repository"]
        base = f"{repository['url'].rstrip('/')}/releases/download/{repository['branch']}"
        version = repository["branch"]
        files = {
            "The book as a PDF, A4": "numerical-stability-a4.pdf",
            "The book as a PDF, Letter": "numerical-stability-letter.pdf",
            "The book as an EPUB": "numerical-stability.epub",
            "The offline copy: site, slides, notebooks, `labs`": f"numerical-stability-{version}-offline.zip",
        }
        return [f"- [{self.say(title)}]({base}/{name})" for title, name in files.items()] + [
            f"- {{labs-wheel}}`{self.say('The wheel of labs')}`{self.say(', in the folder `{folder}` of the site').format(folder=WHEEL)}"
        ]


def setup(app: Sphinx) -> None:
    app.add_role("deck", DeckRole())
    app.add_directive("decks", Decks)
    app.add_directive("chapter-plan", ChapterPlan)
    app.add_directive("question-bank", QuestionBank)
    app.add_directive("downloads", Downloads)
