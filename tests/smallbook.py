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


# A process that has imported what a build imports, and forks for each line: a file for what a build prints.
FORKS = """
import os, sys
import bookext
from bookext.run import build, command, warm
build.load_builder()
warm.import_all(f"bookext.pages.{name}" for name in bookext.PAGES)
assert "labs" not in sys.modules  # an edit of it is seen by the next fork
for line in sys.stdin:
    if (child := os.fork()) == 0:
        status = 1
        try:
            printed = os.open(line.strip(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(printed, 1), os.dup2(printed, 2)
            status = command.guarded(build.__name__, build.main)
            sys.stdout.flush(), sys.stderr.flush()
        finally:
            os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
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


class Warm(Book):
    """A book whose builds are forks of one process, for as long as nothing but pages and labs changes: imports are most of a build."""

    process: subprocess.Popen[str] | None = None
    imported: dict[Path, bytes]

    def build(self) -> tuple[int, str]:
        folders = (self.root.glob("*.*"), self.root.glob("book/_ext/**/*"))
        code = {p: p.read_bytes() for folder in folders for p in folder if p.is_file() and p.suffix != ".pyc"}
        if self.process is None or code != self.imported:
            self.close()
            self.process = subprocess.Popen(
                [sys.executable, "-c", FORKS],
                cwd=self.root,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self.imported = code
        assert self.process.stdin and self.process.stdout
        printed = self.root / "_build" / "printed"
        print(printed, file=self.process.stdin, flush=True)
        status = int(self.process.stdout.readline())
        return status, printed.read_text("utf8")

    def close(self) -> None:
        if self.process:
            self.process.communicate()
            self.process = None
