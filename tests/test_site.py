"""The built site in a real browser: nothing from elsewhere, nothing broken, readable by everyone."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bookext.notebooks import labels
from bookext.source import book_pages
from conftest import ROOT, SITE

pytestmark = pytest.mark.site
# Tokens of one class have one colour, and a formula has its paragraph's: one of each is judged, which is ten times faster.
THIN = """() => {
  const seen = new Set();
  for (const token of document.querySelectorAll('pre span, dt span')) {
    const kind = token.className + token.closest('pre, dt').tagName + Boolean(token.closest('.output'));
    seen.has(kind) ? token.replaceWith(...token.childNodes) : seen.add(kind);
  }
  document.querySelectorAll('pre, dt').forEach(p => p.normalize());
  document.querySelectorAll('.katex-html, .katex-mathml').forEach(e => { e.textContent = e.textContent; });
}"""
PAGES = [page.relative_to(ROOT).with_suffix(".html").as_posix() for page in book_pages()]


@pytest.mark.parametrize("page", PAGES)
def test_page_in_browser(site, browser, page):
    from axe_playwright_python.sync_playwright import Axe

    for scheme in ("light", "dark"):
        tab = browser.new_page(viewport={"width": 375, "height": 900}, color_scheme=scheme)
        noise: list[str] = []
        tab.on(
            "console",
            lambda m, n=noise: n.append(f"console {m.type}: {m.text}") if m.type in ("error", "warning") else None,
        )
        tab.on("pageerror", lambda e, n=noise: n.append(f"exception: {e}"))
        tab.on(
            "request",
            lambda r, n=noise: None if r.url.startswith((site, "data:", "blob:")) else n.append(f"off-site: {r.url}"),
        )
        tab.on("response", lambda r, n=noise: n.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
        tab.goto(f"{site}/{page}", wait_until="load")
        tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        for width in (375, 1280):
            tab.set_viewport_size({"width": width, "height": 900})
            tab.wait_for_timeout(200)
            assert noise == [], (page, scheme, width)
            overflow = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert overflow <= 0, f"{page} is {overflow} px too wide at {width} px"
            clipped = tab.evaluate(
                """[...document.querySelectorAll('article img')].map(i => [i, i.getBoundingClientRect().right])
                     .filter(([i, right]) => !i.naturalWidth || right > innerWidth).map(([i]) => i.src)"""
            )
            assert clipped == [], f"broken or clipped figures on {page} at {width} px"
        tab.evaluate(THIN)
        # What depends on the scheme is colour.
        options = {"runOnly": ["color-contrast", "link-in-text-block"]} if scheme == "dark" else {}
        report = Axe().run(tab, options={"resultTypes": ["violations"], **options}).response["violations"]
        found = [f"{v['id']}: {n['html'][:200]}" for v in report for n in v["nodes"]]
        assert found == [], f"accessibility of {page}, {scheme}:\n" + "\n".join(found)
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
    scripts = re.findall(r"<script[^>]*>.*?</script>", html, re.DOTALL)
    assert not [s for s in scripts if "mathjax" in s.lower() or "thebe" in s.lower()]


def test_mathematics_is_drawn_with_its_own_fonts(site, browser):
    """A style sheet or font of another KaTeX version shrinks subscripts, and nothing else would notice."""
    script = (ROOT / "book/_ext/bookext/katex.min.js").read_text("utf8")
    style = (ROOT / "book/_static/katex/katex.min.css").read_text("utf8")
    version = re.search(r'content:"(\d+\.\d+\.\d+)"', style)
    assert version and f'"{version[1]}"' in script
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
