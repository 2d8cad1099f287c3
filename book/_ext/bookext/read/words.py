"""What the site says around its texts, in the reader's language: one catalogue, book/zh/words.po."""

from functools import lru_cache

from .blocks import CHINESE, comments

CATALOGUE = CHINESE / "words.po"


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
