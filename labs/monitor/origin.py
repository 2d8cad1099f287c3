r"""Where a NaN or Inf comes from: one training step is replayed, and the flow of data followed back to the cause.

First in time is not the cause: a ReLU may erase an early -Inf, and a causal mask is made of them. So the search begins
at what is bad, the loss or a gradient, and walks back. Each operation that reads Inf or NaN is first tried on a copy of
its inputs in which those entries are finite. If the result is bad all the same, the operation is an origin itself; if
not, the walk follows the inputs that make it bad. Where several origins remain, the step is replayed with one of them
mended at a time, and the one whose mending cures the step is named.

The replay looks at every operation below autograd, the derivatives' too. It is slow, and meant for one step.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from labs.monitor.kept import Kept, floats, module_name, nonfinite
from labs.monitor.remedies import MASKABLE, blame, remedy_of
from labs.monitor.replay import LEAVES, PHASES, Key, Operation, Replay, Vanishing
from labs.words import retell, say


@dataclass(frozen=True)
class Origin:
    """What :func:`find_nonfinite_origin` found; false if it found nothing.

    - ``phase``: input, parameter or buffer (bad before the step), forward, backward, optimiser, or none;
    - ``module``: dotted path as in ``model.named_modules()``; empty outside every submodule;
    - ``operation``: log, linear, softmax, SGD.step, ...; for a tensor bad before the step, what first read it;
    - ``tensor``: name of that parameter or buffer, or of the optimizer's state ("exp_avg of head.weight");
    - ``source``: ``file:line: code`` of the operation, the innermost line outside torch; "the cell" is a file in a notebook;
    - ``entry``, ``shape``, ``dtype``: the first bad entry of its result (or of the bad tensor), and what that is like; ``sample``: which
      of the batch it belongs to, None where that cannot be told;
    - ``replays``: how often the step was replayed, 20 times at most; a replay takes as long as some five plain steps;
    - ``chain``: from the origin to the loss, or to the gradient or the weight that it spoils.

    >>> bool(Origin("none")), bool(Origin("forward", operation="log"))
    (False, True)
    """

    phase: str
    module: str = ""
    operation: str = ""
    tensor: str = ""
    source: str = ""
    chain: tuple[str, ...] = ()
    message: str = ""
    entry: tuple[int, ...] | None = None
    shape: tuple[int, ...] = ()
    dtype: str = ""
    sample: int | None = None
    replays: int = 0

    def __bool__(self) -> bool:
        return self.phase != "none"

    def __str__(self) -> str:
        read = say("{tensor} (read by {operation})") if self.operation else say("{tensor} (read by nothing)")
        what = read.format(tensor=self.tensor, operation=self.operation) if self.tensor else self.operation
        head = say("{phase}: {what} in {module}") if self.module else say("{phase}: {what} outside every submodule")
        head = head.format(phase=say(self.phase), what=what, module=self.module)
        chain = tuple(map(_place, self.chain))
        links = chain if len(chain) <= 7 else (*chain[:3], "...", *chain[-3:])
        lines = [head, self.source, self.message, " -> ".join(links)] if self else [self.message]
        return "\n  ".join(filter(None, lines))

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for ``json.dumps``."""
        entry = None if self.entry is None else list(self.entry)
        return asdict(self) | {"chain": list(self.chain), "entry": entry, "shape": list(self.shape)}


