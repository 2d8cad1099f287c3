"""Jacobians against autograd, and their products against mpmath, exact integers and closed forms."""

import math
import random
from itertools import pairwise

import mpmath
import pytest
import sympy
import torch
from scipy.special import polygamma, psi

from labs.activations import ACTIVATIONS
from labs.jacobians import (
    chained_jacobian,
    layer_jacobian,
    log_singular_values,
    lyapunov_exponents,
    network_jacobian,
)


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussian(n, d, seed=0):
    return list(normal(seed, d, n, n) / math.sqrt(n))


def with_slopes(n, d):
    return [s * W for s, W in zip(0.1 + 0.9 * uniform(1, d, n, 1), gaussian(n, d), strict=True)]


def with_masks(n, d, active=0.8):
    return [m * W for m, W in zip(uniform(2, d, n, 1) < active, gaussian(n, d), strict=True)]


def saturated(n, d):
    return [s * W for s, W in zip(10 ** (-12 * uniform(3, d, n, 1)), gaussian(n, d), strict=True)]


def rectangular(n, d):
    widths = torch.randint(n // 2, n + 1, (d + 1,), generator=torch.Generator().manual_seed(4)).tolist()
    return [J[:b, :a] for J, (a, b) in zip(with_masks(n, d, 0.9), pairwise(widths), strict=True)]


def by_mpmath(factors, digits):
    """Logarithms of the singular values of the product, formed in so many digits; lost directions are -inf."""
    with mpmath.workdps(digits):
        product = mpmath.matrix(factors[0].double().tolist())
        for J in factors[1:]:
            product = mpmath.matrix(J.double().tolist()) * product
        if product.rows < product.cols:
            product = product.T
        s = sorted(mpmath.svd_r(product, compute_uv=False), reverse=True)
        rounding = s[0] * mpmath.mpf(10) ** (30 - digits)  # 30 digits for the reference's own loss
        return torch.tensor([float(mpmath.log(x)) if x > rounding else -math.inf for x in s], dtype=torch.float64)


def assert_log_close(actual, expected, atol, rtol=0.0):
    assert torch.equal(actual.isinf(), expected.isinf()) and not actual.isnan().any()
    torch.testing.assert_close(actual, expected, atol=atol, rtol=rtol)


# one layer


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(5, 3), (3, 7), (4, 4)])
def test_layer_jacobian_is_the_one_of_autograd(name, shape):
    W, h = normal(0, *shape).float(), normal(1, shape[1]).float()
    ours = layer_jacobian(W, h, name)
    expected = torch.autograd.functional.jacobian(lambda x: ACTIVATIONS[name](W @ x), h)
    assert ours.dtype == torch.float32 and ours.shape == shape
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-6)  # a few fp32 roundings of entries up to about 3


def test_layer_jacobian_keeps_the_dtype_and_rejects_shapes_that_do_not_meet():
    assert layer_jacobian(normal(0, 3, 2), normal(1, 2), ACTIVATIONS["tanh"]).dtype == torch.float64
    for W, h in [((3, 2), (3,)), ((3, 2), (2, 1)), ((3,), (3,))]:
        with pytest.raises(ValueError, match=r"W, h: expected shapes.*got W \(3"):
            layer_jacobian(torch.zeros(W), torch.zeros(h), "relu")


# the product


def test_chained_jacobian_equals_the_plain_product_where_that_is_in_range():
    factors = rectangular(8, 6)
    matrix, log_scale = chained_jacobian(factors)
    plain = factors[0]
    for J in factors[1:]:
        plain = J @ plain
    torch.testing.assert_close(math.exp(log_scale) * matrix, plain, rtol=1e-12, atol=1e-15)  # 6 products: a few ulp
    assert math.isclose(matrix.norm(), 1, rel_tol=1e-14)


@pytest.mark.parametrize("factor", [1e300, 1.5, 0.25, 1e-300, 5e-324])
def test_chained_jacobian_neither_overflows_nor_underflows(factor):
    matrix, log_scale = chained_jacobian([torch.full((3, 3), factor, dtype=torch.float64)] * 1000)
    torch.testing.assert_close(matrix, torch.full_like(matrix, 1 / 3))
    assert math.isclose(log_scale, 1000 * math.log(3) + 1000 * math.log(factor), rel_tol=1e-12)


