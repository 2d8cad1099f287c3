"""What stands on one slide, cut from the pages of the book just written.

On a line by itself stands what a slide shows whole; the book has drawn it already, and nothing is drawn again:

    {equation}`eq-explode`      the formula and its number        {figure}`fig-two-powers`    the figure and its number
    {table}`sec-relu-range`     the first table of a section      {poll}`sec-jac-layers 2`    its second box 'Predict'; what
    {claim}`jac-fades`          the sentence of a claim                                       follows comes with the next key
    {erratum}`E1`               what is wrong, what is right      {live}`live-overflow`       the live figure with its preset

Within a line ``{num}``, ``{formula}`` (an equation of the book), ``{eq}`` and ``{ref}`` (links). ``+++`` begins what comes with the next
key. What does not exist stops the build.
"""

import re
from functools import lru_cache
from html import escape
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import urlencode

from markdown_it import MarkdownIt

from bookext.read.blocks import text_of
from bookext.read.book import numbered_chapters
from bookext.read.chapter import Chapter, read_chapter
from bookext.read.deck import FORMULA, ROLE, Slide, number_said
from bookext.read.kept import digest, keep, pins, remembered, text_digest
from bookext.read.labels import labels
from bookext.read.plaintext import BROKEN
from bookext.read.words import say

from .live import PAGE as LIVE
from .live import PRESET
from .math import render
from .previews import ARTICLE, end_of, page_name

ALONE = re.compile(r"\{(equation|figure|table|poll|claim|erratum|live)\}`[^`]*`")
HELD = re.compile("\ue000(\\d+)\ue001")
MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
LEDGER, ERRATA = "book/appendix/ledger.html", "book/appendix/errata.html"
MARKED = "deck-markdown"
EXTERNAL = re.compile(r"\w+:")


class Missing(LookupError):
    """What a slide refers to and the book does not have."""


def marked_key() -> str:
    """What else than a text shapes its HTML."""
    return text_digest(pins(), digest([Path(__file__)]))


class Book:
    """The pages of the built site in a language, to cut from."""

    def __init__(self, site: Path, macros: dict[str, str], language: str = "en") -> None:
        self.site, self.macros, self.language = site, macros, language
        self.labels = labels(language)
        self.texts: dict[str, str] = {}
        self.known: dict[str, str] = remembered(f"{MARKED}-{language}", marked_key(), dict)
        self.used: dict[str, str] = {}

    def markdown(self, text: str) -> str:
        """A text as HTML; most of what the decks take is Markdown, and most of it is as it was when they were written last."""
        if text not in self.used:
            self.used[text] = self.known.get(text) or MARKDOWN.render(text)
        return self.used[text]

    def keep_markdown(self) -> None:
        """Keep what the decks have used, for the next build."""
        if self.used.keys() - self.known.keys():
            keep(f"{MARKED}-{self.language}", marked_key(), self.known | self.used)

    def say(self, text: str) -> str:
        """What stands around the slides, in the site's language."""
        return say(self.language, text)

    def article(self, page: str) -> str:
        """The text of a page as it was written."""
        if page not in self.texts:
            found = ARTICLE.search((self.site / page).read_text("utf8"))
            assert found, page
            self.texts[page] = found[1]
        return self.texts[page]

    def element(self, page: str, anchor: str, tag: str = "") -> str:
        """The element with an id; with ``tag``, the nearest of this kind around it."""
        html, mark = self.article(page), f' id="{anchor}"'
        if mark not in html:
            raise Missing(f"{page} has no {anchor}")
        place = html.index(mark)
        start = html.rfind(f"<{tag}", 0, place)
        end = end_of(html, start) if start >= 0 else 0
        if end <= place:
            raise Missing(f"{page}: {anchor} is not in a {tag}")
        return html[start:end]

    def place(self, label: str, kind: str) -> tuple[str, str]:
        """Page and anchor of a label of the book."""
        if label not in self.labels:
            raise Missing(f"{{{kind}}}`{label}`: the book has no such label")
        path, _, anchor = self.labels[label]
        return page_name(path), anchor.lower()


