"""A link arrives with what it names in sight, and a reader's place is kept: with the page as readers get it, motion and all."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from firefox import launch_firefox
from support import SITE

pytestmark = pytest.mark.site
WIDTHS, HEIGHT = (375, 820, 1280), 800
PATIENCE = 30  # seconds for a page to open on a busy machine
CHAPTER = "book/06-xavier.html"

# Where the target stands: below the bar, near the top or, where the page's end does not allow that, in the window.
ARRIVED = """(() => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)).split("?")[0]);
  if (!target) return "no such target";
  const top = Math.round(target.getBoundingClientRect().top), page = document.documentElement;
  const bar = document.querySelector(".top").getBoundingClientRect().bottom;
  const atEnd = scrollY + innerHeight >= page.scrollHeight - 2;
  if (!target.checkVisibility()) return "folded away";
  return top >= bar - 1 && (top <= 140 || (atEnd && top < innerHeight - 20)) ? "" : `at ${top} px`;
})()"""


class Links(HTMLParser):
    def __init__(self, path: Path):
        super().__init__()
        self.found: list[str] = []
        self.feed(path.read_text("utf8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a" and (link := dict(attrs).get("href")):
            self.found.append(link)


@cache
def links() -> list[str]:
    """Each address inside the book that some page links to and that names a place of a page."""
    found = set()
    for page in (SITE / "book").rglob("*.html"):
        for link in Links(page).found:
            url = urlsplit(link)
            target = (page.parent / unquote(url.path)).resolve() if url.path else page
            if not url.netloc and url.fragment and target.suffix == ".html":
                found.add(f"{target.relative_to(SITE).as_posix()}#{url.fragment}")
    assert len(found) > 900
    return sorted(found)


@contextlib.contextmanager
def opened(name: str, browser: Any, width: int) -> Iterator[Any]:
    """A tab of one of the two browsers."""
    size = {"width": width, "height": HEIGHT}
    if name == "chromium":
        tab = browser.new_page(viewport=size)
        yield tab
        tab.close()
    else:
        with launch_firefox() as tab:
            tab.set_viewport_size(size)
            yield tab


# The page's own clock: a busy machine delays it as it delays the page.
AT_REST = """new Promise(done => {
  const rest = () => document.fonts.ready.then(() => requestAnimationFrame(() => setTimeout(done, 800)));
  if (document.readyState === "complete") rest(); else addEventListener("load", rest);
})"""


def rest(tab: Any, address: str = "") -> None:
    """Until the tab has gone to an address, if there is one, and its page stands still."""
    late = time.monotonic() + PATIENCE
    while address and time.monotonic() < late:
        with contextlib.suppress(Exception):  # between two pages there is nothing to ask
            if tab.evaluate("location.href") == address:
                break
        time.sleep(0.05)
    tab.evaluate(AT_REST)
    assert not address or tab.evaluate("location.href") == address


def visit(tab: Any, address: str) -> None:
    """A page anew; from another place of it, a browser would only scroll."""
    tab.goto("about:blank")
    tab.goto(address)
    rest(tab)


def lost(tab: Any, site: str, count: int) -> list[str]:
    """Of some links drawn by chance, those that do not arrive."""
    found = []
    for address in random.sample(links(), count):
        visit(tab, f"{site}/{address}")
        if said := tab.evaluate(ARRIVED):
            found.append(f"{address}: {said}")
    return found


def test_random_links_arrive(site, browser):
    with opened("chromium", browser, random.choice(WIDTHS)) as tab:
        assert lost(tab, site, 10) == []


@pytest.mark.rehearsal
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["chromium", "firefox"])
def test_sixty_random_links_arrive(site, browser, name, width):
    with opened(name, browser, width) as tab:
        assert lost(tab, site, 60) == []


BROWSERS = [pytest.param("chromium"), pytest.param("firefox", marks=pytest.mark.rehearsal)]


def click(tab: Any, selector: str) -> None:
    """Follow a link of the page, wherever it stands, to its end."""
    link = f"(a => {{ setTimeout(() => a.click()); return a.href; }})(document.querySelector({selector!r}))"
    rest(tab, tab.evaluate(link))


@pytest.mark.parametrize("width", [WIDTHS[0], pytest.param(WIDTHS[-1], marks=pytest.mark.rehearsal)])
@pytest.mark.parametrize("name", BROWSERS)
def test_every_kind_of_link_arrives(site, browser, name, width):
    """From the contents, to a numbered formula, to a cell from the ledger, from a search, a shared figure; a second time too."""
    with opened(name, browser, width) as tab:
        visit(tab, f"{site}/{CHAPTER}")
        outline = tab.evaluate("[...document.querySelectorAll('#page-nav a')].map(a => a.getAttribute('href'))")
        for href in (outline[-1], outline[len(outline) // 2], outline[1]):
            click(tab, f'#page-nav a[href="{href}"]')
            assert tab.evaluate("location.hash") == href and not tab.evaluate(ARRIVED), href
            if width > 1000:
                marked = "[...document.querySelectorAll('#page-nav [aria-current]')].map(a => a.getAttribute('href'))"
                assert tab.evaluate(marked) == [href]
        tab.evaluate("scrollBy({top: 5000, behavior: 'instant'})")
        click(tab, f'#page-nav a[href="{outline[1]}"]')  # the address is open already
        assert not tab.evaluate(ARRIVED)
        for page, selector in (
            ("book/appendix/ledger.html", 'a[href*="#cell-"]'),
            ("book/appendix/errata.html", 'article a[href*="#"][href^="../"]'),
            ("search.html?q=He%20init", "#results a[href*='#']"),
        ):
            visit(tab, f"{site}/{page}")
            click(tab, selector)
            assert not tab.evaluate(ARRIVED), (page, tab.evaluate("location.href"), tab.evaluate(ARRIVED))
        visit(tab, f"{site}/{CHAPTER}#live-he?depth=40&activation=tanh")
        assert not tab.evaluate(ARRIVED) and tab.evaluate("liveFigures[0].state().depth") == 40


@pytest.mark.parametrize("name", BROWSERS)
def test_a_link_opens_what_is_folded(site, browser, name):
    """Both what lies in a fold and a section that is itself folded."""
    with opened(name, browser, WIDTHS[0]) as tab:
        visit(tab, f"{site}/{CHAPTER}")
        inside = tab.evaluate("document.querySelector('details:not([open]) [id]').id")
        section = tab.evaluate("[...document.querySelectorAll('section.fold')].at(-1).id")
        for target in (inside, section):
            visit(tab, f"{site}/{CHAPTER}#{target}")
            assert not tab.evaluate(ARRIVED), target
            assert tab.evaluate(
                f"(e => (e.closest('details') ?? e.querySelector('details')).open)(document.getElementById({target!r}))"
            )


# The block of text that the reader sees at the top of the window: which one, and how far from the top.
READING = """(() => {
  const blocks = [...document.querySelectorAll("article :is(p, pre, li, figure, h2, h3)")];
  const left = document.querySelector("article").getBoundingClientRect().left;
  for (let y = 80; y < innerHeight; y += 4) {
    const block = document.elementFromPoint(left + 40, y)?.closest("p, pre, li, figure, h2, h3");
    if (blocks.includes(block)) return [blocks.indexOf(block), Math.round(block.getBoundingClientRect().top)];
  }
})()"""


def moved(tab: Any, width: int, part: float, change: str) -> str:
    """What became of the reader's place, somewhere in the page, when the page was loaded again; empty where it was kept."""
    tab.set_viewport_size({"width": width, "height": HEIGHT})
    rest(tab)
    tab.evaluate(f"scrollTo({{top: {part} * document.documentElement.scrollHeight, behavior: 'instant'}})")
    rest(tab)
    before, top = tab.evaluate(READING)
    address = tab.evaluate("location.href")
    if change == "back":
        tab.goto(tab.evaluate("new URL('../status.html', location.href).href"))
        tab.go_back()
    elif change != "reload":
        tab.set_viewport_size({"width": 600 if width == WIDTHS[0] else WIDTHS[0], "height": HEIGHT})
        rest(tab)
    if "reload" in change:
        tab.reload()
    rest(tab, address)
    after, top_after = tab.evaluate(READING)
    same = change in ("reload", "back")
    if abs(after - before) > (0 if same else 1):  # at another width, the line at the top may be the next block's
        return f"{change} at {width} px, {part:.2f}: block {before} became {after}"
    return f"{change} at {width} px, {part:.2f}: {top} became {top_after}" if same and abs(top - top_after) > 8 else ""


