"""What a person types counts or is refused by its line, and is asked again when the submission has changed."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from instructor.grading import batch, report
from instructor.grading.batch import digest, safe

pytestmark = pytest.mark.xdist_group("grading")
SECRET = b"a secret for tests"


def result(number: str, **changes: object) -> dict:
    return {"question": number, "title": "t", "out_of": 3, "section": "", "points": 1, "state": "graded", "note": "",
            "person": False, "read": False, "text": "", "items": []} | changes  # fmt: skip


def read(text: str = "the product decides") -> dict:
    return result(
        "7", out_of=2, points=None if text else 0, state="to read" if text else "unanswered", read=True, text=text
    )


@dataclass
class Course:
    """A folder of results with the records of some students."""

    out: Path

    def hand_in(
        self, student: str, work: str = "first", answer: str = "the product decides", **changes: object
    ) -> None:
        (self.out / "records").mkdir(exist_ok=True)
        results = [result("2"), read(answer)]
        record = {"id": student, "name": student, "late": False, "notes": [], "cells": [], "file": "f",
                  "submission": digest(work), "results": results} | changes  # fmt: skip
        batch.write(self.out / "records" / f"{safe(student)}.json", json.dumps(record))

    def report(self, *students: str) -> dict[str, dict[str, str]]:
        report.report(students, [], self.out, SECRET)
        return {row["id"]: row for row in self.rows("grades.csv")}

    def rows(self, name: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO((self.out / name).read_text("utf-8-sig"), newline="")))

    def read_all(self, points: str, comment: str = "", **options: object) -> None:
        rows = self.rows("reading.csv")
        with (self.out / "reading.csv").open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, rows[0], **options)
            writer.writeheader()
            writer.writerows(row | {"points": points, "comment": comment} for row in rows)

    def override(self, text: str, encoding: str = "utf8") -> None:
        (self.out / "overrides.csv").write_bytes(text.encode(encoding))


@pytest.fixture
def course(tmp_path: Path) -> Course:
    made = Course(tmp_path)
    made.hand_in("s1")
    made.report("s1")
    return made


# The reading sheet


@pytest.mark.parametrize("answer", ["the product decides", ""])
@pytest.mark.parametrize(("typed", "meant"), [("2", 2), ("1.5", 1.5), ("1,5", 1.5), ("0", 0)])
def test_points_on_the_sheet_count_whatever_the_grader_thought(course: Course, answer: str, typed: str, meant: float):
    course.hand_in("s1", answer=answer)
    course.report("s1")
    course.read_all(typed, "seen")
    row = course.report("s1")["s1"]
    assert row["state"] == "graded" and float(row["points"]) == 1 + meant
    before = (course.out / "reading.csv").read_bytes()
    assert (
        float(course.report("s1")["s1"]["points"]) == 1 + meant and (course.out / "reading.csv").read_bytes() == before
    )


def test_points_for_an_answer_that_is_no_text_count(course: Course):
    course.hand_in(
        "s1", results=[result("2"), read("") | {"state": "no answer", "note": "no text but a list", "person": True}]
    )
    assert course.report("s1")["s1"]["state"] == report.PERSON
    course.read_all("2")
    assert course.report("s1")["s1"]["points"] == "3"


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_sheet_saved_with_other_separators(course: Course, delimiter: str):
    course.read_all("2", delimiter=delimiter)
    assert course.report("s1")["s1"]["points"] == "3"


@pytest.mark.parametrize("typed", ["30", "-1", "nan", "inf", "two", "1e9", "2 3"])
def test_points_that_cannot_be_meant_are_refused_by_line(course: Course, typed: str):
    course.read_all(typed)
    with pytest.raises(ValueError, match=r"reading\.csv, line 2: expected points from 0 to 2, got"):
        course.report("s1")


def test_another_answer_is_asked_again(course: Course):
    course.read_all("2", "good")
    course.report("s1")
    course.hand_in("s1", "second", answer="something else")
    assert course.report("s1")["s1"]["state"] == "to read"
    assert "earlier answer: good" in [row["comment"] for row in course.rows("reading.csv")]


def test_no_key_is_a_number(course: Course):
    for k in range(300):
        course.hand_in(f"t{k}")
    course.report(*(f"t{k}" for k in range(300)))
    keys = [row["key"] for row in course.rows("reading.csv")]
    assert len(set(keys)) == 300
    assert not any(re.fullmatch(r"[\d.,]*(e[+-]?\d+)?", key, re.IGNORECASE) or key[0].isdigit() for key in keys)


FORMULAS = ['=1+1', '＝HYPERLINK("http://evil","x")', 'x;=HYPERLINK("http://evil";"click")', "+1", "-x", "@SUM(A1)", "＠SUM(A1)",
            "a\n=1+1", "a\r\n=cmd|'/C calc'!A0", "a\t=1+1", " =1+1", "﹢1+1", "−1\n－2", 'a;"=1+1"', "\t=1", "\x00=1"]  # fmt: skip


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(course: Course, text: str):
    course.hand_in("s1", answer=text, name=text)
    course.report("s1")
    for name in ("reading.csv", "grades.csv"):
        whole = (course.out / name).read_text("utf-8-sig")
        for separator in ",;\t":
            cells = [cell for row in csv.reader(io.StringIO(whole), delimiter=separator) for cell in row]
            assert not [cell for cell in cells if re.match(r'[\s"]*[=+@＝＋－＠﹢]|[\s"]*-[^\d]', cell)], (
                name,
                separator,
            )
    before = (course.out / "reading.csv").read_bytes()
    course.report("s1")
    assert (course.out / "reading.csv").read_bytes() == before


# Overrides


@pytest.mark.parametrize(
    ("text", "encoding", "points"),
    [
        ("id,question,points,reason\ns1,2,3,spoke to her\ns1,7,2,\n", "utf8", 5),
        ("id,question,points,reason\nS1 ,2,3,\n\n,,,\ns1,7,1,\n", "utf-8-sig", 4),
        ("id;question;points;reason\ns1;2;2,5;Grüße\ns1;7;0;\n", "cp1252", 2.5),
        ("id\tquestion\tpoints\treason\ns1\ttotal\t4\t好\n", "utf-16", 4),
        ("id,question,points,reason\ns1,Total,4,\n", "utf8", 4),
    ],
)
def test_overrides_however_they_are_saved(course: Course, text: str, encoding: str, points: float):
    course.override(text, encoding)
    assert float(course.report("s1")["s1"]["points"]) == points


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("s1,2,30,\n", "line 2: expected points from 0 to 3, got '30'"),
        ("s1,7,1,\ns1,2,nan,\n", "line 3: expected points from 0 to 3, got 'nan'"),
        ("s1,2,-1,\n", "line 2: expected points from 0 to 3"),
        ("s1,total,6,\n", "line 2: expected points from 0 to 5"),
        ("s1,2,,\n", "line 2: question 2 has no points"),
        ("s1,9,1,\n", r"line 2: expected a question \(2, 7, total\) or ok, got '9'"),
        ("nobody,2,1,\n", "line 2: no student has the id 'nobody'"),
        ("s1,2,1,\ns1,2,2,\n", "line 3: question 2 of s1 stands in line 2 already"),
    ],
)
def test_an_override_that_cannot_be_meant_is_refused_by_line(course: Course, rows: str, said: str):
    course.override("id,question,points,reason\n" + rows)
    with pytest.raises(ValueError, match=rf"overrides\.csv, {said}"):
        course.report("s1")


def test_every_wrong_line_is_named_at_once(course: Course):
    course.override("id,question,points,reason\ns1,2,30,\ns1,9,1,\n")
    with pytest.raises(ValueError, match=r"(?s)line 2:.*line 3:"):
        course.report("s1")


@pytest.mark.parametrize("rows", ["s1,2,3,by hand\ns1,7,0,", "s1,ok,,\ns1,7,0,", "s1,total,5,"])
def test_an_override_holds_for_the_submission_it_was_written_for(course: Course, rows: str):
    course.override(f"id,question,points,reason\n{rows}\n")
    given = course.report("s1")["s1"]
    assert given["state"] == "graded" and course.report("s1")["s1"] == given  # and after every rerun
    course.hand_in("s1", "second", results=[result("2", points=0), result("7", out_of=2, points=0)])
    asked = course.report("s1")["s1"]
    assert asked["state"] == report.PERSON and asked["points"] == "" and "earlier submission" in asked["notes"]
    assert course.report("s1")["s1"] == asked
    course.override("id,question,points,reason\n" + rows.replace("s1,2,3,by hand", "s1,2,3,still").replace("s1,ok,,", "s1,ok,,again").replace("s1,total,5,", "s1,total,5,again").replace("7,0,", "7,0,again") + "\n")  # fmt: skip
    assert course.report("s1")["s1"]["state"] == "graded"


def test_an_override_written_while_the_submission_changed_is_asked_again(course: Course):
    course.override("id,question,points,reason\ns1,total,5,\n")
    course.hand_in("s1", "second")
    assert course.report("s1")["s1"]["state"] == report.PERSON


def test_a_record_is_its_own_students(course: Course):
    """No id's file is another one's, and a record says whose it is."""
    plain = "hw1 (1)"
    assert len({safe(plain), safe(safe(plain)), safe(safe(safe(plain)))}) == 3
    (course.out / "records" / f"{safe('s2')}.json").write_bytes((course.out / "records" / "s1.json").read_bytes())
    with pytest.raises(ValueError, match="s2: no record"):
        course.report("s1", "s2")