def onto_slide(html: str, page: str) -> str:
    """A part of a page for a slide: links and images counted from ``slides/``, no anchors, no stops for the keyboard.

    >>> onto_slide('<p id="a">see <a href="#x">6</a><a class="headerlink" href="#a">#</a></p>', "book/06-xavier.html")
    '<p>see <a href="../book/06-xavier.html#x">6</a></p>'
    """
    html = re.sub(r'<a class="headerlink".*?</a>', "", html, flags=re.DOTALL)
    html = re.sub(r"<span id=\"[^\"]*\"></span>", "", html)
    html = re.sub(r"(<\w[^>]*?) (?:id|tabindex|loading|role|aria-label)=\"[^\"]*\"", r"\1", html)
    html = re.sub(r"(<\w[^>]*?) (?:id|tabindex|loading|role|aria-label)=\"[^\"]*\"", r"\1", html)

    def moved(found: re.Match[str]) -> str:
        if EXTERNAL.match(found[2]):
            return found[0]
        path, mark, anchor = found[2].partition("#")
        return f'{found[1]}="../{normpath(join(dirname(page), path)) if path else page}{mark}{anchor}'

    return re.sub(r'(?<= )(href|src)="([^"]+)', moved, html).strip()


@lru_cache(maxsize=16)
def equations(path: Path) -> dict[str | None, str]:
    """The labelled equations of a page, as they are written there."""
    return {equation.label: equation.tex for equation in read_chapter(path).equations}


def written_tex(label: str, language: str) -> str:
    """An equation of the book without the punctuation at its end; nothing where the label is none of an equation."""
    tex = equations(text_of(labels()[label][0], language)).get(label, "") if label in labels() else ""
    return re.sub(r"(?:\\[ ,;]|\s|[.,;:])+$", "", tex)


