"""A right answer in another container counts, or a person decides: every answer of every homework in each of them."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch

from instructor.grading import checks
from instructor.tests import planting


def numbers(value: Any, form: Callable[[Any], Any]) -> Any:
    """Every number of lists in lists as ``form`` gives it."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic | torch.Tensor) else value
    if isinstance(value, list | tuple):
        return [numbers(v, form) for v in value]
    if isinstance(value, dict):
        return {key: numbers(v, form) for key, v in value.items()}
    return value if isinstance(value, bool | str | sp.Basic) or value is None or value != value else form(value)


def lists(value: Any) -> Any:
    return numbers(value, lambda x: x)


def by_number(value: Any) -> Any:
    """Lists as dicts, numbered from 1, the last one first."""
    value = lists(value)
    return {k + 1: by_number(v) for k, v in reversed(list(enumerate(value)))} if isinstance(value, list) else value


def arrays(value: Any, make: Callable[[Any], Any]) -> Any:
    """As one array, or as a list of arrays where parts differ in shape."""
    value = lists(value)
    try:
        return make(value)
    except (ValueError, TypeError):
        return [arrays(v, make) for v in value] if isinstance(value, list) else value


def tuples(value: Any) -> Any:
    value = lists(value)
    return tuple(map(tuples, value)) if isinstance(value, list) else value


FORMS: dict[str, Callable[[Any], Any]] = {
    "a dict of one": lambda v: {"answer": v},
    "a dict": lambda v: {f"part {k}": x for k, x in enumerate(v)} if isinstance(v, list | tuple | np.ndarray) and np.shape(v if not isinstance(v, tuple | list) else [0]) else {"x": v},
    "dicts by number": by_number,
    "tuples": tuples,
    "lists": lists,
    "a list of one": lambda v: [v],
    "a list in a list": lambda v: [[lists(v)]],
    "an array": lambda v: arrays(v, np.array),
    "an array of objects": lambda v: arrays(v, lambda x: np.array(x, dtype=object)),
    "an array of one": lambda v: arrays(v, lambda x: np.array([x])) if not isinstance(lists(v), list) else v,
    "a tensor": lambda v: arrays(v, lambda x: torch.tensor(x, dtype=None if isinstance(x, bool) else torch.float64)),
    "a tensor with a gradient": lambda v: arrays(v, lambda x: torch.tensor(x, dtype=torch.float64, requires_grad=True)),
    "text": lambda v: str(lists(v)),
    "texts": lambda v: numbers(v, str),
    "as it is printed": lambda v: repr(arrays(v, lambda x: np.float64(x) if np.ndim(x) == 0 else np.array(x))),
    "SymPy": lambda v: numbers(v, sp.sympify),
    "SymPy's rationals": lambda v: numbers(v, lambda x: sp.Rational(x) if abs(x) < float("inf") else sp.sympify(x)),
    "Decimals": lambda v: numbers(v, lambda x: Decimal(repr(x))),
    "Fractions": lambda v: numbers(v, lambda x: Fraction(x) if abs(x) < float("inf") else x),
    "complex numbers": lambda v: numbers(v, complex),
    "a namespace": lambda v: SimpleNamespace(value=v),
}  # fmt: skip


def in_form(answer: Any, form: Callable[[Any], Any]) -> Any:
    """A value, or a function whose results are, in another container."""
    return (lambda *given, **named: form(answer(*given, **named))) if callable(answer) else form(answer)


@pytest.mark.parametrize("form", FORMS)
@planting.each_homework
def test_a_right_answer_in_another_container(name: str, form: str) -> None:
    lost = []
    for q in checks.questions(planting.module(name)):
        if q.checks is None:
            continue
        namespace = planting.copy_of(planting.reference(name)[0])
        asked = [answer for answer in planting.answer_names(name)[q.number] if answer in namespace]
        namespace |= {answer: in_form(namespace[answer], FORMS[form]) for answer in asked}
        result = planting.graded(name, namespace, only=q.number)[q.number]
        if result.points != q.points and not (result.person and result.note):
            lost.append((q.number, result.points, result.note, [(i.rule, i.feedback, i.got) for i in result.items]))
    assert not lost, lost


def test_nobody_gets_a_second_guess() -> None:
    """An answer that is another one when it is read anew."""
    guesses = iter([{"dict": {"answer": 2}}, 3, 3, 3])

    def three(student: checks.Student, own: Any, rng: Any) -> Any:
        yield checks.check(1, checks.close(student.value("x"), 3), "x", expected=3)

    asked = SimpleNamespace(QUESTIONS=[checks.Question("1", 1, "t", checks=three)], __name__="guesses")
    own = SimpleNamespace(name="hw1", student_id="s123")
    [result] = checks.run(asked, checks.Student(lambda request: {"value": next(guesses)}), own, b"secret")
    assert result.points == 0
