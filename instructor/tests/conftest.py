"""One executor for the tests of a process: its start imports torch, for seconds, and each submission is a fork of it anyway."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import missing

from instructor.grading.sandbox import Sandbox


@pytest.fixture(scope="session")
def walled() -> Iterator[Sandbox]:
    """A sandbox of tier 1 with the real limits, under a user that no other process of the tests has."""
    if not shutil.which("bwrap"):
        missing("bubblewrap", "Install it: `apt install bubblewrap`.")
    if Path(sys.prefix).is_relative_to("/tmp"):
        missing("an environment outside /tmp", "Submissions see a /tmp of their own: clone the repository elsewhere.")
    made = Sandbox(1, slot=30 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]))
    made.start(1).close()  # here: the kernel ends an executor with the thread that began it
    made.stop()
    yield made
    made.close()
