"""Claims on the page: a mark behind the sentence that leads to the ledger's row, and what that row says."""

import re
from html import escape

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxRole

from bookext.check.results import results
from bookext.read.book import book_pages
from bookext.read.chapter import Chapter, read_chapter
from bookext.read.claims import claims_of, decisions_of

from .chinese import language_there, say_there

LEDGER = "book/appendix/ledger"


def claims_here(chapter: Chapter, twin: Chapter | None = None) -> list[tuple[str, str, int]]:
    """The claims that a chapter decides: name, sentence, and the number of the deciding cell; sentences of its twin, if given."""
    said = claims_of(chapter)
    told = claims_of(twin) if twin else said
    if [c.name for c in told] != [c.name for c in said]:  # the twin is behind
        told = said

    def sentence(name: str, section: str) -> str:
        found = [(c, t.text) for c, t in zip(said, told, strict=True) if c.name == name]
        texts = [t for c, t in sorted(found, key=lambda f: (f[0].section != section, f[0].caption, f[0].line))]
        return re.sub(r"(\{doc\}`(?:[^`<]*<)?)(?=[^/`<>][^`<>]*>?`)", r"\1/book/", texts[0]) if texts else name

    return [(d.name, sentence(d.name, d.section), d.cell + 1) for d in decisions_of(chapter)]


class ClaimRole(SphinxRole):
    """``{claim}`sig-scale-cures```: a mark whose title says what became of the claim, linked to its row of the ledger."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        name = self.text.strip()
        if name not in results():
            return [], [self.inliner.reporter.error(f"no assertion decides the claim {name}", line=self.lineno)]
        address = self.env.app.builder.get_relative_uri(self.env.docname, LEDGER)
        said = results(language_there(self.env.app, self.env.docname))
        link = f'<a href="{address}#claim-{name}" title="{escape(said[name][1])}">'
        mark = (
            '<span aria-hidden="true">✓</span><span class="unseen">'
            + say_there(self.env.app, self.env.docname, "tested")
            + "</span>"
        )
        return [nodes.raw("", f"&nbsp;{link}{mark}</a>", format="html", classes=["claim"])], []


def close_up(app: Sphinx, doctree: nodes.document) -> None:
    """The blank before a mark is its own, at which no line breaks."""
    for mark in doctree.findall(lambda node: isinstance(node, nodes.raw) and "claim" in node["classes"]):
        before = mark.parent[mark.parent.index(mark) - 1] if mark.parent.index(mark) else None
        if isinstance(before, nodes.Text):
            mark.parent.replace(before, nodes.Text(before.rstrip()))


def outdated(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """The pages with a mark whose title has changed."""
    names = {page: [claim.name for claim in claims_of(read_chapter(page))] for page in book_pages()}
    shown = {env.path2doc(str(p)): repr([results().get(n) for n in some]) for p, some in names.items() if some}
    before: dict[str | None, str] = getattr(env, "claims_shown", {})
    vars(env)["claims_shown"] = shown
    return [page for page, titles in shown.items() if page in env.found_docs and before.get(page) != titles]


def setup(app: Sphinx) -> None:
    app.connect("env-get-outdated", outdated)
    app.connect("doctree-read", close_up)
    app.add_role("claim", ClaimRole())
