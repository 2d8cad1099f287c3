"""A Dask worker as a grader: one sandbox and one submission at a time.

The client puts a :class:`Grader` on every worker (:func:`enrol`), which first says what the worker is and what isolation it can
give. Only then the client sends the secret, over its own connection to the worker: it is no part of a task, of what the
scheduler holds, or of a log. From then on the worker has the resource ``sandbox``, which every task asks for.
"""

from __future__ import annotations

import asyncio
import hashlib
import platform
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker

from instructor.grading import batch, doctor
from instructor.grading.sandbox import FIRST_UID, ROOT, Sandbox

NAME = "grading"
RESOURCE = "sandbox"


class Unseen:
    """A value on its way to a worker that no log and no page of Dask's prints."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "…"


def parts(folder: str) -> dict[str, str]:
    """What has to be alike on all machines for the same bytes to come out; ``folder`` is the homework's, below ROOT."""
    found = {"Python": platform.python_version().rpartition(".")[0]}
    for name in ("numpy", "torch", "sympy", "ipython"):
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            found[name] = "missing"
    for name, pattern in (
        ("the grader", "instructor/grading/**/*.py"),
        ("labs", "labs/**/*.py"),
        ("the hidden checks", f"{folder}/checks.py"),
        ("the released notebooks", f"book/**/homework/{Path(folder).name}.ipynb"),
    ):
        texts = [p.relative_to(ROOT).as_posix().encode() + b"\n" + p.read_bytes() for p in sorted(ROOT.glob(pattern))]
        found[name] = hashlib.sha256(b"".join(hashlib.sha256(text).digest() for text in texts)).hexdigest()[:12]
    return found


def claim() -> tuple[int, socket.socket | None]:
    """A number that no other worker on this host has, for as long as the socket is open."""
    for slot in range(100, 1000):
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0numerical-stability-{FIRST_UID + slot}")
        except FileNotFoundError:  # a system without abstract names: it has no sandbox either
            return slot, None
        except OSError:
            lock.close()
            continue
        return slot, lock
    raise RuntimeError("more than 900 graders on this host")


class Grader(WorkerPlugin):
    """What a worker has while it grades for the client ``client``.

    All that touches the sandbox runs in one thread that lives as long: the kernel ends an executor with the thread that began it.
    """

    name = NAME

    def __init__(self, client: str) -> None:
        self.client = client
        self.slot, self.lock = claim()
        self.thread = ThreadPoolExecutor(1, thread_name_prefix=NAME)
        self.sandbox: Sandbox | None = None
        self.assignment: batch.Assignment | None = None
        self.worker: Worker | None = None

    def setup(self, worker: Worker) -> None:
        self.worker = worker

    async def _there(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.thread, function, *arguments)

    async def begin(self, job: dict[str, Any]) -> str:
        """What the client sends by itself: the secret, the homework, and the sandbox's limits; "" or what is wrong."""
        assert self.worker
        try:
            self.assignment = await self._there(
                lambda: batch.Assignment(job["name"], job["secret"], ROOT / job["folder"], job["salt"])
            )
        except Exception as error:
            return str(error)
        self.sandbox = Sandbox(job["tier"], self.slot, job["seconds"], job["memory"])
        await self.worker.set_resources(**{RESOURCE: 1})
        return ""

    def grade(self, *work: Any) -> tuple[batch.Record, bool]:
        """As :func:`batch.graded`, here."""
        assert self.sandbox and self.assignment
        return batch.graded(self.assignment, self.sandbox, *work)

    def close(self) -> None:
        if self.sandbox:
            self.sandbox.close()
        if self.lock:
            self.lock.close()
        self.assignment = None

    async def teardown(self, worker: Worker) -> None:
        await self._there(self.close)
        self.thread.shutdown(wait=False)


async def enrol(
    client: str, living: list[str], folder: str, private: list[str], unsafe: bool, dask_worker: Worker
) -> dict[str, Any]:
    """Make a worker ready for the client's secret: its parts, its tier and what the doctor found, or who has it already."""
    there = dask_worker.plugins.get(NAME)
    if isinstance(there, Grader) and there.client != client and there.client in living:
        return {"name": str(dask_worker.name), "taken": True}
    await dask_worker.set_resources(**{RESOURCE: 0})
    grader = Grader(client)
    await dask_worker.plugin_add(grader, name=NAME, catch_errors=False)  # in the place of one whose client is gone
    dask_worker.handlers[NAME] = grader.begin
    paths = [ROOT / folder, *map(Path, private)]
    tier, found = (3, "") if unsafe else await grader._there(doctor.choose, paths, grader.slot)
    return {"name": str(dask_worker.name), "parts": parts(folder), "tier": tier, "found": found}


async def dismiss(client: str, dask_worker: Worker) -> None:
    """End the sandbox and forget the secret, if they are this client's."""
    there = dask_worker.plugins.get(NAME)
    if isinstance(there, Grader) and there.client == client:
        await dask_worker.set_resources(**{RESOURCE: 0})
        dask_worker.handlers.pop(NAME, None)
        await dask_worker.plugin_remove(name=NAME)


def task(submission: Unseen) -> tuple[batch.Record, bool] | None:
    """The only task of the graph: a submission's record, and whether it lasts; None where nobody has begun."""
    grader = get_worker().plugins.get(NAME)
    if not isinstance(grader, Grader) or grader.assignment is None:
        return None
    return grader.thread.submit(grader.grade, *submission.value).result()
