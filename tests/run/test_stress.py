"""Claims run anew: with other seeds, in other conditions, in processes that may die; what is kept, and what is noticed."""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace

import pytest
from bookext.check import claims
from bookext.check.stress import Conditions, read_records, record_path
from bookext.read.chapter import read_chapter
from bookext.read.machine import ENVIRONMENT
from bookext.run import recorder, stress
from support import FRONT

pytestmark = pytest.mark.xdist_group("stress")  # one fork server, which imports torch once

TEXT = (
    FRONT
    + """
# A page

```{code-cell} ipython3
import torch

depth, steps = 8, 3


def draw(seed, depth=depth):
    return torch.randn(depth, generator=torch.Generator().manual_seed(seed))
```

## Growth

It grows. {claim}`new-grows`
This one draw is positive. {claim}`new-one-seed`
Depth does not matter below twenty. {claim}`new-shallow`

```{code-cell} ipython3
growth = [1.5**t for t in range(depth)]
mean = draw(seed=FIRST).mean().item()
assert growth[-1] > growth[0], "claim: new-grows"
assert mean > 0 and len(growth) == depth, "claim: new-one-seed"
assert depth < 20, "claim: new-shallow"
```

## Elsewhere

Nothing is drawn here. {claim}`new-still`

```{code-cell} ipython3
g = torch.Generator().manual_seed(0)
assert steps < 5, "claim: new-still"
```
"""
)
STILL = Conditions(holds={"steps": ("_ + 1",)}, beyond={"steps": ("10 * _",)})


