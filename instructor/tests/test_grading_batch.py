"""Around the sandbox: who handed in what, resuming, reports, gradebooks, every assignment, and plain data."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
from bookext.read.chapter import notebook_node
from hypothesis import given, settings
from hypothesis import strategies as st
from support import missing

from instructor.grading import VERSION, __main__, batch, checks, doctor, gradescope, report, submissions
from instructor.grading.inside import plain
from instructor.grading.sandbox import FIRST_UID, Sandbox
from instructor.release import BEGIN, ROOT
from instructor.tests.notebooks import BLANK, RIGHT, WRONG, saved
from instructor.tests.planting import HOMEWORKS
from instructor.tests.test_grading import ASSIGNMENT, SECRET, autograder, earned, graded

pytestmark = pytest.mark.xdist_group("grading")


@pytest.fixture(autouse=True, scope="module")
def outside_tmp() -> None:
    if Path(sys.prefix).is_relative_to("/tmp"):
        missing("an environment outside /tmp", "Submissions see a /tmp of their own: clone the repository elsewhere.")


def handed_in(name: str, *, solved: bool, student: str, chinese: bool = False) -> bytes:
    """A homework's notebook as its master solves it, or as it is released; of the Chinese one the answers alone are the master's."""
    master = notebook_node((ROOT / "instructor" / name / f"{name}.md").read_text("utf8"))
    if chinese:
        notebook = nbformat.read(ROOT / "book" / "zh" / "homework" / f"{name}.ipynb", as_version=4)
        given = [
            cell
            for cell in master.cells
            if cell.cell_type == "code" and "solution" not in cell.metadata.get("tags", [])
        ]
        code = [cell for cell in notebook.cells if cell.cell_type == "code"][1:]  # the set-up is the notebook's own
        for cell, answer in zip(code, given, strict=True) if solved else ():
            if BEGIN in answer.source:
                cell.source = answer.source
        text = nbformat.writes(notebook)
    elif solved:
        text = nbformat.writes(master)
    else:
        text = (ROOT / "book" / "homework" / f"{name}.ipynb").read_text("utf8")
    return text.replace('STUDENT_ID = \\"...\\"', f'STUDENT_ID = \\"{student}\\"').encode()


@pytest.mark.slow
@pytest.mark.parametrize("chinese", [False, True], ids=["English", "Chinese"])
@pytest.mark.parametrize("name", HOMEWORKS)
def test_reference_full_and_blank_nothing(walled: Sandbox, name: str, chinese: bool) -> None:
    assignment = batch.Assignment(name, SECRET)
    for student in ("张三",) if chinese else ("s123", "张三"):
        cells = submissions.read_cells(handed_in(name, solved=True, student=student, chinese=chinese))
        record = batch.grade(assignment, cells, student, walled)
        for r in record["results"]:
            assert r["state"] == "to read" or r["points"] == r["out_of"], r
        assert not record["notes"] and not record["cells"]
    cells = submissions.read_cells(handed_in(name, solved=False, student="s123", chinese=chinese))
    blank = batch.grade(assignment, cells, "s123", walled)
    assert not sum(r["points"] for r in blank["results"]), blank
    assert not any(r["person"] for r in blank["results"]) and not blank["notes"]


def command(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'book' / '_ext'}"}
    call = [sys.executable, "-m", "instructor.grading", *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, env=env, cwd=ROOT, timeout=500, **options)  # type: ignore[call-overload]


def here(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """As :func:`command`, in this process, which has imported all; and the machine's tier is known."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["instructor.grading", *map(str, arguments)])
        patch.setattr(doctor, "choose", lambda private: (1, ""))
        code = __main__.main()
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"))))


def tree(folder: Path) -> dict[str, bytes]:
    """All but the times, which no two runs share."""
    found = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != "seconds.jsonl"]
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