CHANGES = ("reload", "back", "resize", "resize and reload")


def test_a_reader_s_place_is_kept(site, browser):
    """Two ways to lose it, drawn by chance."""
    with opened("chromium", browser, WIDTHS[0]) as tab:
        visit(tab, f"{site}/{CHAPTER}")
        for change in random.sample(CHANGES, 2):
            each = random.choice(WIDTHS), random.uniform(0.05, 0.95), change
            # Once more on a machine that is busy; the rehearsals below do without.
            assert not (moved(tab, *each) and moved(tab, *each)), each


@pytest.mark.rehearsal
@pytest.mark.parametrize("name", ["chromium", "firefox"])
def test_a_reader_s_place_is_kept_at_every_width_by_every_change(site, browser, name):
    with opened(name, browser, WIDTHS[0]) as tab:
        visit(tab, f"{site}/{CHAPTER}")
        found = [moved(tab, width, random.uniform(0.05, 0.95), change) for width in WIDTHS for change in CHANGES]
        assert [said for said in found if said] == []


@pytest.mark.rehearsal
@pytest.mark.parametrize("name", ["chromium", "firefox"])
def test_twenty_reloads_keep_the_place(site, browser, name):
    with opened(name, browser, WIDTHS[0]) as tab:
        visit(tab, f"{site}/{CHAPTER}")
        found = [moved(tab, random.choice(WIDTHS), random.uniform(0.02, 0.98), "reload") for _ in range(20)]
        assert [said for said in found if said] == []
