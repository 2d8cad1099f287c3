"""Homeworks 3 and 4: the reference gets everything, the blank nothing, each planted misconception its message."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
from functools import cache
from typing import Any

import pytest
import yaml
from bookext.source import notebook_node
from docutils.nodes import make_id

from instructor.grading import checks
from instructor.release import ROOT, release
from labs.homework import Homework

HOMEWORKS = ("hw3", "hw4")
SALT, SECRET = "2026-autumn", b"a secret for tests"
# Questions about numbers of one's own. 3c of homework 3 is left out: a small integer, often the same for two students.
OWN = {
    "hw3": ["1a", "1c", "2a", "3a", "3b", "4a", "4b", "5d", "6a", "7a", "7c"],
    "hw4": ["1b", "2b", "2c", "3a", "4a", "4b", "5a", "5b", "6a", "6b"],
}


@cache
def master(name: str) -> str:
    return (ROOT / "instructor" / name / f"{name}.md").read_text("utf8")


@cache
def cells(text: str) -> list[tuple[str, str, str]]:
    """The code cells: the number of the question under whose heading each stands, its ``question``, its source."""
    number, found = "", []
    for cell in notebook_node(text).cells:
        if cell.cell_type == "code":
            found.append((number, cell.metadata.get("question", ""), cell.source))
        for heading in re.findall(r"^## (?:Question (\d))?", cell.source, re.MULTILINE):
            number = heading
    return found


def execute(sources: list[str], namespace: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Run cells one after the other: the names afterwards, and what was printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for source in sources:
            exec(compile(source, "<cell>", "exec"), namespace)
    return namespace, printed.getvalue()


def whole(text: str, student_id: str = "s123") -> tuple[dict[str, Any], str]:
    """Run a notebook as a student would."""
    identity = f"STUDENT_ID = {student_id!r}"
    sources = [re.sub(r"^STUDENT_ID = .*$", identity, source, flags=re.MULTILINE) for *_, source in cells(text)]
    return execute(sources, {"__name__": "__main__"})


@cache
def reference(name: str, student_id: str) -> tuple[dict[str, Any], str]:
    return whole(master(name), student_id)


def answered(name: str, question: str, answer: str) -> tuple[dict[str, Any], str]:
    """The reference with one answer replaced, and that question's cells run anew."""
    same = [cell for cell in cells(master(name)) if cell[0] == question[0]]
    assert question in [asked for _, asked, _ in same]
    sources = [answer if asked == question else source for _, asked, source in same]
    return execute(sources, dict(reference(name, "s123")[0]))


def graded(name: str, namespace: dict[str, Any], student_id: str = "s123") -> dict[str, checks.Result]:
    module = importlib.import_module(f"instructor.{name}.checks")
    own = Homework(name, student_id, salt=SALT)
    return {r.question: r for r in checks.run(module, checks.LocalStudent(namespace), own, SECRET)}


def said(result: checks.Result) -> str:
    return " | ".join([result.note, *(item.feedback for item in result.items if not item.ok)])


def told(printed: str, question: str) -> str:
    """What the visible check of a question printed."""
    return next(line for line in printed.splitlines() if re.match(rf"[✓✗–] {question}(:|$)", line))


@pytest.mark.parametrize("name", HOMEWORKS)
@pytest.mark.parametrize("student_id", ["s123", "张三", "group 7"])
def test_the_reference_gets_every_point(name: str, student_id: str) -> None:
    namespace, printed = reference(name, student_id)
    assert "✗" not in printed and "– " not in printed, printed
    for result in graded(name, namespace, student_id).values():
        assert result.state == "to read" or result.points == result.out_of, (result.question, said(result))


@pytest.mark.parametrize("name", HOMEWORKS)
def test_the_blank_runs_whole_and_gets_nothing(name: str) -> None:
    namespace, printed = whole(release(master(name)))
    assert "✓" not in printed and "✗" not in printed, printed
    for result in graded(name, namespace).values():
        assert result.state == "unanswered" and not result.points, (result.question, said(result))


@pytest.mark.parametrize("name", HOMEWORKS)
def test_the_numbers_of_another_student_fail(name: str) -> None:
    results = graded(name, reference(name, "group 7")[0], "张三")
    for question in OWN[name]:
        assert results[question].points < results[question].out_of, question


