"""What labs says in Chinese: every text has its translation, with the same values in it, and English is what it was."""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from pathlib import Path
from string import Formatter

import pytest
import torch
from babel.messages.pofile import read_po
from bookext.read import words
from bookext.read.book import ROOT
from bookext.read.chapter import read_chapter
from bookext.read.plaintext import HAN
from torch import nn

from labs.homework import SHOWN
from labs.monitor import (
    LayerReport,
    StabilityMonitor,
    StabilityReport,
    find_nonfinite_origin,
    stability_report,
    trap_nonfinite,
)
from labs.monitor.origin import _MESSAGES
from labs.monitor.replay import LEAVES, PHASES
from labs.monitor.report import _HEAD, _VERDICTS
from labs.nets import DeepMLP
from labs.words import catalogue, retell, say, speak

PAGES = sorted((ROOT / "book" / "homework").glob("hw*.md"))
ENGLISH = re.compile(r"\b[A-Za-z]?[a-z]+,? [a-z]+,? [a-z]{2,}\b", re.ASCII)  # three words in a row
WORDS = re.compile(r"\b(larger|smaller|more|less|higher|lower|above|below|see|chapter|step)\b", re.ASCII)
LABS = sorted((ROOT / "labs").rglob("*.py"))


@pytest.fixture
def chinese(monkeypatch):
    monkeypatch.setenv("LABS_LANGUAGE", "zh")


def places(text: str) -> list[str]:
    return [field for _, field, _, _ in Formatter().parse(text) if field is not None]


def shown(text: str) -> set[tuple[str, str | None]]:
    """The places of a text, and how many digits each shows."""
    return {(field, form) for _, field, form, _ in Formatter().parse(text) if field is not None}


# ---- The catalogue


def test_the_catalogue_is_read_as_gettext_reads_it():
    with (ROOT / "labs" / "words.po").open("rb") as file:
        read = [(str(m.id), str(m.string)) for m in read_po(file, abort_invalid=True) if m.id]
    assert list(catalogue().items()) == read and len(read) > 300


def test_a_translation_has_the_places_of_its_text():
    for english, chinese in catalogue().items():
        numbered = [place for place in places(english) if place.isdecimal()]
        assert numbered in ([], places(english)), english
        assert numbered == [str(n) for n in range(len(numbered))], english
        plural = {("1", "")} if "step{1}, start" in english else set()  # Chinese has none
        assert shown(english) - plural == shown(chinese), english


def test_english_is_the_default_and_stays_as_it_is(monkeypatch):
    monkeypatch.delenv("LABS_LANGUAGE", raising=False)
    for language in (None, "en"):
        if language:
            speak(language)
        assert all(say(text) == text == retell(text) for text in catalogue())
    with pytest.raises(ValueError, match="expected one of en, zh, got 'de'"):
        speak("de")


def test_what_the_site_says_too_is_translated_alike():
    """One text, one translation; a place is %1 there and {0} here."""
    there = {numbered(english): numbered(chinese) for english, chinese in words.catalogue().items()}
    both = there.keys() & catalogue().keys()
    assert len(both) > 5
    assert {text: there[text] for text in both} == {text: catalogue()[text] for text in both}


def numbered(text: str) -> str:
    return re.sub(r"%(\d)", lambda place: f"{{{int(place[1]) - 1}}}", text)


# ---- What is said: the texts in labs, and the messages of the homework's checks


def remedies() -> set[str]:
    """The texts of remedies.py that ``say`` is given in the end: all but docstrings, names of operations and what it has said."""
    tree = ast.parse((ROOT / "labs" / "monitor" / "remedies.py").read_text("utf8"))
    others = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    others += [key for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys if key]
    spared = {id(inner) for node in others for inner in ast.walk(node)}
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return {text.value for text in texts if id(text) not in spared and text.value.strip().count(" ")}


# What the chain of an origin may hold, beside names of operations and of tensors
LINKS = {
    *LEAVES,
    "loss",
    "backward of log @ 0",
    "gradient of 0.weight",
    "the weights after the update",
    "raised ValueError: 0",
}