def test_the_zero_product_has_log_scale_minus_infinity():
    for factors in ([torch.tensor([[0.0, 2.0], [0.0, 0.0]])] * 2, [torch.zeros(2, 3), torch.ones(2, 2)]):
        matrix, log_scale = chained_jacobian(factors)
        assert log_scale == -math.inf and matrix.shape == (2, factors[0].shape[1]) and not matrix.any()


def layer_by_layer(weights, h, name):
    factors = []
    for W in weights:
        factors.append(layer_jacobian(W, h, name))
        h = ACTIVATIONS[name](W @ h)
    return chained_jacobian(factors)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("chain", [rectangular, gaussian])
def test_the_network_jacobian_is_the_product_of_its_layers_jacobians(name, chain):
    weights, h = chain(8, 60), normal(3, chain(8, 1)[0].shape[1])
    (matrix, log_scale), (right, right_scale) = network_jacobian(weights, h, name), layer_by_layer(weights, h, name)
    torch.testing.assert_close(matrix, right, rtol=1e-9, atol=1e-12)  # 60 products: 60 ulp of the norm, which is 1
    assert math.isclose(log_scale, right_scale, abs_tol=1e-11)


@pytest.mark.parametrize("std", [1e-30, 1e30])
def test_the_network_jacobian_leaves_no_range(std):
    weights = [std * W for W in gaussian(8, 40)]
    matrix, log_scale = network_jacobian(weights, normal(3, 8), "identity")
    right, right_scale = chained_jacobian(gaussian(8, 40))
    torch.testing.assert_close(matrix, right, rtol=1e-9, atol=1e-12)
    assert math.isclose(log_scale, right_scale + 40 * math.log(std), rel_tol=1e-12)


def test_the_network_jacobian_names_the_layer_that_is_not_finite_and_an_input_that_does_not_fit():
    weights = gaussian(8, 5)
    with pytest.raises(ValueError, match=r"^h: expected shape \(8,\), the first layer's input, got \(7,\)$"):
        network_jacobian(weights, normal(0, 7), "tanh")
    weights[2][3, 3] = math.nan
    with pytest.raises(ValueError, match=r"the Jacobian of layer 3, shape \(8, 8\), must be finite"):
        network_jacobian(weights, normal(0, 8), "tanh")


# its singular values


@pytest.mark.parametrize("chain", [gaussian, with_slopes, with_masks, saturated, rectangular])
@pytest.mark.parametrize(("n", "d"), [(2, 1), (8, 1), (8, 3), (8, 20), pytest.param(8, 150, marks=pytest.mark.slow)])
def test_log_singular_values_against_mpmath(chain, n, d):
    factors = chain(n, d)
    # 1e-11: sum over 150 layers of 2.2e-16 times condition numbers of about 100
    assert_log_close(
        log_singular_values(factors), by_mpmath(factors, 60 + (14 if chain is saturated else 2) * d), 1e-11
    )


@pytest.mark.slow
def test_log_singular_values_of_a_deep_relu_chain():
    factors = with_masks(12, 150, active=0.7)
    expected = by_mpmath(factors, 200)
    assert 0 < expected.isinf().sum() < 12
    assert_log_close(log_singular_values(factors), expected, 1e-11)


@pytest.mark.slow
def test_log_singular_values_at_depth_1000():
    factors = with_slopes(4, 1000)
    assert_log_close(log_singular_values(factors), by_mpmath(factors, 1600), atol=0, rtol=1e-11)


def test_float32_factors_are_converted_first():
    factors = [J.float() for J in with_slopes(16, 50)]
    assert torch.equal(log_singular_values(factors), log_singular_values([J.double() for J in factors]))
    assert chained_jacobian(factors)[0].dtype == lyapunov_exponents(factors).dtype == torch.float64


@pytest.mark.parametrize("chain", [gaussian, with_slopes])
def test_their_sum_is_the_log_determinant_and_the_top_one_the_norm(chain):
    factors = chain(24, 200)
    logs, (matrix, log_scale) = log_singular_values(factors), chained_jacobian(factors)
    # 1e-9: both sides add 200 values of size 24 in float64, each with a condition number of up to 1e4
    assert math.isclose(logs.sum(), sum(J.slogdet().logabsdet for J in factors), abs_tol=1e-9)
    assert math.isclose(logs[0], log_scale + torch.linalg.matrix_norm(matrix, 2).log(), abs_tol=1e-11)


