"""What each claim of the book is claimed for, and how it is stressed: one entry a claim, a file a chapter.

``CLAIMS`` are the claims that the chapter's cells decide. ``SAID`` are sentences with a strong word that are no claims, by their
first words, and why: ``"A product of nilpotent matrices": "proof: eq-jac-nilpotent"``.
"""

from importlib import import_module

from bookext.check.stress import Conditions


def conditions_of(number: str) -> tuple[dict[str, Conditions], dict[str, str]]:
    """The claims and the other strong sentences of the chapter whose file begins with a number, such as ``03``."""
    name = f"{__name__}.ch{number}"
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return {}, {}
    return module.CLAIMS, module.SAID


def said_of(page: str) -> dict[str, str] | None:
    """The strong sentences that are no claims of the page with a file name; None where a page needs no reasons."""
    from . import pages

    number = page.partition("-")[0]
    return conditions_of(number)[1] if number.isdigit() else pages.SAID.get(page)


def file_of(page: str) -> str:
    """Where the conditions of a chapter, or of another page, stand, as messages show it."""
    number = page.partition("-")[0]
    return f"book/_ext/bookext/check/conditions/{f'ch{number}' if number.isdigit() else 'pages'}.py"
