"""Grading on many machines: Dask places the work, its workers grade, and this process reads, sends and writes the records.

Each worker that may grade has one submission under way and one more at hand, so the memory of all is flat and nobody waits for a
letter. When a worker dies, both go to others, now without a neighbour: if one of them ends that worker too, it is known which,
and it is set aside for a person. A scheduler that comes back finds what is still to be done; records that stand are never graded
again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import sys
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from concurrent.futures import Future as Probe
from concurrent.futures import wait as all_of
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, wait
from distributed.comm.core import CommClosedError
from distributed.security import Security

from instructor.grading import batch, worker
from instructor.grading.sandbox import ROOT

TRIES = 2  # workers that a submission may cost
AHEAD = 2  # submissions that a worker has: the one it grades, and the next
PATIENCE = 600.0  # seconds without any worker, or without the scheduler
GONE = (
    OSError,
    CommClosedError,
    asyncio.CancelledError,
    CancelledError,
    TimeoutError,
)  # what Dask raises when the scheduler is lost


@dataclass
class Job:
    """What the workers need: the homework, the sandbox's limits, and places that a submission must not read."""

    assignment: batch.Assignment
    seconds: float = 10
    memory: int = 3000
    private: list[str] = field(default_factory=list)
    unsafe: bool = False
    only: str = ""  # a question to grade anew, where the others have results

    @property
    def folder(self) -> str:
        """The homework's folder below ROOT; ValueError if it is elsewhere, where a worker has no copy of it."""
        return self.assignment.folder.resolve().relative_to(ROOT).as_posix()

    def letter(self, tier: int) -> dict[str, Any]:
        """What goes to a worker by the private channel."""
        about = {"name": self.assignment.name, "secret": self.assignment.secret, "salt": self.assignment.salt}
        return about | {"folder": self.folder, "tier": tier, "seconds": self.seconds, "memory": self.memory}


def tell(text: str) -> None:
    print(f"\n{text}", file=sys.stderr)


@contextlib.contextmanager
def here() -> Iterator[None]:
    """An error of this machine's files, which must not look like one of Dask's."""
    try:
        yield
    except OSError as error:
        raise RuntimeError(str(error)) from error


def allow_failures(count: int | None, dask_scheduler: Any) -> None:
    """How many workers a task may lose before the client hears of it; None: as the scheduler was configured."""
    if count is None:
        count = dask.config.get("distributed.scheduler.allowed-failures")
    dask_scheduler.allowed_failures = count


def clients(dask_scheduler: Any) -> list[str]:
    return list(dask_scheduler.clients)


class Team:
    """The workers that may grade, within one connection to the scheduler."""

    def __init__(self, client: Client, job: Job) -> None:
        self.client, self.job = client, job
        self.probes: dict[str, Probe[dict[str, Any]]] = {}
        self.ready: set[str] = set()
        self.refused: dict[str, str] = {}  # and why
        self.tier = 0  # of all of them; set by the first that are there
        self.threads = ThreadPoolExecutor(8, thread_name_prefix="enrol")
        self.parts = worker.parts(job.folder)
        self.looked = 0.0

    def _probe(self, address: str) -> dict[str, Any]:
        living = self.client.run_on_scheduler(clients)
        job = (self.client.id, living, self.job.folder, self.job.private, self.job.unsafe)
        try:
            answer = self.client.run(worker.enrol, *job, workers=[address], on_error="return")[address]
        except GONE as error:
            answer = error
        if isinstance(answer, dict):
            return answer
        return {"failed": f"{type(answer).__name__}: {answer}"}

    def look(self, now: bool = False) -> None:
        """Take in workers that have come, and forget those that have gone."""
        if not now and time.monotonic() < self.looked + 2:
            return
        self.looked = time.monotonic()
        there = set(self.client.nthreads())
        self.ready &= there
        for address in there - set(self.probes):
            self.probes[address] = self.threads.submit(self._probe, address)
        self.probes = {address: probe for address, probe in self.probes.items() if address in there}
        if not self.tier:  # the strongest of those that are there decides
            all_of(self.probes.values(), timeout=300)
        answers = {
            a: p.result() for a, p in self.probes.items() if p.done() and a not in self.ready | set(self.refused)
        }
        wrong = {address: self._wrong(answer) for address, answer in answers.items()}
        self.tier = self.tier or min((answers[a]["tier"] for a in answers if not wrong[a]), default=0)
        for address, answer in answers.items():
            if not wrong[address] and answer["tier"] != self.tier:
                wrong[address] = f"gives tier {answer['tier']}, and the others tier {self.tier}; tiers are not mixed"
            if not wrong[address]:
                wrong[address] = self.client.sync(self._begin, address)
            if not wrong[address]:
                self.ready.add(address)
                continue
            self.refused[address] = wrong[address]
            tell(f"worker {answer.get('name', address)} ({address}) is refused: {wrong[address]}")

    def _wrong(self, answer: dict[str, Any]) -> str:
        """Why a worker may not grade; "" if it may."""
        if "failed" in answer:
            return f"{answer['failed']} (start it with the repository's Python, in the repository's root)"
        if answer.get("taken"):
            return "it grades for somebody else"
        for name, here in self.parts.items():
            if answer["parts"].get(name) != here:
                return f"{name} there is {answer['parts'].get(name)}, and {here} here: bring it to the same state"
        if answer["tier"] == 3 and not self.job.unsafe:
            return f"it isolates nothing\n{answer['found']}"
        return ""

    async def _begin(self, address: str) -> str:
        """Send the secret, from this process to the worker's."""
        try:
            return await getattr(self.client.rpc(address), worker.NAME)(job=self.job.letter(self.tier))
        except GONE as error:
            return f"it cannot be reached from here ({error!r}); the secret is sent to it directly"

    def dismiss(self) -> None:
        """End the sandboxes; the workers forget the secret."""
        with contextlib.suppress(*GONE):
            self.client.run_on_scheduler(allow_failures, None)
            self.client.run(worker.dismiss, self.client.id, workers=sorted(self.ready), on_error="ignore")


