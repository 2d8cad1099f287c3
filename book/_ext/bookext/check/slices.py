"""The part of a chapter that a claim needs, its fingerprint, and the changes that stress makes to it.

*The slice.* Of the deciding cell everything up to the last assertion of a claim in it. Of the cells above, last to first, those
that bind or change a name that is needed so far; in the claim's own section also those that hand a needed object to a function,
which may change it (a network to its training). Left out everywhere: other assertions, printing, drawing, cells of the section
tagged ``guard`` that bind nothing needed, and imports, functions and constants that nothing needed uses.

*The fingerprint* is a hash of what can move the result: the slice's code with the claim's own assertion, the code of the modules
of ``labs`` that it imports, those that they import included, and the versions of torch and numpy. Comments, layout, docstrings,
what is printed or drawn, ``labs.plots`` and its siblings, and other assertions do not count.
"""

import ast
import builtins
import copy
import hashlib
import pickle
import re
import symtable
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib import metadata
from pathlib import Path

from bookext.read.book import ROOT
from bookext.read.chapter import Chapter, parse_chapter
from bookext.read.claims import decided_by, statements

PICTURES = ("labs.plots", "labs.drawings", "labs.tables")
DRAWING = ("matplotlib", *PICTURES, "IPython.display")
SHOWN = {"print", "display", "tqdm.write", "shown.row"}  # ``shown`` is a table of labs.tables
PURE = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef
BUILTINS = set(dir(builtins))
version = cache(metadata.version)
Statements = list[ast.stmt]


class SliceError(ValueError):
    """A variation that rewrites nothing, or more than one place; says where."""


@dataclass(frozen=True)
class Slice:
    """The statements that a cell's claims need, in order; their lines are the page's."""

    body: tuple[ast.stmt, ...]

    def program(self, *claims: str) -> ast.Module:
        """A module of its own to change and run, without the assertions of other claims."""
        return _Stripped(claims).visit(ast.Module(pickle.loads(self._pickled), []))

    @cached_property
    def _pickled(self) -> bytes:
        """Each program begins with a copy, which so takes two thirds of what ``copy.deepcopy`` takes."""
        return pickle.dumps(list(self.body))

    @lru_cache(maxsize=512)  # noqa: B019  # a slice is kept as long
    def text(self, *claims: str) -> str:
        """The program as Python writes it: without comments, layout and docstrings."""
        return ast.unparse(_without_docstrings(self.program(*claims)))


class _Stripped(ast.NodeTransformer):
    """Takes out assertions, but for those of claims (of these, where some are named), and what is printed."""

    def __init__(self, claims: Iterable[str] = ()) -> None:
        self.claims = set(claims)

    def visit_Assert(self, node: ast.Assert) -> ast.AST | None:
        name = decided_by(node)
        return node if name and (not self.claims or name in self.claims) else None

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        first = node.targets[0]
        return None if isinstance(first, ast.Name) and first.id == "shown" else node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        call, calls = node.value, [n for n in ast.walk(node) if isinstance(n, ast.Call | ast.Await | ast.Yield)]
        shown = isinstance(call, ast.Call) and ast.unparse(call.func) in SHOWN
        return None if shown or not calls else node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(getattr(node, "body", None), list) and not node.body and not isinstance(node, ast.Module):  # type: ignore[attr-defined]
            node.body = [ast.copy_location(ast.Pass(), node)]  # type: ignore[attr-defined]
        return node


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return tree


@dataclass(frozen=True)
class Names:
    """What a statement reads, surely binds, binds at all, changes in place and hands to functions."""

    reads: frozenset[str]
    sure: frozenset[str]
    binds: frozenset[str]
    changes: frozenset[str]
    hands: frozenset[str]


def _root(node: ast.AST) -> str | None:
    """The name that ``a.b[c].d`` begins with."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call | ast.Starred):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a statement that run with it: not the bodies of the functions that it defines."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        yield node
        for child in ast.iter_child_nodes(node):
            yield from _outside_functions(child)


def names_of(statement: ast.stmt) -> Names:
    """The names of a statement at a cell's top level; it reads what it does not bind itself before."""
    reads, binds = _flow(statement)
    effects = [effect for node in _outside_functions(statement) for effect in _effects(node)]
    changes, hands = (frozenset(n for kind, n in effects if n and kind == which) for which in ("changes", "hands"))
    all_bound = _binds(_symbols(statement)) if hasattr(statement, "body") else binds
    return Names(frozenset(reads - BUILTINS), frozenset(binds), frozenset(all_bound), changes, hands)


def _symbols(node: ast.AST) -> symtable.SymbolTable:
    """Python's own table of the names in code."""
    return symtable.symtable(ast.unparse(node), "", "exec")


