"""Hooks on a model: what computes something in it is seen, measured and, once its step is over, turned into numbers.

Nothing is left on the model but the hooks, and :meth:`Recorder.detach` takes those away. :mod:`labs.monitor` reads the steps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from labs._measure import Record, Tensors, cancels, entries, measure, norms_of, numbers_of, spread, squares_of

_FUNCTIONS: dict[Callable[..., Any], str] = {
    **dict.fromkeys([F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu6], "relu"),
    **dict.fromkeys([torch.sigmoid, torch.sigmoid_, Tensor.sigmoid, Tensor.sigmoid_, torch.special.expit], "sigmoid"),
    **dict.fromkeys([torch.tanh, torch.tanh_, Tensor.tanh, Tensor.tanh_], "tanh"),
}
_MODULES: dict[type, str] = {nn.ReLU: "relu", nn.ReLU6: "relu", nn.Sigmoid: "sigmoid", nn.Tanh: "tanh"}
_SILENT = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_COMPILED = (
    "Hooks on a compiled model record nothing, silently: monitor and run the uncompiled `model._orig_mod` "
    "(after `model.compile()`: a model built without it)."
)


def _tensors(value: Any) -> list[Tensor]:
    """The floating-point tensors in an output: a tensor, or tuples, lists, dicts and data classes of them."""
    if isinstance(value, Tensor):
        fits = value.is_floating_point() and value.layout == torch.strided and value.numel() > 0
        return [value] if fits else []
    if hasattr(value, "__dataclass_fields__"):
        value = vars(value)
    if isinstance(value, Mapping):
        value = tuple(value.values())
    return [x for item in value for x in _tensors(item)] if isinstance(value, (tuple, list)) else []


def _real(x: Tensor) -> Tensor:
    return torch.view_as_real(x) if x.is_complex() else x


def _equal_rows(W: Tensor, tolerance: float) -> bool:
    """Whether at least 3 of 4 neighbouring rows agree; not all, as an LSTM stacks the matrices of its gates."""
    rows = _real(W.detach()).flatten(1)
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
        compiled = isinstance(module, torch.jit.ScriptModule) or hasattr(module, "_orig_mod")
        if compiled or getattr(module, "_compiled_call_impl", None) is not None:
            raise ValueError(f"model: expected no compiled part, got {name or type(module).__name__!r}. {_COMPILED}")
    for name, p in model.named_parameters():
        if nn.parameter.is_lazy(p):
            raise ValueError(f"model: expected initialised parameters, got lazy {name!r}: run one batch first")


class _Functions(TorchFunctionMode):
    """Sees the activations that are called as functions, where no module's hook would."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.recorder.pending is not None:
            self.recorder.flush()  # before this call can overwrite it
        out = func(*args, **(kwargs or {}))
        if func in _FUNCTIONS and isinstance(out, Tensor):
            self.recorder.pending = (_FUNCTIONS[func], out)
        return out


class Step(NamedTuple):
    """One recorded step: numbers of each record (see `numbers_of`), and what is known of each layer's and weight's own."""

    step: int
    scale: float
    kinds: dict[str, str]
    calls: dict[str, int]
    keys: list[tuple[str, bool]]
    numbers: Tensor
    dead: dict[str, tuple[Tensor, int]]
    gradients: dict[str, float]
    squares: dict[str, tuple[float, float]]
    symmetric: set[str]


