"""What became of each claim that the book decides, in words, for the site."""

from functools import cache, partial
from pathlib import Path

from bookext.read.book import ROOT, executed_pages
from bookext.read.chapter import Chapter, computing, read_chapter
from bookext.read.claims import decisions_of
from bookext.read.kept import of_page

from .conditions import conditions_of, file_of
from .slices import slice_of
from .stress import number_of, plan_of, read_records, record_path, together, words

AS_PRINTED, UNTRIED = "as printed", "not yet tried in other conditions"
HERE = Path(__file__).parent
MACHINERY = [
    Path(__file__),
    HERE / "slices.py",
    HERE / "stress.py",
    *(HERE.parent / "read" / f"{n}.py" for n in ("claims", "chapter")),
]


def of_chapter(chapter: Chapter) -> dict[str, tuple[str, str]]:
    """For what each claim of a chapter stands, and what became of it."""
    found, (conditions, _), records = (
        dict[str, tuple[str, str]](),
        conditions_of(number_of(chapter)),
        read_records(chapter),
    )
    for decision in decisions_of(chapter):
        name = decision.name
        condition, record = conditions.get(name), records.get(name)
        if condition is None:
            found.setdefault(name, (AS_PRINTED, UNTRIED))
            continue
        plan, _ = plan_of(slice_of(chapter, decision.cell), name, condition)
        stands_for = together([*plan.holds]) or AS_PRINTED
        if condition.share < 1:
            stands_for += f", in {condition.share:.0%} of the draws".replace("%", " %")
        found.setdefault(name, (stands_for, words(record, plan) if record else UNTRIED))
    return found


@cache
def results() -> dict[str, tuple[str, str]]:
    """Those of the book. Slicing every chapter takes seconds: one whose cells are as they were is not sliced again."""
    found: dict[str, tuple[str, str]] = {}
    for chapter in map(read_chapter, executed_pages()):
        others = [ROOT / file_of(number_of(chapter)), record_path(chapter), *MACHINERY]
        kept = of_page("claims", chapter.path, computing(chapter), others, partial(of_chapter, chapter))
        found = {name: (said[0], said[1]) for name, said in kept.items()} | found
    return found
