"""The fixtures that several tests share: the built site's address, and a real browser."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from support import SITE, launch, serve

gc.disable()  # until all tests are collected, of which none is thrown away


def pytest_collection_finish() -> None:
    """Cycles are looked for less often, and not among what torch, SymPy and six thousand tests have made: 7 % of the time."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(100_000, 20, 100)


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
