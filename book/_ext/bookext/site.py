"""What the site adds to a page: claimed numbers, folded sections, links from types to their documentation.

``page`` fills the layout; ``search``, ``status`` and ``publish`` make the pages and files that no chapter makes; ``weight`` slims
what was written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst.states import Inliner
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging

from . import page, publish, search, status, weight
from .build import cache_path
from .source import parse_chapter, with_claims_cell

LOGGER = logging.getLogger(__name__)
# Where the types in labs' signatures are documented. A table instead of intersphinx, which would need a network to build.
TORCH, PYTHON, SYMPY = (
    "https://docs.pytorch.org/docs/stable/",
    "https://docs.python.org/3/library/",
    "https://docs.sympy.org/latest/modules/",
)
TYPES = {
    "Tensor": TORCH + "tensors.html",
    "Generator": TORCH + "generated/torch.Generator.html",
    "dtype": TORCH + "tensor_attributes.html#torch.dtype",
    "device": TORCH + "tensor_attributes.html#torch.device",
    "Module": TORCH + "generated/torch.nn.Module.html",
    "GradScaler": TORCH + "amp.html#torch.amp.GradScaler",
    "Optimizer": TORCH + "optim.html#torch.optim.Optimizer",
    "torch.nn.init": TORCH + "nn.init.html",
    **{
        name: f"{PYTHON}collections.abc.html#collections.abc.{name}"
        for name in ("Callable", "Iterable", "Iterator", "Mapping", "Sequence")
    },
    "Expr": SYMPY + "core.html#sympy.core.expr.Expr",
    "Equality": SYMPY + "core.html#sympy.core.relational.Equality",
    "MutableDenseMatrix": SYMPY + "matrices/dense.html#sympy.matrices.dense.MutableDenseMatrix",
    "IndexedBase": SYMPY + "tensor/indexed.html#sympy.tensor.indexed.IndexedBase",
    "Axes": "https://matplotlib.org/stable/api/_as_gen/matplotlib.axes.Axes.html",
    "Figure": "https://matplotlib.org/stable/api/_as_gen/matplotlib.figure.Figure.html",
}
OWNERS = ("torch", "collections", "sympy", "matplotlib")
POWER = re.compile(r"^(.+?)e([+-]?\d+)$")


def num_role(
    name: str, rawtext: str, text: str, lineno: int, inliner: Inliner, options: Any = None, content: Sequence[str] = ()
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """``{num}`4.07e17 <growth>``` on the page: the number as a person writes it, its power of ten raised."""
    literal = text.partition("<")[0].strip().replace("-", "−")
    number = nodes.inline(rawtext, "", classes=["num"])
    power = POWER.match(literal.replace("−", "-"))
    if power:
        exponent = str(int(power[2])).replace("-", "−")
        number += nodes.Text(f"{power[1].replace('-', '−')} × 10")
        number += nodes.superscript("", exponent)
    else:
        number += nodes.Text(literal)
    return [number], []


def fold_going_further(app: Sphinx, doctree: nodes.document) -> None:
    """A section whose title begins with 'Going further' is folded; its heading stays in sight and in the contents."""
    for section in doctree.findall(nodes.section):
        if section[0].astext().startswith("Going further"):
            opening = '<details class="going-further"><summary>Show this section</summary>'
            section.insert(1, nodes.raw("", opening, format="html"))
            section += nodes.raw("", "</details>", format="html")


def read_source(app: Sphinx, docname: str, source: list[str]) -> None:
    """Append the cell that compares the prose's numbers with the computed ones."""
    path = Path(app.env.doc2path(docname))
    parse_chapter(source[0], path.resolve())  # a malformed claim or equation stops the build here, with file and line
    source[0] = with_claims_cell(source[0], path)


def settle_config(app: Sphinx, config: Config) -> None:
    """Settings that _config.yml cannot hold: its html_theme_options would replace the theme's own, buttons included."""
    config.html_theme_options["pygments_light_style"] = "a11y-high-contrast-light"
    config.html_theme_options["pygments_dark_style"] = "a11y-high-contrast-dark"
    config.nb_execution_cache_path = str(cache_path())


def link_types(app: Sphinx, env: Any, node: nodes.Element, contnode: nodes.Element) -> nodes.reference | None:
    """A type of another library, linked to that library's documentation; a name not in the table stays a warning."""
    target = node.get("reftarget", "")
    owner, short = target.partition(".")[0], target.rpartition(".")[2]
    url = TYPES.get(target) or (TYPES.get(short) if owner in OWNERS or owner == short else None)
    return nodes.reference("", "", contnode, internal=False, refuri=url) if url else None


def setup(app: Sphinx) -> None:
    app.add_role("num", num_role)
    app.connect("config-inited", settle_config)
    app.connect("source-read", read_source)
    app.connect("doctree-read", fold_going_further)
    app.connect("missing-reference", link_types)
    for part in (page, search, status, publish, weight):
        part.setup(app)
