"""The figures of the Chinese pages: in the build's kernels each figure is drawn a second time, while its texts say their Chinese.

Nothing is computed twice for it, and a notebook by itself knows nothing of it. The second drawing lies in the metadata of the first,
where ``run/execute`` finds it for the Chinese page. ``run/letters`` says what it lacks.
"""

import sys
import warnings
from collections.abc import Callable
from typing import Any, cast
from unittest.mock import patch

from IPython.core.formatters import BaseFormatter, DisplayFormatter
from traitlets import ObjectName, Unicode

from bookext.read.blocks import CHINESE
from bookext.read.words import drawn, words

SVG = "image/svg+xml"
KIND = f"{SVG};lang=zh"
FONT, FAMILY = CHINESE / "font" / "figures.otf", "Figures SC"
Texts = dict[str, str | None]


class ChineseFigure(BaseFormatter):
    """Draws a figure in Chinese; a page shows no such kind, so all is metadata: the drawing, and the texts in it that have words."""

    format_type = Unicode(KIND)
    print_method = ObjectName("_repr_chinese_figure_")

    def __call__(self, obj: Any) -> tuple[None, dict[str, Any]] | None:
        shapes, display = sys.modules.get("matplotlib.figure"), cast("DisplayFormatter", self.parent)
        if shapes is None or not isinstance(obj, shapes.Figure):
            return None
        try:
            draw = display.formatters[SVG].lookup(obj)
        except KeyError:  # its cell shows figures as something else
            return None
        drawing, texts = in_chinese(lambda: draw(obj))
        return None, {"drawing": drawing, "texts": texts}


def in_chinese(draw: Callable[[], str]) -> tuple[str | None, Texts]:
    """What ``draw`` gives where every text of matplotlib's says its Chinese, None where that changes none; and the texts with words,
    each with its Chinese or None."""
    import matplotlib as mpl
    from matplotlib import font_manager
    from matplotlib.text import Text

    english, said = Text.get_text, Texts()

    def get_text(text: Text) -> str:
        shown = english(text)
        if shown not in said:
            said[shown] = drawn(shown)
        return said[shown] or shown

    if FAMILY not in font_manager.get_font_names():
        font_manager.fontManager.addfont(FONT)
    settings: dict[str, Any] = {
        "font.sans-serif": [FAMILY, *mpl.rcParams["font.sans-serif"]],
        # Of no effect on outlines; but with it mathtext keeps apart what it has parsed here, with the other font's letters.
        "text.antialiased": not mpl.rcParams["text.antialiased"],
    }
    with mpl.rc_context(cast(Any, settings)), patch.object(Text, "get_text", get_text), warnings.catch_warnings():
        # What is wrong with the figure was said when it was drawn first. That leaves one without a layout with one, and a warning.
        warnings.simplefilter("ignore")
        drawing = draw()
    changed = any(chinese not in {None, text} for text, chinese in said.items())
    return drawing if changed else None, {text: chinese for text, chinese in said.items() if words(text)}


def parse_once() -> None:
    """Let the renderers of a figure, three in each language, share what is parsed of its mathematics: 40 % of the time it takes.

    Matplotlib keeps what it has parsed, but apart for each renderer's parser, though these differ in nothing but their kind.
    No chapter changes between two figures how mathematics is set.
    """
    from matplotlib.mathtext import MathTextParser

    def same(one: Any, other: Any) -> bool:
        return type(one) is type(other) and one._output_type == other._output_type

    parser: Any = MathTextParser
    parser.__eq__, parser.__hash__ = same, lambda one: hash(one._output_type)


def load_ipython_extension(shell: Any) -> None:
    """Let a kernel draw its figures in both languages."""
    parse_once()
    shell.display_formatter.formatters[KIND] = ChineseFigure(parent=shell.display_formatter)
