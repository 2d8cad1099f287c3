"""``make book`` on a small book of its own, with one fault planted at a time."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from bookext.pages.math import join_punctuation, render
from bookext.read.chapter import parse_chapter
from bookext.read.machine import EXACT
from bookext.read.numbers import numbers_code
from bookext.run.execute import wrong_numbers
from docutils import nodes, utils
from smallbook import CHAPTER, Book, Warm
from support import FRONT, ROOT

pytestmark = pytest.mark.xdist_group("build")  # one small book, changed from test to test

# Whatever the writer mends, once.
RICH = """
## Everything

It takes about 7 minutes ({minutes}`small`).

| 爆炸 | exploding |
| --- | --- |
| 梯度 消失 | vanishing |

::::{exercise} One
:label: ex-one

Twice $x$?

:::{dropdown} A *hint*
:class: special
:name: the-hint
:open:

Add.
:::
::::

::::{exercise} Two
:label: ex-two

Thrice?
::::

```{code-cell} ipython3
:tags: [hide-input]

from IPython.display import SVG

SVG('<svg xmlns="http://www.w3.org/2000/svg" width="9pt" height="6pt"><path d="M 0 0.12345 L 9 6"/></svg>')
```

```{code-cell} ipython3
:tags: [guard]

assert value == answer()
```
"""


COUNTED = """
See {{eq}}`eq-{n}`, {{numref}}`fig-{n}`, {{numref}}`tab-{n}` and {{ref}}`ex-{n}`.

$$
x = 1
$$ (eq-{n})

:::{{figure}} _static/favicon.svg
:name: fig-{n}

A caption.
:::

:::{{figure}} _static/favicon.svg
:name: bare-{n}
:::

:::{{table}} A table
:name: tab-{n}

| a | b |
| --- | --- |
| 1 | 2 |
:::

::::{{exercise}} It
:label: ex-{n}

How?

:::{{figure}} _static/favicon.svg
:name: in-{n}

Within.
:::
::::
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> Iterator[Book]:
    made = Warm(tmp_path_factory.mktemp("book"))
    code, output = Book.build(made)  # as `make book`: a process of its own
    assert code == 0, output
    yield made
    made.close()


@pytest.mark.slow
def test_build_cache_and_labs(book):
    book.chapter(CHAPTER)
    book.labs("return 42")
    code, output = book.build()
    assert code == 0 and "labs says 42" in book.page
    code, output = book.build()
    assert code == 0 and "Nothing changed" in output

    book.chapter(CHAPTER.replace("See ", "Do see "))  # prose only: not executed again
    code, output = book.build()
    assert code == 0 and "small: from the cache" in output and "Do see" in book.page

    # the same number by another way: jupyter-cache alone would show the old output
    book.labs("return 42 + 0.25")
    code, output = book.build()
    assert code == 0 and "small: executed" in output and "labs says 42.25" in book.page


@pytest.mark.slow
def test_an_edit_of_labs_executes_and_rewrites_what_imports_it(book):
    """Through another module too; what was computed before holds for the others, also when the edit is taken back."""
    second = CHAPTER.replace("A small chapter", "Another").replace("there", "elsewhere")
    second = second.replace("from labs import answer", "from labs.above import answer")
    labs, toc = book.root / "labs", book.root / "_toc.yml"
    before = toc.read_text("utf8")
    toc.write_text(f"{before}- file: book/second\n", "utf8")
    (book.root / "book" / "second.md").write_text(second, "utf8")
    (labs / "above.py").write_text("from labs import below\n\n\ndef answer():\n    return below.ANSWER\n", "utf8")
    below = labs / "below.py"
    book.labs("return 42")
    book.chapter(CHAPTER)
    pages = [book.root / "_build" / "html" / "book" / f"{name}.html" for name in ("small", "second")]
    try:
        written = []
        for value, done in (("42", "executed"), ("42.0", "executed"), ("42", "from the cache")):
            below.write_text(f"ANSWER = {value}\n", "utf8")
            code, output = book.build()
            assert code == 0 and f"second: {done}" in output, output
            assert f"labs says {value}\n" in pages[1].read_text("utf8")
            written.append([page.stat().st_mtime_ns for page in pages])
            if written[1:]:
                assert "small: from the cache" in output
        small, other = zip(*written, strict=True)
        assert small[0] == small[1] == small[2] and other[0] < other[1] < other[2]
    finally:
        toc.write_text(before, "utf8")
        for path in (book.root / "book" / "second.md", labs / "above.py", below):
            path.unlink()


