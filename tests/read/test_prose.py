"""One source line a sentence, so that a change of a sentence shows as one changed line.

Prose is what stands outside front matter, fenced blocks, displayed equations, headings, targets, tables and the options of
directives; the text of a live figure is prose. A paragraph is a run of its lines; a list item or a quotation begins one. Two rules:

* A line that another line of its paragraph follows ends a sentence: with ``.``, ``!``, ``?`` or ``…``, and closing quotes,
  brackets or stars. The next line does not go on with a small letter. A line that is one link stands by itself, and a hard
  line break, two blanks or a backslash at the end of a line, is kept.
* Inside a line no sentence ends: no such sign, then a blank and what begins a sentence, a capital, a digit, a formula, a role or
  code. An abbreviation or an initial ends none.

A sentence that is interrupted by a displayed equation has its parts on lines of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from bookext.read.claims import CLAIM
from support import ROOT

PAGES = sorted(
    path
    for pattern in ("book/*.md", "book/appendix/*.md", "book/homework/*.md", "instructor/hw*/hw*.md")
    for path in ROOT.glob(pattern)
)
FENCE = re.compile(r"^\s*(`{3,}|~{3,})(.*)$")
FIGURE = ("{live-figure}", "{explorable}")  # their text is prose
NO_PROSE = re.compile(r"^\s*(#{1,6}\s|\([\w:.-]+\)=\s*$|\{[.#][^}]*\}\s*$|:[\w-]+:(\s|$)|:{3,}|\||<|%|---)")
BEGINS = re.compile(r"^\s*([-*+]|\d+[.)])\s+")  # a list item
ATOM = re.compile(  # what is read as one word: a role, code, a formula, the address of a link
    r"\{[\w:-]+\}`[^`]*`|(`+)(?!`).+?(?<!`)\1(?!`)|(?<![\\$])\$(?!\$).+?(?<!\\)\$|(?<=\])\([^)\s]*\)|<https?:[^>]*>"
)
WORD = "¤"
CLOSING, OPENING = r"""["'”’)\]*_]*""", r"""["'“‘(\[*_]*"""
NAME = r"(?:bf|fp)\d|\([a-z]\)\s"  # begins with a small letter and may begin a sentence
BETWEEN = re.compile(rf"([.!?…]){CLOSING}\s+(?={OPENING}(?:[A-ZΑ-Ω0-9{WORD}]|{NAME}))")
ENDS = re.compile(rf"(?:[.!?…]{CLOSING}|\\dots\$)$")
GOES_ON = re.compile(rf"^(?!{NAME}){OPENING}[a-z]")
LINK = re.compile(r"^\[[^\]]*\]\([^)]*\)$")
ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:e\.g|i\.e|i\.i\.d|cf|al|vs|approx|resp|[Ee]qs?|[Ff]igs?|[Ss]ec|[Cc]h|pp?|[A-Z])$"
)


def lines_of_prose(text: str) -> Iterator[str]:
    """A page's lines, those that are no prose blank."""
    fence, display, front = "", False, text.startswith("---\n")
    for number, line in enumerate(text.splitlines()):
        mark = FENCE.match(line)
        plain = re.sub(r"^>\s?", "", line)
        equation = line.strip().startswith("$$") and (not fence or fence in FIGURE)
        hidden = front or mark or equation or display or fence not in ("", *FIGURE)
        yield "" if hidden or NO_PROSE.match(plain) else plain
        front = front and (number == 0 or line != "---")
        display ^= equation
        if mark and not fence:
            fence = FIGURE[0] if mark[2].startswith(FIGURE) else mark[1]
        elif mark and not mark[2].strip() and (fence in FIGURE or mark[1].startswith(fence)):
            fence = ""


def paragraphs(text: str) -> Iterator[list[tuple[int, str]]]:
    """The paragraphs of a page's prose, each as (number of the line, line without indent and bullet)."""
    found: list[tuple[int, str]] = []
    for number, line in enumerate([*lines_of_prose(text), ""], 1):
        if found and (not line.strip() or BEGINS.match(line)):
            yield found
            found = []
        if line.strip():
            found.append((number, BEGINS.sub("", line).lstrip()))


