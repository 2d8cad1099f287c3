r"""One training step, replayed: every operation is seen with what it reads and writes, and nothing is left changed.

:class:`Recorder` runs the step; :class:`Kept` puts everything back. :mod:`labs.origin` reads the record.
"""

from __future__ import annotations

import copy
import math
import os
import random
import sys
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules import module as module_hooks
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

PHASES = ("forward", "backward", "optimiser", "none")
Key = tuple[str, ...]
Place = tuple[str, int]  # file and line
LEAVES = ("input", "parameter", "buffer", "optimiser")


@dataclass(eq=False)
class Call:
    """A function as the user calls it, and the lines that do its work: more than one if it is a composite."""

    name: str
    lines: set[Place] = field(default_factory=set)


@dataclass(eq=False)
class Step:
    """One operation of the replay; or, with ``leaf``, a tensor from before it, or the goal that the walk starts from."""

    aten: str = ""
    module: str = ""
    source: Place | None = None
    call: Call | None = None
    forward: Step | None = None  # of a derivative: the step whose derivative it computes
    leaf: str = ""
    tensor: str = ""
    index: int = 0
    own: bool = False  # bad even where its inputs are good
    fill: str = (
        ""  # its Inf may be meant: "number" that the user wrote, "mask" of one number and -Inf, "minus" Inf alone
    )
    nan: bool = False
    facts: str = ""
    causes: list[Step] = field(default_factory=list)
    without: list[Tensor] = field(default_factory=list)  # while it runs: its results from mended inputs
    reader: Step | None = None  # of a leaf that is bad: the first operation that read it

    @property
    def operation(self) -> str:
        if self.forward:
            return self.forward.operation
        name = self.call.name if self.call and len(self.call.lines) == 1 else self.aten
        name = name.strip("_").removeprefix("linalg_").removeprefix("special_")
        return _COMMON_NAMES.get(name, name)

    @property
    def key(self) -> Key:
        return (self.leaf or self.aten, self.tensor or self.module, str(self.source), str(self.forward is None))

    def __str__(self) -> str:
        at = self.operation + f" @ {self.module}" * bool(self.module)
        return self.tensor or self.leaf or "backward of " * bool(self.forward) + at


_COMMON_NAMES = {
    "addmm": "linear", "addmv": "linear", "mm": "matmul", "bmm": "matmul", "baddbmm": "matmul", "rsub": "sub",
    "convolution": "conv", "native_layer_norm": "layer_norm", "native_group_norm": "group_norm", "rdiv": "div",
    "native_batch_norm": "batch_norm", "vector_norm": "norm", "true_divide": "div", "truediv": "div", "rtruediv": "div",
    "divide": "div", "multiply": "mul", "subtract": "sub", "rpow": "pow", "native_dropout": "dropout", "arccos": "acos",
    "arcsin": "asin", "arctanh": "atanh", "arctan2": "atan2", "cross_entropy_loss": "cross_entropy",
}  # fmt: skip


def module_name(name: str) -> str:
    return name.replace("_orig_mod.", "").removesuffix("_orig_mod")  # the wrapper of torch.compile


def tensors(tree: Any) -> list[Tensor]:
    """The tensors in a nest of containers; of a sparse one, its values."""
    found = [t for t in tree_leaves(tree) if isinstance(t, Tensor) and not t.is_nested]
    return [t.detach()._values() if t.is_sparse else t for t in found if t.layout in (torch.strided, torch.sparse_coo)]


def floats(tree: Any) -> list[Tensor]:
    return [t for t in tensors(tree) if t.is_floating_point() or t.is_complex()]


def nonfinite(tree: Any) -> bool:
    return any(not bool(t.isfinite().all()) for t in floats(tree))


def mended(t: Tensor) -> Tensor:
    """A copy with Inf and NaN replaced by the mean magnitude of the other entries: a value in the tensor's own range."""
    if t.is_sparse:
        return torch.sparse_coo_tensor(t._indices(), mended(t._values()), t.shape)
    good = t.isfinite()
    mean = (torch.where(good, t, 0).abs() / good.sum().clamp(min=1)).sum()
    return torch.where(good, t, torch.where(mean > 0, mean, 0.5).to(t.dtype))


def _ref(t: Tensor) -> StorageWeakRef:
    return StorageWeakRef(t.untyped_storage())  # an identity that no later storage can take over


