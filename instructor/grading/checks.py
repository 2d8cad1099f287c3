"""What a homework's hidden checks are written with, and how they are run.

A checks file is plain Python: functions under :func:`question` that ask the student's notebook for plain data and yield
:func:`check` items, and :func:`read` for the answer that a person reads. Points come from here alone::

    @question("2", points=3, title="The layer Jacobian", section="01-chained-jacobians#…")
    def layer_jacobian(student, own, rng):
        W, h = rng.normal(size=(2, 5)), rng.normal(size=5)
        J = student.call("layer_jacobian", W, h)
        right = (1 - np.tanh(W @ h) ** 2)[:, None] * W
        yield check(1, np.shape(J) == (2, 5), "shape", {"this is the transpose": np.shape(J) == (5, 2)},
                    expected=(2, 5), got=np.shape(J), public=True)
        yield check(2, close(J, right), "value", expected=right, got=J)

Never pass a student's text to ``eval``, ``sympify`` or a shell: use ``student.symbolic``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from instructor.grading import forms
from instructor.grading.inside import plain


class Unanswered(Exception):
    """The answer is still the released notebook's placeholder."""


class NoAnswer(Exception):
    """There is no answer to compare; the message says why. ``person``: somebody should look."""

    def __init__(self, why: str, person: bool = False) -> None:
        super().__init__(why)
        self.person = person


class Failed(RuntimeError):
    """The sandbox itself failed, whoever's fault that is; the message says how."""


@dataclass
class Item:
    """The outcome of one check, in plain data."""

    points: float
    ok: bool
    rule: str
    feedback: str
    expected: str
    got: str
    public: bool


@dataclass
class Result:
    """One question of one student. ``points`` is None while a person has to read the answer."""

    question: str
    title: str
    out_of: float
    section: str
    points: float | None = 0.0
    state: str = "graded"  # or "unanswered", "no answer", "to read"
    note: str = ""
    person: bool = False
    read: bool = False
    text: str = ""
    items: list[Item] = field(default_factory=list)


@dataclass(frozen=True)
class Question:
    """One question; ``checks`` yields items, or is None where a person reads the text called ``name``."""

    number: str
    points: float
    title: str
    section: str = ""
    checks: Callable[..., Iterator[Item]] | None = None
    name: str = ""


def question(number: str, points: float, title: str, section: str = "") -> Callable[..., Any]:
    """Decorate a generator ``(student, own, rng)`` of checks; their points sum to ``points`` on the right path."""

    def register(function: Callable[..., Iterator[Item]]) -> Callable[..., Iterator[Item]]:
        asked = Question(number, points, title, section, function)
        function.__globals__.setdefault("QUESTIONS", []).append(asked)
        return function

    return register


def read(number: str, points: float, name: str, title: str, section: str = "") -> None:
    """Register a question whose answer, the string variable ``name``, a person reads by the rubric."""
    caller = sys._getframe(1).f_globals
    caller.setdefault("QUESTIONS", []).append(Question(number, points, title, section, None, name))


def questions(module: ModuleType) -> list[Question]:
    """The questions of a checks file in order; ValueError if there are none or a number occurs twice."""
    found: list[Question] = getattr(module, "QUESTIONS", [])
    numbers = [q.number for q in found]
    if not found or len(set(numbers)) < len(numbers):
        raise ValueError(f"{module.__name__}: expected questions with distinct numbers, got {numbers}")
    return found


