r"""A trap for the step that first makes the loss, a gradient or a weight NaN or Inf: it keeps what replays that step, and names its origin.

A step whose loss or gradient is bad is noticed before the optimizer's update, so that the weights are still those that it
began with: nothing needs to be copied for it but random state and small buffers. An update that spoils the weights is noticed too
late, in the loss of the next step. For it weights and optimizer are copied every so many steps, and the batches since are kept: the
steps since the copy are run again, up to the one that goes wrong. So it does not matter that of large gradients only one is looked
at in each step: the others are seen by what they do. That keeps the cost near 1 % of a step on the CPU; a GPU waits once in each,
and what a scaler refuses there is noticed when the next step begins.

Infinities inside the model, masks and others, do not matter: only loss, gradients and weights are looked at.
"""

from __future__ import annotations

import copy
import math
import random
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from labs.monitor.kept import nonfinite, tensors
from labs.monitor.measure import wide
from labs.monitor.origin import Origin, find_nonfinite_origin
from labs.monitor.saved import save_step
from labs.words import say

__all__ = ["NonFiniteError", "Trap", "trap_nonfinite"]

_SMALL = 2**18  # entries of a buffer that is copied in every step; a larger one only if it was written to
_FEW = 2**12  # entries of a gradient that is always looked at
_SKIPS = 3  # steps in a row that a scaler skips before it is asked why


class NonFiniteError(ArithmeticError):
    """A step has gone wrong; ``origin`` says where, in words too."""

    def __init__(self, origin: Origin, step: int, remark: str) -> None:
        super().__init__(say("step {step}: {origin}").format(step=step, origin=origin) + remark)
        self.origin, self.step = origin, step


