"""A new term: one command writes its salt into every place, any salt passes the tests, and nobody profits from another's numbers."""

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import ROOT

from instructor import release, term
from instructor.grading import checks
from instructor.tests import planting, test_homeworks, test_wrong_answers
from instructor.tests.planting import HOMEWORKS, SALT, SECRET, cells, execute, master, module
from instructor.tests.test_homeworks import OWN
from labs.homework import Homework

SALTS = [f"{2027 + k // 2}-{'spring' if k % 2 else 'autumn'}-{random.Random(k).randrange(10**6)}" for k in range(50)]
STUDENTS = [f"s{k}" for k in range(40)]
# What is anybody's: these questions ask for functions, for words, or for numbers that are the same for all.
EVERYBODYS = {
    "hw1": {"1", "2", "3a", "3b", "4a", "6", "7"},
    "hw2": {"2a", "6b"},
    "hw3": {"1b", "2b", "4c", "5a", "5b", "5c", "6b", "7b"},
    "hw4": {"1a", "2a", "3b", "5c", "5d", "6c", "7a", "7b"},
    "hw5": {"1c", "2c", "3d", "5d"},
}


def test_the_salt_stands_in_the_masters_and_nowhere_else():
    """The tests read it there; what students get is made from them."""
    assert re.fullmatch(r"[\w.-]+", term.salt())
    files = [*(ROOT / "instructor").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    literal = f'"{term.salt()}"'
    assert [path.name for path in files if literal in path.read_text("utf8") and path.name != "test_homework.py"] == []


def test_a_term_begins(tmp_path):
    shutil.copytree(ROOT / "instructor", tmp_path / "instructor", ignore=shutil.ignore_patterns("__pycache__", "tests"))
    before = {path: path.read_text("utf8") for path in release.masters(tmp_path)}
    changed = term.begin("2031-spring", tmp_path)
    assert changed == list(before) and len(changed) == len(HOMEWORKS) and term.salt(tmp_path) == "2031-spring"
    for path, text in before.items():
        old, new = text.splitlines(), path.read_text("utf8").splitlines()
        assert [(a, b) for a, b in zip(old, new, strict=True) if a != b] == [
            (line, line.replace(SALT if not os.environ.get("TERM_SALT") else term.salt(), "2031-spring"))
            for line in old
            if line.startswith("hw = Homework(")
        ]
        assert '"2031-spring"' in release.release(path.read_text("utf8"), path.name)
    assert term.begin("2031-spring", tmp_path) == []
    (path := release.masters(tmp_path)[0]).write_text(
        path.read_text("utf8").replace("2031-spring", "2032-spring"), "utf8"
    )
    with pytest.raises(ValueError, match="do not have one salt"):
        term.salt(tmp_path)


@pytest.mark.parametrize("bad", ["", "2027 spring", 'a"b', "../x", "ü", "x" * 60])
def test_a_salt_that_would_not_survive_a_notebook_is_refused(bad, capsys):
    assert term.main([bad]) == 2
    assert "make term SALT=2027-spring" in capsys.readouterr().err


def test_every_question_is_somebodys_or_everybodys():
    for name in HOMEWORKS:
        numbers = {q.number for q in checks.questions(module(name))}
        assert numbers == set(OWN[name]) | EVERYBODYS[name] and not set(OWN[name]) & EVERYBODYS[name], name


def solved(name: str, student: str) -> dict[str, Any]:
    """The names of a solved notebook, its visible checks left out, which take most of the time."""
    sources = [source for _, source in cells(master(name)) if "hw.check(" not in source and "hw.summary(" not in source]
    sources = [re.sub(r"^STUDENT_ID = .*$", f"STUDENT_ID = {student!r}", s, flags=re.MULTILINE) for s in sources]
    namespace: dict[str, Any] = {"__name__": "__main__"}
    execute(sources, namespace)
    return namespace


@pytest.mark.rehearsal
@pytest.mark.parametrize("name", HOMEWORKS)
def test_another_students_numbers_are_right_in_one_of_a_hundred_pairs_at_most(name):
    """In each question about numbers of one's own, of 1560 ordered pairs. The bound leaves room for the draw of the pairs."""
    notebooks = {student: checks.LocalStudent(solved(name, student)) for student in STUDENTS}
    own = {student: Homework(name, student, salt=SALT) for student in STUDENTS}
    asked = [q for q in checks.questions(module(name)) if q.number in OWN[name]]
    full = dict.fromkeys(OWN[name], 0)
    pairs = list(itertools.permutations(STUDENTS, 2))
    for mine, yours in pairs:
        part = SimpleNamespace(QUESTIONS=asked, __name__=name)
        for result in checks.run(part, notebooks[mine], own[yours], SECRET):
            full[result.question] += result.points == result.out_of
    print(name, {question: f"{count / len(pairs):.2%}" for question, count in full.items()})
    # 780 unordered pairs at 1 %: 7.8 expected, 8 standard deviations less than 2 % of them
    assert max(full.values()) <= 0.018 * len(pairs), full


def with_salt(monkeypatch: pytest.MonkeyPatch, salt: str) -> None:
    """Everything that the tests of the homework have worked out is worked out anew, with another salt."""
    monkeypatch.setattr(planting, "SALT", salt)
    planting.FILES.clear()
    for module_ in (planting, test_homeworks, test_wrong_answers):
        for kept in [value for value in vars(module_).values() if hasattr(value, "cache_clear")]:
            kept.cache_clear()


@pytest.mark.rehearsal
@pytest.mark.parametrize("salt", SALTS)
def test_a_term_with_any_salt_passes_the_tests(salt, monkeypatch):
    """The tests of the homework that depend on numbers, in this process: starting torch takes longer than they do."""
    with_salt(monkeypatch, salt)
    for name in HOMEWORKS:
        test_homeworks.test_the_reference_gets_every_point(name, "s123")
        test_homeworks.test_the_blank_runs_whole_and_gets_nothing(name)
        test_homeworks.test_the_numbers_of_another_student_fail(name)
        test_wrong_answers.test_a_wrong_answer_gets_the_message_meant_for_it(name)
        test_wrong_answers.test_every_message_of_the_hidden_checks_has_a_planted_answer(name)
        test_wrong_answers.test_the_visible_check_refuses_what_a_hidden_one_knows(name)
        test_wrong_answers.test_no_message_states_the_answer(name)
        test_wrong_answers.test_a_green_notebook_is_nearly_right(name)
        test_wrong_answers.test_a_mixed_notebook_run_whole_is_the_sum_of_its_answers(name)
    for row in test_homeworks.RIGHT:
        test_homeworks.test_a_right_answer_in_another_way_has_every_point(*row)
    with_salt(monkeypatch, SALT)


@pytest.mark.rehearsal
@pytest.mark.parametrize("salt", SALTS[:3])
def test_a_term_with_another_salt_passes_all_the_tests(salt):
    """In a process of its own, as a lecturer would run them."""
    tests = [f"instructor/tests/test_{name}.py" for name in ("homeworks", "wrong_answers")]
    wanted = ["-m", "not rehearsal and not slow", "-k", "not take_little and not sandbox"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *wanted, *tests]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"TERM_SALT": salt}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.mark.rehearsal