def faults(text: str, name: str = "page.md") -> list[str]:
    """Where a page's prose breaks the rules, each as ``file:line: what, and the remedy``."""
    found = []
    for paragraph in paragraphs(text):
        for number, line in paragraph:
            shown = ATOM.sub(WORD, CLAIM.sub("", line))  # a claim's role stands behind its sentence
            for end in BETWEEN.finditer(shown):
                if not (end[1] == "." and ABBREVIATION.search(shown[: end.start()])):
                    words = shown[max(0, end.start() - 20) : end.end() + 12].strip()
                    found.append(f"{name}:{number}: two sentences in a line; begin a new line inside '{words}'")
        for (number, line), (_, following) in pairwise(paragraph):
            broken = not ENDS.search(CLAIM.sub("", line)) or GOES_ON.match(following)
            if broken and not (LINK.match(line) or LINK.match(following) or line.endswith(("  ", "\\"))):
                found.append(f"{name}:{number}: a sentence runs on to the next line; join the two")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_sentence_is_one_line(page: Path) -> None:
    found = faults(page.read_text("utf8"), page.relative_to(ROOT).as_posix())
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "One sentence.\nAnother, about $x. Y$ and `a. B`.\n",
        "It is 4.5 times $n$, e.g. $x$, as Glorot et al. 2015 and J. Dean say (eq. {eq}`eq-a. B`).\n",
        "He asks: 'Why?'\n(Nobody knows.)\n$x$ is one.\nfp16 is another.\n",
        "Hence\n\n$$\nx. Y\nand so on\n$$ (eq-a)\n\nwhere $x$ is a number.\n",
        "---\ntitle: One. Two\n---\n\n# A title. Another\n\n```{code-cell}\nOne. Two\nthree\n```\n",
        "| One. Two | three |\n|---|---|\n\n:::{note} One. Two\n:class: tip\nOne.\nTwo.\n:::\n",
        "It grows. {claim}`a-grows`\nIt does not; {claim}`a-stays` it falls.\n",
        "- one;\n- two, and\n- three.\n",
        "[One](a.md)\n[Two](b.md)\n",
        "A verse\\\nand another.\n",
        "````markdown\n```{code-cell}\nOne. Two\n```\nOne. Two\n````\n",
        "```{live-figure}\n:depth: 5\n\nOne.\nTwo.\n```\n\nThree.\n",
    ],
)
def test_what_keeps_to_the_rule(text: str) -> None:
    assert faults(text) == []


@pytest.mark.parametrize(
    "text, line, what",
    [
        ("Words.\n\nOne sentence. Another.\n", 3, "two sentences"),
        ("Is it so? Yes.\n", 1, "two sentences"),
        ("It ends (here.) So it does.\n", 1, "two sentences"),
        ("It ends. $x$ begins.\n", 1, "two sentences"),
        ("By {eq}`eq-a`. {doc}`b` has more.\n", 1, "two sentences"),
        ("**A head.** Then words.\n", 1, "two sentences"),
        ("- one. Two.\n", 1, "two sentences"),
        ("> One. Two.\n", 1, "two sentences"),
        (":::{note}\nOne. Two.\n:::\n", 2, "two sentences"),
        ("```{live-figure}\n:depth: 5\n\nOne. Two.\n```\n", 4, "two sentences"),
        ("```{live-figure}\nOne.\n```\n\nOne. Two.\n", 5, "two sentences"),
        ("$$\nx\n$$ (eq-a)\n\nOne. Two.\n", 5, "two sentences"),
        ("A sentence that goes on\nhere.\n", 1, "runs on"),
        ("As Glorot et al.\nsay it.\n", 1, "runs on"),
        ("1. A sentence, which\n   goes on.\n", 1, "runs on"),
        ("> A sentence, which\n> goes on.\n", 1, "runs on"),
        ("A list:\nof words.\n", 1, "runs on"),
    ],
)
def test_what_breaks_the_rule_is_named(text: str, line: int, what: str) -> None:
    (found,) = faults(text)
    assert found.startswith(f"page.md:{line}: ") and what in found
