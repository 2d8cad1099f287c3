"""The algebra against enumerations of discrete distributions, each statement against the lecture's wrong form."""

import itertools
from fractions import Fraction

import pytest
import sympy as sp
import torch

from labs import derivations as dv
from labs.derivations import ALPHA, BETA, GAMMA, MEAN_INPUT, N_IN, N_OUT, STD_Z, VAR_DELTA, VAR_INPUT, ZERO

C, M = sp.symbols("c m", real=True)
WEIGHTS = [(Fraction(-1), Fraction(1, 4)), (Fraction(0), Fraction(1, 4)), (Fraction(1, 2), Fraction(1, 2))]  # mean 0
SKEWED = [(Fraction(-1), Fraction(1, 3)), (Fraction(2), Fraction(2, 3))]  # mean 1, neither symmetric nor Gaussian


def same(a, b):
    return sp.simplify(a - b) == 0


def moments(distribution):
    mean = sum(p * v for v, p in distribution)
    return mean, sum(p * v * v for v, p in distribution) - mean**2


def enumerated(outcomes):
    """Mean and variance of a finite list of (value, probability), exactly."""
    return moments([(v, p) for v, p in outcomes])


def independent_sum(weights, inputs, n):
    """Every outcome of sum_j w_j h_j, all 2n variables independent."""
    for draw in itertools.product(*([weights] * n + [inputs] * n)):
        p = Fraction(1)
        for _, q in draw:
            p *= q
        yield sum(draw[j][0] * draw[n + j][0] for j in range(n)), p


# --- the algebra ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [WEIGHTS, SKEWED], ids=["zero mean", "mean 1"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_linear_form_by_enumeration(weights, n):
    (mw, vw), (mh, vh) = moments(weights), moments(SKEWED)
    size = sp.Symbol("n", positive=True)
    mean, variance = dv.linear_form(
        size, dv.family(*map(sp.Rational, (mw, vw))), dv.family(*map(sp.Rational, (mh, vh)))
    )
    expected = enumerated(independent_sum(weights, SKEWED, n))
    assert (mean.subs(size, n), variance.subs(size, n)) == tuple(map(sp.Rational, expected))


def dependent_inputs():
    """h_1 = a b, h_2 = a: dependent, correlated and (times a sign s of its own) of any mean."""
    for (a, p), (b, q) in itertools.product(SKEWED, WEIGHTS):
        yield (a * b, a), p * q


def test_linear_form_with_dependent_inputs_by_enumeration():
    """Swap the two inputs at random: exchangeable, so one mean, variance and covariance, but not independent."""
    inputs = [(h[::order], p / 2) for h, p in dependent_inputs() for order in (1, -1)]
    mean_h, var_h = moments([(h[0], p) for h, p in inputs])
    covariance = sum(p * h[0] * h[1] for h, p in inputs) - mean_h**2
    assert covariance != 0
    for weights in (WEIGHTS, SKEWED):
        outcomes = [
            (w1 * h[0] + w2 * h[1], p1 * p2 * p)
            for (w1, p1), (w2, p2), (h, p) in itertools.product(weights, weights, inputs)
        ]
        mw, vw = map(sp.Rational, moments(weights))
        family = dv.family(*map(sp.Rational, (mean_h, var_h, covariance)))
        assert dv.linear_form(sp.Integer(2), dv.family(mw, vw), family) == tuple(map(sp.Rational, enumerated(outcomes)))


def test_equal_weights_by_enumeration():
    """w_1 = w_2 = w_3 = w is a family whose covariance is its variance."""
    outcomes = [
        (w * (a + b + c), p * pa * pb * pc)
        for (w, p), (a, pa), (b, pb), (c, pc) in itertools.product(WEIGHTS, SKEWED, SKEWED, SKEWED)
    ]
    (mw, vw), (mh, vh) = (tuple(map(sp.Rational, moments(d))) for d in (WEIGHTS, SKEWED))
    result = dv.linear_form(sp.Integer(3), dv.family(mw, vw, vw), dv.family(mh, vh))
    assert result == tuple(map(sp.Rational, enumerated(outcomes)))


