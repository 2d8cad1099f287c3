"""A step that went wrong, in a file: written by the trap, and replayed where the model can be built.

The file holds tensors and plain values alone, and is read by ``torch.load(weights_only=True)``: whatever it contains, it runs nothing.
"""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from labs.monitor.origin import Origin, find_nonfinite_origin

_KEYS = {"step", "model", "modes", "batch", "random", "optimizer", "scaler", "origin"}
_MOST = 5  # names in a message


def _plain(value: Any, path: str = "batch") -> Any:
    """A nest of tensors, numbers and strings as the file can hold it; ValueError names what it cannot."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {key: _plain(item, f"{path}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_plain(item, f"{path}[{i}]") for i, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    if hasattr(value, "tolist"):  # NumPy's
        return value.tolist()
    raise ValueError(f"{path}: expected tensors, numbers, strings and containers of them, got {type(value).__name__}")


def save_step(
    path: str | Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    scaler: Any,
    batch: tuple[Any, ...],
    random: dict[str, Any],
    origin: Origin,
    step: int,
) -> None:
    """Write a step: weights, buffers, modes, optimizer and scaler before it, its batch and random state, and what was found."""
    content = {
        "step": step,
        "model": _plain(dict(model.state_dict()), "model"),
        "modes": {name: module.training for name, module in model.named_modules()},
        "batch": _plain(batch),
        "random": _plain(random, "random"),
        "optimizer": _plain(optimizer.state_dict(), "optimizer") if optimizer is not None else None,
        "scaler": _plain(scaler.state_dict(), "scaler") if scaler is not None else None,
        "origin": _plain(origin.to_dict(), "origin"),
    }
    torch.save(content, path)


def read_step(path: str | Path) -> dict[str, Any]:
    """What :func:`save_step` wrote; ValueError in one line if there is no such file, or if it is none."""
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = (
            "it asks for code to be run, and was not read" if "Weights only" in str(error) else "it is not readable"
        )
        raise ValueError(f"{path}: not a step that the trap has saved: {reason}") from error
    if not isinstance(content, dict) or content.keys() != _KEYS:
        raise ValueError(f"{path}: not a step that the trap has saved")
    return content


def _named(names: list[str]) -> str:
    return ", ".join(names[:_MOST]) + f" and {len(names) - _MOST} more" * (len(names) > _MOST)


def _load_weights(model: nn.Module, saved: dict[str, Tensor]) -> None:
    own = model.state_dict()
    wrong = {
        "not in it": [name for name in saved if name not in own],
        "not in the file": [name for name in own if name not in saved],
        "of another shape": [name for name in own if name in saved and own[name].shape != saved[name].shape],
    }
    if said := "; ".join(f"{what}: {_named(names)}" for what, names in wrong.items() if names):
        raise ValueError(f"the model is not the one that was saved. {said}")
    for name, t in saved.items():  # in the format that they were saved in
        if own[name].dtype != t.dtype:
            model.to(t.dtype)
            break
    model.load_state_dict(saved)


def _built(where: str) -> tuple[nn.Module, Callable[..., Tensor], Any]:
    """What the user's ``build()`` returns: model, loss and, if it likes, optimizer."""
    module, _, name = where.partition(":")
    try:
        build = getattr(importlib.import_module(module), name or "build", None)
    except ModuleNotFoundError as error:
        raise ValueError(f"{where}: no module {error.name!r} to import") from error
    if not callable(build):
        raise ValueError(f"{where}: the module {module!r} has no function {name or 'build'!r}")
    found = build()
    if (
        not isinstance(found, tuple)
        or len(found) not in (2, 3)
        or not isinstance(found[0], nn.Module)
        or not callable(found[1])
    ):
        raise ValueError(
            f"{where}: expected it to return (model, loss) or (model, loss, optimizer), got {type(found).__name__}"
        )
    return found[0], found[1], found[2] if len(found) == 3 else None


def replay_step(path: str | Path, where: str) -> Origin:
    """What the finder says of a saved step, with the model and the loss that ``where``, as ``"module:function"``, builds.

    The function takes nothing and returns ``(model, loss)`` or ``(model, loss, optimizer)``; ``loss(*batch)`` is what the trap was
    given as ``compute``. ValueError in one line for a file that is none, for another model, and where nothing can be built.
    """
    from labs.monitor.trap import set_random_state

    content = read_step(path)
    model, loss, optimizer = _built(where)
    _load_weights(model, content["model"])
    for name, module in model.named_modules():
        module.training = content["modes"].get(name, module.training)
    if optimizer is not None and content["optimizer"] is not None:
        optimizer.load_state_dict(content["optimizer"])
    scaler = None
    if content["scaler"]:
        scaler = torch.amp.GradScaler("cpu")
        scaler.load_state_dict(content["scaler"])
    random = content["random"]
    random["python"] = (random["python"][0], tuple(random["python"][1]), random["python"][2])
    random.pop("cuda", None)
    if "numpy" in random and (np := sys.modules.get("numpy")):
        name, keys, *rest = random["numpy"]
        random["numpy"] = (name, np.asarray(keys, dtype=np.uint32), *rest)
    set_random_state(random)
    return find_nonfinite_origin(model, lambda: loss(*content["batch"]), optimizer, scaler)
