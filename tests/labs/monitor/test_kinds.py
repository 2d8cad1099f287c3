"""Kinds of faults and of false alarms that people have reported, each with several cases; the first of a kind is a report's own."""

# ruff: noqa: E501 a case a line
from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labs.monitor import StabilityMonitor, find_nonfinite_origin, stability_report
from labs.monitor import replay as replaying

INF, NAN = float("inf"), float("nan")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def net(*widths: int, activation=nn.ReLU) -> nn.Sequential:
    layers = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), activation())]
    return nn.Sequential(*layers[:-1])


class Apply(nn.Module):
    def __init__(self, function, **modules) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, *inputs):
        return self.function(self, *inputs)


def watched(model, loss, optimizer, steps: int = 1, scaler=None, exact: bool = False) -> list:
    """The reports of a few training steps."""
    with StabilityMonitor(model, every=1, scaler=scaler, exact=exact) as monitor:
        for _ in range(steps):
            optimizer.zero_grad()
            value = loss()
            if scaler is None:
                value.backward()
                optimizer.step()
            else:
                scaler.scale(value).backward()
                scaler.step(optimizer)
                scaler.update()
            monitor.step()
    return monitor.history


# --------------------------------------------------------------------------------------------------------- tied weights


def tied_language_model():
    m = Apply(lambda m, i: m.head(torch.tanh(m.ff(m.emb(i)))).flatten(0, 1), emb=nn.Embedding(50, 16),
              ff=nn.Linear(16, 16), head=nn.Linear(16, 50, bias=False))  # fmt: skip
    m.head.weight = m.emb.weight
    i = torch.randint(0, 50, (4, 8))
    return m, (i, i.flatten()), F.cross_entropy


def tied_autoencoder():
    m = net(16, 16, 16)
    m[2].weight = m[0].weight
    x = torch.randn(32, 16)
    return m, (x, x), F.mse_loss


def tied_three_times():
    m = net(16, 16, 16, 16)
    m[2].weight = m[4].weight = m[0].weight
    x = torch.randn(32, 16)
    return m, (x, x), F.mse_loss


def tied_equal_rows():
    model, batch, loss = tied_autoencoder()
    nn.init.constant_(model[0].weight, 0.1)
    return model, batch, loss


def tied_transposed():
    m = Apply(lambda m, x: F.linear(m.act(m.first(x)), m.first.weight.t()), first=nn.Linear(16, 8), act=nn.ReLU())
    m.register_parameter("again", m.first.weight)
    x = torch.randn(32, 16)
    return m, (x, x), F.mse_loss


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    "make", [tied_language_model, tied_autoencoder, tied_three_times, tied_equal_rows, tied_transposed]
)
def test_tied_weights(make, exact):
    model, (x, y), loss = make()
    report = stability_report(model, (x, y), loss, exact=exact)
    assert report.verdict == "healthy"  # equal rows too: as a decoder's they get gradients that differ
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    assert watched(model, lambda: loss(model(x), y), optimizer, 2, exact=exact)[1].verdict == report.verdict


# ------------------------------------------------------------------------------------------------ a loss that is not finite

LEGAL = torch.tensor([False, False, True])
LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "all labels ignored": lambda z: F.cross_entropy(z, torch.full((32,), -100)),
    "0 * -Inf": lambda z: -(F.one_hot(torch.arange(32) % 2, 3) * z.masked_fill(LEGAL, -INF).log_softmax(-1)).sum(1).mean(),
    "mean of nothing": lambda z: z[torch.zeros(32, dtype=torch.bool)].square().mean() + 0 * z.sum(),
    "log of a constant": lambda z: z.square().mean() + torch.zeros(()).log(),
    "label beyond support": lambda z: F.cross_entropy(z.masked_fill(LEGAL, -INF), torch.full((32,), 2)),
    "an infinite target": lambda z: (z - torch.tensor([0.0, 1.0, INF])).abs().clamp(max=INF).mean(),
    "no positives": lambda z: (z[:, 0] * torch.zeros(32)).sum() / torch.zeros(32).sum(),
    "weights of zero": lambda z: F.cross_entropy(z, torch.arange(32) % 3, weight=torch.zeros(3)),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_that_is_not_finite(name):
    model, x, loss = net(4, 8, 3), torch.randn(32, 4), LOSSES[name]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    reports = [stability_report(model, (x, x), lambda z, _: loss(z), exact=exact) for exact in (False, True)]
    reports += watched(model, lambda: loss(model(x)), optimizer)
    for report in reports:
        assert report.verdict == "not finite" and "loss" in str(report).lower(), report


def test_a_sound_loss_is_told_and_no_fault():
    model, x = net(4, 8, 3), torch.randn(32, 4)
    report = stability_report(model, (x, torch.arange(32) % 3), F.cross_entropy)
    assert report.verdict == "healthy" and report.loss == pytest.approx(1.1, abs=0.3)


# ---------------------------------------------------------------------------------------- a weight's gradient that is not


def cosine_head():
    head = nn.Linear(8, 3, bias=False)
    head.weight.data[1] = 0
    unit = lambda w: w / w.square().sum(1, keepdim=True).sqrt().clamp(min=1e-6)  # noqa: E731
    return Apply(lambda m, x: m.body(x) @ unit(m.head.weight).t(), body=nn.Linear(4, 8), head=head), "head"


def temperature():
    m = Apply(lambda m, x: m.body(x) * m.tau.abs().sqrt(), body=nn.Linear(4, 3))
    m.tau = nn.Parameter(torch.zeros(()))
    return m, "(model)"


def own_bias():
    layer = nn.Linear(8, 3)
    layer.bias.data.zero_()
    return Apply(lambda m, x: F.linear(m.body(x), m.head.weight, (m.head.bias**2).sqrt()), body=nn.Linear(4, 8), head=layer), "head"  # fmt: skip


