"""A rehearsal of Colab: its package versions, an empty folder, the notebook alone, labs brought by the notebook's set-up cell.

The environment in _build/colab is made once and reused. Torch is the book's own, since Colab's is not on the package index; the
weekly run in Colab's own image (.github/workflows/colab.yml) has the real one, and Python 3.13 with it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bookext.colab import BADGE, colab_url
from bookext.notebooks import convert
from bookext.setupcell import PACKAGES, PLACEHOLDER, setup_code
from bookext.source import config, notebook_pages
from bookext.wheel import FOLDER, build_wheel, wheel_name
from conftest import ROOT, SITE, missing
from filelock import FileLock

PINS = ROOT / "tests" / "colab-packages.txt"
REHEARSE = ROOT / "tests" / "rehearse.py"
NOTEBOOKS = [page.relative_to(ROOT).with_suffix(".ipynb") for page in notebook_pages()]
TAG = "rehearsal"
QUIET = {
    "OMP_NUM_THREADS": "1",
    "TQDM_DISABLE": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "JUPYTER_PLATFORM_DIRS": "1",
}


def run(*command: object, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command without this environment's own packages on its path."""
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=kept | QUIET | environment, capture_output=True, text=True
    )


def done(*command: object, cwd: Path = ROOT, **environment: str) -> str:
    """What a command prints; it must succeed."""
    ran = run(*command, cwd=cwd, **environment)
    assert ran.returncode == 0, f"{command}:\n{ran.stdout}{ran.stderr}"
    return ran.stdout


def link_torch(site_packages: Path) -> None:
    """Torch from the environment that runs the tests, by hard links: a gigabyte saved, and no resolver has touched it."""
    names = [d.name for d in importlib.metadata.distributions()]
    for name in [n for n in names if n == "torch" or n.startswith(("nvidia-", "cuda-", "triton"))]:
        for file in importlib.metadata.files(name) or []:
            source, target = Path(str(file.locate())), site_packages / file
            if ".." not in file.parts and source.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(source, target)