@pytest.mark.slow
def test_a_page_that_says_how_long_another_takes_is_read_with_it_alone(book):
    book.labs("return 42")
    index, built = book.root / "book" / "index.md", book.root / "_build"
    before = index.read_text("utf8")
    index.write_text(f"{before}\nThe chapter takes {{minutes}}`small`.\n", "utf8")
    try:
        read = []
        for minutes, words in ((7, "See "), (7, "Do see "), (8, "Do see ")):
            book.chapter(CHAPTER.replace("See ", words) + f"\nIt takes about {minutes} minutes.\n")
            code, output = book.build()
            assert code == 0, output
            assert f"The chapter takes {minutes}." in (built / "html/book/index.html").read_text("utf8")
            read.append((built / ".doctrees/book/index.doctree").stat().st_mtime_ns)
        assert read[0] == read[1] < read[2]
    finally:
        index.write_text(before, "utf8")
        book.chapter(CHAPTER)


CHINESE = (
    FRONT
    + """
# 小小的一章

见{doc}`index`，以及{ref}`下文 <there>`。

(there)=
## 那里

它是{num}`42 <value>`。

```{code-cell} ipython3
from labs import answer

value = answer()
print("labs says", value)
```
"""
)


@pytest.mark.rehearsal
def test_a_chinese_page_beside_the_english_one(book):
    """Built in the same run, executed once; a number in one language alone stops the build; a sentence in English alone is shown."""
    from bookext.read.blocks import blocks, kept_line

    folder = book.root / "book" / "zh"
    (folder / "kept").mkdir(parents=True)
    for name in ("words.po", "glossary.md"):
        shutil.copy(ROOT / "book" / "zh" / name, folder / name)
    (folder / "kept" / "small.txt").write_text("".join(f"{kept_line(b)}\n" for b in blocks(CHAPTER)), "utf8")
    toc = book.root / "_toc.yml"
    before = toc.read_text("utf8")
    toc.write_text(f"{before}- file: book/zh/glossary\n", "utf8")
    book.labs("return 42")
    page = book.root / "_build" / "html" / "zh" / "book" / "small.html"
    try:
        book.chapter(CHAPTER)
        (folder / "small.md").write_text(CHINESE, "utf8")
        assert book.run("bookext.notebook.generator")[0] == 0
        code, output = book.build()
        assert code == 0, output
        links = re.findall(r'<a class="action" href="([^"#]+)"', page.read_text("utf8"))
        assert [link.rpartition("/book/")[2] for link in links] == ["zh/small.ipynb"] * 2  # on Colab, and to download
        assert "小小的一章" in (page.parent / links[1]).read_text("utf8")
        assert "它是" in page.read_text("utf8") and "labs says 42" in page.read_text("utf8")
        assert 'href="../zh/book/small.html"' in book.page

        (folder / "small.md").write_text(CHINESE.replace("42 <value>", "43 <value>"), "utf8")
        code, output = book.build()
        assert code == 1 and "book/zh/small.md:15: {num}`43 <value>` is not in the English" in output

        (folder / "small.md").write_text(CHINESE, "utf8")
        book.chapter(CHAPTER.replace("It is {num}", "To be exact, it is {num}"))
        code, output = book.build()
        assert code == 0, output
        shown = re.search(r'<details class="fold stale" lang="en">.*?</details>', page.read_text("utf8"), re.DOTALL)
        assert shown and "To be exact" in shown[0] and 'class="notice"' in page.read_text("utf8")
    finally:
        shutil.rmtree(folder)
        (book.root / "book" / "small.ipynb").unlink(missing_ok=True)
        toc.write_text(before, "utf8")
        book.chapter(CHAPTER)


