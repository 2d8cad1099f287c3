"""Chapter 1."""

import math

import numpy as np
import torch
from scipy.integrate import quad

from bookext.check.case import Case, Generator, Meaning, Up
from labs import jacobians

from .networks import networks
from .spaces import constant, means, space


def flops(rng: Generator) -> list[Case]:
    """Two flops an entry and term of each product, counted."""
    n, t, d = (int(rng.integers(low, low + 5)) for low in (3, 1, 9))
    shapes = {"matrices first": [n] * (d - t - 1) + [1], "row first": [1] * (d - t)}
    return [Case({"n": n, "t": t, "d": d}, bare={k: 2 * n * n * sum(v) for k, v in shapes.items()})]


def mean_square(rng: Generator) -> list[Case]:
    """Two 2 x 2 matrices of random signs: 256 outcomes."""
    sigma_w = rng.uniform(0.5, 2)
    outcomes, chances = space(*[np.array([-1, 1]) * sigma_w / math.sqrt(2)] * 8)
    W = [np.stack(outcomes[k : k + 4], axis=-1).reshape(-1, 2, 2) for k in (0, 4)]
    return [Case({**means(chances), "n": 2, "d": 2, "W": Up([None, *W]), r"\sigma_w": sigma_w})]


def log_scale(rng: Generator) -> list[Case]:
    J = [rng.normal(size=(3, 3)) for _ in range(4)]
    M, c = jacobians.chained_jacobian([torch.tensor(factor) for factor in J])
    return [Case({"J": Up([None, *J]), "d": 4, r"\Lambda": c, "A": M.numpy()})]


def volume(rng: Generator) -> list[Case]:
    J = [rng.normal(size=(3, 3)) for _ in range(4)]
    return [Case({"J": Up([None, *J]), "d": 4, "n": 3, "s": lambda M: list(np.linalg.svd(M)[1])})]


def mean_log_chi(degrees: int) -> float:
    """The mean logarithm of a chi variable, by integration over its density; scipy.stats would take most of a second to import."""

    def density(x: float) -> float:
        return math.exp(
            (degrees - 1) * math.log(x) - x * x / 2 - (degrees / 2 - 1) * math.log(2) - math.lgamma(degrees / 2)
        )

    return float(quad(lambda x: math.log(x) * density(x), 0, np.inf)[0])


def typical(rng: Generator) -> list[Case]:
    """The mean logarithm of a chi variable with n degrees of freedom, by integration; W here grows every v by just that."""
    found = []
    for n in (3, 6):
        std = rng.uniform(0.5, 2)
        W = np.eye(n) * std * math.exp(mean_log_chi(n))
        found.append(
            Case({"W": W, "v": rng.normal(size=(n, 1)), r"\E": lambda x: x, r"\std": lambda w: w, "w": std, "n": n})
        )
    return found


def lyapunov(rng: Generator) -> list[Case]:
    """The mean logarithm of a chi variable with n - i + 1 degrees of freedom, by integration."""
    n, std = 5, rng.uniform(0.5, 2)
    exponents = [math.log(std) + mean_log_chi(k) for k in range(n, 0, -1)]
    return [Case({r"\lambda": exponents, r"\std": lambda w: w, "w": std, "n": n, "i": i}) for i in (1, 2, 4)]


MEANINGS: dict[str, Meaning] = {
    "eq-explode": Meaning(constant()),
    "eq-vanish": Meaning(constant()),
    "eq-chain": Meaning(networks()),
    "eq-elementwise": Meaning(networks()),
    "eq-layer-jacobian": Meaning(networks()),
    "eq-delta": Meaning(networks()),
    "eq-product": Meaning(networks()),
    "eq-flops": Meaning(flops),
    "eq-nilpotent": Meaning(constant({"A": np.array([[0.0, 2.0], [0.0, 0.0]])})),
    "eq-mean-square": Meaning(mean_square),
    "eq-jac-typical": Meaning(typical, rtol=1e-7),
    "eq-log-scale": Meaning(log_scale),
    "eq-volume": Meaning(volume),
    "eq-lyapunov": Meaning(lyapunov, rtol=1e-7),
}  # fmt: skip
