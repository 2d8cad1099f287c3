"""The generated notebooks: what stands on disk is what the chapters give, and Colab can show it."""

from __future__ import annotations

import json
import re

import nbformat
import pytest
from bookext import notebooks
from bookext.source import ROOT, config, notebook_pages, parse_chapter

PAGES = notebook_pages()
MACROS = "|".join(name.removeprefix("\\") for name in config()["sphinx"]["config"]["book_macros"])
RAW_MYST = {  # what Colab and Jupyter would show as it stands
    "a role": r"\{[\w:+.-]+\}`",
    "a directive": r"^[\s>]*(:{3,}|[`~]{3,}\{)",
    "an option of a directive": r"^[\s>]*:[a-z][\w-]*:(\s|$)",
    "a target": r"^[\s>]*\([\w:.-]+\)=",
    "a labelled equation": r"\$\$[ \t]*\([\w:.-]+\)|\\label\{|\\eqref\{",
    "a comment or a break": r"^(%|\+\+\+)",
    "attributes": r"(?<=[\])`])\{[.#][\w-]|^\{[.#][\w-]",
    "a footnote": r"\[\^[\w-]+\]",
    "a macro of the book": rf"\\({MACROS})(?![A-Za-z])",
    "a link from page to page": r"\]\((?!https?://|mailto:)[^)\s]*\)",
    "a link over two lines": r"\]\([^)\s]*$",
}
CODE = re.compile(r"^(`{3,}|~{3,})(?!\{).*?^\1|(?<!\})(`{1,2})(?!`).+?(?<!`)\2(?!`)", re.DOTALL | re.MULTILINE)


def raw_myst(text: str) -> list[str]:
    """The kinds of MyST left in the text of a Markdown cell, its code passed over."""
    text = CODE.sub("code", text)
    return [name for name, pattern in RAW_MYST.items() if re.search(pattern, text, re.MULTILINE)]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_notebook_matches_its_chapter(page):
    assert notebooks.difference(page) is None


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_notebook_is_plain_and_stable(page):
    first, second = notebooks.convert(page), notebooks.convert(page)
    assert first == second
    notebook = nbformat.reads(first, as_version=4)
    nbformat.validate(notebook)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert notebook.cells[1].cell_type == "code" and 'find_spec("labs")' in notebook.cells[1].source
    for cell in notebook.cells:
        assert not cell.get("outputs")
        if cell.cell_type == "markdown":
            assert raw_myst(cell.source) == [], cell.source
    top = notebook.cells[0].source
    assert notebooks.page_url(page) in top and "Save a copy" in top


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_code_fits_the_page(page):
    """A line that must be scrolled sideways is not read on a phone."""
    long = [
        f"{chapter.name}:{cell.line + i}: {len(line)} characters"
        for chapter in [parse_chapter(page.read_text("utf8"), page)]
        for cell in chapter.cells
        if cell.kind == "code"
        for i, line in enumerate(cell.source.splitlines())
        if len(line) > (140 if "homework" in page.parts else 85)
    ]
    assert long == []


def test_a_stale_notebook_is_named(tmp_path, monkeypatch):
    page = PAGES[0]
    copy = tmp_path / page.name
    wanted = notebooks.convert(page)
    monkeypatch.setattr(notebooks, "convert", lambda _: wanted)
    assert notebooks.difference(copy) == f"{copy.with_suffix('.ipynb').as_posix()} is missing"
    stale = json.loads(wanted)
    stale["cells"][5]["source"][0] = "something else\n"
    copy.with_suffix(".ipynb").write_text(json.dumps(stale))
    message = notebooks.difference(copy)
    assert message is not None and "cell 6 differs" in message and "something else" in message
    del stale["cells"][5:]
    copy.with_suffix(".ipynb").write_text(json.dumps(stale))
    assert "number of cells" in (notebooks.difference(copy) or "")
    copy.with_suffix(".ipynb").write_text("{")
    assert "is no notebook" in (notebooks.difference(copy) or "")


def convert_lines(text: str) -> str:
    chapter = parse_chapter("# Page\n\n" + text, ROOT / "book" / "planted.md")
    return "\n".join(notebooks.markdown(chapter, text.splitlines())).strip()


@pytest.mark.parametrize(
    "myst, plain",
    [
        ("It is {num}`4.07e-17 <x>`.", "It is 4.07 × 10⁻¹⁷."),
        (":::{note}\nHello.\n:::", "> **Note**\n>\n> Hello."),
        (":::{dropdown} Hint\nTry.\n:::", "<details>\n<summary>Hint</summary>\n\nTry.\n\n</details>"),
        ("$\\Var[x]$ and `\\Var`", "$\\operatorname{Var}[x]$ and `\\Var`"),
        ("{cite:t}`pascanu2013`", "Pascanu et al. (2013)"),
        ("{cite:p}`d2l,newman1986`", "(Zhang et al., 2023; Newman, 1986)"),
        ("(a-target)=", ""),
        ("```python\n{num}`1 <x>`\n```", "```python\n{num}`1 <x>`\n```"),
        ("{py:func}`labs.jacobians.chained_jacobian`", "`labs.jacobians.chained_jacobian`"),
    ],
)
def test_myst_becomes_markdown(myst, plain):
    assert convert_lines(myst) == plain


@pytest.mark.parametrize(
    "myst, message",
    [
        ("{unknown}`x`", "role {unknown}"),
        (":::{card} x\n:::", "directive {card}"),
        (":::{note}\nnever closed", "not closed"),
        ("{eq}`eq-nowhere`", "nowhere in the book"),
        ("[x](#nowhere)", "nowhere in the book"),
    ],
)
def test_what_has_no_plain_form_is_refused(myst, message):
    with pytest.raises(notebooks.GeneratorError, match=re.escape(message)):
        convert_lines(myst)


@pytest.mark.parametrize(
    "kind, text",
    [
        ("a role", "by {eq}`eq-x`"),
        ("a role", "put {labs-wheel}`the wheel` there"),
        ("a role", "see {ref}`words that go on\nin the next line <x>`"),
        ("a directive", ":::{note}\nx\n:::"),
        ("a directive", "1. one\n   ```{hint}\n   x\n   ```"),
        ("a directive", "> ::::{exercise} x"),
        ("an option of a directive", ":label: ex-x"),
        ("a target", "(a-place)="),
        ("a labelled equation", "$$\nx\n$$ (eq-x)"),
        ("a labelled equation", "$$\nx \\label{y}\n$$"),
        ("a comment or a break", "% not for readers"),
        ("attributes", "[x](https://book.invalid){.wide}"),
        ("a footnote", "as said[^1]"),
        ("a macro of the book", "$\\Var[x]$"),
        ("a link from page to page", "[x](02-explosion-relu.md)"),
        ("a link from page to page", "[x](#a-place)"),
        ("a link over two lines", "[x](https://\nbook.invalid)"),
    ],
)
def test_planted_myst_is_found(kind, text):
    assert kind in raw_myst(f"Before.\n\n{text}\n\nAfter.")


def test_code_may_hold_anything():
    assert raw_myst("`{num}` and ``{eq}`x` ``\n\n```text\n:::{note}\n(x)=\n```\n") == []