@pytest.mark.parametrize("spread", [1, 10, pytest.param(40, marks=pytest.mark.slow)])
def test_diagonals_and_permutations_have_a_closed_form(spread):
    n, d = 12, 100
    permutations = [uniform(t, n).argsort() for t in range(d)]
    slopes = spread * (uniform(5, d, n) - 0.5)
    sums, factors = torch.zeros(n, dtype=torch.float64), []
    for p, s in zip(permutations, slopes, strict=True):
        factors.append(s.exp()[:, None] * torch.eye(n, dtype=torch.float64)[p])
        sums = sums[p] + s
    # 1e-11: 100 roundings of logarithms of up to 500
    assert_log_close(log_singular_values(factors), sums.sort(descending=True).values, 1e-11)
    diagonal = log_singular_values([s.exp().diag() for s in slopes])
    assert_log_close(diagonal, slopes.sum(dim=0).sort(descending=True).values, 1e-11)


def test_blocks_that_exact_zeros_keep_apart_stay_apart():
    # the second block dominates at first, the first block at the end: any leak between them would take over
    first = [a * J for a, J in zip([0.1] * 60 + [10.0] * 90, normal(6, 150, 4, 4), strict=True)]
    second = [a * J for a, J in zip([2.0] * 60 + [0.2] * 90, normal(7, 150, 4, 4), strict=True)]
    p = torch.tensor([5, 0, 3, 6, 1, 7, 2, 4])
    logs = log_singular_values([torch.block_diag(a, b)[p][:, p] for a, b in zip(first, second, strict=True)])
    expected = torch.cat([log_singular_values(first), log_singular_values(second)]).sort(descending=True).values
    assert_log_close(logs, expected, 1e-11)


@pytest.mark.parametrize("product", [log_singular_values, lyapunov_exponents])
def test_lost_directions_are_exactly_minus_infinity(product):
    def lost(factors):
        values = product(factors)
        assert not values.isnan().any()
        return int(values.isinf().sum())

    n, deficient = 8, normal(8, 8, 5) @ normal(9, 5, 8)
    assert lost([*gaussian(n, 5), deficient, *gaussian(n, 5)]) == 3
    assert lost([deficient]) == lost([deficient, deficient.T, deficient]) == 3
    assert lost([torch.tensor([[0.0, 2.0], [0.0, 0.0]])]) == 1
    assert lost([torch.tensor([[0.0, 2.0], [0.0, 0.0]])] * 2) == 2
    assert lost([normal(0, 6, 8), normal(1, 2, 6), normal(2, 7, 2)]) == 5  # the bottleneck is 2 wide
    assert lost([torch.zeros(0, 3), torch.zeros(4, 0)]) == 3
    assert lost([torch.zeros(3, 3)]) == 3
    assert lost([normal(3, 3, 1) @ torch.ones(1, 3, dtype=torch.float64), torch.zeros(3, 3), torch.eye(3)]) == 3
    assert lost([torch.tensor([[0.1], [0.1]]), torch.tensor([[1.0, -1.0]])]) == 1  # the image cancels


def test_a_loss_that_only_the_transposed_pass_sees():
    # unit diagonal, entries -1 above it: the least singular value is about 2^-58, and every pivot of the first pass is 1
    logs = log_singular_values([2 * torch.eye(60) - torch.ones(60, 60).triu()])
    assert logs.isinf().sum() == 1 and logs[:-1].isfinite().all()


def test_a_dominant_direction_listed_last_is_sorted_to_the_front():
    factors = [torch.tensor([[math.exp(-1), 0.1], [0, math.e]], dtype=torch.float64)] * 100
    for chain in (factors, [J.T for J in factors]):
        assert_log_close(log_singular_values(chain), by_mpmath(chain, 300), 1e-11)


def test_an_ill_conditioned_factor_loses_digits_but_no_direction():
    U, V = torch.linalg.qr(normal(13, 2, 6, 6)).Q
    s = torch.tensor([1, 1, 1, 1, 1, 1e-11], dtype=torch.float64)
    # 1e-3: the rounding of the factor, 6 entries of 2.2e-16, is up to 1e-4 of the least singular value
    assert_log_close(log_singular_values([(U * s) @ V]), s.log(), 1e-3)


