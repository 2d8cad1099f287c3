"""From records to what people read: feedback, grades.csv, the sheet to read from, statistics, and ``explain``.

A pure function of records, ``overrides.csv`` and the points written into ``reading.csv``: the same files, the same bytes.
"""

from __future__ import annotations

import collections
import csv
import hashlib
import hmac
import html
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from instructor.grading import VERSION
from instructor.grading.batch import Record, load, safe, write

PERSON = "needs a person"
FIELDS = {
    "overrides": ["id", "question", "points", "reason"],
    "reading": ["question", "key", "points", "comment", "answer"],
}


def shown(text: Any) -> str:
    """A student's text made harmless in Markdown: one line, no markup, no control or direction characters."""
    plain = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in str(text))
    return re.sub(r"([\\*_\[\]|#!])", r"\\\1", html.escape(" ".join(plain.split()), quote=False))


def _cell(text: Any) -> str:
    """A text for a spreadsheet, which must not take it for a formula."""
    kept = "".join(c for c in str(text) if c == "\n" or unicodedata.category(c)[0] != "C")
    return f"'{kept}" if kept[:1] in tuple("=+-@") and not re.fullmatch(r"-?[\d.]+", kept) else kept


def _csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *([_cell(x) for x in row] for row in rows)])
    write(path, "\ufeff" + text.getvalue())


