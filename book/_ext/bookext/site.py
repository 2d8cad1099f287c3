"""What the site adds to the theme: claimed numbers, folded sections, and nothing that calls elsewhere."""

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
    config.html_theme_options["navbar_persistent"] = []  # else a second search box in a second top bar
    config.html_theme_options["pygments_light_style"] = "a11y-high-contrast-light"
    config.html_theme_options["pygments_dark_style"] = "a11y-high-contrast-dark"
    config.html_context.setdefault("default_mode", "auto")  # else the theme's script logs an error
    config.nb_execution_cache_path = str(cache_path())


def drop_unused_scripts(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Thebe is not used here, and its inline script logs a console error."""

    def used(script: Any) -> bool:
        text = f"{getattr(script, 'filename', script) or ''} {getattr(script, 'attributes', {}).get('body', '')}"
        return "thebe" not in text.lower()

    context["script_files"] = [s for s in context.get("script_files", []) if used(s)]
    context["css_files"] = [s for s in context.get("css_files", []) if "thebe" not in str(getattr(s, "filename", s))]


def link_types(app: Sphinx, env: Any, node: nodes.Element, contnode: nodes.Element) -> nodes.reference | None:
    """A type of another library, linked to that library's documentation; a name not in the table stays a warning."""
    target = node.get("reftarget", "")
    owner, short = target.partition(".")[0], target.rpartition(".")[2]
    url = TYPES.get(target) or (TYPES.get(short) if owner in OWNERS or owner == short else None)
    return nodes.reference("", "", contnode, internal=False, refuri=url) if url else None


REPAIRS = [  # (what the theme and docutils write, what a page needs), applied to each finished page
    # Thebe is not used here
    (re.compile(r'<script type="text/x-thebe-config">.*?</script>', re.DOTALL), ""),
    # content outside every landmark is lost to those who navigate by landmarks
    (
        re.compile(r'<div id="pst-primary-sidebar" '),
        '<div id="pst-primary-sidebar" role="region" aria-label="Sidebar" ',
    ),
    # a role that ARIA has withdrawn, in a list whose children are no list items
    (re.compile(r' role="doc-biblioentry"'), ""),
    (re.compile(r'<div role="list" class="citation-list">'), '<div class="citation-list">'),
]


def repair_pages(app: Sphinx, error: Exception | None) -> None:
    """Mend what the theme and its extensions get wrong in every page."""
    if error is None and app.builder.format == "html":
        for page in (Path(app.outdir) / "book").rglob("*.html"):
            text = mended = page.read_text("utf8")
            for pattern, right in REPAIRS:
                mended = pattern.sub(right, mended)
            if mended != text:
                page.write_text(mended, "utf8")


def setup(app: Sphinx) -> None:
    app.add_role("num", num_role)
    app.add_css_file("book.css")
    app.connect("config-inited", settle_config)
    app.connect("source-read", read_source)
    app.connect("doctree-read", fold_going_further)
    app.connect("missing-reference", link_types)
    app.connect("html-page-context", drop_unused_scripts, priority=900)
    app.connect("build-finished", repair_pages)
