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
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from labs._replay import LEAVES, PHASES, Kept, Key, Recorder, Step, Vanishing, floats, module_name, nonfinite, sizes


@dataclass(frozen=True)
class Origin:
    """What :func:`find_nonfinite_origin` found; false if it found nothing.

    - ``phase``: input, parameter or buffer (bad before the step), forward, backward, optimiser, or none;
    - ``module``: dotted path as in ``model.named_modules()``; empty outside every submodule;
    - ``operation``: log, linear, softmax, SGD.step, ...; for a tensor bad before the step, what first read it;
    - ``tensor``: name of that parameter or buffer, or of the optimizer's state ("exp_avg of head.weight");
    - ``source``: ``file:line: code`` of the operation, the innermost line outside torch;
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

    def __bool__(self) -> bool:
        return self.phase != "none"

    def __str__(self) -> str:
        what = f"{self.tensor} (read by {self.operation or 'nothing'})" if self.tensor else self.operation
        head = f"{self.phase}: {what} " + (f"in {self.module}" if self.module else "outside every submodule")
        links = self.chain if len(self.chain) <= 7 else (*self.chain[:3], "...", *self.chain[-3:])
        lines = [head, self.source, self.message, " -> ".join(links)] if self else [self.message]
        return "\n  ".join(filter(None, lines))

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for ``json.dumps``."""
        return asdict(self) | {"chain": list(self.chain)}


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
    they were, also after an exception. What ``torch.compile`` compiled runs eagerly in the replay. Raises ValueError if
    ``closure`` does not return one number.

    >>> entropy = lambda: -(p * torch.log(p)).sum()
    >>> p = torch.tensor([0.0, 1.0])
    >>> origin = find_nonfinite_origin(nn.Identity(), entropy)
    >>> origin.phase, origin.operation, origin.chain
    ('forward', 'log', ('log', 'mul', 'sum', 'neg', 'loss'))
    """

    def replay(kind: type[Recorder], repair: Key | None = None, scaler: Any = scaler) -> Recorder:
        keep = Kept(model, optimizer, scaler)
        recorder = kind(model, keep, repair)
        try:
            recorder.replay(closure, None if kind is Vanishing else optimizer, scaler)
        finally:
            keep.restore()
        return recorder

    def later(repair: Key) -> bool:
        """Whether the step gets further with this mended."""
        return PHASES.index(replay(Recorder, repair).phase) > PHASES.index(run.phase)

    run = replay(Recorder)
    if run.phase == "backward" and scaler is not None and replay(Recorder, scaler=None).phase != "backward":
        remark = "the scaler skips such a step and takes a smaller one. Unscaled, the gradients are finite."
        return Origin("none", message=f"Only the loss scale {scaler.get_scale():g} makes gradients overflow: {remark}")
    if run.phase == "none" and run.half:
        run = replay(Vanishing)
    towards = _walk(run.ends)
    found = [step for step in towards if step.own or step.leaf in LEAVES]
    if not found:
        return _unread_poison(model) or Origin("none", message="Nothing found: the step is finite.")
    found.sort(key=lambda step: (bool(step.leaf and step.fill), step.index))  # masks last
    suspects: dict[Key, Step] = {}
    for step in found:
        suspects.setdefault(step.key, step)
    trials = [key for key in suspects if key[0] not in LEAVES] if len(suspects) > 1 and type(run) is Recorder else []
    cure = next(filter(later, trials[:8]), None)
    poisoned = (key for key, step in suspects.items() if step.leaf and not step.fill)
    origin = suspects[cure or next(poisoned, None) or next(iter(suspects))]
    others = [str(step) for step in suspects.values() if step is not origin and not step.fill and not cure]
    path = _way(_meeting(origin, towards), towards)
    if not path[0].leaf:  # 1/Inf is 0: what an Inf among the weights leads to may begin with a finite number
        for leaf in run.leaves.values():
            if leaf.leaf != "parameter" or leaf.reader is None or leaf.reader in path or leaf.fill == "mask":
                continue
            if later(leaf.key):
                return _report(model, optimizer, run, [leaf, leaf.reader, *path], others)
    return _report(model, optimizer, run, path, others)


def _walk(ends: list[Step]) -> dict[Step, Step | None]:
    """Every step that the walk back reaches, and the one it came from."""
    towards: dict[Step, Step | None] = dict.fromkeys(ends)
    queue = list(ends)
    for step in queue:
        for cause in step.causes:
            if cause not in towards:
                towards[cause] = step
                queue.append(cause)
    return towards


def _way(step: Step | None, towards: dict[Step, Step | None]) -> list[Step]:
    way = []
    while step is not None:
        way.append(step)
        step = towards[step]
    return way


_MASKABLE = (
    "softmax",
    "log_softmax",
    "logsumexp",
    "scaled_dot_product_attention",
    "cross_entropy",
    "logaddexp",
    "softmin",
)


def _mixes(operation: str) -> bool:
    """Whether it adds up all that it reads, so that an Inf that was meant should not have come so far."""
    layers = ("linear", "matmul", "einsum", "conv", "lstm", "gru", "rnn")
    return operation.startswith(layers) or operation.endswith("_norm")


def _meeting(origin: Step, towards: dict[Step, Step | None]) -> Step:
    """Where an Inf that was meant, as in a mask, does harm: at the first NaN, or else where a whole row is masked.

    If it reached a layer before that, harm was done earlier: by the softmax or the like that let it out, or where it was made.
    """
    way = _way(origin, towards)[:-1]
    met = next((step for step in way if step.nan), None)
    while met and (earlier := [cause for cause in met.causes if cause.nan and not cause.leaf]):
        met = earlier[0]
    met = met or next((step for step in way if step.operation in _MASKABLE), origin)
    before = way[: way.index(met) + 1] if met in way else []
    if origin.fill and (layer := next((i for i, step in enumerate(before) if _mixes(step.operation)), 0)):
        return next((step for step in reversed(before[:layer]) if step.operation in _MASKABLE), origin)
    allowed = {"number": (met.operation,), "mask": (*_MASKABLE, "sub"), "minus": _MASKABLE}.get(origin.fill, ())
    return met if met.operation in allowed else origin


# What IEEE 754 makes of an operation, of its derivative, and the remedy
_RULES = {
    "log log2 log10 log1p": (
        "log 0 is -Inf, the log of a negative number NaN", "the slope 1/x is Inf at 0",
        "clamp the argument away from 0, or use log_softmax, logsigmoid or xlogy"),
    "sqrt norm std var": (
        "the root of a negative number is NaN, the unbiased variance of one value 0/0 = NaN",
        "the slope 1/(2 sqrt x) is Inf at 0", "add a small eps inside the root; for one value use correction=0"),
    "div reciprocal rsqrt": (
        "x/0 is Inf and 0/0 is NaN", "the slope of 1/x is Inf at 0",
        "add to the denominator an eps that the format can hold (1e-8 is 0 in fp16)"),
    "exp exp2 expm1 sinh cosh": (
        "exp(x) overflows beyond x = 88.7 in fp32, 11.1 in fp16", "its slope is exp(x), which overflowed",
        "subtract the maximum first, as softmax and logsumexp do, or clamp the argument"),
    "acos asin atanh acosh": (
        "outside its domain it is NaN, at the edge atanh is Inf", "the slope 1/sqrt(1 - x^2) is Inf at -1 and 1",
        "clamp the argument to a little less than 1 in magnitude"),
    "pow": (
        "0 to a negative power is Inf, a negative number to a fraction NaN",
        "the slope p x^(p-1) is Inf at 0 for p < 1", "clamp the base away from 0"),
    "mean nll_loss": (*("the mean of no entries is 0/0 = NaN",) * 2, "divide by the number of entries, or 1 if there are none"),
    "sub add": ("Inf - Inf is NaN", "Inf - Inf is NaN", "keep each term finite"),
    " ".join(_MASKABLE): (*("in a row of -Inf alone, -Inf - (-Inf) is NaN",) * 2, "leave an entry of each row unmasked"),
}  # fmt: skip
_OTHER = (
    "a number beyond the format's largest is Inf; 0/0, Inf - Inf and 0 x Inf are NaN", "its derivative is not finite here",
    "look at the inputs' magnitude: normalise them, scale the weights down, or use a wider format",
)  # fmt: skip


def _poisoned(model: nn.Module) -> dict[str, str]:
    """Parameters with Inf or NaN, and buffers with NaN (an Inf there may be a mask)."""
    poisoned = {module_name(name): "parameter" for name, p in model.named_parameters() if nonfinite(p)}
    named = ((name, t) for name, b in model.named_buffers() for t in floats(b))
    return poisoned | {module_name(name): "buffer" for name, t in named if t.isnan().any()}


def _unread_poison(model: nn.Module) -> Origin | None:
    for name, kind in _poisoned(model).items():
        message = f"{name} holds Inf or NaN. This step's loss and gradients do not depend on it, another's may."
        return Origin(kind, name.rpartition(".")[0], "", name, "", (name,), message)
    return None


def _blame(optimizer: Any, origin: Step) -> str:
    """Which number of the optimiser's to change."""

    def numbers(key: str) -> set[float]:
        return {float(group[key]) for group in optimizer.param_groups if group.get(key) is not None}

    rates = ", ".join(f"{rate:g}" for rate in sorted(numbers("lr")))
    if not all(map(math.isfinite, numbers("lr"))):
        return f"The learning rate {rates} is no number itself: look at its schedule."
    if numbers("eps") and " and 0 Inf" in origin.facts:
        eps = min(numbers("eps"))
        return f"Where a gradient is 0, so is the denominator of the update, and 0/0 is NaN: take a larger eps than {eps:g}."
    if max(numbers("weight_decay"), default=0.0) > 1:
        return f"The weight decay {max(numbers('weight_decay')):g} is too large, or the learning rate {rates}."
    return f"The learning rate {rates} is too large: divide it by 10. Or a denominator of the update underflowed: take a larger eps."