@pytest.mark.parametrize("name", HOMEWORKS)
def test_points_headings_and_questions_agree(name: str) -> None:
    module = importlib.import_module(f"instructor.{name}.checks")
    asked = {q.number: q.points for q in checks.questions(module)}
    text = master(name)
    parts = {part: int(points) for part, points in re.findall(r"\*\*(\d\w)\*\* \((\d) points?[;)]", text)}
    assert parts == asked
    headings = re.findall(r"^## Question (\d)\. .* \((\d+) points\)$", text, re.MULTILINE)
    assert len(headings) == 7
    for number, points in headings:
        assert int(points) == sum(p for part, p in asked.items() if part[0] == number), number
    said_at_the_top = yaml.safe_load(text.split("---")[1])["homework"]
    assert said_at_the_top["points"] == sum(asked.values()) == 30 and 60 <= said_at_the_top["minutes"] <= 90
    listed = re.search(r"hw\.summary\((.*?)\)", text, re.DOTALL)
    assert listed and re.findall(r'"(\w+)"', listed[1]) == list(asked)


@pytest.mark.parametrize("name", HOMEWORKS)
def test_sections_that_messages_name_exist(name: str) -> None:
    pages = {int(path.name[:2]): path for path in (ROOT / "book").glob("0*.md")}
    titles = {n: re.findall(r"^#+ (.+)$", path.read_text("utf8"), re.MULTILINE) for n, path in pages.items()}
    named = re.findall(r"see '([^']+)', chapter (\d)", master(name), re.IGNORECASE)
    assert len(named) >= 15
    for title, chapter in named:
        assert title in titles[int(chapter)], title
    module = importlib.import_module(f"instructor.{name}.checks")
    for asked in checks.questions(module):
        page, _, anchor = asked.section.partition("#")
        headings = re.findall(r"^##+ (.+)$", (ROOT / "book" / f"{page}.md").read_text("utf8"), re.MULTILINE)
        # An apostrophe is a typographic one by the time Sphinx makes the anchor, and leaves no hyphen.
        assert anchor in {make_id(re.sub(r"['’$\\]", "", heading)) for heading in headings}, asked.section


def test_the_numbers_agree_with_the_released_page() -> None:
    """No solution's line is left in what students get."""
    for name in HOMEWORKS:
        page = release(master(name), name)
        for block in re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", master(name), re.DOTALL):
            for line in filter(lambda line: len(line) > 20, map(str.strip, block.splitlines())):
                assert line not in page, line


