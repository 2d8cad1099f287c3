"""The Chinese pages say what the English ones say: what was planted into one language alone is found.

The book's own pages are compared by the commands that `make test` and `make quick` run first."""

from __future__ import annotations

import re

import pytest
from bookext.check import __main__ as command
from bookext.check import twins
from bookext.check.twins import (
    carried,
    drift,
    faults,
    stale,
    texts,
    translated_decks,
    translated_pages,
    with_words_of,
)
from bookext.read.blocks import CHINESE, WORDS, blocks, kept_of, translation_of
from bookext.read.book import ROOT, book_pages
from bookext.read.chapter import parse_chapter
from bookext.read.deck import deck_paths
from bookext.read.words import catalogue

PAGE = ROOT / "book" / "01-chained-jacobians.md"
DECK = ROOT / "book" / "slides" / "02-explosion-relu.md"
TWINS = [*translated_pages(), *translated_decks()]
NAMES = [page.relative_to(ROOT / "book").as_posix() for page in TWINS]


def test_the_check_of_the_book_compares_its_twins(monkeypatch, capsys):
    monkeypatch.setattr(command, "book_pages", list)  # without what else it judges
    monkeypatch.setattr(command.formulas, "tolerances", dict)
    assert command.main([]) == 0, capsys.readouterr().out
    monkeypatch.setattr(twins, "known_problems", lambda page: [f"{page.relative_to(ROOT / 'book')}: planted"])
    assert command.main([]) == 1
    assert {f"{name}: planted" for name in NAMES} <= set(capsys.readouterr().out.splitlines())


def test_each_chinese_page_has_its_english():
    there = {path for path in CHINESE.rglob("*.md") if path.name != "glossary.md"}
    assert there == {translation_of(page) for page in TWINS}
    assert {kept_of(page) for page in TWINS} == set((CHINESE / "kept").rglob("*.txt"))
    assert PAGE in TWINS and DECK in TWINS


