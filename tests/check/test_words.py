"""Strong words and reasons given: what is a sentence, which of them need a reason, and which reasons hold."""

from __future__ import annotations

import pytest
from bookext.check import words
from bookext.read.book import ROOT
from bookext.read.chapter import parse_chapter
from support import FRONT

PAGE = (
    FRONT
    + """
# A page that never counts

No rate helps. Every seed fails. {claim}`page-seeds`
- **Only a list.** Nothing is left of $no$ `never`.

:::{admonition} Always
Does it never help?
"It can never help", they say {cite:p}`d2l`.
It is small, at most 1.
:::

````{exercise} None
:label: ex-none

:::{dropdown} Never
All of it is {num}`1 <x>`.
:::
````

````markdown
```{code-cell}
It never works.
```
It cannot.
````

$$
x = \\text{never}
$$ (def-x)

```{code-cell} ipython3
---
mystnb:
  figure:
    caption: Nothing grows. Some does.
---
x = 1
assert x == 1
```
"""
)


def page(text: str = PAGE, name: str = "planted.md"):
    return parse_chapter(text, ROOT / "book" / name)


def test_strong_sentences_of_paragraphs_lists_solutions_and_captions_are_found():
    found = [(s.text, s.words) for s in words.strong(page())]
    assert found == [
        ("No rate helps.", ["No", "helps"]),
        ("Nothing is left of $no$ `never`.", ["Nothing"]),
        ("All of it is {num}`1 <x>`.", ["All"]),
        ("Nothing grows.", ["Nothing"]),
    ]


@pytest.mark.parametrize(
    "text, strong",
    [
        ("It is worst of all.", True),
        ("Not at all.", False),
        ("At most two.", False),
        ("Most runs end so.", True),
        ("It cannot.", True),
        ("However deep it is.", True),
        ("However, it is.", False),
        ("A note.", False),
        ("The loss is NaN because a unit died.", True),
        ("A larger step makes the bottom move.", True),
        ("Whether it trains depends on the depth.", True),
        ("So the layers share a rate.", True),
        ("The gradient is small, so it stalls.", True),
        ("The gradient may be small because a unit died.", False),
        ("By {eq}`eq-explode` the gradient is small, so it stalls.", False),
        ("The gradient is small, so it stalls {cite:p}`d2l`.", False),
        ("The gradient is small, so with $n = 2$ units,", False),
        ("It is even, so its mean is 0.", False),
        ("The gradient is small, so that it stalls.", False),
    ],
)
def test_words(text, strong):
    assert bool(words.Sentence(text, 1).words) == strong


@pytest.mark.parametrize(
    "reason, wrong",
    [
        ("proof: eq-explode", None),
        ("proof: eq-nowhere", "no equation of the book is called 'eq-nowhere'"),
        ("quotation: d2l", None),
        ("quotation: nobody", "references.bib has no 'nobody'"),
        ("exact: x == 1", None),
        ("exact: x == 2", "no assertion of the page has 'x == 2' in it"),
        ("exact:", "no assertion of the page has '' in it"),
        ("plan", None),
        ("arithmetic", None),
        ("because", "begin the reason with one of"),
    ],
)
def test_reasons(reason, wrong):
    told = words.fault(page(), reason)
    assert told is None if wrong is None else told is not None and told.startswith(wrong)


def test_a_strong_sentence_without_reason_and_a_reason_without_sentence_are_named(monkeypatch):
    monkeypatch.setattr(words, "said_of", lambda _: {"No rate": "report", "Nobody": "report", "All of it": "exact: y"})
    told = [what for _, what in words.unsaid(page(PAGE, "03-planted.md"))]
    assert any("0 strong sentences begin 'Nobody'" in what for what in told)
    assert any("'All of it': no assertion of the page has 'y' in it" in what for what in told)
    assert any(what.startswith("'Nothing' without a claim: Nothing is left") for what in told)
    assert not any("No rate" in what for what in told)


def test_the_command_lists_them_and_fails_nothing(tmp_path, capsys):
    from bookext.check.__main__ import main

    path = tmp_path / "page.md"
    path.write_text("# A page\n\nIt never does.\nIt does.\n", "utf8")
    assert main(["--words", str(path)]) == 0
    assert capsys.readouterr().out.endswith("page.md:3: [never] (—) It never does.\n")
