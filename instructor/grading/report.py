"""From records to what people read: feedback, grades.csv, the sheet to read from, statistics, and ``explain``.

A pure function of records, ``overrides.csv``, the points written into ``reading.csv`` and ``decided.json``, which
remembers what was decided on which submission: the same files, the same bytes.
"""

from __future__ import annotations

import collections
import csv
import functools
import hashlib
import hmac
import html
import io
import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from instructor.grading import VERSION
from instructor.grading.batch import Record, digest, load, safe, write
from instructor.grading.sandbox import ROOT
from instructor.grading.submissions import normal, table

Marks = dict[tuple[str, str], dict[str, str]]  # question and key: a row of reading.csv
PERSON = "needs a person"
FIELDS = {
    "overrides": ["id", "question", "points", "reason"],
    "reading": ["question", "key", "points", "comment", "answer"],
    "late": ["id", "days"],
}


def shown(text: Any) -> str:
    """A student's text made harmless in Markdown: one line, no markup, no control or direction characters."""
    plain = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in str(text))
    return re.sub(r"([\\*_\[\]|#!])", r"\\\1", html.escape(" ".join(plain.split()), quote=False))


# A sign that makes a spreadsheet take what follows for a formula, at the beginning of a cell: also of one that a
# semicolon, a tab or a line's end begins where the file is opened with other separators.
FORMULA = re.compile(r"((?:^|[;\t\r\n])[\s\"]*)([=+\-@＝＋－＠﹢﹣﹦﹫])")


def _cell(text: Any) -> str:
    """A text for a spreadsheet, which must not take it for a formula."""
    kept = "".join(c for c in str(text) if c in "\n\t" or unicodedata.category(c)[0] != "C")
    return kept if re.fullmatch(r"-?[\d.]+", kept) else FORMULA.sub(r"\1'\2", kept)


def _csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *([_cell(x) for x in row] for row in rows)])
    write(path, "\ufeff" + text.getvalue())


@dataclass
class Decision:
    """What a person wrote for one student: points for a question or in all, or ``ok``; ``line`` says where."""

    line: str
    id: str
    question: str
    points: float | None
    reason: str = ""

    def digest(self) -> str:
        return digest(normal(self.id), self.question, str(self.points), self.reason)


def _read(path: Path, name: str) -> list[tuple[str, dict[str, str]]]:
    """The rows of a file that a person fills in, each with its place; ValueError names line and remedy."""
    if not path.is_file():
        return []
    rows = table(path)
    missing = set(FIELDS[name][:3]) - set(rows[0][1] if rows else FIELDS[name])
    if missing:
        raise ValueError(
            f"{path}: expected the columns {', '.join(FIELDS[name])}; {', '.join(sorted(missing))} is missing"
        )
    return [
        (f"{path}, line {line}", {k: row.get(k, "") if k == "answer" else row.get(k, "").strip() for k in FIELDS[name]})
        for line, row in rows
    ]


def _points(text: str, most: float, where: str) -> float | None:
    """Points as a person writes them, with a point or a comma; None for none, ValueError for what cannot be meant."""
    if not text:
        return None
    try:
        points = float(text.replace(",", "."))
    except ValueError:
        points = -1
    if not 0 <= points <= most:
        raise ValueError(f"{where}: expected points from 0 to {most:g}, got {text!r}")
    return points


