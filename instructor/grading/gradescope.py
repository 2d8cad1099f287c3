"""A Gradescope autograder: the zip with its set-up and run scripts, and ``results.json`` for one submission."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shlex
import sys
import zipfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from instructor.grading import batch, doctor, report
from instructor.grading.sandbox import ROOT, Sandbox
from instructor.grading.submissions import File, Roster, Submission, choose, files_of, read_roster, released_notebooks

SETUP = """#!/usr/bin/env bash
set -euo pipefail
chmod -R go= /autograder/source
apt-get update -qq && apt-get install -y -qq python3 python3-venv > /dev/null
python3 -m venv /opt/grader
PIP_EXTRA_INDEX_URL=INDEX /opt/grader/bin/pip install -q -r /autograder/source/requirements.txt
"""
RUN = """#!/usr/bin/env bash
cd /autograder/source
chmod -R go= /autograder 2> /dev/null || true  # earlier submissions' results, too; what stays open is refused
exec ${GRADER_PYTHON:-/opt/grader/bin/python} -m instructor.grading.gradescope HOMEWORK /autograder
"""
NEEDED = ("numpy", "torch", "sympy", "matplotlib", "ipython", "psutil", "scikit-learn", "scipy", "PyYAML", "tqdm")


def make_zip(name: str, secret: bytes, target: Path, roster: Path | None = None) -> None:
    """The zip for a programming assignment. It holds a secret made from yours for this homework alone."""
    pins = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line.partition("==")[0] in NEEDED]
    index = shlex.quote(os.environ.get("PIP_EXTRA_INDEX_URL", ""))  # of PyTorch without CUDA, as the README says
    setup, run = SETUP.replace("INDEX /", f"{index} /"), RUN.replace("HOMEWORK", name)
    files = {"setup.sh": setup, "run_autograder": run, "requirements.txt": "\n".join(pins)}
    files["secret"] = hmac.digest(secret, f"gradescope {name}".encode(), hashlib.sha256).hex()
    if roster:
        files["roster.csv"] = roster.read_text("utf-8-sig")
    sources = [*ROOT.glob("labs/**/*.py"), ROOT / "instructor/__init__.py", *ROOT.glob("instructor/grading/**/*.py")]
    sources += [ROOT / f"instructor/{name}/{file}" for file in ("checks.py", f"{name}.md")]
    sources += released_notebooks(name)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in sorted({**files, **{str(p.relative_to(ROOT)): p.read_text("utf8") for p in sources}}.items()):
            entry = zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0))
            entry.external_attr = (0o700 if "." not in path or path.endswith(".sh") else 0o600) << 16
            archive.writestr(entry, text)


def _tests(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What Gradescope lists of a question: its public items, and the rest of its points with the hidden ones."""
    visible, hidden = ([i for i in result["items"] if i["public"] == public] for public in (True, False))
    open_points = sum(i["points"] for i in visible)
    for items, full, note, visibility in (
        (visible, open_points, "", "visible"),
        (hidden, result["out_of"] - open_points, report.shown(result["note"]), "after_due_date"),
    ):
        if full:
            yield {
                "name": f"{result['question']}. {result['title']}",
                "score": min(sum(i["points"] for i in items if i["ok"]), full),
                "max_score": full,
                "output": "\n".join(filter(None, [*map(report.outcome, items), note])),
                "visibility": visibility,
            }


def results(record: batch.Record) -> dict[str, Any]:
    """``results.json``: public items at once, the hidden ones after the due date; points a person gives come later."""
    said = [
        *(["handed in late"] if record["late"] else []),
        *record["notes"],
        *record["cells"],
        *(f"question {r['question']}: a person reads it" for r in record["results"] if r["state"] == "to read"),
    ]
    if record["state"] == report.PERSON:
        said.insert(0, "A person will look at this submission: the score is not final.")
    return {
        "tests": [test for r in record["results"] if r["state"] != "to read" for test in _tests(r)],
        "output": "\n".join(map(report.shown, said)),
        "visibility": "visible",
        "stdout_visibility": "hidden",
    }


def main(name: str, root: Path) -> int:
    """Grade ``root/submission`` into ``root/results/results.json``; whatever happens, that file says so."""
    target = root / "results" / "results.json"
    try:
        source = ROOT
        meta = json.loads((root / "submission_metadata.json").read_text("utf8"))
        user = meta["users"][0]
        roster = Roster(read_roster(source / "roster.csv") if (source / "roster.csv").is_file() else [])
        ids = [str(user[key]) for key in ("sid", "email") if user.get(key)]
        person = next(filter(None, map(roster.exactly, ids)), None)
        own_id = person.own_id if person else str(user.get("sid") or user["email"].partition("@")[0])
        tier, found = doctor.choose([source, *(path for path in sorted(root.iterdir()) if path != source)])
        if tier == 3:
            raise RuntimeError(f"this container isolates nothing:\n{found}")
        assignment = batch.Assignment(name, bytes.fromhex((source / "secret").read_text()))
        due = meta["assignment"].get("due_date")
        late = bool(due) and datetime.fromisoformat(meta["created_at"]) > datetime.fromisoformat(due)
        folder = root / "submission"
        files = [File(0, late, path, path.relative_to(folder).as_posix()) for path in files_of(folder)]
        submission = choose(Submission(own_id, own_id), files, name) if files else Submission(own_id, own_id)
        sandboxes = batch.free([Sandbox(tier)])
        batch.record_of(assignment, submission, sandboxes, root / "results")
        record = batch.load(root / "results" / f"{batch.safe(own_id)}.json")
        assert record
        for kept in (f"{batch.safe(own_id)}.json", "seconds.jsonl"):
            (root / "results" / kept).unlink(missing_ok=True)
        sandboxes.get().close()
        outcome = results(report.settle(record, [], 0))
    except Exception as error:
        print(repr(error), file=sys.stderr)
        outcome = {
            "score": 0,
            "output": "The autograder failed; your work is kept, and a person will grade it.",
            "stdout_visibility": "hidden",
        }
    batch.write(target, json.dumps(outcome, ensure_ascii=False, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
