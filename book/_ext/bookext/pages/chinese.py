"""The Chinese site: the text of a page is exchanged as it is read, so everything that holds for a page holds for its translation.

Addresses, labels and numbers are the same in both. A page without a translation is there in English and says so; a block whose
English has changed since it was translated has the English beside it.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from html import escape
from pathlib import Path
from posixpath import relpath
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx_exercise.nodes import exercise_enumerable_node

from bookext.check.twins import stale, texts, translated_pages
from bookext.read.blocks import Block, kept_of, translated_from, translation_of
from bookext.read.book import ROOT, book_pages
from bookext.read.chapter import NUM, TARGET
from bookext.read.claims import CLAIM
from bookext.read.plaintext import BROKEN, plain_number
from bookext.read.words import catalogue, say

# What the Chinese pages share with the English ones lies beside their folder.
# A class of characters comes first: by it the search skips nearly all of ten megabytes.
SHARED = re.compile(
    r"([\"'(`;/](?:(?<=[\"'(`])|(?<=&quot;)|(?<=@/)))((?:\.\./)*)(?=(?:_images|_sources|wheel|proof)/|status\.html|"
    r"_static/(?!search-index|words|previews/))"
)


BRACKETS = {" (": "（", ")": "）"}  # around the name of an exercise

# The scripts of every page, those of the figures that a reader moves, and that of the slides, by the file that has their words.
SCRIPTS = {
    "words.js": ("book.js", "previews.js", "search.js"),
    "words-live.js": ("explore/*.js", "live/*.js"),
    "words-slides.js": ("slides.js",),
}


@cache
def said_by(*scripts: str) -> dict[str, str]:
    """What scripts below ``_static`` say, in Chinese: the texts of the catalogue that stand in one of them."""
    static = ROOT / "book" / "_static"
    code = "".join(path.read_text("utf8") for some in scripts for path in sorted(static.glob(some)))
    return {text: chinese for text, chinese in catalogue().items() if json.dumps(text, ensure_ascii=False) in code}


def is_chinese(app: Sphinx) -> bool:
    """Whether this run makes the Chinese site."""
    return app.config.language.startswith("zh")


@cache
def has_twin(path: str) -> bool:
    """Whether there is a Chinese text of a page."""
    return translation_of(Path(path)).exists()


def is_translated(app: Sphinx, docname: str) -> bool:
    """Whether a page of this run is in Chinese."""
    return is_chinese(app) and docname in app.env.found_docs and has_twin(app.env.doc2path(docname))


def say_here(app: Sphinx, text: str) -> str:
    """A text of the site in the language of this run."""
    return say(app.config.language, text)


def language_there(app: Sphinx, docname: str) -> str:
    """The language of a page of this run."""
    return "zh" if is_translated(app, docname) else "en"


def say_there(app: Sphinx, docname: str, text: str) -> str:
    """A text of the site on a page, in the language of that page."""
    return say(language_there(app, docname), text)


def plain_english(block: Block) -> Iterator[str]:
    """A block to read beside its translation: without labels, which must not stand twice, and without its box."""
    if block.inner or block.kind not in {"heading", "paragraph", "list", "quotation", "table"}:
        for inner in block.inner:
            yield from plain_english(inner)
        return
    lines = [line for line in block.text.splitlines() if not TARGET.match(line)]
    text = NUM.sub(lambda m: plain_number(m[1]), CLAIM.sub("", "\n".join(lines)))
    yield "\n\n" + (f"**{block.said}**" if block.kind == "heading" else text)


def with_english(page: Path, text: str, note: str) -> str:
    """A Chinese text in which each stale block is followed by its English, folded."""
    made = text.split("\n")
    for english, chinese in reversed(stale(page.read_text("utf8"), text, translated_from(page))):
        end = chinese.line - 1 + chinese.text.count("\n") + 1
        if words := "".join(plain_english(english)).strip():
            fold = ["", f"::::::::{{dropdown}} {note}", ":lang: en", ":class: stale", "", words, "::::::::", ""]
            made[end:end] = fold
    return "\n".join(made)


def notice(app: Sphinx, page: Path) -> str:
    """What a page of the Chinese site says first: that it is in English, or in part older than the English."""
    if not translation_of(page).exists():
        return say_here(app, "This page has not been translated yet; here it is in English.")
    if translation_of(page) != page and stale(*texts(page)):
        return say_here(app, "Some passages are older than the English text, which stands folded below each of them.")
    return ""


def read_source(app: Sphinx, docname: str, source: list[str]) -> None:
    """The Chinese text in place of the English one."""
    page = Path(app.env.doc2path(docname))
    if is_translated(app, docname) and translation_of(page) != page:
        text = translation_of(page).read_text("utf8")
        source[0] = with_english(page, text, say_here(app, "The English text has changed"))


def put_notice(app: Sphinx, doctree: nodes.document) -> None:
    """The notice stands below the title of the page."""
    page = Path(app.env.doc2path(app.env.docname))
    section = next(doctree.findall(nodes.section), None)
    if is_chinese(app) and page in book_pages() and section and (text := notice(app, page)):
        section.insert(1, nodes.raw("", f'<p class="notice" lang="zh-Hans">{escape(text)}</p>', format="html"))


def close_lines(app: Sphinx, doctree: nodes.document) -> None:
    """A source has one sentence a line; between Chinese sentences the end of a line is no blank. Nor is there one before %."""
    if is_translated(app, app.env.docname):
        for text in list(doctree.findall(nodes.Text)):
            parent = text.parent
            if not ("\n" in text or " %" in text) or isinstance(
                parent, nodes.FixedTextElement | nodes.literal | nodes.math | nodes.math_block | nodes.raw
            ):
                continue
            place = next(n for n, node in enumerate(parent) if node is text)  # index() finds an equal text before it
            # The mark of a claim ends a sentence; beside emphasis stand empty texts.
            earlier = ["。" if isinstance(node, nodes.raw) else node.astext() for node in parent[:place]]
            before = "".join(earlier)[-1:]
            after = "".join(node.astext() for node in parent[place + 1 :])[:1]
            closed = BROKEN.sub("", f"{before}{text}{after}")
            parent[place] = nodes.Text(closed[len(before) : len(closed) - len(after)])


def close_titles(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """The name of an exercise stands in Chinese brackets; sphinx-exercise writes its own around it."""
    if is_translated(app, docname):
        for exercise in doctree.findall(exercise_enumerable_node):
            for bracket in [text for text in exercise[0].children if text in BRACKETS]:
                exercise[0].replace(bracket, nodes.Text(BRACKETS[bracket]))


def outdated(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """The pages whose translation has changed, or has come or gone."""
    if not is_chinese(app):
        return []
    files = {p: [f for f in (translation_of(p), kept_of(p)) if f != p and f.exists()] for p in book_pages()}
    now = {env.path2doc(str(p)) or "": [f.read_text("utf8") for f in some] for p, some in files.items()}
    before: dict[str, list[str]] = getattr(env, "translations", {})
    vars(env)["translations"] = now
    return [page for page, texts in now.items() if page in env.found_docs and before.get(page) != texts]


def other_language(app: Sphinx, pagename: str) -> dict[str, str] | None:
    """The same page in the other language."""
    if pagename not in app.env.found_docs | {"search"} or not (is_chinese(app) or translated_pages()):
        return None
    here, there = (f"zh/{pagename}.html", f"{pagename}.html")[:: 1 if is_chinese(app) else -1]
    href = relpath(there, here.rpartition("/")[0] or ".")
    return (
        {"href": href, "lang": "en", "name": "English"}
        if is_chinese(app)
        else {"href": href, "lang": "zh-Hans", "name": "中文"}
    )


def languages(app: Sphinx, pagename: str) -> dict[str, Any]:
    """What the layout says of a page's language, its address, its source and its twin."""
    base, here, page = app.config.html_baseurl, f"{pagename}.html", Path(app.srcdir, f"{pagename}.md")
    home = base.removesuffix("zh/") if is_chinese(app) else base
    copied = is_chinese(app) and pagename in app.env.found_docs and not is_translated(app, pagename)
    return {
        "base": base,
        "home": home,
        "lang": "zh-Hans" if is_chinese(app) else "en",
        "written": "en" if copied else "",
        "other": other_language(app, pagename),
        "twins": {"en": f"{home}{here}", "zh-Hans": f"{home}zh/{here}"} if page in translated_pages() else {},
        "address": f"{home if copied else base}{here}",
        "source": (translation_of(page) if is_translated(app, pagename) else page).relative_to(app.srcdir).as_posix(),
    }


