"""The students' side of homework: own numbers, checks that never stop a notebook, and the pages as released."""

from __future__ import annotations

import contextlib
import io
import re

import numpy as np
import pytest
import sympy as sp
import torch
from bookext.read.book import ROOT
from bookext.read.chapter import notebook_node, read_chapter

from labs.homework import Homework, near, sealed

PAGES = sorted((ROOT / "book" / "homework").glob("hw*.md"))


@pytest.fixture
def hw() -> Homework:
    return Homework("hw1", "s123", salt="2026-autumn")


def test_own_numbers_are_the_same_on_every_machine(hw):
    """Written down once: who grades elsewhere must get what the student saw."""
    assert [hw.own("factor", 1.2, 1.95), hw.own("step", 0.002, 0.06, digits=3)] == [1.52, 0.03]
    assert hw.pick("order", ["ABCD", "BADC", "CDAB"]) == "CDAB"
    assert hw.own("fixed", 2.5, 2.5) == 2.5


def test_own_numbers_depend_on_id_homework_salt_and_key(hw):
    def numbers(**change):
        given = {"name": "hw1", "student_id": "s123", "salt": "2026-autumn"} | change
        return [Homework(**given).own(f"key {i}", 0, 1, digits=4) for i in range(5)]

    assert numbers() == [hw.own(f"key {i}", 0, 1, digits=4) for i in range(5)]
    for change in ({"student_id": "s124"}, {"name": "hw2"}, {"salt": "2027-autumn"}):
        assert numbers(**change) != numbers()
    assert len(set(numbers())) > 1


def test_own_numbers_fill_their_range():
    drawn = [Homework("hw1", str(i), salt="x").own("k", -1.0, 2.0, digits=1) for i in range(600)]
    assert sorted(set(drawn)) == [round(-1 + i / 10, 1) for i in range(31)]
    assert abs(np.mean(drawn) - 0.5) < 4 * 3 / np.sqrt(12 * 600)  # four standard errors of a uniform number's mean


@pytest.mark.parametrize("same", [" S123 ", "s123\t", "ｓ１２３"])
def test_an_id_is_normalised(hw, same):
    assert Homework("hw1", same, salt="2026-autumn").own("k", 0, 1, digits=6) == hw.own("k", 0, 1, digits=6)


@pytest.mark.parametrize("blank", ["...", "", "  ", "…", ...])
def test_without_an_id_come_demonstration_numbers_and_a_word_about_it(blank, capsys):
    hw = Homework("hw1", blank, salt="x")
    assert hw.is_demo and hw.own("k", 0, 1) == Homework("hw1", "demo", salt="x").own("k", 0, 1)
    hw.own("again", 0, 1)
    assert capsys.readouterr().out.count("demonstration numbers") == 1
    hw.summary()
    assert "no student id yet" in capsys.readouterr().out


def test_an_id_may_be_a_number():
    assert Homework("hw1", 20260001, salt="x").own("k", 0, 1) == Homework("hw1", "20260001", salt="x").own("k", 0, 1)


def test_bad_ranges_and_empty_options_are_named(hw):
    with pytest.raises(ValueError, match=r"high: expected at least low = 2, got 1"):
        hw.own("k", 2, 1)
    with pytest.raises(ValueError, match="options: expected at least one"):
        hw.pick("k", [])


def test_a_check_passes_fails_or_is_unanswered(hw, capsys):
    with hw.check("1", 3):
        assert 1 < 2
    with hw.check("2", 3):
        raise AssertionError("the shapes: see section 1.3")
    with hw.check("3", 1, ...):
        raise KeyError("whatever")
    with hw.check("4"):
        raise NotImplementedError("question 4")
    with hw.check("5", "  ... "):
        pass
    with hw.check("6", 1):
        raise NotImplementedError("question 4")
    out = capsys.readouterr().out.splitlines()
    assert out == [
        "✓ 1",
        "✗ 2: the shapes: see section 1.3",
        *(f"– {i}: not answered yet" for i in (3, 4, 5)),
        "– 6: answer question 4 first",
    ]
    hw.summary("1", "2", "3", "4", "5", "6", "7")
    out = capsys.readouterr().out
    assert "1 of 7 show none of the common errors" in out and re.search(
        r"^ +7 +its check was not run$", out, re.MULTILINE
    )
    assert "hand in hw1.ipynb" in out and "student id s123" in out


