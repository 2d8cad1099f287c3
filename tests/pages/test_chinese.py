"""The Chinese site beside the English one: the same places and numbers, one switch away, and what is not translated says so."""

from __future__ import annotations

import gzip
import re

import pytest
from access import faults
from bookext.check.twins import missing_pages, translated_pages
from bookext.pages.chinese import share
from bookext.read.book import book_pages, config
from bookext.read.labels import labels
from bookext.read.words import say
from support import ROOT, SITE, anchors, listen
from test_site import Page, html_faults, nu_errors

pytestmark = pytest.mark.site
HAN = "\u3400-\u9fff"


def names(pages):
    return [page.relative_to(ROOT).with_suffix(".html").as_posix() for page in pages]


PAGES, TRANSLATED, MISSING = names(book_pages()), names(translated_pages()), names(missing_pages())


def html(page: str) -> str:
    return (SITE / page).read_text("utf8")


def article(page: str) -> str:
    text = html(page)
    return text[text.index("<article") : text.index("</article>")]


@pytest.mark.parametrize("page", PAGES)
def test_each_page_is_one_switch_away_from_the_other(page):
    links = [
        re.findall(r'<a class="plain language" href="([^"]+)" hreflang="([^"]+)"', html(p))
        for p in (page, f"zh/{page}")
    ]
    assert links == [
        [(f"{'../' * page.count('/')}zh/{page}", "zh-Hans")],
        [(f"{'../' * (page.count('/') + 1)}{page}", "en")],
    ]
    assert '<html lang="en"' in html(page) and '<html lang="zh-Hans"' in html(f"zh/{page}")


@pytest.mark.parametrize("page", TRANSLATED)
def test_the_places_and_the_numbers_are_the_same(page):
    """Anchors, formulas, figures, and every number that a cell has computed."""
    english, chinese = article(page), article(f"zh/{page}")
    named = {
        anchor.lower() for _, _, anchor in labels().values()
    }  # a title's own anchor differs, and no link of ours uses it
    own = {anchor.lower() for where, _, anchor in labels().values() if names([where]) == [page]}
    for kind in (
        r'\bid="([^"]+)"',
        r'<annotation encoding="application/x-tex">(.*?)</annotation>',
        r'<span class="eqno">\(([\d.]+)\)',
    ):
        ours, theirs = (set(re.findall(kind, text)) for text in (english, chinese))
        if "id=" in kind:
            ours, theirs = ({i for i in ids if i.lower() in named or i.startswith("cell-")} for ids in (ours, theirs))
            assert own and own <= {i.lower() for i in ours}
        ours, theirs = ({re.sub(r"\\text\{[^}]*\}", "", one) for one in found} for found in (ours, theirs))  # words
        assert ours == theirs, kind
    numbers = r'<span class="num">(.*?)</span>'
    # Chinese has no blank before a %.
    ours, theirs = (sorted(re.sub(r"\s%", "%", n) for n in re.findall(numbers, text)) for text in (english, chinese))
    assert ours == theirs
    ours, theirs = (re.findall(r"<img[^>]*/(_images/[\w-]+\.svg)", text) for text in (english, chinese))
    assert len(ours) == len(theirs) and all((SITE / image).exists() for image in [*ours, *theirs])
    outputs = r'class="output[^>]*>\s*(?:<div[^>]*>\s*)*<pre[^>]*>(.*?)</pre>'
    assert len(re.findall(outputs, english, re.DOTALL)) > 1 or "cell_output" not in english
    assert re.findall(outputs, english, re.DOTALL) == re.findall(outputs, chinese, re.DOTALL)


