"""Initialisers against torch.nn.init, draw for draw where the calls match, and against closed forms."""

import functools
import math
import statistics

import pytest
import scipy.integrate
import scipy.special
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from labs import activations, init

SHAPES = [(30, 50), (64, 32), (8, 4, 3, 3), (6, 5, 7)]
PAIRS = {  # ours, torch's
    "lecture_normal": functools.partial(nn.init.normal_, std=0.01),
    "xavier_normal": nn.init.xavier_normal_,
    "xavier_uniform": nn.init.xavier_uniform_,
    "he_normal": functools.partial(nn.init.kaiming_normal_, nonlinearity="relu"),
    "he_uniform": functools.partial(nn.init.kaiming_uniform_, nonlinearity="relu"),
    "pytorch_linear": functools.partial(nn.init.kaiming_uniform_, a=math.sqrt(5)),
    "lecun_normal": functools.partial(nn.init.kaiming_normal_, nonlinearity="linear"),
    "orthogonal": nn.init.orthogonal_,
}
STD = {  # closed forms for fan_in 300, fan_out 200
    "lecture_normal": 0.01,
    "lecun_normal": math.sqrt(1 / 300),
    "xavier_normal": math.sqrt(2 / 500),
    "xavier_uniform": math.sqrt(2 / 500),
    "he_normal": math.sqrt(2 / 300),
    "he_uniform": math.sqrt(2 / 300),
    "pytorch_linear": math.sqrt(1 / 900),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_draws_are_torchs(name, shape):
    ours = init.get(name)(torch.empty(shape), generator=seeded())
    theirs = PAIRS[name](torch.empty(shape), generator=seeded())
    # same calls in the same order; the bound or std may differ in its last float64 digit, hence 1 fp32 ulp
    torch.testing.assert_close(ours, theirs, rtol=torch.finfo(torch.float32).eps, atol=0)
    if name in ("lecture_normal", "xavier_normal", "xavier_uniform", "orthogonal"):
        assert torch.equal(ours, theirs)  # the number, too, is computed in the same way


@pytest.mark.parametrize("name", STD)
def test_moments(name):
    n = 200 * 300
    W = init.get(name)(torch.empty(200, 300, dtype=torch.float64), generator=seeded(1))
    std = STD[name]
    kurtosis = 1.8 if name.endswith(("uniform", "linear")) else 3.0
    # 4 standard errors: std/sqrt(n) of the mean, variance * sqrt((kurtosis - 1)/n) of the variance
    assert abs(W.mean().item()) < 4 * std / math.sqrt(n)
    assert abs(W.square().mean().item() - std**2) < 4 * std**2 * math.sqrt((kurtosis - 1) / n)


@pytest.mark.slow
@pytest.mark.parametrize("name", STD)
def test_distributions(name):
    from scipy import stats  # most of a second, which each process of make quick would spend

    W, std = init.get(name)(torch.empty(200, 300, dtype=torch.float64), generator=seeded(1)), STD[name]
    uniform = name.endswith(("uniform", "linear"))
    reference = stats.uniform(-std * 3**0.5, 2 * std * 3**0.5) if uniform else stats.norm(0, std)
    assert stats.kstest(W.flatten().numpy(), reference.cdf).pvalue > 1e-3  # one seeded draw: a fixed verdict


def test_C7_default_linear_has_a_third_of_the_forward_variance():
    """Glorot & Bengio 2010, eq. 15: n Var[U(+-1/sqrt n)] = 1/3."""
    n = 500
    W = init.pytorch_linear_(torch.empty(n, n), generator=seeded(2))
    # s.e. of the variance relative to itself: sqrt(0.8 / 250000) = 0.18 %, so 2 % is 11 s.e.
    assert n * W.double().square().mean().item() == pytest.approx(1 / 3, rel=0.02)
    assert W.abs().max().item() <= n**-0.5
    torch.manual_seed(3)
    default = nn.Linear(n, n)
    assert n * default.weight.detach().double().square().mean().item() == pytest.approx(1 / 3, rel=0.02)
    # s.e. of the bias' variance: sqrt(0.8 / 500) = 4 %; 4 s.e.
    assert n * default.bias.detach().double().square().mean().item() == pytest.approx(1 / 3, rel=0.16)


def test_erratum_10_second_argument_is_the_standard_deviation():
    W = init.lecture_normal_(torch.empty(300, 300), generator=seeded(4))
    assert W.std().item() == pytest.approx(0.01, rel=0.01)  # s.e. 1/sqrt(2 * 90000) = 0.24 %; 4 s.e.
    assert abs(W.var().item() - 0.01) > 0.009  # the lecture's N(0, 0.01) read as a variance would be ten times wider
    torch.testing.assert_close(
        init.normal_(torch.empty(3, 3), 0.2, generator=seeded()),
        nn.init.normal_(torch.empty(3, 3), 0.0, 0.2, generator=seeded()),
        rtol=0,
        atol=0,
    )


def test_xavier_is_the_harmonic_mean_of_the_two_conditions():
    for n_in, n_out in [(1, 1), (600, 400), (1000, 10)]:
        gamma = init.xavier_std(n_in, n_out) ** 2
        # square of a rounded root, two roundings in the mean: 4 ulp
        assert gamma == pytest.approx(statistics.harmonic_mean([1 / n_in, 1 / n_out]), rel=4 * 2**-52)
    assert init.xavier_std(10, 1000) == init.xavier_std(1000, 10)


def test_C19_masks_do_not_depend_on_the_scale_without_biases():
    """Ten ReLU layers, width 64, batch 128: masks are equal for weights c W and W, and differ once biases are kept."""

    def masks(scale, bias):
        g = seeded(5)
        h, found = torch.randn(128, 64, generator=g, dtype=torch.float64), []
        for _ in range(10):
            W = init.he_normal_(torch.empty(64, 64, dtype=torch.float64), generator=g)
            h = torch.relu(h @ (scale * W).T + bias)
            found.append(h > 0)
        return torch.stack(found)

    for scale in (2.0**-6, 0.5, 4.0):  # powers of two only shift exponents, so equality is exact
        assert torch.equal(masks(scale, 0.0), masks(1.0, 0.0))
    assert not torch.equal(masks(0.5, 0.05), masks(1.0, 0.05))


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (50, 50), (8, 3, 3, 3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_orthogonal(shape, dtype):
    W = init.orthogonal_(torch.empty(shape, dtype=dtype), 0.5, generator=seeded())
    assert W.dtype == dtype
    s = torch.linalg.svdvals(W.flatten(1).double())
    # rounding each entry by half an ulp moves a singular value by at most the Frobenius norm of the error,
    # eps/2 * ||W||_F, and ||W||_F = 0.5 sqrt(rank) <= 3.6; QR itself adds a few eps
    assert (s - 0.5).abs().max().item() < 8 * torch.finfo(dtype).eps


def test_orthogonal_is_not_biased_in_sign():
    """QR alone leaves a negative diagonal in R; with the sign fixed, E[trace] = 0 (a Haar matrix)."""
    g = seeded(6)
    traces = torch.stack([init.orthogonal_(torch.empty(4, 4), generator=g).trace() for _ in range(2000)])
    assert abs(traces.mean().item()) < 4 / math.sqrt(2000)  # Var[trace] = 1 for Haar; 4 s.e.


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", init.INITIALISERS)
def test_in_place_keeps_parameter_and_dtype(name, dtype):
    W = nn.Parameter(torch.full((64, 64), float("nan"), dtype=dtype))
    returned = init.get(name)(W, generator=seeded())
    assert returned is W
    assert W.dtype == dtype
    assert W.requires_grad and W.is_leaf and W.grad_fn is None
    assert torch.isfinite(W).all()
    other = init.get(name)(torch.empty(64, 64, dtype=dtype), generator=seeded(1))
    assert not torch.equal(W, other)


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    for f in init.INITIALISERS.values():
        f(torch.empty(4, 4), generator=seeded())
    assert torch.equal(torch.get_rng_state(), before)


def test_device_comes_from_the_weight():
    for f in (*init.INITIALISERS.values(), functools.partial(init.constant_, value=1.0)):
        assert f(torch.empty(4, 3, device="meta")).device.type == "meta"


def test_orthogonal_works_on_the_weights_device(monkeypatch):
    devices, qr = [], torch.linalg.qr
    monkeypatch.setattr(torch.linalg, "qr", lambda A: devices.append(A.device.type) or qr(A))
    init.orthogonal_(torch.empty(4, 3, device="meta"))
    assert devices == ["meta"]


def test_scaled_normal_is_lecun_times_sigma_w():
    W = init.scaled_normal_(torch.empty(20, 30), 1.5, generator=seeded())
    expected = nn.init.normal_(torch.empty(20, 30), 0, 1.5 / math.sqrt(30), generator=seeded())
    torch.testing.assert_close(W, expected, rtol=torch.finfo(torch.float32).eps, atol=0)  # 1 ulp: 1.5 * sqrt(1/30)


def test_constant():
    assert init.constant_(torch.empty(2, 3), -0.5).unique().tolist() == [-0.5]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Linear(7, 5), (7, 5)),
        (nn.Conv1d(4, 6, 3), (12, 18)),
        (nn.Conv2d(4, 6, (3, 5)), (60, 90)),
        (nn.Conv3d(2, 3, 2), (16, 24)),
        (nn.Conv2d(4, 6, 3, groups=2), (18, 54)),
    ],
    ids=str,
)
def test_fans(layer, expected):
    assert init.fans(layer.weight.shape) == expected
    assert init.fans(layer.weight.shape) == nn.init._calculate_fan_in_and_fan_out(layer.weight)


