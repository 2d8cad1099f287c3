"""Tables of results on a Chinese page: a cell has printed them in English, and the catalogue has their words in Chinese."""

import re
from html import escape, unescape

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from bookext.read.words import catalogue

from .chinese import is_translated

LOGGER = logging.getLogger(__name__)
CELL = re.compile(r"(?<=>)([^<>]+)(?=</(?:caption|th|td)>)")
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)")
# What Chinese writes as English does: numbers, formats, functions, identifiers, proper names.
ALIKE = re.compile(
    r"[-−]?(?:inf|nan)\b|\b(?:[a-z]+\d\w*|exp|log|sqrt|sigma|[a-z]+_[a-z_]+|sigmoid|tanh|gelu|relu|softsign|softmax|"
    r"muP|eps|Inf|NaN|ReLU|RNN|LSTM|SGD|Adam|He|Xavier|Tanh|Sigmoid|Softsign|N)\b"
)
WORD = re.compile(r"[A-Za-z]{2,}")


def in_chinese(text: str) -> str | None:
    """The Chinese of a table's text, whatever its numbers; none where the catalogue lacks it.

    >>> in_chinese("1e-05 ± 2e-06"), in_chinese("step 80"), in_chinese("no such words")
    ('1e-05 ± 2e-06', '第80步', None)
    """
    if found := catalogue().get(text):
        return found
    numbers = iter(NUMBER.findall(text))
    if found := catalogue().get(NUMBER.sub("%1", text, count=1)):
        return found.replace("%1", next(numbers))
    return None if WORD.search(ALIKE.sub("", text)) else text


def say_tables(app: Sphinx, doctree: nodes.document) -> None:
    """Exchange captions, heads and words; a text without Chinese stops the strict build by its name."""
    if not is_translated(app, app.env.docname):
        return
    for output in doctree.findall(nodes.raw):
        if 'class="results"' not in output.astext():
            continue

        def said(cell: re.Match[str], output: nodes.raw = output) -> str:
            if (chinese := in_chinese(unescape(cell[0]))) is None:
                LOGGER.warning("no Chinese in book/zh/words.po for a table's %r", unescape(cell[0]), location=output)
                return cell[0]
            return escape(chinese)

        made = CELL.sub(said, output.astext())
        output.parent.replace(output, nodes.raw("", made, **output.non_default_attributes()))


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", say_tables)
