"""Claims without a run: the rules, each broken once; the slice, what makes its record stale, and variations of it."""

from __future__ import annotations

import copy
import json
import sys
from types import SimpleNamespace

import pytest
from bookext.check import ledger, overstate, slices, stress
from bookext.check.slices import SliceError, described, fingerprint, slice_of, vary
from bookext.check.stress import Conditions, conflicts, in_words, outcome, plan_of, records_text
from bookext.read.chapter import parse_chapter
from support import FRONT

TEXT = (
    FRONT
    + """
# A page

```{code-cell} ipython3
import math

import matplotlib.pyplot as plt
import torch

from labs import formats, init, plots

plots.use_style()
```

## Before

```{code-cell} ipython3
def grown(factor, depth, jitter=0.0):
    \"\"\"Words.\"\"\"
    assert depth > 0
    return factor**depth * (1 + jitter)


unused = sum(range(9))
noise = torch.randn(3, generator=torch.Generator().manual_seed(3)).abs().max().item()
```

## Growth

```{code-cell} ipython3
sizes, depth = [], 8
sizes.append(init.xavier_std(2, 2))
elsewhere = grown(1.1, 3, jitter=0.5)
```

```{code-cell} ipython3
figure, axes = plt.subplots()
axes.plot(sizes)
```

```{code-cell} ipython3
:tags: [guard]

assert sizes
```

Factors above 1 grow with depth. {claim}`new-grows`

```{code-cell} ipython3
# A comment.
large = grown(1.5 + noise, depth)
print(f"{large:.1f}")
assert math.isfinite(large)
assert large > grown(1.5, depth=2) and sizes, "claim: new-grows"
after = 3
```
"""
)
LINE = next(n for n, line in enumerate(TEXT.splitlines(), 1) if '"claim: new-grows"' in line)
CONDITIONS = Conditions(holds={"depth": ("_ // 2", "2 * _")}, beyond={"grown.jitter": ("-1.0",)}, draws=2)


def planted(text=TEXT, folder=None):
    from bookext.read.book import ROOT

    return parse_chapter(text, (folder or ROOT / "book") / "97-planted.md")


def part_of(text=TEXT):
    chapter = planted(text)
    return slice_of(chapter, len(chapter.code) - 1)


def record(part, **runs):
    made = {"as printed": {"held": True, "opposite": [False]}, "draw 1": {"held": True}, "draw 2": {"held": True}}
    made |= {"depth = 4": {"held": True}, "depth = 16": {"held": True}, "grown.jitter = -1": {"held": False}}
    return {"code": fingerprint(part, "new-grows"), "drawn": True, "runs": made | runs}


@pytest.fixture
def conditions(monkeypatch):
    """What stands in check/conditions/ch97.py."""
    module = SimpleNamespace(CLAIMS={"new-grows": CONDITIONS}, SAID={})
    monkeypatch.setitem(sys.modules, "bookext.check.conditions.ch97", module)
    return module


@pytest.fixture
def found(conditions, tmp_path):
    """The ledger's problems of a planted chapter, with a record of the unchanged one."""
    (tmp_path / "_stress").mkdir()
    kept = tmp_path / "_stress" / "97-planted.json"

    def problems(text=TEXT, made=None):
        made = {"new-grows": record(part_of())} if made is None else made
        kept.write_text(records_text(made), "utf8")
        return [p for p in ledger.problems(planted(text, tmp_path)) if "claim" in p or "SAID" in p]

    return problems


# ---- The slice


def test_the_slice_has_what_the_claim_needs_and_nothing_else():
    text = part_of().text("new-grows")
    for kept in ("import torch", "from labs import init\n", "def grown", "noise = ", "sizes.append", "depth = "):
        assert kept in text
    for left in (
        "math",
        "plt",
        "plots",
        "formats",
        "print",
        "isfinite",
        "after",
        "Words",
        "depth > 0",
        "# A",
        "assert sizes",
    ):
        assert left not in text
    namespace = {}
    exec(compile(text, "slice", "exec"), namespace)
    assert namespace["large"] > namespace["grown"](1.5, 2)


