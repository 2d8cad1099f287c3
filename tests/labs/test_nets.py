"""labs.nets against the formulas written out, and the lecture's results on residual nets, losses and dead units."""

import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from labs import activations, init
from labs.nets import DeepMLP, ResidualMLP, SequenceClassifier, first_symbol_task, input_gradient_norms, layer_widths

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
# Two orders of summation over 64 terms, a few layers deep: 1e3 ulp is ample and far below any wrong formula.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-12}


def seeded(seed, device="cpu"):
    return torch.Generator(device).manual_seed(seed)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=TOLERANCE[a.dtype], atol=TOLERANCE[a.dtype])


def test_layer_widths():
    assert layer_widths((5, 3)) == [5, 5, 5, 5]
    assert layer_widths([5, 3]) == [5, 3]


@pytest.mark.parametrize("widths", [[5], [], (5,), (5, 3, 2), (5, 0), (5, -1), [5, 0, 3], (0, 3)])
def test_layer_widths_names_the_argument(widths):
    with pytest.raises(ValueError, match=r"^widths: expected a list .* got"):
        layer_widths(widths)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["tanh", "relu", "scaled_sigmoid"])
def test_deep_mlp_is_its_formula(name, dtype, device):
    g = seeded(0)
    net = DeepMLP([8, 64, 32, 16], name, head=10, bias=0.5, dtype=dtype, generator=g).to(device)
    x = torch.randn(7, 8, generator=g, dtype=dtype).to(device)
    h = x
    for t, layer in enumerate(net.layers):
        h = activations.get(name)(h @ layer.weight.T + layer.bias)
        close(net.hidden(x)[t], h)
    close(net(x), h @ net.head.weight.T + net.head.bias)
    assert net(x).device.type == device and net(x).dtype == dtype


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("block", ["preactivation", "two_layer", "postactivation"])
def test_residual_mlp_is_its_formula(block, dtype, device):
    g = seeded(1)
    net = ResidualMLP(16, 4, "tanh", block=block, scale=0.7, head=3, dtype=dtype, generator=g).to(device)
    x = torch.randn(7, 16, generator=g, dtype=dtype).to(device)
    h = x
    for t, layer in enumerate(net.layers):
        W1 = layer["W1"].weight
        if block == "preactivation":
            h = h + 0.7 * torch.tanh(h) @ W1.T
        elif block == "two_layer":
            h = h + 0.7 * torch.tanh(h @ W1.T) @ layer["W2"].weight.T
        else:
            h = h + 0.7 * torch.tanh(h @ W1.T)
        close(net.hidden(x)[t], h)
    close(net(x), h @ net.head.weight.T)


def test_without_a_head_the_output_is_the_last_layer():
    net = DeepMLP((8, 2), generator=seeded(0))
    x = torch.ones(3, 8)
    assert net.head is None and torch.equal(net(x), net.hidden(x)[-1])


@pytest.mark.parametrize("device", DEVICES)
def test_every_draw_comes_from_the_generator(device):
    before = torch.get_rng_state()
    makers = [
        lambda g: DeepMLP((8, 3), head=2, bias=0.1, batch_norm=True, generator=g),
        lambda g: ResidualMLP(8, 3, head=2, batch_norm=True, generator=g),
        lambda g: SequenceClassifier("lstm", 3, 8, 2, generator=g),
        lambda g: SequenceClassifier("rnn", 3, 8, 2, generator=g),
    ]
    for make in makers:
        a, b, c = (list(make(seeded(s, device)).parameters()) for s in (0, 0, 1))
        assert all(torch.equal(p, q) and p.device.type == device for p, q in zip(a, b, strict=True))
        assert any(not torch.equal(p, q) for p, q in zip(a, c, strict=True))
    assert first_symbol_task(4, 5, generator=seeded(0, device))[0].device.type == device
    assert torch.equal(torch.get_rng_state(), before)


def test_biases():
    assert DeepMLP((8, 2), generator=seeded(0)).layers[0].bias is None
    for bias in (True, 0.0):
        assert all((layer.bias == 0).all() for layer in DeepMLP((8, 2), bias=bias, generator=seeded(0)).layers)
    drawn = torch.cat([layer.bias for layer in DeepMLP((100, 100), bias=0.3, generator=seeded(0)).layers])
    assert abs(drawn.std() / 0.3 - 1) < 4 / math.sqrt(2 * 10_000)  # 4 standard errors of a std over 10^4 draws


