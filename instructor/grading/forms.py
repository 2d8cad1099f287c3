"""Right numbers in another container: a dict, a text, brackets around brackets. What a person would read in them."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from typing import Any

import numpy as np

LONGEST = 2000  # characters of a text that is read as numbers
WORDS = {"True": "true", "False": "false", "None": "null", "nan": "NaN", "inf": "Infinity"}
CALL = re.compile(r"[\w.]*\((.*?)(?:, *(?:dtype|device|grad_fn|requires_grad)=.*)?\)", re.DOTALL)  # tensor(…), array(…)


def read(value: Any) -> Any:
    """The numbers of an answer as plain lists; the same object if it is as it should be.

    A dict is read in the order of its numbers, or else of its entries.

    >>> read({"deltas": [1, 2], "gradients": (3, "4")}), read("array([1., .5])"), read([[7]]), read(3 + 0j), read("2/4")
    ([[1, 2], [3, 4]], [1.0, 0.5], 7, 3.0, 0.5)
    """
    if isinstance(value, dict):
        parts = sorted(value.items(), key=lambda item: float(item[0])) if all(map(_number, value)) else value.items()
        return read([part for _, part in parts])
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, list | tuple):
        if len(value) == 1:
            return read(value[0])
        parts = [read(part) for part in value]
        return value if all(new is old for new, old in zip(parts, value, strict=True)) else parts
    if isinstance(value, np.ndarray) and value.size == 1:
        return read(value.tolist())
    if isinstance(value, complex | np.ndarray) and np.iscomplexobj(value) and not np.asarray(value).imag.any():
        return value.real
    return value


def doubt(value: Any) -> str:
    """What leaves open how an answer is to be read; "" for nothing, and "words" for a text without a number.

    >>> doubt({"a": 1, "b": 2}), doubt({"a": 1}), doubt("0.5"), doubt([1, "about 3"]), doubt("BDAC")
    ('a dict', '', '', 'a text', 'words')
    """
    if isinstance(value, dict) and len(value) > 1:
        return "a dict"
    if isinstance(value, dict | list | tuple):
        parts = value.values() if isinstance(value, dict) else value
        return next(filter(None, map(doubt, parts)), "")
    if not isinstance(value, str) or not isinstance(read(value), str):
        return ""
    return "a text" if re.search(r"\d", value) else "words"


def _number(text: Any) -> bool:
    try:
        return float(text) == float(text)
    except (TypeError, ValueError):
        return False


def _of_text(text: str) -> Any:
    """A text's numbers, or the text; nothing in it is run."""
    plain = text.strip()
    if len(plain) > LONGEST or plain.count("[") + plain.count("(") > 100:
        return text
    if match := CALL.fullmatch(plain):
        plain = match[1] if match[0][0] != "(" else plain
    if re.fullmatch(r"[-+]?\d{1,30} */ *\d{1,30}", plain):
        try:
            return float(Fraction(plain.replace(" ", "")))
        except ZeroDivisionError:
            return text
    plain = re.sub(r"[A-Za-z]+", lambda word: WORDS.get(word[0], word[0]), plain.replace("(", "[").replace(")", "]"))
    try:
        plain = re.sub(
            r"(\d)\.(?!\d)", r"\1.0", re.sub(r"(?<!\d)\.(?=\d)", "0.", plain)
        )  # 2. and .5 as JSON writes them
        return read(json.loads(re.sub(r",\s*\]", "]", plain)))
    except (ValueError, RecursionError):
        return float(plain) if _number(plain) else text