def find_nonfinite_origin(
    model: nn.Module,
    closure: Callable[[], Tensor],
    optimizer: torch.optim.Optimizer | None = None,
    scaler: torch.amp.GradScaler | None = None,
) -> Origin:
    r"""Replay one training step and name the operation that spoils it: with Inf, with NaN, or with a zero of fp16.

    - ``closure``: takes nothing, runs the forward pass on a fixed batch and returns the loss, a tensor of one number;
      it does not call ``backward``;
    - ``optimizer``: its update is replayed too, and the loss after it. Clipping outside the optimizer is not seen;
    - ``scaler``: its scale multiplies the loss. Gradients that overflow only by that are no fault: the scaler skips the
      step and takes a smaller scale.

    Afterwards parameters, buffers, gradients, random generators and the states of modules, optimizer and scaler are as
    they were, also after an exception. What ``torch.compile`` compiled runs eagerly in the replay. If the step raises an
    exception because of an Inf or NaN, as ``torch.distributions`` do, that is the symptom, told in the message; any other comes
    through. Raises ValueError if ``closure`` does not return one number.

    A sound step takes some five plain steps' time, ten with the optimizer; a search replays at most 20 times.

    >>> entropy = lambda: -(p * torch.log(p)).sum()
    >>> p = torch.tensor([0.0, 1.0])
    >>> origin = find_nonfinite_origin(nn.Identity(), entropy)
    >>> origin.phase, origin.operation, origin.chain
    ('forward', 'log', ('log', 'mul', 'sum', 'neg', 'loss'))
    """

    count = 0

    def replay(
        kind: type[Replay], repair: Key | None = None, scaler: Any = scaler, change: Callable[[], None] = lambda: None
    ) -> Replay:
        nonlocal count
        count += 1
        keep = Kept(model, optimizer, scaler)
        replayed = kind(model, keep, repair)
        try:
            change()
            replayed.run(closure, None if kind is Vanishing else optimizer, scaler)
        finally:
            keep.restore()
        return replayed

    def later(repair: Key | None, change: Callable[[], None] = lambda: None) -> bool:
        """Whether the step gets further with this mended, or changed; not tried if it has been replayed too often."""
        return count < MOST and _further(replay(Replay, repair, change=change), run)

    run = first = replay(Replay)
    if run.phase == "backward" and scaler is not None and replay(Replay, scaler=None).phase != "backward":
        message = say(
            "Only the loss scale {scale:g} makes gradients overflow: the scaler skips such a step and takes a smaller one."
            " Unscaled, the gradients are finite."
        )
        return Origin("none", message=message.format(scale=scaler.get_scale()), replays=count)
    if run.phase == "none" and run.half:
        run = replay(Vanishing)
    if run.error is not None:
        _end_of_trail(run)
    towards = _reached(run.ends)
    suspects = _suspects(towards)
    if not suspects:
        found = _unread_poison(model, first) or Origin("none", message=say("Nothing found: the step is finite."))
        return replace(found, replays=count)
    tried = len(suspects) > 1 and type(run) is Replay
    cure = next(filter(later, [key for key in suspects if key[0] not in LEAVES][:8]), None) if tried else None
    origin = suspects[cure or _likeliest(suspects)]
    others = [str(step) for step in suspects.values() if step is not origin and not step.fill and not cure]
    path = _way(_meeting(origin, towards), towards)
    path = _hidden(model, run, path, later) + path
    if run.phase == "optimiser" and not path[0].leaf:
        path[0].blame = blame(optimizer, [*model.parameters()], later)
    return replace(_explained(model, optimizer, run, path, others), replays=count)


MOST = 20  # replays


def _further(one: Replay, other: Replay) -> bool:
    return one.error is None and PHASES.index(one.phase) > PHASES.index(other.phase)


def _end_of_trail(run: Replay) -> None:
    """The step raised an exception: what it read last that was bad, and not by a mask, leads to the origin; or else raise it."""
    for step in reversed(run.trail):
        end = Operation(leaf="goal", tensor=f"raised {run.raised}", causes=[step] if step.entry else step.causes)
        reached = _reached([end])
        if any(not suspect.fill for suspect in _suspects(reached).values()) or any(link.nan for link in reached):
            run.ends = [end]
            return
    assert run.error is not None
    if run.update is None or "overflow" not in str(run.error):
        raise run.error
    step = Operation(call=run.update, own=True, facts=run.raised)  # the rate itself is beyond the format
    run.ends = [Operation(leaf="goal", tensor="the weights after the update", causes=[step])]


def _reached(ends: list[Operation]) -> dict[Operation, Operation | None]:
    """Every step that the walk back reaches, and the one it came from."""
    towards: dict[Operation, Operation | None] = dict.fromkeys(ends)
    queue = list(ends)
    for step in queue:
        for cause in step.causes:
            if cause not in towards:
                towards[cause] = step
                queue.append(cause)
    return towards


def _suspects(reached: Iterable[Operation]) -> dict[Key, Operation]:
    """The origins among them, each once, in the order of time; masks last."""
    found = [step for step in reached if step.own or step.leaf in LEAVES]
    suspects: dict[Key, Operation] = {}
    for step in sorted(found, key=lambda step: (bool(step.leaf and step.fill), step.index)):
        suspects.setdefault(step.key, step)
    return suspects


def _likeliest(suspects: dict[Key, Operation]) -> Key:
    """What was bad before the step, unless an Inf is meant; or else the first."""
    return next((key for key, step in suspects.items() if step.leaf and not step.fill), next(iter(suspects)))


