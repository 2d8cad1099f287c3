"""Grades submissions, side by side and resumably: one record in JSON for each, written whole or not at all."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import queue
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from instructor.grading import VERSION, checks
from instructor.grading.sandbox import ROOT, Sandbox, Session
from instructor.grading.submissions import (
    LARGEST,
    Cells,
    Submission,
    Unreadable,
    kind,
    normal,
    own_words,
    read_cells,
    released_notebooks,
    shown_name,
    words_of,
)
from labs.homework import Homework

Record = dict[str, Any]


def folder_of(name: str, folder: Path | None = None) -> Path:
    """Where a homework's master and hidden checks are; ValueError with the names of those there are."""
    found = folder or ROOT / "instructor" / name
    if not (found / "checks.py").is_file():
        there = ", ".join(sorted(path.parent.name for path in found.parent.glob("hw*/checks.py")))
        raise ValueError(f"{name}: no homework with hidden checks is called so; there are {there}")
    return found


class Assignment:
    """A homework's name, hidden checks, salt, and the instructor's secret; ValueError says what is missing."""

    def __init__(self, name: str, secret: bytes, folder: Path | None = None, salt: str = "") -> None:
        self.folder = folder_of(name, folder)
        spec = importlib.util.spec_from_file_location(f"checks_{name}", self.folder / "checks.py")
        assert spec and spec.loader
        self.module: ModuleType = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)
        master = self.folder / f"{name}.md"
        written = re.search(r'salt="([^"]+)"', master.read_text("utf8")) if master.is_file() else None
        self.name, self.secret, self.salt = name, secret, salt or (written[1] if written else "")
        if not self.salt:
            raise ValueError(f"{name}: expected the course's salt in {master}, or given")
        self.questions = checks.questions(self.module)
        self.released = words_of(released_notebooks(name))

    def key(self, submission: Submission, handed_in: str) -> str:
        """What a record depends on; it is graded anew when this changes."""
        name = submission.path and shown_name(submission.path.name)
        about = repr((submission.own_id, submission.notes, submission.late, name))
        parts = [VERSION, (self.folder / "checks.py").read_bytes(), self.secret, self.salt, about]
        return digest(*parts, handed_in)


def digest(*parts: str | bytes) -> str:
    """One hash of several texts, in order."""
    raw = (part.encode("utf8", "backslashreplace") if isinstance(part, str) else part for part in parts)
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in raw)).hexdigest()


def grade(
    assignment: Assignment,
    cells: Sequence[str] | Cells,
    own_id: str,
    sandbox: Sandbox,
    beside: Mapping[str, bytes] | None = None,
    only: str = "",
) -> Record:
    """The results of a notebook, and ``notes`` on what a person should look at; Failed if the sandbox did.

    ``seconds``, what each question took, is no part of what is kept. ``only``: the results of one question.
    """
    cells = cells if isinstance(cells, Cells) else Cells(list(cells), [])
    own = Homework(assignment.name, own_id, assignment.salt)
    with Session(sandbox, cells.code, own_id, beside or {}) as session:
        results = checks.run(assignment.module, session, own, assignment.secret, only)
        notes = []
        try:
            session.begin(None)
            told = session.ids()
        except checks.NoAnswer:
            told = []
        seconds = {number: round(took, 3) for number, took in session.seconds.items()}
    answered = any(r.state != "unanswered" for r in results)
    other = [given for given in told if Homework(own.name, given, own.salt).student_id != own.student_id]
    if answered and other:
        notes.append(f"the notebook's STUDENT_ID is {other[0][:60] or '...'!r}; graded with {own_id!r}")
    words = own_words(cells, assignment.released) if assignment.released else ""
    for r in results:
        if r.read and r.state == "unanswered" and words:  # the answer may stand in a text cell
            r.points, r.state, r.text, r.note = None, "to read", words, "written beside the answer's place"
        elif r.read and r.state == "no answer":
            r.text = words
    return {
        "notes": notes,
        "cells": session.stopped(),
        "results": [asdict(r) for r in results],
        "seconds": seconds,
    }