# One line or more per question: the answer's cell, what the visible check says, and what the hidden one says.
# None: the visible check cannot know. "same" in the third column: the two say it in nearly the same words.
PLANTED = [
    ("hw3", "1a", "no_saturation = math.inf", "slope times weight", "slope times weight"),
    ("hw3", "1a", "no_saturation = r / 4", "slope times weight", "slope times weight"),
    (
        "hw3",
        "1b",
        """
def layer_factor(sigma_w):
    h = sigmoid(np.sqrt(settled_variance(sigma_w)) * u)
    return np.sqrt((h * (1 - h)) ** 2 @ density)
""",
        "the slope alone",
        "the slope alone",
    ),
    (
        "hw3",
        "1b",
        """
def layer_factor(sigma_w):
    h = sigmoid(np.sqrt(settled_variance(sigma_w)) * u)
    return sigma_w**2 * ((h * (1 - h)) ** 2 @ density)
""",
        "this is chi_1",
        "this is chi_1",
    ),
    (
        "hw3",
        "1b",
        """
def layer_factor(sigma_w):
    h = sigmoid(np.sqrt(settled_variance(sigma_w)) * u)
    return sigma_w * ((h * (1 - h)) @ density)
""",
        "mean of the squared slope",
        "mean of the squared slope",
    ),
    ("hw3", "1c", "sigma_w_needed = no_saturation", "must be larger still", "bound without saturation"),
    (
        "hw3",
        "2a",
        "delta_ratio = sigma_w ** (d - 1)\nweight_ratio = delta_ratio",
        "a small delta is not a small weight gradient",
        "a small delta is not a small weight gradient",
    ),
    ("hw3", "2a", "delta_ratio = sigma_w ** d\nweight_ratio = 1", "how many matrices", "d - 1 matrices, not d"),
    (
        "hw3",
        "2b",
        """
def linear_gradients(W, x, delta_top):
    h, delta = [x], [delta_top]
    for W_t in W:
        h.append(W_t @ h[-1])
    for W_t in reversed(W[1:]):
        delta.insert(0, W_t.T @ delta[0])
    return delta, [np.outer(a, b) for a, b in zip(delta, h[1:])]
""",
        "what goes into layer t",
        "not its output h^t",
    ),
    (
        "hw3",
        "2b",
        """
def linear_gradients(W, x, delta_top):
    h, delta = [x], [delta_top]
    for W_t in W[:-1]:
        h.append(W_t @ h[-1])
    for W_t in reversed(W[1:]):
        delta.insert(0, W_t.T @ delta[0])
    return delta, [np.outer(b, a) for a, b in zip(delta, h)]
""",
        "in this order",
        "this is the transpose",
    ),
    ("hw3", "3a", "deep_accuracy = 0.97", "'Only the top trains'", "not as good as a shallow one"),
    ("hw3", "3a", "deep_accuracy = 0.1", "chance when all digits are equally frequent", "digits in equal shares"),
    ("hw3", "3b", "spread_7 = spread_1 * 0.236**7", "count again", "six layers, not seven"),
    (
        "hw3",
        "3c",
        "merged_from = next(t for t in range(200) if spread_1 * 0.236**t < 2.0**-149)",
        None,
        "the outputs lie near 1/2",
    ),
    (
        "hw3",
        "4a",
        "rate_needed = 0.01 / g_bottom\ntop_move = 0.01",
        "SGD has one rate for all layers",
        "the same rate acts on the top weight",
    ),
    (
        "hw3",
        "4b",
        "adam_bottom = 0.01 * g_bottom\nadam_top = 0.01 * g_top",
        "proportional to the gradients, as SGD's are",
        "proportional to the gradients, as SGD's are",
    ),
    ("hw3", "4c", "explanation = 'Adam is better.'", "three to six sentences", None),
    ("hw3", "5a", "def clip_value(g, tau):\n    return np.minimum(g, tau)", "at -tau and at tau", "entries below -tau"),
    (
        "hw3",
        "5b",
        "def clip_norm(g, tau):\n    return g * tau / np.linalg.norm(g)",
        "clipping is not normalising",
        "normalising, not clipping",
    ),
    ("hw3", "5b", "def clip_norm(g, tau):\n    return np.clip(g, -tau, tau)", "one factor for all", "clips each entry"),
    (
        "hw3",
        "5c",
        "def angle(a, b):\n    return math.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))",
        None,
        "for parallel vectors it gives NaN",
    ),
    (
        "hw3",
        "5c",
        "def angle(a, b):\n    return np.arccos(min(1, a @ b / np.linalg.norm(a) / np.linalg.norm(b)))",
        "in radians",
        "radians",
    ),
    ("hw3", "5d", "turn_value, turn_norm = 0.0, 0.0", "does not keep the direction", "does not keep the direction"),
    (
        "hw3",
        "6a",
        "after_norm = [1.0 if math.isinf(v) else 0.0 for v in g_inf]\nafter_value = [max(-1, min(1, v)) for v in g_inf]",
        "does not cure an Inf",
        "does not cure an Inf",
    ),
    (
        "hw3",
        "6b",
        """
def checked_clip(g, tau):
    g = np.nan_to_num(np.asarray(g, dtype=float))
    return g * min(1, tau / max(np.linalg.norm(g), 1e-300)), True
""",
        "hide the accident",
        "hides the accident",
    ),
    (
        "hw3",
        "6b",
        """
def checked_clip(g, tau):
    norm = np.sqrt((g * g).sum())
    if not np.isfinite(norm):
        return np.zeros(g.shape), False
    return g * min(1, tau / max(norm, 1e-30)), True
""",
        "wider format",
        "wider format",
    ),
    ("hw3", "7a", "growth_one = growth_two = 1.0", "skips are not free", "skips are not free"),
    (
        "hw3",
        "7a",
        "growth_one = growth_two = 1 + ngamma / 2",
        "the two blocks differ",
        "how the block is written",
    ),
    ("hw3", "7a", "growth_one, growth_two = 2.0, 3.0", "yours is another", "yours is another"),
    (
        "hw3",
        "7b",
        "def overflow_block(growth, rms_0):\n    return math.floor(math.log(65504 / rms_0) / math.log(growth)) + 1",
        "its square root",
        "its square root",
    ),
    ("hw3", "7c", "scaled_growth = 1.0", "add up", "add up"),
    ("hw3", "7c", "scaled_growth = (1 + ngamma / 2 / 1000**0.5) ** 1000", "thousandth of its mean square", "by 1/1000"),
    ("hw4", "1a", "var_h = n * gamma * v", "the mean has gone", "only where the mean is 0"),
    ("hw4", "1a", "var_h = n * gamma * v + n**2 * gamma * m**2", "n² times m²", "not n² times"),
    (
        "hw4",
        "1b",
        "var_next = n_gamma * s**2 * (0.5 - 0.5 / math.pi)",
        "this is n gamma Var[h]",
        "this is n gamma Var[h]",
    ),
    (
        "hw4",
        "2a",
        "needed = dict(A=True, B=False, C=True, D=True, E=False)",
        "independent inputs are more than the proof uses",
        "whatever the inputs do",
    ),
    ("hw4", "2b", "factor_equal_inputs = n_2 * n_gamma_2", "cross terms have", "equal inputs do not matter"),
    ("hw4", "2c", "factor_all_equal = n_gamma_2", "no cross term vanishes", "no cross term vanishes"),
    (
        "hw4",
        "3a",
        "xavier_gamma = xavier_std = 2 / (n_in + n_out)\nxavier_bound = math.sqrt(3 * xavier_gamma)",
        "gamma is the variance",
        "gamma is the variance",
    ),
    (
        "hw4",
        "3a",
        "xavier_gamma = 2 / (n_in + n_out)\nxavier_bound = xavier_std = math.sqrt(xavier_gamma)",
        "a third of what is wanted",
        "has the variance a²/3",
    ),
    (
        "hw4",
        "3a",
        "xavier_gamma = 1 / n_in\nxavier_std = xavier_gamma**0.5\nxavier_bound = (3 * xavier_gamma) ** 0.5",
        "one of the two conditions",
        "one of the two conditions",
    ),
    (
        "hw4",
        "3b",
        "def xavier_normal(z):\n    return 2 / sum(z.shape) * z\ndef xavier_uniform(u):\n    return (6 / sum(u.shape)) ** 0.5 * u",
        "was made the standard deviation",
        "it was made the standard deviation",
    ),
    ("hw4", "4a", "forward_layer_1, forward_both = 1.0, 1.0", "one layer's gain is not", "one layer's gain is not"),
    (
        "hw4",
        "4b",
        "backward_layer_1 = forward_layer_1\nbackward_both = forward_both",
        "over the layer's outputs",
        "over the layer's outputs",
    ),
    ("hw4", "5a", "gain = 1.0", "alpha need not be 1", "alpha need not be 1"),
    ("hw4", "5a", "gain = 1 / alpha", "the sign of alpha", "the sign of alpha"),
    ("hw4", "5b", "mean_square = 1.0", "β does matter", "β does matter"),
    (
        "hw4",
        "5c",
        "def backward(W, delta, alpha, beta):\n    return alpha * (W.T @ delta) + beta",
        "its derivative is 0",
        "its derivative is 0",
    ),
    (
        "hw4",
        "5c",
        "def backward(W, delta, alpha, beta):\n    return alpha * (W @ delta)",
        "ValueError",
        "a column of gradients goes through Wᵀ",
    ),
    (
        "hw4",
        "5d",
        "beta_changes_delta = True\nbeta_changes_weight_gradient = True",
        "a constant has none",
        "derivative of a constant is 0",
    ),
    ("hw4", "6a", "loss_small = math.log(K)", "logits of 0", "logits of 0"),
    ("hw4", "6a", "loss_small = math.log(K) + v_small / 2", "this is the bound", "this is the bound"),
    ("hw4", "6b", "loss_at_most = math.log(K)", "the least it can be", "ln K is the least"),
    ("hw4", "6b", "loss_at_most = math.log(K) + v_large / 2 * (1 - 1 / K)", "for small v", "for small v only"),
    (
        "hw4",
        "6c",
        """
def fresh_loss(logits, labels):
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return float(-np.log(p[np.arange(len(labels)), labels]).mean())
""",
        "overflows",
        "overflows",
    ),
    (
        "hw4",
        "7a",
        """
def batch_norm(z):
    return (z - z.mean(axis=1, keepdims=True)) / z.std(axis=1, keepdims=True)
""",
        "over the units of each input",
        "over the units of each input",
    ),
    ("hw4", "7b", "explanation = 'They differ.'", "three to six sentences", None),
]


