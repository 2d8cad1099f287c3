"""Whose a file is, in the layouts that gradebooks export; what lies beside a notebook; names and trees of any kind."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from instructor.grading import submissions
from instructor.grading.inside import executor
from instructor.grading.submissions import (
    Unreadable,
    collect,
    own_words,
    read_cells,
    read_roster,
    released_notebooks,
    words_of,
)
from instructor.tests.notebooks import RIGHT, deep_tree, notebook, saved

pytestmark = pytest.mark.xdist_group("grading")
ROSTER = """id,name,email,ID,github_username,group
s1,"Doe, Jane",jane.doe@uni.example,101,octojane,
s2,Rick Roe,rick@uni.example,102,rr-dev,
s3,Li Wei,s3@uni.example,103,liwei,
s4,Anna-Lena Müller,am@uni.example,104,alm,
12345678,Num Ber,nb@uni.example,105,numb,
"""
HW = 'hw = Homework("hw1", STUDENT_ID, salt="x")'
GRADESCOPE = """---
submission_501:
  :submitters:
  - :name: Jane Doe
    :sid: s1
    :email: jane.doe@uni.example
  :created_at: 2026-10-02 10:00:00
submission_502:
  :submitters:
  - :name: Rick
    :sid:
    :email: rick@uni.example
  - :name: Wei
    :sid: s3
    :email: other@uni.example
