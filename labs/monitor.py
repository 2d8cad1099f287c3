r"""How healthy is *your* model: signal, gradient and update of every layer, a verdict in words, and the section that explains it.

:func:`stability_report` looks at one batch and leaves the model as it was; :class:`StabilityMonitor` watches a training
loop. Both read the outputs of the modules that compute something, and of ``relu``, ``sigmoid`` and ``tanh`` called as functions.

Numbers come from 1024 entries of each tensor, spread evenly over it and its units: a share has a standard error of about
0.016 at most, and a standard deviation is within 10 % of the exact one in 99 of 100 layers of a deep ReLU net. With
``exact=True`` moments, norms and extremes come from all entries, so that a single NaN is seen; shares stay sampled, and the
gradient is also taken behind each activation, not only at the layer before it. Dead units and the test for symmetric weights
always use all entries.

Not seen: the inside of a fused module (the steps of an ``nn.LSTM``, attention scores), and functions in a segment under
re-entrant checkpointing. Compiled models raise ValueError; parallel wrappers and models on several devices are out of scope.
"""

from __future__ import annotations

import html
import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from labs.formats import FORMATS
from labs.origin import find_nonfinite_origin

__all__ = ["BAND", "LayerReport", "StabilityMonitor", "StabilityReport", "find_nonfinite_origin", "stability_report"]

BAND = (1e-6, 1e3)
"""The lecture's band for the norm of a gradient (L18)."""

_SAMPLE = 1024
_RATIO = 1e3  # a fault: the median of the bottom quarter of the layers and that of the top quarter are further apart
_SLOPE = 0.05  # saturated: a slope below 5 % of the activation's largest
_STEP = 0.5  # an update of half the weight's own norm is no small step
_MIN_INPUTS = 16  # fewer inputs cannot tell a dead ReLU from a resting one
# e4m3 for what goes forward, e5m2 for what goes backward: Micikevicius et al. 2022, section 3.
_FORMATS = {"fp16": ("fp16", "fp16"), "bf16": ("bf16", "bf16"), "fp8": ("e4m3", "e5m2")}
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
# Verdict: (advice, section of the book). Faults first, a cause before what it brings about; then what is no fault.
_VERDICTS = {
    "not finite": ("Locate the first Inf or NaN: find_nonfinite_origin. Clipping is no cure.", "02-explosion-relu#L11"),
    "symmetric weights": ("Draw weights at random: equal units get equal gradients.", "05-constant-variance#L26"),
    "dead ReLU": (
        "Lower the learning rate; look for negative biases; He initialisation.",
        "06-xavier#xavier-dead-units",
    ),
    "saturated": ("Standardise the inputs; smaller weights (Xavier); normalise before it.", "03-vanishing-sigmoid#L13"),
    "exploding": (
        "Initialise for constant variance, normalise or scale branches; clip by norm.",
        "02-explosion-relu#L10",
    ),
    "vanishing": (
        "Initialise for constant variance; slope 1 at 0; skips or normalisation.",
        "03-vanishing-sigmoid#L14",
    ),
    "step too large": ("Divide the learning rate by 10, or warm it up.", "02-explosion-relu#L12"),
    "loss scale too large": ("None if rare: the scaler skips the step and halves.", "03-vanishing-sigmoid#L15"),
    "no gradient": ("None if meant: detached, a zero weight above, or at a minimum.", "03-vanishing-sigmoid#L15"),
    "healthy": ("", "04-stabilising-training#L18"),
}
_FAULTS = list(_VERDICTS)[:7]


class _Judged:
    """What one layer's report and the net's have in common."""

    verdict: str

    @property
    def advice(self) -> str:
        """What to do; empty if healthy."""
        return _VERDICTS[self.verdict][0]

    @property
    def section(self) -> str:
        """Chapter and label of the section of the book that explains the verdict, as in ``"03-vanishing-sigmoid#L14"``."""
        return _VERDICTS[self.verdict][1]


