"""Who handed in what: rosters, the layouts of gradebooks' downloads, and a notebook's cells, read as data."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from instructor.grading.sandbox import ROOT

LARGEST = 40_000_000  # bytes of a file with its outputs
LARGEST_CODE = 1_000_000
LARGEST_BESIDE = 2_000_000  # bytes of all files beside a notebook
DEEPEST = 20  # folders
VALUES = {b"[": 1_000_000, b"{": 500_000, b",": 5_000_000}  # in a file: what reading it may cost in memory
FORK = b"\x00\x05\x16\x07"  # how a Mac's resource fork begins
IDS = ("id", "SIS User ID", "SIS Login ID", "ID", "SID", "Student ID", "ID number", "OrgDefinedId", "Username",
       "identifier")  # fmt: skip
NAMES = ("name", "Student", "Full name", "Name")
CALLED = re.compile(r"id|name|login|user|mail|student|number|account|participant", re.IGNORECASE)  # headers
# What gradebooks write around a student's file. The first that fits says whose it is; a student chooses `file` only.
LAYOUTS = [
    r"[^_/]*_(?P<late>LATE_)?(?:[A-Za-z]+_)?(?P<id>\d+)_(?P<attempt>\d+)_(?P<file>[^/]+)",  # Canvas
    r"[^/]*_(?P<id>[^_/]+)_attempt_(?P<attempt>[\d-]+)(?:_(?P<file>[^/]+)|\.txt)",  # Blackboard
    r"(?P<id>[^/]+?_\d+)_assignsubmission_(?:file|onlinetext)_?/?(?P<file>.+)",  # Moodle
    r"(?P<attempt>\d+)-\d+ ?- ?(?P<id>[^/]+?) ?- ?[^/]*\d{4}[^/]*/(?P<file>.+)",  # Brightspace
]


class Unreadable(ValueError):
    """A file that is no notebook; the message says why, for the student."""


@dataclass(order=True)
class File:
    """A file handed in: which attempt it belongs to, and its name among the files of its student."""

    attempt: int
    late: bool
    path: Path
    name: str = ""


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
    beside: dict[str, Path] = field(default_factory=dict)  # files that the notebook may import or read


def normal(text: str) -> str:
    """An id as it is compared: without blanks around it, case and full-width forms."""
    return unicodedata.normalize("NFKC", text).strip().casefold()


def shown_name(path: Path | str) -> str:
    """A file's name as text, whatever bytes it is made of."""
    return os.fsencode(path).decode("utf8", "backslashreplace")


