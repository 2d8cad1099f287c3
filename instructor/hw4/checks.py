"""Hidden checks of homework 4, *Initialisation and activations*."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from instructor.grading.checks import (
    Item,
    NoAnswer,
    Student,
    about,
    check,
    close,
    letters,
    number,
    question,
    read,
    truth,
)
from labs.homework import Homework

CHAPTER_5, CHAPTER_6, CHAPTER_7 = "05-constant-variance", "06-xavier", "07-activations-taylor"
INPUT_MEAN = f"{CHAPTER_6}#sec-xavier-input-mean"
DEPENDENT = f"{CHAPTER_6}#sec-xavier-dependent-inputs"
EQUAL = f"{CHAPTER_6}#sec-xavier-equal-weights"
BACKWARD = f"{CHAPTER_6}#sec-xavier-backward"
COMPROMISE = f"{CHAPTER_6}#sec-xavier-compromise"
IN_PYTORCH = f"{CHAPTER_6}#sec-xavier-pytorch"
LINEAR = f"{CHAPTER_7}#sec-act-linear-forward"
LINEAR_BACKWARD = f"{CHAPTER_7}#sec-act-linear-backward"
FRESH_LOSS = f"{CHAPTER_5}#cv-fresh-loss"
BATCH_NORM = f"{CHAPTER_5}#cv-batch-norm"


def chosen(answer: Any) -> dict[str, bool | None]:
    """Which of A to E are chosen: by a dict, by five truths in order, or by the letters themselves; {} for what is neither."""
    if isinstance(answer, dict):
        named = {str(key).strip().upper(): value for key, value in answer.items()}
        return {key: truth(named.get(key, False)) for key in "ABCDE"} if set(named) & set("ABCDE") else {}
    if isinstance(answer, list | np.ndarray) and len(answer) == 5 and all(truth(value) is not None for value in answer):
        return dict(zip("ABCDE", map(truth, answer), strict=True))
    picked = letters(answer)
    return {key: key in picked for key in "ABCDE"} if picked and set(picked) <= set("ABCDE") else {}


@question("1a", points=2, title="The variance when the mean is not 0", section=INPUT_MEAN)
def var_h(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    points = [dict(zip(("n", "gamma", "m", "v"), map(float, row), strict=True)) for row in rng.uniform(0.5, 3, (6, 4))]
    n, gamma, m, v = np.array([list(point.values()) for point in points]).T
    got, right = student.symbolic("var_h", points), n * gamma * (v + m**2)
    wrong = {
        "the layer passes on E[x²], the variance and the squared mean; it is Var[x] only where the mean is 0": close(
            got, n * gamma * v
        ),
        "that is the variance of a sum whose weights are not random: E[w] = 0, so only E[w²] E[x²] is left": close(
            got, n * gamma * v + m**2
        )
        or close(got, n * (gamma + m**2) * v),
        "the square of the mean is subtracted for E[h], which is 0 here": close(got, n * gamma * (v - m**2)),
        "the cross terms vanish whatever the mean, so that m² comes n times, not n² times": close(
            got, n * gamma * v + n**2 * gamma * m**2
        ),
        "gamma is the variance of the weights already": close(got, n * gamma**2 * (v + m**2)),
        "the mean enters with its square": close(got, n * gamma * (v + m)),
    }
    yield check(2, close(got, right), "var_h", wrong, expected=right, got=got)


@question("1b", points=1, title="The variance after a ReLU", section=INPUT_MEAN)
def var_next(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    s, n_gamma, answer = own.own("s", 1.2, 2.4), own.own("n gamma", 1.2, 1.9), student.value("var_next")
    right = n_gamma * s**2 / 2
    wrong = {
        "this is n gamma Var[h]: the mean of a ReLU's output is not 0, and the next layer sees its square too": about(
            answer, n_gamma * s**2 * (0.5 - 0.5 / math.pi)
        ),
        "a ReLU passes on half of the mean square": about(answer, n_gamma * s**2),
        "s is the standard deviation, s² the variance": about(answer, n_gamma * s / 2),
    }
    yield check(1, about(answer, right), "var_next", wrong, expected=right, got=answer)


@question("2a", points=3, title="Which assumption is not used", section=DEPENDENT)
def needed(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    answer = student.value("needed")
    got = chosen(answer)
    if None in got.values() or not got:
        raise NoAnswer(f"`needed` is no dict of A to E with True or False, but {str(answer)[:100]}", person=True)
    wrong = {
        "D: zero-mean, independent weights remove each cross term, whatever the inputs do to each other": got["D"]
        is True,
        "something must remove the cross terms": not any(got.values()),
    }
    ok = got["D"] is False and any(got.values())
    yield check(1, ok, "independent inputs", wrong, expected=False, got=answer)
    wrong |= {
        "E: the result has E[x²], in which the mean of the inputs is allowed for": got["E"] is True,
        "A: with a mean in the weights, the cross terms stay": got["A"] is False,
        "B: with equal weights and equal inputs, the cross terms stay": got["B"] is False,
        "C: the mean of a product is the product of the means only for independent factors": got["C"] is False,
    }
    right = {"A": True, "B": True, "C": True, "D": False, "E": False}
    yield check(2, got == right, "all five", wrong, expected=right, got=answer)


@question("2b", points=1, title="All inputs equal", section=DEPENDENT)
def factor_equal_inputs(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    n, n_gamma = own.pick("inputs", range(20, 300)), own.own("n gamma, question 2", 1.2, 1.9, digits=3)
    answer = student.value("factor_equal_inputs")
    wrong = {
        "equal inputs do not matter: the weights are independent and have mean 0, so the cross terms vanish": about(
            answer, n * n_gamma
        ),
        "the n terms of the sum each give gamma": about(answer, n_gamma / n),
    }
    yield check(1, about(answer, n_gamma), "equal inputs", wrong, expected=n_gamma, got=answer)


@question("2c", points=1, title="All inputs equal, and all weights", section=EQUAL)
def factor_all_equal(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    n, n_gamma = own.pick("inputs", range(20, 300)), own.own("n gamma, question 2", 1.2, 1.9, digits=3)
    answer = student.value("factor_all_equal")
    wrong = {
        "here no cross term vanishes: h is n times w x": about(answer, n_gamma),
        "n²γ is n times nγ": about(answer, n**2 * n_gamma) or about(answer, n_gamma**2),
    }
    yield check(1, about(answer, n * n_gamma), "everything equal", wrong, expected=n * n_gamma, got=answer)


@question("3a", points=3, title="Xavier for your own widths", section=IN_PYTORCH)
def xavier_numbers(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    n_in, n_out = own.pick("n_in", range(200, 1001)), own.pick("n_out", range(20, 181))
    gamma, std, bound = student.values("xavier_gamma", "xavier_std", "xavier_bound")
    right = 2 / (n_in + n_out)
    wrong = {
        "this is one of the two conditions alone; Xavier asks for both on average": about(gamma, 1 / n_in)
        or about(gamma, 1 / n_out),
        "this is the standard deviation; gamma is the variance, its square": about(gamma, math.sqrt(right)),
        "the average of the widths, not their sum: a 2 is missing": about(gamma, right / 2),
    }
    yield check(1, about(gamma, right), "gamma", wrong, expected=right, got=gamma)
    wrong = {"gamma is the variance; the standard deviation is its root": about(std, right)}
    yield check(1, about(std, math.sqrt(right)), "std", wrong, expected=math.sqrt(right), got=std)
    wrong = {
        "the bound is not the standard deviation: U[-a, a] has the variance a²/3": about(bound, math.sqrt(right)),
        "this is a²; the bound is a": about(bound, 3 * right),
        "the width of the interval is 2a; a is asked for": about(bound, 2 * math.sqrt(3 * right)),
    }
    yield check(1, about(bound, math.sqrt(3 * right)), "bound", wrong, expected=math.sqrt(3 * right), got=bound)


@question("3b", points=2, title="Xavier, normal and uniform", section=IN_PYTORCH)
def xavier_functions(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    n_out, n_in = (int(n) for n in rng.integers(5, 30, size=2))
    gamma = 2 / (n_in + n_out)
    z, u = rng.normal(size=(n_out, n_in)), rng.uniform(size=(n_out, n_in))
    normal, uniform = student.calls(("xavier_normal", z), ("xavier_uniform", u))
    own_gamma = 2 / (own.pick("n_in", range(200, 1001)) + own.pick("n_out", range(20, 181)))
    right, bound = math.sqrt(gamma) * z, math.sqrt(3 * gamma)
    wrong = {
        "gamma is the variance, and it was made the standard deviation": close(normal, gamma * z, rtol=1e-4),
        "the widths are those of the array, not those of question 3a": close(
            normal, math.sqrt(own_gamma) * z, rtol=1e-4
        ),
        "the two widths are the two lengths of z's shape": np.shape(normal) == z.shape,
    }
    yield check(1, close(normal, right, rtol=1e-4, atol=1e-6), "normal", wrong, expected=right, got=normal)
    centred = 2 * u - 1
    wrong = {
        "the weights lie between 0 and a, so that their mean is not 0": close(uniform, bound * u, rtol=1e-4),
        "the bound of U[-a, a] is not the standard deviation: the variance is a²/3": close(
            uniform, math.sqrt(gamma) * centred, rtol=1e-4
        ),
        "the interval is [-a, a], twice as wide": close(uniform, bound * centred / 2, rtol=1e-4),
        "the widths are those of the array, not those of question 3a": close(
            uniform, math.sqrt(3 * own_gamma) * centred, rtol=1e-4
        ),
    }
    ok = close(uniform, bound * centred, rtol=1e-4, atol=1e-6) or close(uniform, -bound * centred, rtol=1e-4, atol=1e-6)
    yield check(1, ok, "uniform", wrong, expected=bound * centred, got=uniform)


@question("4a", points=2, title="A bottleneck, forward", section=COMPROMISE)
def forward(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    wide, narrow = own.pick("wide", range(200, 601)), own.pick("narrow", range(10, 81))
    layer_1, both = student.values("forward_layer_1", "forward_both")
    right = 2 * wide / (wide + narrow), 4 * wide * narrow / (wide + narrow) ** 2
    wrong = {
        "Xavier does not satisfy the forward condition when the widths differ": about(layer_1, 1),
        "forward the sum runs over the layer's inputs": about(layer_1, 2 * narrow / (wide + narrow)),
        "this is the factor of the standard deviation": about(layer_1, math.sqrt(right[0])),
    }
    yield check(1, about(layer_1, right[0]), "forward, layer 1", wrong, expected=right[0], got=layer_1)
    wrong = {
        "one layer's gain is not the next one's loss: Xavier satisfies neither condition when the widths differ": about(
            both, 1
        ),
        "this is the factor of the standard deviation": about(both, math.sqrt(right[1])),
        "the two factors are multiplied, not added": about(both, 2),
    }
    yield check(1, about(both, right[1]), "forward, both", wrong, expected=right[1], got=both)


@question("4b", points=2, title="A bottleneck, backward", section=BACKWARD)
def backward_factors(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    wide, narrow = own.pick("wide", range(200, 601)), own.pick("narrow", range(10, 81))
    layer_1, both = student.values("backward_layer_1", "backward_both")
    right = 2 * narrow / (wide + narrow), 4 * wide * narrow / (wide + narrow) ** 2
    wrong = {
        "Xavier does not satisfy the backward condition when the widths differ": about(layer_1, 1),
        "backward the sum runs over the layer's outputs, not its inputs": about(layer_1, 2 * wide / (wide + narrow)),
        "this is the factor of the standard deviation": about(layer_1, math.sqrt(right[0])),
    }
    yield check(1, about(layer_1, right[0]), "backward, layer 1", wrong, expected=right[0], got=layer_1)
    wrong = {
        "one layer's gain is not the next one's loss: Xavier satisfies neither condition when the widths differ": about(
            both, 1
        ),
        "backward the two factors only change places: the product is the forward one": about(both, 1 / right[1]),
    }
    yield check(1, about(both, right[1]), "backward, both", wrong, expected=right[1], got=both)


@question("5a", points=1, title="The gain of a linear activation", section=LINEAR)
def gain(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    alpha, answer = -own.own("alpha", 1.2, 3.0), student.value("gain")
    right = 1 / abs(alpha)
    wrong = {
        "alpha need not be 1: the weights make up for it": about(answer, 1),
        "the sign of alpha does not change a variance; a factor of a standard deviation is positive": about(
            answer, -right
        ),
        "the weights must undo what the slope does": about(answer, abs(alpha)),
        "this is the factor for the variance of the weights; the gain multiplies their standard deviation": about(
            answer, right**2
        ),
    }
    yield check(1, about(answer, right), "gain", wrong, expected=right, got=answer)


@question("5b", points=1, title="The mean square with β", section=LINEAR)
def mean_square(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    beta, depth = own.own("beta", 1.3, 2.0, digits=3), own.pick("depth", range(5, 31))
    answer, right = student.value("mean_square"), 1 + depth * beta**2
    wrong = {
        "forward, β does matter: every layer adds its square": about(answer, 1),
        "each of the layers adds β², not the first one alone": about(answer, 1 + beta**2),
        "the layers add β², and do not multiply by it": about(answer, beta ** (2 * depth))
        or about(answer, (1 + beta**2) ** depth),
        "the inputs' mean square, 1, is there from the start": about(answer, depth * beta**2),
        "what adds up is the square of β": about(answer, 1 + depth * beta),
    }
    yield check(1, about(answer, right), "mean_square", wrong, expected=right, got=answer)


@question("5c", points=2, title="Backward through a linear activation", section=LINEAR_BACKWARD)
def backward(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    W, delta = rng.normal(size=(4, 4)), rng.normal(size=4)
    alpha, beta = -1.7, 2.5
    got, right = student.call("backward", W, delta, alpha, beta), alpha * (W.T @ delta)
    wrong = {
        "β is a constant: its derivative is 0, and it does not enter": close(got, right + beta, rtol=1e-4)
        or close(got, W.T @ (alpha * delta + beta), rtol=1e-4),
        "a column of gradients goes through Wᵀ": close(got, alpha * (W @ delta), rtol=1e-4),
        "the slope alpha multiplies the gradient": close(got, W.T @ delta, rtol=1e-4),
        "the slope is alpha, whatever its sign": close(got, abs(alpha) * (W.T @ delta), rtol=1e-4),
    }
    yield check(1, close(np.squeeze(got), right, rtol=1e-4, atol=1e-6), "square", wrong, expected=right, got=got)
    W, delta = rng.normal(size=(5, 2)), rng.normal(size=5)
    got, right = student.call("backward", W, delta, alpha, 0.0), alpha * (W.T @ delta)
    wrong = {"W is n_out x n_in, the column that comes out has n_in entries": np.size(got) != 2}
    yield check(1, close(np.squeeze(got), right, rtol=1e-4, atol=1e-6), "5 x 2", wrong, expected=right, got=got)


@question("5d", points=1, title="What β changes", section=LINEAR_BACKWARD)
def beta_changes(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    delta, weights = map(truth, student.values("beta_changes_delta", "beta_changes_weight_gradient"))
    wrong = {
        "β does not change delta: the derivative of a constant is 0": delta is True,
        "a weight's gradient is delta times the forward signal, and that has β in it": weights is False,
    }
    yield check(1, delta is False and weights is True, "β", wrong, expected=[False, True], got=[delta, weights])


@question("6a", points=1, title="The loss for small logits", section=FRESH_LOSS)
def loss_small(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    K, v = own.pick("classes", range(3, 8)), own.own("small variance", 0.2, 0.3, digits=3)
    answer, right = student.value("loss_small"), math.log(K) + v / 2 * (1 - 1 / K)
    wrong = {
        "ln K is for logits of 0: random logits of variance v cost about half of v more": about(
            answer, math.log(K), rtol=0, atol=0.01
        ),
        "this is the bound: with few classes the label's own logit is a visible part of the sum, a 1/K of it": about(
            answer, math.log(K) + v / 2, rtol=0, atol=0.002
        ),
        "half of the variance, not all of it": about(answer, math.log(K) + v, rtol=0, atol=0.01),
        "in nats: the natural logarithm": about(answer, right / math.log(2), rtol=0.02)
        or about(answer, math.log10(K), rtol=0.1),
        "random logits cost more than equal ones, not less": number(answer) < math.log(K),
    }
    ok = about(answer, right, rtol=0, atol=0.0005)
    yield check(1, ok, "loss_small", wrong, expected=right, got=answer)


@question("6b", points=1, title="The most a fresh loss can be", section=FRESH_LOSS)
def loss_at_most(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    K, v = own.pick("classes", range(3, 8)), own.own("large variance", 1.2, 6.0)
    answer, right = student.value("loss_at_most"), math.log(K) + v / 2
    wrong = {
        "ln K is the least: random logits can only cost more": about(answer, math.log(K)),
        "this holds for small v only; the bound is asked for": about(answer, math.log(K) + v / 2 * (1 - 1 / K)),
        "half of the variance": about(answer, math.log(K) + v),
        "v is the variance already": about(answer, math.log(K) + v**2 / 2),
    }
    yield check(1, about(answer, right, rtol=1e-4), "loss_at_most", wrong, expected=right, got=answer)


@question("6c", points=2, title="Cross-entropy of logits", section=FRESH_LOSS)
def fresh_loss(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    logits, labels = rng.normal(size=(6, 5)), rng.integers(5, size=6)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    right = -float(log_p[np.arange(6), labels].mean())
    got = student.call("fresh_loss", logits, labels)
    wrong = {
        "the mean over the batch, not the sum": close(got, 6 * right, rtol=1e-4),
        "in nats: the natural logarithm": close(got, right / math.log(2), rtol=1e-4),
        "a softmax of a softmax: the logits go in as they are": close(
            got, -np.mean([p - math.log(np.exp(row).sum()) for row, p in _twice(log_p, labels)]), rtol=1e-4
        ),
        "the sign: a loss is minus the logarithm of the label's probability": close(got, -right, rtol=1e-4),
    }
    yield check(1, close(got, right, rtol=1e-4), "cross-entropy", wrong, expected=right, got=got)
    logits = np.array([[1000.0, 0, -1000], [0, 0, 0], [-900, -900, -1000]])
    got = [
        student.call("fresh_loss", logits, np.array([0, 2, 1])),
        student.call("fresh_loss", np.array([[0, 1000.0, 0], [-300, 400, 399]]), np.array([2, 0])),
    ]
    costs = [(math.log(3) + math.log(2)) / 3, (1000 + 700 + math.log1p(math.exp(-1))) / 2]
    within = [close(g, cost, rtol=1e-4) for g, cost in zip(got, costs, strict=True)]
    wrong = {
        "for large logits the exponential overflows: subtract each row's largest logit first": not np.isfinite(
            number(got[0])
        ),
        "for logits of -900 every exponential underflows to 0: subtract each row's own largest logit": not within[0],
        "a label far below the largest logit: its probability is 0 in float64, so take its logarithm as z - ln sum exp z,"
        " without the probability": True,
    }
    yield check(1, all(within), "large logits", wrong, expected=costs, got=got)


def _twice(log_p: np.ndarray, labels: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """The probabilities of each row, and that of its label."""
    return [(row, float(row[label])) for row, label in zip(np.exp(log_p), labels, strict=True)]


@question("7a", points=2, title="What batch normalisation fixes", section=BATCH_NORM)
def batch_norm(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    for shape in ((6, 6), (9, 4)):
        z = rng.normal(size=shape) * rng.uniform(1, 5, size=shape[1]) + rng.normal(size=shape[1])
        right = (z - z.mean(axis=0)) / z.std(axis=0)
        got = student.call("batch_norm", z)
        rows = (z - z.mean(axis=1, keepdims=True)) / z.std(axis=1, keepdims=True)
        wrong = {
            "this is the variance over the units of each input; batch normalisation fixes the one over the inputs": close(
                got, rows, rtol=1e-3, atol=1e-5
            ),
            "each unit has a mean and a variance of its own": close(
                got, (z - z.mean()) / z.std(), rtol=1e-3, atol=1e-5
            ),
            "divide by the standard deviation, not by the variance": close(
                got, (z - z.mean(axis=0)) / z.var(axis=0), rtol=1e-3, atol=1e-5
            ),
            "the variance divides by the number of entries": close(
                got, (z - z.mean(axis=0)) / z.std(axis=0, ddof=1), rtol=1e-3, atol=1e-5
            ),
            "the mean is subtracted as well": close(got, z / z.std(axis=0), rtol=1e-3, atol=1e-5),
        }
        ok = close(got, right, rtol=1e-3, atol=1e-5)
        yield check(1, ok, f"{shape[0]} inputs, {shape[1]} units", wrong, expected=right, got=got)


read("7b", points=2, name="explanation", title="Batch normalisation and initialisation", section=BATCH_NORM)
