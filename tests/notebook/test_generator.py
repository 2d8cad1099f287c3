"""The generated notebooks: what stands on disk is what the chapters give, and Colab can show it."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import nbformat
import pytest
from bookext.check.twins import bare_code
from bookext.notebook import generator as notebooks
from bookext.notebook.saved import laid_out
from bookext.read.blocks import CHINESE, language_of, notebook_texts, page_of
from bookext.read.book import ROOT, config, display_path
from bookext.read.chapter import parse_chapter
from bookext.read.labels import labels
from bookext.read.plaintext import HAN
from markdown_it import MarkdownIt

PAGES = notebook_texts()
TRANSLATED = [text for text in PAGES if language_of(text) == "zh"]
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


@pytest.mark.parametrize("page", PAGES, ids=display_path)
def test_notebook_matches_its_chapter(page):
    assert notebooks.difference(page) is None


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=display_path)
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
    chinese = page in TRANSLATED
    assert f"]({notebooks.page_url(page_of(page), '', 'zh' if chinese else 'en')})" in top
    assert ("保存一份副本" if chinese else "Save a copy") in top


def computed(source: str) -> str:
    """What a cell computes. The rows of the last one begin with words, names of sections, and are in the order of the text."""
    tree = ast.parse(source)
    for node in ast.walk(tree) if source.startswith("# @title") else ():
        if isinstance(node, ast.List) and all(isinstance(row, ast.Tuple) and len(row.elts) == 6 for row in node.elts):
            rows = [ast.Tuple(row.elts[1:]) for row in node.elts if isinstance(row, ast.Tuple)]
            node.elts = sorted(rows, key=ast.dump)
    return bare_code(ast.unparse(tree))


SPEAKS = re.compile(r'^os\.environ\["LABS_LANGUAGE"\] = "zh" +# .*\n', re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("page", TRANSLATED, ids=display_path)
def test_the_chinese_notebook_has_the_same_code_and_chinese_words(page):
    ours, theirs = ([c for c in json.loads(notebooks.convert(p))["cells"]] for p in (page_of(page), page))
    assert [(c["cell_type"], c["metadata"]) for c in ours] == [(c["cell_type"], c["metadata"]) for c in theirs]
    code = [["".join(c["source"]) for c in cells if c["cell_type"] == "code"] for cells in (ours, theirs)]
    # The set-up speaks, too; that it does the same has a test of its own, beside those that run it.
    assert len(SPEAKS.findall(code[1][0])) == 1 and not SPEAKS.search(code[0][0])
    assert [computed(source) for source in code[0][1:]] == [computed(source) for source in code[1][1:]]
    assert len(ours) > 10 and code[0] != code[1]
    title = re.compile(rf"^# @title (?!.*{HAN})", re.MULTILINE)
    assert [source for source in code[1] if title.match(source)] == []
    text = "\n\n".join("".join(c["source"]) for c in theirs if c["cell_type"] == "markdown")
    said = re.findall(r"\b(?:Figure|Exercise|Hint|Solution|References|Live figure|Explorable figure)\b", text)
    assert said == [] and not re.search(r"\d %|[。，；：？！]\n(?![\n>|#-]|\d+\. )", text)
    formula = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.DOTALL)
    words = [
        t.content
        for line in MarkdownIt().parse(formula.sub("x", text))
        for t in line.children or ()
        if t.type == "text"
    ]
    assert len(words) > 20 and [word for word in words if "*" in word] == []  # an emphasis that Markdown does not see
    site = config()["html"]["baseurl"].rstrip("/")
    assert set(re.findall(rf"\]\({site}/(.*?/)", text)) == {"zh/"}


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


def convert_lines(text: str, folder: Path = ROOT / "book") -> str:
    chapter = parse_chapter("# Page\n\n" + text, folder / "planted.md")
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


def test_labels_lead_to_the_same_places_in_both_languages():
    english, chinese = labels(), labels("zh")
    assert {k: (page, anchor) for k, (page, _, anchor) in english.items()} == {
        k: (page, anchor) for k, (page, _, anchor) in chinese.items()
    }
    assert (english["fig-sig-curves"][1], chinese["fig-sig-curves"][1]) == ("Figure 3.1", "图3.1")


@pytest.mark.parametrize(
    "myst, plain",
    [
        ("一句。\n两句\n三句", "一句。两句三句"),
        ("- 一条，\n  接着说\n- 又一条", "- 一条，接着说\n- 又一条"),
        ("See\nthere\n这里", "See\nthere这里"),
        ("$$\nx\n$$\n其中", "$$\nx\n$$\n其中"),
        ("```text\n一\n二\n```\n三", "```text\n一\n二\n```\n三"),
        ("| 甲 | 乙 |\n|---|---|\n| 丙 | 丁 |", "| 甲 | 乙 |\n|---|---|\n| 丙 | 丁 |"),
        ("有{num}`96 % <x>`，`5 % 3`是2", "有96%，`5 % 3`是2"),
        ("记作$q$ {cite:p}`d2l`。", "记作$q$（Zhang et al., 2023）。"),
        (":::{note}\n甲。\n乙。\n:::", "> **注意**\n>\n> 甲。乙。"),
        ("{ref}`fig-sig-curves`", "[图3.1](…/zh/book/03-vanishing-sigmoid.html#fig-sig-curves)"),
        ("{ref}`ex-sig-depth`", "[练习3.1](…/zh/book/03-vanishing-sigmoid.html#ex-sig-depth)"),
        ("{doc}`notation`和[它](notation.md)", "[符号表](…/zh/book/notation.html)和[它](…/zh/book/notation.html)"),
        ("{eq}`eq-sig-slope`", "[式(3.2)](…/zh/book/03-vanishing-sigmoid.html#equation-eq-sig-slope)"),
        ("{doc}`zh/glossary`", "[Glossary 术语表](…/zh/book/zh/glossary.html)"),
    ],
)
def test_chinese_myst_becomes_markdown(myst, plain):
    """No blank stands between Chinese sentences, and links lead to the Chinese pages."""
    assert convert_lines(myst, CHINESE).replace(config()["html"]["baseurl"].rstrip("/"), "…") == plain


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
    monkeypatch.setattr(notebooks, "page_url", lambda page, anchor="", language="en": "")
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