def _hidden(model: nn.Module, run: Replay, path: list[Operation], later: Callable[[Key], bool]) -> list[Operation]:
    """A weight whose Inf led here by way of a finite number, as 1/Inf is 0, and what read it; empty if there is none."""
    bad = _poisoned(model) if not path[0].leaf else {}
    for weight in [leaf for leaf in run.leaves.values() if leaf.leaf == "parameter" and leaf.tensor in bad]:
        if weight.fill != "mask" and weight.reader and weight.reader not in path and later(weight.key):
            return [weight, weight.reader]
    return []


def _way(step: Operation | None, towards: dict[Operation, Operation | None]) -> list[Operation]:
    way = []
    while step is not None:
        way.append(step)
        step = towards[step]
    return way


def _mixes(operation: str) -> bool:
    """Whether it adds up all that it reads, so that an Inf that was meant should not have come so far."""
    layers = ("linear", "matmul", "einsum", "conv", "lstm", "gru", "rnn")
    return operation.startswith(layers) or operation.endswith("_norm")


def _meeting(origin: Operation, towards: dict[Operation, Operation | None]) -> Operation:
    """Where an Inf that was meant, as in a mask, does harm: at the first NaN, or else where a whole row is masked.

    If it reached a layer before that, harm was done earlier: by the softmax or the like that let it out, or where it was made.
    """
    way = _way(origin, towards)[:-1]
    met = next((step for step in way if step.nan), None)
    while met and (earlier := [cause for cause in met.causes if cause.nan and not cause.leaf]):
        met = earlier[0]
    met = met or next((step for step in way if step.name in MASKABLE), origin)
    before = way[: way.index(met) + 1] if met in way else []
    if origin.fill not in ("", "memory") and (
        layer := next((i for i, step in enumerate(before) if _mixes(step.name) and not step.added), 0)
    ):
        return next((step for step in reversed(before[:layer]) if step.name in MASKABLE), origin)
    allowed = {"number": (met.name,), "mask": (*MASKABLE, "sub"), "minus": MASKABLE}.get(origin.fill, ())
    return met if met.name in allowed else origin


def _poisoned(model: nn.Module) -> dict[str, str]:
    """Parameters and buffers with Inf or NaN, unless an Inf may be meant: a mask, or the best loss so far."""
    poisoned = {module_name(name): "parameter" for name, p in model.named_parameters() if nonfinite(p)}
    named = ((name, t) for name, b in model.named_buffers() for t in floats(b) if nonfinite(t))
    return poisoned | {module_name(name): "buffer" for name, t in named if not _meant(name, t)}


def _meant(name: str, t: Tensor) -> bool:
    if name.endswith(("running_mean", "running_var")) or bool(t.isnan().any()):
        return False
    return t.ndim == 0 or bool((t[t.isinf()] < 0).all()) or t[t.isfinite()].unique().numel() <= 1


def _unread_poison(model: nn.Module, run: Replay) -> Origin | None:
    readers = {leaf.tensor: leaf.reader for leaf in run.leaves.values() if leaf.reader is not None}
    for name, kind in _poisoned(model).items():
        reader = readers.get(name, Operation()) if kind == "buffer" else Operation()  # of a table other rows are read
        message = say("{name} holds Inf or NaN. This step's loss and gradients do not depend on it, another's may.")
        if kind == "buffer" and name in readers:
            message = say("{name} holds Inf or NaN, and {reader} reads it: its result is finite, and says nothing.")
        message, at = message.format(name=name, reader=reader.name), Operation(source=reader.source)
        return _origin(kind, name.rpartition(".")[0], reader.name, at, [name], message, name)
    return None


# What to say, by the phase of the replay that went wrong
_MESSAGES = {
    "forward": "{why} ({facts}).{remedy}",
    "backward": "the loss is finite, the gradient is not ({facts}): {why}.{remedy}",
    "optimiser": "loss and gradients are sound, the {goal} by {operation} is not ({facts}). {blame}",
    "vanishing": "every entry of this gradient is below 2^-24, the smallest number of fp16, and becomes 0: what lies before"
    " {operation} learns nothing. Scale the loss (GradScaler), or by more.",
}


def _oversized(run: Replay) -> str:
    size = run.keep.sizes()
    largest = max(size, key=size.__getitem__, default="")
    if run.phase not in ("forward", "backward") or not largest or not size[largest] > 100:
        return ""
    told = say(" The weights in {name} are {times:.2g} times their usual size: too large a learning rate?")
    return told.format(name=largest, times=size[largest])