@pytest.mark.parametrize("page", TRANSLATED)
def test_a_translated_page_is_chinese(page):
    text = html(f"zh/{page}")
    base = config()["html"]["baseurl"]
    for address in (page, f"zh/{page}"):
        assert f'<link rel="alternate" hreflang="en" href="{base}{page}">' in html(address)
        assert f'<link rel="alternate" hreflang="zh-Hans" href="{base}zh/{page}">' in html(address)
        assert f'<link rel="canonical" href="{base}{address}">' in html(address)
    assert re.search(rf"<h1>(?:<[^>]+>|[^<{HAN}])*[{HAN}]", text) and "<article>" in text
    prose = re.sub(
        r"<(pre|code|annotation|style|script|svg|figure|math)\b.*?</\1>", "", article(f"zh/{page}"), flags=re.DOTALL
    )
    paragraphs = re.findall(r"<p>(.*?)</p>", prose, re.DOTALL)
    bare = [
        p
        for p in (re.sub(r"<[^>]+>", "", p) for p in paragraphs)
        if len(re.findall("[A-Za-z]{4,}", p)) > 12 and not re.search(f"[{HAN}]", p)
    ]
    assert bare == [], bare[:3]
    torn = [p for p in paragraphs if re.search(rf"[{HAN}，。；：]\n|\n[{HAN}]", re.sub(r"<[^>]+>", "", p).strip())]
    assert torn == [], torn[:3]  # the end of a line is no blank
    assert [p for p in paragraphs if re.search(r"\d %", p)] == []
    assert 'zh-Hans"' not in article(f"zh/{page}")  # what is Chinese throughout is not marked word by word


def test_english_on_a_chinese_page_is_said_to_be_english():
    """Docstrings and sources."""
    for page, words in (
        ("labs", "Standard deviation"),
        ("references", "Understanding the difficulty"),
    ):
        text = article(f"zh/book/appendix/{page}.html")
        found = [p for p in re.findall(r"<p\b[^>]*>.*?</p>", text, re.DOTALL) if words in p]
        assert found and all(' lang="en"' in p.partition(">")[0] for p in found), page


def test_what_is_not_translated_is_there_in_english_and_says_so():
    notice = say("zh", "This page has not been translated yet; here it is in English.")
    for page in MISSING:
        text = html(f"zh/{page}")
        assert f'<p class="notice" lang="zh-Hans">{notice}</p>' in text and '<article lang="en">' in text, page
        assert (
            f'<link rel="canonical" href="{config()["html"]["baseurl"]}{page}">' in text
            and 'hreflang="x-default"' not in text
        )
    assert not [page for page in TRANSLATED if notice in html(f"zh/{page}")]


def test_chinese_pages_are_sound():
    pages = [f"zh/{page}" for page in TRANSLATED] + [
        "zh/search.html",
        "zh/index.html",
        *(f"zh/{page}" for page in MISSING[:1]),
    ]
    assert {page: found for page in pages if (found := html_faults(html(page)))} == {}
    assert nu_errors([SITE / page for page in pages]) == []


def test_links_of_the_chinese_site_are_whole():
    for name in PAGES:
        path = SITE / "zh" / name
        for link in Page(path).links:
            file, _, anchor = link.partition("#")
            file = file.partition("?")[0]
            if "://" in link or link.startswith(("data:", "mailto:")):
                continue
            target = (path.parent / file).resolve() if file else path
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), f"{name}: {link}"
            if anchor and target.suffix == ".html":
                assert anchor in anchors(target), f"{name}: {link}"