class Writer:
    """What stands on one slide, as HTML."""

    def __init__(self, book: Book, slide: Slide) -> None:
        self.book, self.slide = book, slide
        self.held: list[str] = []

    def hold(self, html: str) -> str:
        """A mark that Markdown passes through."""
        self.held.append(html)
        return f"\ue000{len(self.held) - 1}\ue001"

    def formula(self, tex: str, display: bool = False) -> str:
        result = render([(tex, display)], self.book.macros)[0]
        if "error" in result:
            raise Missing(f"{result['error']} in: {tex}")
        return f'<span class="math">{result["html"]}</span>'

    def inline(self, found: re.Match[str]) -> str:
        """A role within a line."""
        kind, text = found[1], found[2].strip()
        written = getattr(self, f"_{kind}", None)
        if written is None:
            raise Missing(f"{{{kind}}}`{text}`: no such role on a slide")
        return self.hold(written(text))

    def text(self, source: str) -> str:
        """Markdown with formulas and roles."""
        marked = ROLE.sub(self.inline, source)
        marked = FORMULA.sub(lambda found: self.hold(self.formula(found[1])), marked)
        html = self.book.markdown(marked)
        if self.book.language == "zh":  # a source has one sentence a line
            html = BROKEN.sub("", html)
        html = re.sub("<p>(\ue000\\d+\ue001)</p>", r"\1", html)
        while HELD.search(html):
            html = HELD.sub(lambda found: self.held[int(found[1])], html)
        return html.strip()

    def line(self, source: str) -> str:
        """A title: Markdown without a paragraph around it."""
        return re.sub(r"^<p>|</p>$", "", self.text(source))

    # ---- within a line

    def _num(self, expression: str) -> str:
        mantissa, power, exponent = number_said(self.slide, expression).partition("e")
        raised = f" × 10<sup>{int(exponent)}</sup>".replace("-", "−") if power else ""
        return f'<span class="num">{mantissa.replace("-", "−")}{raised}</span>'

    def _tex(self, label: str, kind: str) -> str:
        self.book.place(label, kind)
        tex = written_tex(label, self.book.language)
        if not tex:
            raise Missing(f"{{{kind}}}`{label}`: not an equation")
        return tex

    def _formula(self, label: str) -> str:
        return self.formula(self._tex(label, "formula"))

    def _eq(self, label: str) -> str:
        page, anchor = self.book.place(label, "eq")
        return f'<a href="../{page}#{anchor}">{self.book.labels[label][1]}</a>'

    def _ref(self, target: str) -> str:
        named = re.fullmatch(r"(.*?)\s*<([^<>]*)>", target)
        label = named[2] if named else target
        page, anchor = self.book.place(label, "ref")
        words = self.line(named[1] if named else self.book.labels[label][1])
        return f'<a href="../{page}#{anchor}">{words}</a>'

    # ---- on a line by itself

    def _equation(self, label: str) -> str:
        tex = self._tex(label, "equation")
        page, anchor = self.book.place(label, "equation")
        number = f'<a class="eqno" href="../{page}#{anchor}">{self.book.labels[label][1]}</a>'
        return f'<div class="shown">{self.formula(tex, True)}{number}</div>'

    def _figure(self, name: str) -> str:
        page, anchor = self.book.place(name, "figure")
        html = self.book.element(page, anchor, "figure")
        image, number = re.search(r"<img[^>]*>", html), re.search(r'class="caption-number">([^<]*?)\s*<', html)
        if not image or not number:
            raise Missing(f"{{figure}}`{name}`: not a figure")
        link = f'<a href="../{page}#{anchor}">{number[1]}</a>'
        return f"<figure>{onto_slide(image[0], page)}<figcaption>{link}</figcaption></figure>"

    def _part(self, target: str, kind: str, pattern: str) -> tuple[str, str]:
        """The n-th element of a section that begins as ``pattern`` says, and its page."""
        label, _, number = target.partition(" ")
        page, anchor = self.book.place(label, kind)
        html = self.book.element(page, anchor, "section")
        found = list(re.finditer(pattern, html))
        if len(found) < int(number or 1):
            raise Missing(f"{{{kind}}}`{target}`: the section has {len(found)}")
        start = found[int(number or 1) - 1].start()
        return html[start : end_of(html, start)], page

    def _table(self, target: str) -> str:
        return onto_slide(*self._part(target, "table", r"<table\b"))

    def _poll(self, target: str) -> str:
        html, page = self._part(
            target,
            "poll",
            r'<div class="[^"]*\bpredict\b[^"]*\badmonition\b|<div class="[^"]*\badmonition\b[^"]*\bpredict\b',
        )
        words = re.sub(r'<p class="admonition-title">.*?</p>', "", html, flags=re.DOTALL)
        inside = words[words.index(">") + 1 : words.rindex("</div>")]
        return f'<div class="poll"><p class="tag">{self.book.say("Poll")}</p>{onto_slide(inside, page)}</div>'

    def _claim(self, name: str) -> str:
        try:
            html = self.book.element(LEDGER, f"claim-{name}", "span")
        except Missing:
            raise Missing(f"{{claim}}`{name}`: no assertion of the book decides it") from None
        sentence = onto_slide(html[html.index(">") + 1 : html.rindex("</span>")], LEDGER)
        return f'<p class="claimed">{sentence} <a href="../{LEDGER}#claim-{name}" title="{self.book.say("tested")}">✓</a></p>'

    def _erratum(self, name: str) -> str:
        rows = re.findall(r"<li>(.*?)</li>", self.book.article(ERRATA), re.DOTALL)
        number = int(name[1:]) if re.fullmatch(r"E\d+", name) else 0
        if not 1 <= number <= len(rows):
            raise Missing(f"{{erratum}}`{name}`: the book has E1 to E{len(rows)}")
        return f'<div class="erratum">{onto_slide(rows[number - 1], ERRATA)}</div>'

    def _live(self, name: str) -> str:
        preset = next((p for chapter in numbered_chapters() if (p := preset_of(read_chapter(chapter), name))), None)
        if preset is None:
            raise Missing(f"{{live}}`{name}`: no chapter has this live figure")
        address = f"../{LIVE}.html?slide#live?{urlencode(preset)}"
        return f'<iframe class="live" data-src="{escape(address)}" title="{self.book.say("Live figure")}"></iframe>'

    def body(self) -> str:
        """The slide's text; what follows a poll or a ``+++`` comes with the next key."""
        parts: list[str] = []
        lines = self.slide.body.splitlines()
        for line in lines:
            if line.strip() == "+++":
                parts.append("")
                continue
            parts = parts or [""]
            if ALONE.fullmatch(line.strip()):
                parts[-1] += f"\n\n{line.strip()}\n\n"
                if line.startswith("{poll}"):
                    parts.append("")
            else:
                parts[-1] += f"{line}\n"
        html = [self.text(part) for part in parts]
        first, *later = html or [""]
        return first + "".join(f'\n<div class="fragment">{part}</div>' for part in later if part)


