"""How a model is wrapped where it trains: compiled, in data parallel, sharded; a recorded step looks inside and runs eagerly."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn


def inner(model: nn.Module) -> nn.Module:
    """The model itself, inside the wrappers of ``torch.compile`` and of data parallel.

    >>> inner(nn.DataParallel(nn.ReLU()))
    ReLU()
    """
    while True:
        if isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            model = model.module
        elif hasattr(model, "_orig_mod"):
            model = model._orig_mod  # type: ignore[assignment]
        else:
            return model


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a sharded tensor; any other as it is."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


class Eagerly:
    """While it is on, what ``torch.compile`` compiled runs eagerly, so that hooks see it; afterwards nothing is compiled anew."""

    def __init__(self) -> None:
        self.stance: Any = None

    def on(self) -> None:
        if self.stance is None and "torch._dynamo" in sys.modules:  # or else nothing has been compiled
            self.stance = torch.compiler.set_stance("force_eager")

    def off(self) -> None:
        if self.stance is not None:
            self.stance.__exit__(None, None, None)  # back to what it was before
            self.stance = None
