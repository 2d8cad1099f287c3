"""A page as a list of blocks: headings, paragraphs, equations, cells, boxes. A translation is compared with its page block by block.

What a person translates is the text of a block; what must stay as it is, is its ``frame``: the labels above it, the level of a
heading, the name and the options of a directive, an equation, the shape of a list or a table.
"""

import hashlib
import io
import itertools
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .book import ROOT, notebook_pages
from .chapter import ATTRIBUTES, HEADING, TARGET

CHINESE = ROOT / "book" / "zh"
DIRECTIVE = re.compile(r"^(?P<fence>`{3,}|~{3,}|:{3,})\s*(?:\{(?P<name>[\w:-]+)\}\s*(?P<title>.*)|[\w+-]*\s*)$")
OPTION = re.compile(r"^:[\w-]+:(\s|$)")
ITEM = re.compile(r"^([-*+]|\d+[.)])\s")
CELL = re.compile(
    r"([^\n]*\n)((?:---\n.*?\n---\n|(?::\w+:[^\n]*\n)*)\n?)(.*)(\n```)", re.DOTALL
)  # fence, options, code
DESCRIPTION = re.compile(
    r"(?:(?<=description: )|(?<=^title: )).*", re.MULTILINE
)  # of a page or a deck, in its front matter
SHOWN = re.compile(r"^( +)(alt|caption): .*(?:\n\1 .*)*", re.MULTILINE)  # a figure's words, in the options of its cell
# A line of a deck that is for the machine: where a slide's notes begin, what it is about, what it shows whole.
MARK = re.compile(
    r"(?:from|pause|layout): .*|Note:|\+\+\+|\{(?:slide|equation|figure|table|poll|claim|erratum|live)\}`[^`]*`"
)
TITLED = {"admonition", "dropdown", "exercise"}  # elsewhere the words behind a directive's name are for the machine
WORDS = re.compile(
    r"\\text\{(?!(?<=_\{\\text\{)[A-Za-z]+\}\})[^{}]*\}"
)  # a formula's words are translated; n_{\text{in}} is a name


@dataclass(frozen=True)
class Block:
    """A block of a page; ``line`` is where it begins (1-based), ``inner`` what stands in a directive."""

    kind: str
    text: str
    line: int
    frame: str
    said: str  # what of it is prose: the whole, or the title of a directive
    inner: tuple["Block", ...] = ()

    @property
    def translated(self) -> str:
        """What a person translates of it. Of code that is its comments and its figure's words, of an equation what stands in ``\\text``;
        the rest is compared at all times."""
        if self.kind == "front matter":
            return "\n".join(DESCRIPTION.findall(self.text))
        if self.kind == "mark":
            return ""
        if self.kind == "equation":
            return "\n".join(WORDS.findall(self.text))
        if self.kind == "code cell" and (cell := CELL.fullmatch(self.text)):
            return "\n".join(
                [*(" ".join(m[0].split()) for m in SHOWN.finditer(cell[2])), *(c.string for c in comments(cell[3]))]
            )
        return self.text

    @property
    def fingerprint(self) -> str:
        """What tells whether the text has changed since it was translated; of what has no words, all of it."""
        said = self.text if self.kind in {"equation", "mark"} and not self.translated else self.translated
        return hashlib.sha256(said.encode()).hexdigest()[:10]


def wordless(tex: str) -> str:
    r"""A formula without its words, which another language has in the same places.

    >>> wordless(r"n_{\text{in}} \gamma = 1 \text{ for all } n")
    'n_{\\text{in}} \\gamma = 1 \\text{} n'
    """
    return WORDS.sub(r"\\text{}", tex)


@lru_cache(maxsize=1024)
def tokens(source: str) -> tuple[tokenize.TokenInfo, ...]:
    """The tokens of a cell; none of code that cannot be read."""
    try:
        return tuple(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, IndentationError):
        return ()


def comments(source: str) -> list[tokenize.TokenInfo]:
    """The comments of a cell."""
    return [t for t in tokens(source) if t.type == tokenize.COMMENT]


def docstrings(source: str) -> list[tokenize.TokenInfo]:
    """The docstrings of a cell's functions and classes."""
    pairs = itertools.pairwise(tokens(source))
    return [t for before, t in pairs if (before.type, t.type) == (tokenize.INDENT, tokenize.STRING)]


def blocks(text: str) -> list[Block]:
    """The blocks of a page or a deck, in their order; between two stands a blank line, or none beside a mark."""
    lines, start, found = text.splitlines(), 0, list[Block]()
    if lines[:1] == ["---"]:
        start = lines.index("---", 1) + 1
        front = "\n".join(lines[:start])
        found.append(Block("front matter", front, 1, DESCRIPTION.sub("", front), ""))
    return [*found, *_split(lines[start:], start + 1)]


