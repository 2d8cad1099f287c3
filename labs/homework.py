"""Homework in a notebook: a student's own numbers, visible checks that survive *Run all*, and a summary.

A homework notebook begins with ``hw = Homework("hw1", STUDENT_ID, salt="2026-autumn")``. The numbers that
:meth:`Homework.own` and :meth:`Homework.pick` give depend on salt, homework, student id and key alone, so whoever grades
computes the same ones. The checks are for the learner; a grade never rests on them. Unlike the rest of ``labs`` this
module prints, for that is what it is for.
"""

from __future__ import annotations

import hashlib
import linecache
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from labs.words import retell, say

SHOWN = {
    "passed": "✓ {question:<4} shows none of the common errors",
    "failed": "✗ {question:<4} answered, and its check has found something",
    "unanswered": "– {question:<4} not answered yet",
    "not run": "  {question:<4} its check was not run",
}


def _plain(x: Any) -> np.ndarray:
    if hasattr(x, "detach"):
        return np.asarray(x.detach().cpu().double())
    return np.asarray(float(x) if hasattr(x, "evalf") else x)  # a number of SymPy


def near(got: Any, expected: Any, rtol: float = 1e-5, atol: float = 0.0) -> bool:
    """Whether two arrays or numbers (NumPy, torch, SymPy, lists) have one shape and agree; NaN and what is no number never do.

    >>> near([0.1 + 0.2], 0.3), near([[1, 2]], [1, 2]), near("0.3", 0.3)
    (True, False, False)
    """
    try:
        a, b = map(_plain, (got, expected))
    except (TypeError, ValueError):
        return False
    comparable = a.dtype.kind in "iuf" and b.dtype.kind in "iuf" and (a.shape == b.shape or a.size == b.size == 1)
    return comparable and bool(np.allclose(a.ravel().astype(float), b.ravel().astype(float), rtol=rtol, atol=atol))


def sealed(answer: Any, seal: str) -> bool:
    """Whether the seal, eight hexadecimal digits, is that of ``answer``: a text, or a number to six digits.

    A seal keeps an answer from being read. It does not keep it from being found: who tries all small numbers finds it,
    and has then worked for it; the grade comes from other checks.

    >>> sealed(2.0, "d4735e3a"), sealed(3, "d4735e3a"), sealed("two", "3fc4ccfe")
    (True, False, True)
    """
    try:
        text = answer if isinstance(answer, str) else f"{float(answer) + 0.0:.6g}"
    except (TypeError, ValueError, OverflowError):
        return False
    return hashlib.sha256(text.encode()).hexdigest()[:8] == seal


