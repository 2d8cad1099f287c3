"""The live figure: ```` ```{live-figure} ```` puts the signal of a net, layer by layer, on a page, with controls.

Options preset the controls; the content is the caption. The controls are plain HTML from here, so the page does not move
when the scripts (``book/_static/live/``) start; :mod:`bookext.pages.explore` has them loaded. One more page,
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

import math
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from .still import still

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
MENUS = {"activation": ACTIVATIONS, "initialiser": INITIALISERS, "format": FORMATS, "width": WIDTHS}
DEPTHS, SCALES, SEEDS = (2, 300), (0.05, 20.0), (0, 9999)
PRESET: dict[str, Any] = {
    "depth": 30,
    "width": "64",
    "scale": 1.0,
    "activation": "relu",
    "initialiser": "he_normal",
    "format": "fp32",
    "seed": 0,
}
STEP = (
    0.005  # of the slider for the scale, in powers of ten; its ends are whole steps, so that the End key reaches them
)
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
        "scale": within(*SCALES, float),
        "seed": within(*SEEDS, int),
        **{name: one_of(menu) for name, menu in MENUS.items()},
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


def described(name: str, preset: dict[str, Any], alone: str, caption: str = "") -> dict[str, Any]:
    """What ``theme/figure.html`` is filled with; ``alone`` is the page with nothing else on it."""
    low, high = (round(math.log10(scale), 3) for scale in SCALES)
    powers = [-STEP * math.ceil(-low / STEP), STEP * math.ceil(high / STEP), round(math.log10(preset["scale"]), 3)]
    limits = {
        "scales": SCALES,
        "step": STEP,
        "powers": [round(p, 3) for p in powers],
        "depths": DEPTHS,
        "seeds": SEEDS,
        "menus": MENUS,
    }
    return limits | {"name": name, "preset": preset, "alone": alone, "caption": caption, "still": still(preset)}


def visit(translator: Any, node: live_figure) -> None:
    node["begin"] = len(translator.body)


def depart(translator: Any, node: live_figure) -> None:
    caption = "".join(translator.body[node["begin"] :])
    alone = translator.builder.get_relative_uri(translator.builder.current_docname, PAGE)
    figure = described(node["ids"][0], node["preset"], alone, caption)
    translator.body[node["begin"] :] = [translator.builder.templates.render("figure.html", figure) + "\n"]


def page_alone(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The page that holds the figure alone."""
    yield PAGE, {"title": "Live figure", **described("live", PRESET, "live.html")}, "live.html"


def setup(app: Sphinx) -> None:
    app.add_directive("live-figure", LiveFigure)
    app.add_node(live_figure, html=(visit, depart))
    app.connect("html-collect-pages", page_alone)
