"""The inner side of the sandbox: a process that has imported what notebooks use and forks once for each submission.

It never runs student code and holds no secret. On its control socket arrives ``start``, with the socket that the
student's process will answer on, ``within``, the time for the next cell or question, and ``stop``, after which no process,
file or shared memory of the submission is left.
Each submission runs as another user where this process is root; under bubblewrap (``tier`` 1) also in user, process,
IPC and mount namespaces of its own, which die whole. Run as ``python -m inside.executor '{…}'``.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MB = 2**20
PROCESSES = 128  # and threads
DISK = 512  # MB in files of a submission
# What would give memory outside the limits, state that outlives the process, other processes, more of the kernel, or
# less of the processor than it seems to take (a submission pays for its own time).
DENIED = (
    "unshare", "setns", "mount", "fsopen", "open_tree", "mount_setattr", "memfd_create", "memfd_secret", "shmget", "msgget",
    "semget", "mq_open", "add_key", "request_key", "keyctl", "ptrace", "process_vm_readv", "process_vm_writev", "userfaultfd",
    "io_uring_setup", "bpf", "perf_event_open", "setpriority", "sched_setscheduler", "sched_setattr",
)  # fmt: skip
EPERM, ENOSYS, ALLOW = 0x00050001, 0x00050026, 0x7FFF0000  # what libseccomp calls SCMP_ACT_ERRNO(…), SCMP_ACT_ALLOW
NOT_EQUAL, MASKED_EQUAL = 1, 7
libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *args: Any) -> None:
    """A libc function that returns 0 or more; OSError otherwise."""
    if getattr(libc, name)(*args) < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def prctl(option: int, value: int, pointer: Any = None) -> None:
    call("prctl", option, ctypes.c_ulong(value), pointer, ctypes.c_ulong(0), ctypes.c_ulong(0))


class Comparison(ctypes.Structure):
    """libseccomp's ``scmp_arg_cmp``: a system call's argument compared with a value, or under a mask."""

    _fields_ = (("arg", ctypes.c_uint), ("how", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def seccomp() -> Callable[[], None]:
    """What refuses the system calls of DENIED, sockets other than Unix ones and new user namespaces from its call on.

    OSError where libseccomp cannot do so; the doctor then says that submissions do not run here.
    """
    lib = ctypes.CDLL("libseccomp.so.2")  # apt install libseccomp2
    lib.seccomp_init.restype = ctypes.c_void_p
    lib.seccomp_init.argtypes = [ctypes.c_uint32]
    lib.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_void_p,
    ]
    lib.seccomp_load.argtypes = [ctypes.c_void_p]
    rules = lib.seccomp_init(ALLOW)

    def refuse(name: str, action: int = EPERM, *comparisons: tuple[int, int, int, int]) -> None:
        number = lib.seccomp_syscall_resolve_name(name.encode())
        where = (Comparison * len(comparisons))(*(Comparison(*c) for c in comparisons))
        if number != -1 and (error := lib.seccomp_rule_add_array(rules, action, number, len(comparisons), where)):
            raise OSError(-error, f"seccomp: {name}: {os.strerror(-error)}")

    for name in DENIED:
        refuse(name)
    refuse("clone3", ENOSYS)
    refuse("socket", EPERM, (0, NOT_EQUAL, socket.AF_UNIX, 0))
    refuse("clone", EPERM, (0, MASKED_EQUAL, 0x10000000, 0x10000000))

    def load() -> None:
        if error := lib.seccomp_load(rules):
            raise OSError(-error, f"seccomp: {os.strerror(-error)}")

    return load


def limits(memory: int) -> None:
    """Limits of a student's process: address space, processes, open files, file size, no core."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for which, value in (
        (resource.RLIMIT_AS, used + memory * MB),
        (resource.RLIMIT_NPROC, PROCESSES),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_FSIZE, 64 * MB),
        (resource.RLIMIT_CORE, 0),
    ):
        spare = 16 if which == resource.RLIMIT_NPROC else 0  # for the forks that answer questions
        resource.setrlimit(which, (value, value + spare))


