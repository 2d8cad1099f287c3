"""What becomes of a chapter's text as Sphinx reads it: the cell of claimed numbers, roles, and what is linked and addressed.

A role is a claimed number, a link to the cell that decides a statement, or a link to the wheel of ``labs``. Types in signatures
of ``labs`` are linked to the documentation of the library that they come from.
"""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxRole

from bookext.check.ledger import bound_names, expression_names
from bookext.notebook.wheel import FOLDER, wheel_name
from bookext.read.book import ROOT, book_pages, executed_pages, numbered_chapters
from bookext.read.chapter import Chapter, parse_chapter, read_chapter
from bookext.read.kept import cache_path, digest, files
from bookext.read.numbers import with_numbers_cell
from bookext.read.uses import made_with

from .chinese import is_chinese, say_there

DOCUMENTED = re.compile(r"^\.\. auto\w+:: labs", re.MULTILINE)
TAKES, MINUTES = re.compile(r"[Ii]t takes about (\d+) minutes"), re.compile(r"\{minutes\}`([^`]*)`")
ITEM = re.compile(r"l\d+")  # the anchor of an item of the lecture


class NumRole(SphinxRole):
    """``{num}`4.07e17 <growth>``` on the page: the number as a person writes it, its power of ten raised."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        mantissa, power, exponent = self.text.partition("<")[0].strip().partition("e")
        shown = mantissa.replace("-", "−") + " × 10" * bool(power)
        number = nodes.inline(self.rawtext, shown, classes=["num"], expression=self.text.partition("<")[2])
        if power:
            number += nodes.superscript("", str(int(exponent)).replace("-", "−"))
        return [number], []


def anchor_cells(app: Sphinx, doctree: nodes.document) -> None:
    """Give the n-th code cell of a notebook the anchor ``cell-n``; the page may leave some out."""
    cells = [c for c in doctree.findall(nodes.container) if c.get("nb_element") == "cell_code"]
    if not cells:
        return
    code = enumerate(read_chapter(app.env.doc2path(app.env.docname)).code, 1)
    shown = [n for n, cell in code if "remove-cell" not in cell.metadata.get("tags", [])]
    for number, cell in zip(shown, cells, strict=True):
        cell["ids"].append(f"cell-{number}")


def link_numbers(app: Sphinx, doctree: nodes.document) -> None:
    """A claimed number leads to the cell that computed it: the last one that binds a name of its expression."""
    found = [node for node in doctree.findall(nodes.inline) if "expression" in node]
    chapter = read_chapter(app.env.doc2path(app.env.docname)) if found else None
    for node in found:
        names = expression_names(node["expression"].partition("±")[0].rstrip("> "))
        numbered = enumerate(chapter.code if chapter else [], 1)
        if cells := [n for n, cell in numbered if bound_names(cell.source) & names]:
            link = nodes.reference("", "", refuri=f"#cell-{cells[-1]}", internal=True, classes=["computed"])
            node.parent.replace(node, link)
            link += node


def checking_cells(name: str) -> list[tuple[Chapter, int]]:
    """The chapters and cell numbers (from 1) whose cells list ``name`` under ``:checks:``."""
    chapters = map(read_chapter, executed_pages())
    return [(chapter, n) for chapter in chapters for n, cell in enumerate(chapter.code, 1) if name in cell.checks]


def chapter_url(env: BuildEnvironment, chapter: Chapter, anchor: str) -> str:
    """Where something of a chapter stands, as seen from the page that is being read."""
    target = env.path2doc(str(chapter.path)) or ""
    return f"{env.app.builder.get_relative_uri(env.docname, target)}#{anchor}"


class CellRole(SphinxRole):
    """``{cell}`E7```: links to the cells that decide an erratum or a result."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        cells = checking_cells(self.text)
        if not cells:
            message = self.inliner.reporter.error(f"no cell lists {self.text} under :checks:", line=self.lineno)
            return [], [message]
        shown: list[nodes.Node] = []
        for chapter, number in cells:
            place = say_there(self.env.app, self.env.docname, "chapter {chapter}, cell {cell}")
            place = place.format(chapter=numbered_chapters().get(chapter.path, chapter.title), cell=number)
            url = chapter_url(self.env, chapter, f"cell-{number}")
            shown += [nodes.Text(say_there(self.env.app, self.env.docname, "; "))] if shown else []
            shown.append(nodes.reference("", place, internal=True, refuri=url))
        return shown, []