def a_row_of_many():
    table = nn.Embedding(5000, 8)
    table.weight.data[3] = 0
    rows = torch.cat([torch.arange(4), torch.randint(0, 5000, (28,))])
    return Apply(lambda m, x: m.head(x) + (m.table(rows).square().sum(1, keepdim=True).sqrt()), table=table, head=nn.Linear(4, 3)), "table"  # fmt: skip


def one_of_a_gain():
    norm = nn.LayerNorm(8)
    norm.weight.data[2] = 0
    return Apply(lambda m, x: m.head(F.layer_norm(m.body(x), (8,)) * m.norm.weight.abs().sqrt()),
                 body=nn.Linear(4, 8), norm=norm, head=nn.Linear(8, 3)), "norm"  # fmt: skip


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("make", [cosine_head, temperature, own_bias, a_row_of_many, one_of_a_gain])
def test_a_weights_gradient_that_is_not_finite(make, exact):
    model, where = make()
    x, y = torch.randn(32, 4), torch.arange(32) % 3
    report = stability_report(model, (x, y), F.cross_entropy, exact=exact)
    assert report.verdict == "not finite", report
    bad = [r.name for r in report.layers if r.verdict == "not finite"]
    assert where in bad or any(where in note for note in report.notes), report


# ------------------------------------------------------------------------------------------------------- diverged models


def blown_up(factor: float, *, norm: bool = False):
    layers = [m for _ in range(6) for m in (nn.Linear(8, 8), *([nn.BatchNorm1d(8)] if norm else []), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(8, 3))
    for p in model.parameters():
        p.data *= factor
    return model


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("factor", [1e5, 1e7, 1e20, INF, NAN])
@pytest.mark.parametrize("norm", [False, True])
def test_a_model_that_has_diverged(factor, norm, exact):
    model, x, y = blown_up(factor, norm=norm), torch.randn(16, 8), torch.randint(0, 3, (16,))
    report = stability_report(model, (x, y), F.cross_entropy, exact=exact)
    if (factor >= 1e7 and not norm) or not math.isfinite(factor):
        assert report.verdict == "not finite", report
    json.dumps(report.to_dict(), allow_nan=False)
    assert str(report) and report._repr_html_()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    assert len(watched(model, lambda: F.cross_entropy(model(x), y), optimizer, 3, exact=exact)) == 3


def test_a_model_without_a_layer_to_speak_of():
    model = nn.Sequential(nn.Flatten())
    with pytest.raises(ValueError, match="computes something"):
        stability_report(model, torch.randn(4, 3, requires_grad=True), lambda out: out.sum())


# ------------------------------------------------------------------------------------------------- masks that hide a row

X, PAD = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0)), torch.zeros(3, 5, dtype=torch.bool)
PAD[1] = True
BARRED = torch.zeros(3, 1, 5).masked_fill(PAD[:, None], -INF)


def attention(**how):
    m = Apply(lambda m: m.att(X, X, X, **how)[0].sum(), att=nn.MultiheadAttention(8, 2, batch_first=True))
    return m, "softmax", "att"


def scores(read: Callable[[Tensor], Tensor], name: str):
    m = Apply(lambda m: read(m.query(X) @ X.transpose(1, 2) / 8**0.5), query=nn.Linear(8, 8))
    return m, name, ""


def by_function():
    m = Apply(lambda m: F.multi_head_attention_forward(
        X.transpose(0, 1), X.transpose(0, 1), X.transpose(0, 1), 8, 2, m.a.in_proj_weight, m.a.in_proj_bias, None, None,
        False, 0.0, m.a.out_proj.weight, m.a.out_proj.bias, key_padding_mask=PAD)[0].sum(),
        a=nn.MultiheadAttention(8, 2))  # fmt: skip
    return m, "softmax", ""


def in_a_decoder():
    layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
    attend = layer.multihead_attn.forward
    layer.multihead_attn.forward = lambda *a, **k: attend(*a, **k | {"need_weights": True})
    m = Apply(lambda m: m.dec(X, X, memory_key_padding_mask=PAD).sum(), dec=layer)
    return m, "softmax", "dec.multihead_attn"


def fused(read):
    m = Apply(lambda m: read(m.query(X)).sum(), query=nn.Linear(8, 8))
    return m, "softmax", ""


MASKED = {
    "padding throughout": lambda: attention(key_padding_mask=PAD),
    "padding, no average": lambda: attention(key_padding_mask=PAD, average_attn_weights=False),
    "a float mask with a whole row": lambda: attention(attn_mask=torch.full((5, 5), -INF).triu(0)),
    "a mask a head": lambda: attention(attn_mask=(torch.arange(5) == 2)[None, :, None].expand(6, 5, 5)),
    "causal and left padding": lambda: attention(
        attn_mask=torch.ones(5, 5, dtype=torch.bool).triu(1), key_padding_mask=torch.arange(5).expand(3, 5) < 2
    ),
    "multi_head_attention_forward": by_function,
    "memory in a decoder": in_a_decoder,
    "baddbmm": lambda: fused(lambda q: torch.baddbmm(BARRED.expand(3, 5, 5), q, X.transpose(1, 2)).softmax(-1)),
    "addbmm by hand": lambda: fused(
        lambda q: torch.addmm(torch.full((5,), -INF).expand(5, 5), q[1], X[1].t()).softmax(-1)
    ),
    "einsum": lambda: fused(lambda q: (torch.einsum("bqd,bkd->bqk", q, X) + BARRED).softmax(-1) @ X),
    "slopes beside the mask": lambda: scores(lambda s: ((s - 0.1 * torch.arange(5.0)) + BARRED).softmax(-1).sum(), "softmax"),
    "log_softmax": lambda: scores(lambda s: F.log_softmax(s.masked_fill(PAD[:, None], -INF), -1).exp().sum(), "log_softmax"),
    "gumbel": lambda: scores(lambda s: F.gumbel_softmax(s + BARRED, dim=-1).sum(), "softmax"),
    "by hand": lambda: scores(lambda s: (s + BARRED).exp().div((s + BARRED).exp().sum(-1, keepdim=True)).sum(), "div"),
}  # fmt: skip


