"""Figures drawn in two languages by one execution: what is exchanged, what stays, and what stops the build."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from xml.etree import ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt
import nbformat
import pytest
from babel.messages.pofile import read_po
from bookext.read.blocks import translation_of
from bookext.read.book import executed_pages
from bookext.read.kept import cache_path
from bookext.read.words import CATALOGUE, FORMULA, VALUE, catalogue, drawn, patterns, words
from bookext.run import execute
from bookext.run.figures import KIND, SVG, in_chinese, parse_once
from bookext.run.letters import IDEOGRAPHS, faults, letters
from IPython.core.pylabtools import print_figure
from jupyter_cache import get_cache
from matplotlib.mathtext import MathTextParser
from support import ROOT

from labs import drawings, plots

TITLE = "---- The figures of the pages"
CELL = """
from labs import plots
plots.use_style()
figure, axes = plots.depth_axes("loss")
axes.plot([1, 2, 3], [1, 10, 100], label="layer 3")
axes.set_xticks([1, 3], ["Adam's" if {foreign} else "He", "sigmoid"])
axes.legend();
"""


def part_for_figures() -> list[str]:
    """The texts that the catalogue has for figures."""
    part = CATALOGUE.read_text("utf8").partition(TITLE)[2].partition("# ----")[0]
    return [str(message.id) for message in read_po(io.BytesIO(part.partition("\n")[2].encode())) if message.id]


def kinds(svg: str) -> list[str]:
    """What a drawing of matplotlib's is made of, its texts left out, and its ticks: for how many there is room hangs on the texts."""

    def inside(node: ElementTree.Element) -> Iterator[str]:
        for child in node:
            named = re.fullmatch(r"([a-z]+\w*?)_\d+", child.get("id", ""))
            if named and named[1] in ("xtick", "ytick", "text"):
                continue
            if named:
                yield named[1]
            yield from inside(child)

    return list(inside(ElementTree.fromstring(svg)))


def said(svg: str) -> list[str]:
    """The lines of text in one: a comment stands before the outlines of each."""
    return [text.strip() for text in re.findall(r"<!--(.*?)-->", svg, re.DOTALL)]


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("layer 24", "第24层"),
        ("beyond bf16 and fp32", "超出bf16和fp32"),
        ("product of factors 1.5 (log scale)", "因子1.5的乘积（对数刻度）"),
        (
            r"rms of $\delta^t$, relative to $\delta^d$ (log scale)",
            r"$\delta^t$的均方根，以$\delta^d$为单位（对数刻度）",
        ),
        ("unit $j$,\nlayer $t-1$", "单元$j$，\n层$t-1$"),
        (r"$\mathrm{Var}[h]$ (log)", r"$\mathrm{Var}[h]$（对数）"),
        ("h + W2 relu(W1 h)", "h + W2 relu(W1 h)"),  # names and letters alone
        (r"$\mathrm{Var}[h]$, 10$^{-3}$", r"$\mathrm{Var}[h]$, 10$^{-3}$"),
        ("", ""),
        ("layer of bricks", None),
        ("bricks (log scale)", None),
    ],
)
def test_a_text_is_said_by_its_pattern_and_its_values(english, chinese):
    assert drawn(english) == chinese


def test_formulas_and_values_of_a_text_are_those_of_its_chinese():
    """Else the second drawing of a figure would fail where the first does not, or say another number."""
    assert patterns()
    for english, chinese in catalogue().items():
        assert sorted(VALUE.findall(english)) == sorted(VALUE.findall(chinese)), english
        if "$" in english:
            assert sorted(FORMULA.findall(english)) == sorted(FORMULA.findall(chinese)), english


@pytest.fixture
def style():
    with mpl.rc_context():
        plots.use_style()
        yield
    plt.close("all")


