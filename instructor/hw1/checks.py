"""Hidden checks of homework 1, Jacobians."""

from __future__ import annotations

import itertools
import math

import numpy as np

from instructor.grading.checks import check, close, question, read

CHAPTER = "01-chained-jacobians#"


def near(got, expected):
    """Close enough for an answer in float32."""
    return close(got, expected, rtol=1e-4, atol=1e-6)


def infinite(got):
    """Numbers, but not all finite."""
    array = np.asarray(got)
    return array.dtype.kind in "iuf" and not np.isfinite(array).all()


def sigmoid_slope(z):
    return np.exp(-z) / (1 + np.exp(-z)) ** 2


@question("1", points=3, title="Shapes", section=CHAPTER + "sec-jac-chain-rule")
def shapes(student, own, rng):
    top, low = student.value("dh2_dh1"), student.value("dh1_dh0")
    transposed = "this is the transpose: rows belong to the numerator"
    wrong = {transposed: close(top, (5, 2)) or close(low, (3, 5))}
    yield check(0.5, close(top, (2, 5)), "dh2/dh1", wrong, expected=(2, 5), got=top)
    yield check(0.5, close(low, (5, 3)), "dh1/dh0", wrong, expected=(5, 3), got=low)
    row = student.value("dl_dh2")
    wrong = {
        "this is the column δ; in numerator layout the gradient by a vector is a row": close(row, (2, 1)),
        "a row has two axes, 1 and n": close(row, (2,)),
    }
    yield check(0.5, close(row, (1, 2)), "dl/dh2", wrong, expected=(1, 2), got=row)
    tensor = student.value("dh1_dW1")
    wrong = {
        "a vector by a matrix has three axes: those of h1, then those of W1": np.size(tensor) == 2,
        "the axes of the numerator, h1, come first": close(tensor, (5, 3, 5)),
    }
    yield check(1, close(tensor, (5, 5, 3)), "dh1/dW1", wrong, expected=(5, 5, 3), got=tensor)
    gradient = student.value("dl_dW1")
    wrong = {"the gradient by a matrix has the matrix's own shape, W1 is 5 x 3": True}
    yield check(0.5, close(gradient, (5, 3)), "dl/dW1", wrong, expected=(5, 3), got=gradient)


@question("2", points=3, title="The Jacobian of a layer", section=CHAPTER + "sec-jac-mlp-layer")
def jacobian_of_a_layer(student, own, rng):
    for n_out, n_in in ((4, 4), (5, 2)):
        W, h = rng.normal(size=(n_out, n_in)), rng.normal(size=n_in)
        slopes = 1 - np.tanh(W @ h) ** 2
        right = slopes[:, None] * W
        J = student.call("layer_jacobian", W, h)
        wrong = {
            "this is the transpose, with Wᵀ: compare the shapes": near(J, right.T),
            "this is W alone: the slopes are missing": near(J, W),
            "slope i belongs to row i of W; here it multiplies column i": n_out == n_in and near(J, W * slopes),
            "diag(slopes) multiplies W, not Wᵀ": n_out == n_in and near(J, slopes[:, None] * W.T),
            "these are the slopes of the sigmoid; the layer has tanh": near(J, sigmoid_slope(W @ h)[:, None] * W),
        }
        yield check(1.5, near(J, right), f"{n_out} x {n_in}", wrong, expected=right, got=J, public=n_out == n_in)


@question("3a", points=1, title="Off by one: which derivative it is", section=CHAPTER + "sec-jac-product")
def which_derivative(student, own, rng):
    got = [student.value("a"), student.value("b")]
    wrong = {
        "that is what it was meant to return; its factors are J[2] … J[5]": close(got, (6, 2)),
        "both ends are one too low, not one of them": close(got, (5, 2)) or close(got, (6, 1)),
        "J[i] is the derivative of h^i by h^(i-1): the last factor is by h^1": close(got, (4, 0)) or close(got, (4, 1)),
    }
    yield check(1, close(got, (5, 1)), "a and b", wrong, expected=(5, 1), got=got)


