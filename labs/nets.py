r"""The models the chapters share: a deep MLP, a residual MLP, and a small recurrent net with a task that needs memory.

Every weight is drawn from ``generator``, on the device where that lives; nothing touches torch's global generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from labs import activations, init


def layer_widths(widths: Sequence[int]) -> list[int]:
    """The list ``[n_0, ..., n_d]``, which a tuple ``(width, depth)`` abbreviates; ValueError for anything else.

    >>> layer_widths((64, 3)), layer_widths([64, 10])
    ([64, 64, 64, 64], [64, 10])
    """
    n = list(widths)
    if isinstance(widths, tuple):
        n = n[:1] * (n[1] + 1) if len(n) == 2 else []
    if len(n) < 2 or min(n) < 1:
        raise ValueError(f"widths: expected a list [n_0, ..., n_d] or a tuple (width, depth), all >= 1, got {widths}")
    return n


def _place(dtype: torch.dtype, generator: torch.Generator | None) -> dict[str, Any]:
    return {"dtype": dtype, "device": generator.device if generator else torch.device("cpu")}


class _Stack(nn.Module):
    """What the two MLPs share: ``layers``, of which ``step(t, h)`` applies layer t, and a linear ``head`` or None."""

    n_in: int
    layers: nn.ModuleList
    head: nn.Linear | None

    def step(self, t: int, h: Tensor) -> Tensor:
        raise NotImplementedError

    def hidden(self, x: Tensor) -> list[Tensor]:
        """The outputs ``[h^1, ..., h^d]`` of all layers, each ``(batch, n_t)``, for ``x: (batch, n_0)``."""
        if x.ndim != 2 or x.shape[1] != self.n_in:
            raise ValueError(f"x: expected shape (batch, {self.n_in}), got {tuple(x.shape)}")
        h = [x]
        for t in range(1, len(self.layers) + 1):
            h.append(self.step(t, h[-1]))
        return h[1:]

    def readout(self, h: Tensor) -> Tensor:
        """The head's logits for the last layer's output; that output itself where there is no head."""
        return h if self.head is None else self.head(h)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.hidden(x)[-1])


class DeepMLP(_Stack):
    r"""Fully connected net :math:`h^t = \sigma(W^t h^{t-1} + b^t)`, with ``layers[t - 1].weight: (n_t, n_{t-1})``.

    - ``widths``: the list ``[n_0, ..., n_d]``, or a tuple ``(width, depth)``;
    - ``head``: adds a linear map to that many logits, by the same initialiser;
    - ``bias``: False for none, as in the lecture; True for zeros; a number for N(0, std = that number);
    - ``batch_norm``: normalises every pre-activation (Ioffe & Szegedy 2015).

    Source: Glorot & Bengio 2010. Raises ValueError for bad widths and unknown names.

    >>> net = DeepMLP((64, 3), "relu", "he_normal", head=10, generator=torch.Generator().manual_seed(0))
    >>> net.layers[0].weight.shape, net(torch.ones(5, 64)).shape
    (torch.Size([64, 64]), torch.Size([5, 10]))
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: str | activations.Activation = "tanh",
        initialiser: str | init.Initialiser = "xavier_normal",
        *,
        head: int | None = None,
        bias: bool | float = False,
        batch_norm: bool = False,
        dtype: torch.dtype = torch.float32,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        n = layer_widths(widths)
        self.n_in, self.activation = n[0], activations.get(activation)
        place, has_bias = _place(dtype, generator), bias is not False
        # skip_init leaves weights blank: nn.Linear alone would first draw its own from the global generator
        self.layers = nn.ModuleList(skip_init(nn.Linear, *in_out, has_bias, **place) for in_out in pairwise(n))
        self.norms = nn.ModuleList(nn.BatchNorm1d(m, **place) if batch_norm else nn.Identity() for m in n[1:])
        self.head = skip_init(nn.Linear, n[-1], head, has_bias, **place) if head is not None else None
        init.init_model_(self, initialiser, generator=generator)
        if not isinstance(bias, bool):
            for layer in self.layers:
                init.normal_(layer.get_parameter("bias"), bias, generator=generator)

    def step(self, t: int, h: Tensor) -> Tensor:
        return self.activation(self.norms[t - 1](self.layers[t - 1](h)))