def positive_seed():
    """A seed whose eight numbers have a positive mean, so that the page's own run holds."""
    import torch

    return next(s for s in range(9) if torch.randn(8, generator=torch.Generator().manual_seed(s)).mean() > 0.2)


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A chapter with its conditions, and what stresses it."""
    path, text = tmp_path / "98-planted.md", TEXT.replace("FIRST", str(positive_seed()))
    module = SimpleNamespace(SAID={}, CLAIMS={
        "new-grows": Conditions(holds={"depth": ("2 * _",)}, draws=3),
        "new-one-seed": Conditions(draws=10),
        "new-shallow": Conditions(holds={"depth": ("2 * _", "30")}, draws=1),
        "new-still": STILL,
    })  # fmt: skip
    monkeypatch.setitem(sys.modules, "bookext.check.conditions.ch98", module)
    monkeypatch.setattr(claims, "decided_in_the_book", dict)
    for name, value in (ENVIRONMENT | {"MPLBACKEND": "agg"}).items():
        monkeypatch.setenv(name, value)
    path.write_text(text, "utf8")

    def run(new=text, everything=False, keep=True, limit=60, patience=stress.PATIENCE):
        path.write_text(new, "utf8")
        found, wrong = stress.stressed(read_chapter(path), everything)
        stress.stress(found, keep, limit, patience)
        return {claim.name: claim for claim in found}, wrong

    return SimpleNamespace(path=path, text=text, conditions=module.CLAIMS, run=run)


def problems(book):
    chapter = read_chapter(book.path)
    return [what for rule in claims.RULES for _, what in rule(chapter)]


def test_seeds_are_shifted_wherever_they_are_given():
    source = (
        "import numpy as np, torch\nfrom sklearn.datasets import make_blobs\ng = torch.Generator().manual_seed(3)\n"
        "rng = np.random.default_rng(seed=4)\nold = np.random.RandomState(5)\ntorch.manual_seed(6)\n"
        "first = [g.initial_seed(), rng.random(), old.rand(), torch.initial_seed(), make_blobs(4, random_state=7)[0][0, 0]]\n"
        "own = torch.Generator()\nfirst += [own.initial_seed()]\n"
    )
    import ast

    seen = []
    for shift in (0, 1000):
        seeds = recorder.Recorder(shift, False)
        tree = ast.fix_missing_locations(recorder._Instrumented().visit(ast.parse(source)))
        names = {"_seeded": seeds.seeded, "_made": seeds.made, "_shifted": seeds.shifted}
        exec(compile(tree, "seeds", "exec"), names)
        seen.append(names["first"])
    assert seen[1][0] - seen[0][0] == 1000 and seen[1][3] == 1006
    assert seen[1][5] - seen[0][5] == 1000
    assert not {*seen[0][1:3], seen[0][4]} & {*seen[1][1:3], seen[1][4]}


@pytest.mark.parametrize(
    "source, drawn",
    [
        ("x = 1", False),
        ("import torch\ng = torch.Generator().manual_seed(0)\ntorch.manual_seed(1)", False),
        ("import torch\ng = torch.Generator().manual_seed(0)\ntorch.rand(2, generator=g)", True),
        ("import torch\ntorch.rand(2)", True),
        ("import torch\ntorch.rand(2)\ng = torch.Generator().manual_seed(0)", True),
        ("import torch\ng = torch.Generator().manual_seed(0)\ntorch.rand(2, generator=g)\ng.manual_seed(0)", True),
        ("import numpy as np\nnp.random.rand()", True),
        ("import numpy as np\nrng = np.random.default_rng(0)", False),
        ("import numpy as np\nrng = np.random.default_rng(0)\nrng.normal()", True),
        ("import random\nrandom.Random(3)", False),
        ("import random\nr = random.Random(3)\nr.random()", True),
        ("import torch\ng = torch.Generator()\ntorch.rand(2, generator=g)", True),
    ],
)
def test_only_what_draws_counts_as_drawn(source, drawn, tmp_path, monkeypatch):
    import ast

    monkeypatch.chdir(tmp_path)
    tree = ast.fix_missing_locations(recorder._Instrumented().visit(ast.parse(source)))
    done = recorder.run_program(ast.unparse(tree), [], 0, str(tmp_path))
    assert done == {"drawn": drawn, "runs": {}}


@pytest.mark.parametrize(
    "test, turned",
    [
        ("a > b", ["a < b"]),
        ("a <= b < c", ["a > b < c", "a <= b > c"]),
        ("a == 1 and b in c", ["a != 1 and b in c", "a == 1 and (b not in c)"]),
        ("all(x < 1 for x in xs if x > 0)", ["all((x > 1 for x in xs if x > 0))"]),
        ("x[y > 0].mean() > 1", ["x[y > 0].mean() < 1"]),
        ("holds", []),
    ],
)
def test_each_comparison_is_turned_round(test, turned):
    import ast

    assert [ast.unparse(t) for t in recorder.opposites(ast.parse(test, mode="eval").body)] == [
        ast.unparse(ast.parse(t)) for t in turned
    ]


@pytest.mark.slow
def test_false_conclusions_are_caught_and_true_ones_kept(book, capsys):
    _, wrong = book.run()
    assert wrong == []
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["new-grows"] == "held in 3 of 3 draws; held at depth 16"
    assert "CONFLICT: does not hold with depth = 30" in lines["new-shallow"]  # beyond the depth that was run
    assert "and is claimed for all" in lines["new-one-seed"]  # one seed only
    assert lines["new-still"] == "held; nothing is drawn; held at steps 4; fails at steps 30"
    records = read_records(read_chapter(book.path))
    assert set(records["new-grows"]["runs"]) == {"as printed", "draw 1", "draw 2", "draw 3", "depth = 16"}
    printed = records["new-one-seed"]["runs"]["as printed"]
    assert printed["held"] and printed["values"][0][1] == 0 and printed["opposite"] == [False, False]
    assert set(records["new-still"]["runs"]) == {"as printed", "steps = 4", "steps = 30"}
    reports = problems(book)
    assert len(reports) == 2 and all("say what holds, or move it to beyond=" in report for report in reports)

    # the wrong direction: false as printed, whatever the record of the right one says
    wrong_way = book.text.replace("growth[-1] > growth[0]", "growth[-1] < growth[0]")
    book.path.write_text(wrong_way, "utf8")
    assert any("new-grows: its code has changed since it was stressed" in report for report in problems(book))
    book.run(wrong_way)
    assert any("new-grows: does not hold where it is printed" in report for report in problems(book))


@pytest.mark.slow
def test_only_what_is_missing_is_run(book, monkeypatch):
    book.run()
    before, ran = record_path(read_chapter(book.path)).read_text("utf8"), []
    real = stress.run_apart
    monkeypatch.setattr(stress, "run_apart", lambda *a: ran.append((a[1], a[2])) or real(*a))
    book.run()
    assert ran == [] and record_path(read_chapter(book.path)).read_text("utf8") == before

    book.conditions["new-grows"] = Conditions(holds={"depth": ("2 * _", "4 * _")}, draws=4)
    book.run()
    assert sorted(ran) == [(["new-grows"], 0), (["new-grows"], 4)]
    book.run(book.text.replace("steps < 5", "steps < 6"))  # another claim's assertion
    assert sorted(ran[2:]) == 3 * [(["new-still"], 0)]
    # a record that lacks a run, as after a stop in the middle
    path = record_path(read_chapter(book.path))
    records = json.loads(path.read_text("utf8"))
    del records["new-shallow"]["runs"]["draw 1"]
    path.write_text(json.dumps(records), "utf8")
    book.run(book.text.replace("steps < 5", "steps < 6"))
    assert ran[5:] == [(["new-shallow"], 1)]


@pytest.mark.slow
def test_cells_share_their_draws_and_none_takes_the_blame_for_another(book, monkeypatch):
    fragile = (
        "## Fragile\n\nIt breaks with other seeds. {claim}`new-fragile`\n\n```{code-cell} ipython3\n"
        "one = torch.rand(1)\nif torch.Generator().manual_seed(0).initial_seed() == 2000:\n    raise ValueError('no')\n"
        'assert depth, "claim: new-fragile"\n```\n\n## Growth'
    )
    book.conditions["new-fragile"] = Conditions(draws=2)
    for name in ("new-grows", "new-one-seed", "new-shallow"):
        book.conditions[name] = Conditions(draws=2)
    ran, real = [], stress.run_apart
    monkeypatch.setattr(stress, "run_apart", lambda *a: ran.append((len(a[1]), a[2])) or real(*a))
    found, _ = book.run(book.text.replace("## Growth", fragile))
    runs = {name: claim.record["runs"] for name, claim in found.items()}
    assert (
        runs["new-fragile"]["draw 2"] == {"held": False, "error": "ValueError: no"}
        and runs["new-fragile"]["draw 1"]["held"]
    )
    assert runs["new-grows"]["draw 2"]["held"] and runs["new-grows"]["draw 1"]["held"]
    # three cells as printed, with a variation of one; then all claims that draw together, and apart after the error
    assert sorted(ran) == sorted([(1, 0), (3, 0), (1, 0), (1, 0), (1, 0), (4, 1), (4, 2), (1, 2), (3, 2)])


@pytest.mark.slow
def test_what_comes_out_otherwise_than_kept_is_named_and_nothing_is_written(book):
    book.run()
    path = record_path(read_chapter(book.path))
    kept = path.read_text("utf8").replace('"depth = 16": {"held": true', '"depth = 16": {"held": false', 1)
    path.write_text(kept, "utf8")
    os.utime(path, ns=(1, 1))
    found, _ = book.run(everything=True, keep=False)
    differences = [line for claim in found.values() for line in stress.differences(claim)]
    assert differences == ["depth = 16: failed in the record, and held now"]
    assert path.read_text("utf8") == kept


@pytest.mark.slow
@pytest.mark.parametrize(
    "broken, says",
    [
        ("raise OverflowError('too large')", "OverflowError: too large"),
        ("import os; os._exit(3)", "its process died"),
        ("while True: pass", "took longer than 2 s"),
        pytest.param("import time; time.sleep(90)", "took longer than 2 s", marks=pytest.mark.rehearsal),
        ("import sys; sys.exit()", "SystemExit: "),
    ],
)
def test_a_run_that_breaks_has_failed_and_is_not_the_end(book, broken, says):
    text = book.text.replace("growth = [", f"if depth == 16:\n    {broken}\ngrowth = [")
    book.conditions["new-one-seed"] = book.conditions["new-grows"] = Conditions(holds={"depth": ("2 * _",)}, draws=1)
    late = {"limit": 2, "patience": 5 if "sleep" in broken else stress.PATIENCE} if says.startswith("took") else {}
    found, _ = book.run(text, **late)
    assert found["new-grows"].record["runs"]["depth = 16"] == {"held": False, "error": says}
    assert found["new-still"].record["runs"]["steps = 4"]["held"]
    assert any("failed: " in report and "with depth = 16" in report for report in problems(book))