@question("3b", points=1, title="Off by one: the right product", section=CHAPTER + "sec-jac-product")
def right_product(student, own, rng):
    for widths in ([3] * 6, list(rng.permutation([2, 3, 4, 5, 6, 7]))):
        J = [None, *(rng.normal(size=(b, a)) for a, b in itertools.pairwise(widths))]
        t, d = 2, len(J) - 1

        def chain(low, high, J=J):
            return np.linalg.multi_dot(J[high:low:-1]) if high - low > 1 else J[high]

        right = chain(t, d)
        got = student.call("product", J, t)
        wrong = {
            "this is one layer too low at both ends, as on the slide": near(got, chain(t - 1, d - 1)),
            "this has one factor too many: dh^d/dh^(t-1)": near(got, chain(t - 1, d)),
            "the top factor is missing: dh^(d-1)/dh^t": near(got, chain(t, d - 1)),
            "the factors stand in the wrong order: the largest index is on the left": len(set(widths)) == 1
            and near(got, np.linalg.multi_dot(J[t + 1 :])),
        }
        points = 0.5 if len(set(widths)) == 1 else 0.25
        yield check(points, near(got, right), f"widths {widths}", wrong, expected=right, got=got)
    for t in (0, d - 1):
        got = student.call("product", J, t)
        yield check(0.125, near(got, chain(t, d)), f"t = {t} of 0 to {d - 1}", expected=chain(t, d), got=got)


@question("4a", points=2, title="Backward without matrix products", section=CHAPTER + "reverse-mode")
def backward(student, own, rng):
    for points, n in ((1, [3, 3, 3, 3]), (0.5, [4, 2, 5, 3])):
        W = [None, *(rng.normal(size=(n[t], n[t - 1])) for t in (1, 2, 3))]
        h, top = [rng.normal(size=n[0])], rng.normal(size=n[3])
        for t in (1, 2, 3):
            h.append(np.tanh(W[t] @ h[-1]))
        got = student.call("backward", W, h, top)
        right, plain, no_slope, late = top, top, top, top
        for t in (3, 2, 1):
            right = W[t].T @ ((1 - h[t] ** 2) * right)
            no_slope = W[t].T @ no_slope
            if len(set(n)) == 1:
                plain = W[t] @ ((1 - h[t] ** 2) * plain)
                late = (1 - h[t] ** 2) * (W[t].T @ late)
        square = len(set(n)) == 1
        wrong = {
            "this multiplies by W; a column of gradients needs Wᵀ": square and near(got, plain),
            "the slopes are missing": near(got, no_slope),
            "δ meets the slope of layer t first, and Wᵀ after it": square and near(got, late),
            "a one-dimensional array is asked for, of the shape (n_0,)": np.size(got) == n[0] and np.ndim(got) != 1,
        }
        yield check(points, near(got, right), f"widths {n}", wrong, expected=right, got=got)
    size = 10.0 ** float(rng.integers(28, 37))  # fits into float32; the product of twelve fits nowhere
    got = student.call("backward", [None, *[np.diag([1.0, size])] * 12], [np.zeros(2)] * 13, np.array([1.0, 0.0]))
    wrong = {"this multiplies matrices with each other, and their product overflows: carry the vector": infinite(got)}
    yield check(0.5, near(got, (1, 0)), "no matrix products", wrong, expected=(1.0, 0.0), got=got)


@question("4b", points=2, title="The flops of the two orders", section=CHAPTER + "reverse-mode")
def flops(student, own, rng):
    n = 10 * round(own.own("width", 20, 99, digits=0))
    k = round(own.own("factors", 12, 60, digits=0))
    matrix, row = student.value("flops_matrix_first"), student.value("flops_row_first")
    right = 2 * n**3 * (k - 1) + 2 * n**2
    wrong = {
        "k matrices take k - 1 products with each other": close(matrix, right + 2 * n**3)
        or close(matrix, 2 * n**3 * k),
        "the row has to be multiplied too": close(matrix, 2 * n**3 * (k - 1)),
        "each term is a multiplication and an addition: 2 flops": close(matrix, right / 2),
        "the two are exchanged": close(matrix, 2 * n**2 * k),
    }
    yield check(1, close(matrix, right), "matrices first", wrong, expected=right, got=matrix)
    wrong = {
        "no two matrices are multiplied in this order: a row times a matrix costs 2 n²": close(row, 2 * n**3 * k)
        or close(row, 2 * n**3 * (k - 1))
        or close(row, right),
        "each term is a multiplication and an addition: 2 flops": close(row, n**2 * k),
        "each of the k factors meets the row": close(row, 2 * n**2 * (k - 1)),
    }
    yield check(1, close(row, 2 * n**2 * k), "row first", wrong, expected=2 * n**2 * k, got=row)


