"""Slides: each deck of ``book/slides`` becomes a page of reveal.js under ``slides/``, cut from the pages of the book just written,
and its Chinese, ``book/zh/slides``, one under ``zh/slides/``, cut from the Chinese pages. What a slide can show: pages/slides.
"""

import hashlib
import json
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, Template
from sphinx.application import Sphinx
from sphinx.util import logging

from bookext.check.twins import missing_decks, stale, texts, translated_decks, translated_pages
from bookext.read import deck as reading
from bookext.read.blocks import kept_of, language_of, page_of, text_of, translation_of
from bookext.read.book import ROOT, book_pages, config, display_path, numbered_chapters
from bookext.read.chapter import read_chapter
from bookext.read.deck import FORMULA, ROLE, Deck, deck_paths, faults, read_deck
from bookext.read.kept import BUILD, digest, remembered, text_digest
from bookext.read.words import CATALOGUE

from .chinese import is_chinese, share
from .finish import LETTERS
from .math import KATEX, RENDERED, SCRIPT, render
from .previews import page_name
from .slides import ERRATA, LEDGER, LIVE_FIGURE, Book, Writer, slide_html, written_tex

LOGGER = logging.getLogger(__name__)
FOLDER, THEME = "slides", Path(__file__).parent / "theme"
MACHINERY = [Path(reading.__file__), THEME / "deck.html", KATEX.with_name("VERSION"), SCRIPT]
MACHINERY += [
    Path(__file__).with_name(f"{name}.py") for name in ("decks", "finish", "live", "math", "previews", "slides")
]


def prerender(decks: list[Deck], book: Book) -> None:
    """Render the formulas of all decks in one call; what was rendered for the last build is not rendered again."""
    wanted: dict[tuple[str, bool], None] = {}
    for slide in (slide for deck in decks for slide in deck.slides):
        text = f"{slide.title}\n{slide.body}\n{slide.notes}"
        wanted |= {(tex, False): None for tex in FORMULA.findall(ROLE.sub(" ", text))}
        for kind, label in ROLE.findall(text):
            if kind in {"formula", "equation"} and (tex := written_tex(label.strip(), book.language)):
                wanted[tex, kind == "equation"] = None
    formulas = list(wanted)
    key = hashlib.sha256(
        json.dumps([formulas, book.macros, KATEX.with_name("VERSION").read_text("utf8")]).encode()
    ).hexdigest()[:16]
    found = remembered(f"deck-formulas-{book.language}", key, lambda: render(formulas, book.macros))
    RENDERED.update(zip(formulas, found, strict=True))


@lru_cache(maxsize=1)
def template() -> Template:
    """The page around the slides."""
    return Environment(loader=FileSystemLoader(THEME), autoescape=False).get_template("deck.html")


def deck_html(book: Book, deck: Deck) -> tuple[str, list[str]]:
    """The page of a deck, and what is wrong with its slides."""
    slides, wrong, passed = [], [], 0.0
    for slide in deck.slides:
        try:
            slides.append(slide_html(book, slide, passed))
        except LookupError as error:
            wrong.append(f"{display_path(deck.path)}:{slide.line}: {error.args[0]}")
        passed += slide.minutes
    title = Writer(book, deck.slides[0]).line(deck.title)
    page = template().render(
        {"deck": deck, "title": title, "slides": slides, "letters": LETTERS, "say": book.say}
        | {"docstitle": book.say(config()["title"]), "notice": notice(book, deck), "page": languages(book, deck)}
    )
    return page, wrong


def notice(book: Book, deck: Deck) -> str:
    """What a deck of the Chinese site says first: that it is in English, or in part older than the English."""
    page = page_of(deck.path)
    if book.language == "zh" and page in missing_decks():
        return book.say("These slides have not been translated yet; here they are in English.")
    if book.language == "zh" and stale(*texts(page)):
        return book.say("Some of these slides are older than the English ones.")
    return ""


