r"""What a stability report says: the numbers of each layer, the verdicts in words, and how both are printed.

Verdicts are judged by ratios between layers, as a loss may be a sum or a mean; what each means, and what to do, stands in one
table. :mod:`labs.monitor.watch` takes the measurements.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any
from unicodedata import east_asian_width

from labs.words import say

__all__ = ["BAND", "LayerReport", "StabilityReport"]

BAND = (1e-6, 1e3)
"""The lecture's band for the norm of a gradient (L18)."""

_RATIO = 1e3  # a fault: the median of the bottom quarter of the layers and that of the top quarter are further apart
_STEP = 0.5  # an update of half the weight's own norm is no small step
# Verdict: (advice, section of the book). Faults first, a cause before what it brings about; then what is no fault.
_VERDICTS = {
    "not finite": ("Locate the first Inf or NaN: find_nonfinite_origin. Clipping is no cure.", "02-explosion-relu#sec-relu-range"),
    "symmetric weights": ("Draw weights at random: equal units get equal gradients.", "05-constant-variance#sec-cv-fixed-scale"),
    "dead ReLU": ("Lower the learning rate; look for negative biases; He initialisation.", "06-xavier#xavier-dead-units"),
    "saturated": ("Standardise the inputs; smaller weights (Xavier); normalise before it.", "03-vanishing-sigmoid#sec-sig-slope"),
    "exploding": (
        "Initialise for constant variance, normalise or scale branches; clip by norm.",
        "02-explosion-relu#sec-relu-active-paths",
    ),
    "vanishing": ("Initialise for constant variance; slope 1 at 0; skips or normalisation.", "03-vanishing-sigmoid#sec-sig-slopes-weights"),
    "no gradient anywhere": ("Look at the last activation, and at what cuts the loss off.", "06-xavier#xavier-dead-units"),
    "step too large": ("Divide the learning rate by 10, or warm it up.", "02-explosion-relu#sec-relu-learning-rate"),
    "loss scale too large": ("None if rare: the scaler skips the step and halves.", "03-vanishing-sigmoid#sec-sig-exactly-zero"),
    "no gradient": ("None if meant: detached, a zero weight above, or at a minimum.", "03-vanishing-sigmoid#sec-sig-exactly-zero"),
    "healthy": ("", "04-stabilising-training#sec-stab-band"),
}  # fmt: skip
_FAULTS = list(_VERDICTS)[:8]


class _Judged:
    """What one layer's report and the net's have in common."""

    verdict: str

    @property
    def advice(self) -> str:
        """What to do; empty if healthy."""
        return say(_VERDICTS[self.verdict][0])

    @property
    def section(self) -> str:
        """Chapter and label of the section of the book that explains the verdict, as in ``"03-vanishing-sigmoid#sec-sig-slope"``."""
        return _VERDICTS[self.verdict][1]


@dataclass(frozen=True)
class LayerReport(_Judged):
    """What one layer did in one step; shares lie in [0, 1], and None means 'unknown' or 'does not apply'.

    ``update_ratio`` is the norm of the step over that of the weight, or over its usual one while the weight is far smaller (zero at
    first). ``gradient`` is the norm of the loss's gradient at the output, over the whole batch; ``weight_gradient`` that of the
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

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> LayerReport:
        """As ``LayerReport(**values)``, with all four shares given, in a fraction of its time: a history has many."""
        report = object.__new__(cls)
        report.__dict__.update(_UNKNOWN)
        report.__dict__.update(values)
        return report

    @property
    def band(self) -> str:
        """The gradient's norm is ``"in"``, ``"below"`` or ``"above"`` the band; ``""`` without a gradient."""
        if self.gradient is None:
            return ""
        return "below" if self.gradient < BAND[0] else "in" if self.gradient <= BAND[1] else "above"


_UNKNOWN = vars(LayerReport(""))
_HEAD = "layer\tmean\tstd\tasleep\t|grad|\t0 in fp16\t|grad W|\tupdate/W\tverdict"