@pytest.mark.parametrize("name", MASKED)
def test_a_mask_that_hides_a_whole_row(name):
    model, operation, module = MASKED[name]()
    origin = find_nonfinite_origin(model, model)
    assert (origin.phase, origin.module, origin.operation) == ("forward", module, operation), origin
    if operation != "div":
        assert "mask" in origin.message and "row" in origin.message and "leave an entry" in origin.message
    assert "scale the weights" not in origin.message and "[" in origin.message


def test_which_sample_the_mask_hides():
    model, *_ = attention(key_padding_mask=PAD)
    origin = find_nonfinite_origin(model, model)
    assert "sample 1" in origin.message, origin
    assert not (torch.isnan(F.scaled_dot_product_attention(X, X, X, attn_mask=~PAD[:, None])).any())  # safe by itself


# ------------------------------------------------------------------------------------------------- a closure that raises


def actor(read: Callable[[Tensor], Any]):
    m = Apply(lambda m, o: read(m.mu(o)), mu=nn.Linear(6, 3))
    m.mu.weight.data[0, 0] = NAN
    return m, ("parameter", "mu.weight")


def raised_by_hand(z):
    assert torch.isfinite(z).all(), "activations must be finite"
    return z.sum()


def read_as_a_number(z):
    return z.sum() * int(z.mean().item())


def unhelpful(z):
    if z.isnan().any():
        raise RuntimeError("diverged")
    return z.sum()


def born_in_the_step():
    m = Apply(
        lambda m, o: torch.distributions.Categorical(logits=m.mu(o).sub(9).log(), validate_args=True).entropy().mean(),
        mu=nn.Linear(6, 3),
    )
    return m, ("forward", "")


def raised_backward():
    def hook(g):
        if not g.isfinite().all():
            raise FloatingPointError("a gradient is not finite")

    def read(m, o):
        h = m.mu(o)
        h.register_hook(hook)
        return (h - h).sqrt().sum()

    return Apply(read, mu=nn.Linear(6, 3)), ("backward", "")


RAISING = {
    "Normal": lambda: actor(
        lambda z: -torch.distributions.Normal(z, 1.0, validate_args=True).log_prob(torch.zeros(8, 3)).mean()
    ),
    "Categorical": lambda: actor(
        lambda z: torch.distributions.Categorical(logits=z, validate_args=True).entropy().mean()
    ),
    "an assertion": lambda: actor(raised_by_hand),
    "int of NaN": lambda: actor(read_as_a_number),
    "a check of one's own": lambda: actor(unhelpful),
    "binary_cross_entropy": lambda: actor(lambda z: F.binary_cross_entropy(z.sigmoid(), torch.ones(8, 3))),
    "multinomial": lambda: actor(lambda z: z.softmax(-1).multinomial(1).sum() * z.sum()),
    "eigh": lambda: actor(lambda z: torch.linalg.eigh(z.t() @ z)[0].sum()),
    "cholesky": lambda: actor(lambda z: torch.linalg.cholesky(z.t() @ z + torch.eye(3)).sum()),
    "born in the step": born_in_the_step,
    "in the backward pass": raised_backward,
}


@pytest.mark.parametrize("name", RAISING)
def test_a_closure_that_raises(name):
    model, (phase, tensor) = RAISING[name]()
    o = torch.randn(8, 6)
    origin = find_nonfinite_origin(model, lambda: model(o))
    assert (origin.phase, origin.tensor) == (phase, tensor), origin
    assert "raised" in origin.message and "Error" in origin.message
    if phase == "forward":
        assert origin.operation == "log"


def test_a_closure_that_raises_after_the_update():
    model, o = Apply(lambda m, o: m.mu(o), mu=nn.Linear(6, 3)), torch.randn(8, 6)
    closure = lambda: -torch.distributions.Normal(model(o), 1.0, validate_args=True).log_prob(torch.zeros(8, 3)).mean()  # noqa: E731
    origin = find_nonfinite_origin(model, closure, torch.optim.SGD(model.parameters(), lr=1e38))
    assert origin.phase == "optimiser", origin


def test_an_exception_that_has_nothing_to_do_with_it_comes_through():
    model, o = nn.Linear(6, 3), torch.randn(8, 6)

    def closure():
        model(o).masked_fill(torch.arange(3) > 0, -INF).softmax(-1)
        raise KeyError("labels")

    with pytest.raises(KeyError, match="labels"):
        find_nonfinite_origin(model, closure)


# --------------------------------------------------------------------------------------------- a scaler and a genuine NaN


def under_autocast(model, x, read):
    def loss():
        with torch.autocast("cpu", dtype=torch.float16):
            h = model(x)
        return read(h)

    return loss


GENUINE = {
    "a root at 0": lambda h: (h - h.detach()).float().square().sum(1).sqrt().mean() + h.float().square().mean(),
    "a slope of Inf": lambda h: (h - h.detach()).float().abs().sqrt().mean() + h.float().square().mean(),
    "a where": lambda h: torch.where(h > 0, (h.float() * (h > 0)).log(), 0.0).mean(),
    "an angle of 0": lambda h: torch.acos(h.float() * 0 + 1).mean() + h.float().mean(),
    "Inf and no NaN": lambda h: torch.acos((h - h.detach()).float() + 1).mean(),
}