@pytest.mark.parametrize("page", [*book_pages(), *deck_paths()], ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_a_page_is_its_blocks(page):
    text = page.read_text("utf8")
    assert "".join("".join(b.text for b in blocks(text)).split()) == "".join(text.split())


def planted(old: str, new: str, into: str = "chinese", page=PAGE) -> list[str]:
    """What is found when a text of one language is changed."""
    english, chinese, _ = texts(page)
    given = {"english": english, "chinese": chinese}
    assert old in given[into]
    given[into] = given[into].replace(old, new, 1)
    return faults(page, **given)


@pytest.mark.parametrize(
    "old, new, what",
    [
        ("{num}`27 <orders>`", "{num}`28 <orders>`", "{num}`28 <orders>` is not in the English"),
        ("{num}`4.6e-6 <median_half>`", "{num}`4.6e-5 <median_half>`", "{num}`4.6e-6 <median_half>` is missing"),
        ("大约要75分钟", "大约要85分钟", "the number 75 is missing"),
        ("叠到100层", "叠到1000层", "the number 1000 is not in the English"),
        ("{eq}`eq-chain`", "{eq}`eq-product`", "{eq}`eq-chain` is missing"),
        ("{cite:t}`hochreiter1991`", "{cite:t}`glorot2010`", "glorot2010"),
        ("{claim}`jac-floor`", "", "{claim}`jac-floor` is missing"),
        ("(sec-jac-layers)=", "(sec-jac-layer)=", "stands for heading"),
        ("## 层就是函数", "### 层就是函数", "heading"),
        ("$h^{t-1}$", "$h^{t}$", "$h^{t-1}$ is missing"),
        (r"1.5^{100} \approx 4.0656", r"1.5^{100} \approx 4.0657", "equation"),
        (r"2 n^2 (d - t) \ \text{", r"2 n^2 (d - t + 1) \ \text{", "equation"),
        (r" \ \text{次浮点运算}", "", "equation"),
        ("explode, vanish = 1.5 ** 100", "explode, vanish = 1.6 ** 100", "the code differs"),
        (":checks: [eq-chain]", ":checks: [eq-product]", "the options differ"),
        ("虚线是李雅普诺夫指数", "虚线是Lyapunov指数", "no 李雅普诺夫指数"),
        ("反向传播从左边", "后向传播从左边", "后向传播: the glossary has 反向传播"),
        (":label: ex-shapes", ":label: ex-shape", "exercise"),
        ("上界是$2^{20}$", "上界是$2^{10}$", "$2^{20}$ is missing"),
        ("- 反向模式让", "反向模式让", "list"),
    ],
)
def test_what_one_language_says_alone_is_found(old, new, what):
    assert any(what in fault for fault in planted(old, new)), planted(old, new)


@pytest.mark.parametrize(
    "old, new",
    [
        ("{num}`27 <orders>`", "{num}`28 <orders>`"),
        ("about 75 minutes", "about 85 minutes"),
        ("1.5 ** 100, 0.8", "1.4 ** 100, 0.8"),
    ],
)
def test_a_number_changed_in_english_alone_stops_the_build(old, new):
    assert planted(old, new, into="english")


@pytest.mark.parametrize(
    "old, new, what",
    [
        ("from: L10 sec-relu-active-paths", "from: L10", "mark"),
        ("layout: beside\n", "", "stands for mark"),
        ("\nNote:\n一个小网络", "\n一个小网络", "stands for mark"),
        ("{poll}`sec-relu-active-paths`", "{poll}`sec-relu-active-path`", "mark"),
        ("{slide}`lecture: At which layer?`\n\n", "", "stands for"),
        ("{slide}`lecture: At which layer?`", "{slide}`lecture: Try it`", "mark"),
        ("+++\n\n", "", "stands for mark"),
        ("有{num}`active`条路径", "有{num}`alive`条路径", "{num}`active` is missing"),
        ("每层64个单元", "每层65个单元", "the number 65 is not in the English"),
        ("minutes: 25", "minutes: 26", "front matter"),
        ("- $n\\gamma$：权重独立", "$n\\gamma$：权重独立", "list"),
        ("贡献的，是它经过的权重的乘积", "贡献的，是它经过的权值的乘积", "权值"),
        ("## 数一数路径", "# 数一数路径", "heading"),
    ],
)
def test_what_one_deck_says_alone_is_found(old, new, what):
    assert any(what in fault for fault in planted(old, new, page=DECK)), planted(old, new, page=DECK)


def test_a_slide_changed_in_english_alone_is_listed():
    english, chinese, kept = texts(DECK)
    changed = english.replace("Nine, and {num}`active`.", "Nine of them, and {num}`active`.").replace(
        "title: Explosion with ReLU", "title: Exploding with ReLU"
    )
    assert faults(DECK, changed, chinese) == [] and stale(english, chinese, kept) == []
    [(_, title), (_, note)] = stale(changed, chinese, kept)
    assert title.kind == "front matter" and "一个小网络" in note.text


def test_drift_carries_what_a_slide_shows(drifted):
    english = texts(DECK)[0]
    changed = english.replace("{poll}`sec-relu-active-paths`", "{figure}`fig-relu-paths`").replace(
        "minutes: 25", "minutes: 30"
    )
    made, kept = drifted(DECK, changed)
    assert faults(DECK, changed, made) == [] and stale(changed, made, kept) == []
    assert "{figure}`fig-relu-paths`" in made and "minutes: 30" in made and "title: ReLU与梯度爆炸" in made


def test_what_is_translated_may_differ():
    assert planted("# 用双精度，免得看到的只是舍入误差", "# 别的话") == []
    assert planted("两个结果却相差", "两个结果相差") == []


def test_a_word_that_the_english_quotes_may_stand():
    """The lecture map gives the lecture's own words; the glossary keeps a translator from choosing them."""
    [fault] = twins.terms("the chain rule", "链式法则，即链导法则")
    assert "链导法则" in fault
    assert not [*twins.terms("the chain rule (链导法则)", "链式法则，即链导法则")]


@pytest.mark.parametrize(
    "old, new, what",
    [
        ("automodule:: labs.nets", "automodule:: labs.init", ".. automodule:: labs.nets is missing"),
        ("   :exclude-members: Origin,", "   :exclude-members:", ":exclude-members: find_nonfinite_origin"),
        ("{labs-wheel}`labs的wheel`", "labs的wheel", "{labs-wheel}`…` is missing"),
    ],
)
def test_directives_in_another_markup_are_the_same(old, new, what):
    page = ROOT / "book/appendix/labs.md"
    english, chinese, _ = texts(page)
    assert old in chinese and faults(page, english, chinese) == []
    assert any(what in fault for fault in faults(page, english, chinese.replace(old, new, 1)))


def test_a_block_changed_in_english_alone_is_listed():
    """It is no fault: a writer of English need not know Chinese. The page says so."""
    english, chinese, kept = texts(PAGE)
    changed = english.replace("Neither factor looks alarming.", "Both look harmless.")
    assert changed != english and faults(PAGE, changed, chinese) == [] and stale(english, chinese, kept) == []
    [(e, c)] = stale(changed, chinese, kept)
    assert "harmless" in e.text and "很平常" in c.text


@pytest.fixture
def drifted(tmp_path, monkeypatch):
    """A page's Chinese after its English was changed, and the fingerprints of what it then translates."""

    def made(page, changed):
        _, chinese, kept = texts(page)
        known = tmp_path / "kept.txt"
        known.write_text(kept_of(page).read_text("utf8"), "utf8")
        with monkeypatch.context() as patch:
            patch.setattr(twins, "texts", lambda _: (changed, chinese, kept))
            patch.setattr(twins, "kept_of", lambda _: known)
            text, lines = drift(page)
        return text, [line[:10] for line in lines]

    return made


def test_drift_carries_what_needs_no_translator(drifted):
    english = texts(PAGE)[0]
    changed = english.replace("{num}`27 <orders>` orders", "{num}`29 <orders>` orders").replace(
        "1.5 ** 100, 0.8", "1.4 ** 100, 0.8"
    )
    changed = changed.replace("\n(sec-jac-layers)=", "\nA new sentence about nothing.\n\n(sec-jac-layers)=")
    made, kept = drifted(PAGE, changed)
    assert faults(PAGE, changed, made) == []
    assert "{num}`29 <orders>`个数量级" in made and "A new sentence about nothing." in made
    assert "explode, vanish = 1.4 ** 100" in made and "# 在32位里都是平常的数" in made
    old = [e.said or e.kind for e, _ in stale(changed, made, kept)]
    assert len(old) == 2 and "A new sentence about nothing." in old  # the number's sentence and the new one, no cell


def test_what_waits_for_its_translator_stops_nobody(drifted):
    """A new passage stands there in English, a changed one as it was; numbers and references hold at all times."""
    english = texts(PAGE)[0]
    changed = english.replace("Neither factor looks alarming.", "Neither factor looks alarming, to a gradient.")
    changed = changed.replace("\n(sec-jac-layers)=", "\nThe median layer has a variance.\n\n(sec-jac-layers)=")
    made, kept = drifted(PAGE, changed)
    assert len(stale(changed, made, kept)) == 2 and faults(PAGE, changed, made, kept) == []
    now = [block.fingerprint for block in blocks(changed)]
    assert any(
        "no 中位数" in fault for fault in faults(PAGE, changed, made, now)
    )  # once somebody says that it is translated
    assert faults(PAGE, changed.replace("about 75 minutes", "about 85 minutes"), made, kept)


@pytest.mark.parametrize("name", NAMES)
def test_drift_leaves_alone_what_has_not_changed(name, drifted):
    page = ROOT / "book" / name
    english, chinese, kept = texts(page)
    assert drifted(page, english) == (chinese, kept)


@pytest.mark.parametrize(
    "old, new, stands, listed",
    [
        (r"\text{row first:}", r"\text{the row first:}", r"\text{先乘行向量：}", 1),  # in other words
        ("2 n^2 (d - t) ", "2 n^2 (d - t + 1) ", r"\text{row first:}", 1),  # around other formulas
        (r" \ \text{flops}, \\", r", \\", r"\text{row first:}", 1),
        (r"1.5^{100} \approx 4.0656", r"1.5^{100} \approx 4.0657", r"1.5^{100} \approx 4.0657", 0),  # without words
    ],
)
def test_the_words_of_an_equation_are_translated(old, new, stands, listed, drifted):
    """They stay where the formula is the same; otherwise the equation stands in English, for its translator."""
    english = texts(PAGE)[0]
    assert old in english
    changed = english.replace(old, new, 1)
    made, kept = drifted(PAGE, changed)
    assert stands in made and faults(PAGE, changed, made, kept) == []
    assert len(stale(changed, made, kept)) == listed


def test_an_equation_is_known_by_its_words():
    """What is not words is compared at all times; a name in a subscript is no word."""
    before, after, reworded = (
        blocks(f"$$\n{tex}\n$$ (eq-a)\n")[0]
        for tex in (
            r"n_{\text{in}} = 1 \text{ for all } i",
            r"n_{\text{out}} = 1 \text{ for all } i",
            r"n = 1 \text{ for each } i",
        )
    )
    assert before.translated == r"\text{ for all }" and before.fingerprint == after.fingerprint != reworded.fingerprint
    assert before.frame != after.frame and r"n_{\text{in}}" in before.frame
    one, other = (blocks(f"$$\n{tex}\n$$ (eq-a)\n")[0] for tex in ("x", "y"))
    assert one.translated == "" and one.fingerprint != other.fingerprint


def test_no_equation_is_left_in_english():
    """A Chinese page says the words of its formulas in Chinese."""
    words = [
        w
        for name in NAMES
        for b in blocks(translation_of(ROOT / "book" / name).read_text("utf8"))
        if b.kind == "equation"
        for w in WORDS.findall(b.text)
    ]
    assert len(words) > 20
    assert [w for w in words if not re.search(r"[\u4e00-\u9fff]", w)] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("homework/")])