class WheelRole(SphinxRole):
    """``{labs-wheel}`the wheel of labs```: a link to the wheel that is published with the site."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        uri = f"{'../' * self.env.docname.count('/')}{FOLDER}/{wheel_name()}"
        return [nodes.reference(self.rawtext, self.text, refuri=uri, internal=True)], []


def minutes_of(name: str) -> str:
    """How long a chapter says that it takes; nothing where it does not."""
    path = ROOT / "book" / f"{name}.md"
    found = TAKES.search(path.read_text("utf8")) if path.exists() else None
    return found[1] if found else ""


class MinutesRole(SphinxRole):
    """``{minutes}`06-xavier```: how long a chapter says that it takes."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        if found := minutes_of(self.text):
            return [nodes.Text(found)], []
        message = f"book/{self.text}.md does not say 'It takes about … minutes'"
        return [], [self.inliner.reporter.error(message, line=self.lineno)]


def link_types(app: Sphinx, env: Any, node: nodes.Element, contnode: nodes.Element) -> nodes.reference | None:
    """A type of another library, linked to its page in _config.yml; a name that is not there stays a warning."""
    target, pages = node.get("reftarget", ""), app.config.type_pages
    short = "" if target.startswith("labs.") else target.rpartition(".")[2]
    url = pages.get(target) or pages.get(short)
    return nodes.reference("", "", contnode, internal=False, refuri=url) if url else None


class LabelsFirst(SphinxTransform):
    """A section is addressed by its own label; the lecture's items and what its title gives stay in the page as further ids."""

    default_priority = 265  # when docutils has moved the targets above a heading to its section, at 260

    def apply(self, **kwargs: Any) -> None:
        for section in self.document.findall(nodes.section):
            labels = [n for n in section["names"] if self.document.nametypes.get(n) and not ITEM.fullmatch(n)]
            own = [self.document.nameids[name] for name in labels[:1]]
            section["ids"] = own + [i for i in section["ids"] if i not in own]


def read_source(app: Sphinx, docname: str, source: list[str]) -> None:
    """Append the cell that compares the prose's numbers with the computed ones."""
    path = Path(app.env.doc2path(docname))
    parse_chapter(source[0], path.resolve())  # a malformed number or equation stops the build here, with file and line
    source[0] = with_numbers_cell(source[0], path)


def find_outputs(app: Sphinx) -> None:
    """Where the executed chapters are kept depends on ``labs`` and the pins: as a setting it would have every page read anew."""
    env: Any = app.env
    folder = cache_path("zh" if is_chinese(app) else "en")
    env.mystnb_config = env.mystnb_config.copy(execution_cache_path=str(folder))


def outdated(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Pages whose outputs came from what has changed since, those that document ``labs``, and those that say how long another takes."""
    now = {env.path2doc(str(page)) or "": made_with(page) for page in executed_pages()}
    told = [page for page in book_pages() if DOCUMENTED.search(page.read_text("utf8"))]
    now |= {env.path2doc(str(page)) or "": digest(files("labs")) for page in told}
    said = {page: "; ".join(map(minutes_of, MINUTES.findall(page.read_text("utf8")))) for page in book_pages()}
    now |= {f"{env.path2doc(str(page))}#minutes": minutes for page, minutes in said.items() if minutes}
    before: dict[str, str] = getattr(env, "made_with", {})
    vars(env)["made_with"] = now
    return [page.partition("#")[0] for page, made in now.items() if before.get(page) != made]


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", find_outputs, priority=900)  # when myst-nb has read its settings
    app.connect("env-get-outdated", outdated)
    app.connect("source-read", read_source)
    app.add_transform(LabelsFirst)
    app.add_config_value("type_pages", {}, "html")
    app.connect("missing-reference", link_types)
    app.add_role("num", NumRole())
    app.add_role("cell", CellRole())
    app.add_role("labs-wheel", WheelRole())
    app.add_role("minutes", MinutesRole())
    app.connect("doctree-read", anchor_cells)
    app.connect("doctree-read", link_numbers)
