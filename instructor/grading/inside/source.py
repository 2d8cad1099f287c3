"""A notebook's cells as statements: what each binds and reads, so that one that fails costs itself and what depends on it.

Beside the student's code, as all of this folder: nothing outside trusts what is said here.
"""

from __future__ import annotations

import ast
import contextlib
import linecache
import re
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import parso
from IPython.core.inputtransformer2 import TransformerManager

MAGIC = re.compile(r"\A(?:[ \t]*(?:#.*)?\n)*[ \t]*%%(\w+)(.*)(?:\n|\Z)")
# Cell magics whose text is no Python, or is kept instead of run. All others time, watch or lay out what they run.
OTHER = {
    "bash", "sh", "shell", "script", "cmd", "system", "sx", "perl", "ruby", "pypy", "python2", "html", "HTML", "svg", "SVG", "latex",
    "markdown", "js", "javascript", "writefile", "file", "sql", "bigquery", "R", "julia", "octave", "cython", "timeit", "mermaid",
    "writetemplate", "ai", "gemini", "spark", "cpp", "cu",
}  # fmt: skip
BOUND = re.compile(
    r"^[ \t]*(?:(?:async[ \t]+)?def|class)[ \t]+(\w+)|^(\w+)(?:[ \t]*:[^=\n]+)?[ \t]*=(?!=)", re.MULTILINE
)


@dataclass
class Statement:
    """One top-level statement; ``why`` says what went wrong, and is empty as long as nothing did."""

    cell: int
    number: int
    code: types.CodeType | None
    binds: set[str] = field(default_factory=set)
    reads: set[str] = field(default_factory=set)
    imports: set[str] = field(default_factory=set)  # modules, or names in them
    why: str = ""


class Source:
    """The statements of all cells in order; ``asked`` gives the cell of each question's last check, and of each name in one."""

    def __init__(self, cells: Sequence[str]) -> None:
        self.transform = TransformerManager().transform_cell
        self.statements: list[Statement] = []
        self.asked: dict[str, int] = {}
        self.answers: dict[int, set[str]] = {}  # what the checks in a cell are given
        self.ids = {"STUDENT_ID"}
        self.files: dict[int, tuple[str, str]] = {}  # what %%writefile writes, by cell
        for k, text in enumerate(cells):
            self.statements += self.parse(text, k, f"<cell {k + 1}>")

    def parse(self, text: str, cell: int, name: str) -> Iterator[Statement]:
        """The statements of a text; what is no Python is one that failed."""
        while (match := MAGIC.match(text)) and (match[1] not in OTHER):
            text = "\n" + text[match.end() :]  # lines keep their numbers, but for one
        if match:
            rest = text[match.end() :]
            if match[1] in ("writefile", "file"):
                self.files[cell] = (match[2], rest)
            elif match[1] not in (
                "timeit",
                "bash",
                "sh",
                "shell",
                "html",
                "HTML",
                "markdown",
                "latex",
                "js",
                "javascript",
            ):
                yield Statement(cell, 0, None, _bound(rest), why=f"%%{match[1]} is not run here")
            return
        with contextlib.suppress(SyntaxError, ValueError, RecursionError):
            text = self.transform(text)
        linecache.cache[name] = (len(text), None, text.splitlines(True), name)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        for number, node in enumerate(_nodes(text)):
            if isinstance(node, ast.ImportFrom) and node.module == "__future__":
                flags |= sum(getattr(__import__("__future__"), a.name).compiler_flag for a in node.names)
            try:
                if isinstance(node, str):
                    compile(node, name, "exec")
                    raise SyntaxError("invalid syntax")
                code = compile(ast.Module([node], []), name, "exec", flags=flags, dont_inherit=True)
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                part = node if isinstance(node, str) else ast.unparse(node)
                yield Statement(cell, number, None, _bound(part), why=f"{type(error).__name__}: {error}"[:200])
                continue
            yield self._statement(cell, number, node, code)

    def _statement(self, cell: int, number: int, node: ast.stmt, code: types.CodeType) -> Statement:
        made = Statement(cell, number, code)
        for part in ast.walk(node):
            if isinstance(part, ast.Name):
                (made.reads if isinstance(part.ctx, ast.Load) else made.binds).add(part.id)
            elif isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                made.binds.add(part.name)
            elif isinstance(part, ast.Import | ast.ImportFrom):
                made.binds |= {(a.asname or a.name).partition(".")[0] for a in part.names}
                module = getattr(part, "module", None)
                made.imports |= {f"{module}.{a.name}" if module else a.name for a in part.names}
            elif isinstance(part, ast.Attribute | ast.Subscript) and isinstance(part.value, ast.Name):
                if isinstance(part.ctx, ast.Store) or isinstance(node, ast.Expr):  # x[0] = 1, x.append(1)
                    made.binds.add(part.value.id)
            elif isinstance(part, ast.Call):
                self._call(part, made)
        return made

    def _call(self, call: ast.Call, made: Statement) -> None:
        """A check names the answers of a question, and the set-up the student's id."""
        names = [arg.id for arg in call.args[1:] if isinstance(arg, ast.Name)]
        called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if called == "check" and call.args and isinstance(call.args[0], ast.Constant):
            for name in (str(call.args[0].value), *names):
                self.asked[name] = made.cell
            self.answers.setdefault(made.cell, set()).update(names)
        elif called == "Homework":
            self.ids |= {
                arg.id for arg in [*call.args[1:2], *(k.value for k in call.keywords)] if isinstance(arg, ast.Name)
            }

    def causes(self, names: Sequence[str], missing: set[str]) -> list[str]:
        """What went wrong in the statements that ``names`` depend on, cell by cell; ``missing`` are packages."""
        todo, seen, found = list(names), set(names), {}
        while todo:
            name = todo.pop()
            for s in self.statements:
                if name in s.binds:
                    absent = ", ".join(
                        sorted(m for m in missing if any(f"{i}.".startswith(f"{m}.") for i in s.imports))
                    )
                    if why := s.why or (absent and f"{absent} is not installed here"):
                        found[s.cell, s.number] = f"cell {s.cell + 1}: {why}"
                    todo += s.reads - seen
                    seen |= s.reads
        return [found[key] for key in sorted(found)][:5]

    def places(self, names: Sequence[str]) -> list[str]:
        """The cells that give ``names`` their values, the last of each."""
        last = {name: s.cell + 1 for s in self.statements for name in s.binds if name in names}
        return [f"cell {k}" for k in sorted(set(last.values()))]


def _bound(text: str) -> set[str]:
    return {a or b for a, b in BOUND.findall(text)}


def _nodes(text: str) -> list[ast.stmt | str]:
    """The top-level statements of a text; as text those parts that are no Python."""
    try:
        return list(ast.parse(text).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    found: list[ast.stmt | str] = []
    try:
        for child in parso.parse(text).children:
            part = child.get_code(include_prefix=False)
            line, column = child.start_pos
            try:
                if column:
                    raise SyntaxError
                found += ast.parse("\n" * (line - 1) + part).body
            except (SyntaxError, ValueError):
                found += [part] if part.strip() else []
    except (RecursionError, MemoryError):
        found.append(text)
    return found
