"""What a claim must survive, what it did survive, and whether the two agree.

A claim's *conditions* say which variations its sentence covers and with how many other seeds it is tried. ``bookext.run.stress``
runs them and keeps a *record* for each chapter in ``book/_stress/``; here the record is read and compared with the conditions,
which needs no run.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from bookext.read.book import parsed
from bookext.read.chapter import Chapter
from bookext.read.words import say

from .slices import Slice, SliceError, described, fingerprint

PRINTED = "as printed"
Variations = Mapping[str, tuple[str, ...]]
Run = dict[str, Any]  # {"held": …} and, where there are any, "values", "opposite", "error"
Part = tuple[str, dict[str, Any]]  # a text of the catalogue, and what is put into it


@dataclass(frozen=True, eq=False)  # itself alone, so that its plan is made once
class Conditions:
    """For what a claim stands, and how it is stressed.

    ``holds``: variations that the sentence covers, by the name that is rewritten; ``_`` is what stands there now. In ``beyond``
    it need not hold: the result is shown. ``draws``: how many other seeds; 0 where nothing is drawn. ``share``: in how many of
    the draws it must hold; where that is not all, the sentence says so.

    >>> Conditions(holds={"depth": ("_ // 2", "2 * _")}, beyond={"lr": ("10 * _",)}, share=0.9).draws
    10
    """

    holds: Variations = field(default_factory=dict)
    beyond: Variations = field(default_factory=dict)
    draws: int = 10
    share: float = 1.0

    def __post_init__(self) -> None:
        for name, variations in (("holds", self.holds), ("beyond", self.beyond)):
            for key, expressions in variations.items():
                if isinstance(expressions, str) or not all(isinstance(e, str) for e in expressions):
                    raise ValueError(f"{name}[{key!r}] is {expressions!r}; write a tuple of expressions: ('2 * _',)")
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}, and must lie above 0 and not above 1")


@dataclass(frozen=True)
class Plan:
    """What is run for a claim: the variations in words, and what each rewrites."""

    holds: dict[str, tuple[str, str]]
    beyond: dict[str, tuple[str, str]]
    draws: tuple[str, ...]

    @property
    def variations(self) -> dict[str, tuple[str, str]]:
        return {**self.holds, **self.beyond}

    def labels(self, drawn: bool) -> list[str]:
        """Every run of the claim; seeds only where something is drawn."""
        return [PRINTED, *(self.draws if drawn else ()), *self.variations]


@lru_cache(maxsize=512)
def plan_of(part: Slice, claim: str, conditions: Conditions) -> tuple[Plan, tuple[str, ...]]:
    """The runs of a claim, and what is wrong with its variations."""
    wrong, told = list[str](), dict[str, dict[str, tuple[str, str]]]({"holds": {}, "beyond": {}})
    tree = part.program(claim)
    for kind, variations in (("holds", conditions.holds), ("beyond", conditions.beyond)):
        for key, expression in ((k, e) for k, some in variations.items() for e in some):
            try:
                told[kind][described(tree, key, expression)] = (key, expression)
            except SliceError as error:
                wrong.append(f"{kind}: {error}; name one assignment, function.parameter or keyword argument")
            except SyntaxError:
                wrong.append(f"{kind}: {key}: {expression!r} is no expression of Python")
    draws = tuple(draw_label(n) for n in range(1, conditions.draws + 1))
    return Plan(told["holds"], told["beyond"], draws), tuple(dict.fromkeys(wrong))


def draw_label(number: int) -> str:
    """How a record calls the run with other seeds."""
    return f"draw {number}"


# ---- Records


def record_path(chapter: Chapter) -> Path:
    """Where the records of a chapter's claims are kept."""
    return chapter.path.parent / "_stress" / f"{chapter.path.stem}.json"


def read_records(chapter: Chapter) -> dict[str, Any]:
    """The records of a chapter's claims, by their names."""
    path = record_path(chapter)
    return _read(path, path.stat().st_mtime_ns) if path.exists() else {}


@lru_cache(maxsize=1024)
def _read(path: Path, stamp: int) -> dict[str, Any]:
    return parsed(path, json.loads)


