"""Hidden checks of homework 3, *Vanishing and stabilising*."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from instructor.grading.checks import (
    Item,
    NoAnswer,
    Student,
    Unanswered,
    about,
    check,
    close,
    number,
    question,
    read,
)
from labs.homework import Homework

CHAPTER_3, CHAPTER_4 = "03-vanishing-sigmoid", "04-stabilising-training"
PRODUCT = f"{CHAPTER_3}#sec-sig-slopes-weights"
TWO_GRADIENTS = f"{CHAPTER_3}#sec-sig-delta-weight-gradient"
NO_PROGRESS = f"{CHAPTER_3}#sec-sig-no-progress"
BOTTOM = f"{CHAPTER_3}#sec-sig-bottom"
CLIPPING = f"{CHAPTER_4}#sec-stab-clipping"
INF = f"{CHAPTER_4}#sec-stab-clipping-nan"
SKIPS = f"{CHAPTER_4}#sec-stab-skips-not-free"
FADE = 0.236  # what the text gives the students: std of the differences kept per layer


def layer_factor(sigma_w: float, power: int = 2) -> float:
    """The square root of chi_1 in a wide sigmoid net (section 3.2); ``power`` 1: with the mean of the slope itself."""
    u = np.linspace(-9, 9, 1001)
    density = np.exp(-(u**2) / 2) / np.exp(-(u**2) / 2).sum()
    q = 1.0
    for _ in range(100):
        q = sigma_w**2 * float((1 / (1 + np.exp(-math.sqrt(q) * u))) ** 2 @ density)
    h = 1 / (1 + np.exp(-math.sqrt(q) * u))
    return sigma_w * float((h * (1 - h)) ** power @ density) ** (1 / power)


@question("1a", points=1, title="The least weights for a given factor", section=PRODUCT)
def no_saturation(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    r, answer = own.own("factor", 0.6, 0.9, digits=3), student.value("no_saturation")
    wrong = {
        "large weights can do it: the factor of a layer is slope times weight, not the slope": number(answer)
        == math.inf,
        "this is the largest slope times r: which sigma_w makes sigma_w / 4 equal to r?": about(answer, r / 4),
        "the factor is slope times weight; with sigma_w = 1 it is at most 1/4": number(answer) <= 1,
    }
    yield check(1, about(answer, 4 * r), "least sigma_w", wrong, expected=4 * r, got=answer, public=True)


@question("1b", points=2, title="The factor of a wide sigmoid layer", section=PRODUCT)
def factor_function(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    scales = [1.0, *rng.uniform(0.5, 15, size=3).round(2).tolist()]
    got = [student.call("layer_factor", scale) for scale in scales]
    right = [layer_factor(scale) for scale in scales]
    wrong = {
        "this is the slope alone: the factor of a layer is slope times weight": about(
            got, [f / s for f, s in zip(right, scales, strict=True)]
        ),
        "this is chi_1, the factor of the mean square; the standard deviation has its square root": about(
            got, [f**2 for f in right]
        ),
        "at small sigma_w it fits: chi_1 has the mean of the squared slope, not the mean slope squared": about(
            got, [layer_factor(scale, power=1) for scale in scales]
        ),
    }
    yield check(2, about(got, right, rtol=0.005), "layer_factor", wrong, expected=right, got=got)


@question("1c", points=1, title="The weights for a given factor", section=PRODUCT)
def sigma_w_needed(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    r, answer = own.own("factor", 0.6, 0.9, digits=3), student.value("sigma_w_needed")
    size = number(answer)
    reached = layer_factor(size) if 0 < size < 100 else math.nan
    wrong = {
        "this is the bound without saturation: at large weights most slopes are below 1/4": about(answer, 4 * r),
        "with this sigma_w the layer's factor is too small": reached < r,
        "with this sigma_w the layer's factor is too large": reached > r,
    }
    yield check(1, bool(abs(reached / r - 1) < 0.0011), "factor r", wrong, expected=r, got=reached)


@question("2a", points=2, title="Ratios in a linear network", section=TWO_GRADIENTS)
def ratios(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    d, sigma_w = own.pick("depth", range(12, 31)), own.own("sigma_w", 0.5, 0.8)
    delta_ratio, weight_ratio = student.values("delta_ratio", "weight_ratio")
    right = sigma_w ** (d - 1)
    wrong = {
        "between delta^d and delta^1 lie d - 1 matrices, not d": about(delta_ratio, sigma_w**d),
        "this is top divided by bottom": about(delta_ratio, 1 / right),
        "this is the ratio of the mean squares": about(delta_ratio, right**2),
        "this is the ratio of the weight gradients: delta itself shrinks": about(delta_ratio, 1),
    }
    yield check(1, about(delta_ratio, right), "delta", wrong, expected=right, got=delta_ratio)
    wrong = {
        "a small delta is not a small weight gradient: it is delta times the forward signal, which shrinks the other way": (
            about(weight_ratio, right) or (about(weight_ratio, delta_ratio) and number(weight_ratio) < 0.9)
        ),
        "delta and the forward signal make up for each other": number(weight_ratio) < 0.9,
    }
    yield check(1, about(weight_ratio, 1), "weight gradient", wrong, expected=1, got=weight_ratio)


@question("2b", points=3, title="Gradients of a linear network", section=TWO_GRADIENTS)
def linear_gradients(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    n = [4, 2, 5, 3, 6]
    W = [rng.normal(size=(n_out, n_in)) for n_in, n_out in pairwise(n)]
    x, top = rng.normal(size=n[0]), rng.normal(size=n[-1])
    reply = student.call("linear_gradients", W, x, top)
    deltas, gradients = reply if isinstance(reply, list) and len(reply) == 2 else (None, None)
    h, delta = [x], [top]
    for W_t in W:
        h.append(W_t @ h[-1])
    for W_t in reversed(W[1:]):
        delta.insert(0, W_t.T @ delta[0])

    def same(got: Any, expected: list[np.ndarray]) -> bool:
        fits = isinstance(got, list) and len(got) == len(expected)
        return fits and all(close(np.squeeze(g), e, rtol=1e-4, atol=1e-5) for g, e in zip(got, expected, strict=True))

    wrong = {
        "return two lists, the deltas and the gradients by the weights": deltas is None,
        "layer 1 comes first": same(deltas, delta[::-1]),
        "delta^1 to delta^d are asked for, not delta^0": same(deltas, [W[0].T @ delta[0], *delta[:-1]])
        or same(deltas, [W[0].T @ delta[0], *delta]),
    }
    yield check(1, same(deltas, delta), "deltas", wrong, expected=delta, got=deltas)
    right = [np.outer(d, h_below) for d, h_below in zip(delta, h, strict=False)]
    wrong = {
        "this is the transpose: the gradient by W has W's own shape (n_out, n_in)": same(
            gradients, [g.T for g in right]
        ),
        "the forward signal is the one that goes into the layer, h^{t-1}, not its output h^t": same(
            gradients, [np.outer(d, above) for d, above in zip(delta, h[1:], strict=True)]
        ),
        "layer 1 comes first": same(gradients, right[::-1]),
        "the gradient by a weight is delta times the forward signal": same(deltas, delta),
    }
    yield check(2, same(gradients, right), "weight gradients", wrong, expected=right, got=gradients)


@question("3a", points=1, title="The accuracy of a deep sigmoid network", section=BOTTOM)
def deep_accuracy(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    counts = [own.pick(f"images of {k}", range(20, 61)) for k in range(10)]
    counts[own.pick("commonest digit", range(10))] = own.pick("its images", range(80, 171))
    answer, right = student.value("deep_accuracy"), max(counts) / sum(counts)
    wrong = {
        "an accuracy between 0 and 1, not in per cent": about(answer, 100 * right, rtol=0.2),
        "a deep sigmoid network under SGD is not as good as a shallow one: its top sees hardly any difference between"
        " images": number(answer) >= 0.5,
        "one in ten is chance for digits in equal shares; one answer for all images is best if it is the commonest digit": about(
            answer, 0.1, rtol=0, atol=0.025
        ),
    }
    yield check(1, about(answer, right, rtol=0, atol=0.0002), "accuracy", wrong, expected=right, got=answer)


@question("3b", points=1, title="How the images merge", section=BOTTOM)
def spread_7(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    start, answer = own.own("spread", 0.02, 0.09, digits=4), student.value("spread_7")
    right = start * FADE**6
    wrong = {
        "from layer 1 to layer 7 it is six layers, not seven": about(answer, start * FADE**7),
        "0.236 is the factor of the standard deviation already, not of the variance": about(answer, start * FADE**3),
    }
    yield check(1, about(answer, right), "spread at layer 7", wrong, expected=right, got=answer)


@question("3c", points=1, title="Where the images are one in float32", section=BOTTOM)
def merged_from(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    start, answer = own.own("spread", 0.02, 0.09, digits=4), student.value("merged_from")
    keep = round(1 - 1 / own.own("memory", 2, 30), 4)
    right = next(t for t in range(1, 999) if start * keep ** (t - 1) < 2**-24)
    wrong = {
        "one too many or too few: layer 1 has spread_1 itself": abs(number(answer) - right) == 1,
        "vanished is not 'below the smallest float32': the outputs lie near 1/2, and there float32 has a spacing": (
            number(answer) > right + 1
        ),
    }
    yield check(1, close(answer, right), "merged_from", wrong, expected=right, got=answer)


@question("4a", points=2, title="One rate for two layers", section=NO_PROGRESS)
def sgd_step(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    bottom, top = own.own("bottom gradient", 0.1, 1.0, digits=3) * 1e-7, own.own("top gradient", 1.0, 9.0) * 1e-3
    rate, move = (abs(a) if close(a, a) else a for a in student.values("rate_needed", "top_move"))
    wrong = {"the step is the rate times the gradient": about(rate, 0.01 * bottom) or about(rate, bottom / 0.01)}
    yield check(1, about(rate, 0.01 / bottom), "rate", wrong, expected=0.01 / bottom, got=rate)
    wrong = {
        "the same rate acts on the top weight's own, much larger gradient: no single rate suits both": about(
            move, 0.01
        ),
        "the rate you found, times the top gradient": not about(rate, 0.01 / bottom),
    }
    yield check(1, about(move, 0.01 / bottom * top), "top", wrong, expected=0.01 / bottom * top, got=move)


@question("4b", points=1, title="Adam's first step", section=NO_PROGRESS)
def adam_step(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    bottom, top = own.own("bottom gradient", 0.1, 1.0, digits=3) * 1e-7, own.own("top gradient", 1.0, 9.0) * 1e-3
    moves = [number(np.abs(a)) if close(a, a) else math.nan for a in student.values("adam_bottom", "adam_top")]
    right = [0.01 * g / (g + 1e-8) for g in (bottom, top)]
    wrong = {
        "these steps are proportional to the gradients, as SGD's are; Adam divides by the size of each weight's gradient": (
            moves[1] > 10 * moves[0]
        ),
        "for the bottom weight epsilon is not small beside the gradient": about(moves, [0.01, 0.01]),
    }
    yield check(1, about(moves, right, rtol=1e-4), "Adam's first step", wrong, expected=right, got=moves)


read("4c", points=2, name="explanation", title="SGD against Adam", section=NO_PROGRESS)


def own_gradient(own: Homework) -> np.ndarray:
    return np.array([own.own("g1", 20, 90), -own.own("g2", 2, 15), own.own("g3", 0.2, 0.9)])


def left_as(student: Student, own: Homework, *shapes: np.ndarray) -> bool:
    """Whether the notebook's own g of question 5 has become one of these: its function works in place."""
    try:
        g = student.value("g")
    except (NoAnswer, Unanswered):
        return False
    return any(close(g, shape) for shape in shapes)