@pytest.mark.parametrize(("name", "question", "answer", "visible", "hidden"), PLANTED)
def test_a_misconception_gets_its_message(
    name: str, question: str, answer: str, visible: str | None, hidden: str | None
) -> None:
    namespace, printed = answered(name, question, answer)
    line = told(printed, question)
    assert visible is None or (line.startswith("✗") and visible in line), line
    result = graded(name, namespace)[question]
    if hidden is None:
        assert result.state == "to read"
    else:
        assert result.points < result.out_of and hidden in said(result), said(result)


def test_every_question_has_a_planted_answer() -> None:
    for name in HOMEWORKS:
        module = importlib.import_module(f"instructor.{name}.checks")
        assert {q.number for q in checks.questions(module)} == {question for hw, question, *_ in PLANTED if hw == name}


VARIANTS = [
    ("hw3", "1a", "import torch\nno_saturation = torch.tensor(r) / 0.25"),
    (
        "hw3",
        "1b",
        """
import torch
def layer_factor(sigma_w):
    z = math.sqrt(settled_variance(sigma_w)) * torch.as_tensor(u, dtype=torch.float32)
    slope = torch.sigmoid(z) * torch.sigmoid(-z)
    return sigma_w * (slope.square() * torch.as_tensor(density, dtype=torch.float32)).sum().sqrt()
""",
    ),
    (
        "hw3",
        "1c",
        """
_low, _high = 0.0, 20.0
for _ in range(30):
    _middle = (_low + _high) / 2
    _low, _high = (_middle, _high) if layer_factor(_middle) < r else (_low, _middle)
sigma_w_needed = np.float32(_low)
""",
    ),
    ("hw3", "2a", "import torch\ndelta_ratio = torch.tensor(sigma_w) ** (d - 1)\nweight_ratio = 1"),
    (
        "hw3",
        "2b",
        """
import torch
def linear_gradients(W, x, delta_top):
    W = [torch.tensor(w, dtype=torch.float32, requires_grad=True) for w in W]
    h = [torch.tensor(x, dtype=torch.float32, requires_grad=True)]
    for W_t in W:
        h.append(W_t @ h[-1])
    gradients = torch.autograd.grad(h[-1] @ torch.tensor(delta_top, dtype=torch.float32), h[1:] + W)
    return gradients[:len(W)], gradients[len(W):]
""",
    ),
    ("hw3", "3a", "deep_accuracy = np.max(counts) / np.sum(counts)"),
    ("hw3", "3b", "spread_7 = np.float32(spread_1 * math.exp(6 * math.log(0.236)))"),
    ("hw3", "3c", "merged_from = math.ceil(1 + math.log(spread_1 * 2**24) / -math.log(0.236))"),
    ("hw3", "4a", "rate_needed = 1e-2 / g_bottom\ntop_move = -rate_needed * g_top"),
    ("hw3", "4b", "_g = np.array([g_bottom, g_top])\nadam_bottom, adam_top = 0.01 / (1 + 1e-8 / _g)"),
    (
        "hw3",
        "5a",
        "import torch\ndef clip_value(g, tau):\n    return torch.clamp(torch.as_tensor(g), -tau, tau)",
    ),
    (
        "hw3",
        "5b",
        """
def clip_norm(g, tau):
    norm = float(np.sqrt((g.astype(np.float32) ** 2).sum()))
    return g.astype(np.float32) / max(1.0, norm / tau)
""",
    ),
    (
        "hw3",
        "5c",
        """
def angle(a, b):
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    return math.degrees(2 * math.atan2(np.linalg.norm(a - b), np.linalg.norm(a + b)))
""",
    ),
    ("hw3", "5d", "turn_value, turn_norm = np.float32(angle(g, np.sign(g) * np.minimum(abs(g), 1))), 0"),
    (
        "hw3",
        "6a",
        """
import torch
_p = torch.nn.Parameter(torch.zeros(3))
_p.grad = torch.tensor(g_inf)
torch.nn.utils.clip_grad_norm_([_p], 1.0)
after_norm = _p.grad
_p.grad = torch.tensor(g_inf)
torch.nn.utils.clip_grad_value_([_p], 1.0)
after_value = _p.grad.numpy()
""",
    ),
    (
        "hw3",
        "6b",
        """
import torch
def checked_clip(g, tau):
    g = torch.as_tensor(g).double()
    usable = g.isfinite().all()
    factor = torch.clamp(tau / (g.norm() + 1e-6), max=1)
    return torch.where(usable, g * factor, torch.zeros_like(g)), usable
""",
    ),
    ("hw3", "7a", "growth_one = (2 + ngamma) / 2\ngrowth_two = 0.5 * (ngamma**2 + 2)"),
    (
        "hw3",
        "7b",
        "def overflow_block(growth, rms_0):\n    return np.floor(2 * np.log(65504 / rms_0) / np.log(growth)) + 1",
    ),
    ("hw3", "7c", "scaled_growth = np.exp(ngamma / 2)"),
    ("hw4", "1a", "var_h = sp.expand(n * (gamma * v + gamma * m**2))"),
    (
        "hw4",
        "1a",
        "_n, _g, _m, _v = sp.symbols('n gamma m v')\nvar_h = sp.Sum(_g * _v + _g * _m**2, (sp.Symbol('j'), 1, _n))",
    ),
    ("hw4", "1b", "var_next = np.float32(n_gamma * (s**2 * (0.5 - 0.5 / np.pi) + s**2 / (2 * np.pi)))"),
    ("hw4", "2a", "needed = dict(A=1, B=1, C=np.True_, D=0, E=False)"),
    ("hw4", "2b", "factor_equal_inputs = np.array(n_gamma_2)"),
    ("hw4", "2c", "factor_all_equal = sp.Integer(n_2) * sp.Float(n_gamma_2)"),
    (
        "hw4",
        "3a",
        """
xavier_gamma = sp.Rational(2, n_in + n_out)
xavier_std, xavier_bound = sp.sqrt(xavier_gamma), sp.sqrt(3 * xavier_gamma)
""",
    ),
    (
        "hw4",
        "3b",
        """
import torch
def xavier_normal(z):
    z = torch.as_tensor(z, dtype=torch.float32)
    return z * (2 / sum(z.shape)) ** 0.5
def xavier_uniform(u):
    a = (6 / (len(u) + len(u[0]))) ** 0.5
    return (a - 2 * a * u).astype(np.float32)
""",
    ),
    (
        "hw4",
        "4a",
        "_g = 2 / (wide + narrow)\nforward_layer_1 = _g * wide\nforward_both = np.float32(_g**2 * wide * narrow)",
    ),
    (
        "hw4",
        "4b",
        "_q = wide / narrow\nbackward_layer_1 = 2 / (1 + _q)\nbackward_both = 4 / (2 + _q + 1 / _q)",
    ),
    ("hw4", "5a", "gain = (alpha**2) ** -0.5"),
    (
        "hw4",
        "5b",
        "mean_square = 1\nfor _ in range(depth):\n    mean_square = alpha**2 * gain**2 * mean_square + beta**2",
    ),
    (
        "hw4",
        "5c",
        """
import torch
def backward(W, delta, alpha, beta):
    h = torch.zeros(W.shape[1], requires_grad=True)
    out = alpha * (torch.tensor(W, dtype=torch.float32) @ h) + beta
    return torch.autograd.grad(out @ torch.tensor(delta, dtype=torch.float32), h)[0]
""",
    ),
    ("hw4", "5d", "beta_changes_delta = np.False_\nbeta_changes_weight_gradient = 1"),
    ("hw4", "6a", "loss_small = np.log(K) + (v_small - v_small / K) / 2"),
    ("hw4", "6b", "loss_at_most = np.log(K * np.exp(v_large / 2))"),
    (
        "hw4",
        "6c",
        """
import torch
def fresh_loss(logits, labels):
    return torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels))
""",
    ),
    (
        "hw4",
        "7a",
        """
import torch
def batch_norm(z):
    z = torch.tensor(z, dtype=torch.float32)
    return torch.nn.functional.batch_norm(z, None, None, training=True, eps=1e-10)
""",
    ),
]


