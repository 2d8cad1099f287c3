"""What tests and benchmarks share: the built site behind a loopback server, a real browser, and environments as on Colab."""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import html
import http.server
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"
# No sandbox: CI containers run as root. The others keep Chromium from calling home at start.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip

FRONT = """---
jupytext:
  text_representation:
    format_name: myst
kernelspec: {name: python3, display_name: Python 3}
---
"""  # what makes a page that a test writes a notebook


def missing(what: str, remedy: str) -> None:
    """Say loudly that a test cannot run here; in CI that is a failure."""
    message = f"NOT TESTED: {what} is missing. {remedy}"
    if os.environ.get("CI"):
        pytest.fail(message)
    print(f"\n*** {message} ***")
    pytest.skip(message)


def library(name: str) -> Any:
    """A library that the book does not need, or say loudly that it is not there."""
    from bench.extra import extra
    from bench.table import PeerMissing

    try:
        return extra(name)
    except PeerMissing as reason:
        return missing(str(reason), "`make extra` installs it.")


def until(what: str, holds: Callable[[], object], seconds: float = 300) -> None:
    """Wait for something, as long as a busy machine may take for it."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds} s for: {what}"
        time.sleep(0.05)


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
    """A headless Chromium: the system's, best without the window that nobody sees, else the one Playwright has installed."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
        path = next((p for name in names if (p := shutil.which(name))), playwright.chromium.executable_path)
        if not Path(path).exists():
            missing(
                "a Chromium browser", "Install it: `apt install chromium`, or `.venv/bin/playwright install chromium`."
            )
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


# Tests that read many pages stand in this group: a page takes seconds to parse, and is then known to all of them.
PARSED = pytest.mark.xdist_group("parsed")


@functools.cache
def parsed(page: Path) -> BeautifulSoup:
    """A page of the built site as a tree, which nobody changes."""
    gc.disable()  # to look for cycles among its hundred thousand objects, again and again, takes a third of the time
    try:
        return BeautifulSoup(page.read_text("utf8"), "html.parser")
    finally:
        gc.enable()
        gc.freeze()


@functools.cache
def anchors(page: Path) -> set[str]:
    """Every id of a page of the built site."""
    return set(map(html.unescape, re.findall(r'<[a-z][^<>]*\sid="([^"]*)"', page.read_text("utf8"))))


def listen(tab: Any, home: str) -> tuple[list[str], set[str]]:
    """What a tab's browser complains of from now on, and every address that it asks for."""
    noise: list[str] = []
    asked: set[str] = set()

    def request(r: Any) -> None:
        asked.add(r.url.partition("?")[0])
        if not r.url.startswith((home, "data:")):
            noise.append(f"off-site: {r.url}")

    tab.on("console", lambda m: noise.append(f"console {m.type}: {m.text}"))
    tab.on("pageerror", lambda e: noise.append(f"exception: {e}"))
    tab.on("request", request)
    # what leaving a page cuts short is no fault of it
    tab.on("requestfailed", lambda r: "ABORTED" in str(r.failure) or noise.append(f"failed: {r.url} ({r.failure})"))
    tab.on("response", lambda r: noise.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
    return noise, asked


# ---- Colab

PINS = ROOT / "tests" / "colab-packages.txt"
REHEARSE = ROOT / "tests" / "rehearse.py"
TAG = "rehearsal"
QUIET = {
    "OMP_NUM_THREADS": "1",
    "TQDM_DISABLE": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "JUPYTER_PLATFORM_DIRS": "1",
}


def run(*command: object, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command without this environment's own packages on its path."""
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=kept | QUIET | environment, capture_output=True, text=True
    )


def done(*command: object, cwd: Path = ROOT, **environment: str) -> str:
    """What a command prints; it must succeed."""
    ran = run(*command, cwd=cwd, **environment)
    assert ran.returncode == 0, f"{command}:\n{ran.stdout}{ran.stderr}"
    return ran.stdout


def link_torch(site_packages: Path) -> None:
    """Torch from the environment that runs the tests, by hard links: a gigabyte saved, and no resolver has touched it."""
    names = [d.name for d in importlib.metadata.distributions()]
    for name in [n for n in names if n == "torch" or n.startswith(("nvidia-", "cuda-", "triton"))]:
        for file in importlib.metadata.files(name) or []:
            source, target = Path(str(file.locate())), site_packages / file
            if ".." not in file.parts and source.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(source, target)


def environment(python: str, torch: bool) -> Path:
    """An environment with Colab's packages, made by this Python once and then reused."""
    key = hashlib.sha256(f"{done(python, '-VV')}{torch}{PINS.read_text('utf8')}".encode()).hexdigest()[:12]
    home = ROOT / "_build" / "colab" / key
    home.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{home}.lock"):
        if not (home / "ready").exists():
            shutil.rmtree(home, ignore_errors=True)
            done(python, "-m", "venv", home)
            done(home / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", PINS)
            if torch:
                link_torch(next(home.glob("lib/python*/site-packages")))
            (home / "ready").touch()
    return home


def publish(home: Path) -> Path:
    """A fork of the book: its working tree, addressed by the book's own command, tagged and cloned bare."""
    fork, bare = home / "fork", home / "book.git"
    left_out = shutil.ignore_patterns(".*", "_build", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, fork, ignore=left_out)
    site = ["--site", "https://book.invalid/"]
    done(
        sys.executable,
        "-m",
        "bookext.notebook.address",
        bare.as_uri(),
        "--tag",
        TAG,
        *site,
        cwd=fork,
        PYTHONPATH="book/_ext",
    )
    git = ["git", "-c", "user.name=Author", "-c", "user.email=author@book.invalid"]
    done(*git, "init", "--quiet", cwd=fork)
    done(*git, "add", "--all", cwd=fork)
    done(*git, "commit", "--quiet", "--message", "The book", cwd=fork)
    done(*git, "tag", TAG, cwd=fork)
    done(*git, "clone", "--quiet", "--bare", fork, bare)
    return fork


def rehearse(python: Path, notebook: Path, folder: Path) -> dict[str, Any]:
    """Run one notebook alone, and give the report."""
    report = folder / "report.json"
    ran = run(python, REHEARSE, notebook, report)
    print(ran.stdout)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(report.read_text("utf8"))
