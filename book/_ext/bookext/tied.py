r"""What the symbols of each checked equation mean: one entry a label, read by :mod:`bookext.ties`.

A meaning is computed another way than the page states it. Means and variances come from small finite probability spaces, every
outcome counted; derivatives from a complex step through a small network; weights' scales from :mod:`labs.init`; mean-field
numbers from :mod:`labs.propagation` or a quadrature. So both sides of an equation are exact to rounding.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp
import torch

from labs import activations, derivations, formats, init, jacobians, propagation, stabilisers

from .latexmath import Derived, Down, MathError, Up

Values = dict[str, Any]
Array = np.ndarray
Generator = np.random.Generator


@dataclass(frozen=True)
class Tie:
    r"""What the symbols of an equation mean, as ``cases``: dictionaries from symbol to value.

    Besides symbols a case may hold ``ranges`` (of indices without bounds), ``sums`` (the steps of an index in words),
    ``partial`` (derivatives), ``bare`` (names of the references for expressions without a relation), ``only`` (the numbers of
    the relations that this case decides), ``fails`` (the equation is a condition, and here it is *not* met), ``also`` (for a
    proportionality: a second case). ``loose`` is the relative tolerance of what the page calls approximate or a limit; ``words``
    replaces pieces of the text that stand for one symbol. For the mutations: ``alike`` are indices which the page's assumptions
    make interchangeable, ``true`` names changed texts that still state a truth, and why.
    """

    cases: Callable[[Generator], Sequence[Values]]
    loose: float = 1e-3
    rtol: float = 1e-9
    words: Mapping[str, str] = field(default_factory=dict)
    alike: str = ""
    true: Mapping[str, str] = field(default_factory=dict)


# --- finite probability spaces ----------------------------------------------------------------------------------------------


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

    def variance(x: Any) -> Any:
        return cov(x, x)

    return {
        r"\E": mean, r"\Eof": mean, r"\Var": variance, r"\operatorname{Cov}": cov,
        r"\operatorname{corr}": lambda x, y: cov(x, y) / np.sqrt(cov(x, x) * cov(y, y)),
    }  # fmt: skip


def centred(rng: Generator, size: int = 2) -> Array:
    """The equally likely values of a variable of mean 0; three or more are skewed."""
    values = rng.normal(size=size)
    return values - values.mean()


def normal_like(std: float = 1.0) -> tuple[Array, Array]:
    """Three values with the moments of a normal variable up to the fifth."""
    return std * math.sqrt(3) * np.array([-1.0, 0.0, 1.0]), np.array([1, 4, 1]) / 6


@lru_cache(maxsize=1)
def gauss() -> tuple[Array, Array]:
    """Nodes and weights for means over N(0, 1)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(160)
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
        **INDICES, **means(chances), "n": Down([5, n_in, 2]), "m": weight_mean, r"\gamma": Down([None, 0.7 * gamma, gamma]),
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


# --- networks and their derivatives -----------------------------------------------------------------------------------------