@pytest.mark.parametrize("name", GENUINE)
def test_a_scaler_does_not_hide_a_genuine_nan(name):
    model, x = net(4, 8, 4), torch.randn(8, 4)
    optimizer, scaler = torch.optim.SGD(model.parameters(), lr=0.1), torch.amp.GradScaler("cpu", init_scale=2.0**16)
    history = watched(model, under_autocast(model, x, GENUINE[name]), optimizer, 8, scaler)
    verdicts = [report.verdict for report in history]
    assert "not finite" in verdicts[:5] and verdicts[-1] == "not finite", verdicts


def test_a_genuine_nan_in_fp32_under_a_scaler_is_seen_at_once():
    model, x = net(4, 8, 4), torch.randn(8, 4)
    optimizer, scaler = torch.optim.SGD(model.parameters(), lr=0.1), torch.amp.GradScaler("cpu", init_scale=2.0**16)
    history = watched(model, lambda: (model(x) * 0).abs().sqrt().mean(), optimizer, 1, scaler)
    assert history[0].verdict == "not finite"


@pytest.mark.parametrize("size", [1.0, 30.0])
def test_a_scale_that_is_too_large_is_still_no_fault(size):
    model, x = net(4, 64, 64, 4), size * torch.randn(64, 4)
    optimizer, scaler = torch.optim.SGD(model.parameters(), lr=0.0), torch.amp.GradScaler("cpu", init_scale=2.0**24)
    history = watched(model, under_autocast(model, x, lambda h: h.float().square().mean()), optimizer, 16, scaler)
    assert all(report.verdict == "healthy" for report in history), [r.verdict for r in history]
    assert "scaler skips" in history[0].notes[0]


# --------------------------------------------------------------------------------------------- buffers that are not read


def normed(kind=nn.BatchNorm1d, **how):
    return nn.Sequential(nn.Linear(4, 6), kind(6, **how), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))


@pytest.mark.parametrize("buffer", ["running_var", "running_mean"])
@pytest.mark.parametrize("value", [INF, NAN])
@pytest.mark.parametrize("how", [{}, {"momentum": None}])
def test_a_running_variance_that_training_does_not_read(buffer, value, how):
    model, x = normed(**how), torch.randn(16, 4)
    with torch.no_grad():
        model[1].weight.fill_(2e38)
        model[3].weight.mul_(1e38)
        getattr(model[1], buffer)[2] = value
    origin = find_nonfinite_origin(model, lambda: model(x).square().mean())
    assert (origin.phase, origin.operation, origin.module) == ("forward", "batch_norm", "1"), origin
    assert "learning rate" in origin.message


def test_an_instance_norm_that_tracks():
    model, x = nn.Sequential(nn.Conv1d(2, 4, 3), nn.InstanceNorm1d(4, track_running_stats=True), nn.Flatten()), torch.randn(3, 2, 9)  # fmt: skip
    model[1].running_var[0] = INF
    origin = find_nonfinite_origin(model, lambda: (model(x) * 0).log().sum())
    assert (origin.phase, origin.operation) == ("forward", "log"), origin


@pytest.mark.parametrize("buffer", ["running_var", "running_mean"])
def test_an_infinite_buffer_counts_in_eval_mode(buffer):
    model, x = normed().eval(), torch.randn(16, 4)
    getattr(model[1], buffer)[:] = INF
    origin = find_nonfinite_origin(model, lambda: model(x).square().mean())
    assert (origin.phase, origin.tensor, origin.module) == ("buffer", f"1.{buffer}", "1"), origin


def test_a_mask_in_a_buffer_is_no_poison():
    model, x = nn.Linear(4, 4), torch.randn(3, 4)
    model.register_buffer("mask", torch.full((4, 4), -INF).triu(1))
    model.register_buffer("best", torch.tensor(INF))
    model.register_buffer(
        "slopes", (-0.1 * torch.arange(16.0).view(4, 4)).masked_fill(torch.ones(4, 4).triu(1) > 0, -INF)
    )
    assert not find_nonfinite_origin(model, lambda: model(x).square().mean())


# -------------------------------------------------------------------------------------------------- the optimiser's numbers


def fp16_step(make, lr: float = 1e-3, rate_at_fault: bool = False):
    m = Apply(lambda m, i: m.head(m.emb(i).mean(1)), emb=nn.Embedding(20, 8), head=nn.Linear(8, 3)).half()
    i, y = torch.randint(0, 5, (6, 4)), torch.randint(0, 3, (6,))
    return m, lambda: F.cross_entropy(m(i).float(), y), make(m.parameters(), lr=lr)


@pytest.mark.parametrize("kind", ["Adam", "AdamW", "NAdam", "RMSprop", "Adagrad"])
def test_an_eps_that_is_0_in_fp16(kind):
    model, closure, optimizer = fp16_step(getattr(torch.optim, kind))
    origin = find_nonfinite_origin(model, closure, optimizer)
    assert origin.phase == "optimiser" and origin.operation == f"{kind}.step", origin
    assert "eps" in origin.message and "is 0 in" in origin.message and "divide" not in origin.message
    for group in optimizer.param_groups:  # what it says cures it
        group["eps"] = 1e-4
    assert not find_nonfinite_origin(model, closure, optimizer)


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW"])
def test_a_rate_that_is_too_large(kind):
    model, x = net(6, 8, 3), torch.randn(5, 6)
    optimizer = getattr(torch.optim, kind)(model.parameters(), lr=1e38)
    origin = find_nonfinite_origin(model, lambda: model(x).square().mean(), optimizer)
    assert origin.phase == "optimiser" and "learning rate" in origin.message and "eps" not in origin.message, origin


def test_both_the_rate_and_eps():
    model, closure, optimizer = fp16_step(torch.optim.Adam, lr=1e30)
    message = find_nonfinite_origin(model, closure, optimizer).message
    assert "eps" in message and "learning rate" in message