LIVE_FIGURE = re.compile(r"^`{3,}\{live-figure\}\n((?::\w+:.*\n)*)", re.MULTILINE)


def preset_of(chapter: Chapter, name: str) -> dict[str, str] | None:
    """The settings of a live figure of a chapter; None where the chapter has none of this name."""
    for options in LIVE_FIGURE.findall(chapter.text):
        said = dict(re.findall(r":(\w+):\s*(.*?)\s*\n", options))
        if said.get("name") == name:
            return {option: said.get(option, value) for option, value in PRESET.items()}
    return None


def place_links(writer: Writer, slide: Slide) -> str:
    """The places of the book that a slide is about, as links; an item of the lecture stands in brackets behind its section."""
    places: dict[str, list[str]] = {}
    for label in slide.sources:
        path, title, _ = writer.book.labels[label]
        page, anchor = writer.book.place(label, "from")
        chapter = numbered_chapters().get(path)
        words = f"{chapter} · {writer.line(title)}" if chapter else writer.line(title)
        if re.fullmatch(r"L\d+", label):
            places.setdefault(words, []).append(f'<a href="../{page}#{anchor}">{label}</a>')
        else:
            places.setdefault(words, []).insert(0, f'<a href="../{page}#{anchor}">{words}</a>')
    shown = [links[0] if len(links) == 1 and words in links[0] else None for words, links in places.items()]
    for i, (words, links) in enumerate(places.items()):
        if shown[i] is None:
            own = [link for link in links if words in link]
            rest = writer.book.say(", ").join(link for link in links if words not in link)
            place = own[0] if own else words
            shown[i] = writer.book.say("{place} ({items})").format(place=place, items=rest) if rest else words
    return "<br>".join(str(text) for text in shown)


def slide_html(book: Book, slide: Slide, before: float) -> str:
    """A slide as reveal.js wants it; ``before`` is how many minutes have passed when it comes."""
    writer = Writer(book, slide)
    kind = "divider" if slide.divides else slide.layout
    timing = book.say("{minutes} minutes, from {before} on").format(
        minutes=f"{slide.minutes:.1f}", before=f"{before:.0f}"
    )
    notes = f'<aside class="notes"><p><b>{timing}</b></p>{writer.text(slide.notes)}</aside>'
    head = f"<h{1 if slide.divides else 2}>{writer.line(slide.title)}</h{1 if slide.divides else 2}>"
    links = f'<p class="places">{place_links(writer, slide)}</p>' if slide.sources else ""
    words = f' data-items="{" ".join(sorted(slide.items))}"' if slide.items else ""
    written = "" if slide.language == book.language else f' lang="{slide.language}"'
    return f'<section class="{kind}"{words}{written}>\n{head}\n<div class="body">\n{writer.body()}\n</div>\n{links}\n{notes}\n</section>'
