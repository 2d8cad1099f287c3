"""Which modules of labs a page's outputs depend on."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from bookext.read import uses
from bookext.read.book import ROOT, executed_pages
from bookext.read.chapter import read_chapter


@pytest.fixture
def labs(tmp_path, monkeypatch):
    """A labs of its own: ``a`` imports ``b`` when it is called, ``pack.c`` imports ``d`` beside it."""
    for name, text in {
        "__init__": "",
        "a": "def f():\n    from labs import b\n",
        "b": "",
        "e": '"""Nothing is imported by naming labs.a here."""\n',
        "f": "import importlib\nimportlib.import_module('labs.b')\n",
        "pack/__init__": "",
        "pack/__main__": "from .. import e\n",
        "pack/c": "from . import d\nfrom ..e import x\n",
        "pack/d": "",
    }.items():
        path = tmp_path / "labs" / f"{name}.py"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text, "utf8")
    for module in ("bookext.read.uses", "bookext.read.kept"):
        monkeypatch.setattr(f"{module}.ROOT", tmp_path)
    monkeypatch.setattr("bookext.read.kept.BUILD", tmp_path / "_build")
    monkeypatch.setattr(uses, "OWN", [])
    uses._imports.cache_clear()
    yield tmp_path
    uses._imports.cache_clear()


EVERYTHING = "__init__ a b e f pack/__init__ pack/__main__ pack/c pack/d"


@pytest.mark.parametrize(
    "cell, used",
    [
        ("import numpy", ""),
        ("import labs", "__init__"),
        ("from labs import a", "__init__ a b"),
        ("from labs.b import anything", "__init__ b"),
        ("import labs.e", "__init__ e"),
        ("from labs import f", "__init__ b f"),
        ("from labs.pack import c", "__init__ e pack/__init__ pack/c pack/d"),
        ("run(['python', '-m', 'labs.pack'])", "__init__ e pack/__init__ pack/__main__"),
        ("importlib.import_module('labs.b')", "__init__ b"),
        ("importlib.import_module(name)", EVERYTHING),
        ("importlib.import_module(f'labs.{name}')", EVERYTHING),
        ("run(['python', '-c', 'from labs import b'])", EVERYTHING),
        ("%run labs/b.py", EVERYTHING),
        ("open('labs/b.py')", EVERYTHING),
        ("print('The end of labs.')  # labs.b", ""),
    ],
)
def test_what_a_cell_uses(labs, cell, used):
    found = [path.relative_to(labs / "labs").with_suffix("").as_posix() for path in uses.used([cell])]
    assert found == sorted(used.split(), key=lambda name: labs / "labs" / f"{name}.py")


def test_a_file_of_data_is_read_by_whoever_it_may_be(labs):
    (labs / "labs" / "numbers.csv").write_text("1,2\n", "utf8")
    assert labs / "labs" / "numbers.csv" in uses.used(["import numpy"])


def test_what_is_said_in_another_language_changes_what_says_it(labs, monkeypatch):
    """Outputs are English, unless a module speaks another language while it computes."""
    (words := labs / "labs" / "words.po").write_text('msgid "a"\nmsgstr "b"\n', "utf8")
    monkeypatch.setattr(uses, "TRANSLATION", words)
    for cell in ("from labs import a", "importlib.import_module(name)"):
        assert words not in uses.used([cell])
    (labs / "labs" / "b.py").write_text("from labs.words import spoken\n", "utf8")
    uses._imports.cache_clear()
    assert words in uses.used(["from labs import a"]) and words not in uses.used(["from labs import e"])


def test_the_finder_speaks_chinese_in_one_chapter():
    """Its words are among the data of chapter 8's explorable."""
    assert [page.stem for page in executed_pages() if uses.TRANSLATION in uses.used_by(page)] == ["08-nan-clinic"]


def test_a_module_of_the_transformer_is_the_business_of_two_pages():
    file, using = ROOT / "labs" / "transformer.py", set()
    for page in executed_pages():
        if file in uses.used([cell.source for cell in read_chapter(page).code]):
            using.add(page.stem)
    assert using == {"10-transformer", "gallery"}


# What a program loads of labs, each in a fork of a process that has imported what labs imports.
LOADED = """
import os, sys
import matplotlib.pyplot, numpy, sympy, torch
assert not [name for name in sys.modules if name.partition(".")[0] == "labs"]
for program in sys.argv[1:]:
    if os.fork() == 0:
        exec(program)
        print(*(m.__file__ for n, m in sys.modules.items() if n.partition(".")[0] == "labs"), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""


@pytest.mark.slow
def test_what_is_imported_is_among_what_is_used():
    """Against Python itself: the modules of labs that a chapter's own imports load."""
    names = "01-chained-jacobians", "06-xavier", "08-nan-clinic", "10-transformer"
    chapters = [[cell.source for cell in read_chapter(ROOT / "book" / f"{name}.md").code] for name in names]
    programs = []
    for sources in chapters:
        imports = [node for source in sources for node in ast.parse(source).body if isinstance(node, ast.ImportFrom)]
        programs.append("\n".join(ast.unparse(n) for n in imports if (n.module or "").startswith("labs")))
    command = [sys.executable, "-c", LOADED, *programs]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for sources, program, loaded in zip(chapters, programs, done.stdout.splitlines(), strict=True):
        assert program and set(loaded.split()) <= set(map(str, uses.used(sources))), program
