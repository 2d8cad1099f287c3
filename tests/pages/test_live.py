"""The live figure in a real browser: its numbers are those of labs and torch, and everyone can use it."""

from __future__ import annotations

import base64
import math
import re

import numpy as np
import pytest
import torch
from access import faults
from bookext.notebook import generator as notebooks
from bookext.pages import live
from bookext.read.book import ROOT, book_pages
from bookext.read.chapter import read_chapter
from support import SITE, listen

from labs import activations, formats, init, propagation
from labs.nets import DeepMLP

PAGES = (
    "book/index",
    "book/02-explosion-relu",
    "book/03-vanishing-sigmoid",
    "book/05-constant-variance",
    "book/06-xavier",
)
SLIDER = ".live-figure input[data-for=scale]"
NETWORK = """settings => {
  liveFigures[0].set(settings);
  const {weights, input, top} = liveFigures[0].network(), result = liveFigures[0].result();
  const bytes = v => btoa(Array.from(new Uint8Array(v.buffer), b => String.fromCharCode(b)).join(''));
  const signals = o => ({forward: bytes(Float64Array.from(o.forward)), backward: bytes(Float64Array.from(o.backward))});
  return {weights: weights.map(bytes), input: bytes(input), top: bytes(top), result: signals(result),
          theory: signals(liveFigures[0].prediction()), overflow: result.overflow, zero: result.zero, undone: result.undone};
}"""  # bytes, for JSON is slow and knows no Inf


def numbers(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype)


class Live:
    """What the figure computed for some settings, as torch and numpy see it."""

    def __init__(self, tab, **settings):
        self.settings = {"activation": "relu", "initialiser": "he_normal", "format": "fp32", "scale": 1.0,
                         "depth": 30, "width": 64, "seed": 0} | settings  # fmt: skip
        got = tab.evaluate(NETWORK, self.settings)
        n = self.settings["width"]
        self.W = [torch.tensor(numbers(W, np.float32)).double().reshape(n, n) for W in got["weights"]]
        self.input, self.top = (torch.tensor(numbers(got[k], np.float32)).double() for k in ("input", "top"))
        assert len(self.W) == self.settings["depth"] and len(self.input) == len(self.top) == n
        self.forward, self.backward = (numbers(got["result"][k], np.float64) for k in ("forward", "backward"))
        self.theory = {k: numbers(v, np.float64) for k, v in got["theory"].items()}
        self.overflow, self.zero, self.undone = got["overflow"], got["zero"], got["undone"]
        self.activation = activations.get(self.settings["activation"])

    def net(self, dtype=torch.float32):
        """A DeepMLP of labs with the page's weights."""
        shape = self.settings["width"], self.settings["depth"]
        net = DeepMLP(shape, self.activation, dtype=dtype)
        with torch.no_grad():
            for layer, W in zip(net.layers, self.W, strict=True):
                layer.weight.copy_(W)
        return net


def come_near(tab):
    """Scroll to the figure of a page, whose scripts load then."""
    tab.locator(".live-figure").evaluate("e => e.scrollIntoView()")
    tab.wait_for_function("window.liveFigures && liveFigures.length")


@pytest.fixture(scope="module")
def tab(site, browser):
    tab = browser.new_page()
    tab.goto(f"{site}/{live.PAGE}.html", wait_until="load")
    yield tab
    tab.close()


# ---- The menus, and what an author may write


def test_menus_are_those_of_labs():
    assert set(live.ACTIVATIONS) == set(activations.ACTIVATIONS)
    assert set(live.INITIALISERS) == {*init.INITIALISERS, "equal"}
    assert set(live.FORMATS) <= set(formats.FORMATS)


@pytest.mark.parametrize(
    "convert, wrong",
    [
        (live.within(2, 100, int), "101"),
        (live.within(2, 100, int), "deep"),
        (live.one_of(live.FORMATS), "fp8"),
        (live.buttons, "steep, scale=99"),
        (live.buttons, "red, colour=red"),
    ],
)
def test_a_wrong_preset_is_refused(convert, wrong):
    with pytest.raises(ValueError):
        convert(wrong)


def test_buttons_change_some_settings():
    """Each setting is converted as the option of its name is."""
    found = live.buttons("c = 10.15, scale=10.15 depth=3; tanh, activation=tanh")
    assert found == [("c = 10.15", {"scale": 10.15, "depth": 3}), ("tanh", {"activation": "tanh"})]


