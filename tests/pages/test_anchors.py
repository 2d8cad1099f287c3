"""Addresses inside a page: each heading has a label of its own that no change of its words moves, and old addresses go on working."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from bookext.read.blocks import language_of, notebook_texts
from bookext.read.book import ROOT, book_pages, display_path, page_url
from bookext.read.labels import labels
from support import PARSED, SITE, anchors, parsed

pytestmark = PARSED

PAGES = book_pages()
MASTERS = sorted(ROOT.glob("instructor/hw*/hw*.md"))  # not in the public tree
OLD = [line for line in Path(__file__).with_name("old_anchors.txt").read_text("utf8").splitlines() if line[0] != "#"]
FENCE = re.compile(r"^(`{3,}|~{3,})(.*)$")
LABEL = re.compile(r"^\(([\w-]+)\)=$")
ITEM = re.compile(r"L\d+")


def headings(text: str) -> list[tuple[int, str, list[str]]]:
    """The headings of levels 1 to 3 of a page: (line, title, labels above it other than the lecture's items)."""
    found, above, fence = [], list[str](), ""
    front = text.count("\n", 0, text.index("\n---\n") + 1) if text.startswith("---\n") else 0
    for number, line in enumerate(text.splitlines()[front:], front + 1):
        if mark := FENCE.match(line):
            closes = fence and mark[1].startswith(fence) and not mark[2].strip()
            fence = "" if closes else fence or mark[1]
        elif fence:
            continue
        elif label := LABEL.match(line):
            above += [label[1]] if not ITEM.fullmatch(label[1]) else []
        elif not line.startswith("{."):
            if re.match(r"#{1,3} ", line):
                found.append((number, line.lstrip("# "), above))
            above = []
    return found


def unlabelled(text: str, name: str) -> list[str]:
    """The headings without a label of their own, each with the remedy."""
    return [
        f"{name}:{line}: '{title}' has no label; put a line such as (sec-topic-words)= above it"
        for line, title, labels in headings(text)
        if not labels
    ]


def html_of(page: Path) -> str:
    """Where a page stands in the built site."""
    return page.relative_to(ROOT).with_suffix(".html").as_posix()


@pytest.mark.parametrize("page", [*PAGES, *MASTERS], ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_heading_has_a_label_of_its_own(page):
    text = page.read_text("utf8")
    assert headings(text)
    found = unlabelled(text, page.relative_to(ROOT).as_posix())
    assert not found, "\n".join(found)


def test_no_label_stands_twice():
    """Labels are global: Sphinx would lead a reference to either place."""
    lines = (line for page in PAGES for line in page.read_text("utf8").splitlines())
    labels = Counter(match[1].lower() for line in lines if (match := LABEL.match(line)))
    assert len(labels) > 150 and [label for label, times in labels.items() if times > 1] == []


@pytest.mark.parametrize(
    "text, expected",
    [
        ("(sec-a)=\n# A\n\n```text\n# no heading\n```\n\n(own)=\n{.fold}\n## B\n", []),
        ("# A\n", [1]),
        ("---\n# a comment\n---\n# A\n", [4]),
        ("(sec-a)=\n# A\n\n(L7)=\n## B\n", [5]),
        ("(sec-a)=\n# A\n\n(sec-b)=\n\n### B\n", [6]),
        ("````markdown\n```{code-cell}\n# no heading\n```\n# nor this\n````\n## B\n", [7]),
    ],
)
def test_a_heading_without_a_label_is_found(text, expected):
    found = unlabelled(text, "page.md")
    assert [int(what.split(":")[1]) for what in found] == expected
    assert all("(sec-topic-words)=" in what for what in found)


@pytest.mark.site
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_permalink_and_outline_lead_to_the_label(page):
    document = parsed(SITE / html_of(page))
    outline = {link["href"] for link in document.select("#page-nav a")}
    for line, title, above in headings(page.read_text("utf8")):
        section = document.find(["section", "div"], id=above[-1])
        assert section, f"{page.name}:{line}: no section of the page has the id {above[-1]} ('{title}')"
        heading = section.find(["h1", "h2", "h3"])
        assert heading.find_parent(["section", "div"]) is section
        assert heading.find("a", class_="headerlink")["href"] == f"#{above[-1]}"
        assert heading.name == "h1" or f"#{above[-1]}" in outline


@pytest.mark.site
@pytest.mark.parametrize("page", sorted({address.partition("#")[0] for address in OLD}))
def test_old_addresses_go_on_working(page):
    wanted = {address.partition("#")[2] for address in OLD if address.startswith(f"{page}#")}
    assert wanted - anchors(SITE / page) == set(), (
        f"add these ids again, as targets above the headings that have replaced theirs: {page}"
    )


@pytest.mark.site
def test_every_label_is_an_anchor_of_the_site():
    """What the notebooks link to: their generator works out the addresses by itself."""
    gone = [
        f"{label}: {html_of(page)}#{anchor.lower()}"
        for label, (page, _, anchor) in labels().items()
        if anchor.lower() not in anchors(SITE / html_of(page))
    ]
    assert len(labels()) > 300 and gone == []


@pytest.mark.site
@pytest.mark.parametrize("page", notebook_texts(), ids=display_path)
def test_links_of_a_notebook_arrive(page):
    base = re.escape(page_url(ROOT / "book" / "index.md").removesuffix("book/index.html"))
    cells = json.loads(page.with_suffix(".ipynb").read_text("utf8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    links = re.findall(rf"\]\({base}([^)#]+)(?:#([^)]*))?\)", text)
    assert links and {there.startswith("zh/") for there, _ in links} == {language_of(page) == "zh"}
    lost = [f"{there}#{anchor}" for there, anchor in links if anchor and anchor not in anchors(SITE / there)]
    assert lost == [] and all((SITE / there).exists() for there, _ in links)