def test_fan_in_counts_the_terms_of_an_output():
    """All-ones weight on an all-ones input: the interior output is the number of terms, with groups too."""
    for groups in (1, 2):
        conv = nn.Conv2d(4, 6, 3, groups=groups, bias=False)
        init.constant_(conv.weight, 1.0)
        assert conv(torch.ones(1, 4, 3, 3)).unique().tolist() == [init.fans(conv.weight.shape)[0]]


@pytest.mark.parametrize(
    ("name", "torchs"),
    [("sigmoid", None), ("tanh", None), ("relu", None), ("leaky_relu", None), ("identity", "linear")],
)
def test_gain_is_torchs(name, torchs):
    assert init.gain(name) == nn.init.calculate_gain(torchs or name)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "gelu", "identity"])
def test_gain_keeps_unit_variance(name):
    """gain^2 E[f(z)^2] = 1 for z ~ N(0, 1), by quadrature of the torch function."""
    f = activations.get(name)

    def integrand(z):
        return f(torch.tensor(z, dtype=torch.float64)).item() ** 2 * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    second = sum(scipy.integrate.quad(integrand, *side)[0] for side in ((-12, 0), (0, 12)))
    assert init.gain(name) ** 2 * second == pytest.approx(1, abs=1e-8)  # quad's default absolute error is 1.5e-8


