"""The offline copy, unpacked and opened from its folder with the network switched off."""

from __future__ import annotations

import json
import zipfile

import pytest
from bookext.notebook.wheel import wheel_name
from bookext.pages.offline import write_zip
from bookext.read.blocks import notebook_texts
from bookext.read.book import config
from support import SITE, listen

pytestmark = pytest.mark.site


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("offline")
    packed = write_zip(SITE, folder / "book.zip")
    with zipfile.ZipFile(packed) as opened:
        opened.extractall(folder)
    return folder / f"numerical-stability-{config()['repository']['branch']}"


def test_the_copy_has_all_that_a_lecturer_needs(copy):
    for name in ("index.html", "slides/lecture.html", "zh/index.html", "zh/slides/lecture.html"):
        assert (copy / name).exists() and name in (copy / "README.txt").read_text("utf8")
    assert wheel_name() in (copy / "README.txt").read_text("utf8") and (copy / "wheel" / wheel_name()).exists()
    notebooks = list((copy / "notebooks").rglob("*.ipynb"))
    assert len(notebooks) == len(notebook_texts()) > 20
    assert all(json.loads(path.read_text("utf8"))["nbformat"] == 4 for path in notebooks)


def test_the_same_site_gives_the_same_zip(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<!DOCTYPE html>")
    one, two = (write_zip(tmp_path / "site", tmp_path / name) for name in ("one.zip", "two.zip"))
    assert one.read_bytes() == two.read_bytes()


def test_it_works_without_a_network(copy, browser):
    """From one click on index.html: the book, the search, a live figure and the slides, and nothing complains."""
    context = browser.new_context(offline=True)
    tab = context.new_page()
    noise, asked = listen(tab, copy.as_uri())
    tab.goto((copy / "index.html").as_uri(), wait_until="load")
    tab.wait_for_url("**/book/index.html")
    before = tab.evaluate("[...liveFigures[0].result().forward].at(-1)")
    tab.locator(".live-figure [name=seed]").fill("7")
    tab.wait_for_function(f"[...liveFigures[0].result().forward].at(-1) !== {before}")

    tab.locator(".find input").fill("Xavier")
    tab.wait_for_selector(".hits a")
    tab.goto((copy / "search.html").as_uri() + "?q=Xavier", wait_until="load")
    tab.wait_for_selector("#results a")
    tab.locator("#results a").first.click()
    tab.wait_for_url("**/06-xavier.html*")
    assert tab.evaluate("[...document.images].filter(i => i.loading !== 'lazy').every(i => i.naturalWidth > 0)")

    first = "[...document.querySelectorAll('.slides > section')].findIndex(s => s.querySelector('iframe'))"
    for deck in ("slides/lecture.html", "zh/slides/lecture.html"):
        tab.goto((copy / deck).as_uri(), wait_until="load")
        tab.wait_for_function("window.Reveal?.isReady()")
        tab.evaluate(f"Reveal.slide({tab.evaluate(first)})")
        tab.frame_locator("section.present iframe").locator(".live-curve").first.wait_for(state="attached")
        tab.evaluate("Reveal.slide(3)")
        tab.wait_for_function("[...Reveal.getCurrentSlide().querySelectorAll('img')].every(i => i.naturalWidth > 0)")
    assert noise == [] and all(address.startswith("file:") or address.startswith("data:") for address in asked)
    context.close()
