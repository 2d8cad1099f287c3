"""What IEEE 754 makes of an operation or of its derivative, and a remedy where one is known to cure it: for each a test, and a neighbour.

A rule looks at the very numbers that the first bad entry was computed from. Where none applies, nothing is advised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from labs.monitor.replay import Operation
from labs.words import say

MASKABLE = (
    "softmax",
    "log_softmax",
    "logsumexp",
    "scaled_dot_product_attention",
    "cross_entropy",
    "logaddexp",
    "softmin",
)

Words = tuple[str, str]  # what makes it bad, and the remedy, "" if there is none
_LOG = "use log_softmax, logsigmoid or xlogy; a clamp is finite too, but what it clamps gets no gradient"
_POSITIVE = "clamp the argument to what is positive; rounding makes a difference of equals negative"
_EPS = "add to the denominator an eps that the format can hold (1e-8 is 0 in fp16)"
_DISTINCT = "use only the values (svdvals, eigvalsh), or a function of the vectors that does not tell apart those of equal values"


def _argument(step: Operation, i: int = 0) -> float:
    return next(iter(step.at[i : i + 1]), None) or 0.0 if i < len(step.at) else math.nan


def _overflow(step: Operation) -> Words | None:
    """The result is a number, too large for the format."""
    dtype = getattr(torch, step.dtype, None)
    if not isinstance(dtype, torch.dtype) or not math.isfinite(step.wide) or step.wide <= torch.finfo(dtype).max:
        return None
    largest = torch.finfo(dtype).max
    why = say("it overflows: a number beyond the format's largest is Inf, and exact arithmetic gives {exact:.3g}")
    if step.wide < 1e38:
        remedy = "compute this operation in float32 or bfloat16, or make what it reads smaller"
    elif step.wide < 3e38:
        remedy = "compute this operation in float32, or make what it reads smaller"
    else:
        remedy = say("make what it reads smaller: the result is {times:.2g} times too large")
        remedy = remedy.format(times=step.wide / largest)
    return why.format(exact=step.wide), remedy


def _log(step: Operation) -> Words | None:
    x = _argument(step)
    if x < 0:
        return say("the log of a negative number ({x:.3g}) is NaN").format(x=x), _POSITIVE
    return ("log 0 is -Inf", _LOG) if x == 0 else None


def _root(step: Operation) -> Words | None:
    x = _argument(step)
    if step.name == "rsqrt" and x == 0:
        return "x/0 is Inf and 0/0 is NaN", _EPS
    return (say("the root of a negative number ({x:.3g}) is NaN").format(x=x), _POSITIVE) if x < 0 else None


def _quotient(step: Operation) -> Words | None:
    x = _argument(step, 0 if step.name == "reciprocal" else 1)
    return ("x/0 is Inf and 0/0 is NaN", _EPS) if x == 0 else None


def _power(step: Operation) -> Words | None:
    x, p = _argument(step), _argument(step, 1)
    if x == 0 and p < 0:
        return "0 to a negative power is Inf", "clamp the base away from 0"
    if x < 0 and p % 1:
        why = say("a negative number ({x:.3g}) to a fraction is NaN").format(x=x)
        return why, "clamp the base to what is positive"
    return None


def _outside(step: Operation) -> Words | None:
    x = _argument(step)
    if step.name == "atanh" and abs(x) == 1:
        return "atanh is Inf at -1 and 1", "clamp the argument to a little less than 1 in magnitude"
    if step.name == "acosh":
        return (say("acosh of {x:.3g} is NaN").format(x=x), "clamp the argument to 1 or more") if x < 1 else None
    why = say("outside its domain ({x:.5g}) it is NaN").format(x=x)
    return (why, "clamp the argument to [-1, 1]") if abs(x) > 1 else None


def _mask(step: Operation) -> Words | None:
    if not step.nan:
        if step.name in ("cross_entropy", "nll_loss"):
            return (
                "the entry of the target itself is masked, and its loss Inf",
                "unmask the target, or ignore it (ignore_index)",
            )
        return (
            "the result of a masked entry, or of a row of them, is -Inf, and what follows reads it",
            "choose the entries that are not masked (where), and do not multiply those that are",
        )
    if step.entry and len(step.entry) > 1:
        why = say("the mask hides a whole row, {row}: of -Inf alone, -Inf - (-Inf) is NaN")
        return why.format(row=list(step.entry[:-1])), "leave an entry of each row unmasked"
    return "the mask hides a whole row: of -Inf alone, -Inf - (-Inf) is NaN", "leave an entry of each row unmasked"


def _mean(step: Operation) -> Words | None:
    return "the mean of no entries is 0/0 = NaN", "divide by the number of entries, or 1 if there are none"


def _spread(step: Operation) -> Words | None:
    return ("the unbiased variance of one value is 0/0 = NaN", "use correction=0") if step.nan else None


def _exp(step: Operation) -> Words | None:
    why = "exp(x) overflows beyond x = 88.7 in fp32, 11.1 in fp16"
    return why, "subtract the maximum first, as softmax and logsumexp do, or clamp the argument"


def _difference(step: Operation) -> Words | None:
    return ("Inf - Inf is NaN", "keep each term finite") if step.nan else None


def _just(why: str, remedy: str) -> Callable[[Operation], Words | None]:
    return lambda step: (why, remedy)


_FORWARD: dict[str, Callable[[Operation], Words | None]] = {
    "exp exp2 expm1 sinh cosh": _exp,
    "log log2 log10 log1p": _log,
    "sqrt rsqrt": _root,
    "std var std_mean var_mean": _spread,
    "div reciprocal": _quotient,
    "pow": _power,
    "acos asin atanh acosh": _outside,
    "mean nll_loss nanmean": _mean,
    "sub add": _difference,
    " ".join(MASKABLE): _mask,
    "ctc_loss": _just(
        "no path spells a target that is longer than its input, repeats counted twice: its loss is Inf",
        "zero_infinity=True, or more frames",
    ),
    "weight_norm": _just(
        "a row of the direction v is 0, and v/|v| is 0/0",
        "begin with rows that are not 0 (initialise first, then weight_norm)",
    ),
}
_SLOPES = {  # why the derivative is bad, and the remedy
    "log log2 log10 log1p": ("the slope 1/x is Inf at 0", _LOG),
    "sqrt norm std var": ("the slope 1/(2 sqrt x) is Inf at 0", "add a small eps inside the root"),
    "div reciprocal rsqrt": ("the slope of 1/x is Inf at 0", _EPS),
    "acos asin atanh acosh": ("the slope 1/sqrt(1 - x^2) is Inf at -1 and 1", "clamp the argument to a little less than 1 in magnitude"),
    "pow": ("the slope p x^(p-1) is Inf at 0 for p < 1", "clamp the base away from 0"),
    "mean nll_loss": ("the mean of no entries is 0/0 = NaN", "divide by the number of entries, or 1 if there are none"),
    "svd": ("the singular vectors have no derivative where singular values are equal, or 0", _DISTINCT),
    "eigh eig": ("the eigenvectors have no derivative where eigenvalues are equal", _DISTINCT),
    " ".join(MASKABLE): ("in a row of -Inf alone, which the mask hides whole, -Inf - (-Inf) is NaN", "leave an entry of each row unmasked"),
}  # fmt: skip


def _of(name: str, table: dict[str, Any]) -> Any:
    return next((rule for names, rule in table.items() if name in names.split()), None)


def remedy_of(step: Operation, backward: bool) -> Words:
    """What makes an operation's result bad, and what to do; an empty remedy where none is known to help."""
    why, remedy = _words(step, backward)
    return say(why), say(remedy)


