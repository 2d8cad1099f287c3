"""A student's notebook, run inside the sandbox: its cells, what stands in for Colab, and the answers.

Everything here shares a process with the student's code and may be overwritten by it; nothing outside trusts it.
"""

from __future__ import annotations

import asyncio
import base64
import builtins
import contextlib
import copy
import getpass
import importlib
import importlib.abc
import importlib.machinery
import inspect
import json
import os
import random
import resource
import signal
import socket
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import IPython.core.getipython
import numpy as np
import torch
from IPython.display import display
from torch.overrides import TorchFunctionMode

import labs.homework

from . import plain
from .source import Source, Statement

RUN_BODY = {"time", "capture", "prun", "python", "python3"}  # line magics whose text is the student's own code
DEVICES = ("CUDA", "NVIDIA", "cuda", "MPS", "mps", "XLA", "xla", "XPU", "xpu")  # in messages about what is not here
TEXT = str | int | float | np.integer | type(...)


class Stub(MagicMock):
    """What is not installed here: any attribute exists, and a call gives back the function, list or array it is given.

    So ``@njit`` leaves the function and ``tqdm(range(3))`` the range; ``trange(3)`` and ``prange(3)`` are ranges.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if str(self._mock_name or "").endswith("range"):
            return range(*args)
        given = args[0] if args else None
        return given if callable(given) or (hasattr(given, "__iter__") and not isinstance(given, str)) else self


class StubFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a :class:`Stub` for the packages in ``names`` and all below them."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        known = any(fullname == name or fullname.startswith(f"{name}.") for name in self.names)
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True) if known else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Any:
        return Stub(name=spec.name.rpartition(".")[2])

    def exec_module(self, module: types.ModuleType) -> None:
        pass


class OnCPU(TorchFunctionMode):
    """Every other device is the CPU, from when the first of them was missed."""

    on = False

    def __torch_function__(self, function: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(function, "__name__", "") in ("cuda", "mps", "xpu"):
            return args[0]
        return function(*map(_here, args), **{key: _here(value) for key, value in (kwargs or {}).items()})

    @classmethod
    def start(cls) -> None:
        cls.on = True
        torch.set_default_device("cpu")
        vars(torch)["set_default_device"] = lambda device: None
        cls().__enter__()
        generator = torch.Generator
        vars(torch)["Generator"] = lambda device="cpu": generator()
        vars(torch.cuda).update(synchronize=lambda *a: None, get_device_name=lambda *a: "CPU")


def _here(value: Any) -> Any:
    if isinstance(value, str) and value.partition(":")[0] in ("cuda", "mps", "xla", "xpu"):
        return "cpu"
    return torch.device("cpu") if isinstance(value, torch.device) and value.type not in ("cpu", "meta") else value


class Shell:
    """What ``get_ipython()`` gives: magics that time, capture or run a script run its code, all others do nothing."""

    def __init__(self, run: Callable[[str], None]) -> None:
        self._run = run

    def run_line_magic(self, name: str, line: str, *rest: Any) -> None:
        if name in RUN_BODY:
            self._run(line)
        elif name == "run":  # a script beside the notebook
            path = Path(line.split()[0].strip("'\""))
            self._run(path.with_suffix(path.suffix or ".py").read_text("utf8"))

    def run_cell_magic(self, name: str, line: str, cell: str) -> None:
        self._run(f"%%{name} {line}\n{cell}")

    def getoutput(self, *args: Any, **kwargs: Any) -> list[str]:
        return []

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


def is_stub(value: Any) -> bool:
    """Whether ``value`` is what the released notebook holds in place of an answer."""
    if isinstance(value, types.FunctionType):
        texts = [text for text in value.__code__.co_consts[1:] if isinstance(text, str)]
        return value.__code__.co_names == ("NotImplementedError",) and any(t.startswith("question") for t in texts)
    return value is ... or (type(value) is str and plain.is_blank(value))


class Notebook:
    """The namespace of a notebook and how its statements are run; ``own_id`` is the roster's for this student."""

    def __init__(self, cells: Sequence[str], own_id: str = "") -> None:
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        self.namespace = module.__dict__
        self.source = Source(cells)
        self.after: dict[int, dict[str, Any]] = {}  # the names as the checks of a cell left them
        self.first: dict[str, Any] = {}  # what no check names, as it was first bound
        self.missing = StubFinder()
        self.ends: dict[str, Any] = {}  # the names at the end
        self.own_id = own_id
        sys.meta_path.append(self.missing)
        sys.path[:0] = ["", os.getcwd()]  # what lies beside the notebook, or %%writefile makes
        with contextlib.suppress(ImportError):  # bars without widgets
            tqdm = importlib.import_module("tqdm")
            vars(tqdm)["notebook"] = sys.modules["tqdm.notebook"] = tqdm
        shell = Shell(self._magic)
        vars(IPython.core.getipython)["get_ipython"] = vars(IPython)["get_ipython"] = lambda: shell
        self.namespace.update(get_ipython=lambda: shell, display=display, __file__="notebook.py")
        sys.argv[:] = ["notebook.py"]
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        vars(torch)["set_num_threads"] = lambda n: None  # threads do not survive the fork before a question
        vars(torch)["compile"] = lambda model=None, **options: model or (lambda model: model)  # as it would answer
        torch.nn.Module.compile = lambda self, *args, **options: None  # type: ignore[method-assign]
        self._know(own_id)

    def _know(self, own_id: str) -> None:
        """Whoever asks for an id is told the roster's; so is a Homework that gets what is no id."""
        asked = iter(range(100))

        def told(*args: Any, **kwargs: Any) -> str:
            if not own_id or next(asked, None) is None:
                raise EOFError("nobody is here to answer")
            return own_id

        vars(builtins)["input"] = vars(getpass)["getpass"] = told
        make = labs.homework.Homework.__init__

        def made(self: Any, name: str, student_id: Any = None, salt: str = "") -> None:
            make(self, name, student_id if isinstance(student_id, TEXT) or not own_id else own_id, salt)

        vars(labs.homework)["Homework"].__init__ = made

    def mend(self, error: BaseException) -> bool:
        """Whether another try may help: a package is missing that a stub can stand for, or a device that is not here."""
        if isinstance(error, ModuleNotFoundError) and error.name:
            known = error.name in self.missing.names
            self.missing.names.add(error.name)
            return not known
        if not OnCPU.on and any(word in f"{error}" for word in DEVICES):
            OnCPU.start()
            return True
        return False

    def _magic(self, text: str) -> None:
        for statement in self.source.parse(text, -1, "<magic>"):
            self._execute(statement)

    def _execute(self, statement: Statement) -> None:
        assert statement.code
        result = eval(statement.code, self.namespace)
        if statement.code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(result)

    def run_statement(self, statement: Statement) -> BaseException | None:
        """Run a statement, and once more for whatever can be mended; the error, if any."""
        before = {name: self.namespace[name] for name in statement.binds if name in self.namespace}
        error: BaseException | None = None
        for _ in range(10):
            try:
                self._execute(statement)
                error = None
                break
            except BaseException as raised:
                error = raised
                try:
                    if self.mend(raised):
                        continue
                except BaseException as second:
                    error = second
                break
        for name, old in before.items():  # a placeholder further down does not undo an answer
            if name in self.namespace and is_stub(self.namespace[name]) and not is_stub(old):
                self.namespace[name] = old
        for name in statement.binds - set(self.source.asked) - set(self.first):
            if error is None and name in self.namespace and not is_stub(self.namespace[name]):
                self.first[name] = _copied(self.namespace[name])
        if self.own_id and (known := statement.binds & self.source.ids):
            self._identify(known, error)
        return error

    def _identify(self, names: set[str], error: BaseException | None) -> None:
        """The roster's id, where the notebook's could not be had."""
        for name in names:
            if error is not None or not isinstance(self.namespace.get(name, ...), TEXT):
                self.namespace[name] = self.own_id

    def run(self, skip: Mapping[tuple[int, int], str], started: Callable[[int, int], None]) -> None:
        """Run the cells in order, then what lacked a name again while that helps."""
        todo = []
        for statement in self.source.statements:
            statement.why = skip.get((statement.cell, statement.number), statement.why)
            todo += [statement] if statement.code and not statement.why else []
        while todo:
            again = []
            for statement, following in zip(todo, [*todo[1:], None], strict=True):
                started(statement.cell, statement.number)
                self._write(statement.cell)
                error = self.run_statement(statement)
                statement.why = "" if error is None else plain.reason(error)
                again += [statement] if isinstance(error, NameError) else []
                if statement.cell in self.source.answers and (following is None or following.cell != statement.cell):
                    self.after[statement.cell] = self._kept(self.source.answers[statement.cell])
            self._write(sys.maxsize)
            todo = again if len(again) < len(todo) else []

    def _write(self, cell: int) -> None:
        """The files that %%writefile makes up to a cell."""
        for k in [k for k in self.source.files if k <= cell]:
            options, text = self.source.files.pop(k)
            with (
                contextlib.suppress(Exception),
                open(options.split()[-1], "a" if "-a" in options.split() else "w") as file,
            ):
                file.write(text)

    def _kept(self, answers: set[str]) -> dict[str, Any]:
        """The names as they are now, and copies of the answers that a later cell may change in place."""
        kept = dict(self.namespace)
        return kept | {name: _copied(kept[name]) for name in answers & set(kept)}

    def back_to(self, asked: str) -> None:
        """A question's answers, and what they use, are those of its own check: later cells may use the names again."""
        kept = self.after.get(self.source.asked.get(asked, -1), {})
        self.namespace.update({name: value for name, value in kept.items() if not is_stub(value)})

    def answer(self, request: dict[str, Any], number: str | None) -> dict[str, Any]:
        """The reply to a request of question ``number``; None for what its names are elsewhere.

        That is at the end for what a check names, and otherwise where it was first bound.
        """
        if request["kind"] == "ids":
            made = [v.student_id for v in self.namespace.values() if isinstance(v, labs.homework.Homework)]
            made += [self.namespace["STUDENT_ID"]] if "STUDENT_ID" in self.namespace else []
            return {"value": ["" if v is ... else str(v)[:200] for v in made]}
        if request["kind"] == "causes":
            names = request["names"]
            other = {n: (self.ends if n in self.source.asked else self.first).get(n) for n in names}
            changed = [n for n, v in other.items() if v is not None and v is not self.namespace.get(n)]
            return {"value": [self.source.causes(names, self.missing.names), changed, self.source.places(names)]}
        if number is None and request["name"] in self.first:
            self.namespace[request["name"]] = self.first[request["name"]]
        elif number is not None and number not in self.source.asked:
            self.back_to(request["name"])
        return plain.answer(self.namespace, request, self.mend)


