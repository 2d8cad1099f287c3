"""The list of references: its labels are the words by which the text cites, and each leads back to where it is cited."""

import base64
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pybtex.plugin
from docutils import nodes
from pybtex.plugin import register_plugin
from pybtex.style.formatting.plain import Style
from pybtex.style.labels import BaseLabelStyle
from sphinx.application import Sphinx
from sphinxcontrib.bibtex.plugin import register_plugin as register_reference_style
from sphinxcontrib.bibtex.style.referencing import PersonStyle
from sphinxcontrib.bibtex.style.referencing.author_year import AuthorYearReferenceStyle

from bookext.read import labels
from bookext.read.book import ROOT, numbered_chapters
from bookext.read.kept import digest, keep, pins, remembered, text_digest
from bookext.read.labels import citation

from .chinese import say_there


class AuthorYear(BaseLabelStyle):  # type: ignore[misc]
    """``He et al., 2016a`` instead of a key that no text uses."""

    def format_labels(self, entries: list[Any]) -> Iterator[str]:
        return (citation(entry.key, True) for entry in entries)


class BookStyle(Style):  # type: ignore[misc]
    """Sorted by author and year."""

    default_label_style = AuthorYear
    default_sorting_style = "author_year_title"

    def format_entry(self, label: str, entry: Any, bib_data: Any = None) -> Any:
        """An entry as the list shows it: one that was formatted for the last build is not formatted again."""
        name = f"{label} {entry.key} {bib_data is None}"
        if name not in FORMATTED:
            made = super().format_entry(label, entry, bib_data)
            FORMATTED[name] = base64.b64encode(pickle.dumps(made)).decode()
            return made
        return pickle.loads(base64.b64decode(FORMATTED[name]))


FORMATTED: dict[str, str] = {}


def formatted_key() -> str:
    """What shapes a formatted entry."""
    return text_digest(pins(), digest([ROOT / "book/references.bib", Path(__file__), Path(labels.__file__)]))


def recall_formatted(app: Sphinx) -> None:
    FORMATTED.clear()
    FORMATTED.update(remembered(f"references-{app.config.language}", formatted_key(), dict))


def keep_formatted(app: Sphinx, env: Any) -> None:
    """A file for each language: both run at once, and the one would take for old what the other has written."""
    if remembered(name := f"references-{app.config.language}", formatted_key(), dict) != FORMATTED:
        keep(name, formatted_key(), FORMATTED)


BOTH, OTHERS = "和", "等人"  # as a Chinese sentence names the authors


class ChineseLabels(BaseLabelStyle):  # type: ignore[misc]
    """``He等人, 2016a``."""

    def format_labels(self, entries: list[Any]) -> Iterator[str]:
        return (citation(entry.key, True, BOTH, OTHERS) for entry in entries)


class ChineseStyle(BookStyle):
    """The list that belongs to `ChineseAuthorYear`."""

    default_label_style = ChineseLabels


@dataclass
class ChineseAuthorYear(AuthorYearReferenceStyle):  # type: ignore[misc]
    """``He等人 [2016a]`` in the text; the settings of the Chinese run choose it."""

    person: PersonStyle = field(default_factory=lambda: PersonStyle(sep="、", sep2=BOTH, last_sep=BOTH, other=OTHERS))


def page_name(app: Sphinx, docname: str, here: str) -> str:
    """A chapter's number, or the title of another page, as the page ``here`` says it."""
    number = numbered_chapters().get(Path(app.env.doc2path(docname)).resolve())
    named = say_there(app, here, "chapter {number}")
    return named.format(number=number) if number else app.env.titles[docname].astext()


def lists(app: Sphinx) -> set[str]:
    """The pages that have a list of references."""
    return {key.docname for key in app.env.get_domain("cite").bibliographies}  # type: ignore[attr-defined]


def refresh_lists(app: Sphinx, env: Any) -> list[str]:
    """A list of references is written whenever something is: it says where a source is cited."""
    return sorted(lists(app))


def link_back(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Below each reference: the pages that cite it, each a link to the first place there."""
    if docname not in lists(app):
        return
    domain: Any = app.env.get_domain("cite")
    places: dict[str, dict[str, str]] = {}
    for ref in domain.citation_refs:
        for target in ref.targets:
            places.setdefault(target.key, {}).setdefault(ref.docname, ref.citation_ref_id)
    keys = {citation.citation_id: citation.key for citation in domain.citations}
    order = {name: n for n, name in enumerate(app.env.toctree_includes.get(app.config.root_doc, []))}
    for entry in doctree.findall(nodes.citation):
        cited = places.get(next((keys[i] for i in entry["ids"] if i in keys), ""), {})
        line = nodes.paragraph("", say_there(app, docname, "Cited in "), classes=["cited-in"])
        for page in sorted(cited, key=lambda name: (order.get(name, len(order)), name)):
            line += [nodes.Text(", ")] if len(line) > 1 else []
            url = f"{app.builder.get_relative_uri(docname, page)}#{cited[page]}"
            line += nodes.reference("", page_name(app, page, docname), refuri=url, internal=True)
        if cited:
            entry += line


def readable_defaults(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> Any:
    """A dataclass's ``<factory>`` is no Python, and newer Sphinx would cut the whole signature at its commas."""
    return (signature.replace("<factory>", "..."), returns) if signature and "<factory>" in signature else None


def register_styles() -> None:
    """By the names that the settings give."""
    register_plugin("pybtex.style.formatting", "book", BookStyle)
    register_plugin("pybtex.style.formatting", "book_zh", ChineseStyle)
    register_reference_style("sphinxcontrib.bibtex.style.referencing", "author_year_zh", ChineseAuthorYear)


def setup(app: Sphinx) -> None:
    # It looks through every installed package each time that it wants one of its own parts, dozens of times a build.
    pybtex.plugin._load_entry_point = cache(pybtex.plugin._load_entry_point)
    app.connect("builder-inited", recall_formatted)
    app.connect("env-updated", refresh_lists)
    app.connect("env-updated", keep_formatted, priority=900)
    app.connect("doctree-resolved", link_back)
    register_styles()
    app.connect("autodoc-process-signature", readable_defaults)
