"""Previews in a real browser: what a link leads to, beside it; by pointer, keyboard and finger, on a server and from files."""

from __future__ import annotations

import json
import re
from urllib.parse import unquote

import pytest
from access import faults
from bookext.pages import previews
from bookext.read.labels import labels
from support import SITE, listen

pytestmark = pytest.mark.site


def parts(page: str) -> dict[str, str]:
    """What the script of a page holds."""
    text = (SITE / previews.script_of(page)).read_text("utf8")
    return json.loads(text[text.index("{") : text.rindex(")")])


@pytest.fixture(params=["http", "file"])
def home(request, site):
    return site if request.param == "http" else SITE.as_uri()


def opened(browser, address, **options):
    tab = browser.new_page(**({"viewport": {"width": 1280, "height": 800}} | options))
    tab.goto(address, wait_until="load")
    return tab


TO_THE_MIDDLE = """async link => {
  for (let was = null, top = NaN; was !== top;) { // sections above get their real height as they come into sight
    was = top;
    link.scrollIntoView({block: 'center', behavior: 'instant'});
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 100))));
    top = link.getBoundingClientRect().top;
  }
  return link.getClientRects()[0].toJSON();
}"""


def rest_on(tab, selector: str):
    """Move the pointer onto a link and stay."""
    link = tab.locator(f"article {selector}").locator("visible=true").first
    box = link.evaluate(TO_THE_MIDDLE)  # the link's first line
    tab.mouse.move(box["x"] + 2, box["y"] - 30)
    tab.mouse.move(box["x"] + min(8, box["width"] / 2), box["y"] + box["height"] / 2, steps=3)
    return link


PREVIEW = "#preview:popover-open"
ACROSS, EQUATION = "book/homework/hw4.html", 'a[href="../06-xavier.html#equation-eq-xavier-input-mean"]'

KINDS = [  # (page, link, words that its preview has)
    (ACROSS, EQUATION, ["(6.22)", "Var"]),
    ("book/09-summary.html", 'a[href*="08-nan-clinic.html#nan-checklist"]', ["When your loss is NaN", "Keep the weights"]),
    ("book/06-xavier.html", 'a[href="#equation-eq-xavier-gamma"]', ["(6.16)"]),
    ("book/06-xavier.html", 'a[href*="references.html#"]', ["Glorot", "Understanding the difficulty"]),
    ("book/06-xavier.html", 'a[href$="05-constant-variance.html"]', ["5.", "Constant variance", "weights that training starts from"]),
    ("book/appendix/labs.html", 'a[href$="#labs.init.he_std"]', ["he_std", "Standard deviation of He initialisation"]),
    ("book/09-summary.html", 'a[href*="ledger.html#claim-sig-updates"]', ["Result", "draws"]),
    ("book/03-vanishing-sigmoid.html", "a.symbol[href$='#symbol-chi-1']", ["Meaning", "factor by which a layer multiplies"]),
    ("book/appendix/lecture-map.html", 'a[href*="06-xavier.html#l32"]', ["Both at once, and the compromise"]),
]  # fmt: skip


# A script of previews is found and read alike from a server and from files, whatever is in it: the first kind is seen by both.
ASKED = [("http", *KINDS[0]), *((("file", "http")[k % 2], *kind) for k, kind in enumerate(KINDS))]


@pytest.mark.parametrize(("served", "page", "link", "words"), ASKED)
def test_the_pointer_rests_on_a_link(site, browser, served, page, link, words):
    home = site if served == "http" else SITE.as_uri()
    tab = opened(browser, f"{home}/{page}")
    noise, _ = listen(tab, home)
    rest_on(tab, link)
    tab.wait_for_selector(PREVIEW, timeout=5000)
    text = tab.inner_text("#preview")
    assert all(word in text for word in words), text
    assert noise == []
    box = tab.locator("#preview").bounding_box()
    assert box["x"] >= 0 and box["y"] >= 0 and box["x"] + box["width"] <= 1280 and box["y"] + box["height"] <= 800
    tab.close()


def test_a_figure_with_its_caption(home, browser):
    where = next((page, href) for page, href in links() if "#fig-" in href)
    tab = opened(browser, f"{home}/{where[0]}")
    noise, _ = listen(tab, home)
    rest_on(tab, f'a[href="{where[1]}"]')
    tab.wait_for_selector(f"{PREVIEW} img")
    tab.wait_for_function("document.querySelector('#preview img').naturalWidth > 0")
    assert "Fig. " in tab.inner_text("#preview") and noise == []
    tab.close()


