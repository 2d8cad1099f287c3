"""Chapter 6."""

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import sympy as sp
import torch
from scipy.integrate import quad

from bookext.check.case import Case, Down, Generator, Meaning, Up
from labs import derivations, init, propagation

from .networks import networks, relu, scaled_relu
from .spaces import (
    INDICES,
    backward,
    centred,
    forward,
    means,
    met_and_not,
    normal_like,
    space,
    symmetric,
    uniform,
    uniforms,
    widths,
)


def two_variables(rng: Generator) -> list[Case]:
    (x, y), chances = space(rng.normal(size=3), rng.normal(size=4))
    return [Case({**means(chances), "X": x, "Y": y})]


def exchangeable(rng: Generator) -> list[Case]:
    """Variables that share a summand, hence are correlated."""
    *own, common = (outcomes := space(*[rng.normal(size=3)] * 3, rng.normal(size=3)))[0]
    return [Case({**means(outcomes[1]), "n": 3, "X": [x + common for x in own]})]


def scales(rng: Generator) -> list[Case]:
    """Xavier's and He's scales, from labs.init."""
    n = widths(rng)
    n_in, n_out = n[1], n[2]
    std = init.xavier_std(n_in, n_out)
    a = math.sqrt(3) * std
    normal, flat = [[("N", 0.0, std**2)] * 2] * 2, [[uniform(-a, a)] * 2] * 2
    below = init.xavier_std(n[0], n_in) ** 2
    values = {**INDICES, "n": Down(n), r"\gamma": Down([None, below, std**2]), r"\std": std, "a": a, "U": uniform,
              "N": lambda mean, variance: ("N", mean, variance)}  # fmt: skip
    return [Case({**values, "w": Up([None, None, w])}, only=only) for w, only in ((normal, (0, 1)), (flat, (0, 1)))]


def _solved(equation: Callable[[], sp.Eq], scale: sp.Symbol) -> Callable[[Sequence[int]], float]:
    """Gamma for given widths, from an equation that is derived and solved when it is first asked for."""

    @functools.cache
    def solution() -> sp.Expr:
        (gamma,) = sp.solve(sp.Eq(equation().rhs, scale), derivations.GAMMA)
        return gamma

    return lambda n: float(solution().subs({derivations.N_IN: n[1], derivations.N_OUT: n[2]}))


def equal_widths(rng: Generator) -> list[Case]:
    """Equal widths, as derived; and others, with which both conditions cannot hold."""
    a, b, c = widths(rng)
    solution = derivations.both_conditions().rhs.subs(derivations.N_IN, b)
    return [Case({"t": 2, "n": Down([a, b, int(solution)])}), Case({"t": 2, "n": Down([a, b, c])}, fails=True)]


def pair(rng: Generator) -> list[Case]:
    sizes = [rng.integers(1, 50, size=2) for _ in range(3)] + [(7, 7)]
    return [Case({"n": float(a), "n'": float(b)}) for a, b in sizes]


def uniform_variance(distribution: tuple[str, float, float]) -> float:
    """The variance of a uniform variable, by integration over its density."""
    _, low, high = distribution
    return float(quad(lambda x: (x - (low + high) / 2) ** 2 / (high - low), low, high)[0])


def equal_weights(rng: Generator) -> list[Case]:
    """One weight for all of the layer, inputs that are equal: the second layer of equal weights."""
    weight = centred(rng)
    (w, h), chances = space(weight, centred(rng, 3))
    n, gamma = 3, weight.var()
    layers = {"n": Down([5, 3, 2]), r"\gamma": Down([None, 0.7 * gamma, gamma])}
    return [Case({**INDICES, **means(chances), **layers, "h": Up([None, [h] * 3, [n * w * h] * 3])})]


