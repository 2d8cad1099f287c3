"""labs.monitor.origin on faults with a known place, in networks of different kinds, and on healthy networks that look suspicious."""

import json
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks
from torch.utils.checkpoint import checkpoint

from labs.monitor import Origin, find_nonfinite_origin

INF, NAN = float("inf"), float("nan")
THIS_FILE = __file__


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


class Apply(nn.Module):
    """A module with one function, so that a fault has a path."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def same(x: Tensor) -> Tensor:
    return x


# ---------------------------------------------------------------------------- four networks, each with room for a fault


class MLP(nn.Module):
    where = "body.2"

    def __init__(self, fault=same):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=True), Apply(fault), nn.Linear(8, 8), nn.Tanh())
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.body(x))

    @staticmethod
    def batch():
        return torch.randn(5, 6)


class ConvNet(nn.Module):
    where = "blocks.1.fault"

    class Block(nn.Module):
        def __init__(self, fault):
            super().__init__()
            self.conv, self.norm, self.fault = (
                nn.Conv2d(4, 4, 3, padding=1, bias=False),
                nn.BatchNorm2d(4),
                Apply(fault),
            )

        def forward(self, x):
            return {"y": x + self.fault(F.relu(self.norm(self.conv(x))))}

    def __init__(self, fault=same):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.blocks = nn.ModuleList([self.Block(same), self.Block(fault)])
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        h = self.stem(x)
        for block in self.blocks:
            h = block(h)["y"]
        return self.head(F.adaptive_avg_pool2d(h, 1).flatten(1))

    @staticmethod
    def batch():
        return torch.randn(5, 2, 6, 6)


class Recurrent(nn.Module):
    where = "middle"

    def __init__(self, fault=same):
        super().__init__()
        self.lower = nn.LSTM(4, 6, batch_first=True)
        self.middle = Apply(fault)
        self.upper = nn.GRUCell(6, 6)  # one module, used at every step
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        h, _ = self.lower(x)
        h = self.middle(h)
        state = torch.zeros(len(x), 6)
        for t in range(h.shape[1]):
            state = self.upper(h[:, t], state)
        return self.head(state)

    @staticmethod
    def batch():
        return torch.randn(5, 4, 4)


class Transformer(nn.Module):
    where = "layers.1.fault"

    class Layer(nn.Module):
        def __init__(self, fault):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
            self.fault = Apply(fault)

        def forward(self, x, mask):
            h = self.norm1(x)
            x = x + self.attention(h, h, h, attn_mask=mask, need_weights=False)[0]
            return (x + self.fault(self.mlp(self.norm2(x))), mask)

    def __init__(self, fault=same):
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.layers = nn.ModuleList([self.Layer(same), self.Layer(fault)])
        self.register_buffer("mask", torch.full((4, 4), -INF).triu(1))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        h = self.embedding(x)
        for layer in self.layers:
            h, _ = layer(h, self.mask)
        return self.head(h.mean(1))

    @staticmethod
    def batch():
        return torch.randint(11, (5, 4))


NETWORKS = [MLP, ConvNet, Recurrent, Transformer]


def setting(network, fault=same):
    model, x, y = network(fault), network.batch(), torch.tensor([0, 1, 2, 0, 1])
    return model, lambda: F.cross_entropy(model(x), y)


# -------------------------------------------------------------------------------------------------- faults in one place


def log_of_zero(h):
    return torch.log(h * 0)


def root_at_zero(h):
    return torch.sqrt(h * 0)


def hidden_root(h):
    return torch.where(h - 0.1 > 0, (h - 0.1).sqrt(), 0.0)


def hidden_log(h):
    kept = h * (h > h.mean())
    return torch.where(kept > 0, kept.log(), kept)


def angle_of_equals(h):
    return torch.acos(h * 0 + 1)


def normalised_constant(h):
    h = h - h
    return h / h.norm(dim=-1, keepdim=True)


def masked_everywhere(h):
    return F.softmax(h.masked_fill(torch.ones_like(h, dtype=torch.bool), -INF), dim=-1)


def overflowing_exp(h):
    return (h + 100).exp()


def difference_of_infinities(h):
    return (h + INF) - INF


def erased_then_fault(h):
    h = h + torch.relu(torch.log(h * 0))  # -Inf, erased
    return torch.true_divide(h * 0, h * 0)


FAULTS = {
    log_of_zero: ("forward", "log"),
    root_at_zero: ("backward", "sqrt"),
    hidden_root: ("backward", "sqrt"),
    hidden_log: ("backward", "log"),
    angle_of_equals: ("backward", "acos"),
    normalised_constant: ("forward", "div"),
    masked_everywhere: ("forward", "softmax"),
    overflowing_exp: ("forward", "exp"),
    difference_of_infinities: ("forward", "sub"),
    erased_then_fault: ("forward", "div"),
}


@pytest.mark.parametrize("file", ("/tmp/ipykernel_12/345.py", r"C:\Temp\ipykernel_12\345.py", "<ipython-input-3-5f0c>"))
def test_a_cell_of_a_notebook_is_called_so(file):
    """Its file is named after a process: the next run, and every rebuild of a page, would name another."""
    names: dict = {}
    exec(compile("def fault(z):\n    return (z * 0).log()", file, "exec"), names)
    model = nn.Linear(3, 2)
    origin = find_nonfinite_origin(model, lambda: names["fault"](model(torch.ones(4, 3))).sum())
    assert origin.source.startswith("the cell:2:")


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_fault_is_named(network, fault):
    phase, operation = FAULTS[fault]
    origin = find_nonfinite_origin(*setting(network, fault))
    print(origin)
    assert (origin.phase, origin.module, origin.operation) == (phase, network.where, operation)
    first = fault.__code__.co_firstlineno
    file, line, code = origin.source.split(":", 2)
    assert file == THIS_FILE and first < int(line) <= first + 3 and "return" in code
    end = origin.chain[-1]
    assert end == "loss" if phase == "forward" else end.startswith("gradient of")


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("kind", ["parameter", "buffer", "input"])
def test_poisoned_tensor_is_named(network, kind):
    model, closure = setting(network)
    name, operation = {
        MLP: ("body.3.weight", "linear"),
        ConvNet: ("blocks.1.conv.weight", "conv2d"),
        Recurrent: ("upper.weight_hh", "gru_cell"),
        Transformer: ("layers.1.mlp.0.bias", "linear"),
    }[network]
    if kind == "buffer":
        model.head.register_buffer("shift", torch.zeros(3))
        model.head.register_forward_hook(lambda m, i, o: o - m.shift)
        model.head.shift[1] = NAN
        name, operation = "head.shift", "sub"
    elif kind == "parameter":
        model.get_parameter(name).data.view(-1)[3] = NAN
    else:
        if network is Transformer:
            pytest.skip("its input is integers")
        x, y = network.batch(), torch.tensor([0, 1, 2, 0, 1])
        x.view(-1)[7] = NAN
        closure = lambda: F.cross_entropy(model(x), y)  # noqa: E731
        name = ""
        operation = {MLP: "linear", ConvNet: "conv2d", Recurrent: "lstm"}[network]
    origin = find_nonfinite_origin(model, closure)
    assert (origin.phase, origin.tensor, origin.operation) == (kind, name, operation)
    assert origin.module == (
        name.rpartition(".")[0] or {MLP: "body.0", ConvNet: "stem", Recurrent: "lower"}.get(network)
    )


@pytest.mark.parametrize("network", [ConvNet, Transformer])
def test_fp16_overflow_names_the_layer(network):
    model, _ = setting(network)
    model.half()
    inner = model.blocks[1].conv if network is ConvNet else model.layers[1].mlp[0]
    inner.weight.data.copy_((6e4 * torch.randn_like(inner.weight)).clamp(-6e4, 6e4))
    x = network.batch()
    x = x.half() if x.is_floating_point() else x
    origin = find_nonfinite_origin(model, lambda: model(x).float().square().mean())
    assert (origin.phase, origin.operation) == ("forward", "conv2d" if network is ConvNet else "linear")
    assert origin.module == ("blocks.1.conv" if network is ConvNet else "layers.1.mlp.0")
    assert "65504" in origin.message or "6.55e+04" in origin.message
    assert "learning rate" in origin.message


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    "make", [lambda p: torch.optim.SGD(p, lr=1e38, momentum=0.9), lambda p: torch.optim.Adam(p, lr=1e30)]
)
def test_too_large_a_rate_is_named(network, make):
    model, closure = setting(network)
    optimizer = make(model.parameters())
    origin = find_nonfinite_origin(model, closure, optimizer)
    print(origin)
    assert origin.phase == "optimiser" and origin.operation == f"{type(optimizer).__name__}.step"


@pytest.mark.parametrize("network", [MLP, ConvNet])
def test_fp16_underflow_is_named(network):
    model, _ = setting(network)
    model.half()
    x = network.batch().half()
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    closure = lambda: (model(x) * 1e-3).square().mean() * 1e-2  # noqa: E731
    origin = find_nonfinite_origin(model, closure, scaler=scaler)
    print(origin)
    assert origin.phase == "backward"
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    assert not find_nonfinite_origin(model, closure, scaler=scaler)


# ------------------------------------------------------------------------------------------------------ healthy models


class Masked(nn.Module):
    """Attention scores with a -Inf mask, one row of them with a single entry left."""

    def __init__(self):
        super().__init__()
        self.query, self.key = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        scores = self.query(x) @ self.key(x).transpose(1, 2)
        causal = torch.ones(scores.shape[1:], dtype=torch.bool).triu(1)
        return F.log_softmax(scores.masked_fill(causal, -INF), -1).exp() @ x


HEALTHY_FUNCTIONS = {
    "sqrt(relu)": lambda h: torch.relu(h).sqrt(),
    "logsumexp with -inf": lambda h: (
        torch.cat([h, torch.full_like(h[..., :1], -INF)], -1).logsumexp(-1, keepdim=True) + h
    ),
    "clamp(min)": lambda h: torch.log(h.clamp(min=1e-6)),
    "masked softmax": lambda h: F.softmax(h.masked_fill(h > h.mean(-1, keepdim=True), -INF), -1),
    "log_softmax": lambda h: F.log_softmax(100 * h, -1),
    "max-pool with -inf padding": lambda h: F.max_pool1d(F.pad(h.flatten(0, -2), (1, 1), value=-INF), 3, 1).view_as(h),
    "inf turned to one": lambda h: torch.tanh((200 * h.detach().abs() + 200).exp()) * h,
    "double where": lambda h: torch.where(h > 0, torch.where(h > 0, h, 1.0).log(), 0.0),
    "nan_to_num": lambda h: h + torch.nan_to_num(h.detach() * INF, posinf=1.0, neginf=-1.0),
    "logaddexp": lambda h: torch.logaddexp(h, torch.full_like(h, -INF)),
}


@pytest.mark.parametrize(
    "network", [*NETWORKS[:2], *(pytest.param(net, marks=pytest.mark.slow) for net in NETWORKS[2:])]
)
@pytest.mark.parametrize("function", HEALTHY_FUNCTIONS)
def test_no_alarm(network, function):
    model, closure = setting(network, HEALTHY_FUNCTIONS[function])
    origin = find_nonfinite_origin(model, closure, torch.optim.Adam(model.parameters(), lr=1e-3))
    assert not origin and origin.phase == "none", origin


@pytest.mark.slow
def test_no_alarm_in_deep_healthy_networks():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
    prenorm = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
    mask = nn.Transformer.generate_square_subsequent_mask(4)
    deep = nn.Sequential(*[m for _ in range(20) for m in (nn.Linear(8, 8, bias=False), nn.ReLU(inplace=True))])
    for p in deep.parameters():
        nn.init.kaiming_normal_(p)
    x = torch.randn(5, 4, 8)
    for model, closure in [
        (prenorm, lambda: prenorm(x, mask=mask, is_causal=True).square().mean()),
        (deep, lambda: deep(x).square().mean()),
        (attention := Masked(), lambda: attention(x).square().mean()),
        (prenorm.eval(), lambda: prenorm(x).square().mean()),
    ]:
        assert not find_nonfinite_origin(model, closure, torch.optim.SGD(model.parameters(), lr=0.1))


def test_a_scale_that_alone_overflows_is_no_fault():
    model, _ = setting(MLP)
    model.half()
    x = MLP.batch().half()
    origin = find_nonfinite_origin(
        model, lambda: model(x).float().square().mean(), scaler=torch.amp.GradScaler("cpu", init_scale=2.0**30)
    )
    assert not origin and "scale" in origin.message


# ------------------------------------------------------------------------------------------- all kinds of arrangements


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("fault", [root_at_zero, overflowing_exp])
def test_checkpointed(reentrant, fault):
    model, _ = setting(MLP, fault)
    x = MLP.batch().requires_grad_()
    closure = lambda: model.head(checkpoint(model.body, x, use_reentrant=reentrant)).sum()  # noqa: E731
    origin = find_nonfinite_origin(model, closure)
    assert (origin.phase, origin.operation, origin.module) == (*FAULTS[fault], MLP.where)
    assert x.grad is None


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled(backend):
    model, _ = setting(MLP, hidden_root)
    compiled = torch.compile(model, backend=backend)
    x = MLP.batch()
    compiled(x)
    origin = find_nonfinite_origin(compiled, lambda: compiled(x).sum())
    assert (origin.phase, origin.operation, origin.module) == ("backward", "sqrt", MLP.where)


@pytest.mark.parametrize("fault", [overflowing_exp, root_at_zero])
def test_autocast_and_scaler(fault):
    model, _ = setting(MLP, fault)
    x, scaler = MLP.batch(), torch.amp.GradScaler("cpu", init_scale=1024.0)

    def closure():
        with torch.autocast("cpu", dtype=torch.float16):
            return model(x).float().mean()

    origin = find_nonfinite_origin(model, closure, torch.optim.SGD(model.parameters(), 0.1), scaler)
    assert (origin.phase, origin.operation, origin.module) == (*FAULTS[fault], MLP.where)
    healthy, _ = setting(MLP)
    healthy_closure = lambda: healthy(x).square().mean()  # noqa: E731
    assert not find_nonfinite_origin(healthy, healthy_closure, torch.optim.SGD(healthy.parameters(), 0.1), scaler)


def test_autocast_overflow_in_the_weights_cast():
    model, _ = setting(MLP)
    model.head.weight.data[0, 0] = 1e6  # fine in fp32

    def closure():
        with torch.autocast("cpu", dtype=torch.float16):
            return model(MLP.batch()).float().mean()

    with torch.autocast("cpu", dtype=torch.float16):
        model(MLP.batch())  # leaves its casts of the weights in autocast's cache
        origin = find_nonfinite_origin(model, closure)
    assert (origin.phase, origin.module, origin.operation) == ("forward", "head", "linear")


def test_frozen_and_without_gradients():
    model, closure = setting(ConvNet, overflowing_exp)
    model.requires_grad_(False)
    assert find_nonfinite_origin(model, closure).module == ConvNet.where
    model, closure = setting(MLP, root_at_zero)
    model.body[0].requires_grad_(False)
    assert not find_nonfinite_origin(model, closure)  # no gradient flows through the root
    model.body[0].weight.requires_grad_(True)
    assert find_nonfinite_origin(model, closure).operation == "sqrt"


class BadSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return g / torch.zeros_like(g)


def test_a_users_own_derivative():
    origin = find_nonfinite_origin(*setting(Transformer, BadSlope.apply))
    assert (origin.phase, origin.module, origin.operation) == ("backward", Transformer.where, "BadSlope")
    assert origin.source.endswith("return g / torch.zeros_like(g)")


def test_a_users_hook_in_the_backward_pass():
    model, closure = setting(MLP)
    model.body[2].register_forward_hook(lambda module, inputs, output: output.register_hook(lambda g: g / 0.0) and None)
    origin = find_nonfinite_origin(model, closure)
    assert (origin.phase, origin.operation) == ("backward", "div") and "lambda g: g / 0.0" in origin.source


def test_a_poisoned_state_of_the_optimizer():
    model, closure = setting(Recurrent)
    optimizer = torch.optim.Adam(model.parameters())
    closure().backward()
    optimizer.step()
    optimizer.state[model.lower.weight_hh_l0]["exp_avg"][0, 0] = INF
    origin = find_nonfinite_origin(model, closure, optimizer)
    assert (origin.phase, origin.module, origin.operation) == ("optimiser", "lower", "Adam.step")
    assert origin.tensor == "exp_avg of lower.weight_hh_l0"


def test_a_sum_that_overflows_is_called_an_overflow():
    origin = find_nonfinite_origin(*setting(ConvNet, lambda h: (h * 0 + 3e38) + (h * 0 + 3e38)))
    assert (origin.module, origin.operation) == (ConvNet.where, "add") and "largest" in origin.message


def test_a_write_into_a_view():
    def fault(h):
        h = h * 0
        h[:, 1:].sqrt_()
        return h

    origin = find_nonfinite_origin(*setting(MLP, fault))
    assert (origin.phase, origin.module, origin.operation) == ("backward", MLP.where, "sqrt")


def test_one_tensor_with_an_innocent_inf_and_a_guilty_one():
    def fault(h):
        innocent, guilty = (h * 0 + 1e4).exp(), (h - h).log()
        return torch.cat([innocent, guilty], -1)[..., h.shape[-1] :]

    for network in (MLP, Recurrent):
        origin = find_nonfinite_origin(*setting(network, fault))
        assert (origin.operation, origin.module) == ("log", network.where)


def test_an_operation_that_reads_an_innocent_inf_and_is_guilty_itself():
    def fault(h):
        innocent, zeros = (h * 0 + 1e4).exp(), h * 0
        return torch.cat([innocent, zeros], -1).log()[..., h.shape[-1] :]

    for network in (MLP, Transformer):
        origin = find_nonfinite_origin(*setting(network, fault))
        assert (origin.operation, origin.module) == ("log", network.where)


def test_what_a_where_leaves_out_is_no_suspect():
    def fault(h):
        innocent = (h * 0 + 1e4).exp()
        return torch.where(
            h == h, (h * 0).log() + (h * 0 - 1).sqrt(), innocent
        )  # two faults: mending one cures nothing

    assert find_nonfinite_origin(*setting(Recurrent, fault)).operation == "log"


def test_two_faults_are_both_told():
    model, closure = setting(MLP, lambda h: (h * 0).log() + (h * 0 - 1).sqrt())
    origin = find_nonfinite_origin(model, closure)
    assert (origin.operation, origin.module) == ("log", MLP.where) and "sqrt @ body.2" in origin.message


def test_a_mask_that_later_layers_read_too():
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, enable_nested_tensor=False)
    for layer in model.layers:  # the weights are asked for: softmax runs as such
        attend = layer.self_attn.forward
        layer.self_attn.forward = lambda *a, attend=attend, **k: attend(*a, **k | {"need_weights": True})
    x, masked = torch.randn(2, 3, 8), torch.tensor([[False, False, True], [True, True, True]])
    origin = find_nonfinite_origin(model, lambda: model(x, src_key_padding_mask=masked).sum())
    assert (origin.phase, origin.module, origin.operation) == ("forward", "layers.0.self_attn", "softmax")


def test_masks_built_outside_and_inside():
    outside = torch.zeros(5, 8)
    outside[2] = -INF
    mixed = torch.randn(5, 8)
    mixed[2] = -INF
    for mask in (outside, mixed):
        origin = find_nonfinite_origin(*setting(MLP, lambda h, mask=mask: F.softmax(h + mask, -1)))
        assert (origin.phase, origin.operation) == ("forward", "softmax")

    def by_hand(h):
        scores = h + outside
        e = (scores - scores.amax(-1, keepdim=True)).exp()
        return e / e.sum(-1, keepdim=True)

    assert find_nonfinite_origin(*setting(MLP, by_hand)).operation == "sub"
    all_masked = lambda h: h.masked_fill(torch.tensor(True), -INF).logsumexp(-1, keepdim=True) * torch.ones(8)  # noqa: E731
    model, x = MLP(all_masked), MLP.batch()
    assert find_nonfinite_origin(model, lambda: model.body[:3](x).sum()).operation == "logsumexp"
    assert find_nonfinite_origin(model, lambda: x.masked_fill(x > 0, -INF).sum()).operation == "masked_fill"


@pytest.mark.parametrize("network", [MLP, ConvNet, Recurrent])
@pytest.mark.parametrize(
    "escape, operation",
    [
        (lambda h: F.log_softmax(h.masked_fill(torch.arange(h.shape[-1]) == 0, -INF), -1)[..., :1] + h, "log_softmax"),
        (lambda h: (h.abs() + 1) * torch.logsumexp(h * 0 - INF, -1, keepdim=True), "logsumexp"),
        (lambda h: h.masked_fill(torch.arange(h.shape[-1]) == 0, -INF), "masked_fill"),
        (lambda h: torch.where(h > h.mean(), h, -INF), "where"),
    ],
)
def test_a_mask_that_reaches_a_layer_has_escaped_before(network, escape, operation):
    """A sum of products has no use for -Inf: at fault is what let it out, not the layer that makes NaN of it."""
    origin = find_nonfinite_origin(
        *setting(network, escape)
    )  # a tanh may hide it from the loss: then in the backward pass
    assert origin.phase in ("forward", "backward")
    assert (origin.module, origin.operation) == (network.where, operation)


def test_data_with_minus_inf_is_an_input_fault():
    model, x = MLP(), MLP.batch()
    x[0, 0] = -INF
    assert find_nonfinite_origin(model, lambda: model(x).sum()).phase == "input"


def test_poison_that_this_step_does_not_read():
    model, x = nn.Sequential(nn.Embedding(5, 3), nn.BatchNorm1d(3)), torch.tensor([0, 1, 2])
    closure = lambda: model(x).square().sum()  # noqa: E731
    model[0].weight.data[4, 1] = NAN
    origin = find_nonfinite_origin(model, closure)
    assert (origin.phase, origin.tensor, origin.operation) == ("parameter", "0.weight", "")
    model[0].weight.data[4, 1] = 0
    model[1].running_mean[0] = NAN
    origin = find_nonfinite_origin(model, closure)
    assert (origin.phase, origin.tensor, origin.module) == ("buffer", "1.running_mean", "1")
    assert "does not" in origin.message or "do not" in origin.message


@pytest.mark.slow
def test_sparse_gradients_and_lbfgs():
    table = nn.Embedding(5, 3, sparse=True)
    x = torch.tensor([0, 1, 1])
    assert not find_nonfinite_origin(table, lambda: table(x).square().sum())
    assert find_nonfinite_origin(table, lambda: (table(x) * 0).sqrt().sum()).operation == "sqrt"
    model, closure = setting(MLP)
    assert not find_nonfinite_origin(model, closure, torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3))
    assert find_nonfinite_origin(model, closure, torch.optim.LBFGS(model.parameters(), lr=1e38)).phase == "optimiser"


@pytest.mark.parametrize("loss, got", [(lambda: 1.0, "float"), (lambda: torch.ones(2), "shape (2,)")])
def test_bad_closure(loss, got):
    with pytest.raises(ValueError, match=r"closure: expected .* got ") as error:
        find_nonfinite_origin(MLP(), loss)
    assert got in str(error.value)


def test_origin_prints_and_serialises():
    origin = find_nonfinite_origin(*setting(Transformer, hidden_log))
    assert isinstance(origin, Origin) and json.loads(json.dumps(origin.to_dict()))["chain"] == list(origin.chain)
    text = str(origin)
    assert text.startswith("backward: log in layers.1.fault") and "hides a value" in text
    assert all(len(part) > 0 for part in text.splitlines()) and origin.source in text
    assert str(Origin("none", message="fine")) == "fine"


# -------------------------------------------------------------------------------------------- everything as it was before


def bits(t: Tensor | None):
    return None if t is None else (t.dtype, tuple(t.shape), t.detach().contiguous().view(-1).view(torch.uint8).tolist())


def picture(model, optimizer, scaler, x):
    """All that a replay could leave changed, as plain values; identities where an object must stay the same one."""
    state = {
        p: {k: (id(v), bits(v) if isinstance(v, Tensor) else v) for k, v in s.items()}
        for p, s in optimizer.state.items()
    }
    return {
        "parameters": [(id(p), bits(p), id(p.grad), bits(p.grad)) for p in model.parameters()],
        "buffers": [(name, id(b), bits(b)) for name, b in model.named_buffers()],
        "input": (bits(x), bits(x.grad)),
        "training": [m.training for m in model.modules()],
        "attributes": [sorted(map(str, vars(m))) for m in model.modules()],
        "hooks": [len(h) for m in model.modules() for h in (m._forward_hooks, m._forward_pre_hooks, m._backward_hooks)],
        "global hooks": (len(module_hooks._global_forward_hooks), len(module_hooks._global_forward_pre_hooks)),
        "optimizer": (state, [{**g, "params": list(map(id, g["params"]))} for g in optimizer.param_groups]),
        "scaler": scaler.state_dict(),
        "random": (bits(torch.get_rng_state()), random.getstate(), str(np.random.get_state())),
        "anomaly": torch.is_anomaly_enabled(),
        "modes": torch._C._len_torch_function_stack(),
    }


class Restless(nn.Module):
    """Changes whatever a forward pass can change."""

    def __init__(self, generator):
        super().__init__()
        self.first, self.norm, self.drop = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)
        self.last, self.count, self.generator = nn.Linear(8, 1), 0, generator
        self.register_buffer("memory", torch.zeros(8))
        self.seen = []

    def forward(self, x):
        self.count += 1
        self.seen.append(self.count)
        h = self.drop(F.relu(self.norm(self.first(x.clone().mul_(1.0))), inplace=True))
        self.memory = 0.9 * self.memory + 0.1 * h.detach().mean(0)
        noise = torch.randn(8, generator=self.generator) * random.random() * np.random.rand()
        return self.last(h + noise)


@pytest.mark.parametrize("how", ["finite", "forward", "backward", "optimiser", "raises", "raises in backward"])
@pytest.mark.parametrize("warm", [True, False])
def test_everything_is_as_before(how, warm):
    generator = torch.Generator().manual_seed(3)
    model, x = Restless(generator), torch.randn(7, 6)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    if warm:
        scaler.scale(model(x).square().mean()).backward()
        scaler.step(optimizer)
        scaler.update()
    optimizer.param_groups[0]["lr"] = 1e30 if how == "optimiser" else 1e-2
    x.requires_grad_()

    def closure():
        x.data.mul_(1.5)  # as an in-place first layer does
        model.eval()
        y = model.train()(x)
        if how == "raises":
            raise KeyError("in the forward pass")
        if how == "raises in backward":
            y.register_hook(lambda g: {}["in the backward pass"])
        y = {"forward": lambda: (y - y).log(), "backward": lambda: (y - y).sqrt()}.get(how, lambda: y)()
        return y.square().mean() if how != "backward" else y.mean()

    before, drawn = picture(model, optimizer, scaler, x), generator.get_state()
    if how.startswith("raises"):
        with pytest.raises(KeyError):
            find_nonfinite_origin(model, closure, optimizer, scaler)
    else:
        origin = find_nonfinite_origin(model, closure, optimizer, scaler)
        assert origin.phase == {"finite": "none"}.get(how, how)
    after = picture(model, optimizer, scaler, x)
    for name, value in before.items():
        assert value == after[name], name
    assert torch.equal(drawn, generator.get_state())


@pytest.mark.parametrize("std", [0.7, 1.0, 2.0, 6.0])
def test_of_many_layers_that_overflow_the_first_is_named(std):
    """Every later layer overflows by itself too, and mending its result would hide the earlier ones."""
    g = torch.Generator().manual_seed(1)
    layers = [m for n in [4] + 10 * [64] for m in (nn.Linear(n, 64, bias=False), nn.ReLU())]
    net = nn.Sequential(*layers).half()
    for p in net.parameters():
        p.data.normal_(0, std, generator=g)
    x = torch.randn(16, 4, generator=g).half()
    first = next(i for i in range(len(net)) if not net[: i + 1](x).isfinite().all())
    origin = find_nonfinite_origin(net, lambda: net(x).float().mean())
    assert (origin.phase, origin.operation, origin.module) == ("forward", "linear", str(first))
