"""The instructor's commands: ``python -m instructor.grading {grade,explain,doctor,gradescope} --help``."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections import Counter
from pathlib import Path

from instructor.grading import batch, doctor, gradescope, report
from instructor.grading.sandbox import ROOT, Sandbox
from instructor.grading.submissions import collect, read_roster

SECRET = Path.home() / ".config" / "numerical-stability" / "secret"


def secret_at(path: Path) -> bytes:
    """The instructor's secret, made on first use; ValueError if it would lie in the repository."""
    if path.resolve().is_relative_to(ROOT):
        raise ValueError(f"{path}: the secret must lie outside the repository; name another place with --secret")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(0o600)
        path.write_text(secrets.token_hex(32))
        print(f"A new secret is in {path}: keep a copy, for regrading needs the same one.", file=sys.stderr)
    return path.read_bytes().strip()


def grade(args: argparse.Namespace) -> int:
    secret = secret_at(args.secret)
    assignment = batch.Assignment(args.homework, secret, salt=args.salt)
    out = args.out or Path("grades") / args.homework
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    roster = read_roster(args.roster, args.id_column) if args.roster else None
    people, unmatched = collect(args.submissions, roster)
    tier, found = (3, "") if args.unsafe else doctor.choose([args.secret, assignment.folder, args.submissions, out])
    if tier == 3 and not args.unsafe:
        print(
            f"{found}\nNothing was graded. See instructor/grading/README.md, or say --unsafe for code you trust.",
            file=sys.stderr,
        )
        return 2
    pool = [Sandbox(tier, slot, args.seconds, args.memory) for slot in range(args.jobs)]
    graded = batch.grade_all(assignment, people, out / "records", pool)
    canvas = (args.canvas, [p.row | {"#": p.id} for p in people]) if args.canvas else None
    states = report.report([p.id for p in people], unmatched, out, secret, args.late_percent, canvas)
    print(f"{graded} graded now (tier {tier}), {len(states)} in {out / 'grades.csv'}: "
          + ", ".join(f"{n} {state}" for state, n in sorted(Counter(state for _, state in states).items())))  # fmt: skip
    for name in unmatched:
        print(f"{report.PERSON}: {name} belongs to nobody on the roster")
    return 0


def explain(args: argparse.Namespace) -> int:
    out = args.out or Path("grades") / args.homework
    record = batch.load(out / "records" / f"{batch.safe(args.id)}.json")
    if record is None:
        raise ValueError(f"{args.id}: no record in {out}; run `grade` first, or name the folder with --out")
    print(report.explain(report.settle(record, [], 0)))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m instructor.grading", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, run in (("grade", grade), ("explain", explain), ("doctor", None), ("gradescope", None)):
        command = commands.add_parser(name)
        command.set_defaults(run=run, command=name)
        command.add_argument("--secret", type=Path, default=SECRET, help="the file with your secret")
        if name != "doctor":
            command.add_argument("homework", help="hw1 … hw4")
            command.add_argument("--out", type=Path, help="where results go (default: grades/HOMEWORK)")
        if name in ("grade", "gradescope"):
            command.add_argument("--roster", type=Path, help="CSV with id,name[,group], or Canvas's gradebook export")
        if name == "grade":
            command.add_argument("submissions", type=Path)
            command.add_argument("--id-column", default="", help="the roster's column that holds STUDENT_ID")
            command.add_argument("--salt", default="", help="the course's salt (default: the master's)")
            command.add_argument(
                "--canvas", default="", metavar="COLUMN", help="also write canvas.csv for this assignment column"
            )
            command.add_argument(
                "--late-percent", type=float, default=0, help="taken off late submissions (default: 0)"
            )
            command.add_argument("--jobs", type=int, default=2, help="submissions side by side")
            command.add_argument("--seconds", type=float, default=10, help="of CPU for a cell, and for a question")
            command.add_argument("--memory", type=int, default=3000, help="MB for a submission")
            command.add_argument("--unsafe", action="store_true", help="grade without any isolation")
        if name == "explain":
            command.add_argument("id")
    args = parser.parse_args()
    try:
        if args.command == "doctor":
            tier, found = doctor.choose([args.secret, ROOT / "instructor"])
            print(found)
            return int(tier == 3)
        if args.command == "gradescope":
            target = args.out or Path(f"{args.homework}-autograder.zip")
            gradescope.make_zip(args.homework, secret_at(args.secret), target, args.roster)
            print(f"wrote {target}; it holds the hidden checks and a secret: upload it to Gradescope only")
            return 0
        return args.run(args)
    except (ValueError, OSError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
