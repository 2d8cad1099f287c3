"""Chapter 5."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from bookext.check.case import Array, Case, Down, Generator, Meaning, Up, Values
from bookext.check.tokens import MathError
from labs import propagation

from .networks import jacobian, network, networks, relu, sigmoid, step, with_weights
from .spaces import INDICES, constant, gauss, means, plane, space, uniform, widths


def over_weights(rng: Generator) -> list[Case]:
    """Two linear layers of width 2 and variance 1/n, a fixed input."""
    outcomes, chances = space(*[np.array([-1.0, 1.0]) / math.sqrt(2)] * 8)
    x = list(rng.normal(size=2))
    first = [outcomes[2 * i] * x[0] + outcomes[2 * i + 1] * x[1] for i in range(2)]
    second = [outcomes[4 + 2 * i] * first[0] + outcomes[5 + 2 * i] * first[1] for i in range(2)]
    mean = means(chances)
    functions = {r"\E_W": mean[r"\E"], r"\Var_W": mean[r"\Var"]}
    shared = {**functions, "h": Up([None, first, second]), "x": x, "n": 2}
    return [Case({**shared, "t": t, "i": i}) for t in (1, 2) for i in (1, 2)]


def split(rng: Generator) -> list[Case]:
    values, n = rng.normal(size=(4, 7)) + 0.5, 4  # (unit, input)
    mean = means(np.full(7, 1 / 7))
    functions = {r"\E_x": mean[r"\E"], r"\Var_x": mean[r"\Var"]}
    h = Up([None, [2 * v for v in values], list(values)])
    return [Case({**functions, "h": h, "n": n, "t": 2}, ranges={"i": range(1, n + 1)})]


def rescaled(rng: Generator) -> list[Case]:
    """The same function with its layers' weights scaled by factors whose product is 1."""
    found = []
    for t in (1, 2, 3):
        seed, factors = int(rng.integers(1000)), rng.uniform(0.5, 2, size=3)
        c = [*factors, 1 / np.prod(factors)]
        case = network(np.random.default_rng(seed), (3, 4, 3, 4, 3), relu, t)
        W, x = case.symbols["W"], case.symbols["h"][0]
        weights = {"W": W, r"\widetilde W": Up([None, *(f * M for f, M in zip(c, W[1:], strict=True))])}

        def partial(above: Any, below: Any, scale: float = 1.0, weights: Values = weights, x: Array = x) -> Array:
            if above[0] != r"\ell" or below[0] not in weights:
                raise MathError("no such derivative")
            return scale * _gradient(weights[below[0]], x, below[1])

        norm = np.linalg.norm
        rho, moved = ([None, *(norm(_gradient(W, x, s)) / norm(W[s]) for s in range(1, 5))] for W in weights.values())
        symbols = {"t": t, "c": Down([None, *c]), r"\rho": Down(rho), r"\tilde \rho": Down(moved), **weights}
        found.append(Case(symbols, partial=partial))
    return found


def _gradient(W: Sequence[Any], x: Array, t: int) -> Array:
    """By the weights of layer t, of a smooth loss of a ReLU network, which is positively homogeneous."""
    if not 1 <= t < len(W):
        raise MathError(f"no layer {t}")
    slopes = jacobian(lambda M: np.sum(np.sin(with_weights([*W[:t], M, *W[t + 1 :]], x)[-1] + 1)), W[t])
    return slopes.reshape(W[t].shape)


def shares(rng: Generator) -> list[Case]:
    """What two inputs' outputs differ by, as a share of the mean square, layer by layer (sigmoid)."""
    return [Case(_shares(1.0)), Case(_shares(rng.uniform(1.5, 2)), only=(0, 1))]


def _shares(sigma_w: float) -> Values:
    (u, v), chances = plane()
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


def symmetry(rng: Generator) -> list[Case]:
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
            full = jacobian(
                lambda M: scale * np.sum(np.sin((V if of_w else M) @ np.tanh((M if of_w else w) @ x))), w if of_w else V
            ).reshape(np.shape(w if of_w else V))
            return full[below[2][0] - 1] if of_w else full[below[2][0] - 1, below[2][1] - 1]

        found.append(Case({"w": list(w), "V": V, "i": 1, "j": 2, "l": 2}, partial=partial))
    return found


def torch_bound(fan_in: int) -> float:
    """The bound of torch's Kaiming-uniform initialisation with a = sqrt(5), which nn.Linear calls."""
    return torch.nn.init.calculate_gain("leaky_relu", math.sqrt(5)) * math.sqrt(3 / fan_in)


def default(rng: Generator) -> list[Case]:
    n = widths(rng)
    weights = [None, *([[uniform(-torch_bound(a), torch_bound(a))] * 2] * 2 for a in n[:2])]
    gammas = [None, *(torch_bound(a) ** 2 / 3 for a in n[:2])]
    return [Case({**INDICES, "n": Down(n), "w": Up(weights), r"\gamma": Down(gammas), "U": uniform})]


def batch_norm(rng: Generator) -> list[Case]:
    """ReLU halves delta's mean square; the layer divides by the std of its sums, whose inputs are ReLU outputs."""
    square, mean = 0.5, 1 / math.sqrt(2 * math.pi)  # E relu(z)^2 and E relu(z) for z ~ N(0, 1), by symmetry
    ratio = square / (square - mean**2)
    delta = Up([None, np.full(1, 1.3 * math.sqrt(ratio)), np.full(1, 1.3)])
    return [Case({"t": 2, r"\sigma_w": rng.uniform(0.5, 2), r"\delta": delta, **means(np.ones(1))})]


def fresh_loss(rng: Generator, variances: Sequence[float] = (1e-3, 0.5, 2.0)) -> list[Case]:
    """The mean of ln sum e^o over independent Gaussian logits, by quadrature."""
    nodes, weights = gauss(18)
    found = []
    for K in (2, 3, 4):
        outcomes, chances = space(*[nodes] * K, chances=[weights] * K)
        for q in variances:
            loss = float(chances @ np.log(sum(np.exp(math.sqrt(q) * z) for z in outcomes)))
            found.append(Case({"K": K, "q": q, r"\ell": loss, r"\Eof": lambda x: x}))
    return found


MEANINGS: dict[str, Meaning] = {
    "eq-cv-weights": Meaning(over_weights),
    "eq-cv-split": Meaning(split),
    "eq-cv-outer": Meaning(networks()),
    "eq-cv-rescale": Meaning(rescaled),
    "eq-cv-merge": Meaning(shares),
    "eq-cv-symmetry": Meaning(symmetry),
    "eq-cv-default": Meaning(default, alike="ij"),
    "eq-cv-truncated": Meaning(constant({r"\Phi": lambda z: math.erfc(-z / math.sqrt(2)) / 2, "u": 0.0})),
    "eq-cv-loss-bounds": Meaning(fresh_loss),
    "eq-cv-loss-small": Meaning(lambda rng: fresh_loss(rng, (1e-3,)), loose=1e-6),
    "eq-cv-bn": Meaning(batch_norm),
}  # fmt: skip
