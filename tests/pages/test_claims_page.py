"""Claims on the site: each mark leads to its row, says what became of the claim, and stands close to its sentence."""

from __future__ import annotations

from functools import cache

import pytest
from bookext.check.results import results
from bookext.pages import claims as marks
from bookext.read.book import ROOT, book_pages
from bookext.read.chapter import parse_chapter, read_chapter
from bookext.read.claims import claims_of
from bookext.read.words import say
from docutils import nodes, utils
from support import FRONT, PARSED, SITE, parsed

pytestmark = PARSED

TEXT = (
    FRONT
    + """
# A page

## Elsewhere

Said before. {claim}`new-a`

## Here

As {doc}`notation` and {doc}`the map <appendix/lecture-map>` say, it is so. {claim}`new-a`

```{code-cell} ipython3
x = 1
```

```{code-cell} ipython3
assert x, "claim: new-a"
```
"""
)


def test_the_row_shows_the_sentence_of_the_deciding_section_and_finds_its_pages():
    found = marks.claims_here(parse_chapter(TEXT, ROOT / "book" / "97-planted.md"))
    sentence = "As {doc}`/book/notation` and {doc}`the map </book/appendix/lecture-map>` say, it is so."
    assert found == [("new-a", sentence, 2)]


def test_the_row_of_a_chinese_page_shows_the_same_sentence_in_chinese():
    """Unless the Chinese page is behind; then the English one."""
    page = parse_chapter(TEXT, ROOT / "book" / "97-planted.md")
    twin = TEXT.replace("Said before.", "上文说过。").replace("it is so.", "正是如此。").replace("## Here", "## 这里")
    [(_, sentence, _)] = marks.claims_here(page, parse_chapter(twin, ROOT / "book/zh/97-planted.md"))
    assert sentence.endswith("正是如此。") and "{doc}`/book/notation`" in sentence
    behind = twin.replace("上文说过。 {claim}`new-a`", "上文说过。")
    assert behind != twin
    assert marks.claims_here(page, parse_chapter(behind, ROOT / "book/zh/97-planted.md")) == marks.claims_here(page)


def test_no_line_breaks_between_a_sentence_and_its_mark():
    document, paragraph = utils.new_document("page"), nodes.paragraph()
    document += paragraph
    mark = nodes.raw("", "&nbsp;<a></a>", format="html", classes=["claim"])
    paragraph += [nodes.Text("It is so. "), mark, nodes.Text("\nMore.")]
    marks.close_up(None, document)
    assert [child.astext() for child in paragraph.children if isinstance(child, nodes.Text)] == ["It is so.", "\nMore."]


def folder(language):
    return SITE / {"en": "", "zh": "zh"}[language]


@cache
def ledger_rows(language):
    """What the cells of each claim's row say; the page is long to read, so once."""
    ledger = parsed(folder(language) / "book/appendix/ledger.html")
    marked = [place for place in ledger.find_all(id=True) if place["id"].startswith("claim-")]
    cells = {place["id"].removeprefix("claim-"): place.find_parent("tr").find_all("td") for place in marked}
    assert len(cells) == len(marked)
    return {name: [cell.get_text() for cell in found] for name, found in cells.items()}


@pytest.mark.site
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("page", [p for p in book_pages() if claims_of(read_chapter(p))], ids=lambda p: p.stem)
def test_each_mark_leads_to_its_row(page, language):
    site = folder(language)
    shown = parsed(site / page.relative_to(ROOT).with_suffix(".html"))
    rows = ledger_rows(language)
    links = shown.select("article .claim a")
    names = [link["href"].partition("#claim-")[2] for link in links]
    assert sorted(names) == sorted(claim.name for claim in claims_of(read_chapter(page)))
    assert "{claim}" not in shown.get_text()
    for name, link in zip(names, links, strict=True):
        stands_for, result = results(language)[name]
        assert link["title"] == result and link.get_text() == f"✓{say(language, 'tested')}"
        stands_for = stands_for.replace(" %", " %" if language == "en" else "%")
        assert rows[name][1:3] == [stands_for, result]


@pytest.mark.site
def test_the_search_finds_no_role():
    index = (SITE / "_static/search-index.js").read_text("utf8")
    assert "{claim}" not in index and "tested✓" not in index and "✓tested" not in index
