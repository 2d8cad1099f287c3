"""Each page says its language and where it is in the other one, and who reads Chinese is offered the Chinese pages, once."""

from __future__ import annotations

import re

import pytest
from access import faults
from bookext.check.twins import translated_decks, translated_pages
from bookext.read.book import config
from support import ROOT, SITE, listen

pytestmark = pytest.mark.site
HOME = "book/index.html"
LINK = re.compile(r'<link rel="alternate" hreflang="([^"]+)" href="([^"]+)">')


def pages() -> list[str]:
    """Every page and every deck of both sites, redirections left out."""
    found = [path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html")]
    return [name for name in found if not name.startswith("versions/") and name.count("index.html") < 2]


def test_every_page_says_its_language():
    names = pages()
    assert len(names) > 50
    for name in names:
        text = (SITE / name).read_text("utf8")
        said = re.search(r"<html[^>]*\blang=\"([^\"]+)\"", text)
        if "http-equiv" in text and "refresh" in text:
            continue  # it leads on
        assert said and said[1] == ("zh-Hans" if name.startswith("zh/") else "en"), name


def test_every_page_names_its_twins():
    """Each of a pair names both and, for all other languages, the English one; no page names one that is not there."""
    base = config()["html"]["baseurl"]
    translated = {page.relative_to(ROOT).with_suffix(".html").as_posix() for page in translated_pages()}
    translated |= {f"slides/{deck.stem}.html" for deck in translated_decks()}
    assert len(translated) > 20
    named = set()
    for name in pages():
        links = LINK.findall((SITE / name).read_text("utf8"))
        own = name.removeprefix("zh/")
        twins = {("en", f"{base}{own}"), ("x-default", f"{base}{own}"), ("zh-Hans", f"{base}zh/{own}")}
        assert set(links) == (twins if own in translated else set()) and len(links) in (0, 3), name
        named |= {href.removeprefix(base) for _, href in links}
    assert named == translated | {f"zh/{page}" for page in translated}
    assert not [href for href in named if not (SITE / href).exists()]


def offered(browser, site, page, locale):
    """A tab on a page, of a browser that speaks a language."""
    context = browser.new_context(locale=locale, viewport={"width": 375, "height": 800})
    tab = context.new_page()
    tab.add_init_script(
        "window.shift = 0; new PerformanceObserver(l => { for (const e of l.getEntries()) window.shift += e.value })"
        ".observe({type: 'layout-shift', buffered: true})"
    )
    tab.goto(f"{site}/{page}", wait_until="load")
    return tab


@pytest.mark.parametrize(
    ("page", "locale", "shown"),
    [
        (HOME, "zh-CN", True),
        (HOME, "zh-TW", True),
        (HOME, "zh", True),
        (HOME, "en-GB", False),
        (HOME, "de", False),
        ("book/01-chained-jacobians.html", "zh-CN", False),
        (f"zh/{HOME}", "zh-CN", False),
    ],
)
def test_who_reads_chinese_is_offered_it(site, browser, page, locale, shown):
    tab = offered(browser, site, page, locale)
    assert tab.locator("#offer").is_visible() == shown
    assert tab.url == f"{site}/{page}"  # nobody is sent anywhere
    assert tab.evaluate("document.documentElement.scrollWidth") <= 375 and tab.evaluate("window.shift") < 0.01
    tab.context.close()


def test_an_answered_offer_does_not_come_again(site, browser):
    tab = offered(browser, site, HOME, "zh-CN")
    noise, _ = listen(tab, site)
    assert faults(tab) == []
    tab.get_by_role("button", name="不再显示").click()
    assert not tab.locator("#offer").is_visible()
    for _ in range(2):
        tab.reload(wait_until="load")
        assert not tab.locator("#offer").is_visible()
    assert noise == []
    tab.context.close()

    tab = offered(browser, site, HOME, "zh-CN")
    tab.get_by_role("link", name="本书有中文版。").click()
    tab.wait_for_url(f"**/zh/{HOME}")
    tab.get_by_role("link", name="English").click()
    tab.wait_for_url(f"{site}/{HOME}")
    assert not tab.locator("#offer").is_visible()
    tab.context.close()
