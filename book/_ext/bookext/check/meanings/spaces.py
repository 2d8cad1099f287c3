"""Finite probability spaces, every outcome counted: means and variances exact to rounding."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from bookext.check.case import Array, Case, Down, Generator, Up, Values


def space(*variables: Array, chances: Sequence[Array] = ()) -> tuple[list[Array], Array]:
    """Independent variables as arrays over all joint outcomes, and the outcomes' probabilities."""
    chances = chances or [np.full(len(v), 1 / len(v)) for v in variables]
    outcomes = [a.ravel() for a in np.meshgrid(*variables, indexing="ij")]
    return outcomes, np.prod([p.ravel() for p in np.meshgrid(*chances, indexing="ij")], axis=0)


def means(chances: Array) -> Values:
    """Mean, variance, covariance and correlation over the outcomes."""

    def mean(x: Any) -> Any:
        return np.tensordot(chances, x, axes=1) if np.ndim(x) else x * np.sum(chances)

    def cov(x: Any, y: Any) -> Any:
        return mean(x * y) - mean(x) * mean(y)

    return {
        r"\E": mean, r"\Eof": mean, r"\Var": lambda x: cov(x, x), r"\operatorname{Cov}": cov,
        r"\operatorname{corr}": lambda x, y: cov(x, y) / np.sqrt(cov(x, x) * cov(y, y)),
    }  # fmt: skip


def centred(rng: Generator, size: int = 2) -> Array:
    """The equally likely values of a variable of mean 0; three or more are skewed."""
    values = rng.normal(size=size)
    return values - values.mean()


def normal_like(std: float = 1.0) -> tuple[Array, Array]:
    """Three values with the moments of a normal variable up to the fifth."""
    return std * math.sqrt(3) * np.array([-1.0, 0.0, 1.0]), np.array([1, 4, 1]) / 6


@cache
def gauss(size: int = 160) -> tuple[Array, Array]:
    """Nodes and weights for means over N(0, 1)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(size)
    return nodes, weights / weights.sum()


INDICES: Values = {"t": 2, "i": 1, "j": 2, "k": 3, "l": 2}


def forward(
    rng: Generator, weight_mean: float = 0.0, input_mean: float = 0.0, common: float = 0.0, n_in: int = 3
) -> Values:
    """Layer 2, two units of ``n_in`` inputs; ``common`` is what all inputs share, so that they are correlated."""
    deviations = [centred(rng, 3), centred(rng, 2)]  # w, h
    weights = [deviations[1] + weight_mean] * (2 * n_in)
    outcomes, chances = space(*weights, *[deviations[0] + input_mean] * n_in, np.array([-common, common]))
    w = [outcomes[:n_in], outcomes[n_in : 2 * n_in]]
    inputs = [x + outcomes[-1] for x in outcomes[2 * n_in : -1]]
    outputs = [sum(w_j * h_j for w_j, h_j in zip(row, inputs, strict=True)) for row in w]
    gamma = deviations[1].var()
    return {
        **INDICES, **means(chances), "n": Down([5, n_in, 2]), r"\mu": weight_mean, r"\gamma": Down([None, 0.7 * gamma, gamma]),
        "h": Up([None, inputs, outputs]), "h_1": inputs[0], "h_2": inputs[1],
        "w": Up([None, [[1.3 * x for x in row] for row in w], w]),
    }  # fmt: skip


def backward(rng: Generator, alpha: float = 1.0, gradient_mean: float = 0.0) -> Values:
    """Layer 2 backward: three units above, two below, an activation of slope ``alpha``."""
    weight, gradient = centred(rng), centred(rng, 3) + gradient_mean
    outcomes, chances = space(*[weight] * 6, *[gradient] * 3)
    w, above = [outcomes[:2], outcomes[2:4], outcomes[4:6]], outcomes[6:]
    below = [sum(w[i][j] * alpha * above[i] for i in range(3)) for j in range(2)]
    return {
        **INDICES, **means(chances), "n": Down([5, 2, 3]), r"\gamma": Down([None, 0.7 * weight.var(), weight.var()]),
        "w": Up([None, None, w]), r"\delta": Up([None, below, above]), r"\alpha": alpha,
    }  # fmt: skip


def activated(rng: Generator, weight_mean: float = 0.0) -> Values:
    """As ``forward``, with a linear activation behind the sums."""
    alpha, beta = rng.normal(size=2)
    values = forward(rng, weight_mean, input_mean=0.6)
    z = values["h"][2]
    h = Up([None, values["h"][1], [alpha * x + beta for x in z]])
    return {**values, "z": Up([None, [0.5 * x for x in z], z]), "h": h, r"\alpha": alpha, r"\beta": beta}


def widths(rng: Generator) -> list[int]:
    """n_0, n_1, n_2: different."""
    return [int(n) for n in rng.permutation([2, 3, 5, 7, 11, 13])[:3]]


def met_and_not(n: Sequence[int], gamma: float, alpha: float = 1.0) -> list[Case]:
    """A condition on the second layer's gamma: met by this value, not met by another."""
    base = {"t": 2, "n": Down(n), r"\alpha": alpha}
    met, not_met = Down([None, 1.7 * gamma, gamma]), Down([None, gamma, 1.7 * gamma])
    return [Case({**base, r"\gamma": met}), Case({**base, r"\gamma": not_met}, fails=True)]


def uniform(low: float, high: float) -> tuple[str, float, float]:
    return "U", low, high


def plane() -> tuple[list[Array], Array]:
    """Nodes and weights for means over two independent variables of N(0, 1)."""
    nodes, weights = gauss(60)
    return space(nodes, nodes, chances=[weights] * 2)


def symmetric(rng: Generator) -> list[Case]:
    """A variable that is as likely z as -z, and never 0."""
    half = rng.uniform(0.2, 2, size=3)
    z = np.concatenate([half, -half])
    return [Case({**means(np.full(6, 1 / 6)), "z": z})]


def uniforms(*names: str, symbols: Values | None = None) -> Callable[[Generator], list[Case]]:
    """Positive numbers at random."""
    return lambda rng: [Case({**{name: rng.uniform(0.2, 0.9) for name in names}, **(symbols or {})})]


def points(symbols: Values | None = None) -> Callable[[Generator], list[Case]]:
    """x at 0 and on both sides of it."""
    return lambda rng: [Case({"x": x, **(symbols or {})}) for x in (0.0, rng.normal(), 1.5, -3.0)]


def constant(symbols: Values | None = None, **fields: Any) -> Callable[[Generator], list[Case]]:
    """One case, the same each time."""
    return lambda rng: [Case(symbols or {}, **fields)]
