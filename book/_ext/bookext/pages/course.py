"""The page for those who teach: decks and their minutes, a row for each chapter, and a bank of questions by section.

``{deck}`lecture` `` links a deck and says its minutes; ``{decks}`` lists all; ``{chapter-plan}`` has a row for each chapter: slides,
reading, live figures, homework; ``{question-bank}`` has the exercises and the questions of the homework by the section they are about.
Everything is read from the chapters, the homework and the decks.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective, SphinxRole

from bookext.notebook.wheel import FOLDER as WHEEL
from bookext.read.blocks import text_of
from bookext.read.book import ROOT, book_pages, config, numbered_chapters
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
from bookext.read.kept import of_page
from bookext.read.labels import labels
from bookext.read.plaintext import tex_to_text

from .chinese import is_translated, say_there
from .decks import FOLDER
from .paper import NAME, file_name

PRINTED = {
    ("a4", "en"): "The book as a PDF, A4",
    ("letter", "en"): "The book as a PDF, Letter",
    ("a4", "zh"): "The book as a PDF, A4",
}


def deck_of(name: str, language: str = "en") -> Deck | None:
    """A deck by the name of its file."""
    return next((read_deck(text_of(path, language)) for path in deck_paths() if path.stem == name), None)


class DeckRole(SphinxRole):
    """``{deck}`lecture```: the title of a deck, linked, and its minutes."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        deck = deck_of(self.text.strip(), "zh" if is_translated(self.env.app, self.env.docname) else "en")
        if deck is None:
            return [], [self.inliner.reporter.error(f"there is no deck book/slides/{self.text}.md", line=self.lineno)]
        uri = f"{'../' * self.env.docname.count('/')}{FOLDER}/{deck.name}.html"
        link = nodes.reference("", "", refuri=uri, internal=True)
        link += nodes.Text(deck.title)
        told = say_there(self.env.app, self.env.docname, " ({minutes} minutes, {slides} slides)")
        return [link, nodes.Text(told.format(minutes=deck.minutes, slides=len(deck.slides)))], []


@dataclass(frozen=True)
class Page:
    """A page, in whose language something is written."""

    app: Sphinx
    name: str

    def say(self, text: str) -> str:
        return say_there(self.app, self.name, text)

    def called(self, name: str, title: str) -> str:
        """The title of a task or a chapter."""
        return chinese_titles().get(name, title) if is_translated(self.app, self.name) else title

    def row_of(self, *cells: str) -> list[str]:
        """The head of a table."""
        return [f"| {' | '.join(map(self.say, cells))} |", "|---" * len(cells) + "|"]


