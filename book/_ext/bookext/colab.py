"""What a page offers to those who run it: the Colab badge, the notebook to download, and the wheel of ``labs``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst.states import Inliner
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

from .source import ROOT, config, notebook_pages
from .wheel import FOLDER, build_wheel, wheel_name

BADGE = "open-in-colab.svg"


def colab_url(page: Path) -> str | None:
    """What opens a page's notebook on Colab, at the tag; None where the repository is not on GitHub, which Colab needs."""
    repository = config()["repository"]
    host, _, name = repository["url"].partition("://github.com/")
    path = page.relative_to(ROOT).with_suffix(".ipynb").as_posix()
    colab = config()["launch_buttons"]["colab_url"].rstrip("/")
    return f"{colab}/github/{name}/blob/{repository['branch']}/{path}" if host == "https" else None


def add_badge(app: Sphinx, doctree: nodes.document) -> None:
    """A badge under the title of each page that has a notebook."""
    page = Path(app.env.doc2path(app.env.docname)).resolve()
    title = next(doctree.findall(nodes.title), None)
    if title is None or page not in notebook_pages() or not (url := colab_url(page)):
        return
    up = "../" * app.env.docname.count("/")
    image = f'<img src="{up}_static/{BADGE}" width="132" height="28" alt="Open this notebook in Google Colab">'
    html = f'<p class="open-in-colab"><a href="{url}">{image}</a></p>'
    title.parent.insert(title.parent.index(title) + 1, nodes.raw("", html, format="html"))


def labs_wheel_role(
    name: str, rawtext: str, text: str, lineno: int, inliner: Inliner, options: Any = None, content: Sequence[str] = ()
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """``{labs-wheel}`the wheel of labs```: a link to the wheel that is published with the site."""
    docname = inliner.document.settings.env.docname
    uri = f"{'../' * docname.count('/')}{FOLDER}/{wheel_name()}"
    return [nodes.reference(rawtext, text, refuri=uri, internal=True)], []


def publish_wheel(app: Sphinx, error: Exception | None) -> None:
    """The wheel of labs."""
    if error is not None or app.builder.format != "html":
        return
    try:
        build_wheel(Path(app.outdir) / FOLDER)
    except (OSError, RuntimeError) as problem:
        raise ExtensionError(str(problem)) from problem


def setup(app: Sphinx) -> None:
    app.add_role("labs-wheel", labs_wheel_role)
    app.connect("doctree-read", add_badge)
    app.connect("build-finished", publish_wheel)
