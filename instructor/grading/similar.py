"""Which notebooks look alike: a list for a person to read, and never a verdict.

Two signs. *Own numbers*: a wrong answer that is right for another student's own numbers. *Code*: runs of tokens, names and
texts left out, that two notebooks share and hardly any other has (winnowing; Schleimer, Wilkerson and Aiken 2003). Friends who
sat together, a common source and chance give the same signs.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import keyword
import re
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from instructor.grading.batch import Record, load, safe
from instructor.grading.submissions import Submission, Unreadable, code_cells, kind

RUN, WINDOW = 12, 6  # tokens of a run; runs of which one is kept
SKIPPED = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENCODING, tokenize.ENDMARKER}
LEAST = 5  # marks that two notebooks share before they are listed
RARE = 0.1  # of the notebooks may have a mark that counts


def normalised(source: str) -> list[str]:
    """The tokens of a cell, with one name for all names and one text for all texts; as far as it can be read.

    >>> normalised("total = sum(x)  # mine") == normalised("s = sum(values)")
    True
    """
    tokens: list[str] = []
    try:
        for kind, text, *_ in tokenize.generate_tokens(io.StringIO(source).readline):
            if kind == tokenize.NAME and not keyword.iskeyword(text):
                tokens.append("n")
            elif kind == tokenize.STRING:
                tokens.append("s")
            elif kind not in SKIPPED:
                tokens.append(text.strip() or tokenize.tok_name[kind])
    except (tokenize.TokenError, SyntaxError):
        pass
    return tokens


def marks(cells: Iterable[str]) -> set[int]:
    """The fingerprints of a notebook's code: of each window of runs, the smallest hash."""
    found: set[int] = set()
    for source in cells:
        tokens = normalised(source)
        runs = ["\0".join(tokens[k : k + RUN]).encode() for k in range(len(tokens) - RUN + 1)]
        hashes = [int.from_bytes(hashlib.blake2b(run, digest_size=8).digest(), "big") for run in runs]
        found.update(min(hashes[k : k + WINDOW]) for k in range(max(len(hashes) - WINDOW + 1, min(len(hashes), 1))))
    return found


def _numbers(text: str) -> str:
    """A value as ``explain`` shows it, to six digits."""
    return re.sub(r"-?\d+\.?\d*(?:e[+-]?\d+)?", lambda m: f"{float(m[0]):.6g}", text.replace("np.float64", ""))


def borrowed(records: Sequence[Record]) -> list[tuple[str, str, str]]:
    """``(one, other, why)`` where a wrong answer of one is right for the other, and for hardly anybody else."""
    right: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    came: list[tuple[str, str, str, str]] = []
    for record in records:
        for r in record["results"]:
            for item in r["items"]:
                right[r["question"], item["rule"]][_numbers(item["expected"])].add(record["id"])
                if not item["ok"]:
                    came.append((record["id"], r["question"], item["rule"], _numbers(item["got"])))
    found = []
    for one, question, rule, got in came:
        owners = right[question, rule].get(got, set())
        if len(right[question, rule]) > 2 and 0 < len(owners) <= max(1, RARE * len(records)) and one not in owners:
            found += [
                (one, other, f"question {question}, {rule}: the answer for the other's numbers") for other in owners
            ]
    return found


def alike(code: dict[str, Sequence[str]], released: Sequence[str] = ()) -> list[tuple[str, str, int, float]]:
    """``(one, other, marks shared, share of the smaller)`` of notebooks whose code is alike, the most alike first.

    What the released notebook holds does not count, nor what more than a tenth of the students have.
    """
    given = marks(released)
    own = {student: marks(cells) - given for student, cells in code.items()}
    owners: dict[int, list[str]] = defaultdict(list)
    for student, found in own.items():
        for mark in found:
            owners[mark].append(student)
    most = max(2, RARE * len(own))
    counted = {s: sum(len(owners[m]) <= most for m in found) for s, found in own.items()}
    shared: Counter[tuple[str, str]] = Counter()
    for students in owners.values():
        if 1 < len(students) <= most:
            shared.update(itertools.combinations(sorted(students), 2))
    found_pairs = [
        (one, other, n, n / min(counted[one], counted[other])) for (one, other), n in shared.items() if n >= LEAST
    ]
    return sorted(found_pairs, key=lambda pair: (-pair[3], -pair[2], pair[:2]))


HEADER = ["one", "other", "marks shared", "share of the smaller", "why"]


def listed(people: Sequence[Submission], records: Path, released: Path) -> list[list[str]]:
    """The lines of similar.csv: own numbers first, then code of which at least half is shared."""
    code, found = dict[str, Sequence[str]](), []
    for person in people:
        if record := load(records / f"{safe(person.id)}.json"):
            found.append(record)
        if person.path and not person.path.is_symlink():
            with contextlib.suppress(Unreadable, OSError):
                code[person.id] = code_cells(person.path.read_bytes(), kind(person.path))
    given = code_cells(released.read_bytes()) if released.is_file() else []
    lines = [[one, other, "", "", why] for one, other, why in sorted(set(borrowed(found)))]
    return lines + [[a, b, str(n), f"{share:.2f}", "code"] for a, b, n, share in alike(code, given) if share >= 0.5]