def records_text(records: Mapping[str, Any]) -> str:
    """Records as they are kept: sorted, a line a run.

    >>> print(records_text({"a-b": {"code": "0f", "drawn": False, "runs": {"as printed": {"held": True}}}}), end="")
    {
    "a-b": {"code": "0f", "drawn": false, "runs": {
      "as printed": {"held": true}
    }}
    }
    """

    def one(name: str, record: Mapping[str, Any]) -> str:
        runs = ",\n".join(
            f"  {json.dumps(k, ensure_ascii=False)}: {json.dumps(r, ensure_ascii=False)}"
            for k, r in record["runs"].items()
        )
        head = f'"code": {json.dumps(record["code"])}, "drawn": {json.dumps(record["drawn"])}'
        return f'{json.dumps(name)}: {{{head}, "runs": {{\n{runs}\n}}}}'

    return "{\n" + ",\n".join(one(name, records[name]) for name in sorted(records)) + "\n}\n"


def is_current(record: Mapping[str, Any] | None, part: Slice, claim: str) -> bool:
    """Whether a record was made from this very code."""
    return record is not None and record["code"] == fingerprint(part, claim)


def missing(record: Mapping[str, Any], plan: Plan) -> list[str]:
    """The runs that a record lacks."""
    return [label for label in plan.labels(record["drawn"]) if label not in record["runs"]]


# ---- Verdict


def tally(record: Mapping[str, Any], plan: Plan) -> tuple[int, int]:
    """In how many draws the claim held, and of how many."""
    held = [record["runs"][label]["held"] for label in plan.draws if label in record["runs"]]
    return sum(held), len(held)


def conflicts(record: Mapping[str, Any], plan: Plan, share: float) -> Iterator[str]:
    """Where the record says that a claim does not hold for what it is claimed."""
    runs = record["runs"]
    for label in (PRINTED, *plan.holds):
        if label in runs and not runs[label]["held"]:
            how = f"failed: {runs[label]['error']}" if "error" in runs[label] else "does not hold"
            yield f"{how} {'where it is printed' if label == PRINTED else f'with {label}'}"
    held, of = tally(record, plan)
    if held < share * of:
        yield f"holds in {held} of {of} draws, and is claimed for {'all' if share == 1 else f'{share:.0%}'} of them"
    if record["drawn"] and not plan.draws:
        yield "random numbers are drawn, and no other draw is tried; give draws="


def outcome(record: Mapping[str, Any], plan: Plan) -> list[Part]:
    """The result, part by part: over the draws, then where else it holds, then where it fails."""
    runs, said = record["runs"], list[Part]()
    if record["drawn"]:
        held, of = tally(record, plan)
        drawn = ("held in {held} of {of} draws", {"held": held, "of": of})
        said.append(drawn if of else ("not tried with other draws", {}))
    else:
        holds = runs.get(PRINTED, {}).get("held")
        said.append(("held; nothing is drawn" if holds else "does not hold; nothing is drawn", {}))
    for text, wanted in (("held at {where}", True), ("fails at {where}", False)):
        if found := [v for v in plan.variations if v in runs and runs[v]["held"] is wanted]:
            said.append((text, {"where": together(found)}))
    return said


def in_words(parts: Iterable[Part], language: str = "en") -> str:
    """Parts in a language: 'held in 10 of 10 draws; held at depth 4, 16; fails at depth 30'."""
    return say(language, "; ").join(say(language, text).format(**given) for text, given in parts)


def together(labels: list[str]) -> str:
    """Variations said in one breath, as a reader would say them.

    >>> together(["train.depth = 4", "train.depth = 16", "rates = [3 * r for r in _]"])
    'depth 4, 16, rates = [3 * r for r in rates]'
    """
    shown, last = list[str](), ""
    for label in labels:
        key, _, value = label.partition(" = ")
        name, plain = key.rpartition(".")[2], re.fullmatch(r"[\w.+-]+|\([^()]*\)|'[^']*'", value)
        text = value.strip("'") if plain else re.sub(r"\b_\b", name, value)
        shown.append(text if key == last and plain else f"{name} {text}" if plain else f"{name} = {text}")
        last = key if plain else ""
    return ", ".join(shown)


def number_of(chapter: Chapter) -> str:
    """The digits that a chapter's file begins with; empty for other pages."""
    head = chapter.path.stem.partition("-")[0]
    return head if head.isdigit() else ""
