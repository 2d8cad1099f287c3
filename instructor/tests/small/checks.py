"""Hidden checks of the small assignment that the grader's tests grade."""

from __future__ import annotations

import numpy as np

from instructor.grading.checks import check, close, question, read


@question("1", points=2, title="The layer Jacobian", section="01-chained-jacobians")
def layer_jacobian(student, own, rng):
    W, h = rng.normal(size=(2, 5)), rng.normal(size=5)
    right = (1 - np.tanh(W @ h) ** 2)[:, None] * W
    J = student.call("layer_jacobian", W, h)
    wrong = {"this is the transpose": np.shape(J) == (5, 2)}
    yield check(0.5, np.shape(J) == (2, 5), "shape", wrong, expected=(2, 5), got=np.shape(J), public=True)
    yield check(1.5, close(J, right, rtol=1e-4), "value", {"no slope": close(J, W)}, expected=right, got=J)


@question("2", points=1, title="Overflow", section="02-explosion-relu")
def overflow(student, own, rng):
    factor = own.own("factor", 1.2, 1.9)
    right = int(np.ceil(np.log(65504) / np.log(factor)))
    steps = student.value("steps")
    yield check(1, close(steps, right), "steps", {"one too few": close(steps, right - 1)}, expected=right, got=steps)


@question("3", points=1, title="Variance", section="05-constant-variance")
def variance(student, own, rng):
    points = [{"n": float(n), "gamma": float(g)} for n, g in rng.uniform(0.5, 3, size=(4, 2))]
    right = [p["n"] * p["gamma"] for p in points]
    got = student.symbolic("variance", points)
    yield check(1, close(got, right), "expression", expected=right, got=got)


@question("4", points=1, title="Ranking", section="01-chained-jacobians")
def ranking(student, own, rng):
    got = student.value("ranking")
    yield check(1, close(got, [2, 0, 1]), "order", expected=[2, 0, 1], got=got)


read("5", points=2, name="explanation", title="Why", section="06-xavier")
