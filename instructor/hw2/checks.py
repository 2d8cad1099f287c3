"""Hidden checks of homework 2, explosion and formats."""

from __future__ import annotations

import math

import numpy as np

from instructor.grading.checks import check, close, letters, question, read
from labs.formats import FORMATS, overflow_depth

CHAPTER, VANISHING = "02-explosion-relu#", "03-vanishing-sigmoid#"


@question("1", points=3, title="At which step", section=CHAPTER + "overflow-step")
def overflow_steps(student, own, rng):
    factor = own.own("factor", 1.2, 1.95, digits=3)
    right = {name: math.floor(math.log(FORMATS[name].max) / math.log(factor)) + 1 for name in ("fp16", "bf16", "fp32")}
    for name, step in right.items():
        got = student.value(f"step_{name}")
        wrong = {
            "bf16 has eight exponent bits, as fp32: its range is that of fp32": name == "bf16"
            and (close(got, right["fp16"]) or close(got, right["fp16"] - 1)),
            "at this step the power still fits; the first step beyond is asked for": close(got, step - 1),
            "this follows a product that is rounded at every step; the exact power is asked for": close(
                got, overflow_depth(factor, name)
            ),
            "this takes the smallest normal number for the largest": close(got, math.ceil(14 / math.log2(factor)))
            or close(got, math.ceil(126 / math.log2(factor))),
            "the logarithms of the range and of the factor need one base": _mixed_bases(got, factor, name),
        }
        yield check(1, close(got, step), name, wrong, expected=step, got=got, public=name == "fp16")


def _mixed_bases(got, factor, name):
    largest = FORMATS[name].max
    mixed = (math.log10(largest) / math.log(factor), math.log2(largest) / math.log(factor))
    return any(close(got, math.floor(ratio) + extra) for ratio in mixed for extra in (0, 1))


@question("2a", points=2, title="1 + 2^-11", section=CHAPTER + "sec-relu-range")
def one_plus(student, own, rng):
    got = student.value("one_plus")
    wrong = {
        "2^-11 fits into fp16, but not beside 1: half of the spacing 2^-10 is a tie, and the even neighbour is 1": close(
            got, 1 + 2**-11, rtol=1e-9
        ),
        "a tie goes to the neighbour whose last bit is 0, which is 1": close(got, 1 + 2**-10, rtol=1e-9),
    }
    yield check(1, close(got, 1.0, rtol=1e-9), "1 + 2^-11 in fp16", wrong, expected=1.0, got=got)
    for name, right in (("fp16", 10), ("bf16", 7)):
        got = student.value(f"k_{name}")
        wrong = {
            "that is 1 plus half of the spacing, which rounds back to 1": close(got, right + 1),
            "this counts fp16's digits; bf16 pays for its range with three of them": name == "bf16" and close(got, 10),
            "that is the smallest number of the format; beside 1 the spacing counts, eps": close(got, 24)
            or close(got, 14),
        }
        yield check(0.5, close(got, right), f"k in {name}", wrong, expected=right, got=got)


@question("2b", points=1, title="A sum that stalls", section=VANISHING + "sec-sig-exactly-zero")
def stalled_sum(student, own, rng):
    given = own.own("step", 0.002, 0.06, digits=4)
    step, right, count = np.float16(given), np.float16(0), 0
    while right + step != right:
        right, count = right + step, count + 1
    got = student.value("stall")
    wrong = {
        "the sum stops long before the largest number: there the spacing is twice the step": close(got, 65504)
        or close(got, math.inf),
        "at this value the step still counts: half of the spacing there is less than the step": close(got, right / 2),
        "where the spacing equals the step, it is added in full; it is lost below half of the spacing": close(
            got, right * 2
        ),
    }
    yield check(0.5, close(got, float(right), rtol=1e-4), "stall", wrong, expected=float(right), got=got)
    got = student.value("additions")
    wrong = {
        "the addition that changes nothing is not counted": close(got, count + 1),
        "this is the sum divided by the step; each addition is rounded, so that it takes another number of them": close(
            got, float(right) / given, atol=2
        ),
    }
    yield check(0.5, close(got, count), "additions", wrong, expected=count, got=got)


