"""``make pdf``: the book as one PDF for each size of paper and one in Chinese, printed by Chromium from the pages of the site as built.

The pages follow one another in one document, below a title page and contents with page numbers; links between them lead within it.
What one operates is gone, a live figure shows its preset, code that only draws or guards stays in the notebooks, and the solutions of the
exercises stand at the end. Chromium counts the pages, writes the bookmarks and sets the margins; it cannot write in the contents on which
page a section is, so a first print tells that, and the second has it.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from html import escape, unescape
from pathlib import Path
from posixpath import dirname, join, normpath

from bookext.check.twins import missing_pages, translated_pages
from bookext.read.book import ROOT, book_pages, config, contents
from bookext.read.kept import BUILD
from bookext.read.plaintext import tex_to_text
from bookext.read.words import catalogue, say

from .finish import LETTERS
from .previews import ARTICLE, end_of, page_name

FOLDER, NAME = BUILD / "paper", "numerical-stability"
PAPERS = {"a4": "A4", "letter": "letter"}
EDITIONS = (("a4", "en"), ("letter", "en"), ("a4", "zh"))
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Elements that nobody operates on paper, by the beginning of their tag.
GONE = re.compile(
    r'<(?:button|form|fieldset|script|nav)\b|<details class="(?:hide|fold cite)[^"]*"|<a class="headerlink"|<p class="actions"'
    r'|<(?:div|p) class="proof[^"]*"|<p class="live-hidden"|<details class="live-'
)
FORMULA = re.compile(
    r'<span class="katex"><span class="katex-mathml">.*?<annotation[^>]*>(.*?)</annotation>.*?</math></span>', re.DOTALL
)
# Pieces of code whose colour is hardly one: each would be a tag of the PDF, and together they would be half of it.
PLAIN = re.compile(r'<span class="(?:n|p|o|w|nn|pre)">([^<]*)</span>')
EXERCISE = re.compile(r'<div class="exercise admonition" id="([^"]+)">')
HEADING = re.compile(
    r'<(?:section\b|div class="whole")[^>]*\bid="([^"]+)"[^>]*>(?:\s|<span id="[^"]*"></span>)*<h([12])>(.*?)</h\2>',
    re.DOTALL,
)


def chromium() -> str:
    """The browser's command; ``FileNotFoundError`` says how to get one."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        raise FileNotFoundError("There is no Chromium, which prints the PDF: apt install chromium")
    return path


def chinese_font() -> None:
    """``FileNotFoundError`` where a system that lists its fonts has none with Chinese letters: they would be printed as boxes."""
    lister = shutil.which("fc-list")
    if lister and not subprocess.run([lister, ":lang=zh-cn"], capture_output=True, text=True).stdout.strip():
        raise FileNotFoundError("There is no Chinese font, which the Chinese PDF needs: apt install fonts-noto-cjk")


def home_of(site: Path, language: str) -> Path:
    """Where a built site has the pages of a language."""
    return site / "zh" if language == "zh" else site


def without(html: str, pattern: re.Pattern[str]) -> str:
    """HTML without the elements whose tags begin as ``pattern`` says.

    >>> without('<p>a<button class="copy">Copy</button></p>', GONE)
    '<p>a</p>'
    """
    kept, place = [], 0
    while found := pattern.search(html, place):
        kept.append(html[place : found.start()])
        place = end_of(html, found.start())
    return "".join(kept) + html[place:]


def spoken(formula: re.Match[str]) -> str:
    """A formula as a picture with its words: for voices, and because each letter's own tag would make the PDF twice as large."""
    words = escape(tex_to_text(unescape(formula[1])))
    return f'<span class="katex" role="img" aria-label="{words}">'


