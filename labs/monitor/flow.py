r"""The values that flow through one training step: every operation with what it reads, and a summary of what it gives.

Where :func:`~labs.monitor.find_nonfinite_origin` says which operation is at fault, :func:`examined` also tells of the step that it
searched, ready to be drawn. The operations are those that ``Origin.chain`` names: a function that the user calls is one, and
so is its derivative, whatever they consist of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from torch import Tensor, nn

from labs.monitor.kept import Kept, floats, storage_of
from labs.monitor.measure import wide
from labs.monitor.origin import find_nonfinite_origin
from labs.monitor.replay import Operation, Replay
from labs.words import spoken


@dataclass(eq=False)
class Node:
    """An operation of the step, or a tensor from before it.

    - ``name``: as a link of ``Origin.chain``; ``operation`` and ``module``: its parts;
    - ``phase``: forward, backward, or what kind of tensor it is (input, parameter, buffer);
    - ``reads``: the nodes whose results it reads; ``derives``: of a derivative, the operation that it is of;
    - ``count``: how many entries it gives on, ``nan``, ``inf`` and ``zero``: how many of them are that;
    - ``largest``: the largest magnitude among the finite ones.
    """

    name: str
    operation: str
    module: str
    phase: str
    derives: Node | None = None
    reads: list[Node] = field(default_factory=list)
    count: int = 0
    nan: int = 0
    inf: int = 0
    zero: int = 0
    largest: float = 0.0

    @property
    def bad(self) -> bool:
        return self.nan + self.inf > 0

    def give(self, value: Value) -> None:
        self.count += value.count
        self.nan += value.nan
        self.inf += value.inf
        self.zero += value.zero
        self.largest = max(self.largest, value.largest)


class Value:
    """A tensor as it was when an operation gave it."""

    def __init__(self, by: Operation, t: Tensor) -> None:
        finite = wide(t.detach()[t.isfinite()]).abs()
        self.by, self.count = by, t.numel()
        self.nan, self.inf, self.zero = int(t.isnan().sum()), int(t.isinf().sum()), int((t == 0).sum())
        self.largest = float(finite.max()) if finite.numel() else 0.0


class Flow(Replay):
    """Notes what each operation reads; ``goals`` are the loss, and then the gradients if the replay comes so far."""

    def __init__(self, model: nn.Module, keep: Kept) -> None:
        super().__init__(model, keep, None)
        self.values: dict[Any, Value] = {}  # what each storage holds now
        self.reads: list[tuple[Operation | None, Value]] = []  # in the order of time; None reads a goal

    def _judge(self, step: Operation, func: Any, flat: list[Any], spec: Any, written: list[Tensor]) -> None:
        self.reads += [(step, self._value(t)) for x in flat for t in floats(x)]

    def _record(self, step: Operation, t: Tensor, flat: list[Any]) -> None:
        if floats(t):
            self.values[storage_of(t)] = Value(step, t)

    def _stop(self, phase: str, goals: dict[str, Tensor]) -> bool:
        self.reads += [(None, self._value(t)) for t in goals.values()]
        return super()._stop(phase, goals)

    def _value(self, t: Tensor) -> Value:
        leaf = self.leaves.get(storage_of(t)) or Operation(leaf="input")
        return self.values.setdefault(storage_of(t), Value(leaf, t))

    def graph(self) -> list[Node]:
        """The nodes that a goal depends on, in the order of time."""
        found: dict[Any, Node] = {}

        def key(step: Operation) -> Any:
            if step.forward:
                return "backward", key(step.forward)
            return (step.call, step.name) if step.call else step

        def node(step: Operation) -> Node:
            if key(step) not in found:
                derives = node(step.forward) if step.forward else None
                phase = step.leaf or ("backward" if derives else "forward")
                found[key(step)] = Node(str(step), step.tensor or step.leaf or step.name, step.module, phase, derives)
            return found[key(step)]

        goals, given = list[Node](), set[Value]()
        for step, value in self.reads:
            maker, reader = node(value.by), node(step) if step else None
            if reader is maker:
                continue
            if reader is None:
                goals.append(maker)
            elif maker not in reader.reads:
                reader.reads.append(maker)
            saved = reader is not None and reader.phase == "backward" and maker.phase == "forward"
            if value not in given and not saved:  # what is kept for the derivative alone is no result
                given.add(value)
                maker.give(value)
        needed = dict.fromkeys(goals)
        todo = list(needed)
        while todo:
            last = todo.pop()
            more = [each for each in (*last.reads, last.derives) if each and each not in needed]
            needed |= dict.fromkeys(more)
            todo += more
        return [each for each in found.values() if each in needed and each.count]


def flow(model: nn.Module, closure: Callable[[], Tensor]) -> list[Node]:
    """The operations of one step and the tensors from before it, up to the loss, or to the gradients if the loss is finite.

    ``model`` and ``closure`` are those of :func:`~labs.monitor.find_nonfinite_origin`; afterwards all is as it was.

    >>> import torch
    >>> p = torch.tensor([0.0, 1.0])
    >>> for node in flow(nn.Identity(), lambda: -(p * torch.log(p)).sum()):
    ...     print(node.name, [each.name for each in node.reads], node.nan, node.inf)
    input [] 0 0
    log ['input'] 0 1
    mul ['input', 'log'] 1 0
    sum ['mul'] 1 0
    neg ['sum'] 1 0
    """
    keep = Kept(model, None, None)
    step = Flow(model, keep)
    try:
        step.run(closure, None, None)
    finally:
        keep.restore()
    if step.error is not None:
        raise step.error
    return step.graph()


def along(nodes: Sequence[Node], chain: Sequence[str]) -> list[Node]:
    """The way through the step that a chain of ``Origin`` names, its goal left out; empty if there is none.

    Only bad results lead on, or, where none is bad, those that are 0 throughout.
    """
    links, sound = [name for name in chain if any(node.name == name for node in nodes)], not any(n.bad for n in nodes)

    def spoiled(node: Node) -> bool:
        return node.zero == node.count if sound else node.bad

    def ways(way: list[Node]) -> Iterator[list[Node]]:
        names = [name for name, _ in groupby(node.name for node in way)]
        if names != links[: len(names)]:
            return
        if len(names) == len(links):
            yield way
        for node in nodes:
            if way[-1] in node.reads and spoiled(node) and node not in way:
                yield from ways([*way, node])

    begun = (node for node in nodes if links and node.name == links[0] and spoiled(node))
    return next((way for node in begun for way in ways([node])), [])


def examined(model: nn.Module, closure: Callable[[], Tensor]) -> dict[str, Any]:
    """What the finder says of a step, also in Chinese, and the step itself, ready for ``json.dumps``: nodes name each other by numbers.

    >>> import torch
    >>> p = torch.tensor([0.0, 1.0])
    >>> found = examined(nn.Identity(), lambda: -(p * torch.log(p)).sum())
    >>> found["chain"], [found["nodes"][k]["name"] for k in found["way"]]
    (['log', 'mul', 'sum', 'neg', 'loss'], ['log', 'mul', 'sum', 'neg'])
    """
    nodes, origin = flow(model, closure), find_nonfinite_origin(model, closure)
    with spoken("zh"):
        messages = {"zh": find_nonfinite_origin(model, closure).message}
    number = {node: k for k, node in enumerate(nodes)}
    told = [
        vars(node)
        | {"reads": [number[each] for each in node.reads if each in number], "derives": number.get(node.derives)}  # type: ignore[arg-type]
        for node in nodes
    ]
    way = [number[node] for node in along(nodes, origin.chain)]
    found = {"phase": origin.phase, "message": origin.message, "messages": messages, "chain": [*origin.chain]}
    return found | {"way": way, "nodes": told}