def test_a_rate_that_is_no_number():
    model, x = net(6, 8, 3), torch.randn(5, 6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.param_groups[0]["lr"] = NAN
    origin = find_nonfinite_origin(model, lambda: model(x).square().mean(), optimizer)
    assert "schedule" in origin.message and "divide" not in origin.message


# ------------------------------------------------------------------------------------------------------------- remedies

CATCH_ALL = ("look at the inputs' magnitude", "scale the weights down")
H = nn.Linear(8, 6)


def said(read: Callable[[Tensor], Tensor], layer: nn.Module | None = None, x: Tensor | None = None) -> str:
    model = copy.deepcopy(H) if layer is None else layer
    x = torch.randn(5, 8) if x is None else x
    origin = find_nonfinite_origin(model, lambda: read(model(x)).sum())
    assert origin, "nothing found"
    return origin.message


def repeated_values(z):
    U, S, V = torch.linalg.svd(z.t() @ z * 0 + torch.eye(6))
    return (U[:, 0] - 2 * V[0]).square().sum() + S.sum()


def zero_row_of_weight_norm() -> str:
    layer = nn.Linear(8, 6)
    layer.weight.data[1] = 0
    return said(lambda z: z, nn.utils.parametrizations.weight_norm(layer))


T = torch.randint(1, 6, (2, 5), generator=torch.Generator().manual_seed(0))
CTC = torch.randn(4, 2, 8)
HALF = torch.tensor([6e4, 1.0, 2.0]).half()

# What is done, a word that the remedy must have, and one that it must not
REMEDIES: dict[str, tuple[Callable[[], str], str, str]] = {
    "ctc": (lambda: said(lambda z: F.ctc_loss(z.log_softmax(-1), T, torch.tensor([4, 4]), torch.tensor([5, 2])), x=CTC), "zero_infinity", "normalise"),
    "svd": (lambda: said(repeated_values), "singular values", "normalise"),
    "weight_norm": (zero_row_of_weight_norm, "row", "normalise"),
    "eigh": (lambda: said(lambda z: torch.linalg.eigh(z.t() @ z * 0 + torch.eye(6))[1][:, 0].square().sum() * z.sum()), "eigenvalues", "normalise"),
    "log of 0": (lambda: said(lambda z: (z * 0).log()), "clamp", "wider"),
    "log of a negative": (lambda: said(lambda z: (z * 0 - 1).log()), "negative", "add a small eps"),
    "root of a negative": (lambda: said(lambda z: (z * 0 - 1).sqrt()), "negative", "eps inside"),
    "root at 0": (lambda: said(lambda z: (z * 0).sqrt()), "eps", "wider"),
    "std of one": (lambda: said(lambda z: z[:1].std(0)), "correction", "eps"),
    "norm that overflows": (lambda: said(lambda z: (1e30 * z).square().sum().sqrt()), "overflow", "eps"),
    "0/0": (lambda: said(lambda z: (z * 0) / (z * 0)), "eps", "wider"),
    "a quotient that overflows": (lambda: said(lambda z: (z * 0 + 1e30) / 1e-30), "largest", "1e-8 is 0"),
    "a power that overflows": (lambda: said(lambda z: (z * 0 + 1e30) ** 2), "largest", "away from 0"),
    "a negative base": (lambda: said(lambda z: (z * 0 - 2) ** 0.5), "negative", "largest"),
    "fp16 sum of squares": (lambda: said(lambda z: (z.half() * 0 + 300).square().sum()), "float32", "normalise"),
    "an exp": (lambda: said(lambda z: (z * 0 + 100).exp()), "maximum", "float32 would"),
    "an exp in fp16": (lambda: said(lambda z: (z.half() * 0 + 20).exp()), "fp16", "wider format."),
    "logsumexp of -Inf": (lambda: said(lambda z: z.masked_fill(torch.ones(6) > 0, -INF).logsumexp(-1)), "mask", "eps"),
    "acos at 1": (lambda: said(lambda z: torch.acos(z * 0 + 1)), "clamp", "eps"),
    "Inf - Inf": (lambda: said(lambda z: (z + INF) - INF), "Inf - Inf", "normalise"),
    "no entries": (lambda: said(lambda z: z[z > 1e9].mean()), "no entries", "normalise"),
    "a label that is masked": (lambda: said(lambda z: F.cross_entropy(z.masked_fill(torch.arange(6) == 1, -INF), torch.ones(5).long())), "target", "leave an entry"),
    "cholesky": (lambda: said(lambda z: torch.linalg.inv(z.t() @ z * 0 + 1e-30 * torch.eye(6)).square()), "", "normalise"),
    "a function without a rule": (lambda: said(lambda z: torch.special.zeta(z * 0 + 1, z * 0 + 1)), "", "normalise"),
}  # fmt: skip


@pytest.mark.parametrize("name", REMEDIES)
def test_a_remedy_fits_the_cause_or_there_is_none(name):
    make, wanted, unwanted = REMEDIES[name]
    message = make()
    assert wanted in message and unwanted not in message, message
    assert not any(words in message for words in CATCH_ALL), message


BARE = nn.Linear(8, 6, bias=False)
FRAMES = torch.tensor([4, 4]), torch.tensor([5, 2])

# For each rule a step that it is said of, and the same step with its remedy; the neighbours, which need another, stand above
CURES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "log": (lambda z: (z * 0).log(), lambda z: (z * 0).clamp(min=1e-6).log()),
    "log of a negative": (lambda z: (z * 0 - 1).log(), lambda z: (z * 0 - 1).clamp(min=1e-6).log()),
    "slope of a log": (lambda z: torch.where(z > 9, (z * (z > 9)).log(), 0.0), lambda z: torch.where(z > 9, (z * (z > 9)).clamp(min=1e-6).log(), 0.0)),
    "slope of a root": (lambda z: (z * 0).sqrt(), lambda z: (z * 0 + 1e-6).sqrt()),
    "root of a negative": (lambda z: (z * 0 - 1).sqrt(), lambda z: (z * 0 - 1).clamp(min=1e-6).sqrt()),
    "rsqrt": (lambda z: (z * 0).rsqrt(), lambda z: (z * 0 + 1e-6).rsqrt()),
    "std of one": (lambda z: z[:1].std(0), lambda z: z[:1].std(0, correction=0)),
    "0/0": (lambda z: (z * 0) / (z * 0), lambda z: (z * 0) / (z * 0 + 1e-3)),
    "reciprocal": (lambda z: (z * 0).reciprocal(), lambda z: (z * 0 + 1e-3).reciprocal()),
    "exp": (lambda z: (z * 50 + 100).exp(), lambda z: (z * 50 + 100 - (z * 50 + 100).max()).exp()),
    "power of 0": (lambda z: (z * 0) ** -1.5, lambda z: (z * 0).clamp(min=1e-3) ** -1.5),
    "power of a negative": (lambda z: (z * 0 - 2) ** 0.5, lambda z: (z * 0 - 2).clamp(min=1e-3) ** 0.5),
    "slope of a power": (lambda z: (z * 0) ** 0.5, lambda z: (z * 0).clamp(min=1e-3) ** 0.5),
    "acos": (lambda z: torch.acos(z * 0 + 1), lambda z: torch.acos((z * 0 + 1).clamp(max=1 - 1e-6))),
    "acos outside": (lambda z: torch.acos(z * 0 + 1.5), lambda z: torch.acos((z * 0 + 1.5).clamp(-1 + 1e-6, 1 - 1e-6))),
    "atanh": (lambda z: torch.atanh(z * 0 + 1), lambda z: torch.atanh((z * 0 + 1).clamp(max=1 - 1e-6))),
    "no entries": (lambda z: z[z > 1e9].mean(), lambda z: z[z > 1e9].sum() / max(1, int((z > 1e9).sum()))),
    "Inf - Inf": (lambda z: (z + INF) - INF, lambda z: (z + 1e3) - 1e3),
    "a hidden row": (lambda z: z.masked_fill(torch.ones(6) > 0, -INF).softmax(-1), lambda z: z.masked_fill(torch.arange(6) > 0, -INF).softmax(-1)),
    "a masked target": (lambda z: F.cross_entropy(z.masked_fill(torch.arange(6) == 1, -INF), torch.ones(5).long()),
                        lambda z: F.cross_entropy(z.masked_fill(torch.arange(6) == 2, -INF), torch.ones(5).long())),
    "overflow in fp16": (lambda z: (z.half() * 0 + 300).square().sum(), lambda z: (z.half() * 0 + 300).float().square().sum()),
    "overflow": (lambda z: (z * 0 + 1e30) ** 2, lambda z: (z * 0 + 1e18) ** 2),
    "svd": (repeated_values, lambda z: torch.linalg.svdvals(z.t() @ z * 0 + torch.eye(6)).sum()),
    "eigh": (lambda z: torch.linalg.eigh(z.t() @ z * 0 + torch.eye(6))[1][:, 0].sum(), lambda z: torch.linalg.eigvalsh(z.t() @ z * 0 + torch.eye(6)).sum()),
}  # fmt: skip


