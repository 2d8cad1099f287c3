"""Where the build keeps what it has worked out, and the hashes that say whether it still holds."""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from pathlib import Path
from threading import get_ident
from typing import Any

from .book import ROOT

BUILD = ROOT / "_build"


def digest(paths: Iterable[Path]) -> str:
    """A short hash of files' names and contents."""
    total = hashlib.sha256(sys.version.encode())
    for path in sorted(paths):
        total.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return total.hexdigest()[:16]


def text_digest(*texts: str) -> str:
    """A short hash of texts."""
    return hashlib.sha256("\0".join([sys.version, *texts]).encode()).hexdigest()[:16]


@cache
def pins() -> str:
    """The hash of requirements.txt: what packages make of a text is kept for these very packages."""
    return digest([ROOT / "requirements.txt"])


def keep(name: str, key: str, found: Any) -> None:
    """Keep what was worked out for a ``key``, and nothing else for this name."""
    kept = BUILD / "kept" / f"{name}-{key}.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    for older in kept.parent.glob(f"{name}-{'?' * len(key)}.json"):
        older.unlink(missing_ok=True)  # the run for the other language may have been quicker
    (whole := kept.with_suffix(f".{os.getpid()}-{get_ident()}")).write_text(json.dumps(found), "utf8")
    whole.replace(kept)  # a full disk leaves no half of it


def remembered(name: str, key: str, compute: Callable[[], Any]) -> Any:
    """What ``compute`` gave when it last ran for this ``key``, if it did; else what it gives now. JSON, one key a name is kept."""
    with contextlib.suppress(FileNotFoundError):
        return json.loads((BUILD / "kept" / f"{name}-{key}.json").read_text("utf8"))
    keep(name, key, found := compute())
    return json.loads(json.dumps(found))  # the same whether it is read or was worked out


def of_page(what: str, page: Path, text: str, others: Iterable[Path], compute: Callable[[], Any]) -> Any:
    """``remembered`` for a page of the book, while a text of it, those of the other files that exist, and the pins are as they were."""
    name = "-".join((what, *page.relative_to(ROOT / "book").with_suffix("").parts))
    return remembered(name, text_digest(text, pins(), digest(p for p in others if p.exists())), compute)


def files(folder: str) -> list[Path]:
    """The files of a folder of the repository, what Python compiles left out."""
    return [p for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts]


@lru_cache(maxsize=2)
def cache_path(language: str = "en") -> Path:
    """The folder of outputs that hold with this very ``labs``, these very pins and this environment; below it those for another language.

    What of it was computed with an earlier ``labs`` was taken over (``run/execute``): its page uses nothing that has changed.
    """
    shapes = [Path(__file__).with_name(name) for name in ("machine.py", "uses.py")]
    folder = digest([*files("labs"), ROOT / "requirements.txt", *shapes])
    return BUILD / "cache" / folder / language.removeprefix("en")