def test_a_new_salt_reaches_the_chinese_homework_and_makes_nothing_stale(name, drifted):
    page = ROOT / "book" / name
    english, chinese, before = texts(page)
    changed = re.sub(r'(?<=STUDENT_ID, salt=")[^"]+', "2031-spring", english)
    changed = re.sub(r"(?<=  minutes: )\d+", "7", changed)
    assert changed != english and any("the code differs" in fault for fault in faults(page, changed, chinese))
    made, kept = drifted(page, changed)
    assert 'salt="2031-spring")' in made and "\n  minutes: 7\n" in made and "# 你的学号" in made
    assert faults(page, changed, made) == [] == stale(changed, made, kept) and kept == before


def test_named_pages_alone_are_kept_up(monkeypatch, capsys):
    """As ``make homework`` does it, which is no matter of the other pages."""
    page, kept = ROOT / "book" / "homework" / "hw4.md", []
    monkeypatch.setattr(twins, "keep", lambda page, lines: kept.append((page, lines)))
    assert twins.main(["--drift", str(page), str(ROOT / "book" / "homework" / "hw9.md")]) == 0
    assert kept == [(page, kept_of(page).read_text("utf8").splitlines())] and capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "old, new, listed",
    [
        ("explode, vanish = 1.5 ** 100", "explode, vanish = 1.4 ** 100", 0),
        (":checks: [eq-chain]", ":checks: [eq-product]", 0),
        ("# ordinary in 32 bits", "# usual in 32 bits", 1),
        ("; dashed, the Lyapunov exponents.", "; the Lyapunov exponents are dashed.", 1),
        ("(sec-jac-layers)=", "```{code-cell} ipython3\n1 + 1\n```\n\n(sec-jac-layers)=", 0),
        ("(sec-jac-layers)=", "```{code-cell} ipython3\n1 + 1  # two\n```\n\n(sec-jac-layers)=", 1),
    ],
)
def test_a_cell_is_stale_for_its_words_alone(old, new, listed, drifted):
    """Its comments and its figure's words are translated; code and options are carried, and a cell without words has no translator."""
    english = texts(PAGE)[0]
    assert old in english
    changed = english.replace(old, new, 1)
    made, kept = drifted(PAGE, changed)
    assert len(stale(changed, made, kept)) == listed
    assert faults(PAGE, changed, made) == []


