"""A claim's program run once: its seeds shifted, its claims noted instead of asserted.

``instrumented`` rewrites the slice; ``run_program`` runs it and says of each claim whether it held, which values were compared, and
whether it would have held with a comparison turned round; and whether anything random was drawn at all.
"""

import ast
import builtins
import copy
import linecache
import operator
import os
import random
from collections.abc import Iterable
from typing import Any

from bookext.check.slices import Slice, vary
from bookext.check.stress import Run
from bookext.read.claims import decided_by

SHIFT = 1000  # what each draw adds to every seed
SEEDED = {"manual_seed", "default_rng", "RandomState", "seed", "SeedSequence", "Random"}
SEED_ARGUMENTS = {"random_state"}
OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.Gt, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip


class _Instrumented(ast.NodeTransformer):
    """Hands every seed to ``_seeded`` or ``_shifted``, and every claim to ``_decide``."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        for keyword in node.keywords:
            if keyword.arg in SEED_ARGUMENTS:
                keyword.value = ast.Call(ast.Name("_shifted", ast.Load()), [keyword.value], [])
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name == "Generator":
            return ast.Call(ast.Name("_made", ast.Load()), [node], [])
        if name in SEEDED:
            return ast.Call(ast.Name("_seeded", ast.Load()), [node.func, *node.args], node.keywords)
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        name = decided_by(node)
        test = self.visit(node.test)
        pairs = ast.List([ast.Tuple([p.left, p.comparators[0]], ast.Load()) for p in _compared(test)], ast.Load())
        opposite = ast.List([_lambda(turned) for turned in opposites(test)], ast.Load())
        arguments = [ast.Constant(name), _lambda(test), _lambda(pairs), opposite]
        return ast.copy_location(ast.Expr(ast.Call(ast.Name("_decide", ast.Load()), arguments, [])), node)


def _lambda(body: ast.expr) -> ast.expr:
    return ast.Lambda(ast.arguments([], [], None, [], [], None, []), copy.deepcopy(body))


def _compared(test: ast.expr) -> list[ast.Compare]:
    """The comparisons that an assertion consists of, those with one sign and two sides."""
    parts = test.values if isinstance(test, ast.BoolOp) else [test]
    return [part for part in parts if isinstance(part, ast.Compare) and len(part.ops) == 1]


def opposites(test: ast.expr) -> list[ast.expr]:
    """An assertion with one of its comparisons turned round, for each of them; what an ``if`` or a mask picks out stays."""
    nodes = list(ast.walk(test))
    picks = [f for node in nodes for f in getattr(node, "ifs", [])] + [
        n.slice for n in nodes if isinstance(n, ast.Subscript)
    ]
    filters = {id(n) for pick in picks for n in ast.walk(pick)}
    spots = [(n, i) for n, node in enumerate(nodes) if isinstance(node, ast.Compare) and id(node) not in filters
             for i in range(len(node.ops))]  # fmt: skip
    turned = []
    for n, i in spots:
        other = copy.deepcopy(test)
        node = list(ast.walk(other))[n]
        assert isinstance(node, ast.Compare)
        node.ops[i] = OPPOSITE[type(node.ops[i])]()
        turned.append(other)
    return turned


class Recorder:
    """The functions that an instrumented program calls, and what they have seen."""

    def __init__(self, shift: int, printed: bool) -> None:
        self.shift, self.printed, self.drawn = shift, printed, False
        self.decided: dict[str, Run] = {}
        self.generators: dict[int, tuple[Any, Any]] = {}
        self.start = _common()

    def seeded(self, function: Any, *arguments: Any, **keywords: Any) -> Any:
        """Call what takes a seed, with another seed."""
        self.drawn = self.has_drawn()  # so far: seeding moves a generator too
        moved = [self.moved(a) for a in arguments[:1]] + list(arguments[1:])
        made = function(*moved, **{k: self.moved(v) if k == "seed" else v for k, v in keywords.items()})
        self.start = _common()
        return self.made(made, False)

    def made(self, generator: Any, unseeded: bool = True) -> Any:
        """Remember where a generator stands; one that nobody seeded gets another seed too."""
        if unseeded and self.shift and hasattr(generator, "initial_seed"):
            generator.manual_seed(generator.initial_seed() + self.shift)
        if not self.drawn:
            self.generators[id(generator)] = (generator, _state(generator))
        return generator

    def moved(self, seed: Any) -> Any:
        """The seed of this draw."""
        try:
            return operator.index(seed) + self.shift
        except TypeError:
            return seed

    def shifted(self, seed: Any) -> Any:
        """Another seed for something that draws at once."""
        self.drawn |= seed is not None
        return self.moved(seed)

    def decide(self, name: str, test: Any, pairs: Any, opposite: list[Any]) -> None:
        """Note whether a claim holds; one that stands in a loop holds if it does each time."""
        if not self.decided.get(name, {"held": True})["held"]:
            return
        run: Run = {"held": bool(test())}
        if values := [[number(a), number(b)] for a, b in pairs() if number(a) is not None and number(b) is not None]:
            run["values"] = values
        if self.printed and opposite:
            run["opposite"] = [_holds(turned) for turned in opposite]
        self.decided[name] = run

    def has_drawn(self) -> bool:
        """Whether a generator has moved since it got its seed."""
        return (
            self.drawn or _common() != self.start or any(_state(made) != was for made, was in self.generators.values())
        )


def _holds(test: Any) -> bool:
    try:
        return bool(test())
    except Exception:
        return False


def _state(generator: Any) -> Any:
    """Where a generator of torch, NumPy or Python stands."""
    if hasattr(generator, "get_state"):
        state = generator.get_state()
        return state.numpy().tobytes() if hasattr(state, "numpy") else repr(state)
    if hasattr(generator, "getstate"):
        return generator.getstate()
    inner = getattr(generator, "bit_generator", None)
    return repr(inner.state) if inner is not None else None


def _common() -> Any:
    """Where the generators stand that a program shares when it names none."""
    import numpy as np
    import torch

    _, keys, *rest = np.random.get_state()
    return _state(torch.default_generator), keys.tobytes(), rest  # type: ignore[attr-defined]


def number(value: Any) -> float | None:
    """A compared value as records keep it: six digits."""
    try:
        return float(f"{float(value):.6g}")
    except (TypeError, ValueError, RuntimeError):
        return None


def run_program(source: str, claims: list[str], draw: int, folder: str, printed: bool = False) -> dict[str, Any]:
    """Run an instrumented program here: what its claims gave, whether anything was drawn."""
    import numpy as np
    import torch

    os.chdir(folder)
    np.random.seed(SHIFT * draw)
    random.seed(SHIFT * draw)
    if draw:
        torch.manual_seed(torch.initial_seed() + SHIFT * draw)
    recorder, error = Recorder(SHIFT * draw, printed), None
    told = {
        "_seeded": recorder.seeded,
        "_made": recorder.made,
        "_shifted": recorder.shifted,
        "_decide": recorder.decide,
    }
    builtins.__dict__.setdefault("display", lambda *shown: None)
    linecache.cache["<claim>"] = (
        len(source),
        None,
        source.splitlines(True),
        "<claim>",
    )  # for those who show a line of code
    try:
        exec(compile(source, "<claim>", "exec"), {"__name__": "__main__", **told})
    except BaseException as problem:  # whatever a claim's program raises is its result
        error = f"{type(problem).__name__}: {problem}".splitlines()[0][:200]
    failed: Run = {"held": False, "error": error or "its assertion was not reached"}
    runs = {name: recorder.decided.get(name, failed) for name in claims}
    return {"drawn": recorder.has_drawn(), "runs": runs}


def instrumented(part: Slice, claims: Iterable[str], variation: tuple[str, str] | None) -> str:
    """The source of a slice's program that records the claims, varied."""
    tree = part.program(*claims)
    if variation:
        vary(tree, *variation)
    return ast.unparse(ast.fix_missing_locations(_Instrumented().visit(tree)))
