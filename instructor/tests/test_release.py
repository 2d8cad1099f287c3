"""What leaves the instructor's folder: pages and a public tree without a line of a solution."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from bookext.read.course import homework_pages
from support import missing

from instructor.grading import checks
from instructor.release import BEGIN, END, ROOT, ReleaseError, is_public, main, masters, public_tree, release, stale
from labs.homework import Homework

SITE = ROOT / "_build" / "html"
DISTINCTIVE = 16  # characters of a line, blanks collapsed: shorter ones, such as `a = 5`, stand anywhere by chance
NAMES = [path.stem for path in masters()]


def collapsed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def secret_lines(name: str) -> set[str]:
    """The distinctive lines of a homework's solutions, hidden checks and rubric that its page does not give away itself.

    Left out: what the master also shows outside of solutions (given code), imports, lines that only open a block, such as
    `for t in (1, 2, 3):`, and the rulings of a rubric's table. A line that stands elsewhere by chance is to be reworded.
    """
    folder = ROOT / "instructor" / name
    master = (folder / f"{name}.md").read_text("utf8")
    shown = "\n".join(collapsed(line) for line in release(master).splitlines())
    hidden = [*master.splitlines(), *(folder / "checks.py").read_text("utf8").splitlines()]
    hidden += (folder / "rubric.md").read_text("utf8").splitlines()
    found = {collapsed(line) for line in hidden}
    plain = re.compile(r"(import|from) |\|[ -]+\||### |.*:$")
    return {line for line in found if len(line) >= DISTINCTIVE and line not in shown and not plain.match(line)}


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from strings(item)


def readable(path: Path) -> str:
    """A file's text as a reader could find it: markup off, JSON strings decoded and joined, blanks collapsed."""
    text = path.read_bytes().decode("utf8", "replace")
    if path.suffix == ".ipynb":
        text = "".join(strings(json.loads(text)))
    if path.suffix == ".html":
        text = html.unescape(re.sub(r"<[^>]*>", "", text))
    return (
        collapsed(text)
        + "\n"
        + (collapsed(text.replace("\\n", "\n").replace('\\"', '"')) if path.suffix == ".js" else "")
    )


def leaks(paths: Iterable[Path]) -> list[str]:
    """Each secret line in each file, as ``file: line``."""
    # Between blanks a line has the same words wherever it stands: it is looked for where the longest of these is.
    secrets = {line: max(line.split()[1:-1], key=len, default="") for name in NAMES for line in secret_lines(name)}
    found = []
    for path in paths:
        text = readable(path)
        words = {"", *text.split()}
        found += [f"{path}: {line}" for line, word in secrets.items() if word in words and line in text]
    return found


def files_under(*folders: Path) -> list[Path]:
    return [
        p for folder in folders for p in folder.rglob("*") if p.is_file() and p.suffix not in {".woff2", ".png", ".pyc"}
    ]


def tracked(target: Path) -> Path:
    """A repository of its own with what this one would commit now."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("NOT TESTED: this copy is no git repository, so there are no tracked files")
    list_all = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    names = subprocess.run(list_all, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    subprocess.run(["git", "init", "-q"], cwd=target, check=True)
    subprocess.run(["git", "add", "-A"], cwd=target, check=True)
    return target


@pytest.fixture(scope="module")
def public(tmp_path_factory) -> Path:
    repository = tracked(tmp_path_factory.mktemp("private"))
    target = tmp_path_factory.mktemp("there") / "public"
    (repository / "instructor" / "grades.csv").write_text("not tracked, and not to be copied")
    (repository / "secret.txt").write_text("neither is this")
    for name in PRIVATE:  # tracked by mistake
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text("a student's")
    subprocess.run(["git", "add", "-f", *PRIVATE], cwd=repository, check=True)
    count, others = public_tree(target, repository)
    assert count == sum(p.is_file() for p in target.rglob("*")) > 100 and set(others) == set(PRIVATE)
    return target


PRIVATE = ("grades/hw1/grades.csv", "grades/hw1/feedback/s1.md", "grades/hw1/records/s1.json", "roster.csv", "tests/roster.csv",
           "submissions/s1.ipynb", "book/homework/s1.ipynb", "book/zh/homework/s1.md", "book/zh/homework/s1.ipynb", "book/grades/feedback/s1.md", "book/submissions/s1.py", "s1.ipynb",
           "book/homework/reading.csv", "book/_static/grades.json", "labs/grades.json", "secret", "autograder.zip")  # fmt: skip


def test_the_list_of_what_is_public_is_complete():
    """Everything that git tracks outside of instructor/ is on it: a new kind of file is entered, or is not tracked."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        missing("git's list of tracked files", "Run in a clone.")
    pages = set(re.findall(r"(?:file|root): (\S+)", (ROOT / "_toc.yml").read_text("utf8")))
    names = [name for name in listed.stdout.split("\0") if name and not name.startswith("instructor/")]
    assert names and [name for name in names if not is_public(name, pages)] == []
    assert not [name for name in PRIVATE if is_public(name, pages)]