def test_an_error_in_the_students_code_names_their_line(hw, capsys):
    cell = "def answer():\n    return [1, 2][7]\n\nwith hw.check('1', answer):\n    assert answer() == 3\n"
    exec(compile(cell, "<cell 5>", "exec"), {"hw": hw})
    assert capsys.readouterr().out.startswith("✗ 1: IndexError: list index out of range (your code, line 2")
    exec(compile("with hw.check('2', 'x'):\n    assert 'x' - 1\n", "<cell 6>", "exec"), {"hw": hw})
    out = capsys.readouterr().out
    assert out.startswith("✗ 2: TypeError: unsupported operand") and "(this check, line 2" in out
    exec(
        compile("def f():\n    assert False, 'mine'\nwith hw.check('3', f):\n    f()\n", "<cell 7>", "exec"), {"hw": hw}
    )
    assert capsys.readouterr().out.startswith("✗ 3: AssertionError: mine (your code, line 2")
    exec(compile("with hw.check('4'):\n    torch.ones(2) @ torch.ones(3)\n", "<c>", "exec"), {"hw": hw, "torch": torch})
    assert capsys.readouterr().out.startswith("✗ 4: RuntimeError: ")


def test_torchs_own_not_implemented_is_no_missing_answer(hw, capsys):
    with hw.check("1"):
        raise NotImplementedError('"linalg_qr" not implemented for "Half"')
    assert capsys.readouterr().out.startswith("✗ 1: NotImplementedError")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_not_swallowed(hw, stop):
    with pytest.raises(stop), hw.check("1"):
        raise stop


@pytest.mark.parametrize(
    "got",
    [0.3, sp.Rational(3, 10), np.array(0.3), np.float32(0.3), torch.tensor(0.3), [0.3], torch.tensor([0.3]).half() * 1],
)
def test_numbers_of_every_make_are_near(got):
    assert near(got, 0.3, rtol=1e-3)


@pytest.mark.parametrize(
    "got", [np.nan, "0.3", None, True, 0.31, [0.3, 0.3], ..., [[0.3], [0.3, 0.3]], 0.3 + 0j, sp.Symbol("x")]
)
def test_what_is_no_such_number_is_not_near(got):
    assert not near(got, 0.3) and not near(0.3, got)


@pytest.mark.parametrize("answer, same", [(2, True), (2.0, True), (torch.tensor(2), True), (3, False), (..., False)])
def test_a_seal_knows_its_answer_and_no_other(answer, same):
    assert sealed(answer, "d4735e3a") is same


def test_arrays_with_gradients_are_compared():
    assert near(torch.ones(2, 3, requires_grad=True), np.ones((2, 3)))
    assert not near(np.ones((3, 2)), np.ones((2, 3)))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_the_blank_page_runs_whole_and_answers_nothing(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict = {"__name__": "__main__"}
    printed = io.StringIO()
    for cell in notebook_node(page.read_text("utf8")).cells:
        if cell.cell_type == "code":
            with contextlib.redirect_stdout(printed):
                exec(compile(cell.source, "<cell>", "exec"), namespace)
    out = printed.getvalue()
    checked = re.findall(r"^– (.+): not answered yet$", out, re.MULTILINE)
    assert checked and "✓" not in out and "✗" not in out, out
    assert f"0 of {len(checked)} show none" in out and f"hand in {page.stem}.ipynb" in out
    assert "its check was not run" not in out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_a_page_is_a_student_page(page):
    text, chapter = page.read_text("utf8"), read_chapter(page)
    assert chapter.front["mystnb"]["execution_mode"] == "off"
    assert "SOLUTION" not in text and not re.search(r"\{dropdown\} Solution", text)
    assert f'Homework("{page.stem}", STUDENT_ID, salt=' in text and 'STUDENT_ID = "..."' in text
    numbers = re.findall(r"^## Question (\d+)\. .*\(\d+ points?\)$", text, re.MULTILINE)
    assert numbers == [str(i) for i in range(1, len(numbers) + 1)] and 5 <= len(numbers) <= 7
    checked = {re.match(r"\d+", name)[0] for name in re.findall(r'with hw\.check\("(\w+)"', text)}
    assert checked == set(numbers)