def squared_loss(rng: Generator) -> list[Case]:
    """delta^(d-1) = W'W h for width 2, every outcome of normal-like weights; and the ratio over d layers as n grows."""
    n = 2
    values, chance = normal_like(1 / math.sqrt(n))
    signs = np.array([-1.0, 1.0])
    outcomes, chances = space(*[values] * 4, signs, signs, chances=[chance] * 4 + [np.full(2, 0.5)] * 2)
    W, h = np.stack(outcomes[:4], -1).reshape(-1, 2, 2), np.stack(outcomes[4:], -1)[:, :, None]
    top = W @ h
    below = np.swapaxes(W, -1, -2) @ top
    one = {**means(chances), "n": n, "d": 3, r"\delta": Up([below[:, 0, 0], None, below[:, 0, 0], top[:, 0, 0]])}
    found = [Case(one, bare={"independent": 1.0}, only=(0, 1))]
    for d in (1, 4):
        a, b, wide = 1.0, 1.0, 10**7
        for _ in range(d):  # E[tr M^2]/n and E[(tr M)^2]/n^2 of M = P'P, one W at a time
            a, b = (1 + 1 / wide) * a + b, b + 2 * a / wide**2
        delta = Up([math.sqrt(a) * signs, *[None] * (d - 1), signs])
        symbols = {**means(np.full(2, 0.5)), "n": float(wide), "d": d, r"\delta": delta}
        found.append(Case(symbols, bare={"independent": 1.0}, only=(2, 3)))
    return found


def relu_layer(rng: Generator) -> list[Case]:
    """ReLU outputs of symmetric sums as inputs of a layer."""
    half = rng.uniform(0.2, 2, size=2)
    weight = centred(rng)
    outcomes, chances = space(*[weight] * 3, *[np.concatenate([half, -half])] * 3)
    z = sum(w * relu(z) for w, z in zip(outcomes[:3], outcomes[3:], strict=True))
    gamma = weight.var()
    return [Case({**INDICES, **means(chances), "n": Down([5, 3, 2]), r"\gamma": Down([None, 0.7 * gamma, gamma]),
             "z": Up([None, outcomes[3:], [z, z]])})]  # fmt: skip


def he_scale(rng: Generator) -> list[Case]:
    n = widths(rng)
    return [Case({"t": 2, "n": Down(n), r"\gamma": Down([None, init.he_std(n[0]) ** 2, init.he_std(n[1]) ** 2])})]


def relu_depth(rng: Generator) -> list[Case]:
    d = int(rng.integers(3, 9))
    gamma, start = init.xavier_std(64, 64) ** 2, 1.7
    squares = [start, *propagation.predict_forward("relu", (64, d), gamma, second_moment=start).tolist()]
    return [Case({**means(np.ones(1)), "d": d, "h": Up(np.full(1, math.sqrt(q)) for q in squares)})]


def orthogonal(rng: Generator) -> list[Case]:
    Q = init.orthogonal_(torch.empty(5, 5, dtype=torch.float64), generator=torch.Generator().manual_seed(0)).numpy()
    return [Case({"Q": Q, "h": rng.normal(size=(5, 1))})]


def squares(rng: Generator) -> list[Case]:
    """Two units of width 2, weights and inputs with a normal variable's moments: every outcome."""
    values, chance = normal_like(1 / math.sqrt(2))
    inputs = normal_like()[0]
    o, chances = space(*[values] * 4, *[inputs] * 2, chances=[chance] * 6)
    h = [o[2 * i] * o[4] + o[2 * i + 1] * o[5] for i in range(2)]
    return [Case({**means(chances), "n": 2, "h": Up([None, h])})]


def edge(rng: Generator) -> list[Case]:
    """The ratio of two high moments of the squared singular values (Fuss-Catalan numbers)."""

    def log_moment(d: int, k: int) -> float:
        return (math.lgamma((d + 1) * k + 1) - math.lgamma(k + 1) - math.lgamma(d * k + 1)) - math.log(d * k + 1)

    return [Case({"d": d, "s_1": math.exp((log_moment(d, 100_000) - log_moment(d, 99_999)) / 2)}) for d in (1, 2, 5)]


