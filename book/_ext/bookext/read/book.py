"""The book as a whole: its settings, the order of its pages, and where each is published."""

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[4]


def display_path(path: Path) -> str:
    """A path as messages show it: relative to the repository where it lies in it."""
    return (path.relative_to(ROOT) if path.is_relative_to(ROOT) else path).as_posix()


class SettingsError(ValueError):
    """A file of settings or data, or the head of a page, is missing or cannot be read; names the file, and the line where there is one."""


def parsed(path: Path, parse: Callable[[str], Any]) -> Any:
    """A file of YAML, JSON, TOML or BibTeX; raises ``SettingsError`` that names the line where its parser stopped."""
    name = display_path(path)
    try:
        return parse(path.read_text("utf8"))
    except FileNotFoundError:
        raise SettingsError(f"{name} is missing: git checkout {name} brings it back") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{name}: not written in UTF-8, at byte {error.start}; save it so") from None
    except Exception as error:  # every parser has errors of its own
        mark, said = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
        told = re.search(r"line (\d+)", said)
        line = mark.line + 1 if mark else told[1] if told else 0
        raise SettingsError(f"{name}{f':{line}' if line else ''}: {said.splitlines()[0]}; mend that line") from None


def settings(name: str, *wanted: str) -> dict[str, Any]:
    """A file of settings in the root, with the keys that the book cannot do without, such as ``repository.url``."""
    found = parsed(ROOT / name, yaml.safe_load)
    for key in wanted:
        value = found
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is None:
            raise SettingsError(f"{name}: no {key} in it; git diff {name} shows what became of it")
    return found


@lru_cache(maxsize=1)
def config() -> dict[str, Any]:
    """_config.yml."""
    return settings("_config.yml", "title", "author", "repository.url", "repository.branch", "html.baseurl")


@lru_cache(maxsize=1)
def contents() -> dict[str, Any]:
    """_toc.yml."""
    found = settings("_toc.yml", "root")
    for part in found.get("parts") or []:
        if not part.get("chapters"):
            raise SettingsError(f"_toc.yml: the part {part.get('caption')} has no chapters: take it out, too")
    return found


@lru_cache(maxsize=1024)
def front_matter(text: str) -> dict[str, Any]:
    """What stands between the first two lines of dashes; empty if the text does not begin with one."""
    match = re.match(r"---\n(.*?\n)---[ \t]*(?:\n|\Z)", text, re.DOTALL)
    return (yaml.safe_load(match[1]) or {}) if match else {}


@lru_cache(maxsize=256)
def left_open(text: str) -> int:
    """The line of a cell or block of code that nothing closes, from 1; 0 where there is none.

    >>> left_open("a\\n````{code-cell}\\nx\\n```\\n"), left_open("```\\nx\\n```\\n")
    (2, 0)
    """
    opened, fence = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        marks = re.match(r"[ >]*(`{3,}|~{3,})(.*)", line)
        if marks and not opened and "`" not in marks[2]:
            opened, fence = number, marks[1]
        elif marks and opened and marks[1].startswith(fence) and not marks[2].strip():
            opened = 0
    return opened


def readable(page: Path) -> str:
    """A page's text, of which UTF-8, front matter and fences have been looked at; raises ``SettingsError``."""
    try:
        text = page.read_text("utf8")
        front_matter(text)
    except UnicodeDecodeError as error:
        raise SettingsError(f"{display_path(page)}: not written in UTF-8, at byte {error.start}; save it so") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 2}" if mark else ""
        raise SettingsError(f"{display_path(page)}{where}: its front matter is no YAML; mend that line") from None
    if line := left_open(text):
        raise SettingsError(
            f"{display_path(page)}:{line}: nothing closes this block; write as many ` behind its last line"
        )
    return text


def is_notebook(text: str) -> bool:
    """Whether a page's text says of itself that it is a notebook, in jupytext's words, which the site's builder reads too."""
    representation = front_matter(text).get("jupytext", {}).get("text_representation", {})
    return representation.get("format_name") == "myst"


def book_pages() -> list[Path]:
    """Every page that _toc.yml names, in its order."""
    toc = contents()
    names = [toc["root"]]

    def walk(entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            if "file" in entry:
                names.append(entry["file"])
            walk(entry.get("chapters", []) + entry.get("sections", []))

    walk(toc.get("parts", []) + toc.get("chapters", []))
    pages = [ROOT / f"{name}.md" for name in names]
    for page in pages:
        if not page.exists():
            raise SettingsError(
                f"_toc.yml names {display_path(page)}, which is not there: restore the page or take its line out"
            )
    return pages


def notebook_pages() -> list[Path]:
    """The pages that are notebooks: each has a generated ``.ipynb`` beside it."""
    return [p for p in book_pages() if is_notebook(readable(p))]


def waits_for_nobody(front: dict[str, Any]) -> bool:
    """Whether the build executes a notebook with this front matter: homework waits for the student."""
    return front.get("mystnb", {}).get("execution_mode") != "off"


def executed_pages() -> list[Path]:
    """The notebooks that the build executes."""
    return [page for page in notebook_pages() if waits_for_nobody(front_matter(readable(page)))]


@lru_cache(maxsize=1)
def numbered_chapters() -> dict[Path, int]:
    """The pages in numbered parts of _toc.yml and their chapter numbers."""
    files = [c["file"] for part in contents().get("parts", []) if part.get("numbered") for c in part["chapters"]]
    return {ROOT / f"{name}.md": number for number, name in enumerate(files, 1)}


def page_url(page: Path, anchor: str = "", language: str = "en") -> str:
    """Where a page stands on the published site, or on its Chinese part."""
    base = config()["html"]["baseurl"].rstrip("/") + ("/zh" if language == "zh" else "")
    return f"{base}/{page.relative_to(ROOT).with_suffix('.html').as_posix()}{'#' + anchor.lower() if anchor else ''}"