def test_a_notebook_has_a_link_in_its_place():
    chapter = read_chapter(ROOT / "book" / "02-explosion-relu.md")
    text = "\n".join(
        notebooks.directive(chapter, "live-figure", "", [":name: live-overflow", ":depth: 60", "", "A *net*."])
    )
    url = notebooks.page_url(chapter.path, "live-overflow")
    assert f"[Live figure]({url})" in text and "A *net*." in text and ":depth:" not in text


# ---- Numbers


@pytest.mark.site
@pytest.mark.parametrize("name", live.FORMATS)
def test_rounding_is_torchs(tab, name):
    """Every binade, ties, the ends of the format and beyond; float32 numbers, so that torch rounds once."""
    fmt = formats.FORMATS[name]
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(4000, generator=generator) * 2.0 ** torch.randint(-150, 128, (4000,), generator=generator)
    halves = torch.arange(-300, 300) * fmt.smallest_subnormal / 2
    ends = torch.tensor(
        [0.0, fmt.max, -fmt.max, fmt.smallest_normal, 1 + fmt.eps / 2, 1 + 3 * fmt.eps / 2, math.inf, math.nan]
    )
    x = torch.cat(
        [random.double(), halves.double(), ends.double(), fmt.max * (1 + torch.tensor([0.2, 0.5, 1]) * fmt.eps)]
    )
    if name != "fp32":
        x = x.float().double()
    got = tab.evaluate(f"x => Array.from(liveSignal.roundAll(x.map(Number), liveSignal.FORMATS.{name}), String)",
                       [str(v).replace("inf", "Infinity").replace("nan", "NaN") for v in x.tolist()])  # fmt: skip
    np.testing.assert_array_equal(np.array(got, float), x.to(fmt.dtype).double().numpy())
    limits = tab.evaluate(f"(f => [f.max, f.smallestNormal, f.smallestSubnormal])(liveSignal.FORMATS.{name})")
    assert limits == [fmt.max, fmt.smallest_normal, fmt.smallest_subnormal]


# An error of rounding grows from layer to layer as a small difference of the input does, by the root of chi_1 in a layer.
# In the chaotic phase (the last three) the nets are shallow for that reason.
SETTINGS = [
    {"depth": 60}, {"depth": 60, "scale": 1.5}, {"depth": 60, "scale": 0.5, "initialiser": "xavier_normal"},
    {"depth": 60, "activation": "identity", "initialiser": "orthogonal"},
    {"depth": 60, "activation": "tanh", "initialiser": "xavier_uniform"},
    {"depth": 60, "activation": "leaky_relu", "initialiser": "he_uniform", "width": 16},
    {"depth": 30, "activation": "gelu", "scale": 1.4, "initialiser": "lecun_normal"},
    {"depth": 30, "activation": "softsign", "initialiser": "lecun_normal"},
    {"depth": 30, "activation": "scaled_sigmoid", "initialiser": "lecun_normal"},
    {"depth": 11, "activation": "sigmoid", "initialiser": "lecun_normal", "width": 128},
    {"depth": 20, "initialiser": "pytorch_linear"}, {"depth": 12, "initialiser": "lecture_normal"},
    {"depth": 40, "initialiser": "equal", "scale": 6.4},
    {"depth": 11, "activation": "sigmoid", "initialiser": "lecun_normal", "scale": 20},
    {"depth": 12, "activation": "tanh", "initialiser": "xavier_normal", "scale": 5 / 3},
    {"depth": 6, "activation": "tanh", "initialiser": "orthogonal", "scale": 3},
]  # fmt: skip


@pytest.mark.site
@pytest.mark.parametrize("seed", (0, 7))
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))
def test_both_signals_are_those_of_labs(tab, settings, seed):
    """Within 1e-5 of labs in float64, and of labs in float32 but for float32's own distance from float64: torch rounds at
    each step of a sum, the page once, so that the page is the nearer one (at a ReLU's kink torch's error reaches 1.5e-5)."""
    page = Live(tab, **settings, seed=seed)
    of = {}
    for dtype in (torch.float32, torch.float64):
        x, top = page.input.to(dtype).unsqueeze(0).requires_grad_(), page.top.to(dtype)
        net = page.net(dtype)
        measured = propagation.measure(net, x, lambda h, top=top: (h * top).sum())
        (gradient,) = torch.autograd.grad((net(x) * top).sum(), x)
        h, delta = measured.activations.second_moment.sqrt(), measured.deltas.second_moment.sqrt()
        bottom = [v.detach().double().square().mean().sqrt().reshape(1) for v in (x, gradient)]
        of[dtype] = torch.cat([bottom[0], h]).numpy(), torch.cat([bottom[1], delta]).numpy()
    for ours, single, double in zip((page.forward, page.backward), of[torch.float32], of[torch.float64], strict=True):
        np.testing.assert_allclose(ours, double, rtol=1e-5)
        assert (abs(ours / single - 1) <= 1e-5 + abs(single / double - 1)).all()


