"""Faults planted at a random layer of a sound model, and whether the finder names them: phase, module, operation or tensor, and line."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from labs.monitor import Origin, find_nonfinite_origin

from .zoo import Made, loss_of


class Fault(NamedTuple):
    """What is planted where; the finder should give these."""

    phase: str
    module: str
    operations: tuple[str, ...] = ()
    tensor: str = ""
    line: str = ""  # of this file; empty where the operation is the library's own

    def found(self, origin: Origin) -> bool:
        """Whether an origin is this fault, in every part."""
        what = origin.tensor == self.tensor if self.tensor else origin.operation in self.operations
        return (origin.phase, origin.module) == (self.phase, self.module) and what and self.line in origin.source


def _layers(model: nn.Module, step: Callable[[], Tensor]) -> list[tuple[str, nn.Module]]:
    """Linear layers and convolutions, called once, that read what needs a gradient and whose weight nothing else shares."""
    calls: dict[str, int] = {}
    handles = []

    def count(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            calls[name] = calls.get(name, 0) + (1 if torch.is_grad_enabled() else 2)

        return hook

    for name, module in model.named_modules():
        handles.append(module.register_forward_hook(count(name)))
    try:
        step().backward()
    finally:
        for handle in handles:
            handle.remove()
    names: dict[int, int] = {}
    for _, p in model.named_parameters(remove_duplicate=False):
        names[id(p)] = names.get(id(p), 0) + 1
    reached = {id(p) for p in model.parameters() if p.grad is not None and bool(p.grad.any())}
    model.zero_grad()
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d)
    found = [(n, m) for n, m in model.named_modules() if isinstance(m, kinds) or type(m).__name__ == "Conv1D"]
    return [(n, m) for n, m in found if calls.get(n) == 1 and names.get(id(m.weight)) == 1 and id(m.weight) in reached]


def _at_output(function: Callable[[nn.Module, Tensor], Tensor]) -> Callable[[nn.Module], Any]:
    return lambda module: module.register_forward_hook(lambda m, args, output: function(m, output))


def _root(module: nn.Module, h: Tensor) -> Tensor:
    return h + torch.sqrt((h * 0).square())  # the root


def _log(module: nn.Module, h: Tensor) -> Tensor:
    return h + torch.log(h * 0)  # the log


def _masked(module: nn.Module, h: Tensor) -> Tensor:
    mask = torch.zeros_like(h, dtype=torch.bool)
    mask[(0,) * (h.ndim - 1)] = True
    return h + torch.softmax(h.masked_fill(mask, -torch.inf), -1)  # the masked row


def _buffer(module: nn.Module, h: Tensor) -> Tensor:
    return h + module.planted  # the buffer


def _nan_weight(name: str, module: nn.Module) -> Fault:
    with torch.no_grad():
        module.weight.view(-1)[random.randrange(module.weight.numel())] = torch.nan
    return Fault("parameter", name, tensor=f"{name}.weight")


def _overflow(name: str, module: nn.Module) -> Fault:
    with torch.no_grad():
        module.weight.copy_(torch.finfo(module.weight.dtype).max * module.weight.sign())
    return Fault("forward", name, ("linear", "conv", "conv1d", "conv2d", "matmul"))


def _inf_buffer(name: str, module: nn.Module) -> Fault:
    def hook(module: nn.Module, args: Any, h: Tensor) -> Tensor:
        if not hasattr(module, "planted"):
            planted = torch.linspace(-1, 1, h.shape[-1])
            planted[random.randrange(h.shape[-1])] = torch.inf
            module.register_buffer("planted", planted)
        return _buffer(module, h)

    module.register_forward_hook(hook)
    return Fault("buffer", name, tensor=f"{name}.planted", line="# the buffer")


def _hooked(phase: str, operation: str, function: Any, line: str) -> Callable[[str, nn.Module], Fault]:
    def plant(name: str, module: nn.Module) -> Fault:
        _at_output(function)(module)
        return Fault(phase, name, (operation,), line=line)

    return plant


PLANTED: dict[str, Callable[[str, nn.Module], Fault]] = {
    "NaN in a weight": _nan_weight,
    "weights that overflow": _overflow,
    "Inf in a buffer": _inf_buffer,
    "the slope of sqrt at 0": _hooked("backward", "sqrt", _root, "# the root"),
    "log 0": _hooked("forward", "log", _log, "# the log"),
    "a masked row": _hooked("forward", "softmax", _masked, "# the masked row"),
}


def planted(make: Callable[[], Made], kind: str, seed: int) -> tuple[Fault, Origin] | None:
    """The fault planted at a random layer, and what the finder says of it; None where no layer shows such a fault."""
    torch.manual_seed(seed)
    random.seed(f"{kind} {seed}")
    model, batch, loss = make()
    step = lambda: loss_of(model, batch, loss)  # noqa: E731
    layers = _layers(model, step)
    for name, module in random.sample(layers, len(layers)):
        before = module.weight.detach().clone()
        fault = PLANTED[kind](name, module)
        bad, loss_is_bad = _outcome(module, step)
        if kind != "weights that overflow" or (bad and loss_is_bad):
            if (
                fault.phase == "forward" and not loss_is_bad
            ):  # an attention that nothing reads, or 1/Inf, hides it from the loss
                fault = fault._replace(phase="backward")
            return fault, find_nonfinite_origin(model, step)
        with torch.no_grad():  # its input was too small to overflow in this layer
            module.weight.copy_(before)
    return None


def _outcome(module: nn.Module, step: Callable[[], Tensor]) -> tuple[bool, bool]:
    """Whether a layer's own output, and the loss, are not finite."""
    bad: list[bool] = []
    handle = module.register_forward_hook(lambda m, args, output: bad.append(not bool(output.isfinite().all())))
    try:
        loss = step()
        return any(bad), not bool(loss.isfinite())
    finally:
        handle.remove()