def _copied(value: Any) -> Any:
    """A copy of what later cells might change in place, unless it is large."""
    size = getattr(value, "nbytes", 0) if isinstance(value, np.ndarray | torch.Tensor) else 0
    if isinstance(value, list | dict | set | np.ndarray | torch.Tensor) and size < 10**6:
        with contextlib.suppress(Exception):
            return copy.deepcopy(value)
    return value


def receive(channel: socket.socket) -> bytes:
    """A message that begins with its length in ten digits; lines would be read byte by byte, for forks share the socket."""
    length, raw = int(channel.recv(10, socket.MSG_WAITALL)), b""
    while len(raw) < length:
        raw += channel.recv(min(length - len(raw), 1 << 20))
    return raw


def serve(channel: socket.socket) -> None:
    """Run the notebook that arrives on ``channel``, then answer questions, each in a fork of its own."""
    lines = channel.makefile("rb", buffering=0)
    send = channel.sendall
    job = json.loads(receive(channel))
    seconds, cell = job["seconds"], -1
    for name, text in job["beside"].items():
        with contextlib.suppress(OSError):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_bytes(base64.b64decode(text))

    def started(k: int, number: int) -> None:
        nonlocal cell
        send(plain.dumps({"at": [k, number]}))
        if k != cell:
            cell = k
            limit(seconds)

    limit(seconds)
    notebook = Notebook(job["cells"], job["own_id"])
    notebook.run({(k, number): why for k, number, why in job["skip"]}, started)
    limit(0)
    notebook.ends = dict(notebook.namespace)
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))  # room for forks beside threads that cells have left
    failed = {s.cell: s.why for s in reversed(notebook.source.statements) if s.why}
    send(plain.dumps({"ran": [[k, why] for k, why in sorted(failed.items())][:100]}))
    while line := lines.readline():
        message = json.loads(line)
        if message.get("kind") != "begin":
            continue
        try:
            child = os.fork()
        except OSError:  # no process left for this user
            end_others(job["alone"])
            child = os.fork()
        if child == 0:
            try:
                limit(seconds)
                answer_all(notebook, lines, send, message["number"])
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            end_others(job["alone"])
        send(plain.dumps({"over": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0}))


def answer_all(notebook: Notebook, lines: Any, send: Callable[[bytes], Any], number: str | None) -> None:
    """Answer the requests of one question."""
    if number is not None:
        notebook.back_to(number)
    while (line := lines.readline()) and (request := json.loads(line))["kind"] != "end":
        reply = notebook.answer(request, number)
        try:
            send(plain.dumps({"n": request["n"], **reply}))
        except (ValueError, TypeError) as error:
            send(plain.dumps({"n": request["n"], "failed": f"the answer is {error}"}))


def end_others(alone: bool) -> None:
    """SIGKILL to whatever a question has left running, so that it does not cost the next; only where all of it is a student's."""
    if alone:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:  # what is not waited for still counts
                os.waitpid(-1, 0)


def limit(seconds: float) -> None:
    """The kernel ends this process after so many seconds of its own CPU; 0 takes the limit off."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)