class Paper:
    """The pages of a built site, in a language, as one document."""

    def __init__(self, site: Path, language: str = "en") -> None:
        self.site, self.language = home_of(site, language), language
        self.lang = "zh-Hans" if language == "zh" else "en"
        self.solution = re.compile(f'<details class="fold"><summary>{self.say("Solution")}</summary><div>')
        self.pages = {page_name(path): path for path in book_pages()}
        self.numbers = {page: number for number, page in enumerate(self.pages)}
        self.solutions: list[tuple[str, str, str]] = []  # page, anchor, HTML

    def say(self, text: str) -> str:
        """What the document says around the pages."""
        return say(self.language, text)

    @property
    def author(self) -> str:
        """Who wrote the book, as _config.yml has it; nobody's name is translated."""
        name: str = config()["author"]
        return catalogue().get(name, name) if self.language == "zh" else name

    @property
    def home(self) -> str:
        """The address of the published site in this language."""
        base: str = config()["html"]["baseurl"].rstrip("/")
        return f"{base}/{'zh/' * (self.language == 'zh')}"

    def published(self, target: str) -> str:
        """The address of a file of the published site, given from its home."""
        up = target.startswith("../")  # what the Chinese site takes from the English one
        return f"{self.home.removesuffix('zh/')}{target[3:]}" if up else f"{self.home}{target}"

    def anchor(self, page: str, name: str = "") -> str:
        """The id in the document of an id of a page, or of the page itself."""
        return f"p{self.numbers[page]}" + (f"-{name}" if name else "")

    def link(self, page: str, href: str) -> str:
        """Where a link of a page leads: within the document, or to the published site."""
        if re.match(r"\w+:", href):
            return href
        path, _, name = href.partition("#")
        target = normpath(join(dirname(page), path)) if path else page
        if target in self.numbers:
            return f"#{self.anchor(target, name)}"
        return f"{self.published(target)}{'#' + name if name else ''}"

    def moved(self, page: str, html: str) -> str:
        """A page's HTML with ids, links and images as they are in the document."""
        drawings = re.split(r"(<svg\b.*?</svg>)", html, flags=re.DOTALL)  # their inner references need their ids
        for i in range(0, len(drawings), 2):
            plain = re.sub(r'(<\w[^>]*? )id="([^"]+)"', lambda m: f'{m[1]}id="{self.anchor(page, m[2])}"', drawings[i])
            plain = re.sub(
                r'(<a\b[^>]*? )href="([^"]*)"', lambda m: f'{m[1]}href="{escape(self.link(page, m[2]))}"', plain
            )
            drawings[i] = re.sub(
                r'(<img\b[^>]*? src=")([^":]+)', lambda m: m[1] + self.file(normpath(join(dirname(page), m[2]))), plain
            )
        return FORMULA.sub(spoken, "".join(drawings)).replace(' loading="lazy"', "")

    def file(self, name: str) -> str:
        """The address of a file of the site."""
        return (self.site / name).resolve().as_uri()

    def take_solutions(self, page: str, html: str) -> str:
        """A page without the solutions of its exercises, which are kept for the end."""
        parts, place = [], 0
        while found := EXERCISE.search(html, place):
            end = end_of(html, found.start())
            exercise = html[found.start() : end]
            if opened := self.solution.search(exercise):
                shut = end_of(exercise, opened.start())
                inside = exercise[opened.end() : shut].removesuffix("</details>").removesuffix("</div>")
                title = re.search(r'<p class="admonition-title">(.*?)</p>', exercise, re.DOTALL)
                self.solutions.append((page, found[1], f"<h3>{title[1] if title else ''}</h3>{inside}"))
                to = self.to_solution(f"#{found[1]}-solution")
                exercise = f'{exercise[: opened.start()]}<p class="to-solution">{to}</p>{exercise[shut:]}'
            parts += [html[place : found.start()], exercise]
            place = end
        return "".join(parts) + html[place:]

    def to_solution(self, href: str) -> str:
        """What stands in place of a solution; the number of its page comes with the second print."""
        return self.say("Solution: page {number}").format(number=f'<a href="{href}"></a>')

    def article(self, page: str) -> str:
        """A page as it stands on paper."""
        found = ARTICLE.search((self.site / page).read_text("utf8"))
        assert found, page
        html = found[1].replace("<noscript>", "").replace("</noscript>", "")
        html = html.replace(f"<p>{self.say('To change its settings, the figure needs JavaScript.')}</p>", "")
        html = without(html, GONE)
        html = PLAIN.sub(r"\1", html)
        return self.take_solutions(page, html).replace("<details class=", "<details open class=")

    def listed(self, page: str, html: str) -> str:
        """A page's line of the contents, and its sections'."""
        lines = [f'<a href="#{self.anchor(page, m[1])}"><span>{m[3]}</span></a>' for m in HEADING.finditer(html)]
        lines = [re.sub(r'<a class="[^"]*".*?>|(?<=.)</a>(?!$)', "", line, flags=re.DOTALL) for line in lines]
        inner = "".join(f"<li>{line}</li>" for line in lines[1:])
        return f"<li>{lines[0]}{f'<ol>{inner}</ol>' if inner and '/0' in page else ''}</li>"

    def document(self, paper: str, places: dict[str, int]) -> str:
        """The whole book, for one size of paper; ``places`` says on which page of it an anchor is."""
        self.solutions = []
        sans = '"Book Sans", "Noto Sans CJK SC", sans-serif' if self.language == "zh" else '"Book Sans", sans-serif'
        english = {page_name(path) for path in missing_pages()} if self.language == "zh" else set()
        articles = {page: self.article(page) for page in self.pages}
        static = self.file("../_static" if self.language == "zh" else "_static")
        theme = Path(__file__).parent / "theme"
        own = (theme / "paper.css").read_text("utf8")
        own = own.replace("STATIC", static).replace("PAPER", paper).replace("SANS", sans)
        heads, listing, body = [own], [], []
        parts = {f"{c['file']}.html": part["caption"] for part in contents()["parts"] for c in part["chapters"][:1]}
        for page, html in articles.items():
            name = self.anchor(page)
            title = re.sub(r"<[^>]+>|#$", "", found[3] if (found := HEADING.search(html)) else "").strip()
            heads.append(f'@page {name} {{ @top-left {{ content: "{title}"; font: 9pt {sans}; color: #444; }} }}')
            heads.append(f"#{name} {{ page: {name}; }}")
            if page in parts:
                listing.append(f'<li class="part">{self.say(parts[page])}</li>')
            listing.append(self.listed(page, html))
            written = ' lang="en"' if page in english else ""
            body.append(f'<div class="page" id="{name}"{written}>{self.moved(page, html)}</div>')
        solutions = self.say("Solutions of the exercises")
        listing.append(f'<li class="part"><a href="#solutions"><span>{solutions}</span></a></li>')
        body.append(f'<div class="page" id="solutions"><h1>{solutions}</h1>{"".join(self.solved())}</div>')
        numbered = "".join(f'a[href="#{name}"]::after {{ content: "{number}"; }}' for name, number in places.items())
        heads.append(f".contents, .to-solution {{ {numbered} }}")
        names = ("site.css", *LETTERS, "live/live.css")
        sheets = "".join(f'<link rel="stylesheet" href="{static}/{name}">' for name in names)
        settings, home = config(), self.home
        title, author = escape(self.say(settings["title"])), escape(self.author)
        version = self.say("Version {version}, {year}").format(
            version=settings["repository"]["branch"], year=settings["copyright"]
        )
        printed = self.say("Printed from the book's site, {address}.").format(address=f'<a href="{home}">{home}</a>')
        shown = self.say(
            "Live figures are shown as they begin; code that only draws a figure or guards the text is in the notebooks."
        )
        return f"""<!DOCTYPE html>
<html lang="{self.lang}" data-theme="light"><head><meta charset="utf-8"><title>{title}</title>
<meta name="author" content="{author}">{sheets}<style>{"".join(heads)}</style></head><body><main>
<div class="title-page"><h1>{title}</h1>
<p>{author}</p>
<p>{version}</p>
<p>{printed}</p>
<p>{shown}</p></div>
<div class="contents"><h1>{self.say("Contents")}</h1><ol>{"".join(listing)}</ol></div>
{"".join(body)}
</main></body></html>
"""

    def solved(self) -> Iterator[str]:
        """The solutions, each below the name of its exercise."""
        for page, anchor, html in self.solutions:
            yield f'<div class="solution" id="{self.anchor(page, anchor)}-solution">{self.moved(page, html)}</div>'


