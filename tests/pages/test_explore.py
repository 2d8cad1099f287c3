"""The explorables in a real browser: everyone can use them, they load where they are, and are drawn within a frame.

That their numbers are those of labs: ``test_explore_numbers``.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import statistics
import tempfile
from functools import partial
from pathlib import Path

import pytest
from access import faults
from bookext.notebook import generator as notebooks
from bookext.pages import explore, live
from bookext.pages.chinese import SCRIPTS, said_by
from bookext.read.book import ROOT, book_pages
from bookext.read.chapter import read_chapter
from support import SITE, listen

PLACES = {
    name: page
    for page in book_pages()
    for name in re.findall(r"^```\{explorable\} (\w+)", page.read_text("utf8"), re.MULTILINE)
}
LIVE = ROOT / "book/_static/live"
# Two frames later what an event has changed is drawn, however slow the machine.
DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def address(name: str) -> str:
    return PLACES[name].relative_to(ROOT).with_suffix(".html").as_posix()


def alone(name: str, chinese: bool = False) -> str:
    """The address of a page with nothing but the figure, styled as the book's, on the disk."""
    sheets = (SITE / "_static/site.css", explore.STATIC / "live/live.css")
    links = "".join(f'<link rel="stylesheet" href="{sheet.as_uri()}">' for sheet in sheets)
    loaded = "".join(f'<script src="{(explore.STATIC / s).as_uri()}"></script>' for s in explore.scripts(name))
    if chinese:
        said = json.dumps(said_by(*SCRIPTS[explore.WORDS]))
        loaded = f"<script>globalThis.bookWords = {said}</script>{loaded}"
    given = live.given(live.PRESET, "live.html") if name == explore.LIVE else explore.data(name)
    figure = explore.built(name, f"explore-{name}", json.dumps(given), chinese)
    figure = figure.replace("<!-- caption -->", "<p>A caption.</p>")
    page = (
        f'<!doctype html><html lang="{"zh-Hans" if chinese else "en"}" data-theme="light"><meta charset="utf-8"><title>One</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">{links}'
        f"<body><main><article><h1>One</h1>{figure}</article></main>{loaded}"
    )
    path = Path(tempfile.gettempdir()) / f"explore-{name}-{chinese}-{os.getpid()}.html"
    path.write_text(page, "utf8")
    return path.as_uri()


TABS = {}  # a mouse's and a finger's: to open a tab costs as much as to load the page, which keeps nothing


def emptied(browser, touch=False, viewport=None, reduced_motion="no-preference"):
    """The tab of a browser for all that is looked at alone, with nothing in it."""
    if (browser, touch) not in TABS:
        TABS[browser, touch] = browser.new_page(has_touch=touch)
    tab = TABS[browser, touch]
    tab.goto("about:blank")
    tab.set_viewport_size(viewport or {"width": 1280, "height": 720})
    tab.emulate_media(media="screen", reduced_motion=reduced_motion)
    return tab


def open_page(browser, name, theme="light", chinese=False, **options):
    """A tab with an explorable alone, and a handle on it in the page as ``one``."""
    tab = emptied(browser, **options)
    tab.goto(f"{alone(name, chinese)}#explore-{name}", wait_until="load")
    tab.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    tab.evaluate(f"window.one = explore.mounted.find(e => e.name === '{name}')")
    return tab


def touched(session, kind, *points):
    """A finger in the browser."""
    found = [{"x": x, "y": y} for x, y in points]
    session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": found})


@pytest.fixture(params=list(explore.NEEDS))
def name(request):
    return request.param


def test_each_stands_on_one_page():
    assert set(PLACES) == set(explore.NEEDS)
    scripts = {path.stem for path in (explore.STATIC / "explore").glob("*.js")} - {"common"}
    assert scripts >= set(explore.NEEDS)


