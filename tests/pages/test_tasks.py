"""What readers come for, done as they would do it: at most two clicks, and what they wanted is in sight."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.site
HOME, CHAPTER = "book/index.html", "book/06-xavier.html"


class Reader:
    """A reader at a page, whose clicks are counted."""

    def __init__(self, browser: Any, site: str, page: str, width: int):
        self.tab, self.clicks = browser.new_page(viewport={"width": width, "height": 800}), 0
        self.tab.goto(f"{site}/{page}", wait_until="load")
        self.rest()

    def rest(self) -> None:
        self.tab.wait_for_load_state("load")
        self.tab.evaluate("document.fonts.ready.then(() => new Promise(done => setTimeout(done, 800)))")

    def click(self, place: Any) -> None:
        place.click()
        self.clicks += 1
        self.rest()

    def search(self, words: str) -> None:
        """Type into the field, which a phone has on a page of its own, and take the first that is offered."""
        if (field := self.tab.locator("#find")).is_visible():
            field.fill(words)
            self.click(self.tab.locator("#hits a").first)
        else:
            self.click(self.tab.get_by_role("link", name="Search the book"))
            self.tab.locator("#query").fill(words)
            self.click(self.tab.locator("#results a").first)

    def sees(self, place: Any) -> bool:
        """All of it, or as much as the window holds, is on the screen below the bar."""
        box, height = place.bounding_box(), self.tab.evaluate("innerHeight")
        return box["y"] >= 50 and box["y"] + min(box["height"], height - 120) <= height

    def ends(self, clicks: int) -> str:
        """The address that the reader is left with."""
        assert self.clicks <= clicks
        address = self.tab.url
        self.tab.close()
        return address


WIDTHS = pytest.mark.parametrize("width", [375, 1280])


@WIDTHS
def test_why_is_my_loss_nan(site, browser, width):
    reader = Reader(browser, site, HOME, width)
    reader.click(reader.tab.locator("main").get_by_role("link", name="My loss is NaN"))
    assert reader.tab.url.endswith("08-nan-clinic.html#nan-checklist")
    section = reader.tab.locator("#nan-checklist")
    assert reader.sees(section.locator("h2").first) and reader.sees(section.locator("ol > li").first)
    reader.ends(clicks=1)


@pytest.mark.parametrize(("width", "words"), [(375, "He formula"), (1280, "kaiming formula")])
def test_the_formula_of_he(site, browser, width, words):
    reader = Reader(browser, site, HOME, width)
    reader.search(words)
    assert reader.sees(reader.tab.locator("#equation-eq-xavier-he"))
    reader.ends(clicks=2)


def test_the_answer_of_an_exercise(site, browser):
    reader = Reader(browser, site, CHAPTER, 1280)
    reader.click(reader.tab.locator("#page-nav").get_by_role("link", name="Exercises"))
    solution = reader.tab.locator("details.fold", has_text="Solution").first
    reader.click(solution.locator("summary"))
    assert solution.evaluate("d => d.open") and reader.sees(solution.locator("summary"))
    reader.ends(clicks=2)


@WIDTHS
def test_to_cite_the_page(site, browser, width):
    reader = Reader(browser, site, CHAPTER, width)
    reader.click(reader.tab.get_by_role("link", name="Cite", exact=True))
    box = reader.tab.locator("details.cite pre")
    assert reader.sees(box) and box.inner_text().startswith("@incollection{")
    reader.ends(clicks=1)


@WIDTHS
def test_to_share_a_figure(site, browser, width):
    """Whoever opens the address that the link gives sees the same settings."""
    reader = Reader(browser, site, HOME, width)
    reader.tab.locator("#live [name=activation]").select_option("tanh")
    reader.click(reader.tab.get_by_text("The figure alone, or on a course site"))
    reader.click(reader.tab.get_by_role("link", name="The figure alone, to fill the screen"))
    address = reader.ends(clicks=2)
    other = Reader(browser, site, address.removeprefix(f"{site}/"), width)
    assert other.sees(other.tab.locator(".live-figure .live-plot").first)
    assert other.tab.locator("#live [name=activation]").input_value() == "tanh"
    other.ends(clicks=0)
