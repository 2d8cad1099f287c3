r"""What a small transformer needs beyond a plain net: normalisation, a language, GPT-2's start, muP's rates, roundings.

Chapter 10 writes the transformer itself out; here is what it is fed, started, trained and stored with. Everything random
is drawn from ``generator``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from labs.formats import Format, get_format, round_to

Role = Literal["input", "hidden", "output"]


def rms_norm(h: Tensor, eps: float = 0.0) -> Tensor:
    r"""Each row divided by its root mean square, so that its mean square is 1; shapes ``(..., n)``.

    .. math:: \operatorname{norm}(h)_i = h_i / \sqrt{\tfrac1n \sum_j h_j^2 + \varepsilon}

    The core of layer normalisation, without its shift by the mean and without learned factors. torch's own:
    ``F.rms_norm``. Source: Zhang & Sennrich 2019, eq. 4. A row of zeros gives NaN unless ``eps`` is positive.

    >>> rms_norm(torch.tensor([1.0, 7.0]))
    tensor([0.2000, 1.4000])
    """
    return h * (h.square().mean(dim=-1, keepdim=True) + eps).rsqrt()


def residual_stream(depth: int, gain: float, *, scale: float = 1.0, norm: str = "pre") -> Tensor:
    r"""Mean squares ``[M_0, ..., M_d]`` of a residual stream, M_0 = 1, whose branches turn mean square M into ``gain * M``.

    - ``norm="pre"``: :math:`h + s\,F(\operatorname{norm}(h))`, so :math:`M_t = 1 + s^2 C\,t`: a sum;
    - ``norm="none"``: :math:`h + s\,F(h)`, so :math:`M_t = (1 + s^2 C)^t`: a product;
    - ``norm="post"``: :math:`\operatorname{norm}(h + s\,F(h))`, so :math:`M_t = 1`.

    In expectation over the weights of branches of mean 0. In wide nets the mean square of :math:`\delta` grows from block t
    down to the input by :math:`M_t`. Source: De & Smith 2020. ValueError for an unknown norm and numbers below 0.

    >>> residual_stream(40, 2.0)[[0, 10, 40]]
    tensor([ 1., 21., 81.], dtype=torch.float64)
    """
    if depth < 0 or not gain >= 0:
        raise ValueError(f"depth, gain: expected at least 0, got {depth} and {gain}")
    t = torch.arange(depth + 1, dtype=torch.float64)
    found = {"pre": 1 + scale**2 * gain * t, "none": (1 + scale**2 * gain) ** t, "post": torch.ones_like(t)}
    if norm not in found:
        raise ValueError(f"norm: expected one of {', '.join(found)}, got {norm!r}")
    return found[norm]


def language(symbols: int, sharpness: float = 3.0, *, generator: torch.Generator | None = None) -> Tensor:
    """A random language in which a symbol depends on the two before it: ``P[a, b, c]`` is the chance of c after a, b.

    Shape ``(symbols, symbols, symbols)``, float64, rows summing to 1; a greater ``sharpness`` (the standard deviation of
    the logits) leaves less to chance. ValueError for fewer than two symbols.

    >>> P = language(16, generator=torch.Generator().manual_seed(0))
    >>> P.shape, bool((P.sum(dim=2) - 1).abs().max() < 1e-12)
    (torch.Size([16, 16, 16]), True)
    """
    if symbols < 2:
        raise ValueError(f"symbols: expected at least 2, got {symbols}")
    logits = torch.randn(symbols, symbols, symbols, generator=generator, dtype=torch.float64)
    return (sharpness * logits).softmax(dim=-1)


def write_text(P: Tensor, texts: int, length: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Texts of a :func:`language`: ``(texts, length)``, int64; the first two symbols of each are drawn evenly.

    >>> g = torch.Generator().manual_seed(0)
    >>> write_text(language(4, generator=g), 3, 10, generator=g).shape
    torch.Size([3, 10])
    """
    text = list(torch.randint(len(P), (2, texts), generator=generator))
    while len(text) < length:
        text.append(torch.multinomial(P[text[-2], text[-1]], 1, generator=generator)[:, 0])
    return torch.stack(text[:length], dim=1)


def entropy_rate(P: Tensor) -> float:
    """The smallest mean loss that a model of a :func:`language` can have, in nats a symbol, in the long run.

    >>> round(entropy_rate(torch.full((4, 4, 4), 0.25, dtype=torch.float64)) / math.log(4), 6)
    1.0
    """
    pairs = torch.full(P.shape[:2], 1 / P.shape[0] ** 2, dtype=P.dtype, device=P.device)
    for _ in range(200):  # mixes within a few steps: every P[a, b, c] is positive
        pairs = torch.einsum("ab,abc->bc", pairs, P)
    return (pairs[..., None] * torch.special.entr(P)).sum().item()


def entropy(p: Tensor) -> Tensor:
    """Entropy of distributions ``p: (..., T)`` in nats, shape ``(...)``; 0 for one that is certain, ln T for an even one.

    >>> entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
    tensor([0.6931, 0.0000])
    """
    return torch.special.entr(p).sum(dim=-1)


