"""``make stress``: each claim is run anew with other seeds and in other conditions, and what came out is kept.

    python -m bookext.run.stress [chapters or claims]     what is missing or stale
    python -m bookext.run.stress --all [...]              everything anew
    python -m bookext.run.stress --compare [...]          everything anew, and beside the records, which stay as they are

Each run is a process of its own, forked from one that has imported torch. Claims of one cell share the run in which nothing is
changed; with other seeds, or in the same variation, claims of a whole chapter do, and a claim that a shared run did not decide is
run alone. Seeds are shifted by the run: ``g.manual_seed(e)``, ``default_rng(e)``, ``RandomState(e)`` and ``random_state=e`` get a
multiple of 1000 more, and so do torch's and NumPy's own generators. A run that ends by an error or takes longer than ``LIMIT``
counts as failed. Results are kept as they come, so a stress that was stopped goes on where it was.
"""

import argparse
import contextlib
import copy
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bookext.check.conditions import conditions_of, file_of
from bookext.check.slices import Slice, SliceError, fingerprint, place, slice_of
from bookext.check.stress import (
    PRINTED,
    Plan,
    conflicts,
    in_words,
    is_current,
    missing,
    number_of,
    outcome,
    plan_of,
    read_records,
    record_path,
    records_text,
)
from bookext.read.book import ROOT, executed_pages
from bookext.read.chapter import Chapter, read_chapter
from bookext.read.claims import decisions_of
from bookext.read.machine import build_environment, workers

from .recorder import instrumented, run_program

LIMIT = 600  # seconds of processor time, which other work on the machine does not stretch; twice what the longest takes on a slow one
PATIENCE = 20  # by the clock a run may take so many times as long


# ---- Processes


def _child(pipe: Any, limit: int, *what: Any) -> None:
    """What a forked process does; the system ends it when it has had its time."""
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1), os.dup2(null, 2)
    pipe.send(run_program(*what) | {"seconds": time.process_time()})
    pipe.close()


def run_apart(
    source: str, claims: list[str], draw: int, folder: str, printed: bool, limit: int, patience: int
) -> dict[str, Any]:
    """``run_program`` in a process of its own; one that dies or takes too long has failed."""
    from .kernels import SERVER

    here, there = SERVER.Pipe(duplex=False)
    process = SERVER.Process(target=_child, args=(there, limit, source, claims, draw, folder, printed), daemon=True)
    process.start()
    there.close()
    done, waited = None, here.poll(patience * limit)
    if not waited:
        process.kill()
    with contextlib.suppress(EOFError):
        done = here.recv()
    process.join()
    late = not waited or process.exitcode == -signal.SIGXCPU
    error = f"took longer than {limit} s" if late else "its process died"
    return done or {"drawn": False, "runs": {name: {"held": False, "error": error} for name in claims}}


# ---- The book's claims


@dataclass
class Stressed:
    """A claim that is being stressed: where it is decided, what is to be run, what is known."""

    name: str
    chapter: Chapter
    cell: int
    part: Slice
    plan: Plan
    share: float
    record: dict[str, Any]
    running: set[str] = field(default_factory=set)
    alone: set[str] = field(default_factory=set)  # the runs that it cannot share

    def waiting(self) -> list[str]:
        """The runs that are missing; first of all the one that is printed, which tells whether anything is drawn."""
        if PRINTED not in self.record["runs"]:
            return [PRINTED]
        return missing(self.record, self.plan)


