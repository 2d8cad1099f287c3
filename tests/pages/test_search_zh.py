"""What Chinese readers type: each heading and term of the lecture leads, on both sites, to the section that it is about."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from bookext.pages import search
from bookext.read.course import section_of
from test_search import CHAPTERS

pytestmark = pytest.mark.site
# A term, and where it must lead: chapters, an item of the lecture (L24) whose section it is, or a page.
LIST = Path(__file__).with_name("search_zh.txt")
PAGES = CHAPTERS | {"index": "index", "errata": "appendix/errata"}


def rows() -> list[tuple[str, set[str], list[str]]]:
    """Term, pages, and items of the lecture."""
    found = []
    for line in LIST.read_text("utf8").splitlines():
        if line and not line.startswith("#"):
            term, wanted = line.split("\t")
            names = re.findall(r"\b(?:\d\d|index|errata)\b", wanted)
            found.append((term, {f"book/{PAGES[name]}.html" for name in names}, re.findall(r"L\d+", wanted)))
    return found


@pytest.fixture(scope="module", params=["", "zh/"])
def page(request, site, browser):
    tab = browser.new_page()
    tab.goto(f"{site}/{request.param}search.html", wait_until="load")
    tab.evaluate("bookSearch.load()")
    yield tab
    tab.close()


def asked(tab, term):
    """The first addresses."""
    return tab.evaluate("term => bookSearch.find(term).found.slice(0, 3).map(e => e.url.replace(/^[./]*/, ''))", term)


def test_the_list_is_read_whole():
    table = rows()
    assert len(table) == 72 and all(pages for _, pages, _ in table)
    assert all(section_of(item) for _, _, items in table for item in items)


def test_every_term_is_found_in_the_right_place(page):
    wrong, first = {}, 0
    for term, pages, items in rows():
        found = asked(page, term)
        right = [url.partition("#")[0] in pages for url in found]
        sections = {name for item in items for name in section_of(item).names}
        if not any(right) or (items and not sections & {url.partition("#")[2] for url in found}):
            wrong[term] = found
        first += bool(right and right[0])
    assert wrong == {}
    assert first >= 0.85 * len(rows())


def test_the_kinds_have_chinese_names(page):
    """On the Chinese site; numbers and symbols are the same on both."""
    chinese = page.evaluate("document.documentElement.lang") == "zh-Hans"
    titles = page.evaluate("bookIndex.entries.map(e => [e[2], e[3]])")
    named = {"equation": "公式", "figure": "图", "exercise": "练习", "symbol": "符号"} if chinese else {
        kind: kind.capitalize() + " " for kind in ("equation", "figure", "exercise", "symbol")
    }  # fmt: skip
    for kind, name in named.items():
        found = [title for number, title in titles if search.KINDS[number] == kind]
        assert len(found) > 20 and all(title.startswith(name) for title in found), kind
    if chinese:
        for query in ("公式3.2", "公式 3.2"):
            assert "equation-" in asked(page, query)[0], query
        assert "book/03-vanishing-sigmoid" in asked(page, "第3章")[0] and "#ex-" in asked(page, "练习7.3")[0]