def test_a_notebook_has_a_link_and_a_figure_of_the_preset(name):
    chapter = read_chapter(PLACES[name])
    text = notebooks.convert(PLACES[name])
    cells = json.loads(text)["cells"]
    at = next(k for k, cell in enumerate(cells) if f"#explore-{name})**" in "".join(cell["source"]))
    link = f"[Explorable figure]({notebooks.page_url(chapter.path, f'explore-{name}')})**"
    assert link in "".join(cells[at]["source"])
    assert cells[at + 1]["cell_type"] == "code" and cells[at + 1]["metadata"]["tags"] == ["remove-cell"]


def test_all_scripts_together_are_small():
    scripts = [*(explore.STATIC / "explore").glob("*.js"), *LIVE.glob("*.js")]
    assert sum(len(gzip.compress(path.read_bytes(), 6)) for path in scripts) <= 60_000


@pytest.mark.site
def test_only_pages_with_an_explorable_load_it():
    for page in book_pages():
        html = (SITE / page.relative_to(ROOT).with_suffix(".html")).read_text("utf8")
        held = {name for name in PLACES if PLACES[name] == page}
        assert ("explore/common.js" in html) == bool(held or 'class="live-figure"' in html), page
        assert set(re.findall(r'data-explore="(\w+)"', html)) - {explore.LIVE} == held
        assert {name for name in explore.NEEDS if f"explore/{name}.js" in html} == held


@pytest.mark.site
def test_it_works_in_its_page(site, browser, name):
    """The figure stands there as it was tested alone, and moves; nothing is asked for elsewhere."""
    assert explore.figure(name, f"explore-{name}").partition("<!-- caption -->")[2] in (SITE / address(name)).read_text(
        "utf8"
    )
    tab = browser.new_page(viewport={"width": 375, "height": 800})
    noise, _ = listen(tab, site)
    tab.goto(f"{site}/{address(name)}", wait_until="load")
    assert (
        not tab.evaluate("typeof explore !== 'undefined'")
        or tab.locator(f"[data-explore={name}]").bounding_box()["y"] < 2000
    )
    one = tab.locator(f"[data-explore={name}]")
    one.evaluate("e => e.scrollIntoView()")
    tab.wait_for_function("typeof explore !== 'undefined' && explore.mounted.length")
    svg, words = one.locator("svg"), one.locator(".ex-words")
    height, said = svg.bounding_box()["height"], words.text_content()
    one.locator("[data-preset]").last.click()
    tab.wait_for_function(
        "([name, said]) => document.querySelector(`[data-explore=${name}] .ex-words`).textContent !== said",
        arg=[name, said],
    )
    assert (
        svg.bounding_box()["height"] == height or name == "culprit"
    ) and noise == []  # whose nets are of several depths
    tab.close()


@pytest.mark.site
@pytest.mark.parametrize("theme", ("light", pytest.param("dark", marks=pytest.mark.rehearsal)))
def test_it_is_accessible_and_fits(browser, name, theme):
    for width in (320, 1280):
        tab = open_page(browser, name, theme, viewport={"width": width, "height": 800})
        tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        tab.wait_for_selector("td")
        assert faults(tab, ".explore") == []
        for preset in range(tab.locator("[data-preset]").count()):
            tab.locator("[data-preset]").nth(preset).click()
            outside = tab.evaluate(
                """[...document.querySelectorAll('.explore *')].filter(e => {
                     const box = e.getBoundingClientRect(), drawn = !e.closest('.live-table, [clip-path]') && e.tagName !== 'g';
                     return drawn && box.width && (box.right > innerWidth + 1 || box.left < -1);
                   }).map(e => e.outerHTML.slice(0, 200))"""
            )
            assert outside == [], (preset, width)
            sizes = "[...document.querySelectorAll('.explore text')].map(e => parseFloat(getComputedStyle(e).fontSize))"
            assert min(tab.evaluate(sizes)) >= 11