@pytest.mark.parametrize("name", CURES)
def test_a_remedy_cures(name):
    sick, cured = CURES[name]
    model, x = copy.deepcopy(BARE), torch.randn(5, 8)
    assert "Remedy:" in find_nonfinite_origin(model, lambda: sick(model(x)).float().sum()).message
    origin = find_nonfinite_origin(model, lambda: cured(model(x)).float().sum())
    assert not origin, origin


def test_zero_infinity_cures_ctc():
    for zero in (False, True):
        model = copy.deepcopy(H)
        loss = lambda: F.ctc_loss(model(CTC).log_softmax(-1), T, *FRAMES, zero_infinity=zero)  # noqa: B023, E731
        assert bool(find_nonfinite_origin(model, loss)) is not zero


# ----------------------------------------------------------------------------------------------- zeros that are meant


class LoRA(nn.Module):
    def __init__(self, linear, r=8):
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.A, self.B = nn.Linear(linear.in_features, r, bias=False), nn.Linear(r, linear.out_features, bias=False)
        nn.init.zeros_(self.B.weight)

    def forward(self, x):
        return self.linear(x) + 2 * self.B(self.A(x))


class Residual(nn.Module):
    def __init__(self, gate: Tensor, width: int = 32, *, zero_last: bool = False):
        super().__init__()
        self.norm, self.a, self.b = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.gate = nn.Parameter(gate)
        if zero_last:
            nn.init.zeros_(self.b.weight)
            nn.init.zeros_(self.b.bias)

    def forward(self, x):
        return x + self.gate * self.b(F.gelu(self.a(self.norm(x))))


def deep(*blocks: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(32, 32), *blocks, nn.LayerNorm(32), nn.Linear(32, 4))


def adapter(std: float) -> nn.Module:
    down, up = nn.Linear(32, 4), nn.Linear(4, 32)
    for layer in (down, up):
        nn.init.normal_(layer.weight, std=std)
        nn.init.zeros_(layer.bias)
    return Apply(lambda m, x: m.main(x) + m.up(F.relu(m.down(x))), main=nn.Linear(32, 32), down=down, up=up)


def zero_head() -> nn.Module:
    head = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 4))
    nn.init.zeros_(head[2].weight)
    return head


def unused() -> nn.Module:
    return Apply(lambda m, x: m.body(x), body=net(32, 32, 4), never=nn.Linear(32, 32), frozen=nn.Linear(3, 3).requires_grad_(False))  # fmt: skip


