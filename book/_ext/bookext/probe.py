"""A chapter executed once, its assertions and claimed numbers recorded instead of compared.

Each assertion is taken apart at its ``and``; each part records how often it ran, whether it was ever false and whether it compared
a SymPy expression, and each ``all(…)`` in it whether it ever had something to look at. So one run answers for every negation.
Run as a program, by :func:`probe`: ``python -m bookext.probe chapter.md`` prints the record as JSON.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .build import BUILD, ENVIRONMENT, cache_path, digest
from .source import ROOT, Cell, Chapter, read_chapter

Record = dict[str, Any]
LIMIT = 170  # seconds a chapter


class _Recorder(ast.NodeTransformer):
    """Puts ``_note(key, part)`` in place of each part of an assertion, ``_some(key, items)`` in each of its ``all``, and
    ``_left(key, value)`` on the left of each of its comparisons."""

    def __init__(self, cell: Cell) -> None:
        self.cell, self.parts, self.inside = cell, dict[str, str](), ""

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        parts = (
            node.test.values if isinstance(node.test, ast.BoolOp) and isinstance(node.test.op, ast.And) else [node.test]
        )
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
    runs: dict[str, int] = {}
    false, empty, symbolic = set[str](), set[str](), set[str]()

    def note(key: str, value: Any) -> None:
        runs[key] = runs.get(key, 0) + 1
        if not bool(value):
            false.add(key)

    def some(key: str, items: Any) -> list[Any]:
        found = list(items)
        empty.discard(key) if found else empty.add(key)
        return found

    def left(key: str, value: Any) -> Any:
        if any(isinstance(v, sympy.Basic) for v in (value if isinstance(value, list) else [value])):
            symbolic.add(key)
        return value

    names: dict[str, Any] = {"__name__": "__main__", "_note": note, "_some": some, "_left": left}
    builtins.__dict__.setdefault("display", lambda *shown: None)
    for cell in (cell for cell in chapter.cells if cell.kind == "code"):
        lines = ["" if line.startswith(("%", "!")) else line for line in cell.source.splitlines()]
        recorder = _Recorder(cell)
        tree = ast.fix_missing_locations(recorder.visit(ast.parse("\n".join(lines))))
        parts |= recorder.parts
        exec(compile(tree, f"{chapter.name}:{cell.line}", "exec"), names)
    numbers = [float(eval(claim.expression, names)) for claim in chapter.claims]
    return {
        "parts": parts,
        "runs": runs,
        "false": sorted(false),
        "empty": sorted(empty),
        "symbolic": sorted(symbolic),
        "numbers": numbers,
    }


def probe(chapter: Chapter) -> Record:
    """The record of a chapter, from a run of its own or, if nothing it depends on has changed, from an earlier one."""
    place = BUILD / "probe" / f"{chapter.path.stem}-{cache_path().name}-{digest([chapter.path, Path(__file__)])}.json"
    if not place.exists():
        begun = time.perf_counter()
        paths = os.pathsep.join([str(ROOT / "book/_ext"), str(ROOT)])
        environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": paths, "MPLBACKEND": "agg"}
        command = [sys.executable, "-m", "bookext.probe", str(chapter.path)]
        done = subprocess.run(
            command,
            cwd=chapter.path.parent,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{chapter.name}: {done.stderr.strip().splitlines()[-1]}")
        found = {**json.loads(done.stdout.splitlines()[-1]), "seconds": time.perf_counter() - begun}
        place.parent.mkdir(parents=True, exist_ok=True)
        for older in place.parent.glob(f"{chapter.path.stem}-*.json"):
            older.unlink()
        place.write_text(json.dumps(found))
    return json.loads(place.read_text())


def main(path: str) -> None:
    """Print the record of one chapter; what its cells print is left out."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        found = record(read_chapter(path))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
