"""What comes late moves nothing: on a slow line or machine a page is painted before its scripts, its fonts and its pictures are there."""

from __future__ import annotations

import http.server
import re
import time
from pathlib import Path
from typing import Any

import pytest
from support import SITE, serve

pytestmark = pytest.mark.site

SHIFTS = """window.shifts = [];
new PerformanceObserver(list => { for (const e of list.getEntries()) shifts.push(
  [e.value, ...e.sources.map(s => s.node?.outerHTML?.slice(0, 120) ?? s.node?.textContent.slice(0, 60) ?? "?")].join(" | ")) })
  .observe({type: "layout-shift", buffered: true});"""
PAINTED = "performance.getEntriesByName('first-contentful-paint').length > 0"
LATE = {"scripts": r"\.m?js\b", "fonts": r"\.woff2\b", "pictures": r"\.(svg|png)\b"}


def moved(browser, address: str, width: int, late: str | None = None) -> list[str]:
    """What moves as a page comes, where the files of one kind come one by one, each after a paint."""
    kind = re.compile(LATE[late] if late else "(?!)")  # which nothing matches
    tab = browser.new_page(viewport={"width": width, "height": 740})
    tab.add_init_script(SHIFTS)
    waiting: list = []
    tab.route(kind, lambda route: waiting.append(route))
    tab.goto(address, wait_until="commit")
    tab.wait_for_function(PAINTED, timeout=60_000)
    paint = "new Promise(done => requestAnimationFrame(() => setTimeout(done, 60)))"
    tab.evaluate(paint)
    while waiting:
        waiting.pop(0).continue_()
        tab.evaluate(paint)
    tab.unroute(kind)
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


class InPieces(http.server.SimpleHTTPRequestHandler):
    """Sends a page as a slow line does: its bar tag by tag, its text in twenty parts, with time to paint after each.

    What a table's columns do while its rows come, browsers choose."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.suffix != ".html":
            return super().do_GET()
        text = path.read_text()
        head, bar, rest = re.split(r"(?s)(<header .*?>.*?</header>)", text, maxsplit=1)
        size = -(-len(rest) // 20)
        pieces = [head, *re.split(r"(?=<)", bar), *(rest[at : at + size] for at in range(0, len(rest), size))]
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece.encode())
            self.wfile.flush()
            time.sleep(0.1)
        return None


@pytest.mark.parametrize(
    ("page", "width"),
    [("book/06-xavier.html", 375), ("zh/book/06-xavier.html", 320), ("book/06-xavier.html", 820),
     ("book/index.html", 1280), ("search.html", 600)],
)  # fmt: skip
def test_a_page_that_comes_in_pieces_moves_nothing(browser, page, width):
    with serve(SITE, InPieces) as address:
        assert moved(browser, f"{address}/{page}", width) == []


BAR = """() => {
  const box = e => e.getBoundingClientRect(), bar = document.querySelector(".top"), found = [];
  const all = [...bar.querySelectorAll(".plain, .brand span, .find input")];
  const seen = all.filter(e => box(e).width > 1 && getComputedStyle(e).visibility !== "hidden");
  for (const e of seen) {
    const says = what => found.push(`${e.outerHTML.slice(0, 60)} ${what}`), [at, all] = [box(e), box(bar)];
    if (e.matches("button, .find-link") && at.width < 40) says(`is ${at.width} wide`);
    if (at.top < 0 || at.bottom > all.bottom || at.left < 0 || at.right > innerWidth) says("leaves the bar");
    for (const other of seen)
      if (box(other).left > at.left && box(other).left < at.right - 1) says(`overlaps ${other.outerHTML.slice(0, 60)}`);
  }
  return found; }"""


@pytest.mark.parametrize("page", ["book/06-xavier.html", "zh/book/06-xavier.html", "search.html", "status.html"])
def test_the_bar_has_room_for_what_is_in_it(site, browser, page):
    """At every width: what can be touched keeps its size, and the book's name stays within the bar."""
    tab: Any = browser.new_page(viewport={"width": 1300, "height": 740})
    tab.goto(f"{site}/{page}")
    found = {}
    for width in (320, *range(330, 1300, 10)):
        tab.set_viewport_size({"width": width, "height": 740})
        found[width] = tab.evaluate(BAR)
    tab.close()
    assert not any(found.values()), {width: each for width, each in found.items() if each}


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
