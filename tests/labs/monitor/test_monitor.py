"""Each fault is told from the others, healthy models raise no alarm, and the model is left as it was."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bookext.read.labels import labels
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from labs.monitor import BAND, LayerReport, StabilityMonitor, StabilityReport, stability_report
from labs.monitor.report import _FAULTS, _VERDICTS
from labs.nets import DeepMLP, ResidualMLP, SequenceClassifier

CE = nn.functional.cross_entropy
ROOT = Path(__file__).resolve().parents[3]
Case = tuple[nn.Module, Any, Callable[..., Tensor]]


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)  # torch's own layers draw from the global generator


def data(width: int = 64, batch: int = 128, classes: int = 10) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, width, generator=gen(1)), torch.arange(batch) % classes


def mlp(depth: int, activation: type[nn.Module], std: Callable[[int], float], width: int = 64) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), activation()]
        nn.init.normal_(layers[-2].weight, std=std(width))
        nn.init.zeros_(layers[-2].bias)
    return nn.Sequential(*layers, nn.Linear(width, 10))


def he(n: int) -> float:
    return math.sqrt(2 / n)


def xavier(n: int) -> float:
    return math.sqrt(1 / n)


class Functional(nn.Module):
    """An MLP or CNN whose activations are functions, not modules."""

    def __init__(self, layers: list[nn.Module], function: Callable[[Tensor], Tensor], head: nn.Module) -> None:
        super().__init__()
        self.layers, self.function, self.head = nn.ModuleList(layers), function, head

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = self.function(layer(x))
        return self.head(x.flatten(1) if x.ndim == 2 else x.mean((2, 3)))


def cnn(
    bias: float = 0.0, function: Callable[[Tensor], Tensor] = torch.relu, scale: float = 1.0, depth: int = 4
) -> Functional:
    layers = [nn.Conv2d(3 if i == 0 else 16, 16, 3, padding=1) for i in range(depth)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight)
        nn.init.constant_(layer.bias, bias)
        layer.weight.data *= scale
    return Functional([*layers], function, nn.Linear(16, 10))


def images() -> tuple[Tensor, Tensor]:
    return torch.randn(16, 3, 12, 12, generator=gen(1)), torch.arange(16) % 10


class Block(nn.Module):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out)
        self.conv2, self.bn2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out)
        self.skip = nn.Conv2d(n_in, n_out, 1) if n_in != n_out else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.skip(x) + self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))


def resnet() -> nn.Sequential:
    net = nn.Sequential(
        Block(3, 16), Block(16, 16), Block(16, 16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    )
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return net


class Transformer(nn.Module):
    def __init__(self, *, causal: bool = False, depth: int = 4) -> None:
        super().__init__()
        self.embed, self.causal = nn.Embedding(50, 32), causal
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(32), enable_nested_tensor=False)
        self.head = nn.Linear(32, 50)

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1]) if self.causal else None
        return self.head(self.encoder(self.embed(x), mask=mask, is_causal=self.causal)).transpose(1, 2)


def tokens() -> tuple[Tensor, Tensor]:
    return torch.randint(50, (8, 16), generator=gen(1)), torch.randint(50, (8, 16), generator=gen(2))


class TokenClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.fc1, self.fc2 = nn.Embedding(50, 32), nn.Linear(32, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(torch.relu(self.fc1(self.embed(x).mean(1))))


def sentences() -> tuple[Tensor, Tensor]:
    return tokens()[0].repeat(8, 1), torch.arange(64) % 10


def frozen() -> nn.Module:
    net = mlp(6, nn.ReLU, he)
    net[:6].requires_grad_(False)
    return net


def softmax_regression() -> nn.Module:
    net = nn.Linear(64, 10)
    nn.init.zeros_(net.weight)
    nn.init.zeros_(net.bias)
    return net


def zero_head() -> nn.Module:
    net = mlp(4, nn.ReLU, he)
    nn.init.zeros_(net[-1].weight)
    return net


def sequences() -> tuple[Tensor, Tensor]:
    return torch.randn(16, 20, 8, generator=gen(1)), torch.arange(16) % 4


CONTROLS: dict[str, Callable[[], Case]] = {
    "pre-norm transformer": lambda: (Transformer(), tokens(), CE),
    "causal transformer": lambda: (Transformer(causal=True), tokens(), CE),
    "ResNet, batch norm": lambda: (resnet(), images(), CE),
    "He ReLU, depth 10": lambda: (mlp(10, nn.ReLU, he), data(), CE),
    "He ReLU, depth 20, width 128": lambda: (mlp(20, nn.ReLU, he, 128), data(128), CE),
    "tanh Xavier, depth 20": lambda: (mlp(20, nn.Tanh, xavier), data(), CE),
    "tanh of the book": lambda: (DeepMLP((64, 12), head=10, generator=gen()), data(), CE),
    "LSTM": lambda: (SequenceClassifier("lstm", 8, 32, 4, generator=gen()), sequences(), CE),
    "CNN": lambda: (cnn(), images(), CE),
    "sqrt of relu": lambda: (
        Functional([nn.Linear(64, 64), nn.Linear(64, 64)], lambda z: torch.relu(z).sqrt(), nn.Linear(64, 10)), data(), CE),
    "embedding": lambda: (TokenClassifier(), sentences(), CE),
    "softmax regression, zero": lambda: (softmax_regression(), data(), CE),
    "frozen layers": lambda: (frozen(), data(), CE),
    "zero head": lambda: (zero_head(), data(), CE),
    "residual, scaled": lambda: (ResidualMLP(64, 20, scale=20**-0.5, head=10, generator=gen()), data(), CE),
    "summed loss": lambda: (mlp(5, nn.ReLU, he), data(), lambda out, y: CE(out, y, reduction="sum")),
    "saturated answer": lambda: (nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1), Scale(), nn.Sigmoid()), (
        data()[0], (torch.arange(128.0) % 2)[:, None]), nn.functional.mse_loss),
}  # fmt: skip


class Scale(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 100 * x


def lstm_with(value: float) -> nn.Module:
    return constant(SequenceClassifier("lstm", 8, 32, 4, generator=gen()), value)


def constant(net: nn.Module, value: float) -> nn.Module:
    for p in net.parameters():
        if p.ndim > 1:
            nn.init.constant_(p, value)
    return net


def dead_mlp() -> nn.Module:
    net = mlp(4, nn.ReLU, he)
    nn.init.constant_(net[2].bias, -20.0)
    return net


def shifted_tanh() -> nn.Module:
    net = mlp(4, nn.Tanh, xavier)
    nn.init.constant_(net[2].bias, 10.0)
    return net


FAULTS: dict[str, tuple[str, Callable[[], Case]]] = {
    "sigmoid MLP": ("vanishing", lambda: (mlp(12, nn.Sigmoid, xavier), data(), CE)),
    "sigmoid CNN": ("vanishing", lambda: (cnn(function=torch.sigmoid, depth=10), images(), CE)),
    "small weights": ("vanishing", lambda: (mlp(12, nn.ReLU, lambda n: 0.01), data(), CE)),
    "N(0, 1) ReLU MLP": ("exploding", lambda: (mlp(12, nn.ReLU, lambda n: 1.0), data(), CE)),
    "CNN x 4": ("exploding", lambda: (cnn(scale=4.0, depth=8), images(), CE)),
    "residual, unscaled": ("exploding", lambda: (ResidualMLP(64, 30, head=10, generator=gen()), data(), CE)),
    "negative bias": ("dead ReLU", lambda: (dead_mlp(), data(), CE)),
    "negative bias, CNN": ("dead ReLU", lambda: (cnn(bias=-9.0), images(), CE)),
    "large tanh": ("saturated", lambda: (mlp(5, nn.Tanh, lambda n: 1.0), data(), CE)),
    "tanh with a bias": ("saturated", lambda: (shifted_tanh(), data(), CE)),
    "sigmoid, raw pixels": ("saturated", lambda: (mlp(2, nn.Sigmoid, xavier), (255 * data()[0].abs(), data()[1]), CE)),
    "equal weights, MLP": ("symmetric weights", lambda: (constant(mlp(3, nn.Tanh, xavier), 0.01), data(), CE)),
    "zero weights, MLP": ("symmetric weights", lambda: (constant(mlp(3, nn.ReLU, he), 0.0), data(), CE)),
    "equal weights, CNN": ("symmetric weights", lambda: (constant(cnn(), 0.05), images(), CE)),
    "equal weights, LSTM": ("symmetric weights", lambda: (lstm_with(0.1), sequences(), CE)),
}


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", CONTROLS)
def test_no_alarm_on_a_healthy_model(name: str, exact: bool) -> None:
    report = stability_report(*CONTROLS[name](), exact=exact)
    assert report.faults == (), report


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_told_apart(name: str, exact: bool) -> None:
    fault, make = FAULTS[name]
    report = stability_report(*make(), exact=exact)
    assert report.verdict == fault, report
    assert report.advice and any(r.verdict == fault for r in report.layers)


def test_a_fault_names_its_layer() -> None:
    report = stability_report(*FAULTS["negative bias"][1]())
    assert next(r.name for r in report.layers if r.verdict == "dead ReLU") == "3"  # after it all is 0
    report = stability_report(*FAULTS["tanh with a bias"][1]())
    assert [r.name for r in report.layers if r.verdict == "saturated"] == ["3"]


def test_an_exploding_signal_above_a_head_that_lets_no_gradient_through() -> None:
    net = mlp(8, nn.ReLU, lambda n: 1.0)
    nn.init.zeros_(net[-1].weight)
    nn.init.zeros_(net[-1].bias)
    report = stability_report(net, data(), lambda out, _: out.square().sum())  # its slope is 0 where the output is
    assert report.faults == ("symmetric weights", "exploding") and all(
        r.gradient == 0 for r in report.layers if not r.kind
    )


def test_numbers_against_a_plain_pass() -> None:
    net, (x, y) = mlp(3, nn.ReLU, he), data()
    report = stability_report(net, (x, y), CE, exact=True)
    h, outputs = x, []
    for layer in net:
        h = layer(h)
        h.retain_grad()
        outputs.append(h)
    CE(h, y).backward()
    for r, h, layer in zip(report.layers, outputs, net, strict=True):
        assert h.grad is not None
        # moments in fp32: a few ulp times the square root of the number of entries
        assert r.std == pytest.approx(h.std(correction=0).item(), rel=1e-4)
        assert r.mean == pytest.approx(h.mean().item(), rel=1e-4, abs=1e-5)
        assert r.gradient == pytest.approx(h.grad.norm().item(), rel=1e-4)
        assert r.largest == h.abs().max().item()
        # shares come from 1024 of at most 8192 entries: three standard errors
        assert r.zero == pytest.approx((h == 0).float().mean().item(), abs=0.05)
        lost = (h.grad.half() == 0) & (h.grad != 0)
        assert r.gradient_underflow["fp16"] == pytest.approx(lost.float().mean().item(), abs=0.05)
        small = (h.to(torch.float8_e4m3fn).float() == 0) & (h != 0)
        assert r.underflow["fp8"] == pytest.approx(small.float().mean().item(), abs=0.05)
        if isinstance(layer, nn.Linear):
            assert r.weight_gradient == pytest.approx(layer.weight.grad.norm().item(), rel=1e-4)
        else:
            assert r.dead == pytest.approx((h == 0).all(0).float().mean().item(), abs=1e-6)


@pytest.mark.parametrize("name", ["ResNet, batch norm", "causal transformer", "He ReLU, depth 20, width 128"])
def test_sampled_std_is_near_the_exact_one(name: str) -> None:
    model, batch, loss_fn = CONTROLS[name]()
    model.eval()  # the same pass twice: no dropout
    sampled, exact = (stability_report(model, batch, loss_fn, exact=e) for e in (False, True))
    for s, e in zip(sampled.layers, exact.layers, strict=True):
        assert s.std == pytest.approx(e.std, rel=0.1), s.name  # the promised 10 %


def test_shares_beyond_a_format() -> None:
    x = torch.cat([torch.full((500, 2), 1e5), torch.full((500, 2), 1e-9)])
    report = stability_report(nn.Linear(2, 2, bias=False).requires_grad_(), x, lambda out: out.sum(), exact=True)
    assert report.layers[0].overflow["bf16"] == 0
    net = nn.Sequential(nn.Linear(2, 2, bias=False))
    nn.init.eye_(net[0].weight)
    layer = stability_report(net, x, lambda out: out.sum()).layers[0]
    for name in ("fp16", "fp8"):
        assert layer.overflow[name] == pytest.approx(0.5, abs=0.01) and layer.underflow[name] == pytest.approx(
            0.5, abs=0.01
        )


class Poison(nn.Module):
    """Puts one bad entry into what passes."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone()
        x[77, 33] = self.value
        return x


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("position", [0, 3, 6])
def test_exact_sees_a_single_bad_entry_in_any_layer(value: float, position: int) -> None:
    net = mlp(3, nn.ReLU, he)
    net.insert(position, Poison(value))
    report = stability_report(net, data(), CE, exact=True)
    assert report.verdict == "not finite"
    first = next(r for r in report.layers if not r.finite)
    assert first.name == str(position) and first.verdict == "not finite"