def test_gain_of_tanh_settles_above_the_edge_of_chaos():
    """5/3: the variance map has a fixed point (C14: std 0.651), where chi_1 > 1 (1.21)."""
    z, w = torch.tensor(scipy.special.roots_hermitenorm(160)[0]), torch.tensor(scipy.special.roots_hermitenorm(160)[1])
    w = w / w.sum()
    h2 = 1.0
    for _ in range(200):
        h2 = (w * torch.tanh(init.gain("tanh") * h2**0.5 * z) ** 2).sum().item()
    slope = activations.get("tanh").derivative(init.gain("tanh") * h2**0.5 * z)
    assert h2**0.5 == pytest.approx(0.651, abs=1e-3)
    assert init.gain("tanh") ** 2 * (w * slope**2).sum().item() == pytest.approx(1.21, abs=5e-3)  # two quoted decimals


def test_erratum_11_gain_of_a_linear_activation():
    assert init.gain(activations.linear(-0.5, 3)) == 2.0
    with pytest.raises(ValueError, match=r"activation: expected linear of slope other than 0 or identity, .* got '0.0"):
        init.gain(activations.linear(0.0))


def test_gain_of_an_unknown_activation():
    with pytest.raises(ValueError, match=r"activation: expected linear .* got 'x\*\*2'"):
        init.gain(activations.Activation("square", torch.square, "x**2"))