def print_pdf(html: Path, pdf: Path, *options: str) -> None:
    """Let Chromium print a file; ``RuntimeError`` with what it said where no PDF came of it."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", *options]
    pdf.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [chromium(), *flags, f"--user-data-dir={profile}", f"--print-to-pdf={pdf}", html.as_uri()],
            capture_output=True,
            text=True,
        )
    if done.returncode or not pdf.exists():
        raise RuntimeError(f"Chromium printed nothing: {done.stderr[-2000:]}")


def places_in(pdf: bytes) -> dict[str, int]:
    """On which page each anchor is that a link of the document leads to. Chromium's PDF has its dictionaries in plain text."""
    leaves = re.findall(rb"(\d+) 0 obj\s*<</Type /Page\b", pdf)
    tree = {
        int(number): body for number, body in re.findall(rb"(\d+) 0 obj\s*<</Type /Pages(.*?)endobj", pdf, re.DOTALL)
    }
    below = {number: [int(kid) for kid in re.findall(rb"(\d+) 0 R", re.search(rb"/Kids \[(.*?)\]", body, re.DOTALL)[1])]  # type: ignore[index]
             for number, body in tree.items()}  # fmt: skip
    (root,) = set(below) - {kid for kids in below.values() for kid in kids}

    def flat(number: int) -> Iterator[int]:
        if number in below:
            for kid in below[number]:
                yield from flat(kid)
        else:
            yield number

    order = {number: place for place, number in enumerate(flat(root), 1)}
    assert len(order) == len(leaves)
    destinations = re.findall(rb"/([\w.#-]+) \[(\d+) 0 R\s*/XYZ", pdf)
    return {name.decode(): order[int(page)] for name, page in destinations}


