"""What a published site has beside its pages: one style sheet, slim figures, a map for search engines; nothing that no page uses."""

import base64
import hashlib
import html
import re
import shutil
from functools import lru_cache
from pathlib import Path

from pygments.formatters import HtmlFormatter
from sphinx.application import Sphinx

from bookext.check.twins import translated_pages
from bookext.notebook.wheel import FOLDER, build_wheel
from bookext.read.blocks import notebook_texts
from bookext.read.book import ROOT

from .chinese import SCRIPTS, is_chinese, share
from .previews import FOLDER as PREVIEWS
from .previews import page_name, scripts

STATIC = ROOT / "book" / "_static"
SHEETS = ("katex/katex.min.css", "book.css")  # one is made of them
FIRST = STATIC / "katex" / "first"
LETTERS = ("KaTeX_Main.css", "KaTeX_Math.css", "KaTeX_Size.css")
CONTENT = re.compile(r'(<html [^>]*data-content=")[^"]*')
# Of a figure whose scripts do not run, its preset is shown.
STILL = ".live-controls, .live-data, .live-share, .ex-presets { display: none !important; }\n"
# What the build reads and no reader needs.
UNSHIPPED = {*SHEETS, "katex/VERSION", "fonts/VERSION", "pyodide/VERSION", "reveal/VERSION"}
UNSHIPPED |= {path.relative_to(STATIC).as_posix() for path in FIRST.iterdir()}


@lru_cache(maxsize=1)
def shipped() -> set[str]:
    """What the site has under ``_static``: the book's files and those made of them. A page names no others."""
    own = {path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file()}
    made = {"site.css", *LETTERS, "noscript.css", "search-index.js"}
    return {f"_static/{name}" for name in own - UNSHIPPED | made} | scripts()


def highlighting(scheme: str, style: str) -> list[str]:
    """The colours of code in one colour scheme, as lines of a style sheet."""
    formatter, place = HtmlFormatter(style=style), f'html[data-theme="{scheme}"] .highlight'
    return [*formatter.get_background_style_defs(place), *formatter.get_token_style_defs(place)]


def dark_only(sheet: str) -> str:
    """The rules of the dark scheme, for a page that no script can mark as dark: it says that it is light.

    >>> dark_only('a { top: 0; } html[data-theme="dark"] b { top: 0; }')
    'html[data-theme="light"] b { top: 0; }'
    """
    rules = re.findall(r'html\[data-theme="dark"\][^{}]*\{[^}]*\}', sheet)
    return "\n".join(rules).replace('"dark"', '"light"')


def other_points(points: str) -> str:
    """The characters that a ``unicode-range`` leaves out, as another.

    >>> other_points("U+20-7E, U+A0")
    'U+0-1F, U+7F-9F, U+A1-10FFFF'
    """
    begin, others = 0, []
    for each in points.removeprefix("U+").split(", U+"):
        first, _, last = each.partition("-")
        others.append(f"U+{begin:X}-{int(first, 16) - 1:X}")
        begin = int(last or first, 16) + 1
    return ", ".join([*others, f"U+{begin:X}-10FFFF"])


def letters_apart(katex: str) -> tuple[str, dict[str, str]]:
    """KaTeX's sheet, and small ones with the letters of nearly every formula in them: no text moves when a font comes.

    They are read side by side, which on a slow line is sooner than one after the other. Rarer characters come from the whole fonts.
    """
    points, letters = (
        (FIRST / "unicodes.txt").read_text("utf8").replace(",\n", ", ").strip(),
        dict.fromkeys(LETTERS, ""),
    )
    for font in sorted(FIRST.glob("*.woff2")):
        place = f"url(fonts/{font.name})"
        (face,) = re.findall(rf"@font-face{{[^}}]*{re.escape(place)}[^}}]*}}", katex)
        inside = f"url(data:font/woff2;base64,{base64.b64encode(font.read_bytes()).decode()})"
        letters[f"{font.name[:10]}.css"] += f"{face[:-1].replace(place, inside)};unicode-range:{points}}}\n"
        katex = katex.replace(face, f"{face[:-1]};unicode-range:{other_points(points)}}}")
    return katex, letters


