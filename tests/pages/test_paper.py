"""The book on paper, one PDF for each size and one in Chinese: contents, bookmarks and links that lead to their pages, and nothing in
the margins."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from bookext.pages.paper import Paper, chinese_font, mend_bookmarks, once, places_in, write_pdf
from bookext.read.book import book_pages, config
from bookext.read.words import say
from support import SITE, library

MARGINS = {"left": 20, "right": 20, "top": 22, "bottom": 20}  # mm, as paper.css sets them
A4, LETTER = (595, 842), (612, 792)


def test_a_bookmark_is_said_once_in_as_many_bytes():
    pdf = b"<</Title (1. 1. The \\(a\\)The \\(a\\)) /Dest [1 0 R]>> <</Title <FEFF03B403B4>>>"
    mended = mend_bookmarks(pdf)
    assert len(mended) == len(pdf) and b"/Title (1. The \\(a\\)) " in mended and b"/Title <FEFF03B4>" in mended
    assert once("Homework 1: Jacobians") == "Homework 1: Jacobians"


def test_pages_are_counted_through_the_tree_of_pages():
    pdf = b"""1 0 obj <</Type /Pages /Kids [2 0 R 5 0 R]>> endobj 2 0 obj <</Type /Pages /Kids [4 0 R 3 0 R]>> endobj
    3 0 obj <</Type /Page >> endobj 4 0 obj <</Type /Page >> endobj 5 0 obj <</Type /Page >> endobj
    9 0 obj <</p1-a [3 0 R /XYZ 0 7 0] /p1-b [5 0 R /XYZ 0 7 0]>> endobj"""
    assert places_in(pdf) == {"p1-a": 2, "p1-b": 3}


@pytest.mark.site
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_document_of_all_pages_hangs_together(language):
    """Every page is there, ids are unique, links within lead somewhere, solutions stand at the end and nowhere else."""
    html = Paper(SITE, language).document("A4", {})
    ids = re.findall(r'<\w[^>]*? id="(p\d[^"]*|solutions)"', html)
    assert len(ids) == len(set(ids)) > 1000
    links = re.findall(r'<a\b[^>]*? href="#([^"]+)"', html)
    assert len(links) > 2000 and not [link for link in links if link not in set(ids)]
    assert html.count('class="page"') == len(book_pages()) + 1
    body, solutions = html.split('id="solutions"')
    exercises = len(re.findall(r'class="exercise admonition"', body))
    assert exercises == solutions.count('class="solution"') == body.count('class="to-solution"') > 40
    assert f"<summary>{say(language, 'Solution')}" not in html and "<button" not in html and "<script" not in html
    base = config()["html"]["baseurl"]
    without = [link for link in re.findall(rf'href="{base}([^"#]*)', html) if not (SITE / link).exists()]
    assert without == [] and say(language, "To change its settings, the figure needs JavaScript.") not in html
    files = re.findall(r'(?:src|href)="file://([^"]+)"', html)
    assert len(files) > 40 and all(Path(unquote(file)).exists() for file in files)
    assert html.count("<svg") > 4 and "live-plot" in html


@pytest.mark.site
def test_the_chinese_document_says_its_own_in_chinese():
    """Title page, contents, parts, running heads and the links to solutions; strict about what may begin a line."""
    html = Paper(SITE, "zh").document("A4", {})
    front = html[html.index('<div class="title-page">') : html.index('<div class="page"')]
    words = re.sub(r"<annotation.*?</annotation>|<code.*?</code>|<[^>]+>|https?://\S+", " ", front, flags=re.DOTALL)
    assert '<html lang="zh-Hans"' in html and "目录" in words and "练习的解答" in words and "附录" in words
    # Names of methods, formats and people stay as they are; two English words in a row are a text that nobody translated.
    assert not re.findall(r"\b[a-z]{3,} [a-z]{3,}\b", words)
    heads = re.findall(r'@top-left \{ content: "([^"]+)"', html)
    assert len(heads) == len(book_pages()) and sum(bool(re.search("[\u4e00-\u9fff]", head)) for head in heads) > 20
    assert len(re.findall(r'<p class="to-solution">解答在第<a href="#[^"]+"></a>页</p>', html)) > 40
    assert "line-break: strict" in (SITE / "_static/site.css").read_text("utf8")


def test_without_a_chinese_font_the_remedy_is_said(tmp_path, monkeypatch):
    (tool := tmp_path / "fc-list").write_text("#!/bin/sh\n[ -e fonts ] && cat fonts || true\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="apt install fonts-noto-cjk"):
        chinese_font()
    (tmp_path / "fonts").write_text("/usr/share/fonts/x.ttc: Noto Sans CJK SC\n")
    chinese_font()


@pytest.mark.rehearsal
@pytest.mark.parametrize(
    ("paper", "language", "size", "third", "solutions"),
    [
        ("a4", "en", A4, "Vanishing with sigmoid", "Solutions of the exercises"),
        ("letter", "en", LETTER, "Vanishing with sigmoid", "Solutions of the exercises"),
        ("a4", "zh", A4, "sigmoid与梯度消失", "练习的解答"),
    ],
)
def test_the_printed_book(tmp_path, paper, language, size, third, solutions):
    """At most 20 MB (25 MB in Chinese); margins without ink; contents that name the right pages."""
    pdf = write_pdf(SITE, tmp_path, paper, language)
    assert pdf.stat().st_size < (25e6 if language == "zh" else 20e6)  # each Chinese letter that occurs, drawn once
    printed = library("pypdfium2").PdfDocument(pdf)
    assert tuple(map(round, printed[0].get_size())) == size and 200 < len(printed) < 500
    assert margins_with_ink(printed) == []

    marks = [(mark.get_title(), mark.get_dest().get_index() + 1) for mark in printed.get_toc()]
    pages = {title: number for title, number in reversed(marks)}
    second = next(title for title in pages if title.startswith("2. "))
    assert len(marks) > 200 and pages[f"3. {third}"] > pages[second] > 20
    places = places_in(pdf.read_bytes())
    text = "".join(
        "".join(printed[n].get_textpage().get_text_range().split()) for n in range(1, 8)
    )  # bold comes by letters
    assert re.search(rf"3\.{third.replace(' ', '')}{pages[f'3. {third}']}3\.1", text)
    assert re.search(rf"{solutions.replace(' ', '')}{places['solutions']}", text) and places["solutions"] > 200
    assert sum(name.endswith("-solution") for name in places) > 40


# What is wider than the text. Chromium would shrink the whole book until it fits. An SVG cuts off what leaves its frame.
WIDE = """() => [...document.querySelectorAll('main *')]
  .filter((e) => !e.ownerSVGElement && !e.closest('.katex svg, .vlist, .unseen') && e.getBoundingClientRect().width)
  .filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map((e) => `${e.closest('.page')?.id}: ${e.tagName} ${e.textContent.trim().slice(0, 60)}`)"""


@pytest.mark.rehearsal
@pytest.mark.parametrize(("width", "language"), [(642, "en"), (665, "en"), (642, "zh")])
def test_nothing_is_wider_than_the_text(browser, tmp_path, width, language):
    """At the width of the text on A4, 170 mm, and on Letter."""
    (tmp_path / "book.html").write_text(Paper(SITE, language).document("A4", {}), "utf8")
    tab = browser.new_page(viewport={"width": width, "height": 900})
    tab.emulate_media(media="print")
    tab.goto((tmp_path / "book.html").as_uri(), wait_until="load")
    assert tab.evaluate(WIDE) == []
    tab.evaluate(
        "document.querySelector('#p3 p').insertAdjacentHTML('afterend', '<pre style=\"width: 180mm\">x</pre>')"
    )
    assert tab.evaluate(WIDE) == ["p3: PRE x"]
    tab.close()


# Lines that begin with a mark that belongs to the line before.
BEGUN = r"""() => {
  const texts = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT), range = new Range(), found = [];
  const place = (node, at) => { range.setStart(node, at); range.setEnd(node, at + 1); return range.getBoundingClientRect(); };
  while (texts.nextNode()) {
    const node = texts.currentNode;
    if (node.parentElement.closest('.katex, pre, svg')) continue;
    for (const mark of node.data.matchAll(/(?<=[\u3400-\u9fff])[，。、；：？！）》”]/g)) {
      const before = place(node, mark.index - 1), here = place(node, mark.index);
      if (here.width && here.top > before.top + 2 && here.left < before.left) found.push(node.data.slice(mark.index - 8, mark.index + 4));
    }
  }
  return found; }"""


# Chinese letters have no slanted form; a browser would make one up.
SLANTED = r"""() => [...document.querySelectorAll('main *')]
  .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && /[\u3400-\u9fff]/.test(n.data)))
  .filter((e) => getComputedStyle(e).fontStyle !== 'normal').map((e) => e.outerHTML.slice(0, 60))"""


@pytest.mark.rehearsal
def test_no_line_begins_with_a_closing_mark_and_nothing_chinese_is_slanted(browser, tmp_path):
    (tmp_path / "book.html").write_text(Paper(SITE, "zh").document("A4", {}), "utf8")
    tab = browser.new_page(viewport={"width": 642, "height": 900})
    tab.emulate_media(media="print")
    tab.goto((tmp_path / "book.html").as_uri(), wait_until="load")
    assert tab.evaluate(BEGUN) == [] and tab.evaluate(SLANTED) == []
    tab.add_style_tag(content="main * { line-break: anywhere !important } main em { font-style: italic !important }")
    assert len(tab.evaluate(BEGUN)) > 100 and len(tab.evaluate(SLANTED)) > 10
    tab.close()


def margins_with_ink(printed) -> list[str]:
    """The pages on which something stands in a margin, but for the title above and the number below."""
    found = []
    for number in range(1, len(printed)):
        image = printed[number].render(scale=1, grayscale=True).to_numpy().squeeze()
        points = {side: round(mm / 25.4 * 72) for side, mm in MARGINS.items()}
        left, right = image[:, : points["left"] - 3], image[:, -points["right"] + 3 :]
        above, below = (
            image[points["top"] - 14 : points["top"] - 2],
            image[-points["bottom"] + 2 : -points["bottom"] + 12],
        )
        for side, strip in (("left", left), ("right", right), ("above", above), ("below", below)):
            if (strip < 200).any():
                found.append(f"page {number + 1}: {side}")
    return found
