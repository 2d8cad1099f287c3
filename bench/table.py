"""What every benchmark here shares: alternating timings, paired ratios with their spread, and the table of results."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass


class PeerMissing(Exception):
    """What a row compares with is not here; says how to get it."""


@dataclass(frozen=True)
class Row:
    """One line: what is measured, ours, the peer by name and version, theirs, and ours over theirs with its quartiles."""

    what: str
    ours: str
    peer: str
    theirs: str
    ratio: str

    def __str__(self) -> str:
        return f"| {self.what} | {self.ours} | {self.peer} | {self.theirs} | {self.ratio} |"


def spread(values: Iterable[float], digits: int = 2) -> str:
    """Median and quartiles, ``0.41 [0.40, 0.43]``."""
    sample = list(values)
    if len(sample) < 2:
        return f"{sample[0]:.{digits}f}"
    low, middle, high = statistics.quantiles(sample, n=4, method="inclusive")
    return f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def seconds(value: float) -> str:
    """A duration in the unit that suits it.

    >>> seconds(0.0123), seconds(83.2)
    ('12.3 ms', '83.2 s')
    """
    return f"{value:.3g} s" if value >= 1 else f"{1e3 * value:.3g} ms"


def version(package: str) -> str:
    """``name version``; raises PeerMissing where it is not installed."""
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        raise PeerMissing(f"{package} is not installed: pip install {package}") from None


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of one call, all threads; on a shared machine it leaves out the time in which others ran."""
    start = time.process_time()
    work()
    return time.process_time() - start


def paired(
    what: str,
    ours: Callable[[], object],
    peer: str,
    theirs: Callable[[], object],
    rounds: int = 7,
    clock: Callable[[Callable[[], object]], float] = cpu_seconds,
) -> Row:
    """Both in each round, in random order; the ratio is the median over the rounds of ours over theirs of the same round."""
    both = {"ours": ours, "theirs": theirs}
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for name in both:
        clock(both[name])  # warm
    for _ in range(rounds):
        for name in random.sample(sorted(both), 2):
            times[name].append(clock(both[name]))
    ratios = [a / b for a, b in zip(times["ours"], times["theirs"], strict=True)]
    a, b = (seconds(statistics.median(times[name])) for name in ("ours", "theirs"))
    return Row(what, a, peer, b, spread(ratios))


def machine() -> str:
    """Where and with what it was measured."""
    packages = ", ".join(version(p) for p in ("torch", "numpy", "sympy", "jupyter-book"))
    system = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}"
    return f"{system}; {packages}; load average {os.getloadavg()[0]:.1f}"


HEAD = "| What | Ours | Peer | Theirs | Ours over theirs: median [quartiles] |\n|---|---|---|---|---|"


def shown(title: str, note: str, rows: Sequence[Row | str]) -> str:
    """A section of the results: a table, and below it the lines that are no rows."""
    table = [str(row) for row in rows if isinstance(row, Row)]
    lines = [row + "\n" if row.startswith("|") else f"- {row}" for row in rows if isinstance(row, str)]  # its own table
    return "\n".join([f"## {title}", "", note, "", *([HEAD, *table, ""] if table else []), *lines, ""])