def write_sheet(app: Sphinx) -> None:
    """One style sheet of KaTeX's, the highlighter's and the book's own; before the pages, which name it with its hash."""
    if app.builder.name != "html":
        return
    theme = app.builder.theme  # type: ignore[attr-defined]
    katex, own = ((STATIC / name).read_text("utf8") for name in SHEETS)
    code = highlighting("light", theme.pygments_style_default) + highlighting("dark", theme.pygments_style_dark)
    katex, letters = letters_apart(katex)
    text = "\n".join([katex.replace("url(fonts/", "url(katex/fonts/"), *code, own])
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    sheet = Path(app.outdir, "_static", "site.css")
    sheet.parent.mkdir(parents=True, exist_ok=True)
    text = re.sub(r"\n\s*", "\n", text).strip() + "\n"
    sheet.write_text(text, "utf8")
    for name, faces in letters.items():
        sheet.with_name(name).write_text(faces, "utf8")
    live = (STATIC / "live/live.css").read_text("utf8")
    sheet.with_name("noscript.css").write_text(
        f"@media (prefers-color-scheme: dark) {{\n{dark_only(text + live)}\n}}\n{STILL}", "utf8"
    )


def slim_svg(svg: str) -> str:
    """A drawing without its metadata, and with coordinates to a hundredth of a point.

    >>> slim_svg('<svg><metadata>who</metadata><path d="M 1.23456 2 L 3.999999 4"/></svg>')
    '<svg><path d="M 1.23 2 L 4 4"/></svg>'
    """

    def short(number: re.Match[str]) -> str:
        return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")

    svg = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(?<= d=")[^"]+', lambda d: re.sub(r"-?\d+\.\d{3,}", short, d[0]), svg)
    return re.sub(r"\n\s*", "\n", svg).strip()


def prune(site: Path, shipped: set[str]) -> None:
    """Remove what Sphinx, the theme below the book's and the extensions put into ``_static``."""
    for path in sorted((site / "_static").rglob("*"), reverse=True):  # a folder after what is in it
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(site).as_posix() not in shipped:
            path.unlink()


def sitemap(base: str, pages: list[str]) -> str:
    """A sitemap of pages given by their paths.

    >>> print(sitemap("https://example.org/", ["a.html"]).splitlines()[2])
    <url><loc>https://example.org/a.html</loc></url>
    """
    urls = [f"<url><loc>{html.escape(base + page)}</loc></url>" for page in pages]
    head = ['<?xml version="1.0" encoding="UTF-8"?>', '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">']
    return "\n".join([*head, *urls, "</urlset>", ""])


def stamp_pages(site: Path) -> None:
    """Tell each page the version of what its scripts load by themselves, so that no browser takes an old copy for the new one."""
    loaded = [site / "_static" / "search-index.js", *sorted((site / PREVIEWS).glob("*.js"))]
    version = hashlib.sha256(b"".join(path.read_bytes() for path in loaded)).hexdigest()[:8]
    for page in site.rglob("*.html"):
        text = page.read_text("utf8")
        if (stamped := CONTENT.sub(rf"\g<1>{version}", text, count=1)) != text:
            page.write_text(stamped, "utf8")


def finish(app: Sphinx, error: Exception | None) -> None:
    """Write what stands beside the pages, and slim what was copied."""
    if error is not None or app.builder.name != "html":
        return
    site, base = Path(app.outdir), app.config.html_baseurl
    for image in (site / "_images" / name for name in app.builder.images.values() if name.endswith(".svg")):
        image.write_text(slim_svg(image.read_text("utf8")), "utf8")
    if is_chinese(app):
        share(site)
        prune(site, {"_static/search-index.js", *(f"_static/{name}" for name in SCRIPTS)} | scripts())
        stamp_pages(site)
        return
    pages = [app.builder.get_target_uri(name) for name in sorted(app.env.found_docs)]
    pages += [f"zh/{page_name(page)}" for page in translated_pages()]
    (site / "sitemap.xml").write_text(sitemap(base, [*pages, "status.html"]), "utf8")
    robots = f"User-agent: *\nAllow: /\nDisallow: /*/versions/\n\nSitemap: {base}sitemap.xml\n"
    (site / "robots.txt").write_text(robots, "utf8")
    (site / ".nojekyll").touch()  # else Pages hides _static
    prune(site, shipped())
    stamp_pages(site)
    build_wheel(site / FOLDER)
    for path in notebook_texts():  # what a reader downloads runs by itself, like what Colab opens
        if path.with_suffix(".ipynb").exists():  # `make test` names a chapter that has none
            name = path.relative_to(ROOT).with_suffix(".ipynb")
            (site / "_sources" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, site / "_sources" / name)


def setup(app: Sphinx) -> None:
    for name in LETTERS:
        app.add_css_file(name)
    app.connect("builder-inited", write_sheet)
    app.connect("build-finished", finish, priority=900)  # when the others have written their files