@pytest.mark.site
def test_keyboard_table_and_reset(browser, name):
    tab = open_page(browser, name, reduced_motion="reduce")
    one = tab.locator(f"[data-explore={name}]")
    drawing, first = one.locator("svg > g").first, tab.evaluate("one.state()")
    before = drawing.inner_html()
    unnamed = (
        "e => [...e.querySelectorAll('input, select, textarea')].filter(f => !f.labels.length && !f.ariaLabel).length"
    )
    assert one.evaluate(unnamed) == 0
    for field in one.locator(":is(input[type=range], select, input[type=radio]:checked)").all():
        if not field.is_visible() and field.get_attribute("type") != "radio":
            continue
        state = tab.evaluate("one.state()")
        field.focus()
        for key in ("ArrowRight", "Enter", "ArrowDown", "ArrowLeft"):  # at one end two of them do nothing
            tab.keyboard.press(key)
            tab.evaluate(DRAWN)
            if tab.evaluate("one.state()") != state:
                break
        assert tab.evaluate("one.state()") != state, field.evaluate("e => e.outerHTML")
    assert drawing.inner_html() != before
    words = one.locator(".ex-words").inner_text()
    tab.wait_for_function("one.figure.querySelector('[role=status]').textContent")
    assert one.locator("svg").get_attribute("aria-label") and words
    one.locator(".live-data summary").focus()
    tab.keyboard.press("Enter")
    one.locator("td").first.wait_for()
    assert one.locator("tbody tr").count() >= 3
    one.locator("button[type=reset]").focus()
    tab.keyboard.press("Enter")
    tab.wait_for_function("first => JSON.stringify(one.state()) === JSON.stringify(first)", arg=first)
    assert drawing.inner_html() == before
    assert tab.evaluate("document.getAnimations().length") == 0


@pytest.mark.site
def test_a_moved_drawing_is_what_a_new_one_would_be(browser, name):
    """A move changes what differs; nothing of an earlier drawing is left."""
    tab = open_page(browser, name, viewport={"width": 600, "height": 900})
    moved, wrong = tab.evaluate("""() => {
      const spec = explore.specs[one.name], svg = one.figure.querySelector(".ex-plot"), fresh = svg.children[0].cloneNode();
      let moved = 0, wrong = 0, last = "";
      const look = () => {
        fresh.innerHTML = spec.draw(one.result(), { width: svg.clientWidth, height: svg.clientHeight });
        moved += last !== fresh.innerHTML;
        last = fresh.innerHTML;
        wrong += svg.children[0].innerHTML !== last;
      };
      for (const [, some] of [...spec.presets, ["first", {}], ...spec.presets]) {
        one.set({ ...explore.preset(spec), ...some });
        look();
        for (const { kind, name, low, high, log, whole } of spec.controls.filter(({ kind }) => kind === "slider")) {
          for (const part of [1, 0, 0.4, 0.7]) {
            const value = log ? low * (high / low) ** part : low + (high - low) * part;
            one.set({ [name]: whole ? Math.round(value) : value });
            look();
          }
        }
      }
      return [moved, wrong];
    }""")
    assert moved > 10 and wrong == 0


@pytest.mark.site
def test_a_field_shows_a_number_whole_and_stands_for_it_exactly(browser):
    tab = open_page(browser, "activation")
    tab.get_by_role("button", name="He’s scale").click()
    field = tab.locator("input[name=w]")
    assert field.input_value() == "1.414214" and tab.evaluate("one.state().w === Math.SQRT2")
    assert field.evaluate("e => e.scrollWidth <= e.clientWidth")
    field.fill("1.5")
    field.press("Tab")
    tab.evaluate(DRAWN)
    assert tab.evaluate("one.state().w") == 1.5


