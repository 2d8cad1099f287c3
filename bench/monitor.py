"""What watching a training step costs with labs.monitor and with the usual ways, and whether each names what makes the loss NaN.

For each model, a plain step and a step with every tool, in a random order; ratios are paired within a round. One process, one
thread and CPU seconds, which on a shared machine leave out the time in which others ran.
"""

from __future__ import annotations

import functools
import gc
import random
import re
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, redirect_stdout
from io import StringIO
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from labs.monitor import StabilityMonitor, find_nonfinite_origin, trap_nonfinite
from labs.monitor import hooks as recording
from labs.monitor.trap import Trap

from .extra import extra
from .table import Row, cpu_seconds, seconds, spread, version

TITLE = "Monitor"
After = Callable[[], object]
Tool = Callable[[nn.Module, torch.optim.Optimizer], AbstractContextManager[After | Trap]]


# ------------------------------------------------------------------------------------------------------------- models


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, 256)
        layer = nn.TransformerEncoderLayer(256, 4, 1024, 0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        self.head = nn.Linear(256, 100)

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], device=x.device)
        return self.head(self.encoder(self.embed(x), mask=mask, is_causal=True)).transpose(1, 2)


def mlp() -> tuple[nn.Module, Tensor, Tensor]:
    linear = [nn.Linear(256, 256) for _ in range(50)]
    for layer in linear:
        nn.init.kaiming_normal_(layer.weight)
    body = [module for layer in linear for module in (layer, nn.ReLU())]
    return nn.Sequential(*body, nn.Linear(256, 10)), torch.randn(128, 256), torch.randint(10, (128,))


def resnet() -> tuple[nn.Module, Tensor, Tensor]:
    stem = [nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)]
    model = nn.Sequential(*stem, *[Block(32) for _ in range(4)], *head)
    return model, torch.randn(16, 3, 32, 32), torch.randint(10, (16,))


def transformer() -> tuple[nn.Module, Tensor, Tensor]:
    return Transformer(), torch.randint(100, (8, 64)), torch.randint(100, (8, 64))


class LanguageModel(nn.Module):
    """GPT-2, as the others: tokens in, logits out."""

    def __init__(self, **sizes: int) -> None:
        super().__init__()
        transformers = extra("transformers")
        self.gpt2 = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))

    def forward(self, x: Tensor) -> Tensor:
        return self.gpt2(x).logits.transpose(1, 2)


def gpt2() -> tuple[nn.Module, Tensor, Tensor]:
    model = LanguageModel(vocab_size=1000, n_embd=256, n_layer=5, n_head=4, n_positions=128)
    return model, torch.randint(1000, (8, 128)), torch.randint(1000, (8, 128))  # its whole context


def gpt2_small() -> tuple[nn.Module, Tensor, Tensor]:
    """The published size, as ``GPT2Config()`` has it."""
    return LanguageModel(), torch.randint(50257, (4, 128)), torch.randint(50257, (4, 128))


MODELS = {
    "MLP 50 × 256": mlp,
    "ResNet, 9 convolutions": resnet,
    "transformer, 6 layers": transformer,
    "GPT-2, 4.3 million parameters": gpt2,
}

# -------------------------------------------------------------------------------------------------------------- tools


@contextmanager
def monitored(
    model: nn.Module, optimizer: torch.optim.Optimizer, *, every: int = 1, exact: bool = False
) -> Iterator[After]:
    with StabilityMonitor(model, every=every, exact=exact) as monitor:
        yield monitor.step


@contextmanager
def trapped(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Trap]:
    with trap_nonfinite(model, optimizer) as trap:
        yield trap


OUTPUT: tuple[Callable[[Tensor], Tensor], ...] = (
    Tensor.mean, Tensor.std, Tensor.min, Tensor.max, lambda x: (x == 0).float().mean(),
    lambda x: x.isnan().any(), lambda x: x.isinf().any(),
)  # fmt: skip
GRADIENT: tuple[Callable[[Tensor], Tensor], ...] = (
    Tensor.norm,
    lambda x: x.isnan().any(),
    lambda x: x.isinf().any(),
)
FEW: tuple[Callable[[Tensor], Tensor], ...] = (Tensor.mean, Tensor.std)