def test_a_term_is_released_and_tested_as_it_says(tmp_path):
    """``make term`` in a copy: the pages follow their masters, and the tests of the release pass."""
    left_out = shutil.ignore_patterns("_build", ".venv", "__pycache__", "pyodide")
    copy = Path(shutil.copytree(ROOT, tmp_path / "copy", ignore=left_out))
    environment = os.environ | {"PYTHONPATH": f"{copy}/book/_ext:{copy}:{copy}/tests"}
    for command in (
        ["-m", "instructor.term", "2040-autumn"],
        ["-m", "instructor.release"],
        ["-m", "bookext.check.twins", "--drift", *(f"book/homework/{name}.md" for name in HOMEWORKS)],
        ["-m", "bookext.notebook.generator"],
        ["-m", "instructor.release", "--check"],
        ["-m", "bookext.notebook.generator", "--check"],
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not rehearsal and not site",
         "instructor/tests/test_release.py", "instructor/tests/test_term.py", "tests/labs/test_homework.py"],
    ):  # fmt: skip
        done = subprocess.run([sys.executable, *command], cwd=copy, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    pages = [*(copy / "book/homework").glob("hw*.md"), *(copy / "book/zh/homework").glob("hw*.md")]
    assert all('salt="2040-autumn"' in page.read_text("utf8") for page in pages)