def close(got: Any, expected: Any, rtol: float = 1e-6, atol: float = 0.0) -> bool:
    """Whether numbers or arrays agree in shape and value; never raises, and is False for NaN, bools and non-numbers.

    A scalar, a 0-d array and a list of one number are alike.

    >>> close([2.0], 2), close([[1, 2]], [1, 2]), close(float("nan"), float("nan")), close(True, 1)
    (True, False, False, False)
    """
    try:
        a, b = _array(got), np.asarray(expected)
    except (ValueError, TypeError, OverflowError):
        return False
    if {a.dtype.kind, b.dtype.kind} - set("iufc") or (a.shape != b.shape and not a.size == b.size == 1):
        return False
    if a.dtype.kind in "iu" and b.dtype.kind in "iu":  # exact where both are whole
        a, b = a.astype(object), b.astype(object)
        return all(abs(x - y) <= atol + rtol * abs(y) for x, y in zip(a.flat, b.flat, strict=True))
    with np.errstate(all="ignore"):
        wide = np.complex128 if "c" in {a.dtype.kind, b.dtype.kind} else np.float64
        return bool(np.isclose(a.ravel().astype(wide), b.ravel().astype(wide), rtol=rtol, atol=atol).all())


def about(got: Any, expected: Any, rtol: float = 0.001, atol: float = 0.0) -> bool:
    """Equal up to the 0.1 % that a homework grants; two students' own numbers lie farther apart."""
    return close(got, expected, rtol=rtol, atol=atol)


def number(answer: Any) -> float:
    """One real number, or NaN for anything else, so that a comparison with it is False."""
    return float(np.real(np.ravel(answer)[0])) if np.size(answer) == 1 and close(answer, answer) else math.nan


def truth(answer: Any) -> bool | None:
    """A bool, also as 0 or 1 and as a 0-d array; None for anything else."""
    return bool(answer) if np.size(answer) == 1 and answer in (True, False) else None


def _array(got: Any) -> np.ndarray:
    """An array of a list in which some numbers are arrays of one."""
    try:
        return np.asarray(got)
    except ValueError:
        return np.asarray([x.item() if isinstance(x, np.ndarray) and x.size == 1 else x for x in got])


def check(
    points: float,
    ok: bool,
    rule: str,
    wrong: dict[str, bool] | None = None,
    *,
    expected: Any = None,
    got: Any = None,
    public: bool = False,
) -> Item:
    """One comparison: ``rule`` names it; the first true message of ``wrong`` is the feedback when it is not ok.

    TypeError if ``ok`` or a message's condition is no bool, so that no student's value (a NaN is truthy) stands for one.
    """
    for name, value in {rule: ok, **(wrong or {})}.items():
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"check {name!r}: expected a bool, got {type(value).__name__}")
    message = next((text for text, holds in (wrong or {}).items() if holds), f"{rule}: not what was expected")
    return Item(points, bool(ok), rule, "" if ok else message, _short(expected), _short(got), public)


def letters(got: Any) -> str:
    """The letters of an answer in capitals: of a text, or of a list of texts, whatever parts them.

    >>> letters(["b", "D"]), letters("b > d"), letters(("B", 7)), letters(None)
    ('BD', 'BD', 'B', '')
    """
    parts = got if isinstance(got, list | tuple) else [got]
    return "".join(c for part in parts if isinstance(part, str) for c in part if c.isalpha()).upper()


def _short(value: Any) -> str:
    with np.printoptions(precision=6, threshold=12, edgeitems=3):
        text = repr(value)
    return text if len(text) <= 400 else text[:399] + "…"