@pytest.mark.parametrize(
    "old, new, stale",
    [
        ("# A comment.", "# Another.", False),
        ('"""Words."""', '"""Other words."""', False),
        ('print(f"{large:.1f}")', "print(large)", False),
        ('print(f"{large:.1f}")', 'shown.row("large", large)', False),  # a table is printing, too
        ("depth = [], 8", 'depth = [], 8\nshown = tables.Table("Sizes", "depth", "size")', False),
        ("assert math.isfinite(large)", "assert large > 0", False),
        ("assert depth > 0", "assert depth >= 0", False),
        ("axes.plot(sizes)", "axes.plot(sizes, color=plots.FORWARD)", False),
        ("assert sizes\n", "assert len(sizes)\n", False),
        ("from labs import formats, init", "from labs import activations, init", False),
        ("after = 3", "after = 4", False),
        ("unused = sum(range(9))\n", "", True),  # a cell that is needed counts as it stands
        ("grown(1.5 + noise, depth)", "grown( 1.5 + noise,  depth )", False),
        ("factor**depth", "factor**depth + 1", True),
        ("manual_seed(3)", "manual_seed(4)", True),
        ("depth = [], 8", "depth = [], 9", True),
        ("xavier_std(2, 2)", "xavier_std(2, 3)", True),
        ("large > grown(1.5, depth=2)", "large >= grown(1.5, depth=2)", True),
    ],
)
def test_what_can_move_the_result_makes_a_record_stale_and_nothing_else(old, new, stale):
    assert TEXT.count(old) == 1
    before, after = (fingerprint(part_of(text), "new-grows") for text in (TEXT, TEXT.replace(old, new)))
    assert (before != after) is stale


@pytest.mark.parametrize(
    "module, addition, stale",
    [
        ("init", "\nADDED = 1\n", True),
        ("init", "\n# Words.\n", False),
        ("activations", "\nADDED = 1\n", True),  # init imports it
        ("formats", "\nADDED = 1\n", False),
        ("plots", "\nADDED = 1\n", False),
        ("drawings", "\nADDED = 1\n", False),
        ("tables", "\nADDED = 1\n", False),
    ],
)
def test_the_modules_of_labs_that_it_uses_count(module, addition, stale, tmp_path, monkeypatch):
    from bookext.read.book import ROOT

    part = part_of()
    before = fingerprint(part, "new-grows")
    (tmp_path / "labs").mkdir()
    for path in (ROOT / "labs").glob("*.py"):
        text = path.read_text("utf8") + (addition if path.stem == module else "")
        (tmp_path / "labs" / path.name).write_text(text, "utf8")
    monkeypatch.setattr(slices, "ROOT", tmp_path)
    assert (fingerprint(part, "new-grows") != before) is stale


def test_another_torch_counts(monkeypatch):
    before = fingerprint(part_of(), "new-grows")
    monkeypatch.setattr(slices, "version", lambda name: "9.9" if name == "torch" else "0")
    assert fingerprint(part_of(), "new-grows") != before


def test_training_in_the_section_belongs_to_the_slice():
    """A loop that changes a network through its optimiser binds no name that the assertion reads."""
    text = FRONT + (
        "\n# A\n\n## B\n\n```{code-cell} ipython3\nimport torch\nnet = torch.nn.Linear(2, 1)\n```\n\n"
        "```{code-cell} ipython3\nprint('nothing')\nfit = torch.optim.SGD(net.parameters(), 0.1)\nfit.step()\n```\n\n"
        "```{code-cell} ipython3\naside = 1 + 1\n```\n\nSo. {claim}`a-b`\n\n"
        '```{code-cell} ipython3\nassert net.weight.norm() > 0, "claim: a-b"\n```\n'
    )
    shown = slice_of(planted(text), 3).text()
    assert "fit.step()" in shown and "nothing" not in shown and "aside" not in shown


# ---- Variations