def test_batch_norm_standardises_each_preactivation():
    g = seeded(2)
    net = DeepMLP((16, 3), "relu", batch_norm=True, dtype=torch.float64, generator=g)
    x = h = 5 + 3 * torch.randn(50, 16, generator=g, dtype=torch.float64)
    for t, layer in enumerate(net.layers):
        h = torch.relu(F.batch_norm(h @ layer.weight.T, None, None, training=True))
        close(net.hidden(x)[t], h)


@pytest.mark.parametrize("block", ["preactivation", "two_layer", "postactivation"])
def test_residual_batch_norm_stands_before_the_activation(block):
    g = seeded(3)
    net = ResidualMLP(16, 1, block=block, batch_norm=True, dtype=torch.float64, generator=g)
    x = torch.randn(20, 16, generator=g, dtype=torch.float64)
    W = {name: part.weight for name, part in net.layers[0].items() if name != "norm"}
    z = x if block == "preactivation" else x @ W["W1"].T
    branch = torch.relu(F.batch_norm(z, None, None, training=True))
    last = {"preactivation": "W1", "two_layer": "W2"}.get(block)
    close(net(x), x + (branch @ W[last].T if last else branch))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DeepMLP((8, 2), "thanh"), r"activation: expected one of .*'thanh'"),
        (lambda: DeepMLP((8, 2), initialiser="xavier"), r"initialiser: expected .*'xavier'"),
        (lambda: ResidualMLP(8, 2, block="bottleneck"), r"block: expected one of preactivation, .*'bottleneck'"),
        (lambda: ResidualMLP(8, 0), r"widths: expected .* got \(8, 0\)"),
        (lambda: SequenceClassifier("gru", 3, 8, 2), r"cell: expected one of lstm, rnn, got 'gru'"),
        (lambda: DeepMLP((8, 2))(torch.ones(3, 7)), r"x: expected shape \(batch, 8\), got \(3, 7\)"),
        (lambda: DeepMLP((8, 2))(torch.ones(8)), r"x: expected shape \(batch, 8\), got \(8,\)"),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("device", DEVICES)
def test_lstm_is_its_formula(device):
    g = seeded(4)
    net = SequenceClassifier("lstm", 3, 8, 2, forget_bias=2.0, dtype=torch.float64, generator=g).to(device)
    x = torch.randn(5, 6, 3, generator=g, dtype=torch.float64).to(device)
    W, U = net.rnn.weight_ih_l0, net.rnn.weight_hh_l0
    h = c = x.new_zeros(5, 8)
    for t in range(6):
        i, f, cell, o = (x[:, t] @ W.T + h @ U.T).chunk(4, dim=1)
        c = torch.sigmoid(f + 2.0) * c + torch.sigmoid(i) * torch.tanh(cell)
        h = torch.sigmoid(o) * torch.tanh(c)
    close(net(x), h @ net.head.weight.T)


def test_rnn_is_its_formula():
    g = seeded(5)
    net = SequenceClassifier("rnn", 3, 8, 2, dtype=torch.float64, generator=g)
    x = torch.randn(5, 6, 3, generator=g, dtype=torch.float64)
    h = x.new_zeros(5, 8)
    for t in range(6):
        h = torch.tanh(x[:, t] @ net.rnn.weight_ih_l0.T + h @ net.rnn.weight_hh_l0.T)
    close(net(x), h @ net.head.weight.T)


def test_each_gate_is_initialised_as_a_matrix_of_its_own():
    net = SequenceClassifier("lstm", 3, 8, 2, initialiser="orthogonal", dtype=torch.float64, generator=seeded(6))
    for U in net.rnn.weight_hh_l0.split(8):
        close(U @ U.T, torch.eye(8, dtype=torch.float64))


def test_first_symbol_task():
    x, y = first_symbol_task(4000, 3, n_symbols=5, generator=seeded(7))
    assert x.shape == (4000, 3, 5) and torch.equal(x.sum(2), torch.ones(4000, 3))
    assert torch.equal(x[:, 0].argmax(1), y)
    frequency = x.double().mean(0)  # of each symbol at each step: 4 standard errors of a share of 1/5
    assert (frequency - 0.2).abs().max() < 4 * math.sqrt(0.2 * 0.8 / 4000)
    later_agrees = (x[:, 1].argmax(1) == y).double().mean()  # later symbols tell nothing about the label
    assert abs(later_agrees - 0.2) < 4 * math.sqrt(0.2 * 0.8 / 4000)


