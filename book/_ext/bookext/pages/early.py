"""Each page is told of when it is written, so that ``make serve`` can show it while the rest of the site is still being built.

Nothing is told by a run that has warned: it will fail.
"""

import logging
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder

from bookext.run import build

from .chinese import is_chinese, share_page


class Warned(logging.Handler):
    """Whether a warning was logged: Sphinx itself puts them off until all pages are written."""

    yet = False

    def emit(self, record: logging.LogRecord) -> None:
        self.yet = True


class Builder(StandaloneHTMLBuilder):
    """Sphinx's builder of HTML, which tells of each page."""

    def init(self) -> None:
        super().init()
        self.warned = Warned(logging.WARNING)
        logging.getLogger("sphinx").addHandler(self.warned)

    def write_doc(self, docname: str, doctree: nodes.document) -> None:
        super().write_doc(docname, doctree)
        if build.on_page and not self.warned.yet:
            page = Path(self.get_outfilename(docname))
            if not all(Path(self.outdir, self.imagedir, name).exists() for name in self.images.values()):
                self.copy_image_files()
            if is_chinese(self.app):
                share_page(page, Path(self.outdir))
            build.on_page(page)


def setup(app: Sphinx) -> None:
    app.add_builder(Builder, override=True)
