"""The fixtures that several tests share: the built site's address, and a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support import SITE, launch, serve


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The address of the built site."""
    if not (SITE / "book" / "index.html").exists():
        pytest.fail("There is no built site in _build/html: run `make book` first (`make test` does).")
    with serve(SITE) as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One browser for the tests of a process."""
    with launch() as chromium:
        yield chromium
