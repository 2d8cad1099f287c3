r"""One training step, replayed: every operation is seen with what it reads and writes, and nothing is left changed.

:class:`Replay` runs the step; :mod:`labs.monitor.kept` puts everything back, and :mod:`labs.monitor.origin` reads the record.
"""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules import module as module_hooks
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from labs.monitor.kept import Kept, floats, mended, module_name, nonfinite, storage_of, tensors
from labs.monitor.measure import wide
from labs.words import say

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
class Operation:
    """One operation of the replay; or, with ``leaf``, a tensor from before it, or the goal that the walk starts from."""

    aten: str = ""
    module: str = ""
    source: Place | None = None
    call: Call | None = None
    forward: Operation | None = None  # of a derivative: the step whose derivative it computes
    leaf: str = ""
    tensor: str = ""
    index: int = 0
    own: bool = False  # bad even where its inputs are good
    # Its Inf may be meant: "number" that the user wrote, "mask" of one number and -Inf, "minus" Inf alone; "memory" not yet written to
    fill: str = ""
    nan: bool = False
    facts: str = ""
    entry: tuple[int, ...] | None = None  # the first bad entry of its result
    shape: tuple[int, ...] = ()
    dtype: str = ""
    at: list[float | None] = field(default_factory=list)  # what it read there: a number an argument, None if not told
    wide: float = math.inf  # the largest magnitude of its result if computed in float64
    blame: str = ""  # of an update: which of the optimizer's numbers to change
    added: bool = False  # a fused product, of which a bad term is only added
    causes: list[Operation] = field(default_factory=list)
    without: list[Tensor] = field(default_factory=list)  # while it runs: its results from mended inputs
    reader: Operation | None = None  # of a leaf that is bad: the first operation that read it

    @property
    def name(self) -> str:
        if self.forward:
            return self.forward.name
        name = self.call.name if self.call and len(self.call.lines) == 1 else self.aten
        name = name.strip("_").removeprefix("linalg_").removeprefix("special_")
        return _COMMON_NAMES.get(name, name)

    @property
    def key(self) -> Key:
        return (self.leaf or self.aten, self.tensor or self.module, str(self.source), str(self.forward is None))

    def __str__(self) -> str:
        at = self.name + f" @ {self.module}" * bool(self.module)
        return self.tensor or self.leaf or "backward of " * bool(self.forward) + at


_COMMON_NAMES = {
    "addmm": "linear", "addmv": "linear", "mm": "matmul", "bmm": "matmul", "baddbmm": "matmul", "rsub": "sub",
    "convolution": "conv", "native_layer_norm": "layer_norm", "native_group_norm": "group_norm", "rdiv": "div",
    "native_batch_norm": "batch_norm", "vector_norm": "norm", "true_divide": "div", "truediv": "div", "rtruediv": "div",
    "divide": "div", "multiply": "mul", "subtract": "sub", "rpow": "pow", "native_dropout": "dropout", "arccos": "acos",
    "arcsin": "asin", "arctanh": "atanh", "arctan2": "atan2", "cross_entropy_loss": "cross_entropy",
}  # fmt: skip


def _extent(t: Tensor) -> tuple[int, int]:
    """The first byte of a tensor in its storage, and the first after it."""
    span = 1 + sum((n - 1) * int(stride) for n, stride in zip(t.shape, t.stride(), strict=True)) if t.numel() else 0
    return int(t.storage_offset()) * t.element_size(), (int(t.storage_offset()) + span) * t.element_size()


