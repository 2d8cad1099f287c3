"""How Sphinx writes a page's text as HTML, where readers on a phone, by keyboard or by voice need more than it gives."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagesize
from docutils import nodes
from pygments.formatters import HtmlFormatter
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

from .chinese import is_chinese, is_translated, say_there

CHINESE = re.compile(r"[\u4e00-\u9fff]+(?:[ ·]*[\u4e00-\u9fff]+)*")
WORD = re.compile(r"[A-Za-z]{4,}")
UNSUITED = (("role", "doc-biblioentry"), ("role", "heading"))  # withdrawn from ARIA; given to captions in a navigation
FIGURES = re.compile(r"[<>≈~×·±+\-−–./,:%e\d\s]*\d[<>≈~×·±+\-−–./,:%e\d\s]*")
SAME_IDS = {"exercise-content", "solution-content"}


class CodeFormatter(HtmlFormatter):
    """Code may scroll sideways, so it can be reached by keyboard; the page's script takes that back where nothing scrolls."""

    def wrap(self, source: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
        yield 0, '<pre tabindex="0">'
        yield from source
        yield 0, "</pre>"


class Writer(HTML5Translator):
    """Sphinx's writer of HTML, mended at the nodes."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.highlighter.formatter = CodeFormatter

    def starttag(self, node: nodes.Element, *args: Any, **attributes: Any) -> str:
        attributes = {name: value for name, value in attributes.items() if (name.lower(), value) not in UNSUITED}
        if isinstance(node, nodes.reference) and "current" in node["classes"]:
            attributes["aria-current"] = "page"
        if node.get("meaning"):  # a formula out of sight is no name for a link
            attributes["aria-label"] = node["meaning"]
        return super().starttag(node, *args, **attributes)

    def visit_Text(self, node: nodes.Text) -> None:
        """Chinese is said to be Chinese: for voices, hyphenation and the choice of glyphs."""
        written = len(self.body)
        super().visit_Text(node)
        app, page = self.builder.app, self.builder.current_docname
        if is_chinese(app) and (not page or is_translated(app, page)):  # all of the page is
            return
        self.body[written:] = [CHINESE.sub(r'<span lang="zh-Hans">\g<0></span>', text) for text in self.body[written:]]

    def visit_paragraph(self, node: nodes.paragraph) -> None:
        """On a Chinese page what is there in English says so: a docstring, a source."""
        app, page = self.builder.app, self.builder.current_docname
        text = node.astext() if page and is_translated(app, page) else ""
        if len(WORD.findall(text)) > 2 and not CHINESE.search(text):
            node["classes"].append("language-en")
        super().visit_paragraph(node)

    def add_permalink_ref(self, node: nodes.Element, title: str) -> None:
        """What Sphinx calls a link to a place, in words of the page's language; Sphinx's own catalogue has only some."""
        app, page = self.builder.app, self.builder.current_docname
        super().add_permalink_ref(node, title if CHINESE.search(title) else say_there(app, page, title))

    def add_fignumber(self, node: nodes.Element) -> None:
        """Between the number of an exercise and a Chinese bracket stands no blank."""
        written = len(self.body)
        super().add_fignumber(node)
        if node.astext().startswith("（"):
            self.body[written:] = [part.rstrip() for part in self.body[written:]]

    def visit_section(self, node: nodes.section) -> None:
        """A section with a heading of its own; the page's is its article's, and the contents of an exercise have none.

        sphinx-exercise gives the contents of all exercises one id; it becomes their class.
        """
        self.section_level += 1
        inside = SAME_IDS.intersection(node["ids"]) or ({"whole"} if self.section_level == 1 else set())
        node["classes"] += inside
        node["ids"] = [name for name in node["ids"] if name not in SAME_IDS]
        self.body.append(self.starttag(node, "div" if inside else "section"))

    def depart_section(self, node: nodes.section) -> None:
        self.section_level -= 1
        self.body.append("</div>\n" if {*SAME_IDS, "whole"}.intersection(node["classes"]) else "</section>\n")

    def visit_citation(self, node: nodes.citation) -> None:
        """No ARIA list: the children of this one are no list items."""
        if not isinstance(node.previous_sibling(), nodes.citation):
            self.body.append('<div class="citation-list">\n')
        self.body.append(self.starttag(node, "div", classes=["citation"]))

    def visit_entry(self, node: nodes.entry) -> None:
        """A number in a cell stays on one line."""
        if FIGURES.fullmatch(node.astext().strip()):
            node["classes"].append("figures")
        super().visit_entry(node)

    def visit_table(self, node: nodes.table) -> None:
        """A table that is too wide scrolls by itself."""
        self.body.append('<div class="wide" tabindex="0">')
        super().visit_table(node)

    def depart_table(self, node: nodes.table) -> None:
        super().depart_table(node)
        self.body.append("</div>\n")

    def visit_image(self, node: nodes.image) -> None:
        """An image says its size, so that nothing moves when it arrives, and waits until it is nearly in sight."""
        if node["uri"] in self.builder.images:
            width, height = map(round, imagesize.get(Path(self.builder.srcdir, node["uri"])))
            node["html"] = {"width": width, "height": height, "loading": "lazy", "decoding": "async"}
        super().visit_image(node)

    def emptytag(self, node: nodes.Element, *args: Any, **attributes: Any) -> str:
        return super().emptytag(node, *args, **attributes, **node.get("html", {}))


def setup(app: Sphinx) -> None:
    app.set_translator("html", Writer)
