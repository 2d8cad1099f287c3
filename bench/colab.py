"""Opening a notebook on Colab, in the rehearsal's environment with Colab's versions, beside what another book's notebooks begin with.

The peer is d2l's first cell, ``pip install d2l``, whose package pins the versions of numpy, SciPy, pandas and matplotlib. Torch is
left out of it, as on Colab it is there already. What both download comes from the package index, so the line counts.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from bookext.read.book import notebook_pages
from support import environment, publish, rehearse, run

from .table import PeerMissing, Row, seconds

TITLE = "Colab"
ROOT = Path(__file__).resolve().parents[1]
PEER = "d2l==1.0.3"


def peer_set_up(home: Path, folder: Path) -> tuple[float, list[str]]:
    """Seconds of the peer's first cell in a copy of the environment, and the packages whose version it changed."""
    copy = folder / "peer"
    shutil.copytree(home, copy, symlinks=True, copy_function=os.link)
    python = copy / "bin" / "python"
    before = set(run(python, "-m", "pip", "freeze").stdout.splitlines())
    begun = time.perf_counter()
    done = run(python, "-m", "pip", "install", "--quiet", "--no-cache-dir", PEER)
    took = time.perf_counter() - begun
    if done.returncode:
        raise PeerMissing(f"{PEER} could not be installed: {done.stderr.strip()[-300:]}")
    after = set(run(python, "-m", "pip", "freeze").stdout.splitlines())
    return took, sorted(line.partition("==")[0] for line in before - after)


def rows() -> list[Row | str]:
    home = environment(sys.executable, torch=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as name:
        folder = Path(name)
        fork = publish(folder)
        reports = [rehearse(home / "bin" / "python", fork / page.relative_to(ROOT).with_suffix(".ipynb"), folder)
                   for page in notebook_pages()]  # fmt: skip
        theirs, changed = peer_set_up(home, folder)
    set_up = sorted(report["setup_seconds"]["wall"] for report in reports)
    middle = set_up[len(set_up) // 2]
    figures = {
        r["notebook"].removesuffix(".ipynb"): r["first_figure"] for r in reports if not math.isnan(r["first_figure"])
    }
    wholes = {report["notebook"].removesuffix(".ipynb"): report["seconds"]["wall"] for report in reports}

    def listed(times: dict[str, float]) -> str:
        return ", ".join(f"{name} {took:.0f} s" for name, took in times.items())

    ours = f"{seconds(middle)} (slowest {seconds(set_up[-1])})"
    return [
        Row("set-up cell", ours, f"pip install {PEER}", seconds(theirs), f"{middle / theirs:.2f}"),
        f"Packages that the set-up cell changed: {sum(len(report['changed']) for report in reports)}; that the peer changed: "
        f"{len(changed)} ({', '.join(changed)}).",
        f"From opening to the first figure: {listed(figures)}.",
        f"Whole notebooks: {listed(wholes)}.",
    ]
