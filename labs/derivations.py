r"""The lecture's proofs in SymPy: each function derives its statement and returns what a notebook displays.

Layer t is :math:`h_i^t = \sum_j w_{ij} h_j^{t-1}` with :math:`n_{t-1}` inputs and :math:`n_t` outputs. The proofs rest
on a small algebra, :func:`expectation`, which knows that E is linear and that E of independent factors factorises. The
number of terms stays a symbol, and of a distribution only mean, variance and covariance are used: no shape is assumed.
(SymPy's own ``Variance(W*H).expand()`` ignores independence.)
"""

from __future__ import annotations

from collections.abc import Mapping

import sympy as sp

GAMMA = sp.Symbol(r"\gamma_t", positive=True)  # Var[w_ij]
N_IN, N_OUT = sp.symbols("n_{t-1} n_t", integer=True, positive=True)
ALPHA, BETA = sp.symbols(r"\alpha \beta", real=True)
Z, STD_Z = sp.Symbol("z", real=True), sp.Symbol(r"\operatorname{std}_{z}", positive=True)
DELTA = sp.Symbol(r"\delta_i^{t}", real=True)  # gradient of the loss by h_i^t
# the outer braces make these sort, hence print, behind gamma and n
MEAN_H, MEAN_INPUT = sp.symbols(r"{\operatorname{E}}[h_i^{t}] {\operatorname{E}}[h_j^{t-1}]", real=True)
VAR_H, VAR_INPUT = sp.symbols(r"{\operatorname{Var}}[h_i^{t}] {\operatorname{Var}}[h_j^{t-1}]", positive=True)
MEAN_DELTA, MEAN_BELOW = sp.symbols(r"{\operatorname{E}}[\delta_i^{t}] {\operatorname{E}}[\delta_j^{t-1}]", real=True)
VAR_DELTA, VAR_BELOW = sp.symbols(
    r"{\operatorname{Var}}[\delta_i^{t}] {\operatorname{Var}}[\delta_j^{t-1}]", positive=True
)
ZERO = sp.S.Zero

Moments = Mapping[tuple[int, ...], sp.Expr]


def family(mean: sp.Expr, variance: sp.Expr, covariance: sp.Expr = ZERO) -> Moments:
    r"""Joint moments, by exponents, of :math:`x_1, x_2, \dots` with one mean and variance: (1, 1) is E[x_1 x_2].

    The covariance is 0 if the variables are independent, and equals the variance if they are one and the same.

    >>> family(ALPHA, GAMMA)[(2,)]
    \alpha**2 + \gamma_t
    """
    return {(1,): mean, (2,): variance + mean**2, (1, 1): covariance + mean**2}


def expectation(polynomial: sp.Expr, families: Mapping[sp.IndexedBase, Moments]) -> sp.Expr:
    r"""Expectation of a polynomial in indexed variables whose families are independent of each other.

    Term by term, as E is linear; within a term :math:`E[XY] = E[X]\,E[Y]`, so each family gives one joint moment. What
    belongs to no family is a constant. Raises ValueError for a moment not given or a function that is not a polynomial.

    >>> w, h = sp.IndexedBase("w"), sp.IndexedBase("h")
    >>> expectation(3 * w[1] ** 2 * h[1], {w: family(ZERO, GAMMA), h: family(ALPHA, GAMMA)})
    3*\alpha*\gamma_t
    """
    total = ZERO
    for term in sp.Add.make_args(sp.expand(polynomial)):
        exponents: dict[sp.IndexedBase, list[int]] = {base: [] for base in families}
        for factor in sp.Mul.make_args(term):
            variable, exponent = factor.as_base_exp()
            if isinstance(variable, sp.Indexed) and variable.base in families:
                exponents[variable.base].append(exponent)
                term /= factor
        if any(variable.base in families for variable in term.atoms(sp.Indexed)):
            raise ValueError(f"polynomial: expected a polynomial in the families' variables, got the factor {term}")
        for base, powers in exponents.items():
            key = tuple(sorted(powers))
            if key and key not in families[base]:
                raise ValueError(f"families: expected the moment of {base} with exponents {key}, got {families[base]}")
            term *= families[base][key] if key else 1
        total += term
    return total


