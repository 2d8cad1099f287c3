r"""Stabilisers of a training step: clipping, gradient normalisation, loss scaling.

``grads`` is one tensor or an iterable of tensors of any shape: the gradients themselves, as in
``[p.grad for p in model.parameters() if p.grad is not None]``. A trailing ``_`` means that they change in place. Norms
and moments are taken in float64, where the squares of every narrower format fit.

No stabiliser cures an Inf or NaN. On the gradient [Inf, 1], ``torch.nn.utils.clip_grad_norm_`` leaves [NaN, 0], and
``clip_grad_value_`` leaves [threshold, 1], which hides it. Here a gradient that is not finite raises ValueError and
nothing is changed, unless ``error_if_nonfinite=False`` asks a clipping function for what torch does.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from labs.formats import Format, get_format

Grads = Tensor | Iterable[Tensor]
_FLOAT32_MAX = torch.finfo(torch.float32).max


def _tensors(grads: Grads, error_if_nonfinite: bool = True) -> list[Tensor]:
    """The gradients as a list, once they are known to be gradients and finite."""
    tensors = [grads] if isinstance(grads, Tensor) else list(grads)
    for i, grad in enumerate(tensors):
        if isinstance(grad, nn.Parameter):
            raise ValueError(f"grads[{i}]: expected a gradient, got a parameter of shape {tuple(grad.shape)}")
        if error_if_nonfinite and not grad.isfinite().all():
            bad = grad.numel() - int(grad.isfinite().sum())
            raise ValueError(f"grads[{i}]: expected finite entries, got {bad} Inf or NaN in shape {tuple(grad.shape)}")
    return tensors


def _total_norm(tensors: list[Tensor]) -> Tensor:
    """The 2-norm of all entries together, in float64; 0 for an empty list, as in torch."""
    norms = [torch.linalg.vector_norm(grad, dtype=torch.float64) for grad in tensors]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros((), dtype=torch.float64, device="cpu")


@torch.no_grad()
def clip_by_value_(grads: Grads, threshold: float, *, error_if_nonfinite: bool = True) -> None:
    r"""Set each entry beyond :math:`\pm` threshold to the threshold, the lecture's clipping; the direction changes.

    At threshold 1 the gradient [100, 1] becomes [1, 1], 44.4 degrees off. torch's own: ``clip_grad_value_``. Raises
    ValueError for a negative threshold, a parameter in place of a gradient, and as the module says for Inf and NaN.

    >>> grad = torch.tensor([100.0, 1.0])
    >>> clip_by_value_(grad, 1.0); grad
    tensor([1., 1.])
    """
    if not threshold >= 0:
        raise ValueError(f"threshold: expected at least 0, got {threshold}")
    for grad in _tensors(grads, error_if_nonfinite):
        grad.clamp_(-threshold, threshold)


@torch.no_grad()
def clip_by_norm_(grads: Grads, max_norm: float, *, error_if_nonfinite: bool = True) -> Tensor:
    r"""Shrink all gradients by one factor to a joint 2-norm of at most max_norm; returns the norm before (float64, ()).

    .. math:: g \leftarrow g \, \min\!\left(1, \frac{c}{\lVert g \rVert + 10^{-6}}\right), \qquad c = \text{max\_norm}

    One factor for all: the direction is kept. torch's own: ``clip_grad_norm_``, whose norm overflows in fp16 where this
    one does not. Source: Pascanu et al. 2013, algorithm 1. Raises ValueError as :func:`clip_by_value_` does.

    >>> grad = torch.tensor([3.0, 4.0])
    >>> clip_by_norm_(grad, 1.0).item(), grad
    (5.0, tensor([0.6000, 0.8000]))
    """
    if not max_norm >= 0:
        raise ValueError(f"max_norm: expected at least 0, got {max_norm}")
    tensors = _tensors(grads, error_if_nonfinite)
    total = _total_norm(tensors)
    factor = (max_norm / (total + 1e-6)).clamp(max=1.0)
    for grad in tensors:
        grad.copy_(grad.double() * factor)
    return total


@torch.no_grad()
def standardise_(grads: Grads) -> None:
    r"""Shift and scale each gradient tensor to mean 0 and variance 1 over its entries: what the lecture's notes name.

    .. math:: g \leftarrow (g - \bar g) / s, \qquad s^2 = \tfrac1n \sum_i (g_i - \bar g)^2

    The shift turns the gradient: the cosine with the old one is :math:`s / \sqrt{\bar g^2 + s^2}`, and entries may
    change sign ([100, 1] becomes [1, -1]). torch's own: ``F.layer_norm(g, g.shape, eps=0)``. Raises ValueError for a
    tensor whose entries are all equal, a parameter in place of a gradient, and Inf and NaN.

    >>> grad = torch.tensor([100.0, 1.0])
    >>> standardise_(grad); grad
    tensor([ 1., -1.])
    """
    tensors = _tensors(grads)
    for i, grad in enumerate(tensors):
        if grad.numel() == 0 or grad.min() == grad.max():
            raise ValueError(f"grads[{i}]: expected unequal entries, got all equal in shape {tuple(grad.shape)}")
    for grad in tensors:
        wide = grad.double() / grad.abs().max()
        std, mean = torch.std_mean(wide, correction=0)
        grad.copy_((wide - mean) / std)


@torch.no_grad()
def unit_norm_(grads: Grads) -> Tensor:
    r"""Scale all gradients by one factor to joint 2-norm 1; returns the norm before (float64, ()).

    .. math:: g \leftarrow g / \lVert g \rVert

    The direction is kept (cosine 1) and the length lost, so the learning rate alone sets the size of the step: what
    'gradient normalisation' usually means. torch's own: ``F.normalize``. Raises ValueError if the norm is 0, for a
    parameter in place of a gradient, and for Inf and NaN.

    >>> grad = torch.tensor([3.0, 4.0])
    >>> unit_norm_(grad).item(), grad
    (5.0, tensor([0.6000, 0.8000]))
    """
    tensors = _tensors(grads)
    total = _total_norm(tensors)
    if total == 0:
        raise ValueError(f"grads: expected a norm above 0, got 0 from {len(tensors)} tensors")
    for grad in tensors:
        grad.copy_(grad.double() / total)
    return total


def _log2_floor(a: float, b: float) -> int:
    """Largest k with 2**k * b <= a, exactly."""
    (mantissa_a, exponent_a), (mantissa_b, exponent_b) = math.frexp(a), math.frexp(b)
    return exponent_a - exponent_b - (mantissa_a < mantissa_b)


def choose_loss_scale(grads: Grads, format: Format = "fp16", *, share: float = 1.0) -> range:
    r"""Exponents k for which the loss scale :math:`2^k` keeps the gradients inside a format; empty if there are none.

    .. math:: 2^k \max_i |g_i| \le \text{max}, \qquad 2^k |g_i| > \tfrac12 \, \text{smallest subnormal}

    the second for at least a `share` of the nonzero entries (half the smallest subnormal still rounds to 0). `grads` is
    only read. Source: Micikevicius et al. 2018, section 3.2. Raises ValueError for a share outside (0, 1], gradients
    without a nonzero entry, and Inf and NaN.

    >>> choose_loss_scale(torch.tensor([1e-9, 1e-2]))
    range(5, 23)
    """
    if not 0 < share <= 1:
        raise ValueError(f"share: expected a number in (0, 1], got {share}")
    fmt = get_format(format)
    entries = [grad.detach().double().abs().flatten() for grad in _tensors(grads)]
    sizes = torch.cat(entries) if entries else torch.zeros(0, device="cpu")
    sizes = sizes[sizes > 0].sort().values
    if len(sizes) == 0:
        raise ValueError("grads: expected an entry that is not 0, got none")
    smallest_kept = sizes[len(sizes) - math.ceil(share * len(sizes))].item()
    # 2**k kept > subnormal / 2 first holds at the last k where 2**k kept <= subnormal
    return range(_log2_floor(fmt.smallest_subnormal, smallest_kept), _log2_floor(fmt.max, sizes[-1].item()) + 1)


def update_loss_scale(
    scale: float,
    good_steps: int,
    found_inf: bool,
    *,
    growth_factor: float = 2.0,
    backoff_factor: float = 0.5,
    growth_interval: int = 2000,
) -> tuple[float, int]:
    """One step of dynamic loss scaling: back off after an overflow, grow after `growth_interval` good steps in a row.

    Takes and returns (scale, good steps since the last change). The rule and the defaults of ``torch.amp.GradScaler``;
    as there, a scale does not grow beyond fp32.

    >>> update_loss_scale(65536.0, 7, True), update_loss_scale(65536.0, 1999, False)
    ((32768.0, 0), (131072.0, 0))
    """
    if found_inf:
        return scale * backoff_factor, 0
    if good_steps + 1 < growth_interval:
        return scale, good_steps + 1
    grown = scale * growth_factor
    return (grown if grown <= _FLOAT32_MAX else scale), 0
