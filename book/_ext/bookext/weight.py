"""What a page weighs and how steadily it loads: one style sheet, slim figures of known size, nothing shipped that nothing uses."""

from __future__ import annotations

import re
import shutil
from functools import lru_cache
from pathlib import Path

import imagesize
from sphinx.application import Sphinx

from .page import STATIC
from .source import ROOT, notebook_pages

SHEETS = ("katex/katex.min.css", "pygments.css", "book.css")
REPAIRS = [  # (what the theme and the extensions write, what a page needs), applied to each finished page
    # roles that ARIA has withdrawn, in a list whose children are no list items
    (re.compile(r' role="doc-biblioentry"'), ""),
    (re.compile(r'<div role="list" class="citation-list">'), '<div class="citation-list">'),
    # the same id in every exercise of a page
    (re.compile(r'<section id="(exercise|solution)-content">'), r'<section class="\1-content">'),
    # a fold is a fold: without the frame, and the chevron drawing, of a card
    (
        re.compile(r'<details class="sd-sphinx-override sd-dropdown sd-card[^"]*">\s*<summary[^>]*>\s*'
                   r'<span class="sd-summary-text">(.*?)</span><span class="sd-summary-state-marker.*?</svg></span>'
                   r'</summary><div class="sd-summary-content[^"]*">', re.DOTALL),
        r'<details class="fold"><summary>\1</summary><div>',
    ),
    # the name of a fold is its text; paragraphs are not allowed in it
    (
        re.compile(r'<summary aria-label="Toggle hidden content">\s*<p class="collapsed admonition-title">(.*?)</p>\s*'
                   r'<p class="expanded admonition-title">(.*?)</p>\s*</summary>'),
        r'<summary><span class="closed">\1</span><span class="opened">\2</span></summary>',
    ),
    (re.compile(r'<details class="admonition hide'), '<details class="hide'),
    # marks for scripts that are not here
    (re.compile(r' class="sd-card-text"'), ""),
    (re.compile(r' class="tex2jax_ignore mathjax_ignore"'), ""),
    # what may scroll can be reached by keyboard; the script takes that back where nothing scrolls
    (re.compile(r'<pre>(?:<span></span>)?'), '<pre tabindex="0">'),
    (re.compile(r'<div class="pst-scrollable-table-container">'), '<div class="pst-scrollable-table-container" tabindex="0">'),
    # KaTeX gives a box that lies below the line a negative height, which CSS does not have and browsers pass over
    (re.compile(r'(?<=style=")height:-[\d.]+em;'), ""),
    # Chinese, outside of tags, said to be Chinese: for voices, hyphenation and the choice of glyphs
    (re.compile(r'[\u4e00-\u9fff]+(?:[ ·]*[\u4e00-\u9fff]+)*(?=[^<>]*<)'), r'<span lang="zh-Hans">\g<0></span>'),
]  # fmt: skip
IMAGE = re.compile(r'<img (?![^>]*\bloading=)([^>]*?src="([^"]+)"[^>]*?)\s*/?>')


def bundle(static: Path) -> str:
    """One style sheet of KaTeX's, the highlighter's and the book's own, without comments and indentation."""
    sheets = [(static / name).read_text("utf8") for name in SHEETS]
    sheets[0] = sheets[0].replace("url(fonts/", "url(katex/fonts/")
    text = re.sub(r"/\*.*?\*/", "", "\n".join(sheets), flags=re.DOTALL)
    return re.sub(r"\n\s*", "\n", text).strip() + "\n"


@lru_cache(maxsize=256)
def size_of(image: Path) -> tuple[int, int]:
    """Width and height of an image in CSS pixels."""
    if image.suffix == ".svg":
        points = dict(re.findall(r'\b(width|height)="([\d.]+)pt"', image.read_text("utf8")[:2000]))
        if len(points) == 2:
            return round(float(points["width"]) * 4 / 3), round(float(points["height"]) * 4 / 3)
    width, height = imagesize.get(image)
    return int(width), int(height)


def settle_images(html: str, page: Path) -> str:
    """Give every image its size, so that nothing moves when it arrives, and let it wait until it is nearly in sight."""

    def settled(match: re.Match[str]) -> str:
        image = (page.parent / match[2]).resolve()
        width, height = size_of(image)
        size = "" if "width=" in match[1] else f' width="{width}" height="{height}"'
        return f'<img {match[1]}{size} loading="lazy" decoding="async">'

    return IMAGE.sub(settled, html)


def slim_svg(svg: str) -> str:
    """A drawing without its metadata, and with coordinates to a hundredth of a point.

    >>> slim_svg('<svg><metadata>who</metadata><path d="M 1.23456 2 L 3.999999 4"/></svg>')
    '<svg><path d="M 1.23 2 L 4 4"/></svg>'
    """

    def short(number: re.Match[str]) -> str:
        return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")

    svg = re.sub(r"<\\?xml.*?\\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(?<= d=")[^"]+', lambda d: re.sub(r"-?\d+\.\d{3,}", short, d[0]), svg)
    return re.sub(r"\n\s*", "\n", svg).strip()


def prune(static: Path, html: str) -> None:
    """Remove what the theme and the extensions ship and no page names; the book's own files stay."""
    for path in [p for p in static.rglob("*") if p.is_file()]:
        name = path.relative_to(static).as_posix()
        own = (STATIC / name).exists() and name not in SHEETS
        if not own and f"_static/{name}" not in html:
            path.unlink()
    for folder in sorted((p for p in static.rglob("*") if p.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()


def lighten(app: Sphinx, error: Exception | None) -> None:
    """Mend and lighten what was written."""
    if error is not None or app.builder.name != "html":
        return
    site = Path(app.outdir)
    static = site / "_static"
    sheet = static / "site.css"
    before = sheet.stat().st_mtime if sheet.exists() else 0.0  # what is older has been lightened already
    if all((static / name).exists() for name in SHEETS):  # Sphinx copies nothing where no page is out of date
        sheet.write_text(bundle(static), "utf8")
    for image in (site / "_images").glob("*.svg"):
        if image.stat().st_mtime > before:
            image.write_text(slim_svg(image.read_text("utf8")), "utf8")
    everything = ""
    for page in (p for p in site.rglob("*.html") if static not in p.parents):
        text = page.read_text("utf8")
        if page.stat().st_mtime > before:
            for pattern, right in REPAIRS:
                text = pattern.sub(right, text)
            text = settle_images(text, page)
            page.write_text(text, "utf8")
        everything += text
    prune(static, everything)
    for path in notebook_pages():  # what a reader downloads runs by itself, like what Colab opens
        if path.with_suffix(".ipynb").exists():  # `make test` names a chapter that has none
            name = path.relative_to(ROOT).with_suffix(".ipynb")
            shutil.copyfile(ROOT / name, site / "_sources" / name)
    sheet.touch()


def setup(app: Sphinx) -> None:
    app.connect("build-finished", lighten, priority=900)
