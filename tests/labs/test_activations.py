"""Activations against their own formula, evaluated by mpmath at 50 digits."""

import subprocess
import sys

import mpmath
import numpy as np
import pytest
import sympy
import torch

from labs import activations
from labs.activations import ACTIVATIONS, Activation, linear, taylor

X = sympy.Symbol("x")
ALL = [*ACTIVATIONS.values(), linear(0.75, -0.5)]
SMOOTH = ["identity", "sigmoid", "tanh", "scaled_sigmoid", "gelu"]
GRID = [*np.linspace(-8, 8, 161), -30.0, -1e-4, 1e-4, 30.0]
IDS = [f.name for f in ALL]


def exact(expression, points):
    """The expression at each point, rounded once to float64 after 50-digit arithmetic."""
    f = sympy.lambdify(X, expression, "mpmath")
    with mpmath.workdps(50):
        return torch.tensor([float(f(mpmath.mpf(float(p)))) for p in points], dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("f", ALL, ids=IDS)
def test_value_is_the_formula(f, dtype):
    z = torch.tensor(GRID, dtype=dtype)
    expected = exact(f.expression, z.tolist())
    # 4 ulp of the value: at most four roundings of half an ulp each, doubled. GELU and a linear map with beta are sums
    # whose terms cancel, so their ulp is that of the largest term, |z| or |beta|, not that of the value.
    scale = expected.abs()
    if f.name in ("gelu", "linear"):
        scale = torch.maximum(scale, z.double().abs())
    eps = torch.finfo(dtype).eps
    assert f(z).dtype == dtype
    assert ((f(z).double() - expected).abs() <= 4 * eps * scale).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("f", ALL, ids=IDS)
def test_autograd_slope_is_the_symbolic_slope(f, dtype):
    z = torch.tensor([p for p in GRID if p != 0], dtype=dtype)
    expected = exact(f.slope_expression, z.tolist())
    # 4 ulp of 1: sigma (1 - sigma), 1 - tanh^2 and 1 + erf are differences of numbers near 1; no slope exceeds 1.13
    assert ((f.derivative(z).double() - expected).abs() <= 4 * torch.finfo(dtype).eps).all()


@pytest.mark.parametrize(
    ("name", "slope"),
    [("relu", 0.0), ("leaky_relu", 0.01), ("softsign", 1.0), ("sigmoid", 0.25), ("scaled_sigmoid", 1.0), ("gelu", 0.5)],
)
def test_slope_at_zero(name, slope):
    assert ACTIVATIONS[name].derivative(torch.zeros(1, dtype=torch.float64)).item() == pytest.approx(slope, rel=1e-15)
    assert float(ACTIVATIONS[name].slope_expression.subs(X, 0)) == pytest.approx(slope, rel=1e-15)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("f", ALL, ids=IDS)
def test_finite_far_out(f, dtype):
    z = torch.tensor([-1e4, -100.0, 0.0, 100.0, 1e4], dtype=dtype)
    assert torch.isfinite(f(z)).all()
    slope = f.derivative(z)
    assert torch.isfinite(slope).all()
    assert (slope.dtype, slope.shape) == (z.dtype, z.shape)


def test_scaled_sigmoid_keeps_its_digits_near_zero():
    z = torch.tensor([1e-6])
    assert ACTIVATIONS["scaled_sigmoid"](z).item() == pytest.approx(1e-6, rel=1e-6)  # a few fp32 ulp
    assert abs((4 * torch.sigmoid(z) - 2).item() / 1e-6 - 1) > 0.01  # the literal form loses them


def test_sigmoid_slope_at_six_and_at_most_a_quarter():
    slope = ACTIVATIONS["sigmoid"].slope_expression
    assert float(slope.subs(X, 6)) == pytest.approx(0.002467, abs=5e-7)  # half a unit of the last quoted digit
    sigma = ACTIVATIONS["sigmoid"].expression
    assert sympy.simplify(slope - sigma * (1 - sigma)) == 0
    assert sympy.simplify(slope - sympy.Rational(1, 4) + (sigma - sympy.Rational(1, 2)) ** 2) == 0  # 1/4 - a square


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_derivative_works_without_grad_mode(context):
    with context():
        assert ACTIVATIONS["tanh"].derivative(torch.zeros(2)).tolist() == [1.0, 1.0]
        assert ACTIVATIONS["identity"].derivative(torch.zeros(2)).tolist() == [1.0, 1.0]


def test_derivative_leaves_its_input_alone():
    z = torch.zeros(2, requires_grad=True)
    slope = ACTIVATIONS["tanh"].derivative(z)
    assert z.grad is None
    assert not slope.requires_grad


@pytest.mark.slow
def test_L37_taylor_polynomials():
    assert taylor("sigmoid", 5) == X**5 / 480 - X**3 / 48 + X / 4 + sympy.Rational(1, 2)
    assert taylor("tanh", 4) == X - X**3 / 3
    assert taylor("softsign", 1) == X
    assert taylor(linear(2, 5), 3) == 2 * X + 5


@pytest.mark.parametrize("name", SMOOTH)
def test_taylor_coefficients_are_derivatives(name):
    expression, polynomial = ACTIVATIONS[name].expression, taylor(name, 4)
    for k in range(5):
        assert sympy.simplify(expression.diff(X, k).subs(X, 0) - polynomial.coeff(X, k) * sympy.factorial(k)) == 0
    assert sympy.degree(polynomial, X) <= 4


def test_erratum_13_relu_is_the_identity_on_one_side_only():
    with pytest.raises(
        ValueError, match=r"relu has no Taylor series .* x for x >= 0 but 0 for x < 0 \(the identity on"
    ):
        taylor("relu", 3)
    with pytest.raises(ValueError, match=r"leaky_relu has no Taylor series .* x for x >= 0 but x/100 for x < 0"):
        taylor("leaky_relu", 1)
    with pytest.raises(ValueError, match="softsign has no Taylor series of order 2"):
        taylor("softsign", 2)


def test_erratum_14_scaled_sigmoid_is_a_stretched_tanh():
    scaled = ACTIVATIONS["scaled_sigmoid"].expression
    assert sympy.simplify((scaled - 2 * sympy.tanh(X / 2)).rewrite(sympy.exp)) == 0
    assert taylor("scaled_sigmoid", 5) == X - X**3 / 12 + X**5 / 120


def test_get():
    assert activations.get("gelu") is ACTIVATIONS["gelu"]
    own = Activation("square", torch.square, "x**2")
    assert activations.get(own) is own
    assert own.slope_expression == 2 * X
    with pytest.raises(ValueError, match=r"expected one of identity, sigmoid, .*gelu, got 'swish'"):
        activations.get("swish")


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"z: expected a floating-point dtype, got torch.int64"):
        ACTIVATIONS["relu"].derivative(torch.tensor([1]))
    with pytest.raises(ValueError, match="order: expected a non-negative integer, got -1"):
        taylor("tanh", -1)
    with pytest.raises(ValueError, match="beta: expected a finite number, got nan"):
        linear(1, float("nan"))
    with pytest.raises(ValueError, match="'square': expected a formula"):
        _ = Activation("square", torch.square).expression


@pytest.mark.slow
def test_import_does_not_load_sympy():
    code = "import sys, labs.activations; sys.exit('sympy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
