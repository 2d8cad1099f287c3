"""A rehearsal of Colab: its package versions, an empty folder, the notebook alone, labs brought by the notebook's set-up cell.

The environment in _build/colab is made once and reused. Torch is the book's own, since Colab's is not on the package index; the
weekly run in Colab's own image (.github/workflows/colab.yml) has the real one, and Python 3.13 with it.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from bookext.notebook import address
from bookext.notebook.generator import convert
from bookext.notebook.setupcell import MESSAGES, PACKAGES, PLACEHOLDER, setup_code
from bookext.notebook.wheel import FOLDER, build_wheel, wheel_name
from bookext.pages.layout import colab_url
from bookext.read.blocks import language_of, notebook_texts, page_of
from bookext.read.book import config, display_path
from bookext.read.chapter import read_chapter
from bookext.read.words import say
from support import ROOT, SITE, TAG, done, environment, missing, publish, rehearse, run

NOTEBOOKS = [text.relative_to(ROOT).with_suffix(".ipynb") for text in notebook_texts()]


@pytest.fixture(scope="session")
def colab(tmp_path_factory) -> Iterator[Path]:
    """The Python of such an environment that this test process may change: a copy, its files hard links."""
    home = environment(sys.executable, torch=True)
    copy = home.parent / f"{home.name}-{os.getpid()}"
    shutil.copytree(home, copy, symlinks=True, copy_function=os.link)
    yield copy / "bin" / "python"
    shutil.rmtree(copy)


@pytest.fixture(scope="session")
def published(tmp_path_factory) -> Path:
    return publish(tmp_path_factory.mktemp("published"))


@pytest.mark.rehearsal
@pytest.mark.parametrize("name", NOTEBOOKS, ids=str)
def test_notebook_alone(colab, published, tmp_path, name):
    found = rehearse(colab, published / name, tmp_path)
    assert f"@{TAG} in" in found["setup"] and found["changed"] == [] and found["left"] == []
    drawn = any("mystnb" in cell.metadata for cell in read_chapter((ROOT / name).with_suffix(".md")).code)
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
SOURCES = sorted((ROOT / "labs").rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


LABS = {module_name(path): imported(path.read_text("utf8")) for path in SOURCES}


def needs_torch(names: set[str]) -> bool:
    """Whether what is imported is torch, or a module of labs that imports it, itself, through others or through its package."""
    found, waiting = set(), set(names)
    while waiting:
        found.add(name := waiting.pop())
        waiting |= (LABS.get(name, set()) | {name.rpartition(".")[0]}) - found
    return "torch" in found


def test_the_set_up_speaks_chinese():
    """Where GitHub is slow or blocked its advice is what a reader needs; it is the same code, but for what it says."""
    english, chinese = (re.sub(r"#.*", "", setup_code(language)) for language in ("en", "zh"))
    for text in MESSAGES.values():
        assert english.count(text) == 1 and text not in chinese, text
        english = english.replace(text, say("zh", text))
    told = [line for line in chinese.splitlines() if line not in english.splitlines()]
    assert [line.strip() for line in told] == ['os.environ["LABS_LANGUAGE"] = "zh"']
    compile(chinese, "set-up", "exec")


@pytest.mark.slow
def test_every_import_is_provided():
    """What a notebook imports is Python's own, labs, torch, or something that the set-up cell adds where it is absent."""
    provided = sys.stdlib_module_names | PACKAGES.keys() | {"labs", "torch", *KERNEL}
    sources = {path.as_posix(): "\n".join(notebook_code(ROOT / path)[1:]) for path in NOTEBOOKS}
    sources |= {path.as_posix(): path.read_text("utf8") for path in SOURCES}
    optional = {
        "lightning",
        "pytorch_lightning",
        "transformers",
    }  # of labs.monitor.callbacks; whoever calls them has them
    absent = {name: found for name, code in sources.items()
              if (found := {n.partition(".")[0] for n in imported(code)} - provided)
              and not (name.endswith("monitor/callbacks.py") and found <= optional)}  # fmt: skip
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
    english = [name for name in NOTEBOOKS if language_of(ROOT / name) == "en"]
    alone = [name for name in english if not needs_torch(set().union(*map(imported, notebook_code(ROOT / name))))]
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
        code = setup_code("en")
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


PEP_668 = next(Path("/usr/lib").glob("python3*/EXTERNALLY-MANAGED"), None)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["no pip", "externally managed"])
def test_a_python_that_cannot_install_is_told_so_with_the_remedy(which, tmp_path):
    """A student's own computer: an environment of uv's or VS Code's, or the system's Python (PEP 668)."""
    (tmp_path / wheel_name()).write_bytes(build_wheel(tmp_path / "built").read_bytes())
    code = tmp_path / "setup.py"
    code.write_text(notebook_code(ROOT / NOTEBOOKS[0])[0], "utf8")
    if which == "no pip":
        done(sys.executable, "-m", "venv", "--without-pip", tmp_path / "env")
        python, said = tmp_path / "env/bin/python", "this Python has no pip"
    else:
        if PEP_668 is None or run("/usr/bin/python3", "-m", "pip", "--version").returncode:
            missing("a Python of the system's with pip", "On Debian: apt install python3-pip.")
        python, said = Path("/usr/bin/python3"), "externally-managed-environment"
    ran = run(python, code, cwd=tmp_path)
    assert ran.returncode == 1 and f"Installing {wheel_name()}" in ran.stdout, ran.stdout + ran.stderr
    for text in (said, "labs could not be installed", "python3 -m venv", "python -m ensurepip"):
        assert text in ran.stderr, ran.stderr