def _sample(run: Replay, at: Operation) -> int | None:
    """Which sample of the batch the first bad entry belongs to, by the axis that is as long as the batch or a multiple of it."""
    parameters = {tuple(p.shape) for p in run.keep.parameters.values()}
    if not at.entry or run.batch < 2 or at.shape in parameters or at.leaf not in ("", "input"):
        return None
    if at.shape[0] % run.batch == 0:
        return at.entry[0] // (at.shape[0] // run.batch)
    axes = [axis for axis, n in enumerate(at.shape) if n == run.batch]
    return at.entry[axes[0]] if len(axes) == 1 else None


def _where(at: Operation, sample: int | None) -> str:
    if not at.entry:
        return ""
    told = say("; the first at {entry} of shape {shape}, {dtype}")
    told += say(", sample {sample} of the batch") if sample is not None else ""
    return told.format(entry=list(at.entry), shape=list(at.shape), dtype=at.dtype, sample=sample)


def _explained(model: nn.Module, optimizer: Any, run: Replay, path: list[Operation], others: list[str]) -> Origin:
    """The origin at the head of the path, in words."""
    first, chain = path[0], [str(step) for step in path]
    sample = _sample(run, first)
    if first.leaf:
        found = _explained_leaf(model, path, chain, _where(first, sample))
    else:
        found = _explained_operation(optimizer, run, path, others, _where(first, sample))
    raised = say(" The exception that this step raised comes of it: {error}") if run.error is not None else ""
    return replace(found, message=found.message + raised.format(error=run.raised), sample=sample)


def _explained_operation(optimizer: Any, run: Replay, path: list[Operation], others: list[str], where: str) -> Origin:
    first, chain = path[0], [str(step) for step in path]
    module, operation, goal = first.module, first.name, path[-1].tensor
    if run.phase == "optimiser":
        operation = f"{type(optimizer).__name__}.step"
        if first.name == operation:
            module = goal.removesuffix(" after the update").rpartition(".")[0]
        else:
            chain = [operation, *chain]
    kind = "vanishing" if isinstance(run, Vanishing) else run.phase
    why, remedy = remedy_of(first, kind == "backward")
    before = kind == "backward" and first.forward is not None
    advice = say(" Remedy: {remedy}, before {operation}.") if before else say(" Remedy: {remedy}.")
    remedy = advice.format(remedy=remedy, operation=operation) if remedy else ""
    facts = first.facts + where * (run.phase != "optimiser")
    message = say(_MESSAGES[kind]).format(
        why=why, remedy=remedy, facts=facts, operation=operation, goal=retell(goal), blame=first.blame
    )
    if kind == "backward" and any(step.nan for step in path):
        message += say(" A zero gradient times Inf is NaN: a where or mask hides a value, not its gradient.")
    message += _oversized(run)
    if others:
        message += say(" Bad by themselves too: {names}.").format(names=", ".join(map(_place, others[:4])))
    return _origin(run.phase, module, operation, first, chain, message)


def _explained_leaf(model: nn.Module, path: list[Operation], chain: list[str], where: str) -> Origin:
    """What was bad before the step, and what read it first."""
    (leaf, reader), tensor = path[:2], path[0].tensor
    module, message = (
        reader.module,
        say("before the step a tensor from outside is bad already ({facts}): check the data."),
    )
    if tensor:
        module = tensor.split(" of ")[-1].rpartition(".")[0]
        message = say(
            "before the step {tensor} is bad already ({facts}): an earlier step spoiled it, and {count} others of the model."
            " To catch that step, train again from sound weights under trap_nonfinite(model, optimizer)."
        )
    others = len(_poisoned(model).keys() - {tensor})
    message = message.format(tensor=tensor, facts=leaf.facts + where, count=others)
    name = "" if reader.leaf else reader.name
    found = _origin(leaf.leaf, module, name, reader, chain, message, tensor)
    return replace(found, entry=leaf.entry, shape=leaf.shape, dtype=leaf.dtype)


def _place(link: str) -> str:
    """A link of a chain, in the reader's language; an operation has no other name."""
    return retell(link) if " " in link or link in (*LEAVES, "loss") else link


def _file(path: str) -> str:
    """What to call a file: a notebook's cells lie in one named after a process, which tells a reader nothing."""
    return "the cell" if re.search(r"ipykernel_\d+[/\\]|^<ipython-input", path) else path


def _origin(phase: str, module: str, name: str, at: Operation, chain: list[str], said: str, tensor: str = "") -> Origin:
    code = f"{_file(at.source[0])}:{at.source[1]}: {linecache.getline(*at.source).strip()}" if at.source else ""
    links = tuple(link for link, _ in groupby(chain))
    words = said[0].upper() + said[1:]
    return Origin(phase, module, name, tensor, code, links, words, at.entry, at.shape, at.dtype)
