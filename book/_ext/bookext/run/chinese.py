"""The Chinese site: the same book, with the Chinese text of each page that has one, under ``zh/`` with the same addresses.

It is a second run of Sphinx with settings of its own, beside the English one, forked from it when all that both need is imported;
it begins with what the two languages must have in common (``check/twins``), and nothing is executed for it.
A page that nobody has translated is there in English, and says so (``pages/chinese``).
"""

import copy
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import yaml

from bookext.check.twins import report, translated_pages
from bookext.read.book import config, contents, executed_pages
from bookext.read.chapter import SourceError
from bookext.read.kept import BUILD
from bookext.read.words import say

from .execute import lend_outputs

HOME = BUILD / "zh"
PAGES = HOME / "_build" / "html"
LANGUAGE = "zh_CN"


def settings() -> dict[str, Any]:
    """What _config.yml says of the Chinese run."""
    own: dict[str, Any] = copy.deepcopy(config())
    own["title"] = say("zh", config()["title"])
    own["html"]["baseurl"] = config()["html"]["baseurl"].rstrip("/") + "/zh/"
    own["sphinx"]["config"] |= {
        "language": LANGUAGE,
        "html_copy_source": False,
        "bibtex_reference_style": "author_year_zh",
        "bibtex_default_style": "book_zh",
        "math_eqref_format": say("zh", "({number})"),
        "numfig_format": {
            "figure": say("zh", "Figure {number}").format(number="%s"),
            "exercise": say("zh", "Exercise {number}").format(number="%s"),
        },
        "site_description": say("zh", own["sphinx"]["config"]["site_description"]),
    }
    return own


def write_settings() -> list[str]:
    """_config.yml and _toc.yml as the Chinese run reads them; the options that name them."""
    HOME.mkdir(parents=True, exist_ok=True)
    own, toc = settings(), copy.deepcopy(contents())
    for part in toc.get("parts", []):
        part["caption"] = say("zh", part["caption"])
    for name, content in (("_config.yml", own), ("_toc.yml", toc)):
        text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
        if not (HOME / name).exists() or (HOME / name).read_text("utf8") != text:
            (HOME / name).write_text(text, "utf8")
    return ["--path-output", str(HOME), "--config", str(HOME / "_config.yml"), "--toc", str(HOME / "_toc.yml")]


def _child(build_site: Callable[[list[str]], int], options: list[str]) -> None:
    """What the forked process does; what it prints the English run prints too, but for warnings. Ctrl-C is told by its parent."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
    try:
        if wrong := report():
            raise SourceError("\n\n".join(wrong))
        lend_outputs(executed_pages())
        sys.exit(build_site(options))
    except SourceError as error:
        sys.exit(f"\n{error}")
    except KeyboardInterrupt:
        sys.exit(130)


_running: list[ForkProcess] = []


def refused() -> bool:
    """Whether a Chinese run that this process has begun has failed already."""
    return any(run.exitcode for run in _running)


def begin(build_site: Callable[[list[str]], int], options: list[str]) -> ForkProcess | None:
    """Start the Chinese run in a process of its own, where anything is translated."""
    if not translated_pages():
        return None
    sys.stdout.flush(), sys.stderr.flush()
    run = multiprocessing.get_context("fork").Process(
        target=_child, args=(build_site, [*options, *write_settings()]), daemon=True
    )
    run.start()
    _running.append(run)
    return run


def put(site: Path) -> None:
    """Put the pages of a finished run under ``zh/`` of the site, and its figures beside the English ones: a name is what is in it."""
    shutil.copytree(PAGES, site / "zh", copy_function=os.link, ignore=shutil.ignore_patterns("_images"))
    for image in (PAGES / "_images").glob("*"):
        if not (there := site / "_images" / image.name).exists():
            there.hardlink_to(image)
