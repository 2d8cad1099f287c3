"""The search index: an entry for each section, numbered equation, figure, exercise, symbol, function of ``labs`` and reference.

Sphinx's own index holds words, as English splits them, and leads to pages. Here a reader looks for a symbol, for the name of a
formula or for a Chinese term, and wants the section. The terms of the lecture map belong to the sections they lead to; what else
readers call things stands in ``terms.toml``. The index is a script, because a page opened from a file cannot fetch anything; a
page loads it when its search field is used, and ``search.js`` searches.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import docname_join
from sphinx_exercise.nodes import exercise_enumerable_node, exercise_subtitle

from bookext.read import plaintext
from bookext.read.book import book_pages, parsed
from bookext.read.kept import of_page, text_digest
from bookext.read.plaintext import tex_to_text
from bookext.read.words import CATALOGUE

from .chinese import say_here
from .folds import fold
from .ledgerpage import LEDGER

LECTURE_MAP, NOTATION = "book/appendix/lecture-map", "book/notation"
MACHINERY = [Path(__file__), Path(plaintext.__file__), CATALOGUE]
TERMS = Path(__file__).with_name("terms.toml")
KINDS = (
    "page",
    "section",
    "equation",
    "figure",
    "exercise",
    "symbol",
    "function",
    "reference",
)  # as search.js numbers them
CODE_NAME = re.compile(r"\b[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+|\b[a-z]+_[a-z]\w*_?|\b[A-Z][a-z]+[A-Z]\w+")


@dataclass
class Entry:
    """A place that a search can lead to."""

    kind: str
    docname: str
    ids: list[str]
    title: str
    text: str = ""
    parent: "Entry | None" = None  # the section that it stands in
    terms: list[str] = field(default_factory=list)  # shown
    called: list[str] = field(default_factory=list)  # what else it is called, not shown
    names: str = ""  # of what its code cells use


def plain_text(node: nodes.Node) -> str:
    """The words of a node; formulas in one line of letters; code cells, drawings, hints and solutions left out."""
    if isinstance(node, nodes.math | nodes.math_block):
        return tex_to_text(node.astext()) + node.get("closing", "")
    if isinstance(node, nodes.Text):
        return str(node)
    if isinstance(node, addnodes.pending_xref) and not node.get("refexplicit"):
        return node["reftarget"] if node.get("refdomain") == "py" else ""  # what it will show stands elsewhere
    if isinstance(
        node, nodes.raw | nodes.comment | nodes.literal_block | nodes.target | addnodes.desc_signature | fold
    ):
        return ""
    between = "" if isinstance(node, nodes.TextElement) else " "
    return between.join(plain_text(child) for child in node.children)


def squeeze(text: str) -> str:
    """One line."""
    return re.sub(r"\s+", " ", text).strip()


def number_of(env: BuildEnvironment, docname: str, section: nodes.section, top: bool) -> str:
    """A section's number with its dot, or nothing."""
    numbers = env.toc_secnumbers.get(docname, {})
    found = numbers.get("") if top else next((numbers[f"#{i}"] for i in section["ids"] if f"#{i}" in numbers), None)
    return ".".join(map(str, found)) + ". " if found else ""


def numbered(env: BuildEnvironment, docname: str, kind: str, ids: list[str]) -> str:
    """The number that a page prints beside an equation, a figure or an exercise."""
    numbers = env.toc_fignumbers.get(docname, {}).get(kind, {})
    return ".".join(map(str, next((numbers[i] for i in ids if i in numbers), ())))


def is_titled(node: nodes.Node) -> bool:
    """A section of the page; the body of an exercise is one without a title."""
    return isinstance(node, nodes.section) and bool(node.children) and isinstance(node[0], nodes.title)


def code_names(children: list[nodes.Node], text: str) -> str:
    """Names with a dot or an underscore from code cells, which the text does not mention."""
    blocks = [
        b.astext() for child in children for b in child.findall(nodes.literal_block) if b.get("language") != "none"
    ]
    return " ".join(name for name in dict.fromkeys(CODE_NAME.findall("\n".join(blocks))) if name not in text)


def section_entries(env: BuildEnvironment, docname: str, document: nodes.document) -> Iterator[Entry]:
    """The sections of a page, each with its own words and not those of the sections and exercises inside it."""
    for section in filter(is_titled, document.findall(nodes.section)):
        top = section.parent is document
        own = [c for c in section.children[1:] if not is_titled(c) and not isinstance(c, exercise_enumerable_node)]
        title = number_of(env, docname, section, top) + squeeze(plain_text(section[0]))
        text = squeeze(" ".join(map(plain_text, own)))
        kind, ids = ("page", []) if top else ("section", list(section["ids"]))
        yield Entry(kind, docname, ids, title, text, names=code_names(own, text))