def linear_form(n: sp.Expr, weights: Moments, inputs: Moments) -> tuple[sp.Expr, sp.Expr]:
    r"""Mean and variance of :math:`\sum_{j=1}^n w_j x_j` for a symbolic n, weights independent of inputs.

    Squared, the sum has n pairs of equal indices and n(n - 1) of unequal ones; one of each kind stands for all. If
    covariances differ from pair to pair, the result holds for their mean. Weights of mean 1, variance 0: a plain sum.

    >>> linear_form(N_IN, family(sp.S.One, ZERO), family(ZERO, VAR_INPUT))[1] == N_IN * VAR_INPUT
    True
    """
    w, x = sp.IndexedBase("w"), sp.IndexedBase("x")
    families = {w: weights, x: inputs}
    mean = n * expectation(w[1] * x[1], families)
    equal = expectation((w[1] * x[1]) ** 2, families)
    unequal = expectation(w[1] * x[1] * w[2] * x[2], families)
    return sp.factor(mean), sp.factor(sp.expand(n * equal + n * (n - 1) * unequal - mean**2))


def forward_mean(weight_mean: sp.Expr = ZERO) -> sp.Eq:
    r"""Weights of mean 0, independent of their inputs, give :math:`E[h_i^t] = 0`, whatever the inputs' mean.

    >>> forward_mean().rhs
    0
    """
    return sp.Eq(MEAN_H, linear_form(N_IN, family(weight_mean, GAMMA), family(MEAN_INPUT, VAR_INPUT))[0])


def forward_variance(
    *,
    input_mean: sp.Expr = MEAN_INPUT,
    input_variance: sp.Expr = VAR_INPUT,
    input_covariance: sp.Expr = ZERO,
    weight_mean: sp.Expr = ZERO,
    weight_covariance: sp.Expr = ZERO,
) -> sp.Eq:
    r"""Forward: :math:`Var[h^t] = n_{t-1} \gamma_t (Var[h^{t-1}] + E[h^{t-1}]^2)`.

    The lecture's form has ``input_mean=ZERO``. Drop an assumption and see: ``input_covariance`` cancels, so inputs may
    depend on each other, unless ``weight_mean`` is not 0. Equal weights are ``weight_covariance=GAMMA``: then
    covariances stay, and the squared mean counts n times over. Source: He et al. 2015.

    >>> forward_variance(input_mean=ZERO).rhs == N_IN * GAMMA * VAR_INPUT
    True
    """
    weights = family(weight_mean, GAMMA, weight_covariance)
    return sp.Eq(VAR_H, linear_form(N_IN, weights, family(input_mean, input_variance, input_covariance))[1])


def backward_mean() -> sp.Eq:
    r"""The same backward: :math:`E[\delta_j^{t-1}] = 0`.

    >>> backward_mean().rhs
    0
    """
    return sp.Eq(MEAN_BELOW, linear_form(N_OUT, family(ZERO, GAMMA), family(MEAN_DELTA, VAR_DELTA))[0])


def backward_variance(*, gradient_mean: sp.Expr = ZERO, gradient_covariance: sp.Expr = ZERO) -> sp.Eq:
    r"""Backward, for :math:`\delta_j^{t-1} = \sum_i \delta_i^t w_{ij}`.

    .. math:: Var[\delta^{t-1}] = n_t \gamma_t Var[\delta^t]

    Takes :math:`\delta^t` as independent of :math:`W^t`, silently in the lecture. Source: Glorot & Bengio 2010, eq. 6.

    >>> backward_variance().rhs == N_OUT * GAMMA * VAR_DELTA
    True
    """
    gradients = family(gradient_mean, VAR_DELTA, gradient_covariance)
    return sp.Eq(VAR_BELOW, linear_form(N_OUT, family(ZERO, GAMMA), gradients)[1])