def _extent(t: Tensor) -> tuple[int, int]:
    """The first byte of a tensor in its storage, and the first after it."""
    span = 1 + sum((n - 1) * int(stride) for n, stride in zip(t.shape, t.stride(), strict=True)) if t.numel() else 0
    return int(t.storage_offset()) * t.element_size(), (int(t.storage_offset()) + span) * t.element_size()


def _written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The arguments that an operation changes in place."""
    given = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | kwargs
    changed = [a.name for a in func._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    return tensors([given.get(name) for name in changed])


def _lines() -> tuple[Place | None, Place]:
    """The innermost line outside torch, None where there is none below the replay, and the innermost of all."""
    frame: FrameType | None = sys._getframe(1)
    inner = None
    while frame and frame.f_code is not Recorder.run.__code__:
        place = (frame.f_code.co_filename, frame.f_lineno)
        if place[0] != __file__ and not place[0].endswith(("_python_dispatch.py", "_compile.py", "eval_frame.py")):
            inner = inner or place
            if not place[0].startswith((os.path.dirname(torch.__file__), "<frozen")):
                return place, inner
        frame = frame.f_back
    return None, inner or ("", 0)


# ------------------------------------------------------------------------------------------------------- the replay


class Calls(TorchFunctionMode):
    """Notes the function that is being called: where the user says ``F.linear``, ATen sees ``t`` and ``addmm``."""

    def __init__(self, keep: Kept) -> None:
        super().__init__()
        self.keep = keep
        self.current: Call | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if isinstance(generator := (kwargs or {}).get("generator"), torch.Generator):
            self.keep.generator(generator)
        name = getattr(func, "__name__", "")
        self.current = None if name == "backward" else Call(name)
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self.current = None


class Recorder(TorchDispatchMode):
    """Runs a step and records for each operation which earlier ones made its result bad."""

    def __init__(self, model: nn.Module, keep: Kept, repair: Key | None) -> None:
        super().__init__()
        self.keep, self.repair, self.calls = keep, repair, Calls(keep)
        self.phase, self.ends, self.half, self.count = "none", list[Step](), False, 0
        self.modules, self.names = [""], {m: module_name(name) for name, m in model.named_modules()}
        named = [("buffer", module_name(name), b) for name, b in model.named_buffers()]
        named += [("parameter", name, p) for name, p in keep.parameters.items()]
        for name, p in keep.parameters.items():
            if Step(leaf="parameter", tensor=name).key == repair:
                keep.storage(p)
                p.detach().copy_(mended(p.detach()))
        self.leaves = {_ref(v): Step(leaf=kind, tensor=name) for kind, name, t in named for v in tensors(t)}
        # For each storage the writes to it: the step, first byte and end, whether without gaps, whether bad
        self.writes: dict[StorageWeakRef, list[tuple[Step, int, int, bool, bool]]] = {}
        self.nodes: dict[int, Step] = {}  # by the number that autograd gives to a node when it makes it
        self.update: Call | None = None

    def bad(self, x: Any) -> bool:
        return nonfinite(x)

    def replay(self, closure: Callable[[], Tensor], optimizer: Any, scaler: Any) -> None:
        def enter(module: nn.Module, inputs: Any) -> None:
            if module in self.names:
                self.modules.append(self.names[module])

        def leave(module: nn.Module, inputs: Any, output: Any) -> None:
            self.modules.pop()

        torch.clear_autocast_cache()
        eager = torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
        # On one thread autograd numbers the nodes of a recomputed forward pass as it does the others
        one_thread, quiet = torch.autograd.set_multithreading_enabled(False), torch.autograd.set_detect_anomaly(False)
        with ExitStack() as stack:
            stack.callback(module_hooks.register_module_forward_pre_hook(enter).remove)
            for module in self.names:  # the user's own hooks come first, and belong to the module
                stack.callback(module.register_forward_hook(leave, always_call=True).remove)
            ignore = warnings.catch_warnings(action="ignore")
            for context in (eager, one_thread, quiet, ignore, torch.enable_grad(), self.calls, self):
                stack.enter_context(context)
            self.run(closure, optimizer, scaler)

    def run(self, closure: Callable[[], Tensor], optimizer: Any, scaler: Any) -> None:
        loss = closure()
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(f"closure: expected a function that returns the loss, a tensor of one number, got {got}")
        if self._stop("forward", {"loss": loss}) or not loss.requires_grad:
            return
        scale = scaler.get_scale() if scaler is not None and scaler.is_enabled() else 1.0
        self._backward(loss, scale)
        parameters = self.keep.parameters
        gradients = {f"gradient of {name}": p.grad for name, p in parameters.items() if p.grad is not None}
        if self._stop("backward", gradients) or optimizer is None:
            return
        for gradient in gradients.values():
            gradient.div_(scale)
        usual = sizes(parameters)
        for name, p in parameters.items():
            state = {f"{key} of {name}": v for key, v in optimizer.state.get(p, {}).items()}
            self.leaves |= {_ref(t): Step(leaf="optimiser", tensor=key) for key, v in state.items() for t in tensors(v)}
        self.update = Call(f"{type(optimizer).__name__}.step", {("", 0)})
        # LBFGS evaluates the loss itself, several times
        again = (lambda: self._backward(closure(), 1.0),) if isinstance(optimizer, torch.optim.LBFGS) else ()
        optimizer.step(*again)
        step, self.update = Step(call=self.update, own=True, index=self.count), None
        weights = {f"{name} after the update": p for name, p in parameters.items()}
        if self._stop("optimiser", weights) or self._stop("optimiser", {"loss after the update": closure()}):
            return
        for name, size in sizes(parameters).items():
            if size > 1e4 * max(usual[name], 1):  # a network that saturates hides this from the loss
                step.facts = f"{size / usual[name]:.2g} times as large"
                self.phase, self.ends = (
                    "optimiser",
                    [Step(leaf="goal", tensor=f"{name} after the update", causes=[step])],
                )

    def _backward(self, loss: Tensor, scale: float) -> Tensor:
        self.keep.gradients(loss)
        (loss * scale if scale != 1 else loss).backward()
        return loss

    def _stop(self, phase: str, goals: dict[str, Tensor]) -> bool:
        bad = {name: t for name, t in goals.items() if self.bad(t)}
        self.ends = [Step(leaf="goal", tensor=name, causes=self._producers(t)) for name, t in bad.items()]
        self.phase = phase if bad else self.phase
        return bool(bad)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        flat, spec = tree_flatten((args, kwargs or {}))
        written = _written(func, args, kwargs or {}) if func._schema.is_mutable else []
        for t in written:
            if _ref(t) not in self.writes:
                self.keep.storage(t)
        view = not written and any(r.alias_info is not None for r in func._schema.returns)
        step = self._place(func, view)
        if view:
            return func(*args, **(kwargs or {}))
        self._judge(step, func, flat, spec, written)
        out = func(*args, **(kwargs or {}))
        known = {_ref(t) for t in tensors(flat)}
        for t in written + [t for t in tensors(out) if _ref(t) not in known]:
            self._record(step, t, flat, bool(written))
        step.without = []
        return out

    def _place(self, func: Any, view: bool) -> Step:
        """The step that runs now, in the forward pass or as a part of an earlier step's derivative."""
        self.count += 1
        aten, (source, inner) = func._schema.name.removeprefix("aten::"), _lines()
        node = torch._C._current_autograd_node()
        if node is None or torch.is_grad_enabled():  # with gradients on inside a node, a checkpoint recomputes
            call = self.update or self.calls.current
            if call and not view and not self.update:
                call.lines.add(inner)
            step = Step(aten, self.modules[-1], source, call, index=self.count)
            self.nodes.setdefault(torch._C._autograd._get_sequence_nr() - 1, step)
            return step
        number = node._sequence_nr()
        if number not in self.nodes:  # a write into a view makes its node after the operation has run
            number = max((n for n in self.nodes if n < number), default=number)
        forward = self.nodes.get(number, Step())
        if isinstance(node, BackwardCFunction):  # a torch.autograd.Function, whose derivative the user wrote
            forward = Step(type(node).__name__.removesuffix("Backward"), forward.module, source or forward.source)
        elif source:  # no derivative, but a hook of the user's
            return Step(aten, forward.module, source, index=self.count)
        return Step(aten, forward.module, forward.source, forward=forward, index=self.count)

    def _judge(self, step: Step, func: Any, flat: list[Any], spec: Any, written: list[Tensor]) -> None:
        """Find out from copies, before it runs, what would make this step's result bad: itself, or which inputs."""

        def trial(mend: list[int]) -> bool:
            """Whether the result is bad with these inputs mended; its tensors go to ``step.without``."""
            mine = [any(x is t for t in written) for x in flat]
            copies = [mended(x) if i in mend else x.clone() if mine[i] else x for i, x in enumerate(flat)]
            args, kwargs = tree_unflatten(copies, spec)
            try:
                out = func(*args, **kwargs)
            except RuntimeError:  # it cannot run on a copy: no evidence
                return False
            step.without = tensors([out, [x for x, is_mine in zip(copies, mine, strict=True) if is_mine]])
            return self.bad(step.without)

        dirty = guilty = [i for i, x in enumerate(flat) if self.bad(x)]
        step.own = not dirty  # of interest only if the result is bad
        for t in (t for i in dirty for t in floats(flat[i]) if _ref(t) in self.leaves):
            if (leaf := self._leaf(t)).reader is None:
                leaf.reader = step
        if dirty and torch.Tag.nondeterministic_seeded not in func.tags:
            if len(dirty) > 1:
                guilty = [i for i in dirty if trial([j for j in dirty if j != i])] or dirty
            step.own = trial(dirty)
        step.causes = [cause for i in guilty for t in floats(flat[i]) for cause in self._producers(t)]

    def _producers(self, x: Tensor) -> list[Step]:
        """The steps whose bad results a tensor shows: the last write to its place, earlier ones if that was in part."""
        found: list[Step] = []
        for t in floats(x):
            low, high = _extent(t)
            for step, first, end, dense, bad in reversed(self.writes.get(_ref(t), [])):
                if first < high and low < end and bad:
                    found.append(step)
                if first <= low and high <= end and dense:
                    break
            if not found:
                found.append(self._leaf(t))
        return found

    def _leaf(self, t: Tensor) -> Step:
        leaf = self.leaves.setdefault(_ref(t), Step(leaf="input"))
        good, nans = t[t.isfinite()], bool(t.isnan().any())
        leaf.index = leaf.index or self.count
        leaf.facts = f"{t.numel() - good.numel()} of {t.numel()} entries are Inf or NaN"
        if not nans and t.ndim == 0:
            leaf.fill = "number"
        elif not nans and not bool((t == math.inf).any()):
            leaf.fill = "mask" if good.unique().numel() <= 1 else "minus"
        return leaf

    def _record(self, step: Step, t: Tensor, flat: list[Any], in_place: bool) -> None:
        bad = self.bad(t)
        if bad and step.own and step.key == self.repair:
            t.copy_(torch.where(_apart(t, step.without), mended(t), t))
            bad = self.bad(t)
        if bad:
            step.nan |= bool(t.isnan().any())
            step.fill = "number" * any(isinstance(x, float) and math.isinf(x) for x in flat)
            step.facts = step.facts or _facts(t, [] if in_place else floats(flat))
        self.half |= t.dtype == torch.float16
        first, end = _extent(t)
        self.writes.setdefault(_ref(t), []).append((step, first, end, t.numel() * t.element_size() == end - first, bad))