def become(uid: int) -> None:
    """Give up root for good (nothing to do for whoever is not root)."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def own_namespaces() -> None:
    """User, process, IPC and mount namespaces for what this process forks next, with empty /tmp and /dev/shm."""
    uid, gid = os.getuid(), os.getgid()
    prctl(4, 1)  # dumpable, or /proc/self belongs to root
    call("unshare", 0x10000000 | 0x20000000 | 0x08000000 | 0x00020000)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    for place in (b"/tmp", b"/dev/shm"):
        call("mount", b"tmpfs", place, b"tmpfs", 6, b"size=64m,mode=1777")
    prctl(4, 0)


class Executor:
    """Starts and stops submissions, one at a time; ``tier`` and ``uid`` as the module says, ``memory`` in MB."""

    def __init__(self, tier: int, uid: int, memory: int) -> None:
        self.tier, self.memory = tier, memory
        self.uid = uid if os.getuid() == 0 and tier < 3 else os.getuid()
        self.child = self.session = self.victim = 0
        self.home = ""
        self.baseline = _status(os.getpid())[1]
        self.shared_places = _writable_places() if tier == 2 else []
        self.refuse_calls = seccomp() if tier < 3 else lambda: None
        self.clock, self.looked, self.end, self.most = 0.0, 0.0, 0.0, 0.0
        self.since = 0.0  # the last ``within``
        self.last: dict[int, tuple[float, float]] = {}
        self.over = ""  # why the submission was ended
        self.free = 0

    def start(self, channel: socket.socket, control: socket.socket, most: float) -> None:
        """Fork the student's process; it answers on ``channel``, for ``most`` seconds of its own clock."""
        self.clock, self.since, self.looked, self.most, self.end = 0.0, 0.0, time.monotonic(), most, most
        self.last, self.over = {os.getpid(): (0.0, _times(os.getpid())[1])}, ""
        if self.tier > 1:
            self.home = tempfile.mkdtemp(prefix="submission-")
            os.chown(self.home, self.uid, -1)
            self.free = _free(self.home)
        told, tell = os.pipe()
        self.child = self.session = os.fork()
        if self.child == 0:
            try:
                control.close()
                os.close(told)
                os.setsid()
                become(self.uid)
                prctl(1, signal.SIGKILL)  # with the executor
                if self.tier == 1:
                    own_namespaces()
                self._student(channel, tell)
            finally:
                os._exit(1)
        os.close(tell)
        self.victim = int.from_bytes(os.read(told, 8), "big")
        os.close(told)
        if not self.victim:
            raise OSError("a submission could not be started in namespaces of its own")

    def _student(self, channel: socket.socket, tell: int) -> None:
        if self.tier > 1:
            os.write(tell, os.getpid().to_bytes(8, "big"))
        elif first := os.fork():
            os.write(tell, first.to_bytes(8, "big"))
            channel.close()
            os.waitpid(first, 0)
            return
        elif student := os.fork():  # the first of a namespace ignores limits on time: that is not the student's
            os.close(tell)
            channel.close()
            while os.wait()[0] != student:
                pass
            return
        os.close(tell)
        prctl(38, 1)  # no new privileges
        prctl(1, signal.SIGKILL)
        prctl(36, 1)  # orphans become this process's children
        if self.tier == 1:
            call("capset", struct.pack("Ii", 0x20080522, 0), bytes(24))
        limits(self.memory)
        home = self.home or "/tmp/home"
        os.makedirs(home, exist_ok=True)
        os.chdir(home)
        os.environ.update(HOME=home, TMPDIR=home)
        tempfile.tempdir = None
        null = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(null, stream)
        self.refuse_calls()
        from . import notebook

        notebook.serve(channel)

    def living(self) -> dict[int, int]:
        """The submission's processes, with the memory in MB that each has beyond this process's own."""
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        if self.tier == 3:
            pids = [pid for pid in pids if self.session and _session(pid) == self.session]
        used = {pid: _status(pid) for pid in pids if pid not in (1, os.getpid())}
        return {pid: max(mb - self.baseline, 0) for pid, (uid, mb) in used.items() if uid == self.uid}

    def watch(self) -> None:
        """End the submission if its processes together use too much memory, time or disk.

        Its clock shows what it would on a machine of its own: it stands while the submission, or this process, waits for a
        core. But it never goes twenty times slower than the others.
        """
        if not self.child or self.over:
            return
        now, living, ran, waited = time.monotonic(), self.living(), 0.0, 0.0
        for pid in (*living, os.getpid()):
            spent = _times(pid) if pid in living else (0.0, _times(pid)[1])
            before = self.last.get(pid, (0.0, 0.0))
            ran, waited = ran + max(spent[0] - before[0], 0), waited + max(spent[1] - before[1], 0)
            self.last[pid] = spent
        passed, self.looked = now - self.looked, now
        self.clock += max(ran, passed - waited, passed / 20)
        if sum(living.values()) > self.memory:
            self.over = "memory"
        elif self.clock > min(self.end, self.most):
            self.over = "time"
        elif self.tier > 1 and self.free - _free(self.home) > DISK and self._files() > DISK:
            self.over = "disk"
        if self.over:
            self.kill()

    def _files(self) -> int:
        """MB in the submission's files."""
        places = [
            self.home,
            *(os.path.join(p, n) for p in self.shared_places for n in os.listdir(p) if _owner(p, n) == self.uid),
        ]
        told = subprocess.run(["du", "-smc", "--", *places], capture_output=True, text=True, check=False).stdout
        return int(told.splitlines()[-1].split()[0]) if told else 0

    def kill(self) -> None:
        """SIGKILL to every process of the submission at once, so that none can fork away."""
        if self.tier == 1:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.victim, signal.SIGKILL)  # the first of its process namespace: all in it go along
        elif self.tier == 2 and (killer := os.fork()) == 0:
            try:
                become(self.uid)
                os.kill(-1, signal.SIGKILL)
            finally:
                os._exit(0)
        elif self.tier == 2:
            os.waitpid(killer, 0)
        else:
            for pid in self.living():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def stop(self) -> bool:
        """End the submission and remove what it left; whether nothing of it remains."""
        if not self.child:
            return True
        deadline = time.monotonic() + 10
        while True:
            self.kill()
            if self.child and os.waitpid(self.child, os.WNOHANG)[0]:
                self.child = 0
            if not self.child and not self.living():
                break
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        self.sweep()
        _remove([self.home] if self.home else [])
        return not self.home or not os.path.exists(self.home)

    def sweep(self) -> None:
        """Remove what the submission's user left where anyone may write."""
        for place in self.shared_places:
            _remove([os.path.join(place, name) for name in os.listdir(place) if _owner(place, name) == self.uid])


