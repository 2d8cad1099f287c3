r"""Second moments of the signal and of the gradient, layer by layer: measured in a net, and predicted by mean field.

Position ``t - 1`` of a result belongs to layer t. Mean field takes each pre-activation as Gaussian with a variance
:math:`q^t` that does not fluctuate, which holds as the width goes to infinity. At width n its error grows like depth/n
where the map keeps what it is given: near criticality, for ReLU nets, for tanh nets whose signal dies out. There the
second moment is heavy-tailed over the draws of the weights and a *typical* net lies far below the prediction, which is
the mean; medians and quantiles show it. Away from criticality q forgets its fluctuations and the error stays about 1/n.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from labs import activations
from labs.activations import Activation
from labs.nets import DeepMLP, ResidualMLP, layer_widths


class Moments(NamedTuple):
    """Mean, second moment and variance of each layer's entries; each ``(d,)``, float64, on the CPU."""

    mean: Tensor
    second_moment: Tensor
    variance: Tensor


class Propagation(NamedTuple):
    r"""What :func:`measure` returns: moments of :math:`h^t`, :math:`\delta^t` and :math:`\partial\ell/\partial W^t`."""

    activations: Moments
    deltas: Moments
    weight_gradients: Moments


def measure(
    net: DeepMLP | ResidualMLP,
    x: Tensor,
    loss: Callable[[Tensor], Tensor] | None = None,
    *,
    generator: torch.Generator | None = None,
) -> Propagation:
    r"""Moments of activations :math:`h^t`, of :math:`\delta^t = \partial\ell/\partial h^t` and of weight gradients.

    ``x: (batch, n_0)``. For *one* draw of the weights, moments are taken over units and batch together (for
    :math:`\partial\ell/\partial W^t` over the entries of the matrix, of both where a block has two, the batch summed).
    To see the spread over draws, measure several nets.

    ``loss`` maps the net's output to a scalar. Without it :math:`\delta^d` is drawn from N(0, 1) by ``generator``,
    which measures the backward pass alone, and a head is left out. Nothing is stored in ``.grad``. Source: what Glorot
    & Bengio 2010 plot in figs. 6 and 7. Raises ValueError if ``loss`` returns more than one number.

    >>> g = torch.Generator().manual_seed(0)
    >>> moments = measure(DeepMLP((64, 20), generator=g), torch.randn(32, 64, generator=g), generator=g)
    >>> moments.deltas.second_moment.shape
    torch.Size([20])
    """
    with torch.enable_grad():
        hidden = net.hidden(x)
        if loss is None:
            top = hidden[-1]
            delta = torch.randn(top.shape, dtype=top.dtype, device=top.device, generator=generator)
        else:
            top, delta = loss(net.readout(hidden[-1])), None
            if top.numel() != 1:
                raise ValueError(f"loss: expected a function that returns one number, got shape {tuple(top.shape)}")
        weights = [[p for p in layer.parameters() if p.ndim == 2] for layer in net.layers]
        wanted = hidden + [W for layer in weights for W in layer]
        gradients = list(torch.autograd.grad(top, wanted, delta))
    deltas, rest = gradients[: len(hidden)], iter(gradients[len(hidden) :])
    weight_gradients = [torch.cat([next(rest).flatten() for _ in layer]) for layer in weights]
    return Propagation(_moments(hidden), _moments(deltas), _moments(weight_gradients))


def _moments(layers: Sequence[Tensor]) -> Moments:
    layers = [v.detach().double() for v in layers]
    rows = [torch.stack([v.mean(), v.square().mean(), v.var(correction=0)]) for v in layers]
    return Moments(*torch.stack(rows, dim=1).cpu())


_ROUNDING = 1e-12  # of the integrals below: growth by less is none


@cache
def _gauss_rule() -> tuple[Tensor, Tensor]:
    # Gauss-Legendre with 100 nodes on each of [-10, 0] and [0, 10], times the normal density. Splitting at 0 makes the
    # kink of a ReLU harmless and crowds nodes where a steep sigmoid turns. For tanh'(sqrt(q) z)^2 at sqrt(q) = 3 it is
    # exact to 1e-14, where Gauss-Hermite errs by 2e-3 with 160 nodes; at sqrt(q) = 10 to 4e-12.
    u, w = map(torch.from_numpy, np.polynomial.legendre.leggauss(100))
    z = 5 * (u + 1)
    w = w * torch.exp(-(z**2) / 2)
    return torch.cat([-z, z]), torch.cat([w, w]) / (2 * w.sum())


