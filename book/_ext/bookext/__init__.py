"""The book's own Sphinx extension, its notebook generator, its ledger and its build.

``source`` reads a chapter; ``katexmath``, ``decided`` and ``site`` make the pages;
``notebooks`` makes the ``.ipynb``; ``ledger`` checks that
nothing on a page is unchecked; ``build`` runs it all. Only ``setup`` imports Sphinx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    from . import decided, katexmath, site

    decided.setup(app)
    katexmath.setup(app)
    site.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
