"""What watching a training step costs, beside the usual ways: run by hand, ``python bench/monitor.py [rounds]``.

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
from collections.abc import Callable

import torch
from torch import Tensor, nn

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from labs.monitor import StabilityMonitor

Step = Callable[[], None]


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


def blog_hooks(model: nn.Module) -> Callable[[], None]:
    """The recipe of many posts: mean and standard deviation of every layer, forward and backward, read at once."""
    log: list[tuple[float, float]] = []

    def read(x: object) -> None:
        x = x[0] if isinstance(x, tuple) else x
        if isinstance(x, Tensor) and x.is_floating_point():
            log.append((x.detach().mean().item(), x.detach().std().item()))

    def forward(module: nn.Module, args: object, output: object) -> None:
        read(output)
        output = output[0] if isinstance(output, tuple) else output
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(read)  # a full backward hook would refuse an in-place ReLU

    leaves = [m for m in model.modules() if next(m.children(), None) is None]
    handles = [m.register_forward_hook(forward) for m in leaves]
    return lambda: [handle.remove() for handle in handles] and None


def measure(make: Callable[[], tuple[nn.Module, Tensor, Tensor]], rounds: int) -> None:
    torch.manual_seed(0)
    model, x, y = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)

    def plain() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    def watched(every: int, exact: bool) -> Callable[[int], float]:
        def run(steps: int) -> float:
            """Seconds a step, once the hooks are there."""
            with StabilityMonitor(model, every=every, exact=exact) as monitor:
                plain()
                monitor.step()  # the first step also looks for symmetric weights
                for _ in range(every - 1):
                    plain()
                    monitor.step()
                start = time.process_time()
                for _ in range(steps):
                    plain()
                    monitor.step()
                return (time.process_time() - start) / steps

        return run

    def timed(steps: int) -> float:
        start = time.process_time()
        for _ in range(steps):
            plain()
        return (time.process_time() - start) / steps

    def blog(steps: int) -> float:
        remove = blog_hooks(model)
        try:
            return timed(steps)
        finally:
            remove()

    def anomaly(steps: int) -> float:
        with torch.autograd.detect_anomaly():
            return timed(steps)

    tools: dict[str, tuple[Callable[[int], float], int]] = {
        "monitor, sampled, every step": (watched(1, False), 2),
        "monitor, sampled, every=10": (watched(10, False), 10),
        "monitor, exact, every step": (watched(1, True), 2),
        "blog hooks with .item()": (blog, 2),
        "torch.autograd.detect_anomaly": (anomaly, 2),
    }
    ratios: dict[str, list[float]] = {name: [] for name in tools}
    plains: list[float] = []
    timed(3)
    order = list(tools)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            run, steps = tools[name]
            before = timed(steps)
            with_tool = run(steps)
            after = timed(steps)
            plains += [before, after]
            ratios[name].append(2 * with_tool / (before + after))
    print(f"\n{make.__name__}: plain step {1e3 * statistics.median(plains):.1f} ms")
    for name, values in ratios.items():
        low, middle, high = statistics.quantiles(values, n=4)
        print(f"  {name:32s} {middle:5.2f}   [{low:.2f}, {high:.2f}]")
    pairs = zip(ratios["monitor, exact, every step"], ratios["blog hooks with .item()"], strict=True)
    low, middle, high = statistics.quantiles([a / b for a, b in pairs], n=4)
    floor = 1 / statistics.median(ratios["blog hooks with .item()"])
    print(
        f"  {'exact over blog hooks':32s} {middle:5.2f}   [{low:.2f}, {high:.2f}]   (a tool that costs nothing: {floor:.2f})"
    )
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
    import warnings

    warnings.filterwarnings("ignore", message="Anomaly Detection")
    torch.set_num_threads(1)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    print(f"torch {torch.__version__}, 1 thread, {rounds} rounds, load average {os.getloadavg()[0]:.1f}")
    for make in (mlp, resnet, transformer):
        measure(make, rounds)
    for name, what in (("transformers", "DebugUnderflowOverflow"), ("torchinfo", "summary"), ("wandb", "watch")):
        if importlib.util.find_spec(name) is None:
            print(f"not measured: {name} ({what}) is not installed")
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
