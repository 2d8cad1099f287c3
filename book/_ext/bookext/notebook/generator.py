"""The one-way generator ``chapter.md`` → ``chapter.ipynb``: what Colab opens and nbval runs.

A Chinese text gives a Chinese notebook beside it: the same code, and what is said around it in Chinese.

Colab shows Markdown, not MyST, so directives, roles, cross-references, citations and equation labels become plain Markdown
here. Output is a function of the text alone: no outputs, no timestamps, cell ids made from the cells' content. jupytext's
``--to ipynb`` makes random ids and leaves the MyST in.

    python -m bookext.notebook.generator [pages]            write their notebooks, or all
    python -m bookext.notebook.generator --check [pages]    compare, and name the first difference
"""

import hashlib
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bookext.read.blocks import language_of, notebook_texts, page_of, text_of
from bookext.read.book import config, display_path, numbered_chapters, page_url
from bookext.read.chapter import ATTRIBUTES, TARGET, Chapter, read_chapter
from bookext.read.claims import CLAIM
from bookext.read.labels import bibliography, citation, cited, from_latex, labels, surname
from bookext.read.numbers import NUMBERS_TITLE, numbers_code
from bookext.read.plaintext import BREAK, BROKEN, plain_number
from bookext.read.words import say, say_comments

from .setupcell import setup_code

DIRECTIVE = r"\{(?P<name>[\w:-]+)\}\s*(?P<title>.*)$"
OPEN = re.compile(rf"^(?P<fence>`{{3,}}|~{{3,}}|:{{3,}}(?=\{{[\w:-]+\}}))(?:{DIRECTIVE})?")
ROLE = re.compile(r"\{(?P<name>[\w:-]+)\}`(?P<body>[^`]+)`")
APART = re.compile(r"\s*(?:[>|#<]|$)|.*\\$")  # a line that no other continues
BEGINS = re.compile(r"\s*(?:[>|#<]|[-*+]\s|\d+[.)]\s|$)")  # or that continues no other
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<url>[^)\s]+)\)")
TITLED = {name: name.capitalize() for name in ("note", "tip", "warning", "important", "hint")} | {"seealso": "See also"}
PUBLISHED = ("journal", "booktitle", "publisher", "school", "institution")
ADDRESSES = {"url": "", "doi": "https://doi.org/", "eprint": "https://arxiv.org/abs/"}
# A cell of machinery shows its title alone, on Colab and in JupyterLab; a click unfolds it.
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}


class GeneratorError(ValueError):
    """MyST that has no plain-Markdown form here; names the page and the construct."""


def expand_macros(tex: str) -> str:
    """KaTeX knows the book's macros; Colab's renderer does not."""
    for name, meaning in config()["sphinx"]["config"]["book_macros"].items():
        tex = re.sub(re.escape(name) + r"(?![A-Za-z])", meaning.replace("\\", r"\\"), tex)
    return tex


def reference_entry(key: str) -> str:
    """One line of a chapter's list of references."""
    entry = bibliography()[key]
    people = [" ".join([*(n[0] + "." for n in p.first_names), surname(p)]) for p in entry.persons["author"]]
    where = next((from_latex(entry.fields[f]) for f in PUBLISHED if f in entry.fields), "")
    said = ". ".join(part for part in (", ".join(people), f"*{from_latex(entry.fields['title'])}*", where) if part)
    address = next((site + entry.fields[f] for f, site in ADDRESSES.items() if f in entry.fields), "")
    return f"- {said}, {entry.fields['year']}." + (f" <{address}>" if address else "")


def link_to(chapter: Chapter, text: str, page: Path, anchor: str = "") -> str:
    """A link to a published page, in the chapter's language."""
    return f"[{text}]({page_url(page, anchor, language_of(chapter.path))})"


def title_of(chapter: Chapter, page: Path) -> str:
    """A page's title in the chapter's language."""
    return read_chapter(text_of(page, language_of(chapter.path))).title


def role(chapter: Chapter, name: str, body: str) -> str:
    """One MyST role as plain Markdown."""
    text, _, target = body.partition("<")
    text, target = text.strip(), target.rstrip(">").strip()
    language, here = language_of(chapter.path), page_of(chapter.path)
    if name == "num":
        return plain_number(text)
    if name in {"cite", "cite:p", "cite:t"}:
        parenthesised = name != "cite:t"
        shown = "; ".join(citation(key, parenthesised) for key in body.split(","))
        return say(language, "({citation})").format(citation=shown) if parenthesised else shown
    if name in {"eq", "ref", "numref"}:
        label = target or text
        if label not in labels(language):
            raise GeneratorError(f"{chapter.name}: {{{name}}}`{body}` refers to {label}, which is nowhere in the book")
        page, shown, anchor = labels(language)[label]
        if name == "eq":
            shown = say(language, "({number})").format(number=shown[1:-1])
        if name == "eq" and page == here:
            return shown
        return link_to(chapter, text if target else shown, page, anchor)
    if name == "doc":
        page = (here.parent / (target or text)).resolve().with_suffix(".md")
        return link_to(chapter, text if target else title_of(chapter, page), page)
    if name in {"py:func", "func", "py:mod", "mod"}:
        return f"`{(target or text).removeprefix('~')}`"
    raise GeneratorError(f"{chapter.name}: role {{{name}}} has no plain-Markdown form here")


