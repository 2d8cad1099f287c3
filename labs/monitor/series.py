"""Many recorded steps: their numbers for a logger, and their picture over time."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, TypeGuard

from labs.monitor.report import BAND, StabilityReport

_NUMBERS = ("std", "gradient", "weight_gradient", "update_ratio", "dead", "saturated")
_LINES = 12  # more layers than this are drawn as a heat map


def _finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def scalars(report: StabilityReport, layers: bool = True) -> dict[str, float]:
    """A report as the flat dict that TensorBoard, Weights & Biases and MLflow take: ASCII keys, finite floats.

    Of the net: ``stability/healthy`` and ``stability/finite`` (1 or 0), smallest and largest gradient, largest update. Of each
    layer, unless ``layers=False``: ``stability_gradient/fc1`` and so on. What is unknown, Inf or NaN is left out.

    >>> from labs.monitor import LayerReport
    >>> scalars(StabilityReport((LayerReport("fc 1 → relu", std=0.5, gradient=math.nan),)))
    {'stability/healthy': 1.0, 'stability/finite': 1.0, 'stability_std/fc_1.relu': 0.5}
    """
    found = {"stability/healthy": float(report.verdict == "healthy")}
    found["stability/finite"] = float(all(r.finite and r.gradient_finite for r in report.layers))
    gradients = [float(g) for r in report.layers if _finite(g := r.gradient)]
    updates = [float(u) for r in report.layers if _finite(u := r.update_ratio)]
    if gradients:
        found |= {"stability/gradient_min": min(gradients), "stability/gradient_max": max(gradients)}
    if updates:
        found["stability/update_ratio_max"] = max(updates)
    for r in report.layers if layers else ():
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", r.name.replace(" → ", ".")).strip("_")
        for key in _NUMBERS:
            if _finite(value := getattr(r, key)):
                found[f"stability_{key}/{name}"] = float(value)
    return found


def draw(axes: Any, report: StabilityReport) -> None:
    """Standard deviation of the outputs and norm of the gradients, layer by layer, over the band."""
    from labs import plots  # the only module that imports matplotlib

    for key, colour, label in (
        ("std", plots.FORWARD, "output, std"),
        ("gradient", plots.BACKWARD, "gradient, norm"),
    ):
        values = _positive(getattr(r, key) for r in report.layers)
        known = [i for i, v in enumerate(values) if not math.isnan(v)]  # a function's gradient is known only if exact
        axes.plot([i + 1 for i in known], [values[i] for i in known], color=colour, label=label, marker=".")
    plots.shade_band(axes, *BAND, "the band")
    axes.legend()


def plot(reports: Sequence[StabilityReport]) -> Any:
    """The latest step layer by layer, and signal, gradient and update of every layer against the step; matplotlib's figure.

    Up to twelve layers are lines, from the first (cold) to the last (warm); of more, a heat map of the common logarithm.
    """
    from labs import plots

    figure, ((latest, signal), (gradient, update)) = plots.plt.subplots(2, 2, figsize=(10, 6.4))
    title = f"step {reports[-1].step}"
    latest.set(title=title, xlabel="layer, in the order of calls", ylabel="log scale", yscale="log")
    draw(latest, reports[-1])
    steps = [report.step for report in reports]
    for axes, key, title in (
        (signal, "std", "output, standard deviation"),
        (gradient, "gradient", "gradient at the output, norm"),
        (update, "update_ratio", "update over weight"),
    ):
        rows = _table(reports, key)
        axes.set(title=title, xlabel="step")
        if not rows:
            axes.text(0.5, 0.5, "none recorded", ha="center", va="center", transform=axes.transAxes)
        elif len(rows) > _LINES:
            _heat(figure, axes, steps, rows)
        else:
            _lines(axes, steps, rows)
    return figure


def _positive(values: Any) -> list[float]:
    """What a logarithmic axis can show; NaN leaves a gap."""
    return [float(v) if v is not None and math.isfinite(v) and v > 0 else math.nan for v in values]


def _table(reports: Sequence[StabilityReport], key: str) -> dict[str, list[float]]:
    """One number of every layer that ever has it, at each step; layers in the order of calls."""
    rows: dict[str, list[float]] = {}
    for i, report in enumerate(reports):
        values = _positive(getattr(r, key) for r in report.layers)
        for r, value in zip(report.layers, values, strict=True):
            rows.setdefault(r.name, [math.nan] * len(reports))[i] = value
    return {name: row for name, row in rows.items() if not all(map(math.isnan, row))}


def _lines(axes: Any, steps: list[int], rows: dict[str, list[float]]) -> None:
    from labs import plots

    depth = plots.mpl.colors.LinearSegmentedColormap.from_list("depth", plots.SEQUENCE)
    for i, (name, row) in enumerate(rows.items()):
        colour = depth(i / max(1, len(rows) - 1))
        axes.plot(steps, row, color=colour, label=name, marker="." if len(steps) < 3 else "")
    axes.set(yscale="log", ylabel="log scale")
    axes.legend(fontsize=7)


def _heat(figure: Any, axes: Any, steps: list[int], rows: dict[str, list[float]]) -> None:
    logs = [[math.log10(v) for v in row] for row in rows.values()]  # of NaN NaN, which is left blank
    edges = [*steps, 2 * steps[-1] - steps[-2] if len(steps) > 1 else steps[-1] + 1]
    mesh = axes.pcolormesh(edges, range(len(rows) + 1), logs, cmap="viridis", rasterized=True)
    stride = -(-len(rows) // 10)
    axes.set_yticks([i + 0.5 for i in range(0, len(rows), stride)], list(rows)[::stride], fontsize=7)
    axes.invert_yaxis()
    axes.grid(False)
    figure.colorbar(mesh, ax=axes, label="common logarithm")
