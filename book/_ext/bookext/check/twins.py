"""An English page or deck and its Chinese twin say the same: the same blocks, code, formulas, numbers, references and claims.

    python -m bookext.check.twins                   compare; exit status 1 where one says what the other does not
    python -m bookext.check.twins --drift [PAGES]   carry over what needs no translator, and list the blocks that do
    python -m bookext.check.twins --done PAGES      these Chinese pages now translate their English pages as they stand

A block whose English has changed since it was translated is *stale*: it is listed, and the page says so. Code, its options,
numbers and formulas are no matter of language; they must be equal at all times, and ``--drift`` writes them. So a cell is stale
for its comments and its figure's words alone, an equation for what stands in ``\\text``, and a new salt in the homework makes
nothing stale. Where the formula around such words has changed, the equation stands in English until it is translated again.
"""

import argparse
import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import pairwise, zip_longest
from pathlib import Path

from bookext.read.blocks import (
    CELL,
    CHINESE,
    DESCRIPTION,
    SHOWN,
    Block,
    blocks,
    comments,
    docstrings,
    kept_line,
    kept_of,
    translated_from,
    translation_of,
    wordless,
)
from bookext.read.book import book_pages, display_path
from bookext.read.chapter import NUM, Cell, parse_chapter
from bookext.read.deck import deck_paths
from bookext.read.kept import of_page