def _binds(top: symtable.SymbolTable) -> set[str]:
    """The names that code binds at its top level, wherever in it."""
    return {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}


def _reads(top: symtable.SymbolTable) -> set[str]:
    """The names of the module that code reads, also in its functions."""
    reads, tables = {s.get_name() for s in top.get_symbols() if s.is_referenced()}, list(top.get_children())
    while tables:
        table = tables.pop()
        reads |= {s.get_name() for s in table.get_symbols() if s.is_global() and s.is_referenced()}
        tables += table.get_children()
    return reads


def _targets(targets: Iterable[ast.expr | None]) -> set[str]:
    """The names in what a loop or a ``with`` binds."""
    return {
        name
        for target in targets
        if target
        for name in _binds(_symbols(ast.Assign([target], ast.Constant(0), lineno=0)))
    }


def _head(statement: ast.stmt) -> tuple[set[str], set[str]] | None:
    """What the first line of a compound statement reads and binds; None for a simple statement."""
    if isinstance(statement, ast.For):
        return _reads(_symbols(statement.iter)), _targets([statement.target])
    if isinstance(statement, ast.With):
        reads = {name for item in statement.items for name in _reads(_symbols(item.context_expr))}
        return reads, _targets(item.optional_vars for item in statement.items)
    if isinstance(statement, ast.If | ast.While):
        return _reads(_symbols(statement.test)), set()
    return (set(), set()) if isinstance(statement, ast.Try) else None


def _flow(statement: ast.stmt) -> tuple[set[str], set[str]]:
    """What a statement reads from before, and what it surely binds; a loop runs at least once."""
    head = _head(statement)
    if head is None:
        again = _targets([statement.target]) if isinstance(statement, ast.AugAssign) else set()
        top = _symbols(statement)
        return _reads(top) | again, _binds(top)
    handlers = [handler.body for handler in getattr(statement, "handlers", [])]
    flows = [
        _flow_of(body) for body in (*(getattr(statement, n, []) for n in ("body", "orelse", "finalbody")), *handlers)
    ]
    reads = head[0] | ({name for found, _ in flows for name in found} - head[1])
    if isinstance(statement, ast.If):
        return reads, flows[0][1] & flows[1][1]
    return reads, head[1] | flows[0][1].intersection(*(bound for _, bound in flows[3:]))


def _flow_of(body: Statements) -> tuple[set[str], set[str]]:
    """``_flow`` of statements in turn."""
    reads, bound = set[str](), set[str]()
    for statement in body:
        read, binds = _flow(statement)
        reads |= read - bound
        bound |= binds
    return reads, bound


def _effects(node: ast.AST) -> Iterator[tuple[str, str | None]]:
    """What a node may do to an object that it does not bind: the kind, and the object's name."""
    if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
        yield "changes", _root(node)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        yield "changes", _root(node.value)  # optimizer.step()
    elif isinstance(node, ast.Call):
        yield from (("hands", _root(given)) for given in (*node.args, *(k.value for k in node.keywords)))
        yield from (("changes", _root(k.value)) for k in node.keywords if k.arg in {"generator", "g"})
        if isinstance(node.func, ast.Attribute) and re.fullmatch(r"[a-z]\w*_", node.func.attr):
            yield "changes", _root(node.func)  # w.normal_()


def _is_plain(statement: ast.stmt) -> bool:
    """Whether a statement only binds names: an import, a function, or a value that nothing computes."""
    if isinstance(statement, PURE):
        return not getattr(statement, "decorator_list", [])
    simple = isinstance(statement, ast.Assign) and all(isinstance(t, ast.Name | ast.Tuple) for t in statement.targets)
    return simple and not any(isinstance(node, ast.Call | ast.Await) for node in ast.walk(statement))