@pytest.mark.slow
def test_a_split_cell_leaves_the_page_as_it_was(book):
    """JupyterLab's *Split Cell* puts +++ between two cells of text."""
    book.labs("return 42")
    articles = []
    for text in (CHAPTER, CHAPTER.replace("(there)=", "+++\n\n(there)=").replace("It is {num}", "+++\n\nIt is {num}")):
        book.chapter(text)
        code, output = book.build()
        assert code == 0, output
        articles += re.findall(r"<article.*?</article>", book.page, re.DOTALL)
    assert len(articles) == 2 and articles[0] == articles[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "old, new, messages",
    [
        (
            "value = answer()",
            "value = answer() / 0",
            ["book/small.md:20: code cell 1", "ZeroDivisionError", "answer() / 0"],
        ),
        ("42 <value>", "43 <value>", ["\nbook/small.md:15: the text says 43, computed 42\n"]),
        ("{ref}`below <there>`", "{ref}`below <nowhere>`", ["small.md:", "undefined label: 'nowhere'"]),
        ("## There", "## There\n\n$\\frac{1}$\n", ["small.md:", "KaTeX parse error"]),
        ("It is {num}`42 <value>`", "It is {num}`42`", ["book/small.md:15: a {num} without <expression>"]),
        (
            "42 <value>",
            "42 <value.real.size>",
            ["\nbook/small.md:15: {num}`42 <value.real.size>`: AttributeError: 'int'"],
        ),
        ("42 <value>", "42 <[value]>", ["\nbook/small.md: some {num} of it is not a single number: TypeError: "]),
    ],
    ids=["exception", "number", "cross-reference", "formula", "malformed", "no value", "no number"],
)
def test_a_planted_fault_stops_the_build(book, old, new, messages):
    assert old in CHAPTER
    book.labs("return 42")
    book.chapter(CHAPTER.replace(old, new))
    for _ in range(2):  # what is wrong is said again
        code, output = book.build()
        assert code == 1
        for message in messages:
            assert message in output, output
        assert "The book was not built" in output


@pytest.mark.slow
def test_what_is_wrong_is_said_after_a_build_that_was_killed(book):
    """As soon as the page was written: Sphinx by itself would find it done, and warn of nothing."""
    book.labs("return 42")
    book.chapter(CHAPTER)
    assert book.build()[0] == 0
    page = book.root / "_build" / "html" / "book" / "small.html"
    before = page.stat().st_mtime_ns
    book.chapter(CHAPTER.replace("{ref}`below <there>`", "{ref}`below <nowhere>`"))
    start = [sys.executable, "-m", "bookext.run.build"]
    build = subprocess.Popen(
        start, cwd=book.root, env=book.environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while page.stat().st_mtime_ns == before:
        assert build.poll() is None
        time.sleep(0.005)
    os.killpg(build.pid, signal.SIGKILL)
    assert build.wait() == -signal.SIGKILL
    code, output = book.build()
    assert code == 1 and "undefined label: 'nowhere'" in output, output


@pytest.mark.slow
def test_what_is_written_for_an_edit_is_what_a_full_build_writes(book):
    """A word edited and put back: every byte of the site is as it was; so it is after building everything anew."""
    book.labs("return 42")
    book.chapter(CHAPTER + RICH)
    (book.root / "_build" / "machinery").unlink(missing_ok=True)  # everything is read and written anew
    code, output = book.build()
    assert code == 0, output
    full = book.site
    for text in (CHAPTER.replace("See ", "Do see ") + RICH, CHAPTER + RICH):
        book.chapter(text)
        code, output = book.build()
        assert code == 0 and "small: from the cache" in output, output
    assert book.site == full
    (book.root / "_build" / "machinery").unlink()
    book.chapter(CHAPTER + RICH + "\n")
    assert book.build()[0] == 0
    changed = {name for name, data in book.site.items() if data != full[name]}
    assert book.site.keys() == full.keys() and changed <= {"_sources/book/small.md"}


@pytest.mark.slow
def test_an_unchanged_book_waits_for_no_library():
    """To say that nothing has changed takes files and their hashes."""
    heavy = {"jupytext", "nbformat", "numpy", "torch", "sympy", "sphinx", "docutils", "jupyter_client"}
    program = f"import sys; from bookext.run import build; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT / "book/_ext"
    )
    assert done.stdout.split() == []


