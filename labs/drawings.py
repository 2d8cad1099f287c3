"""The book's drawings: each function draws one, in the style of :mod:`labs.plots`, for a cell to show.

>>> from labs import plots
>>> plots.use_style()
>>> two_passes()
>>> checkpoints([2.4, 2.2, 7e4, math.nan], too_late=2)
>>> for drawing in (jacobian_shapes, number_line, backward_factors, residual_block, lstm_cell, three_averages):
...     drawing()
>>> for drawing in (matrix_sums, nan_tree, book_map, pre_and_post):
...     drawing()
>>> plt.close("all")
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt

from labs.formats import FORMATS
from labs.plots import BACKWARD, BAND, FORWARD, QUIET, SEQUENCE, THEORY, arrow, box, canvas, node, write


def two_passes() -> None:
    """A network of three layers with its forward and its backward pass."""
    axes = canvas(4.8, 2.25)
    arrow(axes, (0.05, 1.7), (0.42, 1.7), color=FORWARD)
    write(axes, (0.2, 1.88), "$h^0$", FORWARD)
    for t, x in enumerate((0.8, 2.15, 3.5), 1):
        box(axes, (x, 1.45), size=(0.74, 1.0))
        write(axes, (x, 2.07), f"layer {t}", fontsize=10)
        write(axes, (x, 1.7), f"$W^{t}$", FORWARD)
        arrow(axes, (x + 0.38, 1.7), (x + 0.97, 1.7), f"$h^{t}$", FORWARD, lift=0.18)
        arrow(axes, (x + 0.97, 1.2), (x + 0.38, 1.2), color=BACKWARD)
        write(axes, (x + 0.68, 0.86), rf"$\frac{{\partial\ell}}{{\partial h^{t}}}$", BACKWARD, fontsize=19)
        arrow(axes, (x, 0.96), (x, 0.55), color=BACKWARD)
        write(axes, (x, 0.26), rf"$\frac{{\partial\ell}}{{\partial W^{t}}}$", BACKWARD, fontsize=19)
        if t > 1:
            fraction = rf"$\frac{{\partial h^{t}}}{{\partial h^{t - 1}}}$"
            write(axes, (x, 1.2), fraction, BACKWARD, fontsize=19)
    box(axes, (4.63, 1.45), r"$\ell$", size=(0.3, 0.96))


def jacobian_shapes() -> None:
    """The row of the loss times the Jacobians of layers 3 and 2, drawn to shape, for layers of 5, 4 and 2 units."""
    axes = canvas(4.8, 1.9)
    right, unit = 0.0, 0.2
    for columns, rows, color, name, sign in (
        (2, 1, BACKWARD, r"\frac{\partial\ell}{\partial h^3}", r"$\cdot$"),
        (4, 2, THEORY, r"\frac{\partial h^3}{\partial h^2}", r"$\cdot$"),
        (5, 4, THEORY, r"\frac{\partial h^2}{\partial h^1}", "="),
        (5, 1, BACKWARD, r"\frac{\partial\ell}{\partial h^1}", ""),
    ):
        middle = right + columns * unit / 2 + 0.05
        for i in range(columns):
            for j in range(rows):
                box(axes, (right + 0.15 + i * unit, 1.35 + (j - rows / 2) * unit), color=color, size=(unit, unit))
        write(axes, (middle, 0.5), f"${name}$", color, fontsize=19)
        write(axes, (middle, 0.08), rf"${rows} \times {columns}$", fontsize=10)
        right += columns * unit + 0.45
        write(axes, (right - 0.15, 1.25), sign)


def number_line(names: Sequence[str] = ("fp16", "bf16", "fp32")) -> None:
    """The positive numbers that formats hold, on one logarithmic axis, and the band of the lecture."""
    _, axes = plt.subplots(figsize=(4.8, 2.5))
    for row, name in enumerate(names):
        f = FORMATS[name]
        for low, high, alpha in ((f.smallest_normal, f.max, 1.0), (f.smallest_subnormal, f.smallest_normal, 0.35)):
            axes.plot([low, high], [row, row], color=FORWARD, lw=12, alpha=alpha, solid_capstyle="butt")
        write(axes, (f.smallest_subnormal / 1e3, row), "0", fontsize=11)
        write(axes, (f.max * 1e4, row), "Inf", fontsize=11)
        write(axes, (math.sqrt(f.smallest_normal * f.max), row + 0.4), f"{name}, eps {f.eps:.1g}", fontsize=10)
    axes.axvspan(1e-6, 1e3, color=BAND, alpha=0.16, lw=0)
    axes.set(xscale="log", xlim=(1e-49, 1e46), xlabel="value (log scale)", xticks=[1e-40, 1e-20, 1, 1e20, 1e40])
    axes.set(ylim=(-0.5, len(names) - 0.3), yticks=[])
    axes.spines["left"].set_visible(False)


def checkpoints(losses: Sequence[float], too_late: int) -> None:
    """A run as a timeline: the loss of each checkpoint; from ``too_late`` on nothing rescues it."""
    axes = canvas(4.8, 1.5)
    for step, value in enumerate(losses):
        good = step < too_late
        color, x = FORWARD if good else BACKWARD, 0.35 + 0.57 * step
        last = math.isnan(value)
        node(axes, (x, 0.75), "" if last else f"{step}", color, fill=0.25)
        shown = "NaN" if last else f"{value:.2g}" if value < 100 else f"{value:.0e}"
        shown = shown.replace("e+0", "e").replace("e+", "e")
        write(axes, (x, 0.38), shown, color, fontsize=10)
        if last:
            write(axes, (x, 0.74), r"$\times$", color)
        else:
            arrow(axes, (x + 0.17, 0.75), (x + 0.4, 0.75), width=1.0)
    middle = 0.35 + 0.57 * (too_late - 0.5)
    axes.plot([middle, middle], [0.1, 1.4], color=THEORY, ls="--", lw=1)
    write(axes, (middle - 0.1, 1.25), "still to be rescued", FORWARD, ha="right", fontsize=11)
    write(axes, (middle + 0.1, 1.25), "too late", BACKWARD, ha="left", fontsize=11)
    write(axes, (0.1, 0.08), "loss", fontsize=10, ha="left")


def backward_factors() -> None:
    """What a layer does to a gradient: slope of the unit, weight of the connection, sum."""
    axes = canvas(4.8, 2.5)
    below = (1.25, 1.1)
    node(axes, below, r"$\Sigma$", radius=0.22)
    arrow(axes, (1.02, 1.1), (0.35, 1.1), r"$\delta_j^{t-1}$", BACKWARD, lift=0.22)
    for i, y in enumerate((1.84, 1.1, 0.36), 1):
        node(axes, (3.2, y), rf"$\sigma'(z_{i}^t)$", radius=0.33)
        arrow(axes, (4.4, y), (3.54, y), rf"$\delta_{i}^t$", BACKWARD, lift=0.18)
        rise = (y - 1.1) * 0.2
        arrow(axes, (2.87, y - rise), (1.48, 1.1 + rise), color=BACKWARD)
        write(axes, (2.16, (1.67, 1.27, 0.47)[i - 1]), f"$w_{{{i}j}}^t$")
    write(axes, (1.25, 2.42), "unit $j$,\nlayer $t-1$", fontsize=11, va="top")
    write(axes, (3.2, 2.42), "layer $t$", fontsize=11, va="top")


def residual_block() -> None:
    """A plain layer and a residual block as circuits, with both passes."""
    axes = canvas(4.9, 2.9)
    for x, name in ((0.9, "plain layer"), (3.0, "residual block")):
        write(axes, (x, 0.1), "$h^{t-1}$", FORWARD)
        write(axes, (x, 2.5), "$h^t$", FORWARD)
        write(axes, (x, 2.78), name, fontsize=11)
    arrow(axes, (0.85, 0.25), (0.85, 1.02), color=FORWARD)
    arrow(axes, (0.85, 1.58), (0.85, 2.35), color=FORWARD)
    arrow(axes, (1.0, 2.35), (1.0, 1.58), color=BACKWARD)
    arrow(axes, (1.0, 1.02), (1.0, 0.25), color=BACKWARD)
    box(axes, (0.92, 1.3), r"$\mathcal{F}_t$", size=(0.8, 0.54))
    write(axes, (1.42, 1.3), r"$\cdot\, B^t$", BACKWARD, ha="left")

    arrow(axes, (2.95, 0.25), (2.95, 1.88), color=FORWARD)
    arrow(axes, (2.95, 2.18), (2.95, 2.37), color=FORWARD)
    arrow(axes, (3.07, 2.37), (3.07, 2.18), color=BACKWARD)
    arrow(axes, (3.07, 1.9), (3.07, 0.25), color=BACKWARD)
    node(axes, (3.01, 2.04), "+", radius=0.15)
    box(axes, (4.0, 1.3), r"$\mathcal{F}_t$", size=(0.8, 0.54))
    write(axes, (2.87, 1.3), r"$\cdot\, I$", BACKWARD, ha="right")
    write(axes, (4.46, 1.3), r"$\cdot\, B^t$", BACKWARD, ha="left")
    for color, corners, ends in (
        (FORWARD, [(2.95, 0.5), (4.06, 0.5)], [(4.06, 2.04), (3.17, 2.04)]),
        (BACKWARD, [(3.15, 1.92), (3.94, 1.92)], [(3.94, 0.62), (3.08, 0.62)]),
    ):
        (x, y), (_, top) = corners[1], ends[0]
        near, far = (1.02, 1.58) if y < 1 else (1.58, 1.02)  # the two sides of the box
        axes.plot(*zip(*corners, strict=True), color=color, lw=1.6, zorder=1)
        arrow(axes, (x, y), (x, near), color=color)
        axes.plot([x, x], [far, top], color=color, lw=1.6, zorder=1)
        arrow(axes, ends[0], ends[1], color=color)


def lstm_cell() -> None:
    """A step of an LSTM as a circuit, with the way back along its memory."""
    axes = canvas(4.8, 2.65)
    top, low = 1.9, 0.6
    for x, side, name, inner in (
        (1.1, 0.17, r"$\mathbf{f}^t$", r"$\sigma$"),
        (1.8, -0.1, r"$\mathbf{i}^t$", r"$\sigma$"),
        (2.5, 0.15, r"$\tilde{\mathbf{c}}^t$", "tanh"),
        (3.2, 0.35, r"$\mathbf{o}^t$", r"$\sigma$"),
    ):
        box(axes, (x, low), inner, size=(0.5, 0.36))
        write(axes, (x + side, low + 0.32), name)
        arrow(axes, (x, 0.18), (x, 0.4), width=1.2)
    axes.plot([0.9, 3.2], [0.18, 0.18], color=THEORY, lw=1.2)
    write(axes, (0.45, 0.18), "$h^{t-1}, x^t$", FORWARD)
    for x, y, name in ((1.1, top, r"$\odot$"), (2.15, top, "+"), (2.15, 1.3, r"$\odot$"), (3.9, low, r"$\odot$")):
        node(axes, (x, y), name, radius=0.14)
    for start, end in (
        ((0.5, top), (0.96, top)),
        ((1.24, top), (2.01, top)),
        ((2.29, top), (4.35, top)),
        ((3.9, top), (3.9, 1.47)),
        ((3.9, 1.13), (3.9, 0.74)),
        ((4.04, low), (4.45, low)),
        ((2.15, 1.44), (2.15, 1.76)),
    ):
        arrow(axes, start, end, color=FORWARD)
    for start, end in (
        ((1.1, 0.79), (1.1, 1.76)),
        ((1.8, 0.79), (2.04, 1.2)),
        ((2.5, 0.79), (2.26, 1.2)),
        ((3.46, low), (3.76, low)),
    ):
        arrow(axes, start, end)
    box(axes, (3.9, 1.3), "tanh", size=(0.5, 0.34))
    for x, y, name in ((0.25, top, r"$\mathbf{c}^{t-1}$"), (4.6, top, r"$\mathbf{c}^t$"), (4.62, low, "$h^t$")):
        write(axes, (x, y), name, FORWARD)
    arrow(axes, (4.35, 2.2), (0.5, 2.2), color=BACKWARD)
    write(axes, (1.1, 2.42), r"$\cdot\,\mathbf{f}^t$", BACKWARD)


def three_averages() -> None:
    """The outputs of a layer as a stack of tables: draws of the weights, inputs, units."""
    axes = canvas(4.3, 2.35)
    cell, columns, rows = 0.34, 6, 4
    for k in (3, 2, 1, 0):  # the front card last
        x, y = 0.75 + 0.22 * k, 0.3 + 0.16 * k
        axes.add_patch(plt.Rectangle((x, y), columns * cell, rows * cell, zorder=-k, fc="white", ec=QUIET, lw=1.2))
    for i in range(columns):
        for j in range(rows):
            first = (i, j) == (0, rows - 1)
            color, fill = (FORWARD, 0.6) if first else (QUIET, 0.0)
            box(axes, (0.75 + (i + 0.5) * cell, 0.3 + (j + 0.5) * cell), "", color, (cell, cell), fill)
    x, y = 0.75 + cell / 2, 0.3 + (rows - 0.5) * cell  # the blue cell
    for end, label, place in (
        ((x + 5 * cell, y), "units", (3.85, y)),
        ((x, y - 3 * cell), "inputs", (x, 0.14)),
        ((x + 0.66, y + 0.48), "draws of\nthe weights", (x - 0.1, y + 0.65)),
    ):
        arrow(axes, (x, y), end, color=FORWARD, width=2)
        write(axes, place, label, FORWARD, fontsize=12)


def matrix_sums() -> None:
    """A weight matrix as a rectangle, a row summed forward and a column summed backward."""
    axes = canvas(4.8, 2.6)
    cell, left, low, row, column = 0.28, 1.25, 0.75, 2, 6
    for j in range(9):
        for i in range(4):
            sums = {(True, False): FORWARD, (False, True): BACKWARD, (True, True): SEQUENCE[1]}
            color = sums.get((i == row, j == column), QUIET)
            fill = 0.0 if color == QUIET else 0.35
            box(axes, (left + (j + 0.5) * cell, low + (3.5 - i) * cell), "", color, (cell, cell), fill)
        box(axes, (left + (j + 0.5) * cell, low + 4.8 * cell), "", FORWARD, size=(cell, cell), fill=0.15)
    for i in range(4):
        box(axes, (left + 9.8 * cell, low + (i + 0.5) * cell), "", BACKWARD, size=(cell, cell), fill=0.15)
    y, x = low + (3.5 - row) * cell, left + (column + 0.5) * cell
    arrow(axes, (left - 0.03, y), (0.8, y), color=FORWARD)
    arrow(axes, (x, low - 0.03), (x, 0.38), color=BACKWARD)
    write(axes, (0.57, y), "$h_i^t$", FORWARD)
    write(axes, (x, 0.18), r"$\delta_j^{t-1}$", BACKWARD)
    write(axes, (0.57, y - 0.35), "$n_{t-1}$ terms", FORWARD, fontsize=12)
    write(axes, (x + 0.3, 0.18), "$n_t$ terms", BACKWARD, fontsize=12, ha="left")
    write(axes, (left - 0.1, low + 4.8 * cell), "$h^{t-1}$", FORWARD, ha="right")
    write(axes, (left + 9.8 * cell, low + 4.55 * cell), r"$\delta^t$", BACKWARD)
    write(axes, (left + 0.1, low - 0.2), "$W^t$")


def nan_tree() -> None:
    """Which way to search for the origin of a NaN."""
    axes = canvas(4.8, 5.0)
    for k, (question, answer) in enumerate(
        (
            ("Batch, parameter or\nbuffer bad before\nthe step?", "an earlier step,\nor the data"),
            ("Loss bad?", "search the forward\npass, from the\nloss back"),
            ("A gradient bad?", "search the backward\npass: where, masks,\nroots, acos"),
            ("Weights bad after the\nstep, or the loss that\nthey give?", "the rate, or the\noptimiser's\ndenominator"),
        )
    ):
        y = 4.55 - 1.1 * k
        box(axes, (1.1, y), size=(2.1, 0.8))
        write(axes, (1.1, y), question, fontsize=11)
        arrow(axes, (2.17, y), (2.85, y), "yes", BACKWARD)
        box(axes, (3.82, y), "", BACKWARD, size=(1.9, 0.8))
        write(axes, (3.82, y), answer, BACKWARD, fontsize=11)
        arrow(axes, (1.1, y - 0.41), (1.1, y - 0.68))
        write(axes, (1.32, y - 0.54), "no", fontsize=11)
    write(axes, (0.05, 0.22), "Nothing bad and no progress: a report on one batch.", fontsize=11, ha="left")


def book_map() -> None:
    """A network with its two passes, and the chapters that treat its parts."""
    axes = canvas(4.8, 3.3)
    for x, t in ((1.2, 1), (2.9, 2)):
        box(axes, (x - 0.3, 1.75), f"$W^{t}$", size=(0.5, 0.9))
        box(axes, (x + 0.3, 1.75), r"$\sigma$", size=(0.5, 0.9))
    for x0, x1 in ((0.2, 0.62), (1.78, 2.32), (3.48, 4.05)):
        arrow(axes, (x0, 1.95), (x1, 1.95), color=FORWARD)
        arrow(axes, (x1, 1.55), (x0, 1.55), color=BACKWARD)
    box(axes, (4.3, 1.75), r"$\ell$", size=(0.45, 0.9))
    arrow(axes, (2.05, 1.97), (3.75, 1.97), color=FORWARD, bend=-0.5)
    for text, place, part in (
        ("5, 6  weights", (0.75, 2.55), (0.9, 2.22)),
        ("7  activation", (1.25, 2.95), (1.5, 2.22)),
        ("4  skips", (2.9, 2.65), None),
        ("2  overflow", (3.95, 3.0), (3.8, 2.02)),
        ("8  NaN", (4.4, 2.55), (4.3, 2.22)),
    ):
        write(axes, place, text, fontsize=11)
        if part:
            arrow(axes, (place[0], place[1] - 0.12), part, head="-", width=0.8)
    arrow(axes, (3.75, 1.08), (0.3, 1.08), color=BACKWARD, width=1.0)
    write(axes, (1.35, 0.9), "1  the product of Jacobians", BACKWARD, fontsize=11)
    write(axes, (0.0, 0.62), "3  small gradients", BACKWARD, fontsize=11, ha="left")
    arrow(axes, (2.6, 1.28), (2.6, 0.45), color=BACKWARD)
    write(axes, (2.6, 0.25), "2, 4  the step: learning rate, clipping", BACKWARD, fontsize=11)


def pre_and_post() -> None:
    """Where a block of a transformer normalises: before its branch, or after the addition."""
    axes = canvas(4.8, 3.0)
    for x, name, above in ((0.9, "pre-norm", False), (3.3, "post-norm", True)):
        write(axes, (x, 2.86), name, fontsize=11)
        write(axes, (x, 0.1), "$h^{t-1}$", FORWARD)
        write(axes, (x, 2.6), "$h^t$", FORWARD)
        plus, branch = (1.62, 0.98) if above else (2.1, 1.5)
        arrow(axes, (x, 0.25), (x, plus - 0.15), color=FORWARD)
        node(axes, (x, plus), "+", radius=0.15)
        if above:
            arrow(axes, (x, plus + 0.15), (x, 1.95), color=FORWARD)
            box(axes, (x, 2.1), "norm", BACKWARD, size=(0.8, 0.3))
            arrow(axes, (x, 2.25), (x, 2.47), color=FORWARD)
        else:
            arrow(axes, (x, plus + 0.15), (x, 2.47), color=FORWARD)
        side = x + 0.95
        axes.plot([x, side], [0.42, 0.42], color=FORWARD, lw=1.6, zorder=1)
        if not above:
            arrow(axes, (side, 0.42), (side, 0.66), color=FORWARD)
            box(axes, (side, 0.82), "norm", BACKWARD, size=(0.8, 0.3))
            arrow(axes, (side, 0.98), (side, branch - 0.25), color=FORWARD)
        else:
            arrow(axes, (side, 0.42), (side, branch - 0.25), color=FORWARD)
        box(axes, (side, branch), r"$\mathcal{F}_t$", size=(0.8, 0.48))
        axes.plot([side, side], [branch + 0.24, plus], color=FORWARD, lw=1.6, zorder=1)
        arrow(axes, (side, plus), (x + 0.16, plus), color=FORWARD)
