"""Conclusions in the prose and the assertions that decide them, wherever either stands."""

from __future__ import annotations

from bookext.read.book import ROOT
from bookext.read.chapter import parse_chapter
from bookext.read.claims import claims_of, decisions_of
from support import FRONT

TEXT = (
    FRONT
    + """
# A page

## One

Deep ones lose it. {claim}`new-lost`
A role is written ``{claim}`name` ``, and `claim` is no role.

:::{admonition} Note
- They all do. {claim}`new-all`
:::

```{code-cell} ipython3
---
mystnb:
  figure:
    name: fig-new
    caption: Depth against loss. The deeper, the
      worse, and at twenty layers nothing is
      left. {claim}`new-lost`
---
x = 1  # not {claim}`new-comment`
for y in (2, 3):
    assert x < y, "claim: new-lost"
assert x == 1, "not a claim: new-no"
```

## Two

::::{exercise} Why
:label: ex-new-why

Why?

:::{dropdown} Solution
Because. {claim}`new-why`
:::
::::

```{code-cell} ipython3
%matplotlib inline
assert x, "claim: new-why"
```
"""
)


def test_claims_are_found_with_their_lines_and_sections():
    chapter = parse_chapter(TEXT, ROOT / "book" / "97-planted.md")
    found, lines = claims_of(chapter), TEXT.splitlines()
    assert [(claim.name, claim.section, claim.caption) for claim in found] == [
        ("new-lost", "One", False), ("new-all", "One", False), ("new-lost", "One", True), ("new-why", "Two", False)
    ]  # fmt: skip
    assert all(f"{{claim}}`{claim.name}`" in lines[claim.line - 1] for claim in found)
    assert [claim.text for claim in found] == [
        "Deep ones lose it.",
        "They all do.",
        "Depth against loss. The deeper, the worse, and at twenty layers nothing is left.",
        "Because.",
    ]


def test_an_assertion_decides_by_its_message_and_also_inside_a_loop():
    chapter = parse_chapter(TEXT, ROOT / "book" / "97-planted.md")
    found, lines = decisions_of(chapter), TEXT.splitlines()
    assert [(d.name, d.cell, d.section) for d in found] == [("new-lost", 0, "One"), ("new-why", 1, "Two")]
    assert all(f'"claim: {decision.name}"' in lines[decision.line - 1] for decision in found)
