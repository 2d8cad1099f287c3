"""Chapter 10."""

import math
from typing import Any

import numpy as np
import torch

from bookext.check.case import Array, Case, Down, Generator, Meaning, Up
from bookext.check.tokens import MathError

from .networks import jacobian
from .spaces import gauss, means, space

SIGNS = np.array([-1.0, 1.0])


def branch(v: list[Array], W: list[Array]) -> list[Array]:
    """W2 relu(W1 v) with n = 2 and eight weights of variance 2/n = 1 (He), each an array over outcomes."""
    hidden = [np.maximum(W[0] * v[0] + W[1] * v[1], 0), np.maximum(W[2] * v[0] + W[3] * v[1], 0)]
    return [W[4] * hidden[0] + W[5] * hidden[1], W[6] * hidden[0] + W[7] * hidden[1]]


def normed(h: list[Array]) -> list[Array]:
    root = np.sqrt(sum(v**2 for v in h) / len(h))
    return [v / root for v in h]


def gain() -> float:
    """What the branch makes of a mean square of 1: over all weights, from a fixed input."""
    W, chances = space(*[SIGNS] * 8)
    return float(chances @ sum(v**2 for v in branch([np.array(0.6), np.sqrt(2 - 0.36)], W)) / 2)


def forward(rng: Generator) -> list[Case]:
    """Two pre-norm blocks, every outcome of their sixteen weights."""
    W, chances = space(*[SIGNS] * 16)
    h = [[np.full(len(chances), v) for v in rng.normal(size=2)]]
    for t in (0, 8):
        h.append([a + b for a, b in zip(h[-1], branch(normed(h[-1]), W[t : t + 8]), strict=True)])
    M = [float(chances @ sum(v**2 for v in layer) / 2) for layer in h]
    shared = {"h": Up(h), "M": Down(M), "C": gain(), **means(chances)}
    return [Case({**shared, "t": t, "i": i}) for t in (1, 2) for i in (1, 2)]


def back(weight: list[Array], d: list[Array]) -> Array:
    """What the branch sends back to one unit: gates that are open half of the time, weights of variance 1."""
    w_1, w_2, gates = weight[:2], weight[2:6], weight[6:8]
    hidden = [w_2[0] * d[0] + w_2[1] * d[1], w_2[2] * d[0] + w_2[3] * d[1]]
    return w_1[0] * gates[0] * hidden[0] + w_1[1] * gates[1] * hidden[1]


def chain(rng: Generator, post: bool = False) -> tuple[dict[str, Any], float]:
    """delta^2, delta^1, delta^0 over all outcomes, each block's weights independent of what comes back."""
    outcomes, chances = space(*[SIGNS] * 6, *[np.array([0.0, 1.0])] * 2, *[rng.uniform(0.5, 2) * SIGNS] * 2)
    C, d = gain(), outcomes[8:]
    start = rng.uniform(0.5, 2)
    M = [1.0] * 3 if post else [start + C * t for t in range(3)]
    top = d[0]
    delta, size = [top], 1.0
    for t in (1, 0):
        moved = (top + back(outcomes, d) / math.sqrt(M[t])) / (math.sqrt(1 + C) if post else 1.0)
        delta.insert(0, size * moved)
        size *= math.sqrt(float(chances @ moved**2) / float(chances @ top**2))
    layers = Up([[v, v] for v in delta])
    return {r"\delta": layers, "M": Down(M), "C": C, "d": 2, "i": 1, **means(chances)}, start


def backward(rng: Generator) -> list[Case]:
    symbols, _ = chain(rng)
    return [Case({**symbols, "t": t}) for t in (1, 2)]


