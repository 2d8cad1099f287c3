"""A move of the live figure's slider at width 64, depth 60, beside the same picture from a notebook: labs, torch and matplotlib.

In headless Chromium the weight scale moves step by step, as under a reader's finger. Timed is all that the page does for a move,
until the frame is painted: reading the form, new weights from the numbers drawn before, both passes, theory, drawing, layout. The
notebook's cell scales its weights, runs both passes, predicts and draws; its way to the browser and back is not counted. CPU time
of the page's main thread, which leaves out the time in which others ran; the clock's stands in the last lines.
"""

from __future__ import annotations

import io
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from support import launch

from labs import propagation
from labs.nets import DeepMLP

from .table import PeerMissing, Row, cpu_seconds, version

TITLE = "Live figure"
PAGE = Path(__file__).resolve().parents[1] / "_build/html/book/live.html"
WIDTH, DEPTH, MOVES, WARM = 64, 60, 200, 30
FIXED = {"depth": DEPTH, "width": WIDTH, "initialiser": "he_normal"}
FRAME = 16.0  # milliseconds, at 60 Hz
SETUP = """settings => {
  liveFigures[0].set(settings);
  const slider = document.querySelector('.live-figure input[type=range]:not([name])');
  const svg = document.querySelector('.live-plot');
  window.move = position => new Promise(resolve => {
    slider.value = position;
    slider.dispatchEvent(new Event('input', {bubbles: true}));  // the figure asks for a frame; this one comes after it
    const begun = performance.now();
    requestAnimationFrame(started => {
      svg.getBoundingClientRect();
      const wall = performance.now() - Math.max(begun, started);
      requestAnimationFrame(() => resolve(wall));
    });
  });
}"""


def position(move: int) -> float:
    """Where the slider stands: the logarithm of a scale from 1/2 to 2."""
    return -0.3 + 0.6 * (move * 0.013 % 1)


def page_cpu(session: Any) -> float:
    """Seconds that the page's main thread has used so far."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(m["value"] for m in metrics if m["name"] == "TaskDuration")


def measure(tab: Any, session: Any, settings: dict[str, object]) -> tuple[list[float], list[float]]:
    """Milliseconds of CPU and by the clock for each move; the first are left out, while the browser compiles."""
    tab.evaluate(SETUP, settings)
    cpu, wall = [], []
    for move in range(MOVES + WARM):
        before = page_cpu(session)
        elapsed = tab.evaluate("position => move(position)", position(move))
        cpu.append(1000 * (page_cpu(session) - before))
        wall.append(elapsed)
    return cpu[WARM:], wall[WARM:]


def in_a_notebook(activation: str) -> list[float]:
    """Milliseconds of CPU for each of a few moves, by labs, torch and matplotlib."""
    import matplotlib.pyplot as plt

    generator = torch.Generator().manual_seed(0)
    net = DeepMLP((WIDTH, DEPTH), activation, "he_normal", generator=generator)
    drawn = [layer.weight.detach().clone() for layer in net.layers]
    x, top = torch.randn(1, WIDTH, generator=generator), torch.randn(1, WIDTH, generator=generator)
    gamma = 2 / WIDTH

    def move(scale: float) -> None:
        with torch.no_grad():
            for layer, W in zip(net.layers, drawn, strict=True):
                layer.weight.copy_(scale * W)
        hidden = net.hidden(x.requires_grad_())
        for h in hidden:
            h.retain_grad()
        hidden[-1].backward(top)
        figure, axes = plt.subplots(figsize=(6, 3.2))
        axes.semilogy([h.detach().square().mean().sqrt().item() for h in hidden])
        axes.semilogy([h.grad.square().mean().sqrt().item() for h in hidden])
        axes.semilogy(propagation.predict_forward(activation, (WIDTH, DEPTH), gamma * scale**2).sqrt(), "--")
        axes.semilogy(propagation.predict_backward(activation, (WIDTH, DEPTH), gamma * scale**2).sqrt(), "--")
        figure.savefig(io.BytesIO(), format="png")
        plt.close(figure)

    move(1.0)
    return [1000 * cpu_seconds(lambda k=k: move(10 ** position(k))) for k in range(20)]


def late(times: list[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(times, n=20)[-1]


def rows() -> list[Row | str]:
    if not PAGE.exists():
        raise PeerMissing("there is no built site in _build/html: run `make book` first")
    torch.set_num_threads(1)
    peer = f"the same in a notebook, {version('torch')}, {version('matplotlib')}"
    found: list[Row | str] = []
    clock: list[float] = []
    begun = time.perf_counter()
    with launch() as browser:
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(PAGE.as_uri(), wait_until="load")
        session = tab.context.new_cdp_session(tab)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        for activation in tab.eval_on_selector_all("[name=activation] option", "o => o.map(e => e.value)"):
            theirs = late(in_a_notebook(activation))
            for name in ("fp32", "fp16"):
                cpu, wall = measure(tab, session, FIXED | {"activation": activation, "format": name})
                clock.append(late(wall))
                what = f"{activation}, {name}: a move, 95th percentile of {MOVES}"
                found.append(Row(what, f"{late(cpu):.1f} ms", peer, f"{theirs:.0f} ms", f"{late(cpu) / theirs:.3f}"))
        chromium = browser.version
    slowest = max(float(row.ours.split()[0]) for row in found if isinstance(row, Row))
    return [
        *found,
        f"The bar is {FRAME:.0f} ms, a frame at 60 Hz: the slowest of these takes {slowest:.1f} ms.",
        f"By the clock, with whatever else ran here: 95th percentiles from {min(clock):.1f} to {max(clock):.1f} ms.",
        f"Chromium {chromium}. All of it took {time.perf_counter() - begun:.0f} s.",
    ]
