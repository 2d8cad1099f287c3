"""labs.transformer against torch's own functions, counted frequencies and networks that are drawn."""

import math

import pytest
import torch
from torch import nn

from labs import transformer
from labs.formats import FORMATS, round_to
from labs.transformer import residual_stream, round_blocks, round_stochastic


def draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_rms_norm_is_torch_s() -> None:
    h = torch.randn(3, 5, 16, generator=draws(0), dtype=torch.float64)
    assert torch.allclose(transformer.rms_norm(h, 1e-6), nn.functional.rms_norm(h, (16,), eps=1e-6))


def test_texts_follow_their_language() -> None:
    P = transformer.language(3, generator=draws(0))
    text = transformer.write_text(P, 400, 200, generator=draws(1))
    counts = torch.zeros(3, 3, 3, dtype=torch.float64)
    one = torch.ones((), dtype=torch.float64)
    counts.index_put_(tuple(text[:, k : 198 + k].flatten() for k in range(3)), one, accumulate=True)
    pairs = counts.sum(dim=2, keepdim=True)
    frequent = pairs[..., 0] > 1000
    # a frequency of 1000 draws has a standard deviation of at most 0.016
    assert frequent.any() and (counts / pairs - P)[frequent].abs().max() < 0.065
    seen = (pairs[..., 0] / pairs.sum() * transformer.entropy(counts / pairs).nan_to_num()).sum()
    assert abs(seen - transformer.entropy_rate(P)) < 0.02


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="symbols: expected at least 2"):
        transformer.language(1)
    with pytest.raises(ValueError, match="additions: expected at least 1"):
        transformer.gpt2_normal_(nn.Linear(2, 2), 0)
    with pytest.raises(ValueError, match="role: expected one of input, hidden, output"):
        transformer.mup("bias", 4, base=2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected at least 1, got 0 and 2"):
        transformer.mup("hidden", 0, base=2)
    with pytest.raises(ValueError, match="norm: expected one of pre, none, post"):
        residual_stream(3, 1.0, norm="middle")
    with pytest.raises(ValueError, match="depth, gain: expected at least 0"):
        residual_stream(-1, 1.0)
    with pytest.raises(ValueError, match="multiple of 32"):
        round_blocks(torch.ones(3, 40), "e4m3")
    with pytest.raises(ValueError, match="expected float32"):
        round_stochastic(torch.ones(3, dtype=torch.float64))


def test_gpt2_scales_the_ends_of_branches_alone() -> None:
    model = nn.ModuleDict({"out": nn.Linear(300, 300), "layout": nn.Linear(300, 300), "embed": nn.Embedding(300, 300)})
    bias = model["out"].bias.clone()  # type: ignore[union-attr,operator]
    transformer.gpt2_normal_(model, 16, generator=draws(0))
    stds = {name: module.weight.std().item() for name, module in model.items()}  # type: ignore[union-attr,operator]
    # 90 000 entries: relative standard error 0.24 %
    assert stds == pytest.approx({"out": 0.005, "layout": 0.02, "embed": 0.02}, rel=0.01)
    assert torch.equal(bias, model["out"].bias)  # type: ignore[arg-type]


@pytest.mark.parametrize("role", ["input", "hidden", "output"])
def test_mup_is_the_usual_start_at_the_base_width(role: transformer.Role) -> None:
    assert transformer.mup(role, 256, base=256, gain=2.0) == (2 / 16, 1.0)


def test_under_mup_a_step_of_adam_does_not_grow_with_the_width() -> None:
    """The hidden matrix: its change times an input of mean size 1, for one example."""
    moved = {}
    for n in (64, 4096):
        std, rate = transformer.mup("hidden", n, base=64)
        W = (torch.randn(8, n, generator=draws(0)) * std).requires_grad_()
        h = torch.randn(n, generator=draws(1))
        optimiser = torch.optim.Adam([W], lr=1e-3 * rate)
        before = W @ h
        (before.sum()).backward()
        optimiser.step()
        moved[n] = (W @ h - before).abs().mean().item()
    assert moved[4096] == pytest.approx(moved[64], rel=0.2)  # the mean of |h| over 64 entries scatters by 10 %


@pytest.mark.parametrize(("norm", "expected"), [("pre", 1 + 6 * 0.25 * 2), ("none", 1.5**6), ("post", 1.0)])
def test_residual_streams_as_drawn(norm: str, expected: float) -> None:
    generator, n, squares = draws(0), 128, []
    for _ in range(60):
        h = torch.randn(4, n, generator=generator)
        for _ in range(6):
            W = torch.randn(2, n, n, generator=generator) * math.sqrt(2 / n)
            v = transformer.rms_norm(h) if norm == "pre" else h
            h = h + 0.5 * torch.relu(v @ W[0].T) @ W[1].T
            h = transformer.rms_norm(h) if norm == "post" else h
        squares.append(h.square().mean())
    assert residual_stream(6, 2.0, scale=0.5, norm=norm)[-1] == pytest.approx(expected)
    assert torch.stack(squares).mean() == pytest.approx(expected, rel=0.08)  # 60 nets: 2 %


def test_stochastic_rounding_keeps_the_mean_and_gives_neighbours() -> None:
    x = torch.cat([torch.linspace(-3, 3, 13), torch.tensor([1e-40, 3e38, 0.1])]).repeat(20_000, 1)
    rounded = round_stochastic(x, generator=draws(0))
    assert torch.equal(round_to(rounded, "bf16"), rounded)  # on bf16's grid
    gap = 2 * (x[0] * 2**-8).abs() + 1e-40  # at most one step of the grid
    assert ((rounded - x).abs() <= gap).all()
    # standard error: half a step over the root of 20 000 draws
    assert ((rounded.double().mean(0) - x[0]).abs() <= 4 * gap / 2 / math.sqrt(20_000) + 1e-41).all()


@pytest.mark.parametrize("name", ["e4m3", "e5m2"])
def test_blocks_lose_precision_and_not_range(name: str) -> None:
    x = torch.randn(50, 64, generator=draws(0)) * torch.logspace(-20, 20, 50)[:, None]
    rounded = round_blocks(x, name)
    ulp = FORMATS[name].eps
    blocks, errors = x.unflatten(1, (-1, 32)).abs(), (rounded - x).unflatten(1, (-1, 32)).abs()
    # half a step of each entry, or the clamp of the largest, which lies below twice the largest power of 2
    assert (errors <= blocks * ulp / 2 + blocks.amax(2, keepdim=True) * 0.13).all()
    middling = blocks > blocks.amax(2, keepdim=True) / 100
    small = middling & (blocks < blocks.amax(2, keepdim=True) / 2)
    assert (errors <= blocks * ulp)[small].all()
    assert torch.equal(round_blocks(torch.zeros(32), name), torch.zeros(32))