def condition(solve: Callable[[Sequence[int]], float]) -> Callable[[Generator], list[Case]]:
    """A condition on gamma that ``solve`` solves for given widths."""

    def cases(rng: Generator) -> list[Case]:
        n = widths(rng)
        return met_and_not(n, solve(n))

    return cases


MEANINGS: dict[str, Meaning] = {
    "eq-xavier-product": Meaning(two_variables),
    "eq-xavier-sum": Meaning(exchangeable, alike="123"),
    "eq-xavier-mean": Meaning(lambda rng: [Case(forward(rng, input_mean=0.5)), Case(forward(rng, 0.4, 0.5), only=(0,))], alike="ij"),
    "eq-xavier-square": Meaning(
        lambda rng: [Case({**v, "w": v["w"][2]}) for v in (forward(rng, 0.4, 0.5), forward(rng, 0.3, 0.2, 0.5))], alike="ij123"),
    "eq-xavier-terms": Meaning(lambda rng: [Case({**v, "w": v["w"][2]}) for v in (forward(rng, 0, 0.5),)], alike="ij123"),
    "eq-xavier-forward": Meaning(lambda rng: [Case(forward(rng))], alike="ij"),
    "eq-xavier-forward-condition": Meaning(
        condition(_solved(lambda: derivations.forward_variance(input_mean=sp.S.Zero), derivations.VAR_INPUT))),
    "eq-xavier-delta": Meaning(lambda rng: [case.put({"i": 1, "j": 2}) for case in networks(lambda z: z)(rng)]),
    "eq-xavier-backward": Meaning(
        lambda rng: [Case(backward(rng)), Case(backward(rng, gradient_mean=0.5), only=(0,))], alike="ij"),
    "eq-xavier-backward-condition": Meaning(condition(_solved(derivations.backward_variance, derivations.VAR_DELTA))),
    "eq-xavier-both": Meaning(equal_widths),
    "eq-xavier-compromise": Meaning(condition(_solved(derivations.xavier, derivations.GAMMA))),
    "eq-xavier-gamma": Meaning(scales),
    "eq-xavier-pair": Meaning(pair),
    "eq-xavier-normal": Meaning(lambda rng: scales(rng)[:1], alike="ij"),
    "eq-xavier-uniform-variance": Meaning(uniforms("a")),
    "eq-xavier-uniform": Meaning(lambda rng: scales(rng)[1:], alike="ij"),
    "eq-xavier-third": Meaning(lambda rng: [Case({"t": 2, "n": Down(widths(rng)), "U": uniform, r"\Var": uniform_variance})]),
    "eq-xavier-input-mean": Meaning(lambda rng: [Case(forward(rng, input_mean=0.6))], alike="ij"),
    "eq-xavier-weight-mean": Meaning(lambda rng: [Case({**v, "n": 3, "j": 1}) for v in (forward(rng, 0.4, 0, 0.7),)], alike="ijkl"),
    "eq-xavier-dependent": Meaning(lambda rng: [Case(forward(rng, input_mean=0.6, common=0.8))], alike="ij"),
    "eq-xavier-equal": Meaning(equal_weights, alike="ij"),
    "eq-xavier-gradient-dependent": Meaning(squared_loss),
    "eq-xavier-relu-half": Meaning(symmetric),
    "eq-xavier-relu-forward": Meaning(relu_layer, alike="ij"),
    "eq-xavier-he": Meaning(he_scale),
    "eq-xavier-relu-depth": Meaning(relu_depth),
    "eq-xavier-orthogonal": Meaning(orthogonal),
    "eq-xavier-squares": Meaning(squares),
    "eq-xavier-homogeneous": Meaning(scaled_relu, words={
        r"h^t(cW^1, \dots, cW^t;\ x)": r"\scaledh", r"h^t(W^1, \dots, W^t;\ x)": r"\plainh"}),
    "eq-xavier-quarter-circle": Meaning(uniforms(r"\sigma_w", symbols={"s": 0.0})),
    "eq-xavier-edge": Meaning(edge),
}  # fmt: skip