def _written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The arguments that an operation changes in place."""
    given = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | kwargs
    changed = [a.name for a in func._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    return tensors([given.get(name) for name in changed])


def _draws(func: Any) -> bool:
    """Whether an operation draws random numbers, so that it gives another result when it is tried."""
    return torch.Tag.nondeterministic_seeded in func.tags


def _lines() -> tuple[Place | None, Place]:
    """The innermost line outside torch, None where there is none below the replay, and the innermost of all."""
    frame: FrameType | None = sys._getframe(1)
    inner = None
    while frame and frame.f_code is not Replay.step.__code__:
        place = (frame.f_code.co_filename, frame.f_lineno)
        if place[0] != __file__ and not place[0].endswith(("_python_dispatch.py", "_compile.py", "eval_frame.py")):
            inner = inner or place
            if not place[0].startswith((os.path.dirname(torch.__file__), "<frozen")):
                return place, inner
        frame = frame.f_back
    return None, inner or ("", 0)


def _one_number(loss: Any) -> Tensor:
    if isinstance(loss, Tensor) and loss.numel() == 1:
        return loss
    got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
    raise ValueError(f"closure: expected a function that returns the loss, a tensor of one number, got {got}")


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


class Replay(TorchDispatchMode):
    """Runs a step and records for each operation which earlier ones made its result bad."""

    def __init__(self, model: nn.Module, keep: Kept, repair: Key | None) -> None:
        super().__init__()
        self.keep, self.repair, self.calls = keep, repair, Calls(keep)
        self.phase, self.ends, self.half, self.count = "none", list[Operation](), False, 0
        self.modules, self.names = [""], {m: module_name(name) for name, m in model.named_modules()}
        named = [("buffer", module_name(name), b) for name, b in model.named_buffers()]
        named += [("parameter", name, p) for name, p in keep.parameters.items()]
        for name, p in keep.parameters.items():
            if Operation(leaf="parameter", tensor=name).key == repair:
                keep.storage(p)
                p.detach().copy_(mended(p.detach()))
        self.leaves = {storage_of(v): Operation(leaf=kind, tensor=name) for kind, name, t in named for v in tensors(t)}
        # For each storage the writes to it: the step, first byte and end, whether without gaps, whether bad
        self.writes: dict[StorageWeakRef, list[tuple[Operation, int, int, bool, bool]]] = {}
        self.nodes: dict[int, Operation] = {}  # by the number that autograd gives to a node when it makes it
        self.update: Call | None = None
        self.stage, self.raised = "forward", ""
        self.error: Exception | None = None
        self.trail: list[Operation] = []  # what was read and bad, to the end: where the step raised an exception
        self.batch = 0  # the number of samples: of rows in the first tensor that a module reads

    def bad(self, x: Any) -> bool:
        return nonfinite(x)

    def run(self, closure: Callable[[], Tensor], optimizer: Any, scaler: Any) -> None:
        def enter(module: nn.Module, inputs: Any) -> None:
            if module in self.names:
                self.modules.append(self.names[module])
                first = next((t for t in tensors(inputs) if t.ndim), None)
                self.batch = self.batch or (len(first) if first is not None else 0)

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
            try:
                self.step(closure, optimizer, scaler)
            except Exception as error:  # the symptom, if something was bad by then
                self.error, self.phase = error, self.stage
                said = " ".join(str(error).split())[:160]
                self.raised = f"{type(error).__name__}: {said}"

    def step(self, closure: Callable[[], Tensor], optimizer: Any, scaler: Any) -> None:
        loss = closure()
        self.stage = "none"
        loss = _one_number(loss)
        self.stage = "backward"
        if self._stop("forward", {"loss": loss}) or not loss.requires_grad:
            return
        scale = scaler.get_scale() if scaler is not None and scaler.is_enabled() else 1.0
        self._backward(loss, scale)
        named = self.keep.parameters.items()
        gradients = {f"gradient of {name}": p.grad for name, p in named if p.grad is not None}
        if self._stop("backward", gradients) or optimizer is None:
            return
        for gradient in gradients.values():
            gradient.div_(scale)
        self._update(closure, optimizer)

    def _update(self, closure: Callable[[], Tensor], optimizer: Any) -> None:
        """The optimizer's step, and what becomes of weights and loss."""
        parameters, usual = self.keep.parameters, self.keep.sizes()
        for name, p in parameters.items():
            state = [(f"{key} of {name}", t) for key, v in optimizer.state.get(p, {}).items() for t in tensors(v)]
            self.leaves |= {storage_of(t): Operation(leaf="optimiser", tensor=key) for key, t in state}
        self.stage = "optimiser"
        self.update = Call(f"{type(optimizer).__name__}.step", {("", 0)})
        # LBFGS evaluates the loss itself, several times
        again = (lambda: self._backward(closure(), 1.0),) if isinstance(optimizer, torch.optim.LBFGS) else ()
        optimizer.step(*again)
        step, self.update = Operation(call=self.update, own=True, index=self.count), None
        weights = {f"{name} after the update": p for name, p in parameters.items()}
        if self._stop("optimiser", weights) or self._stop("optimiser", {"loss after the update": closure()}):
            return
        for name, size in self.keep.sizes().items():
            if size > 1e4 * max(usual[name], 1):  # a network that saturates hides this from the loss
                step.facts = say("{times:.2g} times as large").format(times=size / usual[name])
                self.phase = "optimiser"
                self.ends = [Operation(leaf="goal", tensor=f"{name} after the update", causes=[step])]

    def _backward(self, loss: Tensor, scale: float) -> Tensor:
        self.keep.gradients(loss)
        (loss * scale if scale != 1 else loss).backward()
        return loss

    def _stop(self, phase: str, goals: dict[str, Tensor]) -> bool:
        bad = {name: t for name, t in goals.items() if self.bad(t)}
        self.ends = [Operation(leaf="goal", tensor=name, causes=self._producers(t)) for name, t in bad.items()]
        self.phase = phase if bad else self.phase
        return bool(bad)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        flat, spec = tree_flatten((args, kwargs or {}))
        written = self._to_write(func, args, kwargs or {})
        view = not written and any(r.alias_info is not None for r in func._schema.returns)
        step = self._place(func, view)
        if view:
            return func(*args, **(kwargs or {}))
        self._judge(step, func, flat, spec, written)
        read = [x.clone() if any(x is t for t in written) else x for x in flat] if written else flat
        out = func(*args, **(kwargs or {}))
        known = {storage_of(t) for t in tensors(flat)}
        for t in written + [t for t in tensors(out) if storage_of(t) not in known]:
            self._record(step, t, read)
        if step.own and step.entry is not None and not step.nan and not _draws(func):
            step.wide = _wide(func, read, spec)
        step.without = []
        return out

    def _to_write(self, func: Any, args: Any, kwargs: Any) -> list[Tensor]:
        """The arguments that an operation will change; what they were is kept."""
        written = _written(func, args, kwargs) if func._schema.is_mutable else []
        for t in written:
            if storage_of(t) not in self.writes:
                self.keep.storage(t)
        return written

    def _place(self, func: Any, view: bool) -> Operation:
        """The step that runs now, in the forward pass or as a part of an earlier step's derivative."""
        self.count += 1
        aten, (source, inner) = func._schema.name.removeprefix("aten::"), _lines()
        node = torch._C._current_autograd_node()
        if node is None or torch.is_grad_enabled():  # with gradients on inside a node, a checkpoint recomputes
            call = self.update or self.calls.current
            if call and not view and not self.update:
                call.lines.add(inner)
            step = Operation(aten, self.modules[-1], source, call, index=self.count)
            self.nodes.setdefault(torch._C._autograd._get_sequence_nr() - 1, step)
            return step
        number = node._sequence_nr()
        if number not in self.nodes:  # a write into a view makes its node after the operation has run
            number = max((n for n in self.nodes if n < number), default=number)
        forward = self.nodes.get(number, Operation())
        if isinstance(node, BackwardCFunction):  # a torch.autograd.Function, whose derivative the user wrote
            forward = Operation(type(node).__name__.removesuffix("Backward"), forward.module, source or forward.source)
        elif source:  # no derivative, but a hook of the user's
            return Operation(aten, forward.module, source, index=self.count)
        return Operation(aten, forward.module, forward.source, forward=forward, index=self.count)

    def _judge(self, step: Operation, func: Any, flat: list[Any], spec: Any, written: list[Tensor]) -> None:
        """Find out from copies, before it runs, what would make this step's result bad: itself, or which inputs."""

        def trial(mend: list[int]) -> bool:
            return self._tried(step, func, flat, spec, written, mend)

        unread = _unread(func, flat)
        dirty = guilty = [i for i, x in enumerate(flat) if i not in unread and self.bad(x)]
        step.own = not dirty  # of interest only if the result is bad
        self._note_reader(step, [t for i in dirty for t in floats(flat[i])])
        if dirty and not _draws(func):
            if len(dirty) > 1:
                guilty = [i for i in dirty if trial([j for j in dirty if j != i])] or dirty
            step.own = trial(dirty)
        step.added = guilty == [0] and step.aten in ("addmm", "baddbmm", "addbmm", "addmv", "addr")
        step.causes = [cause for i in guilty for t in floats(flat[i]) for cause in self._producers(t)]
        if dirty:
            self.trail = [*self.trail[-99:], step]

    def _note_reader(self, step: Operation, read: list[Tensor]) -> None:
        for t in read:
            if storage_of(t) in self.leaves and (leaf := self._leaf(t)).reader is None:
                leaf.reader = step

    def _tried(
        self, step: Operation, func: Any, flat: list[Any], spec: Any, written: list[Tensor], mend: list[int]
    ) -> bool:
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

    def _producers(self, x: Tensor) -> list[Operation]:
        """The steps whose bad results a tensor shows: the last write to its place, earlier ones if that was in part."""
        found: list[Operation] = []
        for t in floats(x):
            low, high = _extent(t)
            for step, first, end, dense, bad in reversed(self.writes.get(storage_of(t), [])):
                if first < high and low < end and bad:
                    found.append(step)
                if first <= low and high <= end and dense:
                    break
            if not found:
                found.append(self._leaf(t))
        return found

    def _leaf(self, t: Tensor) -> Operation:
        leaf = self.leaves.setdefault(storage_of(t), Operation(leaf="input"))
        good, nans = t[t.isfinite()], bool(t.isnan().any())
        leaf.index = leaf.index or self.count
        leaf.entry, leaf.shape, leaf.dtype = _place_of(~t.isfinite()), tuple(t.shape), str(t.dtype)[6:]
        leaf.facts = say("{bad} of {all} entries are Inf or NaN").format(bad=t.numel() - good.numel(), all=t.numel())
        if not nans and t.ndim == 0:
            leaf.fill = "number"
        elif not nans and not bool((t == math.inf).any()):
            leaf.fill = "mask" if good.unique().numel() <= 1 else "minus"
        return leaf

    def _record(self, step: Operation, t: Tensor, flat: list[Any]) -> None:
        bad = self.bad(t)
        if bad and step.own and step.key == self.repair:
            t.copy_(torch.where(_apart(t, step.without), mended(t), t))
            bad = self.bad(t)
        if bad:
            unset = step.aten.startswith(("empty", "new_empty"))  # what memory happened to hold
            step.nan |= bool(t.isnan().any()) and not unset
            step.fill = "memory" if unset else "number" * any(isinstance(x, float) and math.isinf(x) for x in flat)
            step.facts = step.facts or _facts(t, floats(flat))
            if step.entry is None:
                bad_here = _apart(t, step.without)
                step.entry = _place_of(bad_here if bool(bad_here.any()) else ~t.isfinite())
                step.shape, step.dtype = tuple(t.shape), str(t.dtype)[6:]
                step.at = [_value_at(x, step) for x in flat] if step.entry is not None else []
            self.trail = [*self.trail[-99:], step] if step.own else self.trail
        self.half |= t.dtype == torch.float16
        first, end = _extent(t)
        self.writes.setdefault(storage_of(t), []).append(
            (step, first, end, t.numel() * t.element_size() == end - first, bad)
        )