def finite_width(rng: Generator) -> list[Case]:
    """The mean of the product of the factors 1 + (2 + k_t)/M_{t-1}: means and covariances of what is random, and a Hessian."""
    found = []
    for d, n in ((1, 3), (2, 5), (4, 7)):
        M = [1.0 + 2 * t for t in range(d + 1)]

        def product(x: Array, d: int = d) -> float:
            """x: by how much each M_0, and what each block adds to it, is above its mean; then each C."""
            streams = np.cumsum(np.concatenate([[1 + x[0]], 2 + x[1:d]]))
            return float(np.prod(1 + (2 + x[d:]) / streams))

        covariance, lower = np.zeros((2 * d, 2 * d)), np.zeros(2 * d)
        covariance[0, 0] = 2 / n
        for t in range(1, d):
            covariance[t, t] = (28 + 8 * M[t - 1]) / n
            covariance[t, d + t - 1] = covariance[d + t - 1, t] = 4 / n
        for t in range(1, d + 1):
            turned = sum(4 * M[t] / (M[s] * M[s - 1] ** 2) for s in range(t + 1, d + 1))
            lower[d + t - 1] = -(2 + 4 * turned) / n
        step = 1e-3 * np.eye(2 * d)
        zero = np.zeros(2 * d)
        slopes = np.array([(product(e) - product(-e)) / 2e-3 for e in step])
        bends = np.array(
            [[(product(a + b) - product(a - b) - product(b - a) + product(-a - b)) / 4e-6 for a in step] for b in step]
        )
        value = product(zero) + lower @ slopes + np.sum(covariance * bends) / 2
        layers = Up([[np.array([1.3 * math.sqrt(value) if t == 0 else 1.3])] for t in range(d + 1)])
        found.append(Case({r"\delta": layers, "M": Down(M), "d": d, "n": n, "i": 1, **means(np.ones(1))}))
    return found


def post_norm(rng: Generator) -> list[Case]:
    """The mean square after a normalisation, and the factor back through branch and normalisation."""
    h = normed([rng.normal(size=5) for _ in range(3)])
    M = float(np.mean([v**2 for v in h]))
    symbols, _ = chain(rng, post=True)
    return [Case({**symbols, "M": Down([M] * 3), "t": t}) for t in (1, 2)]


def top(rng: Generator) -> list[Case]:
    """The gradient by the stream under a last normalisation, h of mean square M_d, by a complex step; n is large."""
    n, C, start = 400, 1.7, rng.uniform(0.5, 2)
    h, slope = rng.normal(size=(2, n))

    def gradient(d: int) -> list[Array]:
        stream = h / np.sqrt(np.mean(h**2)) * math.sqrt(start + C * d)
        slopes = jacobian(lambda v: np.sum(slope * v / np.sqrt(np.mean(v**2))), stream).reshape(n)
        return [np.array([np.sqrt(np.mean(slopes**2))])]

    def at(d: int) -> dict[str, Any]:
        M = Down([start + C * t for t in range(d + 1)])
        layers = [[math.sqrt(M[d] / M[t]) * v for v in gradient(d)] for t in range(d + 1)]
        return {r"\delta": Up(layers), "M": M, "d": d}

    return [Case({**at(3), "C": C, "i": 1, **means(np.ones(1))}, also=at(7))]


def scaled_branches(rng: Generator) -> list[Case]:
    """Mean squares of a stream whose branches get a factor: squares add, block by block."""
    found = []
    for only, normalised in (((0,), False), ((1,), True)):
        C, zeta, d = rng.uniform(0.5, 3), rng.uniform(0.2, 0.9), 4
        M = [rng.uniform(0.5, 2)]
        for _ in range(d):
            M.append(M[-1] + zeta**2 * C * (1.0 if normalised else M[-1]))
        found.append(Case({"C": C, r"\zeta": zeta, "d": d, "M": Down(M)}, only=only))
    return found


def scores(rng: Generator) -> list[Case]:
    found = []
    for d_k in (2, 3):
        outcomes, chances = space(*[SIGNS] * (2 * d_k))
        halves = {r"\mathbf q": outcomes[:d_k], r"\mathbf k": outcomes[d_k:]}
        found.append(Case({**halves, "d_k": d_k, **means(chances)}))
    return found


def head_entropy(rng: Generator) -> list[Case]:
    """The mean entropy of a softmax of independent normal scores, by quadrature."""
    nodes, weights = gauss(18)
    found = []
    for T in (2, 3, 4):
        outcomes, chances = space(*[nodes] * T, chances=[weights] * T)
        for q in (1e-3, 2e-3):
            e = np.exp(math.sqrt(q) * np.array(outcomes))
            p = e / e.sum(axis=0)
            found.append(
                Case({"T": T, "q": q, "H": float(chances @ -(p * np.log(p)).sum(axis=0)), r"\Eof": lambda x: x})
            )
    return found


