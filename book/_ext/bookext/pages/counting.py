"""Figure numbers without reading all pages again: of each page is kept what Sphinx counts in it, in its order, and no more.

Sphinx walks through every page of the book at each build to number figures, equations and exercises. It still does the numbering;
what it walks through is a page without all that has no number and no part in one.
"""

from pathlib import Path
from unittest.mock import patch

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.environment.collectors.toctree import TocTreeCollector


def counts(env: BuildEnvironment, node: nodes.Element) -> bool:
    """Whether some domain counts a node."""
    return bool(node["ids"]) and any(domain.get_enumerable_node_type(node) for domain in env.domains.values())


def alone(node: nodes.Element) -> nodes.Element:
    """A node with those of its children by which Sphinx decides whether and as what it counts."""
    inner = [
        type(c)("", c.astext())
        for c in node.children
        if isinstance(c, nodes.caption | nodes.title | nodes.literal_block)
    ]
    return type(node)("", *inner, ids=node["ids"], literal_block=node.get("literal_block", False))


def bare(env: BuildEnvironment, node: nodes.Element) -> list[nodes.Node]:
    """What of a node's children counts, or says where it is counted."""
    found: list[nodes.Node] = []
    for child in node.children:
        if isinstance(child, addnodes.toctree):
            found.append(addnodes.toctree(entries=child["entries"]))
        elif isinstance(child, nodes.section):
            found.append(nodes.section("", *bare(env, child), ids=child["ids"]))
        elif isinstance(child, nodes.Element) and counts(env, child):
            found.append(alone(child))
            found[-1] += bare(env, child)
        elif isinstance(child, nodes.Element):
            found += bare(env, child)
    return found


def assign_figure_numbers(collector: TocTreeCollector, env: BuildEnvironment) -> list[str]:
    """As Sphinx does, of pages as they are kept; one that was read since then is kept anew."""
    kept: dict[str, tuple[int, nodes.Element]] = vars(env).setdefault("counted", {})
    read = env.get_doctree

    def counted(name: str) -> nodes.Element:
        written = Path(env.doctreedir, f"{name}.doctree").stat().st_mtime_ns
        if name not in kept or kept[name][0] != written:
            kept[name] = written, nodes.container("", *bare(env, read(name)))
        return kept[name][1]

    with patch.object(env, "get_doctree", counted):
        return SPHINX(collector, env)


def keep_titles(app: Sphinx, doctree: nodes.document) -> None:
    """Of an exercise only its kind and its title are asked for from elsewhere.

    sphinx-exercise keeps it whole, and by its nodes the page it stands on: most of what Sphinx writes and reads at each build.
    """
    for kept in getattr(app.env, "sphinx_exercise_registry", {}).values():
        if kept["docname"] == app.env.docname:
            kept["node"].children = kept["node"].children[:1]
            for node in kept["node"].findall():
                node.document = None


SPHINX = TocTreeCollector.assign_figure_numbers


def setup(app: Sphinx) -> None:
    TocTreeCollector.assign_figure_numbers = assign_figure_numbers  # type: ignore[assignment, method-assign]
    app.connect("doctree-read", keep_titles)
