"""The live figure: ```` ```{live-figure} ```` puts the signal of a net, layer by layer, on a page, with controls.

Options preset the controls; the content is the caption. It is an explorable (:mod:`bookext.pages.explore`) whose page gives its
preset and what its menus offer; its scripts are in ``book/_static/live/``. One more page, ``book/live.html``, holds the figure alone,
to fill a screen or an ``<iframe>``.

    ```{live-figure}
    :name: live-overflow
    :depth: 60
    :initialiser: equal
    :scale: 6.4
    :format: fp16

    The signal in a ReLU network whose weights are all 0.1.
    ```

``:presets:`` adds buttons, which change some of its settings: ``tanh, activation=tanh; half, scale=0.5``.
"""

import json
from collections.abc import Iterator
from posixpath import dirname, relpath
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from .chinese import is_chinese, say_here
from .explore import LIVE, built, depart, explorable, scripts, visit

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


def buttons(argument: str) -> list[tuple[str, dict[str, Any]]]:
    """A converter for a directive's option: labels, each with the settings that it changes."""
    found = []
    for each in argument.split(";"):
        label, _, settings = each.partition(",")
        pairs = dict(setting.split("=") for setting in settings.split())
        if not pairs.keys() <= PRESET.keys():
            raise ValueError(f"expected settings of a live figure, got {settings.strip()}")
        found.append((label.strip(), {key: LiveFigure.option_spec[key](value) for key, value in pairs.items()}))
    return found


class live_figure(explorable):
    """A live figure with its preset; its children are the caption."""


class LiveFigure(SphinxDirective):
    """``{live-figure}``: every option presets a control; ``name`` is the figure's anchor on its page."""

    has_content = True
    option_spec = {  # noqa: RUF012
        "name": directives.unchanged_required,
        "depth": within(*DEPTHS, int),
        "scale": within(*SCALES, float),
        "seed": within(*SEEDS, int),
        "presets": buttons,
        **{name: one_of(menu) for name, menu in MENUS.items()},
    }

    def run(self) -> list[nodes.Node]:
        figure = live_figure(kind=LIVE)
        self.options.setdefault("name", "live")
        self.add_name(figure)
        figure["given"] = given(PRESET | self.options, relpath(f"{PAGE}.html", dirname(self.env.docname)))
        self.state.nested_parse(self.content, self.content_offset, figure)
        if not figure.children:
            raise self.error("live-figure: expected a caption as content, got none")
        return [figure]


def given(preset: dict[str, Any], alone: str) -> dict[str, Any]:
    """What the figure's script is told: ``alone`` is the page with nothing else on it."""
    settings = {name: preset[name] for name in PRESET}
    return {
        "preset": settings,
        "presets": preset.get("presets", []),
        "menus": MENUS,
        "ends": {"depth": DEPTHS, "scale": SCALES},
        "alone": alone,
    }


def page_alone(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The page that holds the figure alone."""
    figure = built(LIVE, LIVE, json.dumps(given(PRESET, "live.html")), is_chinese(app)).replace("<!-- caption -->", "")
    yield PAGE, {"title": say_here(app, "Live figure"), "figure": figure, "scripts": scripts(LIVE)}, "live.html"


def setup(app: Sphinx) -> None:
    app.add_directive("live-figure", LiveFigure)
    app.add_node(live_figure, html=(visit, depart))
    app.connect("html-collect-pages", page_alone)
