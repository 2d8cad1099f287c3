"""What is folded on a page: ```` ```{dropdown} Title ````, a hint, code cells tagged ``hide-input`` or ``guard``, sections."""

import re
from collections.abc import Callable
from html import escape
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from myst_nb.sphinx_ import HideCodeCellNode
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from .chinese import say_there


class fold(nodes.General, nodes.Element):
    """A fold: its summary, then what it hides."""


class summary(nodes.General, nodes.TextElement):
    """The words of a fold that stay in sight."""


class Dropdown(SphinxDirective):
    """``{dropdown} Title``: closed unless ``open``; ``name`` is its anchor, ``class`` adds to its style."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec = {  # noqa: RUF012
        "open": directives.flag,
        "class": directives.class_option,
        "name": directives.unchanged,
        "lang": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        title, messages = self.parse_inline(self.arguments[0])
        made = fold("", summary("", "", *title), *messages, classes=["fold", *self.options.get("class", [])])
        made["html"] = {"open": ""} if "open" in self.options else {}
        made["html"] |= {"lang": self.options["lang"]} if "lang" in self.options else {}
        self.add_name(made)
        self.state.nested_parse(self.content, self.content_offset, made)
        return [made]


def both(shut: str, opened: str) -> str:
    """What a fold's summary says while it is shut and while it is open; the style sheet shows one."""
    return f'<span class="closed">{escape(shut)}</span><span class="opened">{escape(opened)}</span>'


def visit_hidden(writer: Any, node: HideCodeCellNode) -> None:
    """A code cell's fold. Its name is its text, which says what a click does; a paragraph is not allowed there."""
    builder, classes = writer.builder, " ".join(["hide", *node["classes"]])
    said = (say_there(builder.app, builder.current_docname, node[text]) for text in ("prompt_show", "prompt_hide"))
    writer.body.append(f'<details class="{classes}">\n<summary>{both(*said)}</summary>\n')


def visit_fold(writer: Any, node: fold) -> None:
    writer.body.append(writer.starttag(node, "details", "", **node["html"]))


def tag(text: str) -> Callable[[Any, nodes.Node], None]:
    """What writes a tag without attributes."""
    return lambda writer, node: writer.body.append(text)


def fold_sections(app: Sphinx, doctree: nodes.document) -> None:
    """A section of the class ``fold`` is folded; its heading stays in sight and in the contents."""
    for section in doctree.findall(nodes.section):
        if "fold" in section["classes"]:
            words = both(*(say_there(app, app.env.docname, text) for text in ("Show this section", "Hide it")))
            opening = f'<details class="going-further"><summary>{words}</summary>'
            section.insert(1, nodes.raw("", opening, format="html"))
            section += nodes.raw("", "</details>", format="html")


def fold_guards(app: Sphinx, doctree: nodes.document) -> None:
    """A cell tagged ``guard`` only guards the text: it runs as any other, and is folded with its output under *Checks*."""
    for cell in doctree.findall(nodes.container):
        if "tag_guard" in cell["classes"]:
            cell["hide_mode"], cell["prompt_show"], cell["prompt_hide"] = "all", "Checks", "Hide the checks"


def fold_setup(app: Sphinx, doctree: nodes.document) -> None:
    """A page's first cell, when it imports: what the chapter only needs."""
    cells = (c for c in doctree.findall(nodes.container) if c.get("nb_element") == "cell_code")
    first = next((c for c in cells if "first-aid" not in c.parent["classes"]), None)  # those lines are to be seen
    code = next(first.findall(nodes.literal_block), None) if first else None
    if first and code and re.match(r"(import|from) ", code.astext()) and "hide_mode" not in first:
        first["hide_mode"], first["prompt_show"], first["prompt_hide"] = "input", "Set-up", "Hide the set-up"
        first["classes"].append("tag_setup")


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", fold_sections)
    app.connect("doctree-read", fold_guards)
    app.connect("doctree-read", fold_setup)
    app.add_directive("dropdown", Dropdown)
    app.add_node(fold, html=(visit_fold, tag("</div></details>\n")))
    app.add_node(summary, html=(tag("<summary>"), tag("</summary><div>\n")))
    app.add_node(HideCodeCellNode, html=(visit_hidden, tag("</details>\n")), override=True)
