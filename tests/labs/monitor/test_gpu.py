"""On a GPU: nothing waits for it in steps that are not recorded, and the monitor, the finder and the trap say what they say on the CPU."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labs.monitor import NonFiniteError, StabilityMonitor, find_nonfinite_origin, stability_report, trap_nonfinite
from labs.monitor.saved import replay_step

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
GPU = "cuda"


def mlp(seed: int = 0, dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = [
        part for _ in range(4) for part in (nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(dropout))
    ]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def batch(seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(32, 64, generator=generator), torch.randint(10, (32,), generator=generator)


@contextmanager
def no_waiting() -> Iterator[None]:
    """What makes the host wait for the GPU raises."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("exact", [False, True])
def test_unrecorded_steps_never_wait(exact: bool) -> None:
    model = mlp().to(GPU)
    x, y = (part.to(GPU) for part in batch())
    optimizer = torch.optim.AdamW(model.parameters())

    def step(monitor: StabilityMonitor) -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        monitor.step()

    with StabilityMonitor(model, every=4, exact=exact) as monitor:
        for _ in range(5):
            step(monitor)  # 0 and 4 are recorded
        for _ in range(2):
            for _ in range(3):
                with no_waiting():
                    step(monitor)
            with pytest.raises(RuntimeError, match="synchronizing"), no_waiting():  # the mode does see what waits
                x.sum().item()
            step(monitor)
    assert len(monitor.history) == 4


@pytest.mark.parametrize("exact", [False, True])
def test_the_report_is_the_cpus(exact: bool) -> None:
    """To rounding: float32 sums of 64 terms in another order, through ten layers."""
    model, (x, y) = mlp(), batch()
    reports = {}
    for device in ("cpu", GPU):
        there = copy.deepcopy(model).to(device)
        with StabilityMonitor(there, every=1, exact=exact) as monitor:
            F.cross_entropy(there(x.to(device)), y.to(device)).backward()
            monitor.step()
        reports[device] = monitor.report
    assert reports["cpu"].verdict == reports[GPU].verdict == "healthy"
    for ours, theirs in zip(reports["cpu"].layers, reports[GPU].layers, strict=True):
        assert ours.name == theirs.name
        # Sampled entries are the same ones on both; TF32 is off by default for matrix products.
        assert math.isclose(ours.std, theirs.std, rel_tol=1e-4)
    assert stability_report(copy.deepcopy(model).to(GPU), (x.to(GPU), y.to(GPU)), F.cross_entropy).verdict == "healthy"


class Faulty(nn.Module):
    """Log of an activation, which the ReLU makes 0."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = mlp()[:7], nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).log())


def test_the_finder_names_the_same_operation() -> None:
    torch.manual_seed(0)
    model, (x, y) = Faulty(), batch()
    origins = []
    for device in ("cpu", GPU):
        there = copy.deepcopy(model).to(device)
        a, b = x.to(device), y.to(device)
        origins.append(find_nonfinite_origin(there, lambda there=there, a=a, b=b: F.cross_entropy(there(a), b)))
    for what in ("phase", "operation", "module"):
        assert getattr(origins[0], what) == getattr(origins[1], what)
    assert origins[1].operation == "log"


def test_half_precision_overflows_where_it_is_said() -> None:
    """fp16 under autocast: weights below 65504 whose products with the signal are beyond it, in one layer."""
    model = mlp().to(GPU)
    with torch.no_grad():
        model[8].weight.mul_(3e5)
    x, y = (part.to(GPU) for part in batch())

    def compute() -> Tensor:
        with torch.autocast(GPU, dtype=torch.float16):
            return F.cross_entropy(model(x), y)

    origin = find_nonfinite_origin(model, compute)
    assert (origin.phase, origin.module, origin.operation) == ("forward", "8", "linear")


def build() -> tuple[nn.Module, Callable[..., Tensor]]:
    model = mlp(dropout=0.3)
    return model, lambda x, y: F.cross_entropy(model(x), y)


def train(trap, model, optimizer, scaler, batches) -> int:  # type: ignore[no-untyped-def]
    """Steps until the trap raises."""
    for k, (x, y) in enumerate(batches):

        def compute(x: Tensor, y: Tensor) -> Tensor:
            with torch.autocast(GPU, dtype=torch.float16, enabled=scaler.is_enabled()):
                return F.cross_entropy(model(x), y)

        optimizer.zero_grad()
        try:
            scaler.scale(trap(compute, x, y)).backward()
            scaler.step(optimizer)
            scaler.update()
        except NonFiniteError:
            return k
    return len(batches)


@pytest.mark.parametrize("half", [False, True])
def test_the_trap_with_dropout_and_a_scaler(half: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad batch at step 7: the step runs again with the GPU's own random state, and from a file on the CPU."""
    model = mlp(dropout=0.3).to(GPU)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler(GPU, enabled=half)
    batches = [tuple(part.to(GPU) for part in batch(k)) for k in range(12)]
    batches[7][0][3, 5] = float("nan")
    file = tmp_path / "step.pt"
    with trap_nonfinite(model, optimizer, scaler=scaler if half else None, every=4, path=file) as trap:
        # With a scaler on a GPU nobody reads the loss of a step before the next begins.
        assert train(trap, model, optimizer, scaler, batches) == 7 + half
    assert trap.step == 7 and trap.origin is not None
    assert (trap.origin.phase, trap.origin.entry) == ("input", (3, 5))
    assert file.exists()
    monkeypatch.syspath_prepend(Path(__file__).parent)
    again = replay_step(file, f"{__name__}:build")
    assert (again.phase, again.entry) == ("input", (3, 5))


def test_a_last_step_that_the_scaler_refuses() -> None:
    model = mlp().to(GPU)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler(GPU)
    batches = [tuple(part.to(GPU) for part in batch(k)) for k in range(3)]
    batches[2][0][3, 5] = float("nan")
    with pytest.raises(NonFiniteError), trap_nonfinite(model, optimizer, scaler=scaler) as trap:
        train(trap, model, optimizer, scaler, batches)
    assert trap.step == 2


def test_an_update_that_spoils_the_weights() -> None:
    """Seen in the step after; run again from the copy, to the update."""
    model = mlp().to(GPU)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    x, y = (part.to(GPU) for part in batch())
    with pytest.raises(NonFiniteError), trap_nonfinite(model, optimizer, every=3) as trap:
        for k in range(9):
            optimizer.param_groups[0]["lr"] = math.inf if k == 5 else 1e-2
            optimizer.zero_grad()
            trap(lambda x, y: F.cross_entropy(model(x), y), x, y).backward()
            optimizer.step()
    assert trap.step == 5
