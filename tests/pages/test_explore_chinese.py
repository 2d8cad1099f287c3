"""The figures that a reader moves, on Chinese pages: no English is left in them, and each number is that of the English page."""

from __future__ import annotations

import re

import pytest
from bookext.pages import explore
from bookext.pages.chinese import SCRIPTS, said_by
from bookext.read.words import catalogue
from test_explore import emptied, open_page

# What is written so in Chinese too: names of functions, formats and people, values, and what is Python.
NAMES = set(
    re.findall(
        r"\S+",
        """ReLU relu GELU tanh sigmoid softsign norm Xavier He LeCun LayerScale Inf NaN exp log sqrt sin cos erf softplus
        abs nn Linear fp16 fp32 bf16 fp8 e4m3 e5m2 std Var bar where in out nin nout n_in n_out""",
    )
)
OPERATIONS = set(
    re.findall(
        r"\S+",
        """linear layer_norm float cross_entropy mul add mean neg square mse_loss div softmax masked_fill sum sub acos
        select embedding bias weight score half log_softmax logsigmoid xlogy logsumexp clamp float32 bfloat16
        GradScaler Exp eps trap_nonfinite model optimizer""",
    )
)
SAID = """() => {
  const figure = document.querySelector("[data-explore]");
  const parts = figure.querySelectorAll("label, legend, button, option, text, th, td, caption, summary, p, li, a, textarea");
  const found = [...parts].filter((e) => !e.closest("figcaption, noscript")).map((e) => e.textContent);
  for (const each of figure.querySelectorAll("[aria-label], [aria-valuetext], [title]")) {
    for (const name of ["aria-label", "aria-valuetext", "title"]) if (each.hasAttribute(name)) found.push(each.getAttribute(name));
  }
  return found;
}"""
# What follows a reader's hand when it rests, for hundreds of states.
AT_ONCE = "(late => { setTimeout = (what, ms, ...given) => late(what, ms / 30, ...given); })(setTimeout)"
# Of the live figure, which has no presets: each thing that can become of a signal.
SETTINGS = [
    {},
    {"initialiser": "equal", "scale": 6.4, "format": "fp16", "depth": 60},
    {"scale": 0.3, "format": "fp16", "depth": 60},
    {"scale": 2},
    {"scale": 0.5},
    {"scale": 1.5, "format": "fp16", "depth": 100},
    {"activation": "sigmoid", "initialiser": "xavier_normal"},
    {"activation": "tanh", "scale": 0.9, "depth": 12},
]


@pytest.fixture(params=[*explore.NEEDS, explore.LIVE])
def name(request):
    return request.param


def states(tab, name):
    """Everything that the figure says, state by state: of its presets, and where it is told another story, of that."""
    one = f"explore.mounted.find(e => e.name === '{name}')"
    status = f"{one}.figure.querySelector('[role=status]')"
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    tab.wait_for_selector("td")
    tab.evaluate(AT_ONCE)
    some = SETTINGS if name == explore.LIVE else tab.evaluate(f"explore.specs.{name}.presets?.map(p => p[1]) ?? [{{}}]")
    patients = explore.data("culprit") if name == "culprit" else ()
    some = {
        "activation": [*some, {"formula": "x +"}, {"formula": "(x"}, {"formula": "bar(x)"}, {"formula": "1/x"}],
        "blocks": [*some, {"scale": 0}],
        "clipping": [*some, {"w1": 0, "w2": 0}, {"a": 1, "w1": 1, "w2": 1}],
        "culprit": [{"suspect": 3, "chain": k, "patient": patient} for patient in patients for k in (0, 1)]
        + [{"suspect": 1, "chain": 0}, {"suspect": 0}],
        "formats": [*some, {"number": 1e30}, {"number": 0.5}, {"decades": 90, "number": 1e-40}],
    }.get(name, some)
    for state in some:
        tab.evaluate(f"state => {{ {status}.textContent = ''; {one}.set(state) }}", state)
        tab.wait_for_function(f"{status}.textContent")  # it follows later, with the table and the label for ears
        yield state, tab.evaluate(SAID)


def numbers(text):
    return sorted(re.findall(r"\d+(?:\.\d+)?", re.sub(r"fp\d+|bf16|e\dm\d", "", text)))


@pytest.mark.site
def test_no_english_is_left_and_the_numbers_are_the_same(browser, name):
    said = {}
    for chinese in (False, True):
        errors: list[str] = []
        emptied(browser).on("pageerror", lambda e, errors=errors: errors.append(str(e)))
        tab = open_page(browser, name, chinese=chinese, viewport={"width": 1280, "height": 900})
        said[chinese] = list(states(tab, name))
        assert errors == []
    for (state, english), (_, chinese) in zip(said[False], said[True], strict=True):
        assert len(english) == len(chinese) > 20
        for ours, theirs in zip(english, chinese, strict=True):
            assert numbers(ours) == numbers(theirs), (state, ours, theirs)
            allowed = NAMES | (OPERATIONS if name == "culprit" else set())
            left = set(re.findall(r"[A-Za-z_]{2,}\d*", re.sub(r"\[[^]]*\]|<iframe.*", "", theirs))) - allowed
            assert not left, (state, ours, theirs)


def test_whatever_a_script_says_is_in_the_catalogue():
    """Also what comes up in no preset; and the catalogue has nothing for them that they do not say."""
    for scripts in SCRIPTS.values():
        code = "".join(path.read_text("utf8") for some in scripts for path in sorted(explore.STATIC.glob(some)))
        told = set(re.findall(r'\bsay\((?:[^()"]*\? )?"((?:[^"\\]|\\.)*)"', code))
        told |= set(re.findall(r'\b(?:label|title|caption): "((?:[^"\\]|\\.)*)"', code)) - {"clipping"}
        assert len(told) > (1 if scripts == ("slides.js",) else 10) and told - {"%1"} <= set(said_by(*scripts)), (
            told - set(said_by(*scripts))
        )
        assert all(catalogue()[text] for text in told - {"%1"})
