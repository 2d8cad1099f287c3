"""What the layout of a page is filled with. The theme is the book's own, on Sphinx's ``basic``: ``theme/`` beside this file.

What a page says comes from nodes and from _config.yml; a template arranges it.
"""

import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from docutils import nodes
from jinja2 import FileSystemBytecodeCache
from markupsafe import Markup
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment.adapters.toctree import document_toc

from bookext.notebook.address import issues_link, report_link, source_link
from bookext.read.book import ROOT, executed_pages
from bookext.read.book import config as book_config
from bookext.read.chapter import read_chapter
from bookext.read.kept import BUILD, cache_path
from bookext.read.words import say
from bookext.run.execute import record_of

from .chinese import SCRIPTS, is_chinese, languages, say_here
from .finish import shipped
from .search import plain_text, squeeze


def settle_config(app: Sphinx, config: Config) -> None:
    """The book's theme; the options that jupyter-book passes are for its own."""
    config.html_theme, config.html_theme_options = "book", {}
    config.html_permalinks_icon = "#"
    config.html_use_index = config.html_domain_indices = False  # the search finds every function of labs
    config.myst_update_mathjax = False  # nothing is left for a script to draw


def contents(app: Sphinx, pagename: str) -> str:
    """The sections of a page as nested lists of links; nothing where it has none."""
    toc = document_toc(app.env, pagename, app.builder.tags)
    lists = list(toc.findall(nodes.bullet_list))  # the first holds the page itself
    return app.builder.render_partial(lists[1])["fragment"] if len(lists) > 1 else ""  # type: ignore[attr-defined]


def first_words(document: nodes.document, limit: int = 160) -> str:
    """The beginning of a page's first paragraph, cut at a word."""
    paragraphs = (p for p in document.findall(nodes.paragraph) if isinstance(p.parent, nodes.section))
    text = squeeze(plain_text(next(paragraphs, nodes.paragraph())))
    if len(text) <= limit:
        return text
    end = max(text.rfind(mark, 0, limit) for mark in " ，。；：")
    return text[:end].rstrip(" ,;:") + " …"


def colab_url(text: Path) -> str | None:
    """What opens the notebook of a page's text on Colab, at the tag; None where the repository is not on GitHub, which Colab needs."""
    repository = book_config()["repository"]
    host, _, name = repository["url"].partition("://github.com/")
    path = text.relative_to(ROOT).with_suffix(".ipynb").as_posix()
    colab = ((book_config().get("launch_buttons") or {}).get("colab_url") or "").rstrip("/")
    return f"{colab}/github/{name}/blob/{repository['branch']}/{path}" if host == "https" and colab else None


def metas(app: Sphinx, doctree: Any) -> dict[str, str]:
    """What a page's front matter says about it; without a description there, the beginning of its first paragraph."""
    written = {m["name"]: m["content"] for m in doctree.findall(nodes.meta) if "name" in m} if doctree else {}
    return {"description": (first_words(doctree) if doctree else "") or app.config.site_description} | written


def report(repository: str, title: str, address: str) -> str:
    """A new issue that already says which page it is about."""
    body = f"Page: {address}\n\nThe sentence, formula or figure:\n\nWhat is wrong with it:\n"
    return report_link(repository, f"Error on page: {title}", body)


@lru_cache(maxsize=1)
def last_changes(root: Path = ROOT) -> dict[str, str]:
    """The day of the last commit of each file under book/; nothing without git and the repository's whole history."""
    if (
        not shutil.which("git") or not (root / ".git").exists()
    ):  # the folder of a zip may lie in somebody else's repository
        return {}
    git = ["git", "-C", str(root)]
    shallow = subprocess.run([*git, "rev-parse", "--is-shallow-repository"], capture_output=True, text=True)
    if shallow.stdout.strip() != "false":
        return {}
    log = subprocess.run([*git, "log", "--format=%x00%cs", "--name-only", "--", "book"], capture_output=True, text=True)
    days: dict[str, str] = {}
    for commit in log.stdout.split("\0")[1:]:
        day, *names = commit.split()
        for name in names:
            days.setdefault(name, day)  # the newest commit comes first
    return days


