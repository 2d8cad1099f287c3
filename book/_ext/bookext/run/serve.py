"""``make serve``: the built site on this machine alone, until Ctrl-C. What is saved is built, and the open pages show it.

    python -m bookext.run.serve [PORT]

Here files are watched and pages served; ``run/warm`` builds, in a process of its own that is started anew when anything but the text
of a page has changed. Served is a copy, ``_build/served``: a build that fails, or is at work, leaves the site as it was;
but a page that was edited is shown as soon as it is written, and taken back if the build then fails.
"""

import errno
import functools
import http.server
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bookext.read.book import ROOT
from bookext.read.kept import BUILD

from .build import SITE, TOPS
from .chinese import PAGES as CHINESE
from .command import end_children

SERVED, BUILT, SAID = BUILD / "served", "/built", BUILD / "said-by-the-build.txt"
LOOK = 0.1  # seconds between looks at the files; one takes 3 ms
IMAGE = re.compile(rb"_images/([\w.-]+)")
# Asked for rather than held open: a browser keeps six connections to a host, and an author may have more pages open.
RELOAD = b"""<script>{
const ask = () => fetch("%s" + location.pathname).then(r => r.text()), first = ask();
setInterval(async () => { if (!document.hidden && await ask() !== await first) location.reload() }, 200);
}</script>
""" % BUILT.encode()
Seen = dict[str, tuple[int, int]]


def seen(*folders: Path) -> Seen:
    """When each file in these folders was written, and its size."""
    found: Seen = {}
    waiting = [str(folder) for folder in folders]
    while waiting:
        try:
            for entry in os.scandir(waiting.pop()):
                if not entry.is_dir():
                    told = entry.stat()
                    found[entry.path] = told.st_mtime_ns, told.st_size
                elif entry.name != "__pycache__":
                    waiting.append(entry.path)
        except FileNotFoundError:  # an editor put another one in its place; the next look has it
            continue
    return found


def sources() -> Seen:
    """The files that the site is made from."""
    tops = ((path, path.stat()) for path in TOPS if path.exists())
    return seen(ROOT / "book", ROOT / "labs") | {str(path): (told.st_mtime_ns, told.st_size) for path, told in tops}


def settled() -> Seen:
    """The files, once nobody writes one."""
    now = sources()
    while (later := sources()) != now:
        now = later
        time.sleep(LOOK / 2)
    return now


def changed(before: Seen, now: Seen) -> list[str]:
    """The files that differ, as messages show them."""
    names = {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}
    return sorted(name.removeprefix(f"{ROOT}/") for name in names)


def is_text(name: str) -> bool:
    """Whether a file is the text of a page or a deck, or its notebook: nothing of it is kept in the process that builds."""
    return name.startswith("book/") and not name.startswith("book/_") and name.endswith((".md", ".ipynb", "kept.txt"))


