"""The one-way generator ``chapter.md`` → ``chapter.ipynb``: what Colab opens and nbval runs.

Colab shows Markdown, not MyST, so directives, roles, cross-references, citations and equation labels become plain Markdown
here. Output is a function of the text alone: no outputs, no timestamps, cell ids made from the cells' content. jupytext's
``--to ipynb`` makes random ids and leaves the MyST in.

    python -m bookext.notebooks            write every notebook
    python -m bookext.notebooks --check    compare, and name the first difference
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from .setupcell import setup_code
from .source import (
    CLAIMS_TITLE,
    ROOT,
    Chapter,
    book_pages,
    claims_code,
    config,
    display_path,
    notebook_pages,
    read_chapter,
)

OPEN = re.compile(r"^(?P<fence>:{3,}|`{3,}|~{3,})\{(?P<name>[\w:-]+)\}\s*(?P<title>.*)$")
ROLE = re.compile(r"\{(?P<name>[\w:-]+)\}`(?P<body>[^`]+)`")
TARGET = re.compile(r"^\(([\w:.-]+)\)=\s*$")
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<url>[^)\s]+)\)")
TITLED = {
    "note": "Note",
    "tip": "Tip",
    "warning": "Warning",
    "important": "Important",
    "seealso": "See also",
    "hint": "Hint",
}
# A cell of machinery shows its title alone, on Colab and in JupyterLab; a click unfolds it.
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class GeneratorError(ValueError):
    """MyST that has no plain-Markdown form here; names the page and the construct."""


@lru_cache(maxsize=1)
def numbered_chapters() -> dict[Path, int]:
    """The pages in numbered parts of _toc.yml and their chapter numbers."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf8"))
    files = [c["file"] for part in toc.get("parts", []) if part.get("numbered") for c in part["chapters"]]
    return {ROOT / f"{name}.md": number for number, name in enumerate(files, 1)}


@lru_cache(maxsize=1)
def bibliography() -> Any:
    """book/references.bib, parsed."""
    from pybtex.database import parse_file

    return parse_file(str(ROOT / "book" / "references.bib")).entries


def page_url(page: Path, anchor: str = "") -> str:
    """Where a page stands on the published site."""
    base = config()["html"]["baseurl"].rstrip("/")
    return f"{base}/{page.relative_to(ROOT).with_suffix('.html').as_posix()}{'#' + anchor.lower() if anchor else ''}"


@lru_cache(maxsize=1)
def labels() -> dict[str, tuple[Path, str, str]]:
    """Every label of the book → (page, the text a bare reference shows, anchor)."""
    found: dict[str, tuple[Path, str, str]] = {}
    for page in book_pages():
        chapter = read_chapter(page)
        number = numbered_chapters().get(page)
        prefix = f"{number}." if number else ""
        for i, equation in enumerate((e for e in chapter.equations if e.label), 1):
            found[str(equation.label)] = (page, f"({prefix}{i})", f"equation-{equation.label}")
        for i, name in enumerate(figure_names(chapter), 1):
            found[name] = (page, f"Figure {prefix}{i}", name)
        for i, name in enumerate(re.findall(r"^:label:\s*(ex-[\w-]+)", chapter.text, re.MULTILINE), 1):
            found[name] = (page, f"Exercise {prefix}{i}", name)
        for target, rest in re.findall(
            r"^\(([\w:.-]+)\)=\s*\n(?=(?:\([^\n]*\)=\s*\n)*([^\n]*))", chapter.text, re.MULTILINE
        ):
            found[target] = (page, re.sub(r"^#+\s*", "", rest).strip(), target.replace("_", "-"))
    return found


def figure_names(chapter: Chapter) -> list[str]:
    """The names of a chapter's captioned figures, in order."""
    figures = [cell.metadata.get("mystnb", {}).get("figure", {}) for cell in chapter.cells]
    return [f["name"] for f in figures if "caption" in f]


def expand_macros(tex: str) -> str:
    """KaTeX knows the book's macros; Colab's renderer does not."""
    for name, meaning in config()["sphinx"]["config"]["book_macros"].items():
        tex = re.sub(re.escape(name) + r"(?![A-Za-z])", meaning.replace("\\", r"\\"), tex)
    return tex


def plain_number(literal: str) -> str:
    """A claimed number in plain text.

    >>> plain_number("4.07e-17")
    '4.07 × 10⁻¹⁷'
    """
    mantissa, power, exponent = literal.strip().partition("e")
    shown = mantissa.replace("-", "−")
    return f"{shown} × 10{str(int(exponent)).translate(SUPERSCRIPT)}" if power else shown


def citation(key: str, parenthesised: bool) -> str:
    """'Glorot and Bengio (2010)', or with the year inside the same parentheses."""
    entry = bibliography()[key.strip()]
    people = [" ".join(p.prelast_names + p.last_names) for p in entry.persons["author"]]
    names = (
        people[0] if len(people) == 1 else f"{people[0]} and {people[1]}" if len(people) == 2 else f"{people[0]} et al."
    )
    return f"{names}, {entry.fields['year']}" if parenthesised else f"{names} ({entry.fields['year']})"