def ungraded(assignment: Assignment, why: str, state: str) -> Record:
    """A record without answers."""
    results = [asdict(checks.Result(q.number, q.title, q.points, q.section, None, state)) for q in assignment.questions]
    return {"notes": [why], "cells": [], "results": results}


@dataclass
class Task:
    """A submission that has no valid record yet: its cells, or why there is nothing to grade, and where the record goes."""

    submission: Submission
    target: Path
    key: str
    digest: str
    cells: Cells = field(default_factory=lambda: Cells([], []))
    beside: dict[str, bytes] = field(default_factory=dict)
    without: tuple[str, str] | None = None  # why, and the state
    only: str = ""  # a question, where all others keep the results in
    before: list[dict[str, Any]] = field(default_factory=list)

    @property
    def work(self) -> tuple[Cells, str, Mapping[str, bytes], str]:
        """What :func:`graded` needs of it."""
        return self.cells, self.submission.own_id, self.beside, self.only


def task_of(assignment: Assignment, submission: Submission, folder: Path, only: str = "") -> Task | None:
    """What is to be done for a submission; None if its record stands. ``only``: where the rest of a record can stand."""
    path, target = submission.path, folder / f"{safe(submission.id)}.json"
    raw, beside = (_read(path), {name: _read(p) for name, p in submission.beside.items()}) if path else (b"", {})
    handed_in = digest(raw, *(part for item in sorted(beside.items()) for part in item)) if path else ""
    task = Task(submission, target, assignment.key(submission, handed_in), handed_in, beside=beside)
    record = load(target) or {}
    if record.get("key") == task.key:
        return None
    results = record.get("results", [])
    alike = [r["question"] for r in results] == [q.number for q in assignment.questions]
    whole = not {r["state"] for r in results} & {"not graded", "no submission"}
    if only and alike and whole and record["submission"] == task.digest:
        task.only, task.before = only, results
    if path is None:
        task.without = "nothing was handed in", "no submission"
        return task
    try:
        if (ending := kind(path)) not in (".ipynb", ".py"):
            raise Unreadable(f"the file handed in is no notebook but a {ending or 'file without an ending'}")
        task.cells = read_cells(raw, ending)
    except Unreadable as error:
        task.without = str(error), "not graded"
    return task


def _read(path: Path) -> bytes:
    """At most a little more than the largest notebook; nothing of what is no file."""
    if not path.is_file() or path.is_symlink():
        return b""
    with path.open("rb") as file:
        return file.read(LARGEST + 1)


def graded(
    assignment: Assignment,
    sandbox: Sandbox,
    cells: Cells,
    own_id: str,
    beside: Mapping[str, bytes],
    only: str = "",
) -> tuple[Record, bool]:
    """A record, and whether it lasts: what the grader or the machine failed at is tried anew next time."""
    try:
        try:
            return grade(assignment, cells, own_id, sandbox, beside, only), True
        except checks.Failed:  # killed by the kernel, say: a new one, once
            return grade(assignment, cells, own_id, sandbox, beside, only), True
    except checks.Failed as error:
        return ungraded(assignment, f"not graded, {error}: run `grade` again", "not graded"), False
    except Exception as error:  # never the end of the batch
        return ungraded(assignment, f"the grader failed: {checks.plain.reason(error)}", "not graded"), False