@pytest.mark.parametrize(
    "key, expression, says, line",
    [
        ("depth", "2 * _", "depth = 16", "sizes, depth = ([], 2 * 8)"),
        ("depth", "(4, 5)", "depth = (4, 5)", "sizes, depth = ([], (4, 5))"),
        ("grown.jitter", "_ + 0.5", "grown.jitter = 0.5", "def grown(factor, depth, jitter=0.0 + 0.5):"),
        ("large", "-_", "large = -_", "large = -grown(1.5 + noise, depth)"),
        ("jitter", "2 * _", "jitter = 1", "elsewhere = grown(1.1, 3, jitter=2 * 0.5)"),
    ],
)
def test_a_variation_rewrites_one_place(key, expression, says, line):
    tree = part_of().program("new-grows")
    assert described(tree, key, expression) == says
    vary(tree, key, expression)
    assert line in slices.ast.unparse(tree)


def test_a_variation_of_nothing_or_of_two_places_names_them():
    with pytest.raises(SliceError, match="width rewrites nothing"):
        vary(part_of().program(), "width", "3")
    text = TEXT.replace("large = grown", "depth = 9\nlarge = grown").replace("after = 3", "")
    text = text.replace("sizes.append(init", "sizes.append(depth * init")
    lines = [n for n, line in enumerate(text.splitlines(), 1) if "depth = 9" in line or "depth = []" in line]
    with pytest.raises(SliceError, match=rf"depth rewrites 2 places \(lines {lines[0]}, {lines[1]}\)"):
        vary(part_of(text).program(), "depth", "3")


def test_conditions_that_are_no_tuples_are_refused():
    with pytest.raises(ValueError, match=r"write a tuple of expressions"):
        Conditions(holds={"depth": "4"})
    with pytest.raises(ValueError, match="share is 0"):
        Conditions(share=0)


# ---- The rules


def test_the_unbroken_chapter_is_clean(found):
    assert found() == []


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("{claim}`new-grows`", "", "claim new-grows is in no sentence; end the sentence that says it with"),
        (
            "{claim}`new-grows`",
            "{claim}`new-grows` {claim}`new-more`",
            "claim new-more: no assertion decides it; in a cell of 'Growth'",
        ),
        ("{claim}`new-grows`", "{claim}`new-grows` {claim}`grows`", "{claim}`grows`: a claim is called like a label"),
        ("Factors above", "## Else\n\nFactors above", "never"),
        ("after = 3", 'assert after, "claim: new-grows"', "decided more than once (LINE, NEXT)"),
        (
            "after = 3",
            'assert after, "claim: new-more"',
            "new-more has no conditions; enter them under CLAIMS in book/_ext/bookext/check",
        ),
        ("manual_seed(3)", "manual_seed(4)", "its code has changed since it was stressed; run make stress CHAPTER=97"),
        ("grown(1.5 + noise, depth)", "grown(1.5 + noise, sum([depth]))", "its code has changed"),
    ],
)
def test_a_planted_fault_is_named(found, old, new, message):
    assert TEXT.count(old) == 1
    if message == "never":  # said in another section than decided
        text = TEXT.replace("Factors above 1 grow with depth. {claim}`new-grows`\n", "")
        text = text.replace("## Growth", "Factors grow. {claim}`new-grows`\n\n## Growth")
        new, message = "", "said in 'Before' and decided in 'Growth'; say it there too, or decide it there"
    else:
        text, message = TEXT.replace(old, new), message.replace("LINE", str(LINE)).replace("NEXT", str(LINE + 1))
    reports = found(text)
    assert any(message in report for report in reports), reports
    assert all(":" in report and report.split(":")[1].isdigit() for report in reports)


def test_a_claim_decided_in_another_chapter_may_be_cited(found, monkeypatch):
    from bookext.check import claims

    monkeypatch.setattr(
        claims, "decided_in_the_book", lambda: {"other-claim": ["01-other.md"], "new-grows": ["97-planted.md"]}
    )
    assert found(TEXT.replace("{claim}`new-grows`", "{claim}`new-grows` {claim}`other-claim`")) == []
    monkeypatch.setattr(claims, "decided_in_the_book", lambda: {"new-grows": ["97-planted.md", "01-other.md"]})
    assert any(f"decided more than once ({LINE}, 01-other.md)" in report for report in found())


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda r: r.clear(), "was never stressed; run make stress CHAPTER=97"),
        (lambda r: r["new-grows"]["runs"].pop("draw 2"), "was not run with draw 2; run make stress"),
        (lambda r: r["new-grows"]["runs"].pop("as printed"), "was not run as printed; run make stress"),
        (lambda r: r["new-grows"]["runs"].update({"as printed": {"held": False}}), "does not hold where it is printed"),
        (
            lambda r: r["new-grows"]["runs"].update({"depth = 16": {"held": False}}),
            "does not hold with depth = 16; say what holds",
        ),
        (
            lambda r: r["new-grows"]["runs"].update({"draw 2": {"held": False}}),
            "holds in 1 of 2 draws, and is claimed for all",
        ),
        (
            lambda r: r["new-grows"]["runs"].update({"depth = 4": {"held": False, "error": "ValueError: no"}}),
            "failed: ValueError: no with depth = 4",
        ),
    ],
)
def test_a_record_that_is_missing_or_in_conflict_is_named(found, change, message):
    made = {"new-grows": record(part_of())}
    change(made)
    reports = found(made=made)
    assert len(reports) == 1 and message in reports[0], reports


