r"""What the symbols of each checked equation mean: one entry a label, read by :mod:`bookext.check.formulas`.

A meaning is computed another way than the page states it. Means and variances come from small finite probability spaces, every
outcome counted; derivatives from a complex step through a small network; weights' scales from :mod:`labs.init`; mean-field
numbers from :mod:`labs.propagation` or a quadrature. So both sides of an equation are exact to rounding.
"""

from functools import cache
from importlib import import_module
from pathlib import Path

from bookext.check.case import Meaning


@cache
def all_meanings() -> dict[str, Meaning]:
    """Those of all chapters; they import SymPy and torch, which takes seconds."""
    every: dict[str, Meaning] = {}
    for path in sorted(Path(__file__).parent.glob("ch*.py")):
        found: dict[str, Meaning] = import_module(f"{__name__}.{path.stem}").MEANINGS
        if twice := every.keys() & found:
            raise ValueError(
                f"check/meanings/{path.name}: {', '.join(sorted(twice))} has a meaning in another file too"
            )
        every |= found
    return every