def test_large_is_not_infinite() -> None:
    x = torch.full((200, 50), 3e38)  # its sum and its squares overflow fp32, its entries do not
    layer = stability_report(nn.Sequential(nn.Identity(), Poison(1.0)), x.requires_grad_(), lambda out: out[77, 33] * 1,
                             exact=True).layers[0]  # fmt: skip
    assert layer.finite and layer.largest == pytest.approx(3e38) and layer.std >= 0
    offset = stability_report(
        nn.Sequential(Poison(1e4)), (1e4 + data()[0]).requires_grad_(), lambda out: out.mean(), exact=True
    )
    assert offset.layers[0].std == pytest.approx(1.0, rel=0.1)  # mean 1e4: the squares cancel in fp32


def state(model: nn.Module) -> dict[str, Any]:
    found: dict[str, Any] = {"rng": torch.get_rng_state().clone()}
    for name, m in model.named_modules():
        found[f"{name} mode"] = m.training
        for key, hooks in vars(m).items():
            if "hooks" in key:
                found[f"{name} {key}"] = dict(hooks)
    for name, t in [*model.named_parameters(), *model.named_buffers()]:
        found[name] = (id(t), t.detach().clone(), t.requires_grad)
        found[f"{name} hooks"] = (dict(t._backward_hooks or {}), dict(t._post_accumulate_grad_hooks or {}))
        found[f"{name} grad"] = None if t.grad is None else (id(t.grad), t.grad.clone())
    return found


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, Tensor) else a == b