def test_L29_expectation_of_a_product_and_variance_of_a_sum():
    x, y = sp.IndexedBase("x"), sp.IndexedBase("y")
    a, b = sp.symbols("a b")
    independent = {x: dv.family(a, GAMMA), y: dv.family(b, GAMMA)}
    assert dv.expectation(x[1] * y[1], independent) == a * b
    assert dv.expectation(x[1] * x[2], independent) == a**2
    assert dv.expectation((x[1] - a) ** 2 + 7, independent) == GAMMA + 7
    plain_sum = dv.linear_form(N_IN, dv.family(sp.S.One, ZERO), dv.family(M, VAR_INPUT, C))
    assert same(plain_sum[0], N_IN * M)
    assert same(plain_sum[1], N_IN * VAR_INPUT + N_IN * (N_IN - 1) * C)  # independent: C = 0


def test_expectation_refuses_what_it_cannot_know():
    w = sp.IndexedBase("w")
    with pytest.raises(ValueError, match=r"moment of w with exponents \(4,\)"):
        dv.expectation(w[1] ** 4, {w: dv.family(ZERO, GAMMA)})
    with pytest.raises(ValueError, match=r"moment of w with exponents \(-1,\)"):
        dv.expectation(1 / w[1], {w: dv.family(ZERO, GAMMA)})
    with pytest.raises(ValueError, match=r"expected a polynomial .* exp\(w\[1\]\)"):
        dv.expectation(sp.exp(w[1]) * w[2], {w: dv.family(ZERO, GAMMA)})


# --- forward and backward ---------------------------------------------------------------------------------------------


def test_L28_mean_is_zero_because_the_weights_mean_is():
    assert dv.forward_mean() == sp.Eq(dv.MEAN_H, 0)
    assert same(dv.forward_mean(weight_mean=M).rhs, N_IN * M * MEAN_INPUT)
    assert dv.backward_mean() == sp.Eq(dv.MEAN_BELOW, 0)


def test_L30_L31_variance_is_multiplied_by_n_gamma():
    assert dv.forward_variance(input_mean=ZERO).rhs == N_IN * GAMMA * VAR_INPUT
    assert dv.backward_variance().rhs == N_OUT * GAMMA * VAR_DELTA


def test_erratum_9_variance_alone_fails_once_inputs_have_a_mean():
    true = dv.forward_variance().rhs
    assert same(true, N_IN * GAMMA * (VAR_INPUT + MEAN_INPUT**2))
    assert same(true - N_IN * GAMMA * VAR_INPUT, N_IN * GAMMA * MEAN_INPUT**2)  # what the lecture's form leaves out


def test_erratum_9_dependent_inputs_are_harmless_while_the_weights_mean_is_zero():
    assert C not in dv.forward_variance(input_covariance=C).free_symbols
    assert dv.forward_variance(input_covariance=C) == dv.forward_variance()
    shifted = dv.forward_variance(input_covariance=C, weight_mean=M).rhs
    assert same(sp.diff(shifted, C), N_IN * (N_IN - 1) * M**2)
    assert same(shifted.subs(C, 0), N_IN * (GAMMA * (VAR_INPUT + MEAN_INPUT**2) + M**2 * VAR_INPUT))
    assert dv.backward_variance(gradient_covariance=C) == dv.backward_variance()
    assert same(dv.backward_variance(gradient_mean=M).rhs, N_OUT * GAMMA * (VAR_DELTA + M**2))


def test_equal_weights_amplify_a_mean_n_times_and_keep_covariances():
    equal = dv.forward_variance(weight_covariance=GAMMA)
    assert same(equal.rhs, N_IN * GAMMA * (VAR_INPUT + N_IN * MEAN_INPUT**2))
    assert dv.forward_variance(weight_covariance=GAMMA, input_mean=ZERO).rhs == N_IN * GAMMA * VAR_INPUT
    assert C in dv.forward_variance(weight_covariance=GAMMA, input_covariance=C).free_symbols


# --- Xavier, He -------------------------------------------------------------------------------------------------------


