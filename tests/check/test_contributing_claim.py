"""CONTRIBUTING.md's claim is the skeleton's, and the messages that it shows are those that come."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from types import SimpleNamespace

import pytest
from bookext.check import claims, formulas, ledger
from bookext.check.meanings import all_meanings
from bookext.check.stress import Conditions, records_text
from bookext.read.book import ROOT
from bookext.read.chapter import parse_chapter
from bookext.run import recorder, stress

GUIDE = (ROOT / "CONTRIBUTING.md").read_text("utf8")
SKELETON = ROOT / "book/_ext/skeleton"
NAME = "new-median-below-mean"
MARK = f" {{claim}}`{NAME}`"
SHOWN = re.findall(rf"^book/11-name\.md:(\d+): (claim {NAME}.*)$", GUIDE, re.MULTILINE)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The skeleton as a chapter, with what came out when each variation was run here, in one process."""
    path = tmp_path_factory.mktemp("book") / "11-name.md"
    shutil.copy(SKELETON / "chapter.md", path)
    names: dict = {}
    exec((SKELETON / "conditions.py").read_text("utf8"), names)
    module = SimpleNamespace(CLAIMS=names["CLAIMS"], SAID={})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "bookext.check.conditions.ch11", module)
        patch.setattr(claims, "decided_in_the_book", dict)
        patch.chdir(path.parent)
        chapter = parse_chapter(path.read_text("utf8"), path)
        (claim,), wrong = stress.stressed(chapter, True)
        assert wrong == []
        for label in claim.plan.labels(True):
            source = recorder.instrumented(claim.part, [NAME], claim.plan.variations.get(label))
            draw = int(label.split()[-1]) if label.startswith("draw") else 0
            done = recorder.run_program(source, [NAME], draw, str(path.parent), label == "as printed")
            claim.record["runs"][label], claim.record["drawn"] = done["runs"][NAME], done["drawn"]
        yield SimpleNamespace(path=path, text=chapter.text, record=claim.record, module=module)


def messages(page, text=None, record=None) -> list[tuple[str, str]]:
    kept = page.path.parent / "_stress" / "11-name.json"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(records_text({NAME: record or page.record} if record != {} else {}), "utf8")
    chapter = parse_chapter(text or page.text, page.path)
    return [(str(line), what) for rule in claims.RULES for line, what in rule(chapter)]


def test_the_guide_shows_the_skeletons_claim():
    entry = textwrap.dedent(re.search(r'^   ```text\n(   "new-.*?)^   ```$', GUIDE, re.MULTILINE | re.DOTALL)[1])
    assert textwrap.indent(entry, "    ") in (SKELETON / "conditions.py").read_text("utf8")
    sentence = re.search(r"^````markdown\n(The median.*\n)````$", GUIDE, re.MULTILINE)[1]
    chapter = (SKELETON / "chapter.md").read_text("utf8")
    assert sentence in chapter
    assert re.search(r"`(assert median.*?)`", GUIDE)[1] in chapter


def test_the_skeleton_keeps_every_rule_and_its_formula_holds(page, monkeypatch):
    """Built, laid out and made a notebook it is in tests/run/test_build, which takes longer."""
    names: dict = {"__package__": "bookext.check.meanings"}
    exec((SKELETON / "meanings.py").read_text("utf8"), names)
    for label, meaning in names["MEANINGS"].items():
        monkeypatch.setitem(all_meanings(), label, meaning)
    assert messages(page) == []  # the record is written
    chapter = parse_chapter(page.text, page.path)
    assert ledger.problems(chapter) == [] and formulas.problems(chapter) == {}
    assert [equation.label for equation in formulas.statements_of(chapter)] == list(names["MEANINGS"])


def test_the_claim_holds_and_stops_where_the_record_says(page):
    assert messages(page) == []
    held = {label: run["held"] for label, run in page.record["runs"].items()}
    assert held.pop("layers = 5") is False and all(held.values()) and len(held) == 12
    assert json.loads(json.dumps(page.record)) == page.record


def test_its_mistakes_read_as_the_guide_shows(page):
    assert len(SHOWN) == 5
    decided = next(line for line, what in SHOWN if "in no sentence" in what)
    found = [
        messages(page, page.text.replace(f', "claim: {NAME}"', "")),
        messages(page, page.text.replace(MARK, "")),
        messages(page, record={}),
        messages(page, page.text.replace("manual_seed(0)", "manual_seed(1)")),
    ]
    for shown, some in zip(SHOWN[:4], found, strict=True):
        assert shown in some
    assert SHOWN[2][0] == SHOWN[4][0] == decided
    page.module.CLAIMS[NAME] = Conditions(holds={"layers": ("2 * _", "_ // 4")})
    assert messages(page) == [SHOWN[4]]
