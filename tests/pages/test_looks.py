"""What a reader sees and takes along: names, copied formulas, code, print, colours, and a page without scripts."""

from __future__ import annotations

import io
import re

import pytest
from PIL import Image
from support import SITE

pytestmark = pytest.mark.site
CHAPTER, HOME = "book/06-xavier.html", "book/index.html"


@pytest.fixture
def tab(site, browser):
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.site = site
    yield page
    context.close()


def dark_rows(picture: bytes) -> list[bool]:
    """Which rows of a picture, from its middle down, are drawn across most of its width."""
    image = Image.open(io.BytesIO(picture)).convert("L")
    width, height = image.size
    ground = image.getpixel((1, 1))
    marked = [sum(abs(image.getpixel((x, y)) - ground) > 60 for x in range(width)) for y in range(height // 2, height)]
    return [count > 0.7 * width for count in marked]


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5, 0.75])
def test_an_underscore_of_a_linked_name_is_not_its_underline(tab, shift):
    """Two lines with ground between them, wherever on the pixel grid the text stands."""
    tab.goto(f"{tab.site}/{CHAPTER}", wait_until="load")
    link = tab.locator("article a:has(code)").first
    link.evaluate("""(a, shift) => {
      a.querySelector('code').textContent = '________';
      a.style.cssText = `position: relative; top: ${shift}px; display: inline-block; padding-bottom: 8px`;
      a.style.animation = 'none';
    }""", shift)  # fmt: skip
    rows = dark_rows(link.screenshot())
    bands = re.findall("1+", "".join("01"[row] for row in rows))
    assert len(bands) == 2, rows


def test_a_copied_formula_is_its_tex(tab):
    tab.goto(f"{tab.site}/{CHAPTER}", wait_until="load")
    copied = """(element) => { getSelection().removeAllRanges(); const range = document.createRange();
      range.selectNodeContents(element); getSelection().addRange(range); }"""
    for selector, wanted in (
        ("#equation-eq-xavier-gamma .formula", r"^\$\$.*\\gamma.*\$\$$"),
        ("article p:has(.katex)", r"\$[^$]+\$"),
    ):
        block = tab.locator(selector).first
        block.scroll_into_view_if_needed()
        block.evaluate(copied)
        tab.keyboard.press("Control+c")
        text = tab.evaluate("navigator.clipboard.readText()")
        tex = block.evaluate("e => [...e.querySelectorAll('annotation')].map(a => a.textContent.trim())")
        assert re.search(wanted, text, re.DOTALL) and all(t in text for t in tex), text
        assert len(text) < 60 + sum(map(len, tex)) + len(block.inner_text()), "the drawn formula was copied too"
    tab.locator("article p").first.evaluate(copied)  # a part of the formula is all of it
    inside = tab.locator("#equation-eq-xavier-gamma .mord").nth(2)
    inside.evaluate(copied)
    tab.keyboard.press("Control+c")
    assert tab.evaluate("navigator.clipboard.readText()").count("$$") == 2


def test_first_aid_is_one_screen(tab):
    """From the landing page, one click: the seven steps, the lines to run and the symptoms, all in sight."""
    tab.goto(f"{tab.site}/{HOME}", wait_until="load")
    tab.get_by_role("link", name="My loss is NaN").first.click()
    tab.wait_for_url("**/08-nan-clinic.html#nan-checklist")
    below = """[...document.querySelectorAll('#nan-checklist :is(li, .cell_input, tr)')]
      .map(e => e.getBoundingClientRect()).filter(b => b.bottom > innerHeight || b.top < 52).length"""
    assert tab.locator("#nan-checklist > ol > li").count() == 7 and tab.locator("#nan-checklist tr").count() > 4
    tab.wait_for_timeout(800)  # nothing moves it afterwards
    tab.wait_for_function(f"{below} === 0")
    first = tab.evaluate("document.querySelector('article > .whole > section').id")
    assert first == "nan-checklist" and "find_nonfinite_origin" in tab.inner_text("#nan-checklist .cell_input")


def test_print(tab):
    """Nothing is larger than the text but headings, code may break, and nobody is told where to click."""
    tab.goto(f"{tab.site}/book/03-vanishing-sigmoid.html", wait_until="load")
    tab.emulate_media(media="print")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    size = "e => parseFloat(getComputedStyle(e).fontSize)"
    text = tab.locator("article p").first.evaluate(size)
    for selector in ("figcaption", "pre", "td", ".admonition-title"):
        assert tab.locator(selector).first.evaluate(size) <= text, selector
    assert tab.locator("h2").first.evaluate(size) < 2 * text
    assert tab.locator(".highlight").first.evaluate("e => getComputedStyle(e).breakInside") == "auto"
    assert tab.locator("details.hide > summary:visible").count() == 0


def test_forced_colours(tab):
    """The legend keeps the colours of the curves; one link of the chapters is marked, one door stands out."""
    tab.emulate_media(forced_colors="active")
    tab.goto(f"{tab.site}/{HOME}", wait_until="load")
    for name in ("forward", "backward"):
        swatch = tab.evaluate(
            f"getComputedStyle(document.querySelector('.live-legend .live-{name}'), '::before').borderTopColor"
        )
        assert swatch == tab.evaluate(f"getComputedStyle(document.querySelector('path.live-{name}')).stroke")
    edges = tab.evaluate(
        "[...document.querySelectorAll('#book-nav li a')].map(a => getComputedStyle(a).borderLeftColor)"
    )
    ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(edge != ground for edge in edges) <= 1
    doors = tab.evaluate("[...document.querySelectorAll('.doors a')].map(a => getComputedStyle(a).backgroundColor)")
    assert doors[0] not in doors[1:]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_without_scripts(site, browser, scheme):
    """The system's colours, the live figure with its preset, and no dead controls."""
    context = browser.new_context(
        java_script_enabled=False, color_scheme=scheme, viewport={"width": 1280, "height": 900}
    )
    page = context.new_page()
    page.goto(f"{site}/{HOME}", wait_until="load")
    assert (Image.open(io.BytesIO(page.screenshot())).convert("L").getpixel((640, 890)) < 100) == (scheme == "dark")
    still = page.locator(".live-plot")
    assert still.bounding_box()["height"] > 200 and still.locator("path.live-curve").count() == 4
    assert page.locator(".live-verdict").inner_text().startswith("Forward: ")
    for hidden in (".live-controls", ".live-data", ".live-share"):
        assert not page.locator(hidden).first.is_visible(), hidden
    context.close()