ROSTER = """Student,ID,SIS User ID,SIS Login ID,Section,Homework 1 (77)
    Points Possible,,,,,20
"Zhang, San",101,张三,zs,A,
"Doe, Jane",102,s2,jd,A,
"Roe, Rick",103,s3,rr,A,
"Late, Lea",104,s4,ll,A,
"None, Nick",105,s5,nn,A,
"=cmd|' /C calc'!A0",106,s6,ee,A,
"""


@pytest.mark.slow
def test_a_canvas_course_from_download_to_upload(
    walled: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process; as one of its own the command begins in :func:`begun_and_killed`."""
    monkeypatch.setattr(__main__, "Sandbox", lambda *limits: walled)
    monkeypatch.setattr(walled, "close", lambda: None)  # a batch ends its sandboxes; others go on with this one
    roster, secret, folder, out = (tmp_path / n for n in ("roster.csv", "secret", "in", "out"))
    roster.write_text("\ufeff" + ROSTER, "utf8")
    folder.mkdir()
    files = {
        "zhangsan_101_9001_hw1.ipynb": handed_in("hw1", solved=True, student="张三"),
        "doejane_102_9002_hw1-1.ipynb": handed_in("hw1", solved=False, student="s2"),
        "doejane_102_9007_hw1-2.ipynb": handed_in("hw1", solved=True, student="s2"),
        "roerick_103_9003_hw1.ipynb": handed_in("hw1", solved=True, student="s2"),
        "latelea_LATE_104_9004_Kopie von hw1 (1).ipynb": handed_in("hw1", solved=True, student="s4"),
        "eve_106_9005_hw1.pdf": b"%PDF-1.4",
        "nobody_999_9006_hw1.ipynb": b"{}",
    }
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    call = (
        "grade",
        "hw1",
        folder,
        "--roster",
        roster,
        "--secret",
        secret,
        "--out",
        out,
        "--canvas",
        "Homework 1 (77)",
        "--late-percent",
        "10",
        "--jobs",
        "1",
    )
    first = here(*call)
    assert first.returncode == 0, first.stderr
    assert "6 graded now (tier 1)" in first.stdout and "nobody_999" in first.stdout
    by_id = {row["id"]: row for row in rows(out / "grades.csv")}
    full = float(by_id["张三"]["out of"])
    assert by_id["张三"]["state"] == "to read" and by_id["张三"]["points"] == ""
    assert by_id["s2"]["state"] == "needs a person" and "hw1-2.ipynb was graded" in by_id["s2"]["notes"]
    assert by_id["s3"]["state"] == "needs a person" and "STUDENT_ID" in by_id["s3"]["notes"]
    assert by_id["s4"]["late"] == "late" and by_id["s5"]["state"] == "no submission"
    assert by_id["s6"]["state"] == "needs a person" and by_id["s6"]["name"].startswith("'=")
    assert by_id[""]["file"] == "nobody_999_9006_hw1.ipynb"
    assert all(row["grader"] == VERSION for row in by_id.values())

    # A rerun grades nothing and gives the same bytes.
    before = tree(out)
    again = here(*call)
    assert "0 graded now" in again.stdout and tree(out) == before

    # A person reads; and overrides survive.
    sheet = rows(out / "reading.csv")
    assert "张三" not in str([row["key"] for row in sheet]) and {row["question"] for row in sheet} == {"7"}
    for row in sheet:
        row["points"] = row["points"] or "2"
    with (out / "reading.csv").open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, sheet[0])
        writer.writeheader()
        writer.writerows(sheet)
    (out / "overrides.csv").write_text(
        "id,question,points,reason\ns2,ok,,the second file is right\ns3,total,7.5,talked to him\n", "utf8"
    )
    overrides = (out / "overrides.csv").read_bytes()
    assert here(*call).returncode == 0
    done = tree(out)
    assert here(*call).returncode == 0 and tree(out) == done and (out / "overrides.csv").read_bytes() == overrides
    by_id = {row["id"]: row for row in rows(out / "grades.csv")}
    assert float(by_id["张三"]["points"]) == full == float(by_id["s2"]["points"])
    assert by_id["s3"]["points"] == "7.5" and by_id["s3"]["state"] == "graded"
    assert float(by_id["s4"]["points"]) == pytest.approx(0.9 * full)
    canvas = {row["ID"]: row for row in rows(out / "canvas.csv")}
    assert (
        float(canvas["101"]["Homework 1 (77)"]) == full
        and canvas["106"]["Homework 1 (77)"] == canvas["105"]["Homework 1 (77)"] == ""
    )
    assert list(canvas["101"]) == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Homework 1 (77)"]

    told = here("explain", "hw1", "s3", "--out", out)
    assert told.returncode == 0 and "expected" in told.stdout and "got" in told.stdout
    assert "no record" in here("explain", "hw1", "nobody", "--out", out).stderr
    (out / "overrides.csv").write_text("id,question,points\nnobody,1,3\n", "utf8")
    wrong = here(*call)
    assert wrong.returncode == 1 and "nobody" in wrong.stderr and "Traceback" not in wrong.stderr


def begun_and_killed(tmp_path: Path, many: int, after: int) -> tuple[list[str | Path], dict[str, int]]:
    """A run over ``many`` submissions, killed after so many records: its command, and when each record was written."""
    folder, records = tmp_path / "in", tmp_path / "out" / "records"
    folder.mkdir()
    for k in range(many):
        node = json.loads(handed_in("hw1", solved=True, student=f"s{k}"))
        pause = {**node["cells"][1], "id": "x", "cell_type": "code", "source": "import time\ntime.sleep(1.5)"}
        node["cells"].insert(3, pause)
        (folder / f"s{k}.ipynb").write_text(json.dumps(node), "utf8")
    call: list[str | Path] = ["grade", "hw1", folder, "--secret", tmp_path / "secret", "--out", tmp_path / "out"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    start = [sys.executable, "-m", "instructor.grading", *map(str, call)]
    grader = subprocess.Popen(start, env=env, cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(list(records.glob("s*.json"))) < after and time.monotonic() < deadline:
        time.sleep(0.05)
    grader.send_signal(signal.SIGKILL)
    grader.wait()
    had = {p.name: p.stat().st_mtime_ns for p in records.glob("s*.json")}
    assert after <= len(had) < many
    alive, deadline = [grader], time.monotonic() + 300  # on a busy machine the kernel takes a while to end a namespace
    while alive and time.monotonic() < deadline:
        time.sleep(0.2)
        alive = [
            p
            for p in psutil.process_iter(["uids", "cmdline"])
            if p.info["uids"] and p.info["uids"].real in (FIRST_UID, FIRST_UID + 1)
        ]
    assert not alive, alive
    return call, had


@pytest.mark.slow
def test_killed_and_gone_on_with(walled: Sandbox, tmp_path: Path) -> None:
    if not shutil.which("bwrap"):
        missing("bubblewrap", "Install it: `apt install bubblewrap`.")
    _, had = begun_and_killed(tmp_path, 4, 1)
    records, assignment = tmp_path / "out" / "records", batch.Assignment("hw1", (tmp_path / "secret").read_bytes())
    people, _ = submissions.collect(tmp_path / "in", None, homework="hw1")
    now = [batch.record_of(assignment, person, batch.free([walled]), records) for person in people]
    assert sum(now) == 4 - len(had) and len(list(records.glob("s*.json"))) == 4  # nothing lost
    assert had == {name: (records / name).stat().st_mtime_ns for name in had}  # nothing graded twice


@pytest.mark.rehearsal
def test_killed_in_the_middle_and_resumed(tmp_path: Path) -> None:
    if not shutil.which("bwrap"):
        missing("bubblewrap", "Install it: `apt install bubblewrap`.")
    call, had = begun_and_killed(tmp_path, 10, 3)
    records = tmp_path / "out" / "records"
    resumed = command(*call)
    assert f"{10 - len(had)} graded now" in resumed.stdout, resumed
    assert had == {name: (records / name).stat().st_mtime_ns for name in had}  # nothing graded twice
    assert len(rows(tmp_path / "out" / "grades.csv")) == 10  # nothing lost
    resumed_tree = tree(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    command(*call)
    assert tree(tmp_path / "out") == resumed_tree


def test_a_secret_in_the_repository_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    refused = here(
        "grade", "hw1", tmp_path / "in", "--secret", ROOT / "instructor" / "secret", "--out", tmp_path / "out"
    )
    assert refused.returncode == 1 and "outside the repository" in refused.stderr
    assert not (ROOT / "instructor" / "secret").exists()


def test_no_isolation_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who is not root, without bubblewrap."""
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setenv("PATH", "/nowhere")
    tier, found = doctor.choose([])
    assert tier == 3 and found.count("cannot run here") == 2 and "chosen: tier 3" in found


@pytest.mark.rehearsal
def test_without_isolation_it_refuses(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "s1.ipynb").write_bytes(saved(RIGHT))
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o644)
    tmp_path.chmod(0o755)
    call = [
        sys.executable,
        "-m",
        "instructor.grading",
        "grade",
        "hw1",
        str(tmp_path / "in"),
        "--secret",
        str(tmp_path / "secret"),
        "--out",
        str(tmp_path / "out"),
    ]
    env = {"PATH": "/nowhere", "PYTHONPATH": str(ROOT), "HOME": os.environ.get("HOME", "/")}
    refused = subprocess.run(call, env=env, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert refused.returncode == 2 and "Nothing was graded" in refused.stderr and "chosen: tier 3" in refused.stderr
    assert not (tmp_path / "out" / "grades.csv").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "solved and hostile",
        *(
            pytest.param(kind, marks=pytest.mark.rehearsal)
            for kind in ("solved", "hostile", "blank", "nothing", "earlier", "mac")
        ),
    ],
)
def test_gradescope_rehearsed(tmp_path: Path, kind: str) -> None:
    """The zip, laid out as Gradescope documents it, run as root in a container without user namespaces."""
    if os.getuid() != 0 or not shutil.which("bwrap"):
        missing("root or bubblewrap", "Run as root, with `apt install bubblewrap`: the container is rehearsed with it.")
    inside = autograder(tmp_path / "autograder")
    root = tmp_path / "autograder"
    solved = kind.startswith("solved") or kind == "mac"
    raw = handed_in("hw1", solved=solved, student="jane")
    if (
        kind == "solved and hostile"
    ):  # its points are those of its answers, and nobody has to look: no attack reads or ends anything
        node = json.loads(raw)
        attack = "import os\nread = []\nfor d in ('/autograder/results', '/autograder/source', '/tmp'):\n    try: open(d + '/results.json', 'w').write('{\"score\": 99}')\n    except OSError: pass\nfor p in ('/autograder/source/secret', '/autograder/submission_metadata.json'):\n    try: read += [open(p).read()]\n    except OSError: pass\nif read: raise ValueError('READ')"
        node["cells"].insert(2, {**node["cells"][1], "cell_type": "code", "source": attack})
        raw = json.dumps(node).encode()
    if kind == "hostile":
        node = json.loads(raw)
        attack = "import os\nfor d in ('/autograder/results', '/autograder/source', '/tmp'):\n    try: open(d + '/results.json', 'w').write('{\"score\": 99}')\n    except OSError: pass\nopen('/autograder/source/secret').read()"
        node["cells"].insert(2, {**node["cells"][1], "cell_type": "code", "source": attack})
        raw = json.dumps(node).encode()
    if kind == "earlier":  # tells what it can read, in the output that is visible at once
        node = json.loads(raw)
        attack = "import glob\nsaid = []\nfor p in ('/autograder/submission_metadata.json', *glob.glob('/autograder/**/*', recursive=True)):\n    try: said.append(open(p).read())\n    except OSError: pass\nt = ' '.join(said)\nraise ValueError(f'READ {len(t)} ' + t[max(0, t.find('HIDDENFEEDBACK')):][:90])"
        node["cells"].insert(2, {**node["cells"][1], "cell_type": "code", "source": attack})
        raw = json.dumps(node).encode()
    if kind == "mac":
        (root / "submission" / "__MACOSX").mkdir()
        (root / "submission" / "__MACOSX" / "._My hw1.ipynb").write_bytes(b"\x00\x05\x16\x07")
        (root / "submission" / "._My hw1.ipynb").write_bytes(b"\x00\x05\x16\x07")
        (root / "submission" / "utils.py").write_text("x = 1")
    if kind != "nothing":
        (root / "submission" / "My hw1.ipynb").write_bytes(raw)
    meta = {"created_at": "2026-10-02T10:00:00.000000-07:00", "users": [{"email": "jane@uni.example", "id": 1, "name": "Jane"}],
            "assignment": {"due_date": "2026-10-01T10:00:00.000000-07:00", "id": 2, "title": "hw1"},
            "previous_submissions": [{"results": {"tests": [{"output": "HIDDENFEEDBACK 42", "visibility": "after_due_date"}]}}]}  # fmt: skip
    (root / "submission_metadata.json").write_text(json.dumps(meta))
    run = [*inside, "env", f"GRADER_PYTHON={sys.executable}", "/autograder/run_autograder"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result = json.loads((root / "results" / "results.json").read_text("utf8"))
    assert "failed" not in result["output"], done.stderr
    assert os.listdir(root / "results") == ["results.json"]
    if kind == "nothing":
        assert "nothing was handed in" in result["output"]
        return
    score = sum(test["score"] for test in result["tests"])
    most = sum(test["max_score"] for test in result["tests"])
    questions = batch.Assignment("hw1", SECRET).questions
    total = sum(q.points for q in questions if q.checks or not solved)  # what a person has yet to read is not listed
    assert most == pytest.approx(total) and score == pytest.approx(total if solved else 0)
    assert {test["visibility"] for test in result["tests"]} <= {"visible", "after_due_date"}
    assert "late" in result["output"] and "42" not in json.dumps(result)
    assert kind != "earlier" or "READ 0" in result["output"]
    assert "A person will look" not in result["output"] or kind in ("hostile", "earlier")


def test_the_zip_holds_no_solution_and_not_the_secret(tmp_path: Path) -> None:
    gradescope.make_zip("hw1", SECRET, tmp_path / "one.zip")
    gradescope.make_zip("hw1", SECRET, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert SECRET not in (tmp_path / "one.zip").read_bytes()


@pytest.mark.rehearsal
def test_the_doctor_sees_what_is_open(tmp_path: Path) -> None:
    if not shutil.which("bwrap"):
        missing("bubblewrap", "Install it: `apt install bubblewrap`.")
    assert all(doctor.promises(1, [tmp_path]).values())
    if os.getuid() == 0:
        inside = autograder(tmp_path / "autograder")
        kept = doctor.promises(2, [Path("/autograder/source"), Path("/autograder/submission")], inside)
        assert kept and all(kept.values()), kept
        (tmp_path / "autograder" / "submission").chmod(0o755)
        kept = doctor.promises(2, [Path("/autograder/source"), Path("/autograder/submission")], inside)
        assert [promise for promise, holds in kept.items() if not holds] == [
            "secrets, submissions and checks cannot be read"
        ]


# Who handed in what


def test_files_find_their_students(tmp_path: Path) -> None:
    roster = tmp_path / "roster.csv"
    roster.write_text("id,name,group\nS1,Ann,g1\ns2,Bob,\n李雷,李雷,\n", "utf8")
    for name in (
        "s1.ipynb",
        "s2/work.ipynb",
        "s2/.ipynb_checkpoints/x.ipynb",
        "李雷.ipynb",
        "zoe.ipynb",
        "__MACOSX/s1.ipynb",
    ):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    people, unmatched = submissions.collect(tmp_path / "in", submissions.read_roster(roster))
    assert {p.id: p.path and p.path.name for p in people} == {
        "S1": "s1.ipynb",
        "s2": "work.ipynb",
        "李雷": "李雷.ipynb",
    }
    assert {p.id: p.own_id for p in people}["S1"] == "g1" and unmatched == ["zoe.ipynb"]
    people, unmatched = submissions.collect(tmp_path / "in", None)
    assert [p.id for p in people] == ["s1", "s2", "zoe", "李雷"] and not unmatched


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "id,name\ns1,a\nS1 ,b\n"])
def test_a_bad_roster_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "roster.csv").write_text(text)
    with pytest.raises(ValueError, match=r"roster\.csv"):
        submissions.read_roster(tmp_path / "roster.csv")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "s1.ipynb").symlink_to(ROOT / "instructor" / "hw1" / "hw1.md")
    idle = batch.free([Sandbox(3)])
    batch.record_of(ASSIGNMENT, submissions.Submission("s1", "s1", path=tmp_path / "s1.ipynb"), idle, tmp_path)
    record = batch.load(tmp_path / "s1.json")
    assert record and record["results"][0]["state"] == "not graded"


