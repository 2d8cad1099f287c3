"""What the site says around its texts, in the reader's language: one catalogue, book/zh/words.po."""

from functools import lru_cache

from .blocks import CHINESE

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