def link(chapter: Chapter, text: str, url: str) -> str:
    """A Markdown link whose target stands in the book, pointed at the published page."""
    if re.match(r"^[a-z]+:", url):
        return f"[{text}]({url})"
    path, _, anchor = url.partition("#")
    if not path:
        named = labels(language_of(chapter.path))
        if anchor not in named:
            raise GeneratorError(f"{chapter.name}: [{text}]({url}) refers to {anchor}, which is nowhere in the book")
        page, shown, anchor = named[anchor]
        return link_to(chapter, text or shown, page, anchor)
    page = (page_of(chapter.path).parent / path).resolve()
    return link_to(chapter, text or title_of(chapter, page), page, anchor)


def inline(chapter: Chapter, line: str) -> str:
    """Roles, links and macros of one line; code spans are left alone, and the marks of claims left out."""
    line = CLAIM.sub("", line)
    line = ROLE.sub(lambda m: role(chapter, m["name"], m["body"]), line)
    parts = re.split(r"(`[^`]*`)", line)
    parts[::2] = [expand_macros(LINK.sub(lambda m: link(chapter, m["text"], m["url"]), p)) for p in parts[::2]]
    if language_of(chapter.path) == "zh":
        parts[::2] = [BROKEN.sub("", part) for part in parts[::2]]
    return "".join(parts)


def joined(before: str, line: str) -> str:
    """Two lines of Chinese text: as one where a reader would else see a blank between them.

    Before a letter, Markdown takes no ``*`` behind a full stop as the end of an emphasis: the full stop moves behind it.

    >>> joined("*一。*", "二")
    '*一*。二'
    """
    if APART.match(before) or BEGINS.match(line):
        return f"{before}\n{line}"
    before = re.sub(r"([。，；：？！”）]+)(\*+)$", r"\2\1", before)
    return re.sub(BREAK, "", f"{before}\n{line.lstrip()}")


def directive(chapter: Chapter, name: str, title: str, body: list[str]) -> list[str]:
    """One MyST directive as plain Markdown: a quotation, or a fold."""
    options = {}
    while body and (match := re.match(r"^:([\w-]+):\s*(.*)$", body[0])):
        options[match[1]] = match[2]
        body = body[1:]
    if name == "code-cell":
        raise GeneratorError(f"{chapter.name}: a code cell inside a directive: notebooks cannot hold it")
    inner, language, home = markdown(chapter, body), language_of(chapter.path), page_of(chapter.path)
    if name == "dropdown":
        return ["<details>", f"<summary>{inline(chapter, title)}</summary>", "", *inner, "", "</details>", ""]
    if name == "live-figure":
        figure = link_to(chapter, say(language, "Live figure"), home, options.get("name", "live"))
        there = say(language, "**{figure}**, on the web page, with sliders. {text}")
        return [there.format(figure=figure, text=" ".join(inner).strip()), ""]
    if name == "explorable":
        figure = link_to(chapter, say(language, "Explorable figure"), home, options.get("name", f"explore-{title}"))
        there = say(language, "**{figure}**, on the web page. {text}")
        return [there.format(figure=figure, text=" ".join(inner).strip()), ""]
    if name == "exercise":
        shown = labels(language)[options["label"]][1]
        if title:
            shown = say(language, "{name}: {title}").format(name=shown, title=inline(chapter, title))
        return [f"**{shown}**", "", *inner, ""]
    if name in {"admonition", *TITLED}:
        heading = inline(chapter, title if name == "admonition" else say(language, TITLED[name]))
        return ["> " + line if line else ">" for line in [f"**{heading}**", "", *inner]] + [""]
    raise GeneratorError(f"{chapter.name}: directive {{{name}}} has no plain-Markdown form here")