def both_conditions() -> sp.Eq:
    r"""Forward :math:`n_{t-1}\gamma_t = 1` and backward :math:`n_t\gamma_t = 1` hold at once only for equal widths.

    >>> both_conditions()
    Eq(n_t, n_{t-1})
    """
    (solution,) = sp.solve([N_IN * GAMMA - 1, N_OUT * GAMMA - 1], [GAMMA, N_OUT], dict=True)
    return sp.Eq(N_OUT, solution[N_OUT])


def xavier() -> sp.Eq:
    r"""Xavier: the mean of the two conditions, :math:`\gamma_t (n_{t-1} + n_t)/2 = 1`, solved for :math:`\gamma_t`.

    Source: Glorot & Bengio 2010, eq. 12.

    >>> xavier().rhs == 2 / (N_IN + N_OUT)
    True
    """
    return sp.Eq(GAMMA, sp.solve(GAMMA * (N_IN + N_OUT) / 2 - 1, GAMMA)[0])


def compromises() -> dict[str, sp.Expr]:
    r"""Ways to settle :math:`\gamma_t` between :math:`1/n_{t-1}` and :math:`1/n_t`; Xavier is their harmonic mean.

    Least squares of the residuals :math:`n\gamma - 1`, and of :math:`\ln n\gamma` (the geometric mean), differ from it.

    >>> compromises()["harmonic mean"] == xavier().rhs
    True
    """
    residuals = (N_IN * GAMMA - 1) ** 2 + (N_OUT * GAMMA - 1) ** 2
    forward, backward = 1 / N_IN, 1 / N_OUT
    logs = sp.expand_log(sp.log(N_IN * GAMMA) ** 2 + sp.log(N_OUT * GAMMA) ** 2)
    return {
        "harmonic mean": 2 / (1 / forward + 1 / backward),
        "least squares": sp.solve(residuals.diff(GAMMA), GAMMA)[0],
        "geometric mean": sp.solve(logs.diff(GAMMA), GAMMA)[0],
    }


def uniform_variance(bound: sp.Expr) -> sp.Expr:
    r"""Variance of the uniform distribution on :math:`\pm a`, by integration.

    >>> uniform_variance(sp.Symbol("a", positive=True))
    a**2/3
    """
    return sp.integrate(Z**2 / (2 * bound), (Z, -bound, bound))


def uniform_bound() -> sp.Eq:
    r"""The uniform distribution with Xavier's variance: :math:`a = \sqrt{6/(n_{t-1} + n_t)}`.

    Source: Glorot & Bengio 2010, eq. 16.

    >>> uniform_bound().rhs == sp.sqrt(6 / (N_IN + N_OUT))
    True
    """
    a = sp.Symbol("a", positive=True)
    return sp.Eq(a, sp.solve(uniform_variance(a) - xavier().rhs, a)[0])


def linear_activation_forward() -> tuple[sp.Eq, sp.Eq, sp.Eq]:
    r"""Mean and variance stay constant through :math:`\alpha x + \beta` if these equations hold.

    They are :math:`\beta = 0`, :math:`\alpha^2 n_{t-1}\gamma_t = 1` and, once :math:`n_{t-1}\gamma_t = 1` is fixed,
    :math:`|\alpha| = 1`.

    >>> linear_activation_forward()[2]
    Eq(Abs(\alpha), 1)
    """
    x = sp.IndexedBase("x")  # the pre-activation
    moments = {x: family(*linear_form(N_IN, family(ZERO, GAMMA), family(ZERO, VAR_INPUT)))}
    h = ALPHA * x[1] + BETA
    mean = expectation(h, moments)
    factor = sp.factor((expectation(h**2, moments) - mean**2) / VAR_INPUT)
    return sp.Eq(BETA, sp.solve(mean, BETA)[0]), sp.Eq(factor, 1), sp.Eq(sp.sqrt(factor.subs(GAMMA, 1 / N_IN)), 1)