WAITS = """
import time
from pathlib import Path


def waits(name):
    deadline = time.monotonic() + 300
    while not Path(name).exists():
        assert time.monotonic() < deadline, f"waited in vain for {name}"
        time.sleep(0.01)

"""
BESIDE = """
from bookext.read.book import executed_pages
from bookext.run.execute import execute_all


def meanwhile():
    waits("book/running")
    Path("book/ready").touch()
    FAULT


print("failures:", execute_all(executed_pages(), meanwhile))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "fault", "printed"),
    [("42", "", "failures: []"), ("42", 'raise OSError("a full disk")', "a full disk"), ("43", "1 / 0", "says 42, computed 43")],
)  # fmt: skip
def test_what_sphinx_needs_is_got_ready_while_a_chapter_runs(book, answer, fault, printed):
    """Each waits for the other; and what is wrong with the chapter is said before what is wrong beside it."""
    for name in ("running", "ready"):
        (book.root / "book" / name).unlink(missing_ok=True)
    book.labs(f"return {answer}")
    waiting = f'{WAITS}Path("running").touch()\nwaits("ready")\nvalue = answer()  # {fault}\n'
    book.chapter(CHAPTER.replace("value = answer()\n", waiting))
    output = book.run("-c", WAITS + BESIDE.replace("FAULT", fault))[1]
    assert printed in output and "in vain" not in output, output


WITHOUT_COUNTING = """
import sys, bookext
bookext.PAGES = tuple(name for name in bookext.PAGES if name != "counting")
from bookext.run.build import main
sys.exit(main())
"""


@pytest.mark.slow
def test_figures_are_numbered_as_sphinx_numbers_them(book):
    """Equations, figures, tables and exercises come in, go and change places; Sphinx by itself gives every page the same bytes."""
    book.labs("return 42")
    toc = book.root / "_toc.yml"
    before, second = toc.read_text("utf8"), book.root / "book" / "second.md"
    toc.write_text(
        "format: jb-book\nroot: book/index\nparts:\n- caption: All\n  numbered: true\n  chapters:\n"
        "  - file: book/small\n  - file: book/second\n- caption: More\n  chapters:\n  - file: book/references\n"
    )
    one, two = COUNTED.format(n="one"), COUNTED.format(n="two")
    try:
        second.write_text("# Second\n" + COUNTED.format(n="three"), "utf8")
        for text in (CHAPTER + one, CHAPTER + two + one, CHAPTER.replace("## There", f"## There\n{two}") + one):
            book.chapter(text)
            code, output = book.build()
            assert code == 0, output
        assert "Fig. 1.4" in book.page
        ours = book.site
        for stamp in ("machinery", "fingerprint"):
            (book.root / "_build" / stamp).unlink()
        code, output = book.run("-c", WITHOUT_COUNTING)
        assert code == 0, output
        assert book.site == ours
    finally:
        toc.write_text(before, "utf8")
        second.unlink(missing_ok=True)


@pytest.mark.slow
def test_what_readers_need_is_written_at_the_nodes(book):
    """Scrolling by keyboard, a language for Chinese, one id for one element, sizes of figures, folds without a script."""
    book.labs("return 42")
    book.chapter(CHAPTER + RICH)
    code, output = book.build()
    assert code == 0, output
    article = book.page.partition("<article>")[2].partition("</article>")[0]
    assert article.count('<div class="wide" tabindex="0"><table') == 1
    assert article.count('<pre tabindex="0">') == article.count("<pre") == 4
    assert re.findall(r'<span lang="zh-Hans">([^<]*)</span>', article) == ["爆炸", "梯度 消失"]
    assert 'id="exercise-content"' not in article and article.count('<div class="exercise-content">') == 2
    assert '<details class="fold special" id="the-hint" open=""><summary>A <em>hint</em></summary><div>' in article
    assert '<summary><span class="closed">Show code cell source</span><span class="opened">Hide' in article
    references = (book.root / "_build" / "html" / "book" / "references.html").read_text("utf8")
    assert all(f"</span>He et al., {year}<span" in references for year in ("2015", "2016a", "2016b"))
    assert "about 7 minutes (7)." in article
    guard = article.partition("tag_guard")[2]
    assert '<summary><span class="closed">Checks</span><span class="opened">Hide the checks</span>' in guard
    figure = re.search(r'<img [^>]*src="../(_images/[^"]+)"[^>]*>', article)
    assert figure and all(a in figure[0] for a in ('width="12"', 'height="8"', 'loading="lazy"', 'decoding="async"'))
    assert b'd="M 0 0.12 L 9 6"' in book.site[figure[1]]
    assert '<a aria-current="page" class="current reference internal" href="#">' in book.page


def test_katex_renders_macros_and_reports_bad_formulas():
    good, bad = render([(r"\Var[x]", False), (r"\frac{1}", False)], {r"\Var": r"\operatorname{Var}"})
    assert "Var" in good["html"] and "<math" in good["html"]
    assert "KaTeX parse error" in bad["error"]


@pytest.mark.slow
def test_a_wrong_number_is_one_line_with_its_place(book):
    book.labs("return 42")
    for written in ("43 <value>", "43 <value ± 5>"):  # on the build machine each is the rounded value
        book.chapter(CHAPTER.replace("42 <value>", written))
        code, output = book.build()
        assert code == 1 and "Traceback" not in output and "claims" not in output
        assert [line for line in output.splitlines() if "small.md" in line] == [
            "book/small.md:15: the text says 43, computed 42"
        ]


@pytest.mark.parametrize("exact, holds", [(True, False), (False, True)])
def test_elsewhere_a_number_may_differ_by_what_its_text_allows(exact, holds, monkeypatch):
    monkeypatch.setenv(EXACT, "rounded") if exact else monkeypatch.delenv(EXACT, raising=False)
    code = numbers_code(parse_chapter("# A\n\nIt is {num}`43 <value ± 5>`.\n", ROOT / "book" / "planted.md"))
    with contextlib.nullcontext() if holds else pytest.raises(AssertionError, match="the text says 43, computed 42"):
        exec(code, {"value": 42})


def test_each_wrong_number_is_found_on_its_own_line():
    text = "# A\n\nIt is {num}`0.25 <x>`,\nor {num}`0.25 <y>`.\n\n## B\n\nNow {num}`2e3 <z>`.\n"
    chapter = parse_chapter(text, ROOT / "book" / "planted.md")
    said = "A number in the text does not hold here:\nA: the text says 0.25, computed 0.3\nB: the text says 2e3, computed 2100"
    assert wrong_numbers(chapter, said) == [
        "book/planted.md:3 (or 4): the text says 0.25, computed 0.3",
        "book/planted.md:8: the text says 2e3, computed 2100",
    ]


@pytest.mark.slow
def test_a_meaning_touched_rewrites_no_page_and_the_theme_touched_rewrites_all(book):
    book.labs("return 42")
    book.chapter(CHAPTER)
    assert book.build()[0] == 0
    pages = [path for path in (book.root / "_build/html").rglob("*.html")]
    before = {path: path.stat().st_mtime_ns for path in pages}
    room = book.root / "book/_ext/bookext"
    for file, chapters_change in ((room / "check/meanings/ch01.py", False), (room / "pages/roles.py", True)):
        file.write_text(file.read_text("utf8") + "# touched\n", "utf8")
        code, output = book.build()
        assert code == 0, output
        changed = {path.name for path in pages if path.stat().st_mtime_ns != before[path]}
        assert ("small.html" in changed) == chapters_change, changed


def test_a_formula_takes_the_punctuation_behind_it_and_no_other():
    """Two equal texts in one paragraph, as where two sentences end their lines: only the one after the formula is shortened."""
    document, paragraph = utils.new_document("page"), nodes.paragraph()
    document += paragraph
    paragraph += [
        nodes.literal("", "f(x)"),
        nodes.Text(".\n"),
        nodes.math("", "x"),
        nodes.Text(".\n"),
        nodes.Text("So"),
    ]
    join_punctuation(SimpleNamespace(builder=SimpleNamespace(format="html")), document, "page")
    assert [child.astext() for child in paragraph.children] == ["f(x)", ".\n", "x", "\n", "So"]
    assert paragraph[2]["closing"] == "."


@pytest.mark.rehearsal
def test_the_skeleton_of_a_chapter_passes_as_it_is(tmp_path):
    """What CONTRIBUTING.md says to copy: it is checked, becomes a notebook, is laid out and builds, before anything is changed."""
    book = Book(tmp_path)
    shutil.rmtree(book.root / "labs")
    shutil.copytree(ROOT / "labs", book.root / "labs", ignore=shutil.ignore_patterns("__pycache__"))  # meanings need it
    skeleton, page = book.root / "book/_ext/skeleton", book.root / "book/11-name.md"
    shutil.copy(skeleton / "chapter.md", page)
    shutil.copy(skeleton / "meanings.py", book.root / "book/_ext/bookext/check/meanings/ch11.py")
    shutil.copy(skeleton / "conditions.py", book.root / "book/_ext/bookext/check/conditions/ch11.py")
    (book.root / "book/notation.md").write_text("# Notation\n\nWords.\n")
    (book.root / "book/small.md").unlink()
    (book.root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n- file: book/11-name\n- file: book/notation\n- file: book/references\n"
    )
    for command in (
        ["bookext.run.stress", "11"],
        ["bookext.check", "--run", str(page)],
        ["bookext.notebook.generator", str(page)],
        ["bookext.notebook.saved", "--check", str(page)],
    ):
        code, output = book.run(*command)
        assert code == 0, output
    assert page.with_suffix(".ipynb").exists()
    code, output = book.build()
    assert code == 0, output
    shown = (book.root / "_build/html/book/11-name.html").read_text("utf8")
    assert "57.7 times as large" in shown
    assert 'ledger.html#claim-new-median-below-mean" title="held in 10 of 10 draws; held at layers 40' in shown

    # another result of the stress executes nothing and rewrites the pages that show it
    pages = {path: path.stat().st_mtime_ns for path in (book.root / "_build/html/book").glob("*.html")}
    record = book.root / "book/_stress/11-name.json"
    record.write_text(record.read_text("utf8").replace('"draw 10": {"held": true', '"draw 10": {"held": false'), "utf8")
    code, output = book.build()
    assert code == 0 and "11-name: from the cache" in output, output
    changed = {path.name for path, time in pages.items() if path.stat().st_mtime_ns != time}
    assert "11-name.html" in changed and "notation.html" not in changed  # references say where they are cited
    assert 'title="held in 9 of 10 draws; ' in (book.root / "_build/html/book/11-name.html").read_text("utf8")
