"""Links from a statement to the cell that decides it: every code cell has an anchor, and ``{cell}`E7``` links to those that check E7."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole

from .notebooks import numbered_chapters
from .source import Chapter, executed_pages, read_chapter


def anchor_cells(app: Sphinx, doctree: nodes.document) -> None:
    """Give the n-th code cell of a page the anchor ``cell-n``."""
    cells = [c for c in doctree.findall(nodes.container) if c.get("nb_element") == "cell_code"]
    for number, cell in enumerate(cells, 1):
        cell["ids"].append(f"cell-{number}")


def checking_cells(name: str) -> list[tuple[Chapter, int]]:
    """The chapters and cell numbers (from 1) whose cells list ``name`` under ``:checks:``."""
    found = []
    for page in executed_pages():
        chapter = read_chapter(page)
        code = [cell for cell in chapter.cells if cell.kind == "code"]
        found += [(chapter, number) for number, cell in enumerate(code, 1) if name in cell.checks]
    return found


def cell_url(app: Sphinx, docname: str, chapter: Chapter, number: int) -> str:
    """Where a cell stands, as seen from a page."""
    target = Path(app.env.path2doc(str(chapter.path)) or "").as_posix()
    return f"{app.builder.get_relative_uri(docname, target)}#cell-{number}"


class CellRole(SphinxRole):
    """``{cell}`E7```: links to the cells that decide an erratum or a result."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        cells = checking_cells(self.text)
        if not cells:
            message = self.inliner.reporter.error(f"no cell lists {self.text} under :checks:", line=self.lineno)
            return [], [message]
        shown: list[nodes.Node] = []
        for chapter, number in cells:
            place = f"chapter {numbered_chapters().get(chapter.path, chapter.title)}, cell {number}"
            url = cell_url(self.env.app, self.env.docname, chapter, number)
            shown += [nodes.Text("; ")] if shown else []
            shown.append(nodes.reference("", place, internal=True, refuri=url))
        return shown, []


def setup(app: Sphinx) -> None:
    app.add_role("cell", CellRole())
    app.connect("doctree-read", anchor_cells)