def _gauss_mean_square(f: Callable[[Tensor], Tensor], q: Tensor) -> Tensor:
    """E[f(sqrt(q) z)^2] for z ~ N(0, 1), for every element of ``q``."""
    z, w = _gauss_rule()
    return f(q.sqrt().unsqueeze(-1) * z).square() @ w


def _non_negative(**numbers: float | Tensor | Sequence[float]) -> list[Tensor]:
    values = [torch.as_tensor(value, dtype=torch.float64, device="cpu") for value in numbers.values()]
    for (name, given), value in zip(numbers.items(), values, strict=True):
        if not (value >= 0).all():
            raise ValueError(f"{name}: expected numbers >= 0, got {given}")
    return values


def q_map(
    q: float | Tensor, activation: str | Activation, sigma_w: float | Tensor, sigma_b: float | Tensor = 0.0
) -> Tensor:
    r"""Variance of a layer's pre-activations, given that of the layer before (any shapes that broadcast; float64).

    .. math:: q^t = \sigma_w^2 \int \sigma(\sqrt{q^{t-1}}\, z)^2\, \mathcal{D}z + \sigma_b^2

    The integral over the unit normal z is exact to about 1e-12 for :math:`\sqrt q \le 10`, kinks at 0 included (see the
    rule in the source). Source: Poole et al. 2016. Raises ValueError for a negative or NaN argument.

    >>> q_map(1.0, "relu", sigma_w=2 ** 0.5)
    tensor(1.0000, dtype=torch.float64)
    """
    q, sigma_w, sigma_b = _non_negative(q=q, sigma_w=sigma_w, sigma_b=sigma_b)
    return sigma_w**2 * _gauss_mean_square(activations.get(activation), q) + sigma_b**2


def fixed_point(activation: str | Activation, sigma_w: float, sigma_b: float = 0.0) -> float:
    r"""The variance q* at which :func:`q_map` settles from q = 1: 0.0 if it dies out, infinity if it grows for ever.

    Found by bisection, so it is as sharp at criticality, where iterating the map never ends. Where every q is a fixed
    point (a critical ReLU without bias) it is 1. Source: Poole et al. 2016.

    >>> round(fixed_point("tanh", 1.761 ** 0.5, 0.05 ** 0.5), 3)
    0.57
    """
    sigma = activations.get(activation)
    _non_negative(sigma_w=sigma_w, sigma_b=sigma_b)

    def growth(q: float) -> float:  # q_map(q) / q - 1, without its checks: it is called a hundred times
        m = float(_gauss_mean_square(sigma, torch.tensor(q, dtype=torch.float64, device="cpu")))
        return (sigma_w**2 * m + sigma_b**2) / q - 1

    q, sign = 1.0, math.copysign(1, growth(1.0))
    if abs(growth(q)) < _ROUNDING:
        return q
    while sign * growth(q) > -_ROUNDING:  # double or halve q until the map turns back
        q *= 2**sign
        if not 1e-30 < q < 1e30:
            return 0.0 if sign < 0 else math.inf
    low, high = sorted((q, q / 2**sign))
    return _bisect(growth, low, high)


def _bisect(f: Callable[[float], float], low: float, high: float) -> float:
    """The root of ``f`` in ``[low, high]``, where f has opposite signs at the ends."""
    rises = f(high) > 0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if (f(middle) > 0) == rises else (middle, high)
    return (low + high) / 2


def chi_1(activation: str | Activation, sigma_w: float, sigma_b: float = 0.0) -> float:
    r"""Factor by which a layer multiplies the second moment of :math:`\delta`, at q*; also the mean squared singular
    value of its Jacobian.

    .. math:: \chi_1 = \sigma_w^2 \int \sigma'(\sqrt{q^*}\, z)^2\, \mathcal{D}z

    Below 1 (ordered) gradients vanish and inputs merge, above 1 (chaotic) gradients explode; 1 is critical.
    Source: Poole et al. 2016; Schoenholz et al. 2017.

    >>> round(chi_1("sigmoid", 1.0), 4)
    0.0557
    """
    q = min(max(fixed_point(activation, sigma_w, sigma_b), 1e-30), 1e30)  # the slope's limits at 0 and infinity
    slope = activations.get(activation).derivative
    return sigma_w**2 * float(_gauss_mean_square(slope, torch.tensor(q, dtype=torch.float64, device="cpu")))