def _decisions(path: Path, records: Sequence[Record]) -> dict[str, list[Decision]]:
    """The overrides of each student, by record id; ValueError names every line that cannot be meant."""
    known = {normal(record["id"]): record for record in records}
    found: dict[str, list[Decision]] = {record["id"]: [] for record in records}
    wrong: list[str] = []
    seen: dict[tuple[str, str], str] = {}
    for where, row in _read(path, "overrides"):
        record = known.get(normal(row["id"]))
        full = {r["question"]: r["out_of"] for r in record["results"]} if record else {}
        full["total"] = sum(full.values())
        question = row["question"] if row["question"] in full else row["question"].casefold()
        try:
            if record is None:
                raise ValueError(f"{where}: no student has the id {row['id']!r}; compare grades.csv")
            if question not in full and question != "ok":
                raise ValueError(f"{where}: expected a question ({', '.join(full)}) or ok, got {row['question']!r}")
            points = None if question == "ok" else _points(row["points"], full[question], where)
            if points is None and question != "ok":
                raise ValueError(f"{where}: question {question} has no points; fill them in or remove the line")
            if earlier := seen.get((record["id"], question)):
                raise ValueError(f"{where}: question {question} of {record['id']} stands in {earlier} already")
        except ValueError as error:
            wrong.append(str(error))
            continue
        seen[record["id"], question] = where.rpartition(", ")[2]
        found[record["id"]].append(Decision(where, record["id"], question, points, row["reason"]))
    if wrong:
        raise ValueError("\n".join(wrong))
    return found


def settle(record: Record, decided: Sequence[Decision], late_percent: float) -> Record:
    """Apply a person's points to a record and say its state and total (None where a person is still needed)."""
    results, total, looked_at = {r["question"]: r for r in record["results"]}, None, False
    for row in decided:
        looked_at |= row.question in ("ok", "total")
        if row.question == "total":
            total = row.points
        elif row.question != "ok":
            given: dict[str, Any] = {
                "points": row.points,
                "note": row.reason,
                "items": [],
                "state": "graded",
                "person": False,
            }
            results[row.question] = results[row.question] | given
    record = record | {"results": list(results.values())}
    state = _state(record, total is not None, looked_at)
    points = sum(r["points"] or 0 for r in results.values()) if total is None else total
    factor = 1 - late_percent / 100 if record["late"] else 1
    final = round(points * factor, 4) if state == "graded" else None
    out_of = sum(r["out_of"] for r in results.values())
    return record | {"state": state, "points": round(points, 4), "final": final, "out_of": out_of}


def _state(record: Record, total_given: bool, looked_at: bool) -> str:
    flagged = any(r["person"] for r in record["results"]) or bool(record["notes"])
    states = {r["state"] for r in record["results"]}
    if "no submission" in states and not looked_at:
        return "no submission"
    if flagged and not looked_at:
        return PERSON
    return "to read" if "to read" in states and not total_given else "graded"


def outcome(item: dict[str, Any]) -> str:
    """An item for the student, in one line."""
    return f"✓ {item['rule']}" if item["ok"] else f"✗ {item['feedback']}"


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
        lines += [f"- {outcome(item)}" for item in r["items"]]
        lines += [f"- {shown(r['note'])}"] if r["note"] else []
        lines += ["- a person reads this answer"] if r["state"] == "to read" else []
        lines += [f"- to read again: {_section(r['section'])}"] if r["section"] and r["points"] != r["out_of"] else []
        lines += [""]
    return "\n".join([*lines, f"Grader {VERSION}", ""])


@functools.cache
def _site() -> str:
    """Where the book is to be read, by _config.yml; empty while the address there is the placeholder."""
    try:
        address = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))["html"]["baseurl"]
    except (OSError, KeyError):
        return ""
    return "" if "_your-account_" in address else address.rstrip("/") + "/"


