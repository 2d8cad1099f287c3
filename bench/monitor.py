"""What watching a training step costs, beside the usual ways: run by hand, ``python bench/monitor.py [rounds [models]]``.

For each model, one plain step and one step with every tool, alternating in a random order; printed are the median over the
rounds of the paired ratio (tool over the plain step of the same round) and its quartiles. One process, one thread, and CPU
seconds (`time.process_time`), which on a shared machine leave out the time in which others ran.
"""

from __future__ import annotations

import importlib.util
import os
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from labs.monitor import StabilityMonitor

After = Callable[[], object]


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))


def mlp() -> tuple[nn.Module, Tensor, Tensor]:
    layers = [layer for _ in range(50) for layer in (nn.Linear(256, 256), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(256, 10))
    for layer in layers[::2]:
        nn.init.kaiming_normal_(layer.weight)
    return model, torch.randn(128, 256), torch.randint(10, (128,))


def resnet() -> tuple[nn.Module, Tensor, Tensor]:
    stem = [nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)]
    return (
        nn.Sequential(*stem, *[Block(32) for _ in range(4)], *head),
        torch.randn(16, 3, 32, 32),
        torch.randint(10, (16,)),
    )


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, 256)
        layer = nn.TransformerEncoderLayer(256, 4, 1024, 0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        self.head = nn.Linear(256, 100)

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.head(self.encoder(self.embed(x), mask=mask, is_causal=True)).transpose(1, 2)


def transformer() -> tuple[nn.Module, Tensor, Tensor]:
    return Transformer(), torch.randint(100, (8, 64)), torch.randint(100, (8, 64))


_SUMMARY: tuple[Callable[[Tensor], Tensor], ...] = (Tensor.mean, Tensor.std)
_CHECKS = (Tensor.min, Tensor.max, lambda x: x.isnan().any(), lambda x: x.isinf().any())


@contextmanager
def blog_hooks(model: nn.Module, full: bool) -> Iterator[After]:
    """The recipe of many posts: a hook on every leaf module, forward and backward, each number read at once.

    ``full``: mean, standard deviation, extremes and tests for NaN and Inf, as in recipes for a loss that is NaN, and the
    norm of each parameter's gradient; else mean and standard deviation alone, as in posts on initialisation.
    """
    log: list[list[float]] = []
    functions = _SUMMARY + _CHECKS if full else _SUMMARY

    def read(x: object) -> None:
        x = x[0] if isinstance(x, tuple) else x
        if isinstance(x, Tensor) and x.is_floating_point():
            x = x.detach()
            log.append([function(x).item() for function in functions])

    def forward(module: nn.Module, args: object, output: object) -> None:
        read(output)
        output = output[0] if isinstance(output, tuple) else output
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(read)  # a full backward hook would refuse an in-place ReLU

    def after() -> None:
        if full:
            log.append([p.grad.norm().item() for p in model.parameters() if p.grad is not None])
        log.clear()

    leaves = [m for m in model.modules() if next(m.children(), None) is None]
    handles = [m.register_forward_hook(forward) for m in leaves]
    try:
        yield after
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def monitored(model: nn.Module, every: int, exact: bool) -> Iterator[After]:
    with StabilityMonitor(model, every=every, exact=exact) as monitor:
        yield monitor.step


@contextmanager
def anomaly(model: nn.Module) -> Iterator[After]:
    with torch.autograd.detect_anomaly():
        yield lambda: None


@contextmanager
def debug_underflow_overflow(model: nn.Module) -> Iterator[After]:
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
def sherlorch(model: nn.Module) -> Iterator[After]:
    import sherlorch

    with sherlorch.trace() as tracker:
        tracker.watch(model)
        yield tracker.reset


BLOG, EXACT = "blog hooks, in full", "monitor, exact, every step"
# Name: (tool, steps that are timed together, package)
TOOLS: dict[str, tuple[Callable[[nn.Module], AbstractContextManager[After]], int, str]] = {
    "monitor, sampled, every step": (lambda m: monitored(m, 1, False), 2, "torch"),
    "monitor, sampled, every=10": (lambda m: monitored(m, 10, False), 10, "torch"),
    EXACT: (lambda m: monitored(m, 1, True), 2, "torch"),
    BLOG: (lambda m: blog_hooks(m, True), 2, "torch"),
    "blog hooks, mean and std only": (lambda m: blog_hooks(m, False), 2, "torch"),
    "torch.autograd.detect_anomaly": (anomaly, 2, "torch"),
    "DebugUnderflowOverflow": (debug_underflow_overflow, 2, "transformers"),
    "sherlorch": (sherlorch, 2, "sherlorch"),
}


def spread(values: Iterable[float]) -> tuple[float, str]:
    low, middle, high = statistics.quantiles(values, n=4)
    return middle, f"{middle:5.2f}   [{low:.2f}, {high:.2f}]"


def measure(make: Callable[[], tuple[nn.Module, Tensor, Tensor]], rounds: int) -> None:
    torch.manual_seed(0)
    model, x, y = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)

    def timed(steps: int, after: After = lambda: None) -> float:
        """CPU seconds a step."""
        start = time.process_time()
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            after()
        return (time.process_time() - start) / steps

    order = [name for name, (*_, package) in TOOLS.items() if importlib.util.find_spec(package)]
    ratios: dict[str, list[float]] = {name: [] for name in order}
    plains = [timed(3)]
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            use, steps, _ = TOOLS[name]
            with use(model) as after:
                timed(steps if steps > 2 else 1, after)  # the first step also looks for symmetric weights
                between = timed(steps, after)
            plains += [timed(2)]
            with use(model) as after:
                timed(steps if steps > 2 else 1, after)
                between += timed(steps, after)
            ratios[name].append(between / (plains[-1] + timed(2)))
    print(f"\n{make.__name__}: plain step {1e3 * statistics.median(plains):.1f} ms")
    for name in TOOLS:
        print(f"  {name:32s} " + (spread(ratios[name])[1] if name in ratios else "not installed"))
    blog = spread(ratios[BLOG])[0]
    over = spread(a / b for a, b in zip(ratios[EXACT], ratios[BLOG], strict=True))[1]
    print(f"  {'exact over blog hooks in full':32s} {over}   (a tool that costs nothing: {1 / blog:.2f})")
    reports = []
    for exact in (False, True):
        with StabilityMonitor(model, every=1, exact=exact) as monitor:
            nn.functional.cross_entropy(model(x), y).backward()
            monitor.step()
        reports.append(monitor.report.layers)
        optimizer.zero_grad()
    error = [abs(s.std / e.std - 1) for s, e in zip(*reports, strict=True) if e.std]
    print(f"  sampled std, largest error over {len(error)} layers: {max(error):.1%}")


def main() -> None:
    warnings.filterwarnings("ignore", message="Anomaly Detection")
    torch.set_num_threads(1)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    print(f"torch {torch.__version__}, 1 thread, {rounds} rounds, load average {os.getloadavg()[0]:.1f}")
    for make in (mlp, resnet, transformer):
        if make.__name__ in (sys.argv[2:] or [make.__name__]):
            measure(make, rounds)
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
