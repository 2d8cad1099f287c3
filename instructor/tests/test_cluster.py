"""Grading on several machines: the same bytes as on one, whatever happens to workers and scheduler."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import psutil
import pytest
from distributed import Client
from distributed.security import Security
from support import missing, until

from instructor.grading import batch, cluster, report, worker
from instructor.grading.sandbox import FIRST_UID, ROOT, Sandbox
from instructor.grading.submissions import Submission
from instructor.tests.notebooks import BLANK, RIGHT, WRONG, saved

HERE = Path(__file__).parent
SECRET = b"a secret for tests that occurs nowhere else"
pytestmark = pytest.mark.xdist_group("grading")


@pytest.fixture(autouse=True, scope="module")
def isolated() -> None:
    if Path(sys.prefix).is_relative_to("/tmp"):
        missing("an environment outside /tmp", "Submissions see a /tmp of their own: clone the repository elsewhere.")


def assignment(name: str) -> batch.Assignment:
    return batch.Assignment(name, SECRET, HERE / name, salt="test")


def handed_in(folder: Path, notebooks: list[bytes]) -> list[Submission]:
    folder.mkdir()
    people = []
    for k, raw in enumerate(notebooks):
        (folder / f"s{k}.ipynb").write_bytes(raw)
        people.append(Submission(f"s{k}", f"s{k}", path=folder / f"s{k}.ipynb"))
    return people


def on_one_machine(
    of: batch.Assignment, people: list[Submission], folder: Path, pool: Sequence[Sandbox] = ()
) -> dict[str, bytes]:
    batch.grade_all(of, people, folder, pool or [Sandbox(1, 40), Sandbox(1, 41)], io.StringIO())
    return tree(folder)


def tree(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.glob("s*.json"))}


@contextlib.contextmanager
def beside(function, *arguments) -> Iterator[list]:
    """Run in a thread, so that the test can do harm meanwhile; the list holds the result, or the error, afterwards."""
    result: list = []

    def run() -> None:
        try:
            result.append(function(*arguments))
        except BaseException as error:
            result.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield result
    finally:
        thread.join(900)
    assert result, "it never ended"


@pytest.mark.slow
def test_a_worker_gives_the_bytes_of_one_machine(
    walled: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walled, "close", lambda: None)  # a batch ends its sandboxes; others go on with this one
    people = handed_in(tmp_path / "in", [saved(RIGHT), saved(WRONG), b"no notebook"])
    expected = on_one_machine(assignment("small"), people, tmp_path / "one", [walled])
    job, folder = cluster.Job(assignment("small"), private=[str(tmp_path)]), tmp_path / "many"
    with cluster.local(1) as connect:
        assert cluster.grade_all(job, people, folder, connect, io.StringIO()) == (3, 1)
    assert tree(folder) == expected


@pytest.mark.rehearsal
def test_a_killed_worker_costs_nothing(tmp_path: Path) -> None:
    """Two workers of this machine, one killed: the same bytes as from one machine, and none graded twice."""
    slow = saved([*RIGHT, "import time\ntime.sleep(1)"])
    people = handed_in(tmp_path / "in", [saved(RIGHT), slow, saved(WRONG), saved(BLANK), slow, b"no notebook"])
    expected = on_one_machine(assignment("small"), people, tmp_path / "one")
    folder = tmp_path / "many"
    with cluster.local(2) as connect:
        with connect() as client:
            pids = list(client.run(os.getpid).values())
        job = cluster.Job(assignment("small"), private=[str(tmp_path)])
        with beside(cluster.grade_all, job, people, folder, connect, io.StringIO()) as result:
            until("the first record", lambda: folder.exists() and tree(folder))
            os.kill(pids[0], signal.SIGKILL)
            had = {name: (folder / name).stat().st_mtime_ns for name in tree(folder)}
        assert result == [(6, 1)]
        assert tree(folder) == expected
        assert had == {name: (folder / name).stat().st_mtime_ns for name in had}
        assert cluster.grade_all(job, people, folder, connect, io.StringIO())[0] == 0
        with connect() as client:  # nothing of the secret stays behind
            left = client.run(lambda dask_worker: list(dask_worker.plugins))
        assert left and not any(worker.NAME in names for names in left.values())


@contextlib.contextmanager
def started(log: Path, *command: str | Path, again: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """A command in a session of its own, begun anew whenever it ends (``again``), and ended whole."""
    words = [str(word) for word in command]
    shell = ["sh", "-c", 'while :; do "$@"; sleep 0.2; done', "sh", *words] if again else words
    shell = ["setpriv", "--pdeathsig", "KILL", *shell]  # also when this process is killed
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *filter(None, sys.path[1:]))))}
    env["DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES"] = env["DASK_DISTRIBUTED__WORKER__HTTP__ROUTES"] = "[]"
    with log.open("ab") as out:
        process = subprocess.Popen(shell, env=env, cwd=ROOT, stdout=out, stderr=out, start_new_session=True)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


PAGE = ROOT / "instructor" / "grading" / "cluster.md"


def certificates(folder: Path) -> list[str]:
    """Made by the page's own commands; the options that give them to Dask."""
    [commands] = re.findall(r"```console\n(openssl[^`]+)```", PAGE.read_text("utf8"))
    folder.mkdir()
    subprocess.run(commands, shell=True, check=True, cwd=folder, capture_output=True)
    return [
        *("--protocol", "tls", "--tls-ca-file", f"{folder}/ca.pem"),
        *("--tls-cert", f"{folder}/cert.pem", "--tls-key", f"{folder}/key.pem"),
    ]


