"""Grades submissions, side by side and resumably: one record in JSON for each, written whole or not at all."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import queue
import re
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from instructor.grading import VERSION, checks
from instructor.grading.sandbox import ROOT, Sandbox, Session
from instructor.grading.submissions import LARGEST, Submission, Unreadable, code_cells
from labs.homework import Homework

Record = dict[str, Any]


class Assignment:
    """A homework's name, hidden checks, salt, and the instructor's secret; ValueError says what is missing."""

    def __init__(self, name: str, secret: bytes, folder: Path | None = None, salt: str = "") -> None:
        self.folder = folder or ROOT / "instructor" / name
        if not (self.folder / "checks.py").is_file():
            raise ValueError(f"{name}: expected hidden checks in {self.folder / 'checks.py'}")
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

    def key(self, submission: Submission, raw: bytes) -> str:
        """What a record depends on; it is graded anew when this changes."""
        parts = [VERSION.encode(), (self.folder / "checks.py").read_bytes(), self.secret, self.salt.encode()]
        parts += [repr((submission.own_id, submission.notes, submission.late, str(submission.path))).encode(), raw]
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def grade(assignment: Assignment, cells: Sequence[str], own_id: str, sandbox: Sandbox) -> Record:
    """The results of a notebook, and ``notes`` on what a person should look at."""
    own = Homework(assignment.name, own_id, assignment.salt)
    with Session(sandbox, cells) as session:
        results = checks.run(assignment.module, session, own, assignment.secret)
        notes = []
        try:
            session.begin("id")
            given = session.value("STUDENT_ID")
        except checks.Unanswered:
            given = ""
        except checks.NoAnswer:
            given = None
        answered = any(r.state != "unanswered" for r in results)
        if (
            given is not None
            and answered
            and Homework(own.name, str(given)[:200], own.salt).student_id != own.student_id
        ):
            notes.append(f"the notebook's STUDENT_ID is {str(given)[:60]!r}; graded with {own_id!r}")
    stopped = sorted([*session.ended.items(), *session.failed])
    return {
        "notes": notes,
        "cells": [f"cell {k + 1}: {why}" for k, why in stopped],
        "results": [asdict(r) for r in results],
    }


def ungraded(assignment: Assignment, why: str, state: str) -> Record:
    """A record without answers."""
    results = [asdict(checks.Result(q.number, q.title, q.points, q.section, None, state)) for q in assignment.questions]
    return {"notes": [why], "cells": [], "results": results}


def record_of(assignment: Assignment, submission: Submission, sandboxes: queue.Queue[Sandbox], folder: Path) -> bool:
    """Grade one submission into its record, unless it is there already; whether it was graded now."""
    path, target = submission.path, folder / f"{safe(submission.id)}.json"
    raw = b""
    if path and path.is_file() and not path.is_symlink():
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    key, lasting = assignment.key(submission, raw), True
    if (load(target) or {}).get("key") == key:
        return False
    if path is None:
        record = ungraded(assignment, "nothing was handed in", "no submission")
    else:
        sandbox = sandboxes.get()
        try:
            if path.suffix.lower() not in (".ipynb", ".py"):
                raise Unreadable(f"the file handed in is no notebook but a {path.suffix or 'file without an ending'}")
            record = grade(assignment, code_cells(raw, path.suffix.lower()), submission.own_id, sandbox)
        except Unreadable as error:
            record = ungraded(assignment, str(error), "not graded")
        except RuntimeError:
            raise
        except Exception as error:  # never the end of the batch; tried anew next time
            record, lasting = ungraded(assignment, f"the grader failed: {error!r}", "not graded"), False
        finally:
            sandboxes.put(sandbox)
    record["notes"] = [*submission.notes, *record["notes"]]
    about: Record = {"version": VERSION, "key": key if lasting else "", "id": submission.id, "name": submission.name}
    about |= {"file": path.name if path else "", "late": submission.late}
    write(target, json.dumps(about | record, ensure_ascii=False, indent=1))
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
) -> int:
    """Grade whoever has no valid record in ``folder`` yet, one in each sandbox at a time; how many were graded."""
    folder.mkdir(parents=True, exist_ok=True)
    pool = list(sandboxes)
    idle, graded = free(pool), 0
    try:
        with ThreadPoolExecutor(len(pool)) as threads:
            jobs = [threads.submit(record_of, assignment, person, idle, folder) for person in people]
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


def safe(text: str) -> str:
    """A file name for an id: itself where that is harmless, otherwise made so and distinct."""
    harmless = re.sub(r"[^\w.-]", "_", text).lstrip(".")[:80]
    same = harmless == text == text.casefold()
    return harmless if same else f"{harmless}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


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
    draft.write_text(text, "utf8", newline="\n")
    os.replace(draft, path)
