"""Jacobians, singular values and phase diagrams of labs, beside torch's own functions, a plain product and a plain loop."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import mpmath
import numpy as np
import torch
from torch import Tensor

from labs import propagation
from labs.jacobians import log_singular_values, network_jacobian

from .table import Row, cpu_seconds, paired, version

TITLE = "Numerics"


def network(n: int, depth: int) -> tuple[list[Tensor], Tensor]:
    """Weights of a tanh network and an input."""
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(n, n, generator=generator, dtype=torch.float64) / math.sqrt(n) for _ in range(depth)]
    return weights, torch.randn(n, generator=generator, dtype=torch.float64)


def forward(weights: list[Tensor], h: Tensor) -> Tensor:
    for W in weights:
        h = torch.tanh(W @ h)
    return h


def jacobian_rows() -> list[Row]:
    torch_version = version("torch")
    rows = []
    for n, depth in ((8, 50), (64, 50), (256, 20), (1024, 10)):
        weights, x = network(n, depth)
        matrix, log_scale = network_jacobian(weights, x, "tanh")
        by_torch = torch.func.jacrev(lambda h, w=weights: forward(w, h))(x)
        assert torch.allclose(matrix * math.exp(log_scale), by_torch, rtol=1e-9, atol=1e-12 * float(by_torch.norm()))
        what = f"Jacobian of a tanh network, width {n}, depth {depth}"
        ours = lambda w=weights, x=x: network_jacobian(w, x, "tanh")  # noqa: E731
        peers = {
            "torch.func.jacrev": lambda w=weights, x=x: torch.func.jacrev(lambda h: forward(w, h))(x),
            "torch.autograd.functional.jacobian": lambda w=weights, x=x: torch.autograd.functional.jacobian(
                lambda h: forward(w, h), x
            ),
        }
        for peer, theirs in peers.items():
            if n <= 256 or peer == "torch.func.jacrev":  # the other takes a backward pass for each row
                rows.append(paired(what, ours, f"{peer}, {torch_version}", theirs))
    return rows


def worst_log_error(logs: Tensor, exact: list[float]) -> float:
    return max(abs(float(ours) - right) for ours, right in zip(logs, exact, strict=True))


def singular_value_rows() -> list[Row | str]:
    """Accuracy against mpmath beside time: the plain product is quicker, and wrong."""
    n, depth = 8, 150
    factors, _ = network(n, depth)
    with mpmath.workdps(400):
        product = mpmath.eye(n)
        for J in factors:
            product = mpmath.matrix(J.tolist()) * product
        exact = [float(mpmath.log(s)) for s in mpmath.svd_r(product, compute_uv=False)]

    def naive() -> Tensor:
        product = torch.eye(n, dtype=torch.float64)
        for J in factors:
            product = J @ product
        return torch.linalg.svdvals(product).log()

    row = paired(
        f"log singular values, width {n}, depth {depth}",
        lambda: log_singular_values(factors),
        f"plain product and svdvals, {version('torch')}",
        naive,
    )
    errors = [worst_log_error(f(), exact) for f in (lambda: log_singular_values(factors), naive)]
    deep, _ = network(64, 1000)
    took = statistics.median(cpu_seconds(lambda: log_singular_values(deep)) for _ in range(3))
    return [
        row,
        f"Worst error of a log singular value against mpmath {mpmath.__version__} (nats): ours {errors[0]:.1e}, the plain "
        f"product {errors[1]:.2g}. The plain product wins on time and has no correct digit in the small values.",
        f"Log singular values at width 64, depth 1000: {took:.2f} s.",
    ]


def diagram_by_loop(sigmas: list[float], depth: int, seeds: int, n: int = 64, batch: int = 4) -> Tensor:
    """A network at a time, as one writes it first."""
    generator = torch.Generator().manual_seed(0)
    moments = torch.empty(len(sigmas), seeds, depth)
    for i, sigma_w in enumerate(sigmas):
        for seed in range(seeds):
            h = torch.randn(batch, n, generator=generator)
            for t in range(depth):
                h = torch.tanh(h @ torch.randn(n, n, generator=generator) * (sigma_w / math.sqrt(n)))
                moments[i, seed, t] = h.square().mean()
    return moments


def diagram_rows() -> list[Row]:
    sigmas = np.linspace(0.5, 3.0, 20).tolist()
    peer = f"a loop over networks, {version('torch')}"
    rows = []
    for weights in ("shared", "independent"):

        def ours(weights: str = weights) -> object:
            generator = torch.Generator().manual_seed(0)
            return propagation.phase_diagram("tanh", sigmas, 30, 20, weights=weights, generator=generator)

        what = f"phase diagram 20 × 20 × 30, width 64, {weights} weights"
        rows.append(paired(what, ours, peer, lambda: diagram_by_loop(sigmas, 30, 20), rounds=5))
    return rows


def exponent(sizes: list[int], work: Callable[[int], Callable[[], object]]) -> tuple[float, float]:
    """Slope of log time against log size, fitted to medians of five, and the time at the largest size."""
    times = [statistics.median(cpu_seconds(work(size)) for _ in range(5)) for size in sizes]
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0]), times[-1]


def peak_flops(n: int = 1024) -> float:
    """What a large float64 matrix product reaches here, in flops a second of CPU time."""
    A = torch.randn(n, n, dtype=torch.float64)
    times = [cpu_seconds(lambda: A @ A) for _ in range(7)]
    return 2 * n**3 / statistics.median(times)


def scaling() -> list[str]:
    def by_depth(depth: int) -> Callable[[], object]:
        weights, x = network(64, depth)
        return lambda: network_jacobian(weights, x, "tanh")

    def by_width(n: int) -> Callable[[], object]:
        weights, x = network(n, 10)
        return lambda: network_jacobian(weights, x, "tanh")

    def singular(n: int, depth: int) -> Callable[[], object]:
        factors, _ = network(n, depth)
        return lambda: log_singular_values(factors)

    by_depth_of_values, _ = exponent([125, 250, 500, 1000], lambda depth: singular(64, depth))
    by_width_of_values, _ = exponent([32, 64, 128, 256], lambda n: singular(n, 100))
    depth_exponent, _ = exponent([50, 100, 200, 400], by_depth)
    width_exponent, last = exponent([128, 256, 512, 1024], by_width)
    flops = 9 * 2 * 1024**3  # nine products of 1024 × 1024; the layers' own cost is of order n²
    share = flops / last / peak_flops()
    return [
        f"Cost of a chained Jacobian grows with depth to the power {depth_exponent:.2f} (a product per layer: 1) and with width, "
        f"from 128 to 1024, to the power {width_exponent:.2f} (2n³ flops per product: 3 for large n; below, the n² work of "
        "derivatives and rescaling and the calls themselves count).",
        f"Log singular values: with depth to the power {by_depth_of_values:.2f}, with width, from 32 to 256 at depth 100, to the "
        f"power {by_width_of_values:.2f}.",
        f"At width 1024 it reaches {share:.0%} of what one float64 matrix product reaches here ({peak_flops() / 1e9:.0f} Gflops).",
    ]


def rows() -> list[Row | str]:
    torch.set_num_threads(1)
    begun = time.perf_counter()
    found = [*jacobian_rows(), *singular_value_rows(), *diagram_rows(), *scaling()]
    return [*found, f"All of it took {time.perf_counter() - begun:.0f} s; one thread, CPU seconds."]