def test_L32_both_conditions_need_equal_widths():
    assert dv.both_conditions() == sp.Eq(N_OUT, N_IN)
    xavier = dv.xavier().rhs
    assert same(xavier, 2 / (N_IN + N_OUT))
    assert same((xavier * N_IN).subs(N_OUT, N_IN), 1)
    assert not same(xavier * N_IN, 1)


def test_xavier_is_the_harmonic_mean_and_no_least_squares():
    other = dv.compromises()
    assert same(other["harmonic mean"], dv.xavier().rhs)
    assert same(other["least squares"], (N_IN + N_OUT) / (N_IN**2 + N_OUT**2))
    assert same(other["geometric mean"], 1 / sp.sqrt(N_IN * N_OUT))
    at = {N_IN: 1000, N_OUT: 10}
    assert other["least squares"].subs(at) < other["harmonic mean"].subs(at) < other["geometric mean"].subs(at)
    assert [f.subs(N_OUT, N_IN).simplify() for f in other.values()] == [1 / N_IN] * 3


def test_widths_1000_and_10_lose_variance():
    """Book's experiment: 1000 -> 10 -> 1000 with Xavier multiplies the variance by 1.98 and 0.0198."""
    gamma = dv.xavier().rhs
    down = float((gamma * N_IN).subs({N_IN: 1000, N_OUT: 10}))
    up = float((gamma * N_IN).subs({N_IN: 10, N_OUT: 1000}))
    assert (round(down, 2), round(up, 4), round(down * up, 3)) == (1.98, 0.0198, 0.039)


def test_L33_uniform_bound():
    a = sp.Symbol("a", positive=True)
    assert dv.uniform_variance(a) == a**2 / 3
    assert same(dv.uniform_bound().rhs, sp.sqrt(6 / (N_IN + N_OUT)))


def test_C7_exactly():
    assert same(N_IN * dv.uniform_variance(1 / sp.sqrt(N_IN)), sp.Rational(1, 3))


def test_erratum_10_xavier_is_the_variance_and_its_root_the_argument():
    std = sp.sqrt(dv.xavier().rhs)
    assert same(dv.forward_variance(input_mean=ZERO).rhs.subs(GAMMA, std**2).subs(N_OUT, N_IN), VAR_INPUT)
    wrong = dv.forward_variance(input_mean=ZERO).rhs.subs(GAMMA, dv.xavier().rhs ** 2).subs(N_OUT, N_IN)
    assert same(wrong, VAR_INPUT / N_IN)  # 2/(n_in + n_out) passed as the std: the signal shrinks by n a layer


# --- activations ------------------------------------------------------------------------------------------------------


def test_erratum_11_alpha_is_one_only_once_n_gamma_is():
    mean, variance, unit = dv.linear_activation_forward()
    assert mean == sp.Eq(BETA, 0)
    assert variance == sp.Eq(ALPHA**2 * N_IN * GAMMA, 1)
    assert unit == sp.Eq(sp.Abs(ALPHA), 1)
    assert variance.subs(ALPHA, 1) != sp.true  # the lecture's alpha = 1 leaves n gamma to be 1
    assert variance.subs(GAMMA, 1 / (4 * N_IN)).subs(ALPHA, -2) == sp.true  # a gain of 1/alpha; the sign is free
    assert unit.subs(ALPHA, -1) == sp.true


def test_erratum_12_backward_says_nothing_about_beta():
    chain, variance, unit = dv.linear_activation_backward()
    assert chain.rhs == ALPHA * dv.DELTA
    assert variance == sp.Eq(ALPHA**2 * N_OUT * GAMMA, 1)
    assert unit == sp.Eq(sp.Abs(ALPHA), 1)
    assert all(BETA not in equation.free_symbols for equation in (chain, variance, unit))


def test_erratum_12_by_autograd():
    """The same gradient for beta = 0 and 5, and (delta alpha) W; the lecture's order fails on the shapes."""
    generator = torch.Generator().manual_seed(0)
    W, h = torch.randn(3, 2, generator=generator), torch.randn(2, generator=generator)
    delta, alpha = torch.randn(3, generator=generator), 0.5

    def below(beta):
        return torch.autograd.functional.vjp(lambda x: alpha * (W @ x) + beta, h, delta)[1]

    assert torch.equal(below(5.0), below(0.0))
    torch.testing.assert_close(below(0.0), alpha * delta @ W)
    with pytest.raises(RuntimeError):
        delta @ W.T