# Needs a person


def record_with(**changes: object) -> dict:
    result = {"question": "1", "title": "t", "out_of": 2, "section": "", "points": 1, "state": "graded", "note": "",
              "person": False, "read": False, "text": "", "items": []}  # fmt: skip
    return {"id": "s", "name": "n", "late": False, "notes": [], "cells": [], "file": "f", "results": [result | changes]}


def test_needs_a_person_is_never_a_silent_zero() -> None:
    assert report.settle(record_with(), [], 0)["final"] == 1
    assert report.settle(record_with() | {"late": True}, [], 25)["final"] == 0.75
    for record in (
        record_with(person=True),
        record_with() | {"notes": ["x"]},
        record_with(state="to read", points=None),
    ):
        assert report.settle(record, [], 0)["final"] is None
    assert report.settle(record_with(person=True), [report.Decision("line 2", "s", "1", 2.0, "r")], 0)["final"] == 2
    assert report.settle(record_with(state="no submission", points=None), [], 0)["state"] == "no submission"


@pytest.mark.parametrize(
    "text", ["<script>x</script>", "# Points: 100", "[x](javascript:1)", "a\x1b[2J\u202eb", "a\nb"]
)
def test_a_students_text_is_only_text(text: str) -> None:
    shown = report.shown(text)
    assert "<" not in shown and "\n" not in shown and "\x1b" not in shown and "\u202e" not in shown
    assert not any(shown.startswith(mark) for mark in "#[=")


