"""Measurements beside what a user would use instead; they share the tests' server, browser and environments."""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

if not find_spec("yaml"):
    sys.exit(
        f"{sys.executable} lacks the book's packages: use .venv/bin/python (rm -f .venv/ready && make book completes that one)."
    )

if sys.argv[:1] == ["-m"] and find_spec("bookext"):
    import_module("bookext")  # says in one line what stops a command
sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # for `support`, however a benchmark is started