class Boom(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("boom")


@pytest.mark.parametrize("fail", ["", "forward", "loss", "backward"])
def test_the_model_stays_as_it_was(fail: str) -> None:
    net = nn.Sequential(resnet(), nn.Dropout(0.5))
    net[0][1].eval()
    net[0][0].conv1.weight.grad = torch.ones_like(net[0][0].conv1.weight)
    net[0][1].conv1.weight.requires_grad_(False)
    batch, loss_fn = images(), CE

    def broken(out: Tensor, y: Tensor) -> Tensor:
        if fail == "loss":
            raise RuntimeError("boom")
        if fail == "backward":
            out.register_hook(lambda g: 1 / 0)
        return CE(out, y)

    if fail == "forward":
        net.append(Boom())
    before = state(net)
    assert same(before, state(net))
    if fail:
        with pytest.raises((RuntimeError, ZeroDivisionError)):
            stability_report(net, batch, broken)
    else:
        stability_report(net, batch, loss_fn)
    assert same(before, state(net))
    assert not torch.overrides._get_current_function_mode_stack()


@pytest.mark.parametrize("fail", [False, True])
def test_what_a_forward_pass_changes_by_itself_is_undone(fail: bool) -> None:
    class Restless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(5, 4, max_norm=0.1), nn.Linear(4, 3)
            self.calls, self.seen = 0, [0.0]

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            self.seen.append(random.random() * np.random.rand())
            return self.head(self.table(x))

    net, x = Restless(), torch.arange(5)
    before, drawn = state(net), (random.getstate(), str(np.random.get_state()))

    def loss(out: Tensor) -> Tensor:
        if fail:
            raise RuntimeError("boom")
        return out.square().mean()

    with pytest.raises(RuntimeError, match="boom") if fail else nullcontext():
        stability_report(net, x, loss)
    assert same(before, state(net)) and (net.calls, net.seen) == (0, [0.0])
    assert drawn == (random.getstate(), str(np.random.get_state()))


@pytest.mark.parametrize("every", [1, 3])
def test_training_is_the_same_with_and_without(every: int) -> None:
    def train(watch: bool) -> list[Tensor]:
        torch.manual_seed(3)
        net, (x, y) = nn.Sequential(resnet(), nn.Dropout(0.1)), images()
        optimizer = torch.optim.Adam(net.parameters())
        monitor = StabilityMonitor(net, every=every)
        if watch:
            monitor.__enter__()
        for _ in range(5):
            optimizer.zero_grad()
            CE(net(x), y).backward()
            optimizer.step()
            if watch:
                monitor.step()
        if watch:
            monitor.__exit__()
            assert [r.step for r in monitor.history] == list(range(0, 5, every))
        return [t.detach().clone() for t in net.state_dict().values()] + [torch.get_rng_state()]

    assert all(map(torch.equal, train(True), train(False)))


def test_monitor_leaves_no_hooks_after_an_exception() -> None:
    net = nn.Sequential(mlp(2, nn.ReLU, he), Boom())
    before = state(net)
    with pytest.raises(RuntimeError, match="boom"), StabilityMonitor(net, every=1):
        net(data()[0])
    assert same(before, state(net))
    assert not torch.overrides._get_current_function_mode_stack()


def test_an_exception_inside_the_loop_leaves_no_function_mode() -> None:
    net = nn.Sequential(mlp(2, nn.ReLU, he), Boom())
    with StabilityMonitor(net, every=1):
        with pytest.raises(RuntimeError, match="boom"):
            net(data()[0])
        assert not torch.overrides._get_current_function_mode_stack()


def test_a_projection_that_is_never_called_belongs_to_its_attention() -> None:
    net = nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.randn(4, 5, 8, generator=gen(1))
    report = stability_report(net, (x, x, x, None), lambda out, _: out[0].square().mean(), exact=True)
    both = math.hypot(*(p.norm().item() for p in torch.autograd.grad(
        net(x, x, x)[0].square().mean(), [net.in_proj_weight, net.out_proj.weight])))  # fmt: skip
    assert report.layers[-1].weight_gradient == pytest.approx(both, rel=1e-4)


def test_update_ratio_and_a_step_too_large() -> None:
    net, (x, y) = mlp(3, nn.ReLU, he), data()
    for rate, verdict in ((1e-3, "healthy"), (100.0, "step too large")):
        optimizer = torch.optim.SGD(net.parameters(), lr=rate)
        with StabilityMonitor(net, every=1) as monitor:
            old = net[-1].weight.detach().clone()
            CE(net(x), y).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1e9)
            optimizer.step()
            monitor.step()
            optimizer.zero_grad()
        ratio = ((net[-1].weight - old).norm() / old.norm()).item()
        assert monitor.report.layers[-1].update_ratio == pytest.approx(ratio, rel=0.3)  # from 256 of 640 entries
        assert monitor.report.verdict == verdict


