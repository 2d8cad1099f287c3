"""What the site says of checks: what became of each claim that the book decides, and how closely each equation is compared."""

from functools import cache, partial
from pathlib import Path

from bookext.read.book import ROOT, book_pages, executed_pages
from bookext.read.chapter import Chapter, computing, read_chapter
from bookext.read.claims import decisions_of
from bookext.read.kept import digest, files, of_page, remembered

from .conditions import conditions_of, file_of
from .slices import slice_of
from .stress import Part, in_words, number_of, outcome, plan_of, read_records, record_path, together

LEDGER_HERE = "```{ledger"  # a page with its tables or totals
AS_PRINTED, UNTRIED = "as printed", "not yet tried in other conditions"
HERE, MEANINGS = Path(__file__).parent, "book/_ext/bookext/check/meanings"
MACHINERY = [
    Path(__file__),
    HERE / "slices.py",
    HERE / "stress.py",
    *(HERE.parent / "read" / f"{n}.py" for n in ("claims", "chapter")),
]


Said = tuple[list[Part], list[Part]]


def of_chapter(chapter: Chapter) -> dict[str, Said]:
    """For what each claim of a chapter stands, and what became of it, in the parts that are put into words."""
    found, (conditions, _), records = dict[str, Said](), conditions_of(number_of(chapter)), read_records(chapter)
    for decision in decisions_of(chapter):
        name = decision.name
        condition, record = conditions.get(name), records.get(name)
        if condition is None:
            found.setdefault(name, ([(AS_PRINTED, {})], [(UNTRIED, {})]))
            continue
        plan, _ = plan_of(slice_of(chapter, decision.cell), name, condition)
        where, share = together([*plan.holds]), f"{condition.share:.0%}".replace("%", " %")
        stands_for = ("{where}" if where else AS_PRINTED) + ", in {share} of the draws" * (condition.share < 1)
        parts = [(stands_for, {"where": where, "share": share})]
        found.setdefault(name, (parts, outcome(record, plan) if record else [(UNTRIED, {})]))
    return found


@cache
def all_parts() -> dict[str, Said]:
    """Those of the book. Slicing every chapter takes seconds: one whose cells are as they were is not sliced again."""
    found: dict[str, Said] = {}
    for chapter in map(read_chapter, executed_pages()):
        others = [ROOT / file_of(number_of(chapter)), record_path(chapter), *MACHINERY]
        kept = of_page("claims", chapter.path, computing(chapter), others, partial(of_chapter, chapter))
        found = {name: (said[0], said[1]) for name, said in kept.items()} | found
    return found


@cache
def results(language: str = "en") -> dict[str, tuple[str, str]]:
    """For what each claim of the book stands, and what became of it, in words of a language."""
    return {name: (in_words(where, language), in_words(what, language)) for name, (where, what) in all_parts().items()}


@cache
def tolerances() -> dict[str, tuple[float, float]]:
    """Of each equation that has a meaning its relative tolerances, exact and loose.

    They are kept from build to build: the meanings import SymPy and torch, which would double the time of a small edit.
    """

    def read() -> dict[str, tuple[float, float]]:
        from .meanings import all_meanings

        meanings = all_meanings()
        return {label: (meaning.rtol, meaning.loose) for label, meaning in meanings.items()}

    return remembered("tolerances", digest([*files(MEANINGS), HERE / "case.py"]), read)


def prepare() -> None:
    """Work out now what both runs of Sphinx will ask for."""
    results()
    if any(LEDGER_HERE in page.read_text("utf8") for page in book_pages()):
        tolerances()
