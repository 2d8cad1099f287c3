"""What moving a slider of the live figure costs: run by hand, ``python bench/live.py [moves]``, after ``make book``.

In headless Chromium, at width 64 and depth 60, the weight scale moves step by step, as under a reader's finger. Timed is all
that the page does for a move, until the frame is painted: reading the form, new weights from the numbers drawn before, both
passes, theory, drawing, layout. Printed are the median and the 95th percentile over the moves in milliseconds, for each
activation and format; the bar is 16, one frame of a screen of 60 Hz.

*CPU* is the page's main thread, which on a shared machine leaves out the time in which others ran; *wall* is from the event to
the end of layout by the clock, to be believed only where nothing else runs.
"""

from __future__ import annotations

import shutil
import statistics
import sys
from pathlib import Path

from playwright.sync_api import CDPSession, Page, sync_playwright

PAGE = Path(__file__).resolve().parents[1] / "_build/html/book/live.html"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
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


def cpu_seconds(session: CDPSession) -> float:
    """What the page's main thread has used so far."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(m["value"] for m in metrics if m["name"] == "TaskDuration")


def measure(tab: Page, session: CDPSession, settings: dict[str, object], moves: int) -> tuple[list[float], list[float]]:
    """Milliseconds of CPU and of wall clock for each move; the first 30 are left out, while the browser compiles."""
    tab.evaluate(SETUP, settings)
    cpu, wall = [], []
    for move in range(moves + 30):
        before = cpu_seconds(session)
        elapsed = tab.evaluate("position => move(position)", -0.3 + 0.6 * (move * 0.013 % 1))
        cpu.append(1000 * (cpu_seconds(session) - before))
        wall.append(elapsed)
    return cpu[30:], wall[30:]


def main(moves: int) -> None:
    """Measure every activation and format, and print a line for each."""
    if not PAGE.exists():
        sys.exit(f"{PAGE} is missing: run `make book` first.")
    with sync_playwright() as playwright:
        names = ("chromium", "chromium-browser", "google-chrome")
        path = next((p for name in names if (p := shutil.which(name))), playwright.chromium.executable_path)
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(PAGE.as_uri(), wait_until="load")
        session = tab.context.new_cdp_session(tab)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        print(
            f"Chromium {browser.version}, width 64, depth 60, {moves} moves: milliseconds, median and 95th percentile"
        )
        print(f"{'activation':16}{'format':8}{'CPU':>8}{'95 %':>8}{'wall':>8}{'95 %':>8}")
        for activation in tab.eval_on_selector_all("[name=activation] option", "o => o.map(e => e.value)"):
            for name in ("fp32", "fp16"):
                settings = {
                    "depth": 60,
                    "width": 64,
                    "activation": activation,
                    "initialiser": "he_normal",
                    "format": name,
                }
                columns = [
                    f"{statistics.median(times):8.1f}{statistics.quantiles(times, n=20)[-1]:8.1f}"
                    for times in measure(tab, session, settings, moves)
                ]
                print(f"{activation:16}{name:8}{''.join(columns)}", flush=True)
        browser.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
