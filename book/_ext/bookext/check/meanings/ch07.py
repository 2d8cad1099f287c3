"""Chapter 7."""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from bookext.check.case import Case, Derived, Generator, Meaning, Up, Values
from labs import activations, derivations

from .networks import networks, sigmoid, step
from .spaces import INDICES, activated, backward, gauss, means, met_and_not, symmetric, widths


def act_condition(rng: Generator) -> list[Case]:
    """alpha^2 n gamma = 1, solved from the derivation; and not met."""
    alpha, n = rng.uniform(0.5, 2), widths(rng)
    factor = derivations.linear_activation_forward()[1]
    (solution,) = sp.solve(factor.subs({derivations.ALPHA: alpha, derivations.N_IN: n[1]}), derivations.GAMMA)
    return met_and_not(n, float(solution), alpha)


def act_backward(rng: Generator) -> list[Case]:
    alpha, beta = rng.normal(size=2)
    return [case.put({r"\alpha": alpha}) for case in networks(lambda z: alpha * z + beta)(rng)]


def factors_of(sigma: Callable[[Any], Any]) -> Values:
    nodes, weights = gauss()
    return {
        r"\sigma": sigma, r"\sigma'": step(sigma), "q": 1.0,
        "F": lambda q: weights @ np.real(sigma(math.sqrt(q) * nodes)) ** 2 / q,
        "G": lambda q: weights @ step(sigma)(math.sqrt(q) * nodes) ** 2,
    }  # fmt: skip


def limits(rng: Generator) -> list[Case]:
    """Activations with the value 0 at 0, and one without."""
    return [Case(factors_of(f)) for f in (np.tanh, lambda x: 0.7 * np.sin(x), sigmoid)]


def points(symbols: Values | None = None) -> Callable[[Generator], list[Case]]:
    """z at 0 and on both sides of it."""
    return lambda rng: [Case({"z": z, **(symbols or {})}) for z in (0.0, rng.normal(), 1.5, -3.0)]


def from_expression(name: str) -> Callable[[Any], Any]:
    return sp.lambdify(sp.Symbol("x"), activations.get(name).expression, "numpy")


def cubic(rng: Generator) -> list[Case]:
    a3 = rng.normal()
    nodes, weights = gauss()

    def sigma(x: Any) -> Any:
        return x + a3 * x**3

    z = Derived(lambda values: math.sqrt(values["q"]) * nodes)
    return [Case({**means(weights), r"\sigma": sigma, r"\sigma'": step(sigma), "z": z, "q": 0.1, "a_3": a3})]


@lru_cache(maxsize=1)
def tanh_squares() -> tuple[list[float], list[float]]:
    """E[h^2] after each of 8000 layers of tanh with n gamma = 1, and each layer's factor for delta's."""
    nodes, weights = gauss()
    q, squares, factors = 1.0, [1.0], [1.0]
    for _ in range(8000):
        h = np.tanh(math.sqrt(q) * nodes)
        factors.append(float(weights @ (1 - h**2) ** 2))
        q = float(weights @ h**2)
        squares.append(q)
    return squares, factors


def decay(rng: Generator) -> list[Case]:
    squares = tanh_squares()[0]
    h = Up([np.full(1, math.sqrt(q))] * 2 for q in squares)
    return [Case({**INDICES, **means(np.ones(1)), "h": h, "a_3": -1 / 3, "d": 8000})]


def delta_decay(rng: Generator) -> list[Case]:
    logs = np.cumsum(np.log(tanh_squares()[1]))

    def delta(values: Mapping[str, Any]) -> Up:
        d = values["d"]
        return Up(1.3 * np.exp((logs[d] - logs[: d + 1])[:, None] / 2))

    return [Case({**means(np.ones(1)), r"\delta": Derived(delta), "d": 8000}, also={"d": 4000})]


MEANINGS: dict[str, Meaning] = {
    "eq-act-mean": Meaning(lambda rng: [Case(activated(rng)), Case(activated(rng, 0.4), only=(0,))], alike="ij"),
    "eq-act-variance": Meaning(lambda rng: [Case(activated(rng))], alike="ij"),
    "eq-act-forward": Meaning(act_condition),
    "eq-act-beta": Meaning(lambda rng: [Case(activated(rng))], alike="ij"),
    "eq-act-backward": Meaning(act_backward),
    "eq-act-backward-variance": Meaning(
        lambda rng: [Case(backward(rng, 0.6)), Case(backward(rng, 0.6, 0.5), only=(0,))], alike="ij"),
    "eq-act-limit": Meaning(limits, rtol=1e-6),
    "eq-taylor-sigmoid": Meaning(points()),
    "eq-taylor-tanh": Meaning(points()),
    "eq-taylor-relu": Meaning(points({r"\relu": from_expression("relu")})),
    "eq-act-relu-half": Meaning(symmetric, true={r"\relu'(z)^[2 -> 3]": "the slope is 0 or 1"}),
    "eq-act-scaled": Meaning(points({r"\sigma": from_expression("sigmoid")})),
    "eq-act-cubic": Meaning(cubic),
    "eq-act-decay": Meaning(decay, loose=2e-3, alike="ij", true={r"h_i^[d -> {d-1}]": "equal to leading order"}),
    "eq-act-delta-decay": Meaning(delta_decay, loose=2e-3, true={
        r"(\delta^[1 -> 2])": "one layer more changes a constant factor", r"(\delta^[d -> {d-1}])": "the same",
        r"\propto \frac[1 -> 2]d": "a constant factor", r"(\delta^d)^[2 -> 3]": "delta^d is the given, of any constant size"}),
}  # fmt: skip