def _apart(t: Tensor, without: list[Tensor]) -> Tensor:
    """Which bad entries are the operation's own; none where they cannot be told from what its bad inputs do."""
    own = next((~u.isfinite() for u in without if u.shape == t.shape), None)
    if own is None:
        return ~t.isfinite()
    return own & (~t.isfinite() & ~own).any()


def _facts(result: Tensor, inputs: list[Tensor]) -> str:
    nans, bad = int(result.isnan().sum()), int((~result.isfinite()).sum())
    sizes = [f"{float(t[t.isfinite()].abs().max()):.3g}" for t in inputs if t.isfinite().any()]
    read = f", from inputs of magnitude up to {', '.join(sizes[:3])}" if sizes else ""
    largest = f"; {str(result.dtype)[6:]} ends at {torch.finfo(result.dtype).max:.4g}" if bad > nans else ""
    return f"{nans} NaN and {bad - nans} Inf in {result.numel()} results{read}{largest}"


class Vanishing(Recorder):
    """Follows gradients that are zero everywhere, instead of Inf and NaN, to where half precision made them so."""

    differentiating = False

    def bad(self, x: Any) -> bool:
        return self.differentiating and any(t.numel() > 0 and not bool(t.any()) for t in floats(x))

    def _backward(self, loss: Tensor, scale: float) -> Tensor:
        self.differentiating = True
        return super()._backward(loss, scale)

    def _judge(self, step: Step, func: Any, flat: list[Any], spec: Any, written: list[Tensor]) -> None:
        step.causes = [cause for x in flat if self.bad(x) for cause in self._producers(x) if not cause.leaf]
        if not self.differentiating or written or torch.Tag.nondeterministic_seeded in func.tags:
            return
        half = torch.float16
        wide = [
            x.float() if isinstance(x, Tensor) and x.dtype == half else torch.float32 if x is half else x for x in flat
        ]
        (args, kwargs), (wide_args, wide_kwargs) = tree_unflatten(flat, spec), tree_unflatten(wide, spec)
        pairs = zip(tensors(func(*args, **kwargs)), tensors(func(*wide_args, **wide_kwargs)), strict=True)
        # What even the usual loss scale, 2^16, would not lift above fp16's smallest number, 2^-24, is no loss
        step.own = any(t.dtype == half and self.bad(t) and bool((w.abs() > 2.0**-40).any()) for t, w in pairs)