def test_input_gradient_norms_are_those_of_finite_differences():
    g = seeded(8)
    net = SequenceClassifier("lstm", 2, 4, 3, dtype=torch.float64, generator=g)
    x, y = torch.randn(2, 5, 2, generator=g, dtype=torch.float64), torch.tensor([0, 2])
    step, slopes = 1e-6, torch.empty_like(x)
    for index in torch.cartesian_prod(*map(torch.arange, x.shape)).tolist():
        shift = torch.zeros_like(x)
        shift[tuple(index)] = step
        up, down = F.cross_entropy(net(x + shift), y), F.cross_entropy(net(x - shift), y)
        slopes[tuple(index)] = (up - down).detach() / (2 * step)
    # central differences: error step^2 = 1e-12 from the formula, ulp/step = 1e-10 from rounding
    torch.testing.assert_close(input_gradient_norms(net, x, y), slopes.square().sum((0, 2)).sqrt(), rtol=0, atol=1e-8)
    assert all(p.grad is None for p in net.parameters()) and not x.requires_grad


def test_L20_the_forget_gate_decides_how_far_back_the_loss_hears():
    # T = 40, PyTorch's default initialisation. Ratios of first to last step over three seeds: RNN 1e-12 to 1e-9, forget
    # bias 0 near 4e-9 (the gate alone: 0.5^39 = 2e-12), 1 near 4e-4 (0.73^39 = 5e-6), 3 near 1 (0.95^39 = 0.15).
    def ratio(cell, forget_bias=0.0):
        g = seeded(9)
        net = SequenceClassifier(
            cell, 4, 16, 4, initialiser="pytorch_linear", forget_bias=forget_bias, dtype=torch.float64, generator=g
        )
        x, y = first_symbol_task(64, 40, generator=g)
        norms = input_gradient_norms(net, x.double(), y)
        return float(norms[0] / norms[-1])

    rnn, zero, one, three = ratio("rnn"), ratio("lstm"), ratio("lstm", 1.0), ratio("lstm", 3.0)
    assert rnn < 1e-7 and zero < 1e-7
    assert zero < 1e-3 * one and one < 1e-1 * three
    assert 0.1 < three < 10


def train(net, x, y, *, steps, lr, generator, optimiser=torch.optim.SGD):
    optimiser = optimiser(net.parameters(), lr=lr)
    for _ in range(steps):
        rows = torch.randint(len(x), (64,), generator=generator)
        optimiser.zero_grad()
        F.cross_entropy(net(x[rows]), y[rows]).backward()
        optimiser.step()
    with torch.no_grad():
        logits = net(x)
    return float((logits.argmax(1) == y).double().mean()), float(F.cross_entropy(logits, y))


@pytest.mark.slow
def test_L20_a_forgetful_lstm_stays_at_chance():
    accuracy = {}
    for forget_bias in (0.0, 3.0):
        g = seeded(10)
        net = SequenceClassifier("lstm", 4, 32, 4, forget_bias=forget_bias, generator=g)
        x, y = first_symbol_task(4000, 20, generator=g)  # more rows than it can memorise in 120 steps
        train(net, x, y, steps=120, lr=1e-2, generator=g, optimiser=torch.optim.Adam)
        x, y = first_symbol_task(1000, 20, generator=g)
        with torch.no_grad():
            accuracy[forget_bias] = float((net(x).argmax(1) == y).double().mean())
    assert accuracy[0.0] < 0.35  # chance is 1/4, with a standard error of 0.014
    assert accuracy[3.0] > 0.9


def digits():
    x, y = (torch.from_numpy(a) for a in load_digits(return_X_y=True))
    return ((x - x.mean()) / x.std()).float(), y


@pytest.mark.slow
def test_C9_thirty_relu_layers_stall_with_xavier_and_train_with_he():
    x, y = digits()
    loss, accuracy = {}, {}
    for initialiser in ("xavier_normal", "he_normal"):
        g = seeded(0)
        net = DeepMLP((64, 30), "relu", initialiser, head=10, generator=g)
        accuracy[initialiser], loss[initialiser] = train(net, x, y, steps=200, lr=0.01, generator=g)
    assert abs(loss["xavier_normal"] - math.log(10)) < 0.01 and accuracy["xavier_normal"] < 0.2  # chance
    assert loss["he_normal"] < 2.0 and accuracy["he_normal"] > 0.3  # on its way: 1.6 here, 0.9 after 300 steps