@pytest.mark.parametrize(("name", "question", "answer"), VARIANTS)
def test_a_correct_variant_passes(name: str, question: str, answer: str) -> None:
    namespace, printed = answered(name, question, answer)
    assert told(printed, question).startswith("✓"), printed
    assert "✗" not in printed
    result = graded(name, namespace)[question]
    assert result.points == result.out_of, said(result)


@pytest.fixture(scope="module")
def chapter_3() -> dict[str, Any]:
    """The names of chapter 3 after its training runs: the cells that they take, and no others."""
    wanted = "def draw(depth", "def train(W", "sgd_start = draw", "adam_start = draw", "def movement"
    first, *others = (source for *_, source in cells((ROOT / "book" / "03-vanishing-sigmoid.md").read_text("utf8")))
    data = next(source for source in others if "pixels, digit =" in source).split("\n\n\n")[0]
    return execute([first, data, *(source for source in others if any(w in source for w in wanted))], {})[0]


def table(heading: str) -> list[list[float]]:
    """The numbers of the table of homework 3 whose first cell is ``heading``, row by row."""
    rows = re.search(rf"^\| {heading} .*\n\|[-|]+\n((?:\|.*\n)+)", master("hw3"), re.MULTILINE)
    assert rows
    return [[float(x) for x in re.findall(r"(?<=\| )[\d.]+(?:e-?\d+)?", row)] for row in rows[1].splitlines()]