# Plain data


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["array", "dict", "complex", "x"]), inner, max_size=2)
    ),
    max_leaves=8,
)


def is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(k, str) and is_plain(v) for k, v in value.items())
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "?bhilqBHILQefdFDuc" and not value.dtype.hasobject
    return value is None or type(value) in (bool, int, float, complex, str)


@settings(deadline=None)
@given(JSON)
def test_whatever_arrives_is_plain_or_refused(value: object) -> None:
    try:
        decoded = plain.decode(plain.loads(json.dumps(value).encode()))
    except ValueError:
        return
    assert is_plain(decoded)


@pytest.mark.parametrize(
    "body",
    [["<f8", [2], "AAAA"], ["O", [1], "AAAAAAAAAAA="], ["<f8", [-1], ""], ["<f8", [10**12, 0], ""], ["<f8", 3, ""], ["|V8", [1], "AAAAAAAAAAA="],
     ["<f8", [1], "%%%"], [1, [1], ""], ["<f8", [1]], "x", ["<M8[s]", [1], "AAAAAAAAAAA="]],
)  # fmt: skip
def test_a_forged_array_is_refused(body: object) -> None:
    with pytest.raises(ValueError):
        plain.decode({"array": body})


@settings(deadline=None)
@given(JSON, JSON)
def test_close_never_raises(got: object, expected: object) -> None:
    assert checks.close(got, expected) in (True, False)