@dataclass(frozen=True)
class StabilityReport(_Judged):
    """All layers in the order of their first call; ``faults`` of the net, the gravest first, a cause before its effects.

    ``loss`` is what ``backward`` was called on, None if that was not seen. ``print(report)`` gives a table, a
    notebook shows HTML; ``<`` and ``>`` mark gradients outside the band.

    >>> StabilityReport((LayerReport("fc1"),)).verdict
    'healthy'
    """

    layers: tuple[LayerReport, ...]
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    step: int = 0
    exact: bool = False
    loss: float | None = None

    @property
    def verdict(self) -> str:  # type: ignore[override]
        """``"healthy"``, or the gravest fault."""
        return self.faults[0] if self.faults else "healthy"

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, strings, lists and dicts, ready for JSON: a number that is Inf or NaN becomes None."""
        layers = [asdict(r) | {"band": r.band, "advice": r.advice, "section": r.section} for r in self.layers]
        net = {"verdict": self.verdict, "advice": self.advice, "section": self.section}
        return _plain(asdict(self) | net | {"layers": layers})

    def _summary(self) -> list[str]:
        faults = say("; ").join(map(say, self.faults or ["healthy"]))
        first = say("Step {step}: {faults} (book: {section})")
        first = first.format(step=self.step, faults=faults, section=self.section)
        return [line for line in (first, self.advice, *self.notes) if line]

    def _rows(self) -> Iterator[list[str]]:
        def show(x: float | None, form: str = ".2g") -> str:
            return "" if x is None else format(x, form)

        for r in self.layers:
            shares = ((r.dead, say("{share:.0%} dead")), (r.saturated, say("{share:.0%} sat.")))
            asleep = [told.format(share=share) for share, told in shares if share is not None]
            gradient = show(r.gradient) + {"below": " <", "above": " >"}.get(r.band, "")
            lost = show(r.gradient_underflow.get("fp16"), ".0%")
            signal = [show(r.mean), show(r.std), *(asleep or [""]), gradient, lost]
            yield [r.name, *signal, show(r.weight_gradient), show(r.update_ratio), say(r.verdict)]

    def __str__(self) -> str:
        table = [say(_HEAD).split("\t"), *self._rows()]
        widths = [max(map(_width, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in table
        ]
        return "\n".join([*self._summary(), "", *lines])

    def _repr_html_(self) -> str:
        def row(tag: str, cells: Sequence[str]) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        words = "".join(f"<p>{html.escape(line)}</p>" for line in self._summary())
        return f"{words}<table>{row('th', say(_HEAD).split(chr(9)))}{''.join(row('td', cells) for cells in self._rows())}</table>"

    def plot(self) -> Any:
        """Standard deviation of the outputs and norm of the gradients, layer by layer; returns matplotlib's figure."""
        from labs import plots  # the only module that imports matplotlib
        from labs.monitor.series import draw

        figure, axes = plots.depth_axes("standard deviation, norm", "layer, in the order of calls")
        draw(axes, self)
        return figure


def _width(text: str) -> int:
    """How many columns a text takes: a Chinese character two."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _quarter(values: Sequence[float]) -> Sequence[float]:
    """The first quarter of the layers, one at least."""
    return values[: max(1, len(values) // 4)]


def _first(values: Sequence[float], waiting: int = 0) -> float:
    """The size of the first quarter, its median: a single side branch does not count.

    While branches wait for a weight that begins at 0, most layers may be such: then what passes them by, in 1 / ``waiting`` of all.
    """
    return max(values[: max(1, len(values) // waiting)]) if waiting else median(_quarter(values))


def _growth(values: Sequence[float], waiting: int = 0) -> float:
    """That of the last quarter over that of the first."""
    first, last = (_first(v, waiting) for v in (values, values[::-1])) if len(values) > 1 else (1.0, 1.0)
    return last / first if first > 0 else math.inf if last > 0 else 1.0


def _gradient(r: LayerReport) -> float:
    return math.nan if r.gradient is None else r.gradient


@dataclass(frozen=True)
class _Step:
    """What is known of a step besides its layers; the arguments of :func:`judge`."""

    symmetric: set[str]
    units: Mapping[str, int]
    waiting: bool = False
    small: Collection[str] = ()
    scale: float = 1.0
    loss: float | None = None
    spoilt: Mapping[str, Sequence[str]] = field(default_factory=dict)
    still: bool = False
    genuine: bool = False
    stuck: int = 0


def _poisoned(layers: Sequence[LayerReport], step: _Step) -> bool:
    """Whether a weight's gradient is not finite: Inf at the output of relu in sqrt(relu(x)) is masked on its way down."""
    weights = [r.weight_gradient for r in layers if r.weight_gradient is not None]
    return any(step.spoilt.values()) or not all(map(math.isfinite, weights))


