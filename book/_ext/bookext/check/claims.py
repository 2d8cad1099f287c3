"""Rules for claims: a sentence that claims, an assertion in its section that decides it, conditions, and a record of the stress.

None of them runs anything. A record that is missing or stale is made by ``make stress``.
"""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

from bookext.read.book import executed_pages
from bookext.read.chapter import Chapter
from bookext.read.claims import NAME, Decision, claims_of, decisions_of

from .conditions import conditions_of, file_of
from .slices import slice_of
from .stress import conflicts, is_current, missing, number_of, plan_of, read_records

Found = Iterator[tuple[int, str]]


@cache
def decided_in_the_book() -> dict[str, list[str]]:
    """Each claim that the book's text decides, and the pages that do; read from the text alone, which is quick."""
    found: dict[str, list[str]] = {}
    for page in executed_pages():
        for name in re.findall(r"""["']claim: ([\w-]+)["']""", page.read_text("utf8")):
            found.setdefault(name, []).append(page.name)
    return found


def decided(chapter: Chapter) -> Found:
    """Each claim in the prose is decided by an assertion somewhere in the book."""
    own = {decision.name for decision in decisions_of(chapter)}
    for claim in claims_of(chapter):
        if not NAME.fullmatch(claim.name):
            yield claim.line, f"{{claim}}`{claim.name}`: a claim is called like a label, such as sig-scale-cures"
        elif claim.name not in own and not decided_in_the_book().get(claim.name):
            remedy = f"in a cell of '{claim.section}' write assert …, \"claim: {claim.name}\""
            yield claim.line, f"claim {claim.name}: no assertion decides it; {remedy}"


def said(chapter: Chapter) -> Found:
    """What decides a claim does so alone, in a section that says it."""
    claims, decisions = claims_of(chapter), decisions_of(chapter)
    for name, count in Counter(decision.name for decision in decisions).items():
        own = [decision for decision in decisions if decision.name == name]
        others = [page for page in decided_in_the_book().get(name, []) if page != chapter.path.name]
        line, sections = own[0].line, {claim.section: claim for claim in claims if claim.name == name}
        if count > 1 or others:
            where = ", ".join([*(str(decision.line) for decision in own), *others])
            yield line, f"claim {name} is decided more than once ({where}); give each a name of its own"
        if not sections:
            yield line, f"claim {name} is in no sentence; end the sentence that says it with {{claim}}`{name}`"
        elif own[0].section not in sections:
            elsewhere = f"said in '{' and '.join(sections)}' and decided in '{own[0].section}'"
            yield line, f"claim {name} is {elsewhere}; say it there too, or decide it there"


def tried(chapter: Chapter) -> Found:
    """Each claim has conditions, and a record of this very code that agrees with them."""
    conditions = conditions_of(number_of(chapter))[0]
    decisions, file = decisions_of(chapter), file_of(number_of(chapter))
    for name in sorted(conditions.keys() - {decision.name for decision in decisions}):
        yield (
            1,
            f"claim {name} has conditions in {file}, and no assertion of the chapter decides it; take them out there",
        )
    for decision in {d.name: d for d in decisions}.values():
        if decision.name not in conditions:
            yield (
                decision.line,
                f'claim {decision.name} has no conditions; enter them under CLAIMS in {file}: "{decision.name}": Conditions(holds={{…}}),',
            )
        else:
            yield from ((decision.line, f"claim {decision.name}: {what}") for what in _judged(chapter, decision))


def _judged(chapter: Chapter, decision: Decision) -> Iterator[str]:
    """What is wrong with one claim's variations or its record."""
    conditions = conditions_of(number_of(chapter))[0][decision.name]
    part = slice_of(chapter, decision.cell)
    plan, wrong = plan_of(part, decision.name, conditions)
    yield from wrong
    record = read_records(chapter).get(decision.name)
    again = f"run make stress CHAPTER={number_of(chapter)}"
    if record is None:
        yield f"was never stressed; {again}"
    elif not is_current(record, part, decision.name):
        yield f"its code has changed since it was stressed; {again}"
    elif lacking := missing(record, plan):
        yield f"was not run {'as' if lacking[0].startswith('as ') else 'with'} {', '.join(lacking).removeprefix('as ')}; {again}"
    else:
        for what in conflicts(record, plan, conditions.share):
            yield f"{what}; say what holds, or move it to beyond= in {file_of(number_of(chapter))}"


RULES = (decided, said, tried)