def _words(step: Operation, backward: bool) -> Words:
    name = step.name
    if name == "cross_entropy" and step.own and step.nan:  # finite logits: no target counts
        name = "nll_loss"
    if backward and step.forward is not None:
        return _overflow(step) or _of(name, _SLOPES) or ("its derivative is not finite here", "")
    rule = _of(name, _FORWARD)
    first, second = (rule, _overflow) if rule in (_exp, _mask) else (_overflow, rule)
    for words in (first, second):
        if words is not None and (found := words(step)):
            return found
    return "finite numbers give Inf or NaN here" if step.own else "Inf or NaN arises here", ""


def _numbers(optimizer: Any, key: str) -> list[float]:
    return [float(group[key]) for group in optimizer.param_groups if group.get(key) is not None]


def _change(optimizer: Any, values: dict[str, Callable[[float], float]]) -> None:
    for group in optimizer.param_groups:
        group.update({key: new(float(group[key])) for key, new in values.items() if group.get(key) is not None})


def _eps(optimizer: Any, parameters: Sequence[Tensor]) -> tuple[torch.dtype | None, float, str, str]:
    """The format in which the smallest eps is 0, if any; an eps to try, 0 if none is; what is wrong with it; the remedy."""
    numbers = _numbers(optimizer, "eps")
    smallest = min(numbers, default=1.0)
    formats = (p.dtype for p in parameters if p.is_floating_point())
    lost = next((dtype for dtype in formats if not torch.tensor(smallest, dtype=dtype, device="cpu")), None)
    larger = 1e-4 if lost in (torch.float16, None) else 1e-8
    why = say("eps {eps:g} is 0 in {format}") if lost else say("eps {eps:g} is too small for a gradient that vanishes")
    masters = say("take {eps:g}, or keep the weights in float32") if lost == torch.float16 else say("take {eps:g}")
    tried = larger if numbers and (lost or smallest < larger) else 0.0
    return lost, tried, why.format(eps=smallest, format=str(lost)[6:]), masters.format(eps=larger)


def blame(optimizer: Any, parameters: Sequence[Tensor], later: Callable[[None, Callable[[], None]], bool]) -> str:
    """Which number of the optimizer's to change: each remedy is tried on the step, and only one that cures it is given."""

    def cures(**values: Callable[[float], float]) -> bool:
        return later(None, lambda: _change(optimizer, values))

    rates = ", ".join(f"{rate:g}" for rate in sorted(set(_numbers(optimizer, "lr"))))
    if not all(map(math.isfinite, _numbers(optimizer, "lr"))):
        return say("The learning rate {rates} is no number itself: look at its schedule.").format(rates=rates)
    decay = max(_numbers(optimizer, "weight_decay"), default=0.0)
    if decay > 1 and cures(weight_decay=lambda _: 0.0):
        return say("The weight decay {decay:g} is too large: without it the step is sound.").format(decay=decay)
    lost, larger, why, remedy = _eps(optimizer, parameters)
    too_small = say("In the update's denominator {why}: {remedy}.").format(why=why, remedy=remedy)

    def raised(eps: float) -> float:
        return max(eps, larger)

    if larger and lost and cures(eps=raised):
        return too_small
    if cures(lr=lambda rate: rate / 10):
        return say("The learning rate {rates} is too large: divide it by 10.").format(rates=rates)
    if cures(lr=lambda rate: min(rate, 1e-3)):
        return say("The learning rate {rates} is too large: with 0.001 this step is sound.").format(rates=rates)
    if larger and not lost and cures(eps=raised):
        return too_small
    if larger and cures(lr=lambda rate: min(rate, 1e-3), eps=raised):
        both = say("Both the learning rate {rates} is too large (0.001 is sound) and {why}: {remedy}.")
        return both.format(rates=rates, why=why, remedy=remedy)
    return ""