def _signals(layers: Sequence[LayerReport], step: _Step) -> list[float]:
    """Standard deviations to compare; while branches wait, of those alone that do not."""
    finite = [r for r in layers if math.isfinite(r.std)]
    return [r.std for r in finite if not step.waiting or (r.std > 0 and r.name not in step.small)]


class _Net:
    """What the layers of one net are judged against."""

    def __init__(self, layers: Sequence[LayerReport], step: _Step) -> None:
        self.layers, self.step = layers, step
        self.poisoned = _poisoned(layers, step)
        self.lost = step.loss is not None and not math.isfinite(step.loss)
        sound = all(r.finite for r in layers) and not step.genuine
        self.overscaled = (self.poisoned or self.lost) and step.scale > 1 and sound
        # in fp16 the loss times its scale overflows too
        self.overscaled &= not self.lost or (self.poisoned and math.isinf(step.loss or 0.0))
        self.chain = [g for g in map(_gradient, layers) if math.isfinite(g) and (g > 0 or not step.waiting)]
        stds = _signals(layers, step)
        half, quarter = (2, 4) if step.waiting else (0, 0)
        self.backward, self.forward = _growth(self.chain[::-1], half), _growth(stds, quarter)
        self.top = _first(self.chain[::-1] or [0.0], half)
        self.bottom = _first(stds or [0.0], quarter)
        # Activations after it are the net's answer.
        self.last = max((i for i, r in enumerate(layers) if not r.kind), default=0)


def _bad(net: _Net, i: int, r: LayerReport) -> bool:
    weight = bool(net.step.spoilt.get(r.name)) or not math.isfinite(r.weight_gradient or 0.0)
    return not r.finite or weight or (net.poisoned and not r.gradient_finite)


def _dead(net: _Net, i: int, r: LayerReport) -> bool:
    # Where a deep net maps all inputs alike, half of the units rest: ask for more, by three standard errors.
    if i > net.last:  # the answer may be 0 for some classes, or all, unless nothing learns any more
        return r.dead == 1 and net.step.still
    return r.dead is not None and r.dead > 0.5 + 1.5 / math.sqrt(net.step.units[r.name])


def _exploding(net: _Net, i: int, r: LayerReport) -> bool:
    gradient = net.backward > _RATIO and _gradient(r) > net.top * _RATIO
    return gradient or (net.forward > _RATIO and r.std > net.bottom * _RATIO)


def _always(net: _Net) -> bool:
    return True


# A layer's verdict is the first that applies, of those that the net admits at all.
_TESTS: list[tuple[str, Callable[[_Net], object], Callable[[_Net, int, LayerReport], bool]]] = [
    ("loss scale too large", lambda net: net.overscaled, _bad),
    ("not finite", _always, _bad),
    ("symmetric weights", lambda net: net.step.symmetric, lambda net, i, r: r.name in net.step.symmetric),
    ("dead ReLU", _always, _dead),
    ("saturated", _always, lambda net, i, r: i < net.last and (r.saturated or 0.0) > 0.5),
    ("exploding", lambda net: net.backward > _RATIO or net.forward > _RATIO, _exploding),
    ("no gradient", lambda net: net.step.waiting or net.step.still or net.top == 0, lambda net, i, r: r.gradient == 0),
    ("vanishing", lambda net: net.backward < 1 / _RATIO, lambda net, i, r: _gradient(r) < net.top / _RATIO),
    ("step too large", _always, lambda net, i, r: (r.update_ratio or 0.0) > _STEP),
]


