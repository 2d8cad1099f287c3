"""The one style of the book's figures: structure is neutral, colour is meaning, the same in every chapter.

A drawing is made of the same: :func:`canvas` is a sheet measured in inches, on which :func:`box`, :func:`node`, :func:`arrow`
and :func:`write` put things; labels stand at what they name. :mod:`labs.drawings` has the book's.
"""

from __future__ import annotations

import gc
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

FORWARD = "#1565C0"
"""The forward signal."""
BACKWARD = "#C03B2F"
"""The backward signal."""
THEORY = "#444444"
"""A prediction, drawn dashed over the measurement."""
QUIET = "#808080"
"""What is neither: structure, values that nobody follows."""
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
        plt.switch_backend(mpl.get_backend())  # now; the first figure would, and add what the next line takes away:
        plt.uninstall_repl_displayhook()  # pixels of each figure, which nobody sees, drawn before its SVG
        gc.freeze()  # the half a million objects of what is imported, or the collector goes through them again and again
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


Point = tuple[float, float]
_TEXT: dict[str, Any] = {"ha": "center", "va": "center", "linespacing": 1.3, "fontsize": 13}


def canvas(width: float = 4.8, height: float = 2.0) -> Axes:
    """An empty sheet of ``width`` by ``height`` inches, whose coordinates are inches from its lower left corner.

    Up to 4.8 inches, text of the default size is still readable on a phone.

    >>> axes = canvas(4.8, 1.0)
    >>> axes.get_xlim(), axes.axison
    ((np.float64(0.0), np.float64(4.8)), False)
    >>> plt.close(axes.figure)
    """
    axes = plt.figure(figsize=(width, height), layout="none").add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    return axes


def write(axes: Axes, at: Point, text: str, color: str = THEORY, **options: Any) -> None:
    """Text centred on a point; ``options`` as for ``Axes.text``."""
    axes.text(*at, text, color=color, **(_TEXT | options))


def box(
    axes: Axes, at: Point, text: str = "", color: str = THEORY, size: Point = (0.6, 0.5), fill: float = 0.08
) -> None:
    """A rectangle centred on a point, washed with its colour, and a text in it.

    >>> axes = canvas(2, 1)
    >>> box(axes, (1, 0.5), "$f_1$")
    >>> len(axes.patches), axes.texts[0].get_text()
    (1, '$f_1$')
    >>> plt.close(axes.figure)
    """
    (x, y), (width, height) = at, size
    shape: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=0.05", "lw": 1.3, "zorder": 2}
    face = (*mpl.colors.to_rgb(color), fill)
    corner = (x - width / 2, y - height / 2)
    axes.add_patch(FancyBboxPatch(corner, width, height, edgecolor=color, facecolor=face, **shape))
    write(axes, at, text, color, zorder=3)


def node(axes: Axes, at: Point, text: str = "", color: str = THEORY, radius: float = 0.16, fill: float = 0.08) -> None:
    """A circle centred on a point, washed with its colour, and a text in it: a unit, or an operation such as +.

    >>> axes = canvas(2, 1)
    >>> node(axes, (1, 0.5), "+")
    >>> len(axes.patches)
    1
    >>> plt.close(axes.figure)
    """
    face = (*mpl.colors.to_rgb(color), fill)
    axes.add_patch(Circle(at, radius, edgecolor=color, facecolor=face, lw=1.3, zorder=2))
    write(axes, at, text, color, zorder=3)


def arrow(
    axes: Axes,
    start: Point,
    end: Point,
    text: str = "",
    color: str = THEORY,
    *,
    bend: float = 0.0,
    lift: float = 0.13,
    width: float = 1.6,
    head: str = "-|>",
) -> None:
    """An arrow from one point to another, and a text ``lift`` inches above its middle (below, if negative).

    ``bend`` curves it: the height of the arc over its length, to the right of the way where positive. ``head="-"`` is a line.

    >>> axes = canvas(2, 1)
    >>> arrow(axes, (0.2, 0.5), (1.8, 0.5), "$h^1$", FORWARD)
    >>> [float(v) for v in axes.texts[0].get_position()]
    [1.0, 0.63]
    >>> plt.close(axes.figure)
    """
    way: dict[str, Any] = {
        "arrowstyle": head,
        "connectionstyle": f"arc3,rad={bend}",
        "mutation_scale": 11,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    axes.add_patch(FancyArrowPatch(start, end, color=color, lw=width, zorder=1, **way))
    if text:
        write(axes, ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + lift), text, color)