@pytest.fixture
def parsing_once(monkeypatch):
    """``parse_once``, which ends with the test."""
    for name in ("__eq__", "__hash__"):
        monkeypatch.setattr(MathTextParser, name, getattr(MathTextParser, name))
    return parse_once


@pytest.mark.slow
@pytest.mark.parametrize("once", [False, True])
def test_the_second_drawing_differs_in_its_texts_and_leaves_the_first_as_it_was(style, parsing_once, once):
    if once:
        parsing_once()
    figure, axes = plots.depth_axes(r"rms of $h^d$")
    axes.plot([1, 2, 3], [1, 10, 100], label="layer 3")
    axes.set_xticks([1, 3], ["plain", "He"])
    axes.annotate("too late", (2, 10))
    axes.legend()
    first = print_figure(figure, "svg", metadata={"Date": None})
    second, texts = in_chinese(lambda: print_figure(figure, "svg", metadata={"Date": None}))
    assert (
        print_figure(figure, "svg", metadata={"Date": None}) == first
    )  # nor has mathtext kept letters of the other font
    assert texts == {
        "depth $d$": "深度$d$",
        "rms of $h^d$ (log scale)": "$h^d$的均方根（对数刻度）",
        "plain": "普通",
        "He": "He",
        "too late": "已经太晚",
        "layer 3": "第3层",
    }
    assert kinds(first) == kinds(second) and len(kinds(first)) > 5
    assert set(filter(None, texts.values())) <= set(said(second)) and set(texts) <= set(said(first))
    assert "FiguresSC" in second and "FiguresSC" not in first
    assert "DejaVuSans" not in second  # the numbers of the axes too


@pytest.mark.slow
def test_a_text_with_mathematics_is_parsed_once_and_drawn_the_same(style, parsing_once, monkeypatch):
    monkeypatch.setitem(mpl.rcParams, "svg.hashsalt", "one")

    def drawing():
        figure, axes = plots.depth_axes(r"rms of $h^d$")
        axes.plot([1, 2, 3], [1, 10, 100], label="$d$")
        axes.legend()
        before = MathTextParser._parse_cached.cache_info().misses
        svg = print_figure(figure, "svg", metadata={"Date": None})
        return svg, MathTextParser._parse_cached.cache_info().misses - before

    often, parses = drawing()
    parsing_once()
    once, fewer = drawing()
    assert once == often
    assert 0 < fewer <= parses / 2


def test_a_sheet_keeps_its_size_and_its_second_drawing_warns_of_nothing(style):
    """matplotlib leaves a figure without a layout with one when it has drawn it."""
    drawings.residual_block()
    first = print_figure(plt.gcf(), "svg")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second, _ = in_chinese(lambda: print_figure(plt.gcf(), "svg"))
    assert kinds(first) == kinds(second) and "残差块" in said(second)
    shapes = [re.findall(r'<path d="([^"]+)"', svg) for svg in (first, second)]
    assert len(shapes[0]) > 10
    letters_only = [re.sub(r"[-\d.\s]+", " ", "".join(some)) for some in shapes]
    assert letters_only[0] == letters_only[1]


def test_a_figure_without_words_is_drawn_once(style):
    drawings.jacobian_shapes()
    assert in_chinese(lambda: print_figure(plt.gcf(), "svg")) == (None, {})


def small(foreign: bool) -> nbformat.NotebookNode:
    cell = nbformat.v4.new_code_cell(
        CELL.format(foreign=foreign), metadata={"mystnb": {"figure": {"name": "fig-small"}}}
    )
    return nbformat.v4.new_notebook(cells=[cell], metadata={})