class ResidualMLP(_Stack):
    r"""Residual net :math:`h^t = h^{t-1} + s\,F_t(h^{t-1})` without biases; F decides how the second moment grows.

    With ReLU, He weights, s = 1 and no normalisation, in expectation over the weights:

    - ``block="preactivation"``: :math:`F = W\sigma(h)`, and E[h²] doubles in every block;
    - ``block="two_layer"``: :math:`F = W_2\,\sigma(W_1 h)`, and E[h²] triples in every block;
    - ``block="postactivation"``: :math:`F = \sigma(W h)`; no constant factor, as F's positive mean adds up.

    Block t is ``layers[t - 1]``, a ``ModuleDict`` with ``W1``, perhaps ``W2``, and ``norm``. ``scale`` is s:
    :math:`1/\sqrt d` keeps the growth of the first two bounded, by e and e². ``batch_norm`` normalises what the
    activation receives. Sources: He et al. 2016 (*Identity mappings*); Zhang et al. 2019 (*Fixup*).
    Raises ValueError for bad widths and unknown names.

    >>> net = ResidualMLP(64, 50, scale=50 ** -0.5, generator=torch.Generator().manual_seed(0))
    >>> net.layers[0]["W2"].weight.shape, len(net.hidden(torch.ones(5, 64)))
    (torch.Size([64, 64]), 50)
    """

    def __init__(
        self,
        width: int,
        depth: int,
        activation: str | activations.Activation = "relu",
        initialiser: str | init.Initialiser = "he_normal",
        *,
        block: str = "two_layer",
        scale: float = 1.0,
        head: int | None = None,
        batch_norm: bool = False,
        dtype: torch.dtype = torch.float32,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        weights = {"preactivation": ["W1"], "two_layer": ["W1", "W2"], "postactivation": ["W1"]}
        if block not in weights:
            raise ValueError(f"block: expected one of {', '.join(weights)}, got {block!r}")
        n = layer_widths((width, depth))
        self.n_in, self.activation, self.block, self.scale = width, activations.get(activation), block, scale
        self.layers = nn.ModuleList()
        place = _place(dtype, generator)
        for _ in range(1, len(n)):
            layer = {name: skip_init(nn.Linear, width, width, False, **place) for name in weights[block]}
            layer["norm"] = nn.BatchNorm1d(width, **place) if batch_norm else nn.Identity()
            self.layers.append(nn.ModuleDict(layer))
        self.head = skip_init(nn.Linear, width, head, False, **place) if head is not None else None
        init.init_model_(self, initialiser, generator=generator)

    def step(self, t: int, h: Tensor) -> Tensor:
        layer: Any = self.layers[t - 1]
        W1, norm, sigma = layer["W1"], layer["norm"], self.activation
        if self.block == "preactivation":
            return h + self.scale * W1(sigma(norm(h)))
        if self.block == "two_layer":
            return h + self.scale * layer["W2"](sigma(norm(W1(h))))
        return h + self.scale * sigma(norm(W1(h)))


class SequenceClassifier(nn.Module):
    r"""A one-layer LSTM or plain tanh RNN read out at its last hidden state: logits for ``x: (batch, T, n_in)``.

    The LSTM's memory is a sum, :math:`c_t = f_t \odot c_{t-1} + i_t \odot g_t`: along it a gradient meets no weight
    matrix, only the forget gate f. With bias 0 that gate starts near sigmoid(0) = 1/2 and halves the gradient at every
    step; ``forget_bias`` 1 starts it at 0.73, 3 at 0.95 (Jozefowicz et al. 2015; Gers et al. 2000). All
    other biases are 0. Source: Hochreiter & Schmidhuber 1997. Raises ValueError for an unknown cell or initialiser.

    >>> net = SequenceClassifier("lstm", 4, 32, 4, generator=torch.Generator().manual_seed(0))
    >>> net(torch.zeros(5, 20, 4)).shape
    torch.Size([5, 4])
    """

    def __init__(
        self,
        cell: str,
        n_in: int,
        width: int,
        n_classes: int,
        *,
        initialiser: str | init.Initialiser = "xavier_normal",
        forget_bias: float = 1.0,
        dtype: torch.dtype = torch.float32,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        cells = {"lstm": nn.LSTM, "rnn": nn.RNN}
        if cell not in cells:
            raise ValueError(f"cell: expected one of {', '.join(cells)}, got {cell!r}")
        place = _place(dtype, generator)
        blank = cells[cell](n_in, width, batch_first=True, dtype=dtype, device="meta")
        self.rnn = blank.to_empty(device=place["device"])
        self.head = skip_init(nn.Linear, width, n_classes, **place)
        init.init_model_(self.head, initialiser, generator=generator)
        for name in ("weight_ih_l0", "weight_hh_l0"):
            for gate in getattr(self.rnn, name).split(width):  # torch stacks four matrices; their fans are each one's
                init.get(initialiser)(gate, generator=generator)
        nn.init.zeros_(self.rnn.bias_ih_l0)  # torch keeps two biases and adds them
        nn.init.zeros_(self.rnn.bias_hh_l0)
        if cell == "lstm":
            nn.init.constant_(self.rnn.bias_ih_l0[width : 2 * width], forget_bias)  # order: input, forget, cell, output

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(batch, n_classes)`` for sequences ``x: (batch, T, n_in)``."""
        return self.head(self.rnn(x)[0][:, -1])


def first_symbol_task(
    batch: int, steps: int, n_symbols: int = 4, *, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Random symbols, to be classified by the *first*; all later ones distract, and chance is ``1 / n_symbols``.

    Returns ``x: (batch, steps, n_symbols)``, one-hot in float32, and ``y: (batch,)``. Source: a small relative of the
    tasks in Hochreiter & Schmidhuber 1997.

    >>> x, y = first_symbol_task(8, 20, generator=torch.Generator().manual_seed(0))
    >>> x.shape, bool((x[:, 0].argmax(1) == y).all())
    (torch.Size([8, 20, 4]), True)
    """
    symbols = torch.randint(n_symbols, (batch, steps), generator=generator, **_place(torch.int64, generator))
    return nn.functional.one_hot(symbols, n_symbols).float(), symbols[:, 0]


def input_gradient_norms(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    r"""How much the loss still hears of each step: :math:`\lVert\partial\ell/\partial x_t\rVert`, ``(T,)``, float64.

    ``x: (batch, T, n_in)``, ``y: (batch,)``; mean cross-entropy in nats, one norm over the whole batch. The input's
    gradient treats both cells alike: that of the LSTM's hidden state misses the path through the memory.

    >>> net = SequenceClassifier("rnn", 4, 32, 4, generator=torch.Generator().manual_seed(0))
    >>> input_gradient_norms(net, *first_symbol_task(8, 20, generator=torch.Generator().manual_seed(1))).shape
    torch.Size([20])
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(net(x), y), x)
    return torch.linalg.vector_norm(gradient.double(), dim=(0, 2)).cpu()