def test_a_small_slope_is_not_a_lost_direction():
    tiny = torch.diag(torch.tensor([1, 1e-20], dtype=torch.float64))
    W = normal(10, 10, 2, 2)
    for factors in ([tiny], [J @ tiny for J in W], [tiny @ J for J in W]):
        assert_log_close(log_singular_values(factors), by_mpmath(factors, 500), 1e-11)


def test_weak_links_are_kept():
    # only neighbours are coupled, so the corners are linked through them: zeros of a factor are no proof of a block
    slopes = torch.linspace(0, 3, 4, dtype=torch.float64).exp()
    near = 0.002 * (torch.ones(4, 4, dtype=torch.float64).triu(-1).tril(1) - torch.eye(4, dtype=torch.float64))
    factors = [slopes.diag() + near] * 2 + [slopes.flip(0).diag() + near] * 2
    assert_log_close(log_singular_values(factors), by_mpmath(factors, 80), 1e-11)


def test_a_column_of_q_may_belong_to_several_blocks():
    # found among random integer chains: a dependent column leaves a direction that mixes the blocks of the others
    J_1 = [
        [1, 0, 0, 0, -1, 0],
        [0, 0, 2, -1, 0, -2],
        [0] * 6,
        [1, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, -2],
    ]
    J_2 = [[0, 0, 0, 0, 0, -2], [0] * 6, [0, 0, -1, 1, 0, 0], [0, 0, 2, 0, -1, 1], [0, 1, 2, 0, 0, 0]]
    J_3 = [[0, 0, 2, 0, 0], [1, 0, 0, 0, 0], [-1, -1, 2, 0, 0], [0, 0, 0, 2, 1], [-2, 0, 0, -2, 0], [-2, 0, 0, 0, 0]]
    factors = [torch.tensor(J, dtype=torch.float64) for J in (J_1, J_2, J_3)]
    assert_log_close(log_singular_values(factors), by_mpmath(factors, 60), 1e-11)


@pytest.mark.slow
def test_small_integer_chains_against_exact_rank_and_product():
    rng = random.Random(0)
    for _ in range(60):
        widths = [rng.randint(1, 6) for _ in range(rng.randint(2, 8))]
        density = rng.choice([0.3, 0.5, 0.8, 1])
        factors = [
            sympy.Matrix(b, a, lambda i, j, density=density: rng.randint(-2, 2) if rng.random() < density else 0)
            for a, b in pairwise(widths)
        ]
        product = sympy.eye(widths[0])
        for J in factors:
            product = J * product
        tensors = [torch.tensor(J.tolist(), dtype=torch.float64) for J in factors]
        logs = log_singular_values(tensors)
        assert logs.isfinite().sum() == lyapunov_exponents(tensors).isfinite().sum() == product.rank(), factors
        exact = torch.tensor(product.tolist(), dtype=torch.float64)
        svd = torch.linalg.svdvals(exact)
        torch.testing.assert_close(logs.exp(), svd, atol=1e-12 * (1 + svd[0].item()), rtol=0)  # LAPACK's absolute error
        matrix, log_scale = chained_jacobian(tensors)
        torch.testing.assert_close(math.exp(log_scale) * matrix, exact, atol=1e-9, rtol=1e-12)


# Lyapunov exponents


@pytest.mark.slow
def test_lyapunov_exponents_agree_with_the_singular_values_in_the_sum_and_in_the_limit_only():
    factors = with_slopes(6, 1000)
    shallow = lyapunov_exponents(factors[:3]) - log_singular_values(factors[:3]) / 3
    deep = lyapunov_exponents(factors) - log_singular_values(factors) / 1000
    assert shallow.abs().max() > 0.05 and abs(shallow.sum()) < 1e-12
    assert deep.abs().max() < 5 / 1000  # they differ by a constant (in nats) over d


def test_lyapunov_exponents_of_a_chain_that_loses_directions():
    factors = with_masks(12, 400, active=0.9)
    exponents, logs = lyapunov_exponents(factors), log_singular_values(factors)
    assert 0 < exponents.isinf().sum() == logs.isinf().sum() < 12
    kept = logs.isfinite()
    assert (exponents - logs / 400)[kept].abs().max() < 10 / 400  # a constant (in nats) over d


# what goes wrong


