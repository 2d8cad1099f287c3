"""``make book`` on a small book of its own, with one fault planted at a time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bookext.katexmath import render
from conftest import ROOT

pytestmark = pytest.mark.xdist_group("build")  # one small book, changed from test to test

CHAPTER = """---
jupytext:
  text_representation:
    format_name: myst
kernelspec: {name: python3}
---

# A small chapter

See {doc}`index`, and {ref}`below <there>`.

(there)=
## There

It is {num}`42 <value>`.

```{code-cell} ipython3
from labs import answer

value = answer()
print("labs says", value)
```
"""


class Book:
    """A copy of the repository's machinery around one chapter that imports no torch."""

    def __init__(self, root: Path):
        self.root = root
        shutil.copytree(ROOT / "book" / "_ext", root / "book" / "_ext", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "book" / "_static", root / "book" / "_static")
        for name in ("_config.yml", "requirements.txt", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, root / name)
        shutil.copy(ROOT / "book" / "references.bib", root / "book" / "references.bib")
        (root / "_toc.yml").write_text(
            "format: jb-book\nroot: book/index\nchapters:\n- file: book/small\n- file: book/references\n"
        )
        (root / "book" / "index.md").write_text("# A small book\n\nWords.\n")
        (root / "book" / "references.md").write_text("# References\n\n```{bibliography}\n:all:\n```\n")
        (root / "labs").mkdir()
        self.labs("return 42")
        self.chapter(CHAPTER)

    def labs(self, body: str) -> None:
        (self.root / "labs" / "__init__.py").write_text(f"def answer():\n    {body}\n")

    def chapter(self, text: str) -> None:
        (self.root / "book" / "small.md").write_text(text)

    def build(self) -> tuple[int, str]:
        paths = os.pathsep.join([str(self.root / "book" / "_ext"), str(self.root)])
        done = subprocess.run(
            [sys.executable, "-m", "bookext.build"],
            cwd=self.root,
            env=os.environ | {"PYTHONPATH": paths},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr

    @property
    def page(self) -> str:
        return (self.root / "_build" / "html" / "book" / "small.html").read_text("utf8")


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> Book:
    made = Book(tmp_path_factory.mktemp("book"))
    code, output = made.build()
    assert code == 0, output
    return made


@pytest.mark.slow
def test_build_cache_and_labs(book):
    book.chapter(CHAPTER)
    book.labs("return 42")
    code, output = book.build()
    assert code == 0 and "labs says 42" in book.page
    code, output = book.build()
    assert code == 0 and "Nothing changed" in output

    book.chapter(CHAPTER.replace("See ", "Do see "))  # prose only: not executed again
    code, output = book.build()
    assert code == 0 and "small: from the cache" in output and "Do see" in book.page

    # the same number by another way: jupyter-cache alone would show the old output
    book.labs("return 42 + 0.25")
    code, output = book.build()
    assert code == 0 and "small: executed" in output and "labs says 42.25" in book.page


@pytest.mark.slow
@pytest.mark.parametrize(
    "old, new, messages",
    [
        (
            "value = answer()",
            "value = answer() / 0",
            ["book/small.md: code cell 1, line", "ZeroDivisionError", "answer() / 0"],
        ),
        ("42 <value>", "43 <value>", ["code cell 2", "There: the text says 43, computed 42"]),
        ("{ref}`below <there>`", "{ref}`below <nowhere>`", ["small.md:", "undefined label: 'nowhere'"]),
        ("## There", "## There\n\n$\\frac{1}$\n", ["small.md:", "KaTeX parse error"]),
        ("It is {num}`42 <value>`", "It is {num}`42`", ["book/small.md:15: a {num} without <expression>"]),
    ],
    ids=["exception", "number", "cross-reference", "formula", "malformed"],
)
def test_a_planted_fault_stops_the_build(book, old, new, messages):
    assert old in CHAPTER
    book.labs("return 42")
    book.chapter(CHAPTER.replace(old, new))
    code, output = book.build()
    assert code == 1
    for message in messages:
        assert message in output, output
    assert "The book was not built" in output


def test_katex_renders_macros_and_reports_bad_formulas():
    good, bad = render([(r"\Var[x]", False), (r"\frac{1}", False)], {r"\Var": r"\operatorname{Var}"})
    assert "Var" in good["html"] and "<math" in good["html"]
    assert "KaTeX parse error" in bad["error"]
