"""Homeworks 1 and 2: the reference gets everything, the blank nothing, and each planted misconception its message."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import time

import pytest
from bookext.source import notebook_node

from instructor.grading import checks
from instructor.release import ROOT, release
from labs.homework import Homework

HOMEWORKS = ("hw1", "hw2")
SECRET = b"a secret for tests"


def master(name: str) -> str:
    return (ROOT / "instructor" / name / f"{name}.md").read_text("utf8")


def execute(text: str, answers: dict[str, str] | None = None, student_id: str = "s123") -> tuple[dict, str]:
    """Run the code cells as a student would, the cells of the questions in ``answers`` replaced: namespace and output."""
    namespace: dict = {"__name__": "__main__"}
    printed = io.StringIO()
    for cell in notebook_node(text).cells:
        if cell.cell_type != "code":
            continue
        source = (answers or {}).get(cell.metadata.get("question", ""), cell.source)
        source = re.sub(r"^STUDENT_ID = .*$", f"STUDENT_ID = {student_id!r}", source, flags=re.MULTILINE)
        with contextlib.redirect_stdout(printed):
            exec(compile(source, "<cell>", "exec"), namespace)
    return namespace, printed.getvalue()


def graded(name: str, namespace: dict, student_id: str = "s123") -> dict[str, checks.Result]:
    module = importlib.import_module(f"instructor.{name}.checks")
    own = Homework(name, student_id, salt="2026-autumn")
    return {r.question: r for r in checks.run(module, checks.LocalStudent(namespace), own, SECRET)}


def said(result: checks.Result) -> str:
    return " | ".join([result.note, *(item.feedback for item in result.items)])


@pytest.mark.parametrize("name", HOMEWORKS)
@pytest.mark.parametrize("student_id", ["s123", "张三", "group 7"])
def test_the_reference_gets_every_point(name, student_id):
    namespace, printed = execute(master(name), student_id=student_id)
    assert "✗" not in printed and "– " not in printed, printed
    for result in graded(name, namespace, student_id).values():
        assert result.state == "to read" or result.points == result.out_of, (result.question, said(result))


@pytest.mark.parametrize("name", HOMEWORKS)
def test_the_blank_runs_whole_and_gets_nothing(name):
    namespace, printed = execute(release(master(name)))
    assert "✓" not in printed and "✗" not in printed, printed
    assert "of" in printed and "To submit" in printed
    for result in graded(name, namespace).values():
        assert result.state == "unanswered" and not result.points, (result.question, said(result))


@pytest.mark.parametrize("name", HOMEWORKS)
def test_no_cell_takes_more_than_a_second(name):
    execute(master(name))  # imports what it needs
    begun = time.process_time()
    execute(master(name))
    assert time.process_time() - begun < 1  # all cells together


@pytest.mark.parametrize("name", HOMEWORKS)
def test_points_agree_with_the_page(name):
    """The page's headings and its front matter state what the checks give."""
    text = master(name)
    asked = checks.questions(importlib.import_module(f"instructor.{name}.checks"))
    stated = dict(re.findall(r"^## Question (\d+)\. .* \((\d+) points?\)$", text, re.MULTILINE))
    for number, points in stated.items():
        assert sum(q.points for q in asked if re.fullmatch(rf"{number}[a-z]?", q.number)) == int(points), number
    for number, points in re.findall(r"^\*\*(\d[a-z])\*\* \((\d+) points?\)", text, re.MULTILINE):
        assert [q.points for q in asked if q.number == number] == [int(points)], number
    assert sum(q.points for q in asked) == sum(map(int, stated.values()))
    assert f"points: {sum(map(int, stated.values()))}\n" in text
    assert sum(q.checks is None for q in asked) == 1  # the one a person reads


@pytest.mark.parametrize("name", HOMEWORKS)
def test_each_question_leads_to_a_section(name):
    for asked in checks.questions(importlib.import_module(f"instructor.{name}.checks")):
        page, _, anchor = asked.section.partition("#")
        chapter = (ROOT / "book" / f"{page}.md").read_text("utf8")
        assert re.search(rf"^(\({anchor}\)=|:label: {anchor})$", chapter, re.MULTILINE | re.IGNORECASE), asked.section


def own(name: str, student_id: str = "s123") -> Homework:
    return Homework(name, student_id, salt="2026-autumn")


