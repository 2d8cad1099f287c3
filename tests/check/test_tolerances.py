"""Tolerances that could not fail."""

from __future__ import annotations

import pytest
from bookext.check.tolerances import too_wide
from bookext.read.book import ROOT
from bookext.read.chapter import parse_chapter


def told(text: str) -> list[str]:
    return [what for _, what in too_wide(parse_chapter(text, ROOT / "book" / "planted.md"))]


@pytest.mark.parametrize(
    "number, passes",
    [
        ("39 <x ± 25>", False),
        ("0.12 <x ± 0.1>", False),
        ("1 <x ± 1>", False),
        ("15 % <x ± 0.1>", False),
        ("94 % <x ± 0.25>", False),
        ("2e7 <x ± 1e7>", False),
        ("-0.02 <x ± 0.01>", False),
        ("0.0 <x ± 0.1>", False),
        ("0 <x>", True),
        ("1 <x>", True),
        ("94 % <x ± 0.02>", True),
        ("39 <x ± 10>", True),
    ],
)
def test_a_tolerance_as_wide_as_half_its_value_is_refused(number, passes):
    assert (told(f"# A\n\nIt is {{num}}`{number}`.\n") == []) == passes


@pytest.mark.parametrize(
    "test, passes",
    [
        ("abs(x - 0.12) < 0.1", False),
        ("x > 0 and abs(1 - x) <= 0.5", False),
        ("math.isclose(x, 2.0, abs_tol=1)", False),
        ("torch.allclose(x, y, rtol=0.5)", False),
        ("x == pytest.approx(3, abs=2)", False),
        ("all(abs(v - 2) < 1.5 for v in x)", False),
        ("abs(x - 0.12) < 0.01", True),
        ("abs(x - y) < 0.1", True),
        ("torch.allclose(x, y, atol=1)", True),
        ("math.isclose(x, 2.0, rel_tol=0.1)", True),
    ],
)
def test_so_is_one_in_an_assertion(test, passes):
    text = (
        "---\njupytext: {text_representation: {format_name: myst}}\n---\n# A\n\n```{code-cell} ipython3\nassert "
        + test
        + "\n```\n"
    )
    assert (told(text) == []) == passes