def environment(python: str, torch: bool) -> Path:
    """An environment with Colab's packages, made by this Python once and then reused."""
    key = hashlib.sha256(f"{done(python, '-VV')}{torch}{PINS.read_text('utf8')}".encode()).hexdigest()[:12]
    home = ROOT / "_build" / "colab" / key
    home.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{home}.lock"):
        if not (home / "ready").exists():
            shutil.rmtree(home, ignore_errors=True)
            done(python, "-m", "venv", home)
            done(home / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", PINS)
            if torch:
                link_torch(next(home.glob("lib/python*/site-packages")))
            (home / "ready").touch()
    return home


@pytest.fixture(scope="session")
def colab(tmp_path_factory) -> Iterator[Path]:
    """The Python of such an environment that this test process may change: a copy, its files hard links."""
    home = environment(sys.executable, torch=True)
    copy = home.parent / f"{home.name}-{os.getpid()}"
    shutil.copytree(home, copy, symlinks=True, copy_function=os.link)
    yield copy / "bin" / "python"
    shutil.rmtree(copy)


def publish(home: Path) -> Path:
    """A fork of the book: its working tree, addressed by the book's own command, tagged and cloned bare."""
    fork, bare = home / "fork", home / "book.git"
    left_out = shutil.ignore_patterns(".*", "_build", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, fork, ignore=left_out)
    site = ["--site", "https://book.invalid/"]
    done(sys.executable, "-m", "bookext.address", bare.as_uri(), "--tag", TAG, *site, cwd=fork, PYTHONPATH="book/_ext")
    git = ["git", "-c", "user.name=Author", "-c", "user.email=author@book.invalid"]
    done(*git, "init", "--quiet", cwd=fork)
    done(*git, "add", "--all", cwd=fork)
    done(*git, "commit", "--quiet", "--message", "The book", cwd=fork)
    done(*git, "tag", TAG, cwd=fork)
    done(*git, "clone", "--quiet", "--bare", fork, bare)
    return fork


@pytest.fixture(scope="session")
def published(tmp_path_factory) -> Path:
    return publish(tmp_path_factory.mktemp("published"))


def rehearse(python: Path, notebook: Path, folder: Path) -> dict[str, Any]:
    """Run one notebook alone, and give the report."""
    report = folder / "report.json"
    ran = run(python, REHEARSE, notebook, report)
    print(ran.stdout)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(report.read_text("utf8"))


@pytest.mark.rehearsal
@pytest.mark.parametrize("name", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_alone(colab, published, tmp_path, name):
    found = rehearse(colab, published / name, tmp_path)
    assert f"@{TAG} in" in found["setup"] and found["changed"] == [] and found["left"] == []
    drawn = "plt." in "".join(notebook_code(ROOT / name))
    assert drawn == (0 < found["first_figure"] < found["seconds"]["wall"] + 10)  # the kernel's start counts


def imported(code: str) -> set[str]:
    """The modules that a piece of code imports, ``labs``'s own with their names, whether at the top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"labs.{alias.name}" for alias in node.names} if node.module == "labs" else {node.module}
    return {name if name.startswith("labs.") else name.partition(".")[0] for name in names}


def notebook_code(path: Path) -> list[str]:
    cells = json.loads(path.read_text("utf8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


KERNEL = {"IPython", "matplotlib_inline"}  # what a notebook runs in brings along
LABS = {f"labs.{path.stem}": imported(path.read_text("utf8")) for path in sorted((ROOT / "labs").glob("[!_]*.py"))}
PRIVATE = {f"labs.{path.stem}": imported(path.read_text("utf8")) for path in sorted((ROOT / "labs").glob("_[!_]*.py"))}


def needs_torch(names: set[str]) -> bool:
    """Whether what is imported is torch, or a module of labs that imports it, itself or through others."""
    return any(name == "torch" or needs_torch((LABS | PRIVATE).get(name, set())) for name in names)


def test_every_import_is_provided():
    """What a notebook imports is Python's own, labs, torch, or something that the set-up cell adds where it is absent."""
    provided = sys.stdlib_module_names | PACKAGES.keys() | {"labs", "torch", *KERNEL}
    sources = {path.as_posix(): "\n".join(notebook_code(ROOT / path)[1:]) for path in NOTEBOOKS}
    sources |= {path.as_posix(): path.read_text("utf8") for path in (ROOT / "labs").glob("*.py")}
    absent = {name: found for name, code in sources.items()
              if (found := {n.partition(".")[0] for n in imported(code)} - provided)}  # fmt: skip
    assert absent == {} and len(sources) > 20


def python_3_13() -> str:
    """A Python 3.13 of this machine."""
    places = [shutil.which("python3.13"), *sorted(Path.home().glob(".pyenv/versions/3.13*/bin/python3.13"))]
    for place in filter(None, places):
        if "3.13" in run(place, "--version").stdout:
            return str(place)
    missing("Python 3.13", "Install python3.13; the weekly run in Colab's image has it too.")
    raise AssertionError


MODULES = """
import doctest, importlib, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        tested = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    except ModuleNotFoundError as error:
        found[name] = f"needs {error.name}"
    else:
        found[name] = list(tested)
print("found", json.dumps(found))
"""


@pytest.mark.rehearsal
def test_python_3_13(published, tmp_path):
    """Everything that needs no torch, which the package index has for 3.13 with gigabytes of CUDA alone."""
    python = environment(python_3_13(), torch=False) / "bin" / "python"
    alone = [name for name in NOTEBOOKS if not needs_torch(set().union(*map(imported, notebook_code(ROOT / name))))]
    for name in alone:
        found = rehearse(python, published / name, tmp_path)
        assert "PyTorch is not here" in found["setup"] and str(found["python"]).startswith("3.13")
    setup = notebook_code(published / NOTEBOOKS[0])[0]
    try:
        printed = done(python, "-c", f"{setup}\n{MODULES}", *LABS, cwd=tmp_path)
    finally:
        done(python, "-m", "pip", "uninstall", "--quiet", "--yes", "numerical-stability-labs")
    modules = json.loads(printed.partition("\nfound ")[2])
    light = {name: result for name, result in modules.items() if result != "needs torch"}
    print(f"Python 3.13: {[n.stem for n in alone]}, {light}")
    assert set(light) == {name for name in LABS if not needs_torch({name})} and "labs.homework" in light
    assert all(failed == 0 for failed, _ in light.values()) and sum(tested for _, tested in light.values()) > 5


@pytest.fixture
def set_up(colab, tmp_path, monkeypatch) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run the set-up cell of a book with a certain address, twice where it succeeds; then take labs out again."""

    def with_address(url: str, site: str, tag: str = TAG, **environment: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setitem(config(), "repository", config()["repository"] | {"url": url, "branch": tag})
        monkeypatch.setitem(config(), "html", config()["html"] | {"baseurl": site})
        code = setup_code()
        return run(colab, "-c", f"{code}\nset_up_labs()\nimport labs.jacobians", cwd=tmp_path, **environment)

    yield with_address
    done(colab, "-m", "pip", "uninstall", "--quiet", "--yes", "numerical-stability-labs")


NOWHERE = "https://book.invalid"


@pytest.mark.rehearsal
@pytest.mark.parametrize(
    "url, tag, said",
    [
        (f"https://github.com{PLACEHOLDER}/book", TAG, "a placeholder, not an address"),
        (f"{NOWHERE}/you/book", TAG, "Could not resolve host"),
        ("file:///nowhere/book.git", TAG, "not appear to be a git repository"),
        ("published", "no-such-tag", "no-such-tag"),
    ],
    ids=["placeholder", "no network", "wrong address", "wrong tag"],
)
def test_what_to_do_without_a_repository(set_up, published, url, tag, said):
    ran = set_up((published.parent / "book.git").as_uri() if url == "published" else url, NOWHERE, tag)
    assert ran.returncode == 1
    for text in (said, "labs could not be installed", "What to do:", f"{NOWHERE}/{FOLDER}/{wheel_name()}"):
        assert text in ran.stderr, ran.stderr


@pytest.mark.rehearsal
@pytest.mark.parametrize("place", ["site", "beside the notebook"])
def test_the_wheel_stands_in(set_up, tmp_path, place):
    site = tmp_path / "site"
    build_wheel(site / FOLDER if place == "site" else tmp_path)
    ran = set_up(f"{NOWHERE}/you/book", site.as_uri())
    assert ran.returncode == 0, ran.stderr
    assert "Installed labs" in ran.stdout and wheel_name() in ran.stdout and "already" in ran.stdout


@pytest.mark.rehearsal
def test_other_things_called_labs(set_up, published, tmp_path):
    bare = (published.parent / "book.git").as_uri()
    (tmp_path / "labs").mkdir()  # a folder of somebody's lab reports: no hindrance
    (tmp_path / "labs" / "report.txt").touch()
    assert "Installed labs" in set_up(bare, NOWHERE).stdout
    (tmp_path / "labs" / "__init__.py").touch()  # a package
    ran = set_up(bare, NOWHERE)
    assert ran.returncode == 1
    assert f"Something else called labs is in the way; rename it: {tmp_path / 'labs'}" in ran.stderr, ran.stderr


@pytest.mark.rehearsal
def test_what_is_absent_is_added_and_nothing_else(set_up, colab, published):
    listing = (colab, "-m", "pip", "freeze")
    before = done(*listing).splitlines()
    done(colab, "-m", "pip", "uninstall", "--quiet", "--yes", "tqdm")
    try:
        ran = set_up((published.parent / "book.git").as_uri(), NOWHERE)
        assert ran.returncode == 0 and "Installed what was not here: tqdm" in ran.stdout, ran.stdout + ran.stderr
        changed = set(before) ^ set(done(*listing).splitlines())
        assert {line.partition("=")[0].partition(" ")[0] for line in changed} <= {"tqdm", "numerical-stability-labs"}
    finally:
        done(colab, "-m", "pip", "install", "--quiet", *[line for line in before if line.startswith("tqdm=")])


def test_the_wheel_holds_labs_and_nothing_else(tmp_path):
    first = build_wheel(tmp_path / "first")
    mask = os.umask(0o077)
    try:
        second = build_wheel(tmp_path / "second")
    finally:
        os.umask(mask)
    assert first.read_bytes() == second.read_bytes()
    names = zipfile.ZipFile(first).namelist()
    labs = {f"labs/{path.name}" for path in (ROOT / "labs").glob("*.py")}
    assert labs == {name for name in names if ".dist-info/" not in name}


def test_a_fork_has_its_own_address_everywhere(published):
    """The fixture has run the command; nothing names the placeholder but what recognises it."""
    texts = {path: path.read_text("utf8") for path in (published / "book").rglob("*.ipynb")}
    assert len(texts) == len(NOTEBOOKS)
    for path, text in texts.items():
        assert (published.parent / "book.git").as_uri() in text and "https://book.invalid/book/" in text, path
        assert PLACEHOLDER not in text.replace(f'if \\"{PLACEHOLDER}\\" in source', ""), path
    done(sys.executable, "-m", "bookext.notebooks", "--check", cwd=published, PYTHONPATH="book/_ext")
    changed = [path.relative_to(published).as_posix() for path in published.rglob("*") if path.is_file()
               and ".git" not in path.parts and "__pycache__" not in path.parts
               and path.read_bytes() != (ROOT / path.relative_to(published)).read_bytes()]  # fmt: skip
    assert {name for name in changed if not name.endswith(".ipynb")} == {"_config.yml"}


def test_the_address_stands_in_one_place():
    """A second copy would be forgotten: the placeholder, or a fork's address, is in _config.yml and in what is generated."""
    address = config()["repository"]["url"].removeprefix("https://")
    kept = [*(ROOT / "book").rglob("*"), *(ROOT / "labs").rglob("*"), *(ROOT / ".github").rglob("*"), *ROOT.glob("*")]
    texts = [p for p in kept if p.suffix in {".md", ".py", ".yml", ".toml", ".txt", ".cff", ".js", ".html"}]
    assert [p.name for p in texts if address in p.read_text("utf8")] == ["_config.yml"]


@pytest.mark.parametrize(
    "given, message",
    [
        ("git@github.com:you/book.git", "write https://github.com/you/name"),
        ("https://github.com/you", "no repository on GitHub"),
        ("https://gitlab.com/you/book", "--site"),
    ],
)
def test_an_address_that_cannot_work_is_refused(given, message):
    ran = run(sys.executable, "-m", "bookext.address", given, PYTHONPATH="book/_ext")
    assert ran.returncode == 2 and message in ran.stderr and "Traceback" not in ran.stderr


@pytest.mark.site
@pytest.mark.parametrize("page", notebook_pages(), ids=lambda path: path.stem)
def test_the_page_opens_its_notebook(page):
    """Launch button and badge lead to the notebook at the tag; the page's own download is that notebook, not raw MyST."""
    html = (SITE / page.relative_to(ROOT).with_suffix(".html")).read_text("utf8")
    address = config()["repository"]["url"].removeprefix("https://github.com/")
    path = page.relative_to(ROOT).with_suffix(".ipynb").as_posix()
    url = f"https://colab.research.google.com/github/{address}/blob/{config()['repository']['branch']}/{path}"
    assert (ROOT / path).exists() and colab_url(page) == url
    assert html.count(f'href="{url}"') == 2, "one launch button and one badge"
    badge = re.search(rf'<a href="{re.escape(url)}"><img src="([^"]+)"', html)
    assert badge and (SITE / page.relative_to(ROOT).parent / badge[1]).resolve() == SITE / "_static" / BADGE
    assert (SITE / "_static" / BADGE).exists()
    assert (SITE / "_sources" / path).read_text("utf8") == convert(page)


@pytest.mark.site
def test_the_wheel_is_on_the_site():
    html = (SITE / "book/appendix/labs.html").read_text("utf8")
    assert f'href="../../{FOLDER}/{wheel_name()}"' in html and (SITE / FOLDER / wheel_name()).exists()
