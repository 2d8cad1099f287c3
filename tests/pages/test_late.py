"""What comes late moves nothing: on a slow line or machine a page is painted before its scripts, its fonts and its pictures are there."""

from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.site

SHIFTS = """window.shifts = [];
new PerformanceObserver(list => { for (const e of list.getEntries()) shifts.push(
  [e.value, ...e.sources.map(s => s.node?.outerHTML?.slice(0, 120) ?? s.node?.textContent.slice(0, 60) ?? "?")].join(" | ")) })
  .observe({type: "layout-shift", buffered: true});"""
PAINTED = "performance.getEntriesByName('first-contentful-paint').length > 0"
LATE = {"scripts": r"\.m?js\b", "fonts": r"\.woff2\b", "pictures": r"\.(svg|png)\b"}


def moved(browser, address: str, width: int, late: str) -> list[str]:
    """What moves when the files of one kind come one by one, each after a paint."""
    tab = browser.new_page(viewport={"width": width, "height": 740})
    tab.add_init_script(SHIFTS)
    waiting: list = []
    tab.route(re.compile(LATE[late]), lambda route: waiting.append(route))
    tab.goto(address, wait_until="commit")
    tab.wait_for_function(PAINTED, timeout=60_000)
    paint = "new Promise(done => requestAnimationFrame(() => setTimeout(done, 60)))"
    tab.evaluate(paint)
    while waiting:
        waiting.pop(0).continue_()
        tab.evaluate(paint)
    tab.unroute(re.compile(LATE[late]))
    tab.wait_for_load_state("load", timeout=60_000)
    tab.wait_for_timeout(300)
    found = tab.evaluate("shifts")
    tab.close()
    return found


@pytest.mark.parametrize(
    ("page", "width"), [("search.html?q=gradient", 1280), ("book/index.html", 820), ("book/06-xavier.html", 375)]
)
def test_late_scripts_move_nothing(site, browser, page, width):
    assert moved(browser, f"{site}/{page}", width, "scripts") == []


PAGES = ["book/index.html", "book/01-chained-jacobians.html", "book/06-xavier.html", "book/08-nan-clinic.html",
         "book/09-summary.html", "book/notation.html", "book/homework/hw3.html", "book/appendix/ledger.html",
         "book/appendix/labs.html", "slides/lecture.html", "search.html?q=gradient", "status.html", "404.html"]  # fmt: skip


@pytest.mark.rehearsal
@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize("page", PAGES)
def test_nothing_late_moves_anything(site, browser, page, late):
    if (page, late) == ("slides/lecture.html", "scripts"):
        pytest.skip("a deck paints nothing before its scripts are there")
    found = {width: moved(browser, f"{site}/{page}", width, late) for width in (375, 820, 1280)}
    assert not any(found.values()), found
