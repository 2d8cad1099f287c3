"""The page for those who teach: every exercise and question is in the bank, every deck is listed, and what it links to is there."""

from __future__ import annotations

import re
from html import escape as html_escape

import pytest
from bookext.read.blocks import text_of
from bookext.read.book import config, numbered_chapters
from bookext.read.course import exercises, homework_pages, questions, section_of, sections, tasks_by_section
from bookext.read.deck import deck_paths, read_deck
from bookext.read.labels import labels
from support import SITE

COURSE = SITE / "book" / "appendix" / "course.html"


def test_every_exercise_and_every_question_is_in_the_bank():
    bank = {task.label for tasks in tasks_by_section().values() for task in tasks}
    written = {label for label in labels() if label.startswith("ex-")}
    asked = [task for page in homework_pages() for task in questions(page)]
    assert (
        {task.label for page in numbered_chapters() for task in exercises(page)}
        == written
        == {b for b in bank if b[:3] == "ex-"}
    )
    assert len(asked) > 20 and {task.label for task in asked} == bank - written
    for page in homework_pages():
        text = page.read_text("utf8")
        assert sum(task.points for task in questions(page)) == int(
            re.search(r"^\s+points: (\d+)$", text, re.MULTILINE)[1]
        )
        assert len(list(questions(page))) == len(re.findall(r"^## Question", text, re.MULTILINE))


def test_a_task_stands_with_the_section_that_it_refers_to():
    bank = {section.names[0]: {task.label for task in tasks} for section, tasks in tasks_by_section().items()}
    assert section_of("eq-chain").title == "The chain rule makes a product" == section_of("L3").title
    assert section_of("fig-two-powers").names[0] == "sec-jac-hundred-factors" and section_of("ex-nowhere") is None
    assert "ex-shapes" in bank["sec-jac-chain-rule"] and "sec-hw1-layer-jacobian" in bank["sec-jac-mlp-layer"]
    assert len(sections()) > 90 and sum(map(len, bank.values())) > 60


@pytest.mark.site
@pytest.mark.parametrize(("page", "language"), [(COURSE, "en"), (SITE / "zh/book/appendix/course.html", "zh")])
def test_the_page_has_every_deck_and_every_task(page, language):
    html = page.read_text("utf8")
    for path in deck_paths():
        assert f'"../../slides/{path.stem}.html"' in html and (page.parents[2] / f"slides/{path.stem}.html").exists()
        assert html_escape(read_deck(text_of(path, language)).title) in html
    for tasks in tasks_by_section().values():
        for task in tasks:
            assert f"#{task.label}" in html
    own = {"en": ["-a4.pdf", "-letter.pdf", ".epub"], "zh": ["-zh-a4.pdf", "-zh.epub"]}[language]
    offered = re.findall(r'href="[^"]*releases/download/[^"/]*/numerical-stability([^"]+)"', html)
    assert offered == [*own, f"-{config()['repository']['branch']}-offline.zip"]
    plan = html[html.index('id="sec-course-three-weeks"') : html.index('id="sec-course-slides"')]
    decks = re.findall(r"slides/\d\d-", plan)  # without the lecture's
    assert plan.count("<tr") == 1 + len(numbered_chapters()) and len(decks) == len(deck_paths()) - 1 > 8