def test_a_page_that_is_kept_leads_where_it_led(tmp_path):
    page, preview = tmp_path / "book" / "page.html", tmp_path / "_static" / "previews" / "book-page.js"
    for path, text in ((page, '<img src="../_images/a.svg">'), (preview, "'<img src=&quot;@/_images/a.svg&quot;>'")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    for _ in range(2):
        share(tmp_path)
        assert page.read_text() == '<img src="../../_images/a.svg">'
        assert preview.read_text() == "'<img src=&quot;@/../_images/a.svg&quot;>'"


def test_the_chinese_site_repeats_no_files():
    """Style, fonts, scripts and figures are the English site's."""
    assert {path.name for path in (SITE / "zh").iterdir()} <= {
        "book",
        "slides",
        "_static",
        "index.html",
        "search.html",
        "objects.inv",
        ".buildinfo",
    }
    assert {path.name for path in (SITE / "zh/_static").iterdir()} == {
        "search-index.js",
        "words.js",
        "words-live.js",
        "words-slides.js",
        "previews",
    }


@pytest.mark.parametrize("page", TRANSLATED)
def test_a_chinese_page_is_not_heavier(page):
    size = [len(gzip.compress((SITE / p).read_bytes())) for p in (page, f"zh/{page}")]
    assert size[1] <= 1.2 * size[0]


def test_in_a_browser(site, browser):
    """Nothing missing, nothing from elsewhere; readable by everyone; the switch keeps the place, to the line."""
    tab = browser.new_page(viewport={"width": 375, "height": 900})
    noise, _ = listen(tab, site)
    for page in ("zh/book/index.html", "zh/book/01-chained-jacobians.html", *(f"zh/{page}" for page in MISSING[:1])):
        tab.goto(f"{site}/{page}", wait_until="load")
        assert tab.evaluate("document.documentElement.scrollWidth") <= 375, page
        assert faults(tab) == [], page
    tab.goto(f"{site}/book/01-chained-jacobians.html", wait_until="load")
    block = "() => [...document.querySelectorAll('article p, article h2')].findIndex(p => p.getBoundingClientRect().bottom > 70)"
    tab.evaluate("document.getElementById('sec-jac-product').scrollIntoView({behavior: 'instant'})")
    tab.wait_for_function("Math.abs(document.getElementById('sec-jac-product').getBoundingClientRect().top - 60) < 60")
    before = tab.evaluate(block)
    tab.get_by_role("link", name="中文").click()
    tab.wait_for_url("**/zh/book/01-chained-jacobians.html")
    assert before > 10
    tab.wait_for_timeout(1500)  # nothing moves it afterwards
    tab.wait_for_function(f"before => Math.abs(({block})() - before) <= 1", arg=before)
    assert tab.get_by_role("button", name="复制").count() or tab.get_by_role("button", name="少看检验").count()
    assert noise == []
    tab.close()


def test_no_line_begins_with_chinese_punctuation(site, browser):
    """What follows a formula stays on its line, at any width."""
    tab = browser.new_page()
    tab.goto(f"{site}/zh/book/03-vanishing-sigmoid.html", wait_until="load")
    tab.add_style_tag(content="section { content-visibility: visible !important }")
    loose = """[...document.querySelectorAll('span.math')].filter(m => /^[，。；：、！？）】》]/.test(m.nextSibling?.data ?? '') &&
      !m.closest('.joined')).map(m => m.textContent)"""
    torn = """() => [...document.querySelectorAll('.joined')].filter(j => {
      const after = document.createRange(), formula = [...j.querySelectorAll('.katex-base')].at(-1).getBoundingClientRect();
      after.selectNodeContents(j.lastChild);
      return after.getBoundingClientRect().top > formula.bottom;
    }).map(j => j.textContent)"""
    assert tab.evaluate(loose) == []
    for width in (320, 375, 414, 768):
        tab.set_viewport_size({"width": width, "height": 800})
        assert tab.evaluate(torn) == []
    styles = "[...document.querySelectorAll('article em')].map(e => getComputedStyle(e).fontStyle)"
    assert set(tab.evaluate(styles)) == {"normal"}
    tab.close()


@pytest.mark.parametrize(
    "query, places",
    [
        ("梯度消失", {"book/03-vanishing-sigmoid.html"}),
        ("链式法则", {"book/01-chained-jacobians.html"}),
        ("雅可比矩阵", {"book/01-chained-jacobians.html"}),
        ("损失缩放", {"book/03-vanishing-sigmoid.html"}),
        ("Xavier初始化", {"book/06-xavier.html"}),
        ("He初始化", {"book/06-xavier.html"}),
        ("李雅普诺夫指数", {"book/01-chained-jacobians.html"}),
        ("正交初始化", {"book/06-xavier.html"}),
        ("特征值还是奇异值", {"book/01-chained-jacobians.html"}),
        ("饱和的单元", {"book/03-vanishing-sigmoid.html"}),
    ],
)
def test_search_in_chinese(site, browser, query, places):
    tab = browser.new_page()
    tab.goto(f"{site}/zh/search.html?q={query}", wait_until="load")
    tab.wait_for_selector("#results a")
    found = [
        link.get_attribute("href").partition("#")[0].removeprefix("./") for link in tab.locator("#results a").all()[:3]
    ]
    assert places & set(found), found
    assert "处" in tab.locator("#found").inner_text()
    tab.close()
