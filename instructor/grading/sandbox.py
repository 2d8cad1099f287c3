"""The outer side of the sandbox: starts executors, runs a submission in one, and says what this machine can promise."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from instructor.grading import checks, plain

ROOT = Path(__file__).resolve().parents[2]
INSIDE = [
    f"instructor/{name}.py"
    for name in ["__init__", "grading/__init__", "grading/plain", "grading/notebook", "grading/executor"]
]
FIRST_UID = 61_000  # students' processes run as 61000, 61001, … where this one is root
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1",
}  # fmt: skip


class Lost(Exception):
    """A submission's process no longer answers; the message says why."""


class Sandbox:
    """One executor at a time, for one submission at a time; ``slot`` gives it a user id of its own.

    ``seconds`` of CPU are the limit of one cell and of one question, ``memory`` (MB) that of all processes together.
    """

    def __init__(self, tier: int, slot: int = 0, seconds: float = 10, memory: int = 3000, wrapper: Sequence[str] = ()):
        self.tier, self.slot, self.seconds, self.memory, self.wrapper = tier, slot, seconds, memory, wrapper
        self.process: subprocess.Popen[bytes] | None = None

    def _spawn(self) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fd = theirs.fileno()
        job = {"tier": self.tier, "uid": FIRST_UID + self.slot, "memory": self.memory, "control": fd}
        command = [*self.wrapper, sys.executable, "-m", "instructor.grading.executor", json.dumps(job)]
        path = str(ROOT)
        if self.tier == 1:
            command, path = [*_bubblewrap(), *command], "/sandbox"
        self.process = subprocess.Popen(
            command, env={**ENVIRONMENT, "PYTHONPATH": path}, pass_fds=[fd], stdin=subprocess.DEVNULL, cwd="/"
        )
        theirs.close()
        self._expect("ready", 120)

    def _expect(self, what: str, timeout: float) -> None:
        self.control.settimeout(timeout)
        try:
            reply = json.loads(self.control.recv(4096) or b"{}")
        except OSError:
            reply = {}
        if not reply.get(what):
            self.close()
            if self.tier != 1 or what == "ready":  # under bubblewrap all ends with the executor
                raise RuntimeError(f"The sandbox failed ({what}); look for processes of user {FIRST_UID + self.slot}.")
            if what == "started":
                raise Lost("the sandbox had to be started anew")

    def start(self) -> socket.socket:
        """A fresh process for a submission; the socket it answers on."""
        if self.process is None:
            self._spawn()
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self.control, [b"start"], [theirs.fileno()])
        self._expect("started", 30)
        return ours

    def stop(self) -> None:
        """End the submission's processes and remove its files."""
        if self.process is not None:
            self.control.send(b"stop")
            self._expect("clean", 30)

    def close(self) -> None:
        """End the executor and whatever runs in it."""
        if self.process is not None:
            self.control.close()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


def _bubblewrap() -> list[str]:
    """A file system that holds Python, labs and this package's inner side, read-only, and no network."""
    labs = importlib.util.find_spec("labs")
    assert labs and labs.submodule_search_locations
    system = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime")
    seen = [*system, sys.base_prefix, os.path.realpath(sys.base_prefix), sys.prefix]
    binds = [*zip(seen, seen, strict=True), (labs.submodule_search_locations[0], "/sandbox/labs")]
    binds += [(str(ROOT / file), f"/sandbox/{file}") for file in INSIDE]
    command = [
        "bwrap",
        "--unshare-ipc",
        "--unshare-pid",
        "--unshare-net",
        "--unshare-uts",
        "--die-with-parent",
        "--new-session",
    ]
    folders = {str(folder): None for _, target in binds for folder in reversed(Path(target).parents)}
    command += [part for folder in folders for part in ("--perms", "0755", "--dir", folder)]
    command += [part for source, target in binds for part in ("--ro-bind-try", source, target)]
    command += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/dev/shm", "--size", "67108864", "--tmpfs", "/tmp"]
    command += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]
    if os.getuid() == 0:
        return [*command, *["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_KILL"], "--"]
    return [*command, "--unshare-user", "--"]