def test_the_conditions_and_the_record_must_agree(found, conditions):
    conditions.CLAIMS["new-gone"] = Conditions()
    reports = found()
    assert any(
        "new-gone has conditions in book/_ext/bookext/check/conditions/ch97.py, and no assertion" in r for r in reports
    )
    del conditions.CLAIMS["new-gone"]
    conditions.CLAIMS["new-grows"] = Conditions(holds={"width": ("4",)}, draws=2)
    assert [r for r in found() if "new-grows: holds: width rewrites nothing; name one assignment" in r]
    conditions.CLAIMS["new-grows"] = Conditions(draws=0, share=0.5)
    assert [r for r in found() if "random numbers are drawn, and no other draw is tried" in r]
    conditions.CLAIMS["new-grows"] = Conditions(draws=2, share=0.5)
    assert found(made={"new-grows": record(part_of(), **{"draw 2": {"held": False}})}) == []


def test_a_claim_without_draws_needs_none():
    plan, wrong = plan_of(part_of(), "new-grows", Conditions(draws=10))
    made = {"code": "", "drawn": False, "runs": {"as printed": {"held": True}}}
    assert not wrong and stress.missing(made, plan) == [] and list(conflicts(made, plan, 1.0)) == []
    assert in_words(outcome(made, plan)) == "held; nothing is drawn"


def test_the_result_in_words():
    part = part_of()
    plan, _ = plan_of(part, "new-grows", CONDITIONS)
    result = outcome(record(part), plan)
    assert in_words(result) == "held in 2 of 2 draws; held at depth 4, 16; fails at jitter -1"
    assert in_words(result, "zh") == "2次抽样中2次成立；取depth 4, 16时也成立；取jitter -1时不成立"


def test_records_are_sorted_and_a_line_a_run():
    part = part_of()
    text = records_text({"b-c": record(part), "a-b": record(part)})
    assert json.loads(text) == {"a-b": record(part), "b-c": record(part)}
    assert text.index("a-b") < text.index("b-c")
    assert all(line.count('"held"') <= 1 for line in text.splitlines())


# ---- Overstated


def test_each_way_of_overstating_is_noticed(found, conditions):
    conditions.CLAIMS["new-grows"] = Conditions(CONDITIONS.holds, CONDITIONS.beyond, draws=2, share=0.5)
    made = record(part_of(), **{"draw 2": {"held": False}})
    assert found(made={"new-grows": made}) == []
    plan, _ = plan_of(part_of(), "new-grows", conditions.CLAIMS["new-grows"])
    changed = list(overstate.overstated(made, plan, conditions.CLAIMS["new-grows"]))
    assert [kind for kind, *_ in changed] == ["opposite", "beyond", "draws"]
    for _, _, record_, planned, share in changed:
        assert list(conflicts(record_, planned, share))


def test_an_assertion_that_also_holds_the_other_way_is_named(found, tmp_path):
    made = copy.deepcopy({"new-grows": record(part_of())})
    made["new-grows"]["runs"]["as printed"]["opposite"] = [False, True]
    found(made=made)
    score, survivors = overstate.claims(planted(folder=tmp_path))
    assert score["opposite made"] == 2 and score["opposite caught"] == 1
    assert (
        len(survivors) == 1
        and "claim new-grows: nothing notices it comparison 2 of its assertion turned round" in survivors[0]
    )
