"""Everything that is checked without building: the ledger's rules, the formulas, and whether a changed formula is noticed.

    python -m bookext.check [--run] [--bare | --words] [chapters]      exit status 1 when something is wrong

``--run`` executes the chapters once more, to see whether a changed number or assertion is noticed too; ``--bare`` lists
numbers for review instead, ``--words`` strong sentences with their reasons.
"""

import argparse
import contextlib
import gc
import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib import metadata
from pathlib import Path

from bookext.read.book import ROOT, book_pages, waits_for_nobody
from bookext.read.chapter import Chapter, SourceError, read_chapter
from bookext.read.kept import digest, files, of_page, text_digest

from . import bare, claims, formulas, ledger, mutate, twins, words
from .meanings import all_meanings
from .stress import record_path

Judged = tuple[list[str], dict[str, str], dict[str, mutate.Fared]]
JUDGES = [*files("labs"), *files("book/_ext/bookext/check"), *files("book/_ext/bookext/read")]
AT_ONCE = [rule for rule in ledger.RULES if rule is not claims.tried]  # they look at other pages too


@cache
def judges() -> str:
    """A hash of what judges a page by itself: the code, and the versions of what that computes with."""
    return text_digest(digest(JUDGES), *(metadata.version(name) for name in ("torch", "numpy", "scipy", "sympy")))


def by_itself(chapter: Chapter) -> Judged:
    """What takes seconds and asks no other page: claims whose record is not theirs, statements that fail, how changed ones fared."""
    tried = chapter.code and waits_for_nobody(chapter.front)
    failed = formulas.problems(chapter)
    return ledger.problems(chapter, [claims.tried]), failed, mutate.changed(chapter, failed) if tried else {}


def unknown(chapter: Chapter) -> Judged:
    """In place of ``by_itself``, to ask what is known."""
    raise LookupError(chapter.name)


def judged(chapter: Chapter, anew: Callable[[Chapter], Judged] = by_itself) -> Judged:
    """What breaks the ledger's rules in a chapter, which of its statements do not hold, and how its changed ones fared.

    A page of the book that is as it was, like all that judges it by itself, is not judged by itself anew.
    """
    if not chapter.path.is_relative_to(ROOT / "book"):
        broken, failed, fared = anew(chapter)
    else:
        text = f"{chapter.text}\0{judges()}"
        broken, failed, scores = of_page("judged", chapter.path, text, [record_path(chapter)], lambda: anew(chapter))
        fared = {what: (Counter(score), lost) for what, (score, lost) in scores.items()}
    return ledger.problems(chapter, AT_ONCE) + broken, failed, fared


def side_by_side(chapters: Sequence[Chapter]) -> list[Judged]:
    """All chapters judged; of those about which nothing is known several in forks of this process, which has imported what judges them."""
    found: dict[Path, Judged] = {}
    for chapter in chapters:
        with contextlib.suppress(LookupError):
            found[chapter.path] = judged(chapter, unknown)
    others = [chapter for chapter in chapters if chapter.path not in found]
    if len(others) < 3:
        found |= {chapter.path: judged(chapter) for chapter in others}
    else:
        all_meanings()
        deaf = (signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is told once
        forks = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(os.cpu_count(), forks, initializer=signal.signal, initargs=deaf) as pool:
            found |= zip((chapter.path for chapter in others), pool.map(judged, others), strict=True)
    return [found[chapter.path] for chapter in chapters]


def report(chapters: Sequence[Chapter], run: bool) -> list[str]:
    """Print how the chapters fared; returns what is wrong."""
    found = side_by_side(chapters)
    ledger.report(chapters)
    formulas.report(chapters, [failed for _, failed, _ in found])
    tried = [(chapter, fared) for chapter, (_, _, fared) in zip(chapters, found, strict=True) if fared]
    some = [chapter for chapter, _ in tried]
    return [
        *(line for broken, _, _ in found for line in broken),
        *(line for _, failed, _ in found for line in failed.values()),
        *mutate.report(some, [fared for _, fared in tried]),
        *(mutate.report(some, mutate.executed(some)) if run else ()),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Each check in turn, also after one has failed, then all that is wrong."""
    parser = argparse.ArgumentParser(prog="bookext.check", description="Check chapters without building them.")
    parser.add_argument("--run", action="store_true", help="change numbers and assertions too: executes the chapters")
    parser.add_argument("--bare", action="store_true", help="list numbers in the text that nothing checks, for review")
    parser.add_argument(
        "--words", action="store_true", help="list sentences with a strong word and no claim, for review"
    )
    parser.add_argument("chapters", type=Path, nargs="*", help="the whole book if left out")
    given = parser.parse_args(arguments)
    chapters, wrong = list[Chapter](), list[str]()
    for path in given.chapters or book_pages():
        try:
            chapters.append(read_chapter(path))
        except SourceError as error:
            wrong.append(str(error))
    if given.bare:
        print("\n".join(line for c in chapters for line in bare.bare_numbers(c)))
        return 0
    if given.words:
        print("\n".join(line for c in chapters for line in words.listed(c)))
        return 0
    unlisted = [c for c in chapters if c.path.parent == ROOT / "book" and c.path not in book_pages()]
    wrong += [f"{c.name}: not in _toc.yml; add '- file: book/{c.path.stem}' there" for c in unlisted]
    wrong += report(chapters, given.run) + ([] if given.chapters else formulas.orphans(chapters) + twins.report())
    kept = "check  every rule of the ledger is kept, every formula holds, every change that was tried is noticed"
    print("\n".join(wrong or [kept]))
    return bool(wrong)


if __name__ == "__main__":
    gc.disable()  # to look for cycles among trees of code, where there are few, takes up to a tenth of the time
    sys.exit(main())
