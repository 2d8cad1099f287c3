"""From the masters with solutions to what students get: the pages in ``book/homework/``, and the public tree.

    python -m instructor.release                write every student page
    python -m instructor.release --check        compare them with the masters
    python -m instructor.release --public DIR   copy the tracked files without ``instructor/`` to DIR

The release of a page is a function of the master's text: code cells tagged ``solution`` and Markdown folds whose title
begins with *Solution* go; between ``### BEGIN SOLUTION`` and ``### END SOLUTION`` a stub takes the solution's place.
"""

from __future__ import annotations

import ast
import itertools
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "book" / "homework"
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
FENCE = re.compile(r"^(:{3,}|`{3,})\{([\w-]+)\}\s*(.*)$")
HEAD = """\
# Generated from the instructor's master: change that one and run `make homework`.
mystnb:
  execution_mode: 'off'
language_info:
  name: python
  pygments_lexer: ipython3
"""


class ReleaseError(ValueError):
    """A master that cannot be released safely; names file and line."""


def masters(root: Path = ROOT) -> list[Path]:
    """The masters, ``instructor/hwN/hwN.md``, in order."""
    return sorted(path for path in root.glob("instructor/hw*/hw*.md") if path.stem == path.parent.name)


def page_of(master: Path) -> Path:
    """Where the student's page of a master stands."""
    return PAGES / master.name


def release(text: str, name: str = "master") -> str:
    """The student's page of a master's text; ReleaseError where a solution is not properly marked."""
    lines, out, i = text.splitlines(), [], 0
    while i < len(lines):
        opened = FENCE.match(lines[i])
        if not opened:
            if "SOLUTION" in lines[i]:
                raise ReleaseError(f"{name}:{i + 1}: a solution's marker outside a code cell")
            out.append(lines[i])
            i += 1
            continue
        fence, kind, title = opened.groups()
        end = next((j for j in range(i + 1, len(lines)) if lines[j].strip() == fence), None)
        if end is None:
            raise ReleaseError(f"{name}:{i + 1}: {lines[i]!r} is not closed")
        if kind == "code-cell":
            out += _cell(lines[i : end + 1], f"{name}:{i + 1}")
        elif title.lower().startswith("solution"):
            pass
        elif any(FENCE.match(line) for line in lines[i + 1 : end]):
            inner = release("\n".join(lines[i + 1 : end]), f"{name}, inside line {i + 1}")
            out += [lines[i], *inner.splitlines(), fence]
        else:
            out += lines[i : end + 1]
        i = end + 1
    released = re.sub(r"\n{3,}", "\n\n", "\n".join(out).strip()) + "\n"
    if released.startswith("---\n"):
        released = released.replace("---\n", f"---\n{HEAD}", 1)
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


def public_tree(target: Path, root: Path = ROOT) -> int:
    """Copy the files that git tracks, ``instructor/`` left out, to a new folder; returns how many."""
    if target.exists() and any(target.iterdir()):
        raise ReleaseError(f"{target} is not empty: name a new folder, so that nothing old stays in the public tree")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True).stdout
    files = [name for name in listed.split("\0") if name and not name.startswith("instructor/")]
    for name in files:
        if (root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target / name)
    return len(files)


def main(arguments: list[str]) -> int:
    """Write the student pages, compare them, or make the public tree."""
    try:
        if arguments[:1] == ["--public"] and len(arguments) == 2:
            print(f"{public_tree(Path(arguments[1]).resolve())} files in {arguments[1]}, without instructor/")
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
            print(__doc__)
            return 2
    except (ReleaseError, OSError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