def markdown(chapter: Chapter, lines: list[str]) -> list[str]:
    """MyST lines as plain Markdown lines."""
    out: list[str] = []
    i, text, language = 0, -1, language_of(chapter.path)  # text: how long out was behind the last line of text
    while i < len(lines):
        line = lines[i]
        if opened := OPEN.match(line):
            closing = re.compile(rf"{opened['fence']}{line[0]}*\s*$")
            end = next((j for j in range(i + 1, len(lines)) if closing.match(lines[j])), None)
            if end is None:
                raise GeneratorError(f"{chapter.name}: '{line}' is not closed in the same cell")
            if opened["name"]:
                out += directive(chapter, opened["name"], opened["title"], lines[i + 1 : end])
            else:
                out += lines[i : end + 1]
            i = end
        elif line.strip() == "$$":
            end = next(j for j in range(i + 1, len(lines)) if lines[j].strip().startswith("$$"))
            label = re.match(r"^\s*\$\$\s*\(([^)]+)\)", lines[end])
            number = [rf"\tag{{{labels(language)[label[1]][1].strip('()')}}}"] if label else []
            out += ["$$", *(expand_macros(tex) for tex in lines[i + 1 : end]), *number, "$$"]
            i = end
        elif not TARGET.match(line) and not ATTRIBUTES.match(line) and not CLAIM.fullmatch(line.rstrip()):
            goes_on = language == "zh" and text == len(out)
            out += (joined(out.pop(), inline(chapter, line)) if goes_on else inline(chapter, line)).split("\n")
            text = len(out)
        i += 1
    return out


def convert(page: Path) -> str:
    """The text of the notebook that belongs to a page."""
    chapter, language, home = read_chapter(page), language_of(page), page_of(page)
    cells: list[dict[str, Any]] = []
    seen: dict[str, int] = {}

    def add(kind: str, source: str, metadata: dict[str, Any] | None = None) -> None:
        key = f"{kind}\n{source}"
        seen[key] = seen.get(key, 0) + 1
        name = hashlib.sha256(f"{key}\n{seen[key]}".encode()).hexdigest()[:12]
        cell: dict[str, Any] = {"cell_type": kind, "id": name, "metadata": metadata or {}}
        cell["source"] = source.splitlines(keepends=True)
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        cells.append(cell)

    number = numbered_chapters().get(home)
    title = f"# {number} {chapter.title}" if number else f"# {chapter.title}"
    top = say(
        language,
        "[Read this page on the web]({url}), with its figures and the pages around it. "
        "On Colab, *File → Save a copy in Drive* keeps your changes. Run the next cell first.",
    )
    add("markdown", f"{title}\n\n{top.format(url=page_url(home, language=language))}")
    add("code", say_comments(language, setup_code(language)), FOLDED)
    first = True
    for cell in chapter.cells:
        if cell.kind == "code":
            kept: dict[str, Any] = {
                name: cell.metadata[name] for name in ("tags", "checks", "proves") if name in cell.metadata
            }
            if "guard" in kept.get("tags", []):
                add("code", f"# @title {say(language, 'Checks')}\n{cell.source}", kept | FOLDED)
            else:
                add("code", cell.source, kept)
            figure = cell.metadata.get("mystnb", {}).get("figure", {})
            if "caption" in figure:
                caption = " ".join(markdown(chapter, figure["caption"].strip().splitlines()))
                named = say(language, "**{figure}.** {caption}")
                add("markdown", named.format(figure=labels(language)[figure["name"]][1], caption=caption))
            continue
        text = re.sub(r"^#\s.*\n?", "", cell.source, count=1, flags=re.MULTILINE) if first else cell.source
        first = False
        body = "\n".join(markdown(chapter, text.splitlines())).strip()
        body = re.sub(r"\n{3,}", "\n\n", body)
        if body:
            add("markdown", body)
    if code := numbers_code(chapter):
        what = say(language, "The prose states numbers. This cell compares each with what the cells above computed.")
        add("markdown", f"## {say(language, NUMBERS_TITLE)}\n\n{what}")
        code = f"# @title {NUMBERS_TITLE}, compared with what was computed\n{code}"
        add("code", say_comments(language, code), FOLDED)
    if keys := sorted(set(cited(chapter.text))):
        add("markdown", f"## {say(language, 'References')}\n\n" + "\n".join(reference_entry(key) for key in keys))
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
            pairs = zip(a["source"], b["source"], strict=False)
            line = next((f": expected {x!r}, found {y!r}" for x, y in pairs if x != y), "")
            return f"{name}: cell {i} differs from the chapter{line}"
    return f"{name}: differs from the chapter in its number of cells or its metadata"


def write(pages: Iterable[Path]) -> None:
    """Write the notebooks of pages."""
    for page in pages:
        page.with_suffix(".ipynb").write_text(convert(page), "utf8")
        print(f"wrote {display_path(page.with_suffix('.ipynb'))}")


def main(arguments: list[str]) -> int:
    """Write notebooks, or with ``--check`` compare them."""
    pages = [Path(a).resolve() for a in arguments if a != "--check"] or notebook_texts()
    if "--check" in arguments:
        stale = [text for page in pages if (text := difference(page))]
        print("\n".join(stale) + "\nRun `make notebooks`." if stale else f"{len(pages)} notebooks match their chapters")
        return bool(stale)
    write(pages)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
