"""A device without float64, such as Apple's mps: the monitor measures there, and widens on the CPU what it has read."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from labs.monitor import measure, stability_report

SAID = "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."


class NoFloat64(TorchDispatchMode):
    """Refuses each operation that makes float64 of float32, but a conversion by itself, which is how the CPU widens."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        flat = args[0] if args and isinstance(args[0], list | tuple) else args
        narrow = [x for x in flat if isinstance(x, Tensor) and x.dtype == torch.float32]
        if narrow and isinstance(found, Tensor) and found.dtype == torch.float64 and "_to_copy" not in str(func):
            raise TypeError(SAID)
        return found


def refuse(self: Tensor) -> Tensor:
    raise TypeError(SAID)


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 3))


def measured(exact: bool) -> list[tuple[float | None, ...]]:
    generator = torch.Generator().manual_seed(1)
    batch = torch.randn(16, 8, generator=generator), torch.randint(3, (16,), generator=generator)
    report = stability_report(model(), batch, F.cross_entropy, exact=exact)
    return [(row.mean, row.std, row.largest, row.gradient, row.weight_gradient) for row in report.layers]


@pytest.mark.slow
@pytest.mark.parametrize("exact", [True, False])
def test_the_monitor_computes_nothing_in_float64_on_the_device(exact, monkeypatch):
    expected = measured(exact)
    monkeypatch.setattr(measure, "has_float64", lambda x: False)
    monkeypatch.setattr(Tensor, "double", refuse)
    with NoFloat64():
        found = measured(exact)
    assert len(found) == 5 and [*map(list, found)] == [pytest.approx(list(row), rel=1e-6) for row in expected]


@pytest.mark.slow
def test_the_stand_in_refuses_what_the_device_would():
    with NoFloat64(), pytest.raises(TypeError, match="float64"):
        torch.linalg.vector_norm(torch.ones(3), dtype=torch.float64)