# --- pages ------------------------------------------------------------------------------------------------------------------


def test_every_master_is_released_and_stands_in_the_book():
    """In the contents, and in the list for instructors; a chapter's row in the course follows from the page."""
    assert [path.stem for path in homework_pages()] == NAMES == [f"hw{n}" for n in range(1, len(NAMES) + 1)]
    assert re.findall(r"^\| \{doc\}`\.\./homework/(\w+)`", INSTRUCTORS.read_text("utf8"), re.MULTILINE) == NAMES


@pytest.mark.parametrize("master", masters(), ids=lambda p: p.stem)
def test_the_page_on_disk_is_what_the_master_gives(master):
    assert stale(master) is None
    assert release(master.read_text("utf8")) == release(master.read_text("utf8"))


def test_pages_and_notebooks_hold_no_solution():
    paths = files_under(ROOT / "book" / "homework", ROOT / "book" / "zh" / "homework")
    assert {p.suffix for p in paths} == {".md", ".ipynb"} and len(paths) == 2 * 2 * len(NAMES)
    assert leaks(paths) == []


@pytest.mark.parametrize("name", NAMES)
def test_there_are_secrets_to_look_for(name):
    assert len(secret_lines(name)) > 60
    assert not any("hw.check(" in line for line in secret_lines(name))


def test_a_planted_leak_is_found(tmp_path):
    line = next(line for line in sorted(secret_lines("hw1")) if "**2)[:, np.newaxis]" in line)
    page = '<span class="k">' + "</span> <span>".join(html.escape(line).split(" ")) + "</span>"
    (tmp_path / "page.html").write_text(page)
    notebook = {"cells": [{"source": ["x\n", f"    {line}\n"]}]}
    (tmp_path / "page.ipynb").write_text(json.dumps(notebook))
    (tmp_path / "search.js").write_text("index(" + json.dumps(f"before\n{line}\nafter") + ")")
    (tmp_path / "clean.md").write_text("nothing")
    assert {Path(found.partition(": ")[0]).name for found in leaks(files_under(tmp_path))} == {
        "page.html",
        "page.ipynb",
        "search.js",
    }


@pytest.mark.site
def test_the_site_holds_no_solution():
    if not (SITE / "book" / "homework").exists():
        pytest.fail("There is no built site in _build/html: run `make book` first (`make test` does).")
    paths = files_under(SITE)
    names = {p.relative_to(SITE).as_posix() for p in paths}
    assert {"_static/search-index.js", "_sources/book/homework/hw1.md", "book/homework/hw1.html"} <= names
    assert leaks(paths) == []


@pytest.mark.rehearsal
def test_the_wheel_holds_no_solution(tmp_path):
    copy = tmp_path / "source"
    shutil.copytree(ROOT / "labs", copy / "labs", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, copy / name)
    shutil.copytree(ROOT / "instructor", copy / "instructor", ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), "."]
    subprocess.run(build, cwd=copy, check=True)
    [wheel] = tmp_path.glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "wheel", "zip")
    paths = files_under(tmp_path / "wheel")
    assert any(p.name == "homework.py" for p in paths) and not any("instructor" in p.parts for p in paths)
    assert leaks(paths) == []


# --- the public tree --------------------------------------------------------------------------------------------------------