def _apart(t: Tensor, without: list[Tensor]) -> Tensor:
    """Which bad entries are the operation's own; none where they cannot be told from what its bad inputs do."""
    own = next((~u.isfinite() for u in without if u.shape == t.shape), None)
    if own is None:
        return ~t.isfinite()
    return own & (~t.isfinite() & ~own).any()


def _place_of(bad: Tensor) -> tuple[int, ...] | None:
    return tuple(bad.nonzero()[0].tolist()) if bool(bad.any()) else None


def _value_at(x: Any, step: Operation) -> float | None:
    """The entry of an argument that the first bad entry of the result was computed from, if it goes entry by entry."""
    if isinstance(x, Tensor) and x.layout == torch.strided and not x.is_complex() and not x.is_nested:
        try:
            return float(x.expand(step.shape)[step.entry])
        except RuntimeError:
            return None
    return float(x) if isinstance(x, (int, float)) else None


def _unread(func: Any, flat: list[Any]) -> set[int]:
    """The running statistics of a batch norm that trains: it takes part of them over, and does not read them for its result."""
    names = [a.name for a in func._schema.arguments]
    training = next(
        (flat[i] for i, name in enumerate(names) if name in ("training", "train") and i < len(flat)),
        "update" in func._schema.name,
    )
    if "batch_norm" not in func._schema.name or not training:
        return set()
    return {i for i, name in enumerate(names) if name.startswith("running_")}