@dataclass(frozen=True)
class LayerReport(_Judged):
    """What one layer did in one step; shares lie in [0, 1], and None means 'unknown' or 'does not apply'.

    ``gradient`` is the norm of the loss's gradient at the output, over the whole batch; ``weight_gradient`` that of the
    weights. ``overflow`` and ``underflow`` give, for fp16, bf16 and fp8, the shares of entries beyond the largest number and
    rounded to 0; ``gradient_overflow`` and ``gradient_underflow`` the same for the gradient. ``dead`` is the share of units
    that gave 0 on all inputs, ``saturated`` that of slopes below 5 % of the largest.

    >>> LayerReport("fc1", gradient=1e-9).band
    'below'
    """

    name: str
    kind: str = ""
    calls: int = 1
    mean: float = 0.0
    std: float = 0.0
    largest: float = 0.0
    finite: bool = True
    zero: float = 0.0
    dead: float | None = None
    saturated: float | None = None
    overflow: dict[str, float] = field(default_factory=dict)
    underflow: dict[str, float] = field(default_factory=dict)
    gradient: float | None = None
    gradient_finite: bool = True
    gradient_overflow: dict[str, float] = field(default_factory=dict)
    gradient_underflow: dict[str, float] = field(default_factory=dict)
    weight_gradient: float | None = None
    update_ratio: float | None = None
    verdict: str = "healthy"

    @property
    def band(self) -> str:
        """The gradient's norm is ``"in"``, ``"below"`` or ``"above"`` the band; ``""`` without a gradient."""
        if self.gradient is None:
            return ""
        return "below" if self.gradient < BAND[0] else "in" if self.gradient <= BAND[1] else "above"


_HEAD = ("layer", "mean", "std", "asleep", "|grad|", "0 in fp16", "|grad W|", "update/W", "verdict")


@dataclass(frozen=True)
class StabilityReport(_Judged):
    """All layers in the order of their first call; ``faults`` of the net, the gravest first, a cause before its effects.

    ``print(report)`` gives a table, a notebook shows HTML; ``<`` and ``>`` mark gradients outside the band.

    >>> StabilityReport((LayerReport("fc1"),)).verdict
    'healthy'
    """

    layers: tuple[LayerReport, ...]
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    step: int = 0
    exact: bool = False

    @property
    def verdict(self) -> str:  # type: ignore[override]
        """``"healthy"``, or the gravest fault."""
        return self.faults[0] if self.faults else "healthy"

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, strings, lists and dicts."""
        layers = [asdict(r) | {"band": r.band, "advice": r.advice, "section": r.section} for r in self.layers]
        return asdict(self) | {
            "verdict": self.verdict,
            "advice": self.advice,
            "section": self.section,
            "layers": layers,
        }

    def _summary(self) -> list[str]:
        first = f"Step {self.step}: {'; '.join(self.faults) or 'healthy'} (book: {self.section})"
        return [line for line in (first, self.advice, *self.notes) if line]

    def _rows(self) -> Iterator[list[str]]:
        def show(x: float | None, form: str = ".2g") -> str:
            return "" if x is None else format(x, form)

        for r in self.layers:
            asleep = [f"{x:.0%} {word}" for x, word in ((r.dead, "dead"), (r.saturated, "sat.")) if x is not None]
            gradient = show(r.gradient) + {"below": " <", "above": " >"}.get(r.band, "")
            moments = [
                show(r.mean),
                show(r.std),
                *(asleep or [""]),
                gradient,
                show(r.gradient_underflow.get("fp16"), ".0%"),
            ]
            yield [r.name, *moments, show(r.weight_gradient), show(r.update_ratio), r.verdict]

    def __str__(self) -> str:
        table = [list(_HEAD), *self._rows()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
        return "\n".join([*self._summary(), "", *lines])

    def _repr_html_(self) -> str:
        def row(tag: str, cells: Sequence[str]) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        words = "".join(f"<p>{html.escape(line)}</p>" for line in self._summary())
        return f"{words}<table>{row('th', _HEAD)}{''.join(row('td', cells) for cells in self._rows())}</table>"

    def plot(self) -> Any:
        """Standard deviation of the outputs and norm of the gradients, layer by layer; returns matplotlib's figure."""
        from labs import plots  # the only module that imports matplotlib

        figure, axes = plots.depth_axes("standard deviation, norm", "layer, in the order of calls")
        position = range(1, len(self.layers) + 1)
        axes.plot(position, [r.std or math.nan for r in self.layers], color=plots.FORWARD, label="output, std")
        axes.plot(position, [r.gradient or math.nan for r in self.layers], color=plots.BACKWARD, label="gradient, norm")
        plots.shade_band(axes, *BAND, "the band")
        axes.legend()
        return figure


