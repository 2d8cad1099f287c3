"""What tests share: it is found whichever folder or module pytest is started with, and says what a machine lacks."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib

import pytest
from support import ROOT, missing

OPTIONS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["tool"]["pytest"]["ini_options"]
FOLDERS = [name for name in OPTIONS["testpaths"] if (ROOT / name).exists()]
MODULES = ["tests/test_support.py", *(f"{name}/test_grading.py" for name in FOLDERS if name == "instructor/tests")]


@pytest.mark.slow
@pytest.mark.parametrize("place", [*(pytest.param(name, marks=pytest.mark.rehearsal) for name in FOLDERS), *MODULES])
def test_it_can_be_collected_by_itself(place):
    """In a process of its own, with nothing on the path that pyproject.toml does not name."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", place]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "PYTEST_"))}
    done = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.parametrize("ci", [True, False])
def test_what_is_missing_is_said_and_in_ci_a_failure(ci, monkeypatch, capsys):
    monkeypatch.setenv("CI", "true") if ci else monkeypatch.delenv("CI", raising=False)
    outcome = pytest.fail.Exception if ci else pytest.skip.Exception
    with pytest.raises(outcome, match=r"NOT TESTED: a whale is missing\. Get one\."):
        missing("a whale", "Get one.")
    assert ci or "NOT TESTED: a whale is missing" in capsys.readouterr().out