def inner_entries(env: BuildEnvironment, docname: str, document: nodes.document) -> Iterator[Entry]:
    """The equations, figures and exercises of a page. The words of an equation's label are among its names."""

    def said(text: str) -> str:
        return say_here(env.app, text)

    for block in document.findall(nodes.math_block):
        if label := block.get("label"):
            number, name = numbered(env, docname, "displaymath", [f"equation-{label}"]), label.partition("-")[2]
            called = [name.replace("-", " "), f"equation {name.replace('-', ' ')}"]
            yield Entry(
                "equation",
                docname,
                [f"equation-{label}"],
                said("Equation {number}").format(number=number),
                plain_text(block),
                called=called,
            )
    for figure in document.findall(nodes.figure):
        caption = next(figure.findall(nodes.caption), None)
        if caption is not None and (number := numbered(env, docname, "figure", figure["ids"])):
            alt = next(figure.findall(nodes.image), {"alt": ""}).get("alt", "")
            yield Entry(
                "figure",
                docname,
                figure["ids"][:1],
                said("Figure {number}").format(number=number),
                squeeze(plain_text(caption)),
                names=alt,
            )
    for exercise in document.findall(exercise_enumerable_node):
        number = numbered(env, docname, "exercise", exercise["ids"])
        title = next(exercise.findall(exercise_subtitle), nodes.Text(""))
        text = squeeze(" ".join(map(plain_text, exercise.children[1:])))
        name = said("Exercise {number}. {title}").format(number=number, title=squeeze(plain_text(title)))
        yield Entry("exercise", docname, exercise["ids"][:1], name, text)


def with_parents(document: nodes.document, sections: list[Entry], inner: list[Entry]) -> list[Entry]:
    """Each inner entry told the section that it stands in."""
    places = {i: entry for entry in sections for i in entry.ids}
    at: dict[str, Any] = {}
    for element in document.findall(nodes.Element):
        for i in element.get("ids", ()):
            at.setdefault(i, element)
    for entry in inner:
        node = next((at[i] for i in entry.ids if i in at), None)
        while node is not None and not (is_titled(node) and node["ids"] and node["ids"][0] in places):
            node = node.parent
        entry.parent = places[node["ids"][0]] if node is not None else sections[0]
    return inner


def function_entries(docname: str, document: nodes.document) -> Iterator[Entry]:
    """The functions and classes that a page documents, by their full names."""
    for signature in document.findall(addnodes.desc_signature):
        content = signature.parent[-1]
        text = squeeze(plain_text(next(content.findall(nodes.paragraph), nodes.paragraph())))
        if signature["ids"] and not text.startswith("Alias for field"):
            yield Entry("function", docname, signature["ids"][:1], signature["ids"][0], text)


def symbol_entries(env: BuildEnvironment, docname: str, document: nodes.document) -> Iterator[Entry]:
    """The rows of the table of notation: a symbol leads to what it means."""
    for body in document.findall(nodes.tbody):
        for row in body.findall(nodes.row):
            symbol, meaning = (squeeze(plain_text(cell)) for cell in row.children[:2])
            name = say_here(env.app, "Symbol {symbol}").format(symbol=symbol)
            yield Entry("symbol", docname, row["ids"][:1], name, meaning, called=symbol.split(", "))


def reference_entries(env: BuildEnvironment) -> Iterator[Entry]:
    """The works that the book cites."""
    for cited in env.get_domain("cite").citations:  # type: ignore[attr-defined]
        fields, key = cited.entry.fields, cited.bibliography_key
        people = ", ".join(" ".join(person.last_names) for person in cited.entry.persons.get("author", []))
        title = re.sub(r"[{}]", "", fields["title"])
        yield Entry("reference", key.docname, [cited.citation_id], f"{people} ({fields.get('year', '')})", title)


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
        elif reference.get("reftype") == "eq" and target in equations:
            number = numbered(env, equations[target][0], "displaymath", [f"equation-{target}"])
            title = (env.config.math_eqref_format or "({number})").format(number=number)
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


def read_terms() -> tuple[list[list[str]], dict[str, list[str]]]:
    """Groups of names for one thing, and for each place what else it is called."""
    table = parsed(TERMS, tomllib.loads)
    return [group.split(" | ") for group in table["same"]], {k: v.split(" | ") for k, v in table["places"].items()}


def add_other_names(entries: list[Entry], whole: bool) -> None:
    """Give each place the names in ``terms.toml``; in the whole book a place that is not there is an error."""
    places = {i: e for e in entries for i in e.ids} | {e.docname: e for e in entries if e.kind == "page"}
    for place, names in read_terms()[1].items():
        entry = places.get(place) or places.get(f"equation-{place}")
        if entry is not None:
            entry.called += names
        elif whole:
            raise ValueError(f"{TERMS.name}: there is no place {place}")


