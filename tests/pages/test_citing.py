"""How a page is cited, where its sources and its numbers lead, and what folds by the switch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest
from bookext.pages.layout import last_changes
from bookext.read.book import book_pages, numbered_chapters, page_url
from bookext.read.chapter import read_chapter
from bookext.read.labels import bibliography, citation, cited
from bookext.run.chinese import settings as chinese_settings
from pybtex.database import parse_string
from support import PARSED, ROOT, SITE, anchors, parsed

pytestmark = PARSED

CHAPTERS = list(numbered_chapters())
WITHOUT_ADDRESS = {"newman1986", "hochreiter1991", "radford2019"}  # none known for certain


def page(path):
    return parsed(SITE / path.relative_to(ROOT).with_suffix(".html"))


def test_a_source_has_an_address_that_can_be_one():
    forms = {"doi": r"10\.\d{4,}/\S+", "eprint": r"\d{4}\.\d{4,5}", "url": r"https://\S+"}
    bare = set()
    for key, entry in bibliography().items():
        fields = {name: entry.fields[name] for name in forms if name in entry.fields}
        assert all(re.fullmatch(forms[name], value) for name, value in fields.items()), key
        bare |= set() if fields else {key}
    assert bare == WITHOUT_ADDRESS
    given = [v for e in bibliography().values() for n, v in e.fields.items() if n in ("doi", "eprint")]
    assert len(given) == len(set(given))  # two sources do not share a number


@pytest.mark.site
def test_a_reference_leads_back_to_each_page_that_cites_it():
    links = page(ROOT / "book/appendix/references.md").select("p.cited-in a")
    found = {(SITE / "book/appendix" / a["href"].split("#")[0]).resolve() for a in links}
    citing = [path for path in book_pages() if cited(path.read_text("utf8"))]
    assert found == {(SITE / path.relative_to(ROOT)).with_suffix(".html").resolve() for path in citing}
    for a in links:
        there, _, anchor = a["href"].partition("#")
        assert anchor in anchors((SITE / "book/appendix" / there).resolve()), a["href"]


@pytest.mark.site
@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_number_leads_to_the_cell_that_computed_it(chapter):
    tree, code = page(chapter), read_chapter(chapter).code
    links, shown = tree.select("a.computed"), tree.select("span.num")
    assert len(links) == len(shown) >= len(read_chapter(chapter).numbers) > 0
    assert {link["href"].removeprefix("#") for link in links} <= anchors(
        SITE / chapter.relative_to(ROOT).with_suffix(".html")
    )
    # the first number of the chapter, looked up by hand: its cell binds a name of its expression
    first = read_chapter(chapter).numbers[0]
    cell = code[int(links[0]["href"].removeprefix("#cell-")) - 1]
    assert any(name in cell.source for name in re.findall(r"[A-Za-z_]\w*", first.expression))


@pytest.mark.site
def test_the_cite_box_is_bibtex_that_names_the_page():
    for path in book_pages():
        text = page(path).select_one("details.cite pre").text
        (entry,) = parse_string(text, "bibtex").entries.values()
        assert entry.fields["url"] == page_url(path)
        title = "Numerical Stability of Deep Networks" if path.stem == "index" else read_chapter(path).title
        assert entry.fields["title"] == re.sub(r"[`$]", "", title)


@pytest.mark.site
def test_two_works_of_one_year_are_told_apart_by_one_system():
    labels = {citation(key, True) for key in ("he2016deep", "he2016identity")}
    assert labels == {"He et al., 2016a", "He et al., 2016b"}
    text = page(ROOT / "book/04-stabilising-training.md").article.text
    listed = page(ROOT / "book/appendix/references.md").article.text
    assert all(label in text and label in listed for label in labels)


@pytest.mark.slow
def test_a_chinese_page_names_authors_in_chinese(tmp_path):
    """In the text and in the list, with the styles that the settings of the Chinese run name."""
    settings = {
        key: value for key, value in chinese_settings()["sphinx"]["config"].items() if key.startswith("bibtex_")
    }
    assert len(settings) == 2
    (tmp_path / "conf.py").write_text(
        "\n".join([
            "from bookext.pages.references import register_styles",
            "extensions, bibtex_bibfiles = ['sphinxcontrib.bibtex'], ['references.bib']",
            *(f"{key} = {value!r}" for key, value in settings.items()),
            "def setup(app):",
            "    register_styles()",
        ]),
        "utf8",
    )  # fmt: skip
    shutil.copy(ROOT / "book/references.bib", tmp_path)
    cites = ":cite:t:`he2016deep`\n:cite:t:`glorot2010`\n:cite:t:`newman1986`\n:cite:p:`d2l`"
    (tmp_path / "index.rst").write_text(f"Title\n=====\n\n{cites}\n\n.. bibliography::\n", "utf8")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "text", str(tmp_path), str(tmp_path / "out")]
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT / "book/_ext")})
    text = (tmp_path / "out/index.txt").read_text("utf8")
    assert "He等人 [2016a] Glorot和Bengio [2010] Newman [1986] [Zhang等人, 2023]" in " ".join(text.split())
    assert "[Glorot和Bengio, 2010] Xavier Glorot" in text


def test_the_last_change_is_of_the_newest_commit_and_unknown_in_part_of_the_history(tmp_path):
    whole, part = tmp_path / "whole", tmp_path / "part"

    def git(*arguments, day="2026-01-01"):
        dates = {f"GIT_{who}_DATE": f"{day}T12:00:00" for who in ("AUTHOR", "COMMITTER")}
        names = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        subprocess.run(
            ["git", *arguments],
            cwd=whole,
            check=True,
            capture_output=True,
            env=dates | names | {"PATH": "/usr/bin:/bin"},
        )

    (whole / "book").mkdir(parents=True)
    git("init", "-q")
    for day, name in (("2026-01-01", "a"), ("2026-02-02", "b"), ("2026-03-03", "a")):
        (whole / "book" / f"{name}.md").write_text(day)
        git("add", ".", day=day)
        git("commit", "-q", "-m", "x", day=day)
    assert last_changes(whole) == {"book/a.md": "2026-03-03", "book/b.md": "2026-02-02"}
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{whole}", str(part)], check=True, capture_output=True)
    assert last_changes(part) == {} == last_changes(tmp_path)


@pytest.mark.site
def test_the_switch_unfolds_set_up_and_checks_on_every_page_and_folds_them_again(site, browser):
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    tab = context.new_page()
    opened = "() => [...document.querySelectorAll('.tag_guard > details, .tag_setup > details')].map(d => d.open)"
    tab.goto(f"{site}/book/06-xavier.html", wait_until="load")
    switch = tab.get_by_role("button", name="Fewer checks")
    assert switch.get_attribute("aria-pressed") == "true"
    assert len(tab.evaluate(opened)) > 3 and not any(tab.evaluate(opened))
    switch.click()
    assert switch.get_attribute("aria-pressed") == "false" and all(tab.evaluate(opened))
    tab.goto(f"{site}/book/03-vanishing-sigmoid.html", wait_until="load")
    assert all(tab.evaluate(opened))
    tab.get_by_role("button", name="Fewer checks").click()
    tab.reload(wait_until="load")
    assert not any(tab.evaluate(opened))
    context.close()


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_has_a_drawing_and_every_figure_says_what_it_shows(chapter):
    figures = [(c.source, c.metadata["mystnb"]) for c in read_chapter(chapter).code if "mystnb" in c.metadata]
    drawn = r"^\s*drawings\.|plots\.(canvas|box)|fig-relu-paths|fig-act-stretch"
    assert any(re.search(drawn, f"{source}\n{m['figure']['name']}", re.MULTILINE) for source, m in figures)
    assert all(len(m["image"]["alt"]) > 60 and len(m["figure"]["caption"]) > 60 for _, m in figures)