def _status(pid: int) -> tuple[int, int]:
    """A process's user, and its memory that no file backs in MB; -1 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return -1, 0
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    mb = sum(int(fields.get(name, "0 kB").split()[0]) for name in ("RssAnon", "RssShmem")) // 1024
    return int(fields["Uid"].split()[0]), mb


def _times(pid: int) -> tuple[float, float]:
    """Seconds that a process and its dead children have run, and that its threads have waited for a core."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        threads = [Path(f"/proc/{pid}/task/{name}/schedstat") for name in os.listdir(f"/proc/{pid}/task")]
        waited = sum(int(thread.read_text().split()[1]) for thread in threads if thread.exists()) / 1e9
    except (OSError, IndexError):
        return 0.0, 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK"), waited


def _free(place: str) -> int:
    told = os.statvfs(place)
    return told.f_bavail * told.f_frsize // MB


def _owner(place: str, name: str) -> int:
    try:
        return os.lstat(os.path.join(place, name)).st_uid
    except OSError:
        return -1


def _remove(paths: list[str]) -> None:
    """Remove files and trees, however deep: Python's own way there goes no deeper than its stack."""
    if paths:
        subprocess.run(["rm", "-rf", "--one-file-system", "--", *paths], stderr=subprocess.DEVNULL, check=False)


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def _writable_places() -> list[str]:
    """Directories on this machine in which anyone may create files."""
    places = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, root, kind, options = line.split()[:4]
        if "ro" in options.split(",") or kind in ("proc", "sysfs", "cgroup", "cgroup2", "devpts"):
            continue
        for directory, below, _ in os.walk(root.encode().decode("unicode_escape")):
            places += [directory] if os.lstat(directory).st_mode & 0o002 else []
            below[:] = [name for name in below if not os.path.ismount(os.path.join(directory, name))]
    return places


def main(tier: int, uid: int, memory: int, control: int) -> None:
    """Import, report readiness, then obey the control socket until it closes."""
    if sys.platform == "linux":
        prctl(1, signal.SIGKILL)  # die with the parent
        prctl(4, 0)  # not dumpable: a submission of the same user reads nothing here
    import labs

    for name in ("matplotlib.pyplot", "sympy", "torch", f"{__package__}.notebook"):
        importlib.import_module(name)
    for module in pkgutil.iter_modules(labs.__path__):
        importlib.import_module(f"labs.{module.name}")
    gc.collect()
    gc.freeze()
    executor = Executor(tier, uid, memory)
    if tier == 2:  # what an executor before this one, killed, has left
        executor.kill()
        executor.sweep()
    sock = socket.socket(fileno=control)
    sock.send(b'{"ready": true}')
    while True:
        if time.monotonic() - executor.looked > 0.1:
            executor.watch()
        if not select.select([sock], [], [], 0.1)[0]:
            continue
        raw, received, _, _ = socket.recv_fds(sock, 4096, 1)
        if not raw:
            executor.stop()
            return
        command = json.loads(raw)
        if "start" in command:
            with socket.socket(fileno=received[0]) as channel:
                executor.start(channel, sock, command["start"])
            sock.send(b'{"started": true}')
        elif "within" in command:
            executor.watch()
            executor.since, executor.end = executor.clock, executor.clock + command["within"]
        else:
            executor.watch()
            told = {"why": executor.over, "clock": executor.clock, "unit": executor.clock - executor.since}
            sock.send(json.dumps({"clean": executor.stop()} | told).encode())


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