def _read(path: Path, name: str) -> list[dict[str, str]]:
    """The rows of a file that a person fills in; ValueError names line and remedy."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        rows = [
            {k: (row.get(k) or "").strip() if k != "answer" else row.get(k) or "" for k in FIELDS[name]}
            for row in reader
        ]
    if missing := set(FIELDS[name][:3]) - set(reader.fieldnames or ()):
        raise ValueError(
            f"{path}: expected the columns {', '.join(FIELDS[name])}; {', '.join(sorted(missing))} is missing"
        )
    for number, row in enumerate(rows, 2):
        try:
            float(row["points"] or 0)
        except ValueError:
            raise ValueError(f"{path}, row {number}: expected a number of points, got {row['points']!r}") from None
    return rows


def settle(record: Record, decided: Sequence[dict[str, str]], late_percent: float) -> Record:
    """Apply a person's points to a record and say its state and total (None where a person is still needed).

    A row's question is a question's number, ``total``, or ``ok`` for *looked at, nothing to change*.
    """
    results, total, looked_at = record["results"], None, False
    for row in decided:
        result = next((r for r in results if r["question"] == row["question"]), None)
        if result is not None and row["points"]:
            result |= {
                "points": float(row["points"]),
                "state": "graded",
                "person": False,
                "note": row["reason"],
                "items": [],
            }
        elif row["question"] == "total" and row["points"]:
            total, looked_at = float(row["points"]), True
        elif row["question"] == "ok":
            looked_at = True
        else:
            raise ValueError(
                f"overrides for {record['id']}: expected a question's number with points, total or ok, got {row}"
            )
    flagged = any(r["person"] for r in results) or bool(record["notes"])
    states = {r["state"] for r in results}
    if "no submission" in states and total is None and not looked_at:
        state = "no submission"
    elif flagged and not looked_at:
        state = PERSON
    else:
        state = "to read" if "to read" in states and total is None else "graded"
    points = sum(r["points"] or 0 for r in results) if total is None else total
    factor = 1 - late_percent / 100 if record["late"] else 1
    final = round(points * factor, 4) if state == "graded" else None
    return record | {
        "state": state,
        "points": round(points, 4),
        "final": final,
        "out_of": sum(r["out_of"] for r in results),
    }


def feedback(record: Record) -> str:
    """What the student gets, in Markdown."""
    lines = [f"# {shown(record['name'] or record['id'])}", ""]
    if record["final"] is None:
        lines += [f"**{record['points']:g} of {record['out_of']:g} points so far**; {record['state']}.", ""]
    else:
        lines += [f"**{record['final']:g} of {record['out_of']:g} points.**", ""]
    lines += [f"- {shown(note)}" for note in [*(["handed in late"] if record["late"] else []), *record["notes"]]]
    lines += [f"- {shown(note)}" for note in record["cells"]] + [""]
    for r in record["results"]:
        points = "–" if r["points"] is None else f"{r['points']:g}"
        lines += [f"## Question {r['question']}. {r['title']}: {points} of {r['out_of']:g}", ""]
        lines += [f"- {'✓' if i['ok'] else '✗'} {i['rule'] if i['ok'] else i['feedback']}" for i in r["items"]]
        lines += [f"- {shown(r['note'])}"] if r["note"] else []
        lines += ["- a person reads this answer"] if r["state"] == "to read" else []
        lines += [f"- to read again: {r['section']}"] if r["section"] and r["points"] != r["out_of"] else []
        lines += [""]
    return "\n".join([*lines, f"Grader {VERSION}", ""])


def explain(record: Record) -> str:
    """What was expected, what came and which rule decided, for the instructor."""
    lines = [f"{record['id']} {record['name']}: {record['state']}, {record['points']:g} of {record['out_of']:g}"]
    lines += [f"  {note}" for note in [*record["notes"], *record["cells"]]]
    for r in record["results"]:
        lines.append(
            f"question {r['question']} ({r['title']}): {r['points']} of {r['out_of']:g}, {r['state']} {r['note']}".rstrip()
        )
        for item in r["items"]:
            lines += [f"  {'+' if item['ok'] else '-'} {item['rule']} ({item['points']:g}) {item['feedback']}".rstrip()]
            lines += [] if item["ok"] else [f"      expected {item['expected']}", f"      got      {item['got']}"]
    return "\n".join("".join(c if c == "\n" or c.isprintable() else "�" for c in line) for line in lines)


def statistics(records: Iterable[Record]) -> str:
    """Per question: points, states, and how often each rule failed with which misconception."""
    questions: dict[str, dict[str, Any]] = {}
    for record in records:
        for r in record["results"] if record["state"] != "no submission" else []:
            q = questions.setdefault(
                r["question"], {"title": r["title"], "out_of": r["out_of"], "points": [], "why": collections.Counter()}
            )
            q["points"] += [] if r["points"] is None else [r["points"]]
            kinds = {f"{i['rule']}: {i['feedback']}" for i in r["items"] if not i["ok"]}
            q["why"].update(kinds | ({r["state"]} if r["state"] != "graded" else set()))
    lines = ["# Statistics", ""]
    for number, q in questions.items():
        mean = sum(q["points"]) / len(q["points"]) if q["points"] else 0
        lines += [
            f"## Question {number}. {q['title']}",
            "",
            f"mean {mean:.2f} of {q['out_of']:g}, {len(q['points'])} graded",
            "",
        ]
        lines += [
            f"- {count} × {shown(why)}" for why, count in sorted(q["why"].items(), key=lambda item: (-item[1], item[0]))
        ]
        lines += [""]
    return "\n".join(lines)


def report(
    ids: Sequence[str],
    unmatched: Sequence[str],
    out: Path,
    secret: bytes,
    late_percent: float = 0,
    canvas: tuple[str, list[dict[str, str]]] | None = None,
) -> list[tuple[str, str]]:
    """Write everything in ``out``; ``(id, state)`` of each student. ``canvas``: the assignment's column and the roster's rows."""
    overrides, filled = _read(out / "overrides.csv", "overrides"), _read(out / "reading.csv", "reading")
    if unknown := {row["id"] for row in overrides} - set(ids):
        raise ValueError(f"{out / 'overrides.csv'}: no student has the id {', '.join(sorted(unknown))}")
    marks = {(row["question"], row["key"], row["answer"]): row for row in filled if row["points"] or row["comment"]}
    used, sheet, rows, settled = set(), [], [], []
    (out / "feedback").mkdir(exist_ok=True)
    for student in ids:
        record = load(out / "records" / f"{safe(student)}.json")
        if record is None:
            raise ValueError(f"{student}: no record; run `grade` again")
        key = hmac.digest(secret, student.encode(), hashlib.sha256).hex()[:8]
        decided = []
        for r in record["results"]:
            if r["read"] and r["state"] in ("to read", "unanswered"):
                answer = _cell(r["text"])
                place = (r["question"], key, answer)
                row = marks.get(place, {"points": "0" if r["state"] == "unanswered" else "", "comment": ""})
                used.add(place)
                sheet.append([r["question"], key, row["points"], row["comment"], answer])
                if row["points"] and r["state"] == "to read":
                    decided.append({"question": r["question"], "points": row["points"], "reason": row["comment"]})
        record = settle(record, [*decided, *(row for row in overrides if row["id"] == student)], late_percent)
        write(out / "feedback" / f"{safe(student)}.md", feedback(record))
        points = [
            "" if r["points"] is None or record["state"] == "no submission" else f"{r['points']:g}"
            for r in record["results"]
        ]
        final = "" if record["final"] is None else f"{record['final']:g}"
        rows.append([student, record["name"], record["state"], final, f"{record['out_of']:g}", "late" if record["late"] else "",
                     *points, "; ".join(record["notes"]), record["file"], VERSION])  # fmt: skip
        settled.append(record)
    for place in sorted(set(marks) - used):  # the answer has changed since it was read: kept, not applied
        comment = marks[place]["comment"].removeprefix("earlier answer: ")
        sheet.append([*place[:2], marks[place]["points"], f"earlier answer: {comment}", place[2]])
    numbers = [f"question {r['question']}" for r in settled[0]["results"]] if settled else []
    header = ["id", "name", "state", "points", "out of", "late", *numbers, "notes", "file", "grader"]
    rows += [
        ["", "", PERSON, "", "", "", *[""] * len(numbers), "nobody on the roster", name, VERSION] for name in unmatched
    ]
    _csv(out / "grades.csv", header, rows)
    _csv(out / "reading.csv", FIELDS["reading"], sorted(sheet, key=lambda row: (row[0], row[1])))
    write(out / "statistics.md", statistics(settled))
    if canvas:
        keep = [
            name
            for name in ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
            if canvas[1] and name in canvas[1][0]
        ]
        finals = {record["id"]: row[3] for record, row in zip(settled, rows, strict=False)}
        _csv(out / "canvas.csv", [*keep, canvas[0]], [[*(row[k] for k in keep), finals[row["#"]]] for row in canvas[1]])
    return [(record["id"], record["state"]) for record in settled]