@pytest.mark.parametrize("product", [chained_jacobian, log_singular_values, lyapunov_exponents])
@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ([], r"factors: expected at least one Jacobian.*depth 0"),
        ([torch.eye(3), torch.ones(3)], r"layer 2 must be 2-D, \(n_2, n_1\), got shape \(3,\)"),
        (
            [torch.ones(2, 3), torch.ones(4, 5)],
            r"layer 2 of shape \(4, 5\).*layer 1 of shape \(2, 3\).*2 columns, got 5",
        ),
        ([torch.eye(2), torch.full((2, 2), math.nan)], r"layer 2, shape \(2, 2\), must be finite"),
        ([torch.tensor([[1.0, -math.inf]])], r"layer 1, shape \(1, 2\), must be finite"),
    ],
)
def test_bad_chains_are_refused_by_layer_and_shape(product, factors, message):
    with pytest.raises(ValueError, match=message):
        product(factors)


# results of the literature


@pytest.mark.slow
def test_C5_products_of_gaussian_4x4_matrices():
    d = 2000
    exponents = lyapunov_exponents(list(normal(11, d, 4, 4)))
    assert abs((math.log(2) + psi(2)) / 2 - 0.55797) < 5e-6
    for i, exponent in enumerate(exponents.tolist()):
        k = 4 - i  # (R_t)_ii is chi-distributed with k degrees of freedom, independently over t (Newman 1986)
        standard_error = math.sqrt(polygamma(1, k / 2) / (4 * d))
        assert abs(exponent - (math.log(2) + psi(k / 2)) / 2) < 3 * standard_error
    for depth, expected in ((100, 24.755), (101, 25.01)):
        draws = normal(depth, 80, depth, 4, 4)
        log10_norms = torch.tensor([chained_jacobian(list(chain))[1] for chain in draws]) / math.log(10)
        assert abs(log10_norms.mean() - expected) < 3 * log10_norms.std() / math.sqrt(80)
        assert abs(log10_norms.std() - 1.67) < 3 * 1.67 / math.sqrt(2 * 80)  # standard error of a standard deviation


@pytest.mark.slow
def test_C6_entries_of_std_one_over_root_n_still_vanish():
    rate = (math.log(2) + psi(2)) / 2
    assert abs(rate + math.log(0.5) - -0.1352) < 1e-3 and abs(math.exp(-rate) - 0.5724) < 1e-3
    d = 2000
    standard_error = math.sqrt(polygamma(1, 2) / (4 * d))
    for std, expected in ((0.5, -0.1352), (0.5724, 0.0)):
        assert abs(lyapunov_exponents(list(std * normal(12, d, 4, 4)))[0] - expected) < 3 * standard_error


@pytest.mark.slow
def test_C16_singular_values_of_a_product_of_gaussian_or_orthogonal_matrices():
    L, draws = 8, 200
    top, error = {}, {}
    for n in (50, 100):
        chains = [chained_jacobian(gaussian(n, L, seed)) for seed in range(draws)]
        squares = torch.tensor([torch.linalg.matrix_norm(M, 2) ** 2 * math.exp(2 * s) for M, s in chains])
        means = torch.tensor([math.exp(2 * s) / n for _, s in chains])  # the mean of s^2 is |P|_F^2 / n
        top[n], error[n] = squares.mean().item(), squares.std().item() / math.sqrt(draws)
        assert abs(means.mean() - 1) < 3 * means.std() / math.sqrt(draws)
    # at a soft edge the largest value falls short by c n^(-2/3) (Tracy & Widom 1994): two widths eliminate c
    a, b = (n ** (2 / 3) / (100 ** (2 / 3) - 50 ** (2 / 3)) for n in (50, 100))
    limit, standard_error = b * top[100] - a * top[50], math.hypot(b * error[100], a * error[50])
    assert abs(limit - (L + 1) ** (L + 1) / L**L) < 3 * standard_error < 3  # 23.1; at the two widths 16.7 and 18.8
    matrix, log_scale = chains[0]
    squared = torch.linalg.svdvals(matrix).square() * math.exp(2 * log_scale)
    torch.testing.assert_close(log_singular_values(gaussian(100, L, 0)).mul(2).exp(), squared, rtol=1e-12, atol=1e-12)
    orthogonal = [torch.linalg.qr(W).Q for W in gaussian(64, 32)]
    assert log_singular_values(orthogonal).abs().max() < 1e-6
