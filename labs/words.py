"""What ``labs`` says, in the reader's language: English, or Chinese where the environment says ``LABS_LANGUAGE=zh``.

The Chinese stands in one catalogue, ``words.po``, in gettext's format. :func:`say` looks a text up before its places are filled;
:func:`retell` translates one that is finished, as the message of an ``assert`` in a notebook is.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from string import Formatter

LANGUAGES = ("en", "zh")
_ENTRY = re.compile(r'^msgid ((?:".*"\n)+)msgstr ((?:".*"\n?)+)', re.MULTILINE)


def speak(language: str) -> None:
    """From now on ``labs`` says what it says in this language, ``"en"`` or ``"zh"``; ValueError for any other.

    >>> speak("zh"), say("not answered yet")
    (None, '还没有作答')
    >>> speak("en"), say("not answered yet")
    (None, 'not answered yet')
    """
    if language not in LANGUAGES:
        raise ValueError(f"language: expected one of {', '.join(LANGUAGES)}, got {language!r}")
    os.environ["LABS_LANGUAGE"] = language


@contextmanager
def spoken(language: str) -> Iterator[None]:
    """What is said within is said in this language.

    >>> with spoken("zh"):
    ...     print(say("healthy"))
    健康
    """
    before = os.environ.get("LABS_LANGUAGE", "en")
    speak(language)
    try:
        yield
    finally:
        os.environ["LABS_LANGUAGE"] = before


def _english() -> bool:
    return os.environ.get("LABS_LANGUAGE", "en") != "zh"


@cache
def catalogue() -> dict[str, str]:
    """English → Chinese, in the order of the file."""

    def text(lines: str) -> str:
        return "".join(map(json.loads, lines.split("\n")[:-1]))

    entries = _ENTRY.findall(Path(__file__).with_suffix(".po").read_text("utf8") + "\n")
    return {text(english): text(chinese) for english, chinese in entries if text(english)}


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """The texts that have numbered places, or braces, each with its translation."""
    found = []
    for english, chinese in catalogue().items():
        parts = list(Formatter().parse(english)) if "{" in english else []
        if parts and all(field is None or field.isdecimal() for _, field, _, _ in parts):
            pattern = "".join(re.escape(fixed) + ("(.*?)" if field else "") for fixed, field, _, _ in parts)
            found.append((re.compile(pattern, re.DOTALL), chinese))
    return found


def say(text: str) -> str:
    """A text in the reader's language, its places still to be filled; one that the catalogue lacks stays English."""
    return text if _english() else catalogue().get(text, text)


def retell(text: str) -> str:
    """A finished text in the reader's language: what stands in its places is kept, or retold in turn.

    >>> with spoken("zh"):
    ...     print(retell("expected the shape (5, 2), got (2, 5) (see 'Clipping the gradient', chapter 4)"))
    应为形状(5, 2)，得到的是(2, 5)（见第4章“裁剪梯度”）
    """
    if _english():
        return text
    if text in catalogue():
        return catalogue()[text]
    for pattern, chinese in _patterns():
        if found := pattern.fullmatch(text):
            return chinese.format(*map(retell, found.groups()))
    return text