class Recorder:
    """Hooks on a model: `attach`, then `begin` and `end` around each step; `detach` removes every trace."""

    def __init__(self, model: nn.Module, exact: bool) -> None:
        _refuse(model)
        self.model, self.exact = model, exact
        self.functional = any(map(_calls_functions, model.modules()))
        self.handles: list[RemovableHandle] = []
        self.modes: list[_Functions] = []
        self.indices: dict[tuple[int, torch.device], Tensor] = {}
        self.modules: dict[str, nn.Module] = {}
        self.weights: dict[str, nn.Parameter] = {}  # matrices; in modules that have none, whatever there is
        self.shifted: set[str] | None = (
            None  # layers with a mean that makes sums of squares cancel; None: not known yet
        )
        self.after: Tensor | None = None  # the weights' sample at the end of the step before, while the hooks stay
        self.suspects: set[str] = set()  # weights whose rows are all alike
        seen: set[int] = set()
        for name, module in model.named_modules():
            own = [(f"{name}.{key}" if name else key, p) for key, p in module.named_parameters(recurse=False)]
            if (own or not any(module.children())) and not isinstance(module, _SILENT):
                self.modules[name or "(model)"] = module
            own = [(key, p) for key, p in own if p.requires_grad]
            own = [(key, p) for key, p in own if p.ndim >= 2] or own
            self.weights.update((key, p) for key, p in own if id(p) not in seen)
            seen.update(id(p) for _, p in own)  # a tied weight counts once
            if not isinstance(module, (nn.Embedding, nn.EmbeddingBag)):  # rows of absent tokens have equal gradients: 0
                self.suspects.update(key for key, p in own if p.ndim >= 2)

    def attach(self) -> None:
        if self.handles:
            return
        keep = self.handles.append
        keep(self.model.register_forward_pre_hook(self._enter))
        for name, module in self.modules.items():
            keep(module.register_forward_hook(partial(self._output, name, _MODULES.get(type(module), ""))))
        keep(self.model.register_forward_hook(self._leave, always_call=True))
        for name, p in self.weights.items():
            keep(p.register_post_accumulate_grad_hook(partial(self._weight, name)))

    def detach(self) -> None:
        while self.modes:
            self._leave()
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
        self.after = None

    def begin(self) -> None:
        self.records: list[Record] = []
        self.kinds: dict[str, str] = {}
        self.calls: dict[str, int] = defaultdict(int)
        self.peaks: dict[str, tuple[Tensor, int]] = {}  # largest output of each unit, and the number of its inputs
        self.gradients: dict[str, tuple[int, Tensors]] = {}  # of weights: entries, and their sample or sums of squares
        self.symmetric: set[str] = set()
        self.pending: tuple[str, Tensor] | None = None
        self.last, self.channels_first = "(input)", False
        self.suspects = {name for name in self.suspects if _equal_rows(self.weights[name], 1e-4)}
        self.before = self._sample_weights() if self.after is None else self.after

    def _enter(self, module: nn.Module, args: Any) -> None:
        if torch.compiler.is_compiling():
            raise ValueError(f"model: expected no compilation. {_COMPILED}")
        if self.functional:
            mode = _Functions(self)
            mode.__enter__()
            self.modes.append(mode)

    def _leave(self, *_: Any) -> None:
        if self.modes:
            self.flush()
            self.modes.pop().__exit__(None, None, None)

    def _output(self, name: str, kind: str, module: nn.Module, args: Any, output: Any) -> None:
        with torch._C.DisableTorchFunction():  # our own calls need no watching
            if self.pending is not None:
                if self.pending[1] is output:  # this module's own function: one layer, not two
                    kind, self.pending = self.pending[0], None
                self.flush()
            self.last = name
            if not kind and isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
                self.channels_first = not isinstance(module, nn.Linear)
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
        for x in _tensors(output):
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

    def _measure(self, records: list[Record], name: str, backward: bool, x: Tensor) -> None:
        if x.requires_grad:  # a gradient that is differentiated again
            x = x.detach()
        index = self._index(x)
        if self.exact:
            shifted = not backward and (self.shifted is None or name in self.shifted)
            records.append(measure(name, backward, x, index, shifted=shifted))
        else:
            records.append(Record(name, backward, x.numel(), entries(x, index)))

    def _index(self, x: Tensor) -> Tensor:
        size = x.numel()
        index = self.indices.get((size, x.device))
        if index is None:
            self.indices[size, x.device] = index = spread(size).to(x.device)
        return index

    def _weight(self, name: str, p: Tensor) -> None:
        grad = p.grad
        assert grad is not None  # that is when torch calls this
        values = _real(grad.detach().coalesce().values() if grad.is_sparse else grad.detach())
        parts = squares_of(values) if self.exact else (entries(values, self._index(values)),)
        self.gradients[name] = values.numel(), parts
        if name in self.suspects and _equal_rows(grad, 1e-3):
            self.symmetric.add(name)

    def _sample_weights(self) -> Tensor:
        with torch.no_grad():
            weights = [_real(p) for p in self.weights.values() if p.ndim >= 2]
            parts = [W.reshape(-1)[:: max(1, W.numel() // 256) | 1] for W in weights]
            self.sizes = [len(part) for part in parts]
            return torch.cat(parts).double() if parts else torch.zeros(0, dtype=torch.float64)

    def end(self, step: int, scale: float) -> Step:
        """The step as numbers, in a few large operations and transfers; ValueError if no pass was seen."""
        if not self.calls:
            raise ValueError(f"step: expected a pass of the model with gradients in step {step}, got none. {_COMPILED}")
        self.after = self._sample_weights()
        old, new = self.before, self.after
        part = torch.repeat_interleave(torch.tensor(self.sizes, dtype=torch.int64)).to(old.device)
        sums = old.new_zeros(2, len(self.sizes)).index_add_(1, part, torch.stack([old**2, (new - old) ** 2])).tolist()
        squares = dict(
            zip([name for name, p in self.weights.items() if p.ndim >= 2], zip(*sums, strict=True), strict=True)
        )
        keys, numbers = [(r.name, r.backward) for r in self.records], numbers_of(self.records, self.kinds, scale)
        self.shifted = {keys[i][0] for i in cancels(numbers[:, 1], numbers[:, 2]).nonzero().flatten()}
        gradients = dict(zip(self.gradients, norms_of(list(self.gradients.values()), scale), strict=True))
        return Step(step, scale, self.kinds, self.calls, keys, numbers, self.peaks, gradients, squares, self.symmetric)
