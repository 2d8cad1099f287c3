"""The search index: an entry for each section, numbered equation, symbol and function of ``labs``.

Sphinx's own index holds words, as English splits them, and leads to pages. Here a reader looks for a symbol, for the name of a
formula or for a Chinese term, and wants the section. The terms of the lecture map belong to the sections they lead to. The index
is a script, because a page opened from a file cannot fetch anything; only the search page loads it, and ``search.js`` searches.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import docname_join

from .plain import plain_text
from .source import book_pages

LECTURE_MAP, LEDGER, NOTATION = "book/appendix/lecture-map", "book/appendix/ledger", "book/notation"


@dataclass
class Entry:
    """A place that a search can lead to."""

    docname: str
    ids: list[str]
    title: str
    text: str = ""
    terms: list[str] = field(default_factory=list)


def squeeze(text: str) -> str:
    """One line."""
    return re.sub(r"\s+", " ", text).strip()


def number_of(env: BuildEnvironment, docname: str, section: nodes.section, top: bool) -> str:
    """A section's number with its dot, or nothing."""
    numbers = env.toc_secnumbers.get(docname, {})
    found = numbers.get("") if top else next((numbers[f"#{i}"] for i in section["ids"] if f"#{i}" in numbers), None)
    return ".".join(map(str, found)) + ". " if found else ""


def is_titled(node: nodes.Node) -> bool:
    """A section of the page; the body of an exercise is one without a title."""
    return isinstance(node, nodes.section) and bool(node.children) and isinstance(node[0], nodes.title)


def section_entries(env: BuildEnvironment, docname: str, document: nodes.document) -> Iterator[Entry]:
    """The sections of a page, each with its own words and not those of the sections inside it."""
    for section in filter(is_titled, document.findall(nodes.section)):
        top = section.parent is document
        text = " ".join(plain_text(child) for child in section.children[1:] if not is_titled(child))
        title = number_of(env, docname, section, top) + squeeze(plain_text(section[0]))
        yield Entry(docname, [] if top else list(section["ids"]), title, squeeze(text))


def equation_number(env: BuildEnvironment, docname: str, label: str) -> str:
    """The number that a page prints beside an equation."""
    numbers = env.toc_fignumbers.get(docname, {}).get("displaymath", {})
    return ".".join(map(str, numbers.get(f"equation-{label}", ())))


def equation_entries(env: BuildEnvironment, docname: str, document: nodes.document) -> Iterator[Entry]:
    """The numbered equations of a page, by the names in their labels: ``eq-xavier-compromise`` is 'xavier compromise'."""
    for block in document.findall(nodes.math_block):
        if label := block.get("label"):
            name = re.sub(r"^(eq|def|asm)-", "", label).replace("-", " ")
            title = squeeze(f"Equation {equation_number(env, docname, label)} {name}")
            yield Entry(docname, [f"equation-{label}"], title, plain_text(block))


def function_entries(docname: str, document: nodes.document) -> Iterator[Entry]:
    """The functions and classes that a page documents, by their full names."""
    for description in document.findall(addnodes.desc):
        for signature in description.findall(addnodes.desc_signature):
            if signature.parent is description and signature["ids"]:
                content = next((c for c in description.children if isinstance(c, addnodes.desc_content)), None)
                first = next(content.findall(nodes.paragraph), nodes.paragraph()) if content else nodes.paragraph()
                if not (text := squeeze(plain_text(first))).startswith("Alias for field"):
                    yield Entry(docname, signature["ids"][:1], signature["ids"][0], text)


def symbol_entries(docname: str, document: nodes.document) -> Iterator[Entry]:
    """The rows of the table of notation: a symbol leads to what it means."""
    for body in document.findall(nodes.tbody):
        for row in body.findall(nodes.row):
            symbol, meaning = (squeeze(plain_text(cell)) for cell in row.children[:2])
            yield Entry(docname, [], f"Symbol {symbol}", meaning)


def show_references(env: BuildEnvironment, document: nodes.document) -> None:
    """Put a title where a page refers to a section or a page without words of its own; the text would have a hole there."""
    labels = env.get_domain("std").labels  # type: ignore[attr-defined]
    equations = env.get_domain("math").equations  # type: ignore[attr-defined]
    for reference in list(document.findall(addnodes.pending_xref)):
        target, title = reference["reftarget"], ""
        if reference.get("reftype") == "doc" and (page := env.titles.get(docname_join(reference["refdoc"], target))):
            title = page.astext()
        elif reference.get("reftype") == "ref":
            title = labels.get(target, ("", "", ""))[2]
        elif reference.get("reftype") == "eq":
            title = f"({equation_number(env, equations[target][0], target)})" if target in equations else ""
        if title and not reference.get("refexplicit"):
            reference.replace_self(nodes.Text(title))


def add_lecture_terms(env: BuildEnvironment, entries: list[Entry]) -> None:
    """Give the Chinese and English terms of each row of the lecture map to the section that the row leads to."""
    labels = env.get_domain("std").anonlabels  # type: ignore[attr-defined]
    places = {(e.docname, i): e for e in entries for i in e.ids}
    for row in env.get_doctree(LECTURE_MAP).findall(nodes.row):
        reference = next(row.findall(addnodes.pending_xref), None)
        if reference is not None:
            section = places.get(labels[reference["reftarget"].lower()])
            if section is None:
                raise ValueError(f"lecture map, row {plain_text(row[0])}: {reference['reftarget']} is no section")
            section.terms += [squeeze(plain_text(cell)) for cell in (row[0], row[2], row[3])]


def collect(env: BuildEnvironment) -> list[Entry]:
    """Every entry of the book, in the order of the chapters."""
    entries: list[Entry] = []
    for docname in filter(None, (env.path2doc(str(path)) for path in book_pages())):
        document = env.get_doctree(docname)
        show_references(env, document)
        sections = list(section_entries(env, docname, document))
        entries += sections[:1] if docname == LEDGER else sections  # the ledger repeats every chapter
        entries += symbol_entries(docname, document) if docname == NOTATION else ()
        entries += equation_entries(env, docname, document)
        entries += function_entries(docname, document)
    if LECTURE_MAP in env.found_docs:
        add_lecture_terms(env, entries)
    return entries


def write_index(app: Sphinx, error: Exception | None) -> None:
    """Write the index as ``search-index.js``: pages with their titles, and entries that name a page by its number."""
    if error is not None or app.builder.format != "html":
        return
    entries = collect(app.env)
    docnames = list(dict.fromkeys(e.docname for e in entries))
    titles = {e.docname: e.title for e in reversed(entries) if not e.ids}  # a page's first entry is the page
    pages = [[app.builder.get_target_uri(d), titles[d]] for d in docnames]
    rows = [
        [docnames.index(e.docname), e.ids[0] if e.ids else "", e.title, " · ".join(e.terms), e.text] for e in entries
    ]
    data = json.dumps({"pages": pages, "entries": rows}, ensure_ascii=False, separators=(",", ":"))
    (Path(app.outdir) / "_static" / "search-index.js").write_text(f"const bookIndex = {data}\n", "utf8")


def setup(app: Sphinx) -> None:
    app.connect("build-finished", write_index)
