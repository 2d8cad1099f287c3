"""The numbers of one tensor, taken where it lies, and those of all tensors of a step, computed together at its end.

A hook can afford a few microseconds. So each tensor leaves behind 1024 of its entries, and in exact mode also its extremes, its
sum and its sum of squares, in the kernels that are quickest on one core; nothing is read until the step is over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from labs.formats import FORMATS

Tensors = tuple[Tensor, ...]
_SAMPLE = 1024
_SLOPE = 0.05  # saturated: a slope below 5 % of the activation's largest
_CHUNK = 2**18  # torch.dot adds up so many entries to some 1e-6 in fp32; of 8 million it loses 2e-4
# e4m3 for what goes forward, e5m2 for what goes backward: Micikevicius et al. 2022, section 3.
_FORMATS = {"fp16": ("fp16", "fp16"), "bf16": ("bf16", "bf16"), "fp8": ("e4m3", "e5m2")}


def has_float64(x: Tensor) -> bool:
    """Whether the device of ``x`` computes in float64; Apple's mps does not."""
    return x.device.type != "mps"


def wide(x: Tensor) -> Tensor:
    """``x`` in float64, on its device, or on the CPU where that device has no float64."""
    return x.double() if has_float64(x) else x.cpu().to(torch.float64)


def spread(numel: int) -> Tensor:
    """Places of the sample, shape (1024,): all over the tensor, and each unit, in a width unknown here, about equally often."""
    j = torch.arange(_SAMPLE, dtype=torch.float64, device="cpu")
    if numel < 16 * _SAMPLE:  # one entry of each stretch, by the golden ratio
        return ((j + j * 0.6180339887498949 % 1) * (numel / _SAMPLE)).long()
    stride = -(-numel // _SAMPLE)
    while math.gcd(stride, numel) > 1:  # coprime to every width; the few that wrap around weigh little
        stride += 1
    return j.long() * stride % numel


def entries(x: Tensor, index: Tensor) -> Tensor:
    """The entries of ``x`` at these places, shape (1024,): what ``torch.take`` gives, in half its time where that can be had."""
    return x.view(-1).index_select(0, index) if x.is_contiguous() else torch.take(x, index)


class Reading(NamedTuple):
    """One output (or its gradient) of one call, still on its device."""

    name: str
    backward: bool
    numel: int
    sample: Tensor
    extremes: Tensors = ()  # only if exact: smallest and largest; of a gradient only where its squares do not tell
    sums: Tensors = ()  # only if exact: the shift, if any, sum and squares, in parts; of a gradient only squares
    shifted: bool = False


def _flat(x: Tensor) -> Tensor:
    """All entries in one axis, in the order in which they lie, so that a transposed tensor need not be copied."""
    if not x.is_contiguous():
        x = x.permute(sorted(range(x.ndim), key=x.stride, reverse=True))
    return x.reshape(-1) if x.dtype.itemsize >= 4 else x.reshape(-1).float()


def _squares(flat: Tensor) -> Tensors:
    return tuple([torch.dot(c, c) for c in flat.split(_CHUNK)]) if flat.numel() > _CHUNK else (torch.dot(flat, flat),)


def _held(squares: Tensors, numel: int) -> bool:
    """Whether the sums are known to be neither Inf nor lost below the format's smallest: to read them keeps a device waiting."""
    if not squares[0].is_cpu:
        return False
    total = sum([part.item() for part in squares])
    return math.isfinite(total) and total > 1e-30 * numel


def _careful(flat: Tensor) -> Tensors:
    flat = flat if has_float64(flat) else wide(flat)
    return (torch.linalg.vector_norm(flat, dtype=torch.float64).square(),)


def squares_of(x: Tensor) -> tuple[Tensors, bool]:
    """Sum of the squares of all entries, in parts, and whether it tells that all of them are finite."""
    flat = _flat(x)
    squares = _squares(flat)
    return (squares, True) if _held(squares, flat.numel()) else (_careful(flat), False)


def bad_shares(x: Tensor) -> Tensor | None:
    """Shares of Inf, and of Inf or NaN, among the entries; None if it is known to have neither.

    On the CPU the sum tells that, in a fraction of the time of a test of each.
    """
    if x.is_cpu and (math.isfinite(x.sum().item()) or bool(x.isfinite().all())):
        return None
    return torch.stack([x.isinf().float().mean(), 1 - x.isfinite().float().mean()])


def norms_of(squares: Sequence[Tensors], scale: float) -> list[float]:
    """Norms of gradients from the sums of their squares, which come in parts."""
    parts = [part for tensors in squares for part in tensors]
    one_by_one = all(part.is_cpu for part in parts)  # several times quicker there, and on a device a wait for each
    values = iter([part.item() for part in parts] if one_by_one else torch.stack([wide(p) for p in parts]).tolist())
    return [math.sqrt(sum(islice(values, len(tensors)))) / scale for tensors in squares]


def read_all(name: str, backward: bool, x: Tensor, index: Tensor, *, shifted: bool) -> Reading:
    """What ``x`` leaves behind if exact: its entries at ``index`` and sums over all, if shifted less the sample's mean."""
    flat = _flat(x)
    sample = flat.index_select(0, index) if x.is_contiguous() and x.dtype == flat.dtype else entries(x, index)
    if backward:  # only the norm is asked for, and if it is finite, every entry is
        squares = _squares(flat)
        if _held(squares, flat.numel()):
            return Reading(name, True, x.numel(), sample, (), squares)
        return Reading(name, True, x.numel(), sample, torch.aminmax(flat), _careful(flat))
    extremes: Tensors = torch.aminmax(flat)
    shift: Tensors = ()
    if shifted:
        shift = (sample.mean(dtype=flat.dtype),)
        flat = flat - shift[0]  # or else the squares cancel where the mean is large
    return Reading(name, False, x.numel(), sample, extremes, (*shift, flat.sum(), *_squares(flat)), shifted)


def cancels(mean: Tensor, variance: Tensor) -> Tensor:
    """Where mean square less squared mean loses more than a digit and a half of fp32's seven."""
    return mean.square() > 25 * variance


def _saturated(S: Tensor, records: Sequence[Reading], kinds: Mapping[str, str]) -> Tensor:
    """Of each record the share of small slopes; NaN for what is neither tanh nor sigmoid."""
    saturated = S.new_full((len(S),), math.nan)
    for kind, shift in (("tanh", 0.0), ("sigmoid", 1.0)):  # tanh' = 1 - y^2, 4 sigmoid' = 1 - (2y - 1)^2
        rows = [i for i, r in enumerate(records) if not r.backward and kinds[r.name] == kind]
        if rows:
            saturated[rows] = (((1 + shift) * S[rows] - shift).square() > 1 - _SLOPE).to(S.dtype).mean(1)
    return saturated


def numbers_of(records: Sequence[Reading], kinds: Mapping[str, str], scale: float) -> Tensor:
    """Of each record: entries, mean, variance, largest, shares of zero and saturated, beyond and lost in three formats."""
    S = torch.cat([r.sample for r in records]).view(-1, _SAMPLE)
    S = S.float() if S.dtype.itemsize < 4 else S
    numel = torch.tensor([r.numel for r in records], dtype=torch.float64, device="cpu")
    back = torch.tensor([r.backward for r in records], device="cpu")
    factor = torch.where(back, 1 / scale, 1.0)
    if scale != 1:
        S.mul_(factor.to(S)[:, None])
    saturated = _saturated(S, records, kinds)
    mean = S.mean(1)
    hits = S - mean[:, None]
    variance = wide(hits.square_().mean(1))
    if not variance.isfinite().all() or bool((variance < 1e-30).any()):  # squares beyond fp32, or below it
        mean, variance = wide(S).mean(1), wide(S).var(1, correction=0)
    S.abs_()
    largest = S.amax(1)

    def share(compare: Callable[..., Tensor], thresholds: Sequence[float]) -> Tensor:
        limit = torch.where(back, thresholds[1], thresholds[0]).to(S)[:, None]
        return compare(S, limit, out=hits).mean(1)  # into floating point: several times cheaper than into bool

    zero = share(torch.le, (0.0, 0.0))
    highest, none = largest.max().item(), torch.zeros_like(zero)
    columns = [mean, variance, largest, zero, saturated]
    for names in _FORMATS.values():
        limits = [FORMATS[name].max for name in names]
        columns.append(none if highest <= min(limits) else share(torch.gt, limits))
    for names in _FORMATS.values():  # half the smallest subnormal still rounds to 0
        columns.append(share(torch.le, [FORMATS[name].smallest_subnormal / 2 for name in names]) - zero)
    numbers = torch.stack([wide(column) for column in columns], 1).cpu()
    if records and records[0].sums:
        _make_exact(numbers, records, factor.tolist())
    return torch.cat([numel[:, None], numbers], 1)


def _make_exact(numbers: Tensor, records: Sequence[Reading], factor: Sequence[float]) -> None:
    """Mean, variance and largest of all entries in place of the sample's; moments only where fp32 could hold the sums."""
    parts = [t for r in records for t in (*r.extremes, *r.sums)]
    one_by_one = records[0].sample.is_cpu  # several times quicker there, and on a device a wait for each
    values = iter([t.item() for t in parts] if one_by_one else torch.stack([wide(t) for t in parts]).tolist())
    rows = numbers[:, :3].tolist()
    for row, r, f in zip(rows, records, factor, strict=True):
        if r.extremes:
            row[2] = max(abs(next(values)), abs(next(values))) * f
        squares = list(islice(values, len(r.sums)))
        shift = squares.pop(0) if r.shifted else 0.0
        mean = 0.0 if r.backward else squares.pop(0) / r.numel
        variance = sum(squares) / r.numel - mean**2
        if math.isfinite(variance) and variance >= max(0.01 * mean**2, 1e-30 * (not r.backward)):
            row[:2] = (shift + mean) * f, max(variance, 0.0) * f**2
    numbers[:, :3] = torch.tensor(rows, dtype=torch.float64, device="cpu")


def pool(rows: Sequence[Sequence[float]]) -> dict[str, Any]:
    """One layer's tensors as one, each weighted by its number of entries."""
    if len(rows) == 1:
        numel, average, variance, largest = rows[0][0], rows[0], rows[0][2], rows[0][3]
    else:
        numel = sum(row[0] for row in rows)
        average = [sum(row[0] * row[i] for row in rows) / numel for i in range(len(rows[0]))]
        variance = average[2] + sum(row[0] * (row[1] - average[1]) ** 2 for row in rows) / numel
        largest = math.nan if any(math.isnan(row[3]) for row in rows) else max(row[3] for row in rows)
    mean, known = average[1], variance == variance
    return {
        "mean": mean,
        "std": math.sqrt(variance) if variance > 0 else 0.0 if known else math.nan,
        "norm": math.sqrt(numel * (variance + mean * mean)) if known else math.nan,
        "largest": largest,
        "finite": math.isfinite(largest),
        "zero": average[4],
        "saturated": average[5] if average[5] == average[5] else None,
        "overflow": {"fp16": average[6], "bf16": average[7], "fp8": average[8]},
        "underflow": {"fp16": average[9], "bf16": average[10], "fp8": average[11]},
    }