def depth_scale(activation: str | Activation, sigma_w: float, sigma_b: float = 0.0) -> float:
    r"""Layers over which the second moment of :math:`\delta` falls by a factor e, :math:`\xi = -1/\ln\chi_1`.

    Infinite at criticality; negative in the chaotic phase, where the moment grows by e over :math:`|\xi|` layers. In
    the ordered phase two inputs merge over the same depth. Source: Schoenholz et al. 2017.

    >>> round(depth_scale("tanh", 1.0, 0.05 ** 0.5), 3)
    3.627
    """
    chi = chi_1(activation, sigma_w, sigma_b)
    if abs(chi - 1) < _ROUNDING:
        return math.inf
    return -1 / math.log(chi) if chi else 0.0


def critical_sigma_w(activation: str | Activation, sigma_b: float = 0.0) -> float:
    r"""The smallest :math:`\sigma_w` found by doubling at which :math:`\chi_1 = 1`: the critical line at ``sigma_b``.

    Source: Schoenholz et al. 2017. Raises ValueError if there is none below 100.

    >>> round(critical_sigma_w("relu") ** 2, 6), round(critical_sigma_w("tanh", 0.05 ** 0.5) ** 2, 4)
    (2.0, 1.761)
    """
    high = 0.5
    while chi_1(activation, high, sigma_b) <= 1:  # beyond it, or rounding decides
        high *= 2
        if high > 100:
            raise ValueError(f"activation: expected one with a critical sigma_w below 100, got {activation}")
    return _bisect(lambda sigma_w: chi_1(activation, sigma_w, sigma_b) - 1, 0.0, high)


def _predict(
    activation: str | Activation,
    widths: Sequence[int],
    gamma: float | Sequence[float],
    sigma_b: float,
    second_moment: float,
) -> tuple[Tensor, Tensor]:
    n = layer_widths(widths)
    d = len(n) - 1
    gammas, _, m = _non_negative(gamma=gamma, sigma_b=sigma_b, second_moment=second_moment)
    if gammas.shape not in ((), (d,)):
        raise ValueError(f"gamma: expected one variance or {d} of them (one a layer), got {gamma}")
    sigma, forward, backward = activations.get(activation), [], []
    for (n_in, n_out), g in zip(pairwise(n), gammas.expand(d), strict=True):
        q = n_in * g * m + sigma_b**2
        m = _gauss_mean_square(sigma, q)
        forward.append(m)
        backward.append(n_out * g * _gauss_mean_square(sigma.derivative, q))
    return torch.stack(forward), torch.stack(backward)


def predict_forward(
    activation: str | Activation,
    widths: Sequence[int],
    gamma: float | Sequence[float],
    sigma_b: float = 0.0,
    second_moment: float = 1.0,
) -> Tensor:
    r"""Mean-field second moments :math:`E[(h^t)^2]` of t = 1 ... d, ``(d,)``, for an input with ``second_moment``.

    .. math:: q^t = n_{t-1}\gamma_t\, E[(h^{t-1})^2] + \sigma_b^2, \qquad
              E[(h^t)^2] = \int \sigma(\sqrt{q^t}\, z)^2\, \mathcal{D}z

    ``widths`` as for :class:`~labs.nets.DeepMLP`; ``gamma`` is :math:`\gamma_t = \mathrm{Var}[w^t_{ij}]`, one or d of
    them. When to trust it: see the head of this module. Source: Poole et al. 2016, with
    :math:`\sigma_w^2 = n_{t-1}\gamma_t`. Raises ValueError for bad widths, variances or moments.

    >>> predict_forward("relu", (64, 3), gamma=1 / 64)
    tensor([0.5000, 0.2500, 0.1250], dtype=torch.float64)
    """
    return _predict(activation, widths, gamma, sigma_b, second_moment)[0]


def predict_backward(
    activation: str | Activation,
    widths: Sequence[int],
    gamma: float | Sequence[float],
    sigma_b: float = 0.0,
    second_moment: float = 1.0,
) -> Tensor:
    r"""Mean-field ratios :math:`E[(\delta^t)^2] / E[(\delta^d)^2]` of t = 1 ... d, ``(d,)``; the last one is 1.

    .. math:: E[(\delta^{t-1})^2] = n_t\gamma_t\, E[(\delta^t)^2] \int \sigma'(\sqrt{q^t}\, z)^2\, \mathcal{D}z

    with the :math:`q^t` of :func:`predict_forward`, whose arguments it shares. It takes the gradient as independent of
    the weights it passes. Source: Schoenholz et al. 2017. Raises ValueError as :func:`predict_forward`.

    >>> predict_backward("identity", [64, 64, 32], gamma=1 / 64)
    tensor([0.5000, 1.0000], dtype=torch.float64)
    """
    factors = _predict(activation, widths, gamma, sigma_b, second_moment)[1]
    return torch.cat([factors[1:].flip(0).cumprod(0).flip(0), factors.new_ones(1)])


