"""Would the rules notice a false conclusion? Each claim is changed, one thing at a time, and judged by the record of its stress.

*Opposite*: one comparison of its assertion is turned round; stress has evaluated that in the run that is printed. *Beyond*: it is
claimed for a variation in which the record says that it fails. *Draws*: it is claimed for all draws, where it fails in some.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bookext.read.chapter import Chapter
from bookext.read.claims import decisions_of

from .conditions import conditions_of
from .slices import slice_of
from .stress import PRINTED, Conditions, Plan, conflicts, is_current, number_of, plan_of, read_records, tally

Changed = tuple[str, str, dict[str, Any], Plan, float]  # kind, the change in words, and what the rules judge then


def overstated(record: dict[str, Any], plan: Plan, conditions: Conditions) -> Iterator[Changed]:
    """The changed claims, those left out that are true by the record."""
    printed = record["runs"].get(PRINTED, {})
    for n, held in enumerate(printed.get("opposite", []), 1):
        runs = {**record["runs"], PRINTED: {**printed, "held": held}}
        yield (
            "opposite",
            f"comparison {n} of its assertion turned round",
            {**record, "runs": runs},
            plan,
            conditions.share,
        )
    for label, variation in plan.beyond.items():
        if label in record["runs"] and not record["runs"][label]["held"]:
            yield (
                "beyond",
                f"claimed with {label}",
                record,
                replace(plan, holds={**plan.holds, label: variation}),
                conditions.share,
            )
    held, of = tally(record, plan)
    if held < of:
        yield "draws", "claimed for all draws", record, plan, 1.0


def claims(chapter: Chapter) -> tuple[Counter[str], list[str]]:
    """How a chapter's changed claims fared, and those that nothing noticed."""
    score, survivors, known = Counter[str](), list[str](), conditions_of(number_of(chapter))[0]
    for decision in decisions_of(chapter):
        record, part = read_records(chapter).get(decision.name), slice_of(chapter, decision.cell)
        if record is None or decision.name not in known or not is_current(record, part, decision.name):
            continue  # the rules have said so
        plan, conditions = plan_of(part, decision.name, known[decision.name])[0], known[decision.name]
        before = set(conflicts(record, plan, conditions.share))
        for kind, change, changed, planned, share in overstated(record, plan, conditions):
            caught = bool(set(conflicts(changed, planned, share)) - before)
            score[f"{kind} made"] += 1
            score[f"{kind} caught"] += caught
            if not caught:
                survivors.append(f"{chapter.name}:{decision.line}: claim {decision.name}: nothing notices it {change}")
    return score, survivors