def linear_activation_backward() -> tuple[sp.Eq, sp.Eq, sp.Eq]:
    r"""The gradient before :math:`\alpha x + \beta`, and what keeps its variance constant.

    The equations are :math:`\delta' = \alpha\delta`, :math:`\alpha^2 n_t\gamma_t = 1` and, once
    :math:`n_t\gamma_t = 1` is fixed, :math:`|\alpha| = 1`. Nothing follows for :math:`\beta`: its derivative is 0.

    >>> linear_activation_backward()[2]
    Eq(Abs(\alpha), 1)
    """
    slope = sp.diff(ALPHA * Z + BETA, Z)
    variance = linear_form(N_OUT, family(ZERO, GAMMA), family(ZERO, slope**2 * VAR_DELTA))[1]
    factor, below = variance / VAR_DELTA, sp.Symbol(r"\delta_i^{\prime}", real=True)
    return sp.Eq(below, slope * DELTA), sp.Eq(factor, 1), sp.Eq(sp.sqrt(factor.subs(GAMMA, 1 / N_OUT)), 1)


def relu_second_moment(density: sp.Expr | None = None, bound: sp.Expr = sp.oo) -> sp.Eq:
    r"""A ReLU halves the second moment of a symmetric z: :math:`E[relu(z)^2] = Var[z]/2`, by integration.

    ``density``: an even function of ``Z`` on :math:`\pm` ``bound``; a Gaussian of std ``STD_Z`` if None.

    >>> relu_second_moment().rhs
    \operatorname{std}_{z}**2/2
    """
    if density is None:
        density = sp.exp(-(Z**2) / (2 * STD_Z**2)) / sp.sqrt(2 * sp.pi * STD_Z**2)
    square = sp.Symbol(r"{\operatorname{E}}[\operatorname{relu}(z)^{2}]")
    return sp.Eq(square, sp.integrate(Z**2 * density, (Z, 0, bound)))


def he() -> sp.Eq:
    r"""He: ReLU outputs as inputs, with their mean, keep the pre-activations' variance if :math:`\gamma_t = 2/n_{t-1}`.

    Source: He et al. 2015.

    >>> he().rhs == 2 / N_IN
    True
    """
    variance = forward_variance(input_variance=relu_second_moment().rhs - MEAN_INPUT**2).rhs
    return sp.Eq(GAMMA, sp.solve(variance - STD_Z**2, GAMMA)[0])


def relu_jacobian(n: int) -> sp.Matrix:
    r"""Jacobian of the elementwise ReLU, ``(n, n)``: diagonal, as output i depends on input i alone.

    >>> relu_jacobian(2)[0, 1]
    0
    """
    from labs import activations  # it imports torch, which no other proof needs

    z = sp.Matrix(sp.symbols(f"z_1:{n + 1}", real=True))
    return z.applyfunc(lambda z_i: activations.get("relu").expression.subs("x", z_i)).jacobian(z)


def layer_jacobian(n_out: int, n_in: int) -> tuple[sp.Matrix, sp.Matrix, sp.Matrix]:
    r"""Jacobian ``(n_out, n_in)`` of :math:`h' = \sigma(W h)` by differentiating each entry, with its factors.

    Returns :math:`J`, :math:`D = diag(\sigma'(W h))` and :math:`W`, for any :math:`\sigma`. Compare J with D W;
    :math:`D W^T` does not exist unless the widths are equal.

    >>> J, D, W = layer_jacobian(3, 2)
    >>> J == D * W, J.shape, W.T.shape
    (True, (3, 2), (2, 3))
    """
    sigma = sp.Function(r"\sigma")
    W = sp.Matrix(n_out, n_in, lambda i, j: sp.Symbol(f"w_{{{i + 1}{j + 1}}}"))
    h = sp.Matrix(sp.symbols(f"h_1:{n_in + 1}"))
    D = sp.diag(*(sigma(Z).diff(Z).subs(Z, z_i) for z_i in W * h))
    return (W * h).applyfunc(sigma).jacobian(h), D, W