@pytest.mark.rehearsal
def test_the_public_tree_holds_no_solution_and_nothing_untracked(public):
    names = {p.relative_to(public).as_posix() for p in files_under(public)}
    assert not any(name.startswith("instructor") for name in names) and "secret.txt" not in names
    assert {"Makefile", "labs/homework.py", "book/homework/hw1.md", "book/homework/hw1.ipynb"} <= names
    assert {"book/zh/homework/hw1.md", "book/zh/homework/hw1.ipynb", "book/zh/01-chained-jacobians.ipynb"} <= names
    chinese = {page.relative_to(ROOT).as_posix() for page in (ROOT / "book/zh/homework").glob("*.md")}
    assert chinese and chinese <= names and {"book/zh/index.md", "book/zh/glossary.md", "book/zh/words.po"} <= names
    assert leaks(files_under(public)) == []


@pytest.mark.rehearsal
def test_the_public_tree_stands_by_itself(public):
    """Its notebooks match its pages, its types hold, its homework's tests pass, every test can be collected; ``make test`` runs them all."""
    typed = tomllib.loads((public / "pyproject.toml").read_text("utf8"))["tool"]["mypy"]["files"]
    assert all((public / folder).is_dir() for folder in typed)  # mypy stops at a name that is not there
    environment = os.environ | {"PYTHONPATH": f"{public}{os.pathsep}{public / 'book' / '_ext'}"}
    for command in (
        ["bookext.notebook.generator", "--check"],
        ["bookext.check"],
        ["mypy"],
        ["pytest", "-q", "-p", "no:cacheprovider", "--collect-only"],
        ["pytest", "-q", "-p", "no:cacheprovider", "tests/labs/test_homework.py"],
    ):
        run = [sys.executable, "-m", *command]
        done = subprocess.run(run, cwd=public, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def test_a_public_tree_is_made_in_a_new_folder_only(tmp_path, capsys):
    (tmp_path / "old.md").write_text("an old page")
    assert main(["--public", str(tmp_path)]) == 1
    assert "is not empty" in capsys.readouterr().err


# --- the release of one page ------------------------------------------------------------------------------------------------

MASTER = f"""---
kernelspec:
  name: python3
---

# Homework

:::{{dropdown}} Hint
Look.
:::
:::{{dropdown}} Solution for instructors
:class: solution
Seven.
:::

```{{code-cell}} ipython3
:question: "2"

def f(x):
    \"\"\"Twice x.\"\"\"
    {BEGIN}
    y = x
    return y + x
    {END}
```

```{{code-cell}} ipython3
{BEGIN}
_helper = 3
answer, other = _helper, 4
typed: int = 5
text = \"\"\"
Because.
\"\"\"
{END}
print(answer)
```

```{{code-cell}} ipython3
:tags: [hide-input, solution]

secret = 1
```

```{{code-cell}} ipython3
---
tags:
  - solution
---
secret = 2
```

The end.
"""

PAGE = """# Homework

:::{dropdown} Hint
Look.
:::

```{code-cell} ipython3
:question: "2"

def f(x):
    \"\"\"Twice x.\"\"\"
    raise NotImplementedError("question 2")
```

```{code-cell} ipython3
answer = ...
other = ...
typed = ...
text = \"\"\"...\"\"\"
print(answer)
```

The end.
"""


def test_a_page_is_released():
    head, _, body = release(MASTER).removeprefix("---\n").partition("---\n\n")
    assert body == PAGE
    assert "execution_mode: 'off'" in head and "name: python3" in head


def test_a_solution_inside_another_fold_goes_too():
    text = ":::::{exercise} Two\n::::{dropdown} Hint\nSee.\n::::\n::::{dropdown} Solution\n:class: solution\nFour.\n::::\n:::::\n"
    assert release(text) == ":::::{exercise} Two\n::::{dropdown} Hint\nSee.\n::::\n:::::\n"


def test_the_class_makes_a_solution_and_not_the_title():
    assert (
        release("A.\n\n:::{admonition} What it is aimed at\n:class: wide solution\nSecret.\n:::\n\nB.\n")
        == "A.\n\nB.\n"
    )


@pytest.mark.parametrize(
    "fold, line",
    [
        (":::{dropdown} Solution\nFour.\n:::", 3),
        (":::{dropdown} solution: what it is aimed at\nFour.\n:::", 3),
        (":::{admonition} **Solution**\n:class: tip\nFour.\n:::", 3),
        ("```{dropdown} Solution\nFour.\n```", 3),
        ("~~~{dropdown} Solution\nFour.\n~~~", 3),
        ("- one\n  :::{dropdown} Solution\n  :class: solution\n  Four.\n  :::", 4),
        ("> :::{dropdown} Solution\n> Four.\n> :::", 3),
        (":::{solution} ex-two\nFour.\n:::", 3),
        ("::::{exercise}\n:label: ex-two\n\nTwo?\n\n:::{dropdown} Solution\nFour.\n:::\n::::", 8),
        (":::{dropdown} Aim\n:class: solutions\nFour.\n:::", 4),
        (":::{dropdown} Aim\n\n:class: solution\nFour.\n:::", 5),
        (":::{dropdown} Aim\n---\nclass: solution\n---\nFour.\n:::", 5),
    ],
)
def test_a_solution_without_the_class_stops_the_release(fold, line):
    with pytest.raises(ReleaseError) as error:
        release(f"Text.\n\n{fold}\n\nMore.\n", "hw9.md")
    assert str(error.value).startswith(f"hw9.md:{line}: ") and ":class: solution" in str(error.value)


@pytest.mark.parametrize(
    "old, new, message",
    [
        (f"    {END}\n", "", "### BEGIN SOLUTION without ### END SOLUTION"),
        (f"    {BEGIN}\n", "", "'### END SOLUTION' without its partner"),
        (BEGIN, "### BEGIN SOLUTIONS", "without its partner"),
        (':question: "2"\n', "", 'the cell needs :question: "N"'),
        ("The end.", f"The end.\n{BEGIN}", "outside a code cell"),
        ("Seven.\n:::", "Seven.\n", "is not closed"),
        ('answer, other = _helper, 4\ntyped: int = 5\ntext = """\nBecause.\n"""', "print(3)", "assigns no name"),
    ],
)
def test_an_unmarked_solution_stops_the_release(old, new, message):
    assert old in MASTER
    with pytest.raises(ReleaseError, match=re.escape(message)) as error:
        release(MASTER.replace(old, new), "hw9.md")
    assert re.match(r"hw9\.md(:\d+|, inside line \d+)", str(error.value))


def test_the_command_names_what_it_knows(capsys):
    assert main(["--publish"]) == 2
    assert "--public and a new folder" in capsys.readouterr().err


# --- the instructor's page --------------------------------------------------------------------------------------------------

INSTRUCTORS = ROOT / "book" / "appendix" / "instructors.md"


def test_the_pages_example_of_a_question_works():
    """As printed: it releases, its visible and hidden checks tell the misconception, and its solution gets the points."""
    text = INSTRUCTORS.read_text("utf8")
    cell = re.search(r"^````markdown\n(.*?)^````$", text, re.MULTILINE | re.DOTALL)[1]
    hidden = re.search(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[1]
    assert max(cell.count("\n"), hidden.count("\n")) <= 20
    assert 'raise NotImplementedError("question 8")' in release(cell) and "1 / n" not in release(cell)
    module = types.ModuleType("example")
    exec("from instructor.grading.checks import check, close, question\n" + hidden, module.__dict__)
    own = Homework("hw9", "s123", salt="x")
    namespace: dict[str, Any] = {"hw": own}
    code = "\n".join(line for line in cell.splitlines() if not line.startswith(("```", ":")))
    exec(code, namespace)
    assert own.results == {"8": "passed"}
    [result] = checks.run(module, checks.LocalStudent(namespace), own, b"secret")
    assert result.points == result.out_of == 2
    exec(code.replace("return 1 / n", "return n**-0.5"), namespace)
    assert own.results == {"8": "failed"}
    [result] = checks.run(module, checks.LocalStudent(namespace), own, b"secret")
    assert result.points == 0 and result.items[0].feedback == "this is the standard deviation"


@pytest.mark.parametrize("name", NAMES)
def test_minutes_and_points_agree_everywhere(name):
    """In the master's front matter, in its first paragraph and in the table for instructors."""
    text = (ROOT / "instructor" / name / f"{name}.md").read_text("utf8")
    front = yaml.safe_load(text.split("---")[1])["homework"]
    assert re.search(rf"[Aa]bout {front['minutes']} minutes, {front['points']} points", text)
    assert re.search(rf"{name}`.*\| {front['minutes']} \| {front['points']} \|", INSTRUCTORS.read_text("utf8"))
    assert 60 <= front["minutes"] <= 130
