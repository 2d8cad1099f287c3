r"""What a stability report says: the numbers of each layer, the verdicts in words, and how both are printed.

Verdicts are judged by ratios between layers, as a loss may be a sum or a mean; what each means, and what to do, stands in one
table. :mod:`labs.monitor` takes the measurements.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any

__all__ = ["BAND", "LayerReport", "StabilityReport"]

BAND = (1e-6, 1e3)
"""The lecture's band for the norm of a gradient (L18)."""

_RATIO = 1e3  # a fault: the median of the bottom quarter of the layers and that of the top quarter are further apart
_STEP = 0.5  # an update of half the weight's own norm is no small step
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


def _growth(values: Sequence[float]) -> float:
    """Median of the last quarter over that of the first: a single side branch does not count."""
    quarter = max(1, len(values) // 4)
    first, last = (median(values[:quarter]), median(values[-quarter:])) if len(values) > 1 else (1.0, 1.0)
    return last / first if first > 0 else math.inf if last > 0 else 1.0


def judge(
    layers: Sequence[LayerReport],
    *,
    symmetric: set[str],
    units: Mapping[str, int],
    waiting: bool = False,
    scale: float = 1.0,
    step: int = 0,
    exact: bool = False,
) -> StabilityReport:
    """The layers with their verdicts, the net's faults and the notes.

    ``symmetric``: layers whose units are all equal; ``units``: how many of them each ReLU has; ``waiting``: whether a weight
    is all zero, so that no gradient passes it in this step; ``scale``: the loss scale, already divided out.

    >>> judge([LayerReport("fc1", finite=False)], symmetric=set(), units={}).verdict
    'not finite'
    """
    # Inf at the output of relu in sqrt(relu(x)) is masked on its way down; what reaches a weight is not.
    weights = [r.weight_gradient for r in layers if r.weight_gradient is not None]
    spoilt = any(map(math.isinf, weights)) and not all(r.gradient_finite for r in layers)
    poisoned = spoilt or any(map(math.isnan, weights))
    overscaled = poisoned and scale > 1 and all(r.finite for r in layers)
    gradients = [math.nan if r.gradient is None else r.gradient for r in layers]
    chain = [g for g in gradients if math.isfinite(g) and (g > 0 or not waiting)]
    stds = [r.std for r in layers if math.isfinite(r.std)]
    backward, forward = _growth(chain[::-1]), _growth(stds)
    top = median(chain[-max(1, len(chain) // 4) :]) if chain else 0.0
    bottom = median(stds[: max(1, len(stds) // 4)]) if stds else 0.0
    last = max((i for i, r in enumerate(layers) if not r.kind), default=0)  # activations after it are the net's answer

    def verdict(i: int, r: LayerReport, gradient: float) -> str:
        if not r.finite or (poisoned and not r.gradient_finite):
            return "loss scale too large" if overscaled else "not finite"
        if r.name in symmetric:
            return "symmetric weights"
        # Where a deep net maps all inputs alike, half of the units rest: ask for more, by three standard errors.
        if r.dead is not None and i < last and r.dead > 0.5 + 1.5 / math.sqrt(units[r.name]):
            return "dead ReLU"
        if i < last and (r.saturated or 0.0) > 0.5:
            return "saturated"
        if (backward > _RATIO and gradient > top * _RATIO) or (forward > _RATIO and r.std > bottom * _RATIO):
            return "exploding"
        if gradient == 0 and (waiting or top == 0):
            return "no gradient"
        if backward < 1 / _RATIO and gradient < top / _RATIO:
            return "vanishing"
        return "step too large" if (r.update_ratio or 0.0) > _STEP else "healthy"

    judged = tuple(replace(r, verdict=verdict(i, r, gradients[i])) for i, r in enumerate(layers))
    found, notes = {r.verdict for r in judged}, []
    if overscaled:
        notes.append(f"The gradients overflow at loss scale {scale:g}: the scaler skips this step and halves it.")
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
    return StabilityReport(judged, tuple(f for f in _FAULTS if f in found), tuple(notes), step, exact)
