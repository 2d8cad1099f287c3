"""What a link leads to, for a look without leaving the page: one script a page, with the parts of it that links lead to.

``previews.js`` loads the script of a page when somebody first stays on a link that leads there; a script, because a page opened
from a file cannot fetch anything. The parts are cut out of the pages as they were written, so that formulas, numbers and figures
look the same. Links, anchors and everything folded are left out: a preview is to be read, and never shows a solution.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from html import unescape
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import unquote

from docutils import nodes
from sphinx.application import Sphinx

from bookext.read.book import ROOT, book_pages
from bookext.read.kept import digest, remembered, text_digest

from .explore import explorable
from .live import live_figure
from .search import NOTATION, plain_text, squeeze

FOLDER = "_static/previews"
CHAPTER = re.compile(r"book/\d\d-")
ARTICLE = re.compile(r"<article[^>]*>(.*)</article>", re.DOTALL)
WHOLE = '<div class="whole"'  # the section of a page's heading
LINK = re.compile(r'<a\b(?![^>]*class="headerlink")[^>]*\bhref="([^":]*)"')
SPARED = re.compile(r'<(details|nav|form|button|script)\b|<(?:p|div)\b[^>]*class="[^"]*(?:open-in-colab|cell_input)')
HEADING = re.compile(r"(?:\s|<span id=\"[^\"]*\"></span>)*<h([1-6])[^>]*>(.*?)</h\1>", re.DOTALL)
UNWANTED = re.compile(r' (?:id|tabindex|loading)="[^"]*"')
OPENING = re.compile(r"\s*<(\w+)([^>]*)>")
ENOUGH = 140  # letters; a shorter paragraph is followed by the next


def end_of(html: str, start: int) -> int:
    """Where the element that opens at ``start`` ends.

    >>> end_of("<p><b>1</b></p><p>", 0)
    15
    """
    tag = re.compile(r"<(\w+)").match(html, start)
    assert tag, html[start : start + 40]
    deep = 0
    for found in re.compile(rf"<(/?){tag[1]}\b[^>]*?(/?)>").finditer(html, start):
        deep += -1 if found[1] else 0 if found[2] else 1
        if deep <= 0:
            return found.end()
    return len(html)


def without_spared(html: str) -> str:
    """Without what is folded or operated: hints and solutions, code, navigation."""
    while found := SPARED.search(html):
        html = html[: found.start()] + html[end_of(html, found.start()) :]
    return html


def cleaned(html: str, folder: str) -> str:
    """A part of a page to stand on another: no links, no anchors, no stops for the keyboard; images counted from the root.

    >>> cleaned('<p id="x">See <a class="internal" href="#y">(1.1)</a><a class="headerlink" href="#x">#</a></p>', "book")
    '<p>See <span>(1.1)</span></p>'
    >>> cleaned('<img src="../_images/a.svg" loading="lazy">', "book")
    '<img src="@/_images/a.svg">'
    """
    html = re.sub(r'<a class="headerlink".*?</a>', "", without_spared(html), flags=re.DOTALL)
    html = re.sub(r"<a\b[^>]*>", "<span>", html).replace("</a>", "</span>")
    drawings = re.split(r"(<svg\b.*?</svg>)", html, flags=re.DOTALL)  # their inner references need their ids
    drawings[::2] = [re.sub(r"<\w[^>]*>", lambda tag: UNWANTED.sub("", tag[0]), plain) for plain in drawings[::2]]
    html = (
        "".join(drawings)
        .replace(' role="group" aria-label="formula"', "")
        .replace(' role="group" aria-label="公式"', "")
    )
    return re.sub(r'(?<= src=")([^":]+)', lambda src: "@/" + normpath(join(folder, src[1])), html).strip()


def beginning(html: str, start: int) -> str:
    """The first words below a heading: a paragraph, a formula right behind it, or a list; code and boxes are passed over."""
    taken: list[str] = []
    letters = 0
    while (found := OPENING.match(html, start)) and found[1] != "section":
        tag = start + found[0].index("<")
        end = end_of(html, tag)
        whole = html[tag:end]
        if found[1] == "details" and "going-further" in found[2]:  # a folded section, not a fold within it
            start = html.index("</summary>", tag) + len("</summary>")
            continue
        start = end
        formula = found[1] == "div" and 'class="math' in found[2]
        if SPARED.match(whole) or not (formula or found[1] in {"p", "ul", "ol"}):
            if taken:
                break
            continue
        taken.append(whole)
        letters += len(re.sub(r"<annotation.*?</annotation>|<[^>]+>", "", whole))
        following = OPENING.match(html, start)
        if letters > ENOUGH and not (following and 'class="math' in following[2] and not formula):
            break
    return "".join(taken)


def section(html: str, start: int) -> str:
    """The heading of a section or a page, and its first words."""
    found = HEADING.match(html, html.index(">", start) + 1)
    return f'<p class="preview-title">{found[2]}</p>{beginning(html, found.end())}' if found else ""


def table_row(html: str, start: int) -> str:
    """The cells of a row, each but the first with the head of its column; what only leads elsewhere is left out."""
    top = html.rindex("<table", 0, start)
    heads = re.findall(r"<th\b[^>]*>(.*?)</th>", html[top : html.find("<tbody", top)], re.DOTALL)
    cells = re.findall(r"<td[^>]*>(.*?)</td>", html[start : end_of(html, start)], re.DOTALL)
    named = [(re.sub(r"<[^>]+>", "", head), cell) for head, cell in zip(heads, cells, strict=False)]
    kept = [(head, cell) for head, cell in named if re.sub(r"<[^>]+>", "", cell).strip() and head != "Cell"]
    told = [cell.replace("<p>", f'<p><span class="preview-head">{head}</span> ', 1) for head, cell in kept[1:]]
    return "".join([kept[0][1], *told]) if kept else ""


def labelled(html: str, start: int) -> int:
    """Where the section begins whose label stands at ``start``; -1 if it is none's."""
    begun = max(html.rfind(opens, max(0, start - 500), start) for opens in ("<section", WHOLE))
    label = begun >= 0 and re.fullmatch(r'<\w+[^>]*>(?:\s|<span id="[^"]*"></span>)*', html[begun:start])
    return begun if label else -1