def keep(task: Task, record: Record, lasting: bool = True) -> None:
    """Write a submission's record, whole or not at all; and what it took into ``seconds.jsonl``."""
    submission = task.submission
    if seconds := record.pop("seconds", None):
        line = json.dumps({"id": submission.id, "seconds": seconds}, ensure_ascii=True) + "\n"
        with task.target.with_name("seconds.jsonl").open("a", encoding="utf8") as file:
            file.write(line)
    if task.only and lasting:
        new = {r["question"]: r for r in record["results"]}
        record["results"] = [new.get(r["question"], r) for r in task.before]
    elif task.only:
        return  # the old record stands, and is tried anew next time
    about: Record = {"version": VERSION, "key": task.key if lasting else "", "submission": task.digest}
    about |= {"id": submission.id, "name": submission.name}
    about |= {"file": shown_name(submission.path.name) if submission.path else "", "late": submission.late}
    notes = [*submission.notes, *record["notes"]]
    write(task.target, json.dumps(about | record | {"notes": notes}, ensure_ascii=False, indent=1))


def record_of(
    assignment: Assignment, submission: Submission, sandboxes: queue.Queue[Sandbox], folder: Path, only: str = ""
) -> bool:
    """Grade one submission into its record, unless it is there already; whether it was graded now."""
    task = task_of(assignment, submission, folder, only)
    if task is None:
        return False
    if task.without:
        keep(task, ungraded(assignment, *task.without))
        return True
    sandbox = sandboxes.get()
    try:
        keep(task, *graded(assignment, sandbox, *task.work))
    finally:
        sandboxes.put(sandbox)
    return True


def free(pool: Iterable[Sandbox]) -> queue.Queue[Sandbox]:
    """A queue of idle sandboxes."""
    idle: queue.Queue[Sandbox] = queue.Queue()
    for sandbox in pool:
        idle.put(sandbox)
    return idle


def grade_all(
    assignment: Assignment,
    people: Sequence[Submission],
    folder: Path,
    sandboxes: Iterable[Sandbox],
    bar: Any = sys.stderr,
    only: str = "",
) -> int:
    """Grade whoever has no valid record in ``folder`` yet, one in each sandbox at a time; how many were graded."""
    folder.mkdir(parents=True, exist_ok=True)
    pool = list(sandboxes)
    idle, graded = free(pool), 0
    try:
        with ThreadPoolExecutor(len(pool)) as threads:
            jobs = [threads.submit(record_of, assignment, person, idle, folder, only) for person in people]
            try:
                for done, job in enumerate(jobs, 1):
                    graded += job.result()
                    filled = 30 * done // len(jobs)
                    bar.write(f"\r{'█' * filled}{'·' * (30 - filled)} {done}/{len(jobs)}")
                    bar.flush()
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        bar.write("\n")
        for sandbox in pool:
            sandbox.close()
    return graded


def shard(people: Sequence[Submission], part: str) -> list[Submission]:
    """Those of part ``K/N``, told by their ids alone, so that every machine parts them alike; all for no part.

    >>> [[p.id for p in shard([Submission(c, c) for c in "abcdef"], f"{k}/2")] for k in (1, 2)]
    [['c', 'd', 'e'], ['a', 'b', 'f']]
    """
    if not part:
        return list(people)
    match = re.fullmatch(r"(\d+)/(\d+)", part)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"--shard: expected K/N with K from 1 to N, such as 2/5, got {part!r}")
    of = [int(hashlib.sha256(normal(p.id).encode()).hexdigest(), 16) % int(match[2]) + 1 for p in people]
    return [p for p, k in zip(people, of, strict=True) if k == int(match[1])]


def safe(text: str) -> str:
    """A file name for an id: itself where that is harmless, otherwise made so and distinct."""
    harmless = re.sub(r"[^\w.-]", "_", text).lstrip(".")[:80]
    same = harmless == text == text.casefold() and not re.search(r"-[0-9a-f]{32}$", text)  # nobody else's name
    return harmless if same else f"{harmless}-{digest(text)[:32]}"


def load(path: Path) -> Record | None:
    """A record, or None if it is missing or broken."""
    try:
        found = json.loads(path.read_text("utf8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, "utf8", errors="backslashreplace", newline="\n")
    os.replace(draft, path)
