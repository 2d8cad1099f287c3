"""Slides in a real browser, in both languages: legible from the last row, nothing beyond its slide, and no number that the book
does not have."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bookext.check.twins import texts
from bookext.pages.decks import deck_html, write_decks
from bookext.pages.slides import Book, Writer, onto_slide, preset_of
from bookext.read.blocks import language_of, page_of, text_of
from bookext.read.book import ROOT, config, numbered_chapters
from bookext.read.chapter import SourceError, read_chapter
from bookext.read.deck import FOLDER, deck_paths, faults, parse_deck, read_deck, typed_anew
from bookext.read.words import say
from support import SITE, listen

LECTURE = FOLDER / "lecture.md"
DECKS = [text_of(path, language) for language in ("en", "zh") for path in deck_paths()]


def where(deck: Path) -> str:
    """Where the site has a deck."""
    return f"{'zh/' * (language_of(deck) == 'zh')}slides/{deck.stem}.html"


def of_each(*only: str):
    """A test of each deck in each language, or of those of these names; what looks at one slide after the other is for the rehearsal."""
    return pytest.mark.parametrize("deck", [pytest.param(d, id=where(d)) for d in DECKS if not only or d.stem in only])


ITEMS = {f"L{n}" for n in range(1, 41)}
SLIDE = """---
title: T
minutes: 1
---

## One
from: L4

{body}