def test_the_page_is_built_with_the_preset_s_curves(tab):
    """Its curves go through the numbers that the figure itself shows first."""
    tab.goto(f"{tab.site}/{HOME}", wait_until="load")
    path = re.search(r'<path d="M([^"]+)" class="live-curve live-forward"', (SITE / HOME).read_text("utf8"), re.DOTALL)
    heights = [float(point.split()[1]) for point in path[1].split("L")]
    sizes = tab.evaluate("[...liveFigures[0].result().forward].map(Math.log10)")
    per_decade = (heights[0] - heights[-1]) / (sizes[-1] - sizes[0])
    assert len(heights) == len(sizes) == 51 and per_decade > 0
    for height, size in zip(heights, sizes, strict=True):
        assert abs((heights[0] - height) / per_decade - (size - sizes[0])) < 0.02


def test_the_choice_of_colours_is_seen_and_handed_on(tab):
    tab.goto(f"{tab.site}/{HOME}", wait_until="load")
    theme, button = "document.documentElement.dataset.theme", tab.get_by_role("button", name="Colours")
    assert "system" in button.inner_text()
    assert "theme=" not in tab.locator(".live-embed").input_value()
    button.click()  # the first click already changes something
    assert tab.evaluate(theme) == "dark" and "dark" in button.inner_text()
    bar = tab.locator('meta[name="theme-color"]').first.get_attribute("content")
    assert bar == "#12171d"
    alone = tab.locator(".live-alone").get_attribute("href")
    assert "theme=dark" in alone and "theme=dark" in tab.locator(".live-embed").input_value()
    tab.goto(alone, wait_until="load")
    assert tab.evaluate(theme) == "dark" and "theme=dark" in tab.locator(".live-embed").input_value()


def test_the_bar_of_the_browser_has_the_page_s_colour(tab):
    tab.goto(f"{tab.site}/{HOME}", wait_until="load")
    light = tab.locator('meta[name="theme-color"][media*="light"]').get_attribute("content")
    assert light == "#fdfcfa" == tab.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--ground')")


@pytest.mark.parametrize(("platform", "shown"), [("MacIntel", "⌘ K"), ("Linux x86_64", "Ctrl K")])
def test_the_key_for_the_search_is_the_machine_s(tab, platform, shown):
    tab.add_init_script(f"Object.defineProperty(navigator, 'platform', {{ get: () => {platform!r} }})")
    tab.goto(f"{tab.site}/{HOME}", wait_until="load")
    assert tab.locator(".find kbd").inner_text() == shown


def test_the_slider_of_the_scale_has_ends(tab):
    tab.goto(f"{tab.site}/{HOME}", wait_until="load")
    slider = tab.locator(".live-controls input[type=range]").first
    for key, wanted in (("End", 20), ("Home", 0.05)):
        slider.press(key)
        assert float(tab.locator("[name=scale]").input_value()) == wanted


def test_a_fold_says_what_a_click_does(tab):
    tab.goto(f"{tab.site}/{CHAPTER}", wait_until="load")
    fold = tab.locator("details.going-further").first
    assert fold.locator("summary").inner_text().strip() == "Show this section"
    fold.locator("summary").click()
    assert fold.locator("summary").inner_text().strip() == "Hide it"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_comments_of_code_are_quiet(tab, scheme):
    """No token stands out less against the ground."""
    tab.emulate_media(color_scheme=scheme)
    tab.goto(f"{tab.site}/{CHAPTER}", wait_until="load")
    contrast = """(() => {
      const light = c => c.match(/\\d+/g).slice(0, 3).map(v => (v / 255) ** 2.2).reduce((s, v, i) => s + v * [0.21, 0.72, 0.07][i], 0);
      const of = e => light(getComputedStyle(e).color);
      const ground = light(getComputedStyle(document.querySelector('.highlight')).backgroundColor);
      const far = [...document.querySelectorAll('.cell_input pre span')].filter(e => e.textContent.trim())
        .map(e => [e.matches('.c1'), Math.abs(of(e) - ground)]);
      return [Math.max(...far.filter(([c]) => c).map(([, d]) => d)), Math.min(...far.filter(([c]) => !c).map(([, d]) => d))];
    })()"""
    comments, others = tab.evaluate(contrast)
    assert comments <= others * 1.25


def test_numbers_of_a_table_stay_on_one_line(tab):
    tab.set_viewport_size({"width": 375, "height": 800})
    for page in ("book/homework/hw3.html", "book/appendix/ledger.html"):
        tab.goto(f"{tab.site}/{page}", wait_until="load")
        tab.add_style_tag(content="section { content-visibility: visible !important }")
        tall = """[...document.querySelectorAll('td.figures, td a[href*="#cell-"]')].slice(0, 400)
          .filter(e => { const r = document.createRange(); r.selectNodeContents(e);
            return new Set([...r.getClientRects()].map(b => Math.round(b.top / 8))).size > 2; })
          .map(e => e.textContent)"""
        assert tab.evaluate(tall) == []
