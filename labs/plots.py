"""The one style of the book's figures: structure is neutral, colour is meaning, the same in every chapter."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

FORWARD = "#1565C0"
"""The forward signal."""
BACKWARD = "#C03B2F"
"""The backward signal."""
THEORY = "#444444"
"""A prediction, drawn dashed over the measurement."""
BAND = "#2E7D32"
"""The band where a signal is safe, as a pale wash."""
SEQUENCE = ("#1565C0", "#6D4C9F", "#C03B2F", "#B26A00")
"""Colours for an ordered family of curves (weight scales, depths), cold to warm."""

_STYLE: dict[str, Any] = {
    "figure.figsize": (4.8, 3.3),
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#808080",
    "grid.alpha": 0.2,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "svg.hashsalt": "numerical-stability",
    # LaTeX-like mathematics without LaTeX
    "mathtext.fontset": "cm",
}


def use_style() -> None:
    """Draw figures in the book's style from here on; in a notebook, as SVG without a date, so that a rebuild is identical.

    >>> use_style()
    >>> mpl.rcParams["axes.grid"]
    True
    """
    mpl.rcParams.update(_STYLE)  # type: ignore[arg-type]
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None})
    except (ImportError, AttributeError, KeyError):  # not in a notebook
        pass


def depth_axes(ylabel: str, xlabel: str = "depth $d$", *, log: bool = True) -> tuple[Figure, Axes]:
    """A figure with depth on the horizontal axis and a signal on the vertical one, logarithmic unless ``log=False``.

    >>> figure, axes = depth_axes("norm")
    >>> axes.get_yscale(), axes.get_ylabel()
    ('log', 'norm (log scale)')
    >>> plt.close(figure)
    """
    figure, axes = plt.subplots()
    if log:
        axes.set_yscale("log")
    axes.set(xlabel=xlabel, ylabel=f"{ylabel} (log scale)" if log else ylabel)
    return figure, axes


def shade_band(axes: Axes, low: float, high: float, label: str = "") -> None:
    """A pale wash from ``low`` to ``high``: where a signal is safe.

    Raises ``ValueError`` unless ``low < high``.

    >>> figure, axes = depth_axes("gradient")
    >>> shade_band(axes, 1e-6, 1e3, "the lecture's band")
    >>> plt.close(figure)
    """
    if not low < high:
        raise ValueError(f"shade_band needs low < high, got low={low}, high={high}")
    axes.axhspan(low, high, color=BAND, alpha=0.16, lw=0, label=label or None)


def hatch_zone(axes: Axes, low: float, high: float, label: str = "") -> None:
    """A hatched zone from ``low`` to ``high``: values that a number format cannot hold.

    Raises ``ValueError`` unless ``low < high``.

    >>> figure, axes = depth_axes("gradient")
    >>> hatch_zone(axes, 65504, 1e8, "beyond fp16")
    >>> plt.close(figure)
    """
    if not low < high:
        raise ValueError(f"hatch_zone needs low < high, got low={low}, high={high}")
    axes.axhspan(low, high, facecolor="none", edgecolor="#808080", alpha=0.5, hatch="///", lw=0, label=label or None)