def small_model():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(32, 16), nn.Linear(16, 4, bias=False)
    )


def test_init_model():
    model, by_hand = small_model(), small_model()
    assert init.init_model_(model, "xavier_normal", generator=seeded()) is model
    g = seeded()
    for i in (0, 3, 4):
        assert torch.equal(model[i].weight, init.xavier_normal_(by_hand[i].weight, generator=g))
    assert model[0].bias.abs().max() == model[3].bias.abs().max() == 0
    assert torch.equal(model[1].weight, torch.ones(8))
    assert all(p.requires_grad for p in model.parameters())


def test_init_model_takes_a_callable():
    model = init.init_model_(small_model(), functools.partial(init.constant_, value=0.25))
    assert model[3].weight.unique().tolist() == [0.25]


def test_init_model_swaps_the_axes_of_a_transposed_convolution():
    layer = nn.ConvTranspose2d(100, 10, 3)  # weight (100, 10, 3, 3), fan_in 900
    init.init_model_(layer, "lecun_normal", generator=seeded())
    # s.e. of the std: 1/sqrt(2 * 9000) = 0.75 %; 4 s.e. (fan_in 90 would be off by a factor of 3)
    assert layer.weight.std().item() == pytest.approx(1 / 30, rel=0.03)


def test_init_model_names_the_layer():
    with pytest.raises(ValueError, match=r"layer '0': W: expected a weight with a shape, got a lazy one"):
        init.init_model_(nn.Sequential(nn.LazyLinear(3)), "he_normal")
    with pytest.raises(ValueError, match=r"layer '1': expected a plain weight parameter"):
        init.init_model_(nn.Sequential(nn.Linear(2, 2), weight_norm(nn.Linear(2, 2))), "he_normal")
    with pytest.raises(ValueError, match=r"layer '0': shape: .* got \(3, 0\)"), pytest.warns(UserWarning):
        init.init_model_(nn.Sequential(nn.Linear(0, 3)), "he_normal")
    with pytest.raises(ValueError, match=r"layer '0': W: expected dtype .* got torch.complex64"):
        init.init_model_(nn.Sequential(nn.Linear(2, 2, dtype=torch.complex64)), "he_normal")
    with pytest.raises(ValueError, match="model: expected at least one Linear or Conv layer, got LSTM"):
        init.init_model_(nn.LSTM(2, 2), "he_normal")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: init.fans((3,)), r"shape: expected two or more axes .* got \(3,\)"),
        (lambda: init.fans((3, 4, 0)), r"none of size 0, got \(3, 4, 0\)"),
        (lambda: init.xavier_normal_(torch.empty(3)), r"shape: .* got \(3,\)"),
        (lambda: init.orthogonal_(torch.empty(0, 3)), r"shape: .* got \(0, 3\)"),
        (lambda: init.xavier_std(3, 0), "fan_out: expected at least 1, got 0"),
        (lambda: init.he_std(0), "fan_in: expected at least 1, got 0"),
        (lambda: init.lecun_std(-2), "fan_in: expected at least 1, got -2"),
        (lambda: init.xavier_uniform_(torch.empty(2, 2, dtype=torch.int32)), r"W: .* got torch.int32"),
        (lambda: init.normal_(torch.empty(2), -1.0), "std: expected a finite number >= 0, got -1.0"),
        (lambda: init.scaled_normal_(torch.empty(2, 2), math.inf), "sigma_w: .* got inf"),
        (lambda: init.orthogonal_(torch.empty(2, 2), -1.0), "gain: .* got -1.0"),
        (lambda: init.constant_(torch.empty(2), math.nan), "value: .* got nan"),
        (
            lambda: init.get("xavier"),
            "initialiser: expected one of lecture_normal, .*orthogonal or a callable .* 'xavier'",
        ),
        (lambda: init.get("normal"), r"functools.partial\(normal_, std=0.1\), got 'normal'"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