@contextmanager
def hooks(
    model: nn.Module, optimizer: torch.optim.Optimizer, output: tuple = OUTPUT, gradient: tuple = GRADIENT
) -> Iterator[After]:
    """The recipe of many posts: hooks on every leaf module, each number read at once with ``.item()``.

    In full it reports what ``StabilityMonitor(exact=True)`` does, each number as posts compute it: of outputs mean, standard
    deviation, extremes, share of zeros, any NaN, any Inf; of their gradients the norm, any NaN, any Inf; of parameters the
    gradient's norm and the ratio of update to weight. It has no counterpart of the shares beyond fp16, bf16 and fp8, nor of
    dead units. The short one takes mean and standard deviation of outputs, and the gradients' norms.
    """
    log: list[list[float]] = []

    def read(functions: tuple, x: object) -> None:
        x = x[0] if isinstance(x, tuple) else x
        if isinstance(x, Tensor) and x.is_floating_point():
            log.append([function(x.detach()).item() for function in functions])

    def forward(module: nn.Module, args: object, result: object) -> None:
        read(output, result)
        result = result[0] if isinstance(result, tuple) else result
        if isinstance(result, Tensor) and result.requires_grad:
            result.register_hook(functools.partial(read, gradient))  # a full backward hook refuses an in-place ReLU

    def after() -> None:
        rate = optimizer.param_groups[0]["lr"]
        for p in model.parameters():
            if p.grad is not None:
                norm = p.grad.norm().item()
                log.append([norm, rate * norm / p.detach().norm().item()] if len(output) > 2 else [norm])
        log.clear()

    handles = [m.register_forward_hook(forward) for m in model.modules() if next(m.children(), None) is None]
    try:
        yield after
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def anomaly(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[After]:
    with torch.autograd.detect_anomaly():
        yield lambda: None


@contextmanager
def debug_underflow_overflow(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[After]:
    """Extremes of weights, inputs and outputs, forward only."""
    from transformers.debug_utils import DebugUnderflowOverflow

    before = {m: list(m._forward_hooks) for m in model.modules()}
    DebugUnderflowOverflow(model)
    try:
        yield lambda: None
    finally:
        for module, kept in before.items():  # it keeps no handles
            for key in set(module._forward_hooks) - set(kept):
                del module._forward_hooks[key]


@contextmanager
def traced(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[After]:
    """Tests of every result for NaN and Inf, forward only."""
    import sherlorch

    with sherlorch.trace() as tracker:
        tracker.watch(model)
        yield tracker.reset


BLOG = "the blog recipe, hooks with .item()"
SAMPLED, TENTH, EXACT = "sampled, every step", "sampled, every 10th step", "exact, every step"
TRAP = "the trap"
OURS: dict[str, tuple[Tool, int]] = {  # with the number of steps that are timed together
    SAMPLED: (monitored, 6),
    TENTH: (functools.partial(monitored, every=10), 10),
    EXACT: (functools.partial(monitored, exact=True), 6),
    TRAP: (trapped, 10),
}
THEIRS: dict[str, tuple[Tool, str]] = {
    BLOG: (hooks, "torch"),
    "its short form, mean, std and norms": (functools.partial(hooks, output=FEW, gradient=GRADIENT[:1]), "torch"),
    "torch.autograd.detect_anomaly": (anomaly, "torch"),
    "DebugUnderflowOverflow": (debug_underflow_overflow, "transformers"),
    "sherlorch.trace": (traced, "sherlorch"),
}

# --------------------------------------------------------------------------------------------------------------- time


Make = Callable[[], tuple[nn.Module, Tensor, Tensor]]


def ratios(
    make: Make, rounds: int, tools: dict[str, tuple[Tool, int]], device: str = "cpu", times: int = 1
) -> tuple[float, dict[str, list[float]]]:
    """Seconds of a plain step, and for each tool the ratio to it in each round; so many times the steps of each tool."""
    torch.manual_seed(0)
    model, x, y = make()
    model, x, y = model.to(device), x.to(device), y.to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)

    def now() -> float:
        """CPU seconds; on a GPU seconds, once it has nothing left to do."""
        if device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(model(x), y)

    def timed(steps: int, after: After | Trap = lambda: None) -> float:
        """Seconds a step."""
        start = now()
        for _ in range(steps):
            optimizer.zero_grad()
            (after(loss, x, y) if isinstance(after, Trap) else loss(x, y)).backward()
            optimizer.step()
            if not isinstance(after, Trap):
                after()
        return (now() - start) / steps

    found: dict[str, list[float]] = {name: [] for name in tools}
    plain = [timed(3 * times)]
    for _ in range(rounds):
        for name in random.sample(sorted(tools), len(tools)):
            tool, steps = tools[name]
            gc.collect()
            before = timed(3 * times)
            with tool(model, optimizer) as after:
                timed(
                    2, after
                )  # the first also looks for symmetric weights, both fetch memory; of ten that follow, one is recorded
                took = timed(steps * times, after)
            plain += [before, timed(3 * times)]
            found[name].append(2 * took / (plain[-2] + plain[-1]))
    return statistics.median(plain), found


def own_rows(name: str, plain: float, found: dict[str, list[float]]) -> list[Row | str]:
    peer = f"a plain step, {version('torch')}"
    return [
        Row(
            f"{name}: {ours}",
            seconds(statistics.median(found[ours]) * plain),
            peer,
            seconds(plain),
            spread(found[ours]),
        )
        for ours in OURS
    ]


def peer_row(name: str, plain: float, found: dict[str, list[float]], peer: str) -> Row:
    """The exact monitor beside another tool."""
    ours, theirs = (seconds(statistics.median(found[tool]) * plain) for tool in (EXACT, peer))
    over = [a / b for a, b in zip(found[EXACT], found[peer], strict=True)]
    return Row(f"{name}: {EXACT}", ours, f"{peer}, {version(THEIRS[peer][1])}", theirs, spread(over))


def rows_of(name: str, make: Make, rounds: int) -> list[Row | str]:
    plain, found = ratios(make, rounds, OURS | {name: (tool, 6) for name, (tool, _) in THEIRS.items()})
    rows = own_rows(name, plain, found) + [peer_row(name, plain, found, peer) for peer in THEIRS]
    blog = statistics.median(found[BLOG])
    rows.append(
        f"{name}: the blog recipe takes {blog:.2f} times a plain step, so that a tool that costs nothing would stand at "
        f"{1 / blog:.2f} of it; sampled standard deviations are within {worst_std(make):.1%} of the exact ones."
    )
    return [*rows, f"{name}: {exact_parts(make, plain)}"]


def exact_parts(make: Make, plain: float, steps: int = 10) -> str:
    """Where an exact step's own time goes, in shares of a plain step: medians of the time spent inside the monitor's functions."""
    torch.manual_seed(0)
    model, x, y = make()
    spent: dict[str, list[float]] = {}

    def clocked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            start = time.process_time()
            result = function(*given, **named)
            spent[name][-1] += time.process_time() - start
            return result

        return run

    with ExitStack() as patches:
        for name in ("read_all", "squares_of", "numbers_of"):
            patches.enter_context(patch.object(recording, name, clocked(name, getattr(recording, name))))
        with StabilityMonitor(model, every=1, exact=True) as monitor:
            for _ in range(steps):
                for name in ("read_all", "squares_of", "numbers_of"):
                    spent.setdefault(name, []).append(0.0)
                model.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                monitor.step()
    share = {name: f"{statistics.median(took[2:]) / plain:.1%}" for name, took in spent.items()}
    return (
        f"of a plain step, exact recording spends {share['read_all']} in the sums and extremes of all entries of outputs and their "
        f"gradients, {share['squares_of']} in the norms of the weights' gradients and {share['numbers_of']} in the numbers of the samples; "
        "the rest of its cost is the hooks' own."
    )


def worst_std(make: Make) -> float:
    torch.manual_seed(0)
    model, x, y = make()
    layers = []
    for exact in (False, True):
        with StabilityMonitor(model, every=1, exact=exact) as monitor:
            nn.functional.cross_entropy(model(x), y).backward()
            monitor.step()
        layers.append(monitor.report.layers)
    return max(abs(s.std / e.std - 1) for s, e in zip(*layers, strict=True) if e.std)


# ----------------------------------------------------------------------------------------------------------- findings


class Apply(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, h: Tensor) -> Tensor:
        return self.function(h)


def same(h: Tensor) -> Tensor:
    return h


Function = Callable[[Tensor], Tensor]
FAULTS: dict[str, tuple[Function, Function]] = {  # early in the model, and in module 4
    "log": (same, lambda h: (h * 0).log()),
    "exp": (same, lambda h: (h + 100).exp()),
    "sqrt": (same, lambda h: torch.where(h > 0, h.sqrt(), 0.0)),  # bad in the backward pass only
    "acos": (same, lambda h: torch.acos(h * 0 + 1)),  # there too, and Inf, not NaN
    "div": (lambda h: torch.relu(h).log(), lambda h: h * 0 / (h * 0)),  # a -Inf before it is erased by the ReLU
}
Found = tuple[str, str]  # operation and module, "" where a tool names none
Loss = Callable[[], Tensor]


def broken(early: Function, fault: Function) -> tuple[nn.Module, Loss]:
    torch.manual_seed(0)
    body = [nn.Linear(8, 8), Apply(early), nn.ReLU(), nn.Linear(8, 8), Apply(fault)]
    model = nn.Sequential(*body, nn.Linear(8, 3))
    x, y = torch.randn(16, 8), torch.arange(16) % 3
    return model, lambda: nn.functional.cross_entropy(model(x), y)


def by_finder(model: nn.Module, loss: Loss) -> Found:
    origin = find_nonfinite_origin(model, loss)
    return origin.operation, origin.module


def by_hooks(model: nn.Module, loss: Loss) -> Found:
    """The first module with an output that is not finite, or else with a gradient that is not."""
    bad: list[str] = []

    def check(name: str, x: Tensor) -> None:
        if x.isnan().any().item() or x.isinf().any().item():
            bad.append(name)

    def forward(name: str, module: nn.Module, args: object, output: Tensor) -> None:
        check(name, output.detach())
        output.register_hook(functools.partial(check, name))

    for name, module in model.named_children():
        module.register_forward_hook(functools.partial(forward, name))
    loss().backward()
    return "", bad[0] if bad else ""


def by_anomaly(model: nn.Module, loss: Loss) -> Found:
    try:
        with torch.autograd.detect_anomaly():
            loss().backward()
    except RuntimeError as error:
        name = re.search(r"Function '(\w+?)Backward", str(error))
        return name[1].lower() if name else "", ""
    return "", ""


def by_debug(model: nn.Module, loss: Loss) -> Found:
    from transformers.debug_utils import DebugUnderflowOverflow

    DebugUnderflowOverflow(model)
    with redirect_stdout(StringIO()) as text:
        try:
            loss().backward()
        except ValueError:  # its last frame is the bad one, headed by the module's name and type
            return "", re.findall(r"^ +(\S+) [A-Z]\w+$", text.getvalue(), re.MULTILINE)[-1]
    return "", ""


def by_sherlorch(model: nn.Module, loss: Loss) -> Found:
    import sherlorch

    with sherlorch.trace() as tracker:
        tracker.watch(model)
        value = loss()
    culprit = re.search(r"Culprit #1: \[\d+\] (\w+) .*\[model\.?(.*?)\]", str(tracker.diagnose(value)))
    return (culprit[1], culprit[2]) if culprit else ("", "")


FINDERS: dict[str, tuple[Callable[[nn.Module, Loss], Found], str]] = {
    BLOG: (by_hooks, "torch"),
    "torch.autograd.detect_anomaly": (by_anomaly, "torch"),
    "DebugUnderflowOverflow": (by_debug, "transformers"),
    "sherlorch.trace": (by_sherlorch, "sherlorch"),
}


def finding_rows() -> list[Row | str]:
    """Of five faults, how often each tool names the operation, and how often the module."""

    def count(find: Callable[[nn.Module, Loss], Found]) -> str:
        told = {operation: find(*broken(*fault)) for operation, fault in FAULTS.items()}
        operations = sum(operation == found for operation, (found, _) in told.items())
        return f"{operations} and {sum(module == '4' for _, module in told.values())}"

    what, ours = f"of {len(FAULTS)} faults, operation and module named", count(by_finder)
    peers = {f"{peer}, {version(package)}": find for peer, (find, package) in FINDERS.items()}
    return [Row(what, ours, peer, count(find), "") for peer, find in peers.items()]


def history_row() -> str:
    """One recorded step of a hundred layers, a thousand times."""
    model = nn.Sequential(*[nn.Linear(8, 8) for _ in range(100)])
    with StabilityMonitor(model, every=1) as monitor:
        model(torch.randn(32, 8)).square().mean().backward()
        monitor.step()
    monitor._steps.extend([monitor._steps[0]] * 999)
    took = cpu_seconds(lambda: monitor.history)
    return f"The history of 1000 steps of 100 layers, as reports: {seconds(took)}."


WHY = (
    "Beside a plain step a ratio is what watching costs, which is never below 1; the short form of the recipe reads three numbers "
    "of a module where the exact monitor, as the recipe in full, reads ten."
)


def rows(rounds: int = 7) -> list[Row | str]:
    for package in ("transformers", "sherlorch"):
        extra(package)
    for words in ("Anomaly Detection", "Error detected in"):  # what detect_anomaly says to the terminal
        warnings.filterwarnings("ignore", message=words)
    torch.set_num_threads(1)
    small = "GPT-2 small, 124 million parameters"  # a step takes seconds: ours alone, over three rounds
    return (
        [row for name, make in MODELS.items() for row in rows_of(name, make, rounds)]
        + own_rows(small, *ratios(gpt2_small, 3, OURS))
        + finding_rows()
        + [history_row(), WHY]
    )