def first_loss(rng: Generator) -> list[Case]:
    """K logits that are sums of n products of a weight and an entry of mean square 1."""
    nodes, weights = gauss(18)
    found = []
    for K in (2, 3, 4):
        outcomes, chances = space(*[nodes] * K, chances=[weights] * K)
        for n, gamma in ((3, 0.2), (7, 0.4), (2, 1e-3)):
            loss = float(chances @ np.log(np.exp(math.sqrt(n * gamma) * np.array(outcomes)).sum(axis=0)))
            found.append(Case({"K": K, "n": n, r"\gamma": gamma, r"\ell": loss, r"\Eof": lambda x: x}))
    return found


def bounded_scores(rng: Generator) -> list[Case]:
    """Vectors of mean square 1: at random, and nearly equal, where the bound is nearly reached."""
    q = rng.normal(size=5)
    pairs = [(q, rng.normal(size=5)), (q, q + 0.01 * rng.normal(size=5))]
    unit = [[list(v / np.sqrt(np.mean(v**2))) for v in pair] for pair in pairs]
    return [Case({r"\mathbf q": a, r"\mathbf k": b, "d_k": 5}) for a, b in unit]


def level(rng: Generator) -> list[Case]:
    z = rng.normal(size=4)
    total = np.exp(z).sum()

    def partial(above: Any, below: Any, scale: float = 1.0) -> Any:
        if (above[0], below[0]) != (r"\ell'", "z"):
            raise MathError("no such derivative")
        return scale * jacobian(lambda v: np.log(np.exp(v).sum()) ** 2, z)[0, below[2][0] - 1]

    return [Case({r"\ell'": 0.0, "z": z, "Z": total, "p": np.exp(z) / total, "i": i}, partial=partial) for i in (1, 3)]


def aligned(rng: Generator) -> list[Case]:
    """One step of torch's Adam on a matrix, for one example and a smooth loss of z = W h."""
    n, rate = 4, 1e-3
    h = torch.tensor(rng.normal(size=n))
    W = torch.tensor(rng.normal(size=(3, n)), requires_grad=True)
    before = W.detach().clone()
    z = W @ h
    z.retain_grad()
    torch.sin(z).sum().backward()
    torch.optim.Adam([W], lr=rate, eps=1e-30).step()
    step, slopes = (W.detach() - before).numpy(), z.grad
    assert slopes is not None

    def partial(above: Any, below: Any, scale: float = 1.0) -> Any:
        if (above[0], below[0]) != (r"\ell", "z"):
            raise MathError("no such derivative")
        return scale * float(slopes[below[2][0] - 1])

    symbols = {
        r"\moved": list(step @ h.numpy()), r"\step": [list(row) for row in step], "h": list(h.numpy()), "z": z.tolist(),
        "n": n, r"\eta": rate, r"\ell": 0.0, r"\operatorname{sign}": np.sign,
    }  # fmt: skip
    return [Case({**symbols, "i": i}, partial=partial) for i in (1, 2, 3)]


def chance(rng: Generator) -> list[Case]:
    low, high = sorted(rng.normal(size=2))
    p = rng.uniform(0.1, 0.9)
    return [Case({"x": low + p * (high - low), "x_1": low, "x_2": high, "p": p})]


LEVEL = (r"\delta^{[t-1 -> t]}_i", r"M_[t -> {t-1}] = 1", r"\delta^[t -> {t-1}]_i")

MEANINGS: dict[str, Meaning] = {
    "eq-tf-forward": Meaning(forward),
    "eq-tf-backward": Meaning(backward),
    "eq-tf-finite": Meaning(finite_width, loose=1e-4),
    "eq-tf-post": Meaning(post_norm, true={change: "level: any two blocks agree" for change in LEVEL}),
    "eq-tf-top": Meaning(top, loose=2e-2),
    "eq-tf-branch": Meaning(scaled_branches),
    "eq-tf-scores": Meaning(scores),
    "eq-tf-entropy": Meaning(head_entropy, loose=1e-5),
    "eq-tf-first-loss": Meaning(first_loss),
    "eq-tf-qk": Meaning(bounded_scores),
    "eq-tf-zloss": Meaning(level),
    "eq-tf-aligned": Meaning(aligned, words={r"\Delta z": r"\moved", r"\Delta w": r"\step"}, rtol=1e-6),
    "eq-tf-stochastic": Meaning(chance),
}