def only(statement: ast.stmt, needed: set[str]) -> ast.stmt:
    """An import without what nobody needs."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        statement = copy.deepcopy(statement)
        statement.names = [a for a in statement.names if (a.asname or a.name).split(".")[0] in needed]
    return statement


@cache
def _drawing(text: str, path: Path) -> frozenset[str]:
    """The names of a chapter that draw: modules for drawing, and what comes from calling them."""
    found: set[str] = set()
    for cell in parse_chapter(text, path).code:
        for statement in statements(cell):
            if isinstance(statement, ast.Import | ast.ImportFrom):
                module = getattr(statement, "module", None)
                whole = {
                    a.asname or a.name.split(".")[0]: f"{module}.{a.name}" if module else a.name
                    for a in statement.names
                }
                found |= {name for name, origin in whole.items() if origin.startswith(DRAWING)}
            elif isinstance(statement, ast.Assign) and _root(statement.value) in found:
                found |= names_of(statement).binds
            elif isinstance(statement, ast.FunctionDef) and names_of(statement).reads & found:
                found.add(statement.name)
    return frozenset(found)


def _fills(node: ast.AST) -> bool:
    """Whether an expression makes a list, a set or a dictionary that is there to be filled: an empty one, or a computed one."""
    empty = isinstance(node, ast.List | ast.Set | ast.Dict) and not (
        node.keys if isinstance(node, ast.Dict) else node.elts
    )
    return empty or isinstance(node, ast.ListComp | ast.DictComp | ast.SetComp)


@cache
def _data(text: str, path: Path) -> frozenset[str]:
    """The names of a chapter whose values a function could change: not functions, imports, numbers or given lists."""
    bound: set[str] = set()
    for cell in parse_chapter(text, path).code:
        for statement in statements(cell):
            mutable = isinstance(statement, ast.Assign) and any(_fills(node) for node in ast.walk(statement))
            if mutable or not _is_plain(statement):
                bound |= names_of(statement).binds
    return frozenset(bound)


def slice_of(chapter: Chapter, *cells: int) -> Slice:
    """What the claims of a chapter's code cells (from 0) need; of several cells, what any of them needs."""
    return _slice(chapter.text, chapter.path, cells)


@lru_cache(maxsize=512)
def _cell(text: str, path: Path, index: int) -> list[tuple[ast.stmt, Names, bool]]:
    """The statements of a cell that count, their names, and whether a claim is decided in them."""
    body = _Stripped().visit(ast.Module(statements(parse_chapter(text, path).code[index]), [])).body
    return [(s, names_of(s), any(decided_by(node) for node in ast.walk(s))) for s in body]


@lru_cache(maxsize=512)
def _slice(text: str, path: Path, indexes: tuple[int, ...]) -> Slice:
    cells, draws, data = parse_chapter(text, path).code, _drawing(text, path), _data(text, path)
    needed, kept = set[str](), list[Statements]()
    sections = {cells[i].section for i in indexes}
    for i in range(max(indexes), -1, -1):
        cell = _cell(text, path, i)
        wanted = any((n.binds | n.changes) & needed for _, n, _ in cell)
        if cells[i].section in sections and "guard" not in cells[i].metadata.get("tags", []):
            wanted |= any(n.hands & needed & data for _, n, _ in cell if not n.reads & draws)
        if i in indexes and not wanted:
            cell = cell[: 1 + max(n for n, (_, _, decides) in enumerate(cell) if decides)]
        if i in indexes or wanted:
            kept.append(_kept(cell, needed, draws))
    return Slice(tuple(s for body in reversed(kept) for s in body))


def _kept(cell: list[tuple[ast.stmt, Names, bool]], needed: set[str], draws: frozenset[str]) -> Statements:
    """The statements of a cell that stay; what they read becomes needed, and what they bind no longer is."""
    kept = Statements()
    for statement, names, decides in reversed(cell):
        used = bool((names.binds | names.changes) & needed)
        if (
            not used
            and not decides
            and (_is_plain(statement) or names.reads & draws or isinstance(statement, ast.Pass))
        ):
            continue
        statement = only(statement, needed)
        needed -= names.sure
        needed |= names.reads
        kept.append(statement)
    return kept[::-1]


# ---- Fingerprint


def _modules(tree: ast.AST) -> set[str]:
    """The modules of labs that a program imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith("labs.") and name not in PICTURES and _file(name)}


@lru_cache(maxsize=512)
def _imported(text: str) -> frozenset[str]:
    """The modules of labs that a text of code imports."""
    return frozenset(_modules(ast.parse(text)))


def _file(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.exists()), None)


@cache
def _module_code(path: Path) -> tuple[str, frozenset[str]]:
    """A module's code without docstrings, and the modules of labs that it imports."""
    tree = ast.parse(path.read_text("utf8"))
    return ast.unparse(_without_docstrings(tree)), frozenset(_modules(tree))


def fingerprint(part: Slice, claim: str) -> str:
    """A short hash of all that can move what a claim's assertion finds."""
    text = part.text(claim)
    waiting, seen = set(_imported(text)), dict[str, str]()
    while waiting:
        name = waiting.pop()
        seen[name], further = _module_code(_file(name) or ROOT)
        waiting |= further - seen.keys()
    versions = [f"{name} {version(name).partition('+')[0]}" for name in ("torch", "numpy")]
    everything = [text, *(f"{name}\n{seen[name]}" for name in sorted(seen)), *versions]
    return hashlib.sha256("\0".join(everything).encode()).hexdigest()[:12]


# ---- Variations

Place = tuple[
    int, ast.expr, Callable[[ast.expr], None]
]  # the line, what stands there, and what puts another in its place


