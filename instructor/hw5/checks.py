"""Hidden checks of homework 5, *From the lecture to a transformer*."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from instructor.grading.checks import Item, NoAnswer, Student, about, check, close, number, question, read
from labs.homework import Homework

CHAPTER = "10-transformer"
STREAM = f"{CHAPTER}#sec-tf-stream"
DIRECTIONS = f"{CHAPTER}#ex-tf-layernorm"
BRANCH = f"{CHAPTER}#sec-tf-branch"
ATTENTION = f"{CHAPTER}#sec-tf-attention"
LOGITS = f"{CHAPTER}#sec-tf-logits"
FIRST_LOSS = f"{CHAPTER}#sec-tf-first-loss"
WIDTH = f"{CHAPTER}#sec-tf-width"
ADAM = f"{CHAPTER}#sec-tf-adam"
FORMATS = f"{CHAPTER}#sec-tf-formats"


def stream_of(own: Homework) -> tuple[int, float, float, float]:
    """Question 1's layers, M_0, C_1 and C_2."""
    layers = 4 * own.pick("quarters", range(2, 6))
    return (
        layers,
        own.own("start of the stream", 2.5, 6.0),
        own.own("C of attention", 0.3, 1.0),
        own.own("C of the feed-forward part", 0.5, 1.5),
    )