ROLE = re.compile(r"\{([\w:-]+)\}`([^`]+)`")
CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)")
FORMULA = re.compile(r"(?<![\\$])\$(?!\$)(.+?)(?<!\\)\$", re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
RST = re.compile(r"^ *(?:\.\. [\w:]+:: .*| :[\w-]+:.*)$", re.MULTILINE)  # a directive in reStructuredText, its options
FIGURES = re.compile(r"(?<![A-Za-z\d.])\d+(?:[.,]\d+)*")
COUNTED = {  # how English writes numbers in words
    "0": "zero", "1": "one first once", "2": "two second twice both half", "3": "three third", "4": "four fourth quarter",
    "5": "five fifth", "6": "six sixth", "7": "seven seventh", "8": "eight eighth", "9": "nine ninth", "10": "ten tenth",
    "11": "eleven", "12": "twelve dozen", "13": "thirteen", "14": "fourteen fourteenth", "15": "fifteen", "16": "sixteen",
    "20": "twenty", "30": "thirty", "40": "forty", "50": "fifty", "60": "sixty", "80": "eighty", "90": "ninety",
    "100": "hundred hundredth", "1000": "thousand",
}  # fmt: skip
MACHINERY = [Path(__file__), *(Path(__file__).parents[1] / "read" / f"{name}.py" for name in ("blocks", "chapter"))]
EXPLICIT = {"ref", "numref", "doc", "eq"}  # a text may stand before their target
WORDED = {"labs-wheel"}  # has a text and no target


def atoms(text: str) -> Counter[str]:
    """What a text refers to and states, whatever its language: roles, links, code; formulas count once."""
    found: Counter[str] = Counter(RST.findall(text))
    for name, body in ROLE.findall(text):
        target = body.partition("<")[2].rstrip(">") if name in EXPLICIT and "<" in body else body
        found[f"{{{name}}}`{'…' if name in WORDED else target}`"] += 1
    text = ROLE.sub(" ", text)
    found |= Counter(dict.fromkeys((code[0] for code in CODE.finditer(text)), 1))
    text = CODE.sub(" ", text)
    found += Counter(f"]({url})" for url in LINK.findall(text))
    return found + Counter(dict.fromkeys((f"${wordless(tex).strip()}$" for tex in FORMULA.findall(text)), 1))


def shown(role: re.Match[str]) -> str:
    """What a page shows of a role's text, if it has one."""
    return role[2].partition("<")[0] if role[1] in EXPLICIT and "<" in role[2] else " "


def figures(text: str) -> set[str]:
    """The numbers that a text writes in figures, outside of formulas and roles."""
    for other in (ROLE, CODE, LINK, FORMULA):
        text = other.sub(" ", text)
    return {number.replace(",", "") for number in FIGURES.findall(text)}


def counted(english: str) -> set[str]:
    """The numbers that an English text writes in words."""
    said = set(re.findall(r"[a-z]+", english.lower()))
    return {number for number, words in COUNTED.items() if said & set(words.split())}


@lru_cache(maxsize=1)
def glossary() -> list[tuple[str, re.Pattern[str], str, list[str]]]:
    """The rows of the glossary: the English term, what finds it, the Chinese one, and words that are not used for it."""
    rows = re.findall(
        r"^\| ([^|]+?) \| ([^|]+?) \|([^|]*)\|$", (CHINESE / "glossary.md").read_text("utf8"), re.MULTILINE
    )
    return [
        (
            english.lower(),
            re.compile(rf"(?<![\w-]){re.escape(english)}(?:e?[sd]|ing)?(?![\w-])", re.IGNORECASE),
            chinese,
            [w.strip() for w in other.split(",") if w.strip()],
        )
        for english, chinese, other in rows
        if english != "English"
    ]


def terms(english: str, chinese: str) -> Iterator[str]:
    """Terms of the glossary that the Chinese has in other words."""
    lower = english.lower()
    for written, finds, term, others in glossary():
        if written in lower and finds.search(english) and not any(word in chinese for word in term.split("、")):
            yield f"{finds.pattern!r} in English, and no {term}: book/zh/glossary.md"
        yield from (
            f"{word}: the glossary has {term} for it" for word in others if word in chinese and word not in english
        )  # the English quotes some, as the lecture's own


def prose(english: str, chinese: str, waits: bool = False) -> Iterator[str]:
    """What one text states and the other does not; while it waits for its translator, its terms are not looked at."""
    e, c = atoms(english), atoms(chinese)
    yield from (f"{one} is missing" for one in (e - c).elements())
    yield from (f"{one} is not in the English" for one in (c - e).elements())
    yield from (f"the number {one} is missing" for one in sorted(figures(english) - figures(chinese)))
    extra = figures(chinese) - figures(english) - counted(english)
    yield from (f"the number {one} is not in the English" for one in sorted(extra))
    if not waits:
        yield from terms(*(CODE.sub(" ", ROLE.sub(shown, RST.sub(" ", text))) for text in (english, chinese)))


@lru_cache(maxsize=1024)
def bare_code(source: str) -> str:
    """What a cell computes: without comments and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


def words_of(cell: Cell) -> dict[str, str]:
    """What a reader reads of a cell's figure."""
    shown = cell.metadata.get("mystnb", {})
    return {key: shown.get(place, {}).get(key, "") for place, key in (("figure", "caption"), ("image", "alt"))}


def bare_metadata(cell: Cell) -> str:
    """A cell's options without these words."""
    found = str(cell.metadata)
    for text in words_of(cell).values():
        found = found.replace(repr(text), "…")
    return found


def cells_differ(english: Cell, chinese: Cell) -> Iterator[str]:
    """What differs between two cells that should compute the same."""
    if english.source != chinese.source and bare_code(english.source) != bare_code(chinese.source):
        yield "the code differs from the English; make drift writes it anew"
    if bare_metadata(english) != bare_metadata(chinese):
        yield f"the options differ: {bare_metadata(english)} in English"
    for key, text in words_of(english).items():
        yield from (f"{key}: {what}" for what in prose(text, words_of(chinese)[key]))


def differ(english: Block, chinese: Block, waits: bool = False) -> Iterator[tuple[int, str]]:
    """What differs between two blocks, with the line of the Chinese one; code cells apart."""
    if english.kind != chinese.kind:
        yield chinese.line, f"{chinese.kind} stands for {english.kind} at line {english.line} of the English"
        return
    if english.frame != chinese.frame:
        yield chinese.line, f"{chinese.kind}: {chinese.frame!r} stands for {english.frame!r}"
    yield from ((chinese.line, what) for what in prose(english.said, chinese.said, waits))
    for e, c in zip_longest(english.inner, chinese.inner):
        if e is None or c is None:
            yield chinese.line, f"{chinese.kind}: {len(chinese.inner)} blocks in it, {len(english.inner)} in English"
            return
        yield from differ(e, c, waits)


Pairs = list[tuple[Block, Block]]


def pairs(english: str, chinese: str) -> Pairs | str:
    """The blocks of two texts side by side, or where they part."""
    ours, theirs = blocks(english), blocks(chinese)
    for e, c in zip_longest(ours, theirs):
        if e is None or c is None or (e.kind, e.frame.partition("\n")[0]) != (c.kind, c.frame.partition("\n")[0]):
            there = f"{e.kind} at line {e.line} of the English" if e else "nothing"
            where = f"{c.line}: {c.kind}" if c else "1: nothing"
            return f"{where} stands for {there}; make drift writes what the English has gained or lost"
    return list(zip(ours, theirs, strict=True))


def faults(page: Path, english: str, chinese: str, kept: Sequence[str] = ()) -> list[str]:
    """Where the Chinese of a page says something else than the English, each as ``line: what``; ``kept`` says which blocks are stale."""
    both = pairs(english, chinese)
    if isinstance(both, str):
        return [both]
    waiting = {c.line for _, c in _stale(both, kept)} if len(kept) == len(both) else set()
    found = [f"{line}: {what}" for e, c in both for line, what in differ(e, c, c.line in waiting)]
    if page in deck_paths():
        return found
    cells = zip(parse_chapter(english, page).code, parse_chapter(chinese, translation_of(page)).code, strict=True)
    return found + [f"{c.line}: {what}" for e, c in cells for what in cells_differ(e, c)]


def stale(english: str, chinese: str, kept: Sequence[str]) -> Pairs:
    """The blocks whose English is not the one that was translated, each with its Chinese."""
    both = pairs(english, chinese)
    return [] if isinstance(both, str) else _stale(both, kept)


def _stale(both: Pairs, kept: Sequence[str]) -> Pairs:
    return [(e, c) for (e, c), known in zip(both, kept, strict=True) if e.fingerprint != known]


def texts(page: Path) -> tuple[str, str, list[str]]:
    """A page in English and in Chinese, and the hashes of what was translated."""
    return page.read_text("utf8"), translation_of(page).read_text("utf8"), translated_from(page)


def problems(page: Path) -> list[str]:
    """What is wrong with the Chinese of a page, each as ``file:line: what``."""
    english, chinese, kept = texts(page)
    found = [f"{display_path(translation_of(page))}:{fault}" for fault in faults(page, english, chinese, kept)]
    if not found and len(kept) != len(blocks(chinese)):
        found.append(f"{display_path(kept_of(page))}: not a line for each block; make drift writes it")
    return found


def translated_pages() -> list[Path]:
    """The pages of the book that have a Chinese twin."""
    return [page for page in book_pages() if translation_of(page) != page and translation_of(page).exists()]


def translated_decks() -> list[Path]:
    """The decks that have a Chinese twin."""
    return [deck for deck in deck_paths() if translation_of(deck).exists()]


def missing_pages() -> list[Path]:
    """The pages that Chinese readers get in English."""
    return [page for page in book_pages() if not translation_of(page).exists()]


def missing_decks() -> list[Path]:
    """The decks that Chinese readers get in English."""
    return [deck for deck in deck_paths() if not translation_of(deck).exists()]


def report(pages: list[Path] | None = None) -> list[str]:
    """What is wrong in the twins of these pages, or of all; a pair that is as it was is not compared again."""
    every = [*translated_pages(), *translated_decks()] if pages is None else pages
    return [problem for page in every for problem in known_problems(page)]


def known_problems(page: Path) -> list[str]:
    """``problems``, from build to build."""
    others = [translation_of(page), kept_of(page), CHINESE / "glossary.md", *MACHINERY]
    return of_page("twins", page, page.read_text("utf8"), others, lambda: problems(page))


# ---- Keeping up with the English


def with_words_of(english: str, chinese: str) -> str:
    """English code with the comments and docstrings of its Chinese twin, one for one; with its own where their number differs.

    >>> print(with_words_of("x = 2  # two", "x = 1  # 二"))
    x = 2  # 二
    """
    lines = english.splitlines(keepends=True)
    for words in (comments, docstrings):
        ours, theirs = words(english), words(chinese)
        for own, other in zip(ours, theirs, strict=False) if len(ours) == len(theirs) else ():
            (row, column), (last, end) = own.start, own.end
            if row == last and "\n" not in other.string:  # of several lines: rare here, and left in English
                line = lines[row - 1]
                lines[row - 1] = line[:column] + other.string + line[end:]
    return "".join(lines)


def for_nobody(block: Block) -> bool:
    """Whether a block is the same in every language: a formula or a cell without words, a front matter without a description."""
    return not block.translated


def reworded(english: Block, chinese: Block) -> bool:
    """Whether an equation has words whose Chinese has lost its place: the formula around them has changed."""
    return english.kind == "equation" and bool(english.translated) and english.frame != chinese.frame


def carried(english: Block, chinese: Block) -> str:
    """The Chinese block with the code, its options, the numbers and the formulas of the English one."""
    if for_nobody(english) and english.kind != "code cell":  # a cell's docstrings may be translated
        return english.text
    text = chinese.text
    if english.kind == "front matter":
        own = DESCRIPTION.search(text)
        return DESCRIPTION.sub(lambda m: own[0] if own else m[0], english.text)
    if english.kind == "code cell":
        e, c = (CELL.fullmatch(block.text) for block in (english, chinese))
        if e and c:
            told = {m[2]: m[0] for m in SHOWN.finditer(c[2])}
            options = SHOWN.sub(lambda m: told.get(m[2], m[0]), e[2])
            text = e[1] + options + with_words_of(e[3], c[3]) + e[4]
    numbers = {target.strip(): literal for literal, target in NUM.findall(english.text)}
    return NUM.sub(lambda m: f"{{num}}`{numbers.get(m[2].strip(), m[1])}<{m[2]}>`", text)


def beside(block: Block, after: Block) -> bool:
    """Whether no blank line stands between two blocks, one of them a deck's mark."""
    return "mark" in {block.kind, after.kind} and after.line == block.line + block.text.count("\n") + 1


def drift(page: Path) -> tuple[str, list[str]]:
    """A page's Chinese brought beside its English as it is now, and its kept lines; what is new stands there in English."""
    english, chinese, kept = texts(page)
    ours, theirs = blocks(english), blocks(chinese)
    known = kept_of(page).read_text("utf8").splitlines()
    made, lines = list[str](), list[str]()
    for tag, a1, a2, b1, b2 in SequenceMatcher(None, kept, [e.fingerprint for e in ours], autojunk=False).get_opcodes():
        for block, at in zip(ours[b1:b2], range(a1, a1 + b2 - b1), strict=True):
            if at < a2 and theirs[at].kind == block.kind and not reworded(block, theirs[at]):
                made.append(carried(block, theirs[at]))
                lines.append(kept_line(block) if tag == "equal" or for_nobody(block) else known[at])
            else:  # new: in English until somebody translates it
                made.append(block.text)
                lines.append(kept_line(block) if for_nobody(block) else f"{'-' * 10} {kept_line(block)[11:]}")
    gaps = [1 if beside(e, after) else 2 for e, after in pairwise(ours)]
    return "".join(text + "\n" * gap for text, gap in zip(made, [*gaps, 1], strict=True)), lines


def keep(page: Path, lines: list[str]) -> None:
    """Write what a page's Chinese translates."""
    kept_of(page).parent.mkdir(parents=True, exist_ok=True)
    kept_of(page).write_text("\n".join(lines) + "\n", "utf8")


def list_drift(pages: list[Path]) -> None:
    """Carry over what needs no translator in these pages, then name what does."""
    for page in pages:
        text, lines = drift(page)
        if text != translation_of(page).read_text("utf8"):
            translation_of(page).write_text(text, "utf8")
            print(f"wrote {display_path(translation_of(page))}")
        keep(page, lines)
        for english, chinese in stale(*texts(page)):
            print(
                f"{display_path(translation_of(page))}:{chinese.line}: {english.kind} of {display_path(page)}:{english.line} has changed"
            )


def main(arguments: list[str]) -> int:
    """Compare, or keep up."""
    parser = argparse.ArgumentParser(prog="bookext.check.twins", description="An English page and its Chinese twin.")
    parser.add_argument(
        "--drift",
        type=Path,
        nargs="*",
        help="carry code, numbers and formulas over from these English pages, or from all; list what is stale",
    )
    parser.add_argument(
        "--done", type=Path, nargs="*", default=[], help="Chinese pages that translate the English of now"
    )
    given = parser.parse_args(arguments)
    for path in given.done:
        page = CHINESE.parent / path.resolve().relative_to(CHINESE)
        keep(page, [kept_line(block) for block in blocks(page.read_text("utf8"))])
    named = {path.resolve() for path in given.drift or ()}
    pages = [page for page in [*translated_pages(), *translated_decks()] if page in named or not named]
    if given.drift is not None:
        list_drift(pages)
        if not named:
            print(*(f"{display_path(page)}: not translated" for page in [*missing_pages(), *missing_decks()]), sep="\n")
    if wrong := report(pages):
        print(*wrong, sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
