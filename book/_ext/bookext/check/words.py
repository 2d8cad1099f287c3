"""Strong words: a sentence that says *never*, *only* or *all* claims something, unless ``SAID`` says why it does not.

So does one that gives a reason for what networks do: *because*, *so*, *makes*, *needs* (``CAUSE``) in a sentence about nets
(``NETS``). Left out are those that hedge, name the equation that they follow from, run into a formula or cite a source.

A claim ends with ``{claim}`name```. Any other such sentence stands in ``SAID`` of ``check/conditions/chNN.py``, by its first
words, with one of these reasons: ``proof: eq-label`` (it follows from an equation of the book), ``definition``, ``quotation: key`` (of
the bibliography), ``exact: words`` of the assertion or the label that decides it, ``arithmetic`` (of what it says itself), ``code`` (what
a program does), ``report`` (of the run just printed, and so read), ``plan`` (about this book), ``task`` (an instruction to the reader).
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from bookext.read.book import book_pages
from bookext.read.chapter import FENCE, Chapter, read_chapter
from bookext.read.claims import CLAIM, statements
from bookext.read.labels import CITE, bibliography

from .conditions import file_of, said_of

STRONG = re.compile(
    r"\b(?:no|none|nothing|nobody|nowhere|never|always|every|everything|everywhere|only|whatever|whichever|however(?= \w)"
    r"|(?<!at )most|cannot|impossible|must|regardless|inevitabl[ey]|guarantee[sd]?|without exception"
    r"|(?<!at )(?<!above )(?<!after )(?<!in )all(?! the same)|any|anything)\b",
    re.IGNORECASE,
)
CAUSE = re.compile(
    r"\b(?:because|since|therefore|hence|thus|(?:the|a|one|whose|another) reasons?|why|causes?|caused|due to|makes|decides?"
    r"|determines?|lets|needs|prevents?|avoids?|repairs?|cures?|fixes|helps|costs|suffices?|leads? to|depends? on|explains?"
    r"|what counts|what matters)\b|(?:(?<=, )|(?<=; )|^)so (?!that\b|far\b|did\b|do\b|does\b)",
    re.IGNORECASE,
)
NETS = re.compile(
    r"\b(?:nets?|networks?|train\w*|learn\w*|gradients?|signals?|loss(?:es)?|steps?|rates?|layers?|units?|SGD|Adam|optimis\w+"
    r"|activations?|normalis\w+|initialis\w+|clip\w*|skips?|residual|overflow\w*|vanish\w*|explod\w*|stall\w*|depth|bottom"
    r"|top|ReLU|sigmoid|tanh)\b",
    re.IGNORECASE,
)
NO_CAUSE = re.compile(  # hedged, derived, or on its way to a formula
    r"\b(?:may|might|can|could|perhaps|likely|seems?|need not|would|should|suggests?)\b|\{eq\}|[^.!?)*_”\"'’]$"
)
KINDS = {"proof", "definition", "quotation", "exact", "arithmetic", "code", "report", "plan", "task"}
OPENING = re.compile(r"^\s*(?:`{3,}|~{3,}|:{3,})\{([\w:-]+)\}")
MARKER = re.compile(r"^\s*(?:>\s*)*(?:(?:[-*]|\d+\.)\s+)?(?:\*\*[^*]*\*\*\s*)?")
ENDS = re.compile(r"(?<=[.!?])\s+(?!\{claim\})(?=[A-Z$`*{‘“(])")  # a claim's role stands behind its sentence
NO_PROSE = re.compile(r"^\s*(?:#|\||:|\$\$|\([\w:.-]+\)=|\+\+\+|%|>)")
UNSAID = re.compile(r"\{(?:num|py:\w+|eq|ref|numref|doc)\}`[^`]*`|`[^`]*`|\$[^$]*\$|\]\([^)]*\)")


@dataclass(frozen=True)
class Sentence:
    """A sentence of a page's prose, its list marker and bold lead left out."""

    text: str
    line: int

    @property
    def words(self) -> list[str]:
        """Its strong words, then those that give a reason for what networks do."""
        said = UNSAID.sub(" ", CITE.sub(" ", CLAIM.sub(" ", self.text)))
        reasons = NETS.search(said) and not CITE.search(self.text) and not NO_CAUSE.search(self.text)
        return STRONG.findall(said) + ([word.strip() for word in CAUSE.findall(said)] if reasons else [])

    @property
    def asks(self) -> bool:
        """A question, or somebody's words in quotation marks with their source."""
        bare = CLAIM.sub("", self.text).rstrip("*_) ")
        return bare.endswith("?") or bool(re.search(r"[\"“].+[\"”]", bare) and CITE.search(self.text))


