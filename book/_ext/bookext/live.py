"""The live figure: ```` ```{live-figure} ```` puts the signal of a net, layer by layer, on a page, with controls.

Options preset the controls; the content is the caption. The controls are plain HTML from here, so the page does not move
when the scripts (``book/_static/live/``) start; pages without a live figure do not load them. One more page,
``book/live.html``, holds the figure alone, to fill a screen or an ``<iframe>``.

    ```{live-figure}
    :name: live-overflow
    :depth: 60
    :initialiser: equal
    :scale: 6.4
    :format: fp16

    The signal in a ReLU network whose weights are all 0.1.
    ```
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective

# What the menus offer: the names of labs.activations, labs.init (and its constant_) and labs.formats, as a reader sees them.
ACTIVATIONS = {
    "identity": "identity",
    "relu": "ReLU",
    "leaky_relu": "leaky ReLU",
    "gelu": "GELU",
    "tanh": "tanh",
    "softsign": "softsign",
    "sigmoid": "sigmoid",
    "scaled_sigmoid": "scaled sigmoid",
}
INITIALISERS = {
    "he_normal": "He, normal",
    "he_uniform": "He, uniform",
    "xavier_normal": "Xavier, normal",
    "xavier_uniform": "Xavier, uniform",
    "lecun_normal": "LeCun, normal",
    "orthogonal": "orthogonal",
    "pytorch_linear": "nn.Linear’s default",
    "lecture_normal": "N(0, 0.01), std 0.01",
    "equal": "all weights 1/n",
}
FORMATS = {"fp32": "fp32", "bf16": "bf16", "fp16": "fp16"}
WIDTHS = {str(n): str(n) for n in (16, 32, 64, 128)}
DEPTHS, SCALES, SEEDS = (2, 100), (0.05, 20.0), (0, 9999)
PAGE = "book/live"


def within(low: float, high: float, kind: type[int] | type[float]) -> Any:
    """A converter for a directive's option: a number from ``low`` to ``high``."""

    def convert(argument: str) -> float:
        if not low <= (value := kind(argument)) <= high:
            raise ValueError(f"expected a number from {low} to {high}, got {argument}")
        return value

    return convert


def one_of(menu: dict[str, str]) -> Any:
    """A converter for a directive's option: one of a menu's names."""
    return lambda argument: directives.choice(argument, list(menu))


class live_figure(nodes.General, nodes.Element):
    """A live figure with its preset; its children are the caption."""


class LiveFigure(SphinxDirective):
    """``{live-figure}``: every option presets a control; ``name`` is the figure's anchor on its page."""

    has_content = True
    option_spec = {  # noqa: RUF012
        "name": directives.unchanged_required,
        "depth": within(*DEPTHS, int),
        "width": one_of(WIDTHS),
        "scale": within(*SCALES, float),
        "activation": one_of(ACTIVATIONS),
        "initialiser": one_of(INITIALISERS),
        "format": one_of(FORMATS),
        "seed": within(*SEEDS, int),
    }

    def run(self) -> list[nodes.Node]:
        figure = live_figure()
        self.options.setdefault("name", "live")
        self.add_name(figure)
        figure["preset"] = PRESET | self.options
        self.state.nested_parse(self.content, self.content_offset, figure)
        if not figure.children:
            raise self.error("live-figure: expected a caption as content, got none")
        return [figure]


PRESET: dict[str, Any] = {
    "depth": 30,
    "width": "64",
    "scale": 1.0,
    "activation": "relu",
    "initialiser": "he_normal",
    "format": "fp32",
    "seed": 0,
}


def menu(figure: str, name: str, label: str, options: dict[str, str], chosen: str) -> str:
    """A labelled ``<select>``."""
    items = "".join(
        f'<option value="{value}"{" selected" if value == chosen else ""}>{escape(text)}</option>'
        for value, text in options.items()
    )
    return (
        f'<div class="live-control"><label for="{figure}-{name}">{label}</label>'
        f'<select id="{figure}-{name}" name="{name}">{items}</select></div>'
    )