Note:
Words.
"""
# Texts below 24 px, or 16 where they are small by nature; what stands beyond the slide's body; formulas that are cut.
LOOK = r"""() => {
  const slide = Reveal.getCurrentSlide(), faults = [], body = slide.querySelector('.body') ?? slide;
  const drawn = getComputedStyle(document.querySelector('.slides'));
  const scale = new DOMMatrix(drawn.transform).a * (+drawn.zoom || 1);
  const words = document.createTreeWalker(slide, NodeFilter.SHOW_TEXT);
  while (words.nextNode()) {
    const text = words.currentNode, box = text.parentElement;
    if (!text.data.replace(/[\s\u200b]/g, '') || box.closest('aside, .katex-mathml, .unseen')) continue;
    const small = box.closest('sup, sub, .mtight, .places, .eqno, figcaption, .tag, .keys, kbd, caption, .claimed > a, .claim') !== null;
    const size = parseFloat(getComputedStyle(box).fontSize) * scale;
    if (size < (small ? 16 : 24) - 0.05) faults.push(`${size.toFixed(1)} px: ${text.data.trim().slice(0, 40)}`);
  }
  const room = body.getBoundingClientRect(), page = slide.getBoundingClientRect();
  for (const box of slide.querySelectorAll('.body *, .places, h1, h2')) {
    if (box.closest('.katex-mathml, .katex svg, .vlist')) continue;
    const place = box.getBoundingClientRect(), inside = box.closest('.body') ? room : page;
    const over = Math.max(place.right - page.right + 20, place.bottom - inside.bottom);
    if (place.width && over > 3) {
      faults.push(`${Math.round(over)} px beyond: ${box.tagName} ${box.textContent.trim().slice(0, 30)}`);
      break;
    }
  }
  for (const formula of slide.querySelectorAll('.shown')) {
    const number = formula.querySelector('.eqno').getBoundingClientRect().left;
    const long = [...formula.querySelectorAll('.katex-base')].some((base) => base.getBoundingClientRect().right > number);
    if (long) faults.push(`into its number: ${formula.textContent.slice(0, 30)}`);
  }
  for (const frame of slide.querySelectorAll('iframe')) {
    const page = frame.contentDocument, times = +getComputedStyle(frame).zoom;
    const size = (e) => e.getClientRects().length && e.textContent.trim() ? parseFloat(getComputedStyle(e).fontSize) * times : 99;
    const small = [...page.querySelectorAll('text, label, p, li, output, button, option')].find((e) => size(e) < 16);
    if (small) faults.push(`small in the live figure: ${small.textContent.trim()}`);
    const parts = [...page.querySelectorAll('.live-plot, .live-verdict, button, select, input')];
    const low = parts.filter((e) => e.getBoundingClientRect().bottom > frame.clientHeight).map((e) => e.className || e.name);
    if (low.length || !page.querySelector('.live-curve')) faults.push(`the live figure does not fit: ${low}`);
    if (page.querySelector('input[type=range]').clientWidth < 80) faults.push('its slider is too short');
  }
  const images = [...slide.querySelectorAll('.body img')].map((image) => {
    const { width, height } = image.getBoundingClientRect();
    return [image.src, Math.min(width / image.naturalWidth, height / image.naturalHeight), image.naturalWidth];
  });
  return { title: slide.querySelector('h1, h2').textContent, faults, images };
}"""

DRAWN = "Reveal.getCurrentSlide().querySelector('iframe').contentDocument?.querySelector('.live-curve')"


def smallest_label(svg: str) -> float:
    """The smallest lettering of a drawing in its own units: matplotlib writes letters as outlines of 100 units, scaled."""
    sizes = [0.0]
    for group in re.findall(r'<g id="text_\d+">.*?</g>\s*</g>', svg, re.DOTALL):
        scale = re.search(r'transform="[^"]*scale\(([\d.]+) ', group)
        inner = [float(s) for s in re.findall(r"<use [^>]*scale\(([\d.]+)\)", group)]
        sizes.append(100 * float(scale[1]) * min([1.0, *inner]) if scale else 0)
    return min(sizes[1:], default=0)


def look(tab, site: str, deck: Path) -> list[str]:
    """Everything that is wrong with a deck at 1280 × 720."""
    tab.goto(f"{site}/{where(deck)}", wait_until="load")
    tab.wait_for_function("window.Reveal?.isReady()")
    found = []
    for number in range(tab.evaluate("Reveal.getTotalSlides()")):
        tab.evaluate(f"Reveal.slide({number}, 0, 99)")
        tab.wait_for_function("[...Reveal.getCurrentSlide().querySelectorAll('img')].every(i => i.complete)")
        if tab.evaluate("!!Reveal.getCurrentSlide().querySelector('iframe')"):
            tab.wait_for_function(DRAWN)
        seen = tab.evaluate(LOOK)
        for address, times, width in seen["images"]:
            svg = SITE / unquote(urlsplit(address).path).lstrip("/")
            units = float(re.search(r'viewBox="0 0 ([\d.]+)', svg.read_text("utf8"))[1])
            label = smallest_label(svg.read_text("utf8")) * width / units * times
            if 0 < label < 16:
                seen["faults"].append(f"{label:.1f} px: labels of {svg.name[:8]}")
        found += [f"{number} {seen['title']}: {fault}" for fault in seen["faults"]]
    return found


@pytest.fixture
def tab(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    yield context.new_page()
    context.close()


@pytest.mark.site
@pytest.mark.parametrize(
    "deck",
    [pytest.param(d, id=where(d), marks=[] if d.stem == "lecture" else pytest.mark.rehearsal) for d in DECKS],
)
def test_every_slide_is_legible_and_holds_what_is_on_it(site, tab, deck):
    noise, _ = listen(tab, site)
    assert look(tab, site, deck) == []
    assert noise == []


@pytest.mark.site
def test_a_slide_that_is_hard_to_read_or_too_full_is_noticed(site, tab):
    """The test above would see small words, small labels, and what stands beyond the slide."""
    tab.goto(f"{site}/slides/lecture.html", wait_until="load")
    tab.wait_for_function("window.Reveal?.isReady()")
    tab.evaluate("Reveal.slide(5, 0, 99)")
    assert tab.evaluate(LOOK)["faults"] == []
    body = "Reveal.getCurrentSlide().querySelector('.body')"
    tab.evaluate(f"{body}.insertAdjacentHTML('beforeend', '<p style=\"font-size: 20px\">Hard to read</p>')")
    assert any("20.0 px: Hard to read" in fault for fault in tab.evaluate(LOOK)["faults"])
    tab.evaluate(f"{body}.insertAdjacentHTML('beforeend', '<div style=\"flex: none; height: 700px\">x</div>')")
    assert any("px beyond" in fault for fault in tab.evaluate(LOOK)["faults"])
    drawing = next((SITE / "_images").glob("*.svg")).read_text("utf8")
    assert 5 < smallest_label(drawing) < 12


@of_each("lecture")
def test_every_item_and_every_erratum_of_the_lecture_stands_on_a_slide(deck):
    deck = read_deck(deck)
    assert set().union(*(slide.items for slide in deck.slides)) == ITEMS
    shown = re.findall(r"^\{erratum\}`(E\d+)`$", deck.path.read_text("utf8"), re.MULTILINE)
    assert sorted(shown, key=lambda name: int(name[1:])) == [f"E{n}" for n in range(1, 15)]


@of_each()
def test_a_deck_takes_as_long_as_it_says(deck):
    """Notes at 130 words or 190 characters a minute, and the polls."""
    deck = read_deck(deck)
    assert abs(deck.length - deck.minutes) <= (5 if deck.minutes == 80 else 0.1 * deck.minutes)
    assert deck.minutes == 80 if deck.name == "lecture" else 24.5 <= deck.length <= 40
    assert all(slide.minutes < 4.5 for slide in deck.slides), "nobody looks at one slide for so long"


@of_each()
def test_a_deck_types_nothing_anew(deck):
    assert faults(read_deck(deck)) == []


@pytest.mark.parametrize(
    ("body", "typed"),
    [
        ("Here $1.5^{100}$ is typed.", []),
        ("Here $1.5^{100} \\approx 4.1 \\times 10^{17}$ is typed.", ["$1.5^{100} \\approx 4.1 \\times 10^{17}$"]),
        ("It leaves at step 220.", ["220"]),
        ("It leaves at {num}`219 <x>` or 7 in `W[12]` of fp16.", []),
    ],
)
def test_what_a_slide_types_must_stand_in_the_book(body, typed):
    deck = parse_deck(SLIDE.format(body=body), LECTURE)
    assert typed_anew(deck.slides[0]) == typed


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{equation}`eq-nowhere`", "the book has no such label"),
        ("{equation}`fig-two-powers`", "not an equation"),
        ("{figure}`eq-explode`", "is not in a figure"),
        ("{figure}`fig-nowhere`", "the book has no such label"),
        ("{table}`sec-jac-layers`", "the section has 0"),
        ("{poll}`sec-jac-hundred-factors 2`", "the section has 1"),
        ("{claim}`jac-nowhere`", "no assertion of the book decides it"),
        ("{erratum}`E15`", "the book has E1 to E14"),
        ("{live}`live-nowhere`", "no chapter has this live figure"),
        ("So {num}`nowhere` it is.", "no page says it"),
        ("So {ref}`sec-nowhere` has it.", "the book has no such label"),
        ("So {frm}`eq-explode` it is.", "no such role"),
    ],
)
@pytest.mark.site
def test_a_dangling_reference_is_named(body, message):
    deck = parse_deck(SLIDE.format(body=body), LECTURE)
    writer = Writer(Book(SITE, config()["sphinx"]["config"]["book_macros"]), deck.slides[0])
    with pytest.raises(LookupError, match=message):
        writer.body()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SLIDE.format(body="x").replace("from: L4", "from: L41"), "3?:.*no label L41"),
        (SLIDE.format(body="x").replace("from: L4\n", ""), "says under from:"),
        (SLIDE.format(body="x").replace("Note:\nWords.\n", ""), "has no Note:"),
        (SLIDE.format(body="x").replace("from: L4", "from: L4\npause: long"), "expected seconds, got 'long'"),
        (SLIDE.format(body="x").replace("minutes: 1\n", ""), "says title and minutes"),
        ("---\ntitle: T\nminutes: 1\n---\nText\n", "a slide begins with"),
        (f"{SLIDE.format(body='x')}\n{{slide}}`lecture: Nothing`\n", "lecture.md has no slide 'Nothing'"),
        (f"{SLIDE.format(body='x')}\n{{slide}}`lecture: Layers are functions`\ntext\n", "a slide begins with"),
    ],
)
def test_a_malformed_deck_is_named_with_its_line(text, message):
    with pytest.raises(SourceError, match=message):
        parse_deck(text, LECTURE)


def test_a_borrowed_slide_says_what_it_says_there_and_waits_as_its_deck_does():
    text = SLIDE.format(body="x").replace("minutes: 1", "minutes: 1\npause: 90")
    mine = parse_deck(f"{text}\n{{slide}}`lecture: Eigenvalues or singular values?`\n", LECTURE).slides[-1]
    own = next(slide for slide in read_deck(LECTURE).slides if slide.title == mine.title)
    assert (mine.body, mine.notes, mine.sources) == (own.body, own.notes, own.sources)
    assert (own.pause, mine.pause) == (60, 90)


def test_a_chinese_deck_borrows_the_chinese_of_a_slide(monkeypatch):
    own = read_deck(text_of(LECTURE, "zh"))
    text = f"{SLIDE.format(body='x')}\n{{slide}}`lecture: Layers are functions`\n"
    mine = parse_deck(text, text_of(FOLDER / "01-chained-jacobians.md", "zh")).slides[-1]
    assert mine.title == "层就是函数" and mine in own.slides and mine.sources == ["L1"]
    monkeypatch.setattr("bookext.read.deck.text_of", lambda path, _: path)  # nobody has translated the lecture's
    mine = parse_deck(f"{text}\n", text_of(FOLDER / "01-chained-jacobians.md", "zh")).slides[-1]
    assert (mine.title, mine.language) == ("Layers are functions", "en")


@pytest.mark.site
def test_a_dangling_reference_fails_the_build(tmp_path, monkeypatch):
    """The writer of all decks gives the faults with file and line; the strict build makes each a failure."""
    monkeypatch.setattr("bookext.pages.decks.Book.article", lambda self, page: (SITE / page).read_text("utf8"))
    broken = FOLDER / "lecture.md"  # a file that is there; read as the planted text
    monkeypatch.setattr("bookext.pages.decks.deck_paths", lambda: [broken])
    monkeypatch.setattr(
        "bookext.pages.decks.read_deck", lambda path: parse_deck(SLIDE.format(body="{figure}`fig-nowhere`"), path)
    )
    (found,) = write_decks(tmp_path, "en")
    assert found.startswith("book/slides/lecture.md:6: {figure}`fig-nowhere`")


@pytest.mark.site
@of_each()
def test_the_links_of_a_deck_lead_somewhere(deck):
    page = SITE / where(deck)
    links = set(re.findall(r'<(?:a|img|link|script)\b[^>]*? (?:href|src)="([^"]+)"', page.read_text("utf8")))
    base = config()["html"]["baseurl"]
    links -= {link for link in links if link.startswith(base)}  # its own address and its twin's
    assert len(links) > 20 and not [link for link in links if ":" in link.partition("#")[0] and "doi.org" not in link]
    for link in links:
        path, _, anchor = link.partition("#")
        target = (page.parent / unquote(path.partition("?")[0])).resolve()
        assert target.exists(), link
        if anchor:
            assert f'id="{unquote(anchor)}"' in target.read_text("utf8"), link


@pytest.mark.site
@pytest.mark.parametrize("name", [path.stem for path in deck_paths()])
def test_both_languages_show_the_same(name):
    """Slide by slide the same numbers, pictures, formulas, places and kind; and words of the reader's language."""
    english, chinese = (
        (SITE / folder / f"{name}.html").read_text("utf8").split("<section ")[2:] for folder in ("slides", "zh/slides")
    )
    assert len(english) == len(chinese) > 12
    han = "[\u3400-\u9fff，。：；]"
    for ours, theirs in zip(english, chinese, strict=True):
        for pattern in (
            r'^class="([^"]*)"',
            r'data-items="([^"]*)"',
            r"/_images/[^\"]+(\.\w+)\"",  # a figure has words of the reader's language in it, too
            r'<span class="num">(.*?)</span>',
            r'<a class="eqno"[^>]*>(.*?)</a>',
            r'#(claim-[^"]+)"',
        ):
            said = [[re.sub(r"\s%", "%", m) for m in re.findall(pattern, text)] for text in (ours, theirs)]
            assert sorted(said[0]) == sorted(said[1]), pattern
        texts = re.findall(r"<(?:h2|h1|li|p)\b[^>]*>(.*?)</(?:h2|h1|li|p)>", theirs, re.DOTALL)
        assert re.search(han, texts[0]) and "minutes, from" in ours and "分钟，从第" in theirs
        assert not [text for text in texts if re.search(rf"{han}\n|\n{han}", text)]
    assert all(
        re.search(han, note) for text in chinese for note in re.findall(r"</b></p>(.*?)</aside>", text, re.DOTALL)
    )