def frozen_bottom() -> nn.Module:
    model = net(32, 32, 32, 32, 4)
    model[:4].requires_grad_(False)
    return model


def controlled() -> nn.Module:
    """Two layers of zeros in a row, as a control net begins."""
    first, last = nn.Linear(32, 32), nn.Linear(32, 32)
    for layer in (first, last):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return Apply(lambda m, x: m.head(F.silu(m.main(x)) + m.last(F.silu(m.copy(x + m.first(x))))), main=nn.Linear(32, 32),
                 copy=nn.Linear(32, 32), first=first, last=last, head=nn.Linear(32, 4))  # fmt: skip


def zero_position() -> nn.Module:
    position = nn.Embedding(16, 32)
    nn.init.zeros_(position.weight)
    return Apply(lambda m, x: m.body(x[:, None] + m.position(torch.arange(16))).mean(1), body=net(32, 32, 4), position=position)  # fmt: skip


def zero_gamma() -> nn.Module:
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.n1, self.b, self.n2 = (
                nn.Linear(32, 32),
                nn.BatchNorm1d(32),
                nn.Linear(32, 32),
                nn.BatchNorm1d(32),
            )
            nn.init.zeros_(self.n2.weight)

        def forward(self, x):
            return F.relu(x + self.n2(self.b(F.relu(self.n1(self.a(x))))))

    return deep(*[Branch() for _ in range(6)])