# homework, cell, what is put there, check in the notebook, its message, hidden question, its message
PLANTED = [
    ("hw1", "1", "dl_dh2, dh2_dh1, dh1_dh0, dh1_dW1, dl_dW1 = (1, 2), (5, 2), (3, 5), (5, 5, 3), (5, 3)",
     "1", "meet the rows of dh2/dh1", "1", "this is the transpose"),
    ("hw1", "1", "dl_dh2, dh2_dh1, dh1_dh0, dh1_dW1, dl_dW1 = (2, 1), (2, 5), (5, 3), (5, 5, 3), (5, 3)",
     "1", "the book's gradient is a row", "1", "this is the column δ"),
    ("hw1", "1", "dl_dh2, dh2_dh1, dh1_dh0, dh1_dW1, dl_dW1 = (1, 2), (2, 5), (5, 3), (5, 3), (5, 3)",
     "1", "has three axes", "1", "a vector by a matrix has three axes"),
    ("hw1", "2", "def layer_jacobian(W, h):\n    return ((1 - np.tanh(W @ h)**2)[:, None] * W).T",
     "2", "this is the transpose", "2", "this is the transpose"),
    ("hw1", "2", "def layer_jacobian(W, h):\n    return (1 - np.tanh(W @ h)**2) * W",
     "2", "slope i belongs to row i", "2", "slope i belongs to row i"),
    ("hw1", "2", "def layer_jacobian(W, h):\n    return W", "2", "the slopes are missing", "2", "the slopes are missing"),
    ("hw1", "3a", "a, b = 6, 2", "3a", "what it should return", "3a", "was meant to return"),
    ("hw1", "3b", "product = suspicious", "3b", "one layer too low", "3b", "one layer too low at both ends"),
    ("hw1", "3b", "def product(J, t):\n    P = np.eye(J[t].shape[0])\n    for i in range(t, len(J) - 1):\n"
     "        P = P @ J[i + 1]\n    return P", "3b", "matmul", "3b", "the wrong order"),
    ("hw1", "4a", "def backward(W, h, delta):\n    for t in (range(len(W) - 1, 0, -1)):\n"
     "        delta = W[t] @ ((1 - h[t]**2) * delta)\n    return delta", "4a", "It needs Wᵀ", "4a", "needs Wᵀ"),
    ("hw1", "4a", "def backward(W, h, delta):\n    P = np.eye(len(h[0]))\n    for t in range(1, len(W)):\n"
     "        P = (1 - h[t]**2)[:, None] * W[t] @ P\n    return delta @ P",
     "4a", "this forms the product of matrices", "4a", "this multiplies matrices with each other"),
    ("hw1", "4b", "flops_matrix_first = flops_row_first = 2 * width**3 * factors",
     "4b", "differ nearly by a factor n", "4b", "a row times a matrix costs 2 n²"),
    ("hw1", "4b", "flops_matrix_first, flops_row_first = width**3 * (factors - 1) + width**2, width**2 * factors",
     "4b", "a multiplication and an addition", "4b", "a multiplication and an addition"),
    ("hw1", "4b", "flops_matrix_first, flops_row_first = 2 * width**3 * (factors - 1), 2 * width**2 * factors",
     "4b", "the row has to be multiplied", "4b", "the row has to be multiplied"),
    ("hw1", "5a", "A = B = np.array([[0, math.sqrt(growth)], [0, 0]])", "5a", "the norm is 0", "5a", "the product is 0"),
    ("hw1", "5a", "A = B = math.sqrt(growth) * np.eye(2)", "5a", "not below 1", "5a", "an eigenvalue is not below 1"),
    ("hw1", "5b", "below_one = 1", "5b", "only in the long run", "5b", "do not make the first powers small"),
    ("hw1", "6", "def log_norm(J):\n    return sum(np.log(np.linalg.norm(j)) for j in J)",
     "6", "the factors' norms bound", "6", "only bound that of the product"),
    ("hw1", "6", "def log_norm(J):\n    return np.log(np.linalg.norm(np.linalg.multi_dot(J[::-1])))",
     "6", "take the log of each scale", "6", "over- or underflows before its logarithm"),
    ("hw2", "1", "step_fp16 = step_bf16 = math.floor(math.log(65504) / math.log(factor)) + 1\nstep_fp32 = 2000",
     "1", "eight of them on the exponent", "1", "bf16 has eight exponent bits"),
    ("hw2", "1", "step_fp16, step_bf16, step_fp32 = (math.floor(math.log(x) / math.log(factor))"
     " for x in (65504, 3.39e38, 3.40e38))", "1", "which still fits", "1", "at this step the power still fits"),
    ("hw2", "2a", "one_plus, k_fp16, k_bf16 = 1 + 2**-11, 11, 8", "2a", "but not beside 1", "2a", "but not beside 1"),
    ("hw2", "2a", "one_plus, k_fp16, k_bf16 = 1.0, 10, 10", "2a", "pays for its range", "2a", "bf16 pays for its range"),
    ("hw2", "2b", "stall = 65504", "2b", "never comes near", "2b", "stops long before"),
    ("hw2", "3a", "cast_zero = next(k for k in range(999) if shrink**k < 2**-24)", "3a", "0 comes below half", "3a", "rounds up to it"),
    ("hw2", "3a", "cast_zero = next(k for k in range(999) if shrink**k < 2**-14)",
     "3a", "is subnormal, not 0", "3a", "becomes subnormal"),
    ("hw2", "4", "ranking, fastest = ''.join(order[i] for i in (0, 3, 1, 2)), 64 * entry",
     "4", "grows least comes first", "4", "this is the reverse order"),
    ("hw2", "3b", "product_end, product_step = 0.0, cast_zero", "3b", "never reaches 0", "3b", "vanished is not exactly 0"),
    ("hw2", "4", "ranking, fastest = order, 64 * entry", "4", "ranks by the largest entry", "4", "ranks by the largest entry"),
    ("hw2", "4", "ranking, fastest = ''.join(order[i] for i in (1, 3, 0, 2)), 7.2",
     "4", "only bounds the product", "4", "only bounds the product"),
    ("hw2", "5", "unavoidable = next(k for k, w in enumerate(weights) if not np.isfinite(w))\nlargest_rate = rate / 10",
     "5", "is the symptom", "5", "that is the tenth"),
    ("hw2", "5", "unavoidable, largest_rate = 1, rate / 10", "5", "can still be rescued", "5", "can still be rescued"),
    ("hw2", "6a", "k_low, k_high = math.ceil(math.log2(2**-24 / smallest)), math.floor(math.log2(65504 / largest))",
     "6a", "it has lost digits", "6a", "as a subnormal number"),
    ("hw2", "6a", "k_low, k_high = math.ceil(math.log2(2**-14 / smallest)), math.floor(math.log2(65504 / largest)) + 1",
     "6a", "is Inf in fp16", "6a", "the largest gradient is Inf"),
]  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED, ids=lambda p: f"{p[0]}-{p[1]}-{p[-1][:30]}")
def test_a_misconception_gets_the_message_meant_for_it(planted):
    name, cell, source, visible, message, hidden, feedback = planted
    others = {c.metadata["question"]: c.source for c in notebook_node(master(name)).cells if "question" in c.metadata}
    namespace, printed = execute(release(master(name)), others | {cell: source})
    lines = [line for line in printed.splitlines() if line.startswith(f"✗ {visible}:")]
    if message:
        assert len(lines) == 1 and message in lines[0], printed
    result = graded(name, namespace)[hidden]
    assert feedback in said(result) and result.points < result.out_of, said(result)
    rest = [r for number, r in graded(name, namespace).items() if number != hidden and r.state != "to read"]
    assert all(r.points == r.out_of for r in rest), [(r.question, said(r)) for r in rest]


