"""A model watched: one batch of it, or every step of a training loop; each recorded step becomes a report.

Hooks take the numbers (:mod:`labs.monitor.hooks`), and :mod:`labs.monitor.report` judges them.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from labs.monitor.hooks import Hooks, RecordedStep
from labs.monitor.kept import Kept
from labs.monitor.measure import pool, wide
from labs.monitor.report import LayerReport, StabilityReport, judge
from labs.monitor.series import plot, scalars
from labs.words import say

__all__ = ["StabilityMonitor", "stability_report"]

_MIN_INPUTS = 16  # fewer inputs cannot tell a dead ReLU from a resting one


def _owners(names: Collection[str], weights: Iterable[str]) -> dict[str, list[str]]:
    """The weights of each layer, by the longest of the names that theirs begins with."""
    owned: dict[str, list[str]] = defaultdict(list)
    for weight in weights:
        owner = weight.rpartition(".")[0]
        while owner and owner not in names:  # an attention's projection is never called: it belongs to its parent
            owner = owner.rpartition(".")[0]
        owned[owner or "(model)"].append(weight)
    return owned


_SMALL = 0.1  # of its usual size, the root of 1 / fan_in an entry: a weight that begins at 0 and has yet to grow


def _layer(
    step: RecordedStep, name: str, rows: dict[tuple[str, bool], list[list[float]]], weights: list[str]
) -> LayerReport:
    """One layer's own numbers, those of its gradient and those of its weights; the verdict is still to come."""
    layer = pool(rows[name, False])
    del layer["norm"]
    layer["name"], layer["kind"], layer["calls"] = name, step.kinds[name], step.calls[name]
    if (name, True) in rows:
        gradient = pool(rows[name, True])
        layer["gradient"], layer["gradient_finite"] = gradient["norm"], gradient["finite"]
        layer["gradient_overflow"], layer["gradient_underflow"] = gradient["overflow"], gradient["underflow"]
    else:
        layer["gradient_overflow"], layer["gradient_underflow"] = {}, {}
    peak, inputs = step.dead.get(name, (None, 0))
    if peak is not None and inputs >= _MIN_INPUTS:
        layer["dead"] = wide(peak.le(0)).mean().item()
    norms = [step.gradients[weight] for weight in weights if weight in step.gradients]
    if norms:
        layer["weight_gradient"] = math.hypot(*norms)
        if not step.spoilt.isdisjoint(weights) and math.isfinite(layer["weight_gradient"]):
            layer["weight_gradient"] = math.nan  # where the sample missed it
    size, change = 0.0, 0.0
    for weight in weights:
        if weight in step.matrices and weight in step.squares:  # a table of biases holds nothing back
            old, moved = step.squares[weight]
            size += old if old > _SMALL**2 * step.usual[weight] else step.usual[weight]
            change += moved
    if size > 0 and change > 0:
        layer["update_ratio"] = math.sqrt(change / size)
    return LayerReport.of(layer)


def _small(step: RecordedStep) -> list[str]:
    """Weights that begin at 0, or next to it, and hold the gradient back as yet; none if nearly all of them are so small."""
    small = [name for name, (old, _) in step.squares.items() if old <= _SMALL**2 * step.usual[name]]
    zero = any(step.squares[name][0] == 0 for name in small)
    return small if zero or len(small) <= 0.75 * len(step.squares) else []