class PhaseDiagram(NamedTuple):
    """``second_moment: (sigma_w, seed, layer)``, float64, on the CPU, of the ``sigma_w`` given."""

    sigma_w: Tensor
    second_moment: Tensor

    def quantile(self, p: float) -> Tensor:
        """The ``p`` quantile over seeds, ``(sigma_w, layer)``; NaN where a net overflowed to NaN."""
        return self.second_moment.quantile(p, dim=1)


def phase_diagram(
    activation: str | Activation,
    sigma_w: Sequence[float] | Tensor,
    depth: int,
    seeds: int,
    *,
    width: int = 64,
    batch: int = 4,
    sigma_b: float = 0.0,
    weights: str = "shared",
    dtype: torch.dtype = torch.float32,
    generator: torch.Generator | None = None,
) -> PhaseDiagram:
    r"""Second moment of every layer of Gaussian nets over a grid of :math:`\sigma_w`, ``seeds`` nets at each.

    Weights are N(0, :math:`\sigma_w^2 / n`), biases N(0, :math:`\sigma_b^2`), inputs ``batch`` rows of N(0, 1); moments
    are taken over units and batch. Runs on the generator's device.

    With ``weights="shared"`` the nets of one seed differ in :math:`\sigma_w` alone (common random numbers). Each point
    is as good as an independent one, but neighbours fluctuate together, which smooths curves and spoils an average over
    :math:`\sigma_w`: for a tanh net at depth 20 the log moments of neighbours 0.1 apart correlate by 0.99 while the
    signal decays, 0.95 near criticality, 0.5 at :math:`\sigma_w = 2.4`; for a ReLU net by 1. ``"independent"`` draws
    the weights anew for each :math:`\sigma_w`, at ten times the cost. Inputs are shared either way.

    Source: Poole et al. 2016. Raises ValueError for an unknown ``weights``, a negative or empty ``sigma_w``, or
    a count below 1.

    >>> diagram = phase_diagram("tanh", [0.5, 1.5], depth=10, seeds=20, generator=torch.Generator().manual_seed(0))
    >>> diagram.second_moment.shape, diagram.quantile(0.5).shape
    (torch.Size([2, 20, 10]), torch.Size([2, 10]))
    """
    if weights not in ("shared", "independent"):
        raise ValueError(f"weights: expected 'shared' or 'independent', got {weights!r}")
    for name, count in {"depth": depth, "seeds": seeds, "width": width, "batch": batch}.items():
        if count < 1:
            raise ValueError(f"{name}: expected at least 1, got {count}")
    grid, _ = _non_negative(sigma_w=sigma_w, sigma_b=sigma_b)
    if grid.ndim != 1 or not len(grid):
        raise ValueError(f"sigma_w: expected a non-empty list of numbers, got {sigma_w}")
    sigma, device = activations.get(activation), generator.device if generator else torch.device("cpu")
    nets = seeds if weights == "shared" else seeds * len(grid)  # nets that need their own weights
    scale = (grid / math.sqrt(width)).to(device, dtype)[:, None, None]
    W = torch.empty(nets, width, width, dtype=dtype, device=device)
    x = torch.empty(seeds, 1, batch, width, dtype=dtype, device=device).normal_(generator=generator)
    h = x.expand(-1, len(grid), -1, -1)
    moments = []
    for _ in range(depth):
        W.normal_(generator=generator)
        z = torch.bmm(h.reshape(nets, -1, width), W.mT).view(seeds, len(grid), batch, width) * scale
        if sigma_b:
            b = W.new_empty(seeds, nets // seeds, 1, width).normal_(0, sigma_b, generator=generator)
            z = z + b
        h = sigma(z)
        moments.append(torch.linalg.vector_norm(h, dim=(2, 3), dtype=torch.float64) ** 2 / (batch * width))
    return PhaseDiagram(grid, torch.stack(moments, dim=2).transpose(0, 1).cpu())