@pytest.mark.site
@pytest.mark.parametrize("touch", (False, True))
def test_handles_can_be_dragged(browser, name, touch):
    """By a mouse and by a finger, whose page stays where it is."""
    tab = open_page(browser, name, touch=touch, viewport={"width": 375 if touch else 1280, "height": 900})
    svg = tab.locator(f"[data-explore={name}] svg")
    svg.scroll_into_view_if_needed()
    if not svg.locator(".ex-handle").count():
        return
    for k in range(svg.locator(".ex-handle").count()):
        state, box = tab.evaluate("one.state()"), svg.locator(".ex-handle").nth(k).bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        passed = tab.evaluate("scrollY")
        if touch:
            send = partial(touched, tab.context.new_cdp_session(tab))
            send("touchStart", (x, y))
            for far in (8, 16, 27):
                send("touchMove", (x - far, y + far))
            send("touchEnd")
        else:
            tab.mouse.move(x, y)
            tab.mouse.down()
            tab.mouse.move(x - 27, y + 27, steps=3)
            tab.mouse.up()
        tab.evaluate(DRAWN)
        assert tab.evaluate("one.state()") != state
        assert tab.evaluate("scrollY") == passed


@pytest.mark.site
def test_a_click_suspects_an_operation_and_another_net_begins_anew(browser):
    tab = open_page(browser, "culprit")
    tab.locator(".ex-box").nth(2).click()
    tab.wait_for_function("one.state().suspect > 0")
    assert tab.evaluate("one.result().chosen.number === one.state().suspect")
    assert tab.evaluate("one.result().verdict") != "right"
    assert not tab.locator(".ex-origin").count() and "chain" not in tab.locator(".ex-words").inner_text()
    tab.locator(".ex-switch").click()
    tab.wait_for_function("one.result().open")
    assert tab.locator(".ex-origin").count() == 1 and "chain" in tab.locator(".ex-words").inner_text()
    tall = tab.locator("svg").bounding_box()["height"]
    tab.locator(".ex-choice label").nth(4).click()
    tab.wait_for_function("one.state().suspect === 0 && !one.result().open")
    assert tab.locator("svg").bounding_box()["height"] != tall
    assert (
        tab.evaluate("one.figure.querySelector('svg').clientHeight - one.figure.querySelector('g').getBBox().height")
        < 60
    )
    assert tab.evaluate("one.state().patient").startswith("5") and not tab.locator(".ex-origin").count()
    slider = tab.locator("[data-for=suspect]")
    for _ in range(tab.evaluate("one.result().items.findIndex(i => i.nodes.includes(one.result().way[0])) + 1")):
        slider.press("ArrowRight")
    assert tab.evaluate("one.state().suspect") == 0 and tab.locator(".ex-pointed").count() == 1
    slider.press("Enter")
    assert tab.evaluate("one.result().verdict") == "right" and tab.locator(".ex-origin").count() == 1


@pytest.mark.site
def test_the_preset_is_marked_and_a_field_says_what_is_used(browser, name):
    tab = open_page(browser, name)
    presets, pressed = tab.locator("[data-preset]"), tab.locator("[data-preset][aria-pressed=true]")
    assert pressed.count() <= 1
    presets.last.click()
    assert pressed.count() == 1 and presets.last.get_attribute("aria-pressed") == "true"
    for field in tab.locator("form input[type=number]").all():
        most = float(field.get_attribute("max"))
        field.fill(f"{10 * most:g}")
        field.press("Tab")
        tab.evaluate(DRAWN)
        assert float(field.input_value()) == tab.evaluate("n => one.state()[n]", field.get_attribute("name")) == most
    assert pressed.count() == 0


@pytest.mark.site
@pytest.mark.parametrize("width", (375, 1280))
def test_what_stands_below_the_words_rests(browser, name, width):
    """The controls do not move under the pointer when a preset, or a culprit's chain, has another number of lines."""
    tab, heights = open_page(browser, name, viewport={"width": width, "height": 900}), set()
    for preset in tab.locator("[data-preset]").all():
        preset.click()
        heights.add(tab.locator(".ex-words").evaluate("e => e.offsetHeight"))
    for patient in explore.data(name) if name == "culprit" else ():
        for suspect in (0, 99):
            tab.evaluate("s => one.set(s)", {"patient": patient, "suspect": suspect, "chain": 1})
            said = tab.locator(".ex-words")
            heights.add(said.evaluate("e => e.offsetHeight"))
            assert "chain" in said.inner_text() and "[" not in said.inner_text()  # no index into a tensor
    assert len(heights) == 1