def test_nothing_is_loaded_before_and_one_script_then(site, browser):
    tab = browser.new_page(viewport={"width": 1280, "height": 800})
    asked: list[str] = []
    tab.on("request", lambda r: asked.append(r.url))
    tab.goto(f"{site}/{ACROSS}", wait_until="load")
    rest_on(tab, EQUATION)
    tab.wait_for_selector(PREVIEW)
    loaded = [url for url in asked if "/previews/" in url]
    assert [url.partition("?")[0] for url in loaded] == [f"{site}/_static/previews/book-06-xavier.js"]
    assert loaded[0].endswith(f"?v={tab.evaluate('document.documentElement.dataset.content')}")
    tab.close()


def test_the_pointer_may_cross_into_the_preview(site, browser):
    tab = opened(browser, f"{site}/{ACROSS}")
    rest_on(tab, EQUATION)
    tab.wait_for_selector(PREVIEW)
    box = tab.locator("#preview").bounding_box()
    tab.mouse.move(box["x"] + 40, box["y"] + box["height"] / 2, steps=6)
    tab.wait_for_timeout(700)
    assert tab.locator(PREVIEW).count() == 1
    tab.mouse.move(5, 5, steps=4)
    tab.wait_for_selector(PREVIEW, state="detached")
    tab.close()


def test_a_pointer_that_passes_or_scrolls_by_opens_nothing(site, browser):
    tab = opened(browser, f"{site}/{ACROSS}")
    link = rest_on(tab, EQUATION)
    tab.mouse.move(5, 5)
    tab.wait_for_timeout(600)
    assert tab.locator(PREVIEW).count() == 0
    box = link.bounding_box()
    tab.mouse.move(box["x"] + 5, box["y"] + 205)
    tab.evaluate("document.documentElement.style.scrollBehavior = 'auto'; scrollBy(0, -200)")
    tab.wait_for_timeout(600)
    assert tab.locator(PREVIEW).count() == 0
    tab.close()


def test_the_keyboard_stops_at_a_link(home, browser):
    """The preview opens, describes the link, closes by Escape and the focus stays; Enter follows the link."""
    tab = opened(browser, f"{home}/{ACROSS}")
    link = tab.locator(f"article {EQUATION}").first
    tab.keyboard.press("Tab")
    link.focus()
    tab.wait_for_selector(PREVIEW)
    assert link.get_attribute("aria-describedby") == "preview-words"
    assert tab.locator("#preview").get_attribute("role") == "tooltip" and tab.locator("#preview a").count() == 0
    tab.keyboard.press("Escape")
    assert tab.locator(PREVIEW).count() == 0 and link.get_attribute("aria-describedby") is None
    assert link.evaluate("a => a === document.activeElement")
    tab.keyboard.press("Tab")
    tab.keyboard.press("Shift+Tab")
    tab.wait_for_selector(PREVIEW)
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/06-xavier.html#equation-eq-xavier-input-mean")
    tab.close()


@pytest.fixture
def phone(browser):
    context = browser.new_context(viewport={"width": 375, "height": 740}, has_touch=True, is_mobile=True)
    yield context.new_page()
    context.close()


def test_the_first_tap_shows_and_the_second_follows(home, phone):
    phone.goto(f"{home}/{ACROSS}", wait_until="load")
    link = phone.locator(f"article {EQUATION}").first
    link.scroll_into_view_if_needed()
    phone.wait_for_timeout(200)
    assert phone.locator(PREVIEW).count() == 0
    link.tap()
    phone.wait_for_selector(PREVIEW)
    box = phone.locator("#preview").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 375 and box["y"] >= 0 and box["y"] + box["height"] <= 740
    assert phone.locator("#preview a").inner_text() == "Go there"
    assert ACROSS in phone.url
    phone.touchscreen.tap(3, box["y"] + box["height"] + 20 if box["y"] < 400 else 120)  # elsewhere
    assert phone.locator(PREVIEW).count() == 0
    link.tap()
    phone.wait_for_selector(PREVIEW)
    link.tap()
    phone.wait_for_url("**/06-xavier.html#equation-eq-xavier-input-mean")


def test_go_there(site, phone):
    phone.goto(f"{site}/{ACROSS}", wait_until="load")
    phone.locator(f"article {EQUATION}").first.tap()
    phone.locator("#preview .go").tap()
    phone.wait_for_url("**/06-xavier.html#equation-eq-xavier-input-mean")


def test_a_link_without_a_preview_is_followed_at_the_first_tap(site, phone):
    phone.goto(f"{site}/book/appendix/ledger.html", wait_until="load")
    phone.locator('article a[href*="#cell-"]').first.tap()
    phone.wait_for_url("**#cell-*")


