"""``make epub``: the book as an EPUB, and one in Chinese, from the same pages as the book on paper, with its formulas as MathML.

KaTeX writes each formula twice, for eyes and as MathML; here the second alone is kept, which readers of EPUBs draw and speak. A figure that
a reader moves is a drawing of its preset, and the solutions of the exercises are the last chapter.
"""

import re
import sys
import zipfile
from functools import cache, cached_property
from html import escape, unescape
from pathlib import Path
from posixpath import basename, dirname, join, normpath

from bs4 import BeautifulSoup, Tag

from bookext.check.twins import translated_pages
from bookext.read.book import ROOT, config
from bookext.read.kept import BUILD

from .paper import NAME, PLAIN, Paper
from .previews import end_of

FOLDER = BUILD / "epub"
BEGINNING = (1980, 1, 1, 0, 0, 0)  # of a zip's time
PATHLESS = re.compile(rb"<path (?![^>]*\bd=)")  # matplotlib's outline of a blank, which SVG does not allow
EYES = '<span class="katex-html"'
UNKNOWN = (
    "tabindex",
    "loading",
    "decoding",
    "role",
    "aria-label",
    "autocomplete",
    "for",
    "scope",
    "open",
    "target",
)
KINDS = {
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".css": "text/css",
    ".xhtml": "application/xhtml+xml",
}
PAGE = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" xml:lang="{lang}" lang="{lang}">
<head><title>{title}</title><link rel="stylesheet" type="text/css" href="book.css"/></head>
<body>{body}</body>
</html>
"""
CONTAINER = """<?xml version="1.0"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="book/content.opf" media-type="application/oebps-package+xml"/></rootfiles></container>
"""
STYLE = """body { line-height: 1.45; }
pre { font-size: 0.75em; white-space: pre-wrap; overflow-wrap: anywhere; background: #f5f5f5; padding: 0.5em; }
code { font-size: 0.88em; } img { max-width: 100%; height: auto; } figcaption { font-size: 0.88em; color: #444; }
table { border-collapse: collapse; font-size: 0.85em; } th, td { border-bottom: 1px solid #bbb; padding: 0.25em 0.5em; text-align: left; }
.admonition { border-left: 3px solid #666; padding-left: 0.8em; margin: 1em 0; }
.predict { border-color: #1565c0; } .erratum { border-color: #b8321f; }
.admonition-title { font-weight: bold; } a.symbol, a.computed { color: inherit; text-decoration: none; }
div.math { display: flex; align-items: center; margin: 1em 0; } .formula { flex: 1; } .unseen { display: none; }
.going-further > .summary { display: none; } .summary { font-weight: bold; } math[display="block"] { display: block; }
:lang(zh) { line-break: strict; } :lang(zh) > em { font-style: normal; font-weight: bold; }
.k, .kn { color: #6730c5; } .s1, .s2, .ow, .sa, .si { color: #00622f; } .mi, .mf, .nb { color: #7f4707; } .c1, .c { color: #515151; }
"""


def without_eyes(html: str) -> str:
    """Formulas as MathML alone.

    >>> without_eyes('<span class="katex"><math></math><span class="katex-html"><span>x</span></span></span>!')
    '<span class="katex"><math></math></span>!'
    """
    kept, place = [], 0
    while (start := html.find(EYES, place)) >= 0:
        kept.append(html[place:start])
        place = end_of(html, start)
    return "".join(kept) + html[place:]


@cache
def drawing_style() -> str:
    """What the site's style sheet says of drawings, for one by itself: colours stand in place of their names."""
    sheet = (ROOT / "book" / "_static" / "live" / "live.css").read_text("utf8")
    colours = dict(re.findall(r"(--[\w-]+): ([^;]+);", sheet[: sheet.index("html[data-theme")]))
    rules = re.findall(r"^\.(?:live-curve|live-hatch|ex-)[^{\n]*\{[^}\n]*\}", sheet, re.MULTILINE)
    css = re.sub(r"\.ex-plot (?!\{)", "", "\n".join(["text { font: 12px sans-serif; }", *rules]))
    return re.sub(r"var\((--[\w-]+)\)", lambda name: colours.get(name[1], "auto"), css)


class Epub(Paper):
    """The pages of a built site as the files of an EPUB."""

    def __init__(self, site: Path, language: str = "en") -> None:
        super().__init__(site, language)
        self.images: dict[str, bytes] = {}

    def name(self, page: str) -> str:
        """The file of a page."""
        return f"{page.removeprefix('book/').removesuffix('.html').replace('/', '-')}.xhtml"

    @cached_property
    def texts(self) -> dict[str, str]:
        """The articles, their solutions taken out."""
        return {page: self.article(page) for page in self.pages}

    @cached_property
    def ids(self) -> dict[str, set[str]]:
        """The anchors of each page."""
        return {page: set(re.findall(r'<\w[^>]*? id="([^"]+)"', html)) for page, html in self.texts.items()}

    def leads(self, page: str, href: str) -> str:
        """Where a link leads: to a file of the EPUB, or to the published site."""
        if re.match(r"\w+:", href):
            return href
        if href.startswith("#") and href.endswith("-solution"):
            return f"solutions.xhtml{href}"
        path, _, anchor = href.partition("#")
        target = normpath(join(dirname(page), path)) if path else page
        if target not in self.pages:
            return f"{self.published(target)}{'#' + anchor if anchor else ''}"
        return self.name(target) + (f"#{anchor}" if anchor in self.ids[target] else "")

    def to_solution(self, href: str) -> str:
        return f'<a href="{href}">{self.say("Solution")}</a>'

    def still_as_image(self, found: re.Match[str]) -> str:
        """A drawing of a page as a file of its own."""
        label = re.search(r'aria-label="([^"]*)"', found[0])
        svg = re.sub(r' (?:role|class|aria-label|style)="[^"]*"', "", found[1])
        name = f"still-{sum(n.startswith('still') for n in self.images) + 1}.svg"
        self.images[name] = (
            f'<svg xmlns="http://www.w3.org/2000/svg"{svg}><style>{drawing_style()}</style>{found[2]}</svg>'.encode()
        )
        return f'<img src="{name}" alt="{label[1] if label else ""}"/>'

    def strict(self, page: str, html: str) -> str:
        """A page's HTML as XHTML, with its images noted and its links as they are in the EPUB."""
        html = re.sub(r"<svg([^>]*)>(.*?)</svg>", self.still_as_image, html, flags=re.DOTALL)
        soup = BeautifulSoup(html, "html.parser")
        for tag in soup.find_all(True):
            self.mend(page, tag)
        return soup.decode(formatter="minimal")

    def mend(self, page: str, tag: Tag) -> None:
        """What an EPUB does not have: folds, labels for voices on what is no control, files of the site."""
        for name in UNKNOWN:
            tag.attrs.pop(name, None)
        for name in [name for name in tag.attrs if name.startswith("data-")]:
            del tag[name]
        if tag.name in {"details", "summary"}:
            tag["class"] = " ".join(
                [*map(str, tag.get_attribute_list("class") if tag.has_attr("class") else []), tag.name]
            )
            tag.name = "div"
        elif tag.name == "annotation" or (tag.name == "noscript"):
            tag.decompose() if tag.name == "annotation" else tag.unwrap()
        elif tag.name == "a" and tag.has_attr("href"):
            tag["href"] = self.leads(page, str(tag["href"]))
        elif tag.name == "img" and not str(tag["src"]).startswith("still-"):
            path = self.site / normpath(join(dirname(page), str(tag["src"])))
            name = "f" + basename(path.as_posix())
            self.images[name] = PATHLESS.sub(b'<path d="M0 0" ', path.read_bytes())
            tag["src"] = name

    def files(self) -> dict[str, str]:
        """The name and the text of each page, in the book's order; the solutions come last."""
        found = {}
        for page, html in self.texts.items():
            html = without_eyes(PLAIN.sub(r"\1", html))
            found[self.name(page)] = self.strict(page, html)
        parts = [f"<h1>{self.say('Solutions of the exercises')}</h1>"]
        for page, anchor, html in self.solutions:
            parts.append(f'<div id="{anchor}-solution">{self.strict(page, without_eyes(html))}</div>')
        found["solutions.xhtml"] = "".join(parts)
        return found


def title_of(body: str) -> str:
    """The words of a page's first heading."""
    found = re.search(r"<h1[^>]*>(.*?)</h1>", body, re.DOTALL)
    return unescape(re.sub(r"<[^>]+>", "", found[1])).strip() if found else ""


def item(name: str, file: str, properties: str = "") -> str:
    """A file's line of the package."""
    said = f' properties="{properties}"' if properties else ""
    return f'<item id="{name}" href="{file}" media-type="{KINDS[Path(file).suffix]}"{said}/>'


def write_epub(site: Path, target: Path, language: str = "en") -> Path:
    """Write the EPUB of a built site in a language."""
    book, settings = Epub(site, language), config()
    home, lang = book.home, book.lang
    files = book.files()
    titles = {name: escape(title_of(body)) for name, body in files.items()}
    items = "".join(f'<li><a href="{name}">{title}</a></li>' for name, title in titles.items())
    nav = f'<nav epub:type="toc" id="toc"><h1>{book.say("Contents")}</h1><ol>{items}</ol></nav>'
    manifest = [item("nav", "nav.xhtml", "nav"), item("css", "book.css")]
    manifest += [item(f"c{i}", name, "mathml" * ("<math" in body)) for i, (name, body) in enumerate(files.items())]
    manifest += [item(f"i{i}", name) for i, name in enumerate(book.images)]
    package = f"""<?xml version="1.0" encoding="UTF-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" xml:lang="{lang}">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:identifier id="id">{home}{settings["repository"]["branch"]}</dc:identifier>
<dc:title>{escape(book.say(settings["title"]))}</dc:title><dc:language>{lang}</dc:language>
<dc:creator>{escape(book.author)}</dc:creator>
<meta property="dcterms:modified">{settings["copyright"]}-01-01T00:00:00Z</meta></metadata>
<manifest>{"".join(manifest)}</manifest>
<spine><itemref idref="nav"/>{"".join(f'<itemref idref="c{i}"/>' for i in range(len(files)))}</spine>
</package>
"""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w") as packed:

        def add(name: str, data: bytes, kind: int = zipfile.ZIP_DEFLATED) -> None:
            packed.writestr(zipfile.ZipInfo(name, BEGINNING), data, kind)

        add("mimetype", b"application/epub+zip", zipfile.ZIP_STORED)
        add("META-INF/container.xml", CONTAINER.encode())
        add("book/content.opf", package.encode())
        add("book/book.css", STYLE.encode())
        add("book/nav.xhtml", PAGE.format(title=book.say("Contents"), lang=lang, body=nav).encode())
        for name, body in files.items():
            add(f"book/{name}", PAGE.format(title=titles[name], lang=lang, body=body).encode())
        for name, data in book.images.items():
            add(f"book/{name}", data)
    return target


def main() -> int:
    for name, language in ((NAME, "en"), (f"{NAME}-zh", "zh")):
        if language == "en" or translated_pages():
            target = write_epub(BUILD / "html", FOLDER / f"{name}.epub", language)
            print(f"{target.relative_to(ROOT)}: {target.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
