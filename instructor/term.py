"""A new term: its salt, from which with a student's id their own numbers follow, into every master.

    python -m instructor.term SALT        write it (make term SALT=2027-spring, which releases the pages, too)
    python -m instructor.term             say which it is

The salt stands in the masters alone: the released pages, the grader and the tests read it there.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from instructor.release import ROOT, masters

LINE = re.compile(r'^(hw = Homework\("hw\d+", STUDENT_ID, salt=")([^"]*)("\))$', re.MULTILINE)


def salt(root: Path = ROOT) -> str:
    """The term's salt; ValueError where the masters do not agree on one."""
    found = {master.name: [match[2] for match in LINE.finditer(master.read_text("utf8"))] for master in masters(root)}
    salts = {one for some in found.values() for one in some}
    if len(salts) != 1 or any(len(some) != 1 for some in found.values()):
        raise ValueError(f"the masters do not have one salt: {found}; write it again: make term SALT=2027-spring")
    return salts.pop()


def begin(new: str, root: Path = ROOT) -> list[Path]:
    """Write a salt into every master; which were changed. ValueError for one that a notebook or a shell would trip over."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}", new):
        raise ValueError(f"SALT={new!r}: write letters, digits and dashes, as in make term SALT=2027-spring")
    changed = []
    for master in masters(root):
        text = master.read_text("utf8")
        if LINE.subn(rf"\g<1>{new}\g<3>", text)[1] != 1:
            raise ValueError(
                f"{master.name}: expected one line hw = Homework(…, STUDENT_ID, salt=…); git diff shows what became of it"
            )
        written = LINE.sub(rf"\g<1>{new}\g<3>", text)
        if written != text:
            master.write_text(written, "utf8")
            changed.append(master)
    return changed


def main(arguments: list[str]) -> int:
    """Begin a term, or say which it is."""
    try:
        if not arguments:
            print(salt())
            return 0
        changed = begin(arguments[0])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    told = f"{len(changed)} masters changed" if changed else "it was that already"
    print(f"The term's salt is {arguments[0]}: {told}. Earlier submissions keep theirs by --salt.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
