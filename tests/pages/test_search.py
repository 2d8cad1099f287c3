"""The search in a real browser: what readers type leads where it should, under every name and in every spelling."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib

import pytest
from access import faults
from bookext.pages import search
from bookext.read.labels import labels
from support import SITE, listen

pytestmark = pytest.mark.site

# What a reader types, and the places of which one must be the first hit; after a number, among the first so many. A place is
# a page's number or name, or an anchor. Kinds of queries, not words of the index: no row is a term of terms.toml.
CHAPTERS = {"01": "01-chained-jacobians", "02": "02-explosion-relu", "03": "03-vanishing-sigmoid"} | {
    "04": "04-stabilising-training", "05": "05-constant-variance", "06": "06-xavier", "07": "07-activations-taylor",
    "08": "08-nan-clinic", "09": "09-summary", "10": "10-transformer",
}  # fmt: skip
QUERIES = r"""
# formulas: ASCII, LaTeX, Unicode, as code, with and without blanks and brackets, as others number their layers
2/(n_in+n_out) | equation-eq-xavier-gamma
2/(n_in + n_out) | equation-eq-xavier-gamma
2 / (n_{in} + n_{out}) | equation-eq-xavier-gamma
2/(n_out+n_in) | equation-eq-xavier-gamma
\frac{2}{n_{in}+n_{out}} | equation-eq-xavier-gamma
\dfrac{2}{n_{\text{in}} + n_{\text{out}}} | equation-eq-xavier-gamma
\frac{2}{n_{l-1}+n_l} | equation-eq-xavier-gamma
2/(fan_in + fan_out) | equation-eq-xavier-gamma
γₜ = 2/(nₜ₋₁ + nₜ) | equation-eq-xavier-gamma
Var[W] = 2/(n_in + n_out) | equation-eq-xavier-gamma
sqrt(6 | equation-eq-xavier-uniform
√6 | equation-eq-xavier-uniform
sqrt(6/(n_in+n_out)) | equation-eq-xavier-uniform
\sqrt{\frac{6}{n_{in}+n_{out}}} | equation-eq-xavier-uniform
\frac{\sqrt{6}}{\sqrt{n_j+n_{j+1}}} | equation-eq-xavier-uniform
math.sqrt(2 / (fan_in + fan_out)) | equation-eq-xavier-normal
sqrt(2/fan_in) | 2 xavier-he equation-eq-xavier-he
2/n_in | equation-eq-xavier-he
n_l Var[w_l] = 1 | equation-eq-xavier-forward-condition equation-eq-xavier-backward-condition
σ′ | equation-eq-sig-slope
σ' | equation-eq-sig-slope
σ’(z) | equation-eq-sig-slope
sigma'(z) | equation-eq-sig-slope
\sigma^{\prime}(z) | equation-eq-sig-slope
σ(z)(1−σ(z)) | equation-eq-sig-slope
sigma(z)*(1-sigma(z)) | equation-eq-sig-slope
1/(1+e^{-x}) | 2 equation-def-sig-sigmoid equation-eq-taylor-sigmoid
1 / (1 + exp(-z)) | 2 equation-def-sig-sigmoid equation-eq-taylor-sigmoid
x - x**3/3 | 2 equation-eq-taylor-tanh sec-act-taylor-check
2*tanh(z/2) | 2 equation-eq-act-scaled sec-act-scaled-sigmoid
4*sigmoid(x) - 2 | sec-act-scaled-sigmoid
diag(sigma'(z)) W | 2 sec-jac-mlp-layer
E[XY] = E[X] E[Y] | 2 equation-eq-xavier-product sec-xavier-property
log(0) | 2 equation-eq-nan-inf sec-nan-where-from
log 0 | 2 equation-eq-nan-inf sec-nan-where-from
0/0 | 2 equation-eq-nan-born sec-nan-where-from
0 * nan | 3 equation-eq-nan-mask nan-where sec-nan-where-from
inf-inf | sec-nan-where-from
1.5**100 | equation-eq-explode
0.8^{100} | equation-eq-vanish
(2 - 2^-10) 2^15 | equation-eq-relu-fp16-range
N(0,0.01) | sec-cv-fixed-scale
dL/dW | 3 equation-eq-chain equation-eq-sig-weight-gradient sec-jac-chain-rule
1 - ηκ | 2 equation-eq-relu-quadratic sec-relu-rate-follows
# symbols
σw | symbol-sigma-w
sigma_w | symbol-sigma-w
\sigma_w | symbol-sigma-w
chi1 | symbol-chi-1
χ_1 | symbol-chi-1
\chi_1 | symbol-chi-1
γ_t | symbol-gamma-t
gamma t | symbol-gamma-t
\gamma_{t} | symbol-gamma-t
δ^t | symbol-delta-t
q* | symbol-q
eta | symbol-eta
kappa | symbol-kappa
# numbers
6.16 | 2 equation-eq-xavier-gamma xavier-singular-values
(6.16) | 2 equation-eq-xavier-gamma xavier-singular-values
eq. 6.16 | equation-eq-xavier-gamma
equation (3.2) | equation-eq-sig-slope
section 6.4 | sec-xavier-forward
§6.4 | sec-xavier-forward
chapter 3 | 03
figure 1.2 | fig-two-powers
exercise 7.3 | ex-act-softplus
# concepts, as d2l, PyTorch, papers and forums name them
xavier | 06
glorot uniform initializer | sec-xavier-pytorch
kaiming | xavier-he
MSRA init | xavier-he
kaiming init for relu | xavier-he
variance scaling initializer | 2 xavier-he 06
weight initialization | 3 05 06 sec-labs-initialisation
PyTorch default weight init | 3 sec-cv-linear-default sec-xavier-pytorch
how does nn.Linear initialise its weights | 2 sec-cv-linear-default sec-xavier-linear
dying relu | xavier-dead-units
dead neurons problem | xavier-dead-units
vanishing gradient problem | 3 03 sec-jac-hundred-factors
exploding gradient problem | 2 02 sec-jac-hundred-factors
gradients blow up | 2 02 sec-jac-hundred-factors
how to prevent exploding gradients | 2 04 sec-jac-hundred-factors
grad clipping | sec-stab-clipping
clip gradient norm | 2 sec-stab-clipping sec-stab-clipping-nan
residual connections | sec-stab-skip-connections
resnets | sec-stab-skip-connections
long short term memory | sec-stab-lstm
forget gates | sec-stab-lstm
batch normalization | cv-batch-norm
BN layer | cv-batch-norm
loss scaling | loss-scaling
mixed precision training | loss-scaling
half precision overflow | 3 overflow-step sec-relu-range 02
largest float16 | sec-relu-range
denormals | sec-sig-exactly-zero
symmetry breaking in neural networks | cv-weights-differ
initialise all weights to zero | cv-weights-differ
orthogonal initializer | sec-xavier-orthogonal
edge of chaos | xavier-depth-scale
mean field theory | xavier-depth-scale
Lyapunov exponents | lyapunov
spectral radius | eigenvalues
backprop through time | sec-stab-lstm
derivative of sigmoid | sec-sig-slope
Taylor series of tanh | sec-act-taylor-check
swish | sec-act-table
learning rate warm-up | sec-relu-rate-follows sec-tf-warmup
initial loss of a classifier | cv-fresh-loss
numerically stable softmax | nan-forward
attention mask nan | nan-forward
torch.where nan | nan-where
vjp | reverse-mode
automatic differentiation | reverse-mode
anomaly detection autograd | nan-checklist
why does my loss become NaN? | nan-checklist
loss nan | nan-checklist
loss is nan from the first step | nan-checklist
is xavier outdated | xavier-he
does gradient clipping fix nan | 2 sec-nan-clipping sec-stab-clipping-nan
network does not learn | sec-sum-symptoms sec-sig-no-progress
Glorot and Bengio 2010 | sec-gallery-glorot-2010
# messages that people paste
RuntimeError: Function 'MulBackward0' returned nan values in its 0th output. | nan-slopes
Function 'NormBackward1' returned nan values in its 0th output. | nan-slopes
RuntimeWarning: overflow encountered in exp | sec-nan-where-from
RuntimeWarning: invalid value encountered in double_scalars | sec-nan-where-from
overflow encountered in reduce | sec-nan-where-from
Loss is nan, stopping training | nan-checklist
Epoch 3/10 - loss: nan - accuracy: 0.0980 | nan-checklist
Gradient overflow.  Skipping step, loss scaler 0 reducing loss scale to 32768.0 | loss-scaling
ValueError: Input X contains NaN. | sec-nan-before-step
RuntimeError: probability tensor contains either `inf`, `nan` or element < 0 | nan-forward
The total norm of order 2.0 for gradients from `parameters` is non-finite | sec-stab-clipping-nan
# labs, with and without underscores
xavier_std | labs.init.xavier_std
xavier std | 2 labs.init.xavier_std
labs.init.xavier_std | labs.init.xavier_std
he_normal_ | labs.init.he_normal_
he normal | labs.init.he_normal_
clip_by_norm | labs.stabilisers.clip_by_norm_
find nonfinite origin | labs.monitor.find_nonfinite_origin
stability_report | labs.monitor.stability_report
StabilityMonitor | labs.monitor.StabilityMonitor
critical sigma w | labs.propagation.critical_sigma_w
q_map | labs.propagation.q_map
log_singular_values() | labs.jacobians.log_singular_values
# Chinese: parts, compounds and mixtures of terms
梯度爆炸 | 2 02 sec-jac-hundred-factors
梯度消失问题 | 2 03 sec-jac-hundred-factors
梯度消失和梯度爆炸 | sec-jac-hundred-factors
ReLU激活函数 | sec-relu-active-paths
批量归一化层 | cv-batch-norm
何恺明初始化 | xavier-he
反向传播算法 | 3 reverse-mode 01 sec-xavier-backward
残差连接 | sec-stab-skip-connections
混合精度训练 | loss-scaling
为什么loss是nan | nan-checklist
学习率太大 | sec-relu-learning-rate
打破对称性 | cv-weights-differ
# mistyped
xaiver | 06
kaimng | xavier-he
gradeint cliping | sec-stab-clipping
vanisihng gradients | 03
batch nromalization | cv-batch-norm
jacobain | 2 01 sec-jac-mlp-layer
eigenvlaues | eigenvalues
# asked before anybody had looked at what the search does with them
why nan | 08 nan-checklist
dead relu fix | xavier-dead-units
attention scaling | sec-tf-attention
mup learning rate | sec-tf-width
loss scaling fp16 | loss-scaling
sqrt(d_k) | equation-def-tf-attention sec-tf-attention
1/sqrt(d_k) | 2 equation-def-tf-attention sec-tf-attention
softmax(QK^T/sqrt(d_k)) | sec-tf-attention
scaled dot product attention | sec-tf-attention
QK norm | 2 sec-tf-logits sec-tf-attention
logit soft capping | sec-tf-logits
pre-LN vs post-LN | 2 sec-tf-warmup sec-tf-stream
why does a transformer need warmup | sec-tf-warmup
muP | 2 labs.transformer.mup sec-tf-width
hyperparameter transfer | sec-tf-width
adam eps | sec-tf-adam
bfloat16 | sec-tf-formats
float8 e4m3 | sec-tf-formats
cross entropy at initialization log V | 2 sec-tf-first-loss cv-fresh-loss
DeepNet residual scaling | sec-tf-branch
gpt2 init 1/sqrt(2N) | 2 labs.transformer.gpt2_normal_ sec-tf-branch sec-tf-decoder
var(w)=2/fan_in | 2 equation-eq-xavier-he xavier-he
\mathrm{Var}(W) = \frac{1}{n_{in}} | 3 equation-eq-xavier-forward-condition sec-xavier-forward sec-cv-linear-default
2/(fan_in+fan_out) | equation-eq-xavier-gamma
std = gain / sqrt(fan) | 3 sec-xavier-pytorch xavier-he 06
kaiming_uniform_ a=sqrt(5) | 2 sec-cv-linear-default sec-xavier-linear
1/sqrt(fan_in) | 3 sec-cv-linear-default sec-xavier-linear
exp(710) | 5 sec-nan-where-from nan-forward sec-relu-range nan-slopes
65504 | 3 sec-relu-range overflow-step 02
sigmoid derivative max 0.25 | sec-sig-slope
tanh gain 5/3 | sec-xavier-tanh-gain
lecun initialization | 3 06 sec-xavier-forward sec-labs-initialisation
selu | 3 sec-act-table act-not-sufficient 07
gelu | sec-act-table
leaky relu | 3 sec-act-table xavier-dead-units xavier-he
nan after optimizer step | 2 nan-silent nan-checklist
gradient is zero everywhere | 3 sec-sig-exactly-zero sec-sig-no-progress 03
sqrt gradient at zero nan | nan-slopes
norm of zero vector gradient nan | nan-slopes
masked softmax all -inf | nan-forward
log of softmax underflow | nan-forward
detect_anomaly | nan-checklist
loss spikes | 3 10 sec-relu-rate-follows sec-tf-logits
what learning rate should I use | 3 sec-relu-usable-interval sec-relu-learning-rate sec-relu-rate-follows
do skip connections fix exploding gradients | sec-stab-skip-connections 04
how to initialise weights for relu | xavier-he
can I initialise all weights with the same value | cv-weights-differ
difference between xavier and he | xavier-he sec-xavier-training
clip by value or by norm | sec-stab-clipping
layer norm | 3 cv-batch-norm sec-tf-stream
glorott | 2 06
resiudal conection | sec-stab-skip-connections
vanshing gradient sigmoid | 3 03 sec-sig-slopes-weights sec-sig-slope
orthoganal init | sec-xavier-orthogonal
softmax overfow | nan-forward
缩放点积注意力 | sec-tf-attention
学习率预热 | 2 sec-tf-warmup sec-relu-rate-follows
损失缩放 | loss-scaling
死亡ReLU | xavier-dead-units
Xavier初始化公式 | 3 06 equation-eq-xavier-gamma sec-xavier-compromise
sigmoid函数的导数 | sec-sig-slope
梯度裁剪的阈值 | sec-stab-clipping
权重为什么不能全为零 | cv-weights-differ
损失变成nan怎么办 | nan-checklist
遗忘门的作用 | sec-stab-lstm
"""


def rows() -> list[tuple[str, int, list[str]]]:
    """Query, how many of the first hits count, and the places."""
    found = []
    for line in QUERIES.splitlines():
        if line and not line.startswith("# "):
            query, _, wanted = line.rpartition(" | ")
            first, *rest = wanted.split()
            found.append((query, int(first), rest) if first.isdigit() and rest else (query, 1, [first, *rest]))
    return found


def is_at(url: str, place: str) -> bool:
    return url.endswith(f"#{place}") or url == f"book/{CHAPTERS.get(place, place)}.html"


@pytest.fixture(scope="module")
def page(site, browser):
    tab = browser.new_page()
    tab.goto(f"{site}/search.html", wait_until="load")
    tab.evaluate("bookSearch.load()")
    yield tab
    tab.close()


def asked(tab, queries: list[str], count: int = 5) -> list[list[str]]:
    """The first addresses for each query."""
    return tab.evaluate(
        "([queries, count]) => queries.map(q => bookSearch.find(q).found.slice(0, count).map(e => e.url))",
        [queries, count],
    )


def results(tab, query: str) -> list[str]:
    """The addresses that the search page lists for a query, typed."""
    tab.fill("#query", query)
    return tab.evaluate(
        "Promise.resolve().then(() => [...document.querySelectorAll('#results a')].map(a => a.getAttribute('href')))"
    )


def test_what_readers_type_leads_there_first(page):
    table = rows()
    assert len(table) > 150
    found = asked(page, [query for query, _, _ in table])
    wrong = {
        query: urls for (query, count, places), urls in zip(table, found, strict=True)
        if not any(is_at(url, place) for url in urls[:count] for place in places)
    }  # fmt: skip
    assert not wrong, json.dumps(wrong, ensure_ascii=False, indent=1)


def test_the_table_does_not_ask_what_the_index_was_told():
    """Else it would show that the terms are in the index, and nothing about the search."""
    told = {name.lower() for names in search.read_terms()[1].values() for name in names}
    asked_here = [query for query, _, _ in rows()]
    assert sum(query.lower() in told for query in asked_here) <= len(asked_here) / 5


def test_each_other_name_leads_to_its_place(page):
    places = search.read_terms()[1]
    table = [(name, place) for place, names in places.items() for name in names]
    assert len(table) > 800
    found = asked(page, [name for name, _ in table])
    wrong = [
        (name, place, urls[:3]) for (name, place), urls in zip(table, found, strict=True)
        if not any(url in (f"{place}.html", f"{place}") or url.endswith((f"#{place}", f"#equation-{place}")) for url in urls)
    ]  # fmt: skip
    assert wrong == []


def test_a_place_that_is_not_there_stops_the_build(monkeypatch, tmp_path):
    monkeypatch.setattr(search, "TERMS", tmp_path / "terms.toml")
    (tmp_path / "terms.toml").write_text('same = []\n[places]\nsec-nowhere = "nothing"\n', "utf8")
    with pytest.raises(ValueError, match=r"terms.toml: there is no place sec-nowhere"):
        search.add_other_names([search.Entry("section", "book/01", ["sec-here"], "Here")], whole=True)


def test_the_terms_are_written_once():
    """A term twice in one row, or a name twice in one group, says that somebody lost the overview."""
    same, places = search.read_terms()
    for names in [*same, *places.values()]:
        assert len({name.lower() for name in names}) == len(names), names
    assert tomllib.loads(search.TERMS.read_text("utf8"))["same"]


def test_every_term_of_the_lecture_map_is_found(page):
    """Each Chinese term leads, among its first results, to the section that the map names."""
    html = (SITE / "book/appendix/lecture-map.html").read_text("utf8")
    rows_of_map = re.findall(r"<tr[^>]*>(.*?)</tr>", html, re.DOTALL)[1:]
    assert len(rows_of_map) == 40
    for row in rows_of_map:
        target = re.search(r'href="\.\./([^"]+)"', row)
        cells = [re.sub(r"<[^>]+>", "", c).strip() for c in re.findall(r"<td>(.*?)</td>", row, re.DOTALL)]
        chapter, anchor = target[1].split("#")
        document = (SITE / "book" / chapter).read_text("utf8")
        wanted = {f"book/{chapter}#{i}" for i in section_ids(document, anchor)} | {f"book/{chapter}"}
        terms = cells[2].split(" · ")
        for term, found in zip(terms, asked(page, terms, 12), strict=True):
            assert wanted & set(found), (term, target[1], found)


def section_ids(document: str, anchor: str) -> set[str]:
    """The ids of the section that an anchor stands for: a label is a span that opens its section."""
    found = re.search(
        rf'<(?:section|div class="whole")[^>]* id="([^"]+)">\s*(?:<span id="[^"]+"></span>\s*)*<span id="{re.escape(anchor)}">',
        document,
    )
    return {anchor} | ({found[1]} if found else set())


@pytest.mark.parametrize(
    "spellings",
    [("χ₁", "χ1", "chi_1", r"\chi_1"), ("σ′", "σ'", "σ’", "sigma'", r"\sigma'"), ("He initialization", "he initialisation"),
     ("i.i.d.", "iid"), ("mean-field theory", "mean field theory"), ("1.5^100", "1.5**100", "1.5^{100}")],
)  # fmt: skip
def test_one_list_for_every_spelling(page, spellings):
    first, *others = asked(page, list(spellings), 10)
    assert first and all(other == first for other in others)


def test_every_numbered_equation_is_found_by_its_name(page):
    names = [label for label in labels() if label.startswith(("eq-", "def-", "asm-"))]
    assert len(names) > 50
    queries = [f"equation {label.partition('-')[2].replace('-', ' ')}" for label in names]
    for label, found in zip(names, asked(page, queries, 40), strict=True):
        assert any(url.endswith(f"#equation-{label}") for url in found), (label, found[:5])


def test_every_figure_and_exercise_is_an_entry(page):
    kinds = page.evaluate("bookIndex.entries.map(e => [e[2], e[1]])")
    for prefix, kind in (("fig-", "figure"), ("ex-", "exercise")):
        wanted = {label for label in labels() if label.startswith(prefix)}
        assert wanted and wanted <= {anchor for k, anchor in kinds if search.KINDS[k] == kind}


def test_sections_come_before_equations(page):
    kinds = page.evaluate("bookSearch.find('xavier').found.slice(0, 12).map(e => e.kind)")
    assert "equation" not in kinds[:10]


def test_hits_are_in_words(page):
    """No label's words as a title, no TeX left over, no words run together, no solution of an exercise."""
    entries = page.evaluate("bookIndex.entries.map(e => [e[2], e[3], e[6]])")
    for kind, title, text in entries:
        if search.KINDS[kind] == "equation":
            assert re.fullmatch(r"Equation \d+\.\d+", title), title
            assert not re.search(r"quad|substack|underbrace|mathcal|mathbf|\\|\[\w+pt\]|\barrow\b", text), text
        assert not re.search(r"\b(?:eq|def|asm|sec|fig)-[a-z]", title), title
    answer = page.evaluate("bookSearch.find('a tenth of a second').found.map(e => e.text).join(' ')")
    assert "a tenth of a millisecond" not in answer  # it stands in a solution


def test_signs_are_no_pattern(page):
    assert results(page, "+*?[(") == [] and results(page, "N(0, 0.01), std 0.01") != []


def test_a_mistyped_word_is_said_to_be_one(page):
    results(page, "xaiver")
    assert page.inner_text("#found").startswith("Nothing for “xaiver”. Did you mean “xavier”?")
    for word in ("qwertz", "asdfgh", "momentum"):
        assert results(page, word) == [] and "Nothing for" in page.inner_text("#found")
    results(page, "vanishing")
    assert "Did you mean" not in page.inner_text("#found")


def test_found_words_are_marked(page):
    results(page, "vanishing gradient")
    marked = page.evaluate("[...document.querySelectorAll('#results mark')].map(m => m.textContent.toLowerCase())")
    assert len(marked) > 20 and any("vanish" in m for m in marked) and any("gradient" in m for m in marked)
    results(page, "chi_1")
    assert "χ1" in page.evaluate("[...document.querySelectorAll('#results li')].map(l => l.textContent).join(' ')")
    assert page.locator("#results sub").count() > 0  # an index is set low, not written with a dash


def test_there_is_a_way_past_the_first_results(page):
    first = results(page, "gradient")
    assert len(first) == 40 and page.locator("#more").is_visible()
    page.click("#more")
    assert page.locator("#results li").count() > 40
    assert page.evaluate("[...document.querySelectorAll('#results a')].indexOf(document.activeElement)") == 40
    results(page, "xaiver fuss-catalan")
    assert not page.locator("#more").is_visible()


def test_the_index_has_its_version(site, browser):
    """A browser that has kept an old index does not take it for the new one."""
    asked_for = []
    tab = browser.new_page()
    tab.on("request", lambda r: asked_for.append(r.url))
    tab.goto(f"{site}/search.html?q=Xavier", wait_until="load")
    version = hashlib.sha256((SITE / "_static/search-index.js").read_bytes()).hexdigest()
    [url] = [u for u in asked_for if "search-index" in u]
    assert url.partition("?v=")[2] == tab.evaluate("document.documentElement.dataset.content") != ""
    assert len(version) == 64 and all(
        f'data-content="{url.partition("?v=")[2]}"' in path.read_text("utf8") for path in (SITE / "book").glob("*.html")
        if path.name != "live.html"
    )  # fmt: skip
    tab.close()


@pytest.mark.parametrize("width", [375, 1280])
def test_nothing_moves_when_results_come(site, browser, width):
    tab = browser.new_page(viewport={"width": width, "height": 740})
    tab.add_init_script(
        "window.shift = 0; new PerformanceObserver(l => { for (const e of l.getEntries()) window.shift += e.value })"
        ".observe({type: 'layout-shift', buffered: true})"
    )
    tab.goto(f"{site}/search.html?q=gradient", wait_until="load")
    tab.wait_for_selector("#results li")
    tab.wait_for_timeout(300)
    assert tab.evaluate("window.shift") == 0
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.close()


@pytest.fixture(params=["http", "file"])
def home(request, site):
    return site if request.param == "http" else SITE.as_uri()


def test_a_list_under_the_field_on_every_page(home, browser):
    """As one types; arrows walk through it, Escape closes it and stays in the field, Enter leads to all results."""
    tab = browser.new_page(viewport={"width": 1280, "height": 800})
    noise, _ = listen(tab, home)
    tab.goto(f"{home}/book/appendix/labs.html", wait_until="load")
    before = tab.evaluate("document.querySelector('h1').getBoundingClientRect().top")
    tab.keyboard.press("Control+k")
    tab.keyboard.type("forget ga")
    first = tab.locator("#hits a").first
    first.wait_for()
    assert first.get_attribute("href").endswith("book/04-stabilising-training.html#sec-stab-lstm")
    assert tab.evaluate("document.querySelector('h1').getBoundingClientRect().top") == before
    tab.keyboard.press("ArrowDown")
    assert first.evaluate("a => a === document.activeElement")
    tab.keyboard.press("Escape")
    assert not tab.locator("#hits").is_visible() and tab.evaluate("document.activeElement.id") == "find"
    tab.keyboard.type("te")
    first.wait_for()
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/04-stabilising-training.html#sec-stab-lstm")
    tab.keyboard.press("Control+k")
    tab.keyboard.type("学习率敏感")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/search.html?q=*")
    assert "02-explosion" in tab.locator("#results a").first.get_attribute("href")
    assert noise == []
    tab.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_list_is_accessible(site, browser, scheme):
    tab = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme=scheme)
    tab.goto(f"{site}/book/appendix/references.html", wait_until="load")
    tab.fill("#find", "xavier")
    tab.locator("#find").focus()
    tab.locator("#hits a").first.wait_for()
    assert faults(tab) == []
    assert tab.locator("#hits [role=status]").inner_text().startswith("1")
    tab.close()


def test_no_index_without_a_search(site, browser):
    """It is two thirds of a page's weight, and most readers do not search."""
    tab = browser.new_page()
    _, asked_for = listen(tab, site)
    tab.goto(f"{site}/book/09-summary.html", wait_until="load")
    assert not [url for url in asked_for if "search-index" in url]
    tab.close()