@pytest.mark.slow
def test_the_wheel_holds_labs_and_nothing_else(tmp_path):
    first = build_wheel(tmp_path / "first")
    mask = os.umask(0o077)
    try:
        second = build_wheel(tmp_path / "second")
    finally:
        os.umask(mask)
    assert first.read_bytes() == second.read_bytes()
    names = zipfile.ZipFile(first).namelist()
    labs = {path.relative_to(ROOT).as_posix() for path in SOURCES} | {"labs/words.po"}
    assert labs == {name for name in names if ".dist-info/" not in name}


LOADED = """
import labs.monitor, sys
from labs.monitor import find_nonfinite_origin
print(labs.monitor.__file__, {"matplotlib", "sympy"} & set(sys.modules))
"""


@pytest.mark.slow
def test_the_wheel_alone_has_the_monitor(tmp_path):
    """Unpacked into an empty folder, it is imported from there, and brings neither figures nor algebra along."""
    alone = tmp_path / "alone"
    zipfile.ZipFile(build_wheel(tmp_path)).extractall(alone)
    printed = done(sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(alone)!r})\n{LOADED}", cwd=alone)
    assert printed.split() == [str(alone / "labs" / "monitor" / "__init__.py"), "set()"]


@pytest.mark.slow
def test_the_wheel_alone_speaks_chinese(tmp_path):
    """With the catalogue that travels in it: Babel, which reads such files for the book, is not where notebooks run."""
    alone, code = tmp_path / "alone", "import sys\nfrom labs.homework import Homework\n"
    zipfile.ZipFile(build_wheel(tmp_path)).extractall(alone)
    code += "with Homework('hw1', 's1', salt='x').check('1', 3):\n    assert 3 == 4, 'the order'\nprint('babel' in sys.modules)"
    code = f"import sys; sys.path.insert(0, {str(alone)!r})\n{code}"
    assert done(sys.executable, "-I", "-c", code, cwd=alone).splitlines() == ["✗ 1: the order", "False"]
    chinese = done(sys.executable, "-I", "-c", code, cwd=alone, LABS_LANGUAGE="zh")
    assert chinese.splitlines() == ["✗ 1：注意次序", "False"]


@pytest.mark.slow
def test_a_fork_has_its_own_address_everywhere(published):
    """The fixture has run the command; nothing names the placeholder but what recognises it."""
    texts = {path: path.read_text("utf8") for path in (published / "book").rglob("*.ipynb")}
    assert len(texts) == len(NOTEBOOKS)
    for path, text in texts.items():
        site = "https://book.invalid/zh/book/" if "zh" in path.parts else "https://book.invalid/book/"
        assert (published.parent / "book.git").as_uri() in text and site in text, path
        assert PLACEHOLDER not in text.replace(f'if \\"{PLACEHOLDER}\\" in source', ""), path
    done(sys.executable, "-m", "bookext.notebook.generator", "--check", cwd=published, PYTHONPATH="book/_ext")
    changed = [path.relative_to(published).as_posix() for path in published.rglob("*") if path.is_file()
               and not {".git", "_build", "__pycache__"} & set(path.parts)
               and path.read_bytes() != (ROOT / path.relative_to(published)).read_bytes()]  # fmt: skip
    assert {name for name in changed if not name.endswith(".ipynb")} == {"_config.yml", "README.md", "CITATION.cff"}


def test_every_place_states_the_same_address():
    """Settings, README, citation, version and Colab's button: what ``make address`` writes, and what a fork may change by it alone."""
    assert address.differences() == []
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]
    assert cited["repository-code"] == config()["repository"]["url"] and cited["url"] == config()["html"]["baseurl"]
    assert f"<{config()['html']['baseurl']}>" in (ROOT / "README.md").read_text("utf8")
    assert str(cited["version"]) == project["version"]
    assert address.version_of(str(config()["repository"]["branch"])) in (project["version"], None)


def test_the_address_stands_nowhere_else():
    """A copy that no command writes would be forgotten."""
    found = config()["repository"]["url"].removeprefix("https://")
    kept = [*(ROOT / "book").rglob("*"), *(ROOT / "labs").rglob("*"), *(ROOT / ".github").rglob("*"), *ROOT.glob("*")]
    texts = [p for p in kept if p.suffix in {".md", ".py", ".yml", ".toml", ".txt", ".cff", ".js", ".html"}]
    written = {place[0] for places in address.PLACES.values() for place in places}
    assert {p.relative_to(ROOT).as_posix() for p in texts if found in p.read_text("utf8")} <= written


