"""What the site says around its texts, and its figures within, in the reader's language: one catalogue, book/zh/words.po."""

import re
from functools import cache, lru_cache

from .blocks import CHINESE, comments

CATALOGUE = CHINESE / "words.po"
FORMULA, WORD, VALUE = re.compile(r"\$[^$]*\$"), re.compile(r"[A-Za-z]{2,}\w*", re.ASCII), re.compile(r"(%\d)")


@lru_cache(maxsize=1)
def catalogue() -> dict[str, str]:
    """English → Chinese."""
    from babel.messages.pofile import read_po

    with CATALOGUE.open("rb") as file:
        return {str(message.id): str(message.string) for message in read_po(file) if message.id}


def say(language: str, text: str) -> str:
    """A text of the site in a language; a text that the catalogue lacks is an error, so that no page is half translated."""
    return catalogue()[text] if language.startswith("zh") else text


def say_comments(language: str, code: str) -> str:
    """Code of the book's own with its comments in a language."""
    lines = code.splitlines(keepends=True)
    for comment in comments(code):
        (row, start), end = comment.start, comment.end[1]
        said = say(language, comment.string.removeprefix("# "))
        lines[row - 1] = f"{lines[row - 1][:start]}# {said}{lines[row - 1][end:]}"
    return "".join(lines)


def words(text: str) -> list[str]:
    """The words of a figure's text, its formulas left out.

    >>> words("layer 3, $\\\\sigma$ in fp16")
    ['layer', 'in', 'fp16']
    """
    return WORD.findall(FORMULA.sub("", text))


@lru_cache(maxsize=1)
def patterns() -> list[tuple[re.Pattern[str], str]]:
    """The texts of the catalogue with a place for a value (%1), the most particular first, and their Chinese.

    A value ends with no bracket: the scale or unit that stands in one is the whole label's.
    """
    found = [text for text in catalogue() if VALUE.search(text)]
    made = {text: re.sub(r"%(\d)", r"(?P<v\1>.+?)(?<!\))", re.escape(text)) for text in found}
    ordered = sorted(found, key=lambda text: -len(VALUE.sub("", text)))
    return [(re.compile(made[text], re.DOTALL), catalogue()[text]) for text in ordered]


@cache
def drawn(text: str) -> str | None:
    """A text of a figure in Chinese; None where the catalogue lacks it.

    It is its own Chinese if all its words are names: those that are the same in both languages there. A value may be a text, too.
    """
    if text in catalogue():
        return catalogue()[text]
    for pattern, chinese in patterns() if words(text) else ():
        if found := pattern.fullmatch(text):
            values = {f"%{place[1:]}": drawn(value) for place, value in found.groupdict().items()}
            if None not in values.values():
                return "".join(str(values.get(part, part)) for part in VALUE.split(chinese))
    return text if all(catalogue().get(word) == word for word in words(text)) else None
