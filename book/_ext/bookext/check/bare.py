"""For review: numbers in the prose that no cell checks. The list fails nothing: it is there to be read."""

import math
import re

from bookext.read.chapter import NUM_LIKE, Chapter, literal_value

# A number that claims: a decimal, a percentage, a power. Not {num}, not a formula's own (labels, links and code are left out).
BARE = re.compile(r"(?<![\w.])(\d+\.\d+(?:\s*%)?|\d+\s*%|\d+(?:\.\d+)?\^(?:\{[^}]*\}|\d+))")
SKIPPED = re.compile(r"`[^`]*`|\]\([^)]*\)|\{[\w:]+\}`[^`]*`")


def _number(text: str) -> float:
    """The value of a bare number; NaN for a power of something."""
    base, _, exponent = text.partition("^")
    try:
        return float(base) ** float(exponent.strip("{}")) if exponent else literal_value(base)[0]
    except ValueError:
        return math.nan


def bare_numbers(chapter: Chapter) -> list[str]:
    """Decimals, percentages and powers in the prose that neither a ``{num}`` carries nor a cell uses, for review."""
    found, fence, display = [], False, False
    code = "\n".join(cell.source for cell in chapter.code)
    settings = {abs(float(m[0])) for m in re.finditer(r"\d+(?:\.\d+)?(?:e-?\d+)?", code)}
    for number, line in enumerate(chapter.text.splitlines(), 1):
        fence ^= line.startswith(("```", "~~~"))
        display ^= line.strip().startswith("$$")
        if fence or display or line.startswith((":", "#", "| L")):
            continue
        rest = SKIPPED.sub(" ", NUM_LIKE.sub(" ", line))
        found += [f"{chapter.name}:{number}: {m[1]}   … {rest[max(0, m.start() - 40) : m.end() + 20].strip()} …"
                  for m in BARE.finditer(rest) if _number(m[1]) not in settings]  # fmt: skip
    return found
