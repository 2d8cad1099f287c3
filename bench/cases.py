"""Steps of training that fail, each rebuilt small from a public report, and who names what makes them fail.

A case is a function that makes a model and a loss; its lines marked ``# here`` hold the operation to be named. The report is the
source of the fault, not of the code.
"""

from __future__ import annotations

import re
import warnings
from collections import OrderedDict
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from labs.monitor import Origin, find_nonfinite_origin

from .extra import extra


class Step(NamedTuple):
    """What a case makes."""

    model: nn.Module
    loss: Callable[[], Tensor]
    optimizer: torch.optim.Optimizer | None = None
    scaler: Any = None


class Case(NamedTuple):
    """A report, and the origin that is right: one of the operations, or a tensor that is bad before the step."""

    report: str
    fault: str
    make: Callable[[], Step]
    phase: str
    operations: tuple[str, ...]
    module: str
    tensor: str

    def right(self, origin: Origin) -> bool:
        """Phase, module, operation or tensor, and source line."""
        if self.phase == "none":
            return not origin
        if (origin.phase, origin.module) != (self.phase, self.module):
            return False
        if self.tensor and not origin.tensor.startswith(self.tensor):
            return False
        return origin.operation in self.operations and (self.phase == "optimiser" or "# here" in origin.source)


CASES: list[Case] = []


def case(
    report: str, phase: str, *operations: str, module: str = "", tensor: str = ""
) -> Callable[[Callable[[], Step]], Callable[[], Step]]:
    """Enter a function into the table; its docstring says what the fault is."""

    def enter(make: Callable[[], Step]) -> Callable[[], Step]:
        fault = (make.__doc__ or "").rstrip(".")
        CASES.append(Case(report, fault, make, phase, operations, module, tensor))
        return make

    return enter


class Fn(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, h: Tensor) -> Tensor:
        return self.function(h)


def net(fault: Callable[[Tensor], Tensor], out: int = 3) -> nn.Sequential:
    """Six inputs, eight units, ``fault`` as a module, and a head."""
    parts = [("first", nn.Linear(6, 8)), ("fault", Fn(fault)), ("head", nn.Linear(8, out))]
    return nn.Sequential(OrderedDict(parts))


def data(rows: int = 8) -> Tensor:
    return torch.randn(rows, 6)


def squares(fault: Callable[[Tensor], Tensor], dtype: torch.dtype = torch.float32) -> Step:
    """A network with the fault inside, and the mean square of what it gives as its loss."""
    model, x = net(fault).to(dtype), data().to(dtype)
    return Step(model, lambda: model(x).float().square().mean())


def of_output(loss: Callable[[Tensor], Tensor], out: int = 8) -> Step:
    """A sound network, and a loss with the fault in it."""
    model, x = nn.Sequential(OrderedDict(first=nn.Linear(6, 8), act=nn.Tanh(), head=nn.Linear(8, out))), data()
    return Step(model, lambda: loss(model(x)))


# ------------------------------------------------------------------------------------------------------------ finders


def fresh(make: Callable[[], Step]) -> Step:
    torch.manual_seed(0)
    return make()


def fails(step: Step) -> bool:
    """Whether a plain step gives a loss, gradient or weight that is not finite, or raises."""
    try:
        loss = step.loss()
        loss.backward()
    except (ValueError, RuntimeError):
        return True
    parameters = list(step.model.parameters())
    bad = not loss.isfinite() or any(p.grad is not None and not _finite(p.grad) for p in parameters)
    if step.optimizer is not None and not bad:
        if isinstance(step.optimizer, torch.optim.LBFGS):
            step.optimizer.step(lambda: _backward(step.loss()))
        else:
            step.optimizer.step()
        bad = any(not _finite(p) for p in parameters) or not bool(step.loss().isfinite())
    return bad


def _finite(x: Tensor) -> bool:
    return bool((x.coalesce().values() if x.is_sparse else x).isfinite().all())


def _backward(loss: Tensor) -> float:
    loss.backward()
    return loss.item()