@question("5a", points=1, title="Clipping by value", section=CLIPPING)
def clip_value(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    g = np.append(rng.normal(size=5), [7.0, -8.0])
    got = student.call("clip_value", g, 0.5)
    mine = np.clip(own_gradient(own), -1, 1)
    in_place = left_as(student, own, mine, mine / np.linalg.norm(mine))
    wrong = {
        "it changes g itself, which question 5d needs as it was: work on a copy": in_place,
        "entries below -tau are beyond the threshold too": about(got, np.minimum(g, 0.5)),
        "this clips by norm: by value, each entry is looked at alone": about(got, g * 0.5 / np.linalg.norm(g)),
        "an entry beyond the threshold becomes the threshold, with its sign": about(got, np.where(abs(g) > 0.5, 0.5, g))
        or about(got, np.where(abs(g) > 0.5, 0, g)),
    }
    right = np.clip(g, -0.5, 0.5)
    yield check(1, close(got, right) and not in_place, "clip by value", wrong, expected=right, got=got)


@question("5b", points=1, title="Clipping by norm", section=CLIPPING)
def clip_norm(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    g = 3 * rng.normal(size=6)
    norm = float(np.linalg.norm(g))
    got, below = student.call("clip_norm", g, 0.4 * norm), student.call("clip_norm", g, 1.5 * norm)
    mine = [v / np.linalg.norm(v) for v in (own_gradient(own), np.clip(own_gradient(own), -1, 1))]
    in_place = left_as(student, own, *mine)
    wrong = {
        "it changes g itself, which question 5d needs as it was: work on a copy": in_place,
        "a gradient below the threshold passes unchanged; scaling it up is normalising, not clipping": about(
            got, 0.4 * g
        )
        and about(below, 1.5 * g),
        "this clips each entry: by norm, one factor multiplies all of them": about(
            got, np.clip(g, -0.4 * norm, 0.4 * norm)
        ),
        "the factor is tau over the norm, with a square root in it": about(got, 0.4 * g / norm),
    }
    ok = close(got, 0.4 * g, rtol=1e-5) and close(below, g, rtol=1e-5)
    yield check(1, ok and not in_place, "clip by norm", wrong, expected=0.4 * g, got=got)


def beyond_one(rng: np.random.Generator) -> list[np.ndarray]:
    """Vectors whose cosine with a multiple of themselves rounds to above 1, three for each way to write it."""
    found: dict[int, list[np.ndarray]] = {0: [], 1: [], 2: [], 3: []}
    for v in rng.uniform(0, 1, (600, 3)):
        w, size = 3 * v, np.linalg.norm
        ways = v @ w / (size(v) * size(w)), v @ w / size(v) / size(w), (v / size(v)) @ (w / size(w))
        for way, cosine in enumerate((*ways, v @ w / np.sqrt((v @ v) * (w @ w)))):
            found[way] += [v] if cosine > 1 and len(found[way]) < 3 else []
    return [v for vectors in found.values() for v in vectors]


@question("5c", points=1, title="An angle", section=CLIPPING)
def angle(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    a, b = rng.normal(size=(2, 5))
    right = math.degrees(math.acos(a @ b / math.sqrt((a @ a) * (b @ b))))
    got = student.call("angle", a, b)
    lines = beyond_one(rng)
    parallel, opposite = ([student.call("angle", v, k * v) for v in lines] for k in (3, -3))
    wrong = {
        "radians; degrees are asked for": about(got, math.radians(right)),
        "this is the cosine": about(got, math.cos(math.radians(right))),
        "for parallel vectors it gives no number: rounding puts the cosine above 1": about(got, right)
        and not all(close(p, p) for p in parallel),
        "for opposite vectors it gives no number: rounding puts the cosine below -1": about(got, right)
        and not all(close(p, p) for p in opposite),
        "an angle beyond 90 degrees comes out as another": about(got, right) or about(got, 180 - right),
    }
    ok = close(got, right, rtol=1e-4) and all(about(p, 0, rtol=0, atol=0.1) for p in parallel)
    ok = ok and all(about(p, 180, rtol=0, atol=0.1) for p in opposite)
    yield check(1, ok, "angle", wrong, expected=right, got=got)


@question("5d", points=1, title="Which clipping turns the gradient", section=CLIPPING)
def turns(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    g = own_gradient(own)
    clipped = np.clip(g, -1, 1)
    right = math.degrees(math.acos(g @ clipped / math.sqrt((g @ g) * (clipped @ clipped))))
    by_value, by_norm = student.values("turn_value", "turn_norm")
    wrong = {
        "radians; degrees are asked for": about(by_value, math.radians(right)),
        "value clipping does not keep the direction: of an entry beyond the threshold only the sign is left": (
            abs(number(by_value)) < 1
        ),
        "norm clipping multiplies all entries by one number, which turns nothing": not about(
            by_norm, 0, rtol=0, atol=0.1
        ),
    }
    ok = about(by_value, right, rtol=0, atol=0.01) and about(by_norm, 0, rtol=0, atol=0.1)
    yield check(1, ok, "turns", wrong, expected=[right, 0], got=[by_value, by_norm])


def same_with_nan(got: Any, expected: list[float]) -> bool:
    """Equal number by number, NaN to NaN."""
    try:
        values = np.asarray(got, dtype=float).ravel()
    except (TypeError, ValueError):
        return False
    return values.shape == (len(expected),) and np.allclose(values, expected, rtol=1e-4, atol=1e-6, equal_nan=True)


@question("6a", points=2, title="An Inf through two clips", section=INF)
def clipped_inf(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    where = own.pick("place of the Inf", range(3))
    g = [own.own(f"entry {k}", 1.5, 9.0) * own.pick(f"sign {k}", [-1, 1]) for k in range(3)]
    g[where] = math.inf
    tau = own.own("threshold", 0.2, 1.4, digits=3)
    by_norm, by_value = student.values("after_norm", "after_value")
    right = [math.nan if k == where else 0.0 for k in range(3)]
    wrong = {
        "clipping by norm does not cure an Inf: the factor 1/Inf is 0, and Inf times 0 is NaN": same_with_nan(
            by_norm, [tau * float(k == where) for k in range(3)]
        )
        or same_with_nan(by_norm, [0.0] * 3)
        or same_with_nan(by_norm, [math.inf if k == where else 0.0 for k in range(3)]),
        "the other entries are multiplied by 1/Inf, which is 0": same_with_nan(by_norm, [math.nan] * 3)
        or same_with_nan(by_norm, [math.nan if k == where else v for k, v in enumerate(g)]),
        "there is no threshold for single entries when the norm is clipped": same_with_nan(
            by_norm, [tau * float(np.sign(v)) for v in g]
        ),
    }
    yield check(1, same_with_nan(by_norm, right), "by norm", wrong, expected=right, got=by_norm)
    signs = [tau * float(np.sign(v)) for v in g]
    wrong = {
        "value clipping looks at each entry alone: an Inf is beyond the threshold and becomes the threshold": not (
            same_with_nan(by_value, [abs(s) for s in signs])
        ),
        "entries keep their signs": same_with_nan(by_value, [abs(s) for s in signs]),
    }
    yield check(1, same_with_nan(by_value, signs), "by value", wrong, expected=signs, got=by_value)


@question("6b", points=2, title="A clip that notices", section=INF)
def checked_clip(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    def ask(g: np.ndarray, tau: float = 1.0) -> tuple[Any, Any]:
        reply = student.call("checked_clip", g, tau)
        return (reply[0], reply[1]) if isinstance(reply, list) and len(reply) == 2 else (reply, None)

    bad = rng.normal(size=(3, 4))
    bad[0, 1], bad[1, 2], bad[2, 3] = math.nan, math.inf, -math.inf
    replies = [ask(row) for row in bad]
    wrong = {
        "return a pair: the array, and whether it may be used": replies[0][1] is None,
        "an Inf or NaN was replaced or let through: that hides the accident, and the step goes where nobody computed": any(
            usable in (True, 1) for _, usable in replies
        ),
        "zeros where the step is to be skipped": all(usable in (False, 0) for _, usable in replies),
    }
    ok = all(usable in (False, 0) and close(clipped, np.zeros(4)) for clipped, usable in replies)
    yield check(1, ok, "Inf and NaN are refused", wrong, expected="zeros, False", got=replies)

    half = np.array([5e4, -6e4, 3e4], dtype=np.float16)
    huge, rough = np.array([3e60, -4e60]), ask(np.array([3e60, -4e60]), 2.5)
    large, small, zero = ask(half), ask(np.array([0.1, -0.2, 0.3], dtype=np.float32)), ask(np.zeros(3))
    wide = half.astype(float)
    wrong = {
        "a float16 gradient with a norm beyond 65504 is finite: take the norm in a wider format": not close(
            large[0], wide / np.linalg.norm(wide), rtol=2e-3
        )
        or large[1] not in (True, 1),
        "a gradient of 0 stays 0, and may be used": not close(zero[0], np.zeros(3)) or zero[1] not in (True, 1),
        "a float64 gradient with entries of 1e60 is finite: float32 is not wide enough": rough[1] not in (True, 1),
        "the threshold is tau, not 1": close(rough[0], huge / 5e60, rtol=1e-3),
        "a norm below tau: nothing changes": not close(small[0], [0.1, -0.2, 0.3], rtol=1e-3),
    }
    ok = (
        close(large[0], wide / np.linalg.norm(wide), rtol=2e-3)
        and close(small[0], [0.1, -0.2, 0.3], rtol=1e-3)
        and close(zero[0], np.zeros(3))
        and close(rough[0], 2.5 * huge / 5e60, rtol=1e-3)
        and all(usable in (True, 1) for _, usable in (large, small, zero, rough))
    )
    yield check(1, ok, "finite gradients are clipped", wrong, expected=wide / np.linalg.norm(wide), got=large)


@question("7a", points=2, title="The growth of residual blocks", section=SKIPS)
def growth(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    ngamma = own.own("n gamma", 2.1, 3.2, digits=3)
    one, two = student.values("growth_one", "growth_two")
    free = "skips are not free: the mean square of the branch is added to the 1 of the skip"
    quoted = "2 and 3 are for He's n gamma = 2; yours is another"
    wrong = {
        free: about(one, 1, rtol=0.005),
        quoted: about(one, 2, rtol=1e-3),
        "this is the branch alone; the skip adds the block's input": about(one, ngamma / 2),
        "a ReLU keeps one half of the mean square": about(one, 1 + ngamma),
        "this is the factor of the root mean square": about(one, math.sqrt(1 + ngamma / 2)),
    }
    yield check(1, about(one, 1 + ngamma / 2), "h + W relu(h)", wrong, expected=1 + ngamma / 2, got=one)
    right = 1 + ngamma**2 / 2
    wrong = {
        free: about(two, 1, rtol=0.005),
        quoted: about(two, 3, rtol=1e-3),
        "the factor depends on how the block is written: here two matrices multiply the branch": about(
            two, 1 + ngamma / 2
        ),
        "this is the branch alone; the skip adds the block's input": about(two, right - 1),
        "there is one ReLU in the branch: one half, not a quarter": about(two, 1 + ngamma**2 / 4),
    }
    yield check(1, about(two, right), "h + W2 relu(W1 h)", wrong, expected=right, got=two)


@question("7b", points=2, title="The block of overflow", section=SKIPS)
def overflow(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    asked = [(1 + float(f), float(r)) for f, r in zip(rng.uniform(0.05, 4, 6), rng.uniform(0.1, 50, 6), strict=True)]

    def blocks(growth: float, rms: float, power: float = 0.5) -> float:
        return math.log(65504 / rms) / (power * math.log(growth))

    # Away from a tie, where rounding would decide.
    asked = [(g, r) for g, r in asked if 0.01 < blocks(g, r) % 1 < 0.99]
    got = [number(student.call("overflow_block", *pair)) for pair in asked]
    right = [math.floor(blocks(*pair)) + 1 for pair in asked]
    wrong = {
        "the mean square grows by this factor, the root mean square by its square root": close(
            got, [math.floor(blocks(g, r, power=1)) + 1 for g, r in asked]
        ),
        "one too few or too many: after t blocks the root mean square is rms_0 * growth**(t/2)": close(
            [abs(a - b) for a, b in zip(got, right, strict=True)], [1] * len(right)
        ),
        "the start counts too: rms_0 need not be 1": close(got, [math.floor(blocks(g, 1.0)) + 1 for g, _ in asked]),
    }
    yield check(2, close(got, right), "the first block above 65504", wrong, expected=right, got=got)


@question("7c", points=1, title="Scaled branches", section=SKIPS)
def scaled_growth(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    ngamma, answer = own.own("n gamma", 2.1, 3.2, digits=3), student.value("scaled_growth")
    right = (1 + ngamma / 2000) ** 1000
    wrong = {
        "this is one block of the thousand": about(answer, 1 + ngamma / 2000, rtol=1e-4),
        "each block adds a little, and a thousand of them add up": about(answer, 1, rtol=0.05),
        "the branch is multiplied by 1/sqrt(1000), its mean square by 1/1000": number(answer) > 100,
        "this is the factor of the root mean square": about(answer, math.sqrt(right)),
    }
    yield check(1, about(answer, right, rtol=0.0015), "1000 scaled blocks", wrong, expected=right, got=answer)