def modulated() -> nn.Module:
    """A diffusion transformer's adaLN-zero: shift, scale and gate begin at 0, and so does the last layer."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.mod, self.ff = (
                nn.LayerNorm(32, elementwise_affine=False),
                nn.Linear(32, 96),
                net(32, 64, 32),
            )
            nn.init.zeros_(self.mod.weight)
            nn.init.zeros_(self.mod.bias)

        def forward(self, x):
            shift, scale, gate = self.mod(F.silu(x)).chunk(3, -1)
            return x + gate * self.ff(self.norm(x) * (1 + scale) + shift)

    return deep(*[Block() for _ in range(6)])


SOUND: dict[str, Callable[[], nn.Module]] = {
    "LoRA": lambda: nn.Sequential(LoRA(nn.Linear(32, 64)), nn.GELU(), LoRA(nn.Linear(64, 4))),
    "deep LoRA": lambda: nn.Sequential(*[m for _ in range(8) for m in (LoRA(nn.Linear(32, 32)), nn.GELU())], nn.Linear(32, 4)),
    "zero head": zero_head,
    "ReZero": lambda: deep(*[Residual(torch.zeros(())) for _ in range(8)]),
    "ReZero of shape 1": lambda: deep(*[Residual(torch.zeros(1)) for _ in range(8)]),
    "LayerScale 0": lambda: deep(*[Residual(torch.zeros(32)) for _ in range(8)]),
    "LayerScale 1e-6": lambda: deep(*[Residual(torch.full((32,), 1e-6)) for _ in range(8)]),
    "zero last layer of a branch": lambda: deep(*[Residual(torch.ones(1), zero_last=True) for _ in range(8)]),
    "zero gamma": zero_gamma,
    "adaLN-zero": modulated,
    "adapter 1e-3": lambda: nn.Sequential(adapter(1e-3), nn.GELU(), adapter(1e-3), nn.Linear(32, 4)),
    "adapter 1e-5": lambda: nn.Sequential(adapter(1e-5), nn.GELU(), adapter(1e-5), nn.Linear(32, 4)),
    "two zero layers in a row": controlled,
    "zero positions": zero_position,
    "unused and frozen": unused,
    "frozen bottom": frozen_bottom,
}  # fmt: skip


@pytest.mark.parametrize(
    ("rate", "exact"),
    [
        (1e-3, True),
        *(pytest.param(*given, marks=pytest.mark.slow) for given in [(2e-4, False), (2e-4, True), (1e-3, False)]),
    ],
)
@pytest.mark.parametrize("name", SOUND)
def test_zeros_that_are_meant_raise_no_alarm(name, rate, exact):
    model, x, y = SOUND[name](), torch.randn(64, 32), torch.randint(0, 4, (64,))
    report = stability_report(model, (x, y), F.cross_entropy, exact=exact)
    assert report.verdict == "healthy", report
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    history = watched(model, lambda: F.cross_entropy(model(x), y), optimizer, 8, exact=exact)
    assert [report.verdict for report in history] == ["healthy"] * 8, history[-1]


def test_the_same_nets_without_their_zeros_and_with_a_rate_too_large():
    x, y = torch.randn(64, 32), torch.randint(0, 4, (64,))
    model = zero_head()
    history = watched(model, lambda: F.cross_entropy(model(x), y), torch.optim.AdamW(model.parameters(), lr=0.5), 2)
    assert history[0].verdict == "step too large"
    tiny = net(*[32] * 12, 4)
    for layer in tiny[::2]:
        nn.init.normal_(layer.weight, std=1e-3)
    assert stability_report(tiny, (x, y), F.cross_entropy).verdict == "vanishing"


# ------------------------------------------------------------------------------------------------------- nothing learns


def dead_end(last: Callable[[Tensor], Tensor] | nn.Module):
    body = net(16, 32, 1)
    body[2].bias.data.fill_(-5)
    if isinstance(last, nn.Module):
        return nn.Sequential(body, last)
    return Apply(lambda m, x: last(m.body(x)), body=body)


@pytest.mark.parametrize(
    "last", [nn.ReLU(), torch.relu, F.relu6, lambda z: z.clamp(min=0), lambda z: F.hardtanh(z, 0, 1e3), nn.Threshold(0.0, 0.0)],
)  # fmt: skip
def test_a_last_activation_that_is_dead(last):
    model, batch = dead_end(last), (torch.randn(64, 16), 100 * torch.rand(64, 1))
    report = stability_report(model, batch, F.mse_loss)
    assert report.verdict in ("dead ReLU", "no gradient anywhere") and report.advice, report


def test_a_last_activation_that_is_not_dead():
    model, batch = nn.Sequential(net(16, 32, 8), nn.ReLU()), (torch.randn(64, 16), torch.rand(64, 8))
    assert stability_report(model, batch, F.mse_loss).verdict == "healthy"
    model[0][2].bias.data[:6] = -5  # some classes are absent in this batch
    assert stability_report(model, batch, F.mse_loss).verdict == "healthy"


# ------------------------------------------------------------------------------------------------ functions are seen


def entered(how: str):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 3)

        def forward(self, x):
            return self.b(torch.sigmoid(100 * self.a(x)))

        def training_step(self, x, y):
            return F.cross_entropy(self.forward(x), y)

    m = M()
    outer = Apply(lambda o, x: o.net(x), net=m)
    return {
        "forward": (m, lambda x, y: F.cross_entropy(m(x), y)),
        "a method": (m, m.training_step),
        "outside": (m, lambda x, y: F.cross_entropy(m.b(torch.sigmoid(100 * m.a(x))), y)),
        "a method of what wraps it": (outer, m.training_step),
        "in-place": (m, lambda x, y: F.cross_entropy(m.b((100 * m.a(x)).sigmoid_()), y)),
        "two passes": (m, lambda x, y: F.cross_entropy(m.b(torch.sigmoid(100 * m.a(x))), y) + 0 * m(x).sum()),
    }[how]


@pytest.mark.parametrize(
    "how", ["forward", "a method", "outside", "a method of what wraps it", "in-place", "two passes"]
)
def test_functions_are_seen_wherever_they_are_called(how):
    model, loss = entered(how)
    x, y = torch.randn(64, 8), torch.randint(0, 3, (64,))
    history = watched(model, lambda: loss(x, y), torch.optim.SGD(model.parameters(), lr=1e-3), 2)
    assert [r.verdict for r in history] == ["saturated"] * 2
    assert sum("sigmoid" in r.name for r in history[1].layers) == 1, history[1]
    assert not torch.overrides._get_current_function_mode_stack()


# --------------------------------------------------------------------------------------------------- what a search costs


@pytest.mark.slow
@pytest.mark.parametrize("layers, poisoned", [(4, 0), (60, 0), (40, 30)])
def test_a_search_is_capped(layers, poisoned, monkeypatch):
    count, run = [0], replaying.Replay.run
    monkeypatch.setattr(replaying.Replay, "run", lambda *a: (count.__setitem__(0, count[0] + 1), run(*a))[1])
    model = nn.Sequential(nn.Embedding(20, 8), *[nn.Linear(8, 8) for _ in range(layers)]).half()
    for layer in model[1 : 1 + poisoned]:
        layer.weight.data[0, 0] = INF
    i = torch.randint(0, 5, (6, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    origin = find_nonfinite_origin(model, lambda: model(i).float().square().mean(), optimizer)
    assert origin and count[0] <= 20 and origin.replays == count[0]


# ----------------------------------------------------------------------------------------------------------------- minors


@pytest.mark.parametrize("scale", [1e-12, 1e-20, 1e-27, 1e-34, 1e-36])
@pytest.mark.parametrize("exact", [False, True])
def test_small_gradients(scale, exact):
    layers = [nn.Linear(64, 64, bias=False) for _ in range(3)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight)
    model, x = nn.Sequential(*layers), torch.randn(64, 64)
    h = model[0](x)
    h.retain_grad()
    (model[1:](h).square().sum() * scale).backward()
    true, of_weight = h.grad.double().norm().item(), model[0].weight.grad.double().norm().item()
    first = stability_report(model, (x, x), lambda out, _: out.square().sum() * scale, exact=exact).layers[0]
    near = 1e-5 if exact else 0.1
    assert first.gradient == pytest.approx(true, rel=near, abs=0)
    assert first.weight_gradient == pytest.approx(of_weight, rel=near, abs=0)


def test_a_dictionary_is_valid_json_in_any_state():
    model, x = net(8, 8, 3), torch.randn(16, 8)
    model[0].weight.data[0, 0] = NAN
    report = stability_report(model, (x, torch.zeros(16, dtype=torch.long)), F.cross_entropy, exact=True)
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["verdict"] == "not finite"


def test_all_weights_are_nan_and_how_to_catch_the_step():
    model, x = net(8, 8, 3), torch.randn(16, 8)
    for p in model.parameters():
        p.data.fill_(NAN)
    assert "trap_nonfinite" in find_nonfinite_origin(model, lambda: model(x).sum()).message


def test_a_model_that_was_not_called():
    with pytest.raises(ValueError, match="got none") as error, StabilityMonitor(net(4, 4, 4)) as monitor:
        monitor.step()
    assert "compiled" not in str(error.value)


# --------------------------------------------------------------------------------------------------------- where exactly


def test_the_first_bad_entry_and_its_sample():
    model, x = nn.Linear(4, 6), torch.randn(3, 5, 4)

    def closure():
        h = model(x)
        return torch.where(torch.arange(90).view(3, 5, 6) == 2 * 30 + 6 + 4, h * 0, h.abs() + 1).log().sum()

    origin = find_nonfinite_origin(model, closure)
    assert origin.entry == (2, 1, 4) and origin.shape == (3, 5, 6) and origin.dtype == "float32"
    assert "[2, 1, 4]" in origin.message and "sample 2" in origin.message


def test_a_bad_entry_of_the_data():
    model, x = nn.Linear(4, 6), torch.randn(7, 4)
    x[5, 2] = NAN
    origin = find_nonfinite_origin(model, lambda: model(x).sum())
    assert origin.phase == "input" and origin.entry == (5, 2) and "sample 5" in origin.message
