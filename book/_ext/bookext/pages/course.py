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
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective, SphinxRole

from bookext.notebook.wheel import FOLDER as WHEEL
from bookext.read.book import ROOT, book_pages, config, numbered_chapters
from bookext.read.chapter import read_chapter
from bookext.read.course import Section, Task, homework_pages, live_figures, questions, tasks_by_section
from bookext.read.deck import Deck, deck_paths, read_deck
from bookext.read.labels import labels
from bookext.read.plaintext import tex_to_text

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
        return [link, nodes.Text(f" ({deck.minutes} minutes, {len(deck.slides)} slides)")], []


class Generated(SphinxDirective):
    """A directive that writes MyST from chapters, homework and decks; its page is read anew when that comes out otherwise."""

    @staticmethod
    def lines() -> list[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        made = nodes.container()
        self.state.nested_parse(StringList(self.lines(), self.env.docname), self.content_offset, made)
        return made.children


class Decks(Generated):
    """``{decks}``: every deck, as a list."""

    @staticmethod
    def lines() -> list[str]:
        return [f"- {{deck}}`{path.stem}`" for path in deck_paths()]


def doc(page: Any) -> str:
    """A page as a role links it."""
    return "/" + page.relative_to(ROOT).with_suffix("").as_posix()


class ChapterPlan(Generated):
    """``{chapter-plan}``: a row for each chapter."""

    @staticmethod
    def lines() -> list[str]:
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
        rows = ["| Session | Slides | Read | Live | Homework, after it |", "|---|---|---|---|---|"]
        for page, number in numbered_chapters().items():
            deck = f"{{deck}}`{page.stem}`" if deck_of(page.stem) else "–"
            minutes = re.search(r"takes about (\d+) minutes", read_chapter(page).text)
            read = f"{{doc}}`{doc(page)}`" + (f", {minutes[1]} minutes" if minutes else "")
            live = ", ".join(f"{{ref}}`the figure <{name}>`" for name in live_figures(page)) or "–"
            rows.append(f"| {number} | {deck} | {read} | {live} | {', '.join(after.get(page.stem, [])) or '–'} |")
        return rows


def task_link(task: Task) -> str:
    """A task as it stands in the bank."""
    points = f", {task.points} points" if task.points else ""
    title = re.sub(r"\$([^$]*)\$", lambda m: tex_to_text(m[1]), task.title).replace("`", "")
    return f"{{ref}}`{title} <{task.label}>`{points}"


class QuestionBank(Generated):
    """``{question-bank}``: a table for each chapter."""

    @staticmethod
    def lines() -> list[str]:
        written: list[str] = []
        page = None
        for section, tasks in tasks_by_section().items():
            if not tasks:
                continue
            if section.page != page:
                page = section.page
                title = re.sub(r"\$", "", read_chapter(page).title)
                written += [
                    "",
                    f"**Chapter {numbered_chapters()[page]}: {title}**",
                    "",
                    "| Section | Exercises | Homework |",
                    "|---|---|---|",
                ]
            written.append(QuestionBank.row(section, tasks))
        return written

    @staticmethod
    def row(section: Section, tasks: list[Task]) -> str:
        own = "; ".join(task_link(task) for task in tasks if not task.points) or "–"
        asked = "; ".join(f"{task.label.split('-')[1]}: {task_link(task)}" for task in tasks if task.points) or "–"
        name = next(name for name in section.names if not re.fullmatch(r"L\d+", name))
        return f"| {{ref}}`{name}` | {own} | {asked} |"


class Downloads(Generated):
    """``{downloads}``: what a version's release has, and the wheel."""

    @staticmethod
    def lines() -> list[str]:
        repository = config()["repository"]
        base = f"{repository['url'].rstrip('/')}/releases/download/{repository['branch']}"
        version = repository["branch"]
        files = {
            "The book as a PDF, A4": "numerical-stability-a4.pdf",
            "The book as a PDF, Letter": "numerical-stability-letter.pdf",
            "The book as an EPUB": "numerical-stability.epub",
            "The offline copy: site, slides, notebooks, `labs`": f"numerical-stability-{version}-offline.zip",
        }
        return [f"- [{title}]({base}/{name})" for title, name in files.items()] + [
            f"- {{labs-wheel}}`The wheel of labs`, in the folder `{WHEEL}` of the site"
        ]


GENERATED = {"decks": Decks, "chapter-plan": ChapterPlan, "question-bank": QuestionBank, "downloads": Downloads}


def outdated(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """The pages for which something comes out otherwise; prose that is edited changes none of it."""
    texts = {name: Path(env.doc2path(name)).read_text("utf8") for name in env.found_docs}
    used = {page: [name for name in GENERATED if f"{{{name}}}" in text] for page, text in texts.items()}
    lines = {name: GENERATED[name].lines() for name in {name for names in used.values() for name in names}}
    titles = [text for _, text, _ in labels().values()] + [read_chapter(page).title for page in book_pages()]
    now = {page: [titles, *(lines[name] for name in names)] for page, names in used.items() if names}
    before: dict[str, list[list[str]]] = getattr(env, "generated", {})
    vars(env)["generated"] = now
    return [page for page, said in now.items() if before.get(page) != said]


def setup(app: Sphinx) -> None:
    app.add_role("deck", DeckRole())
    for name, directive in GENERATED.items():
        app.add_directive(name, directive)
    app.connect("env-get-outdated", outdated)