class Batch:
    """A batch on its way: what is still to be graded, and what has come back."""

    def __init__(self, job: Job, people: Sequence[batch.Submission], folder: Path, bar: Any) -> None:
        self.job, self.folder, self.bar, self.total = job, folder, bar, len(people)
        self.people = iter(people)
        self.again: deque[batch.Task] = deque()
        self.running: dict[Future, batch.Task] = {}
        self.losses: Counter[str] = Counter()
        self.graded = self.done = 0
        self.tier = 0
        self.alone_since = time.monotonic()

    def next(self) -> batch.Task | None:
        """The next submission that a worker has to grade."""
        if self.again:
            return self.again.popleft()
        for person in self.people:
            with here():
                task = batch.task_of(self.job.assignment, person, self.folder, self.job.only)
            if task is not None and not task.without:
                return task
            if task is not None:
                assert task.without
                self._keep(task, batch.ungraded(self.job.assignment, *task.without))
            else:
                self._count(False)
        return None

    def _keep(self, task: batch.Task, record: batch.Record, lasting: bool = True) -> None:
        with here():
            batch.keep(task, record, lasting)
        self._count(True)

    def _count(self, graded: bool) -> None:
        self.done += 1
        self.graded += graded
        filled = 30 * self.done // max(self.total, 1)
        self.bar.write(f"\r{'█' * filled}{'·' * (30 - filled)} {self.done}/{self.total}")
        self.bar.flush()

    def arrived(self, task: batch.Task, future: Future) -> bool:
        """Keep what came back for a submission; whether the worker is all right."""
        error = future.exception()
        outcome = future.result() if error is None else None
        if outcome is not None:
            self._keep(task, *outcome)
            return True
        if error is None:
            raise ConnectionError("a worker has been given to somebody else")
        self.losses[task.key] += 1
        if self.losses[task.key] < TRIES:
            self.again.append(task)
        else:
            why = f"{TRIES} workers were lost while they graded this; delete its record to have it tried again"
            tell(f"{task.submission.id}: {why}" + ("" if isinstance(error, KilledWorker) else f" ({error!r})"))
            self._keep(task, batch.ungraded(self.job.assignment, why, "not graded"))
        return False

    def serve(self, client: Client) -> None:
        """Grade until nothing is left; one of GONE if the scheduler is lost."""
        try:
            client.run_on_scheduler(allow_failures, 0)
        except ImportError as error:
            raise RuntimeError(f"the scheduler: {error}; start it in the repository's root, with its Python") from None
        team = Team(client, self.job)
        try:
            self._go(client, team)
        except GONE:
            self.again.extend(self.running.values())
            raise
        except BaseException:
            client.cancel(list(self.running))
            team.dismiss()
            raise
        else:
            team.dismiss()
        finally:
            self.running.clear()
            team.threads.shutdown(wait=False, cancel_futures=True)

    def _go(self, client: Client, team: Team) -> None:
        well = True
        while True:
            team.look(now=not well)
            self.tier, well = team.tier, True
            while len(self.running) < len(team.ready) * self._each() and (task := self.next()):
                self.running[self._send(client, task)] = task
            if self.running:
                self.alone_since = time.monotonic()
                with contextlib.suppress(TimeoutError):
                    for future in wait(list(self.running), timeout=2, return_when="FIRST_COMPLETED").done:
                        well &= self.arrived(self.running[future], future)
                        del self.running[future]
            elif task := self.next():  # but no worker
                self.again.appendleft(task)
                self._wait_for_workers(team)
            else:
                return

    def _each(self) -> int:
        """How many submissions a worker gets: one, as long as one of them has been there when a worker was lost."""
        return 1 if any(self.losses[task.key] for task in (*self.again, *self.running.values())) else AHEAD

    def _send(self, client: Client, task: batch.Task) -> Future:
        name = f"grade-{uuid.uuid4().hex}"  # says nothing of the student
        return client.submit(
            worker.task, worker.Unseen(task.work), key=name, resources={worker.RESOURCE: 1}, pure=False
        )

    def _wait_for_workers(self, team: Team) -> None:
        """RuntimeError when nobody is left to wait for."""
        probing = any(not probe.done() for probe in team.probes.values())
        if team.probes and not probing and not team.ready and set(team.probes) <= set(team.refused):
            raise RuntimeError("No worker may grade. Nothing more was graded; run the same command again to go on.")
        self.patient("no worker came")
        time.sleep(0.2)

    def patient(self, why: str) -> None:
        """RuntimeError when the wait has been long enough."""
        if time.monotonic() > self.alone_since + PATIENCE:
            raise RuntimeError(f"{why} in {PATIENCE:g} seconds; {self.done} of {self.total} are done. "
                               "Run the same command again to go on.")  # fmt: skip