class Odd(nn.Module):
    """A reused layer, dict and tuple outputs, an activation in place on a layer's output, an integer output."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.rnn, self.pair, self.head = (
            nn.Linear(8, 8),
            nn.GRU(8, 8, batch_first=True),
            Pair(),
            nn.Linear(8, 3),
        )

    def forward(self, x: Tensor) -> dict[str, Any]:
        x = torch.relu_(self.shared(torch.relu_(self.shared(x))))
        out, _ = self.rnn(x)
        two = self.pair(out[:, -1])
        return {"logits": self.head(two["sum"][0]), "ids": torch.arange(3)}


class Pair(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"sum": (x + 1, [x]), "ids": torch.arange(3)}


def test_unusual_outputs_and_reused_layers() -> None:
    x, y = torch.randn(32, 5, 8, generator=gen(1)), torch.arange(32) % 3
    report = stability_report(Odd(), (x, y), lambda out, y: CE(out["logits"], y))
    layers = {r.name: r for r in report.layers}
    assert list(layers) == ["shared", "shared → relu", "rnn", "pair", "head"]
    assert layers["shared"].calls == 2 and layers["shared → relu"].gradient  # in place on a view: seen behind it
    assert layers["shared → relu"].zero == pytest.approx(0.5, abs=0.3)
    again = stability_report(Odd(), {"x": x}, lambda out, batch: out["logits"].square().mean())
    assert len(again.layers) == 5


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_counts_a_layer_once(reentrant: bool) -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.body, self.head = nn.Linear(64, 64), mlp(2, nn.ReLU, he), nn.Linear(10, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(checkpoint(self.body, self.stem(x), use_reentrant=reentrant))

    net = Checkpointed()
    report = stability_report(net, data(), CE)
    assert [r.name for r in report.layers] == ["stem", *(f"body.{i}" for i in range(5)), "head"]
    assert all(r.calls == 1 for r in report.layers)
    assert all(r.gradient for r in report.layers if not r.kind) and report.verdict == "healthy"


def test_autocast_and_a_loss_scale() -> None:
    net, (x, y) = mlp(3, nn.ReLU, he), data()
    plain = stability_report(net, (x, y), CE)

    class Scaler:
        def get_scale(self) -> float:
            return 2.0**15

    with StabilityMonitor(net, every=1, scaler=Scaler()) as monitor, torch.autocast("cpu", dtype=torch.bfloat16):
        (CE(net(x), y) * 2**15).backward()
        monitor.step()
    for a, b in zip(plain.layers, monitor.report.layers, strict=True):
        # bf16 has 8 bits: 0.4 % an operation
        assert a.std == pytest.approx(b.std, rel=0.05) and (a.kind or a.gradient == pytest.approx(b.gradient, rel=0.05))
        assert a.kind or a.weight_gradient == pytest.approx(b.weight_gradient, rel=0.05)
    for dtype, verdict in ((torch.float16, "healthy"), (torch.bfloat16, "not finite")):  # the latter has room for more
        with StabilityMonitor(net, every=1, scaler=Scaler()) as monitor, torch.autocast("cpu", dtype=dtype):
            (CE(net(x), y) * (2.0**40 if dtype == torch.float16 else 1e38) * 2**15).backward()
            monitor.step()
        assert monitor.report.verdict == verdict
        assert verdict != "healthy" or "loss scale" in monitor.report.notes[0]


def test_validation_and_stale_graphs_are_not_recorded() -> None:
    net, (x, y) = mlp(2, nn.ReLU, he), data()
    with StabilityMonitor(net, every=1) as monitor:
        stale = CE(net(x), y)
        with torch.no_grad():
            net(x)
        CE(net(x), y).backward()
        monitor.step()
        assert all(r.calls == 2 for r in monitor.report.layers)
        CE(net(x), y).backward()
        stale.backward()
        monitor.step()
    assert all(r.calls == 1 for r in monitor.report.layers)


def test_a_step_without_a_pass_is_refused() -> None:
    net = mlp(2, nn.ReLU, he)
    with pytest.raises(ValueError, match="got none"), StabilityMonitor(net) as monitor:
        monitor.step()


def test_bad_arguments() -> None:
    net, x = mlp(1, nn.ReLU, he), data()[0]
    with pytest.raises(ValueError, match="every"):
        StabilityMonitor(net, every=0)
    with pytest.raises(ValueError, match="inside"):
        StabilityMonitor(net).step()
    with pytest.raises(ValueError, match="none yet"):
        _ = StabilityMonitor(net).report
    with pytest.raises(ValueError, match="loss_fn"):
        stability_report(net, x, lambda out: out)
    with pytest.raises(ValueError, match="loss_fn"):
        stability_report(net, x, lambda out: 1.0)
    with pytest.raises(ValueError, match="lazy"):
        stability_report(nn.LazyLinear(3), x, lambda out: out.sum())


def test_sparse_gradients_and_an_empty_output() -> None:
    net = nn.Sequential(nn.Embedding(20, 4, sparse=True), Pair())
    report = stability_report(net, torch.arange(20), lambda out: out["sum"][0].square().sum())
    assert report.layers[0].weight_gradient


@pytest.mark.parametrize("exact", [False, True])
def test_complex_weights(exact: bool) -> None:
    class Spectral(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.filter = nn.Linear(8, 8), nn.Parameter(torch.randn(5, 1, dtype=torch.cfloat))

        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.irfft(torch.fft.rfft(self.inner(x)) * self.filter[:, 0], n=8)

    net, x = Spectral(), torch.randn(32, 8, generator=gen(1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with StabilityMonitor(net, every=1, exact=exact) as monitor:
        net(x).square().mean().backward()
        optimizer.step()
        monitor.step()
    layer = next(r for r in monitor.report.layers if r.name == "(model)")
    assert net.filter.grad is not None
    assert layer.weight_gradient == pytest.approx(net.filter.grad.norm().item(), rel=1e-4 if exact else 0.2)
    assert layer.update_ratio and monitor.report.verdict == "healthy"


def test_prints_in_a_terminal_in_a_notebook_and_as_a_dict() -> None:
    net, (x, y) = mlp(12, nn.Sigmoid, xavier), data()
    with StabilityMonitor(net) as monitor:
        CE(net(x), y).backward()
        monitor.step()
    for shown in (str(monitor), monitor._repr_html_()):
        assert "vanishing" in shown and "03-vanishing-sigmoid#sec-sig-slopes-weights" in shown and "a layer" in shown
    assert max(map(len, str(monitor).splitlines())) < 140
    assert monitor._repr_html_().count("<tr>") == len(monitor.report.layers) + 1
    plain = monitor.to_dict()
    assert plain["verdict"] == "vanishing" and plain["layers"][0]["band"] in ("in", "below")
    figure = monitor.plot()
    assert len(figure.axes[0].lines) == 2
    import matplotlib.pyplot as plt

    plt.close(figure)


def test_every_address_is_that_of_a_section() -> None:
    """All that a report, the finder or a remedy can print stands in the package's own text."""
    sources = [path.read_text("utf8") for path in (ROOT / "labs" / "monitor").glob("*.py")]
    printed = {address for text in sources for address in re.findall(r"\b\d\d-[a-z-]+#[\w-]*", text)}
    assert printed >= {section for _, section in _VERDICTS.values()}
    known = {(page.stem, anchor): label for label, (page, _, anchor) in labels().items()}
    for address in printed:
        page, anchor = address.split("#")
        assert anchor == anchor.lower(), f"{address}: the page writes anchors in lower case"
        text = (ROOT / "book" / f"{page}.md").read_text("utf8")
        heading = rf"^\({known[page, anchor]}\)=\n(?:\([\w-]+\)=\n|\{{\.\w+\}}\n)*#+ "
        assert re.search(heading, text, re.MULTILINE), address


def test_every_verdict_but_healthy_says_what_to_do() -> None:
    assert [verdict for verdict, (advice, _) in _VERDICTS.items() if not advice] == ["healthy"]
    assert set(_FAULTS) < set(_VERDICTS)


@pytest.mark.parametrize(
    "gradient, band", [(1e-7, "below"), (BAND[0], "in"), (BAND[1], "in"), (1e4, "above"), (None, "")]
)
def test_band(gradient: float | None, band: str) -> None:
    layer = LayerReport("fc", gradient=gradient)
    assert layer.band == band and "fc" in str(StabilityReport((layer,)))