@pytest.mark.site
def test_a_slider_of_the_suspects_ends_at_the_last_one(browser):
    tab = open_page(browser, "culprit")
    for patient in tab.locator("[name=patient]").evaluate_all("all => all.map(e => e.value)"):
        tab.evaluate("patient => one.set({ patient, suspect: 99, chain: 1 })", patient)
        last, end = tab.evaluate(
            "[one.result().items.length, Number(one.figure.querySelector('[data-for=suspect]').max)]"
        )
        assert tab.evaluate("one.state().suspect") == end == last
        boxes = tab.evaluate("one.result().way.map(k => one.result().items.find(i => i.nodes.includes(k)).number)")
        chain = tab.locator(".ex-words").inner_text().partition("chain: ")[2].partition(". Its report")[0]
        assert [int(step.split()[0]) for step in chain.split(" → ")[:-1]] == boxes


@pytest.mark.site
def test_a_setting_is_in_the_address(browser, name):
    tab = open_page(browser, name)
    errors: list[str] = []
    tab.on("pageerror", lambda e: errors.append(str(e)))
    first = tab.evaluate("one.state()")
    tab.locator(f"[data-explore={name}] [data-preset]").last.click()
    changed = tab.evaluate("one.state()")
    assert changed != first
    tab.wait_for_function("/\\?/.test(location.hash)")
    tab.reload()
    mounted = f"explore.mounted.find(e => e.name === '{name}')"
    tab.wait_for_function(mounted)
    assert tab.evaluate(f"{mounted}.state()") == changed
    tab.evaluate(f"location.hash = '#explore-{name}?nonsense=1&seed=x&{next(iter(first))}=none'")
    tab.evaluate(DRAWN)
    assert set(tab.evaluate(f"{mounted}.state()")) == set(first) and errors == []


@pytest.mark.site
def test_still_and_print(browser, name):
    """Without scripts the preset's drawing stands there, as high as with them; on paper too, whatever the reader has set."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(alone(name), wait_until="load")
    one = page.locator(".explore")
    height = one.locator("svg").bounding_box()["height"]
    assert height > 150 and one.locator("svg > g").first.inner_html()
    words = one.locator(".ex-words").inner_text()
    context.close()

    tab = open_page(browser, name)
    one = tab.locator(".explore")
    assert one.locator(".ex-words").inner_text() == words and one.locator("svg").bounding_box()["height"] == height
    one.locator("[data-preset]").last.click()
    set_by_hand = tab.evaluate("one.state()")
    tab.emulate_media(media="print")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert one.locator(".ex-words").inner_text() == words and not one.locator("form").is_visible()
    tab.emulate_media(media="screen")
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate("one.state()") == set_by_hand


@pytest.mark.rehearsal
@pytest.mark.site
def test_a_move_is_drawn_within_a_frame(browser, name):
    """CPU time of the page's main thread for each of 200 moves of the first slider, all that a move does included."""
    tab = open_page(browser, name)
    session = tab.context.new_cdp_session(tab)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def used():
        return next(
            m["value"] for m in session.send("Performance.getMetrics")["metrics"] if m["name"] == "TaskDuration"
        )

    move = """part => new Promise(done => {
      const slider = one.figure.querySelector('[data-for]');
      slider.value = +slider.min + (slider.max - slider.min) * part;
      slider.dispatchEvent(new Event('input', {bubbles: true}));
      requestAnimationFrame(() => requestAnimationFrame(done));
    })"""
    times = []
    for k in range(230):
        before = used()
        tab.evaluate(move, k * 0.37 % 1)
        times.append(1000 * (used() - before))
    late = statistics.quantiles(times[30:], n=20)[-1]
    print(f"{name}: 95th percentile of a move {late:.1f} ms")
    assert late <= 16
