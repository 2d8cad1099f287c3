"""A lecturer elsewhere forks the book and publishes it: each step of the workflows in its order, against a bare repository on this disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml
from support import ROOT

PLACEHOLDER = b"_your-account_"
# Where the placeholder is known for one: the set-up cell, in each notebook, and what writes or tests it.
SAYS_SO = b'if \\"/_your-account_\\" in source'
KNOWS_IT = {"setupcell.py", "test_colab.py", "test_course.py", "report.py", "test_fork.py"}
HOSTS = {
    "github": ("URL=https://github.com/jane-doe/numstab", "https://jane-doe.github.io/numstab/"),
    "plain": ("URL=https://git.uni.example/jane/numstab SITE=https://uni.example/~jane/numstab/", "https://uni.example/~jane/numstab/"),
}  # fmt: skip
# What GitHub does for a workflow and this disk has to do here: its program for releases, on a folder.
GH = """#!/bin/sh
set -e
shelf="$SHELF"
case "$1 $2" in
  "release view") test -d "$shelf/$3" ;;
  "release create") mkdir -p "$shelf/$3" ;;
  "release upload") tag="$3"; shift 3; for file; do case "$file" in --*) ;; *) cp "$file" "$shelf/$tag" ;; esac; done ;;
  "release list") ls "$shelf" ;;
  "release download") cp "$shelf/$3/$5" "$7" ;;
  "workflow run") test "$3 $4 $5" = "publish.yml --ref main" && echo "started $3 on $5" ;;
  *) echo "gh $*: not known here" >&2; exit 1 ;;
esac
"""


def run(cwd: Path, *command: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(command, cwd=cwd, env=kept | environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def clone(repository: Path, to: Path) -> Path:
    """A clone with an environment that borrows this one's packages, and with what the chapters computed here."""
    run(repository, "git", "clone", "--quiet", str(repository), str(to))
    for key, value in (("user.name", "Jane Doe"), ("user.email", "jane@uni.example")):
        run(to, "git", "config", key, value)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", to / ".venv"], check=True)
    [packages] = (to / ".venv").glob("lib/python*/site-packages")
    borrowed = [sysconfig.get_path("purelib"), *(p for p in sys.path if p.endswith("site-packages"))]
    paths = ["../../../..", "../../../../book/_ext", *dict.fromkeys(borrowed)]
    (packages / "book.pth").write_text("\n".join(paths) + "\n")
    (to / ".venv/ready").touch()
    if (ROOT / "_build/cache").exists():
        shutil.copytree(ROOT / "_build/cache", to / "_build/cache")
    return to


def named(folder: Path) -> list[str]:
    """The files of a folder that name the placeholder."""
    files = (path for path in folder.rglob("*") if path.is_file() and not {".git", ".venv"} & set(path.parts))
    return [path.name for path in files if PLACEHOLDER in path.read_bytes().replace(SAYS_SO, b"")]


def steps(workflow: str, job: str) -> list[str]:
    """The commands of a job, but for those that install something on its machine."""
    parsed = yaml.safe_load((ROOT / ".github/workflows" / workflow).read_text("utf8"))
    return [step["run"] for step in parsed["jobs"][job]["steps"] if not step.get("run", "sudo ").startswith("sudo ")]


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """What somebody finds: the book as it is committed here, its branch called main."""
    if not (ROOT / ".git").exists():
        pytest.skip("NOT TESTED: a fork. This copy is no git repository: git clone the book.")
    run(ROOT, "git", "clone", "--quiet", "--bare", str(ROOT), str(tmp_path / "upstream.git"))
    run(tmp_path / "upstream.git", "git", "branch", "--force", "main", "HEAD")
    return tmp_path / "upstream.git"


@pytest.mark.rehearsal
@pytest.mark.parametrize("host", HOSTS)
def test_a_fork_publishes_itself(host, upstream, tmp_path):
    arguments, site = HOSTS[host]
    fork, shelf, tools = tmp_path / "fork.git", tmp_path / "releases", tmp_path / "tools"
    run(tmp_path, "git", "clone", "--quiet", "--bare", "--single-branch", "--branch", "main", str(upstream), str(fork))
    mine = clone(fork, tmp_path / "mine")
    run(mine, "make", "address", *arguments.split(), "TAG=v7.0.0", "AUTHOR=Jane Doe")
    run(mine, "git", "commit", "--quiet", "--all", "--message", "The address of this fork")
    run(mine, "git", "tag", "v7.0.0")
    run(mine, "git", "push", "--quiet", "origin", "HEAD:main", "v7.0.0")

    runner = clone(fork, tmp_path / "runner")
    assert run(runner, "git", "describe", "--tags").strip() == "v7.0.0"
    shelf.mkdir(), tools.mkdir()
    (tools / "gh").write_text(GH)
    (tools / "gh").chmod(0o755)
    github = {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "SHELF": str(shelf),
        "GITHUB_REPOSITORY": "jane-doe/numstab",
        "GITHUB_REF_NAME": "v7.0.0",
        "BRANCH": "main",
    }
    jobs = [*steps("publish.yml", "version"), *steps("publish.yml", "deploy")] if host == "github" else ["make book"]
    for step in jobs:
        run(runner, "bash", "-eo", "pipefail", "-c", step, **github)

    built = runner / "_build/html"
    assert set(named(runner)) - KNOWS_IT == set(), "somewhere the book is still somebody's with a placeholder"
    assert f'<link rel="canonical" href="{site}book/index.html"' in (built / "book/index.html").read_text("utf8")
    assert site in (built / "sitemap.xml").read_text("utf8")
    button = "colab.research.google.com/github/jane-doe/numstab/blob/v7.0.0/book/01-chained-jacobians.ipynb"
    assert (button in (built / "book/01-chained-jacobians.html").read_text("utf8")) == (host == "github")
    if host == "github":
        assert {path.suffix for path in (shelf / "v7.0.0").iterdir()} == {".gz", ".pdf", ".epub", ".zip"}
        assert (built / "versions/v7.0.0/book/index.html").exists()
