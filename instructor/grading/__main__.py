"""The instructor's commands: ``python -m instructor.grading COMMAND --help``."""

from __future__ import annotations

import argparse
import importlib.util
import re
import secrets
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

NEEDED = ("numpy", "torch", "sympy", "matplotlib", "IPython", "yaml", "markdown_it")
if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
    ready = Path(__file__).resolve().parents[2] / ".venv" / "bin" / "python"
    remedy = f"call {ready} -m instructor.grading" if ready.exists() else "install requirements.txt, or run `make book`"
    sys.exit(f"{sys.executable} lacks {', '.join(missing)}: {remedy}")

from instructor.grading import batch, doctor, gradescope, page, quiz, report, similar  # noqa: E402
from instructor.grading.sandbox import ROOT, Sandbox  # noqa: E402
from instructor.grading.submissions import Submission, collect, read_roster  # noqa: E402
from instructor.release import masters  # noqa: E402

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
    batch.folder_of(args.homework)  # before a secret is made for it
    roster = read_roster(args.roster, args.id_column) if args.roster else None
    people, unmatched = collect(args.submissions, roster, args.pattern, args.homework)
    secret = secret_at(args.secret)
    assignment = batch.Assignment(args.homework, secret, salt=args.salt)
    if args.question and args.question not in (numbers := [q.number for q in assignment.questions]):
        raise ValueError(f"--question: expected one of {', '.join(numbers)}, got {args.question!r}")
    if args.jobs < 1:
        raise ValueError(f"--jobs: expected at least 1, got {args.jobs}")
    out = args.out or Path("grades") / args.homework
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    mine = batch.shard(people, args.shard)
    private = [args.secret, assignment.folder, args.submissions, out]
    if args.cluster or args.workers:
        graded, tier = on_cluster(args, assignment, mine, out, private)
    else:
        tier, found = (3, "") if args.unsafe else doctor.choose(private)
        if tier == 3 and not args.unsafe:
            print(
                f"{found}\nNothing was graded. See instructor/grading/README.md, or say --unsafe for code you trust.",
                file=sys.stderr,
            )
            return 2
        pool = [Sandbox(tier, slot, args.seconds, args.memory) for slot in range(args.jobs)]
        graded = batch.grade_all(assignment, mine, out / "records", pool, only=args.question)
    if args.shard:
        print(f"{graded} graded now (tier {tier}); {out / 'records'} has the {len(mine)} of shard {args.shard}. "
              "When all shards' records lie in one folder, run without --shard.")  # fmt: skip
        return 0
    canvas = (args.canvas, [p.row | {"#": p.id} for p in people]) if args.canvas else None
    states = report.report([p.id for p in people], unmatched, out, secret, (args.late_percent, args.late_most), canvas)
    page.pages(out / "feedback")
    print(f"{graded} graded now (tier {tier}), {len(states)} in {out / 'grades.csv'}: "
          + ", ".join(f"{n} {state}" for state, n in sorted(Counter(state for _, state in states).items())))  # fmt: skip
    for name in unmatched:
        print(f"{report.PERSON}: {name} belongs to nobody on the roster")
    return 0


def on_cluster(
    args: argparse.Namespace, assignment: batch.Assignment, people: list[Submission], out: Path, private: list[Path]
) -> tuple[int, int]:
    """Grade with Dask, on the cluster named or on workers of this machine; how many were graded, and the tier."""
    try:
        from instructor.grading import cluster
    except ModuleNotFoundError as error:
        raise ValueError(f"--cluster and --workers need `distributed` ({error}): see requirements.txt") from None
    job = cluster.Job(
        assignment, args.seconds, args.memory, [str(p.resolve()) for p in private], args.unsafe, args.question
    )
    if args.cluster:
        return cluster.grade_all(job, people, out / "records", cluster.connection(args.cluster, args.tls))
    with cluster.local(args.workers) as connect:
        return cluster.grade_all(job, people, out / "records", connect)


def explain(args: argparse.Namespace) -> int:
    if re.fullmatch(r"hw\d+", args.id) and not re.fullmatch(r"hw\d+", args.homework):
        args.id, args.homework = args.homework, args.id  # either order
    out = args.out or Path("grades") / args.homework
    record = batch.load(out / "records" / f"{batch.safe(args.id)}.json")
    if record is None:
        raise ValueError(f"{args.id}: no record in {out}; run `grade` first, or name the folder with --out")
    print(report.explain(report.settle(record, [], 0)))
    return 0


def examine(args: argparse.Namespace) -> int:
    tier, found = doctor.choose([args.secret, ROOT / "instructor"])
    print(found)
    return int(tier == 3)


