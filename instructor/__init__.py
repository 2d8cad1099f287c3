"""What instructors have and students have not: masters with solutions, hidden checks, release and grading.

The folder is detachable: the public tree leaves it out, and the rest builds and tests without it.
"""

import sys
from importlib import import_module
from importlib.util import find_spec

if not find_spec("yaml"):
    sys.exit(
        f"{sys.executable} lacks the book's packages: use .venv/bin/python (rm -f .venv/ready && make book completes that one)."
    )
if sys.argv[:1] == ["-m"] and find_spec("bookext"):
    import_module("bookext")  # says in one line what stops a command