def powers(own):
    """The student's factor, its powers rounded once, and the running product, from step 0."""
    shrink = own.own("shrink", 0.72, 0.93, digits=3)
    running = [np.float16(1)]
    for _ in range(2000):
        running.append(running[-1] * np.float16(shrink))
    return shrink, np.float16(shrink ** np.arange(2001.0)), running


@question("3a", points=1, title="Rounded once", section=VANISHING + "sec-sig-exactly-zero")
def rounded_once(student, own, rng):
    shrink, cast, _ = powers(own)
    right, got = int((cast == 0).argmax()), student.value("cast_zero")
    below = {p: math.floor(-p / math.log2(shrink)) + 1 for p in (14, 24)}
    wrong = {
        "here the power becomes subnormal: it has lost digits, but it is not 0": close(got, below[14]),
        "the power is below the smallest number here, but rounds up to it: 0 comes below its half": close(
            got, below[24]
        ),
        "this is the last step that is not 0": close(got, right - 1),
    }
    yield check(1, close(got, right), "first 0", wrong, expected=right, got=got)


@question("3b", points=2, title="Rounded at every step", section=VANISHING + "sec-sig-exactly-zero")
def rounded_at_each_step(student, own, rng):
    shrink, cast, running = powers(own)
    unrounded = [np.float16(1)]
    for _ in range(2000):
        unrounded.append(np.float16(float(unrounded[-1]) * shrink))
    end, step = float(running[-1]), running.index(running[-1])
    got = student.value("product_end")
    wrong = {
        "vanished is not exactly 0: a few times the smallest number, shrunk a little, rounds back": close(got, 0.0),
        "this is the smallest number of fp16; the product sticks where rounding gives the same number back": close(
            got, 2.0**-24, rtol=1e-3
        ),
        "this is the smallest normal number; below it come the subnormal ones": close(got, 2.0**-14, rtol=1e-3),
    }
    printed = close(got, end, rtol=0.2) and float(np.float16(float(got))) == end  # few digits
    yield check(1, close(got, end, rtol=1e-3) or printed, "where it ends", wrong, expected=end, got=got)
    got = student.value("product_step")
    wrong = {
        "this is where the power rounded once becomes 0; here each product is rounded": close(
            got, int((cast == 0).argmax())
        ),
        "the factor is rounded to fp16, too, before it multiplies": close(got, unrounded.index(unrounded[-1])),
        "count from 1: step 0 is the starting value": close(got, step + 1) or close(got, step - 1),
    }
    yield check(1, close(got, step), "from which step", wrong, expected=step, got=got)


@question("4", points=3, title="Which one grows", section=CHAPTER + "large-entries")
def growth(student, own, rng):
    entry = own.own("entry", 0.03, 0.09, digits=3)
    order = own.pick("order", ["ABCD", "BADC", "CDAB", "DCBA", "ACBD", "DBCA", "BDAC", "CABD"])
    right, got = "".join(order[i] for i in (2, 1, 3, 0)), student.value("ranking")
    got = letters(got)
    wrong = {
        "this ranks by the largest entry: many small entries of one sign add up, and signs cancel": got == order,
        "this ranks by the largest singular value of one factor, which only bounds the product": got
        == "".join(order[i] for i in (1, 3, 0, 2)),
        "this is the reverse order: the slowest comes first": got[::-1] == right,
        "the signs of the matrix with entries ±0.9 cancel: its square is 0": got[-1:] == order[2],
    }
    yield check(2, got == right, "ranking", wrong, expected=right, got=got)
    got = student.value("fastest")
    wrong = {
        "this is the entry; a power sums over as many paths as the matrix has columns": close(got, entry, rtol=1e-3),
        "this is one step's largest entry, 1, of the permutation": close(got, 1),
        "the permutation never grows and ±0.9 cancels; 64 small entries of one sign do grow": close(
            got, 7.2, rtol=1e-2
        ),
    }
    yield check(1, close(got, 64 * entry, rtol=1e-3), "factor", wrong, expected=64 * entry, got=got)