def prose(chapter: Chapter) -> Iterator[Sentence]:
    """The sentences of a page: paragraphs, lists, what directives hold, captions; no headings, tables, code or mathematics."""
    for cell in chapter.cells:
        if cell.kind == "code":
            caption = str(cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", ""))
            yield from (Sentence(" ".join(part.split()), cell.line) for part in ENDS.split(caption) if part)
            continue
        code, display = "", False  # the fence that a piece of code must be closed by
        for number, line in enumerate(cell.source.splitlines(), cell.line):
            fence = FENCE.match(line)
            if fence and code:
                code = "" if line.strip().startswith(code) and not line.strip("`~ ") else code
            elif fence and line.strip("`~ ") and not OPENING.match(line):
                code = fence[1]
            display ^= line.strip().startswith("$$")
            if not (code or display or fence or NO_PROSE.match(line)) and (bare := MARKER.sub("", line).strip()):
                yield from (Sentence(part, number) for part in ENDS.split(bare))


def strong(chapter: Chapter) -> list[Sentence]:
    """The sentences of a page that need a claim or a reason."""
    return [s for s in prose(chapter) if s.words and not s.asks and not CLAIM.search(s.text)]


@cache
def _labels() -> set[str]:
    return {str(e.label) for page in book_pages() for e in read_chapter(page).equations}


def _asserted(chapter: Chapter) -> str:
    """The text of a page's assertions and what its cells say they check."""
    asserted: list[Any] = [
        n for cell in chapter.code for s in statements(cell) for n in ast.walk(s) if isinstance(n, ast.Assert)
    ]
    return "\n".join([*map(ast.unparse, asserted), *(name for cell in chapter.code for name in cell.checks)])


def fault(chapter: Chapter, reason: str) -> str | None:
    """Why a reason does not hold; None where it does."""
    kind, _, what = (part.strip() for part in reason.partition(":"))
    if kind not in KINDS:
        return f"begin the reason with one of {', '.join(sorted(KINDS))}"
    if kind == "proof" and not set(re.findall(r"[\w-]+", what)) & _labels():
        return f"no equation of the book is called '{what}'"
    if kind == "quotation" and what not in bibliography():
        return f"references.bib has no '{what}'"
    if kind == "exact" and (not what or what not in _asserted(chapter)):
        return f"no assertion of the page has '{what}' in it"
    return None


def unsaid(chapter: Chapter) -> Iterator[tuple[int, str]]:
    """The line of each strong sentence without a claim or a reason, and what is wrong with the reasons there are."""
    reasons, file = said_of(chapter.path.stem), file_of(chapter.path.stem)
    if reasons is None:
        return
    sentences = strong(chapter)
    for start, reason in reasons.items():
        meant = [s for s in sentences if s.text.startswith(start)]
        if len(meant) != 1:
            yield (
                1,
                f"SAID in {file}: {len(meant)} strong sentences begin '{start}'; take it out, or write more of the sentence",
            )
        elif wrong := fault(chapter, reason):
            yield meant[0].line, f"SAID in {file}: '{start}': {wrong}"
    for s in sentences:
        if not any(s.text.startswith(start) for start in reasons):
            yield (
                s.line,
                f"'{s.words[0]}' without a claim: {s.text[:70]}…; end it with {{claim}}`name`, or say why not in {file}",
            )


def listed(chapter: Chapter) -> Iterator[str]:
    """For review: each strong sentence without a claim, and the reason it has."""
    reasons = said_of(chapter.path.stem) or {}
    for s in strong(chapter):
        why = next((reason for start, reason in reasons.items() if s.text.startswith(start)), "—")
        yield f"{chapter.name}:{s.line}: [{', '.join(s.words)}] ({why}) {s.text}"