def _verdicts(net: _Net) -> Iterator[str]:
    tests = [(verdict, applies) for verdict, admitted, applies in _TESTS if admitted(net)]
    for i, r in enumerate(net.layers):
        for verdict, applies in tests:
            if applies(net, i, r):
                yield verdict
                break
        else:
            yield "healthy"


def judge(
    layers: Sequence[LayerReport],
    *,
    symmetric: set[str],
    units: Mapping[str, int],
    step: int = 0,
    exact: bool = False,
    **known: Any,
) -> StabilityReport:
    """The layers with their verdicts, the net's faults and the notes.

    ``symmetric``: layers whose units are all equal; ``units``: how many of them each ReLU has; ``waiting``: whether a weight
    is all zero or nearly, so that no gradient passes it yet; ``small``: layers with such weights; ``scale``: the loss
    scale, already divided out; ``loss``; ``spoilt``: for each layer the parameters whose gradient is not finite; ``still``: no
    parameter has a gradient but 0; ``genuine``: what is not finite in the gradients is not the loss scale's doing;
    ``stuck``: so many steps in a row it was so.

    >>> judge([LayerReport("fc1", finite=False)], symmetric=set(), units={}).verdict
    'not finite'
    """
    net = _Net(layers, _Step(symmetric, units, **known))
    verdicts = list(_verdicts(net))
    judged = tuple(
        r if verdict == "healthy" else LayerReport(**(vars(r) | {"verdict": verdict}))
        for r, verdict in zip(layers, verdicts, strict=True)
    )
    found = set(verdicts)
    if (net.lost or net.poisoned) and not net.overscaled:
        found.add("not finite")
    if net.step.still and net.step.loss != 0 and "dead ReLU" not in found:
        found.add("no gradient anywhere")
    faults = tuple(fault for fault in _FAULTS if fault in found)
    return StabilityReport(judged, faults, tuple(_notes(net, faults)), step, exact, net.step.loss)


def _notes(net: _Net, faults: Sequence[str]) -> Iterator[str]:
    if net.lost and not net.overscaled:
        yield say("The loss is {loss}.").format(loss=net.step.loss)
    if net.step.genuine and net.step.scale > 1:
        told = say("It is not the loss scale {scale:g}: the scaler skips this step, and will skip those to come.")
        yield told.format(scale=net.step.scale)
    known = {r.name for r in net.layers}
    if elsewhere := [name for owner, names in net.step.spoilt.items() if owner not in known for name in names]:
        yield say("The gradient of {names} is not finite.").format(names=", ".join(elsewhere[:3]))
    if net.overscaled:
        told = say("The gradients overflow at loss scale {scale:g}: the scaler skips this step and halves it.")
        yield told.format(scale=net.step.scale)
    if net.chain and {"exploding", "vanishing"} & set(faults) and 0 < net.backward < math.inf:
        told = say("Gradient, bottom quarter of the layers over top: {ratio:.1e}; {layer:.2g} a layer.")
        yield told.format(ratio=net.backward, layer=net.backward ** (4 / 3 / len(net.chain)))
    if outside := sum(r.band in ("below", "above") for r in net.layers):
        told = say("The gradients of {outside} of {count} layers lie outside the band [{low:g}, {high:g}].")
        yield told.format(outside=outside, count=len(net.layers), low=BAND[0], high=BAND[1])
    lost, where = max(((r.gradient_underflow.get("fp16", 0.0), r.name) for r in net.layers), default=(0.0, ""))
    if lost > 0.1:
        told = say("In fp16, {share:.0%} of the gradient at {layer} would be 0: scale the loss ({section}).")
        yield told.format(share=lost, layer=where, section=_VERDICTS["no gradient"][1])