def test_the_words_of_a_figure_are_found():
    """Both in the options as they are written and in the cell that is read from them."""
    found = 0
    for page in translated_pages():
        text = page.read_text("utf8")
        cells = [block for block in blocks(text) if block.kind == "code cell"]
        for block, cell in zip(cells, parse_chapter(text, page).code, strict=True):
            for words in filter(None, twins.words_of(cell).values()):
                assert " ".join(words.replace("'", "").split()) in block.translated.replace("'", "")
                found += 1
    assert found > 50


def test_comments_are_kept_one_for_one():
    assert with_words_of("a = 1  # one\nb = 2", "a = 0  # 一\nb = 2") == "a = 1  # 一\nb = 2"
    assert with_words_of("a = 1  # one\n# two", "a = 0  # 一") == "a = 1  # one\n# two"
    code, chinese = ('def f():\n    """{}"""\n    return {}\n'.format(*words) for words in (("One.", 1), ("一。", 0)))
    assert with_words_of(code, chinese) == code.replace("One.", "一。")
    [english], [chinese] = blocks("$$\nx\n$$ (eq-a)\n"), blocks("$$\ny\n$$ (eq-a)\n")
    assert carried(english, chinese) == english.text


@pytest.mark.parametrize("name", NAMES)
def test_chinese_is_written_as_chinese(name):
    """Wide punctuation beside Chinese letters, and no blank typed between Chinese and Latin."""
    text = translation_of(ROOT / "book" / name).read_text("utf8")
    found = []
    for block in blocks(text):
        if block.kind in {"front matter", "equation", "code cell", "literal"}:
            continue
        for line in block.text.splitlines():
            for other in (twins.ROLE, twins.CODE, twins.FORMULA, twins.LINK):
                line = other.sub("¤", line)
            found += re.findall(r".{0,6}(?:[\u4e00-\u9fff][,;:!?()]|[,;!?()][\u4e00-\u9fff]).{0,6}", line)
            found += re.findall(
                r".{0,6}(?:[\u4e00-\u9fff] [A-Za-z0-9\u4e00-\u9fff]|(?<![|=]) ?[A-Za-z0-9.] [\u4e00-\u9fff]).{0,6}",
                re.sub(r"^[-#\d.\s>|:{}\w]*?(?=[\u4e00-\u9fff])", "", line),
            )
    assert found == []


