"""What a Chinese page has from elsewhere than its text is Chinese too: tables of results, titles of links, numbers of places."""

from __future__ import annotations

import re
from html import unescape
from types import SimpleNamespace

import pytest
from bookext.check.twins import translated_pages
from bookext.pages import tables
from bookext.pages.tables import CELL, in_chinese
from bookext.read.labels import labels
from docutils import nodes, utils
from support import ROOT, SITE

from labs.tables import Table

TABLE = re.compile(r'<table class="results">.*?</table>', re.DOTALL)
HAN = re.compile("[\u3400-\u9fff]")


def html(name: str) -> str:
    return (SITE / name).read_text("utf8")


def names() -> list[str]:
    return [page.relative_to(ROOT).with_suffix(".html").as_posix() for page in translated_pages()]


def said_of(table: Table, monkeypatch) -> tuple[str, list[str]]:
    """A table as a Chinese page shows it, and the texts that were named."""
    named: list[str] = []
    monkeypatch.setattr(tables, "is_translated", lambda app, docname: True)
    monkeypatch.setattr(tables.LOGGER, "warning", lambda text, *given, **_: named.append(text % given))
    document = utils.new_document("page")
    document += nodes.raw("", table._repr_html_(), format="html")
    tables.say_tables(SimpleNamespace(env=SimpleNamespace(docname="page")), document)
    return document.astext(), named


def test_a_table_is_exchanged_text_by_text(monkeypatch):
    table = Table("Loss after 60 steps of Adam", "layer", "rate / 10", "entries > 1")
    table.row("He", "step 80", "1.2e-5 ± 3e-07")
    text, named = said_of(table, monkeypatch)
    assert named == [] and re.findall(CELL, text) == [
        "Adam走60步后的损失", "层", "学习率/10", "大于1的元素", "He", "第80步", "1.2e-5 ± 3e-07"
    ]  # fmt: skip


def test_a_text_without_chinese_is_named(monkeypatch):
    table = Table("The ends of two formats", "layer", "Adam")
    table.row(3, "0.5 planets")
    text, named = said_of(table, monkeypatch)
    assert len(named) == 2 and "'The ends of two formats'" in named[0] and "'0.5 planets'" in named[1]
    assert ">层<" in text and ">0.5 planets<" in text


@pytest.mark.site
def test_tables_of_results_are_chinese():
    seen = 0
    for name in names():
        english, chinese = ([CELL.findall(t) for t in TABLE.findall(html(p))] for p in (name, f"zh/{name}"))
        assert [[in_chinese(unescape(cell)) for cell in table] for table in english] == [
            [unescape(cell) for cell in table] for table in chinese
        ], name
        seen += len(chinese)
        assert all(HAN.search("".join(table)) for table in chinese), name
    assert seen > 30


@pytest.mark.site
def test_links_to_places_are_called_in_chinese():
    titles = {
        t for name in names() for t in re.findall(r'<a class="headerlink"[^>]* title="([^"]*)"', html(f"zh/{name}"))
    }
    assert len(titles) >= 4 and [title for title in titles if not HAN.search(title)] == []


@pytest.mark.site
def test_places_are_numbered_as_chinese_writes_them():
    text = html("zh/book/01-chained-jacobians.html")
    assert '<span class="caption-number">图1.1 </span>' in text
    assert '<span class="caption-number">练习1.1</span>（形状）' in text
    number = re.escape(labels()["eq-chain"][1])
    assert re.search(rf'href="#equation-eq-chain"[^>]*>(?:<span[^>]*>)?式{number}<', text)
    assert not [name for name in names() if re.search(r"式\s*(?:<[^>]*>)*式\(", html(f"zh/{name}"))]
