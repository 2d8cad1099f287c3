"""Everything that is checked without building: the ledger's rules, the formulas, and whether a changed formula is noticed.

    python -m bookext.check [--run] [--bare | --words] [chapters]      exit status 1 when something is wrong

``--run`` executes the chapters once more, to see whether a changed number or assertion is noticed too; ``--bare`` lists
numbers for review instead, ``--words`` strong sentences with their reasons.
"""

import argparse
import sys
from pathlib import Path

from bookext.read.book import ROOT, book_pages, waits_for_nobody
from bookext.read.chapter import Chapter, SourceError, read_chapter

from . import bare, formulas, ledger, mutate, twins, words


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
    wrong += ledger.report(chapters) + formulas.report(chapters)
    wrong += [] if given.chapters else formulas.orphans(chapters) + twins.report()
    wrong += mutate.report([c for c in chapters if c.code and waits_for_nobody(c.front)], given.run)
    kept = "check  every rule of the ledger is kept, every formula holds, every change that was tried is noticed"
    print("\n".join(wrong or [kept]))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