@question("1a", points=2, title="The stream's growth", section=STREAM)
def growth(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    layers, start, one, two = stream_of(own)
    top, factor = student.values("stream_top", "delta_growth")
    right = start + layers * (one + two)
    wrong = {
        "without the normalisation the blocks would multiply; with it each adds its C": about(
            top, start * ((1 + one) * (1 + two)) ** layers
        ),
        "each layer adds twice, once for each branch": about(top, start + layers * one)
        or about(top, start + layers * two)
        or about(top, start + layers * (one + two) / 2),
        "the stream does not begin at 0": about(top, right - start),
        "the stream begins with your M_0, not with 1": about(top, right - start + 1),
        "this is post-norm, which is level": about(top, 1) or about(top, start),
    }
    yield check(1, about(top, right), "stream_top", wrong, expected=right, got=top)
    wrong = {
        "the factors of the blocks multiply to M_d / M_0: divide by M_0": about(factor, right)
        or about(factor, right - start)
        or about(factor, right - start + 1),
        "delta grows on its way down, as the stream does on its way up": 0 < number(factor) < 1,
        "pre-norm is not level backward: that is post-norm": about(factor, 1),
        "this is the factor of the root mean square": about(factor, math.sqrt(right / start)),
        "each block's own factor is 1 + C / M, and M grows": about(factor, ((1 + one) * (1 + two)) ** layers)
        or about(factor, ((1 + one / start) * (1 + two / start)) ** layers),
    }
    yield check(1, about(factor, right / start), "delta_growth", wrong, expected=right / start, got=factor)


@question("1b", points=1, title="Where delta grows", section=STREAM)
def low_quarter(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    layers, start, one, two = stream_of(own)
    answer, added = student.value("low_quarter"), layers * (one + two)
    right, all_four = 1 + added / 4 / start, 1 + added / start
    wrong = {
        "the layers do not have the same factor: 1 + C / M falls as the stream grows": about(answer, all_four**0.25),
        "this is the upper quarter: delta comes to the lowest one last, where M is smallest": about(
            answer, all_four / (1 + 3 * added / 4 / start)
        ),
        "a quarter of the layers does not give a quarter of the factor": about(answer, all_four / 4),
        "this is the stream itself above that quarter: divide by M_0": about(answer, right * start),
        "M_0 is not 1": about(answer, 1 + added / 4),
    }
    yield check(1, about(answer, right), "low_quarter", wrong, expected=right, got=answer)


@question("1c", points=2, title="Backward through the normalisation", section=DIRECTIONS)
def norm_backward(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    for shape in ((4, 4), (3, 7)):
        h, delta = rng.normal(size=shape) * rng.uniform(1, 4, size=(shape[0], 1)), rng.normal(size=shape)
        got = student.call("norm_backward", h, delta)
        r = np.sqrt((h**2).mean(axis=1, keepdims=True))
        u = h / r
        along = (u * delta).mean(axis=1, keepdims=True)
        n = shape[1]

        def same(expected: np.ndarray, got: Any = got) -> bool:
            return close(got, expected, rtol=1e-3, atol=1e-5)

        centred = (h - h.mean(axis=1, keepdims=True)) / h.std(axis=1, keepdims=True)
        rest = delta - delta.mean(axis=1, keepdims=True) - centred * (centred * delta).mean(axis=1, keepdims=True)
        wrong = {
            "this is the approximation for wide networks: the direction of h is still in it": same(delta / r),
            "divide by the root mean square as well": same(delta - u * along),
            "divide by the root mean square, once": same((delta - u * along) / r**2)
            or same((delta - u * along) * r)
            or same((delta - h * along) / r),
            "the mean of norm(h) times delta, not the sum": same((delta - u * along * n) / r),
            "the root of the mean of the squares, not of their sum": same((delta - u * along) / r / math.sqrt(n)),
            "this is layer normalisation, which also subtracts the mean": same(rest / h.std(axis=1, keepdims=True)),
            "each row has a root mean square of its own": same(
                (delta - h * (h * delta).mean(axis=0) / (h**2).mean(axis=0)) / np.sqrt((h**2).mean(axis=0))
            ),
            "the part along h is taken out, not added": same((delta + u * along) / r),
        }
        right = (delta - u * along) / r
        yield check(1, same(right), f"{shape[0]} rows, n = {n}", wrong, expected=right, got=got)


def branch_of(own: Homework) -> tuple[int, float, float]:
    """Question 2's layers, C and target.

    G - 1 stays below C, and C away from 1: else the start's 1/√(2L), or a forgotten C, would be right for some.
    """
    layers = own.pick("layers, question 2", range(8, 33))
    return layers, own.own("C, question 2", 2.0, 4.0), own.own("wanted end of the stream", 2.1, 2.6, digits=3)


@question("2a", points=1, title="A branch's factor without a normalisation", section=BRANCH)
def zeta_plain(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    layers, C, target = branch_of(own)
    answer, d = student.value("zeta_plain"), 2 * layers
    right = math.sqrt((target ** (1 / d) - 1) / C)
    wrong = {
        "without a normalisation the branches multiply the stream; a sum is for pre-norm": about(
            answer, math.sqrt((target - 1) / d / C)
        ),
        "a layer has two branches": about(answer, math.sqrt((target ** (1 / layers) - 1) / C)),
        "zeta multiplies the branch, so that zeta² multiplies what it adds to the mean square": about(answer, right**2),
        "the branch's own C is missing": about(answer, right * math.sqrt(C)),
        "this is the limit of many blocks, (1 + x/d)^d for e^x": about(answer, math.sqrt(math.log(target) / d / C)),
        "1/√(2L) keeps the stream below e^C times its start; which end it has depends on C": about(answer, d**-0.5),
    }
    yield check(1, about(answer, right), "zeta_plain", wrong, expected=right, got=answer)


@question("2b", points=1, title="A branch's factor with pre-norm", section=BRANCH)
def zeta_pre(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    layers, C, target = branch_of(own)
    answer, d = student.value("zeta_pre"), 2 * layers
    right = math.sqrt((target - 1) / d / C)
    wrong = {
        "with pre-norm the branches add; a product is for a stream without a normalisation": about(
            answer, math.sqrt((target ** (1 / d) - 1) / C)
        ),
        "a layer has two branches": about(answer, right * math.sqrt(2)),
        "zeta multiplies the branch, so that zeta² multiplies what it adds to the mean square": about(answer, right**2),
        "the branch's own C is missing": about(answer, right * math.sqrt(C)),
        "the stream begins at 1: the branches add the rest": about(answer, math.sqrt(target / d / C)),
        "1/√(2L) lets the branches add C together; which end the stream has depends on C": about(answer, d**-0.5),
    }
    yield check(1, about(answer, right), "zeta_pre", wrong, expected=right, got=answer)


def named(answer: Any) -> tuple[bool, dict[str, set[str]]]:
    """Whether an answer to 2c speaks of each start, and the parts that it names, however it is written."""
    given = answer
    while isinstance(given, list | tuple | dict | np.ndarray) and len(given) == 1:  # brackets around it
        [given] = given.values() if isinstance(given, dict) else given
    if not isinstance(given, dict) or not set(given) & set("ABC"):
        raise NoAnswer(f"this is no dict of A, B and C, but {str(answer)[:100]}", person=True)
    parts = {start: set(re.findall(r"W1|W2|zeta", str(given.get(start, "nothing")))) for start in "ABC"}
    return set(given) == set("ABC"), parts


@question("2c", points=2, title="Branches that begin at 0", section=BRANCH)
def parts_that_move(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    first, later = student.values("first", "later")
    every = {"W1", "W2", "zeta"}
    right = {"A": {"W2"}, "B": {"zeta"}, "C": set[str]()}
    complete, got = named(first)
    two_zeros = "with two zeros each of the three gradients has one of them as a factor: nothing ever moves"
    wrong = {
        two_zeros: bool(got["C"]),
        "a part that is 0 has a gradient; the others, multiplied by it, have none": got["A"] == every - {"W2"}
        or got["B"] == every - {"zeta"},
        "a gradient that contains the zero is 0: the other parts wait": got["A"] > {"W2"} or got["B"] > {"zeta"},
        "a network that is the identity at the start still has a gradient": not got["A"] and not got["B"],
    }
    yield check(1, complete and got == right, "the first step", wrong, expected=right, got=first)
    complete, got = named(later)
    right = {"A": every, "B": every, "C": set()}
    wrong = {
        two_zeros: bool(got["C"]),
        "the first step has left the zero: from the second on every part moves": got["A"] != every or got["B"] != every,
    }
    yield check(1, complete and got == right, "the second step", wrong, expected=right, got=later)


def heads_of(own: Homework) -> tuple[float, int, int]:
    """Question 3's variance of queries and keys, d_k and T."""
    n, s = own.pick("width", range(400, 901)), own.own("std of the weights", 0.012, 0.02, digits=5)
    return n * s**2, own.pick("width of a head", range(32, 129)), own.pick("tokens", range(4, 11))


@question("3a", points=1, title="The variance of a score", section=ATTENTION)
def score_variance(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    each, d_k, _ = heads_of(own)
    answer, right = student.value("score_variance"), each**2
    wrong = {
        "1 is for queries and keys of variance 1; these have n s²": about(answer, 1),
        "query and key both have the variance n s²: their product has its square": about(answer, each),
        "this is before the division": about(answer, d_k * right),
        "the score is divided by the root of d_k, its variance by d_k, which the sum has put there": about(
            answer, right / d_k
        )
        or about(answer, right * math.sqrt(d_k)),
        "this is the fourth power of s: each of the two sums over n has n terms": about(
            answer, right / each**2 * own.own("std of the weights", 0.012, 0.02, digits=5) ** 4
        ),
    }
    yield check(1, about(answer, right), "score_variance", wrong, expected=right, got=answer)


@question("3b", points=1, title="The entropy under muP's divisor", section=ATTENTION)
def entropy_below(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    each, d_k, T = heads_of(own)
    answer, right = student.value("entropy_below"), each**2 / d_k / 2 * (1 - 1 / T)
    wrong = {
        "this is the variance with the divisor √d_k; dividing by d_k leaves a d_k-th of it": about(answer, right * d_k),
        "divided by d_k the scores' variance is divided by d_k²; the sum has put one d_k there": about(
            answer, right / d_k
        ),
        "this is the entropy; how far below ln T is asked for": about(answer, math.log(T) - right),
        "half of the variance": about(answer, 2 * right),
        "the even mean of T tokens takes a T-th part back: 1 - 1/T": about(answer, right / (1 - 1 / T)),
        "in nats": about(answer, right / math.log(2)),
        "query and key both have the variance n s²": about(answer, right / each),
    }
    yield check(1, about(answer, right), "entropy_below", wrong, expected=right, got=answer)


@question("3c", points=2, title="Caps on scores", section=LOGITS)
def caps(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    d_k = own.pick("width of a head", range(32, 129))
    T, p = own.pick("tokens, capped", range(8, 61)), own.own("largest weight", 0.55, 0.85, digits=4)
    cap, factor = student.values("cap", "qk_factor")
    right = math.log((T - 1) * p / (1 - p)) / 2
    wrong = {
        "the others may be as low as -θ, so that two scores may differ by 2θ": about(cap, 2 * right),
        "T - 1 others, beside the one": about(cap, math.log(T * p / (1 - p)) / 2),
        "the weight's share of the denominator: p / (1 - p) of the others' sum": about(cap, math.log((T - 1) * p) / 2)
        or about(cap, math.log(T * p) / 2),
        "the others are T - 1 together": about(cap, math.log(p / (1 - p)) / 2) or about(cap, math.log(p / (1 - p))),
        "this is QK-norm's bound, not a threshold for your weight": about(cap, math.sqrt(d_k)),
    }
    yield check(1, about(cap, right), "cap", wrong, expected=right, got=cap)
    root = math.sqrt(d_k)
    wrong = {
        "normalised, with this factor, a score is up to √d_k times it": about(factor, right),
        "a score is up to √d_k times the factor, so the factor is a √d_k-th of the cap": about(factor, right * root),
        "the sum is up to d_k, and the score has been divided by √d_k already": about(factor, right / d_k),
        "queries and keys normalised are not scores below 1": about(factor, 1),
        "the others may be as low as the one is high: two scores may differ by twice the bound": about(
            factor, 2 * right / root
        ),
    }
    yield check(1, about(factor, right / root), "qk_factor", wrong, expected=right / root, got=factor)


def weights(q: np.ndarray, k: np.ndarray, theta: float, **change: Any) -> np.ndarray:
    """Question 3d's weights, or one of the wrong ones."""
    d_k = q.shape[1]
    divisor = change.get("divisor", math.sqrt(d_k))
    z = q @ k.T
    if change.get("cap_first"):
        z = theta * np.tanh(z / theta) / divisor
    elif change.get("clip"):
        z = np.clip(z / divisor, -theta, theta)
    else:
        z = change.get("height", theta) * np.tanh(z / divisor / theta) if change.get("cap", True) else z / divisor
    hidden = np.triu(np.ones(z.shape, dtype=bool), 1)
    hidden = hidden.T if change.get("upside_down") else hidden
    z = np.where(hidden, change.get("masked", -np.inf), z)
    axis = change.get("axis", 1)
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


@question("3d", points=2, title="Attention with soft-capping", section=LOGITS)
def attention_weights(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    for T, d_k in ((5, 8), (7, 12)):
        q, k = 3 * rng.normal(size=(T, d_k)), 2 * rng.normal(size=(T, d_k))
        theta = float(rng.uniform(1.5, 3))
        got = student.call("attention_weights", q, k, theta)

        def same(got: Any = got, q: Any = q, k: Any = k, theta: float = theta, **change: Any) -> bool:
            return close(got, weights(q, k, theta, **change), rtol=1e-3, atol=1e-6)

        array = np.asarray(got, dtype=float) if close(got, got) and np.shape(got) == (T, T) else np.full((T, T), np.nan)
        wrong = {
            "the mask comes after the cap: a cap turns minus infinity into -θ, and tokens look at later ones": same(
                masked=-theta
            ),
            "a masked score is minus infinity, not 0: a logit of 0 has a weight": same(masked=0.0),
            "later tokens are masked, not earlier ones": same(upside_down=True),
            "without the mask tokens look at later ones": bool((array[np.triu_indices(T, 1)] > 0).any()),
            "the weights of a row sum to 1: the softmax runs over the keys": same(axis=0),
            "first the division by √d_k, then the cap, or the bound is θ/√d_k": same(cap_first=True),
            "the scores are not divided": same(divisor=1.0),
            "divide by √d_k, not by d_k": same(divisor=d_k),
            "the scores are not capped": same(cap=False),
            "soft-capping is θ tanh(z/θ), not a clip": same(clip=True),
            "tanh ends at 1; the cap is θ": same(height=1.0),
            "a token looks at itself, too": bool(np.allclose(np.diag(array)[1:], 0)),
        }
        right = weights(q, k, theta)
        yield check(1, same(), f"{T} tokens, d_k = {d_k}", wrong, expected=right, got=got)


def model_of(own: Homework) -> tuple[int, int, float, float]:
    """Question 4's K, n, s and s_place.

    With these the chance of 4c lies between 0.035 and 0.45: at one half it would be its own complement, and close to 0 its odds.
    """
    return (
        own.pick("vocabulary", range(2000, 3001)),
        own.pick("width, question 4", range(105, 126)),
        own.own("std of the tokens", 0.058, 0.067, digits=5),
        own.own("std of the places", 0.03, 0.042, digits=5),
    )


@question("4a", points=1, title="The bound of the first loss", section=FIRST_LOSS)
def loss_bound(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    K, n, s, _ = model_of(own)
    answer, right = student.value("loss_bound"), math.log(K) + n * s**2 / 2

    def same(expected: float) -> bool:
        return about(answer, expected, rtol=0, atol=0.001)

    wrong = {
        "ln K is the least; random logits cost up to half of their variance more": same(math.log(K)),
        "half of the variance": same(math.log(K) + n * s**2),
        "a logit is a sum of n products: its variance is n s²": same(math.log(K) + s**2 / 2),
        "s is the standard deviation; the variance is n s²": same(math.log(K) + n * s / 2)
        or same(math.log(K) + math.sqrt(n) * s / 2),
        "in nats: the natural logarithm": about(answer, right / math.log(2), rtol=0.05)
        or about(answer, math.log10(K), rtol=0.1),
    }
    yield check(1, same(right), "loss_bound", wrong, expected=right, got=answer)


@question("4b", points=1, title="The logit of the token just read", section=FIRST_LOSS)
def own_logit(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    _, n, s, place = model_of(own)
    answer, right = student.value("own_logit"), n * s**2 / math.hypot(s, place)
    wrong = {
        "the stream holds the place, too: the normalisation divides by the root of s² + s_place²": about(answer, n * s),
        "the stream is normalised before the head": about(answer, n * s**2),
        "variances add, standard deviations do not": about(answer, n * s**2 / (s + place)),
        "the head's row is the token's embedding alone": about(answer, n * math.hypot(s, place)),
        "the normalisation sets the mean square to 1, not the sum of squares": about(answer, right / math.sqrt(n)),
        "on average 0 is for the other tokens": about(answer, 0, atol=1e-9),
    }
    yield check(1, about(answer, right), "own_logit", wrong, expected=right, got=answer)


@question("4c", points=2, title="What a tied embedding costs at first", section=FIRST_LOSS)
def tied(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    K, n, s, place = model_of(own)
    chance, loss = student.values("repeat_chance", "tied_loss")
    z, q = n * s**2 / math.hypot(s, place), n * s**2
    others = (K - 1) * math.exp(q / 2)
    right = 1 / (1 + others / math.exp(z))

    def odds(other: float, logit: float = z) -> float:
        return 1 / (1 + other / math.exp(logit))

    wrong = {
        "the mean of e^z is e^(q/2), not 1: the other logits are not 0": about(chance, odds(K - 1)),
        "the mean of e^z is e^(q/2)": about(chance, odds((K - 1) * math.exp(q))),
        "the logit of 4b: the stream holds the place, too": about(chance, odds(others, n * s)),
        "the others are K - 1 together": about(chance, odds(math.exp(q / 2))) or about(chance, 1),
        "the token just read has a logit of its own: not 1/K": about(chance, 1 / K, rtol=0.01),
        "this is the probability of the others": about(chance, 1 - right),
    }
    yield check(1, about(chance, right, rtol=0.002), "repeat_chance", wrong, expected=right, got=chance)
    right = math.log(math.exp(z) + others)

    def same(expected: float) -> bool:
        return about(loss, expected, rtol=0, atol=0.002)

    wrong = {
        "this is the bound of 4a: the token's own logit is in the denominator, too": same(math.log(K) + q / 2),
        "the other tokens are in the denominator, too": same(z),
        "a logarithm of a sum is not the sum of the logarithms": same(z + math.log(K) + q / 2),
        "the loss is that of another token, whose logit is 0 on average": same(right - z)
        or same(math.log(math.exp(z) + others) / K),
        "the mean of e^z is e^(q/2), not 1": same(math.log(math.exp(z) + K - 1)),
    }
    yield check(1, same(right), "tied_loss", wrong, expected=right, got=loss)


@question("5a", points=1, title="The rate for a given change", section=WIDTH)
def rate(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    # v lies above 2/π and 1, where E h² and v/√(2π) would be right for E h, and below 2π, where 1 would
    n, v = own.pick("width, question 5", range(512, 4097)), own.own("variance below the ReLU", 1.2, 4.0)
    change, answer = own.own("wanted change", 0.01, 0.1, digits=4), student.value("rate")
    right = change / (n * math.sqrt(v / (2 * math.pi)))
    wrong = {
        "the changes in a row all push the same way: they add up to n of them, not to √n": about(
            answer, change / math.sqrt(n * v / 2)
        )
        or about(answer, right * math.sqrt(n)),
        "the sum has |h| in it, not h²": about(answer, change / (n * math.sqrt(v / 2)))
        or about(answer, change / (n * v / 2)),
        "half of the units are 0 behind the ReLU": about(answer, right / 2),
        "h is not 1": about(answer, change / n),
        "v is the variance": about(answer, change / (n * v / math.sqrt(2 * math.pi))),
        "there are n terms in the sum": about(answer, right * n),
    }
    yield check(1, about(answer, right), "rate", wrong, expected=right, got=answer)


@question("5b", points=1, title="A loss's factor against Adam's epsilon", section=ADAM)
def loss_factor(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    g, p = own.own("gradient", 1.0, 7.0) * 1e-9, own.own("share of the rate", 0.8, 0.98, digits=4)
    answer, right = student.value("loss_factor"), 1e-8 * p / ((1 - p) * g)
    wrong = {
        "Adam does see the size of a gradient that is not far above epsilon": about(answer, 1),
        "the step is not in proportion to the gradient: more of it, less of its growth": about(
            answer, p * (g + 1e-8) / g
        ),
        "this is the gradient in units of epsilon, g/(g + ε) at that place is another": about(answer, p * 1e-8 / g)
        or about(answer, 1e-8 / g),
        "the gradient stands above and below: g/(g + ε) = p gives g = ε p/(1 - p)": about(answer, 1e-8 / ((1 - p) * g))
        or about(answer, 1e-8 * (1 - p) / (p * g)),
        "the gradient that is needed, divided by the one that is there": about(answer, 1e-8 * p / (1 - p))
        or about(answer, 1 / right),
    }
    yield check(1, about(answer, right), "loss_factor", wrong, expected=right, got=answer)


@question("5c", points=2, title="An update in bfloat16", section=FORMATS)
def update(student: Student, own: Homework, rng: np.random.Generator) -> Iterator[Item]:
    place, power = own.pick("place", range(16, 121)), own.pick("power", range(2, 8))
    w, low = (1 + place / 128) / 2**power, 2.0**-power
    g, step = own.own("gradient, question 5", 1.1, 9.999, digits=3), own.own("update", 0.3, 3.0, digits=3) * 1e-3 * low
    below, chance = student.values("lost_below", "move_chance")
    gap = low / 128
    wrong = {
        "half of the distance is enough: the sum is rounded to the nearest": about(below, gap / g),
        "the distance is that between powers of 2: it does not grow with the weight from one to the next": about(
            below, w / 256 / g
        )
        or about(below, w / 512 / g)
        or about(below, w / 128 / g),
        "8 bits of precision with the leading 1, of which 7 are stored": about(below, gap / 4 / g),
        "these are float16's digits": about(below, low / 2048 / g),
        "an update is the rate times the gradient": about(below, gap / 2) or about(below, gap / 2 * g),
        "the spacing beside 1 is not that beside your weight": about(below, 1 / 256 / g) or about(below, 1 / 128 / g),
        "a rate is positive": number(below) < 0,
    }
    yield check(1, about(below, gap / 2 / g), "lost_below", wrong, expected=gap / 2 / g, got=below)
    wrong = {
        "the way from one neighbour to the next is the whole distance, not half of it": about(chance, 2 * step / gap),
        "this is the probability that it stays": about(chance, 1 - step / gap),
        "the distance to the neighbour counts, not the weight": about(chance, step / w)
        or about(chance, step / (w / 128)),
        "stochastic rounding does not lose it": about(chance, 0, atol=1e-9),
    }
    yield check(1, about(chance, step / gap), "move_chance", wrong, expected=step / gap, got=chance)


read("5d", points=2, name="explanation", title="The start, the step and the format", section=WIDTH)