def reference_entry(key: str) -> str:
    """One line of a chapter's list of references."""
    entry = bibliography()[key]
    people = [
        " ".join([*(n[0] + "." for n in p.first_names), *p.prelast_names, *p.last_names])
        for p in entry.persons["author"]
    ]
    where = entry.fields.get("journal") or entry.fields.get("booktitle") or entry.fields.get("publisher", "")
    clean = re.sub(r"[{}]", "", f"{', '.join(people)}. *{entry.fields['title']}*. {where}, {entry.fields['year']}.")
    return f"- {clean}" + (f" <{entry.fields['url']}>" if "url" in entry.fields else "")


def role(chapter: Chapter, name: str, body: str) -> str:
    """One MyST role as plain Markdown."""
    text, _, target = body.partition("<")
    text, target = text.strip(), target.rstrip(">").strip()
    if name == "num":
        return plain_number(text)
    if name in {"cite", "cite:p", "cite:t"}:
        parenthesised = name != "cite:t"
        shown = "; ".join(citation(key, parenthesised) for key in body.split(","))
        return f"({shown})" if parenthesised else shown
    if name in {"eq", "ref", "numref"}:
        label = target or text
        if label not in labels():
            raise GeneratorError(f"{chapter.name}: {{{name}}}`{body}` refers to {label}, which is nowhere in the book")
        page, shown, anchor = labels()[label]
        return (
            shown
            if name == "eq" and page == chapter.path
            else f"[{text if target else shown}]({page_url(page, anchor)})"
        )
    if name == "doc":
        page = (chapter.path.parent / (target or text)).resolve().with_suffix(".md")
        return f"[{text if target else read_chapter(page).title}]({page_url(page)})"
    if name in {"py:func", "func", "py:mod", "mod"}:
        return f"`{(target or text).removeprefix('~')}`"
    if name == "sup":
        return f"<sup>{body}</sup>"
    raise GeneratorError(f"{chapter.name}: role {{{name}}} has no plain-Markdown form here")


def link(chapter: Chapter, text: str, url: str) -> str:
    """A Markdown link whose target stands in the book, pointed at the published page."""
    if re.match(r"^[a-z]+:", url):
        return f"[{text}]({url})"
    path, _, anchor = url.partition("#")
    if not path:
        if anchor not in labels():
            raise GeneratorError(f"{chapter.name}: [{text}]({url}) refers to {anchor}, which is nowhere in the book")
        page, shown, anchor = labels()[anchor]
        return f"[{text or shown}]({page_url(page, anchor)})"
    page = (chapter.path.parent / path).resolve()
    return f"[{text or read_chapter(page).title}]({page_url(page, anchor)})"


def inline(chapter: Chapter, line: str) -> str:
    """Roles, links and macros of one line; code spans are left alone."""
    line = ROLE.sub(lambda m: role(chapter, m["name"], m["body"]), line)
    parts = re.split(r"(`[^`]*`)", line)
    parts[::2] = [expand_macros(LINK.sub(lambda m: link(chapter, m["text"], m["url"]), p)) for p in parts[::2]]
    return "".join(parts)


def directive(chapter: Chapter, name: str, title: str, body: list[str]) -> list[str]:
    """One MyST directive as plain Markdown: a quotation, or a fold."""
    options = {}
    while body and (match := re.match(r"^:([\w-]+):\s*(.*)$", body[0])):
        options[match[1]] = match[2]
        body = body[1:]
    if name == "code-cell":
        raise GeneratorError(f"{chapter.name}: a code cell inside a directive: notebooks cannot hold it")
    inner = markdown(chapter, body)
    if name == "dropdown":
        return ["<details>", f"<summary>{inline(chapter, title)}</summary>", "", *inner, "", "</details>", ""]
    if name == "live-figure":
        url = page_url(chapter.path, options.get("name", "live"))
        return [f"**[Live figure]({url})**, on the web page, with sliders. {' '.join(inner).strip()}", ""]
    if name == "exercise":
        shown = labels()[options["label"]][1]
        return [f"**{shown}{': ' + inline(chapter, title) if title else ''}**", "", *inner, ""]
    if name in {"admonition", *TITLED}:
        heading = inline(chapter, title if name == "admonition" else TITLED[name])
        return ["> " + line if line else ">" for line in [f"**{heading}**", "", *inner]] + [""]
    raise GeneratorError(f"{chapter.name}: directive {{{name}}} has no plain-Markdown form here")


