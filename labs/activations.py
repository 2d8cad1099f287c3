"""Activations: each is one formula, with the torch function that computes it stably.

SymPy reads the formula; the symbolic slope and the Taylor series come from it. The tests compare the torch function and
its autograd slope with it, so formula and code cannot drift apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    import sympy


@dataclass(frozen=True)
class Activation:
    r"""An elementwise function with its formula in :math:`x`, written as SymPy reads it.

    >>> tanh = ACTIVATIONS["tanh"]
    >>> tanh(torch.tensor([0.0])), tanh.derivative(torch.tensor([0.0])), tanh.expression
    (tensor([0.]), tensor([1.]), tanh(x))
    """

    name: str
    function: Callable[[Tensor], Tensor]
    formula: str = ""

    def __call__(self, z: Tensor) -> Tensor:
        """Value at every element of ``z`` (any shape), differentiable."""
        return self.function(z)

    def derivative(self, z: Tensor) -> Tensor:
        r"""Slope :math:`\sigma'(z)` at every element of ``z`` by autograd; shape, dtype and device of ``z``.

        At a kink torch's convention holds: relu'(0) = 0. Raises ValueError unless ``z`` is floating-point.

        >>> ACTIVATIONS["relu"].derivative(torch.tensor([-1.0, 0.0, 2.0]))
        tensor([0., 0., 1.])
        """
        if not z.is_floating_point():
            raise ValueError(f"z: expected a floating-point dtype, got {z.dtype}")
        with torch.inference_mode(False), torch.enable_grad():  # callers often sit under no_grad
            z = z.detach().clone().requires_grad_()
            value = self.function(z)
            return torch.autograd.grad(value, z, torch.ones_like(value))[0]

    @property
    def expression(self) -> sympy.Expr:
        """The formula as a SymPy expression in ``Symbol("x")``; ValueError if the activation was made without one."""
        import sympy

        if not self.formula:
            raise ValueError(f"activation {self.name!r}: expected a formula in x, got none")
        return sympy.sympify(self.formula, rational=True)

    @property
    def slope_expression(self) -> sympy.Expr:
        """The symbolic derivative of :attr:`expression`.

        >>> ACTIVATIONS["tanh"].slope_expression
        1 - tanh(x)**2
        """
        return self.expression.diff("x")


def linear(alpha: float, beta: float = 0.0) -> Activation:
    r"""The linear activation :math:`\sigma(x) = \alpha x + \beta`; ValueError unless both are finite.

    Nobody trains with one; it shows what an activation should look like near 0.

    >>> linear(0.5, 3).expression
    x/2 + 3
    """
    alpha, beta = float(alpha), float(beta)
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not math.isfinite(value):
            raise ValueError(f"{name}: expected a finite number, got {value}")
    return Activation("linear", lambda z: alpha * z + beta, f"{alpha}*x + {beta}")


ACTIVATIONS: dict[str, Activation] = {
    activation.name: activation
    for activation in (
        Activation("identity", lambda z: z, "x"),
        Activation("sigmoid", torch.sigmoid, "1/(1 + exp(-x))"),
        Activation("tanh", torch.tanh, "tanh(x)"),
        Activation("relu", torch.relu, "Piecewise((x, x > 0), (0, True))"),
        # computed as 2 tanh(x/2), which is equal: 4 sigma(x) - 2 cancels near 0
        Activation("scaled_sigmoid", lambda z: 2 * torch.tanh(z / 2), "4/(1 + exp(-x)) - 2"),
        Activation("leaky_relu", lambda z: F.leaky_relu(z, 0.01), "Piecewise((x, x > 0), (x/100, True))"),
        Activation("softsign", F.softsign, "Piecewise((x/(1 + x), x > 0), (x/(1 - x), True))"),  # x / (1 + |x|)
        Activation("gelu", F.gelu, "x*(1 + erf(x/sqrt(2)))/2"),
    )
}


def get(activation: str | Activation) -> Activation:
    """The activation of that name (an :class:`Activation` passes through); ValueError lists the known names.

    >>> get("tanh").name
    'tanh'
    """
    if isinstance(activation, Activation):
        return activation
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    return ACTIVATIONS[activation]


def taylor(activation: str | Activation, order: int) -> sympy.Expr:
    r"""Taylor polynomial at 0 up to and including :math:`x^{order}`, without the O term.

    Raises ValueError where the one-sided series differ: ReLU is the identity for :math:`x \ge 0` only, so it has no
    Taylor series at 0; neither has leaky ReLU. Softsign has the first-order one only.

    >>> taylor("sigmoid", 5)
    x**5/480 - x**3/48 + x/4 + 1/2
    """
    import sympy

    if order < 0:
        raise ValueError(f"order: expected a non-negative integer, got {order}")
    activation = get(activation)
    x, t = sympy.Symbol("x"), sympy.Symbol("t", positive=True)  # x = +t on the right of 0, x = -t on the left
    right, left = (
        activation.expression.subs(x, sign * t).series(t, 0, order + 1).removeO().subs(t, sign * x) for sign in (1, -1)
    )
    if sympy.expand(right - left) != 0:
        raise ValueError(
            f"activation: {activation.name} has no Taylor series of order {order} at 0, only one-sided ones: "
            f"{right} for x >= 0 but {left} for x < 0" + (" (the identity on one side only)" if right == x else "")
        )
    return right
