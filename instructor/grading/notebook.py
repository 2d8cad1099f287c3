"""A student's notebook, run inside the sandbox: its cells, what stands in for Colab, and the answers.

Everything here shares a process with the student's code and may be overwritten by it; nothing outside trusts it.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib
import importlib.abc
import importlib.machinery
import inspect
import json
import linecache
import os
import random
import signal
import socket
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import MagicMock

import IPython.core.getipython
import numpy as np
import torch
from IPython.core.inputtransformer2 import TransformerManager
from IPython.display import display

from instructor.grading import plain

RUN_BODY = {"time", "capture", "prun", "python", "python3"}  # magics whose text is the student's own code


class Stub(MagicMock):
    """What is not installed here: any attribute exists, and a call gives back its first argument.

    So ``@njit`` leaves the function and ``tqdm(range(3))`` the range.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return args[0] if args else self


class StubFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a :class:`Stub` for the packages in ``names`` and all below them."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        known = any(fullname == name or fullname.startswith(f"{name}.") for name in self.names)
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True) if known else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Any:
        return Stub()

    def exec_module(self, module: types.ModuleType) -> None:
        pass


class Shell:
    """What ``get_ipython()`` gives: magics that only time or capture run their code, all others do nothing."""

    def __init__(self, run: Callable[[str], None]) -> None:
        self._run = run

    def run_line_magic(self, name: str, line: str, *rest: Any) -> None:
        if name in RUN_BODY:
            self._run(line)

    def run_cell_magic(self, name: str, line: str, cell: str) -> None:
        if name in RUN_BODY:
            self._run(cell)
        elif name in ("writefile", "file"):
            with open(line.split()[-1], "a" if "-a" in line.split() else "w") as file:
                file.write(cell)

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
    """The namespace of a notebook and how its cells are run."""

    def __init__(self) -> None:
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        self.namespace = module.__dict__
        self.transform = TransformerManager().transform_cell
        self.missing = StubFinder()
        sys.meta_path.append(self.missing)
        sys.path.insert(0, "")  # modules that %%writefile made
        with contextlib.suppress(ImportError):  # bars without widgets
            tqdm = importlib.import_module("tqdm")
            vars(tqdm)["notebook"] = sys.modules["tqdm.notebook"] = tqdm
        shell = Shell(lambda code: self._execute(code, "<magic>"))
        vars(IPython.core.getipython)["get_ipython"] = vars(IPython)["get_ipython"] = lambda: shell
        self.namespace.update(get_ipython=lambda: shell, display=display)
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        vars(torch)["set_num_threads"] = lambda n: None  # threads do not survive the fork before a question

    def _execute(self, source: str, name: str) -> None:
        code = self.transform(source)
        linecache.cache[name] = (len(code), None, code.splitlines(True), name)
        compiled = compile(code, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        result = eval(compiled, self.namespace)
        if compiled.co_flags & inspect.CO_COROUTINE:
            asyncio.run(result)

    def run_cell(self, source: str, name: str) -> BaseException | None:
        """Run a cell as a notebook would, and once more for each module that is missing here; the error, if any."""
        before = dict(self.namespace)
        error: BaseException | None = None
        for _ in range(10):
            try:
                self._execute(source, name)
                error = None
            except BaseException as raised:
                error = raised
            if not isinstance(error, ModuleNotFoundError) or not error.name:
                break
            self.missing.names.add(error.name.partition(".")[0])
        for key, old in before.items():  # a placeholder further down does not undo an answer
            if key in self.namespace and is_stub(self.namespace[key]) and not is_stub(old):
                self.namespace[key] = old
        return error

    def run(self, cells: Sequence[str], skip: Sequence[int], started: Callable[[int], None]) -> list[list[Any]]:
        """Run the cells in order, those that lacked a name again while that helps; ``[number, why]`` of the failed."""
        failed: dict[int, BaseException] = {}
        todo = [k for k in range(len(cells)) if k not in skip]
        while todo:
            errors = {}
            for k in todo:
                started(k)
                if (error := self.run_cell(cells[k], f"<cell {k + 1}>")) is not None:
                    errors[k] = error
            failed = {k: e for k, e in failed.items() if k not in todo} | errors
            again = [k for k, error in errors.items() if isinstance(error, NameError)]
            todo = again if len(again) < len(todo) else []
        return [[k, plain.reason(error)] for k, error in failed.items()]


def serve(channel: socket.socket) -> None:
    """Run the notebook that arrives on ``channel``, then answer questions, each in a fork of its own."""
    lines = channel.makefile("rb", buffering=0)
    send = channel.sendall
    job = json.loads(lines.readline())
    seconds = job["seconds"]

    def started(k: int) -> None:
        send(plain.dumps({"cell": k}))
        limit(seconds)

    notebook = Notebook()
    failed = notebook.run(job["cells"], job["skip"], started)
    limit(0)
    send(plain.dumps({"ran": failed[:100]}))
    while line := lines.readline():
        if json.loads(line).get("kind") != "begin":
            continue
        try:
            child = os.fork()
        except OSError:  # no process left for this user
            end_others(job["alone"])
            child = os.fork()
        if child == 0:
            try:
                limit(seconds)
                while (line := lines.readline()) and json.loads(line)["kind"] != "end":
                    send(plain.answer_line(notebook.namespace, line))
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            end_others(job["alone"])
        send(plain.dumps({"over": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0}))


def end_others(alone: bool) -> None:
    """SIGKILL to whatever a question has left running, so that it does not cost the next; only where all of it is a student's."""
    if alone:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:  # what is not waited for still counts
                os.waitpid(-1, 0)


def limit(seconds: float) -> None:
    """The kernel ends this process after so many seconds of CPU, or twice as many of waiting; 0 takes the limit off."""
    for which, number, factor in ((signal.ITIMER_PROF, signal.SIGPROF, 1), (signal.ITIMER_REAL, signal.SIGALRM, 2)):
        signal.signal(number, signal.SIG_DFL)
        signal.setitimer(which, seconds * factor)
