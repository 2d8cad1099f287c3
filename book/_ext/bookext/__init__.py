"""The book's own Sphinx extension, its notebook generator, its ledger and its build.

``source`` reads a chapter; ``katexmath``, ``decided``, ``ledgerpage``, ``live`` and ``site`` make the pages,
``colab`` and ``wheel`` what they offer to run;
``notebooks`` makes the ``.ipynb``, ``address`` names the repository they install from; ``ledger`` checks that
nothing on a page is unchecked; ``build`` runs it all. Only ``setup`` imports Sphinx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    from . import colab, decided, katexmath, ledgerpage, live, site

    colab.setup(app)
    decided.setup(app)
    katexmath.setup(app)
    ledgerpage.setup(app)
    live.setup(app)
    site.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
