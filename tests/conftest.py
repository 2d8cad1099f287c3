"""What several tests share: the built site behind a loopback server, and a real browser."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"
# No sandbox: CI containers run as root. The others keep Chromium from calling home at start.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


def missing(what: str, remedy: str) -> None:
    """Say loudly that a test cannot run here; in CI that is a failure."""
    message = f"NOT TESTED: {what} is missing. {remedy}"
    if os.environ.get("CI"):
        pytest.fail(message)
    print(f"\n*** {message} ***")
    pytest.skip(message)


@contextlib.contextmanager
def serve(folder: Path, handler: type[http.server.SimpleHTTPRequestHandler] | None = None) -> Iterator[str]:
    """The address of a folder behind a loopback server."""

    class Quiet(handler or http.server.SimpleHTTPRequestHandler):  # type: ignore[misc]
        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@contextlib.contextmanager
def launch() -> Iterator[Any]:
    """A headless Chromium: the system's, else the one Playwright has installed."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        names = ("chromium", "chromium-browser", "google-chrome")
        path = next((p for name in names if (p := shutil.which(name))), playwright.chromium.executable_path)
        if not Path(path).exists():
            missing(
                "a Chromium browser", "Install it: `apt install chromium`, or `.venv/bin/playwright install chromium`."
            )
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


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
