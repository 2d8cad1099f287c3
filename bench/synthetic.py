"""Books of many chapters: the real ones, copied with labels, numbers, meanings, conditions and records of their own.

A copy differs from its chapter in its names alone, so it reads, builds and is checked as that one is; what it computes is the same,
and its outputs can be lent. Pages about the lecture as a whole (its map, the errata, the slides) stay as they are.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

REAL = 10
DEFINED = re.compile(r"^\(([\w:.-]+)\)=\s*$|^\$\$\s*\(([^)]+)\)|^\s*:?(?:name|label): *([\w-]+)\s*$", re.MULTILINE)
CLAIMED = re.compile(r"\{claim\}`\s*([\w-]+)\s*`")
OF_THE_LECTURE = re.compile(r"\b(?:L|C|E)\d+")  # its items, results and errata: they lead to the real chapter
# In the copy's folder: keep for each copy what its chapter has printed, so that nothing is executed.
LEND = """
import sys
from pathlib import Path
from jupyter_cache import get_cache
from bookext.read.kept import cache_path
from bookext.run.execute import lend
cache = get_cache(cache_path())
for pair in sys.argv[1:]:
    page, copy = pair.split(":")
    lend(cache, Path(page).resolve(), Path(copy).resolve(), cache)
"""


def labels(texts: list[str]) -> list[str]:
    """What the chapters name, the longest first."""
    found = {name for text in texts for names in DEFINED.findall(text) for name in names if name}
    found |= {name for text in texts for name in CLAIMED.findall(text)}
    return sorted((name for name in found if "-" in name), key=len, reverse=True)


class Renamer:
    """Texts with other labels."""

    def __init__(self, names: list[str]) -> None:
        self.pattern = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, names))})(?![\w-])")

    def renamed(self, text: str, turn: int) -> str:
        return self.pattern.sub(rf"\1-copy{turn}", text)

    def copied(self, text: str, turn: int) -> str:
        """A chapter that claims nothing of the lecture a second time."""
        text = re.sub(r"^\(L\d+\)=\n(?:\n(?=\())?", "", text, flags=re.MULTILINE)

        text = re.sub(
            r"^\((\w+)\)=$", rf"(\1-copy{turn})=", text, flags=re.MULTILINE
        )  # of one word: not to be found in prose

        def without(checks: re.Match[str]) -> str:
            kept = [name.strip() for name in checks[2].split(",") if not OF_THE_LECTURE.fullmatch(name.strip())]
            return f"{checks[1]}[{', '.join(kept)}]"

        text = re.sub(r"^(:?(?:checks|proves): *)\[([^\]]*)\]", without, text, flags=re.MULTILINE)
        return self.renamed(text, turn)


def grow(root: Path, chapters: int) -> dict[str, str]:
    """Add copies to the sources in a folder until it has so many chapters; each copy and what it is of."""
    book, checks = root / "book", root / "book/_ext/bookext/check"
    real = sorted(book.glob("[01][0-9]-*.md"))[:REAL]
    rename, made = Renamer(labels([path.read_text("utf8") for path in real])), dict[str, str]()
    for number in range(REAL + 1, chapters + 1):
        turn, at = divmod(number - 1, REAL)
        page, own = real[at], f"{number:02d}"
        name = f"{own}-{page.stem.partition('-')[2]}"
        for folder in (book, book / "zh"):
            text = (folder / page.name).read_text("utf8")
            (folder / f"{name}.md").write_text(rename.copied(text, turn), "utf8")
        (book / "zh/kept" / f"{name}.txt").write_text("", "utf8")
        copies = {book / "_stress" / f"{page.stem}.json": book / "_stress" / f"{name}.json"}
        for kind in ("meanings", "conditions"):
            copies[checks / kind / f"ch{page.stem[:2]}.py"] = checks / kind / f"ch{own}.py"
        for source, copy in copies.items():
            if source.exists():
                copy.write_text(rename.renamed(source.read_text("utf8"), turn), "utf8")
        made[f"book/{name}.md"] = f"book/{page.name}"
    toc = root / "_toc.yml"
    last = f"      - file: book/{real[-1].stem}\n"
    lines = "".join(f"      - file: {copy.removesuffix('.md')}\n" for copy in made)
    toc.write_text(toc.read_text("utf8").replace(last, last + lines), "utf8")
    return made


def settle(root: Path, made: dict[str, str], environment: dict[str, str]) -> None:
    """Let the Chinese copies translate the English ones, and lend each copy what its chapter has printed."""

    def run(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL)

    if made:
        run("-m", "bookext.check.twins", "--done", *(copy.replace("book/", "book/zh/", 1) for copy in made))
        run("-c", LEND, *(f"{page}:{copy}" for copy, page in made.items()))
