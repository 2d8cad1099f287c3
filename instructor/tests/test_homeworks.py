"""Every homework: the reference gets everything, the blank nothing, right answers in other words everything, too."""

from __future__ import annotations

import importlib
import itertools
import re
import time
from typing import Any

import pytest
import yaml
from bookext.read.book import numbered_chapters
from bookext.read.plaintext import tex_to_text

from instructor.grading import checks
from instructor.release import BEGIN, END, ROOT, release
from instructor.tests.planting import (
    HOMEWORKS,
    MARKS,
    cells,
    each_homework,
    execute,
    graded,
    master,
    module,
    planted,
    reference,
    said,
    whole,
)

# Questions about numbers of one's own.
OWN = {
    "hw1": ["4b", "5a", "5b"],
    "hw2": ["1", "2b", "3a", "3b", "4", "5", "6a"],
    "hw3": ["1a", "1c", "2a", "3a", "3b", "3c", "4a", "4b", "5d", "6a", "7a", "7c"],
    "hw4": ["1b", "2b", "2c", "3a", "4a", "4b", "5a", "5b", "6a", "6b"],
    "hw5": ["1a", "1b", "2a", "2b", "3a", "3b", "3c", "4a", "4b", "4c", "5a", "5b", "5c"],
}
RIGHT = [
    pytest.param(name, *row, marks=MARKS[name])
    for name in HOMEWORKS
    for row in importlib.import_module(f"instructor.tests.answers.{name}").RIGHT
]


@each_homework
@pytest.mark.parametrize("student_id", ["s123", "张三", "group 7"])
def test_the_reference_gets_every_point(name: str, student_id: str) -> None:
    namespace, printed = reference(name, student_id)
    assert "✗" not in printed and "– " not in printed, printed
    for result in graded(name, namespace, student_id).values():
        assert result.state == "to read" or result.points == result.out_of, (result.question, said(result))


@each_homework
def test_the_blank_runs_whole_and_gets_nothing(name: str) -> None:
    namespace, printed = whole(release(master(name)), "s123")
    assert "✓" not in printed and "✗" not in printed, printed
    for result in graded(name, namespace).values():
        assert result.state == "unanswered" and not result.points, (result.question, said(result))


@pytest.mark.parametrize(("name", "question", "answer"), RIGHT, ids=lambda text: text[:30])
def test_a_right_answer_in_another_way_has_every_point(name: str, question: str, answer: str) -> None:
    line, result = planted(name, question, answer)
    assert line == f"✓ {question}"
    assert result.points == result.out_of, said(result)


@each_homework
def test_the_numbers_of_another_student_fail(name: str) -> None:
    """Two students may draw one number, in a pair of a hundred (test_term counts them): then the next pair is asked."""
    waiting = set(OWN[name])
    for mine, yours in itertools.combinations(("group 7", "张三", "s123", "s7"), 2):
        results = graded(name, reference(name, mine)[0], yours)
        waiting -= {question for question in waiting if results[question].points < results[question].out_of}
        for question in set(results) - set(OWN[name]):
            assert results[question].state == "to read" or results[question].points == results[question].out_of, (
                question
            )
        if not waiting:
            break
    assert not waiting


@pytest.mark.slow
@pytest.mark.parametrize(("name", "times"), [("hw1", 4), ("hw2", 4), ("hw3", 12), ("hw4", 8), ("hw5", 12)])
def test_all_cells_together_take_little(name: str, times: int) -> None:
    """So many times what this machine needs to count to ten million: one second is about four."""
    reference(name)  # imports what it needs
    begun = time.process_time()
    for _ in range(10_000_000):
        pass
    counted = time.process_time()
    whole(master(name), "s123")
    assert time.process_time() - counted < times * (counted - begun)


@each_homework
def test_points_headings_and_questions_agree(name: str) -> None:
    """The page's headings, its front matter and its summary state what the checks give."""
    asked = {q.number: q.points for q in checks.questions(module(name))}
    text = master(name)
    parts = {part: int(points) for part, points in re.findall(r"\*\*(\d\w)\*\* \((\d) points?[;)]", text)}
    assert parts == {part: points for part, points in asked.items() if len(part) == 2}
    headings = re.findall(r"^## Question (\d)\. .* \((\d+) points?\)$", text, re.MULTILINE)
    assert len(headings) >= 5
    for number, points in headings:
        assert int(points) == sum(p for part, p in asked.items() if part[0] == number), number
    at_the_top = yaml.safe_load(text.split("---")[1])["homework"]
    assert at_the_top["points"] == sum(asked.values())
    listed = re.search(r"hw\.summary\((.*?)\)", text, re.DOTALL)
    assert listed and re.findall(r'"(\w+)"', listed[1]) == list(asked)
    assert sum(q.checks is None for q in checks.questions(module(name))) == 1  # the one a person reads