def test_the_glossary_has_one_word_a_term():
    text = (CHINESE / "glossary.md").read_text("utf8")
    rows = [row.split("|")[1:4] for row in text.splitlines() if row.startswith("| ") and "English" not in row]
    english, chinese = [row[0].strip() for row in rows], [row[1].strip() for row in rows]
    assert len(rows) == len(twins.glossary()) > 40
    assert len(set(english)) == len(english) and len(set(chinese)) == len(chinese)
    assert not {word.strip() for row in rows for word in row[2].split(",")} & set(chinese)


def test_the_catalogue_is_what_the_site_says():
    """Each text that a template, a script or the extension says has its Chinese, and nothing else has."""
    pages, static = ROOT / "book/_ext/bookext/pages", ROOT / "book/_static"
    said = set()
    for path in [
        *pages.rglob("*.py"),
        *pages.rglob("*.html"),
        *static.glob("*.js"),
        *(pages.parent / name for name in ("run/chinese.py", "read/labels.py", "notebook/generator.py")),
    ]:
        said |= set(
            re.findall(r"""\b(?:say|said)(?:_here|_there)?\((?:[\w.]+, )*"([^"]+)"\s*[,)]""", path.read_text("utf8"))
        )
    said.discard("zh")
    assert len(said) > 30
    assert said <= set(catalogue()), said - set(catalogue())
    assert all(catalogue().values())
