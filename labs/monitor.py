r"""How healthy is *your* model: signal, gradient and update of every layer, a verdict in words, and the section that explains it.

:func:`stability_report` looks at one batch and leaves the model as it was; :class:`StabilityMonitor` watches a training
loop. Both read the outputs of the modules that compute something, and of ``relu``, ``sigmoid`` and ``tanh`` called as functions.

Numbers come from 1024 entries of each tensor, spread evenly over it and its units: a share has a standard error of about
0.016 at most, and a standard deviation is within 10 % of the exact one in 99 of 100 layers of a deep ReLU net. With
``exact=True`` moments, norms and extremes come from all entries, so that a single NaN is seen; shares stay sampled, and the
gradient is also taken behind each activation, not only at the layer before it. Dead units and the test for symmetric weights
always use all entries.

Not seen: the inside of a fused module (the steps of an ``nn.LSTM``, attention scores), and functions in a segment under
re-entrant checkpointing. Compiled models raise ValueError; parallel wrappers and models on several devices are out of scope.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from labs._measure import pool
from labs._record import Recorder, Step
from labs._replay import Kept
from labs.origin import find_nonfinite_origin
from labs.report import BAND, LayerReport, StabilityReport, judge

__all__ = ["BAND", "LayerReport", "StabilityMonitor", "StabilityReport", "find_nonfinite_origin", "stability_report"]

_MIN_INPUTS = 16  # fewer inputs cannot tell a dead ReLU from a resting one


def _report(record: Step, exact: bool) -> StabilityReport:
    """A recorded step's layers, each with the weights that belong to it, judged."""
    rows: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for i, key in enumerate(record.keys):
        rows[key].append(i)
    names = [name for name in record.kinds if (name, False) in rows]
    owned: dict[str, list[str]] = defaultdict(list)
    for weight in record.squares | record.gradients:
        owner = weight.rpartition(".")[0]
        while owner and owner not in names:  # an attention's projection is never called: it belongs to its parent
            owner = owner.rpartition(".")[0]
        owned[owner or "(model)"].append(weight)
    layers = []
    for name in names:
        layer = pool(record.numbers[rows[name, False]]) | {"kind": record.kinds[name], "calls": record.calls[name]}
        del layer["norm"]
        if (name, True) in rows:
            gradient = pool(record.numbers[rows[name, True]])
            layer["gradient"] = gradient["norm"]
            layer |= {f"gradient_{key}": gradient[key] for key in ("finite", "overflow", "underflow")}
        peak, inputs = record.dead.get(name, (None, 0))
        if peak is not None and inputs >= _MIN_INPUTS:
            layer["dead"] = peak.le(0).double().mean().item()
        norms = [record.gradients[w] for w in owned[name] if w in record.gradients]
        if norms:
            layer["weight_gradient"] = math.hypot(*norms)
        old, change = (sum(record.squares[w][i] for w in owned[name] if w in record.squares) for i in (0, 1))
        if old > 0 and change > 0:
            layer["update_ratio"] = math.sqrt(change / old)
        layers.append(LayerReport(name, **layer))
    return judge(
        layers,
        symmetric={name for name in names if not record.symmetric.isdisjoint(owned[name])},
        units={name: len(peak) for name, (peak, _) in record.dead.items()},
        waiting=any(
            old == 0 for old, _ in record.squares.values()
        ),  # a zero-initialised weight lets no gradient through
        scale=record.scale,
        step=record.step,
        exact=exact,
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
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
        got = (
            f"shape {tuple(loss.shape)}, requires_grad={loss.requires_grad}" if isinstance(loss, Tensor) else repr(loss)
        )
        raise ValueError(f"loss_fn: expected one number that requires a gradient, got {got}")
    return loss


def stability_report(
    model: nn.Module, batch: Any, loss_fn: Callable[..., Tensor], *, exact: bool = False
) -> StabilityReport:
    """One forward and backward pass, layer by layer; the model stays as it was, in the mode (train or eval) that it is in.

    ``batch`` is ``(*inputs, target)`` for ``loss_fn(model(*inputs), target)``; a mapping for
    ``loss_fn(model(**batch), batch)``; or a tensor for ``loss_fn(model(batch))``. Mixed precision: call it under
    ``torch.autocast``. Raises ValueError for a compiled model (pass ``model._orig_mod``), for one with uninitialised
    parameters, and if the loss is not one number that requires a gradient.

    >>> import torch.nn.functional as F
    >>> from labs.nets import DeepMLP
    >>> g = torch.Generator().manual_seed(0)
    >>> net, x, y = DeepMLP((64, 12), "sigmoid", head=10, generator=g), torch.randn(32, 64, generator=g), torch.arange(32) % 10
    >>> report = stability_report(net, (x, y), F.cross_entropy)
    >>> report.verdict, report.section
    ('vanishing', '03-vanishing-sigmoid#L14')
    """
    recorder = Recorder(model, exact)
    with _unchanged(model), torch.enable_grad():
        try:
            recorder.attach()
            recorder.begin()
            _loss(model, batch, loss_fn).backward()
            return _report(recorder.end(0, 1.0), exact)
        finally:
            recorder.detach()


class StabilityMonitor:
    r"""Watches a training loop: every `every`-th step is recorded, the others run without a hook.

    Call :meth:`step` once in each step, after ``optimizer.step()``. Gradients are those of the backward pass, before any
    clipping; if there is a ``torch.amp.GradScaler``, give it as ``scaler``, and its scale is divided out. Passes under
    ``torch.no_grad`` (a validation) are not recorded. Raises ValueError for ``every < 1``, for a compiled model (pass
    ``model._orig_mod``), and in a recorded step without a pass of the model.

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
        self._recorder, self._steps = Recorder(model, exact), deque[Step](maxlen=1000)
        self._step, self._inside = 0, False

    def __enter__(self) -> StabilityMonitor:
        self._inside = True
        self._prepare()
        return self

    def __exit__(self, *exception: object) -> None:
        self._inside = False
        self._recorder.detach()

    def _prepare(self) -> None:
        if self._step % self.every:
            self._recorder.detach()
            return
        self._recorder.attach()
        self._recorder.begin()
        self._scale = float(self.scaler.get_scale()) if self.scaler is not None else 1.0

    def step(self) -> None:
        """Close this step; ValueError outside the ``with`` block."""
        if not self._inside:
            raise ValueError("step: expected a call inside `with StabilityMonitor(...)`, got one outside")
        if self._step % self.every == 0:
            self._steps.append(self._recorder.end(self._step, self._scale))
        self._step += 1
        self._prepare()

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
        return str(self.report)

    def _repr_html_(self) -> str:
        return self.report._repr_html_()

    def to_dict(self) -> dict[str, Any]:
        """The latest report's."""
        return self.report.to_dict()

    def plot(self) -> Any:
        """The latest report's."""
        return self.report.plot()
