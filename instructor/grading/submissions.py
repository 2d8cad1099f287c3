"""Who handed in what: rosters, file names of gradebooks, and a notebook's code cells, read as data."""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LARGEST = 40_000_000  # bytes of a file with its outputs
LARGEST_CODE = 1_000_000
CANVAS = re.compile(r"[^_]*_(LATE_)?(?:[A-Za-z]+_)?(\d+)_(\d+)_(.+)", re.DOTALL)  # name_LATE_user_attachment_file
IDS = ("id", "SIS User ID", "SIS Login ID", "ID")


class Unreadable(ValueError):
    """A file that is no notebook; the message says why, for the student."""


@dataclass
class Submission:
    """A student and the file handed in, if any; ``own_id`` (a group's id or the student's) gives the own numbers."""

    id: str
    own_id: str
    name: str = ""
    path: Path | None = None
    late: bool = False
    notes: list[str] = field(default_factory=list)
    row: dict[str, str] = field(default_factory=dict)


def normal(text: str) -> str:
    """An id as it is compared: without blanks around it, case and full-width forms."""
    return unicodedata.normalize("NFKC", text).strip().casefold()


def read_roster(path: Path, column: str = "") -> list[Submission]:
    """The students of a CSV: ``id,name`` (and ``group``), or Canvas's gradebook export; ValueError names what is wrong."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [
            {k or "": (v or "").strip() for k, v in row.items() if isinstance(v, str)} for row in csv.DictReader(file)
        ]
    known = next((name for name in ([column] if column else IDS) if rows and name in rows[0]), None)
    if known is None:
        raise ValueError(
            f"{path}: expected a column {column or ' or '.join(IDS)}, got {', '.join(rows[0]) if rows else 'no rows'}"
        )
    people = [
        Submission(row[known], row.get("group") or row[known], row.get("name") or row.get("Student", ""), row=row)
        for row in rows
        if row[known] and row.get("Student", "").strip() != "Points Possible"
    ]
    twice = {p.id for p in people if [normal(q.id) for q in people].count(normal(p.id)) > 1}
    if twice:
        raise ValueError(f"{path}: these ids stand there more than once: {', '.join(sorted(twice))}")
    return people


def collect(folder: Path, roster: list[Submission] | None) -> tuple[list[Submission], list[str]]:
    """Each student with the newest file found for them, and the files that belong to nobody.

    A file belongs to the student whose id is its stem or its folder's name, or whose Canvas id its name holds.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder of submissions")
    hidden = re.compile(r"(^|/)(\.|__MACOSX)")
    files = [p for p in sorted(folder.rglob("*")) if not p.is_dir() and not hidden.search(str(p.relative_to(folder)))]
    people = {normal(p.id): p for p in roster or []}
    canvas = {p.row["ID"]: p for p in roster or [] if p.row.get("ID")}
    found: dict[str, list[tuple[int, bool, Path]]] = {}
    unmatched = []
    for path in files:
        parts = path.relative_to(folder).parts
        name = parts[0] if len(parts) > 1 else path.stem
        match = CANVAS.fullmatch(path.name)
        person = people.get(normal(name)) or (canvas.get(match[2]) if match else None)
        if person is None and roster is None:
            person = people[normal(name)] = Submission(name, name)
        if person is None:
            unmatched.append(str(path.relative_to(folder)))
        else:
            attempt = (int(match[3]), bool(match[1]), path) if match else (0, False, path)
            found.setdefault(normal(person.id), []).append(attempt)
    for key, attempts in found.items():
        newest(people[key], attempts)
    return sorted(people.values(), key=lambda p: normal(p.id)), unmatched


def newest(person: Submission, attempts: list[tuple[int, bool, Path]]) -> Submission:
    """Take the newest notebook of ``(attempt, late, file)``, and note that there are others."""
    notebooks = [a for a in attempts if a[2].suffix.lower() in (".ipynb", ".py")] or attempts
    _, person.late, person.path = max(notebooks)
    if len(notebooks) > 1:
        names = ", ".join(a[2].name for a in sorted(notebooks))
        person.notes.append(f"{len(notebooks)} files were handed in ({names}); {max(notebooks)[2].name} was graded")
    return person


def code_cells(raw: bytes, suffix: str = ".ipynb") -> list[str]:
    """The source of each code cell of a notebook (nbformat 3 or 4) or a script; Unreadable says what else it is."""
    if len(raw) > LARGEST:
        raise Unreadable(f"the file is larger than {LARGEST // 10**6} MB: clear the outputs and hand it in again")
    text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "replace")
    if suffix == ".py":
        cells: list[Any] = re.split(r"(?m)^# (?:%%|In ?\[).*$", text)
    else:
        try:
            notebook = json.loads(text)
            sheets = notebook.get("worksheets") or [notebook]
            found = [cell for sheet in sheets for cell in sheet["cells"] if cell.get("cell_type") == "code"]
            cells = [cell.get("source", cell.get("input", "")) for cell in found]
            cells = ["".join(cell) if isinstance(cell, list) else cell for cell in cells]
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"the file is not a notebook: it cannot be read as JSON ({str(error)[:80]})") from None
        except (AttributeError, KeyError, TypeError):
            raise Unreadable("the file is JSON, but not a notebook: it has no list of cells") from None
    if not all(isinstance(cell, str) for cell in cells) or sum(map(len, cells)) > LARGEST_CODE:
        raise Unreadable(f"the code cells are no text, or longer than {LARGEST_CODE:,} characters")
    return [cell.encode("utf-8", "replace").decode() for cell in cells]
