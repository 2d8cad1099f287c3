"""The built site in a real browser: nothing from elsewhere, nothing broken, readable by everyone."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bookext.notebooks import labels
from bookext.source import book_pages
from bs4 import BeautifulSoup
from conftest import ROOT, SITE

pytestmark = pytest.mark.site
PAGES = [page.relative_to(ROOT).with_suffix(".html").as_posix() for page in book_pages()]


@pytest.mark.parametrize("page", PAGES)
def test_page_in_browser(site, browser, page):
    from axe_playwright_python.sync_playwright import Axe

    for scheme in ("light", "dark"):
        for width in (1280, 375):
            context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
            tab = context.new_page()
            noise: list[str] = []
            tab.on(
                "console",
                lambda m, n=noise: n.append(f"console {m.type}: {m.text}") if m.type in ("error", "warning") else None,
            )
            tab.on("pageerror", lambda e, n=noise: n.append(f"exception: {e}"))
            tab.on(
                "request",
                lambda r, n=noise: (
                    None if r.url.startswith((site, "data:", "blob:")) else n.append(f"off-site: {r.url}")
                ),
            )
            tab.on("response", lambda r, n=noise: n.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
            tab.goto(f"{site}/{page}", wait_until="load")
            tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            tab.wait_for_timeout(200)
            assert noise == [], (page, scheme, width)
            overflow = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert overflow <= 0, f"{page} is {overflow} px too wide at {width} px"
            clipped = tab.evaluate(
                """[...document.querySelectorAll('article img')].map(i => [i, i.getBoundingClientRect().right])
                     .filter(([i, right]) => !i.naturalWidth || right > innerWidth).map(([i]) => i.src)"""
            )
            assert clipped == [], f"broken or clipped figures on {page} at {width} px"
            if width == 1280:
                report = Axe().run(tab).response["violations"]
                found = [f"{v['id']}: {n['html'][:200]}" for v in report for n in v["nodes"]]
                assert found == [], f"accessibility of {page}, {scheme}:\n" + "\n".join(found)
            context.close()


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


def broken_links(site: Path) -> list[str]:
    """Internal links of a built site whose file or anchor is not there. (LinkChecker took over ten minutes for six pages.)"""
    pages = {path: BeautifulSoup(path.read_text("utf8"), "html.parser") for path in (site / "book").rglob("*.html")}
    anchors = {
        path: {tag[key] for key in ("id", "name") for tag in soup.find_all(attrs={key: True})}
        for path, soup in pages.items()
    }
    found = []
    for path, soup in pages.items():
        for tag in soup.find_all(["a", "link", "img", "script", "source", "object"]):
            url = urlsplit(tag.get("href") or tag.get("src") or tag.get("data") or "")
            if url.scheme or url.netloc or not (url.path or url.fragment):
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                found.append(f"{path.relative_to(site)}: {url.geturl()} is not there")
            elif url.fragment and target in anchors and unquote(url.fragment) not in anchors[target]:
                found.append(f"{path.relative_to(site)}: {url.geturl()} has no such anchor")
    return found


def test_links_are_whole():
    assert broken_links(SITE) == []


def test_a_dead_internal_link_is_found(tmp_path):
    copy = tmp_path / "html"
    shutil.copytree(SITE, copy)
    page = copy / "book" / "notation.html"
    dead = '<a href="nowhere.html">x</a><a href="index.html#nowhere">y</a></article>'
    page.write_text(page.read_text("utf8").replace("</article>", dead))
    assert broken_links(copy) == [
        "book/notation.html: nowhere.html is not there",
        "book/notation.html: index.html#nowhere has no such anchor",
    ]