@pytest.mark.site
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))
def test_theory_is_that_of_labs(tab, settings):
    page = Live(tab, **settings)
    start, top = page.input.square().mean(), page.top.square().mean().sqrt()
    n, d = page.settings["width"], page.settings["depth"]
    if page.settings["initialiser"] == "equal":  # not mean field: each layer multiplies by c
        powers = page.settings["scale"] ** np.arange(d + 1)
        np.testing.assert_allclose(page.theory["forward"], powers, rtol=1e-12)
        np.testing.assert_allclose(page.theory["backward"], powers[::-1], rtol=1e-12)
        return
    fill = init.get(page.settings["initialiser"])
    drawn = torch.stack(
        [fill(torch.empty(n, n, dtype=torch.float64), generator=torch.Generator().manual_seed(s)) for s in range(40)]
    )
    gamma = (
        drawn.square().mean().item()
    )  # the sampled variance tells the right rule from a wrong one, and is then made exact
    exact = min(live_gammas(n), key=lambda g: abs(g - gamma))
    assert abs(gamma / exact - 1) < 0.1
    gamma = exact * page.settings["scale"] ** 2
    forward = propagation.predict_forward(page.activation, (n, d), gamma, second_moment=float(start)).sqrt()
    backward = propagation.predict_backward(page.activation, (n, d), gamma, second_moment=float(start)).sqrt() * top
    np.testing.assert_allclose(page.theory["forward"][1:], forward, rtol=1e-9)
    np.testing.assert_allclose(page.theory["backward"][1:], backward, rtol=1e-9)


def live_gammas(n):
    return 1e-4, 1 / (3 * n), 1 / n, 2 / n