def stressed(chapter: Chapter, everything: bool) -> tuple[list[Stressed], list[str]]:
    """The claims of a chapter that have conditions, and what is wrong with those."""
    number_, found, wrong = number_of(chapter), list[Stressed](), list[str]()
    conditions, records = conditions_of(number_)[0], read_records(chapter)
    for decision in decisions_of(chapter):
        if decision.name not in conditions:
            wrong.append(
                f"{chapter.name}:{decision.line}: claim {decision.name} has no conditions in {file_of(number_)}"
            )
            continue
        part = slice_of(chapter, decision.cell)
        plan, problems = plan_of(part, decision.name, conditions[decision.name])
        wrong += [f"{chapter.name}:{decision.line}: claim {decision.name}: {problem}" for problem in problems]
        old = records.get(decision.name)
        record = {"code": fingerprint(part, decision.name), "drawn": False, "runs": {}}
        if old and is_current(old, part, decision.name) and not everything:
            record = copy.deepcopy(old)
        found.append(
            Stressed(decision.name, chapter, decision.cell, part, plan, conditions[decision.name].share, record)
        )
    return found, wrong


class Keeper:
    """Writes the records of the chapters, whole, after each run."""

    def __init__(self, claims: list[Stressed]) -> None:
        self.claims, self.lock = claims, threading.Lock()

    def keep(self, chapter: Chapter) -> None:
        """The chapter's records, those of claims that are gone left out, those that are not asked for kept."""
        with self.lock:
            names = {decision.name for decision in decisions_of(chapter)}
            records = {name: record for name, record in read_records(chapter).items() if name in names}
            for claim in self.claims:
                if claim.chapter.path == chapter.path and claim.record["runs"]:
                    labels = claim.plan.labels(claim.record["drawn"])
                    runs = {label: claim.record["runs"][label] for label in labels if label in claim.record["runs"]}
                    records[claim.name] = {**claim.record, "runs": runs}
            path = record_path(chapter)
            path.parent.mkdir(exist_ok=True)
            new = path.with_suffix(".new")
            new.write_text(records_text(records), "utf8")
            new.replace(path)


def shared(claims: list[Stressed]) -> Iterator[tuple[list[Stressed], str, str]]:
    """The runs that wait: the claims that share one, its label, and its source."""
    groups: dict[tuple[Any, ...], list[Stressed]] = {}
    unknown = {claim.chapter.path for claim in claims if PRINTED not in claim.record["runs"]}
    for claim in claims:
        if claim.chapter.path in unknown and PRINTED in claim.record["runs"]:
            continue  # its draws wait for those with whom it can share them
        for label in [label for label in claim.waiting() if label not in claim.running]:
            variation = claim.plan.variations.get(label)
            line = place(claim.part.program(claim.name), variation[0])[0] if variation else 0
            own = claim.cell if label == PRINTED or label in claim.alone else None
            groups.setdefault((claim.chapter.path, label, variation, line, own), []).append(claim)
            claim.running.add(label)
    for (_, label, variation, line, _), some in groups.items():
        together = slice_of(some[0].chapter, *sorted({claim.cell for claim in some}))
        fits = not variation or _stands_at(together, some, variation[0], line)
        for claim in some[:1] if fits else some:
            group, part = (some, together) if fits else ([claim], claim.part)
            yield group, label, instrumented(part, [c.name for c in group], variation)


def _stands_at(part: Slice, claims: list[Stressed], key: str, line: int) -> bool:
    """Whether a key means, for several claims together, what it means for each alone."""
    try:
        return place(part.program(*(claim.name for claim in claims)), key)[0] == line
    except SliceError:
        return False