def part(html: str, anchor: str) -> str:
    """What a link to an anchor of a page shows, or nothing."""
    at = html.find(f' id="{anchor}"') if anchor else html.find(WHOLE) + 1
    if at < 1:
        return ""
    start = html.rindex("<", 0, at)
    opening = html[start : html.index(">", at) + 1]
    tag = opening[1:].split(maxsplit=1)[0]
    if tag == "span" and (begun := labelled(html, start)) >= 0:
        tag, start = "section", begun
    row = start if tag == "tr" else html.rfind("<tr", 0, start) if tag == "span" else -1
    if row >= 0 and html.find("</tr>", row) > start:
        return table_row(html, row)
    if tag == "section" or opening.startswith(WHOLE):
        return section(html, start)
    if tag == "dt":
        told = OPENING.match(html, html.index("<dd", start) + len("<dd>"))
        return f'<p class="preview-title">{html[start + len(opening) : html.index("</dt>", start)]}</p>' + (
            html[told.start() : end_of(html, told.start() + told[0].index("<"))] if told and told[1] == "p" else ""
        )
    if tag == "figure" and ("live-figure" in opening or 'class="explore"' in opening):
        caption = html.index("<figcaption", start)
        return html[html.index(">", caption) + 1 : html.index("</figcaption>", caption)]
    shown = tag == "figure" or re.search(r'class="[^"]*\b(?:math|citation|exercise|admonition)\b', opening)
    return html[start : end_of(html, start)] if shown or tag == "p" else ""