def said_in_labs() -> set[str]:
    """What ``say`` is given in the modules of labs."""
    found = {*SHOWN.values(), *_MESSAGES.values(), _HEAD, *_VERDICTS, *(advice for advice, _ in _VERDICTS.values())}
    found |= remedies() | {*PHASES, *LEAVES} - {"none"}
    for path in LABS:
        for node in ast.walk(ast.parse(path.read_text("utf8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "say":
                found |= {text.value for text in node.args if isinstance(text, ast.Constant)}
    return found


def test_what_labs_says_has_its_chinese():
    assert said_in_labs() - {""} <= set(catalogue()), said_in_labs() - set(catalogue())


class Cell:
    """A check's cell: the messages that it can give, with numbers in the places of what is computed."""

    def __init__(self, source: str) -> None:
        self.tree = ast.parse(source)
        self.count = 7000

    def messages(self) -> Iterator[str]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assert) and node.msg is not None:
                yield from self.texts(node.msg)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "hw.tell":
                yield from self.texts(node.args[0])
            elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):  # the stub of a function
                yield from self.texts(node.exc.args[0])

    def texts(self, node: ast.expr) -> Iterator[str]:
        """What an expression for a text can come to."""
        match node:
            case ast.Constant(value=str(text)):
                yield text
            case ast.JoinedStr(values=parts):
                yield from map("".join, product(*(list(self.texts(part)) for part in parts)))
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                yield from map("".join, product(list(self.texts(left)), list(self.texts(right))))
            case ast.IfExp(body=one, orelse=other):
                yield from [*self.texts(one), *self.texts(other)]
            case ast.FormattedValue(value=value):
                yield from self.texts(value)
            case ast.Name(id=name):
                yield from self.named(name) or [self.number()]
            case _:
                yield self.number()

    def number(self) -> str:
        self.count += 1
        return str(self.count)

    def named(self, name: str) -> list[str]:
        """The texts that a name of the cell may stand for."""
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name and not calls(node.value):
                found += self.texts(node.value)
            elif isinstance(node, ast.For) and name in (names := ast.unparse(node.target).strip("()").split(", ")):
                rows = getattr(node.iter, "elts", ())
                cells = [row.elts[names.index(name)] for row in rows if isinstance(row, ast.Tuple)]
                found += [text for cell in cells for text in self.texts(cell) if not text.isdecimal()]
            elif (
                isinstance(node, ast.Assign)
                and name in ast.unparse(node.targets[0])
                and "complaint(" in ast.unparse(node)
            ):
                returned = [n.value for n in ast.walk(self.tree) if isinstance(n, ast.Return) and n.value]
                found += [text for value in returned for text in self.texts(value) if HAS_WORDS.search(text)]
        return found


HAS_WORDS = re.compile(r"[a-z]{2,} [a-z]{2,}")


def calls(node: ast.AST) -> bool:
    return any(isinstance(inner, ast.Call) for inner in ast.walk(node))


@cache
def messages(page: str) -> list[str]:
    cells = [cell.source for cell in read_chapter(ROOT / "book" / "homework" / page).code]
    return [text for source in cells for text in Cell(source).messages()]


def computed(text: str) -> list[str]:
    """The numbers that stand for what a cell computes."""
    return sorted(re.findall(r"\b7\d\d\d\b", text, re.ASCII))


@pytest.mark.parametrize("page", [page.name for page in PAGES])
def test_every_hint_and_line_of_the_homework_has_its_chinese(page, chinese):
    """None has English left in it, and the values are all there: section, chapter, what was computed."""
    told = messages(page)
    assert len(told) > 30
    for text in told:
        retold = retell(text)
        assert re.search(HAN, retold) and not ENGLISH.search(retold) and not WORDS.search(retold), (text, retold)
        assert computed(text) == computed(retold), (text, retold)


@pytest.mark.slow
def test_the_catalogue_has_nothing_that_is_never_said():
    used = said_in_labs()
    finished = {text for page in PAGES for text in messages(page.name)} | LINKS

    def fits(english: str, text: str) -> bool:
        parts = Formatter().parse(english)
        pattern = "".join(re.escape(fixed) + ("(.*?)" if field is not None else "") for fixed, field, _, _ in parts)
        return re.search(pattern, text, re.DOTALL) is not None

    spare = [english for english in catalogue() if english not in used]
    assert not [english for english in spare if not any(fits(english, text) for text in finished)]


@pytest.mark.slow
def test_hints_call_sections_as_the_chinese_pages_do(chinese):
    """What a hint tells to read again is a heading, or an exercise, of that chapter; in Chinese that of the Chinese page."""
    named = {(*pair, text) for page in PAGES for text in messages(page.name) for pair in SECTION.findall(text)}
    assert len({title for title, _, _ in named}) > 30
    for title, number, text in named:
        (english,) = (ROOT / "book").glob(f"{int(number):02d}-*.md")
        pairs = zip(headings(english), headings(ROOT / "book" / "zh" / english.name), strict=True)
        assert f"“{dict(pairs)[title]}”" in retell(text), title


SECTION = re.compile(r"'((?:[^()']|\b's )+)', chapter (\d+)")


def headings(page: Path) -> list[str]:
    found = re.findall(r"^(?:#+|:{3,}\{exercise\}) (.*)$", page.read_text("utf8"), re.MULTILINE)
    return [re.sub(r"\\sqrt\{(.*?)\}", r"√\1", title).replace("$", "") for title in found]


# ---- What the monitor says


def told_by_the_monitor(tmp_path: Path) -> Iterator[str]:
    """Origins of every phase, a trap's warning, reports of a sick net and of a sound one."""
    torch.manual_seed(0)
    x, y = torch.randn(32, 4), torch.arange(32) % 2

    def net() -> nn.Sequential:
        return nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))

    def loss(model: nn.Module, x: torch.Tensor = x) -> torch.Tensor:
        return nn.functional.cross_entropy(model(x), y)

    sound, poisoned, spoilt = net(), net(), x.clone()
    with torch.no_grad():
        poisoned[2].weight[0, 0] = math.inf
    spoilt[3, 1] = math.nan
    scores = sound(x)[:4, :2]
    mask = torch.full((4, 2), -math.inf)
    closures: list[Callable[[], torch.Tensor]] = [
        lambda: loss(sound),
        lambda: loss(sound, spoilt),
        lambda: loss(poisoned),
        lambda: (sound(x) - 10).log().sum(),
        lambda: (sound(x) * 0).log().sum(),
        lambda: (sound(x) * 0).sqrt().sum(),
        lambda: sound(x).abs().mul(1e5).exp().sum(),
        lambda: (sound(x) / (sound(x) * 0).round()).sum(),
        lambda: (sound(x).half() * 60000).sum().float() * 1e3,
        lambda: (scores + mask).softmax(1).sum() + sound(x).sum(),
        lambda: loss(sound, x[:0]) if len(x) == 0 else sound(x)[:0].mean(),
        lambda: torch.where(sound(x) > 9, sound(x).mul(0).sqrt(), 0.0).sum(),
        lambda: torch.distributions.Normal(sound(x).mul(0).log().sum(), 1.0).rsample(),
        lambda: sound(x).half().mul(1e-4).pow(2).mul(1e-4).float().sum(),
    ]
    for closure in closures:
        yield str(find_nonfinite_origin(sound if closure is not closures[2] else poisoned, closure))
    for rate in (1e30, math.inf):
        yield str(find_nonfinite_origin(sound, lambda: loss(sound), torch.optim.SGD(sound.parameters(), lr=rate)))
    yield str(find_nonfinite_origin(sound, lambda: loss(sound), torch.optim.Adam(sound.parameters(), lr=0.01, eps=0.0)))
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e38)
    with (
        warnings.catch_warnings(record=True) as given,
        trap_nonfinite(model, optimizer, raises=False, path=tmp_path / "step.pt") as trap,
    ):
        warnings.simplefilter("always")
        for _ in range(3):
            optimizer.zero_grad()
            trap(lambda x: model(x).square().mean(), x).backward()
            optimizer.step()
    yield "\n".join(str(each.message) for each in given)
    for model in (DeepMLP((64, 12), "sigmoid", head=10), DeepMLP((64, 12), "relu", head=10)):
        report = stability_report(model, (torch.randn(32, 64), torch.arange(32) % 10), nn.functional.cross_entropy)
        yield f"{report}\n{report._repr_html_()}"
    yield str(StabilityMonitor(sound))


