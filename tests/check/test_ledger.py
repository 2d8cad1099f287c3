"""The ledger's rules, each broken once: the report names file, line and label."""

from __future__ import annotations

import re

import pytest
from bookext.check.ledger import anchors, problems
from bookext.read.book import ROOT, book_pages
from bookext.read.chapter import SourceError, literal_value, parse_chapter, read_chapter

CHAPTER = """---
jupytext:
  text_representation:
    format_name: myst
kernelspec: {name: python3, display_name: Python 3}
ledger:
  items: [L4]
  claims: [C1]
---

# A chapter

(L4)=
## Growth

$$
1.5^{100} \\approx 4.07 \\times 10^{17}
$$ (eq-growth)

It grows to {num}`4.07e17 <growth>`.

```{code-cell} ipython3
:checks: [eq-growth, C1]

growth = 1.5 ** 100
assert growth > 1
```

## Definitions

$$
h = x
$$ (def-h)
"""


def found(text: str) -> list[str]:
    return problems(parse_chapter(text, ROOT / "book" / "planted.md"))


def test_the_unbroken_chapter_is_clean():
    assert found(CHAPTER) == []


@pytest.mark.parametrize(
    "old, new, line, message",
    [
        ("$$ (eq-growth)", "$$", 16, "without a label"),
        ("$$ (eq-growth)", "$$ (growth)", 16, "begin it with eq-"),
        ("[eq-growth, C1]", "[C1]", 16, "eq-growth is checked by no cell of 'Growth'"),
        ("[eq-growth, C1]", "[eq-growth, eq-typo, C1]", 25, "eq-typo, which is no label"),
        ("assert growth > 1", "print(growth)", 25, "asserts nothing"),
        ("$$ (def-h)", "$$ (eq-h)", 31, "eq-h is checked by no cell of 'Definitions'"),
        ("$$ (def-h)", "$$ (eq-growth)", 16, "stands 2 times"),
        ("4.07e17 <growth>", "4.07e17 <shrink>", 20, "no cell of 'Growth' computes shrink"),
        (
            "## Definitions",
            "## Definitions\n\n```{code-cell} ipython3\ngrowth = 2\n```\n",
            20,
            "bound again in 'Definitions'",
        ),
        ("4.07e17 <growth>", "4.07e17 <1.5>", 20, "uses no name"),
        ("claims: [C1]", "claims: [C1, C2]", 1, "promises C2"),
        ("claims: [C1]", "claims: []", 25, "promise it in the front matter"),
        ("(L4)=\n", "", 1, "promises item L4"),
        ("growth = 1.5", 'shown = tables.Table("T", "a")\ngrowth = 1.5', 25, "the table shown is shown nowhere"),
    ],
)
def test_a_planted_fault_is_named(old, new, line, message):
    assert old in CHAPTER
    reports = found(CHAPTER.replace(old, new, 1))
    assert any(r.startswith(f"book/planted.md:{line}: ") and message in r for r in reports), reports


@pytest.mark.parametrize("end", ["shown", "display(shown)"])
def test_a_table_that_is_shown_is_no_fault(end):
    cell = f'shown = tables.Table("T", "a")\ngrowth = 1.5 ** 100\nassert growth > 1\n{end}'
    assert found(CHAPTER.replace("growth = 1.5 ** 100\nassert growth > 1", cell, 1)) == []


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("{num}`4.07e17 <growth>`", "{num}`4.07e17`", "without <expression>"),
        ("{num}`4.07e17 <growth>`", "{num}`lots <growth>`", "is not a number"),
        ("{num}`4.07e17 <growth>`", "{num}`4.07e17 <growth +>`", "invalid syntax"),
        ("h = x\n$$ (def-h)", "h = x", "not closed"),
        ("$$\nh = x\n$$ (def-h)", "$$ h = x $$ (def-h)", "line of its own"),
        ("$$\nh = x\n$$ (def-h)", "\\begin{align}h &= x\\end{align}", "bare amsmath"),
        ("$$\nh = x\n$$ (def-h)", "```{math}\nh = x\n```", "not as {math}"),
    ],
)
def test_unreadable_text_stops_with_file_and_line(old, new, message):
    assert old in CHAPTER
    with pytest.raises(SourceError, match=r"book/planted\.md:\d+: ") as error:
        found(CHAPTER.replace(old, new, 1))
    assert message in str(error.value)


@pytest.mark.parametrize(
    "literal, value, half_unit",
    [
        ("28", 28, 0.5),
        ("0.25", 0.25, 0.005),
        ("-0.1352", -0.1352, 5e-5),
        ("−0.5", -0.5, 0.05),
        ("4e-10", 4e-10, 5e-11),
        ("14 %", 0.14, 0.005),
    ],
)
def test_a_literal_stands_for_what_rounds_to_it(literal, value, half_unit):
    # 1e-12: conversion from decimal to binary
    assert literal_value(literal) == (pytest.approx(value, rel=1e-12), pytest.approx(half_unit, rel=1e-12))


def test_every_result_has_a_test_of_its_own():
    """C20 compares trained networks; it belongs to the chapter that trains them."""
    named = {
        m
        for path in (ROOT / "tests").rglob("test_*.py")
        for m in re.findall(r"def test_(C\d+)_", path.read_text("utf8"))
    }
    assert named >= {f"C{i}" for i in range(1, 20)}


def test_each_item_of_the_lecture_stands_at_one_place():
    items = [f"L{i}" for i in range(1, 41)]
    anchored = [item for page in book_pages() for item in anchors(read_chapter(page))]
    assert sorted(anchored) == sorted(items)
    promised = [item for page in book_pages() for item in read_chapter(page).front.get("ledger", {}).get("items", [])]
    assert sorted(promised) == sorted(items)
    lecture_map = (ROOT / "book/appendix/lecture-map.md").read_text("utf8")
    rows = re.findall(
        r"^\| (L\d+) \| \{ref\}`(?:[^`<]+<)?(L\d+)>?` \| ([^|]+) \| [^|]+ \| [\d.]+ \|$", lecture_map, re.MULTILINE
    )
    assert [item for item, _, _ in rows] == items == [target for _, target, _ in rows]
    assert all(re.search(r"[\u4e00-\u9fff]|ReLU|Xavier", chinese) for _, _, chinese in rows)


def test_the_errata_page_leads_to_the_cell_that_decides_each():
    page = (ROOT / "book/appendix/errata.md").read_text("utf8")
    rows = re.findall(r"^(\d+)\. .*\n(?: +.*\n)+? +\*Decided by\* \{cell\}`E(\d+)`\.$", page, re.MULTILINE)
    assert rows == [(str(i), str(i)) for i in range(1, 15)]


def test_every_result_is_decided_by_a_chapter():
    claims = {c for page in book_pages() for c in read_chapter(page).front.get("ledger", {}).get("claims", [])}
    assert claims == {f"C{i}" for i in range(1, 21)}