def page_entries(env: BuildEnvironment, docname: str) -> list[Entry]:
    """The entries of a page."""
    document = env.get_doctree(docname)
    show_references(env, document)
    sections = list(section_entries(env, docname, document))
    entries = sections[:1] if docname == LEDGER else sections  # the ledger repeats every chapter
    entries = [*entries, *(symbol_entries(env, docname, document) if docname == NOTATION else ())]
    entries += with_parents(document, sections, list(inner_entries(env, docname, document)))
    return [*entries, *function_entries(docname, document)]


def told_elsewhere(env: BuildEnvironment) -> str:
    """All that the entries of a page have from other pages, and their numbers."""
    labels, equations = env.get_domain("std").labels, env.get_domain("math").equations  # type: ignore[attr-defined]
    titles = {name: title.astext() for name, title in env.titles.items()}
    return text_digest(repr([labels, equations, titles, env.toc_secnumbers, env.toc_fignumbers]))


def known_entries(env: BuildEnvironment, docname: str, page: Path, about: str) -> list[Entry]:
    """``page_entries``; those of a page that is as it was read before are not collected again."""

    def collected() -> list[list[Any]]:
        found = page_entries(env, docname)
        at = {id(entry): n for n, entry in enumerate(found)}
        return [
            [e.kind, e.docname, e.ids, e.title, e.text, at.get(id(e.parent), -1), e.terms, e.called, e.names]
            for e in found
        ]

    tree = hashlib.sha256(Path(env.doctreedir, f"{docname}.doctree").read_bytes()).hexdigest()
    rows = of_page(f"index-{env.config.language}", page, f"{tree}{about}", MACHINERY, collected)
    entries = [Entry(r[0], r[1], r[2], r[3], r[4], None, r[6], r[7], r[8]) for r in rows]
    for entry, row in zip(entries, rows, strict=True):
        entry.parent = entries[row[5]] if row[5] >= 0 else None
    return entries


def collect(env: BuildEnvironment) -> list[Entry]:
    """Every entry of the book, in the order of the chapters."""
    entries: list[Entry] = []
    about = told_elsewhere(env)
    for page in book_pages():
        if docname := env.path2doc(str(page)):
            entries += known_entries(env, docname, page, about)
    entries += reference_entries(env)
    if whole := LECTURE_MAP in env.found_docs:
        add_lecture_terms(env, entries)
    add_other_names(entries, whole)
    return entries


def index_of(app: Sphinx) -> dict[str, Any]:
    """The index: pages with their titles, entries that name page and section by their numbers, groups of names."""
    entries = collect(app.env)
    docnames = list(dict.fromkeys(e.docname for e in entries))
    titles = {e.docname: e.title for e in entries if e.kind == "page"}
    at = {id(e): i for i, e in enumerate(entries)}
    rows = []
    for e in entries:
        said = [e.title, " · ".join(e.terms), " | ".join(e.called), e.text, e.names]
        rows.append(
            [docnames.index(e.docname), (e.ids or [""])[0], KINDS.index(e.kind), *said, at.get(id(e.parent), -1)]
        )
    pages = [[app.builder.get_target_uri(d), titles[d]] for d in docnames]
    return {"pages": pages, "same": read_terms()[0], "entries": rows}


def write_index(app: Sphinx, error: Exception | None) -> None:
    """Write the index as ``search-index.js``."""
    if error is not None or app.builder.format != "html":
        return
    data = json.dumps(index_of(app), ensure_ascii=False, separators=(",", ":"))
    (Path(app.outdir) / "_static" / "search-index.js").write_text(f"const bookIndex = {data}\n", "utf8")


def anchor_symbols(app: Sphinx, doctree: nodes.document) -> None:
    """Give each row of the tables of notation an anchor made of its first symbol, so that links can lead to it."""
    if app.env.docname != NOTATION:
        return
    taken: set[str] = set()
    for body in doctree.findall(nodes.tbody):
        for row in body.findall(nodes.row):
            tex = next(row.findall(nodes.math), nodes.Text("")).astext()
            name = wanted = "symbol-" + "-".join(re.findall(r"[A-Za-z0-9]+", tex))
            while name in taken:
                name = f"{wanted}-{int(name.removeprefix(wanted).strip('-') or 1) + 1}"
            taken.add(name)
            row["ids"].append(name)


def setup(app: Sphinx) -> None:
    app.add_js_file("search.js", loading_method="defer")
    app.connect("doctree-read", anchor_symbols)
    app.connect("build-finished", write_index)
