"""Libraries that the book does not need, for benchmarks and tests: `make` puts those of ``requirements.txt`` into a folder of their own.

The folder comes last on the path, so that whatever the book has stays its own; it holds no torch.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import torch

from .table import PeerMissing

FOLDER = Path(__file__).resolve().parents[1] / "_build" / "extra"
_declared: list[torch.library.Library] = []


def _declare() -> None:
    """The names of operators that a torchvision built for CUDA cannot load beside torch for the CPU; no model here calls them."""
    declared = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(declared)  # they live as long as this object


def extra(name: str) -> ModuleType:
    """The module of that name; PeerMissing where it is not installed."""
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    try:
        if "torchvision" not in sys.modules:  # others import it in passing
            try:
                importlib.import_module("torchvision")
            except RuntimeError:
                _declare()
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise PeerMissing(f"{error.name} is not installed: make extra") from None