SOURCE = re.compile(
    r"^ .*\.py:\d+: .*$|saved.*|已保存.*|引发.*|引发的异常.*", re.MULTILINE
)  # code, paths, what Python says


@pytest.mark.slow
def test_the_monitor_says_nothing_in_english(tmp_path, chinese):
    told = list(told_by_the_monitor(tmp_path))
    assert len({text.split("\n")[0] for text in told}) > 12
    for text in told:
        assert re.search(HAN, text) and not ENGLISH.search(SOURCE.sub("", text)), text


def test_data_stays_as_programs_read_it(chinese):
    """Verdicts, phases and chains are names; a table of Chinese words is straight."""
    origin = find_nonfinite_origin(nn.Identity(), lambda: torch.zeros(2, requires_grad=True).log().sum())
    assert (origin.phase, origin.operation, origin.chain) == ("forward", "log", ("log", "sum", "loss"))
    report = StabilityReport(
        (LayerReport("fc", std=0.5, verdict="vanishing"), LayerReport("出口", std=2.0)), ("vanishing",)
    )
    assert report.verdict == "vanishing" == report.to_dict()["verdict"]
    rows = str(report).splitlines()[-3:]
    starts = [[len(row[: match.start()].encode("gbk")) for match in re.finditer(r"\S+", row)] for row in rows]
    assert starts[1][1] == starts[2][1] == starts[0][1] and starts[0][-1] == starts[1][-1] == starts[2][-1]