def share_page(path: Path, site: Path) -> None:
    """Let a page or a script of the Chinese site take from the English one what is the same.

    A link that is one folder too short leads to the Chinese site's own; those of a page kept from the last build are long already.
    """
    own = "" if path.suffix == ".js" else "../" * (len(path.relative_to(site).parts) - 1)

    def lengthened(link: re.Match[str]) -> str:
        return link[0] + "../" * (link[2] == own)

    text = path.read_text("utf8")
    if (shared := SHARED.sub(lengthened, text)) != text:
        path.write_text(shared, "utf8")


def share(site: Path) -> None:
    """Let all that was written in this run share with the English site; the copies are left out."""
    first = site / "_static" / "words.js"  # of all that a run writes
    begun = first.stat().st_mtime if first.exists() else 0.0
    for path in [*site.rglob("*.html"), *site.glob("_static/previews/*.js")]:
        if path.stat().st_mtime >= begun:
            share_page(path, site)


def write_words(app: Sphinx) -> None:
    """What the scripts say, in Chinese."""
    folder = Path(app.outdir, "_static")
    for name, scripts in SCRIPTS.items() if is_chinese(app) else ():
        text = json.dumps(said_by(*scripts), ensure_ascii=False, separators=(",", ":"))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"globalThis.bookWords = {{ ...globalThis.bookWords, ...{text} }};\n", "utf8")


def setup(app: Sphinx) -> None:
    if is_chinese(app):
        app.add_js_file("words.js", loading_method="defer")
    app.connect("source-read", read_source)
    app.connect("doctree-read", put_notice)
    app.connect("doctree-read", close_lines)
    app.connect("doctree-resolved", close_titles)
    app.connect("env-get-outdated", outdated)
    app.connect("builder-inited", write_words)