def _some(ask: Callable[..., Any], requests: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The replies to several requests, None for an unanswered one; Unanswered if all are."""
    replies: list[Any] = []
    missing = 0
    for request in requests:
        try:
            replies.append(ask(*request))
        except Unanswered:
            replies.append(None)
            missing += 1
    if missing == len(requests):
        raise Unanswered
    return replies


class Student:
    """What the checks see of a notebook; ``ask`` sends a request to where its code runs and returns the reply."""

    def __init__(self, ask: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._ask = ask
        self.seconds: dict[str, float] = {}  # that each question took, by the clock; the first one's with the cells
        self.asked: dict[str, None] = {}  # the names of the present question
        self.doubts: dict[str, str] = {}  # what leaves open how its answers are to be read
        self.other = False  # an answer came in another container than numbers do
        self.freely = False  # read such answers as a person would
        self.said: dict[str, list[dict[str, Any]]] = {}  # the question's replies, by request

    def begin(self, number: str | None) -> None:
        """Before a question: later ones do not see what this one changes. None: with the names as they are at the end."""

    def value(self, name: str) -> Any:
        """The value of a variable, as plain data; raises Unanswered or NoAnswer."""
        return self._request(kind="value", name=name)

    def call(self, name: str, /, *args: Any, torch: bool = False, **kwargs: Any) -> Any:
        """What the function returns for these arguments, plain data or arrays (``torch``: they arrive as tensors)."""
        encoded = {"args": plain.encode(list(args)), "kwargs": plain.encode(kwargs)}
        return self._request(kind="call", name=name, torch=torch, **encoded)

    def values(self, *names: str) -> list[Any]:
        """Several variables; None for one that is not answered, so that the others still count."""
        return _some(self.value, [(name,) for name in names])

    def calls(self, *calls: tuple[Any, ...]) -> list[Any]:
        """What several functions return, each given with its arguments; None for one that is not answered."""
        return _some(self.call, calls)

    def symbolic(self, name: str, points: list[dict[str, float]]) -> list[float]:
        """The values of a SymPy expression at ``points``, computed on the student's side."""
        return self._request(kind="symbolic", name=name, points=plain.encode(points))

    def around(self) -> tuple[list[str], list[str], list[str]]:
        """What went wrong in cells that this question's answers depend on, the answers that later cells changed, its cells."""
        told = self._told(kind="causes", name="causes", names=list(self.asked))
        texts = [[t[:300] for t in part[:5] if isinstance(t, str)] for part in told if isinstance(part, list)]
        return (texts[0], texts[1], texts[2]) if len(texts) == 3 else ([], [], [])

    def ids(self) -> list[str]:
        """The ids that the notebook was set up with."""
        return [given[:200] for given in self._told(kind="ids", name="STUDENT_ID")[:10] if isinstance(given, str)]

    def _told(self, **request: Any) -> list[Any]:
        """What the student's side says of itself: a list, or an empty one."""
        try:
            value = plain.decode(self._ask(request).get("value"))
        except (ValueError, TypeError):
            return []
        return value if isinstance(value, list) else []

    def _request(self, **request: Any) -> Any:
        self.asked[request["name"]] = None
        reply = self._reply(request)
        if "unanswered" in reply:
            raise Unanswered
        if "value" not in reply:
            raise NoAnswer(str(plain.decode(reply.get("failed")))[:400], bool(reply.get("person")))
        try:
            value = plain.decode(reply["value"])
        except (ValueError, TypeError, RecursionError) as error:
            raise NoAnswer(f"the answer is {error}") from None
        if request["kind"] == "symbolic" and (not isinstance(value, list) or len(value) != len(request["points"])):
            raise NoAnswer("the answer is not one number for each point")
        return value if request["kind"] == "symbolic" else self._read(request, value)

    def _reply(self, request: dict[str, Any]) -> dict[str, Any]:
        """What is answered. Read anew, an answer is the same: nobody gets a second guess."""
        said = self.said.setdefault(json.dumps(request, sort_keys=True), [])
        if self.freely and said:
            return said.pop(0)
        reply = self._ask(request)
        if not self.freely:
            said.append(reply)
        return reply

    def _read(self, request: dict[str, Any], value: Any) -> Any:
        """An answer as it came, or as a person would read it; ``doubts`` has what leaves that open."""
        read, doubt = forms.read(value), forms.doubt(value)
        if request["kind"] == "value" and isinstance(read, np.ndarray) and 1 in read.shape:
            read = np.squeeze(read)
        self.other |= read is not value
        if doubt:
            self.doubts[request["name"]] = doubt
        return read if self.freely else value


class LocalStudent(Student):
    """Answers from a TRUSTED namespace in this process: the reference, or wrong answers planted by a test."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        super().__init__(lambda request: plain.loads(plain.answer_line(namespace, plain.dumps(request))))


def rng(secret: bytes, own: Any, number: str) -> np.random.Generator:
    """The generator of a question's hidden inputs: HMAC of the instructor's secret, homework, student id and question."""
    text = json.dumps([own.name, own.student_id, number])
    return np.random.default_rng(int.from_bytes(hmac.digest(secret, text.encode(), hashlib.sha256), "big"))


def run(module: ModuleType, student: Student, own: Any, secret: bytes, only: str = "") -> list[Result]:
    """Every question of ``module``, or one; never raises for what the student's side replies."""
    results = []
    for asked in questions(module):
        if only in ("", asked.number):
            begun = time.perf_counter()
            results.append(_run_one(asked, student, own, secret))
            student.seconds[asked.number] = time.perf_counter() - begun
    return results


def _run_one(asked: Question, student: Student, own: Any, secret: bytes) -> Result:
    """A question's result. One that is not full needs a person where that may not be the answer's fault."""
    result = _once(asked, student, own, secret, asked.number)
    if asked.checks is None or result.points == asked.points:
        return result
    result, said = _freely(asked, student, own, secret, result)
    if result.points == asked.points:
        return result
    try:
        causes, later, cells = student.around()
        if causes:
            said.append("see " + ", ".join(causes))
        elif later and not isinstance(student, LocalStudent):
            last = _once(asked, student, own, secret, None)
            if (last.points or 0) > (result.points or 0):
                names = ", ".join(f"`{name}`" for name in later)
                said.append(f"another cell gives {names} another value, which would get {last.points:g}")
        if cells and (said or result.person) and not causes:
            said.append("see " + ", ".join(cells))
    except NoAnswer:
        pass
    result.person |= bool(said)
    result.note = "; ".join(filter(None, [result.note, *said]))
    return result


def _freely(asked: Question, student: Student, own: Any, secret: bytes, result: Result) -> tuple[Result, list[str]]:
    """The result with numbers in other containers read as a person would, if that is better; and what stays open in them."""
    if student.other:
        student.freely = True
        try:
            read = _once(asked, student, own, secret, asked.number)
        finally:
            student.freely = False
        result = read if (read.points or 0) > (result.points or 0) else result
    wanted = {{"'": "words", '"': "words", "{": "a dict"}.get(item.expected[:1]) for item in result.items}
    open_ = {name: doubt for name, doubt in student.doubts.items() if doubt not in wanted}
    return result, [f"`{name}` is, or gives, {doubt}: how is it to be read?" for name, doubt in open_.items()]


def _once(asked: Question, student: Student, own: Any, secret: bytes, when: str | None) -> Result:
    result = Result(asked.number, asked.title, asked.points, asked.section, read=asked.checks is None)
    student.asked, student.doubts, student.other = {}, {}, False
    student.said = student.said if student.freely else {}
    try:
        student.begin(when)
        if asked.checks is None:
            text = student.value(asked.name)
            if isinstance(text, list | dict):  # paragraphs
                text = "\n".join(map(str, text.values() if isinstance(text, dict) else text))
            if not isinstance(text, str):
                raise NoAnswer(f"`{asked.name}` is no text but a {type(text).__name__}", person=True)
            result.points, result.state, result.text = None, "to read", text[:20_000]
            return result
        for item in asked.checks(student, own, rng(secret, own, asked.number)):
            result.items.append(item)
        total = sum(item.points for item in result.items)
        if all(item.ok for item in result.items) and abs(total - asked.points) > 1e-9:
            result.note, result.person = f"the checks add up to {total:g} points, not {asked.points:g}", True
    except Unanswered:
        result.state, result.note = "unanswered", "not answered"
    except NoAnswer as error:
        result.state, result.note, result.person = "no answer", str(error), error.person
    except Failed:
        raise
    except Exception as error:  # the answer's form surprised the check: not the student's to decide
        result.note, result.person = f"the answer could not be compared ({plain.reason(error)})", True
    result.points = min(sum(item.points for item in result.items if item.ok), asked.points)
    return result
