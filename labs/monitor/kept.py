"""What a replay may change, put away and put back; and what the tensors in a nest of containers are."""

from __future__ import annotations

import copy
import math
import random
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves


def module_name(name: str) -> str:
    return name.replace("_orig_mod.", "").removesuffix("_orig_mod").removesuffix(".")  # the wrapper of torch.compile


def tensors(tree: Any) -> list[Tensor]:
    """The tensors in a nest of containers that have numbers; of a sparse one, its values."""
    found = [t for t in tree_leaves(tree) if isinstance(t, Tensor) and not t.is_nested and not t.is_meta]
    return [t.detach()._values() if t.is_sparse else t for t in found if t.layout in (torch.strided, torch.sparse_coo)]


def floats(tree: Any) -> list[Tensor]:
    return [t for t in tensors(tree) if t.is_floating_point() or t.is_complex()]


def nonfinite(tree: Any) -> bool:
    return any(not bool(t.isfinite().all()) for t in floats(tree))


def mended(t: Tensor) -> Tensor:
    """A copy with Inf and NaN replaced by the mean magnitude of the other entries: a value in the tensor's own range."""
    if t.is_sparse:
        return torch.sparse_coo_tensor(t._indices(), mended(t._values()), t.shape)
    good = t.isfinite()
    mean = (torch.where(good, t, 0).abs() / good.sum().clamp(min=1)).sum()
    return torch.where(good, t, torch.where(mean > 0, mean, 0.5).to(t.dtype))


def storage_of(t: Tensor) -> StorageWeakRef:
    return StorageWeakRef(t.untyped_storage())  # an identity that no later storage can take over


class Kept:
    """What a replay may change, as it was before. A storage is copied when an operation is about to write to it."""

    def __init__(self, model: nn.Module, optimizer: Any, scaler: Any) -> None:
        self.parameters: dict[str, Tensor] = {module_name(name): p for name, p in model.named_parameters()}
        known = {id(p) for p in self.parameters.values()}
        others = [p for group in getattr(optimizer, "param_groups", ()) for p in group["params"] if id(p) not in known]
        self.parameters |= {f"parameter {i} outside the model": p for i, p in enumerate(others)}
        owners = [owner for owner in (*model.modules(), optimizer, scaler) if owner is not None]
        self.containers = [(c, copy.copy(c)) for owner in owners for c in _containers(vars(owner))]
        self.storages: dict[StorageWeakRef, tuple[Any, Any]] = {}
        self.grads: dict[Tensor, Tensor | None] = {}
        self.generators: dict[Any, tuple[Callable[[Any], object], Any]] = {
            "python": (random.setstate, random.getstate()),
            "torch": (torch.set_rng_state, torch.get_rng_state()),
        }
        if np := sys.modules.get("numpy"):  # a closure can draw from it only where it is loaded
            self.generators["numpy"] = (np.random.set_state, np.random.get_state())
        if torch.cuda.is_initialized():
            self.generators["cuda"] = (torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())
        for buffer in model.buffers():  # batch norm changes its own without declaring it
            self.storage(buffer)

    def storage(self, tensor: Tensor) -> None:
        for t in tensors(tensor):
            if storage_of(t) not in self.storages:
                self.storages[storage_of(t)] = (t.untyped_storage(), t.untyped_storage().clone())

    def generator(self, generator: torch.Generator) -> None:
        if generator not in self.generators:
            self.generators[generator] = (generator.set_state, generator.get_state())

    def gradients(self, loss: Tensor) -> None:
        """Put away the gradients of all that the loss depends on: a replay starts from none."""
        nodes: set[Any] = {loss.grad_fn} - {None}
        todo = list(nodes)
        while todo:
            fresh = {node for node, _ in todo.pop().next_functions} - nodes - {None}
            nodes |= fresh
            todo += fresh
        for t in [loss, *self.parameters.values(), *(node.variable for node in nodes if hasattr(node, "variable"))]:
            if t.is_leaf:
                self.grads.setdefault(t, t.grad)
                t.grad = None

    def restore(self) -> None:
        for container, before in self.containers:
            container.clear()
            container.extend(before) if isinstance(container, list) else container.update(before)
        for storage, saved in self.storages.values():
            storage.copy_(saved)
        for t, grad in self.grads.items():
            t.grad = grad
        for set_state, state in self.generators.values():
            set_state(state)

    def sizes(self) -> dict[str, float]:
        """Mean magnitude times sqrt(fan_in) of every weight matrix: about 1 where the initialisation is sound."""
        weights = [(name, p.detach()) for name, p in self.parameters.items() if p.ndim > 1 and p.numel() > 0]
        return {name: float((w.float().abs() / w.numel()).sum()) * math.sqrt(w[0].numel()) for name, w in weights}


def _containers(value: Any) -> Iterator[Any]:
    """A dict or list, and those within it."""
    if type(value) in (dict, list, OrderedDict, defaultdict):
        yield value
        for item in value if isinstance(value, list) else value.values():
            yield from _containers(item)