def _tensors(value: Any) -> Iterator[Tensor]:
    """The floating-point tensors in an output: a tensor, or tuples, lists, dicts and data classes of them."""
    if isinstance(value, Tensor):
        if value.is_floating_point() and value.layout == torch.strided and value.numel() > 0:
            yield value
        return
    if hasattr(value, "__dataclass_fields__"):
        value = vars(value)
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)


def _spread(numel: int) -> Tensor:
    """Places of the sample, shape (1024,): all over the tensor, and each unit, in a width unknown here, about equally often."""
    j = torch.arange(_SAMPLE, dtype=torch.float64)
    if numel < 16 * _SAMPLE:  # one entry of each stretch, by the golden ratio
        return ((j + j * 0.6180339887498949 % 1) * (numel / _SAMPLE)).long()
    stride = -(-numel // _SAMPLE)
    while math.gcd(stride, numel) > 1:  # coprime to every width; the few that wrap around weigh little
        stride += 1
    return j.long() * stride % numel


def _equal_rows(W: Tensor, tolerance: float) -> bool:
    """Whether at least 3 of 4 neighbouring rows agree; not all, as an LSTM stacks the matrices of its gates."""
    rows = W.detach().flatten(1)
    if len(rows) < 2:
        return False
    near = (rows[1:] - rows[:-1]).abs().amax(1) <= tolerance * rows.abs().max()
    return bool(near.float().mean() >= 0.75)


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

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.recorder.pending is not None:
            self.recorder.flush()  # before this call can overwrite it
        out = func(*args, **(kwargs or {}))
        if func in _FUNCTIONS and isinstance(out, Tensor):
            self.recorder.pending = (_FUNCTIONS[func], out)
        return out


class _Record(NamedTuple):
    """One output (or its gradient) of one call, still on its device; the last three only if exact."""

    name: str
    backward: bool
    numel: int
    sample: Tensor
    total: Tensor | None = None
    square: Tensor | None = None
    extremes: tuple[Tensor, ...] = ()


class _Step(NamedTuple):
    """One recorded step: numbers of each record (see `_numbers`), and what is known of each layer's and weight's own."""

    step: int
    scale: float
    kinds: dict[str, str]
    calls: dict[str, int]
    keys: list[tuple[str, bool]]
    numbers: Tensor
    dead: dict[str, tuple[Tensor, int]]
    squares: dict[str, tuple[float, float]]
    symmetric: set[str]


class _Recorder:
    """Hooks on a model: `attach`, then `begin` and `end` around each step; `detach` removes every trace."""

    def __init__(self, model: nn.Module, exact: bool) -> None:
        _refuse(model)
        self.model, self.exact = model, exact
        self.handles: list[RemovableHandle] = []
        self.modes: list[_Functions] = []
        self.indices: dict[int, Tensor] = {}
        self.modules: dict[str, nn.Module] = {}
        self.weights: dict[str, nn.Parameter] = {}  # matrices; in modules that have none, whatever there is
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
            keep(module.register_forward_hook(partial(self._output, name)))
        keep(self.model.register_forward_hook(self._leave, always_call=True))
        for name, p in self.weights.items():
            keep(p.register_post_accumulate_grad_hook(partial(self._weight, name)))

    def detach(self) -> None:
        while self.modes:
            self._leave()
        for handle in self.handles:
            handle.remove()
        self.handles.clear()

    def begin(self) -> None:
        self.records: list[_Record] = []
        self.kinds: dict[str, str] = {}
        self.calls: dict[str, int] = defaultdict(int)
        self.peaks: dict[str, tuple[Tensor, int]] = {}  # largest output of each unit, and the number of its inputs
        self.symmetric: set[str] = set()
        self.pending: tuple[str, Tensor] | None = None
        self.last, self.channels_first = "(input)", False
        self.suspects = {name for name in self.suspects if _equal_rows(self.weights[name], 1e-4)}
        self.before = self._sample_weights()

    def _enter(self, module: nn.Module, args: Any) -> None:
        if torch.compiler.is_compiling():
            raise ValueError(f"model: expected no compilation. {_COMPILED}")
        mode = _Functions(self)
        mode.__enter__()
        self.modes.append(mode)

    def _leave(self, *_: Any) -> None:
        if self.modes:
            self.flush()
            self.modes.pop().__exit__(None, None, None)

    def _output(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        with torch._C.DisableTorchFunction():  # our own calls need no watching
            kind = _MODULES.get(type(module), "")
            if self.pending is not None and self.pending[1] is output:  # this module's own function: one layer, not two
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
            self._measure(self.records, name, False, x)
            if kind == "relu" and x.ndim >= 2:
                units = 1 if x.ndim >= 4 or (x.ndim == 3 and self.channels_first) else x.ndim - 1
                peak, inputs = x.detach().amax([d for d in range(x.ndim) if d != units]), x.numel() // x.shape[units]
                if name in self.peaks and len(self.peaks[name][0]) == len(peak):
                    peak, inputs = torch.maximum(peak, self.peaks[name][0]), inputs + self.peaks[name][1]
                self.peaks[name] = peak, inputs
            # An activation in place may have cut off the layer before it (if that returned a view): then ask behind it.
            if x.requires_grad and (self.exact or not kind or x._version > 0):
                handle = x.register_hook(partial(self._measure, self.records, name, True))
                if x.is_leaf:  # a graph dies with its step, a leaf may live on
                    self.handles.append(handle)

    def _measure(self, records: list[_Record], name: str, backward: bool, x: Tensor) -> None:
        numel = x.numel()
        index = self.indices.get(numel)
        if index is None or index.device != x.device:
            self.indices[numel] = index = _spread(numel).to(x.device)
        sample = torch.take(x.detach(), index)
        if not self.exact:
            records.append(_Record(name, backward, numel, sample))
            return
        flat = x.detach().reshape(-1)
        if flat.dtype.itemsize < 4:
            flat = flat.float()
        extremes = tuple(torch.aminmax(flat))
        records.append(_Record(name, backward, numel, sample, flat.sum(), torch.dot(flat, flat), extremes))

    def _weight(self, name: str, p: Tensor) -> None:
        grad = p.grad
        assert grad is not None  # that is when torch calls this
        self._measure(self.records, name, True, grad.coalesce().values() if grad.is_sparse else grad)
        if name in self.suspects and _equal_rows(grad, 1e-3):
            self.symmetric.add(name)

    def _sample_weights(self) -> Tensor:
        parts = [p.detach().reshape(-1)[:: max(1, p.numel() // 256) | 1] for p in self.weights.values() if p.ndim >= 2]
        self.sizes = [len(part) for part in parts]
        return torch.cat(parts).double() if parts else torch.zeros(0, dtype=torch.float64)

    def end(self, step: int, scale: float) -> _Step:
        """The step as numbers, in a few large operations and transfers; ValueError if no pass was seen."""
        if not self.calls:
            raise ValueError(f"step: expected a pass of the model with gradients in step {step}, got none. {_COMPILED}")
        old, new = self.before, self._sample_weights()
        part = torch.repeat_interleave(torch.tensor(self.sizes, dtype=torch.int64)).to(old.device)
        sums = old.new_zeros(2, len(self.sizes)).index_add_(1, part, torch.stack([old**2, (new - old) ** 2])).tolist()
        squares = dict(
            zip([name for name, p in self.weights.items() if p.ndim >= 2], zip(*sums, strict=True), strict=True)
        )
        keys, numbers = [(r.name, r.backward) for r in self.records], _numbers(self.records, self.kinds, scale)
        return _Step(step, scale, self.kinds, self.calls, keys, numbers, self.peaks, squares, self.symmetric)


def _numbers(records: Sequence[_Record], kinds: Mapping[str, str], scale: float) -> Tensor:
    """Of each record: entries, mean, variance, largest, shares of zero and saturated, beyond and lost in three formats."""
    S = torch.cat([r.sample for r in records]).view(-1, _SAMPLE)
    S = S.float() if S.dtype.itemsize < 4 else S
    numel = torch.tensor([r.numel for r in records], dtype=torch.float64)
    back = torch.tensor([r.backward for r in records])
    factor = torch.where(back, 1 / scale, 1.0)
    if scale != 1:
        S.mul_(factor.to(S)[:, None])
    saturated = S.new_full((len(S),), math.nan)
    for kind, shift in (("tanh", 0.0), ("sigmoid", 1.0)):  # tanh' = 1 - y^2, 4 sigmoid' = 1 - (2y - 1)^2
        rows = [i for i, r in enumerate(records) if not r.backward and kinds[r.name] == kind]
        if rows:
            saturated[rows] = (((1 + shift) * S[rows] - shift).square() > 1 - _SLOPE).to(S.dtype).mean(1)
    mean = S.mean(1)
    hits = S - mean[:, None]
    variance = hits.square_().mean(1).double()
    if not variance.isfinite().all():  # squares beyond fp32, or an Inf or NaN that stays one
        mean, variance = S.double().mean(1), S.double().var(1, correction=0)
    S.abs_()
    largest = S.amax(1)

    def share(compare: Callable[..., Tensor], thresholds: Sequence[float]) -> Tensor:
        limit = torch.where(back, thresholds[1], thresholds[0]).to(S)[:, None]
        return compare(S, limit, out=hits).mean(1)  # into floating point: several times cheaper than into bool

    zero = share(torch.le, (0.0, 0.0))
    highest, none = largest.max().item(), torch.zeros_like(zero)
    columns = [mean, variance, largest, zero, saturated]
    for names in _FORMATS.values():
        limits = [FORMATS[name].max for name in names]
        columns.append(none if highest <= min(limits) else share(torch.gt, limits))
    for names in _FORMATS.values():  # half the smallest subnormal still rounds to 0
        columns.append(share(torch.le, [FORMATS[name].smallest_subnormal / 2 for name in names]) - zero)
    numbers = torch.stack([column.double() for column in columns], 1).cpu()
    exact = [t for r in records if r.total is not None and r.square is not None for t in (r.total, r.square)]
    if exact:
        moments = torch.stack(exact).double().cpu().view(-1, 2) / numel[:, None]
        true_mean, true_variance = moments[:, 0], moments[:, 1] - moments[:, 0] ** 2
        true_mean, true_variance = true_mean * factor, true_variance * factor**2
        good = true_variance.isfinite() & (true_variance > 1e-4 * true_mean**2)  # no overflow, no cancellation, in fp32
        numbers[:, 0] = torch.where(true_mean.isfinite(), true_mean, numbers[:, 0])
        numbers[:, 1] = torch.where(good, true_variance, numbers[:, 1])
        extremes = torch.stack([t for r in records for t in r.extremes]).double().cpu().view(-1, 2)
        numbers[:, 2] = extremes.abs().amax(1) * factor
    return torch.cat([numel[:, None], numbers], 1)


def _pool(rows: Tensor) -> dict[str, Any]:
    """One layer's tensors as one, each weighted by its number of entries."""
    numel = rows[:, 0].sum()
    average = (rows[:, :1] * rows).sum(0) / numel
    mean, largest = average[1], rows[:, 3].max().item() if not rows[:, 3].isnan().any() else math.nan
    variance = average[2] + (rows[:, 0] * (rows[:, 1] - mean) ** 2).sum() / numel
    shares = average.tolist()
    return {
        "mean": mean.item(), "std": variance.sqrt().item(), "norm": (numel * (variance + mean**2)).sqrt().item(),
        "largest": largest, "finite": math.isfinite(largest), "zero": shares[4],
        "saturated": None if math.isnan(shares[5]) else shares[5],
        "overflow": dict(zip(_FORMATS, shares[6:9], strict=True)), "underflow": dict(zip(_FORMATS, shares[9:], strict=True)),
    }  # fmt: skip


def _growth(values: Sequence[float]) -> float:
    """Median of the last quarter over that of the first: a single side branch does not count."""
    quarter = max(1, len(values) // 4)
    first, last = (median(values[:quarter]), median(values[-quarter:])) if len(values) > 1 else (1.0, 1.0)
    return last / first if first > 0 else math.inf if last > 0 else 1.0


def _report(record: _Step, exact: bool) -> StabilityReport:
    """Layers and verdicts of a recorded step; judged by ratios, as a loss may be a sum or a mean."""
    rows: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for i, key in enumerate(record.keys):
        rows[key].append(i)
    names = [name for name in record.kinds if (name, False) in rows]
    owned: dict[str, list[str]] = defaultdict(list)
    for weight in {**record.squares, **dict.fromkeys(name for name, _ in rows if name not in record.kinds)}:
        owner = weight.rpartition(".")[0]
        while owner and owner not in names:  # an attention's projection is never called: it belongs to its parent
            owner = owner.rpartition(".")[0]
        owned[owner or "(model)"].append(weight)
    waiting = any(old == 0 for old, _ in record.squares.values())  # a zero-initialised weight lets no gradient through
    layers: list[dict[str, Any]] = []
    for name in names:
        layer = _pool(record.numbers[rows[name, False]]) | {
            "name": name,
            "kind": record.kinds[name],
            "calls": record.calls[name],
        }
        del layer["norm"]
        if (name, True) in rows:
            gradient = _pool(record.numbers[rows[name, True]])
            layer |= {"gradient": gradient["norm"]}
            layer |= {f"gradient_{key}": gradient[key] for key in ("finite", "overflow", "underflow")}
        peak, inputs = record.dead.get(name, (None, 0))
        if peak is not None and inputs >= _MIN_INPUTS:
            layer["dead"] = peak.le(0).double().mean().item()
        norms = [_pool(record.numbers[rows[w, True][-1:]])["norm"] for w in owned[name] if (w, True) in rows]
        if norms:
            layer["weight_gradient"] = math.hypot(*norms)
        old, change = (sum(record.squares[w][i] for w in owned[name] if w in record.squares) for i in (0, 1))
        if old > 0 and change > 0:
            layer["update_ratio"] = math.sqrt(change / old)
        layers.append(layer)

    def gradient_of(layer: Mapping[str, Any]) -> float:
        return layer.get("gradient", math.nan)

    # Inf at the output of relu in sqrt(relu(x)) is masked on its way down; what reaches a weight is not.
    poisoned = any(math.isnan(r.get("weight_gradient", 0.0)) for r in layers) or (
        any(math.isinf(r.get("weight_gradient", 0.0)) for r in layers)
        and not all(r.get("gradient_finite", True) for r in layers)
    )
    overscaled = poisoned and record.scale > 1 and all(r["finite"] for r in layers)
    chain = [g for r in layers if math.isfinite(g := gradient_of(r)) and (g > 0 or not waiting)]
    stds = [r["std"] for r in layers if math.isfinite(r["std"])]
    backward, forward = _growth(chain[::-1]), _growth(stds)
    top = median(chain[-max(1, len(chain) // 4) :]) if chain else 0.0
    bottom = median(stds[: max(1, len(stds) // 4)]) if stds else 0.0
    last = max(
        (i for i, r in enumerate(layers) if not r["kind"]), default=0
    )  # activations after it are the net's answer

    def verdict(i: int, r: Mapping[str, Any]) -> str:
        gradient, dead = gradient_of(r), r.get("dead")
        if not r["finite"] or (poisoned and not r.get("gradient_finite", True)):
            return "loss scale too large" if overscaled else "not finite"
        if not record.symmetric.isdisjoint(owned[r["name"]]):
            return "symmetric weights"
        # Where a deep net maps all inputs alike, half of the units rest: ask for more, by three standard errors.
        if dead is not None and i < last and dead > 0.5 + 1.5 / math.sqrt(len(record.dead[r["name"]][0])):
            return "dead ReLU"
        if i < last and (r["saturated"] or 0.0) > 0.5:
            return "saturated"
        if (backward > _RATIO and gradient > top * _RATIO) or (forward > _RATIO and r["std"] > bottom * _RATIO):
            return "exploding"
        if gradient == 0 and (waiting or top == 0):
            return "no gradient"
        if backward < 1 / _RATIO and gradient < top / _RATIO:
            return "vanishing"
        return "step too large" if r.get("update_ratio", 0.0) > _STEP else "healthy"

    judged = tuple(LayerReport(**r, verdict=verdict(i, r)) for i, r in enumerate(layers))
    found, notes = {r.verdict for r in judged}, []
    if overscaled:
        notes.append(
            f"The gradients overflow at loss scale {record.scale:g}: the scaler skips this step and halves it."
        )
    if found & {"exploding", "vanishing"} and 0 < backward < math.inf:
        notes.append(
            f"Gradient, bottom quarter of the layers over top: {backward:.1e}; {backward ** (4 / 3 / len(chain)):.2g} a layer."
        )
    if outside := sum(r.band in ("below", "above") for r in judged):
        notes.append(
            f"The gradients of {outside} of {len(judged)} layers lie outside the band [{BAND[0]:g}, {BAND[1]:g}]."
        )
    lost, where = max((r.gradient_underflow.get("fp16", 0.0), r.name) for r in judged)
    if lost > 0.1:
        notes.append(
            f"In fp16, {lost:.0%} of the gradient at {where} would be 0: scale the loss (03-vanishing-sigmoid#L15)."
        )
    return StabilityReport(judged, tuple(f for f in _FAULTS if f in found), tuple(notes), record.step, exact)


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Gradients, buffers and random numbers are afterwards what they were before, also after an exception."""
    gradients = [(p, p.grad) for p in model.parameters()]
    buffers = [(m, name, b, b.clone()) for m in model.modules() for name, b in m._buffers.items() if b is not None]
    devices = {p.device for p in model.parameters() if p.is_cuda}
    with torch.random.fork_rng(sorted(d.index or 0 for d in devices)):
        try:
            for p, _ in gradients:
                p.grad = None
            yield
        finally:
            for p, grad in gradients:
                p.grad = grad
            for module, name, buffer, value in buffers:
                with torch.no_grad():
                    module._buffers[name] = buffer.copy_(value)


def _loss(model: nn.Module, batch: Any, loss_fn: Callable[..., Tensor]) -> Tensor:
    if isinstance(batch, Mapping):
        loss = loss_fn(model(**batch), batch)
    elif isinstance(batch, (tuple, list)):
        *inputs, target = batch
        loss = loss_fn(model(*inputs), target)
    else:
        loss = loss_fn(model(batch))
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
        got = (
            f"shape {tuple(loss.shape)}, requires_grad={loss.requires_grad}" if isinstance(loss, Tensor) else repr(loss)
        )
        raise ValueError(f"loss_fn: expected one number that requires a gradient, got {got}")
    return loss


def stability_report(
    model: nn.Module, batch: Any, loss_fn: Callable[..., Tensor], *, exact: bool = False
) -> StabilityReport:
    """One forward and backward pass, layer by layer; the model stays as it was, in the mode (train or eval) that it is in.

    ``batch`` is ``(*inputs, target)`` for ``loss_fn(model(*inputs), target)``; a mapping for
    ``loss_fn(model(**batch), batch)``; or a tensor for ``loss_fn(model(batch))``. Mixed precision: call it under
    ``torch.autocast``. Raises ValueError for a compiled model (pass ``model._orig_mod``), for one with uninitialised
    parameters, and if the loss is not one number that requires a gradient.

    >>> from labs.nets import DeepMLP
    >>> g = torch.Generator().manual_seed(0)
    >>> net, x, y = DeepMLP((64, 12), "sigmoid", head=10, generator=g), torch.randn(32, 64, generator=g), torch.arange(32) % 10
    >>> report = stability_report(net, (x, y), F.cross_entropy)
    >>> report.verdict, report.section
    ('vanishing', '03-vanishing-sigmoid#L14')
    """
    recorder = _Recorder(model, exact)
    with _unchanged(model), torch.enable_grad():
        try:
            recorder.attach()
            recorder.begin()
            _loss(model, batch, loss_fn).backward()
            return _report(recorder.end(0, 1.0), exact)
        finally:
            recorder.detach()


class StabilityMonitor:
    r"""Watches a training loop: every `every`-th step is recorded, the others run without a hook.

    Call :meth:`step` once in each step, after ``optimizer.step()``. Gradients are those of the backward pass, before any
    clipping; if there is a ``torch.amp.GradScaler``, give it as ``scaler``, and its scale is divided out. Passes under
    ``torch.no_grad`` (a validation) are not recorded. Raises ValueError for ``every < 1``, for a compiled model (pass
    ``model._orig_mod``), and in a recorded step without a pass of the model.

    >>> g = torch.Generator().manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with StabilityMonitor(model, every=2) as monitor:
    ...     for _ in range(4):
    ...         optimizer.zero_grad()
    ...         model(torch.randn(32, 8, generator=g)).square().mean().backward()
    ...         optimizer.step()
    ...         monitor.step()
    >>> monitor.report.verdict, monitor.report.step
    ('healthy', 2)
    """

    def __init__(self, model: nn.Module, every: int = 10, *, exact: bool = False, scaler: Any = None) -> None:
        if every < 1:
            raise ValueError(f"every: expected at least 1, got {every}")
        self.every, self.exact, self.scaler = every, exact, scaler
        self._recorder, self._steps = _Recorder(model, exact), deque[_Step](maxlen=1000)
        self._step, self._inside = 0, False

    def __enter__(self) -> StabilityMonitor:
        self._inside = True
        self._prepare()
        return self

    def __exit__(self, *exception: object) -> None:
        self._inside = False
        self._recorder.detach()

    def _prepare(self) -> None:
        if self._step % self.every:
            self._recorder.detach()
            return
        self._recorder.attach()
        self._recorder.begin()
        self._scale = float(self.scaler.get_scale()) if self.scaler is not None else 1.0

    def step(self) -> None:
        """Close this step; ValueError outside the ``with`` block."""
        if not self._inside:
            raise ValueError("step: expected a call inside `with StabilityMonitor(...)`, got one outside")
        if self._step % self.every == 0:
            self._steps.append(self._recorder.end(self._step, self._scale))
        self._step += 1
        self._prepare()

    @property
    def report(self) -> StabilityReport:
        """The latest recorded step's; ValueError before the first."""
        if not self._steps:
            raise ValueError("report: expected a recorded step, got none yet: call step() after optimizer.step()")
        return _report(self._steps[-1], self.exact)

    @property
    def history(self) -> list[StabilityReport]:
        """Reports of the last 1000 recorded steps, oldest first."""
        return [_report(step, self.exact) for step in self._steps]

    def __str__(self) -> str:
        return str(self.report)

    def _repr_html_(self) -> str:
        return self.report._repr_html_()

    def to_dict(self) -> dict[str, Any]:
        """The latest report's."""
        return self.report.to_dict()

    def plot(self) -> Any:
        """The latest report's."""
        return self.report.plot()