def step(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The derivative of an elementwise function, by a complex step: exact to rounding."""
    return lambda x: np.imag(f(x + 1e-30j)) / 1e-30


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def relu(x: Any) -> Any:
    return x * (np.real(x) > 0)


def network(rng: Generator, sizes: Sequence[int], sigma: Callable[[Any], Any], t: int = 2) -> Values:
    """h^t = sigma(W^t h^(t-1)) and a loss; any derivative between its parts."""
    d = len(sizes) - 1
    W: list[Any] = [None, *(rng.normal(size=(b, a)) for a, b in itertools.pairwise(sizes))]
    x, slope, bend = (rng.normal(size=(n, 1)) for n in (sizes[0], sizes[-1], sizes[-1]))

    def run(put: Mapping[tuple[str, int], Array], scale: float = 1.0) -> dict[Any, Any]:
        """All quantities, those in ``put`` given instead of computed."""
        state: dict[Any, Any] = {("h", 0): put.get(("h", 0), x)}
        for s in range(1, d + 1):
            state["W", s] = put.get(("W", s), W[s])
            state["z", s] = put.get(("z", s), state["W", s] @ state["h", s - 1])
            state["h", s] = put.get(("h", s), sigma(state["z", s]))
        top = state["h", d]
        state[r"\ell", None] = scale * np.sum(slope * top + bend * top**2, keepdims=True)
        return state

    plain = run({})
    h, z = Up(plain["h", s] for s in range(d + 1)), Up([None, *(plain["z", s] for s in range(1, d + 1))])

    def partial(above: Any, below: Any, scale: float = 1.0) -> Any:
        names = [(name.upper() if name == "w" else name, layer) for name, layer, _ in (above, below)]
        if any(name not in plain for name in names):
            raise MathError(f"no such derivative: {names[0]} by {names[1]}")
        base = np.asarray(plain[names[1]], dtype=complex)
        columns = []
        for at in np.ndindex(base.shape):
            moved = base.copy()
            moved[at] += 1e-30j
            columns.append(np.imag(run({names[1]: moved}, scale)[names[0]]).ravel() / 1e-30)
        full = np.stack(columns, axis=1).reshape(*np.shape(plain[names[0]]), *base.shape)
        if above[2] or below[2]:
            return _component(full, above[2] or (1,), below[2])
        return full.reshape(np.size(plain[names[0]]), -1)

    delta = Up(partial((r"\ell", None, ()), ("h", s, ())).T for s in range(d + 1))
    return {
        "t": t, "d": d, "W": Up(W), "h": h, "z": z, r"\delta": delta, "partial": partial,
        r"\sigma": sigma, r"\sigma'": step(sigma), "n": Down(sizes),
        "w": Up([None, *([list(row) for row in M] for M in W[1:])]),
        "ranges": {"i": range(1, sizes[t] + 1), "j": range(1, sizes[t - 1] + 1)},
    }  # fmt: skip


def _component(full: Array, above: tuple[int, ...], below: tuple[int, ...]) -> float:
    """One entry of a derivative whose parts are columns or matrices."""
    index = [k - 1 for k in above] + [0] * (2 - len(above)) + [k - 1 for k in below] + [0] * (2 - len(below))
    if any(not 0 <= k < size for k, size in zip(index, full.shape, strict=True)):
        raise MathError(f"no entry {index}")
    return float(full[tuple(index)])


def networks(sigma: Callable[[Any], Any] = np.tanh, t: int = 2, **more: Any) -> Callable[[Generator], list[Values]]:
    """A network of unequal widths, where shapes tell, and one of equal widths, where values must."""
    return lambda rng: [{**network(rng, sizes, sigma, t), **more} for sizes in ((3, 4, 5, 2, 3), (3, 3, 3, 3, 3))]


def scaled_relu(rng: Generator) -> list[Values]:
    """A ReLU network with all weights c times as large."""
    c = rng.uniform(0.5, 2)
    sizes, seed = (3, 4, 3, 4, 3), int(rng.integers(1000))
    found = []
    for t in (2, 3):
        plain = network(np.random.default_rng(seed), sizes, relu, t)
        W = [None, *(c * M for M in plain["W"][1:])]
        big = _with_weights(W, plain["h"][0])
        top = len(sizes) - 1
        found.append({
            "c": c, "t": t, "d": top, r"\plain": plain["partial"](("h", top, ()), ("W", t, ())),
            r"\scaled": _slope_by_layer(W, plain["h"][0], t),
            r"\plainh": plain["h"][t], r"\scaledh": big[t],
        })  # fmt: skip
    return found


def _slope_by_layer(W: Sequence[Any], x: Array, t: int) -> Array:
    """The derivative of a ReLU network's output by the weights of layer t."""
    return _jacobian(lambda M: _with_weights([*W[:t], M, *W[t + 1 :]], x)[-1], W[t])


def _with_weights(W: Sequence[Any], x: Array) -> list[Array]:
    h = [x]
    for M in W[1:]:
        h.append(relu(M @ h[-1]))
    return h


def _jacobian(f: Callable[[Array], Array], at: Array) -> Array:
    """Derivative of all outputs by all inputs, flattened, by a complex step."""
    columns = []
    for index in np.ndindex(at.shape):
        moved = at.astype(complex)
        moved[index] += 1e-30j
        columns.append(np.imag(f(moved)).ravel() / 1e-30)
    return np.stack(columns, axis=1)


# --- chapter 1 --------------------------------------------------------------------------------------------------------------


def flops(rng: Generator) -> list[Values]:
    """Two flops an entry and term of each product, counted."""
    n, t, d = (int(rng.integers(low, low + 5)) for low in (3, 1, 9))
    shapes = {"matrices first": [n] * (d - t - 1) + [1], "row first": [1] * (d - t)}
    return [{"n": n, "t": t, "d": d, "bare": [*shapes], **{k: 2 * n * n * sum(v) for k, v in shapes.items()}}]


def mean_square(rng: Generator) -> list[Values]:
    """Two 2 x 2 matrices of random signs: 256 outcomes."""
    sigma_w = rng.uniform(0.5, 2)
    outcomes, chances = space(*[np.array([-1, 1]) * sigma_w / math.sqrt(2)] * 8)
    W = [np.stack(outcomes[k : k + 4], axis=-1).reshape(-1, 2, 2) for k in (0, 4)]
    return [{**means(chances), "n": 2, "d": 2, "W": Up([None, *W]), r"\sigma_w": sigma_w}]


def log_scale(rng: Generator) -> list[Values]:
    J = [rng.normal(size=(3, 3)) for _ in range(4)]
    M, c = jacobians.chained_jacobian([torch.tensor(factor) for factor in J])
    return [{"J": Up([None, *J]), "d": 4, "c": c, "M": M.numpy()}]


def volume(rng: Generator) -> list[Values]:
    J = [rng.normal(size=(3, 3)) for _ in range(4)]
    return [{"J": Up([None, *J]), "d": 4, "n": 3, "s": lambda M: list(np.linalg.svd(M)[1])}]


def lyapunov(rng: Generator) -> list[Values]:
    """The mean logarithm of a chi variable with n - i + 1 degrees of freedom, by integration."""
    n, std = 5, rng.uniform(0.5, 2)
    u = np.linspace(-60, 4, 200_001)  # x = e^u
    exponents = []
    for i in range(1, n + 1):
        k = n - i + 1
        density = np.exp(k * u - np.exp(2 * u) / 2) / (2 ** (k / 2 - 1) * math.gamma(k / 2))
        exponents.append(math.log(std) + float(np.sum(u * density) * (u[1] - u[0])))
    return [{r"\lambda": exponents, r"\std": lambda w: w, "w": std, "n": n, "i": i} for i in (1, 2, 4)]


# --- chapter 2 --------------------------------------------------------------------------------------------------------------


def paths(rng: Generator) -> list[Values]:
    """All ways from unit j of layer t = 1 to unit i of layer d = 4."""
    found = []
    for values in networks(relu, 1)(rng):
        n = values["n"]
        for i, j in ((1, 2), (2, 1), (2, 3)):
            ways = [{"k": Down([None, j, a, b, i])} for a in range(1, n[2] + 1) for b in range(1, n[3] + 1)]
            found.append({**values, "i": i, "j": j, "sums": {PATHS: ways}})
    return found


PATHS = r"{ k _ { t + 1 } , \cdots , k _ { d - 1 } \\ k _ t = j , k _ d = i }"


def overflow(rng: Generator) -> list[Values]:
    found = []
    for name in ("fp16", "fp32"):
        for r in (1.5, 6.4, rng.uniform(1.2, 9)):
            largest = formats.get_format(name).max
            found.append({r"\text{largest}": largest, "r": r, "k": next(k for k in range(9999) if r**k > largest)})
    return found


def typical(rng: Generator) -> list[Values]:
    """The mean log of a ReLU layer's growth, exactly: a chi-squared variable with as many degrees as units are active."""
    n, c, t = 256, rng.uniform(1, 2), 2
    mixture = [(math.comb(n, m) / 2**n, float(sp.digamma(sp.Rational(m, 2)).evalf())) for m in range(1, n + 1)]
    rate = math.log(c) + sum(p * (psi + math.log(2)) for p, psi in mixture) / 2 + math.log(2 / n) / 2
    h = Up(np.array([[math.exp(rate * s)], [0.0]]) for s in range(4))
    return [{"n": n, "c": c, "t": t, "h": h, r"\E": lambda x: x}]


def quadratic(rng: Generator) -> list[Values]:
    rate, kappa, goal = rng.uniform(0.1, 0.9, size=3)
    w = [rng.normal()]
    for _ in range(6):
        w.append(w[-1] - rate * kappa * (w[-1] - goal))
    return [{"w": Down(w), "w_*": goal, "k": 5, r"\eta": rate, r"\kappa": kappa}]


FP16 = formats.get_format("fp16")


# --- chapter 3 --------------------------------------------------------------------------------------------------------------


def slopes(rng: Generator) -> list[Values]:
    return [{"x": x, r"\sigma": sigmoid, r"\sigma'": step(sigmoid)} for x in (0.0, rng.normal(), 1.5, -3.0)]


def mean_field(rng: Generator) -> list[Values]:
    """The fixed point and the factor that labs finds, and gradients that shrink by it."""
    found = []
    for sigma_w in (1.0, rng.uniform(0.5, 3)):
        chi = propagation.chi_1("sigmoid", sigma_w)
        delta = Up([np.array([1.0, -1.0]) * chi ** ((4 - s) / 2)] * 2 for s in range(5))
        q = propagation.fixed_point("sigmoid", sigma_w)
        found.append({**INDICES, **means(np.full(2, 0.5)), r"\sigma_w": sigma_w, "q": q, r"\chi_1": chi, r"\delta": delta,
                      r"\sigma": sigmoid, r"\sigma'": step(sigmoid), "u": 0.0})  # fmt: skip
    return found


def adam(rng: Generator) -> list[Values]:
    found = []
    for g in (rng.normal(), 1e-6, -3e-8):
        rate = rng.uniform(0.001, 0.1)
        w = torch.zeros((), dtype=torch.float64, requires_grad=True)
        w.grad = torch.tensor(g, dtype=torch.float64)
        torch.optim.Adam([w], lr=rate).step()
        found.append({r"\step": w.item(), "g": g, r"\eta": rate, r"\varepsilon": 1e-8})
    return found


def merge(rng: Generator) -> list[Values]:
    """Two inputs whose pre-activations differ a little, both Gaussian: mean squares by quadrature in the plane."""
    q, chi, gap = propagation.fixed_point("sigmoid", 1.0), propagation.chi_1("sigmoid", 1.0), 1e-4
    (u, v), chances = _plane()
    # E[(h - h')^2] below is gap^2 q, so that of the pre-activations is too (sigma_w = 1)
    apart = gap * math.sqrt(q)
    z, z2 = math.sqrt(q) * u + apart * v / 2, math.sqrt(q) * u - apart * v / 2
    # the second unit's sums have the other sign of what the inputs share
    other, other2 = -math.sqrt(q) * u + apart * v / 2, -math.sqrt(q) * u - apart * v / 2
    layers = {1: ([z, other], [z2, other2]), 2: ([sigmoid(z), sigmoid(other)], [sigmoid(z2), sigmoid(other2)])}
    return [{**INDICES, **means(chances), r"\chi_1": chi, "x": 0, "x'": 1, "q": q,
             "h": lambda side: Up([None, *(layers[s][side] for s in (1, 2))])}]  # fmt: skip


def _plane() -> tuple[tuple[Array, Array], Array]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    (u, v), chances = space(nodes, nodes, chances=[weights / weights.sum()] * 2)
    return (u, v), chances


def balance(rng: Generator) -> list[Values]:
    """Root mean squares in a linear network, from labs' mean field, which is exact there."""
    sigma_w, d, n = rng.uniform(0.4, 0.9), 6, 50
    h = np.sqrt([1.0, *propagation.predict_forward("identity", (n, d), sigma_w**2 / n).tolist()])
    delta = np.sqrt([*propagation.predict_backward("identity", (n, d), sigma_w**2 / n).tolist()])
    delta = np.concatenate([[delta[0] * sigma_w], delta])

    def partial(above: Any, below: Any, scale: float = 1.0) -> float:
        if above[0] != r"\ell" or below[0] != "W" or not below[1] or not 0 < below[1] <= d:
            raise MathError("no such derivative")
        return scale * delta[below[1]] * h[below[1] - 1]

    return [{r"\sigma_w": sigma_w, "d": d, "h": Up(h), r"\delta": Up(delta), "partial": partial}]


# --- chapter 4 --------------------------------------------------------------------------------------------------------------


def scaled_loss(rng: Generator) -> list[Values]:
    W, A = rng.normal(size=(2, 3, 2))
    a, rate = rng.uniform(1, 5, size=2)

    def partial(above: Any, below: Any, scale: float = 1.0) -> Array:
        if (above[0], below[0]) != (r"\ell", "W"):
            raise MathError("no such derivative")
        return _jacobian(lambda M: scale * np.sum(np.tanh(A * M) ** 2), W).reshape(W.shape)

    return [{"W": W, "a": a, r"\eta": rate, "partial": partial, r"\ell": 0.0}]


def skips(rng: Generator) -> list[Values]:
    d, n = 4, 3
    B = [rng.normal(size=(n, n)) for _ in range(d)]
    triples = sum(B[c] @ B[b] @ B[a] for c in range(d) for b in range(c) for a in range(b))
    every = range(1, d + 1)
    return [{"B": Up([None, *B]), "I": np.eye(n), "d": d, "ranges": {"t": every, "s": every}, r"\cdots": triples}]


def skip_delta(rng: Generator) -> list[Values]:
    """h = x + W relu(x) backward, n = 2: the gate of unit i, its two weights and both gradients, every outcome."""
    weight = centred(rng)
    (gate, w_1, w_2, d_1, d_2), chances = space(np.array([0.0, 1.0]), weight, weight, *[centred(rng, 3)] * 2)
    below = d_1 + gate * (w_1 * d_1 + w_2 * d_2)
    delta = Up([None, [below, below], [d_1, d_1]])
    return [{**INDICES, **means(chances), "n": 2, r"\gamma": weight.var(), r"\delta": delta}]


def two_three(rng: Generator) -> list[Values]:
    """n = 2, weights of variance 2/n (He), inputs of either sign."""
    signs, a = np.array([-1.0, 1.0]), rng.uniform(0.5, 2)
    outcomes, chances = space(*[signs] * 8, *[a * signs] * 2)
    W_1, W_2 = (np.stack(outcomes[k : k + 4], axis=-1).reshape(-1, 2, 2) for k in (0, 4))
    h = np.stack(outcomes[8:], axis=-1)[:, :, None]
    return [{**means(chances), "W": W_1, "W_1": W_1, "W_2": W_2, "h": h, "M": a * a, "i": i} for i in (1, 2)]


def post(rng: Generator) -> list[Values]:
    """Mean and mean square of h + relu(z), z of variance 2M, by quadrature."""
    u, weights = gauss()
    half = u > 0
    mean, square = 1 / math.sqrt(2 * math.pi), weights @ (u**2 * half)
    M, m = [1.0], [0.0]
    for _ in range(5):
        rise = math.sqrt(2 * M[-1]) * mean
        M, m = [*M, M[-1] + 2 * m[-1] * rise + 2 * M[-1] * square], [*m, m[-1] + rise]
    rho = [b / math.sqrt(a) for a, b in zip(M, m, strict=True)]
    return [{"M": Up(M), r"\rho": Down(rho), "t": t} for t in (1, 2, 4)]


def lstm(rng: Generator) -> list[Values]:
    n, d = 3, 4
    V = rng.normal(size=(4 * n, n + 2))
    c, h = [rng.normal(size=n)], [np.zeros(n)]
    f: list[Any] = [None]
    i: list[Any] = [None]
    new: list[Any] = [None]

    def cell(c_prev: Array, t: int) -> Array:
        return f[t] * c_prev + i[t] * new[t]

    for _ in range(d):
        gates = (V @ np.concatenate([h[-1], rng.normal(size=2)])).reshape(4, n)
        for kept, value in ((f, sigmoid(gates[0])), (i, sigmoid(gates[1])), (new, np.tanh(gates[2]))):
            kept.append(value)
        c.append(cell(c[-1], len(c)))
        h.append(sigmoid(gates[3]) * np.tanh(c[-1]))

    def partial(above: Any, below: Any, scale: float = 1.0) -> Array:
        if (above[0], below[0]) != ("c", "c") or above[1] - below[1] != 1:
            raise MathError("no such direct derivative")
        return _jacobian(lambda v: cell(v, above[1]), c[below[1]])

    layers = {"c": Up(c), r"\mathbf f": Up(f), r"\mathbf i": Up(i), r"\tilde c": Up(new)}
    return [{**layers, "d": d, "t": 2, "partial": partial}]


def cosine(rng: Generator) -> list[Values]:
    """The cosine between a gradient and what labs makes of it."""
    g = torch.tensor(rng.normal(size=9) + 0.7)
    ours = g.clone()
    stabilisers.standardise_(ours)
    return [{r"\cos": _cosine(g, ours), "g": g.numpy(), r"\bar g": g.mean().item(), r"\std": np.std}]


def _cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return (a @ b / (a.norm() * b.norm())).item()


def angle(rng: Generator) -> list[Values]:
    g = torch.tensor([100.0, 1.0], dtype=torch.float64)
    ours = g.clone()
    stabilisers.clip_by_value_(ours, 1.0)
    return [{"bare": ["turned"], "turned": math.acos(_cosine(g, ours))}]


# --- chapter 5 --------------------------------------------------------------------------------------------------------------


def over_weights(rng: Generator) -> list[Values]:
    """Two linear layers of width 2 and variance 1/n, a fixed input."""
    outcomes, chances = space(*[np.array([-1.0, 1.0]) / math.sqrt(2)] * 8)
    x = list(rng.normal(size=2))
    first = [outcomes[2 * i] * x[0] + outcomes[2 * i + 1] * x[1] for i in range(2)]
    second = [outcomes[4 + 2 * i] * first[0] + outcomes[5 + 2 * i] * first[1] for i in range(2)]
    mean = means(chances)
    functions = {r"\E_W": mean[r"\E"], r"\Var_W": mean[r"\Var"]}
    shared = {**functions, "h": Up([None, first, second]), "x": x, "n": 2}
    return [{**shared, "t": t, "i": i} for t in (1, 2) for i in (1, 2)]


def split(rng: Generator) -> list[Values]:
    values, n = rng.normal(size=(4, 7)) + 0.5, 4  # (unit, input)
    mean = means(np.full(7, 1 / 7))
    functions = {r"\E_x": mean[r"\E"], r"\Var_x": mean[r"\Var"]}
    h = Up([None, [2 * v for v in values], list(values)])
    return [{**functions, "h": h, "n": n, "t": 2, "ranges": {"i": range(1, n + 1)}}]


def rescaled(rng: Generator) -> list[Values]:
    """The same function with its layers' weights scaled by factors whose product is 1."""
    found = []
    for t in (1, 2, 3):
        seed, factors = int(rng.integers(1000)), rng.uniform(0.5, 2, size=3)
        c = [*factors, 1 / np.prod(factors)]
        plain = network(np.random.default_rng(seed), (3, 4, 3, 4, 3), relu, t)
        moved = _ReluLoss(plain, [None, *(f * M for f, M in zip(c, plain["W"][1:], strict=True))])
        kept = _ReluLoss(plain, list(plain["W"]))

        def partial(above: Any, below: Any, scale: float = 1.0, nets: Any = (kept, moved)) -> Array:
            if above[0] != r"\ell" or below[0] not in {"W", r"\widetilde W"}:
                raise MathError("no such derivative")
            return scale * nets[below[0] != "W"].gradient(below[1])

        ratios = [[None, *(net.ratio(s) for s in range(1, 5))] for net in (kept, moved)]
        found.append({"t": t, "c": Down([None, *c]), "W": plain["W"], r"\widetilde W": Up(moved.W), "partial": partial,
                      "r": Down(ratios[0]), r"\tilde r": Down(ratios[1])})  # fmt: skip
    return found


class _ReluLoss:
    """A positively homogeneous network under a smooth loss."""

    def __init__(self, values: Values, W: list[Any]) -> None:
        self.W, self.x = W, values["h"][0]

    def gradient(self, t: int) -> Array:
        if not 1 <= t < len(self.W):
            raise MathError(f"no layer {t}")
        return _jacobian(
            lambda M: np.sum(np.sin(_with_weights([*self.W[:t], M, *self.W[t + 1 :]], self.x)[-1] + 1)), self.W[t]
        ).reshape(self.W[t].shape)

    def ratio(self, t: int) -> float:
        return float(np.linalg.norm(self.gradient(t)) / np.linalg.norm(self.W[t]))


def shares(rng: Generator) -> list[Values]:
    """What two inputs' outputs differ by, as a share of the mean square, layer by layer (sigmoid)."""
    return [{**_shares(1.0)}, {**_shares(rng.uniform(1.5, 2)), "only": (0, 1)}]


def _shares(sigma_w: float) -> Values:
    (u, v), chances = _plane()
    q = propagation.fixed_point("sigmoid", sigma_w)
    shares = [0.5]
    for _ in range(6):
        half = math.sqrt(shares[-1] * q / 2)  # z and z' differ by twice this, times v
        common = math.sqrt(q - half**2)
        apart = sigmoid(common * u + half * v) - sigmoid(common * u - half * v)
        shares.append(sigma_w**2 * float(chances @ apart**2) / (2 * q))
    nodes, weights = gauss()
    return {r"\varphi": Down(shares), "t": 6, r"\chi_1": propagation.chi_1("sigmoid", sigma_w), r"\sigma_w": sigma_w,
            "z": math.sqrt(q) * nodes, **means(weights), r"\sigma'": step(sigmoid)}  # fmt: skip


def symmetry(rng: Generator) -> list[Values]:
    """Units i and j of a hidden layer, whose weights in and out are equal or not."""
    found = []
    for same_in, same_out in itertools.product((True, False), repeat=2):
        w, V, x = rng.normal(size=(3, 2)), rng.normal(size=(2, 3)), rng.normal(size=2)
        if same_in:
            w[1] = w[0]
        if same_out:
            V[:, 1] = V[:, 0]

        def partial(above: Any, below: Any, scale: float = 1.0, w: Array = w, V: Array = V, x: Array = x) -> Any:
            if above[0] != r"\ell" or below[0] not in {"w", "V"}:
                raise MathError("no such derivative")
            of_w = below[0] == "w"
            full = _jacobian(
                lambda M: scale * np.sum(np.sin((V if of_w else M) @ np.tanh((M if of_w else w) @ x))), w if of_w else V
            ).reshape(np.shape(w if of_w else V))
            return full[below[2][0] - 1] if of_w else full[below[2][0] - 1, below[2][1] - 1]

        found.append({"w": list(w), "V": V, "i": 1, "j": 2, "k": 2, "partial": partial})
    return found


def torch_bound(fan_in: int) -> float:
    """The bound of torch's Kaiming-uniform initialisation with a = sqrt(5), which nn.Linear calls."""
    return torch.nn.init.calculate_gain("leaky_relu", math.sqrt(5)) * math.sqrt(3 / fan_in)


def default(rng: Generator) -> list[Values]:
    n = widths(rng)
    weights = [None, *([[uniform(-torch_bound(a), torch_bound(a))] * 2] * 2 for a in n[:2])]
    gammas = [None, *(torch_bound(a) ** 2 / 3 for a in n[:2])]
    return [{**INDICES, "n": Down(n), "w": Up(weights), r"\gamma": Down(gammas), "U": uniform}]


def uniform(low: float, high: float) -> tuple[str, float, float]:
    return "U", low, high


def fresh_loss(rng: Generator, variances: Sequence[float] = (1e-3, 0.5, 2.0)) -> list[Values]:
    """The mean of ln sum e^o over independent Gaussian logits, by quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(18)
    found = []
    for K in (2, 3, 4):
        outcomes, chances = space(*[nodes] * K, chances=[weights / weights.sum()] * K)
        for v in variances:
            loss = float(chances @ np.log(sum(np.exp(math.sqrt(v) * o) for o in outcomes)))
            found.append({"K": K, "v": v, r"\ell": loss, r"\Eof": lambda x: x})
    return found


def batch_norm(rng: Generator) -> list[Values]:
    """ReLU halves delta's mean square; the layer divides by the std of its sums, whose inputs are ReLU outputs."""
    square, mean = 0.5, 1 / math.sqrt(2 * math.pi)  # E relu(z)^2 and E relu(z) for z ~ N(0, 1), by symmetry
    ratio = square / (square - mean**2)
    delta = Up([None, np.full(1, 1.3 * math.sqrt(ratio)), np.full(1, 1.3)])
    return [{"t": 2, r"\sigma_w": rng.uniform(0.5, 2), r"\delta": delta, **means(np.ones(1))}]


# --- chapter 6 --------------------------------------------------------------------------------------------------------------


def two_variables(rng: Generator) -> list[Values]:
    (x, y), chances = space(rng.normal(size=3), rng.normal(size=4))
    return [{**means(chances), "X": x, "Y": y}]


def exchangeable(rng: Generator) -> list[Values]:
    """Variables that share a summand, hence are correlated."""
    *own, common = (outcomes := space(*[rng.normal(size=3)] * 3, rng.normal(size=3)))[0]
    return [{**means(outcomes[1]), "n": 3, "X": [x + common for x in own]}]


def scales(rng: Generator) -> list[Values]:
    """Xavier's and He's scales, from labs.init."""
    n = widths(rng)
    n_in, n_out = n[1], n[2]
    std = init.xavier_std(n_in, n_out)
    a = math.sqrt(3) * std
    normal, flat = [[("N", 0.0, std**2)] * 2] * 2, [[uniform(-a, a)] * 2] * 2
    below = init.xavier_std(n[0], n_in) ** 2
    values = {**INDICES, "n": Down(n), r"\gamma": Down([None, below, std**2]), r"\std": std, "a": a, "U": uniform,
              "N": lambda mean, variance: ("N", mean, variance)}  # fmt: skip
    return [{**values, "w": Up([None, None, w]), "only": only} for w, only in ((normal, (0, 1)), (flat, (0, 1)))]


def condition(solve: Callable[[Sequence[int]], float]) -> Callable[[Generator], list[Values]]:
    """A condition on gamma: met by the solution, not met by another value."""

    def cases(rng: Generator) -> list[Values]:
        n = widths(rng)
        gamma = solve(n)
        base = {"t": 2, "n": Down(n), r"\alpha": 1.0}
        return [
            {**base, r"\gamma": Down([None, 1.7 * gamma, gamma])},
            {**base, r"\gamma": Down([None, gamma, 1.7 * gamma]), "fails": True},
        ]

    return cases


def _solved(equation: sp.Eq, scale: sp.Symbol) -> Callable[[Sequence[int]], float]:
    (solution,) = sp.solve(sp.Eq(equation.rhs, scale), derivations.GAMMA)
    return lambda n: float(solution.subs({derivations.N_IN: n[1], derivations.N_OUT: n[2]}))


def equal_widths(rng: Generator) -> list[Values]:
    """Equal widths, as derived; and others, with which both conditions cannot hold."""
    a, b, c = widths(rng)
    solution = derivations.both_conditions().rhs.subs(derivations.N_IN, b)
    return [{"t": 2, "n": Down([a, b, int(solution)])}, {"t": 2, "n": Down([a, b, c]), "fails": True}]


def pair(rng: Generator) -> list[Values]:
    sizes = [rng.integers(1, 50, size=2) for _ in range(3)] + [(7, 7)]
    return [{"n": float(a), "n'": float(b)} for a, b in sizes]


def uniform_variance(distribution: tuple[str, float, float]) -> float:
    """The variance of a uniform variable, by quadrature."""
    _, low, high = distribution
    nodes, weights = np.polynomial.legendre.leggauss(4)
    at, chances = (low + high) / 2 + (high - low) / 2 * nodes, weights / 2
    return float(chances @ at**2 - (chances @ at) ** 2)


def equal_weights(rng: Generator) -> list[Values]:
    """One weight for all of the layer, inputs that are equal: the second layer of equal weights."""
    weight = centred(rng)
    (w, h), chances = space(weight, centred(rng, 3))
    n, gamma = 3, weight.var()
    h_t = Up([None, [h] * 3, [n * w * h] * 3])
    return [{**INDICES, **means(chances), "n": Down([5, 3, 2]), r"\gamma": Down([None, 0.7 * gamma, gamma]), "h": h_t}]


def squared_loss(rng: Generator) -> list[Values]:
    """delta^(d-1) = W'W h for width 2, every outcome of normal-like weights; and the ratio over d layers as n grows."""
    n = 2
    values, chance = normal_like(1 / math.sqrt(n))
    signs = np.array([-1.0, 1.0])
    outcomes, chances = space(*[values] * 4, signs, signs, chances=[chance] * 4 + [np.full(2, 0.5)] * 2)
    W, h = np.stack(outcomes[:4], -1).reshape(-1, 2, 2), np.stack(outcomes[4:], -1)[:, :, None]
    top = W @ h
    below = np.swapaxes(W, -1, -2) @ top
    one = {**means(chances), "n": n, "d": 3, r"\delta": Up([below[:, 0, 0], None, below[:, 0, 0], top[:, 0, 0]])}
    found = [{**one, "bare": ["independent"], "independent": 1.0, "only": (0, 1)}]
    for d in (1, 4):
        a, b, wide = 1.0, 1.0, 10**7
        for _ in range(d):  # E[tr M^2]/n and E[(tr M)^2]/n^2 of M = P'P, one W at a time
            a, b = (1 + 1 / wide) * a + b, b + 2 * a / wide**2
        delta = Up([math.sqrt(a) * signs, *[None] * (d - 1), signs])
        found.append({**means(np.full(2, 0.5)), "n": float(wide), "d": d, r"\delta": delta, "bare": ["independent"],
                      "independent": 1.0, "only": (2, 3)})  # fmt: skip
    return found


def symmetric(rng: Generator) -> list[Values]:
    """A variable that is as likely z as -z, and never 0."""
    half = rng.uniform(0.2, 2, size=3)
    z = np.concatenate([half, -half])
    return [{**means(np.full(6, 1 / 6)), "z": z}]


def relu_layer(rng: Generator) -> list[Values]:
    """ReLU outputs of symmetric sums as inputs of a layer."""
    half = rng.uniform(0.2, 2, size=2)
    weight = centred(rng)
    outcomes, chances = space(*[weight] * 3, *[np.concatenate([half, -half])] * 3)
    z = sum(w * relu(z) for w, z in zip(outcomes[:3], outcomes[3:], strict=True))
    gamma = weight.var()
    return [{**INDICES, **means(chances), "n": Down([5, 3, 2]), r"\gamma": Down([None, 0.7 * gamma, gamma]),
             "z": Up([None, outcomes[3:], [z, z]])}]  # fmt: skip


def he_scale(rng: Generator) -> list[Values]:
    n = widths(rng)
    return [{"t": 2, "n": Down(n), r"\gamma": Down([None, init.he_std(n[0]) ** 2, init.he_std(n[1]) ** 2])}]


def relu_depth(rng: Generator) -> list[Values]:
    d = int(rng.integers(3, 9))
    gamma, start = init.xavier_std(64, 64) ** 2, 1.7
    squares = [start, *propagation.predict_forward("relu", (64, d), gamma, second_moment=start).tolist()]
    return [{**means(np.ones(1)), "d": d, "h": Up(np.full(1, math.sqrt(q)) for q in squares)}]


def orthogonal(rng: Generator) -> list[Values]:
    Q = init.orthogonal_(torch.empty(5, 5, dtype=torch.float64), generator=torch.Generator().manual_seed(0)).numpy()
    return [{"Q": Q, "h": rng.normal(size=(5, 1))}]


def squares(rng: Generator) -> list[Values]:
    """Two units of width 2, weights and inputs with a normal variable's moments: every outcome."""
    values, chance = normal_like(1 / math.sqrt(2))
    inputs = normal_like()[0]
    o, chances = space(*[values] * 4, *[inputs] * 2, chances=[chance] * 6)
    h = [o[2 * i] * o[4] + o[2 * i + 1] * o[5] for i in range(2)]
    return [{**means(chances), "n": 2, "h": Up([None, h])}]


def edge(rng: Generator) -> list[Values]:
    """The ratio of two high moments of the squared singular values (Fuss-Catalan numbers)."""

    def log_moment(d: int, k: int) -> float:
        return (math.lgamma((d + 1) * k + 1) - math.lgamma(k + 1) - math.lgamma(d * k + 1)) - math.log(d * k + 1)

    return [{"d": d, "s_1": math.exp((log_moment(d, 100_000) - log_moment(d, 99_999)) / 2)} for d in (1, 2, 5)]


# --- chapter 7 --------------------------------------------------------------------------------------------------------------


def act_condition(rng: Generator) -> list[Values]:
    """alpha^2 n gamma = 1, solved from the derivation; and not met."""
    alpha, n = rng.uniform(0.5, 2), widths(rng)
    factor = derivations.linear_activation_forward()[1]
    (solution,) = sp.solve(factor.subs({derivations.ALPHA: alpha, derivations.N_IN: n[1]}), derivations.GAMMA)
    gamma = float(solution)
    base = {"t": 2, "n": Down(n), r"\alpha": alpha}
    return [{**base, r"\gamma": Down([None, 1.7 * gamma, gamma])},
            {**base, r"\gamma": Down([None, gamma, 1.7 * gamma]), "fails": True}]  # fmt: skip


def act_backward(rng: Generator) -> list[Values]:
    alpha, beta = rng.normal(size=2)
    return [{**values, r"\alpha": alpha} for values in networks(lambda z: alpha * z + beta)(rng)]


def factors_of(sigma: Callable[[Any], Any]) -> Values:
    nodes, weights = gauss()
    return {
        r"\sigma": sigma, r"\sigma'": step(sigma), "q": 1.0,
        "F": lambda q: weights @ np.real(sigma(math.sqrt(q) * nodes)) ** 2 / q,
        "G": lambda q: weights @ step(sigma)(math.sqrt(q) * nodes) ** 2,
    }  # fmt: skip


def limits(rng: Generator) -> list[Values]:
    """Activations with the value 0 at 0, and one without."""
    return [factors_of(f) for f in (np.tanh, lambda x: 0.7 * np.sin(x), sigmoid)]


def from_expression(name: str) -> Callable[[Any], Any]:
    return sp.lambdify(sp.Symbol("x"), activations.get(name).expression, "numpy")


def small(**more: Any) -> Callable[[Generator], list[Values]]:
    return lambda rng: [{"x": float(x), **more} for x in (rng.uniform(0.1, 1), -0.7, 2.0)]


def relu_parts(rng: Generator) -> list[Values]:
    f = from_expression("relu")
    return [{"x": x, r"\relu": f} for x in (0.0, rng.uniform(0.1, 2), -rng.uniform(0.1, 2))]


def cubic(rng: Generator) -> list[Values]:
    a3 = rng.normal()
    nodes, weights = gauss()
    sigma = activations_cubic(a3)
    z = Derived(lambda values: math.sqrt(values["q"]) * nodes)
    return [{**means(weights), r"\sigma": sigma, r"\sigma'": step(sigma), "z": z, "q": 0.1, "a_3": a3}]


def activations_cubic(a3: float) -> Callable[[Any], Any]:
    return lambda x: x + a3 * x**3


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


def decay(rng: Generator) -> list[Values]:
    squares = tanh_squares()[0]
    h = Up([np.full(1, math.sqrt(q))] * 2 for q in squares)
    return [{**INDICES, **means(np.ones(1)), "h": h, "a_3": -1 / 3, "d": 8000}]


def delta_decay(rng: Generator) -> list[Values]:
    logs = np.cumsum(np.log(tanh_squares()[1]))

    def delta(values: Mapping[str, Any]) -> Up:
        d = values["d"]
        return Up(1.3 * np.exp((logs[d] - logs[: d + 1])[:, None] / 2))

    return [{**means(np.ones(1)), r"\delta": Derived(delta), "d": 8000, "also": {"d": 4000}}]


# --- chapter 8 --------------------------------------------------------------------------------------------------------------


def softmax(rng: Generator) -> list[Values]:
    z = list(rng.normal(size=4))
    return [{"z": z, "i": i, "m": sorted(z)[-1], "ranges": {"j": range(1, 5)}} for i in (1, 3)]


def _constant(**values: Any) -> Callable[[Generator], list[Values]]:
    return lambda rng: [values]


def uniforms(*names: str, **more: Any) -> Callable[[Generator], list[Values]]:
    """Positive numbers at random."""
    return lambda rng: [{**{name: rng.uniform(0.2, 0.9) for name in names}, **more}]


NAN = "NaN, whatever it is added to or multiplied with"
TIES: dict[str, Tie | str] = {
    # chapter 1
    "eq-explode": Tie(_constant()),
    "eq-vanish": Tie(_constant()),
    "eq-chain": Tie(networks()),
    "eq-elementwise": Tie(networks()),
    "eq-layer-jacobian": Tie(networks()),
    "eq-delta": Tie(networks()),
    "eq-product": Tie(networks()),
    "eq-flops": Tie(flops),
    "eq-nilpotent": Tie(_constant(A=np.array([[0.0, 2.0], [0.0, 0.0]]))),
    "eq-mean-square": Tie(mean_square),
    "eq-log-scale": Tie(log_scale),
    "eq-volume": Tie(volume),
    "eq-lyapunov": Tie(lyapunov, rtol=1e-7),
    # chapter 2
    "eq-relu-jacobian": Tie(networks(relu)),
    "eq-relu-paths": Tie(paths),
    "eq-relu-tenth": Tie(lambda rng: [{"W": np.full((64, 64), 0.1), "i": 3, "j": 5, "k": k} for k in (2, 5)], alike="ij"),
    "eq-relu-fp16-range": Tie(_constant(**{
        r"\text{smallest subnormal}": FP16.smallest_subnormal, r"\text{smallest normal}": FP16.smallest_normal,
        r"\text{largest}": FP16.max})),
    "eq-relu-overflow": Tie(overflow),
    "eq-relu-typical": Tie(typical, loose=5e-4),
    "eq-relu-homogeneous": Tie(scaled_relu, words={
        r"\frac{\partial h^d}{\partial W^t}\bigg|_{cW^1, \dots, cW^d}": r"\scaled",
        r"\frac{\partial h^d}{\partial W^t}\bigg|_{W^1, \dots, W^d}": r"\plain"}),
    "eq-relu-quadratic": Tie(quadratic),
    # chapter 3
    "eq-sig-slope": Tie(slopes),
    "eq-sig-quarter": Tie(slopes),
    "eq-sig-q": Tie(mean_field, rtol=1e-7),
    "eq-sig-chi": Tie(mean_field, rtol=1e-7, alike="ij"),
    "eq-sig-scaling": Tie(networks(sigmoid, S=3.7)),
    "eq-sig-adam": Tie(adam, words={r"\Delta w": r"\step"}),
    "eq-sig-merge": Tie(merge),
    "eq-sig-weight-gradient": Tie(networks(sigmoid)),
    "eq-sig-balance": Tie(balance, true={r"/\partial W^[": "the weight gradients of all layers are of one size"}),
    # chapter 4
    "eq-stab-scale": Tie(scaled_loss),
    "eq-stab-paths": Tie(skips),
    "eq-stab-skip-delta": Tie(skip_delta, alike="ij"),
    "eq-stab-two-three": Tie(two_three, true={r"\E\,[h [+ -> -] W": "W and -W are equally likely"}),
    "eq-stab-post": Tie(post),
    "eq-stab-scaled": Tie(lambda rng: [{"d": d} for d in (1.0, float(rng.integers(2, 50)), 1e6)],
        true={r"d\Bigr)^{[d -> d-1]} \le e": "smaller by a factor that tends to 1"}),
    "eq-stab-lstm-sum": Tie(lstm),
    "eq-stab-lstm-direct": Tie(lstm),
    "eq-stab-cosine": Tie(cosine),
    "eq-stab-angle": Tie(angle),
    "eq-stab-inf": Tie(_constant(), true={r"[1 -> 2] \cdot 0": "any finite number times 0 is 0"}),
    # chapter 5
    "eq-cv-weights": Tie(over_weights),
    "eq-cv-split": Tie(split),
    "eq-cv-outer": Tie(networks()),
    "eq-cv-rescale": Tie(rescaled),
    "eq-cv-merge": Tie(shares),
    "eq-cv-symmetry": Tie(symmetry),
    "eq-cv-default": Tie(default, alike="ij"),
    "eq-cv-loss-bounds": Tie(fresh_loss),
    "eq-cv-loss-small": Tie(lambda rng: fresh_loss(rng, (1e-3,)), loose=1e-6),
    "eq-cv-bn": Tie(batch_norm),
    # chapter 6
    "eq-xavier-product": Tie(two_variables),
    "eq-xavier-sum": Tie(exchangeable, alike="123"),
    "eq-xavier-mean": Tie(lambda rng: [forward(rng, input_mean=0.5), {**forward(rng, 0.4, 0.5), "only": (0,)}], alike="ij"),
    "eq-xavier-square": Tie(
        lambda rng: [{**v, "w": v["w"][2]} for v in (forward(rng, 0.4, 0.5), forward(rng, 0.3, 0.2, 0.5))], alike="ij123"),
    "eq-xavier-terms": Tie(lambda rng: [{**v, "w": v["w"][2]} for v in (forward(rng, 0, 0.5),)], alike="ij123"),
    "eq-xavier-forward": Tie(lambda rng: [forward(rng)], alike="ij"),
    "eq-xavier-forward-condition": Tie(
        condition(_solved(derivations.forward_variance(input_mean=sp.S.Zero), derivations.VAR_INPUT))),
    "eq-xavier-delta": Tie(lambda rng: [{**v, "i": 1, "j": 2} for v in networks(lambda z: z)(rng)]),
    "eq-xavier-backward": Tie(
        lambda rng: [backward(rng), {**backward(rng, gradient_mean=0.5), "only": (0,)}], alike="ij"),
    "eq-xavier-backward-condition": Tie(condition(_solved(derivations.backward_variance(), derivations.VAR_DELTA))),
    "eq-xavier-both": Tie(equal_widths),
    "eq-xavier-compromise": Tie(condition(_solved(derivations.xavier(), derivations.GAMMA))),
    "eq-xavier-gamma": Tie(scales),
    "eq-xavier-pair": Tie(pair),
    "eq-xavier-normal": Tie(lambda rng: scales(rng)[:1], alike="ij"),
    "eq-xavier-uniform-variance": Tie(uniforms("a")),
    "eq-xavier-uniform": Tie(lambda rng: scales(rng)[1:], alike="ij"),
    "eq-xavier-third": Tie(lambda rng: [{"t": 2, "n": Down(widths(rng)), "U": uniform, r"\Var": uniform_variance}]),
    "eq-xavier-input-mean": Tie(lambda rng: [forward(rng, input_mean=0.6)], alike="ij"),
    "eq-xavier-weight-mean": Tie(lambda rng: [{**v, "n": 3} for v in (forward(rng, 0.4, 0, 0.7),)], alike="ijkl"),
    "eq-xavier-dependent": Tie(lambda rng: [forward(rng, input_mean=0.6, common=0.8)], alike="ij"),
    "eq-xavier-equal": Tie(equal_weights, alike="ij"),
    "eq-xavier-gradient-dependent": Tie(squared_loss),
    "eq-xavier-relu-half": Tie(symmetric),
    "eq-xavier-relu-forward": Tie(relu_layer, alike="ij"),
    "eq-xavier-he": Tie(he_scale),
    "eq-xavier-relu-depth": Tie(relu_depth),
    "eq-xavier-orthogonal": Tie(orthogonal),
    "eq-xavier-squares": Tie(squares),
    "eq-xavier-homogeneous": Tie(scaled_relu, words={
        r"h^t(cW^1, \dots, cW^t;\ x)": r"\scaledh", r"h^t(W^1, \dots, W^t;\ x)": r"\plainh"}),
    "eq-xavier-quarter-circle": Tie(uniforms(r"\sigma_w", s=0.0)),
    "eq-xavier-edge": Tie(edge),
    # chapter 7
    "eq-act-mean": Tie(lambda rng: [activated(rng), {**activated(rng, 0.4), "only": (0,)}], alike="ij"),
    "eq-act-variance": Tie(lambda rng: [activated(rng)], alike="ij"),
    "eq-act-forward": Tie(act_condition),
    "eq-act-beta": Tie(lambda rng: [activated(rng)], alike="ij"),
    "eq-act-backward": Tie(act_backward),
    "eq-act-backward-variance": Tie(
        lambda rng: [backward(rng, 0.6), {**backward(rng, 0.6, 0.5), "only": (0,)}], alike="ij"),
    "eq-act-limit": Tie(limits, rtol=1e-6),
    "eq-taylor-sigmoid": Tie(small()),
    "eq-taylor-tanh": Tie(small()),
    "eq-taylor-relu": Tie(relu_parts),
    "eq-act-relu-half": Tie(symmetric, true={r"\relu'(z)^[2 -> 3]": "the slope is 0 or 1"}),
    "eq-act-scaled": Tie(small(**{r"\sigma": from_expression("sigmoid")})),
    "eq-act-cubic": Tie(cubic),
    "eq-act-decay": Tie(decay, loose=2e-3, alike="ij", true={r"h_i^[d -> {d-1}]": "equal to leading order"}),
    "eq-act-delta-decay": Tie(delta_decay, loose=2e-3, true={
        r"(\delta^[1 -> 2])": "one layer more changes a constant factor", r"(\delta^[d -> {d-1}])": "the same",
        r"\propto \frac[1 -> 2]d": "a constant factor", r"(\delta^d)^[2 -> 3]": "delta^d is the given, of any constant size"}),
    # chapter 8
    "eq-nan-inf": Tie(_constant(number=np.float32, e=np.float32(math.e)), true={
        r"frac[1 -> 2]0": "any positive number over 0 is Inf",
        **dict.fromkeys((r"[10 -> 11]^{20}", r"10^{[20 -> 21]}"), "larger still")}),
    "eq-nan-born": Tie(_constant(), true={
        r"\sqrt{-[1 -> 2]}": "any negative number", r"[0 -> 1] \cdot \mathrm": NAN}),
    "eq-nan-mask": Tie(_constant(), true={r"[0 -> 1] \cdot \mathrm": NAN}),
    "eq-nan-softmax": Tie(softmax),
    "eq-nan-where": Tie(_constant(p=0.0), true={
        r"\log p [+ -> -] p": NAN, r"\mathrm{Inf} [+ -> -] 0": NAN, r"([- -> +]\mathrm{Inf}": NAN, r"[0 -> 1] \cdot": NAN,
        r"\tfrac[1 -> 2]p": "0 times Inf all the same"}),
    "eq-nan-slope": Tie(uniforms("x")),
}  # fmt: skip