def languages(book: Book, deck: Deck) -> dict[str, Any]:
    """A deck's language, its address, and where it is in the other language."""
    home, here, written = config()["html"]["baseurl"], f"{FOLDER}/{deck.name}.html", language_of(deck.path)
    twins = {"en": f"{home}{here}", "zh-Hans": f"{home}zh/{here}"} if page_of(deck.path) in translated_decks() else {}
    other = {"href": f"../zh/{here}", "lang": "zh-Hans", "name": "中文"} if translated_pages() else None
    if book.language == "zh":
        other = {"href": f"../../{here}", "lang": "en", "name": "English"}
    return {
        "lang": "zh-Hans" if book.language == "zh" else "en",
        "written": "en" if written != book.language else "",
        "twins": twins,
        "other": other,
        "address": f"{home}{'zh/' * (written == 'zh')}{here}",
    }


def shown_by_chapters() -> str:
    """What a slide may show of any chapter: its numbers, its live figures."""
    chapters = [read_chapter(path) for path in numbered_chapters()]
    return repr(
        [
            (c.title, LIVE_FIGURE.findall(c.text), [(n.section, n.literal, n.expression) for n in c.numbers])
            for c in chapters
        ]
    )


def known_deck(book: Book, deck: Deck, common: str) -> tuple[str, list[str]]:
    """A deck's page and what is wrong with it, as they were while the pages that it names a place of are as they were."""
    text = deck.path.read_text("utf8") + "".join(
        f"{' '.join(s.sources)}\n{s.title}\n{s.body}\n{s.notes}" for s in deck.slides
    )
    paths = {book.labels[word][0] for word in set(re.findall(r"[\w:.-]+", text)) if word in book.labels}
    names = sorted({page_name(path) for path in paths} | {LEDGER, ERRATA} & {page_name(path) for path in book_pages()})
    both = {
        text_of(path, language) for path in {*paths, ROOT / "book/notation.md"} for language in ("en", book.language)
    }
    sources = [path.read_text("utf8") for path in sorted(both) if path.exists()]
    key = text_digest(common, text, *names, *map(book.article, names), *sources)

    def made() -> list[Any]:
        html, faulty = deck_html(book, deck)
        return [html, faults(deck) + faulty]

    html, wrong = remembered(f"deck-{book.language}-{deck.name}", key, made)
    return html, wrong


def write_decks(site: Path, language: str) -> list[str]:
    """Write every deck into a site built in a language; what is wrong with them, each with its file and line."""
    book, wrong = Book(site, config()["sphinx"]["config"]["book_macros"], language), list[str]()
    (site / FOLDER).mkdir(exist_ok=True)
    decks = [read_deck(text_of(path, language)) for path in deck_paths()]
    prerender(decks, book)
    others = [file for path in deck_paths() for file in (translation_of(path), kept_of(path))]
    common = text_digest(
        repr(book.labels),
        shown_by_chapters(),
        json.dumps(book.macros),
        digest(file for file in [*deck_paths(), *others, CATALOGUE, *MACHINERY] if file.exists()),
    )
    for deck in decks:
        html, faulty = known_deck(book, deck, common)
        wrong += faulty
        (site / FOLDER / f"{deck.name}.html").write_text(html, "utf8")
    book.keep_markdown()
    return wrong


def finish_decks(app: Sphinx, error: Exception | None) -> None:
    """The decks, when the pages that they are cut from are written."""
    if error is None and app.builder.name == "html":
        for fault in write_decks(Path(app.outdir), "zh" if is_chinese(app) else "en"):
            LOGGER.warning("%s", fault, type="slides")


def setup(app: Sphinx) -> None:
    app.connect("build-finished", finish_decks)


if __name__ == "__main__":  # the decks alone, onto the site as it is
    found = write_decks(BUILD / "html", "en")
    if (BUILD / "html" / "zh").exists():
        found += write_decks(BUILD / "html" / "zh", "zh")
        share(BUILD / "html" / "zh")
    print("\n".join(found) or "The decks are written.")
    sys.exit(bool(found))