def once(title: str) -> str:
    """A bookmark's title as it was meant: Chromium writes each piece of a heading twice if its font came from a file.

    >>> once("1. 1. The slopeThe slope")
    '1. The slope'
    >>> once("A heading")
    'A heading'
    """
    best: list[str | None] = [""] + [None] * len(title)
    for end in range(2, len(title) + 1):
        for half in range(end // 2, 0, -1):
            before = best[end - 2 * half]
            if before is not None and title[end - 2 * half : end - half] == title[end - half : end]:
                best[end] = before + title[end - half : end]
                break
    return best[-1] or title


def mend_bookmarks(pdf: bytes) -> bytes:
    """The PDF with each bookmark's title said once, in as many bytes, so that every offset stays."""

    def mended(found: re.Match[bytes]) -> bytes:
        if found[1] is not None:
            text = re.sub(rb"\\(.)", rb"\1", found[1]).decode("latin1")
            said = re.sub(r"([()\\])", r"\\\1", once(text)).encode("latin1")
            written = b"/Title (" + said + b")"
        else:
            text = bytes.fromhex(found[2].decode()).decode("utf-16")
            written = b"/Title <FEFF" + once(text).encode("utf-16-be").hex().upper().encode() + b">"
        return written.ljust(len(found[0])) if len(written) <= len(found[0]) else found[0]

    return re.sub(rb"/Title (?:\(((?:[^()\\]|\\.)*)\)|<([0-9A-Fa-f]+)>)", mended, pdf)


def file_name(paper: str, language: str) -> str:
    """What the PDF of an edition is called, without its suffix.

    >>> file_name("a4", "en"), file_name("a4", "zh")
    ('numerical-stability-a4', 'numerical-stability-zh-a4')
    """
    return f"{NAME}-{paper}" if language == "en" else f"{NAME}-{language}-{paper}"


def write_pdf(site: Path, folder: Path, paper: str, language: str = "en") -> Path:
    """Print the book in a language on one size of paper into a folder; the PDF's path."""
    folder.mkdir(parents=True, exist_ok=True)
    name = file_name(paper, language)
    source, pdf = folder / f"{name}.html", folder / f"{name}.pdf"
    book = Paper(site, language)
    source.write_text(book.document(PAPERS[paper], {}), "utf8")
    print_pdf(source, pdf, "--disable-pdf-tagging")
    source.write_text(book.document(PAPERS[paper], places_in(pdf.read_bytes())), "utf8")
    print_pdf(source, pdf, "--generate-pdf-document-outline")
    pdf.write_bytes(mend_bookmarks(pdf.read_bytes()))
    return pdf


def main(papers: list[str]) -> int:
    """Print every edition, or those of some papers; without a Chinese font, those in English."""
    (BUILD / "html" / "index.html").stat()  # the book first, then what prints it
    chromium()
    for paper, language in EDITIONS:
        if (papers and paper not in papers) or (language == "zh" and not translated_pages()):
            continue
        if language == "zh":
            chinese_font()
        pdf = write_pdf(BUILD / "html", FOLDER, paper, language)
        print(f"{pdf.relative_to(ROOT)}: {pdf.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