class Generated(SphinxDirective):
    """A directive that writes MyST from chapters, homework and decks; its page is read anew when that comes out otherwise."""

    @staticmethod
    def lines(page: Page) -> list[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        made = nodes.container()
        self.state.nested_parse(
            StringList(self.lines(Page(self.env.app, self.env.docname)), self.env.docname), self.content_offset, made
        )
        return made.children


class Decks(Generated):
    """``{decks}``: every deck, as a list."""

    @staticmethod
    def lines(page: Page) -> list[str]:
        return [f"- {{deck}}`{path.stem}`" for path in deck_paths()]


def doc(page: Any) -> str:
    """A page as a role links it."""
    return "/" + page.relative_to(ROOT).with_suffix("").as_posix()


class ChapterPlan(Generated):
    """``{chapter-plan}``: a row for each chapter."""

    @staticmethod
    def lines(page: Page) -> list[str]:
        after: dict[str, list[str]] = {}
        for homework in homework_pages():
            places = [
                section.page
                for section, tasks in tasks_by_section().items()
                for task in tasks
                if task in questions(homework)
            ]
            last = max(places, key=lambda chapter: numbered_chapters()[chapter])
            after.setdefault(last.stem, []).append(f"{{doc}}`{doc(homework)}`")
        rows = page.row_of("Session", "Slides", "Read", "Live", "Homework, after it")
        for chapter, number in numbered_chapters().items():
            deck = f"{{deck}}`{chapter.stem}`" if deck_of(chapter.stem) else "–"
            minutes = re.search(r"takes about (\d+) minutes", read_chapter(chapter).text)
            read = f"{{doc}}`{doc(chapter)}`" + (
                page.say(", {minutes} minutes").format(minutes=minutes[1]) if minutes else ""
            )
            live = page.say(", ").join(f"{{ref}}`{page.say('the figure')} <{name}>`" for name in live_figures(chapter))
            rows.append(
                f"| {number} | {deck} | {read} | {live or '–'} | {page.say(', ').join(after.get(chapter.stem, [])) or '–'} |"
            )
        return rows


class QuestionBank(Generated):
    """``{question-bank}``: a table for each chapter."""

    @staticmethod
    def lines(page: Page) -> list[str]:
        written: list[str] = []
        current = None
        for section, tasks in tasks_by_section().items():
            if not tasks:
                continue
            if section.page != current:
                current = section.page
                title = re.sub(r"\$", "", page.called(current.stem, read_chapter(current).title))
                chapter = page.say("Chapter {number}: {title}").format(number=numbered_chapters()[current], title=title)
                written += [
                    "",
                    f"**{chapter}**",
                    "",
                    *page.row_of("Section", "Exercises", "Homework"),
                ]
            written.append(QuestionBank.row(page, section, tasks))
        return written

    @staticmethod
    def link(page: Page, task: Task) -> str:
        """A task as it stands in the bank."""
        points = page.say(", {points} points").format(points=task.points) if task.points else ""
        title = re.sub(r"\$([^$]*)\$", lambda m: tex_to_text(m[1]), page.called(task.label, task.title)).replace(
            "`", ""
        )
        where = f"{task.label.split('-')[1]}{page.say(': ')}" if task.points else ""
        return f"{where}{{ref}}`{title} <{task.label}>`{points}"

    @staticmethod
    def row(page: Page, section: Section, tasks: list[Task]) -> str:
        own = page.say("; ").join(QuestionBank.link(page, task) for task in tasks if not task.points) or "–"
        asked = page.say("; ").join(QuestionBank.link(page, task) for task in tasks if task.points) or "–"
        name = next(name for name in section.names if not re.fullmatch(r"L\d+", name))
        return f"| {{ref}}`{name}` | {own} | {asked} |"


class Downloads(Generated):
    """``{downloads}``: what a version's release has, and the wheel."""

    @staticmethod
    def lines(page: Page) -> list[str]:
        repository = config()["repository"]
        base = f"{repository['url'].rstrip('/')}/releases/download/{repository['branch']}"
        version = repository["branch"]
        language = "zh" if is_translated(page.app, page.name) else "en"
        printed = {name: f"{file_name(paper, own)}.pdf" for (paper, own), name in PRINTED.items() if own == language}
        files = printed | {
            "The book as an EPUB": f"{NAME}{'-zh' * (language == 'zh')}.epub",
            "The offline copy: site, slides, notebooks, `labs`": f"{NAME}-{version}-offline.zip",
        }
        return [f"- [{page.say(title)}]({base}/{name})" for title, name in files.items()] + [
            f"- {{labs-wheel}}`{page.say('The wheel of labs')}`{page.say(', in the folder `{folder}` of the site').format(folder=WHEEL)}"
        ]


GENERATED = {"decks": Decks, "chapter-plan": ChapterPlan, "question-bank": QuestionBank, "downloads": Downloads}


def said_of(path: Path) -> list[str]:
    """What pages say of a deck; kept from build to build."""

    def said() -> list[str]:
        deck = read_deck(path)
        return [deck.title, str(deck.minutes), str(len(deck.slides))]

    return of_page("said", path, path.read_text("utf8"), [], said)


def outdated(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """The pages for which something comes out otherwise; prose and notes that are edited change none of it."""
    texts = {name: Path(env.doc2path(name)).read_text("utf8") for name in env.found_docs}
    used = {page: [name for name in GENERATED if f"{{{name}}}" in text] for page, text in texts.items()}
    named = {page for page, text in texts.items() if used[page] or "{deck}`" in text}
    said = [said_of(text_of(path, language)) for path in deck_paths() for language in ("en", "zh")]
    titles = [text for _, text, _ in labels().values()] + [read_chapter(page).title for page in book_pages()]
    titles += chinese_titles().values()
    now = {page: [titles, *said, *(GENERATED[name].lines(Page(app, page)) for name in used[page])] for page in named}
    before: dict[str, list[list[str]]] = getattr(env, "generated", {})
    vars(env)["generated"] = now
    return [page for page, said in now.items() if before.get(page) != said]


def setup(app: Sphinx) -> None:
    app.add_role("deck", DeckRole())
    for name, directive in GENERATED.items():
        app.add_directive(name, directive)
    app.connect("env-get-outdated", outdated)
