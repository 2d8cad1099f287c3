"""Chapter 3."""

import math
from typing import Any

import numpy as np
import torch

from bookext.check.case import Case, Generator, Meaning, Up
from bookext.check.tokens import MathError
from labs import propagation

from .networks import networks, sigmoid, step
from .spaces import INDICES, means, plane

SIGMOID = {r"\sigma": sigmoid, r"\sigma'": step(sigmoid)}


def slopes(rng: Generator) -> list[Case]:
    """At 0 and on both sides of it."""
    return [Case({"z": z, **SIGMOID}) for z in (0.0, rng.normal(), 1.5, -3.0)]


def mean_field(rng: Generator) -> list[Case]:
    """The fixed point and the factor that labs finds, and gradients that shrink by it."""
    found = []
    for sigma_w in (1.0, rng.uniform(0.5, 3)):
        chi = propagation.chi_1("sigmoid", sigma_w)
        delta = Up([np.array([1.0, -1.0]) * chi ** ((4 - s) / 2)] * 2 for s in range(5))
        q = propagation.fixed_point("sigmoid", sigma_w)
        layers = {r"\sigma_w": sigma_w, "q": q, r"\chi_1": chi, r"\delta": delta, "u": 0.0}
        found.append(Case({**INDICES, **means(np.full(2, 0.5)), **SIGMOID, **layers}))
    return found


def adam(rng: Generator) -> list[Case]:
    found = []
    for g in (rng.normal(), 1e-6, -3e-8):
        rate = rng.uniform(0.001, 0.1)
        w = torch.zeros((), dtype=torch.float64, requires_grad=True)
        w.grad = torch.tensor(g, dtype=torch.float64)
        torch.optim.Adam([w], lr=rate).step()
        found.append(Case({r"\step": w.item(), "g": g, r"\eta": rate, r"\varepsilon": 1e-8}))
    return found


def merge(rng: Generator) -> list[Case]:
    """Two inputs whose pre-activations differ a little, both Gaussian: mean squares by quadrature in the plane."""
    q, chi, gap = propagation.fixed_point("sigmoid", 1.0), propagation.chi_1("sigmoid", 1.0), 1e-4
    (u, v), chances = plane()
    # E[(h - h')^2] below is gap^2 q, so that of the pre-activations is too (sigma_w = 1)
    apart = gap * math.sqrt(q)
    z, z2 = math.sqrt(q) * u + apart * v / 2, math.sqrt(q) * u - apart * v / 2
    # the second unit's sums have the other sign of what the inputs share
    other, other2 = -math.sqrt(q) * u + apart * v / 2, -math.sqrt(q) * u - apart * v / 2
    layers = {1: ([z, other], [z2, other2]), 2: ([sigmoid(z), sigmoid(other)], [sigmoid(z2), sigmoid(other2)])}
    return [Case({**INDICES, **means(chances), r"\chi_1": chi, "x": 0, "x'": 1, "q": q,
             "h": lambda side: Up([None, *(layers[s][side] for s in (1, 2))])})]  # fmt: skip


def balance(rng: Generator) -> list[Case]:
    """Root mean squares in a linear network, from labs' mean field, which is exact there."""
    sigma_w, d, n = rng.uniform(0.4, 0.9), 6, 50
    h = np.sqrt([1.0, *propagation.predict_forward("identity", (n, d), sigma_w**2 / n).tolist()])
    delta = np.sqrt([*propagation.predict_backward("identity", (n, d), sigma_w**2 / n).tolist()])
    delta = np.concatenate([[delta[0] * sigma_w], delta])

    def partial(above: Any, below: Any, scale: float = 1.0) -> float:
        if above[0] != r"\ell" or below[0] != "W" or not below[1] or not 0 < below[1] <= d:
            raise MathError("no such derivative")
        return scale * delta[below[1]] * h[below[1] - 1]

    return [Case({r"\sigma_w": sigma_w, "d": d, "h": Up(h), r"\delta": Up(delta)}, partial=partial)]


MEANINGS: dict[str, Meaning] = {
    "eq-sig-slope": Meaning(slopes),
    "eq-sig-quarter": Meaning(slopes),
    "eq-sig-q": Meaning(mean_field, rtol=1e-7),
    "eq-sig-chi": Meaning(mean_field, rtol=1e-7, alike="ij"),
    "eq-sig-scaling": Meaning(networks(sigmoid, symbols={"S": 3.7})),
    "eq-sig-adam": Meaning(adam, words={r"\Delta w": r"\step"}),
    "eq-sig-merge": Meaning(merge),
    "eq-sig-weight-gradient": Meaning(networks(sigmoid)),
    "eq-sig-balance": Meaning(balance, true={r"/\partial W^[": "the weight gradients of all layers are of one size"}),
}  # fmt: skip
