"""From records to a course: lateness, one question anew, pages, plots, likeness, and a quiz."""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from instructor.grading import batch, page, plots, quiz, report, similar
from instructor.grading.sandbox import Sandbox
from instructor.grading.submissions import Submission
from instructor.tests.notebooks import RIGHT, WRONG, saved
from instructor.tests.planting import HOMEWORKS
from instructor.tests.test_grading import HERE, SECRET


def result(question: str, points: float | None, **changes: object) -> dict:
    items = [{"points": 2, "ok": points == 2, "rule": "r", "feedback": "" if points == 2 else f"wrong {question}",
              "expected": "1", "got": "2", "public": True}]  # fmt: skip
    return {"question": question, "title": "t", "out_of": 2, "section": "06-xavier#l30", "points": points,
            "state": "graded", "note": "", "person": False, "read": False, "text": "", "items": items} | changes  # fmt: skip


def record(student: str, *points: float, late: bool = False, **changes: object) -> dict:
    results = [result(str(k), p) for k, p in enumerate(points, 1)]
    return {"version": "1", "key": "k", "submission": student, "id": student, "name": student, "file": "f", "late": late,
            "notes": [], "cells": [], "results": results} | changes  # fmt: skip


def course(out: Path, *records: dict) -> list[str]:
    (out / "records").mkdir(parents=True)
    for made in records:
        batch.write(out / "records" / f"{batch.safe(made['id'])}.json", json.dumps(made))
    return [made["id"] for made in records]


def finals(out: Path, ids: list[str], late: tuple[float, float]) -> dict[str, str]:
    report.report(ids, [], out, SECRET, late)
    return {row["id"]: row["points"] for _, row in report.table(out / "grades.csv")}


def test_days_late_an_extension_and_the_limit(tmp_path: Path) -> None:
    ids = course(tmp_path, *(record(s, 2, 2, late=s != "a") for s in "abcd"), record("e", 2, 2))
    assert finals(tmp_path, ids, (0, 100)) == dict.fromkeys("abcde", "4")
    assert finals(tmp_path, ids, (10, 100)) == dict.fromkeys("ae", "4") | dict.fromkeys("bcd", "3.6")
    (tmp_path / "late.csv").write_text("id,days\nB,0\nc,2.5\nd,9\ne,1\n")
    assert finals(tmp_path, ids, (10, 50)) == {"a": "4", "b": "4", "c": "3", "d": "2", "e": "3.6"}
    before = {p.name: p.read_bytes() for p in tmp_path.glob("*.csv")}
    report.report(ids, [], tmp_path, SECRET, (10, 50))
    assert before == {p.name: p.read_bytes() for p in tmp_path.glob("*.csv")}


@pytest.mark.parametrize("line", ["nobody,1", "a,soon", "a,-1", "a,nan", "a,"])
def test_a_bad_line_of_lateness_is_named(tmp_path: Path, line: str) -> None:
    ids = course(tmp_path, record("a", 2))
    (tmp_path / "late.csv").write_text(f"id,days\n{line}\n")
    with pytest.raises(ValueError, match=r"late\.csv, line 2"):
        finals(tmp_path, ids, (10, 100))


def test_feedback_is_a_page_with_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = course(tmp_path, record("a", 2, 1, notes=["<script>alert(1)</script> [x](javascript:alert(1))"]))
    report._site.cache_clear()
    monkeypatch.setattr(report, "_site", lambda: "https://uni.example/book/")
    report.report(ids, [], tmp_path, SECRET)
    page.pages(tmp_path / "feedback")
    text = (tmp_path / "feedback" / "a.html").read_text("utf8")
    assert re.findall(r'href="([^"]*)"', text) == ["https://uni.example/book/book/06-xavier.html#l30"]
    assert "<script" not in text and "wrong 2" in text and "wrong 1" not in text


def test_the_placeholder_address_makes_no_link() -> None:
    report._site.cache_clear()
    assert report._section("06-xavier#l30") == "06-xavier#l30" or "_your-account_" not in report._site()


