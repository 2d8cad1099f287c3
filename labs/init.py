r"""Initialisers: fill a weight in place, ``name_(W, *, generator=None)``, as :mod:`torch.nn.init` does.

``W: (n_out, n_in)`` for a linear layer, ``(out, in, *kernel)`` for a convolution. Each keeps device and dtype, runs
without autograd, returns ``W`` and raises ValueError unless the dtype is float16, bfloat16, float32 or float64; those
that need the fans raise it also for fewer than two axes or a fan of 0.

When to use which: :func:`he_normal_` before a ReLU; :func:`xavier_normal_` before tanh and whatever else resembles the
identity near 0; :func:`lecun_normal_` where the forward pass alone matters; :func:`orthogonal_` for deep linear or tanh
nets. Normal or uniform is the same to the variance argument, which sees second moments only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn.parameter import is_lazy

from labs import activations

Initialiser = Callable[..., Tensor]


def fans(shape: Sequence[int]) -> tuple[int, int]:
    r"""``(fan_in, fan_out)`` of a weight of shape ``(out, in, *kernel)``: in and out, each times the kernel's size.

    With ``groups`` g torch stores ``(out, in/g, *kernel)``: fan_in is exact, but fan_out counts all ``out`` channels
    although an input reaches out/g of them. Raises ValueError for fewer than two axes or a fan of 0.

    >>> fans((32, 16, 3, 3))
    (144, 288)
    """
    n_out, n_in, *kernel = shape if len(shape) >= 2 else (0, 0)
    if 0 in (n_out, n_in, *kernel):
        raise ValueError(f"shape: expected two or more axes (out, in, *kernel), none of size 0, got {tuple(shape)}")
    return n_in * math.prod(kernel), n_out * math.prod(kernel)


def _std(numerator: float, **fan: int) -> float:
    for name, n in fan.items():
        if n < 1:
            raise ValueError(f"{name}: expected at least 1, got {n}")
    return math.sqrt(numerator / sum(fan.values()))


def xavier_std(fan_in: int, fan_out: int) -> float:
    r"""Standard deviation of Xavier (Glorot) initialisation.

    .. math:: \mathrm{std} = \sqrt{2 / (n_{in} + n_{out})}

    The variance is the harmonic mean of :math:`1/n_{in}`, which keeps the forward variance constant, and
    :math:`1/n_{out}`, which keeps the backward one. Before a ReLU use :func:`he_std`. ValueError for a fan below 1.
    Source: Glorot & Bengio 2010, eq. 12.

    >>> round(xavier_std(600, 400), 5)
    0.04472
    """
    return _std(2, fan_in=fan_in, fan_out=fan_out)


def he_std(fan_in: int) -> float:
    r"""Standard deviation of He initialisation, :math:`\sqrt{2 / n_{in}}`: the 2 makes up for the half a ReLU drops.

    Raises ValueError for a fan below 1. Source: He et al. 2015 (the forward condition; torch's mode ``fan_in``).

    >>> he_std(200)
    0.1
    """
    return _std(2, fan_in=fan_in)


def lecun_std(fan_in: int) -> float:
    r"""Standard deviation of LeCun initialisation, :math:`\sqrt{1 / n_{in}}`: the forward condition alone.

    Raises ValueError for a fan below 1. Source: LeCun et al. 1998, *Efficient BackProp*.

    >>> lecun_std(100)
    0.1
    """
    return _std(1, fan_in=fan_in)


_GAINS = {
    **dict.fromkeys(("identity", "sigmoid", "scaled_sigmoid", "softsign"), 1.0),
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "leaky_relu": math.sqrt(2 / (1 + 0.01**2)),
    "gelu": (1 / 3 + 1 / (2 * math.pi * math.sqrt(3))) ** -0.5,
}


def gain(activation: str | activations.Activation) -> float:
    r"""The factor on a std of :math:`1/\sqrt{n_{in}}` that suits the activation; ValueError if none is known.

    - ReLU :math:`\sqrt 2`, leaky ReLU :math:`\sqrt{2/(1 + a^2)}`: exact, the second moment is kept (He et al. 2015).
    - :math:`\alpha x`: :math:`1/|\alpha|`, exact. Identity, softsign, scaled sigmoid: 1, for their slope at 0 is 1.
    - tanh 5/3: empirical. The signal stops shrinking, but :math:`\chi_1 > 1`: gradients grow by about 10 % a layer.
    - Sigmoid 1: torch's convention and no remedy, for its slope at 0 is 1/4.
    - GELU :math:`(1/3 + 1/(2\pi\sqrt 3))^{-1/2}`, about 1.53: exact for pre-activations of variance 1 only.

    >>> gain("relu") == nn.init.calculate_gain("relu")
    True
    """
    f = activations.get(activation)
    if f.name == "linear" and (slope := float(f.slope_expression)):
        return 1 / abs(slope)
    if f.name not in _GAINS:
        raise ValueError(f"activation: expected linear of slope other than 0 or {', '.join(_GAINS)}, got {f.formula!r}")
    return _GAINS[f.name]


def _check(W: Tensor, number: float = 0.0, name: str = "") -> None:
    if W.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        raise ValueError(f"W: expected dtype float16, bfloat16, float32 or float64, got {W.dtype}")
    if is_lazy(W):
        raise ValueError("W: expected a weight with a shape, got a lazy one (run the model once first)")
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{name}: expected a finite number >= 0, got {number}")


@torch.no_grad()
def constant_(W: Tensor, value: float, *, generator: Generator | None = None) -> Tensor:
    """Fill with one value. Units of a hidden layer then stay equal: gradient descent never parts them.

    >>> constant_(torch.empty(1, 2), 0.5)
    tensor([[0.5000, 0.5000]])
    """
    _check(W, abs(value), "value")
    return W.fill_(value)


@torch.no_grad()
def normal_(W: Tensor, std: float, *, generator: Generator | None = None) -> Tensor:
    """Fill from N(0, std). The second argument is the **standard deviation**, not the variance.

    >>> normal_(torch.empty(2, 2), 0.0)
    tensor([[0., 0.],
            [0., 0.]])
    """
    _check(W, std, "std")
    return W.normal_(0, std, generator=generator)


@torch.no_grad()
def _uniform_(W: Tensor, bound: float, generator: Generator | None) -> Tensor:
    _check(W)
    return W.uniform_(-bound, bound, generator=generator)


def lecture_normal_(W: Tensor, *, generator: Generator | None = None) -> Tensor:
    """The lecture's N(0, 0.01), read as its code does: **std** 0.01, variance 0.0001. For small nets only."""
    return normal_(W, 0.01, generator=generator)


def scaled_normal_(W: Tensor, sigma_w: float, *, generator: Generator | None = None) -> Tensor:
    r"""Normal with std :math:`\sigma_w / \sqrt{n_{in}}`, as mean-field theory writes it (Poole et al. 2016)."""
    _check(W, sigma_w, "sigma_w")
    return normal_(W, sigma_w * lecun_std(fans(W.shape)[0]), generator=generator)


def lecun_normal_(W: Tensor, *, generator: Generator | None = None) -> Tensor:
    """Normal with :func:`lecun_std`."""
    return normal_(W, lecun_std(fans(W.shape)[0]), generator=generator)


def xavier_normal_(W: Tensor, *, generator: Generator | None = None) -> Tensor:
    """Normal with :func:`xavier_std`."""
    return normal_(W, xavier_std(*fans(W.shape)), generator=generator)


def xavier_uniform_(W: Tensor, *, generator: Generator | None = None) -> Tensor:
    r"""Uniform on :math:`\pm\sqrt{6/(n_{in}+n_{out})}`: std :func:`xavier_std` (Glorot & Bengio 2010, eq. 16)."""
    return _uniform_(W, math.sqrt(3) * xavier_std(*fans(W.shape)), generator)


def he_normal_(W: Tensor, *, generator: Generator | None = None) -> Tensor:
    """Normal with :func:`he_std`."""
    return normal_(W, he_std(fans(W.shape)[0]), generator=generator)


def he_uniform_(W: Tensor, *, generator: Generator | None = None) -> Tensor:
    r"""Uniform on :math:`\pm\sqrt{6/n_{in}}`: std :func:`he_std`."""
    return _uniform_(W, math.sqrt(3) * he_std(fans(W.shape)[0]), generator)


def pytorch_linear_(W: Tensor, *, generator: Generator | None = None) -> Tensor:
    r"""What ``nn.Linear`` does by default: uniform on :math:`\pm 1/\sqrt{n_{in}}`, of variance :math:`1/(3 n_{in})`.

    torch calls it Kaiming-uniform with :math:`a = \sqrt 5`, a leaky ReLU's slope chosen to give this bound:
    :math:`\sqrt 3 \cdot \sqrt{2/(1 + a^2)} = 1`. The signal shrinks, as :math:`n_{in}\gamma = 1/3` (Glorot & Bengio
    2010, eq. 15). torch draws the bias from the same interval; :func:`init_model_` sets it to 0.
    """
    return _uniform_(W, lecun_std(fans(W.shape)[0]), generator)


@torch.no_grad()
def orthogonal_(W: Tensor, gain: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    r"""``gain`` times a random (semi-)orthogonal matrix: every singular value of ``(out, in*kernel)`` is ``gain``.

    It is the Q of a Gaussian matrix, its signs fixed so that every Q is equally likely. Source: Saxe et al. 2014.

    >>> W = orthogonal_(torch.empty(2, 3, dtype=torch.float64))
    >>> torch.allclose(W @ W.T, torch.eye(2, dtype=torch.float64))
    True
    """
    _check(W, gain, "gain")
    fans(W.shape)
    dtype = torch.promote_types(W.dtype, torch.float32)  # no QR in 16 bits
    A = torch.empty(len(W), W[0].numel(), dtype=dtype, device=W.device).normal_(generator=generator)
    wide = A.shape[0] < A.shape[1]
    Q, R = torch.linalg.qr(A.T if wide else A)
    Q *= R.diagonal().sign()
    return W.copy_((Q.T if wide else Q).reshape(W.shape)).mul_(gain)


_NAMED = (lecture_normal_, lecun_normal_, xavier_normal_, xavier_uniform_, he_normal_, he_uniform_, pytorch_linear_)
INITIALISERS: dict[str, Initialiser] = {f.__name__[:-1]: f for f in (*_NAMED, orthogonal_)}


def get(initialiser: str | Initialiser) -> Initialiser:
    """The initialiser of that name; a callable ``f(W, *, generator=None)`` passes through; ValueError lists the names.

    Those that need a number have no name: ``functools.partial(normal_, std=0.1)``.

    >>> get("he_normal") is he_normal_
    True
    """
    if not callable(initialiser) and initialiser not in INITIALISERS:
        raise ValueError(
            f"initialiser: expected one of {', '.join(INITIALISERS)} or a callable such as "
            f"functools.partial(normal_, std=0.1), got {initialiser!r}"
        )
    return initialiser if callable(initialiser) else INITIALISERS[initialiser]


def init_model_(model: nn.Module, initialiser: str | Initialiser, *, generator: Generator | None = None) -> nn.Module:
    """Fill the weight of every Linear and Conv layer of ``model``, set their biases to 0 and return ``model``.

    Other modules (embeddings, normalisation, recurrent cells) stay as they are. A transposed convolution, which stores
    ``(in, out, *kernel)``, is filled through the transposed view. Raises ValueError for a model without such a layer
    and, naming the layer, for a weight that is no plain parameter: what is written to a parametrised one is lost.

    >>> init_model_(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), "he_normal")[0].bias.tolist()
    [0.0, 0.0, 0.0]
    """
    fill_ = get(initialiser)
    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)]
    if not layers:
        raise ValueError(f"model: expected at least one Linear or Conv layer, got {type(model).__name__} with none")
    for name, layer in layers:
        W = layer._parameters.get("weight")
        if W is None:
            raise ValueError(f"layer {name!r}: expected a plain weight parameter, got a parametrised one")
        try:
            _check(W)
            fill_(W.detach().transpose(0, 1) if getattr(layer, "transposed", False) else W, generator=generator)
        except ValueError as error:
            raise ValueError(f"layer {name!r}: {error}") from error
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return model
