"""Chapter NN: what the symbols of its equations mean, computed another way than the page states it."""

from __future__ import annotations

from bookext.check.case import Case, Generator, Meaning


def growth(rng: Generator) -> list[Case]:
    """A factor and a depth; the values are enough, since both sides are read from the page."""
    return [Case({"r": float(r), "d": int(d)}) for r, d in zip(rng.uniform(0.5, 2, size=2), (3, 7), strict=True)]


MEANINGS: dict[str, Meaning] = {
    "eq-new-growth": Meaning(growth),
}
