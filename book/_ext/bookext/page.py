"""What the layout of a page is filled with. The layout is the book's own (``templates/layout.html``).

The theme's layout asks for 1.5 MB of icon script, 80 kB of menus and 400 kB of style, none of which a chapter needs. Its work on
the page's text and its Colab link stay.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sphinx.application import Sphinx
from sphinx.config import Config

from .plain import first_words
from .source import ROOT

HERE = Path(__file__).parent
STATIC = ROOT / "book" / "_static"
BUNDLED = {"_static/book.css", "_static/katex/katex.min.css"}  # weight.py makes one file of them
MATH_FONTS = ("KaTeX_Main-Regular.woff2", "KaTeX_Math-Italic.woff2")  # what nearly every formula is set in
PREVIEW_ALT = "The book's title over three curves against depth: one explodes, one stays level, one vanishes."
SITE_DESCRIPTION = (
    "An executable book on numerical stability, initialisation and activation functions: every formula checked."
)


def settle_config(app: Sphinx, config: Config) -> None:
    """The book's templates come before the theme's."""
    config.templates_path.insert(0, str(HERE / "templates"))
    config.html_use_index = config.html_domain_indices = False  # the search finds every function of labs


def file_hash(*paths: Path) -> str:
    """A short hash, so that a browser asks anew for a file that has changed."""
    return hashlib.sha256(b"".join(p.read_bytes() for p in paths)).hexdigest()[:8]


def navigation(context: dict[str, Any]) -> str:
    """The chapters, as nested lists under their captions."""
    html = context["toctree"](collapse=True, titles_only=True, maxdepth=2, includehidden=True) or ""
    html = re.sub(r'<p[^>]*class="caption"[^>]*>', '<p class="label">', html)
    return re.sub(r'<a class="current reference internal" href="[^"]*"', r'\g<0> aria-current="page"', html)


def own_files(context: dict[str, Any], kind: str) -> list[str]:
    """The addresses of the book's own scripts or styles that something has added to this page."""
    found = []
    for file in context.get(kind, []):
        name = str(getattr(file, "filename", file) or "")
        if name.startswith("_static/") and name not in BUNDLED and (STATIC / name.removeprefix("_static/")).exists():
            found.append(context["pathto"](name, 1) + "?v=" + file_hash(STATIC / name.removeprefix("_static/")))
    if kind == "css_files" and re.search(r'class="[^"]*\bsd-(?:tab-|row|col|btn|grid|badge)', context.get("body", "")):
        found.insert(0, context["pathto"]("_static/sphinx-design.min.css", 1))
    return found


def colab_link(context: dict[str, Any]) -> str:
    """The theme's link to Colab; it makes one only for a page with a notebook beside it."""
    for group in context.get("header_buttons", []):
        if group["label"] == "launch-buttons":
            return next((b["url"] for b in group["buttons"] if "colab" in b["url"]), "")
    return ""


def report_link(repository: str, title: str, address: str) -> str:
    """A new issue that already says which page it is about."""
    body = f"Page: {address}\n\nThe sentence, formula or figure:\n\nWhat is wrong with it:\n"
    return f"{repository}/issues/new?" + urlencode({"title": f"Error on page: {title}", "body": body})


def description_of(metatags: str, doctree: Any) -> str:
    """The description in a page's front matter, else the beginning of its first paragraph."""
    written = re.search(r'<meta content="([^"]*)" name="description"', metatags)
    return written[1] if written else (first_words(doctree) if doctree else "") or SITE_DESCRIPTION


def fill_page(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Put what the layout needs under ``page``."""
    pathto, repository = context["pathto"], app.config.html_theme_options["repository_url"].rstrip("/")
    metatags = context.get("metatags", "")
    address = f"{app.config.html_baseurl}{pagename}.html"
    title = re.sub(r"<[^>]+>", "", context.get("title") or "")
    notebook = Path(app.srcdir, f"{pagename}.ipynb").exists()
    kept = re.findall(r'<meta (?![^>]*name="(?:viewport|description)")[^>]*>', metatags)
    context["page"] = {
        "base": app.config.html_baseurl,
        "address": address if doctree or pagename == "status" else "",
        "repository": repository,
        "report": report_link(repository, title, address),
        "version": app.config.html_theme_options.get("repository_branch", "main"),
        "description": description_of(metatags, doctree),
        "metatags": "\n".join(kept),
        "preview_alt": PREVIEW_ALT,
        "nav": navigation(context),
        "toc": context["generate_toc_html"]() if doctree else "",
        "fonts": MATH_FONTS if 'class="katex"' in context.get("body", "") else (),
        "styles": own_files(context, "css_files"),
        "scripts": own_files(context, "script_files"),
        "style_version": file_hash(STATIC / "book.css", STATIC / "katex" / "katex.min.css"),
        "script_version": file_hash(STATIC / "book.js", STATIC / "search.js"),
        "notebook": pathto(f"_sources/{pagename}.ipynb", 1) if notebook else "",
        "colab": colab_link(context),
    }


def extra_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The pages that no chapter makes."""
    yield "search", {"title": "Search"}, "search.html"
    yield "404", {"title": "Not found"}, "404.html"
    yield "index", {"title": app.config.html_title}, "redirect.html"


def without_word_index(app: Sphinx) -> None:
    """Sphinx's word index is not built: ``search`` makes a better one for this book."""
    app.builder.search = False  # type: ignore[attr-defined]


def setup(app: Sphinx) -> None:
    app.connect("config-inited", settle_config)
    app.connect("builder-inited", without_word_index)
    app.connect("html-page-context", fill_page, priority=950)  # after the theme
    app.connect("html-collect-pages", extra_pages)