def memory_of(pid: int) -> Iterator[bytes]:
    """What a process holds in its memory, piece by piece."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for line in maps:
            start, end = (int(x, 16) for x in line.split()[0].split("-"))
            if "rw" in line.split()[1]:
                with contextlib.suppress(OSError, ValueError, OverflowError):
                    mem.seek(start)
                    yield mem.read(end - start)


def tasks(dask_scheduler: Any) -> list[bytes]:
    """What the scheduler holds of each task."""
    return [cloudpickle.dumps(task.run_spec) for task in dask_scheduler.tasks.values()]


def refused(port: int, ours: Path, others: Path) -> None:
    """Nobody without a certificate of this authority reaches the scheduler."""
    bare = ssl.create_default_context(cafile=str(ours / "ca.pem"))
    bare.check_hostname = False
    with socket.create_connection(("127.0.0.1", port), 60) as raw, contextlib.suppress(ssl.SSLError, ConnectionError):
        with_none = bare.wrap_socket(raw)
        assert not with_none.recv(1)  # whom it takes in it greets; with TLS 1.3 a refusal is the first answer
    files = {"tls_client_cert": str(others / "cert.pem"), "tls_client_key": str(others / "key.pem")}
    for kind, ca in (("tls", ours), ("tls", others), ("tcp", ours)):
        theirs = Security(tls_ca_file=str(ca / "ca.pem"), require_encryption=kind == "tls", **files)
        with pytest.raises(OSError):
            Client(f"{kind}://127.0.0.1:{port}", security=theirs, timeout=8).close()


def reached(connect: Callable[[], Client]) -> Client:
    """A client, as soon as the scheduler is there."""
    clients: list[Client] = []

    def holds() -> bool:
        with contextlib.suppress(OSError):
            clients.append(connect())
        return bool(clients)

    until("the scheduler", holds)
    return clients[0]


@pytest.mark.rehearsal
def test_who_is_let_in_and_what_a_task_holds(tmp_path: Path) -> None:
    people, folder = handed_in(tmp_path / "in", [saved(RIGHT)]), tmp_path / "many"
    tls = certificates(tmp_path / "tls")
    certificates(tmp_path / "others")
    scheduler = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "18788"]
    work = cluster.Batch(cluster.Job(assignment("small")), people, folder, io.StringIO())
    with started(tmp_path / "log", *scheduler, "--dashboard-address", ":0", *tls):
        with reached(cluster.connection("tls://127.0.0.1:18788", tmp_path / "tls")) as client:
            one = work.next()
            assert one
            sent = work._send(client, one)
            until("its task", lambda: client.run_on_scheduler(tasks))
            [held] = client.run_on_scheduler(tasks)
            assert sent.key.startswith("grade-") and people[0].id not in sent.key
            assert b"np.tanh(W @ h)" in held and SECRET not in held  # the student's code travels, and no secret
        refused(18788, tmp_path / "tls", tmp_path / "others")
    assert SECRET.decode() not in (log := (tmp_path / "log").read_text()) and "np.tanh" not in log


@pytest.mark.rehearsal
def test_tls_a_scheduler_begun_anew_and_where_the_secret_is(tmp_path: Path) -> None:
    if os.getuid():
        missing("root", "Run as root: the test reads the memory of other processes.")
    slow = saved([*RIGHT, "import time\ntime.sleep(0.5)\nsaid = 'a word of a student'"])
    people = handed_in(tmp_path / "in", [slow if k % 2 else saved(WRONG) for k in range(12)])
    expected = on_one_machine(assignment("small"), people, tmp_path / "one")
    tls, dask, folder = certificates(tmp_path / "tls"), [sys.executable, "-m", "dask"], tmp_path / "many"
    job = cluster.Job(assignment("small"), private=[str(tmp_path)])
    connect = cluster.connection("tls://127.0.0.1:18786", tmp_path / "tls")
    scheduler = [*dask, "scheduler", "--host", "127.0.0.1", "--port", "18786", "--dashboard-address", ":0", *tls]
    workers = [*dask, "worker", "tls://127.0.0.1:18786", "--nworkers", "2", "--nthreads", "1", *tls[2:]]
    with (
        started(tmp_path / "workers.log", *workers, again=True) as hosts,
        beside(cluster.grade_all, job, people, folder, connect, io.StringIO()) as result,
    ):
        with started(tmp_path / "scheduler.log", *scheduler) as first:
            until("the first records", lambda: folder.exists() and len(tree(folder)) > 2)
            assert not any(SECRET in piece for piece in memory_of(first.pid))
            below = psutil.Process(hosts.pid).children(recursive=True)
            graders = [p for p in below if "spawn_main" in " ".join(p.cmdline())]
            assert any(SECRET in piece for p in graders for piece in memory_of(p.pid))  # one would see it
        had = {name: (folder / name).stat().st_mtime_ns for name in tree(folder)}
        assert len(had) < 12
        with started(tmp_path / "scheduler.log", *scheduler):
            until("the rest", lambda: result, 600)
    assert result == [(12, 1)]
    assert tree(folder) == expected
    assert had == {name: (folder / name).stat().st_mtime_ns for name in had}
    logs = (tmp_path / "workers.log").read_text() + (tmp_path / "scheduler.log").read_text()
    assert SECRET.decode() not in logs and "a word of a student" not in logs


@pytest.mark.rehearsal
def test_what_ends_two_workers_is_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = [["answer = 'harmless'"], ["answer = 'deadly'"], ["answer = 'harmless'"], ["answer = 'wrong'"]]
    people = handed_in(tmp_path / "in", [saved(c) for c in cells])
    folder, job = tmp_path / "many", cluster.Job(assignment("deadly"))
    with cluster.local(2) as connect:
        assert cluster.grade_all(job, people, folder, connect, io.StringIO()) == (4, 1)
        records = {p.id: batch.load(folder / f"{p.id}.json") for p in people}
        assert [r["results"][0]["points"] for r in records.values() if r] == [1, None, 1, 0]
        assert records["s1"] and records["s1"]["results"][0]["state"] == "not graded"
        assert "2 workers were lost" in records["s1"]["notes"][0] and "s1: 2 workers" in capsys.readouterr().err
        assert not any(r["notes"] for name, r in records.items() if r and name != "s1")
        assert report.settle(records["s1"], [], 0)["state"] == report.PERSON
        assert cluster.grade_all(job, people, folder, connect, io.StringIO())[0] == 0  # nor is it tried again


@pytest.mark.rehearsal
def test_a_worker_that_isolates_nothing_or_differs_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    people = handed_in(tmp_path / "in", [saved(RIGHT), saved(WRONG)])
    dask = [sys.executable, "-m", "dask"]
    connect = cluster.connection("tcp://127.0.0.1:18787", None)
    scheduler = [*dask, "scheduler", "--host", "127.0.0.1", "--port", "18787", "--dashboard-address", ":0"]
    a_worker = [*dask, "worker", "tcp://127.0.0.1:18787", "--nthreads", "1", "--name"]
    bare = ["env", "PATH=/nowhere", *a_worker, "bare"]
    # Without bubblewrap; and as root the checks, which everybody may read here, keep it from tier 2.
    with started(tmp_path / "log", *scheduler), started(tmp_path / "log", *bare):
        with connect() as client:
            client.wait_for_workers(1, 120)
        with pytest.raises(RuntimeError, match="No worker may grade"):
            cluster.grade_all(cluster.Job(assignment("small")), people, tmp_path / "many", connect, io.StringIO())
        said = capsys.readouterr().err
        assert "worker bare (tcp://" in said and "isolates nothing" in said and "chosen: tier 3" in said
        assert tree(tmp_path / "many") == {}
        with started(tmp_path / "log", *a_worker, "walled"):
            with connect() as client:
                client.wait_for_workers(2, 120)
            job = cluster.Job(assignment("small"))
            assert cluster.grade_all(job, people, tmp_path / "many", connect, io.StringIO()) == (2, 1)
            there = worker.parts(job.folder)
            monkeypatch.setattr(worker, "parts", lambda folder: there | {"numpy": "1.0"})
            (tmp_path / "many" / "s0.json").unlink()
            with pytest.raises(RuntimeError, match="No worker may grade"):
                cluster.grade_all(job, people, tmp_path / "many", connect, io.StringIO())
            assert "worker walled" in (said := capsys.readouterr().err) and "numpy there is" in said


def test_bad_addresses_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="expected tls://host:port"):
        cluster.connection("scheduler:8786", None)
    with pytest.raises(ValueError, match=r"ca\.pem"):
        cluster.connection("tls://scheduler:8786", tmp_path)
    cluster.connection("tcp://127.0.0.1:8786", None)
    assert not capsys.readouterr().err
    cluster.connection("tcp://scheduler:8786", None)
    assert "Use tls://" in capsys.readouterr().err


def test_a_submission_on_its_way_prints_nothing() -> None:
    assert "student" not in repr(worker.Unseen(["a student's code"]))


def test_workers_of_one_host_have_users_of_their_own() -> None:
    (one, first), (two, second) = worker.claim(), worker.claim()
    assert first and second and one != two and min(one, two) + FIRST_UID > FIRST_UID + 99
    first.close()
    three, third = worker.claim()
    assert third and three == one
    second.close()
    third.close()


@pytest.mark.parametrize("part", ["0/3", "4/3", "x", "1", "1/0"])
def test_a_bad_shard_says_so(part: str) -> None:
    with pytest.raises(ValueError, match="--shard"):
        batch.shard([], part)


def test_shards_are_all_and_share_nothing() -> None:
    people = [Submission(f"s{k}", f"s{k}") for k in range(100)]
    parts = [batch.shard(people, f"{k}/3") for k in (1, 2, 3)]
    assert sorted(p.id for part in parts for p in part) == sorted(p.id for p in people) and all(parts)
