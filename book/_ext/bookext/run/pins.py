"""``make pins``: requirements.txt anew from requirements.in, as pip itself resolves it; nothing is installed.

    python -m bookext.run.pins [--check]     --check: say what would change, and write nothing

PyTorch keeps its pin: a newer one changes numbers in the text, and is a decision (``TORCH``). After new pins: ``make test``.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from bookext.read.book import ROOT

from .environment import stop

TORCH = "torch==2.13.0"
OLDEST = "3.11.0"
ASKED, PINNED = ROOT / "requirements.in", ROOT / "requirements.txt"


def key(name: str) -> str:
    """A package's name as indexes compare it.

    >>> key("sphinx_design")
    'sphinx-design'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def resolved() -> dict[str, str]:
    """Names and versions that pip would install; ends with what it says and the remedy, where it finds none."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run"]
        command += ["--ignore-installed", "--report", str(report), "-r", str(ASKED)]
        # For the oldest Python that the book promises, patch releases too; pip does that for wheels, into a folder.
        command += ["--python-version", OLDEST, "--only-binary=:all:", "--target", folder]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            stop("The pins could not be resolved.", done.stderr)
        found = json.loads(report.read_text("utf8"))["install"]
    return {item["metadata"]["name"]: item["metadata"]["version"] for item in found}


def pinned(text: str) -> dict[str, str]:
    """Names and versions of a requirements file."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))


def changes(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """What new pins change, a line a package.

    >>> changes({"a": "1", "B_c": "2", "d": "1"}, {"a": "2", "b-c": "2", "e": "1"})
    ['a 1 -> 2', 'd 1 -> gone', 'e new -> 1']
    """
    before, after = ({key(name): version for name, version in some.items()} for some in (old, new))
    names = sorted(before.keys() | after.keys())
    return [f"{n} {before.get(n, 'new')} -> {after.get(n, 'gone')}" for n in names if before.get(n) != after.get(n)]


def main(arguments: list[str]) -> int:
    """Renew the pins."""
    parser = argparse.ArgumentParser(prog="bookext.run.pins", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="say what would change, and write nothing")
    given = parser.parse_args(arguments)
    print("Asking the package index …", flush=True)
    name, _, version = TORCH.partition("==")
    text = PINNED.read_text("utf8")
    new, old = resolved() | {name: version}, pinned(text)
    different = changes(old, new)
    print("\n".join(different or ["Every pin is current, as far as nothing blocks."]))
    if different and not given.check:
        head = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
        pins = "".join(f"{n}=={v}\n" for n, v in sorted(new.items(), key=lambda item: item[0].lower()))
        PINNED.write_text(head + pins, "utf8")
        print("Written. Install them and try the book: make test")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