def _section(section: str) -> str:
    """A link to a section of the book, or its name where no address is known."""
    name, _, anchor = section.partition("#")
    return f"[{section}]({_site()}book/{name}.html{'#' if anchor else ''}{anchor})" if _site() else section


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
        lines += [f"## Question {number}. {q['title']}", ""]
        lines += [f"mean {mean:.2f} of {q['out_of']:g}, {len(q['points'])} graded", ""]
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
    late: tuple[float, float] = (0, 100),
    canvas: tuple[str, list[dict[str, str]]] | None = None,
) -> list[tuple[str, str]]:
    """Write everything in ``out``; ``(id, state)`` of each student.

    ``late``: the percent taken off for a day, and at most. ``canvas``: the assignment's column and the roster's rows.
    """
    bare = [_bare(_load(out / "records" / f"{safe(student)}.json", student)) for student in ids]
    overrides, marks = _decisions(out / "overrides.csv", bare), _marks(out / "reading.csv", bare)
    days, decided = _days(out / "late.csv", bare), _Decided(out / "decided.json")
    sheet, records = [], []
    (out / "feedback").mkdir(exist_ok=True)
    for student in ids:
        record = _load(out / "records" / f"{safe(student)}.json", student)
        lines, read = _to_read(record, secret, marks)
        valid, notes = decided.still(record, overrides[student])
        since = days.get(student, float(record["late"]))
        record |= {"late": since > 0, "notes": [*record["notes"], *notes]}
        record = settle(record, [*read, *valid], min(late[0] * since, late[1]))
        write(out / "feedback" / f"{safe(student)}.md", feedback(record))
        sheet += lines
        records.append(_slim(record))
    _csv(out / "grades.csv", *_grades(records, unmatched))
    sheet += _earlier(marks)
    _csv(out / "reading.csv", FIELDS["reading"], sorted(sheet, key=lambda line: (line[0], line[1])))
    decided.save(records)
    write(out / "statistics.md", statistics(records))
    if canvas:
        _csv(out / "canvas.csv", *_canvas(*canvas, {record["id"]: _final(record) for record in records}))
    return [(record["id"], record["state"]) for record in records]


def _bare(record: Record) -> Record:
    """Of a record, what tells which decisions are possible: thousands of them are in memory at once."""
    results = [{"question": sys.intern(r["question"]), "out_of": r["out_of"]} for r in record["results"]]
    return {"id": record["id"], "results": results}


def _slim(record: Record) -> Record:
    """A record without what came and was expected, and with one copy of each text that many have."""
    for r in record["results"]:
        r["text"] = ""
        r["items"] = [{k: sys.intern(i[k]) for k in ("rule", "feedback")} | {"ok": i["ok"]} for i in r["items"]]
        for name in ("question", "title", "section", "state"):
            r[name] = sys.intern(r[name])
    return record


def _days(path: Path, records: Sequence[Record]) -> dict[str, float]:
    """How many days late each student of ``late.csv`` was, by record id; 0 for an extension."""
    known, found, wrong = {normal(record["id"]): record["id"] for record in records}, {}, []
    for where, row in _read(path, "late"):
        try:
            if (student := known.get(normal(row["id"]))) is None:
                raise ValueError(f"{where}: no student has the id {row['id']!r}; compare grades.csv")
            number = float(row["days"].replace(",", "."))
            if not 0 <= number <= 1000:
                raise ValueError
            found[student] = number
        except ValueError as error:
            wrong.append(str(error) if where in str(error) else f"{where}: expected days, got {row['days']!r}")
    if wrong:
        raise ValueError("\n".join(wrong))
    return found


def _load(path: Path, student: str) -> Record:
    record = load(path)
    if record is None or record.get("id") != student:
        raise ValueError(f"{student}: no record; run `grade` again")
    return record


class _Decided:
    """Which submission each override was written for: the one that the last report showed, and it counts for no other."""

    def __init__(self, path: Path) -> None:
        self.path, earlier = path, load(path) or {}
        self.shown: dict[str, str] = earlier.get("submissions", {})
        self.before: dict[str, str] = earlier.get("overrides", {})
        self.now: dict[str, str] = {}

    def still(self, record: Record, overrides: Sequence[Decision]) -> tuple[list[Decision], list[str]]:
        """The overrides that hold for this submission, and a note on each that was for an earlier one."""
        current: str = record.get("submission", "")
        valid, notes = [], []
        for row in overrides:
            key = row.digest()
            self.now[key] = self.before.get(key, self.shown.get(record["id"], current))
            if self.now[key] == current:
                valid.append(row)
            else:
                given = "ok" if row.points is None else f"{row.points:g} points for {row.question}"
                place = Path(row.line.partition(", ")[0]).name + row.line[row.line.rindex(",") :]
                notes.append(
                    f"{given} ({place}) was decided on an earlier submission: remove the line, or change it to confirm"
                )
        return valid, notes

    def save(self, records: Sequence[Record]) -> None:
        submissions = {record["id"]: record.get("submission", "") for record in records}
        write(self.path, json.dumps({"submissions": submissions, "overrides": self.now}, ensure_ascii=False, indent=1))