FORKS = {
    ("https://github.com/You/book", "v2.0.0", None): ("https://you.github.io/book/", address.COLAB, "2.0.0"),
    ("https://github.com/you/you.github.io", "v1.10", None): ("https://you.github.io/", address.COLAB, "1.10"),
    ("https://gitlab.com/uni/courses/book", "v1.0.0", None): ("https://uni.gitlab.io/courses/book/", "", "1.0.0"),
    ("https://git.uni.example/you/book", "2027-spring", "https://www.uni.example/numstab"): ("https://www.uni.example/numstab/", "", None),
}  # fmt: skip


@pytest.mark.parametrize("fork", FORKS, ids=lambda fork: fork[0])
def test_an_address_is_written_into_every_place(fork, tmp_path, monkeypatch):
    """And what was written is read back as it was given: a tag such as 1.10 is no number."""
    url, tag, site = fork
    shown, colab, version = FORKS[fork]
    for file in {place[0] for places in address.PLACES.values() for place in places}:
        shutil.copy(ROOT / file, tmp_path / file)
    monkeypatch.setattr(address, "ROOT", tmp_path)
    texts = address.written(address.values(url, site or address.site_url(url), tag, "Jane: Doe"))
    settings, cited = yaml.safe_load(texts["_config.yml"]), yaml.safe_load(texts["CITATION.cff"])
    assert settings["repository"] == {"url": url, "branch": tag} and settings["html"]["baseurl"] == shown
    assert settings["launch_buttons"]["colab_url"] == colab and settings["author"] == "Jane: Doe"
    assert (cited["repository-code"], cited["url"], cited["authors"]) == (url, shown, [{"name": "Jane: Doe"}])
    assert version is None or str(cited["version"]) == version
    assert version is None or tomllib.loads(texts["pyproject.toml"])["project"]["version"] == version
    assert "_your-account_" not in "".join(texts.values())
    for file, text in texts.items():
        (tmp_path / file).write_text(text, "utf8")
    monkeypatch.setattr(address, "config", lambda: settings)
    assert address.differences() == []
    (tmp_path / "README.md").write_text("**The book:** <https://else.example/>\n", "utf8")
    assert address.differences() == ["README.md"]


@pytest.mark.parametrize(
    "host, source, report",
    [
        ("github.com", "/blob/HEAD/p.md", "/issues/new?title=T&body=B"),
        ("gitlab.com", "/-/blob/HEAD/p.md", "/-/issues/new?issue%5Btitle%5D=T&issue%5Bdescription%5D=B"),
        ("codeberg.org", "/src/HEAD/p.md", "/issues/new?title=T&body=B"),
        ("git.uni.example", None, ""),
    ],
)
def test_links_are_those_of_the_host(host, source, report):
    url = f"https://{host}/you/book"
    assert address.source_link(url, "p.md") == (f"{url}{source}" if source else "")
    assert address.report_link(url, "T", "B") == url + report


@pytest.mark.parametrize(
    "given, message",
    [
        ("git@github.com:you/book.git", "make address URL=https://github.com/you/name"),
        ("https://github.com/you", "no repository on GitHub"),
        ("https://github.com/you/book?x=1", "says more than where"),
        ("https://github.com/you/book#readme", "says more than where"),
        ("https://you:secret@github.com/you/book", "says more than where"),
        ("https://git.uni.example/you/book", "SITE=https://"),
    ],
)
def test_an_address_that_cannot_work_is_refused(given, message):
    ran = run(sys.executable, "-m", "bookext.notebook.address", given, PYTHONPATH="book/_ext")
    assert ran.returncode == 2 and message in ran.stderr and "Traceback" not in ran.stderr


@pytest.mark.site
@pytest.mark.parametrize("text", notebook_texts(), ids=display_path)
def test_the_page_opens_its_notebook(text):
    """One link leads to the notebook at the tag, on GitHub; the page's own download is that notebook, not raw MyST."""
    there = SITE / ("zh" if language_of(text) == "zh" else "") / page_of(text).relative_to(ROOT).with_suffix(".html")
    html = there.read_text("utf8")
    name = config()["repository"]["url"].removeprefix("https://github.com/")
    path = text.relative_to(ROOT).with_suffix(".ipynb").as_posix()
    if address.forge(config()["repository"]["url"]) == "github":
        url = f"https://colab.research.google.com/github/{name}/blob/{config()['repository']['branch']}/{path}"
        assert (ROOT / path).exists() and colab_url(text) == url
        assert html.count(f'href="{url}"') == html.count("colab.research.google.com") == 1
    else:  # Colab opens notebooks from GitHub alone
        assert colab_url(text) is None and "colab.research.google.com" not in html
    (download,) = re.findall(r'<a class="action" href="([^"]+)" download>', html)
    assert (there.parent / download).read_text("utf8") == convert(text)


@pytest.mark.site
def test_the_wheel_is_on_the_site():
    html = (SITE / "book/appendix/labs.html").read_text("utf8")
    assert f'href="../../{FOLDER}/{wheel_name()}"' in html and (SITE / FOLDER / wheel_name()).exists()