def table(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV that a person or a spreadsheet wrote, each with its line; ValueError says what is wrong.

    Commas, semicolons or tabs part the cells, whichever the header has; the text is UTF-8, UTF-16 or Windows-1252.
    """
    raw = path.read_bytes()
    text = None
    for encoding in ("utf-16",) if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252"):
        try:
            text = raw.decode(encoding)
            break
        except UnicodeDecodeError as error:
            line = raw[: error.start].count(b"\n") + 1
    if text is None:
        raise ValueError(f"{path}, line {line}: the text is in no known encoding; save the file as CSV in UTF-8")
    header = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
    rows = []
    try:
        for row in reader:
            cells = {(name or "").strip(): cell for name, cell in row.items() if isinstance(cell, str)}
            if any(cell.strip() for cell in cells.values()):
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}; save the file as CSV in UTF-8") from None
    return rows


def read_roster(path: Path, column: str = "") -> list[Submission]:
    """The students of a CSV: ``id,name`` (and ``group``), or a gradebook's export; ValueError names what is wrong."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; --roster names a CSV of your students")
    rows = [{name: cell.strip() for name, cell in row.items()} for _, row in table(path)]
    columns = rows[0] if rows else {}
    known = next((name for name in ([column] if column else IDS) if name in columns), None)
    if known is None:
        wanted = column or " or ".join(IDS)
        raise ValueError(f"{path}: expected a column {wanted}, got {', '.join(columns) if rows else 'no rows'}")
    people = [
        Submission(row[known].lstrip("#"), row.get("group") or row[known].lstrip("#"), _name(row), row=row)
        for row in rows
        if row.get(known) and row.get("Student") != "Points Possible"
    ]
    count = Counter(normal(p.id) for p in people)
    if twice := {p.id for p in people if count[normal(p.id)] > 1}:
        raise ValueError(f"{path}: these ids stand there more than once: {', '.join(sorted(twice))}")
    return people


def _name(row: dict[str, str]) -> str:
    parts = [row.get(name, "") for name in ("First Name", "First name", "Last Name", "Last name", "Surname")]
    return next((row[name] for name in NAMES if row.get(name)), " ".join(filter(None, parts)))


def _words(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", normal(text)))


class Roster:
    """Finds students by what a gradebook may call them: id, name, login, address, or another cell of their row."""

    def __init__(self, people: Sequence[Submission]) -> None:
        called: dict[str, set[int]] = defaultdict(set)
        for k, person in enumerate(people):
            cells = {person.id, person.name, *(v for c, v in person.row.items() if CALLED.search(c))}
            cells |= {v.partition("@")[0] for v in cells if "@" in v}
            cells |= {" ".join(reversed(v.split(", "))) for v in cells if v.count(", ") == 1}
            for text in cells - {""}:
                called[_words(text)].add(k)
                called[_words(text).replace(" ", "")].add(k)
        self.ids = {normal(person.id): person for person in people}
        for k, person in enumerate(people):  # an id is nobody else's, whatever stands in other cells
            called[_words(person.id)] = {k}
        self.known = {text: people[min(who)] for text, who in called.items() if text and len(who) == 1}

    def exactly(self, text: str) -> Submission | None:
        words = _words(text)
        return self.ids.get(normal(text)) or self.known.get(words) or self.known.get(words.replace(" ", ""))

    def within(self, text: str) -> Submission | None:
        """The one student who is called by some of the words of ``text``, if there is exactly one."""
        words = _words(text).split()
        runs = (" ".join(words[a:b]) for a in range(len(words)) for b in range(a + 1, min(a + 6, len(words)) + 1))
        telling = (run for run in runs if len(run) >= (5 if run.isdigit() else 4 if run.isalpha() else 2))
        found = {person.id: person for run in telling if (person := self.known.get(run))}
        return found.popitem()[1] if len(found) == 1 else None


def files_of(folder: Path) -> list[Path]:
    """The files in and below a folder, without hidden ones, caches and resource forks, in order."""
    found, todo = [], [(os.fspath(folder), 0)]
    while todo:
        place, depth = todo.pop()
        for entry in os.scandir(place):
            if entry.name.startswith((".", "__MACOSX")):
                continue
            if entry.is_dir(follow_symlinks=False):
                todo += [(entry.path, depth + 1)] if depth < DEEPEST else []
            elif not (entry.is_file(follow_symlinks=False) and _begins_as_fork(entry.path)):
                found.append(Path(entry.path))
    return sorted(found)


def _begins_as_fork(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == FORK


def collect(
    folder: Path, roster: list[Submission] | None, pattern: str = "", homework: str = ""
) -> tuple[list[Submission], list[str]]:
    """Each student with the newest notebook found for them, and the files that belong to nobody.

    Whose a file is, say a ``pattern`` with a group ``id``, Gradescope's list, the name that a gradebook gave it, or
    the outermost folder (or the file's own name) that names exactly one student of the roster.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder of submissions")
    layouts = _layouts(pattern)
    people = {normal(p.id): p for p in roster or []}
    known, submitters = Roster(roster or []), _gradescope(folder)
    found: dict[str, list[File]] = defaultdict(list)
    unmatched = []
    for path in files_of(folder):
        relative = path.relative_to(folder)
        if path.name == "submission_metadata.yml":
            continue
        match = next(filter(None, (layout.fullmatch(relative.as_posix()) for layout in layouts)), None)
        group = match.groupdict() if match else {}
        listed = next((submitters[part] for part in relative.parts if part in submitters), None)
        if roster is None:
            name = _name_of(path, relative, listed, group["id"] if pattern and match else "")
            owners = [people.setdefault(normal(name), Submission(name, name))]
        else:
            owners = _owners(known, relative, listed, group.get("id"), bool(pattern))
        if not owners:
            unmatched.append(shown_name(relative))
        for owner in owners:
            found[normal(owner.id)].append(_file(path, relative, group))
    for key, files in found.items():
        choose(people[key], files, homework)
    return sorted(people.values(), key=lambda p: normal(p.id)), unmatched


def _file(path: Path, relative: Path, group: dict[str, str | None]) -> File:
    number = int(re.sub(r"\D", "", group.get("attempt") or "") or 0)
    inner = group.get("file") or "/".join(relative.parts[1:]) or path.name
    return File(number, bool(group.get("late")), path, inner)


def _layouts(pattern: str) -> list[re.Pattern[str]]:
    """What says whose a file is: the pattern that was given, or the layouts of gradebooks."""
    try:
        layouts = [re.compile(pattern)] if pattern else [re.compile(text, re.IGNORECASE) for text in LAYOUTS]
    except re.error as error:
        raise ValueError(f"--pattern {pattern}: {error}") from None
    if pattern and "id" not in layouts[0].groupindex:
        raise ValueError(f"--pattern {pattern}: expected a group (?P<id>…)")
    return layouts


def _name_of(path: Path, relative: Path, listed: list[list[str]] | None, given: str) -> str:
    """Who handed a file in, where no roster says who there is."""
    if listed:
        return listed[0][0]
    return shown_name(given or (relative.parts[0] if len(relative.parts) > 1 else path.stem))


def _owners(
    known: Roster, relative: Path, listed: list[list[str]] | None, given: str | None, strict: bool
) -> list[Submission]:
    """The students whose file it is: several where Gradescope lists a group."""
    if listed:
        return [p for names in listed if (p := next(filter(None, map(known.exactly, names)), None))]
    return [p for p in [_owner(known, relative, given, strict)] if p]


def _owner(known: Roster, relative: Path, given: str | None, strict: bool) -> Submission | None:
    if given is not None and (person := known.exactly(given) or known.within(given)):
        return person
    if strict:
        return None
    parts = [*relative.parts[:-1], relative.stem]
    return next(filter(None, (known.exactly(part) or known.within(part) for part in parts)), None)


def _gradescope(folder: Path) -> dict[str, list[list[str]]]:
    """Of Gradescope's export: what each submission's folder says of those who handed it in (id, address, name)."""
    listed: dict[str, list[list[str]]] = {}
    for path in [*folder.glob("submission_metadata.yml"), *folder.glob("*/submission_metadata.yml")]:
        try:
            entries = yaml.safe_load(path.read_text("utf8"))
            for name, entry in entries.items():
                people = [{str(k).strip(":"): str(v or "") for k, v in p.items()} for p in entry[":submitters"]]
                told = [[t for t in (p.get("sid"), p.get("email"), p.get("name")) if t] for p in people]
                listed[str(name)] = [names for names in told if names]
        except (AttributeError, KeyError, TypeError, ValueError, yaml.YAMLError):
            raise ValueError(f"{path}: expected Gradescope's list of submissions; remove it or export anew") from None
    return listed


def kind(path: Path) -> str:
    """``.ipynb`` or ``.py``, also where a browser has put something behind it; otherwise the ending."""
    name = path.name.lower()
    if ".ipynb" in name:
        return ".ipynb"
    return ".py" if re.search(r"\.py(\.txt)?$", name) else path.suffix.lower()


def choose(person: Submission, files: list[File], homework: str = "") -> Submission:
    """Take the newest notebook, keep the files beside it, and note what a person should know."""
    notebooks = next(filter(None, ([f for f in files if kind(f.path) == k] for k in (".ipynb", ".py"))), files)
    if len(notebooks) > 1 and len({f.attempt for f in notebooks}) == 1:  # a helper, a scratch notebook
        notebooks = [f for f in notebooks if _is_about(f.path, homework)] or notebooks
    newest = max(notebooks)
    person.late, person.path = newest.late, newest.path
    if len(notebooks) > 1:
        names = ", ".join(shown_name(f.path.name) for f in sorted(notebooks))
        person.notes.append(
            f"{len(notebooks)} files were handed in ({names}); {shown_name(newest.path.name)} was graded"
        )
    person.beside = _beside(newest, files)
    return person


def _beside(notebook: File, files: list[File]) -> dict[str, Path]:
    """The other files of a student, by their names as seen from the notebook, as long as there is room."""
    inside, room, found = Path(notebook.name).parent, LARGEST_BESIDE, {}
    for file in sorted(f for f in files if f.path != notebook.path and f.path.is_file() and not f.path.is_symlink()):
        name = Path(file.name)
        name = name.relative_to(inside) if name.is_relative_to(inside) else name
        size = file.path.stat().st_size
        if size <= room and ".." not in name.parts and not name.is_absolute():
            found[shown_name(name)] = file.path
            room -= size
    return found


def _is_about(path: Path, homework: str) -> bool:
    """Whether a file holds the set-up of this homework."""
    if not path.is_file() or path.is_symlink():
        return False
    with path.open("rb") as file:
        raw = file.read(LARGEST).replace(b"\\", b"").replace(b"'", b'"')
    return b"Homework(" in raw and (not homework or f'"{homework}"'.encode() in raw)


@dataclass
class Cells:
    """What a notebook holds: the source of its code cells, and the lines of its text cells."""

    code: list[str]
    text: list[str]


def read_cells(raw: bytes, suffix: str = ".ipynb") -> Cells:
    """The cells of a notebook (nbformat 3 or 4) or a script; Unreadable says what else it is."""
    if len(raw) > LARGEST:
        raise Unreadable(f"the file is larger than {LARGEST // 10**6} MB: clear the outputs and hand it in again")
    text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "replace")
    if suffix == ".py":
        return _kept(re.split(r"(?m)^#[ \t]*(?:%%|In ?\[|<codecell>).*$", text), [])
    if any(raw.count(sign) > most for sign, most in VALUES.items()):
        raise Unreadable("the file holds too many values: clear the outputs and hand it in again")
    try:
        notebook = json.loads(text)
        sheets = notebook.get("worksheets") or [notebook]
        cells = [cell for sheet in sheets for cell in sheet["cells"]]
        found = [(cell.get("cell_type"), cell.get("source", cell.get("input", ""))) for cell in cells]
        found = [(kind, "".join(source) if isinstance(source, list) else source) for kind, source in found]
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the file is not a notebook: it cannot be read as JSON ({str(error)[:80]})") from None
    except (AttributeError, KeyError, TypeError):
        raise Unreadable("the file is JSON, but not a notebook: it has no list of cells") from None
    texts = [source for kind, source in found if kind in ("markdown", "raw", "heading") and isinstance(source, str)]
    return _kept([source for kind, source in found if kind == "code"], texts)


def _kept(code: list[Any], texts: list[str]) -> Cells:
    if not all(isinstance(cell, str) for cell in code) or sum(map(len, code)) > LARGEST_CODE:
        raise Unreadable(f"the code cells are no text, or longer than {LARGEST_CODE:,} characters")
    code, texts = ([t.encode("utf-8", "replace").decode() for t in part] for part in (code, texts))
    return Cells(code, [line for text in texts for line in text[:LARGEST_CODE].splitlines()])


def code_cells(raw: bytes, suffix: str = ".ipynb") -> list[str]:
    """The source of each code cell."""
    return read_cells(raw, suffix).code


def own_words(cells: Cells, released: set[str]) -> str:
    """What a student wrote beside code: lines of text cells, comments and lone strings that were not released."""
    loose = [line.strip("#\"' \t") for cell in cells.code for m in COMMENT.findall(cell) for line in m.splitlines()]
    return "\n".join(line for line in [*cells.text, *loose] if _words(line) not in released).strip()[:20_000]


def released_notebooks(name: str) -> list[Path]:
    """The notebooks of a homework that students get: the English one and, where it is translated, the Chinese one."""
    places = (ROOT / "book" / folder / f"{name}.ipynb" for folder in ("homework", "zh/homework"))
    return [path for path in places if path.is_file()]


def words_of(paths: Iterable[Path]) -> set[str]:
    """The lines of released notebooks, as :func:`own_words` compares them."""
    found = [read_cells(path.read_bytes()) for path in paths]
    texts = ["", *(text for cells in found for text in [*cells.code, *cells.text])]
    return {_words(line) for text in texts for line in [*text.splitlines(), ""]}


COMMENT = re.compile(r"^[ \t]*(?:#.*|\"{3}[^\"]{20,}\"{3}|'{3}[^']{20,}'{3})", re.MULTILINE)