@pytest.mark.parametrize("case", ["gaussian", "uniform", "two triangles"])
def test_erratum_13_relu_halves_the_second_moment_of_any_symmetric_input(case):
    a = sp.Symbol("a", positive=True)
    density, bound, second = {
        "gaussian": (None, sp.oo, STD_Z**2),
        "uniform": (1 / (2 * a), a, a**2 / 3),
        "two triangles": (sp.Abs(dv.Z) / a**2, a, a**2 / 2),
    }[case]
    assert same(dv.relu_second_moment(density, bound).rhs, second / 2)


def test_erratum_13_xavier_before_a_relu_loses_half_a_layer_and_he_does_not():
    assert dv.he() == sp.Eq(GAMMA, 2 / N_IN)
    second = dv.relu_second_moment().rhs
    layer = dv.forward_variance(input_variance=second - MEAN_INPUT**2).rhs
    assert same(layer.subs(GAMMA, dv.xavier().rhs).subs(N_OUT, N_IN), STD_Z**2 / 2)  # a factor sqrt 2 in the std
    assert same(layer.subs(GAMMA, dv.he().rhs), STD_Z**2)


# --- Jacobians --------------------------------------------------------------------------------------------------------


def test_L7_relu_jacobian_is_diagonal():
    J = dv.relu_jacobian(3)
    assert J.is_diagonal()
    z = sp.Matrix(sp.symbols("z_1:4", real=True))
    assert J.subs(dict(zip(z, (-1, 2, 0), strict=True))) == sp.diag(0, 1, 0)


@pytest.mark.parametrize(("n_out", "n_in"), [(3, 2), (1, 4), (2, 2)])
def test_erratum_1_layer_jacobian_has_W_not_its_transpose(n_out, n_in):
    J, D, W = dv.layer_jacobian(n_out, n_in)
    assert J.shape == W.shape == (n_out, n_in)
    assert J == D * W
    if n_out != n_in:
        with pytest.raises(sp.matrices.exceptions.ShapeError):
            D * W.T
    else:
        assert J != D * W.T


def test_layer_jacobian_by_autograd():
    """The symbolic Jacobian with sigma = tanh, at numbers, is torch's."""
    J, _, W = dv.layer_jacobian(3, 2)
    values = dict(zip([*W, *sp.symbols("h_1:3")], (0.3, -1.2, 0.7, 0.4, -0.5, 1.1, 0.9, -0.6), strict=True))
    numbers = torch.tensor(list(values.values()), dtype=torch.float64)
    symbolic = J.subs(sp.Function(r"\sigma"), sp.tanh).doit().subs(values).evalf()
    expected = torch.autograd.functional.jacobian(lambda h: torch.tanh(numbers[:6].view(3, 2) @ h), numbers[6:])
    # a dozen float64 operations on numbers near 1
    torch.testing.assert_close(torch.tensor(symbolic.tolist(), dtype=torch.float64), expected, rtol=1e-14, atol=0)


# --- the lecture's numbers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("base", "quoted"), [("3/2", 4.0656e17), ("4/5", 2.0370e-10), ("1/4", 6.223e-61)])
def test_C1_hundred_factors(base, quoted):
    exact = sp.Rational(base) ** 100
    assert float(exact) == pytest.approx(quoted, rel=1e-3)  # four quoted digits
    # torch's pow and the product of 100 roundings: 100 * eps/2, with eps 2.2e-16
    assert torch.full((100,), float(sp.Rational(base)), dtype=torch.float64).prod().item() == pytest.approx(
        float(exact), rel=1.2e-14
    )


def test_equations_print_as_the_book_writes_them():
    assert sp.latex(dv.xavier()) == r"\gamma_{t} = \frac{2}{n_{t} + n_{t-1}}"
    assert sp.latex(dv.forward_variance(input_mean=ZERO)) == (
        r"{\operatorname{Var}}[h_i^{t}] = \gamma_{t} n_{t-1} {\operatorname{Var}}[h_j^{t-1}]"
    )
