"""The inner side of the sandbox: a process that has imported what notebooks use and forks once for each submission.

It never runs student code and holds no secret. On its control socket arrives ``start``, with the socket that the
student's process will answer on, and ``stop``, after which no process, file or shared memory of the submission is left.
Each submission runs as another user where this process is root; under bubblewrap (``tier`` 1) also in user, process,
IPC and mount namespaces of its own, which die whole. Run as ``python -m instructor.grading.executor '{…}'``.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import platform
import resource
import select
import shutil
import signal
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MB = 2**20
# What would give memory outside the limits, state that outlives the process, other processes, or more of the kernel.
# Numbers: x86_64, aarch64.
DENIED = {
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "fsopen": (430, 430), "open_tree": (428, 428),
    "mount_setattr": (442, 442), "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194),
    "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "bpf": (321, 280), "perf_event_open": (298, 241),
}  # fmt: skip
ABI = {"x86_64": (0, 0xC000003E, 41, 56), "aarch64": (1, 0xC00000B7, 198, 220)}  # column, audit, socket, clone
libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *args: Any) -> None:
    """A libc function that returns 0 or more; OSError otherwise."""
    if getattr(libc, name)(*args) < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def prctl(option: int, value: int, pointer: Any = None) -> None:
    call("prctl", option, ctypes.c_ulong(value), pointer, ctypes.c_ulong(0), ctypes.c_ulong(0))


def seccomp() -> None:
    """Refuse the system calls of DENIED, sockets other than Unix ones and new user namespaces, from here on."""
    if platform.machine() not in ABI:
        return  # the doctor's probes then say what is not kept
    column, audit, socket_number, clone = ABI[platform.machine()]
    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    refuse = struct.pack("HBBI", give, 0, 0, 0x00050001)  # EPERM
    program = [struct.pack("HBBI", load, 0, 0, 4), struct.pack("HBBI", equal, 1, 0, audit), refuse]
    program += [struct.pack("HBBI", load, 0, 0, 0), struct.pack("HBBI", at_least, 0, 1, 0x40000000), refuse]
    for numbers in DENIED.values():
        program += [struct.pack("HBBI", equal, 0, 1, numbers[column]), refuse]
    program += [struct.pack("HBBI", equal, 0, 1, 435), struct.pack("HBBI", give, 0, 0, 0x00050026)]  # clone3: ENOSYS
    program += [struct.pack("HBBI", equal, 0, 3, socket_number), struct.pack("HBBI", load, 0, 0, 16)]
    program += [struct.pack("HBBI", equal, 1, 0, socket.AF_UNIX), refuse]
    program += [struct.pack("HBBI", load, 0, 0, 0), struct.pack("HBBI", equal, 0, 3, clone)]
    program += [struct.pack("HBBI", load, 0, 0, 16), struct.pack("HBBI", any_bit, 0, 1, 0x10000000), refuse]
    program += [struct.pack("HBBI", give, 0, 0, 0x7FFF0000)]  # allow
    code = ctypes.create_string_buffer(b"".join(program))
    prctl(22, 2, struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code)))  # PR_SET_SECCOMP, filter


def limits(memory: int) -> None:
    """Limits of a student's process: address space, processes, open files, file size, no core."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for which, value in (
        (resource.RLIMIT_AS, used + memory * MB),
        (resource.RLIMIT_NPROC, 64),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_FSIZE, 64 * MB),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(which, (value, value))


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
        self.baseline = self._anonymous(os.getpid())
        self.shared_places = _writable_places() if tier == 2 else []

    def start(self, channel: socket.socket, control: socket.socket) -> None:
        """Fork the student's process; it answers on ``channel``."""
        if self.tier > 1:
            self.home = tempfile.mkdtemp(prefix="submission-")
            os.chown(self.home, self.uid, -1)
        told, tell = os.pipe()
        self.child = self.session = os.fork()
        if self.child == 0:
            try:
                control.close()
                os.close(told)
                os.setsid()
                become(self.uid)
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
        pid = os.fork()
        if pid:
            os.write(tell, pid.to_bytes(8, "big"))
            channel.close()
            os.waitpid(pid, 0)
            return
        os.close(tell)
        prctl(38, 1)  # no new privileges
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
        if self.tier < 3:
            seccomp()
        from instructor.grading import notebook

        notebook.serve(channel)

    def _anonymous(self, pid: int) -> int:
        """Memory of a process that no file backs, in MB; -1 if it is gone or another user's."""
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            return -1
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        if int(fields["Uid"].split()[0]) != self.uid and pid != os.getpid():
            return -1
        return sum(int(fields.get(name, "0 kB").split()[0]) for name in ("RssAnon", "RssShmem")) // 1024

    def living(self) -> dict[int, int]:
        """The submission's processes, with the memory in MB that each has beyond this process's own."""
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        used = {pid: self._anonymous(pid) for pid in pids if pid not in (1, os.getpid())}
        if self.tier == 3:
            used = {pid: mb for pid, mb in used.items() if self.session and _session(pid) == self.session}
        return {pid: max(mb - self.baseline, 0) for pid, mb in used.items() if mb >= 0}

    def watch(self) -> None:
        """End the submission if its processes together use too much memory."""
        if self.child and sum(self.living().values()) > self.memory:
            self.kill()

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
        for place in self.shared_places:
            _remove_of(self.uid, place)
        shutil.rmtree(self.home, ignore_errors=True)
        return not self.home or not os.path.exists(self.home)


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


def _remove_of(uid: int, place: str) -> None:
    for entry in os.scandir(place):
        if entry.stat(follow_symlinks=False).st_uid == uid:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)


def main(tier: int, uid: int, memory: int, control: int) -> None:
    """Import, report readiness, then obey the control socket until it closes."""
    if sys.platform == "linux":
        prctl(1, signal.SIGKILL)  # die with the parent
        prctl(4, 0)  # not dumpable: a submission of the same user reads nothing here
    import labs

    for name in ("matplotlib.pyplot", "sympy", "torch", "instructor.grading.notebook"):
        importlib.import_module(name)
    for module in pkgutil.iter_modules(labs.__path__):
        importlib.import_module(f"labs.{module.name}")
    gc.collect()
    gc.freeze()
    executor = Executor(tier, uid, memory)
    sock = socket.socket(fileno=control)
    sock.send(b'{"ready": true}')
    while True:
        if not select.select([sock], [], [], 0.1)[0]:
            executor.watch()
            continue
        command, received, _, _ = socket.recv_fds(sock, 4096, 1)
        if not command:
            executor.stop()
            return
        if command == b"start":
            with socket.socket(fileno=received[0]) as channel:
                executor.start(channel, sock)
            sock.send(b'{"started": true}')
        else:
            sock.send(json.dumps({"clean": executor.stop()}).encode())


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
