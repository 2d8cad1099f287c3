"""Chapter 2."""

import math

import numpy as np
from scipy.special import digamma

from bookext.check.case import Case, Down, Generator, Meaning, Up
from labs import formats

from .networks import networks, relu, scaled_relu
from .spaces import constant


def paths(rng: Generator) -> list[Case]:
    """All ways from unit j of layer t = 1 to unit i of layer d = 4."""
    found = []
    for case in networks(relu, 1)(rng):
        n = case.symbols["n"]
        for i, j in ((1, 2), (2, 1), (2, 3)):
            ways = [{"i": Down([None, j, a, b, i])} for a in range(1, n[2] + 1) for b in range(1, n[3] + 1)]
            found.append(case.put({"i": i, "j": j}, sums={PATHS: ways}))
    return found


PATHS = r"{ i _ { t + 1 } , \cdots , i _ { d - 1 } \\ i _ t = j , i _ d = i }"


def overflow(rng: Generator) -> list[Case]:
    found = []
    for largest in (formats.get_format(name).max for name in ("fp16", "fp32")):
        for r in (1.5, 6.4, rng.uniform(1.2, 9)):
            steps = next(k for k in range(9999) if r**k > largest)
            found.append(Case({r"\text{largest}": largest, "r": r, r"k_\text{Inf}": steps}))
    return found


def typical(rng: Generator) -> list[Case]:
    """The mean log of a ReLU layer's growth, exactly: a chi-squared variable with as many degrees as units are active."""
    n, c, t = 256, rng.uniform(1, 2), 2
    active = np.arange(1, n + 1)
    chances = np.array([math.comb(n, int(k)) / 2**n for k in active])
    rate = math.log(c) + chances @ (digamma(active / 2) + math.log(2)) / 2 + math.log(2 / n) / 2
    h = Up(np.array([[math.exp(rate * s)], [0.0]]) for s in range(4))
    return [Case({"n": n, "c": c, "t": t, "h": h, r"\E": lambda x: x})]


def quadratic(rng: Generator) -> list[Case]:
    rate, kappa, goal = rng.uniform(0.1, 0.9, size=3)
    w = [rng.normal()]
    for _ in range(6):
        w.append(w[-1] - rate * kappa * (w[-1] - goal))
    return [Case({"w": Down(w), "w_*": goal, "k": 5, r"\eta": rate, r"\kappa": kappa})]


FP16 = formats.get_format("fp16")


MEANINGS: dict[str, Meaning] = {
    "eq-relu-jacobian": Meaning(networks(relu)),
    "eq-relu-paths": Meaning(paths),
    "eq-relu-tenth": Meaning(lambda rng: [Case({"W": np.full((64, 64), 0.1), "i": 3, "j": 5, "k": k}) for k in (2, 5)], alike="ij"),
    "eq-relu-fp16-range": Meaning(constant({
        r"\text{smallest subnormal}": FP16.smallest_subnormal, r"\text{smallest normal}": FP16.smallest_normal,
        r"\text{largest}": FP16.max})),
    "eq-relu-overflow": Meaning(overflow),
    "eq-relu-typical": Meaning(typical, loose=5e-4),
    "eq-relu-homogeneous": Meaning(scaled_relu, words={
        r"\frac{\partial h^d}{\partial W^t}\bigg|_{cW^1, \dots, cW^d}": r"\scaled",
        r"\frac{\partial h^d}{\partial W^t}\bigg|_{W^1, \dots, W^d}": r"\plain"}),
    "eq-relu-quadratic": Meaning(quadratic),
}  # fmt: skip