def markdown(chapter: Chapter, lines: list[str]) -> list[str]:
    """MyST lines as plain Markdown lines."""
    out: list[str] = []
    i = 0
    while i < len(lines):
        line = lines[i]
        opened = OPEN.match(line)
        if opened or re.match(r"^(`{3,}|~{3,})", line):
            fence = opened["fence"] if opened else re.match(r"^(`{3,}|~{3,})", line)[1]  # type: ignore[index]
            end = next(
                (j for j in range(i + 1, len(lines)) if re.match(rf"^{fence[0]}{{{len(fence)},}}\s*$", lines[j])), None
            )
            if end is None:
                raise GeneratorError(f"{chapter.name}: '{line}' is not closed in the same cell")
            out += (
                directive(chapter, opened["name"], opened["title"], lines[i + 1 : end])
                if opened
                else lines[i : end + 1]
            )
            i = end
        elif line.strip() == "$$":
            end = next(j for j in range(i + 1, len(lines)) if lines[j].strip().startswith("$$"))
            label = re.match(r"^\s*\$\$\s*\(([^)]+)\)", lines[end])
            number = [rf"\tag{{{labels()[label[1]][1].strip('()')}}}"] if label else []
            out += ["$$", *(expand_macros(tex) for tex in lines[i + 1 : end]), *number, "$$"]
            i = end
        elif not TARGET.match(line):
            out.append(inline(chapter, line))
        i += 1
    return out


def convert(page: Path) -> str:
    """The text of the notebook that belongs to a page."""
    chapter = read_chapter(page)
    cells: list[dict[str, Any]] = []
    seen: dict[str, int] = {}

    def add(kind: str, source: str, metadata: dict[str, Any] | None = None) -> None:
        key = f"{kind}\n{source}"
        seen[key] = seen.get(key, 0) + 1
        name = hashlib.sha256(f"{key}\n{seen[key]}".encode()).hexdigest()[:12]
        cell: dict[str, Any] = {
            "cell_type": kind,
            "id": name,
            "metadata": metadata or {},
            "source": source.splitlines(keepends=True),
        }
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        cells.append(cell)

    number = numbered_chapters().get(page)
    add(
        "markdown",
        f"# {f'{number} ' if number else ''}{chapter.title}\n\n"
        f"[Read this page on the web]({page_url(page)}), with its figures and the pages around it. "
        "On Colab, *File → Save a copy in Drive* keeps your changes. Run the next cell first.",
    )
    add("code", setup_code(), FOLDED)
    first = True
    for cell in chapter.cells:
        if cell.kind == "code":
            kept: dict[str, Any] = {
                name: cell.metadata[name] for name in ("tags", "checks", "proves") if name in cell.metadata
            }
            add("code", cell.source, kept)
            figure = cell.metadata.get("mystnb", {}).get("figure", {})
            if "caption" in figure:
                caption = " ".join(markdown(chapter, figure["caption"].strip().splitlines()))
                add("markdown", f"**{labels()[figure['name']][1]}.** {caption}")
            continue
        text = re.sub(r"^#\s.*\n?", "", cell.source, count=1, flags=re.MULTILINE) if first else cell.source
        first = False
        body = "\n".join(markdown(chapter, text.splitlines())).strip()
        body = re.sub(r"\n{3,}", "\n\n", body)
        if body:
            add("markdown", body)
    if code := claims_code(chapter):
        add(
            "markdown",
            f"## {CLAIMS_TITLE}\n\nThe prose states numbers. This cell compares each with what the cells above computed.",
        )
        add("code", f"# @title {CLAIMS_TITLE}, compared with what was computed\n{code}", FOLDED)
    if keys := sorted(
        {k.strip() for m in re.finditer(r"\{cite(?::[pt])?\}`([^`]+)`", chapter.text) for k in m[1].split(",")}
    ):
        add("markdown", "## References\n\n" + "\n".join(reference_entry(key) for key in keys))
    notebook = {
        "cells": cells,
        "metadata": {
            "colab": {"name": f"{page.stem}.ipynb", "provenance": []},
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def difference(page: Path) -> str | None:
    """What first differs between a page's notebook on disk and what its text gives; None where nothing does."""
    path = page.with_suffix(".ipynb")
    name = display_path(path)
    if not path.exists():
        return f"{name} is missing"
    wanted, there = convert(page), path.read_text("utf8")
    if wanted == there:
        return None
    try:
        old = json.loads(there)["cells"]
    except (json.JSONDecodeError, KeyError) as error:
        return f"{name} is no notebook: {error}"
    for i, (a, b) in enumerate(zip(json.loads(wanted)["cells"], old, strict=False), 1):
        if a != b:
            lines = next(
                (f": expected {x!r}, found {y!r}" for x, y in zip(a["source"], b["source"], strict=False) if x != y), ""
            )
            return f"{name}: cell {i} differs from the chapter{lines}"
    return f"{name}: differs from the chapter in its number of cells or its metadata"


def write_all() -> None:
    """Write every notebook."""
    for page in notebook_pages():
        page.with_suffix(".ipynb").write_text(convert(page), "utf8")
        print(f"wrote {display_path(page.with_suffix('.ipynb'))}")


def main(arguments: list[str]) -> int:
    """Write every notebook, or with ``--check`` compare them."""
    pages, stale = notebook_pages(), []
    if "--check" in arguments:
        stale = [text for page in pages if (text := difference(page))]
        print("\n".join(stale) + "\nRun `make notebooks`." if stale else f"{len(pages)} notebooks match their chapters")
        return bool(stale)
    write_all()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
