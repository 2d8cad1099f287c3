r"""Number formats: their range, and the depth at which a product of equal factors leaves it.

Every number here is read from the real dtype, so it also tells where the machine departs from IEEE 754: under
``torch.set_flush_denormal(True)`` the CPU replaces the subnormals of fp64, fp32 and bf16 by 0, and the depths follow
(fp16 and fp8 keep theirs). ``FORMATS`` is read once, at import.

fp8 tensors have next to no arithmetic on the CPU (no addition, no ReLU), so fp8 is emulated: compute wide, then
:func:`round_to` after each step. Past its largest number e5m2 becomes Inf. e4m3 (``torch.float8_e4m3fn``) has no Inf:
the cast gives 448, even for Inf itself ('saturate': torch 2.13), so that overflow goes unseen, or NaN ('nan': older
releases). Source of the fp8 formats: Micikevicius et al. 2022, *FP8 Formats for Deep Learning*.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Literal, NamedTuple

import torch
from torch import Tensor

_MAX_STEPS = 2**17  # a monotone product visits a number once, and a 16-bit format has fewer than 2**15 positive numbers


class NumberFormat(NamedTuple):
    """Range and precision of a floating-point dtype: ``eps`` is one ulp at 1, ``overflow`` what 2 * max becomes."""

    name: str
    dtype: torch.dtype
    max: float
    smallest_normal: float
    smallest_subnormal: float
    eps: float
    has_inf: bool
    overflow: Literal["inf", "nan", "saturate"]


Format = str | torch.dtype | NumberFormat
Mode = Literal["product", "cast"]


def _read(name: str, dtype: torch.dtype) -> NumberFormat:
    info = torch.finfo(dtype)
    probes = [2 * info.max, math.inf, *(math.ldexp(1.0, -k) for k in range(1075))]
    past_max, inf, *powers = torch.tensor(probes, dtype=torch.float64, device="cpu").to(dtype).double().tolist()
    return NumberFormat(
        name=name,
        dtype=dtype,
        max=info.max,
        smallest_normal=info.smallest_normal,
        smallest_subnormal=min(power for power in powers if power > 0),
        eps=info.eps,
        has_inf=math.isinf(inf),
        overflow="inf" if math.isinf(past_max) else "nan" if math.isnan(past_max) else "saturate",
    )


FORMATS: dict[str, NumberFormat] = {
    "fp64": _read("fp64", torch.float64),
    "fp32": _read("fp32", torch.float32),
    "bf16": _read("bf16", torch.bfloat16),
    "fp16": _read("fp16", torch.float16),
    "e5m2": _read("e5m2", torch.float8_e5m2),
    "e4m3": _read("e4m3", torch.float8_e4m3fn),
}


def get_format(format: Format) -> NumberFormat:
    """The number format with this name or dtype; ValueError lists the known names.

    >>> get_format(torch.float16).max, get_format("fp16").smallest_subnormal
    (65504.0, 5.960464477539063e-08)
    """
    for known in FORMATS.values():
        if format in (known, known.name, known.dtype):
            return known
    raise ValueError(f"format: expected one of {', '.join(FORMATS)} or its torch dtype, got {format!r}")


def round_to(x: Tensor, format: Format) -> Tensor:
    """Entries of `x` (any shape) rounded to the format, half to even, in the dtype of `x`.

    torch casts float64 to 8 and 16 bits through float32: the two roundings show only where float32 takes x for a tie.

    >>> round_to(torch.tensor([0.8, 1e-8, 7e4]), "fp16")
    tensor([0.7998, 0.0000,    inf])
    """
    return x.to(get_format(format).dtype).to(x.dtype)


def _round(x: float, fmt: NumberFormat) -> float:
    return torch.tensor(x, dtype=torch.float64, device="cpu").to(fmt.dtype).double().item()


def _check(factor: float, format: Format, start: float, steps: int = 0) -> tuple[NumberFormat, float]:
    """The format, and `start` rounded to it, once all arguments are known to be usable."""
    fmt = get_format(format)
    if steps < 0:
        raise ValueError(f"steps: expected at least 0, got {steps}")
    if not 0 < factor < math.inf:
        raise ValueError(f"factor: expected a positive finite number, got {factor}")
    if not 0 < _round(start, fmt) < math.inf:
        raise ValueError(f"start: expected a number that is positive and finite in {fmt.name}, got {start}")
    return fmt, _round(start, fmt)


def _products(factor: float, fmt: NumberFormat, start: float) -> Iterator[float]:
    """The running product from step 0; float64 holds the product of two numbers of a narrower format exactly."""
    value, factor = start, _round(factor, fmt)
    while True:
        yield value
        value = _round(value * factor, fmt)


def _walk(factor: float, fmt: NumberFormat, start: float) -> Iterator[tuple[int, float]]:
    """(step, running product), up to the step from which it no longer changes: all that ever happens to it."""
    previous = -1.0
    for step, value in enumerate(_products(factor, fmt, start)):
        if value == previous or math.isnan(previous):
            return
        if step > _MAX_STEPS:
            raise ValueError(f"factor: {factor} is too near 1, undecided after {_MAX_STEPS} steps in {fmt.name}")
        yield step, value
        previous = value


def running_product(factor: float, steps: int, format: Format, *, start: float = 1.0) -> Tensor:
    r"""Products of equal factors, rounded after each multiplication; shape (steps,), entry k - 1 is step k.

    .. math:: p_k = \mathrm{round}(p_{k-1} f), \qquad p_0 = \text{start}

    The factor f is first rounded itself, as a stored weight would be. The result has the format's dtype. On the CPU
    ``torch.cumprod`` does not show this: it carries fp16 in a wider accumulator. Raises ValueError for a factor that is
    not positive and finite, a start that is 0 or overflows in the format, and negative `steps`.

    >>> running_product(1.5, 28, "fp16")[-2:]
    tensor([56832.,    inf], dtype=torch.float16)
    """
    fmt, first = _check(factor, format, start, steps)
    values = list(islice(_products(factor, fmt, first), 1, steps + 1))
    return torch.tensor(values, dtype=torch.float64).to(fmt.dtype)


def direct_cast(factor: float, steps: int, format: Format, *, start: float = 1.0) -> Tensor:
    """Powers start * factor**k, computed in float64 and rounded once; shape (steps,), entry k - 1 is step k.

    Errors as in :func:`running_product`.

    >>> direct_cast(0.8, 78, "fp16")[-2:]
    tensor([5.9605e-08, 0.0000e+00], dtype=torch.float16)
    """
    fmt, _ = _check(factor, format, start, steps)
    return (start * torch.tensor(factor, dtype=torch.float64) ** torch.arange(1, steps + 1)).to(fmt.dtype)


def _first_step(
    reached: Callable[[float], bool], factor: float, format: Format, mode: Mode, start: float
) -> int | None:
    """First step whose value has `reached` a state that, once entered, is never left; None if it never comes."""
    fmt, first = _check(factor, format, start)
    if mode == "product":
        return next((step for step, value in _walk(factor, fmt, first) if reached(value)), None)
    if mode != "cast":
        raise ValueError(f"mode: expected 'product' or 'cast', got {mode!r}")

    def power(k: int) -> float:
        return start * (torch.tensor(factor, dtype=torch.float64, device="cpu") ** k).item()

    before, after = -1, 0  # double until the step is bracketed, then bisect
    while not reached(_round(power(after), fmt)):
        if factor == 1 or power(after) in (0, math.inf):
            return None  # the powers themselves no longer change
        before, after = after, max(1, 2 * after)
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (before, middle) if reached(_round(power(middle), fmt)) else (middle, after)
    return after


def overflow_depth(factor: float, format: Format, *, mode: Mode = "product", start: float = 1.0) -> int | None:
    """First step whose value is Inf or NaN: of the running product, or of start * factor**k cast at once ('cast').

    None means never, and is exact: the sequence was followed until it no longer changes. A factor up to 1 never
    overflows, nor does any factor where the format saturates. Raises ValueError as :func:`running_product` does, for an
    unknown mode, and for a product in fp32 or fp64 whose factor is so near 1 that 2**17 steps do not decide.

    >>> overflow_depth(1.5, "fp16"), overflow_depth(1.5, "fp32"), overflow_depth(1.0, "fp16")
    (28, 219, None)
    """
    return _first_step(lambda value: not math.isfinite(value), factor, format, mode, start)


def underflow_depth(factor: float, format: Format, *, mode: Mode = "product", start: float = 1.0) -> int | None:
    """First step whose value is exactly 0, or None if it sticks above; mode and errors as in :func:`overflow_depth`.

    >>> underflow_depth(0.8, "fp16"), underflow_depth(0.8, "fp16", mode="cast")
    (None, 78)
    """
    return _first_step(lambda value: value == 0, factor, format, mode, start)


def subnormal_depth(factor: float, format: Format, *, mode: Mode = "product", start: float = 1.0) -> int | None:
    """First step whose value is subnormal (0 if `start` is), or None; mode and errors as in :func:`overflow_depth`.

    >>> subnormal_depth(0.8, "fp16", mode="cast")
    44
    """
    fmt = get_format(format)
    depth = _first_step(lambda value: value < fmt.smallest_normal, factor, fmt, mode, start)
    return None if depth == underflow_depth(factor, fmt, mode=mode, start=start) else depth


def sticking_point(factor: float, format: Format, *, start: float = 1.0) -> tuple[int, float]:
    """Step from which the running product no longer changes, and its value there (0, Inf or NaN if it left the range).

    In fp16 it is two subnormal ulp: 2 * 0.8 = 1.6 rounds back to 2. Errors as in :func:`overflow_depth`.

    >>> sticking_point(0.8, "fp16")
    (71, 1.1920928955078125e-07)
    """
    fmt, first = _check(factor, format, start)
    *_, last = _walk(factor, fmt, first)
    return last


def classify(value: float, format: Format) -> Literal["normal", "subnormal", "zero", "beyond max"]:
    """What a finite number becomes in the format: 'beyond max' if its magnitude exceeds max, else by its rounded value.

    >>> classify(1e-6, "fp16"), classify(1e-6, "fp32")
    ('subnormal', 'normal')
    """
    fmt = get_format(format)
    if not math.isfinite(value):
        raise ValueError(f"value: expected a finite number, got {value}")
    if abs(value) > fmt.max:
        return "beyond max"
    rounded = abs(_round(value, fmt))
    return "zero" if rounded == 0 else "subnormal" if rounded < fmt.smallest_normal else "normal"


def band_in(format: Format, low: float = 1e-6, high: float = 1e3) -> tuple[str, str]:
    """What the two ends of a band of gradients become in the format, each by :func:`classify`.

    >>> band_in("fp16"), band_in("e4m3")
    (('subnormal', 'normal'), ('zero', 'beyond max'))
    """
    return classify(low, format), classify(high, format)


def first_nonfinite(tensors: Iterable[Tensor]) -> int | None:
    """Index of the first tensor (of any shape) that holds an Inf or NaN, or None: the layer where a forward pass broke.

    >>> first_nonfinite([torch.ones(2), torch.tensor([1.0, torch.inf])])
    1
    """
    for index, tensor in enumerate(tensors):
        wide = tensor.float() if tensor.dtype.itemsize == 1 else tensor  # isfinite does not know every fp8
        if not wide.isfinite().all():
            return index
    return None
