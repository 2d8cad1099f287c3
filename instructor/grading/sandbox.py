"""The outer side of the sandbox: starts executors, runs a submission in one, and says what this machine can promise."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from instructor.grading import checks
from instructor.grading.checks import Failed
from instructor.grading.inside import plain

ROOT = Path(__file__).resolve().parents[2]
INSIDE = Path(__file__).with_name("inside")  # all that a submission gets to see of the grader
FIRST_UID = 61_000  # students' processes run as 61000, 61001, … where this one is root
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1",
}  # fmt: skip


SLOW = "did not finish in its time"
GONE = "ended the notebook's process (an exit, a crash, or too much memory)"
MOST_RUNS = 30  # of the cells, each without one more statement
PATIENCE = 25  # times the limit by the clock on the wall: an executor's clock is at most 20 times slower


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
        path, module, wrapper = str(ROOT), "instructor.grading.inside.executor", self.wrapper
        if self.tier == 1:
            path, module, wrapper = "/sandbox", "inside.executor", [*_bubblewrap(), *self.wrapper]
        command = [*wrapper, sys.executable, "-m", module, json.dumps(job)]
        self.process = subprocess.Popen(
            command, env={**ENVIRONMENT, "PYTHONPATH": path}, pass_fds=[fd], stdin=subprocess.DEVNULL, cwd="/"
        )
        theirs.close()
        self._expect("ready", 600)

    def _tell(self, message: dict[str, Any], *channels: socket.socket) -> None:
        try:
            socket.send_fds(self.control, [json.dumps(message).encode()], [channel.fileno() for channel in channels])
        except OSError as error:
            self.close()
            raise Failed(f"the sandbox ended ({error})") from None

    def _expect(self, what: str, timeout: float) -> dict[str, Any]:
        self.control.settimeout(timeout)
        try:
            reply = json.loads(self.control.recv(4096) or b"{}")
        except OSError:
            reply = {}
        if not reply.get(what):
            self.close()
            if what != "clean" or self.tier != 1 or not reply:  # under bubblewrap all ends with the executor
                self.slot += 1000  # what may still be there is another user's from now on
                raise Failed(f"the sandbox failed ({what})")
        return reply

    def start(self, most: float) -> socket.socket:
        """A fresh process for a submission, for so many seconds; the socket it answers on."""
        if self.process is None:
            self._spawn()
        ours, theirs = socket.socketpair()
        with theirs:
            self._tell({"start": most}, theirs)
        self._expect("started", 300)
        return ours

    def within(self, seconds: float) -> None:
        """The submission is ended unless this is called again, or it is stopped, within so many seconds of its own."""
        self._tell({"within": seconds})

    def stop(self) -> dict[str, Any]:
        """End the submission's processes and remove its files; ``why`` it was ended before, and its ``clock``."""
        if self.process is None:
            return {}
        self._tell({"stop": True})
        return self._expect("clean", 300)

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
    """A file system that holds Python, labs and the folder ``inside``, read-only, and no network."""
    labs = importlib.util.find_spec("labs")
    assert labs and labs.submodule_search_locations
    system = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime")
    seen = [*system, sys.base_prefix, os.path.realpath(sys.base_prefix), sys.prefix]
    binds = [*zip(seen, seen, strict=True), (labs.submodule_search_locations[0], "/sandbox/labs")]
    binds.append((str(INSIDE), "/sandbox/inside"))
    command = ["bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    command += ["--die-with-parent", "--new-session"]
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

    A statement or a question that ends the process costs only itself: the cells run again without it. All of it together
    has ``24 * sandbox.seconds + 60`` of its own clock, whatever it sends; Failed if the sandbox itself does not answer.
    """

    def __init__(
        self, sandbox: Sandbox, cells: Sequence[str], own_id: str = "", beside: Mapping[str, bytes] | None = None
    ) -> None:
        super().__init__(self._exchange)
        self.sandbox, self.cells, self.own_id, self.beside = sandbox, cells, own_id, beside or {}
        self.left = 24 * sandbox.seconds + 60
        self.ended: dict[tuple[int, int], str] = {}  # statements that ended the process, and how
        self.failed: dict[int, str] = {}  # cells in which something failed
        self.channel: socket.socket | None = None
        self.in_question = False
        self.sent = 0

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self._drop()

    def begin(self, number: str | None) -> None:
        """Start a question, in a fork of the notebook's process: with the names as its own check left them, or the last ones."""
        try:
            if self.in_question:
                self._send({"kind": "end"})
                while "over" not in self._receive():
                    pass
        except Lost:
            self._drop()
        self.in_question = False
        for _ in range(2):
            if self.channel is None:
                self._run_cells()
            try:
                self.sandbox.within(self._unit())
                self._send({"kind": "begin", "number": number})
                self.in_question = True
                return
            except Lost:
                self._drop()
        raise checks.NoAnswer("the notebook's process ends before it is asked", person=True)

    def stopped(self) -> list[str]:
        """What ended or failed, cell by cell."""
        ended = {k: why for (k, _), why in self.ended.items()}
        return [f"cell {k + 1}: {why}" for k, why in sorted((ended | self.failed).items())]

    def _unit(self) -> float:
        """How long a cell or a question may take by the submission's own clock: it may also wait, for this process too."""
        return 2 * self.sandbox.seconds + 10

    def _run_cells(self) -> None:
        for _ in range(MOST_RUNS):
            if self.left <= 0:
                raise checks.NoAnswer("the notebook as a whole took too long", person=True)
            at, seen = None, -1
            try:
                self.channel = self.sandbox.start(self.left)
                self.sandbox.within(self._unit())
                self.buffer = b""
                self._send_job()
                while "ran" not in (message := self._receive()):
                    at = _pair(message.get("at")) or at
                    if at and seen < at[0] < len(self.cells):  # a new cell has its own time; no cell is new twice
                        seen = at[0]
                        self.sandbox.within(self._unit())
                ran = [_pair(entry, str) for entry in plain.decode(message["ran"])[:100]]
                self.failed = {k: why[:400] for k, why in filter(None, ran) if k < len(self.cells)}
                return
            except (Lost, ValueError, TypeError) as lost:
                why = self._drop() or str(lost)
                if at is None or at in self.ended or at[0] >= len(self.cells):
                    raise checks.NoAnswer(f"the notebook could not be run: it {why}", person=True) from None
                self.ended[at] = why
        raise checks.NoAnswer("the notebook ends its process again and again", person=True)

    def _send_job(self) -> None:
        skip = [[*at, why] for at, why in self.ended.items()]
        beside = {name: base64.b64encode(raw).decode() for name, raw in self.beside.items()}
        job = {
            "cells": self.cells,
            "skip": skip,
            "seconds": self.sandbox.seconds,
            "own_id": self.own_id,
            "beside": beside,
        }
        raw = json.dumps(job | {"alone": self.sandbox.tier < 3}).encode()
        self._send_raw(f"{len(raw):010}".encode() + raw)

    def _exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        self.sent += 1
        try:
            self._send({"n": self.sent, **request})
            while True:
                reply = self._receive()
                if "over" in reply:
                    self.in_question = False
                    raise Lost(SLOW if reply["over"] == 27 else GONE)
                if reply.get("n") == self.sent:
                    return reply
        except Lost as lost:
            why = self._drop() if self.in_question else ""
            return {"failed": f"`{request['name']}` {why or lost}", "person": True}

    def _send(self, message: Any) -> None:
        self._send_raw(plain.dumps(message))

    def _send_raw(self, raw: bytes) -> None:
        if self.channel is None:
            raise Lost(GONE)
        try:
            self.channel.settimeout(PATIENCE * self._unit())
            self.channel.sendall(raw)
        except OSError:
            raise Lost(GONE) from None

    def _receive(self) -> dict[str, Any]:
        """The next message. The executor ends what takes too long; if it does not, it is the sandbox that failed."""
        assert self.channel
        deadline = time.monotonic() + PATIENCE * self._unit()
        while b"\n" not in self.buffer:
            try:
                self.channel.settimeout(max(deadline - time.monotonic(), 0.01))
                received = self.channel.recv(1 << 16)
            except TimeoutError:
                self.sandbox.close()
                self.channel = None
                raise Failed("the sandbox does not end what takes too long") from None
            except OSError:
                received = b""
            if not received:
                raise Lost(GONE)
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

    def _drop(self) -> str:
        """End the submission's processes; why the executor had ended them already, if it had."""
        if self.channel is None:
            return ""
        self.channel.close()
        self.channel = None
        self.in_question = False
        told = self.sandbox.stop()
        self.left -= float(told.get("clock", 0))
        if told.get("unit", 0) > 0.7 * self.sandbox.seconds and not told.get("why"):
            return SLOW  # the kernel has ended it
        return {"time": SLOW, "memory": "used too much memory", "disk": "wrote too much"}.get(told.get("why", ""), "")


def _pair(value: Any, second: type = int) -> Any:
    """A number that is not negative and another value, or None for anything else that a submission may send."""
    fits = isinstance(value, list) and len(value) == 2 and type(value[0]) is int and type(value[1]) is second
    return (value[0], value[1]) if fits and value[0] >= 0 else None
