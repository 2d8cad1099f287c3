"""A default device, as ``torch.set_default_device("cuda")`` sets it, changes nothing of what is found of a model elsewhere.

On ``meta`` tensors have no numbers, so that whatever is made there by oversight fails.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labs import formats, propagation, stabilisers
from labs.monitor import NonFiniteError, StabilityMonitor, find_nonfinite_origin, stability_report, trap_nonfinite


def made() -> tuple[nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(0)
    layers = [part for _ in range(3) for part in (nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(16, 3))
    return model, torch.randn(32, 16), torch.randint(3, (32,))


def report(exact: bool) -> Any:
    model, x, y = made()

    def found() -> Any:
        return stability_report(model, (x, y), F.cross_entropy, exact=exact).to_dict()

    return found


def series(exact: bool) -> Any:
    model, x, y = made()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def found() -> Any:
        with StabilityMonitor(model, every=2, exact=exact) as monitor:
            for _ in range(4):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                monitor.step()
        return [step.to_dict() for step in monitor.history], monitor.scalars()

    return found


def no_pass_backward() -> Any:
    """A model without a weight matrix."""
    model, x = nn.BatchNorm1d(4), torch.arange(32.0).view(8, 4)
    return lambda: stability_report(model, (x, x), F.mse_loss).to_dict()


def origin(spoil: Callable[[nn.Sequential, Tensor], None]) -> Any:
    model, x, y = made()
    spoil(model, x)
    return lambda: str(find_nonfinite_origin(model, lambda: F.cross_entropy(model(x), y)))


def bad_input(model: nn.Sequential, x: Tensor) -> None:
    x[3, 2] = math.nan


def bad_weight(model: nn.Sequential, x: Tensor) -> None:
    model[3].weight.data[1, 1] = math.inf


def overflow(model: nn.Sequential, x: Tensor) -> None:
    model[9].weight.data.mul_(3e38).mul_(10)


def trapped() -> Any:
    model, x, y = made()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def found() -> Any:
        with pytest.raises(NonFiniteError) as error, trap_nonfinite(model, optimizer, every=2) as trap:
            for k in range(6):
                optimizer.param_groups[0]["lr"] = math.inf if k == 4 else 0.1
                optimizer.zero_grad()
                trap(lambda x, y: F.cross_entropy(model(x), y), x, y).backward()
                optimizer.step()
        return str(error.value)

    return found


def adams_eps() -> Any:
    """An eps that is 0 in half precision."""
    weight = nn.Parameter(torch.ones(3, dtype=torch.float16))
    model = nn.ParameterList([weight])
    optimizer = torch.optim.Adam(model.parameters(), eps=1e-8, foreach=False)
    return lambda: str(find_nonfinite_origin(model, lambda: (weight * 0).sum(), optimizer))


def of_formats() -> Any:
    gradients = [torch.tensor([1e-9, 1e-2])]
    return lambda: (
        formats.overflow_depth(1.5, "fp16", mode="cast"),
        formats.FORMATS["e4m3"].max,
        stabilisers.choose_loss_scale(gradients),
        stabilisers.clip_by_norm_([], 1.0),
        propagation.fixed_point("tanh", 1.5, 0.2),
        propagation.chi_1("tanh", 1.5, 0.2),
    )


THINGS = {
    "report": lambda: report(False),
    "exact report": lambda: report(True),
    "series": lambda: series(False),
    "exact series": lambda: series(True),
    "no weight matrix": no_pass_backward,
    "bad input": lambda: origin(bad_input),
    "bad weight": lambda: origin(bad_weight),
    "overflow": lambda: origin(overflow),
    "trap": trapped,
    "eps": adams_eps,
    "formats and theory": of_formats,
}


@pytest.mark.parametrize("thing", THINGS)
def test_the_default_device_does_not_matter(thing: str) -> None:
    usual, elsewhere = THINGS[thing](), THINGS[thing]()
    expected = usual()
    with torch.device("meta"):
        assert repr(elsewhere()) == repr(expected)