@pytest.mark.site
@of_each()
def test_a_deck_names_its_twin(deck):
    """The link that the next test clicks on."""
    other = text_of(page_of(deck), "zh" if language_of(deck) == "en" else "en")
    found = re.findall(r'<a href="([^"]+)" hreflang="', (SITE / where(deck)).read_text("utf8"))
    assert [((SITE / where(deck)).parent / link).resolve() for link in found] == [(SITE / where(other)).resolve()]


@pytest.mark.site
@of_each("09-summary")
def test_a_deck_is_one_click_away_from_the_other_language(site, tab, deck):
    tab.goto(f"{site}/{where(deck)}", wait_until="load")
    here = tab.evaluate("document.documentElement.lang")
    there, lang = ("English", "en") if here == "zh-Hans" else ("中文", "zh-Hans")
    tab.get_by_role("link", name=there, exact=True).click()
    tab.wait_for_function(f"document.documentElement.lang === '{lang}'")
    other = text_of(page_of(deck), "en" if lang == "en" else "zh")
    assert urlsplit(tab.url).path == f"/{where(other)}"


@pytest.mark.site
def test_what_is_not_translated_or_older_says_so(tmp_path, monkeypatch):
    """A deck without Chinese is there in English, and one with a changed slide says that some of it is older."""
    macros, deck = config()["sphinx"]["config"]["book_macros"], FOLDER / "09-summary.md"
    book = Book(SITE / "zh", macros, "zh")
    assert "notice" not in deck_html(book, read_deck(text_of(deck, "zh")))[0]
    page, _ = deck_html(book, read_deck(deck))
    assert page.count(' lang="en">') > 10 and '<html lang="zh-Hans"' in page  # each slide and the title
    changed = (
        deck.read_text("utf8")
        .replace("which row is worst", "which row is the best")
        .replace("And the page", "The page")
    )
    with monkeypatch.context() as patch:
        patch.setattr("bookext.pages.decks.texts", lambda _: (changed, *texts(deck)[1:]))
        page, _ = deck_html(book, read_deck(text_of(deck, "zh")))
    assert f'<p class="notice">{say("zh", "Some of these slides are older than the English ones.")}</p>' in page
    monkeypatch.setattr("bookext.pages.decks.missing_decks", lambda: [deck])
    page, _ = deck_html(book, read_deck(deck))
    said = say("zh", "These slides have not been translated yet; here they are in English.")
    assert f'<p class="notice">{said}</p>' in page


