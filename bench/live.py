"""What moving a slider of the live figure costs: run by hand, ``python bench/live.py [moves]``, after ``make book``.

In headless Chromium, at width 64 and depth 60, the weight scale moves step by step, as under a reader's finger. Each move is
timed from the slider's event to the end of layout: reading the form, new weights from the numbers drawn before, both passes,
theory, drawing. Printed are the median and the 95th percentile over the moves, in milliseconds, for each activation and
format; the bar is 16, one frame of a screen of 60 Hz. Wall clock: measure on a machine at rest.
"""

from __future__ import annotations

import shutil
import statistics
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PAGE = Path(__file__).resolve().parents[1] / "_build/html/book/live.html"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
# The figure waits for a frame before it draws, so the event and the frame are called by hand, one after the other.
MOVE = """async ([settings, moves]) => {
  liveFigures[0].set(settings);
  const slider = document.querySelector('.live-figure input[type=range]:not([name])'), times = [];
  const svg = document.querySelector('.live-plot');
  let waiting;
  window.requestAnimationFrame = call => { waiting = call; return 1; };
  for (let move = 0; move < moves; move++) {
    slider.value = -0.3 + 0.6 * ((move * 0.013) % 1);
    const begun = performance.now();
    slider.dispatchEvent(new Event('input', {bubbles: true}));
    waiting();
    svg.getBoundingClientRect();
    times.push(performance.now() - begun);
    await new Promise(resolve => setTimeout(resolve, 4));
  }
  return times;
}"""


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
        print(f"Chromium {browser.version}, width 64, depth 60, {moves} moves: milliseconds")
        print(f"{'activation':16}{'format':8}{'median':>8}{'95th':>8}")
        for activation in tab.eval_on_selector_all("[name=activation] option", "o => o.map(e => e.value)"):
            for name in ("fp32", "fp16"):
                settings = {
                    "depth": 60,
                    "width": 64,
                    "activation": activation,
                    "initialiser": "he_normal",
                    "format": name,
                }
                tab.evaluate(MOVE, [settings, 40])  # the browser compiles what is used often
                times = tab.evaluate(MOVE, [settings, moves])
                tail = statistics.quantiles(times, n=20)[-1]
                print(f"{activation:16}{name:8}{statistics.median(times):8.1f}{tail:8.1f}", flush=True)
        browser.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