def random_state() -> dict[str, Any]:
    """The state of the generators that torch, Python and, if loaded, NumPy share out."""
    state: dict[str, Any] = {"torch": torch.get_rng_state(), "python": random.getstate()}
    if torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state_all()
    if np := sys.modules.get("numpy"):
        state["numpy"] = np.random.get_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    random.setstate(state["python"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    if "numpy" in state and (np := sys.modules.get("numpy")):
        np.random.set_state(state["numpy"])


@dataclass
class _Pass:
    """One call of the trap: a batch, and all that its loss depends on besides weights and large buffers."""

    compute: Callable[..., Tensor]
    batch: tuple[Any, ...]
    random: dict[str, Any]
    buffers: list[Tensor]
    loss: Tensor | None = None


@dataclass
class _Step:
    """The passes up to an update, and the numbers that the update used."""

    passes: list[_Pass] = field(default_factory=list)
    groups: list[dict[str, Any]] = field(default_factory=list)
    scale: float = 1.0
    updated: bool = False


def _groups(optimizer: Any) -> list[dict[str, Any]]:
    return [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups] if optimizer else []


def _set_groups(optimizer: Any, groups: list[dict[str, Any]]) -> None:
    for group, kept in zip(optimizer.param_groups if optimizer else [], groups, strict=True):
        group.update(kept)


def trap_nonfinite(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    scaler: Any = None,
    every: int = 50,
    memory: int = 2**30,
    path: str | Path | None = None,
    raises: bool = True,
    before_update: Callable[[], object] | None = None,
) -> Trap:
    r"""A context in which ``trap(compute, *batch)`` returns the loss ``compute(*batch)`` and watches what becomes of it.

    At the first step that goes wrong the model is as before that step, ``trap.origin`` holds what
    :func:`~labs.monitor.find_nonfinite_origin` says, ``path`` the step itself if it is given (see ``python -m labs.monitor replay``), and
    :class:`~labs.monitor.NonFiniteError` is raised; without ``raises`` a warning is given, once, and the loop goes on.

    - ``every``: weights and optimizer are copied every so many steps (0: never, and an update that spoils weights is not run again);
    - ``memory``: if the batches since take more bytes than that, the copy is made earlier;
    - ``before_update``: what the loop does between ``backward`` and ``optimizer.step()``, as clipping, for steps that are run again.

    Run again exactly are steps in which ``backward`` is called on what the trap returned, times the scaler's scale, and that do nothing
    else but ``before_update``, on a CPU or with deterministic kernels; the losses are compared, and the message says if they differ.
    A batch must not be overwritten while the trap holds it. Raises ValueError for ``every < 0``.

    >>> model = nn.Linear(3, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with trap_nonfinite(model, optimizer, raises=False) as trap, warnings.catch_warnings(action="ignore"):
    ...     for x in (torch.ones(2, 3), torch.zeros(2, 3)):
    ...         optimizer.zero_grad()
    ...         trap(lambda x: model(x).square().mean() + x.norm().log(), x).backward()
    ...         optimizer.step()
    >>> trap.step, trap.origin.phase, trap.origin.operation
    (1, 'forward', 'log')
    """
    if every < 0:
        raise ValueError(f"every: expected 0 or more, got {every}")
    return Trap(model, optimizer, scaler, every, memory, path, raises, before_update)


class Trap:
    """What :func:`~labs.monitor.trap_nonfinite` returns."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None,
        scaler: Any,
        every: int,
        memory: int,
        path: str | Path | None,
        raises: bool,
        before_update: Callable[[], object] | None,
    ) -> None:
        self.model, self.optimizer, self.every, self.memory = model, optimizer, every, memory
        self.scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self.path, self.raises, self.before_step = path, raises, before_update
        self.origin: Origin | None = None
        self.step: int | None = None
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._buffers = [b for b in model.buffers()]
        self._versions = [-1] * len(self._buffers)
        self._copies: list[Tensor] = [b.detach().clone() for b in self._buffers]
        self._steps = [_Step()]  # since the copy; the last is under way
        self._count, self._bytes, self._skips, self._patience, self._asleep = 0, 0, 0, _SKIPS, False
        self._turn = 0
        self._copy: tuple[list[Tensor], list[Tensor], Any] | None = None

    def __enter__(self) -> Trap:
        self._handle = register_optimizer_step_pre_hook(self._before_update)
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            last = self._steps[-1]
            spoilt = last.updated and any(map(nonfinite, self._parameters))
            if exception[0] is None and not self._asleep and (spoilt or (self.scaler and self._lost(last))):
                self._caught()  # the last update, or one that was refused
        finally:
            self._handle.remove()
            self._steps, self._copy = [_Step()], None

    def __call__(self, compute: Callable[..., Tensor], *batch: Any) -> Tensor:
        """The loss ``compute(*batch)``, on which to call ``backward``."""
        if self._asleep:
            return compute(*batch)
        if self.scaler is not None and self._steps[-1].passes:
            self._look_for_a_skip()
        if self._steps[-1].updated:
            self._close()
        self._make_room(batch)
        if self._asleep:
            return compute(*batch)
        step, now = self._steps[-1], _Pass(compute, batch, random_state(), self._small_buffers())
        if self.scaler is not None and not step.passes:
            step.scale = float(self.scaler.get_scale())
        step.passes.append(now)
        try:
            loss = compute(*batch)
        except Exception as error:
            self._caught(error)
            raise
        now.loss = loss.detach()
        if loss.is_cpu and not math.isfinite(loss.item()) and self._caught():
            return compute(*batch)  # from the weights before the update that is undone
        return loss

    def _close(self) -> None:
        self._steps.append(_Step())
        self._count += 1

    # ------------------------------------------------------------------------------------------ what is kept of a step

    def _small_buffers(self) -> list[Tensor]:
        """Copies of the buffers; of a large one, the last one as long as nothing writes to it."""
        for i, b in enumerate(self._buffers):
            if b.numel() <= _SMALL or b._version != self._versions[i]:
                self._copies[i], self._versions[i] = b.detach().clone(), b._version
        return list(self._copies)

    def _make_room(self, batch: Any) -> None:
        self._bytes += sum(t.numel() * t.element_size() for t in tensors(batch))
        begun = len(self._steps[-1].passes) > 0  # micro-batches of one step
        full = len(self._steps) > self.every or self._copy is None or self._bytes > self.memory
        if begun or not full:
            return
        if any(map(nonfinite, self._parameters)) and len(self._steps) > 1:  # before the sound ones are overwritten
            self._steps.pop()
            self._count -= 1
            self._caught()
            return
        self._steps, self._bytes = [_Step()], 0
        if self.every:
            self._copy = self._state(self._copy)

    def _state(self, reuse: Any = None) -> tuple[list[Tensor], list[Tensor], Any]:
        weights = reuse[0] if reuse else [p.detach().clone() for p in self.model.parameters()]
        if reuse:
            for kept, p in zip(weights, self.model.parameters(), strict=True):
                kept.copy_(p.detach())
        optimizer = copy.deepcopy(self.optimizer.state_dict()) if self.optimizer is not None else None
        return weights, [b.detach().clone() for b in self._buffers], optimizer

    def _set_state(self, state: tuple[list[Tensor], list[Tensor], Any]) -> None:
        weights, buffers, optimizer = state
        for p, kept in zip(self.model.parameters(), weights, strict=True):
            p.data.copy_(kept)
        self._set_buffers(buffers)
        if self.optimizer is not None:
            self.optimizer.load_state_dict(copy.deepcopy(optimizer))

    def _set_buffers(self, buffers: list[Tensor]) -> None:
        for b, kept in zip(self._buffers, buffers, strict=True):
            b.data.copy_(kept)  # unseen by autograd: a graph may still be waiting for its backward pass

    # ------------------------------------------------------------------------------------------------- what is noticed

    def _before_update(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        step = self._steps[-1]
        if self._asleep or optimizer is not self.optimizer or not step.passes:
            return
        self._skips = 0
        # A fused optimizer unscales, and skips, by itself
        if getattr(optimizer, "grad_scale", None) is None and self._looks_bad(step.passes[-1].loss):
            self._caught()
        step.updated = True
        step.groups = _groups(optimizer)

    def _looks_bad(self, loss: Tensor | None) -> bool:
        """Whether a gradient is not finite: all small ones, and one of the large by turns.

        A NaN on its way down reaches the small ones. One that arises at a large weight, and nowhere else, is seen in the next loss.
        """
        small: list[Tensor] = []
        large: list[Tensor] = []
        for p in self._parameters:
            if p.grad is not None:
                g = p.grad.coalesce().values() if p.grad.is_sparse else p.grad
                (small if g.numel() <= _FEW and not g.is_complex() else large).append(g)
        self._turn += 1
        parts = [
            g.sum().abs() for g in (large if not self.every else large[self._turn % len(large) :][:1] if large else [])
        ]
        with torch.no_grad():
            for dtype in {g.dtype for g in small}:
                parts.append(torch.cat([g.reshape(-1) for g in small if g.dtype == dtype]).sum().abs())
        parts += [loss.abs()] if loss is not None and not loss.is_cpu else []
        if all(part.is_cpu for part in parts):
            return not all(math.isfinite(part.item()) for part in parts) and any(map(nonfinite, small + large))
        return not bool(torch.stack([wide(part) for part in parts]).isfinite().all())

    def _look_for_a_skip(self) -> None:
        """A pass begins: has the scaler refused the update before it, and too often for a scale that is merely too large?"""
        step = self._steps[-1]
        if (
            step.updated or self.scaler is None or float(self.scaler.get_scale()) >= step.scale
        ):  # gradients may add up over several passes
            return
        self._skips += 1
        if self._lost(step):
            self._caught()
        elif self._skips >= self._patience:
            self._patience *= 2
            self._caught(skipped=True)
        self._close()

    def _lost(self, step: _Step) -> bool:
        """Whether a loss on a GPU is not finite, of a step whose update the scaler has refused: no scale makes it so."""
        losses = [one.loss for one in step.passes if one.loss is not None and not one.loss.is_cpu]
        return not step.updated and any(map(nonfinite, losses))

    # --------------------------------------------------------------------------------------------------- what is done

    def _caught(self, error: Exception | None = None, *, skipped: bool = False) -> bool:
        """Name the origin, save the step, and raise or warn; whether an update was undone."""
        self._asleep = True
        remark, undone, groups = "", False, _groups(self.optimizer)
        if any(map(nonfinite, self._parameters)):
            undone, remark = self._run_again()
        step, after = self._steps[-1], (random_state(), [b.detach().clone() for b in self._buffers])
        try:
            origin = self._origin(step)
        except Exception:
            if error is None:
                raise
            origin = Origin("none")  # the exception has another cause
        if not origin and (error is not None or skipped):
            set_random_state(after[0])
            self._set_buffers(after[1])
            self._asleep = False
            return False
        self.origin, self.step = origin, self._count
        if self.path is not None:
            save_step(
                self.path,
                self.model,
                self.optimizer,
                self.scaler,
                step.passes[-1].batch,
                random_state(),
                origin,
                self._count,
            )
            remark += "\n  " + say("saved: {path}").format(path=self.path)
        if self.raises:
            raise NonFiniteError(origin, self._count, remark) from error
        warnings.warn(str(NonFiniteError(origin, self._count, remark)), RuntimeWarning, stacklevel=3)
        _set_groups(self.optimizer, groups)
        if not undone:
            set_random_state(after[0])
            self._set_buffers(after[1])
        return undone

    def _origin(self, step: _Step) -> Origin:
        """What the finder says of the last pass, or of all of the step; model and generators are then as before it."""

        def all_passes() -> Tensor:
            losses = [one.compute(*one.batch) for one in step.passes]
            return torch.stack([loss.reshape(()) for loss in losses]).sum()

        last, origin = step.passes[-1], Origin("none")
        for first, closure in ((last, lambda: last.compute(*last.batch)), (step.passes[0], all_passes)):
            self._set_buffers(first.buffers)
            set_random_state(first.random)
            origin = find_nonfinite_origin(self.model, closure, self.optimizer, self.scaler)
            if origin or len(step.passes) == 1:
                break
        return origin

    def _run_again(self) -> tuple[bool, str]:
        """Find the update that spoiled the weights, and undo it: whether that was done, and what to say about it."""
        if self._copy is None or self.optimizer is None:
            remark = say("No copy of sound weights was kept: the update that spoiled them is not found.")
            return False, f"\n  {remark}"
        optimizer, spoilt, steps, same = self.optimizer, self._state(), self._steps, True
        self._set_state(self._copy)
        for i, step in enumerate(steps):
            before = self._state()
            same &= self._redo(step)
            if any(map(nonfinite, self._parameters)):
                self._set_state(before)
                _set_groups(optimizer, step.groups)
                self._steps, self._count = steps[: i + 1], self._count - (len(steps) - 1 - i)
                remark = say("The steps before it had other losses when they ran again: it may be another one.")
                return True, "" if same else f"\n  {remark}"
        self._set_state(spoilt)
        remark = say(
            "An update spoiled the weights, but not when the steps ran again: they depend on more than is kept."
        )
        return False, f"\n  {remark}"

    def _redo(self, step: _Step) -> bool:
        """Run a step that was kept; whether its losses are the same as then."""
        assert self.optimizer is not None
        if not step.updated:
            return True
        _set_groups(self.optimizer, step.groups)
        self.optimizer.zero_grad()
        same = True
        for one in step.passes:
            set_random_state(one.random)
            self._set_buffers(one.buffers)
            loss = one.compute(*one.batch)
            same &= one.loss is not None and torch.equal(loss.detach(), one.loss)
            (loss * step.scale).backward()
        for p in self._parameters:
            if p.grad is not None and step.scale != 1:
                p.grad.div_(step.scale)
        if self.before_step is not None:
            self.before_step()
        self.optimizer.step()
        return same