def stress(claims: list[Stressed], keep: bool = True, limit: int = LIMIT, patience: int = PATIENCE) -> str:
    """Run what is missing, side by side, and keep it; a line a claim when it is through. Returns what it took, in words."""
    runs, seconds = 0, 0.0
    keeper, running = Keeper(claims), dict[Future[dict[str, Any]], tuple[list[Stressed], str]]()
    told: set[str] = set()
    with workers(os.cpu_count() or 1) as pool:

        def start() -> None:
            for some, label, source in shared(claims):
                draw = int(label.split()[-1]) if label in some[0].plan.draws else 0
                names, folder = [claim.name for claim in some], str(some[0].chapter.path.parent)
                what = (source, names, draw, folder, label == PRINTED, limit, patience)
                running[pool.submit(run_apart, *what)] = some, label
            for claim in claims:
                if claim.name not in told and not claim.waiting():
                    told.add(claim.name)
                    bad = "; ".join(conflicts(claim.record, claim.plan, claim.share))
                    print(
                        f"{claim.name}: {in_words(outcome(claim.record, claim.plan))}{bad and f' — CONFLICT: {bad}'}",
                        flush=True,
                    )

        start()
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                some, label = running.pop(future)
                result = future.result()
                runs, seconds = runs + 1, seconds + result.get("seconds", limit)
                for claim in some:
                    run = result["runs"][claim.name]
                    if "error" in run and len({c.cell for c in some}) > 1:  # it may be another's
                        claim.alone.add(label)
                        claim.running.discard(label)
                        continue
                    claim.record["runs"][label] = run
                    if label == PRINTED:
                        claim.record["drawn"] = result["drawn"]
                if keep:
                    keeper.keep(some[0].chapter)
            start()
    for path in {claim.chapter.path for claim in claims if keep}:
        keeper.keep(read_chapter(path))
    return f"{runs} runs, {seconds:.0f} s of processor time"


def differences(claim: Stressed) -> list[str]:
    """Where a claim's runs come out otherwise than its record says."""
    old, new = read_records(claim.chapter).get(claim.name, {"runs": {}})["runs"], claim.record["runs"]
    held = {True: "held", False: "failed", None: "was not run"}
    verdicts = {label: [held[some.get(label, {}).get("held")] for some in (old, new)] for label in {**old, **new}}
    return [f"{label}: {was} in the record, and {now} now" for label, (was, now) in verdicts.items() if was != now]


def unknown(asked: set[str]) -> str:
    """The names among those asked for that no chapter and no claim has."""
    chapters = [read_chapter(page) for page in executed_pages()] if asked else []
    known = {number_of(chapter) for chapter in chapters} | {d.name for c in chapters for d in decisions_of(c)}
    return ", ".join(sorted(asked - known))


def main(arguments: list[str] | None = None) -> int:
    """Stress claims; exit status 1 where one does not hold for what it is claimed."""
    parser = argparse.ArgumentParser(prog="bookext.run.stress", description="Stress the claims of the book.")
    parser.add_argument("--all", action="store_true", help="run everything anew")
    parser.add_argument("--compare", action="store_true", help="run everything anew and compare; write nothing")
    parser.add_argument("which", nargs="*", help="chapters (03, or a file) or claims; all if left out")
    given = parser.parse_args(arguments)
    claims, wrong = list[Stressed](), list[str]()
    asked = {Path(which).stem.partition("-")[0] if which.endswith(".md") else which for which in given.which}
    if strange := unknown(asked):
        print(f"No chapter and no claim is called {strange}: name one as in make stress CHAPTER=03", file=sys.stderr)
        return 2
    for chapter in map(read_chapter, executed_pages()):
        if asked and number_of(chapter) not in asked and not asked & {d.name for d in decisions_of(chapter)}:
            continue
        found, problems = stressed(chapter, given.all or given.compare)
        named = asked & {claim.name for claim in found}
        claims += [claim for claim in found if not named or claim.name in named]
        wrong += problems
    os.chdir(ROOT)
    os.environ |= build_environment() | {"MPLBACKEND": "agg"}
    took = stress(claims, not given.compare)
    if given.compare:
        wrong += [f"{c.chapter.name}: claim {c.name}: {difference}" for c in claims for difference in differences(c)]
    wrong += [
        f"{claim.chapter.name}: claim {claim.name}: {bad}"
        for claim in claims
        for bad in conflicts(claim.record, claim.plan, claim.share)
    ]
    print("\n".join([*(wrong or [f"{len(claims)} claims hold for what they are claimed"]), took]))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