def test_a_live_figure_is_embedded_with_its_preset():
    chapter = read_chapter(next(p for p, n in numbered_chapters().items() if n == 2))
    assert preset_of(chapter, "live-overflow") == {
        "depth": "60", "width": "64", "scale": "6.4", "activation": "relu", "initialiser": "equal", "format": "fp16", "seed": 0,
    }  # fmt: skip
    assert preset_of(chapter, "live-sigmoid") is None


def test_a_part_of_a_page_is_counted_from_the_slides():
    part = '<p id="a" tabindex="0">See <a href="#b">here</a>, <a href="https://doi.org/1">there</a> <img src="../_images/c.svg"></p>'
    assert onto_slide(part, "book/a.html") == (
        '<p>See <a href="../book/a.html#b">here</a>, <a href="https://doi.org/1">there</a> <img src="../_images/c.svg"></p>'
    )


SPOKEN = {"en": ("Keyboard Shortcuts", "minutes, from"), "zh": ("按键", "分钟，从第")}
# What somebody reads of an element, without what stands in a formula or is the name of a key.
READ = """(e) => { const texts = document.createTreeWalker(e, NodeFilter.SHOW_TEXT), said = [];
  while (texts.nextNode()) if (!texts.currentNode.parentElement.closest('.katex, script, style')) said.push(texts.currentNode.data);
  return said.join('|'); }"""


