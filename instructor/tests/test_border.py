"""The border of the sandbox is a folder: ``grading/inside`` needs nothing of the grader, and a submission sees nothing else of it."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from instructor.grading import gradescope, sandbox
from instructor.grading.sandbox import INSIDE, ROOT, Sandbox, Session

pytestmark = pytest.mark.xdist_group("grading")
MODULES = sorted(path.stem for path in INSIDE.glob("*.py"))
PACKAGES = {"IPython", "labs", "numpy", "parso", "sympy", "torch"}
PROBE = """
import os, sys

def files(folder):
    return sorted(os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names)

def there(paths):
    return [path for path in paths if os.path.lexists(path)]

def writable(folder):
    return [at for at, _, _ in os.walk(folder) if os.access(at, os.W_OK)]

def mounted():
    return sorted({line.split()[1] for line in open("/proc/self/mounts")})

def loaded():
    return sorted(name for name in sys.modules if name.split(".")[0] in ("inside", "instructor"))
"""


def imported(tree: ast.AST) -> Iterator[str]:
    """What a module's text imports, by ``import`` and ``from``, wherever it stands; a relative import with its dots."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def test_the_folder_holds_the_inner_side():
    assert MODULES == ["__init__", "executor", "notebook", "plain", "source"]
    assert not any(path.is_dir() and path.name != "__pycache__" for path in INSIDE.iterdir())


@pytest.mark.parametrize("name", MODULES)
def test_a_module_inside_imports_nothing_from_outside(name):
    text = (INSIDE / f"{name}.py").read_text("utf8")
    found = set(imported(ast.parse(text)))
    assert {name.partition(".")[0] for name in found if not name.startswith(".")} <= PACKAGES | sys.stdlib_module_names
    assert {n for n in found if n.startswith(".")} <= {
        ".",
        *(f".{m}" for m in MODULES),
    }  # of its own folder, not the one above
    assert "instructor." not in text  # nor by a name that is put together


@pytest.mark.slow
def test_the_folder_works_by_itself(tmp_path):
    """All of it imports where there is no ``instructor``, under the name that it has in the sandbox."""
    shutil.copytree(INSIDE, tmp_path / "inside", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "labs").symlink_to(ROOT / "labs")
    code = f"""if True:
        import importlib, sys
        sys.path[:] = [{str(tmp_path)!r}, *(p for p in sys.path if p and p != {str(ROOT)!r})]
        for name in {MODULES!r}:
            importlib.import_module(f"inside.{{name}}")
        assert sys.modules["inside.plain"].__file__.startswith({str(tmp_path)!r})
        assert not [name for name in sys.modules if name.partition(".")[0] == "instructor"]
        """
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_of_the_repository_only_the_folder_and_labs_are_bound():
    command = sandbox._bubblewrap()
    bound = {
        source: target
        for option, source, target in zip(command, command[1:], command[2:], strict=False)
        if option in ("--bind", "--dev-bind", "--ro-bind", "--bind-try", "--dev-bind-try", "--ro-bind-try")
    }
    assert not {"--bind", "--bind-try", "--dev-bind", "--dev-bind-try"} & set(command)
    ours = {source: target for source, target in bound.items() if Path(source).resolve().is_relative_to(ROOT)}
    ours.pop(sys.prefix, None)  # the environment, where it lies in the repository
    assert ours == {str(INSIDE): "/sandbox/inside", str(ROOT / "labs"): "/sandbox/labs"}
    assert not any(ROOT.is_relative_to(Path(source).resolve()) for source in bound)


@pytest.fixture(scope="module")
def probed(walled: Sandbox) -> Iterator[Session]:
    """A submission in a sandbox of tier 1 that tells what it sees."""
    with Session(walled, [PROBE]) as session:
        session.begin("probe")
        yield session


@pytest.mark.slow
def test_a_submission_sees_the_folder_and_labs(probed):
    seen = {name for name in probed.call("files", "/sandbox") if "__pycache__" not in name}
    labs = {path.relative_to(ROOT).as_posix() for path in (ROOT / "labs").rglob("*") if path.is_file()}
    expected = {f"inside/{name}.py" for name in MODULES} | {name for name in labs if "__pycache__" not in name}
    assert seen == expected
    assert not any(word in name for name in seen for word in ("checks", "master", "records", "secret", "rubric"))
    assert probed.call("writable", "/sandbox") == []
    assert probed.call("loaded") == ["inside", "inside.notebook", "inside.plain", "inside.source"]


@pytest.mark.slow
def test_a_submission_does_not_see_the_repository(probed):
    ours = [str(path) for path in ROOT.iterdir() if not Path(sys.prefix).is_relative_to(path)]
    assert len(ours) > 10 and probed.call("there", ours) == []
    grader = [str(path) for path in (ROOT / "instructor").rglob("*")]
    assert str(ROOT / "instructor/hw1/checks.py") in grader and probed.call("there", grader) == []
    assert probed.call("there", [str(Path.home() / ".config"), str(INSIDE)]) == []


@pytest.mark.slow
def test_nothing_else_is_mounted(probed):
    mounted = {path for path in probed.call("mounted") if not path.startswith(("/proc", "/dev"))}
    ours = {"/sandbox/inside", "/sandbox/labs"}
    python = {sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix)}
    system = {"/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime"}
    assert ours <= mounted <= ours | python | system | {os.path.realpath(path) for path in system} | {"/", "/tmp"}


def test_the_zip_for_gradescope_holds_the_folder(tmp_path):
    gradescope.make_zip("hw1", b"a secret for tests", tmp_path / "zip")
    names = set(zipfile.ZipFile(tmp_path / "zip").namelist())
    assert {f"instructor/grading/inside/{name}.py" for name in MODULES} <= names
    assert {p.relative_to(ROOT).as_posix() for p in (ROOT / "instructor/grading").rglob("*.py")} <= names
    assert {name for name in names if name.startswith("instructor/hw")} == {
        "instructor/hw1/checks.py",
        "instructor/hw1/hw1.md",
    }
