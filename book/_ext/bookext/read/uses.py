"""Which modules of ``labs`` a page's outputs depend on: those that its cells import, and those that these import in turn.

Where that cannot be read (a line for IPython, a module named while the code runs) it is all of them: outputs are kept only where it
is sure that nothing they came from has changed.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from .book import ROOT
from .chapter import read_chapter
from .kept import digest, files, remembered

NAMED = re.compile(r"\blabs(?:\.\w+)+")  # in a text: what import_module or a new Python may be told
HALF_NAMED = re.compile(
    r"\blabs(?:\s+import\b|/)|^(?:.*(?:import|from) )?labs\.$"
)  # a program, a path, the beginning of a name
SPEAKS = re.compile(
    r"labs|import_module|__import__|run_module|run_path|^\s*[%!]", re.MULTILINE
)  # else there is nothing to find
LOADERS = {"import_module", "__import__", "run_module", "run_path"}
TRANSLATION = ROOT / "labs" / "words.po"  # what is said in English does not depend on it
MACHINE, OWN = Path(__file__).with_name("machine.py"), [Path(__file__)]


class Unknown(Exception):
    """Code that may import anything."""


def module_files(name: str) -> list[Path]:
    """The files that importing a module reads: its own, and the ``__init__.py`` of each package that it lies in."""
    parts, found = name.split("."), list[Path]()
    for n in range(1, len(parts) + 1):
        path = ROOT.joinpath(*parts[:n])
        found += [p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()]
    return found


def _docstrings(tree: ast.AST) -> Iterator[ast.AST]:
    """Texts that stand by themselves: nobody is told them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def imported(tree: ast.AST, package: str = "") -> set[str]:
    """The modules of labs that code in a ``package`` imports or names in a text."""
    found, spared = set[str](), {id(node) for node in _docstrings(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            whole = ".".join([*above, *([node.module] if node.module else [])])
            found |= {whole} | {f"{whole}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in spared:
            found |= {f"{name}{run}" for name in NAMED.findall(node.value) for run in ("", ".__main__")}
    return {name for name in found if name.partition(".")[0] == "labs"}


def _unknown(node: ast.AST) -> bool:
    """Whether a node of a cell may import what cannot be read from it."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and bool(HALF_NAMED.search(node.value))
    if not isinstance(node, ast.Call):
        return False
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    return name in LOADERS and not (node.args and isinstance(node.args[0], ast.Constant))


def _in_cells(sources: list[str]) -> set[str]:
    """The modules of labs that cells import; ``Unknown`` where they may import others."""
    found = set[str]()
    for source in sources:
        if not SPEAKS.search(source):
            continue
        try:
            tree = ast.parse(source)
        except SyntaxError:  # %run, !python
            raise Unknown from None
        if any(map(_unknown, ast.walk(tree))):
            raise Unknown
        found |= imported(tree)
    return found


@cache
def _imports(path: Path) -> frozenset[str]:
    """What a file of labs imports."""

    def read() -> list[str]:
        return sorted(imported(ast.parse(path.read_text("utf8")), ".".join(path.parent.relative_to(ROOT).parts)))

    return frozenset(remembered("-".join(path.relative_to(ROOT).with_suffix("").parts), digest([path, *OWN]), read))


def used(sources: list[str]) -> list[Path]:
    """The files of labs that the outputs of cells depend on."""
    every = [path for path in files("labs") if path != TRANSLATION]
    try:
        waiting = [file for name in _in_cells(sources) for file in module_files(name)]
    except (Unknown, SyntaxError):
        return sorted(every)
    found = {path for path in every if path.suffix != ".py"}  # data may be read by any
    try:
        while waiting:
            path = waiting.pop()
            if path not in found:
                found.add(path)
                waiting += [file for name in _imports(path) for file in module_files(name)]
    except SyntaxError:  # its chapter says so
        return sorted(every)
    speaks = any("import spoken" in path.read_text("utf8") for path in found)  # also while a page is computed
    return sorted(found | {TRANSLATION} if speaks else found)


@cache
def _used(sources: tuple[str, ...]) -> list[Path]:
    return used(list(sources))


def used_by(page: Path) -> list[Path]:
    """The files of labs that a page's outputs depend on."""
    return _used(tuple(cell.source for cell in read_chapter(page).code))


def made_with(page: Path) -> str:
    """A hash of what a page's outputs depend on besides its own cells: modules of labs, pins, the build's environment."""
    return digest([*used_by(page), ROOT / "requirements.txt", MACHINE])
