"""What this machine can promise: probes that run as a student's code would, in each tier's sandbox."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from instructor.grading import checks
from instructor.grading.sandbox import ROOT, Sandbox, Session

PROBES = """
import os, signal, socket
def readable(path): return os.access(path, os.R_OK)
def writable(path): return os.access(path, os.W_OK)
def network(): return socket.socket(socket.AF_INET).fileno() >= 0
def signals(pid): os.kill(pid, 0); return True
def ids(): return os.getuid()
def memory(): return len(bytearray(50 * 10**9))
def bigfile(): return open("big", "wb").truncate(10**9)
def forks():
    for _ in range(400):
        if os.fork() == 0: signal.pause()
    return True
"""


def promises(tier: int, secrets: Sequence[Path], wrapper: Sequence[str] = (), slot: int = 0) -> dict[str, bool]:
    """Each promise of a tier and whether it holds here; empty if the tier cannot run at all."""
    if (tier == 1 and not shutil.which("bwrap")) or (tier == 2 and os.getuid() and not wrapper):
        return {}
    home = Path.home()
    # Generous: each probe takes milliseconds, and a machine under load must not look like one without isolation.
    sandbox = Sandbox(tier, slot, seconds=60, wrapper=wrapper)
    kept: dict[str, bool] = {}
    try:
        with Session(sandbox, [PROBES]) as student:

            def refused(*request: object) -> bool:
                try:
                    student.begin("probe")
                    return student.call(*request) is False  # type: ignore[arg-type]
                except checks.NoAnswer:
                    return True

            kept["runs Python"] = not refused("readable", os.__file__)
            kept["another user, or namespaces of its own"] = tier == 1 or student.call("ids") != os.getuid()
            kept["secrets, submissions and checks cannot be read"] = all([refused("readable", str(p)) for p in secrets])
            kept["nothing of yours can be written"] = all([refused("writable", str(p)) for p in (home, ROOT, *secrets)])
            kept["no network"] = refused("network")
            kept["your processes are out of reach"] = refused("signals", os.getpid())
            kept["limited memory"] = refused("memory")
            kept["limited processes"] = refused("forks")
            kept["limited files"] = refused("bigfile")
    except (RuntimeError, checks.NoAnswer) as error:
        print(f"tier {tier}: {error}", file=sys.stderr)
        return {}
    finally:
        sandbox.close()
    return kept


def choose(secrets: Sequence[Path], slot: int = 0) -> tuple[int, str]:
    """The best tier all of whose promises hold here (3: none), and the findings as text; ``slot`` is the sandbox's."""
    lines, chosen = [], 3
    if Path(sys.prefix).is_relative_to("/tmp"):
        lines = [f"{sys.prefix} lies in /tmp, of which a submission has one of its own: move the repository elsewhere"]
    for tier, name in ((1, "bubblewrap"), (2, "another user, inside a container")):
        kept = promises(tier, secrets, slot=slot)
        if not (kept and all(kept.values())):  # a machine may have been too busy to start one: a second try decides
            kept = promises(tier, secrets, slot=slot) or kept
        lines += [f"tier {tier}, {name}:" + ("" if kept else " cannot run here")]
        lines += [f"  {'yes' if holds else 'NO '} {promise}" for promise, holds in kept.items()]
        if kept and all(kept.values()):
            chosen = tier
            break
    return chosen, "\n".join([*lines, f"chosen: tier {chosen}" + (", no isolation" if chosen == 3 else "")])
