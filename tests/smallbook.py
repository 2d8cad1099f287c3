"""A small book of its own, with this repository's machinery, for tests that build one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from support import FRONT, ROOT

CHAPTER = (
    FRONT
    + """
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
)


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

    def run(self, *module: str) -> tuple[int, str]:
        """``python -m module …`` as its Makefile would, or ``python -c code``; exit status and output."""
        done = subprocess.run(
            [sys.executable, *(("-m",) if module[0] != "-c" else ()), *module],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": os.pathsep.join([str(self.root / "book" / "_ext"), str(self.root)])}

    def build(self) -> tuple[int, str]:
        return self.run("bookext.run.build")

    @property
    def site(self) -> dict[str, bytes]:
        """The bytes of everything that would be published."""
        site = self.root / "_build" / "html"
        return {path.relative_to(site).as_posix(): path.read_bytes() for path in site.rglob("*") if path.is_file()}

    @property
    def page(self) -> str:
        return (self.root / "_build" / "html" / "book" / "small.html").read_text("utf8")