def _report(step: RecordedStep, exact: bool) -> StabilityReport:
    """A recorded step's layers, each with the weights that belong to it, and the verdicts."""
    rows: dict[tuple[str, bool], list[list[float]]] = defaultdict(list)
    for key, row in zip(step.keys, step.numbers.tolist(), strict=True):
        rows[key].append(row)
    names = [name for name in step.kinds if (name, False) in rows]
    owned = _owners(names, step.squares | step.gradients | dict.fromkeys(step.spoilt))
    over, small = step.overflow, set(_small(step))
    genuine = over is not None and (
        not over.half or (over.infinite == 0 and over.whole) or (step.stuck >= 4 and step.scale <= 2.0**14)
    )
    return judge(
        [_layer(step, name, rows, owned[name]) for name in names],
        symmetric={name for name in names if not step.symmetric.isdisjoint(owned[name])},
        units={name: len(peak) for name, (peak, _) in step.dead.items()},
        waiting=bool(small),
        small={name for name in names if not small.isdisjoint(owned[name])},
        scale=step.scale,
        step=step.step,
        exact=exact,
        loss=step.loss,
        spoilt={name: [weight for weight in owned[name] if weight in step.spoilt] for name in owned if step.spoilt},
        still=step.still,
        genuine=genuine,
        stuck=step.stuck,
    )


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Everything in the model, and random numbers, are afterwards what they were before, also after an exception."""
    keep = Kept(model, None, None)
    for p in model.parameters():
        keep.storage(p)  # an embedding with max_norm changes its own weights
        keep.grads[p], p.grad = p.grad, None
    try:
        yield
    finally:
        keep.restore()


def _loss(model: nn.Module, batch: Any, loss_fn: Callable[..., Tensor]) -> Tensor:
    if isinstance(batch, Mapping):
        loss = loss_fn(model(**batch), batch)
    elif isinstance(batch, (tuple, list)):
        *inputs, target = batch
        loss = loss_fn(model(*inputs), target)
    else:
        loss = loss_fn(model(batch))
    if isinstance(loss, Tensor) and loss.numel() == 1 and loss.requires_grad:
        return loss
    got = f"shape {tuple(loss.shape)}, requires_grad={loss.requires_grad}" if isinstance(loss, Tensor) else repr(loss)
    raise ValueError(f"loss_fn: expected one number that requires a gradient, got {got}")


def stability_report(
    model: nn.Module, batch: Any, loss_fn: Callable[..., Tensor], *, exact: bool = False
) -> StabilityReport:
    """One forward and backward pass, layer by layer; the model stays as it was, in the mode (train or eval) that it is in.

    ``batch`` is ``(*inputs, target)`` for ``loss_fn(model(*inputs), target)``; a mapping for
    ``loss_fn(model(**batch), batch)``; or a tensor for ``loss_fn(model(batch))``. Mixed precision: call it under
    ``torch.autocast``. A compiled model runs eagerly. Raises ValueError for TorchScript, for a model with uninitialised
    parameters, and if the loss is not one number that requires a gradient.

    >>> import torch.nn.functional as F
    >>> from labs.nets import DeepMLP
    >>> g = torch.Generator().manual_seed(0)
    >>> net, x, y = DeepMLP((64, 12), "sigmoid", head=10, generator=g), torch.randn(32, 64, generator=g), torch.arange(32) % 10
    >>> report = stability_report(net, (x, y), F.cross_entropy)
    >>> report.verdict, report.section
    ('vanishing', '03-vanishing-sigmoid#sec-sig-slopes-weights')
    """
    hooks = Hooks(model, exact)
    with _unchanged(model), torch.enable_grad():
        try:
            hooks.attach()
            hooks.begin()
            _loss(model, batch, loss_fn).backward()
            return _report(hooks.end(0, 1.0), exact)
        finally:
            hooks.detach()


class StabilityMonitor:
    r"""Watches a training loop: every `every`-th step is recorded, the others run without a hook.

    Call :meth:`step` once in each step, after ``optimizer.step()``. Gradients are those of the backward pass, before any
    clipping; if there is a ``torch.amp.GradScaler``, give it as ``scaler``, and its scale is divided out. Passes under
    ``torch.no_grad`` (a validation) are not recorded. What ``torch.compile`` compiled runs eagerly in the recorded steps, and
    nothing is compiled anew; in several processes (DDP, FSDP2) each reports what it computes and holds. Raises ValueError for
    ``every < 1``, for TorchScript, and in a recorded step without a pass of the model.

    >>> g = torch.Generator().manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with StabilityMonitor(model, every=2) as monitor:
    ...     for _ in range(4):
    ...         optimizer.zero_grad()
    ...         model(torch.randn(32, 8, generator=g)).square().mean().backward()
    ...         optimizer.step()
    ...         monitor.step()
    >>> monitor.report.verdict, monitor.report.step
    ('healthy', 2)
    """

    def __init__(self, model: nn.Module, every: int = 10, *, exact: bool = False, scaler: Any = None) -> None:
        if every < 1:
            raise ValueError(f"every: expected at least 1, got {every}")
        self.every, self.exact, self.scaler = every, exact, scaler
        self._hooks, self._steps = Hooks(model, exact), deque[RecordedStep](maxlen=1000)
        self._step, self._inside = 0, False
        self.recorded = False
        """Whether the latest :meth:`step` closed a recorded one."""

    def __enter__(self) -> StabilityMonitor:
        self._inside = True
        self._prepare()
        return self

    def __exit__(self, *exception: object) -> None:
        self._inside = False
        self._hooks.detach()

    def _prepare(self) -> None:
        if self._step % self.every:
            self._hooks.detach()
            return
        self._hooks.attach()
        self._hooks.begin()
        self._scale = float(self.scaler.get_scale()) if self.scaler is not None else 1.0

    def step(self) -> None:
        """Close this step; ValueError outside the ``with`` block."""
        if not self._inside:
            raise ValueError("step: expected a call inside `with StabilityMonitor(...)`, got one outside")
        self.recorded = self._step % self.every == 0
        if self.recorded:
            self._steps.append(self._counted(self._hooks.end(self._step, self._scale)))
        self._step += 1
        self._prepare()

    def _counted(self, step: RecordedStep) -> RecordedStep:
        """With how many steps in a row have overflowed in the same place, and not in fewer entries."""
        over, before = step.overflow, self._steps[-1] if self._steps else None
        if over is None:
            return step
        same = (
            before and before.overflow and before.overflow.name == over.name and over.bad >= 0.9 * before.overflow.bad
        )
        return step._replace(stuck=(before.stuck if before and same else 0) + 1)

    @property
    def report(self) -> StabilityReport:
        """The latest recorded step's; ValueError before the first."""
        if not self._steps:
            raise ValueError("report: expected a recorded step, got none yet: call step() after optimizer.step()")
        return _report(self._steps[-1], self.exact)

    @property
    def history(self) -> list[StabilityReport]:
        """Reports of the last 1000 recorded steps, oldest first."""
        return [_report(step, self.exact) for step in self._steps]

    def __str__(self) -> str:
        return str(self.report) if self._steps else say("No step is recorded yet.")

    def _repr_html_(self) -> str:
        return self.report._repr_html_() if self._steps else str(self)

    def to_dict(self) -> dict[str, Any]:
        """The latest report's."""
        return self.report.to_dict()

    def scalars(self, layers: bool = True) -> dict[str, float]:
        """The latest report's, for TensorBoard, Weights & Biases or MLflow: ASCII keys, finite floats, with or without each layer's."""
        return scalars(self.report, layers)

    def plot(self) -> Any:
        """The latest step, and signal, gradient and update of every layer over time; returns matplotlib's figure."""
        return plot(self.history or [self.report])