@each_homework
def test_sections_that_messages_name_exist(name: str) -> None:
    pages = {int(path.name[:2]): path.read_text("utf8") for path in numbered_chapters()}
    titles = {
        n: [
            re.sub(r"\$([^$]*)\$", lambda formula: tex_to_text(formula[1]), title)
            for title in re.findall(r"^(?:#+|:+\{exercise\}) (.+)$", text, re.MULTILINE)
        ]
        for n, text in pages.items()
    }
    text = re.sub(r'"\n\s*f?"', "", master(name))  # a message may go on in the next line's string
    named = re.findall(r"(?:see|in|compare)\b[^'\"]{0,30}'((?:[^']|'s )+)', chapter (\d+)", text, re.IGNORECASE)
    assert len(named) >= 8
    for title, chapter in named:
        assert title in titles[int(chapter)], title
    for asked in checks.questions(module(name)):
        page, _, anchor = asked.section.partition("#")
        chapter = (ROOT / "book" / f"{page}.md").read_text("utf8")
        assert re.search(rf"^(\({anchor}\)=|:label: {anchor})$", chapter, re.MULTILINE | re.IGNORECASE), asked.section


def test_no_line_of_a_solution_is_left_in_what_students_get() -> None:
    for name in HOMEWORKS:
        page = release(master(name), name)
        for block in re.findall(rf"{BEGIN}\n(.*?){END}", master(name), re.DOTALL):
            for line in filter(lambda line: len(line) > 20, map(str.strip, block.splitlines())):
                assert line not in page, line


@pytest.mark.slow
def test_an_explanation_that_is_too_short_is_refused() -> None:
    for name in HOMEWORKS:
        [asked] = [q for q in checks.questions(module(name)) if q.checks is None]
        line, result = planted(name, asked.number, "explanation = 'Adam is better.'")
        assert line.startswith("✗") and result.state == "to read"


@pytest.mark.slow
def test_right_numbers_in_the_wrong_shape_are_told_so() -> None:
    """The hidden check takes them; the visible one does not call them a transpose."""
    column = "def backward(W, delta, alpha, beta):\n    return alpha * (W.T @ delta)[:, None]"
    line, result = planted("hw4", "5c", column)
    assert "the shape (3,) is asked for, got (3, 1)" in line and result.points == result.out_of


@pytest.fixture(scope="module")
def chapter_3() -> dict[str, Any]:
    """The names of chapter 3 after its training runs: the cells that they take, and no others."""
    wanted = "def draw(depth", "def train(W", "sgd_accuracy = sgd_from", "adam_start = draw", "def movement"
    first, *others = (source for *_, source in cells((ROOT / "book" / "03-vanishing-sigmoid.md").read_text("utf8")))
    data = next(source for source in others if "pixels, digit =" in source).split("\n\n\n")[0]
    names: dict[str, Any] = {}
    execute([first, data, *(source for source in others if any(w in source for w in wanted))], names)
    return names


def table(heading: str) -> list[list[float]]:
    """The numbers of the table of homework 3 whose first cell is ``heading``, row by row."""
    rows = re.search(rf"^\| {heading} .*\n\|[-|]+\n((?:\|.*\n)+)", master("hw3"), re.MULTILINE)
    assert rows
    return [[float(x) for x in re.findall(r"(?<=\| )[\d.]+(?:e-?\d+)?", row)] for row in rows[1].splitlines()]


@pytest.mark.slow
def test_the_tables_of_homework_3_are_the_chapter_s(chapter_3: dict[str, Any]) -> None:
    first = [float(gradient[3].square().mean().sqrt()) for gradient in chapter_3["first"]]
    assert table("layer")[0] == pytest.approx(first, rel=0.04)  # two digits
    *sgd, adam = table("optimiser")

    def moved(optimiser: str, copy: int) -> list[float]:
        return chapter_3["movement"](chapter_3[f"{optimiser}_start"], chapter_3[optimiser], copy)

    for row, copy in zip(sgd, (3, 8), strict=True):
        # Training amplifies rounding: the orders of magnitude are what the question is about.
        assert all(0.5 < told / measured < 2 for told, measured in zip(row[1:], moved("sgd", copy), strict=True)), row
        assert abs(row[0] / 100 - float(chapter_3["sgd_accuracy"][copy])) < 0.03
    # Under Adam one draw ends elsewhere on another machine: the row is one of the chapter's twelve draws, or could be.
    draws = [moved("adam", copy) for copy in range(12)]
    for told, layer in zip(adam[1:], zip(*draws, strict=True), strict=True):
        assert 0.7 < told / sorted(layer)[6] < 1.4, (told, layer)
    reached = sorted(map(float, chapter_3["adam_accuracy"]))
    assert reached[0] < adam[0] / 100 < reached[-1]
    assert len(table("optimiser")) == 3 and float(chapter_3["deeper_accuracy"].max()) < 0.4


@pytest.mark.slow
@pytest.mark.parametrize("student_id", ["s123", "group 7"])
def test_a_deep_sigmoid_net_answers_with_the_commonest_digit(
    chapter_3: dict[str, Any], monkeypatch: pytest.MonkeyPatch, student_id: str
) -> None:
    """What question 3a of homework 3 asks for is what happens, on a student's own selection of digits."""
    torch, names = chapter_3["torch"], reference("hw3", student_id)[0]
    chosen = [(chapter_3["digit"] == k).nonzero()[:count, 0] for k, count in enumerate(names["counts"])]
    assert list(map(len, chosen)) == names["counts"]
    for where in ("train_set", "held_out"):  # the same shares to train and to test
        monkeypatch.setitem(chapter_3, where, torch.cat(chosen))
    W = chapter_3["draw"](8, copies=1)
    reached = float(chapter_3["train"](W, torch.optim.SGD(W, lr=1.0), torch.tensor([0.1]))[0])
    assert abs(reached - names["deep_accuracy"]) < 0.005