class Kept:
    """What a replay may change, as it was before. A storage is copied when an operation is about to write to it."""

    def __init__(self, model: nn.Module, optimizer: Any, scaler: Any) -> None:
        self.parameters: dict[str, Tensor] = {module_name(name): p for name, p in model.named_parameters()}
        known = {id(p) for p in self.parameters.values()}
        others = [p for group in getattr(optimizer, "param_groups", ()) for p in group["params"] if id(p) not in known]
        self.parameters |= {f"parameter {i} outside the model": p for i, p in enumerate(others)}
        owners = [owner for owner in (*model.modules(), optimizer, scaler) if owner is not None]
        self.containers = [(c, copy.copy(c)) for owner in owners for c in _containers(vars(owner))]
        self.storages: dict[StorageWeakRef, tuple[Any, Any]] = {}
        self.grads: dict[Tensor, Tensor | None] = {}
        self.generators: dict[Any, tuple[Callable[[Any], object], Any]] = {
            "python": (random.setstate, random.getstate()),
            "numpy": (np.random.set_state, np.random.get_state()),
            "torch": (torch.set_rng_state, torch.get_rng_state()),
        }
        if torch.cuda.is_initialized():
            self.generators["cuda"] = (torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())
        for buffer in model.buffers():  # batch norm changes its own without declaring it
            self.storage(buffer)

    def storage(self, tensor: Tensor) -> None:
        for t in tensors(tensor):
            if _ref(t) not in self.storages:
                self.storages[_ref(t)] = (t.untyped_storage(), t.untyped_storage().clone())

    def generator(self, generator: torch.Generator) -> None:
        if generator not in self.generators:
            self.generators[generator] = (generator.set_state, generator.get_state())

    def gradients(self, loss: Tensor) -> None:
        """Put away the gradients of all that the loss depends on: a replay starts from none."""
        nodes: set[Any] = {loss.grad_fn} - {None}
        todo = list(nodes)
        while todo:
            fresh = {node for node, _ in todo.pop().next_functions} - nodes - {None}
            nodes |= fresh
            todo += fresh
        for t in [loss, *self.parameters.values(), *(node.variable for node in nodes if hasattr(node, "variable"))]:
            if t.is_leaf:
                self.grads.setdefault(t, t.grad)
                t.grad = None

    def restore(self) -> None:
        for container, before in self.containers:
            container.clear()
            container.extend(before) if isinstance(container, list) else container.update(before)
        for storage, saved in self.storages.values():
            storage.copy_(saved)
        for t, grad in self.grads.items():
            t.grad = grad
        for set_state, state in self.generators.values():
            set_state(state)


def _containers(value: Any) -> Iterator[Any]:
    """A dict or list, and those within it."""
    if type(value) in (dict, list, OrderedDict, defaultdict):
        yield value
        for item in value if isinstance(value, list) else value.values():
            yield from _containers(item)


def sizes(parameters: dict[str, Tensor]) -> dict[str, float]:
    """Mean magnitude times sqrt(fan_in) of every weight matrix: about 1 where the initialisation is sound."""
    weights = {name: p.detach() for name, p in parameters.items() if p.ndim > 1 and p.numel() > 0}
    return {name: float((w.float().abs() / w.numel()).sum()) * math.sqrt(w[0].numel()) for name, w in weights.items()}
