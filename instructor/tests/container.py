"""Run a command as inside a container without user namespaces: ``python container.py AUTOGRADER COMMAND…``.

What Gradescope and Docker's default profile give: root with Docker's few capabilities, ``/autograder`` as documented by
Gradescope, and user namespaces disabled for good (the limit is set to 0, and nothing in here may raise it).
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
CAPABILITIES = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
]
SYSTEM = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc"]


def command(autograder: Path, inside: list[str]) -> list[str]:
    """The bubblewrap call that makes the container's file system and drops to Docker's capabilities."""
    seen = [*SYSTEM, sys.base_prefix, sys.prefix]
    folders = {str(folder): None for target in seen for folder in reversed(Path(target).parents)}
    wrap = ["bwrap", "--unshare-pid", "--unshare-ipc", "--die-with-parent"]
    wrap += [part for folder in folders for part in ("--perms", "0755", "--dir", folder)]
    wrap += [part for path in seen for part in ("--ro-bind-try", path, path)]
    wrap += ["--proc", "/proc", "--dev", "/dev"]
    wrap += [part for path in ("/tmp", "/var/tmp", "/dev/shm") for part in ("--perms", "1777", "--tmpfs", path)]
    wrap += ["--bind", str(autograder), "/autograder", "--setenv", "PYTHONPATH", "/autograder/source", "--chdir", "/"]
    wrap += ["--cap-drop", "ALL", *(part for name in CAPABILITIES for part in ("--cap-add", f"CAP_{name}"))]
    return [*wrap, "--", *inside]


def main(autograder: str, *inside: str) -> None:
    """Enter a user namespace that maps every user, disable further ones in it, and run the command."""
    ready, go = os.pipe(), os.pipe()
    if (child := os.fork()) == 0:
        assert LIBC.unshare(0x10000000) == 0, os.strerror(ctypes.get_errno())
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        LIBC.prctl(1, 9, 0, 0, 0)
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
        assert LIBC.unshare(0x10000000) < 0, "user namespaces are still to be had"
        wrap = command(Path(autograder), list(inside))
        os.execvp(wrap[0], wrap)
    LIBC.prctl(1, 9, 0, 0, 0)
    os.read(ready[0], 1)
    for kind in ("uid_map", "gid_map"):
        Path(f"/proc/{child}/{kind}").write_text("0 0 65536")
    os.write(go[1], b"x")
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