CORRECT = [
    ("hw1", "1", "dl_dh2, dh2_dh1, dh1_dh0, dh1_dW1, dl_dW1 = "
     "[1, 2], torch.Size([2, 5]), np.array([5, 3]), torch.tensor([5, 5, 3]), (5, 3)"),
    ("hw1", "2", "def layer_jacobian(W, h):\n    f = lambda v: torch.tanh(torch.as_tensor(W) @ v)\n"
     "    return torch.func.jacrev(f)(torch.as_tensor(h))"),
    ("hw1", "2", "def layer_jacobian(W, h):\n    W, h = np.float32(W), np.float32(h)\n"
     "    return np.diag(1 / np.cosh(W @ h)**2) @ W"),
    ("hw1", "3a", "a, b = np.array(5), torch.tensor(1.0)"),
    ("hw1", "3b", "def product(J, t):\n    P = torch.eye(J[-1].shape[0], dtype=torch.float64)\n"
     "    for j in J[:t:-1]:\n        P = P @ torch.as_tensor(j)\n    return P"),
    ("hw1", "4a", "def backward(W, h, delta):\n    row = torch.as_tensor(delta).float()[None]\n"
     "    for t in range(len(W) - 1, 0, -1):\n"
     "        row = row * (1 - torch.as_tensor(h[t]).float()**2) @ torch.as_tensor(W[t]).float()\n"
     "    return row[0]"),
    ("hw1", "4b", "flops_matrix_first = torch.tensor(2 * width**2 * ((factors - 1) * width + 1))\n"
     "flops_row_first = np.float64(2 * width * width * factors)"),
    ("hw1", "5a", "A = torch.tensor([[0, 0], [growth, 0]])\nB = [[0.0, 1.0], [0.0, 0.0]]"),
    ("hw1", "5a", "A = np.float32([[0.5, growth / 0.5], [0, -0.5]])\nA, B = A * 0, A * 0\n"
     "A[1, 0] = B[0, 1] = growth**0.5"),
    ("hw1", "5b", "below_one = 400\nwhile np.linalg.norm(np.linalg.matrix_power("
     "np.array([[0.8, corner], [0, 0.8]]), below_one - 1), 2) < 1:\n    below_one = np.int64(below_one - 1)"),
    ("hw1", "6", "def log_norm(J):\n    P, total = torch.as_tensor(J[-1]).float(), torch.tensor(0.0)\n"
     "    for j in J[-2::-1]:\n        P = P @ torch.as_tensor(j).float()\n        s = P.abs().max()\n"
     "        P, total = P / s, total + s.log()\n    return total + P.norm().log()"),
    ("hw2", "1", "step_fp16, step_bf16, step_fp32 = (np.array(next(k for k in range(999) if factor**k > "
     "torch.finfo(d).max)) for d in (torch.float16, torch.bfloat16, torch.float32))"),
    ("hw2", "2a", "one_plus = np.float16(1) + np.float16(2**-11)\nk_fp16 = np.array(10)\nk_bf16 = torch.tensor(7)"),
    ("hw2", "2b", "stall = torch.zeros((), dtype=torch.float16)\nfor _ in range(9000):\n"
     "    stall = stall + torch.tensor(step).half()"),
    ("hw2", "3a", "cast_zero = torch.tensor(int((torch.tensor(shrink, dtype=torch.float64)"
     " ** torch.arange(2000)).half().count_nonzero()))"),
    ("hw2", "3b", "from labs.formats import sticking_point\nproduct_step, product_end = sticking_point(shrink, 'fp16')"),
    ("hw2", "3b", "from labs.formats import sticking_point\nproduct_step, product_end = sticking_point(shrink, 'fp16')\nproduct_end = float(np.format_float_scientific(product_end, precision=1))"),
    ("hw2", "4", "_g = {n: np.linalg.norm(np.linalg.matrix_power(m, 20)) for n, m in M.items()}\n"
     "ranking = ''.join(sorted(_g, key=_g.get))\nfastest = torch.tensor(M[ranking[-1]]).sum(1)[0].float()"),
    ("hw2", "5", "unavoidable = np.int64(0)\nwhile rate / 10 * weights[unavoidable]**2 < 2:\n    unavoidable += 1\n"
     "largest_rate = np.float32(2 / weights[unavoidable]**2)"),
    ("hw2", "6a", "k_low, k_high = -40, 60\nwhile smallest * 2.0**k_low < 2**-14:\n    k_low += 1\n"
     "while largest * 2.0**k_high > 65504:\n    k_high -= 1\nk_low, k_high = np.float32(k_low), torch.tensor(k_high)"),
]  # fmt: skip


@pytest.mark.parametrize("correct", CORRECT, ids=lambda c: f"{c[0]}-{c[1]}-{c[2][:30]}")
def test_a_correct_variant_passes(correct):
    name, cell, source = correct
    others = {c.metadata["question"]: c.source for c in notebook_node(master(name)).cells if "question" in c.metadata}
    namespace, printed = execute(release(master(name)), others | {cell: source})
    assert "✗" not in printed, printed
    for result in graded(name, namespace).values():
        assert result.state == "to read" or result.points == result.out_of, (result.question, said(result))


@pytest.mark.parametrize(
    "name, personal", [("hw1", {"4b", "5a", "5b"}), ("hw2", {"1", "2b", "3a", "3b", "4", "5", "6a"})]
)
def test_one_students_answers_fail_for_another(name, personal):
    namespace, _ = execute(master(name), student_id="s123")
    results = graded(name, namespace, "s456")
    assert {number for number, r in results.items() if r.state == "graded" and r.points < r.out_of} == personal