def bibtex(app: Sphinx, pagename: str, title: str, address: str) -> str:
    """How to cite a page; the book itself on its first."""
    settings = book_config()
    book, first = settings["title"], pagename == app.config.root_doc
    fields = {
        "author": f"{{{settings['author']}}}",
        "title": book if first else title,
        **({} if first else {"booktitle": book}),
        "year": settings["copyright"],
        "note": f"Version {settings['repository']['branch']}",
        "url": address,
    }
    key = re.sub(r"[^a-z0-9]+", "-", book.lower()).strip("-") + ("" if first else f":{pagename.rpartition('/')[2]}")
    rows = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return f"@{'book' if first else 'incollection'}{{{key},\n{rows}\n}}"


def fill_page(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Put what the layout needs under ``page``."""
    repository, branch = book_config()["repository"]["url"].rstrip("/"), book_config()["repository"]["branch"]
    told = languages(app, pagename)
    address, source = told["address"], told["source"]
    title = Markup(context.get("title") or "").striptags()
    notebook = Path(app.srcdir, source).with_suffix(".ipynb")  # in the language of the page
    context["say"], context["chinese"] = (lambda text: say_here(app, text)), (lambda text: say("zh", text))
    context["page"] = told | {
        "site": "../" * pagename.count("/"),
        "address": address if doctree or pagename == "status" else "",
        "repository": repository,
        "report": report(repository, title, address),
        "issues": issues_link(repository),
        "version": branch,
        "source": source_link(repository, source) if doctree else "",
        "changed": last_changes().get(source, ""),
        "cite": bibtex(app, pagename, app.env.titles[pagename].astext(), address) if doctree else "",
        "metas": metas(app, doctree),
        "toc": contents(app, pagename) if doctree else "",
        "styles": [css for css in context["css_files"] if str(css.filename) in shipped()],
        "scripts": [
            js
            for js in context["script_files"]
            if str(js.filename) in shipped() | {f"_static/{name}" for name in SCRIPTS}
        ],
        "notebook": context["pathto"](f"_sources/{source.removesuffix('.md')}.ipynb", 1) if notebook.exists() else "",
        "colab": colab_url(notebook) if notebook.exists() else "",
    }


def runs(app: Sphinx) -> Iterator[dict[str, Any]]:
    """The notebooks in the order of the book, with what the cache of outputs knows of them."""
    from jupyter_cache import get_cache

    cache = get_cache(cache_path())
    for path in executed_pages():
        chapter, record = read_chapter(path), record_of(cache, path)
        page, seconds = app.env.path2doc(str(path)) or "", float(record.data["execution_seconds"])
        cells = len(chapter.code) + bool(chapter.numbers)
        when = record.data.get("ran") or f"{record.created:%Y-%m-%d %H:%M}"  # Sphinx by itself keeps the latter alone
        ran = {"cells": cells, "seconds": seconds, "ran": when}
        yield {"page": page, "title": app.env.titles[page].astext(), **ran}


def extra_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The pages that no chapter makes."""
    yield "search", {"title": say_here(app, "Search")}, "search.html"
    yield "index", {"title": app.config.html_title}, "redirect.html"
    if is_chinese(app):  # the other two are the English site's
        return
    yield "404", {"title": "Not found"}, "404.html"
    rows = list(runs(app))
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "sympy", "jupyter-book"))
    machine = f"Python {platform.python_version()} on {platform.system()} ({platform.machine()}), {packages}"
    total = sum(row["seconds"] for row in rows)
    yield "status", {"title": "Build status", "rows": rows, "total": total, "machine": machine}, "status.html"


def without_word_index(app: Sphinx) -> None:
    """Sphinx's word index is not built: ``search`` makes a better one for this book."""
    app.builder.search = False  # type: ignore[attr-defined]


def keep_templates(app: Sphinx) -> None:
    """What Jinja makes of the templates is kept from build to build."""
    if app.builder.name == "html":
        (folder := BUILD / "kept" / "templates").mkdir(parents=True, exist_ok=True)
        app.builder.templates.environment.bytecode_cache = FileSystemBytecodeCache(str(folder))  # type: ignore[attr-defined]


def setup(app: Sphinx) -> None:
    app.add_html_theme("book", str(Path(__file__).parent / "theme"))
    app.add_js_file("book.js", loading_method="defer")
    app.add_config_value("site_description", "", "html")
    app.add_config_value("comments_config", None, "")  # jupyter-book sets it, though its extension is not loaded
    app.connect("config-inited", settle_config)
    app.connect("builder-inited", without_word_index)
    app.connect("builder-inited", keep_templates)
    app.connect("html-page-context", fill_page, priority=950)  # when others have named their files
    app.connect("html-collect-pages", extra_pages)
