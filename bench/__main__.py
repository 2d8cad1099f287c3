"""``make bench``: every measurement, each beside what a user would use instead; writes ``bench/results.md``.

    python -m bench              all of them
    python -m bench numerics     some of them; the others keep their place in the results

A benchmark whose peer is missing, or the GPU that it runs on, keeps what was measured before, or says so in its place; the exit
status is 1.
"""

from __future__ import annotations

import datetime
import importlib
import re
import sys
from pathlib import Path

from .table import PeerMissing, machine, shown

RESULTS = Path(__file__).with_name("results.md")
NAMES = [
    "book",
    "loop",
    "growth",
    "numerics",
    "monitor",
    "gpu",
    "cases",
    "models",
    "grading",
    "cluster",
    "site",
    "live",
    "colab",
]
OPENING = """# Measured side by side

Written by `make bench`. Each row compares with what a user would use instead, in the same run, in turns; a ratio below 1 is in our favour.
Where a peer wins, the row stays, and a line below says why.
"""


def main(arguments: list[str]) -> int:
    """See the module."""
    unknown = set(arguments) - set(NAMES)
    if unknown:
        print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    kept = (
        dict(re.findall(r"<!-- (\w+) -->\n(.*?)(?=<!-- |\Z)", RESULTS.read_text("utf8"), re.DOTALL))
        if RESULTS.exists()
        else {}
    )
    missing = []
    for name in arguments or NAMES:
        print(f"{name} …", flush=True)
        module = importlib.import_module(f"bench.{name}")
        try:
            rows = module.rows()
        except PeerMissing as reason:
            missing.append(f"{name}: {reason}")
            if name in kept:
                continue
            rows = [f"not measured: {reason}"]
        where = f"{module.__doc__.splitlines()[0]} Measured on {datetime.date.today():%Y-%m-%d}: {machine()}."
        kept[name] = shown(module.TITLE, where, rows) + "\n"
        print(kept[name], flush=True)
        RESULTS.write_text(OPENING + "\n" + "".join(f"<!-- {n} -->\n{kept[n]}" for n in NAMES if n in kept), "utf8")
    print("\n".join(missing), file=sys.stderr)
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