def _split(lines: list[str], first: int) -> Iterator[Block]:
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        begin = at
        while at < len(lines) - 1 and (TARGET.match(lines[at]) or ATTRIBUTES.match(lines[at])):
            at += 1
        above, own = "\n".join(lines[begin:at]), at
        at = _end(lines, own)
        yield _block(above, lines[own:at], first + begin, own - begin)


def _end(lines: list[str], at: int) -> int:
    """The line behind the block that begins at a line."""
    if HEADING.match(lines[at]) or MARK.fullmatch(lines[at]):
        return at + 1
    if lines[at].startswith("$$"):
        return next((n for n in range(at + 1, len(lines)) if lines[n].startswith("$$")), len(lines) - 1) + 1
    if opened := DIRECTIVE.match(lines[at]):
        closing = re.compile(rf"{opened['fence']}{lines[at][0]}*\s*")
        return next((n for n in range(at + 1, len(lines)) if closing.fullmatch(lines[n])), len(lines) - 1) + 1
    begins = (HEADING, TARGET, DIRECTIVE, re.compile(r"\$\$"), re.compile(r"\s*$"), re.compile(f"(?:{MARK.pattern})$"))
    return next((n for n in range(at + 1, len(lines)) if any(b.match(lines[n]) for b in begins)), len(lines))


def _block(above: str, lines: list[str], line: int, skipped: int) -> Block:
    """The block of some lines, with the labels above it."""
    text = "\n".join(filter(None, [above, *lines])) if above else "\n".join(lines)
    body = "\n".join(lines)
    if heading := HEADING.match(lines[0]):
        return Block("heading", text, line, f"{above}\n{heading[1]}", heading[2])
    if MARK.fullmatch(lines[0]):
        return Block("mark", text, line, body, "")
    if lines[0].startswith("$$"):
        return Block("equation", text, line, f"{above}\n{wordless(body)}", "")
    if opened := DIRECTIVE.match(lines[0]):
        if opened["name"] == "code-cell":
            return Block("code cell", text, line, above, "")
        if not opened["name"]:
            return Block("literal", text, line, f"{above}\n{body}", "")
        options = next((n for n, one in enumerate(lines[1:]) if not OPTION.match(one)), 0)
        titled = opened["name"] in TITLED
        frame = "\n".join([above, opened["name"] if titled else lines[0], *lines[1 : 1 + options]])
        inner = tuple(_split(lines[1 + options : -1], line + skipped + 1 + options))
        return Block(opened["name"], text, line, frame, opened["title"] if titled else "", inner)
    if lines[0].startswith("|"):
        return Block("table", text, line, f"{above}\n{[one.count('|') for one in lines]}", body)
    if ITEM.match(lines[0]):
        return Block("list", text, line, f"{above}\n{sum(bool(ITEM.match(one)) for one in lines)} items", body)
    return Block("quotation" if lines[0].startswith(">") else "paragraph", text, line, above, body)


def translation_of(page: Path) -> Path:
    """Where the Chinese of a page of the book stands, if there is one."""
    return page if page.is_relative_to(CHINESE) else CHINESE / page.relative_to(ROOT / "book")


def language_of(text: Path) -> str:
    """The language that a text of a page is written in."""
    return "zh" if text.is_relative_to(CHINESE) else "en"


def page_of(text: Path) -> Path:
    """The page that a text belongs to: the English one stands for both."""
    return CHINESE.parent / text.relative_to(CHINESE) if language_of(text) == "zh" else text


def text_of(page: Path, language: str) -> Path:
    """A page's text in a language: the English one where nobody has translated it."""
    translation = translation_of(page)
    return translation if language == "zh" and translation.exists() else page


def notebook_texts() -> list[Path]:
    """The texts that have a generated ``.ipynb`` beside them: the notebook pages, and the Chinese of each."""
    pages = notebook_pages()
    return [*pages, *(text for page in pages if (text := text_of(page, "zh")) != page)]


def kept_of(page: Path) -> Path:
    """Where it is kept which English text a page's Chinese translates: a line a block, its hash and its first words."""
    return CHINESE / "kept" / translation_of(page).relative_to(CHINESE).with_suffix(".txt")


def kept_line(block: Block) -> str:
    """A block's line there."""
    words = re.sub(r"\s+", " ", block.text).strip()
    return f"{block.fingerprint} {words[:70]}"


def translated_from(page: Path) -> list[str]:
    """The hashes of the English blocks that a page's Chinese translates, in its order."""
    kept = kept_of(page)
    return [line[:10] for line in kept.read_text("utf8").splitlines()] if kept.exists() else []