def targets(page: str, html: str) -> Iterator[tuple[str, str]]:
    """The page and the anchor of each link of a page's text that stays on the site."""
    for href in LINK.findall(html):
        path, _, anchor = unescape(href).partition("#")
        yield (normpath(join(dirname(page), path)) if path else page), unquote(anchor)


def script_of(page: str) -> str:
    """Where the previews of a page are."""
    return f"{FOLDER}/{page.removesuffix('.html').replace('/', '-')}.js"


def scripts() -> set[str]:
    """Those of all pages; a page that no link leads to has none."""
    return {script_of(page_name(path)) for path in book_pages()}


def page_name(path: Path) -> str:
    """The address of a page of the book."""
    return path.relative_to(ROOT).with_suffix(".html").as_posix()


def write_previews(app: Sphinx, error: Exception | None) -> None:
    """Write the previews of each page that links lead to."""
    if error is not None or app.builder.name != "html":
        return
    site = Path(app.outdir)
    texts = {name: found[1] for name in map(page_name, book_pages())
             if (site / name).exists() and (found := ARTICLE.search((site / name).read_text("utf8")))}  # fmt: skip
    wanted: dict[str, set[str]] = {}
    for page, html in texts.items():
        for target, anchor in targets(page, html):
            wanted.setdefault(target, set()).add(anchor)
    (site / FOLDER).mkdir(parents=True, exist_ok=True)
    for page, html in texts.items():
        anchors = [a for a in sorted(wanted.get(page, ())) if not a.startswith("cell-")]
        key = text_digest(html, *anchors, digest([Path(__file__)]))
        name = f"previews-{app.config.language}-{page.removesuffix('.html').replace('/', '-')}"
        parts = remembered(name, key, partial(parts_of, html, anchors, dirname(page)))
        data = json.dumps({a: text for a, text in parts.items() if text}, ensure_ascii=False, separators=(",", ":"))
        (site / script_of(page)).write_text(f'bookPreviews("{page}",{data});\n', "utf8")


def parts_of(html: str, anchors: list[str], folder: str) -> dict[str, str]:
    """The parts of a page that links lead to, by their anchors."""
    return {anchor: cleaned(part(html, anchor), folder) for anchor in anchors}


def symbols(app: Sphinx) -> dict[str, tuple[str, str]]:
    """The anchor of each symbol in the tables of notation, and what it means; one that stands in two rows has none."""
    rows = [row for row in app.env.get_doctree(NOTATION).findall(nodes.row) if row["ids"]]
    found = [
        (
            formula.astext(),
            (row["ids"][0], max((squeeze(plain_text(cell)) for cell in row[1:]), key=len).partition(";")[0]),
        )
        for row in rows
        for formula in row[0].findall(nodes.math)
    ]
    counts = Counter(tex for tex, _ in found)
    return {tex: place for tex, place in found if counts[tex] == 1}


def link_symbols(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """A symbol by itself in the text of a chapter leads to its row of the notation, the first time."""
    if app.builder.name != "html" or not CHAPTER.match(docname) or NOTATION not in app.env.found_docs:
        return
    known = symbols(app)
    for formula in list(doctree.findall(nodes.math)):
        text = formula.parent  # a live figure draws its own
        if not isinstance(text, nodes.paragraph) or isinstance(text.parent, live_figure | explorable):
            continue
        if place := known.get(formula.astext()):
            anchor, meaning = place
            known = {tex: other for tex, other in known.items() if other[0] != anchor}
            uri = f"{app.builder.get_relative_uri(docname, NOTATION)}#{anchor}"
            link = nodes.reference("", "", internal=True, refuri=uri, classes=["symbol"], meaning=meaning)
            formula.replace_self(link)
            link += formula


def setup(app: Sphinx) -> None:
    app.add_js_file("previews.js", loading_method="defer")
    app.connect("doctree-resolved", link_symbols)
    app.connect("build-finished", write_previews)