def growth(block, *, width=128, depth=6, nets=100):
    """E[(h^t)^2] / E[(h^{t-1})^2] of t = 1 ... depth, the expectation over nets, units and 16 inputs."""
    total = torch.zeros(depth + 1, dtype=torch.float64)
    for seed in range(nets):
        g = seeded(seed)
        net = ResidualMLP(width, depth, block=block, generator=g)
        x = torch.randn(16, width, generator=g)
        with torch.no_grad():
            total += torch.stack([h.double().square().mean() for h in [x, *net.hidden(x)]])
    return total[1:] / total[:-1]


@pytest.mark.slow
def test_C17_residual_growth_per_block():
    # E over nets: a block's factor fluctuates by about sqrt(5/128) = 0.2 from net to net, so 100 nets leave 2 %.
    assert (growth("preactivation") / 2 - 1).abs().max() < 0.05
    assert (growth("two_layer") / 3 - 1).abs().max() < 0.05


@pytest.mark.slow
def test_C17_a_relu_after_the_branch_has_no_constant_factor():
    # F's mean is positive and adds up: the factor starts at 2 and climbs towards 3.
    factor = growth("postactivation")
    assert abs(factor[0] / 2 - 1) < 0.05
    assert 2.3 < factor[1] < 2.6 and factor[-1] > 2.75


def test_C18_loss_at_initialisation():
    x, y = digits()
    g = seeded(0)
    net = DeepMLP([64, 256], "tanh", head=10, generator=g)
    logits = net(x)
    logits = (logits - logits.mean()) / logits.std()
    with torch.no_grad():
        net.head.weight *= 1e-3
    assert abs(F.cross_entropy(net(x), y) - math.log(10)) < 1e-3  # second order in logits of size 1e-3
    # unit variance: 10^5 rows of independent logits leave a standard error of 0.004
    normal = torch.randn(100_000, 10, generator=g)
    loss = F.cross_entropy(normal, torch.zeros(100_000, dtype=torch.long))
    assert abs(loss - 2.73) < 0.02
    assert abs(loss - (math.log(10) + 0.5)) < 0.1  # 'about half the variance more' overshoots by 0.07 at K = 10
    # one net's logits share one draw of the head: only the middle of that spread
    assert abs(F.cross_entropy(logits, y) - 2.73) < 0.3


def dead_fraction(initialiser, torch_biases, seeds=5, width=256, batch=1000):
    """Share of units of layer 10 that are 0 for every one of ``batch`` N(0, 1) inputs: that is what dead means here."""
    dead = []
    for seed in range(seeds):
        g = seeded(seed)
        net = DeepMLP((width, 10), "relu", initialiser, bias=torch_biases, generator=g)
        if torch_biases:
            for layer in net.layers:
                nn.init.uniform_(layer.bias, -1 / math.sqrt(width), 1 / math.sqrt(width), generator=g)
        with torch.no_grad():
            h = net(torch.randn(batch, width, generator=g))
        dead.append(float((h == 0).all(0).double().mean()))
    return sum(dead) / seeds


def test_C19_dead_units_come_from_a_small_gain_beside_nonzero_biases():
    # With std 0.01 the biases outweigh the signal: a unit is on or off for all inputs, by the sign of its bias and of
    # what the constants below add. 5 nets x 256 units near 1/2: standard error 0.014 (units of a net are not quite
    # independent: twice that is allowed on each side).
    assert abs(dead_fraction("lecture_normal", True) - 0.52) < 0.06
    assert abs(dead_fraction("he_normal", True) - 0.10) < 0.05


def test_C19_without_biases_the_scale_of_the_weights_kills_nothing():
    # Factors of 2 are exact in binary, so the masks agree bit for bit, layer by layer.
    x = torch.randn(1000, 256, generator=seeded(1))
    he = DeepMLP((256, 10), "relu", "he_normal", generator=seeded(0))
    small = DeepMLP((256, 10), "relu", "he_normal", generator=seeded(0))
    with torch.no_grad():
        for layer in small.layers:
            layer.weight *= 2.0**-6
        for a, b in zip(he.hidden(x), small.hidden(x), strict=True):
            assert torch.equal(a > 0, b > 0)
            assert 0.3 < (a > 0).double().mean() < 0.7  # and the masks are not trivial
        small.layers[0].weight *= -1  # what would change them
        assert not torch.equal(he(x) > 0, small(x) > 0)


def test_callable_initialisers_pass_through():
    net = DeepMLP((8, 2), initialiser=lambda W, *, generator=None: init.constant_(W, 0.25))
    assert all((layer.weight == 0.25).all() for layer in net.layers)