@question("5a", points=2, title="Small eigenvalues, growing product", section=CHAPTER + "eigenvalues")
def growing_pair(student, own, rng):
    growth = own.own("growth", 1.6, 3.9)
    A, B = (np.asarray(student.value(name)) for name in "AB")
    usable = all(m.shape == (2, 2) and m.dtype.kind in "iuf" and np.isfinite(m).all() for m in (A, B))
    A, B = (A.astype(float), B.astype(float)) if usable else (np.eye(2), np.eye(2))
    radius = max(abs(np.linalg.eigvals(m)).max() for m in (A, B))
    small = usable and radius < 1 and A.any() and B.any()
    wrong = {
        "two 2 x 2 matrices of finite real numbers are asked for": not usable,
        "with a matrix of zeros nothing grows": usable and not (A.any() and B.any()),
        "an eigenvalue is not below 1: eigenvalues of 0 are possible in a matrix that is not": not small,
    }
    yield check(0.5, small, "eigenvalues", wrong, expected="all below 1 in magnitude", got=radius)
    norms = [np.linalg.norm(np.linalg.matrix_power(A @ B, k), 2) for k in (1, 2, 7)]
    right = [growth**k for k in (1, 2, 7)]
    wrong = {
        **wrong,
        "the product is 0: a nilpotent matrix by itself is gone; take its transpose as partner": norms[1] < 1e-6,
        "this grows by growth squared a pair: each factor contributes one corner entry": near(norms[0], growth**2),
        "it shrinks: eigenvalues below 1 on a diagonal do that": norms[2] < 1,
        "the first pair is right, but the powers are not": near(norms[0], growth),
    }
    ok = small and close(norms, right, rtol=1e-3)
    yield check(1.5, ok, "growth", wrong, expected=right, got=norms)


@question("5b", points=1, title="One matrix repeated", section=CHAPTER + "ex-transient")
def one_matrix_repeated(student, own, rng):
    corner, diagonal = own.own("corner", 2.0, 9.0, digits=1), round(1 - 1 / own.own("slowness", 5, 50), 4)
    C = np.array([[diagonal, corner], [0, diagonal]])
    norms = np.linalg.norm([np.linalg.matrix_power(C, k) for k in range(1, 900)], 2, axis=(1, 2))
    right = 1 + max(k for k, norm in enumerate(norms, 1) if norm >= 1)
    got = student.value("below_one")
    wrong = {
        "eigenvalues below 1 do not make the first powers small": close(got, 0) or close(got, 1),
        "this is where the norm is largest": close(got, 1 + int(np.argmax(norms))),
        "this is the last power whose norm is not below 1; the next is asked for": close(got, right - 1),
    }
    yield check(1, close(got, right), "below 1 for good", wrong, expected=right, got=got)


@question("6", points=3, title="A product that no format holds", section=CHAPTER + "log-scale")
def log_norm(student, own, rng):
    J = list(rng.normal(size=(4, 3, 3)))
    right = math.log(np.linalg.norm(J[3] @ J[2] @ J[1] @ J[0]))
    got = student.call("log_norm", J)
    each = [np.linalg.norm(factor) for factor in J]
    wrong = {
        "this is log10; the natural logarithm is asked for": near(got, right / math.log(10)),
        "the logarithms of the factors' norms only bound that of the product": near(got, sum(map(math.log, each))),
        "the factors are in the wrong order: the last of the list stands on the left": near(
            got, math.log(np.linalg.norm(J[0] @ J[1] @ J[2] @ J[3]))
        ),
        "this is the log of the largest singular value; the Frobenius norm is asked for": near(
            got, math.log(np.linalg.norm(J[3] @ J[2] @ J[1] @ J[0], 2))
        ),
        "the scale of the last step is missing": close(got, 0.0, atol=1e-6),
    }
    yield check(1, near(got, right), "a short product", wrong, expected=right, got=got)
    for scale in (1e4, 1e-4):
        long = [scale * rng.normal(size=(3, 3)) for _ in range(120)]
        direction, right = np.eye(3), 0.0
        for factor in long:
            direction = factor @ direction
            size = np.linalg.norm(direction)
            direction, right = direction / size, right + math.log(size)
        got = student.call("log_norm", long)
        wrong = {
            "the product over- or underflows before its logarithm is taken: add the log of each scale": infinite(got)
        }
        yield check(1, near(got, right), f"120 factors of size {scale:g}", wrong, expected=right, got=got)


read("7", points=2, name="explanation", title="A recurrent network and a deep one", section=CHAPTER + "eigenvalues")
