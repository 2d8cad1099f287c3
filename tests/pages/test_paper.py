"""The book on paper: one PDF for each size, with contents, bookmarks and links that lead to their pages, and nothing in the margins."""

from __future__ import annotations

import re
import time

import pytest
from bookext.pages.paper import Paper, mend_bookmarks, once, places_in, write_pdf
from bookext.read.book import book_pages
from support import SITE, library

MARGINS = {"left": 20, "right": 20, "top": 22, "bottom": 20}  # mm, as paper.css sets them
A4, LETTER = (595, 842), (612, 792)


def test_a_bookmark_is_said_once_in_as_many_bytes():
    pdf = b"<</Title (1. 1. The \\(a\\)The \\(a\\)) /Dest [1 0 R]>> <</Title <FEFF03B403B4>>>"
    mended = mend_bookmarks(pdf)
    assert len(mended) == len(pdf) and b"/Title (1. The \\(a\\)) " in mended and b"/Title <FEFF03B4>" in mended
    assert once("Homework 1: Jacobians") == "Homework 1: Jacobians"


def test_pages_are_counted_through_the_tree_of_pages():
    pdf = b"""1 0 obj <</Type /Pages /Kids [2 0 R 5 0 R]>> endobj 2 0 obj <</Type /Pages /Kids [4 0 R 3 0 R]>> endobj
    3 0 obj <</Type /Page >> endobj 4 0 obj <</Type /Page >> endobj 5 0 obj <</Type /Page >> endobj
    9 0 obj <</p1-a [3 0 R /XYZ 0 7 0] /p1-b [5 0 R /XYZ 0 7 0]>> endobj"""
    assert places_in(pdf) == {"p1-a": 2, "p1-b": 3}


@pytest.mark.site
def test_the_document_of_all_pages_hangs_together():
    """Every page is there, ids are unique, links within lead somewhere, solutions stand at the end and nowhere else."""
    html = Paper(SITE).document("A4", {})
    ids = re.findall(r'<\w[^>]*? id="(p\d[^"]*|solutions)"', html)
    assert len(ids) == len(set(ids)) > 1000
    links = re.findall(r'<a\b[^>]*? href="#([^"]+)"', html)
    assert len(links) > 2000 and not [link for link in links if link not in set(ids)]
    assert html.count('class="page"') == len(book_pages()) + 1
    body, solutions = html.split('id="solutions"')
    exercises = len(re.findall(r'class="exercise admonition"', body))
    assert exercises == solutions.count('class="solution"') == body.count('class="to-solution"') > 40
    assert "<summary>Solution" not in html and "<button" not in html and "<script" not in html
    assert html.count("<svg") > 4 and "live-plot" in html


@pytest.mark.rehearsal
@pytest.mark.parametrize(("paper", "size"), [("a4", A4), ("letter", LETTER)])
def test_the_printed_book(tmp_path, paper, size):
    """At most 90 seconds and 20 MB; margins without ink; contents that name the right pages."""
    began = time.monotonic()
    pdf = write_pdf(SITE, tmp_path, paper)
    assert time.monotonic() - began < 90
    assert pdf.stat().st_size < 20e6
    printed = library("pypdfium2").PdfDocument(pdf)
    assert tuple(map(round, printed[0].get_size())) == size and 200 < len(printed) < 500
    assert margins_with_ink(printed) == []

    marks = [(mark.get_title(), mark.get_dest().get_index() + 1) for mark in printed.get_toc()]
    pages = {title: number for title, number in reversed(marks)}
    assert len(marks) > 200 and pages["3. Vanishing with sigmoid"] > pages["2. Explosion with ReLU"] > 20
    places = places_in(pdf.read_bytes())
    text = "".join(
        "".join(printed[n].get_textpage().get_text_range().split()) for n in range(1, 8)
    )  # bold comes by letters
    assert re.search(rf"3\.Vanishingwithsigmoid{pages['3. Vanishing with sigmoid']}3\.1", text)
    assert re.search(rf"Solutionsoftheexercises{places['solutions']}", text) and places["solutions"] > 250
    assert sum(name.endswith("-solution") for name in places) > 40


# What is wider than the text. Chromium would shrink the whole book until it fits. An SVG cuts off what leaves its frame.
WIDE = """() => [...document.querySelectorAll('main *')]
  .filter((e) => !e.ownerSVGElement && !e.closest('.katex svg, .vlist, .unseen') && e.getBoundingClientRect().width)
  .filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map((e) => `${e.closest('.page')?.id}: ${e.tagName} ${e.textContent.trim().slice(0, 60)}`)"""


@pytest.mark.rehearsal
@pytest.mark.parametrize("width", [642, 665])
def test_nothing_is_wider_than_the_text(browser, tmp_path, width):
    """At the width of the text on A4, 170 mm, and on Letter."""
    (tmp_path / "book.html").write_text(Paper(SITE).document("A4", {}), "utf8")
    tab = browser.new_page(viewport={"width": width, "height": 900})
    tab.emulate_media(media="print")
    tab.goto((tmp_path / "book.html").as_uri(), wait_until="load")
    assert tab.evaluate(WIDE) == []
    tab.evaluate(
        "document.querySelector('#p3 p').insertAdjacentHTML('afterend', '<pre style=\"width: 180mm\">x</pre>')"
    )
    assert tab.evaluate(WIDE) == ["p3: PRE x"]
    tab.close()


def margins_with_ink(printed) -> list[str]:
    """The pages on which something stands in a margin, but for the title above and the number below."""
    found = []
    for number in range(1, len(printed)):
        image = printed[number].render(scale=1, grayscale=True).to_numpy().squeeze()
        points = {side: round(mm / 25.4 * 72) for side, mm in MARGINS.items()}
        left, right = image[:, : points["left"] - 3], image[:, -points["right"] + 3 :]
        above, below = (
            image[points["top"] - 14 : points["top"] - 2],
            image[-points["bottom"] + 2 : -points["bottom"] + 12],
        )
        for side, strip in (("left", left), ("right", right), ("above", above), ("below", below)):
            if (strip < 200).any():
                found.append(f"page {number + 1}: {side}")
    return found
