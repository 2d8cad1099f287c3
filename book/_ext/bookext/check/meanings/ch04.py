"""Chapter 4."""

import math
from typing import Any

import numpy as np
import torch

from bookext.check.case import Array, Case, Down, Generator, Meaning, Up
from bookext.check.tokens import MathError
from labs import stabilisers

from .networks import jacobian, sigmoid
from .spaces import INDICES, centred, constant, gauss, means, space


def scaled_loss(rng: Generator) -> list[Case]:
    W, A = rng.normal(size=(2, 3, 2))
    a, rate = rng.uniform(1, 5, size=2)

    def partial(above: Any, below: Any, scale: float = 1.0) -> Array:
        if (above[0], below[0]) != (r"\ell", "W"):
            raise MathError("no such derivative")
        return jacobian(lambda M: scale * np.sum(np.tanh(A * M) ** 2), W).reshape(W.shape)

    return [Case({"W": W, "S": a, r"\eta": rate, r"\ell": 0.0}, partial=partial)]


def skips(rng: Generator) -> list[Case]:
    d, n = 4, 3
    B = [rng.normal(size=(n, n)) for _ in range(d)]
    triples = sum(B[c] @ B[b] @ B[a] for c in range(d) for b in range(c) for a in range(b))
    every = range(1, d + 1)
    pairs = [{r"\tau": above, "t": below} for above in every for below in every if above > below]
    return [
        Case(
            {"B": Up([None, *B]), "I": np.eye(n), "d": d, r"\cdots": triples},
            ranges={"t": every},
            sums={r"\tau > t": pairs},
        )
    ]


def skip_delta(rng: Generator) -> list[Case]:
    """h = x + W relu(x) backward, n = 2: the gate of unit i, its two weights and both gradients, every outcome."""
    weight = centred(rng)
    (gate, w_1, w_2, d_1, d_2), chances = space(np.array([0.0, 1.0]), weight, weight, *[centred(rng, 3)] * 2)
    below = d_1 + gate * (w_1 * d_1 + w_2 * d_2)
    delta = Up([None, [below, below], [d_1, d_1]])
    return [Case({**INDICES, **means(chances), "n": 2, r"\gamma": weight.var(), r"\delta": delta})]


def two_three(rng: Generator) -> list[Case]:
    """n = 2, weights of variance 2/n (He), inputs of either sign."""
    signs, a = np.array([-1.0, 1.0]), rng.uniform(0.5, 2)
    outcomes, chances = space(*[signs] * 8, *[a * signs] * 2)
    W_1, W_2 = (np.stack(outcomes[k : k + 4], axis=-1).reshape(-1, 2, 2) for k in (0, 4))
    h = np.stack(outcomes[8:], axis=-1)[:, :, None]
    return [Case({**means(chances), "W": W_1, "W_1": W_1, "W_2": W_2, "h": h, "M": a * a, "i": i}) for i in (1, 2)]


def post(rng: Generator) -> list[Case]:
    """Mean and mean square of h + relu(z), z of variance 2M, by quadrature."""
    u, weights = gauss()
    half = u > 0
    mean, square = 1 / math.sqrt(2 * math.pi), weights @ (u**2 * half)
    M, m = [1.0], [0.0]
    for _ in range(5):
        rise = math.sqrt(2 * M[-1]) * mean
        M, m = [*M, M[-1] + 2 * m[-1] * rise + 2 * M[-1] * square], [*m, m[-1] + rise]
    nu = [b / math.sqrt(a) for a, b in zip(M, m, strict=True)]
    return [Case({"M": Down(M), r"\nu": Down(nu), "t": t}) for t in (1, 2, 4)]


def lstm(rng: Generator) -> list[Case]:
    n, d = 3, 4
    V = rng.normal(size=(4 * n, n + 2))
    c, h = [rng.normal(size=n)], [np.zeros(n)]
    f, i, new = (list[Any]([None]) for _ in range(3))

    def cell(c_prev: Array, t: int) -> Array:
        return f[t] * c_prev + i[t] * new[t]

    for _ in range(d):
        gates = (V @ np.concatenate([h[-1], rng.normal(size=2)])).reshape(4, n)
        for kept, value in ((f, sigmoid(gates[0])), (i, sigmoid(gates[1])), (new, np.tanh(gates[2]))):
            kept.append(value)
        c.append(cell(c[-1], len(c)))
        h.append(sigmoid(gates[3]) * np.tanh(c[-1]))

    def partial(above: Any, below: Any, scale: float = 1.0) -> Array:
        if (above[0], below[0]) != (r"\mathbf c", r"\mathbf c") or above[1] - below[1] != 1:
            raise MathError("no such direct derivative")
        return jacobian(lambda v: cell(v, above[1]), c[below[1]])

    layers = {r"\mathbf c": Up(c), r"\mathbf f": Up(f), r"\mathbf i": Up(i), r"\tilde \mathbfc": Up(new)}
    return [Case({**layers, "d": d, "t": 2}, partial=partial)]


def angle(rng: Generator) -> list[Case]:
    g = torch.tensor([100.0, 1.0], dtype=torch.float64)
    ours = g.clone()
    stabilisers.clip_by_value_(ours, 1.0)
    return [Case({}, bare={"turned": math.acos(torch.cosine_similarity(g, ours, dim=0))})]


MEANINGS: dict[str, Meaning] = {
    "eq-stab-scale": Meaning(scaled_loss),
    "eq-stab-paths": Meaning(skips),
    "eq-stab-skip-delta": Meaning(skip_delta, alike="ij"),
    "eq-stab-two-three": Meaning(two_three, true={r"\E\,[h [+ -> -] W": "W and -W are equally likely"}),
    "eq-stab-post": Meaning(post),
    "eq-stab-scaled": Meaning(lambda rng: [Case({"d": d}) for d in (1.0, float(rng.integers(2, 50)), 1e6)],
        true={r"d\Bigr)^{[d -> d-1]} \le e": "smaller by a factor that tends to 1"}),
    "eq-stab-lstm-sum": Meaning(lstm),
    "eq-stab-lstm-direct": Meaning(lstm),
    "eq-stab-angle": Meaning(angle),
    "eq-stab-inf": Meaning(constant(), true={r"[1 -> 2] \cdot 0": "any finite number times 0 is 0"}),
}  # fmt: skip