def _marks(path: Path, records: Sequence[Record]) -> Marks:
    """What is filled in on the reading sheet, by question and key; ValueError names every line that cannot be meant."""
    full = {r["question"]: r["out_of"] for record in records for r in record["results"]}
    marks: Marks = {}
    wrong: list[str] = []
    for where, row in _read(path, "reading"):
        try:
            if row["question"] not in full:
                raise ValueError(f"{where}: there is no question {row['question']!r}; expected {', '.join(full)}")
            points = _points(row["points"], full[row["question"]], where)
        except ValueError as error:
            wrong.append(str(error))
            continue
        if points is not None or row["comment"]:
            row["points"] = "" if points is None else f"{points:g}"
            marks[row["question"], row["key"]] = row | {"line": where}
    if wrong:
        raise ValueError("\n".join(wrong))
    return marks


def _to_read(record: Record, secret: bytes, marks: Marks) -> tuple[list[list[str]], list[Decision]]:
    """A student's lines of the reading sheet, with what is marked there, and the points that these marks give.

    A key stands for one answer of one student, and begins with a letter: no spreadsheet takes it for a number.
    """
    lines, decided = [], []
    mark: dict[str, str]
    for r in record["results"]:
        if r["read"] and r["state"] in ("to read", "unanswered", "no answer"):
            unread = "" if r["state"] == "to read" else "0"
            answer = r["text"] or (f"({r['note']})" if r["note"] else "")
            text = json.dumps([record["id"], r["question"], answer])
            key = "k" + hmac.digest(secret, text.encode("utf8", "backslashreplace"), hashlib.sha256).hex()[:10]
            mark = marks.pop((r["question"], key), {"points": unread, "comment": "", "line": ""})
            lines.append([r["question"], key, mark["points"], mark["comment"], _cell(answer)])
            if mark["points"] not in ("", unread):
                points = float(mark["points"])
                decided.append(Decision(mark["line"], record["id"], r["question"], points, mark["comment"]))
    return lines, decided


def _earlier(marks: Marks) -> list[list[str]]:
    """The marks whose answer has changed since it was read: kept, not applied."""
    return [
        [mark["question"], mark["key"], mark["points"],
         f"earlier answer: {mark['comment'].removeprefix('earlier answer: ')}", mark["answer"]]
        for mark in marks.values()
        if mark["points"] != "0" or mark["comment"] or mark["answer"]
    ]  # fmt: skip


def _final(record: Record) -> str:
    return "" if record["final"] is None else f"{record['final']:g}"


def _grades(records: list[Record], unmatched: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of grades.csv."""
    numbers = [f"question {r['question']}" for r in records[0]["results"]] if records else []
    header = ["id", "name", "state", "points", "out of", "late", *numbers, "notes", "file", "grader"]
    rows = []
    for record in records:
        given = [None if record["state"] == "no submission" else r["points"] for r in record["results"]]
        late = "late" if record["late"] else ""
        rows.append([record["id"], record["name"], record["state"], _final(record), f"{record['out_of']:g}", late,
                     *("" if points is None else f"{points:g}" for points in given),
                     "; ".join(record["notes"]), record["file"], VERSION])  # fmt: skip
    nobody = ["", "", PERSON, "", "", "", *[""] * len(numbers), "nobody on the roster"]
    return header, [*rows, *([*nobody, name, VERSION] for name in unmatched)]


def _canvas(column: str, roster: list[dict[str, str]], finals: dict[str, str]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of Canvas's gradebook import: the roster's own columns and the points."""
    known = roster[0] if roster else {}
    keep = [name for name in ("Student", "ID", "SIS User ID", "SIS Login ID", "Section") if name in known]
    return [*keep, column], [[*(row[name] for name in keep), finals[row["#"]]] for row in roster]