@pytest.mark.slow
def test_a_kernel_of_the_build_draws_both_and_a_text_without_chinese_stops_it(monkeypatch):
    page = executed_pages()[0]
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'book/_ext'}:{ROOT}")
    notebook = small(foreign=False)
    assert execute.execute(page, notebook, forked=False)[1] is None
    (output,) = notebook.cells[0].outputs
    assert "损失（对数刻度）" in output.metadata[KIND]["drawing"] and "loss (log scale)" in output.data[SVG]
    assert set(output.data) == {SVG, "text/plain"}

    notebook = small(foreign=True)
    _, failed = execute.execute(page, notebook, forked=False)
    name = page.relative_to(ROOT)
    assert failed == f'{name}: fig-small says "Adam\'s", which has no Chinese in book/zh/words.po'

    notebook = small(foreign=True)  # a page without a translation has the English figure
    assert execute.execute(page.with_name("untranslated.md"), notebook, forked=False)[1] is None
    assert KIND not in notebook.cells[0].outputs[0].metadata


def test_a_character_that_the_font_lacks_stops_the_build():
    notebook = small(foreign=False)
    shown = {KIND: {"texts": {"layer 3": "第3层", "loss": "损龘失", "He": "He"}}}
    notebook.cells[0].outputs = [nbformat.v4.new_output("display_data", {SVG: "<svg/>"}, metadata=shown)]
    (line,) = faults(notebook, "book/small.md")
    assert line.startswith(
        "book/small.md: fig-small says '损龘失', and book/zh/font has no 龘: python -m bookext.run.letters"
    )


def test_outputs_hold_while_their_figures_say_the_same():
    """A page is executed anew for a text of its own figures, not for another of the catalogue."""
    page, texts = executed_pages()[0], {"layer 3": "第3层", "He": "He"}
    record = SimpleNamespace(data={"drawn_with": execute.drawn_with(), "figures": texts})
    assert execute.holds(page, record)
    record.data["figures"] = texts | {"layer 3": "层3"}
    assert not execute.holds(page, record) and execute.holds(page.with_name("untranslated.md"), record)
    record.data |= {"figures": texts, "drawn_with": "otherwise"}
    assert not execute.holds(page, record)
    record.data = {}  # drawn before there was Chinese
    assert not execute.holds(page, record)


def test_the_font_has_the_characters_of_the_figures():
    """Those of the catalogue's part for figures, before a chapter is executed for them."""
    wanted = {c for text in part_for_figures() for c in catalogue()[text] if ord(c) >= IDEOGRAPHS}
    assert len(wanted) > 100 and wanted <= letters(), wanted - letters()


@pytest.mark.site
def test_every_text_of_every_figure_is_chinese():
    """As the chapters were executed, by the lines that stand in the drawings; and the catalogue has no text for figures besides."""
    english, chinese = get_cache(cache_path()), get_cache(cache_path("zh"))
    seen, figures = set(), 0
    for page in executed_pages():
        if not translation_of(page).exists():
            continue
        record = execute.record_of(english, page)
        assert None not in record.data["figures"].values()
        seen |= set(record.data["figures"])
        twin = execute.record_of(chinese, translation_of(page))
        cells = [cache.get_cache_bundle(r.pk).nb.cells for cache, r in ((english, record), (chinese, twin))]
        for ours, theirs in zip(*cells, strict=True):
            for first, second in zip(ours.outputs, theirs.outputs, strict=True):
                assert "print_figure" not in first.get("text", "")  # the second drawing warns of nothing on the page
                drawing = first.get("metadata", {}).get(KIND, {}).get("drawing")
                if drawing is None:
                    assert first.get("data") == second.get("data")
                    continue
                figures += 1
                assert second.data[SVG] == drawing != first.data[SVG] and KIND not in second.metadata
                assert kinds(first.data[SVG]) == kinds(second.data[SVG])
                left = [w for line in said(second.data[SVG]) for w in words(line) if catalogue().get(w) != w]
                assert set(left) <= {"where", "acos", "linear"}, (page, left)
    assert figures > 40
    everything, own = "\n".join(seen), part_for_figures()
    assert len(own) > 100
    assert [text for text in own if any(piece not in everything for piece in VALUE.split(text)[::2])] == []