def zipped(args: argparse.Namespace) -> int:
    target = args.out or Path(f"{args.homework}-autograder.zip")
    gradescope.make_zip(args.homework, secret_at(args.secret), target, args.roster)
    print(f"wrote {target}; it holds the hidden checks and a secret: upload it to Gradescope only")
    return 0


def plotted(args: argparse.Namespace) -> int:
    from instructor.grading import plots

    print(f"wrote {plots.plot(args.out or Path('grades') / args.homework)}")
    return 0


def alike(args: argparse.Namespace) -> int:
    out = args.out or Path("grades") / args.homework
    roster = read_roster(args.roster, args.id_column) if args.roster else None
    people, _ = collect(args.submissions, roster, args.pattern, args.homework)
    found = similar.listed(people, out / "records", ROOT / "book" / "homework" / f"{args.homework}.ipynb")
    report._csv(out / "similar.csv", similar.HEADER, found)
    print(f"{len(found)} pairs in {out / 'similar.csv'}: for you to look at, and no verdict")
    return 0


def quizzed(args: argparse.Namespace) -> int:
    target = args.out or Path(f"{args.homework}-quiz.zip")
    count = quiz.write(args.homework, args.id, target)
    print(f"wrote {target}: {count} questions with the numbers of the student id {args.id!r}")
    return 0


# What each option is, and which commands have it.
OPTIONS: dict[str, dict[str, Any]] = {
    "--secret": {"type": Path, "default": SECRET, "help": "the file with your secret"},
    "homework": {"help": " ".join(path.stem for path in masters())},
    "submissions": {"type": Path},
    "id": {},
    "--id": {"default": "quiz", "help": "the student id whose own numbers the quiz has"},
    "--out": {"type": Path, "help": "where results go (default: grades/HOMEWORK)"},
    "--roster": {"type": Path, "help": "CSV with id,name[,group], or a gradebook's export"},
    "--id-column": {"default": "", "help": "the roster's column that holds STUDENT_ID"},
    "--pattern": {"default": "", "help": "a regular expression with (?P<id>…) for the files' paths in SUBMISSIONS"},
    "--salt": {"default": "", "help": "the course's salt (default: the master's)"},
    "--canvas": {"default": "", "metavar": "COLUMN", "help": "also write canvas.csv for this assignment column"},
    "--late-percent": {"type": float, "default": 0, "help": "taken off for a day late; late.csv in OUT has id,days"},
    "--late-most": {"type": float, "default": 100, "help": "percent taken off at most"},
    "--question": {"default": "", "help": "grade this one anew; all others keep their results"},
    "--jobs": {"type": int, "default": 2, "help": "submissions side by side"},
    "--workers": {"type": int, "default": 0, "help": "grade with so many Dask workers of this machine"},
    "--cluster": {"default": "", "metavar": "ADDRESS", "help": "a Dask scheduler, tls://host:8786 (cluster.md)"},
    "--tls": {"type": Path, "metavar": "FOLDER", "help": "ca.pem, cert.pem, key.pem for --cluster"},
    "--shard": {"default": "", "metavar": "K/N", "help": "only the Kth of N parts, and no report"},
    "--seconds": {"type": float, "default": 10, "help": "of CPU for a cell, and for a question"},
    "--memory": {"type": int, "default": 3000, "help": "MB for a submission"},
    "--unsafe": {"action": "store_true", "help": "grade without any isolation"},
}
FILES = "homework submissions --out --roster --id-column --pattern"
COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], int], str, str]] = {
    "doctor": (examine, "what isolation this machine can give", "--secret"),
    "grade": (
        grade,
        "grade a folder of submissions",
        f"{FILES} --secret --salt --canvas --late-percent --late-most --question --jobs --workers --cluster --tls --shard "
        "--seconds --memory --unsafe",
    ),
    "explain": (explain, "what was expected of a student, and what came", "homework id --out"),
    "plots": (plotted, "points, time and misconceptions as statistics.svg", "homework --out"),
    "similar": (alike, "notebooks that look alike, for a person to look at", FILES),
    "quiz": (quizzed, "the questions with numbers as a quiz for an LMS", "homework --id --out"),
    "gradescope": (zipped, "an autograder zip", "homework --out --roster --secret"),
}


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with an argument."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{message} ({self.prog} --help lists what there is)\n")


def main() -> int:
    parser = Parser(prog="python -m instructor.grading", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, (run, what, options) in COMMANDS.items():
        command = commands.add_parser(name, help=what, description=what)
        command.set_defaults(run=run)
        for option in options.split():
            command.add_argument(option, **OPTIONS[option])
    args = parser.parse_args()
    try:
        return args.run(args)
    except OSError as error:
        print(
            f"{error.filename}: {error.strerror}; look at the paths that you gave" if error.filename else error,
            file=sys.stderr,
        )
        return 1
    except (ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