@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.rehearsal)])
def test_an_open_preview_is_accessible(site, browser, scheme, width):
    tab = opened(browser, f"{site}/book/09-summary.html", viewport={"width": width, "height": 800}, color_scheme=scheme)
    for link in ('a[href*="#nan-checklist"]', 'a[href*="#equation-"]', 'a[href*="references.html#"]'):
        found = tab.locator(f"article {link}").first
        if not found.count():
            continue
        rest_on(tab, link)
        tab.wait_for_selector(PREVIEW)
        assert faults(tab, "#preview") == []
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        tab.mouse.move(2, 2)
        tab.wait_for_selector(PREVIEW, state="detached")
    tab.close()


def test_nothing_is_animated_for_those_who_want_it_still(site, browser):
    for motion, animated in (("reduce", "none"), ("no-preference", "preview")):
        tab = opened(browser, f"{site}/{ACROSS}", reduced_motion=motion)
        rest_on(tab, EQUATION)
        tab.wait_for_selector(PREVIEW)
        assert tab.evaluate("getComputedStyle(document.getElementById('preview')).animationName") == animated
        tab.close()


# ---- What is in them ----


def links() -> list[tuple[str, str]]:
    """The page and the address of each link of the book's text."""
    pages = sorted(SITE.glob("book/**/*.html"))
    found = []
    for path in pages:
        article = previews.ARTICLE.search(path.read_text("utf8"))
        found += [
            (path.relative_to(SITE).as_posix(), href) for href in previews.LINK.findall(article[1] if article else "")
        ]
    return found


def test_each_link_of_a_kind_has_a_preview():
    """Equations, figures, sections, exercises, citations, rows of notation and of the ledger, names of labs, pages."""
    held: dict[str, dict[str, str]] = {}
    counts: dict[str, int] = {}
    missing = set()
    for page, href in links():
        target, anchor = next(previews.targets(page, f'<a href="{href}">'))
        if (
            not target.endswith(".html")
            or anchor.startswith(("cell-", "live"))
            or target in ("search.html", "status.html")
            or target.startswith("slides/")
        ):
            continue
        if not (SITE / previews.script_of(target)).exists():
            assert target in ("book/live.html", "index.html"), target
            continue
        shown = held.setdefault(target, parts(target)).get(anchor)
        kind = re.match(r"[a-z]*", anchor)[0]
        counts[kind] = counts.get(kind, 0) + bool(shown)
        if not shown:
            missing.add(f"{target}#{anchor}")
    assert not missing
    assert (
        counts["equation"] > 200
        and counts["labs"] > 80
        and counts["sec"] > 5
        and counts["fig"] > 2
        and counts["claim"] > 80
        and counts["symbol"] > 60
    )


def test_previews_are_only_to_be_read():
    """No solution, no hint, no link, no anchor, no stop for the keyboard, nothing that runs."""
    seen = 0
    for script in sorted((SITE / previews.FOLDER).glob("*.js")):
        text = script.read_text("utf8")
        page = re.match(r'bookPreviews\("([^"]+)"', text)[1]
        for anchor, html in parts(page).items():
            seen += 1
            plain = re.sub(r"<svg\b.*?</svg>", "", html, flags=re.DOTALL)
            assert not re.search(
                r"<(?:a|details|summary|button|input|script|iframe)\b| (?:id|tabindex|onclick)=", plain
            ), (page, anchor)
            assert "Solution" not in html and "headerlink" not in html, (page, anchor)
            for source in re.findall(r' src="([^"]*)"', html):
                assert source.startswith("@/") and (SITE / unquote(source[2:])).exists(), (page, anchor, source)
    assert seen > 250


def test_an_exercise_is_shown_without_its_solution():
    assert len([label for label in labels() if label.startswith("ex-")]) > 30
    html = (SITE / "book/01-chained-jacobians.html").read_text("utf8")
    shown = previews.cleaned(previews.part(html, "ex-shapes"), "book")
    assert "Write down the shape of each factor" in shown
    assert "Hint" not in shown and "Their product is a" not in shown
    assert "Their product is a" in html


def test_a_symbol_leads_to_its_meaning_once_a_chapter():
    for path in sorted(SITE.glob("book/0*.html")):
        article = previews.ARTICLE.search(path.read_text("utf8"))[1]
        found = re.findall(r'<a (?:aria-label="[^"]*" )?class="[^"]*symbol[^"]*" href="notation.html#([^"]+)"', article)
        assert len(found) == len(set(found)) and (len(found) > 5 or path.name.startswith(("08", "09"))), path.name
        assert set(found) <= set(parts("book/notation.html"))


def test_previews_weigh_little():
    """No page's previews weigh more than a tenth of what a page may, compressed."""
    import gzip

    sizes = {path.name: len(gzip.compress(path.read_bytes())) for path in (SITE / previews.FOLDER).glob("*.js")}
    assert max(sizes.values()) < 45_000, max(sizes.items(), key=lambda item: item[1])
    assert len(gzip.compress((SITE / "_static/previews.js").read_bytes())) < 5_000