class Session(checks.Student):
    """A notebook that runs in a sandbox; use it in a ``with`` block.

    A cell or a question that ends the process costs only itself: the cells run again without it.
    """

    def __init__(self, sandbox: Sandbox, cells: Sequence[str]) -> None:
        super().__init__(self._exchange)
        self.sandbox, self.cells = sandbox, cells
        self.deadline = time.monotonic() + 12 * sandbox.seconds
        self.ended: dict[int, str] = {}  # cells that ended the process, and how
        self.failed: list[tuple[int, str]] = []  # cells that stopped with an error
        self.channel: socket.socket | None = None
        self.in_question = False
        self.sent = 0

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self._drop()

    def begin(self, number: str) -> None:
        """Start a question: in a fork of the notebook's process."""
        try:
            if self.in_question:
                self._send({"kind": "end"})
                while "over" not in self._receive(5):
                    pass
        except Lost:
            self._drop()
        self.in_question = False
        if self.channel is None:
            self._run_cells()
        self._send({"kind": "begin"})
        self.in_question = True

    def _run_cells(self) -> None:
        while time.monotonic() < self.deadline:
            cell = None
            try:
                self.channel = self.sandbox.start()
                self.buffer = b""
                job = {"cells": self.cells, "skip": sorted(self.ended), "seconds": self.sandbox.seconds}
                self._send(job | {"alone": self.sandbox.tier < 3})
                while "ran" not in (message := self._receive(2 * self.sandbox.seconds + 5)):
                    cell = message.get("cell")
                ran = plain.decode(message["ran"])
                self.failed = [(int(k), str(why)[:400]) for k, why in ran if 0 <= int(k) < len(self.cells)]
                return
            except (Lost, ValueError, TypeError) as lost:
                self._drop()
                if type(cell) is not int or cell in self.ended or not 0 <= cell < len(self.cells):
                    raise checks.NoAnswer(f"the notebook could not be run: {lost}", person=True) from None
                self.ended[cell] = str(lost)
        raise checks.NoAnswer("the notebook as a whole took too long to be run", person=True)

    def _exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        self.sent += 1
        try:
            self._send({"n": self.sent, **request})
            while True:
                reply = self._receive(2 * self.sandbox.seconds + 5)
                if "over" in reply:
                    self.in_question = False
                    raise Lost(self._why(reply["over"] in (14, 27)))
                if reply.get("n") == self.sent:
                    return reply
        except Lost as lost:
            if self.in_question:
                self._drop()
            return {"failed": f"`{request['name']}` {lost}"}

    def _send(self, message: Any) -> None:
        if self.channel is None:
            raise Lost(self._why(False))
        try:
            self.channel.settimeout(self.sandbox.seconds)
            self.channel.sendall(plain.dumps(message))
        except OSError:
            raise Lost(self._why(False)) from None

    def _receive(self, timeout: float) -> dict[str, Any]:
        assert self.channel
        start = time.monotonic()
        while b"\n" not in self.buffer:
            try:
                self.channel.settimeout(max(start + timeout - time.monotonic(), 0.01))
                received = self.channel.recv(1 << 16)
            except TimeoutError:
                raise Lost(self._why(True)) from None
            except OSError:
                received = b""
            if not received:
                raise Lost(self._why(time.monotonic() - start > 0.9 * self.sandbox.seconds))
            self.buffer += received
            if len(self.buffer) > plain.LIMIT:
                raise Lost("answers with too much data")
        line, _, self.buffer = self.buffer.partition(b"\n")
        try:
            message = plain.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise Lost("answers with something that is no message")
        return message

    def _why(self, slow: bool) -> str:
        if slow:
            return f"did not finish within {self.sandbox.seconds:g} seconds"
        return "ended the notebook's process (an exit, a crash, or too much memory)"

    def _drop(self) -> None:
        if self.channel is not None:
            self.channel.close()
            self.channel = None
            self.in_question = False
            self.sandbox.stop()
