"""Small networks and their derivatives, by complex steps: exact to rounding."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bookext.check.case import Array, Case, Down, Generator, Up, Values
from bookext.check.tokens import MathError


def step(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The derivative of an elementwise function, by a complex step: exact to rounding."""
    return lambda x: np.imag(f(x + 1e-30j)) / 1e-30


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def relu(x: Any) -> Any:
    return x * (np.real(x) > 0)


def network(rng: Generator, sizes: Sequence[int], sigma: Callable[[Any], Any], t: int = 2) -> Case:
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
        full = jacobian(lambda moved: run({names[1]: moved}, scale)[names[0]], plain[names[1]])
        if not above[2] and not below[2]:
            return full
        of, by = plain[names[0]].shape, plain[names[1]].shape
        return float(full[_place(above[2], of), _place(below[2], by)])

    delta = Up(partial((r"\ell", None, ()), ("h", s, ())).T for s in range(d + 1))
    symbols = {
        "t": t, "d": d, "W": Up(W), "h": h, "z": z, r"\delta": delta,
        r"\sigma": sigma, r"\sigma'": step(sigma), "n": Down(sizes),
        "w": Up([None, *([list(row) for row in M] for M in W[1:])]),
    }  # fmt: skip
    return Case(symbols, {"i": range(1, sizes[t] + 1), "j": range(1, sizes[t - 1] + 1)}, partial=partial)


def _place(indices: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    """Where an entry of a column or a matrix, by default the first, stands in its flattened derivative."""
    return np.ravel_multi_index([k - 1 for k in indices] + [0] * (2 - len(indices)), shape)


def networks(
    sigma: Callable[[Any], Any] = np.tanh, t: int = 2, symbols: Values | None = None
) -> Callable[[Generator], list[Case]]:
    """A network of unequal widths, where shapes tell, and one of equal widths, where values must."""
    widths = (3, 4, 5, 2, 3), (3, 3, 3, 3, 3)
    return lambda rng: [network(rng, sizes, sigma, t).put(symbols or {}) for sizes in widths]


def scaled_relu(rng: Generator) -> list[Case]:
    """A ReLU network with all weights c times as large."""
    c = rng.uniform(0.5, 2)
    sizes, seed = (3, 4, 3, 4, 3), int(rng.integers(1000))
    found = []
    for t in (2, 3):
        plain = network(np.random.default_rng(seed), sizes, relu, t)
        small, h = plain.symbols["W"], plain.symbols["h"]
        W = [None, *(c * M for M in small[1:])]
        slopes = {r"\plain": _slope_by_layer(small, h[0], t), r"\scaled": _slope_by_layer(W, h[0], t)}
        outputs = {r"\plainh": h[t], r"\scaledh": with_weights(W, h[0])[t]}
        found.append(Case({"c": c, "t": t, "d": len(sizes) - 1, **slopes, **outputs}))
    return found


def _slope_by_layer(W: Sequence[Any], x: Array, t: int) -> Array:
    """The derivative of a ReLU network's output by the weights of layer t."""
    return jacobian(lambda M: with_weights([*W[:t], M, *W[t + 1 :]], x)[-1], W[t])


def with_weights(W: Sequence[Any], x: Array) -> list[Array]:
    h = [x]
    for M in W[1:]:
        h.append(relu(M @ h[-1]))
    return h


def jacobian(f: Callable[[Array], Array], at: Array) -> Array:
    """Derivative of all outputs by all inputs, flattened, by a complex step."""
    columns = []
    for index in np.ndindex(at.shape):
        moved = at.astype(complex)
        moved[index] += 1e-30j
        columns.append(np.imag(f(moved)).ravel() / 1e-30)
    return np.stack(columns, axis=1)