def grade_all(
    job: Job, people: Sequence[batch.Submission], folder: Path, connect: Callable[[], Client], bar: Any = sys.stderr
) -> tuple[int, int]:
    """Grade whoever has no valid record in ``folder`` yet; how many were graded, and the tier.

    ``connect`` gives a client of the scheduler, also of one that has been started anew.
    """
    folder.mkdir(parents=True, exist_ok=True)
    work = Batch(job, people, folder, bar)
    try:
        while True:
            try:
                with connect() as client:
                    work.serve(client)
                return work.graded, work.tier
            except GONE as error:
                tell(f"connecting to the scheduler anew ({type(error).__name__}: {str(error).partition(chr(10))[0]})")
                work.patient("the scheduler did not answer")
                time.sleep(1)
    finally:
        bar.write("\n")


def connection(address: str, tls: Path | None) -> Callable[[], Client]:
    """What connects to a scheduler; ``tls`` is a folder with ca.pem, cert.pem and key.pem (default: Dask's configuration)."""
    security = None
    if tls:
        files = {name: tls / f"{name}.pem" for name in ("ca", "cert", "key")}
        if missing := [str(path) for path in files.values() if not path.is_file()]:
            raise ValueError(f"--tls: expected {', '.join(missing)}; see instructor/grading/cluster.md")
        ours = {"tls_client_cert": str(files["cert"]), "tls_client_key": str(files["key"])}
        security = Security(tls_ca_file=str(files["ca"]), require_encryption=True, **ours)
    kind, _, place = address.partition("://")
    if kind not in ("tcp", "tls") or not place:
        raise ValueError(f"--cluster: expected tls://host:port or tcp://host:port, got {address!r}")
    if kind == "tcp" and not _loopback(place.rpartition(":")[0]):
        tell("tcp:// is neither secret nor checked: whoever reaches these ports runs code on the workers and hears "
             "your secret. Use tls:// and --tls outside of a network that is yours alone.")  # fmt: skip
    return lambda: Client(address, security=security, timeout=30)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.contextmanager
def local(count: int) -> Iterator[Callable[[], Client]]:
    """A scheduler and ``count`` workers on this machine, with certificates that end with them."""
    quiet: dict[str, Any] = {
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
        "distributed.worker.profile.enabled": False,  # a hundred samples a second of what the worker's threads do
        "distributed.admin.tick.interval": "1s",
        "distributed.admin.system-monitor.interval": "5s",
    }
    options: dict[str, Any] = {"n_workers": count, "threads_per_worker": 1, "security": True, "protocol": "tls://"}
    with dask.config.set(quiet), LocalCluster(host="127.0.0.1", dashboard_address="127.0.0.1:0", **options) as cluster:
        yield lambda: Client(cluster.scheduler_address, security=cluster.security)
