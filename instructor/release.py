"""From the masters with solutions to what students get: the pages in ``book/homework/``, and the public tree.

    python -m instructor.release                write every student page
    python -m instructor.release --check        compare them with the masters
    python -m instructor.release --public DIR   copy what is public to DIR: pages of _toc.yml, and what PUBLIC lists

The release of a page is a function of the master's text: code cells tagged ``solution`` and folds of the class ``solution``
go; between ``### BEGIN SOLUTION`` and ``### END SOLUTION`` a stub takes the solution's place. What only looks like a solution's
fold, by its title, stops the release.
"""

from __future__ import annotations

import ast
import itertools
import os
import re
import shutil
import subprocess
import sys
import textwrap
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "book" / "homework"
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
# What is public beside the pages, of what git tracks; * stands for folders, too. Grades, rosters and submissions have no
# place here, wherever they lie.
PUBLIC = (
    "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "LICENSE", "CITATION.cff", "Makefile", "pyproject.toml",
    "requirements.txt", "requirements.in", "_config.yml", "_toc.yml", ".gitignore", ".gitattributes", ".ci/*", ".gitlab-ci.yml",
    ".github/*.yml", ".github/*.md",
    "labs/*.py", "labs/words.po", "tests/*.py", "tests/*.txt", "bench/*.py", "bench/requirements.txt", "bench/results.md",
    "book/references.bib", "book/_ext/*.py", "book/_ext/*.js", "book/_ext/*.html", "book/_ext/*.conf", "book/_ext/*.toml",
    "book/_ext/*.css", "book/_ext/skeleton/chapter.md",
    "book/_stress/*.json", "book/zh/kept/*.txt", "book/zh/words.po", "book/zh/font/*",
    "book/_static/*.css", "book/_static/*.js", "book/_static/*.svg", "book/_static/*.png",
    "book/_static/*.woff2", "book/_static/*.mjs", "book/_static/*/LICENSE", "book/_static/*/VERSION", "book/_static/pyodide/*",
    "book/_static/katex/first/*",
    "book/slides/*.md", "book/zh/slides/*.md",
)  # fmt: skip
FENCE = re.compile(r"^(:{3,}|`{3,})\{([\w-]+)\}")
# A fold that is called a solution, or an option that says so: wherever it is neither released nor left out by the class.
UNMARKED = re.compile(
    r"^[\s>*+-]*(?:[:`~]{3,}\s*\{[\w:-]+\}\W*solution|[:`~]{3,}\s*\{solution|:?class:.*\bsolution)", re.IGNORECASE
)
NOTICE = "  generated: from the master in instructor/; change that one, run `make homework`\n"
UNEXECUTED = "mystnb:\n  execution_mode: 'off'\n"


class ReleaseError(ValueError):
    """A master that cannot be released safely; names file and line."""


def masters(root: Path = ROOT) -> list[Path]:
    """The masters, ``instructor/hwN/hwN.md``, in order."""
    return sorted(path for path in root.glob("instructor/hw*/hw*.md") if path.stem == path.parent.name)


def page_of(master: Path) -> Path:
    """Where the student's page of a master stands."""
    return PAGES / master.name


def release(text: str, name: str = "master", above: int = 0) -> str:
    """The student's page of a master's text, or of a part below ``above`` lines.

    ReleaseError, with file and line, where a solution is not properly marked.
    """
    lines, out, i = text.splitlines(), [], 0
    while i < len(lines):
        opened = FENCE.match(lines[i])
        if not opened:
            if "SOLUTION" in lines[i]:
                raise ReleaseError(f"{name}:{above + i + 1}: a solution's marker outside a code cell")
            if UNMARKED.match(lines[i]):
                remedy = "begin the fold at the line's start, with :class: solution under it"
                raise ReleaseError(f"{name}:{above + i + 1}: {lines[i].strip()!r} hides nothing here: {remedy}")
            out.append(lines[i])
            i += 1
            continue
        fence, kind = opened.groups()
        end = next((j for j in range(i + 1, len(lines)) if lines[j].strip() == fence), None)
        if end is None:
            raise ReleaseError(f"{name}:{above + i + 1}: {lines[i]!r} is not closed")
        if kind == "code-cell":
            out += _cell(lines[i : end + 1], f"{name}:{above + i + 1}")
        elif "solution" not in _classes(lines[i + 1 : end]):
            if UNMARKED.match(lines[i]):
                raise ReleaseError(f"{name}:{above + i + 1}: {lines[i]!r} lacks the class; add :class: solution")
            inner = release("\n".join(lines[i + 1 : end]), name, above + i + 1)
            nested = any(FENCE.match(line) for line in lines[i + 1 : end])
            out += [lines[i], *inner.splitlines(), fence] if nested else lines[i : end + 1]
        i = end + 1
    released = re.sub(r"\n{3,}", "\n\n", "\n".join(out).strip()) + "\n"
    if released.startswith("---\n") and not above:
        _, head, body = released.split("---\n", 2)
        head = head.replace("homework:\n", f"homework:\n{NOTICE}", 1)
        released = f"---\n{head}{UNEXECUTED}---\n{body}"
    return released


