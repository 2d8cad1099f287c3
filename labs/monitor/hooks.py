"""Hooks on a model: what computes something in it is seen, measured and, once its step is over, turned into numbers.

Nothing is left on the model but the hooks, and :meth:`Hooks.detach` takes those away. :mod:`labs.monitor.watch` reads the steps.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack, _pop_mode, _push_mode
from torch.utils.hooks import RemovableHandle

from labs.monitor.measure import (
    Reading,
    Tensors,
    bad_shares,
    cancels,
    entries,
    norms_of,
    numbers_of,
    read_all,
    spread,
    squares_of,
    wide,
)
from labs.monitor.replay import module_name
from labs.monitor.wrappers import Eagerly, inner, local

_FUNCTIONS: dict[Callable[..., Any], str] = {
    **dict.fromkeys([F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu6], "relu"),
    **dict.fromkeys([torch.sigmoid, torch.sigmoid_, Tensor.sigmoid, Tensor.sigmoid_, torch.special.expit], "sigmoid"),
    **dict.fromkeys([torch.tanh, torch.tanh_, Tensor.tanh, Tensor.tanh_], "tanh"),
}
_MODULES: dict[type, str] = {nn.ReLU: "relu", nn.ReLU6: "relu", nn.Sigmoid: "sigmoid", nn.Tanh: "tanh"}
_BACKWARD = Tensor.backward
_CHANNELS = {nn.Linear: False, nn.Conv1d: True, nn.Conv2d: True, nn.Conv3d: True}  # whether units are the second axis
_SILENT = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_COMPILED = "Hooks on what is compiled record nothing, silently: compile the model before the monitor looks at it."


def _outputs(value: Any) -> list[Tensor]:
    """The floating-point tensors in an output: a tensor, or tuples, lists, dicts and data classes of them."""
    if isinstance(value, Tensor):
        fits = value.is_floating_point() and value.layout == torch.strided and value.numel() > 0
        return [value] if fits else []
    if hasattr(value, "__dataclass_fields__"):
        value = vars(value)
    if isinstance(value, Mapping):
        value = tuple(value.values())
    return [x for item in value for x in _outputs(item)] if isinstance(value, (tuple, list)) else []


def _real(x: Tensor) -> Tensor:
    return torch.view_as_real(x) if x.is_complex() else x


def _equal_rows(W: Tensor, tolerance: float) -> bool:
    """Whether at least 3 of 4 neighbouring rows agree; not all, as an LSTM stacks the matrices of its gates."""
    rows = _real(local(W).detach()).flatten(1)
    if len(rows) < 2:
        return False
    near = (rows[1:] - rows[:-1]).abs().amax(1) <= tolerance * rows.abs().max()
    return bool(near.float().mean() >= 0.75)


def _calls_functions(module: nn.Module) -> bool:
    """Whether a module's forward pass may call functions: not so in torch's own layers and in a chain of modules."""
    own = next(module.children(), None) is None and type(module).__module__.startswith("torch.nn.")
    return not own and type(module) is not nn.Sequential


def _refuse(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(
                f"model: expected no TorchScript, got {name or type(module).__name__!r}: its hooks record nothing"
            )
    for name, p in model.named_parameters():
        if nn.parameter.is_lazy(p):
            raise ValueError(f"model: expected initialised parameters, got lazy {name!r}: run one batch first")


class _Functions(TorchFunctionMode):
    """Sees the activations that are called as functions, and the loss as its ``backward`` is called."""

    def __init__(self, hooks: Hooks) -> None:
        super().__init__()
        self.hooks = hooks

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        hooks = self.hooks
        if hooks.pending is not None:
            hooks.flush()  # before this call can overwrite it
        if func is _BACKWARD:
            hooks.losses.append(args[0].detach())
        out = func(*args, **kwargs) if kwargs else func(*args)
        if func in _FUNCTIONS and hooks.inside and isinstance(out, Tensor):
            hooks.pending = (_FUNCTIONS[func], out)
        return out


class Overflow(NamedTuple):
    """The first gradient of a backward pass that is not finite: shares of Inf and of Inf or NaN, whether all of it was seen."""

    name: str
    infinite: float
    bad: float
    whole: bool
    half: bool  # fp16 occurs among the gradients: a loss scale can make them overflow


class RecordedStep(NamedTuple):
    """One recorded step: numbers of each record (see `numbers_of`), and what is known of each layer's and weight's own."""

    step: int
    scale: float
    kinds: dict[str, str]
    calls: dict[str, int]
    keys: list[tuple[str, bool]]
    numbers: Tensor
    dead: dict[str, tuple[Tensor, int]]
    gradients: dict[str, float]
    squares: dict[str, tuple[float, float]]  # of the weights' sample, and of its change
    usual: dict[str, float]  # what the first would be at the usual size
    matrices: set[str]  # those of them that are trained, and have rows
    symmetric: set[str]
    loss: float | None
    spoilt: set[str]  # parameters whose gradient is not finite
    still: bool  # no parameter has a gradient but 0
    overflow: Overflow | None
    stuck: int = 0  # so many steps in a row have overflowed, and no less


class Hooks:
    """Hooks on a model: `attach`, then `begin` and `end` around each step; `detach` removes every trace."""

    def __init__(self, model: nn.Module, exact: bool) -> None:
        model = inner(model)
        _refuse(model)
        self.model, self.exact, self.eagerly = model, exact, Eagerly()
        self.functional = any(map(_calls_functions, model.modules()))
        self.handles: list[RemovableHandle] = []
        self.mode = _Functions(self)
        self.inside = 0  # the model's forward pass, or a function may be one between its modules
        self.indices: dict[tuple[int, torch.device], Tensor] = {}
        self.modules: dict[str, nn.Module] = {}
        self.weights: dict[str, nn.Parameter] = {}  # matrices; in modules that have none, whatever there is
        self.others: dict[str, nn.Parameter] = {}
        # Layers with a mean that makes sums of squares cancel; None: not known yet
        self.shifted: set[str] | None = None
        self.after: Tensor | None = None  # the weights' sample at the end of the step before, while the hooks stay
        self.suspects: set[str] = set()  # weights whose rows are all alike
        seen: set[int] = set()
        for name, module in model.named_modules():
            self._enlist(module_name(name), module, seen)
        self.others = {key: p for key, p in self.others.items() if key not in self.weights}
        self.sharded = {key: p for key, p in (self.weights | self.others).items() if local(p) is not p}
        # What a zero or a tiny number in it holds back: all but biases, the frozen too
        named = [(module_name(key), p) for key, p in model.named_parameters()]
        self.gates = {key: p for key, p in named if "bias" not in key.rpartition(".")[2] and p.numel()}

    def _enlist(self, name: str, module: nn.Module, seen: set[int]) -> None:
        """A module and its own parameters, among what is to be watched."""
        own = [(f"{name}.{key}" if name else key, p) for key, p in module.named_parameters(recurse=False)]
        if (own or not any(module.children())) and not isinstance(module, _SILENT):
            self.modules[name or "(model)"] = module
        own = [(key, p) for key, p in own if p.requires_grad and id(p) not in seen]  # a tied weight counts once
        seen.update(id(p) for _, p in own)
        self.others.update(own)
        own = [(key, p) for key, p in own if p.ndim >= 2] or own
        self.weights.update(own)
        if not isinstance(module, (nn.Embedding, nn.EmbeddingBag)):  # rows of absent tokens have equal gradients: 0
            self.suspects.update(key for key, p in own if p.ndim >= 2)

    def attach(self) -> None:
        if self.handles:
            return
        self.eagerly.on()
        keep = self.handles.append
        keep(self.model.register_forward_pre_hook(self._enter))
        for name, module in self.modules.items():
            kind = _MODULES.get(type(module), "")
            channels = next((first for layer, first in _CHANNELS.items() if isinstance(module, layer)), None)
            keep(module.register_forward_hook(partial(self._output, name, kind, channels)))
        keep(self.model.register_forward_hook(self._leave, always_call=True))
        for name, p in (self.weights | self.others).items():
            keep(p.register_post_accumulate_grad_hook(partial(self._weight, name)))
        keep(
            register_optimizer_step_pre_hook(lambda *_: self._unwatch())
        )  # an update is many functions, none of them ours

    def detach(self) -> None:
        self._unwatch()
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
        self.eagerly.off()
        self.after = None

    def begin(self) -> None:
        self.records: list[Reading] = []
        self.kinds: dict[str, str] = {}
        self.calls: dict[str, int] = defaultdict(int)
        self.peaks: dict[str, tuple[Tensor, int]] = {}  # largest output of each unit, and the number of its inputs
        self.gradients: dict[str, Tensors] = {}  # of weights: the sum of squares, in parts
        self.shares: dict[str, Tensor] = {}  # of Inf, and of Inf or NaN, in a weight's gradient
        self.losses: list[Tensor] = []
        self.moved = False  # a bias has a gradient that is not 0
        self.symmetric: set[str] = set()
        self.unmoved: set[str] = set()  # suspects, too, but for a gradient of 0
        self.pending: tuple[str, Tensor] | None = None
        self.last, self.channels_first = "(input)", False
        self.suspects = {name for name in self.suspects if _equal_rows(self.weights[name], 1e-4)}
        self.before = self._sample_weights() if self.after is None else self.after

    def _watch(self) -> None:
        if self.mode not in _get_current_function_mode_stack():
            self.mode.__enter__()

    def _unwatch(self) -> None:
        """Take the mode away; another may have been entered after it and still be on."""
        if self.mode in _get_current_function_mode_stack():
            self.flush()
            above = []
            while (top := _pop_mode()) is not self.mode:
                above.append(top)
            for mode in reversed(above):
                _push_mode(mode)
        self.inside = 0

    def _enter(self, module: nn.Module, args: Any) -> None:
        if torch.compiler.is_compiling():
            raise ValueError(f"model: expected no compilation. {_COMPILED}")
        self.inside = 1
        if self.functional:
            self._watch()

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if output is None:  # an exception passes
            self._unwatch()
            return
        self.flush()
        self.inside = 0  # what follows is the loss
        self._watch()

    def _output(self, name: str, kind: str, channels: bool | None, module: nn.Module, args: Any, output: Any) -> None:
        if not self.inside and module is not self.model:  # a method of the model's, in place of its forward pass
            self.inside = 1
            self._watch()
        with torch._C.DisableTorchFunction():  # our own calls need no watching
            if self.pending is not None:
                if self.pending[1] is output:  # this module's own function: one layer, not two
                    kind, self.pending = self.pending[0], None
                self.flush()
            self.last = name
            if channels is not None and not kind:
                self.channels_first = channels
            self._layer(name, kind, output)

    def flush(self) -> None:
        """Record the function that waited to learn whether a module claims its output."""
        if self.pending is not None:
            (kind, output), self.pending = self.pending, None
            with torch._C.DisableTorchFunction():
                self._layer(f"{self.last} → {kind}", kind, output)

    def _layer(self, name: str, kind: str, output: Any) -> None:
        self.kinds.setdefault(name, kind)
        # Under no_grad: a validation, or re-entrant checkpointing, which computes it anew; the other kind does so too.
        if not torch.is_grad_enabled() or (name in self.calls and torch._C._current_graph_task_id() != -1):
            return
        self.calls[name] += 1
        for x in _outputs(output):
            values = x.detach()
            self._measure(self.records, name, False, values)
            if kind == "relu" and x.ndim >= 2:
                self._peak(name, values)
            # An activation in place may have cut off the layer before it (if that returned a view): then ask behind it.
            if x.requires_grad and (self.exact or not kind or x._version > 0):
                handle = x.register_hook(partial(self._measure, self.records, name, True))
                if x.is_leaf:  # a graph dies with its step, a leaf may live on
                    self.handles.append(handle)

    def _peak(self, name: str, x: Tensor) -> None:
        units = 1 if x.ndim >= 4 or (x.ndim == 3 and self.channels_first) else x.ndim - 1
        others = 0 if x.ndim == 2 else [d for d in range(x.ndim) if d != units]
        peak, inputs = x.amax(others), x.numel() // x.shape[units]
        if name in self.peaks and len(self.peaks[name][0]) == len(peak):
            peak, inputs = torch.maximum(peak, self.peaks[name][0]), inputs + self.peaks[name][1]
        self.peaks[name] = peak, inputs

    def _measure(self, records: list[Reading], name: str, backward: bool, x: Tensor) -> None:
        if x.requires_grad:  # a gradient that is differentiated again
            x = x.detach()
        index = self._index(x)
        if self.exact:
            shifted = not backward and (self.shifted is None or name in self.shifted)
            records.append(read_all(name, backward, x, index, shifted=shifted))
        else:
            records.append(Reading(name, backward, x.numel(), entries(x, index)))

    def _index(self, x: Tensor) -> Tensor:
        size = x.numel()
        index = self.indices.get((size, x.device))
        if index is None:
            self.indices[size, x.device] = index = spread(size).to(x.device)
        return index

    def _weight(self, name: str, p: Tensor) -> None:
        assert p.grad is not None  # that is when torch calls this
        grad = local(p.grad) if name in self.sharded else p.grad
        values = _real(grad.detach().coalesce().values() if grad.is_sparse else grad.detach())
        if not values.numel():
            return
        if name in self.others and values.is_cpu:  # a bias: one number tells whether it is finite, and whether it is 0
            total = values.abs().sum().item()
            self.moved |= total > 0
            if math.isfinite(total):
                return
        # The sum that gives the norm mostly tells that all entries are finite, so that a sample would cost more
        self.gradients[name], sound = squares_of(values)
        if not sound and (shares := bad_shares(values)) is not None:
            self.shares[name] = shares
        if name in self.suspects and _equal_rows(grad, 1e-3):
            (self.symmetric if bool(values.any()) else self.unmoved).add(name)

    def _sharded_weights(self) -> None:
        """Their gradients come by another way than autograd's, past the hooks."""
        for name, p in self.sharded.items():
            if p.grad is not None:
                self._weight(name, p)

    def _sample_weights(self) -> Tensor:
        with torch.no_grad():
            parts = [(x := _real(local(W))).reshape(-1)[:: max(1, x.numel() // 256) | 1] for W in self.gates.values()]
            self.sizes = [len(part) for part in parts]
            return wide(torch.cat(parts)) if parts else torch.zeros(0, dtype=torch.float64, device="cpu")

    def _changes(self) -> tuple[dict[str, tuple[float, float]], dict[str, float]]:
        """Of each weight's sample the squares and those of its change; and what the first usually are."""
        self.after = self._sample_weights()
        old, new = self.before, self.after
        part = torch.repeat_interleave(torch.tensor(self.sizes, dtype=torch.int64, device="cpu")).to(old.device)
        sums = old.new_zeros(2, len(self.sizes)).index_add_(1, part, torch.stack([old**2, (new - old) ** 2])).tolist()
        squares = dict(zip(self.gates, zip(*sums, strict=True), strict=True))
        fans = [max(1, p.numel() // len(p)) if p.ndim >= 2 else 1 for p in self.gates.values()]
        return squares, {name: n / fan for name, n, fan in zip(self.gates, self.sizes, fans, strict=True)}

    def _overflow(self, largest: list[float]) -> Overflow | None:
        half = any(r.backward and r.sample.dtype == torch.float16 for r in self.records)
        for r, size in zip(self.records, largest, strict=True):
            if r.backward and not math.isfinite(size):
                infinite, bad = (share.float().mean().item() for share in (r.sample.isinf(), ~r.sample.isfinite()))
                if bad:  # in exact mode the sample may have missed it
                    return Overflow(r.name, infinite, bad, r.numel <= len(r.sample), half)
        for name, shares in self.shares.items():
            infinite, bad = shares.tolist()
            if bad:
                return Overflow(name, infinite, bad, True, half)
        return None

    def end(self, step: int, scale: float) -> RecordedStep:
        """The step as numbers, in a few large operations and transfers; ValueError if no pass was seen."""
        self._unwatch()
        if not self.calls:
            if not self.modules:
                raise ValueError("model: expected a module that computes something, got none")
            ran = f"; its weights have gradients all the same. {_COMPILED}" if self.gradients else ""
            raise ValueError(f"step: expected a pass of the model with gradients in step {step}, got none{ran}")
        self._sharded_weights()
        squares, usual = self._changes()
        keys, numbers = [(r.name, r.backward) for r in self.records], numbers_of(self.records, self.kinds, scale)
        overflow = self._overflow(numbers[:, 3].tolist())
        self.shifted = {keys[i][0] for i in cancels(numbers[:, 1], numbers[:, 2]).nonzero().flatten()}
        gradients = dict(zip(self.gradients, norms_of(list(self.gradients.values()), scale), strict=True))
        spoilt = {name for name, shares in self.shares.items() if shares[1] > 0}
        still = bool(gradients) and not any(gradients.values()) and not self.moved and not spoilt
        if not any(gradients[name] for name in self.weights if name in gradients):
            self.symmetric |= self.unmoved
        loss = max((wide(value).sum().item() / scale for value in self.losses), key=_badness, default=None)
        gradients = {name: norm for name, norm in gradients.items() if name in self.weights}
        return RecordedStep(
            step, scale, self.kinds, self.calls, keys, numbers, self.peaks, gradients, squares, usual,
            {name for name, p in self.weights.items() if p.ndim >= 2}, self.symmetric,
            loss, spoilt, still, overflow,
        )  # fmt: skip


def _badness(loss: float) -> tuple[bool, float]:
    return not math.isfinite(loss), 0.0 if loss != loss else abs(loss)