"""
# Layout: the files and whose they are (None: nobody's).
LAYOUTS: dict[str, dict[str, str | None]] = {
    "plain": {"s1.ipynb": "s1", "S2/work.ipynb": "s2", "12345678.ipynb": "12345678", "zoe.ipynb": None},
    "id and homework": {"s1_hw1.ipynb": "s1", "hw1-s2.ipynb": "s2", "hw1 s3 final.ipynb": "s3", "12345678_hw1.ipynb": "12345678"},
    "Canvas": {
        "doejane_101_9001_hw1.ipynb": "s1", "roerick_LATE_102_9002_s1.ipynb": "s2", "liwei_question_103_9003_hw1-1.ipynb": "s3",
        "nobody_999_9004_hw1.ipynb": None,
    },
    "Moodle": {
        "Jane Doe_4711_assignsubmission_file_/hw1.ipynb": "s1", "Rick Roe_4712_assignsubmission_file/s1.ipynb": "s2",
        "Li Wei_4713_assignsubmission_file_hw1.ipynb": "s3", "Anna-Lena Müller_4714_assignsubmission_file_/hw1.ipynb": "s4",
    },
    "Blackboard": {
        "Homework 1_s1_attempt_2026-10-02-10-00-00_hw1.ipynb": "s1", "Homework_1_rick_attempt_2026-10-02-10-00-00_s1.ipynb": "s2",
        "gradebook_NS26_Homework201_12345678_attempt_2026-10-02-10-00-00_hw1.ipynb": "12345678",
    },
    "Brightspace": {
        "1001-2002 - Jane Doe - Oct 2, 2026 1000 AM/hw1.ipynb": "s1", "1002-2002 - Rick Roe - 2 October, 2026 10:00/s1.ipynb": "s2",
        "1003-2002- Li Wei - Oct 2, 2026 1000 AM/hw1.ipynb": "s3",
    },
    "nbgrader": {"s1/hw1/hw1.ipynb": "s1", "s2/hw1/hw1.ipynb": "s2"},
    "nbgrader from above": {"submitted/s1/hw1/hw1.ipynb": "s1", "submitted/s2/hw1/hw1.ipynb": "s2"},
    "GitHub Classroom": {"hw1-submissions/hw1-octojane/hw1.ipynb": "s1", "hw1-submissions/hw1-rr-dev/hw1.ipynb": "s2"},
    "Gradescope": {"assignment_1_export/submission_501/hw1.ipynb": "s1", "assignment_1_export/submission_502/s1.ipynb": "s2"},
    "Teams": {"Submitted files/Jane Doe/Homework 1/Version 1/hw1.ipynb": "s1", "Submitted files/Roe, Rick/Homework 1/Version 1/hw1.ipynb": "s2"},
    "by address": {"jane.doe@uni.example/hw1.ipynb": "s1", "rick/hw1.ipynb": "s2"},
    "two names in one": {"s1_s2.ipynb": None, "team s1 and s2/hw1.ipynb": None},
}  # fmt: skip


def put(folder: Path, files: dict) -> Path:
    for name, content in files.items():
        path = Path(os.fsdecode(os.fsencode(folder) + b"/" + os.fsencode(name)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            content if isinstance(content, bytes) else saved(RIGHT) if content is None else content.encode()
        )
    return folder


@pytest.fixture
def roster(tmp_path: Path) -> list[submissions.Submission]:
    (tmp_path / "roster.csv").write_text(ROSTER, "utf8")
    return read_roster(tmp_path / "roster.csv")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_file_finds_its_student(tmp_path: Path, roster: list, layout: str):
    expected = LAYOUTS[layout]
    folder = put(tmp_path / "in", dict.fromkeys(expected))
    if layout == "Gradescope":
        (folder / "assignment_1_export" / "submission_metadata.yml").write_text(GRADESCOPE)
    people, unmatched = collect(folder, roster)
    found = {p.id: p.path.relative_to(folder).as_posix() for p in people if p.path}
    if layout == "Gradescope":
        assert found.pop("s3") == found["s2"]  # a group hands in once
    assert found == {student: name for name, student in expected.items() if student}
    assert unmatched == sorted(name for name, student in expected.items() if student is None)
    assert not [p.notes for p in people if p.notes]


def test_a_pattern_of_ones_own(tmp_path: Path, roster: list):
    folder = put(tmp_path / "in", {"week3/abgabe-s1-v2.ipynb": None, "week3/s2.ipynb": None})
    people, unmatched = collect(folder, roster, r"week\d+/abgabe-(?P<id>\w+)-v(?P<attempt>\d+)\.ipynb")
    assert [p.id for p in people if p.path] == ["s1"] and unmatched == ["week3/s2.ipynb"]
    people, _ = collect(folder, None, r"week\d+/(abgabe-)?(?P<id>s\d)(-v\d+)?\.ipynb")
    assert [p.id for p in people] == ["s1", "s2"]
    for wrong in ("(", "no group"):
        with pytest.raises(ValueError, match="--pattern"):
            collect(folder, roster, wrong)


@pytest.mark.parametrize(
    "files", [["s1.ipynb", "s1/hw1.ipynb"], ["s1.ipynb", "S1.ipynb"], ["doejane_101_1_a.ipynb", "s1_hw1.ipynb"]]
)
def test_two_files_that_claim_one_student_are_for_a_person(tmp_path: Path, roster: list, files: list[str]):
    folder = put(tmp_path / "in", dict.fromkeys(files))
    for known in (roster, None) if "doe" not in files[0] else (roster,):
        people, _ = collect(folder, known)
        assert any("files were handed in" in note for p in people if p.path for note in p.notes)


def test_a_file_named_like_another_students_record(tmp_path: Path):
    from instructor.grading.batch import safe

    names = ["hw1 (1)", safe("hw1 (1)"), safe(safe("hw1 (1)"))]
    people, _ = collect(put(tmp_path / "in", {f"{name}.ipynb": None for name in names}), None)
    assert len({safe(p.id) for p in people}) == 3


# Beside the notebook

FORK = b"\x00\x05\x16\x07" + bytes(100)
BESIDE: dict[str, tuple[dict, str, set[str]]] = {
    "a helper module": ({"s1/hw1.ipynb": None, "s1/utils.py": "x = 1"}, "hw1.ipynb", {"utils.py"}),
    "a package and data": ({"s1/hw1.ipynb": None, "s1/lib/__init__.py": "", "s1/data.csv": "1"}, "hw1.ipynb", {"lib/__init__.py", "data.csv"}),
    "a folder around all": ({"s1/answers/hw1.ipynb": None, "s1/answers/utils.py": ""}, "hw1.ipynb", {"utils.py"}),
    "resource forks": ({"s1/Copy of hw1.ipynb": None, "s1/._Copy of hw1.ipynb": FORK, "s1/__MACOSX/._Copy of hw1.ipynb": FORK}, "Copy of hw1.ipynb", set()),
    "a fork renamed by a gradebook": ({"doejane_101_1_hw1.ipynb": None, "doejane_101_2__hw1-1.ipynb": FORK}, "doejane_101_1_hw1.ipynb", set()),
    "hidden folders": ({"s1/hw1.ipynb": None, "s1/.ipynb_checkpoints/hw1.ipynb": None, "s1/.git/x.ipynb": None, "s1/.DS_Store": b"\0"}, "hw1.ipynb", set()),
    "a scratch notebook": ({"s1/hw1.ipynb": saved([HW]), "s1/zz.ipynb": saved(["1"])}, "hw1.ipynb", {"zz.ipynb"}),
    "scripts": ({"s1/answer.py": HW, "s1/utils.py": "x = 1"}, "answer.py", {"utils.py"}),
    "a browser's ending": ({"s1/hw1.ipynb.txt": None, "s1/notes.txt": "x"}, "hw1.ipynb.txt", {"notes.txt"}),
    "a PDF of it": ({"s1/hw1.ipynb": None, "s1/hw1.pdf": b"%PDF"}, "hw1.ipynb", {"hw1.pdf"}),
    "Canvas, two files": ({"doejane_101_1_hw1.ipynb": None, "doejane_101_2_utils.py": "x = 1"}, "doejane_101_1_hw1.ipynb", {"utils.py"}),
}  # fmt: skip


@pytest.mark.parametrize("name", BESIDE)
def test_the_notebook_is_graded_and_has_its_files(tmp_path: Path, roster: list, name: str):
    files, chosen, beside = BESIDE[name]
    people, _ = collect(put(tmp_path / "in", files), roster, homework="hw1")
    person = next(p for p in people if p.id == "s1")
    assert person.path and person.path.name == chosen and set(person.beside) == beside and not person.notes


def test_names_in_any_bytes(tmp_path: Path, roster: list):
    gbk = os.fsdecode(b"\xd7\xf7\xd2\xb51.ipynb")
    folder = put(tmp_path / "in", {f"s2/{gbk}": None, gbk: None, "a\nb.ipynb": None})
    people, unmatched = collect(folder, roster)
    assert next(p for p in people if p.id == "s2").path.name == gbk and len(unmatched) == 2
    people, _ = collect(folder, None)
    assert json.dumps([p.id for p in people], ensure_ascii=False).encode() and len(people) == 3


@pytest.mark.slow
def test_a_deep_tree_and_what_is_no_file(tmp_path: Path, roster: list):
    folder = put(tmp_path / "in", {"s1/hw1.ipynb": None})
    deep = deep_tree(folder)
    os.mkfifo(folder / "s1" / "pipe.ipynb")
    (folder / "s1" / "link.ipynb").symlink_to("/etc/passwd")
    people, unmatched = collect(folder, roster)
    executor._remove([str(deep)])  # pytest's own way goes no deeper than its stack
    assert [p.path.name for p in people if p.path] == ["hw1.ipynb"] and not unmatched and not people[0].notes


# Cells

PARTED = {"#%%": "a = 1\n#%%\n1 / 0\n#%%\nb = 2", "# %%": "a = 1\n# %% title\n1 / 0\n# %%\nb = 2",
          "# In [1]:": "a = 1\n# In [1]:\n1 / 0\n# In[2]:\nb = 2", "# <codecell>": "a = 1\n# <codecell>\n1 / 0\n#<codecell>\nb = 2"}  # fmt: skip


@pytest.mark.parametrize("mark", PARTED)
def test_a_script_is_parted(mark: str):
    assert [cell.strip() for cell in read_cells(PARTED[mark].encode(), ".py").code] == ["a = 1", "1 / 0", "b = 2"]


@pytest.mark.parametrize(
    "raw",
    [b"[" * 3_000_000, b'{"cells": [' + b"[]," * 1_500_000 + b"[]]}", b'{"cells": [' + b"1," * 6_000_000 + b"1]}"],
)
def test_a_file_of_many_values_is_not_read(raw: bytes):
    with pytest.raises(Unreadable, match="clear the outputs"):
        read_cells(raw)


@pytest.mark.parametrize("notebook_of", released_notebooks("hw1"), ids=["English", "Chinese"])
def test_the_words_that_a_student_added(notebook_of: Path):
    released = words_of(released_notebooks("hw1"))
    handed_in = json.loads(notebook_of.read_text("utf8"))
    assert own_words(read_cells(json.dumps(handed_in).encode()), released) == ""
    said = "for one matrix the spectral radius decides"
    for cell in (
        {"cell_type": "markdown", "source": [f"**My answer**: {said}"]},
        {"cell_type": "raw", "source": said},
        {"cell_type": "code", "source": f"# {said}\nx = 1"},
        {"cell_type": "code", "source": f'"""{said}"""'},
    ):
        more = handed_in | {"cells": [*handed_in["cells"], cell]}
        assert said in own_words(read_cells(json.dumps(more).encode()), released)
    heading = next(c["source"][0] for c in reversed(handed_in["cells"]) if c["source"][0].startswith("## "))
    edited = json.dumps(handed_in).replace(json.dumps(heading), json.dumps(f"{heading.rstrip()}\n{said}\n"))
    assert own_words(read_cells(edited.encode()), released) == said
    assert own_words(read_cells(json.dumps(notebook(["x = 1"])).encode()), {""}) == ""