def ours(c: Case) -> bool:
    try:
        return c.right(find_nonfinite_origin(*fresh(c.make)))
    except (ValueError, RuntimeError):
        return False


def _same(name: str, operations: tuple[str, ...]) -> bool:
    name = re.sub(r"^(linalg|special)_|_$", "", name.lower())
    common = {"mm": "linear", "addmm": "linear", "convolution": "conv", "bmm": "matmul"}
    plain = [o.replace("_", "") for o in operations]
    return common.get(name, name).replace("_", "") in plain


def anomaly(c: Case) -> bool:
    """Operation by the name of its backward function, line by the traceback that it prints."""
    step = fresh(c.make)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            with torch.autograd.detect_anomaly():
                step.loss().backward()
        except (RuntimeError, ValueError) as error:
            found = re.search(r"Function '(\w+?)Backward", str(error))
            text = "".join(str(w.message) for w in said)
            name = found[1] if found else ""
            return c.phase != "none" and _same(name, c.operations) and "# here" in text
    return c.phase == "none"


def sherlorch(c: Case) -> bool:
    """Operation and module of its first culprit; it names no line."""
    step = fresh(c.make)
    with extra("sherlorch").trace() as tracker:
        tracker.watch(step.model)
        try:
            loss = step.loss()
        except (ValueError, RuntimeError):
            return False
    culprit = re.search(r"Culprit #1: \[\d+\] (\w+) [^\n]*?(?:\[model\.?([^\]]*)\]|<--)", str(tracker.diagnose(loss)))
    if culprit is None:
        return c.phase == "none"
    return _same(culprit[1], c.operations) and (culprit[2] or "") == c.module


def debug(c: Case) -> bool:
    """DebugUnderflowOverflow names a module and no operation: counted as right where the module is."""
    step = fresh(c.make)
    extra("transformers.debug_utils").DebugUnderflowOverflow(step.model)
    with redirect_stdout(StringIO()) as text:
        try:
            step.loss().backward()
        except (ValueError, RuntimeError):  # its last frame is the bad one, headed by the module's name and type
            frames = re.findall(r"^ +(\S+) [A-Z]\w+$", text.getvalue(), re.MULTILINE)
            return bool(frames) and bool(c.module) and frames[-1] == c.module
    return c.phase == "none"


FINDERS: dict[str, Callable[[Case], bool]] = {
    "find_nonfinite_origin": ours, "sherlorch": sherlorch, "detect_anomaly": anomaly, "DebugUnderflowOverflow (module)": debug,
}  # fmt: skip


TITLE = "Public cases"


def rows() -> list[str]:
    """A table of all cases and finders; raises ValueError where a case does not fail as it says."""
    from . import cases_attention, cases_losses  # noqa: F401  they enter their cases

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    told = {name: [find(c) for c in CASES] for name, find in FINDERS.items()}
    table = [f"| Report | Fault | Right | {' | '.join(told)} |", "|---" * (3 + len(told)) + "|"]
    for i, c in enumerate(CASES):
        right = "silence" if c.phase == "none" else f"{c.phase}: {' or '.join(c.operations)}"
        marks = " | ".join("yes" if of[i] else "no" for of in told.values())
        table.append(f"| {c.report} | {c.fault} | {right} | {marks} |")
    faulty = [c.phase != "none" for c in CASES]
    counts = [f"{name} {sum(of[i] for i in range(len(CASES)) if faulty[i])}" for name, of in told.items()]
    alarms = [f"{name} {sum(not of[i] for i in range(len(CASES)) if not faulty[i])}" for name, of in told.items()]
    return [
        "\n".join(table),
        f"Of {sum(faulty)} faults, right: {', '.join(counts)}. Of us phase, module, operation or tensor, and line are asked; of "
        "detect_anomaly operation and line, of sherlorch operation and module, of DebugUnderflowOverflow the module: they name no more.",
        f"Of {len(CASES) - sum(faulty)} steps that are finite, false alarms: {', '.join(alarms)}.",
    ]