def _assigned(node: ast.AST, name: str) -> Iterator[Place]:
    """Where a statement assigns to a name."""
    if isinstance(node, ast.AnnAssign) and node.value and isinstance(node.target, ast.Name) and node.target.id == name:
        yield node.lineno, node.value, lambda new: setattr(node, "value", new)
    for target in node.targets if isinstance(node, ast.Assign) else []:
        assert isinstance(node, ast.Assign)
        if isinstance(target, ast.Name) and target.id == name:
            yield node.lineno, node.value, lambda new: setattr(node, "value", new)
        elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            values = node.value.elts
            for i, (part, value) in enumerate(zip(target.elts, values, strict=False)):
                if isinstance(part, ast.Name) and part.id == name:
                    yield node.lineno, value, lambda new, i=i, values=values: values.__setitem__(i, new)  # type: ignore[misc]


def _defaults(node: ast.FunctionDef, name: str) -> Iterator[Place]:
    """The default of a function's parameter."""
    given = node.args
    positional = [*given.posonlyargs, *given.args][-len(given.defaults) or len(given.args) + len(given.posonlyargs) :]
    for owner, parameters in ((given.defaults, positional), (given.kw_defaults, given.kwonlyargs)):
        for i, parameter in enumerate(parameters):
            value = owner[i]
            if parameter.arg == name and value is not None:
                yield value.lineno, value, lambda new, i=i, owner=owner: owner.__setitem__(i, new)  # type: ignore[misc]


def _literals(node: ast.AST, name: str) -> Iterator[Place]:
    """A literal given to a keyword argument."""
    for keyword in node.keywords if isinstance(node, ast.Call) else []:
        if keyword.arg == name and not any(isinstance(n, ast.Name) for n in ast.walk(keyword.value)):
            yield keyword.value.lineno, keyword.value, lambda new, k=keyword: setattr(k, "value", new)  # type: ignore[misc]


def places(tree: ast.AST, key: str) -> list[Place]:
    """What a key stands for in a program.

    ``name``: where it is assigned to; else what the keyword argument ``name`` is given. ``function.name``: the parameter's default,
    or where the function assigns to it; else what calls of the function give it.
    """
    function, _, name = key.rpartition(".")
    if function:
        return _of_function(tree, function, name)
    outside = [
        place
        for top in ast.iter_child_nodes(tree)
        for node in _outside_functions(top)
        for place in _assigned(node, name)
    ]
    return outside or [place for node in ast.walk(tree) for place in (*_assigned(node, name), *_literals(node, name))]


def _of_function(tree: ast.AST, function: str, name: str) -> list[Place]:
    """What ``function.name`` stands for."""
    nodes = list(ast.walk(tree))
    defined = [node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == function]
    inside = [place for node in defined for place in _defaults(node, name)]
    inside += [place for node in defined for inner in ast.walk(node) for place in _assigned(inner, name)]
    calls = [
        n for n in nodes if isinstance(n, ast.Call) and function in (getattr(n.func, k, "") for k in ("attr", "id"))
    ]
    return inside or [place for call in calls for place in _literals(call, name)]


class _Original(ast.NodeTransformer):
    """Puts an expression in place of ``_``."""

    def __init__(self, original: ast.expr) -> None:
        self.original = original

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return copy.deepcopy(self.original) if node.id == "_" else node


def place(tree: ast.Module, key: str) -> Place:
    """The one place that a key stands for."""
    found = places(tree, key)
    if len(found) != 1:
        lines = ", ".join(str(line) for line in sorted(line for line, _, _ in found))
        raise SliceError(f"{key} rewrites {f'{len(found)} places (lines {lines})' if found else 'nothing'}")
    return found[0]


def vary(tree: ast.Module, key: str, expression: str) -> None:
    """Put another expression into the one place that a key stands for."""
    _, original, put = place(tree, key)
    put(ast.copy_location(_instead(original, expression), original))
    ast.fix_missing_locations(tree)


def described(tree: ast.Module, key: str, expression: str) -> str:
    """A variation in words, ``depth = 16``."""
    return f"{key} = {_shown(_instead(place(tree, key)[1], expression), expression)}"


def _instead(original: ast.expr, expression: str) -> ast.expr:
    """An expression, what stands there now in place of ``_``."""
    return _Original(original).visit(ast.parse(expression, mode="eval")).body


def _shown(new: ast.expr, expression: str) -> str:
    """What a variation gives: its value where that is a number or a short list, else as it was written."""
    safe = (ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.Tuple, ast.List, ast.Load)
    if all(isinstance(node, safe) for node in ast.walk(new)):
        value = eval(compile(ast.Expression(copy.deepcopy(new)), "", "eval"), {})
        shown = f"{value:.6g}" if isinstance(value, float) else re.sub(r"^[(\[](.*?),?[)\]]$", r"(\1)", repr(value))
        if len(shown) <= 60:
            return shown
    return expression