@pytest.mark.parametrize(
    ("got", "expected", "alike"),
    [(1, 1.0, True), ([1], 1, True), ([[1]], 1, True), ([1, 2], (1, 2), True), ([1, 2], [[1, 2]], False), (float("nan"), float("nan"), False),
     (float("inf"), float("inf"), True), (True, 1, False), ("1", 1, False), (None, 1, False), ([], [], True), ([1, [2]], [1, 2], False),
     (1 + 0j, 1, True), (10**400, 1, False), (10**400, 10**400, False), (np.float32(0.1), 0.1, True), ({"a": 1}, 1, False)],
)  # fmt: skip
def test_close(got: object, expected: object, alike: bool) -> None:
    assert checks.close(got, expected) is alike


def test_a_truthy_value_is_no_verdict() -> None:
    with pytest.raises(TypeError, match="expected a bool"):
        checks.check(1, float("nan"), "rule")  # type: ignore[arg-type]


@pytest.mark.slow
def test_local_and_walled_agree(walled: Sandbox, tmp_path: Path) -> None:
    """The reference in this process gets what it gets in the sandbox."""
    for cells in (RIGHT, WRONG, BLANK):
        namespace: dict = {}
        exec("\n".join(cells), namespace)
        own = batch.Homework("small", "s123", "test")
        local = {
            r.question: r.points or 0
            for r in checks.run(ASSIGNMENT.module, checks.LocalStudent(namespace), own, SECRET)
        }
        assert {q: p for q, p in local.items() if q != "5"} == earned(graded(walled, saved(cells), tmp_path))