def controls(name: str, preset: dict[str, Any]) -> str:
    """The form. Its values as written here are the preset, to which its reset button returns."""
    low, high = (round(math.log10(scale), 3) for scale in SCALES)
    position = round(math.log10(preset["scale"]), 3)
    depth, scale, seed = f"{name}-depth", f"{name}-scale", f"{name}-seed"
    return f"""<form class="live-controls" autocomplete="off" aria-label="Settings of the live figure">
<div class="live-control live-wide"><label for="{scale}">Weight scale <i>c</i></label>
<input type="range" id="{scale}" min="{low}" max="{high}" step="0.005" value="{position}">
<input type="number" name="scale" aria-label="Weight scale, exact"
 min="{SCALES[0]}" max="{SCALES[1]}" step="any" value="{preset["scale"]:g}"></div>
<div class="live-control live-wide"><label for="{depth}">Depth <i>d</i></label>
<input type="range" id="{depth}" name="depth" min="{DEPTHS[0]}" max="{DEPTHS[1]}" value="{preset["depth"]}">
<output for="{depth}">{preset["depth"]}</output></div>
{menu(name, "activation", "Activation", ACTIVATIONS, preset["activation"])}
{menu(name, "initialiser", "Initialiser", INITIALISERS, preset["initialiser"])}
{menu(name, "format", "Number format", FORMATS, preset["format"])}
{menu(name, "width", "Width <i>n</i>", WIDTHS, preset["width"])}
<div class="live-control"><label for="{seed}">Seed</label>
<input type="number" id="{seed}" name="seed" min="{SEEDS[0]}" max="{SEEDS[1]}" step="1" value="{preset["seed"]}"></div>
<div class="live-buttons"><button type="button" class="live-draw">New weights</button>
<button type="reset">Reset</button></div>
</form>"""


def opening(name: str, alone: str) -> str:
    """The beginning of a figure, whose caption comes first: it says what to try. ``alone`` is the page with nothing else on it."""
    return f'<figure class="live-figure" id="{name}" data-alone="{alone}">'


def plot_and_controls(name: str, preset: dict[str, Any], alone: str) -> str:
    """Everything below the caption."""
    return f"""<ul class="live-legend"><li class="live-forward">forward: <span class="live-math">h<sup>t</sup></span>, bottom to top</li>
<li class="live-backward">backward: <span class="live-math">δ<sup>t</sup></span>, top to bottom</li><li class="live-theory">theory</li></ul>
<svg class="live-plot" role="img" aria-label="Signal of every layer; drawn once scripts run"></svg>
<p class="live-verdict"></p><p class="live-hidden" role="status"></p>
<noscript><p>The live figure needs JavaScript.</p></noscript>
{controls(name, preset)}
<details class="live-data"><summary>The numbers as a table</summary>
<div class="live-table" role="region" tabindex="0" aria-label="The numbers of the live figure"></div></details>
<details class="live-share"><summary>Link to this setting, or embed it</summary>
<p><a class="live-link" href="#{name}">This figure with these settings</a> ·
<a class="live-alone" href="{alone}">the figure alone, to fill the screen</a></p>
<label for="{name}-embed">For a course site:</label>
<textarea id="{name}-embed" class="live-embed" rows="3" readonly></textarea></details>
</figure>"""


def address_alone(translator: Any) -> str:
    """Where the page that holds the figure alone lies, seen from the page being written."""
    return translator.builder.get_relative_uri(translator.builder.current_docname, PAGE)


def visit(translator: Any, node: live_figure) -> None:
    translator.body.append(opening(node["ids"][0], address_alone(translator)) + "<figcaption>")


def depart(translator: Any, node: live_figure) -> None:
    below = plot_and_controls(node["ids"][0], node["preset"], address_alone(translator))
    translator.body.append(f"</figcaption>\n{below}\n")


def load_scripts(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """The scripts and the style, on the pages that hold a live figure."""
    if doctree is not None and next(doctree.findall(live_figure), None):
        app.add_css_file("live/live.css")
        app.add_js_file("live/signal.js", loading_method="defer")
        app.add_js_file("live/live.js", loading_method="defer")


def page_alone(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The page that holds the figure alone."""
    figure = opening("live", "live.html") + plot_and_controls("live", PRESET, "live.html")
    yield PAGE, {"title": "Live figure", "figure": figure}, "live.html"


def find_template(app: Sphinx, config: Config) -> None:
    config.templates_path.append(str(Path(__file__).parent / "templates"))


def setup(app: Sphinx) -> None:
    app.add_directive("live-figure", LiveFigure)
    app.add_node(live_figure, html=(visit, depart))
    app.connect("config-inited", find_template)
    app.connect("html-page-context", load_scripts)
    app.connect("html-collect-pages", page_alone)