@pytest.mark.slow
@pytest.mark.xdist_group("grading")  # where there is a sandbox already
def test_one_question_anew(walled: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changed checks grade one question on request, and every other keeps what it has."""
    monkeypatch.setattr(walled, "close", lambda: None)  # a batch ends its sandboxes; this one has more to do
    shutil.copytree(HERE / "small", tmp_path / "small")
    folder = tmp_path / "records"
    folder.mkdir()
    people = []
    for student, cells in (("a", RIGHT), ("b", WRONG)):
        (tmp_path / f"{student}.ipynb").write_bytes(saved(cells))
        people.append(Submission(student, student, path=tmp_path / f"{student}.ipynb"))

    def points(only: str = "") -> tuple[int, list[list[float]]]:
        made = batch.Assignment("small", SECRET, tmp_path / "small", salt="test")
        count = batch.grade_all(made, people, folder, [walled], io.StringIO(), only)
        found = [batch.load(folder / f"{p.id}.json") for p in people]
        return count, [[r["points"] for r in one["results"][:4]] for one in found if one]

    assert points() == (2, [[2, 0, 1, 1], [0, 0, 0, 0]])  # b's file says s123: no own numbers
    text = (tmp_path / "small" / "checks.py").read_text("utf8")
    text = text.replace('@question("4", points=1', '@question("4", points=3').replace(
        "check(1, close(got, [2, 0", "check(3, close(got, [2, 0"
    )
    (tmp_path / "small" / "checks.py").write_text(
        text.replace("check(1, close(got, right)", "check(1, not close(got, right)")
    )
    assert points("4") == (2, [[2, 0, 1, 3], [0, 0, 0, 0]])  # question 3's new rule is not asked
    assert points("4")[0] == points()[0] == 0
    (tmp_path / "a.ipynb").write_bytes(saved(WRONG))  # another file is graded whole
    count, found = points("4")
    assert count == 1 and found[0] == [0, 0, 1, 0]
    seconds = plots.took(folder / "seconds.jsonl")
    assert set(seconds) == {"1", "2", "3", "4", "5"} and all(v > 0 for values in seconds.values() for v in values)


@pytest.mark.slow
def test_plots_are_the_same_and_say_what_failed(tmp_path: Path) -> None:
    course(tmp_path, record("a", 2, 1), record("b", 1, 1), record("c", 2, 2),
           record("d", 0, 0) | {"results": [result("1", None, state="no submission"), result("2", None, state="no submission")]})  # fmt: skip
    assert plots.misconceptions(plots.records(tmp_path / "records")) == [("2: wrong 2", 2), ("1: wrong 1", 1)]
    first = plots.plot(tmp_path).read_bytes()
    assert plots.plot(tmp_path).read_bytes() == first and b"3 submissions" in first and b"2: wrong 2" in first
    with pytest.raises(ValueError, match="run `grade` first"):
        plots.plot(tmp_path / "records")


# Likeness

LONG = """
def backward(J, delta):
    result = delta
    for matrix in reversed(J[1:]):
        result = matrix.T @ result
    total = sum(abs(x) for x in result)
    if total > 3 and result.ndim == 1:
        return result / total
    return result
"""
OTHER = """
import numpy as np
def backward(J, delta):
    out = [delta]
    k = len(J) - 1
    while k > 0:
        out.append(np.dot(out[-1], J[k]))
        k -= 1
    return np.where(np.abs(out[-1]).sum() > 3, out[-1] / np.abs(out[-1]).sum(), out[-1])
"""


def test_renamed_code_is_alike_and_other_code_is_not() -> None:
    renamed = re.sub(r"\bresult\b", "r", re.sub(r"\bmatrix\b", "M", LONG)).replace("= delta", "= delta  # own idea")
    given = "given = [k ** 2 for k in range(100) if k % 7 == 3 and k // 2 > 1 or k < 5]\n" * 3
    code = {"a": [given, LONG], "b": [renamed, given], "c": [given, OTHER], "d": [given]}
    [(one, other, _, share)] = similar.alike(code, [given])
    assert (one, other) == ("a", "b") and share > 0.9
    everybody = {f"s{k}": [LONG] for k in range(30)}
    assert similar.alike(everybody) == []  # what all have is no sign


def own_number(student: str, right: float, came: float) -> dict:
    items = [
        {"points": 1, "ok": right == came, "rule": "steps", "feedback": "", "expected": repr(right), "got": repr(came)}
    ]
    return record(student) | {"results": [result("1", 1, items=items)]}


def test_somebody_elses_number_is_listed() -> None:
    rights = {"a": 1.25, "b": 2.5, "c": 3.75, "d": 4.5}
    records = [own_number(s, right, right) for s, right in rights.items()] + [own_number("e", 7.0, 2.5000000001)]
    assert similar.borrowed(records) == [("e", "b", "question 1, steps: the answer for the other's numbers")]
    same = [own_number(s, 1.0, 1.0) for s in "abcdefghij"] + [own_number("x", 2.0, 1.0), own_number("y", 3.0, 3.0)]
    assert similar.borrowed(same) == []  # right for nearly everybody


# A quiz


@pytest.mark.slow
@pytest.mark.parametrize("name", HOMEWORKS)
def test_a_quiz_holds_the_masters_numbers(tmp_path: Path, name: str) -> None:
    values, _ = quiz.answers(name, "demo")
    count = quiz.write(name, "demo", tmp_path / "quiz.zip")
    with zipfile.ZipFile(tmp_path / "quiz.zip") as archive:
        texts = [
            archive.read(n).decode()
            for n in archive.namelist()
            if n.endswith(".xml") and "meta" not in n and "manifest" not in n
        ]
    [tree] = [ElementTree.fromstring(text) for text in texts]
    space = {"q": tree.tag.partition("}")[0].lstrip("{")}
    items = tree.findall(".//q:item", space)
    assert len(items) == count > 4
    for item in items:
        variable = item.attrib["title"].rpartition(": ")[2]
        low, high = (float(item.find(f".//q:{end}", space).text) for end in ("vargte", "varlte"))  # type: ignore[union-attr, arg-type]
        assert low <= values[variable] <= high
        assert high - low <= max(2.5e-3 * abs(values[variable]), 3e-4)
    assert "BEGIN SOLUTION" not in texts[0]
    assert quiz.text(name, "demo") == quiz.text(name, "demo")


def test_own_numbers_are_told_and_those_of_the_id() -> None:
    one, other = quiz.text("hw2", "demo"), quiz.text("hw2", "another")
    assert "in magnitude`" in one and one != other