@pytest.mark.site
@pytest.mark.parametrize("name", init.INITIALISERS)
def test_weights_are_drawn_as_labs_draws_them(tab, name):
    """Second and fourth moments over ten layers of 128 × 128, beside a draw by labs; draws differ from layer to layer."""
    page = Live(tab, initialiser=name, width=128, depth=10, seed=3)
    ours, theirs = torch.stack(page.W), torch.empty(10, 128, 128, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    for W in theirs:
        init.get(name)(W, generator=generator)
    number = ours.numel()
    assert abs(ours.mean()) < 4 * ours.std() / math.sqrt(number)
    for power, error in ((2, 2.0), (4, 32 / 3)):  # a normal's relative variance of x² and x⁴; a uniform's are smaller
        ratio = (ours**power).mean() / (theirs**power).mean()
        assert abs(ratio - 1) < 4 * math.sqrt(2 * error / number)
    neighbours = (ours[1:] * ours[:-1]).mean() / ours.square().mean()
    assert abs(neighbours) < 4 / math.sqrt(number)
    if name == "orthogonal":
        torch.testing.assert_close(ours.mT @ ours, torch.eye(128).double().expand(10, 128, 128), rtol=0, atol=1e-5)
    else:
        assert (ours.abs().max() / ours.std() > 2) == name.endswith("normal")


def rounded_passes(page, name):
    """Both signals, every number rounded to a format by torch."""

    def keep(v):
        return formats.round_to(v, name)

    pre, h = [], [page.input]
    for W in page.W:
        pre.append(keep(W @ h[-1]))
        h.append(keep(page.activation(pre[-1])))
    delta = [page.top]
    for W, z, out in zip(reversed(page.W), reversed(pre), reversed(h[1:]), strict=True):
        # as frameworks take it, a sigmoid's slope comes from the rounded output
        slope = out * (1 - out) if page.activation.name == "sigmoid" else page.activation.derivative(z)
        if page.activation.name != "identity":
            slope = slope + 0 * z.where(z.isnan(), 0.0)  # of a NaN no slope is known; torch's ReLU passes the gradient
        delta.insert(0, keep(W.T @ keep(delta[0] * slope)))
    return h, delta


@pytest.mark.site
@pytest.mark.parametrize("name, factor, depth", [
    ("fp16", 1.5, 60), ("fp16", 6.4, 60), ("fp16", 1.25, 100), ("fp16", 19.9, 60), ("bf16", 6.4, 60), ("fp32", 6.4, 60), ("fp32", 2.5, 100),
])  # fmt: skip
def test_overflow_comes_at_the_step_that_labs_says(tab, name, factor, depth):
    """With equal weights both signals are the running product of equal factors."""
    page = Live(tab, initialiser="equal", scale=factor, format=name, depth=depth)
    step = formats.overflow_depth(factor, name)
    assert page.overflow == {"forward": step, "backward": depth - step}
    product = formats.running_product(float(64 * page.W[0][0, 0]), step - 1, name).double().numpy()
    np.testing.assert_allclose(page.forward[1:step], product, rtol=1e-12 if name != "fp32" else 1e-6)
    verdict = tab.locator(".live-verdict").text_content()
    assert f"Forward: overflows {name} at layer {step}," in verdict
    assert f"Backward: overflows {name} at layer {depth - step}," in verdict


@pytest.mark.site
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ("fp16", "bf16"))
@pytest.mark.parametrize("settings", [
    {"scale": 1.5, "depth": 60}, {"scale": 0.6, "depth": 60},
    {"scale": 2.5, "activation": "identity", "depth": 100, "initialiser": "lecun_normal"},
    {"activation": "sigmoid", "initialiser": "lecun_normal", "depth": 30}, {"activation": "relu", "scale": 20, "depth": 60},
], ids=lambda s: "-".join(map(str, s.values())))  # fmt: skip
def test_sixteen_bits_are_torchs_and_break_at_its_layer(tab, settings, name, seed):
    page = Live(tab, format=name, seed=seed, **settings)
    h, delta = rounded_passes(page, name)
    first = {"forward": formats.first_nonfinite(h), "backward": formats.first_nonfinite(delta[::-1])}
    expected = {"forward": -1 if first["forward"] is None else first["forward"],
                "backward": -1 if first["backward"] is None else len(page.W) - first["backward"]}  # fmt: skip
    assert page.undone == (settings.get("activation") != "identity" and any(v.isnan().any() for v in h))
    if page.undone:
        assert np.isnan(page.backward[:-1]).all() and np.isfinite(page.backward[-1])
        expected["backward"] = -1
    assert page.overflow == expected
    assert page.zero["forward"] == next((t for t, v in enumerate(h) if not v.any()), -1)
    assert page.zero["backward"] == next((t for t, v in reversed(list(enumerate(delta))) if not v.any()), -1)
    for ours, signal in ((page.forward, h), (page.backward, delta)):
        size = np.array([v.square().mean().sqrt().item() for v in signal])
        ours, size = ours[np.isfinite(size)], size[np.isfinite(size)]
        np.testing.assert_allclose(ours, size, rtol=1e-9)
    usual = page.net(formats.FORMATS[name].dtype)  # torch's own arithmetic, which carries its sums in float32
    with torch.no_grad():
        hidden = usual.hidden(page.input.to(usual.layers[0].weight.dtype).unsqueeze(0))
    found = formats.first_nonfinite(hidden)
    assert page.overflow["forward"] == (-1 if found is None else found + 1)


@pytest.mark.site
def test_no_gradient_comes_from_above_a_nan(tab):
    """He's weights times 1.5 in fp16: Inf - Inf is NaN some layers above the overflow, and nothing is drawn below it."""
    page = Live(tab, scale=1.5, format="fp16", depth=100)
    assert page.undone and page.overflow["forward"] > 0
    words = tab.locator(".live-verdict").text_content()
    assert "Backward: there is no gradient, for the forward signal is NaN from layer" in words
    assert "L" not in (tab.locator(".live-curve.live-backward").get_attribute("d") or "")


@pytest.mark.site
@pytest.mark.parametrize("name", ("bf16", "fp32"))
def test_a_depth_at_which_the_wide_formats_overflow_can_be_reached(tab, name):
    page = Live(tab, scale=1.5, format=name, depth=live.DEPTHS[1], width=64)
    assert 200 < page.overflow["forward"] <= 260


# ---- For everyone