def _wide(func: Any, flat: list[Any], spec: Any) -> float:
    """The largest magnitude of a result in float64; Inf if it is not finite there either."""

    def widened(x: Any) -> Any:
        if isinstance(x, Tensor) and x.is_floating_point():
            return wide(x)
        return torch.float64 if isinstance(x, torch.dtype) and x.is_floating_point else x

    args, kwargs = tree_unflatten([widened(x) for x in flat], spec)
    try:
        found = [t.abs().max() for t in floats(func(*args, **kwargs)) if t.numel()]
    except RuntimeError:  # a kernel of one format
        return math.inf
    largest = [float(t) for t in found]
    return max(largest, default=math.inf) if all(map(math.isfinite, largest)) else math.inf


def _facts(result: Tensor, inputs: list[Tensor]) -> str:
    nans, bad = int(result.isnan().sum()), int((~result.isfinite()).sum())
    sizes = [f"{float(t[t.isfinite()].abs().max()):.3g}" for t in inputs if t.isfinite().any()]
    told = say("{nans} NaN and {infs} Inf in {count} results")
    told += say(", from inputs of magnitude up to {sizes}") if sizes else ""
    told += say("; {format} ends at {largest:.4g}") if bad > nans else ""
    numbers = {"nans": nans, "infs": bad - nans, "count": result.numel(), "largest": torch.finfo(result.dtype).max}
    return told.format(sizes=", ".join(sizes[:3]), format=str(result.dtype)[6:], **numbers)


