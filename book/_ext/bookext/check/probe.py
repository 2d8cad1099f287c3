"""A chapter executed once, its assertions and claimed numbers recorded instead of compared.

Each assertion is taken apart at its ``and``; each part records whether it ran, whether it was ever false and whether it compared
a SymPy expression, and each ``all(…)`` in it whether it ever had something to look at. So one run answers for every negation.
Run as a program, by :func:`probe`: ``python -m bookext.check.probe chapter.md`` prints the record as JSON.
"""

import ast
import builtins
import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bookext.read.book import ROOT
from bookext.read.chapter import Cell, Chapter, read_chapter
from bookext.read.kept import digest, remembered
from bookext.read.machine import build_environment
from bookext.read.uses import made_with

Record = dict[str, Any]
LIMIT = 170  # seconds a chapter


class _Recorder(ast.NodeTransformer):
    """Puts ``_note(key, part)`` in place of each part of an assertion, ``_some(key, items)`` in each of its ``all``, and
    ``_left(key, value)`` on the left of each of its comparisons."""

    def __init__(self, cell: Cell) -> None:
        self.cell, self.parts, self.inside = cell, dict[str, str](), ""

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        test = node.test
        parts = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]
        noted: list[ast.expr] = []
        for column, part in enumerate(parts):
            self.inside = f"{self.cell.line + part.lineno - 1}:{column}"
            self.parts[self.inside] = ast.unparse(part)
            noted.append(_call("_note", self.inside, self.visit(part)))
        self.inside = ""
        return ast.copy_location(ast.Expr(ast.List(noted, ast.Load())), node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if self.inside and isinstance(node.func, ast.Name) and node.func.id == "all":
            node.args = [_call("_some", self.inside, node.args[0])]
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if self.inside:
            node.left = _call("_left", self.inside, node.left)
        return node


def _call(name: str, key: str, argument: Any) -> ast.expr:
    return ast.Call(ast.Name(name, ast.Load()), [ast.Constant(key), argument], [])


def record(chapter: Chapter) -> Record:
    """Execute a chapter here: ``{"parts": {line:part: source}, "runs": …, "false": …, "empty": …,
    "symbolic": …, "numbers": …}``."""
    import sympy

    parts: dict[str, str] = {}
    seen: dict[str, set[str]] = {"runs": set(), "false": set(), "empty": set(), "symbolic": set()}

    def note(key: str, value: Any) -> None:
        seen["runs"].add(key)
        if not bool(value):
            seen["false"].add(key)

    def some(key: str, items: Any) -> list[Any]:
        found = list(items)
        seen["empty"].discard(key) if found else seen["empty"].add(key)
        return found

    def left(key: str, value: Any) -> Any:
        if any(isinstance(v, sympy.Basic) for v in (value if isinstance(value, list) else [value])):
            seen["symbolic"].add(key)
        return value

    names: dict[str, Any] = {"__name__": "__main__", "_note": note, "_some": some, "_left": left}
    builtins.__dict__.setdefault("display", lambda *shown: None)
    for cell in chapter.code:
        lines = ["" if line.startswith(("%", "!")) else line for line in cell.source.splitlines()]
        recorder = _Recorder(cell)
        tree = ast.fix_missing_locations(recorder.visit(ast.parse("\n".join(lines))))
        parts |= recorder.parts
        exec(compile(tree, f"{chapter.name}:{cell.line}", "exec"), names)
    numbers = [float(eval(number.expression, names)) for number in chapter.numbers]
    return {"parts": parts, "numbers": numbers, **{what: sorted(keys) for what, keys in seen.items()}}


def probe(chapter: Chapter) -> Record:
    """The record of a chapter, from a run of its own or, if nothing it depends on has changed, from an earlier one."""

    def run() -> Record:
        paths = os.pathsep.join([str(ROOT / "book/_ext"), str(ROOT)])
        environment = {**build_environment(), "PYTHONPATH": paths, "MPLBACKEND": "agg"}
        command = [sys.executable, "-m", "bookext.check.probe", str(chapter.path)]
        where: dict[str, Any] = {"cwd": chapter.path.parent, "env": environment, "timeout": LIMIT}
        done = subprocess.run(command, capture_output=True, text=True, check=False, **where)
        if done.returncode:
            raise RuntimeError(f"{chapter.name}: {done.stderr.strip().splitlines()[-1]}")
        return json.loads(done.stdout.splitlines()[-1])

    key = f"{made_with(chapter.path)}-{digest([chapter.path, Path(__file__)])}"
    return remembered(f"probe-{chapter.path.stem}", key, run)


def main(path: str) -> None:
    """Print the record of one chapter; what its cells print is left out."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        found = record(read_chapter(path))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
