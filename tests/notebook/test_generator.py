"""The generated notebooks: what stands on disk is what the chapters give, and Colab can show it."""

from __future__ import annotations

import json
import re

import nbformat
import pytest
from bookext.notebook import generator as notebooks
from bookext.notebook.saved import laid_out
from bookext.read.book import ROOT, config, notebook_pages
from bookext.read.chapter import parse_chapter

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
        ("They vanish {claim}`sig-a`.\nThey do. {claim}`sig-b`\n{claim}`sig-c`\nSo?", "They vanish.\nThey do.\nSo?"),
        ("$\\Var[x]$ and `\\Var`", "$\\operatorname{Var}[x]$ and `\\Var`"),
        ("{cite:t}`pascanu2013`", "Pascanu et al. (2013)"),
        ("{cite:p}`d2l,newman1986`", "(Zhang et al., 2023; Newman, 1986)"),
        ("{cite:p}`he2016deep,he2016identity`", "(He et al., 2016a; He et al., 2016b)"),
        ("(a-target)=", ""),
        ("(a-target)=\n{.fold}\n## More", "## More"),
        ("```python\n{num}`1 <x>`\n```", "```python\n{num}`1 <x>`\n```"),
        ("{py:func}`labs.jacobians.chained_jacobian`", "`labs.jacobians.chained_jacobian`"),
    ],
)
def test_myst_becomes_markdown(myst, plain):
    assert convert_lines(myst) == plain


def test_a_reference_says_where_it_can_be_read():
    assert notebooks.reference_entry("lecun1998").startswith(
        "- Y. LeCun, L. Bottou, G. Orr, K. Müller. *Efficient BackProp*."
    )
    assert notebooks.reference_entry("bengio1994").endswith(", 1994. <https://doi.org/10.1109/72.279181>")
    assert notebooks.reference_entry("lewkowycz2020").endswith("<https://arxiv.org/abs/2003.02218>")
    assert "Technische Universität München, 1991." in notebooks.reference_entry("hochreiter1991")


def test_a_cell_that_guards_is_folded_and_runs(tmp_path, monkeypatch):
    guard = "```{code-cell} ipython3\n:tags: [guard]\n\nassert 1 + 1 == 2\n```\n"
    page = tmp_path / "page.md"
    front = "---" + PAGES[1].read_text("utf8").split("---")[1] + "---\n"
    page.write_text(f"{front}\n# Page\n\n{guard}\n" + guard.replace(":tags: [guard]\n\n", ""), "utf8")
    assert laid_out(page.read_text("utf8"), "page.md") == page.read_text("utf8")
    monkeypatch.setattr(notebooks, "page_url", lambda page, anchor="": "")
    guarding, plain = json.loads(notebooks.convert(page))["cells"][2:4]
    assert "".join(guarding["source"]) == "# @title Checks\nassert 1 + 1 == 2"
    assert guarding["metadata"] == {"tags": ["guard"]} | notebooks.FOLDED and plain["metadata"] == {}


def test_a_label_shows_its_heading_below_other_labels_and_attributes():
    folded = [
        label for label in ("lyapunov", "sec-xavier-tanh-gain") if notebooks.labels()[label][1].startswith("Going")
    ]
    assert folded == ["lyapunov", "sec-xavier-tanh-gain"]
    assert notebooks.labels()["sec-jac-hundred-factors"][1] == notebooks.labels()["L4"][1] != ""


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
