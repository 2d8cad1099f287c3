"""Chapter NN: what its claims stand for, and how they are stressed."""

from bookext.check.stress import Conditions

CLAIMS: dict[str, Conditions] = {
    "new-median-below-mean": Conditions(
        holds={"layers": ("2 * _",)},  # what the sentence covers
        beyond={"layers": ("_ // 4",)},  # where it need not hold; the result is shown
    ),
}

SAID: dict[str, str] = {}
