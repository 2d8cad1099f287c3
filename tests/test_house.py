"""The plan of the house: who may import whom, how long a module and how tangled a function may be."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from radon.complexity import cc_visit
from support import ROOT

LONGEST, MOST_TANGLED = 480, 20
ROOMS = [ROOT / name for name in ("book/_ext/bookext", "labs", "instructor")]
MODULES = [
    path for room in ROOMS for path in sorted(room.rglob("*.py")) if not {"tests", "__pycache__"} & {*path.parts}
]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [p for p in MODULES if p.name != "checks.py"], ids=name)
def test_no_module_is_long_and_no_function_tangled(path):
    text = path.read_text("utf8")
    assert text.count("\n") <= LONGEST, "split it: one idea a module"
    tangled = [f"{f.name} ({f.complexity})" for f in cc_visit(text) if f.complexity > MOST_TANGLED]
    assert not tangled, "split these, or write their decisions as a table"


def test_the_rooms_are_those_that_the_contracts_name():
    """A new room stands in no contract until it is written into one."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["tool"]["importlinter"]["contracts"]
    layered = {layer for contract in contracts for layer in contract.get("layers", [])}
    rooms = {f"bookext.{path.parent.name}" for path in (ROOT / "book/_ext/bookext").glob("*/__init__.py")}
    assert rooms == layered
    assert not [p for p in (ROOT / "book/_ext/bookext").glob("*.py") if p.name != "__init__.py"], (
        "each module has a room"
    )


PLANTED = {
    "read/chapter.py": "from bookext.check import ledger",
    "read/book.py": "import sphinx",
    "read/plaintext.py": "import torch",
    "check/ledger.py": "from bookext.run import build",
    "run/execute.py": "from bookext.pages import layout",
    "check/probe.py": "from bookext.notebook import wheel",
    "notebook/wheel.py": "from bookext.run import execute",
    "check/bare.py": "import docutils.nodes",
    "../../../labs/init.py": "from bookext.read import book",
}


@pytest.mark.slow
@pytest.mark.parametrize("file", PLANTED)
def test_an_arrow_the_wrong_way_breaks_a_contract(file, tmp_path):
    for folder in ("labs", "book/_ext/bookext"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    planted = tmp_path / "book/_ext/bookext" / file
    planted.write_text(f"{planted.read_text('utf8')}\n\n{PLANTED[file]}\n", "utf8")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path / 'book/_ext'}:{tmp_path}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and re.search(r" [1-9] broken", done.stdout), done.stdout + done.stderr


def test_every_example_in_a_docstring_is_run():
    """pytest looks for doctests below its test paths; a module elsewhere would only seem to be tested."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["tool"]["pytest"]["ini_options"]
    assert "--doctest-modules" in options["addopts"]
    paths = [ROOT / path for path in options["testpaths"]]
    folders = [path for path in ROOT.iterdir() if path.is_dir() and path.name[0] not in "._"]
    modules = [path for folder in folders for path in folder.rglob("*.py")]
    with_examples = [path for path in modules if re.search(r"^\s*>>> ", path.read_text("utf8"), re.MULTILINE)]
    assert len(with_examples) > 20
    assert [name(p) for p in with_examples if not any(p.is_relative_to(path) for path in paths)] == []
