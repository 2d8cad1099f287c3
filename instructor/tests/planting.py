"""Wrong answers put into the solved notebook: what its visible check says, and what the hidden one does.

The messages of a homework's hidden checks are read from its ``checks.py``, so that a new one asks for a planted answer.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import mmap
import os
import re
import tempfile
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bookext.read.chapter import notebook_node

from instructor.grading import checks
from instructor.release import ROOT, masters
from instructor.term import LINE, salt
from labs.homework import Homework

HOMEWORKS = tuple(path.stem for path in masters())
LONG = ("hw3", "hw4", "hw5")  # a solved one of these computes for a second or more
# The tests of one homework share what they have worked out.
MARKS = {name: [pytest.mark.xdist_group(name), *[pytest.mark.slow] * (name in LONG)] for name in HOMEWORKS}
each_homework = pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS[name]) for name in HOMEWORKS])
SECRET = b"a secret for tests"
LARGE = 2**17  # bytes
SALT = os.environ.get("TERM_SALT") or salt()  # the term's; the rehearsal tries others


@cache
def master(name: str) -> str:
    text = (ROOT / "instructor" / name / f"{name}.md").read_text("utf8")
    return LINE.sub(rf"\g<1>{SALT}\g<3>", text)


@cache
def cells(text: str) -> tuple[tuple[str, str], ...]:
    """The code cells of a master or page: the question that each answers, if any, and its source."""
    found = (c for c in notebook_node(text).cells if c.cell_type == "code")
    return tuple((c.metadata.get("question", ""), c.source) for c in found)


def execute(sources: list[str], namespace: dict[str, Any]) -> str:
    """Run cells one after the other in ``namespace``; what they print."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for source in sources:
            exec(compile(source, "<cell>", "exec"), namespace)
    return printed.getvalue()


def whole(text: str, student_id: str, answers: dict[str, str] | None = None) -> tuple[dict[str, Any], str]:
    """Run a notebook as a student would, with the given answers behind the cells of their questions."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    sources = [f"{source}\n{(answers or {}).get(asked, '')}" for asked, source in cells(text)]
    identity = f"STUDENT_ID = {student_id!r}"
    sources = [re.sub(r"^STUDENT_ID = .*$", identity, source, flags=re.MULTILINE) for source in sources]
    return namespace, execute(sources, namespace)


def reference(name: str, student_id: str = "s123") -> tuple[dict[str, Any], str]:
    return _reference(name, student_id)


@cache  # which knows a call by how it is written: with its defaults filled in
def _reference(name: str, student_id: str) -> tuple[dict[str, Any], str]:
    return whole(master(name), student_id)


def module(name: str) -> Any:
    return importlib.import_module(f"instructor.{name}.checks")


def graded(name: str, namespace: dict[str, Any], student_id: str = "s123", only: str = "") -> dict[str, checks.Result]:
    asked = [q for q in checks.questions(module(name)) if only in ("", q.number)]
    part = SimpleNamespace(QUESTIONS=asked, __name__=name)
    own = Homework(name, student_id, salt=SALT)
    return {r.question: r for r in checks.run(part, checks.LocalStudent(namespace), own, SECRET)}


def line_of(printed: str, question: str) -> str:
    """What the visible check of a question printed."""
    return next(line for line in printed.splitlines() if re.match(rf"[✓✗–] {re.escape(question)}(:|$)", line))


def copy_of(namespace: dict[str, Any]) -> dict[str, Any]:
    """A solved notebook's names for an answer that may change arrays in place."""
    return {k: _copied(v) if isinstance(v, np.ndarray) else v for k, v in namespace.items()}


FILES: dict[int, tuple[np.ndarray, Any]] = {}  # by the id of an array: itself, which so keeps its id, and its bytes


def _copied(array: np.ndarray) -> np.ndarray:
    """A copy; of a large array a map of its bytes, of which the kernel copies the pages that are written to."""
    if array.nbytes < LARGE or array.dtype.hasobject:
        return array.copy()
    if id(array) not in FILES:
        FILES[id(array)] = array, tempfile.TemporaryFile()  # noqa: SIM115 open as long as this process
        FILES[id(array)][1].write(array.tobytes())
        FILES[id(array)][1].flush()
    own = mmap.mmap(FILES[id(array)][1].fileno(), array.nbytes, access=mmap.ACCESS_COPY)
    return np.frombuffer(own, array.dtype).reshape(array.shape)


def planted(name: str, question: str, answer: str, student_id: str = "s123") -> tuple[str, checks.Result]:
    """One wrong answer in a notebook that is right otherwise: the line of its visible check, the hidden result."""
    return _planted(name, question, answer, student_id)


@cache
def _planted(name: str, question: str, answer: str, student_id: str) -> tuple[str, checks.Result]:
    copied = copy_of(reference(name, student_id)[0])
    visible = [source for asked, source in cells(master(name)) if f'hw.check("{question}"' in source and not asked]
    printed = execute([answer, *visible], copied)
    return line_of(printed, question), graded(name, copied, student_id, only=question)[question]


def said(result: checks.Result) -> str:
    return " | ".join([result.note, *(item.feedback for item in result.items if not item.ok)])


def messages(name: str) -> set[tuple[str, str]]:
    """Every message of the hidden checks with its question: the keys of their dictionaries of wrong answers."""
    found = set()
    for function in ast.parse((ROOT / "instructor" / name / "checks.py").read_text("utf8")).body:
        numbers = [
            d.args[0].value
            for d in getattr(function, "decorator_list", [])
            if isinstance(d, ast.Call)
            and getattr(d.func, "id", "") == "question"
            and isinstance(d.args[0], ast.Constant)
        ]
        named = {
            node.targets[0].id: node.value.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Constant)
        }
        keys = [key for node in ast.walk(function) if isinstance(node, ast.Dict) for key in node.keys]
        texts = [named.get(getattr(key, "id", ""), getattr(key, "value", "")) for key in keys]
        found |= {(str(n), text) for n in numbers for text in texts if isinstance(text, str) and " " in text}
    return found


@cache
def answer_names(name: str) -> dict[str, list[str]]:
    """The names that each question's cell binds in the solved notebook, those of the hidden checks alone."""
    found: dict[str, list[str]] = {}
    for asked, source in cells(master(name)):
        if asked:
            body = ast.parse(source).body
            functions = [f.name for f in body if isinstance(f, ast.FunctionDef)]
            targets = [t for s in body if isinstance(s, ast.Assign) for t in s.targets]
            bound = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
            found[asked] = list(dict.fromkeys(n for n in bound + functions if not n.startswith("_")))
    return found


def slips(name: str, question: str) -> list[str]:
    """Wrong answers that nobody had in mind: each number, or what each function returns, a little off."""
    namespace, made = reference(name)[0], []
    for answer in answer_names(name)[question]:
        value = namespace[answer]
        if callable(value):
            off = "[_off(x) for x in v] if isinstance(v, (list, tuple)) else v if v is True or v is False else v * 1.1"
            made.append(
                f"_right_{answer} = {answer}\ndef _off(v):\n    return {off}\n"
                f"def {answer}(*given):\n    return _off(_right_{answer}(*given))"
            )
        elif isinstance(value, int | float | np.number) and not isinstance(value, bool):
            whole_number = float(value) == int(value)
            made += [
                f"{answer} = {answer} {change}" for change in (("+ 1", "- 1") if whole_number else ("* 1.1", "/ 1.2"))
            ]
    return made