@pytest.mark.site
@of_each("09-summary")  # the keys are those of every deck, and the speaker's window loads the deck twice more
def test_keys_open_the_overview_and_change_the_colours(site, tab, deck):
    noise, _ = listen(tab, site)
    tab.emulate_media(color_scheme="light")
    tab.goto(f"{site}/{where(deck)}", wait_until="load")
    tab.wait_for_function("window.Reveal?.isReady()")
    tab.keyboard.press("d")
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    tab.keyboard.press("o")
    assert tab.evaluate("Reveal.isOverview()")
    tab.keyboard.press("o")
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate("Reveal.getIndices().h") == 1
    keys, spoken = SPOKEN[language_of(deck)]
    tab.keyboard.press("Shift+?")
    tab.wait_for_selector(f".r-overlay-help .title:has-text('{keys}')")
    shown = tab.locator(".r-overlay-help table").evaluate(READ)
    tab.keyboard.press("Escape")
    with tab.context.expect_page() as opened:
        tab.keyboard.press("s")
    opened.value.wait_for_selector(f".speaker-controls-notes .value:has-text('{spoken}')", timeout=15000)
    around = opened.value.locator("body").evaluate(READ)
    english = "Upcoming" in around and "Click to Reset" in around and "Next slide" in shown
    assert english == (language_of(deck) == "en") == bool(re.search("[A-Z][a-z]{3,} [a-z]", shown))
    assert noise == []


@pytest.mark.site
@of_each("lecture")
def test_a_deck_prints_a_slide_a_page(site, browser, deck):
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{site}/{where(deck)}?print-pdf", wait_until="load")
    page.wait_for_function("document.querySelectorAll('.pdf-page').length > 20")
    slides = page.evaluate("document.querySelectorAll('.slides section').length")
    assert page.evaluate("document.querySelectorAll('.pdf-page').length") == slides
    context.close()


def test_reveal_js_comes_with_its_licence_and_version():
    folder = Path(ROOT, "book/_static/reveal")
    version = re.search(r"reveal\.js (\d+\.\d+\.\d+)", (folder / "VERSION").read_text("utf8"))[1]
    assert version in (folder / "reveal.js").read_text("utf8")
    assert "Permission is hereby granted" in (folder / "LICENSE").read_text("utf8")