@pytest.mark.site
def test_only_pages_with_a_live_figure_load_it():
    for page in book_pages():
        name = page.relative_to(ROOT).with_suffix("").as_posix()
        html = (SITE / f"{name}.html").read_text("utf8")
        assert ("live/live.js" in html) == ('class="live-figure"' in html) == (name in PAGES), name
        assert (
            ("live/load.js" in html)
            == ("live/live.css" in html)
            == ("<figure class=" in html and "data-scripts" in html)
        )


@pytest.mark.site
def test_presets_show_what_the_text_says(site, browser):
    said = {
        "02-explosion-relu": "Forward: overflows fp16 at layer 6,",
        "03-vanishing-sigmoid": "Backward: vanishes, ×\u00a00.2",
        "05-constant-variance": "Backward: vanishes, ×\u00a00.2",
        "06-xavier": "Forward: shrinks within the safe band, ×\u00a00.7",
        "index": "Forward: explodes,",
    }
    tab = browser.new_page()
    for page, words in said.items():
        tab.goto(f"{site}/book/{page}.html", wait_until="load")
        come_near(tab)
        assert words in tab.locator(".live-verdict").text_content(), page
    tab.close()


@pytest.mark.site
@pytest.mark.parametrize("scheme", ("light", pytest.param("dark", marks=pytest.mark.rehearsal)))
@pytest.mark.parametrize("page", (live.PAGE, "book/02-explosion-relu"))
def test_figure_is_accessible_and_quiet(site, browser, page, scheme):
    for width in (375, 1280):
        tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        noise, _ = listen(tab, site)
        tab.goto(f"{site}/{page}.html", wait_until="load")
        come_near(tab)
        tab.evaluate("document.querySelectorAll('.live-figure details').forEach(d => d.open = true)")
        tab.wait_for_selector(".live-table td")
        assert faults(tab, ".live-figure") == []
        outside = tab.evaluate(
            """[...document.querySelectorAll('.live-figure *')].filter(e => !e.closest('.live-table, svg') &&
                 e.getBoundingClientRect().right > document.documentElement.clientWidth).map(e => e.outerHTML)"""
        )
        assert outside == []
        smallest = tab.evaluate(
            "Math.min(...[...document.querySelectorAll('.live-plot text')].map(e => parseFloat(getComputedStyle(e).fontSize)))"
        )
        assert smallest >= 12 and tab.locator(".live-plot").bounding_box()["width"] > 0.75 * min(width, 600)
        assert noise == []
        tab.close()


@pytest.mark.site
def test_the_page_alone_is_accessible(site, browser):
    tab = browser.new_page()
    tab.goto(f"{site}/{live.PAGE}.html", wait_until="load")
    assert faults(tab) == []
    tab.close()


@pytest.mark.site
def test_keyboard_and_screen_reader(site, browser):
    tab = browser.new_page(reduced_motion="reduce")
    tab.goto(f"{site}/{live.PAGE}.html", wait_until="load")
    drawing = tab.locator(".live-curve.live-forward")
    before = drawing.get_attribute("d")
    unnamed = tab.evaluate(
        "[...document.querySelectorAll('.live-figure :is(input, select, textarea)')].filter(f => !f.labels.length && !f.ariaLabel).length"
    )
    assert unnamed == 0
    tab.focus(SLIDER)
    for _ in range(60):
        tab.keyboard.press("ArrowRight")
    tab.wait_for_function("/explodes/.test(document.querySelector('[role=status]').textContent)")
    assert drawing.get_attribute("d") != before
    assert tab.locator(SLIDER).get_attribute("aria-valuetext").endswith(" times")
    assert "explodes" in tab.locator(".live-plot").get_attribute("aria-label")
    tab.select_option("[name=format]", "fp16")
    tab.wait_for_function("/overflows fp16 at layer \\d+/.test(document.querySelector('[role=status]').textContent)")

    tab.focus(".live-draw")
    tab.keyboard.press("Enter")
    tab.wait_for_function("liveFigures[0].state().seed === 1")
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")  # reset
    tab.wait_for_function("liveFigures[0].state().scale === 1 && liveFigures[0].state().seed === 0")
    assert drawing.get_attribute("d") == before
    assert tab.evaluate("document.getAnimations().length") == 0  # nothing moves but what the reader moves

    tab.focus(".live-data summary")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".live-table td")
    cells = [float_of(text) for text in tab.locator(".live-table tbody tr").last.locator("td").all_text_contents()]
    shown = tab.evaluate(
        "[liveFigures[0].result(), liveFigures[0].prediction()].map(r => [r.forward.at(-1), r.backward.at(-1)])"
    )
    np.testing.assert_allclose(cells, [shown[0][0], shown[1][0], shown[0][1], shown[1][1]], rtol=0.05)
    assert tab.locator(".live-table tbody tr").count() == live.PRESET["depth"] + 1
    tab.close()