@torch.no_grad()
def gpt2_normal_(
    model: nn.Module,
    additions: int,
    std: float = 0.02,
    last: Iterable[str] = ("out", "down"),
    *,
    generator: torch.Generator | None = None,
) -> nn.Module:
    r"""Every matrix of a model from N(0, std²), those that end a branch with :math:`\text{std}/\sqrt{\text{additions}}`.

    ``additions`` is how many branches are added to the stream, two a layer; ``last`` the names of the modules that end one.
    Vectors stay as they are. Source: Radford et al. 2019, section 2.3. ValueError for fewer than one addition.

    >>> model = nn.ModuleDict({"up": nn.Linear(64, 256), "down": nn.Linear(256, 64)})
    >>> _ = gpt2_normal_(model, additions=4, generator=torch.Generator().manual_seed(0))
    >>> [round(model[name].weight.std().item(), 3) for name in ("up", "down")]
    [0.02, 0.01]
    """
    if additions < 1:
        raise ValueError(f"additions: expected at least 1, got {additions}")
    ends = tuple(last)
    for name, p in model.named_parameters():
        if p.ndim >= 2:
            ending = name.split(".")[-2:-1] and name.split(".")[-2] in ends
            nn.init.normal_(p, 0.0, std / math.sqrt(additions) if ending else std, generator=generator)
    return model


class Scaled(NamedTuple):
    """How a matrix is drawn and trained: ``std`` of its entries, and what multiplies Adam's learning rate."""

    std: float
    rate: float


def mup(role: Role, fan_in: int, base: int, gain: float = 1.0) -> Scaled:
    r"""Start and learning rate of a matrix under muP with Adam, so that one rate found at width ``base`` fits all widths.

    Input: std :math:`g/\sqrt{n_{in}}`, rate 1. Hidden: the same std, rate :math:`n_{base}/n_{in}`. Output: std
    :math:`g\,\sqrt{n_{base}}/n_{in}`, rate :math:`n_{base}/n_{in}`.

    At ``fan_in == base`` it is the usual parametrisation. An input's fan does not grow with the width. Source: Yang & Hu
    et al. 2021, table 3. ValueError for a fan below 1 or an unknown role.

    >>> mup("hidden", 1024, base=64).rate, mup("output", 1024, base=64).std
    (0.0625, 0.0078125)
    """
    if min(fan_in, base) < 1:
        raise ValueError(f"fan_in, base: expected at least 1, got {fan_in} and {base}")
    std, ratio = gain / math.sqrt(fan_in), base / fan_in
    found = {"input": (std, 1.0), "hidden": (std, ratio), "output": (std * math.sqrt(ratio), ratio)}
    if role not in found:
        raise ValueError(f"role: expected one of {', '.join(found)}, got {role!r}")
    return Scaled(*found[role])


def round_stochastic(x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Entries of float32 `x` rounded up or down to bf16 at random, so that the mean is x; the dtype stays float32.

    The chance of the upper neighbour is in proportion to the distance from the lower one: a random integer is added to the
    16 bits that are then cut off. ValueError for another dtype.

    >>> x = torch.full((1000,), 1 + 2.0 ** -9)  # a quarter of the way from 1 to bf16's next number
    >>> sorted(set(round_stochastic(x, generator=torch.Generator().manual_seed(0)).tolist()))
    [1.0, 1.0078125]
    """
    if x.dtype != torch.float32:
        raise ValueError(f"x: expected float32, got {x.dtype}")
    noise = torch.randint(2**16, x.shape, dtype=torch.int32, generator=generator, device=x.device)
    return ((x.contiguous().view(torch.int32) + noise) & -(2**16)).view(torch.float32)


def round_blocks(x: Tensor, format: Format, block: int = 32) -> Tensor:
    """Entries of `x` rounded to the format in blocks along the last axis, each with a power of 2 of its own as its scale.

    The scale brings the block's largest entry under the format's largest power of 2, as in the MX formats; what is still
    beyond the largest number becomes that. Source: Rouhani et al. 2023. ValueError where blocks do not fill the axis.

    >>> round_blocks(torch.full((32,), 2.0 ** -30), "e4m3")[0] == 2.0 ** -30, round_to(torch.tensor(2.0 ** -30), "e4m3")
    (tensor(True), tensor(0.))
    """
    if x.shape[-1] % block:
        raise ValueError(f"x: expected a multiple of {block} entries along the last axis, got shape {tuple(x.shape)}")
    fmt, blocks = get_format(format), x.unflatten(-1, (-1, block))
    exponent = torch.frexp(blocks.abs().amax(dim=-1, keepdim=True)).exponent - math.frexp(fmt.max)[1]
    scaled = torch.ldexp(blocks, -exponent).clamp(-fmt.max, fmt.max)
    return torch.ldexp(round_to(scaled, fmt), exponent).flatten(-2)
