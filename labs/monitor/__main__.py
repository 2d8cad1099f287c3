"""``python -m labs.monitor replay FILE module:build``: where a step that the trap has saved goes wrong."""

from __future__ import annotations

import argparse
import sys

from labs.monitor.saved import replay_step


def main(arguments: list[str] | None = None) -> int:
    """0 if an origin is named, 1 if the step is sound, 2 with one line for what cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m labs.monitor", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    replay = commands.add_parser("replay", help="replay a saved step, and name the origin of its NaN or Inf")
    replay.add_argument("file", help="what trap_nonfinite(..., path=...) has written; nothing in it is run")
    replay.add_argument("build", help="module:function of yours that returns (model, loss) or (model, loss, optimizer)")
    given = parser.parse_args(arguments)
    try:
        origin = replay_step(given.file, given.build)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(origin)
    return 0 if origin else 1


if __name__ == "__main__":
    sys.exit(main())