def put() -> None:
    """Make what is served what was built."""
    ours, theirs = (
        {name.removeprefix(f"{folder}/"): told for name, told in seen(folder).items()} for folder in (SERVED, SITE)
    )
    for name in [name for name, told in theirs.items() if ours.get(name) != told]:
        (SERVED / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(SITE / name, SERVED / ".new")
        (SERVED / ".new").replace(SERVED / name)
    for name in ours.keys() - theirs.keys():
        (SERVED / name).unlink()


class Early:
    """The pages that are shown before their site is built, what was served in their place, and when the first of a build was."""

    def __init__(self) -> None:
        self.before: dict[Path, bytes] = {}
        self.first = 0.0

    def show(self, page: Path) -> None:
        """Serve a page, if all its figures are there."""
        site, home = (CHINESE, SERVED / "zh") if page.is_relative_to(CHINESE) else (SITE, SERVED)
        served, data = home / page.relative_to(site), page.read_bytes()
        images = {name.decode() for name in IMAGE.findall(data)}
        new = [name for name in images if not (SERVED / "_images" / name).exists()]
        if not served.exists() or not all((site / "_images" / name).exists() for name in new):
            return
        for name in new:
            shutil.copy2(site / "_images" / name, SERVED / "_images" / name)
        self.first = self.first or time.monotonic()
        self.before.setdefault(served, served.read_bytes())
        shutil.copy2(page, SERVED / ".new")
        (SERVED / ".new").replace(served)

    def take_back(self) -> None:
        """Serve what was there before."""
        for served, data in self.before.items():
            served.write_bytes(data)
        self.before.clear()


class Handler(http.server.SimpleHTTPRequestHandler):
    """The site as it is on the disk; to a page it adds a script that asks what was built last."""

    def send_head(self) -> Any:
        asked = self.path.startswith(BUILT)
        path = Path(self.translate_path(self.path.removeprefix(BUILT)))
        page = path / "index.html" if path.is_dir() and self.path.endswith("/") else path
        if page.suffix == ".html" and page.is_file():
            data = page.read_bytes()
            # What a page's opening tag says of the whole site is no reason to load it anew.
            data = str(zlib.crc32(data[data.find(b"<head") :])).encode() if asked else data + RELOAD
        else:
            return super().send_head()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        return io.BytesIO(data)

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Nothing: what is printed is about the build."""


class Builder:
    """``run/warm`` in a process that Ctrl-C does not reach; it ends with this one."""

    process: "subprocess.Popen[str] | None" = None

    def __init__(self) -> None:
        SAID.write_bytes(b"")
        self.said = SAID.open(encoding="utf8", errors="replace")

    def build(self, anew: bool, show: Callable[[Path], None]) -> bool:
        """Build what changed, in a process started ``anew`` if its code or what it keeps may have; whether it went well.

        Each page is shown once it is written, but by new code, which may have changed what they load.
        """
        if anew and self.process:
            self.process.kill()
            self.process.wait()
        if anew or self.process is None or self.process.poll() is not None:
            command = [sys.executable, "-m", "bookext.run.command", "bookext.run.warm"]
            with SAID.open("a") as said:
                self.process = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    text=True,
                    start_new_session=True,
                )
        assert self.process.stdin and self.process.stdout
        try:
            print(file=self.process.stdin, flush=True)
        except BrokenPipeError:  # it could not start and has said why
            return False
        while Path(told := self.process.stdout.readline().strip()).is_absolute():
            if not anew:
                show(Path(told))
        return told == "0"


def keep_built() -> None:
    """Build what is saved, for as long as this runs."""
    builder, early, before, anew = Builder(), Early(), settled(), True
    what: list[str] = []
    while True:
        begun, early.first = time.monotonic(), 0.0
        good = builder.build(anew, early.show)
        now, said = settled(), builder.said.read()
        names = changed(before, now)
        if good or not names:  # else what was saved meanwhile may be what it stumbled over; it is built next
            print(said, end="", file=sys.stderr, flush=True)
        if anew := not all(map(is_text, names)):  # changed while it was built: by code that is no longer there
            for stamp in ("fingerprint", "machinery"):
                (BUILD / stamp).unlink(missing_ok=True)
        elif good:
            put()
            early.before.clear()
        else:
            early.take_back()
        if what and good:
            shown = f"shown after {early.first - begun:.1f} s, all " if early.first else ""
            took = f"{shown}built in {time.monotonic() - begun:.1f} s"
            print(f"{', '.join(what[:3])}{' …' * (len(what) > 3)}: {took}", flush=True)
        elif not good and not names:
            print("The site is shown as it was; save again when it is mended.", flush=True)
        while not names:
            time.sleep(LOOK)
            if (now := sources()) != before:
                now = settled()
                names = changed(before, now)
                anew = not all(map(is_text, names))
        before, what = now, names


def main(arguments: list[str]) -> int:
    """Serve ``_build/html`` on 127.0.0.1."""
    given = arguments[0] if arguments else "8000"
    if not given.isdecimal() or not 0 < int(given) < 65536:
        print(f"PORT={given}: a port is a number from 1 to 65535, as in make serve PORT=8001", file=sys.stderr)
        return 2
    port, handler = int(given), functools.partial(Handler, directory=str(SERVED))
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        taken = {errno.EADDRINUSE: "is taken by another program", errno.EACCES: "is kept for the system"}
        why = taken.get(error.errno or 0, f"cannot be used: {error.strerror}")
        print(f"Port {port} {why}; take another: make serve PORT={port + 1 if port > 1023 else 8000}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        put()
        print(f"The site: http://127.0.0.1:{port}/ (Ctrl-C ends it); what you save is built and shown", flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        keep_built()
    except KeyboardInterrupt:
        print()
    finally:
        end_children()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