def _cell(lines: list[str], where: str) -> list[str]:
    """A code cell with its solutions replaced by stubs; nothing of a cell tagged ``solution``."""
    options = _options(lines[1:-1])
    if "solution" in options.get("tags", []):
        return []
    out: list[str] = []
    begun: int | None = None
    for number, line in enumerate(lines):
        if line.strip() == BEGIN and begun is None:
            begun = number
        elif line.strip() == END and begun is not None:
            out += _stub(lines[begun], lines[begun + 1 : number], str(options.get("question", "")), where)
            begun = None
        elif "SOLUTION" in line:
            raise ReleaseError(f"{where}: {line.strip()!r} without its partner")
        elif begun is None:
            out.append(line)
    if begun is not None:
        raise ReleaseError(f"{where}: {BEGIN} without {END}")
    return out


def _classes(body: list[str]) -> set[str]:
    """The classes that a directive's options give it; an option stands as ``:class: name`` above the text."""
    options = itertools.takewhile(lambda line: re.match(r":[\w-]+:", line), body)
    return {name for line in options if line.startswith(":class:") for name in line.split()[1:]}


def _options(lines: list[str]) -> dict[str, Any]:
    """A cell's options, written as ``:name: value`` or as a YAML block."""
    if lines and lines[0].strip() == "---":
        block = lines[1 : lines.index("---", 1)]
    else:
        block = [
            line[1:].replace(":", ": ", 1) for line in itertools.takewhile(lambda x: re.match(r":[\w-]+:", x), lines)
        ]
    return yaml.safe_load("\n".join(block)) or {}


def _stub(marker: str, solution: list[str], question: str, where: str) -> list[str]:
    """What stands in a solution's place: an exception inside a function, ``name = ...`` at top level."""
    indent = marker[: len(marker) - len(marker.lstrip())]
    if indent:
        if not question:
            raise ReleaseError(f'{where}: a solution inside a function; the cell needs :question: "N"')
        return [f'{indent}raise NotImplementedError("question {question}")']
    names: dict[str, str] = {}
    for statement in ast.parse(textwrap.dedent("\n".join(solution))).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        value = getattr(statement, "value", None)
        prose = isinstance(value, ast.Constant) and isinstance(value.value, str)
        found = [n.id for t in targets if t is not None for n in ast.walk(t) if isinstance(n, ast.Name)]
        names |= dict.fromkeys(found, '"""..."""' if prose else "...")
    answers = [f"{name} = {value}" for name, value in names.items() if not name.startswith("_")]
    if not answers:
        raise ReleaseError(f"{where}: a solution at top level that assigns no name")
    return answers


def stale(master: Path) -> str | None:
    """What is wrong with a master's page on disk, or None."""
    page = page_of(master)
    shown = page.relative_to(ROOT)
    if not page.exists():
        return f"{shown} is missing"
    if page.read_text("utf8") != release(master.read_text("utf8"), master.name):
        return f"{shown} is not what {master.relative_to(ROOT)} gives"
    return None


def is_public(name: str, pages: set[str]) -> bool:
    """Whether a tracked file is on the list of what is public; ``pages`` are those of _toc.yml, without their ending.

    What is Chinese is public where its English is."""
    stem, _, ending = name.rpartition(".")
    known = stem in pages or stem.replace("book/zh/", "book/", 1) in pages
    return (ending in ("md", "ipynb") and known) or any(fnmatchcase(name, pattern) for pattern in PUBLIC)


def public_tree(target: Path, root: Path = ROOT) -> tuple[int, list[str]]:
    """Copy what is public and tracked by git to a new folder; how many files, and which others lie outside instructor/."""
    if target.exists() and any(target.iterdir()):
        raise ReleaseError(f"{target} is not empty: name a new folder, so that nothing old stays in the public tree")
    if not shutil.which("git"):
        raise ReleaseError("git lists the files that are tracked, and it is not here: install git")
    if not (root / ".git").exists():
        raise ReleaseError(
            f"{root} is no git repository, so nothing says which files are tracked: git clone the private one"
        )
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout
    tracked = [os.fsdecode(name) for name in listed.split(b"\0") if name and not name.startswith(b"instructor/")]
    pages = set(re.findall(r"^\s*-?\s*(?:file|root): (\S+)$", (root / "_toc.yml").read_text("utf8"), re.MULTILINE))
    files = [name for name in tracked if is_public(name, pages) and (root / name).is_file()]
    for name in files:
        if (root / name).is_symlink():
            raise ReleaseError(f"{name} is a link, which may lead anywhere: track the file itself")
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target / name)
    return len(files), sorted(set(tracked) - set(files))


def main(arguments: list[str]) -> int:
    """Write the student pages, compare them, or make the public tree."""
    try:
        if arguments[:1] == ["--public"] and len(arguments) == 2:
            count, others = public_tree(Path(arguments[1]).resolve())
            print(f"{count} files in {arguments[1]}, without instructor/")
            print(
                "".join(f"left out, for it is not in PUBLIC of instructor/release.py: {name}\n" for name in others),
                end="",
            )
        elif arguments == ["--check"]:
            found = [what for master in masters() if (what := stale(master))]
            print("\n".join([*found, "Run `make homework`."]) if found else "The student pages match their masters.")
            return bool(found)
        elif not arguments:
            PAGES.mkdir(parents=True, exist_ok=True)
            for master in masters():
                page_of(master).write_text(release(master.read_text("utf8"), master.name), "utf8")
                print(f"wrote {page_of(master).relative_to(ROOT)}")
        else:
            print(f"{' '.join(arguments)}: expected nothing, --check, or --public and a new folder", file=sys.stderr)
            return 2
    except ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