@question("5", points=3, title="When it was too late", section=CHAPTER + "unavoidable")
def too_late(student, own, rng):
    rate = own.own("rate", 0.05, 0.45)
    excess = 10 ** -own.own("excess", 1.4, 3.6, digits=1)
    w = np.float32(math.sqrt(2 / rate) * (1 + excess))
    weights = [w]
    with np.errstate(all="ignore"):
        for _ in range(12):
            w = w - np.float32(rate) * w**3
            weights.append(w)
        losses = np.array([x**4 for x in weights])
    right = next(k for k, x in enumerate(weights) if not rate / 10 * x**2 < 2)
    first_bad = int((~np.isfinite(losses)).argmax())
    got = student.value("unavoidable")
    wrong = {
        "this is where NaN or Inf shows; it was unavoidable earlier": any(
            close(got, k) for k in range(first_bad, len(weights))
        ),
        "the last checkpoint with a finite loss cannot be rescued, and neither can some before it": close(
            got, first_bad - 1
        ),
        "this checkpoint can still be rescued: a tenth of the rate brings its loss down": close(got, right - 1)
        or close(got, 0)
        or close(got, 1),
    }
    yield check(2, close(got, right), "step", wrong, expected=right, got=got)
    best = 2 / float(weights[right]) ** 2
    got = student.value("largest_rate")
    wrong = {
        "that is the tenth, which does not rescue it": close(got, rate / 10, rtol=1e-3),
        "that is the run's own rate, which made it diverge": close(got, rate, rtol=1e-3),
        "at this rate the weight reaches 0 in one step; up to twice as much still shrinks it": close(
            got, best / 2, rtol=1e-2
        ),
        "one step multiplies w by 1 - rate w², with a square": close(got, 2 / abs(float(weights[right])), rtol=1e-2),
        "this is the largest rate for the checkpoint before": close(got, 2 / float(weights[right - 1]) ** 2, rtol=1e-2),
    }
    yield check(1, close(got, best, rtol=1.5e-2), "largest rate", wrong, expected=best, got=got)


@question("6a", points=3, title="A loss scale", section=VANISHING + "loss-scaling")
def loss_scale(student, own, rng):
    largest, smallest = 10 ** -own.own("largest", 1.0, 5.0), 10 ** -own.own("smallest", 5.5, 9.5)
    low, high = math.ceil(math.log2(2.0**-14 / smallest)), math.floor(math.log2(65504 / largest))
    got = student.value("k_low")
    wrong = {
        "this keeps the smallest gradient from 0, but as a subnormal number with few digits": close(got, low - 10)
        or close(got, low - 11),
        "one power less leaves the smallest gradient normal, too": close(got, low + 1),
        "the smallest gradient is still just below the normal numbers": close(got, low - 1),
        "k_low and k_high are exchanged": close(got, high),
    }
    yield check(1.5, close(got, low), "k_low", wrong, expected=low, got=got)
    got = student.value("k_high")
    wrong = {
        "at this scale the largest gradient is Inf in fp16": close(got, high + 1),
        "one power more still fits": close(got, high - 1),
        "this looks at the smallest gradient; the largest overflows first": close(
            got, math.floor(math.log2(65504 / smallest))
        ),
        "k_low and k_high are exchanged": close(got, low),
    }
    yield check(1.5, close(got, high), "k_high", wrong, expected=high, got=got)


read("6b", points=2, name="explanation", title="The choice of a loss scale", section=VANISHING + "loss-scaling")