def float_of(text):
    """The value of a number as the figure shows it."""
    mantissa, _, power = text.partition("\u00a0×\u00a010")
    return float(mantissa) * 10.0 ** int(power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")) or 0)


@pytest.mark.site
def test_table_follows_the_sliders(site, browser):
    tab = browser.new_page()
    tab.goto(f"{site}/{live.PAGE}.html", wait_until="load")
    tab.click(".live-data summary")
    tab.fill("[name=scale]", "2")
    tab.wait_for_function(
        "document.querySelectorAll('.live-table tr').length && /10⁹|10⁸/.test(document.querySelector('.live-table').textContent)"
    )
    tab.close()


@pytest.mark.site
@pytest.mark.parametrize("scheme", ("http", "file"))
def test_a_setting_is_in_the_address(site, browser, scheme):
    """Also straight from the disk, where the browser refuses modules and knows no origin."""
    base = site if scheme == "http" else SITE.as_uri()
    settings = {
        "depth": 40,
        "width": 32,
        "scale": 1.234,
        "activation": "tanh",
        "initialiser": "orthogonal",
        "format": "bf16",
        "seed": 9,
    }
    address = f"{base}/book/03-vanishing-sigmoid.html#live-sigmoid?" + "&".join(f"{k}={v}" for k, v in settings.items())
    tab = browser.new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda e: errors.append(str(e)))
    tab.goto(address, wait_until="load")
    tab.wait_for_function("window.liveFigures && liveFigures.length")
    assert tab.evaluate("liveFigures[0].state()") == settings
    top = "document.querySelector('.live-figure').getBoundingClientRect().top"
    tab.wait_for_function(f"{top} > -50 && {top} < 300")  # in sight, whatever stands above
    assert tab.locator("[name=scale]").input_value() == "1.234"

    tab.select_option("[name=activation]", "relu")
    tab.wait_for_function("/activation=relu/.test(location.hash)")
    tab.reload()
    tab.wait_for_function("window.liveFigures && liveFigures.length")
    assert tab.evaluate("liveFigures[0].state()") == settings | {"activation": "relu"}

    tab.evaluate("location.hash = '#live-sigmoid?depth=1e9&scale=x&activation=none&format=fp16&width=7'")
    tab.wait_for_function("liveFigures[0].state().format === 'fp16'")
    kept = settings | {"activation": "relu", "format": "fp16", "depth": live.DEPTHS[1]}
    assert tab.evaluate("liveFigures[0].state()") == kept  # what cannot be, is left or brought within range

    tab.wait_for_function("/depth=300/.test(document.querySelector('.live-alone').href)")
    tab.click(".live-share summary")
    with tab.expect_navigation():  # a question to the page while it is being replaced has no answer
        tab.click(".live-alone")
    tab.wait_for_function("document.body.classList.contains('live-page') && window.liveFigures && liveFigures.length")
    assert tab.evaluate("liveFigures[0].state()") == kept
    assert errors == []
    tab.close()


@pytest.mark.site
def test_it_can_be_embedded(site, browser, tmp_path):
    tab = browser.new_page()
    tab.goto(f"{site}/{live.PAGE}.html?theme=dark#live?depth=12", wait_until="load")
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    snippet = tab.locator(".live-embed").input_value()
    assert re.fullmatch(
        r'<iframe src="[^"<]*" title="[^"]+" width="100%" height="\d+" style="[^"<]+"></iframe>', snippet
    )
    tab.set_content(f"<!doctype html><title>A course</title>{snippet}")
    frame = tab.frame_locator("iframe")
    frame.locator(".live-verdict", has_text="Forward").wait_for()
    assert frame.locator("[name=depth]").input_value() == "12"
    for width in (320, 360, 480, 640, 1280):
        tab.set_viewport_size({"width": width + 16, "height": 800})  # with the margins of a bare page
        tab.wait_for_timeout(500)  # what is drawn anew may need more room
        inside = tab.frames[1]  # a frame of another process follows later
        inside.wait_for_function(f"innerWidth === {width} && document.documentElement.scrollHeight <= innerHeight")
    tab.close()