def _report(model: nn.Module, optimizer: Any, run: Recorder, path: list[Step], others: list[str]) -> Origin:
    origin, chain = path[0], [str(step) for step in path]
    phase, operation, module, source = run.phase, origin.operation, origin.module, origin.source
    rule = "mean" if operation == "cross_entropy" and origin.own else operation  # finite logits: no target counts
    why, slope, remedy = next((words for names, words in _RULES.items() if rule in names.split()), _OTHER)
    if operation in ("add", "sub") and not origin.nan:
        why, slope, remedy = _OTHER
    if operation in _MASKABLE and not origin.nan:
        why = "the result of a masked entry, or of a row of them, is -Inf, and what follows reads it"
    if origin.leaf:
        phase, operation, module, source = origin.leaf, path[1].operation, path[1].module, path[1].source
        module = origin.tensor.split(" of ")[-1].rpartition(".")[0] if origin.tensor else module
        others = list(_poisoned(model).keys() - {origin.tensor})
        advice = (
            f"an earlier step spoiled it, and {len(others)} others of the model" if origin.tensor else "check the data"
        )
        message = (
            f"before the step {origin.tensor or 'a tensor from outside'} is bad already ({origin.facts}): {advice}."
        )
    elif isinstance(run, Vanishing):
        message = (
            "every entry of this gradient is below 2^-24, the smallest number of fp16, and becomes 0: what lies before"
        )
        message += f" {operation} learns nothing. Scale the loss (GradScaler), or by more."
    elif phase == "optimiser":
        operation, goal = f"{type(optimizer).__name__}.step", path[-1].tensor
        if origin.operation == operation:
            module = goal.removesuffix(" after the update").rpartition(".")[0]
        else:
            chain = [operation, *chain]
        message = f"loss and gradients are sound, the {goal} by {operation} is not ({origin.facts}). {_blame(optimizer, origin)}"
    elif phase == "backward":
        message = (
            f"the loss is finite, the gradient is not ({origin.facts}): {slope}. Remedy: {remedy}, before {operation}."
        )
        if any(step.nan for step in path):
            message += " A zero gradient times Inf is NaN: a where or mask hides a value, not its gradient."
    else:
        message = f"{why} ({origin.facts}). Remedy: {remedy}."
    size = sizes(run.keep.parameters)
    largest = max(size, key=size.__getitem__, default="")
    if phase in ("forward", "backward") and largest and size[largest] > 100:
        message += (
            f" The weights in {largest} are {size[largest]:.2g} times their usual size: too large a learning rate?"
        )
    message += f" Bad by themselves too: {', '.join(others[:4])}." * bool(others and not origin.leaf)
    chain = [link for i, link in enumerate(chain) if i == 0 or link != chain[i - 1]]
    code = f"{source[0]}:{source[1]}: {linecache.getline(*source).strip()}" if source else ""
    return Origin(phase, module, operation, origin.tensor, code, tuple(chain), message[0].upper() + message[1:])