@pytest.mark.rehearsal
def test_three_hundred_in_a_row(tmp_path: Path) -> None:
    """On two cores, reference, blank and a crash mixed; the checker's memory stays flat."""
    if not shutil.which("bwrap"):
        missing("bubblewrap", "Install it: `apt install bubblewrap`.")
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(300):
        raw = handed_in("hw1", solved=k % 3 > 0, student=f"s{k:03}")
        if k % 30 == 0:
            node = json.loads(raw)
            node["cells"].append({"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "id": "x", "source": "import os\nos._exit(1)" if k % 60 else "while True: pass"})  # fmt: skip
            raw = json.dumps(node).encode()
        (folder / f"s{k:03}.ipynb").write_bytes(raw)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    call = [
        sys.executable,
        "-m",
        "instructor.grading",
        "grade",
        "hw1",
        folder,
        "--secret",
        tmp_path / "secret",
        "--out",
        tmp_path / "out",
    ]
    begun = time.monotonic()
    grader = subprocess.Popen([str(part) for part in call], env=env, cwd=ROOT)
    memory: dict[int, int] = {}
    while grader.poll() is None:
        done = (
            len(list((tmp_path / "out" / "records").glob("s*.json"))) if (tmp_path / "out" / "records").exists() else 0
        )
        memory[done] = psutil.Process(grader.pid).memory_info().rss // 2**20 if psutil.pid_exists(grader.pid) else 0
        time.sleep(0.5)
    minutes = (time.monotonic() - begun) / 60
    print(
        f"300 submissions: {minutes:.1f} minutes; MB by submissions done: {dict(list(memory.items())[:: max(len(memory) // 8, 1)])}"
    )
    assert grader.returncode == 0
    early, late = (
        m for m in (max(v for k, v in memory.items() if 30 <= k < 90), max(v for k, v in memory.items() if k > 240))
    )
    assert late < early * 1.3 + 20