@pytest.mark.slow
def test_the_tables_of_homework_3_are_the_chapter_s(chapter_3: dict[str, Any]) -> None:
    first = [float(gradient[3].square().mean().sqrt()) for gradient in chapter_3["first"]]
    assert table("layer")[0] == pytest.approx(first, rel=0.04)  # two digits
    chapter = chapter_3
    for row, (optimiser, copy) in zip(table("optimiser"), (("sgd", 3), ("sgd", 8), ("adam", 0)), strict=True):
        moved = chapter["movement"](chapter[f"{optimiser}_start"], chapter[optimiser], copy)
        # Training amplifies rounding: the orders of magnitude are what the question is about.
        assert all(0.5 < told / measured < 2 for told, measured in zip(row[1:], moved, strict=True)), row
        accuracy = float(chapter[f"{optimiser}_accuracy"][copy])
        assert abs(row[0] / 100 - accuracy) < (0.03 if optimiser == "sgd" else 0.3)
    assert len(table("optimiser")) == 3 and float(chapter["deeper_accuracy"].max()) < 0.4


@pytest.mark.slow
@pytest.mark.parametrize("student_id", ["s123", "group 7"])
def test_a_deep_sigmoid_net_answers_with_the_commonest_digit(
    chapter_3: dict[str, Any], monkeypatch: pytest.MonkeyPatch, student_id: str
) -> None:
    """What question 3a of homework 3 asks for is what happens, on a student's own selection of digits."""
    torch, names = chapter_3["torch"], reference("hw3", student_id)[0]
    chosen = [(chapter_3["digit"] == k).nonzero()[:count, 0] for k, count in enumerate(names["counts"])]
    assert list(map(len, chosen)) == names["counts"]
    for where in ("train_set", "held_out"):  # the same shares to train and to test
        monkeypatch.setitem(chapter_3, where, torch.cat(chosen))
    W = chapter_3["draw"](8, copies=1)
    reached = float(chapter_3["train"](W, torch.optim.SGD(W, lr=1.0), torch.tensor([0.1]))[0])
    assert abs(reached - names["deep_accuracy"]) < 0.005