class Vanishing(Replay):
    """Follows gradients that are zero everywhere, instead of Inf and NaN, to where half precision made them so."""

    differentiating = False

    def bad(self, x: Any) -> bool:
        return self.differentiating and any(t.numel() > 0 and not bool(t.any()) for t in floats(x))

    def _backward(self, loss: Tensor, scale: float) -> Tensor:
        self.differentiating = True
        return super()._backward(loss, scale)

    def _judge(self, step: Operation, func: Any, flat: list[Any], spec: Any, written: list[Tensor]) -> None:
        step.causes = [cause for x in flat if self.bad(x) for cause in self._producers(x) if not cause.leaf]
        if not self.differentiating or written or _draws(func):
            return
        half = torch.float16
        wide = [
            x.float() if isinstance(x, Tensor) and x.dtype == half else torch.float32 if x is half else x for x in flat
        ]
        (args, kwargs), (wide_args, wide_kwargs) = tree_unflatten(flat, spec), tree_unflatten(wide, spec)
        pairs = zip(tensors(func(*args, **kwargs)), tensors(func(*wide_args, **wide_kwargs)), strict=True)
        # What even the usual loss scale, 2^16, would not lift above fp16's smallest number, 2^-24, is no loss
        step.own = any(t.dtype == half and self.bad(t) and bool((w.abs() > 2.0**-40).any()) for t, w in pairs)