def word_count(text: str) -> int:
    """How many words a text has; of Chinese, which puts no blanks between them, every character counts.

    >>> word_count("It grows, and then shrinks."), word_count("先增大，再缩小。"), word_count("NaN出现在第3层")
    (5, 6, 7)
    """
    return len(re.findall(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+", text))


def _unanswered(answer: Any) -> bool:
    return answer is ... or (isinstance(answer, str) and answer.strip() in {"", "...", "…"})


class Homework:
    """One student's copy of a homework; for group work, ``student_id`` is the group's id.

    An id of ``"..."`` or ``""`` stands for the demonstration numbers. Case, blanks around the id and full-width digits do
    not matter.

    >>> hw = Homework("hw1", " S123 ", salt="2026-autumn")
    >>> hw.own("factor", 1.2, 1.9) == Homework("hw1", "s123", salt="2026-autumn").own("factor", 1.2, 1.9)
    True
    """

    def __init__(self, name: str, student_id: str | int, salt: str) -> None:
        given = "" if student_id is ... else unicodedata.normalize("NFKC", str(student_id)).strip().casefold()
        self.name, self.salt = name, salt
        self.is_demo = _unanswered(given)
        self.student_id = "demo" if self.is_demo else given
        self.results: dict[str, str] = {}
        self._warned = False

    def _number(self, key: str) -> int:
        if self.is_demo and not self._warned:
            self._warned = True
            print(
                say("These are demonstration numbers: write your student id into STUDENT_ID and run all cells again.")
            )
        text = "\0".join([self.salt, self.name, self.student_id, key])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

    def own(self, key: str, low: float, high: float, digits: int = 2) -> float:
        """This student's number for ``key``: one of low, …, high in steps of 10**-digits; ValueError if high < low.

        >>> 1.2 <= Homework("hw1", "s123", salt="x").own("factor", 1.2, 1.9) <= 1.9
        True
        """
        steps = round((high - low) * 10**digits)
        if steps < 0:
            raise ValueError(f"high: expected at least low = {low}, got {high}")
        return round(low + self._number(key) % (steps + 1) / 10**digits, digits)

    def pick(self, key: str, options: Sequence[Any]) -> Any:
        """This student's choice among ``options``; ValueError if there are none.

        >>> Homework("hw1", "s123", salt="x").pick("format", ["fp16"])
        'fp16'
        """
        if not options:
            raise ValueError("options: expected at least one, got none")
        return options[self._number(key) % len(options)]

    def check(self, question: str, *answers: Any) -> Check:
        """A context for asserts on ``answers`` that prints the outcome and lets the notebook go on.

        >>> with Homework("hw1", "s123", salt="x").check("1", 3):
        ...     assert 3 == 4, "count the layers between"
        ✗ 1: count the layers between
        """
        return Check(self, question, answers)

    def tell(self, text: str) -> None:
        """Print a line of the homework's own, in the reader's language.

        >>> Homework("hw1", "s123", salt="x").tell(f"your factor: r = {1.5}")
        your factor: r = 1.5
        """
        print(retell(text))

    def summary(self, *questions: str) -> None:
        """Print what is answered and how to submit; ``questions`` names those to list even if their check never ran."""
        who = say("{name}, no student id yet") if self.is_demo else say("{name}, student id {id}")
        print(who.format(name=self.name, id=self.student_id))
        states = {question: "not run" for question in questions} | self.results
        for question, state in states.items():
            print(f"  {say(SHOWN[state]).format(question=question)}")
        passed = list(states.values()).count("passed")
        print(say("{count} of {total} show none of the common errors.").format(count=passed, total=len(states)))
        ending = say(
            "The checks know no more than that; the grade comes from others, with other inputs.\n"
            "To submit: restart and run all cells once more, save, download the notebook (Colab: File, Download, .ipynb)\n"
            "and hand in {name}.ipynb as your course says."
        )
        print(ending.format(name=self.name))


@dataclass
class Check:
    """What :meth:`Homework.check` returns; everything but KeyboardInterrupt and SystemExit stays inside."""

    homework: Homework
    question: str
    answers: tuple[Any, ...]

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: TracebackType | None) -> bool:
        if error is not None and not isinstance(error, Exception):
            return False
        stub = isinstance(error, NotImplementedError) and re.fullmatch(r"(question.*)?", str(error))
        state = "unanswered" if stub or any(map(_unanswered, self.answers)) else "failed" if error else "passed"
        self.homework.results[self.question] = state
        other = stub and not any(map(_unanswered, self.answers)) and str(error) not in {"", f"question {self.question}"}
        missing = (
            say("answer {question} first").format(question=retell(str(error))) if other else say("not answered yet")
        )
        told = missing if state == "unanswered" else _told(error, trace) if error else ""
        line = say("{mark} {question}: {told}") if told else "{mark} {question}"
        print(line.format(mark=SHOWN[state][0], question=self.question, told=told))
        return True


def _told(error: Exception, trace: TracebackType | None) -> str:
    """An assert's message; for any other error its kind, its message and the student's line that led to it."""
    cell = place = trace
    while trace is not None:  # functions of the notebook share the globals of the cell with the check
        if cell is not None and trace.tb_frame.f_globals is cell.tb_frame.f_globals:
            place = trace
        trace = trace.tb_next
    if place is None or (place is cell and isinstance(error, AssertionError)):
        return retell(str(error)) or say("an assert of this check fails")
    code = linecache.getline(place.tb_frame.f_code.co_filename, place.tb_lineno).strip()
    this, yours = (
        say("{kind}: {error} (this check, line {line}: {code})"),
        say("{kind}: {error} (your code, line {line}: {code})"),
    )
    told = this if place is cell else yours
    return told.format(kind=type(error).__name__, error=error, line=place.tb_lineno, code=code)
