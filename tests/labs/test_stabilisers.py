"""labs.stabilisers beside torch's own functions, closed forms, and the casts that loss scaling is meant to survive."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from labs.formats import FORMATS
from labs.stabilisers import (
    choose_loss_scale,
    clip_by_norm_,
    clip_by_value_,
    standardise_,
    unit_norm_,
    update_loss_scale,
)

FP32_ULP = 2.0**-23
SHAPES = [(3, 5), (7,), (), (2, 3, 4)]


def gradients(seed: int, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [(scale * torch.randn(shape, generator=generator)).to(dtype) for shape in SHAPES]


def parameters_with(grads: list[Tensor]) -> list[nn.Parameter]:
    parameters = [nn.Parameter(torch.zeros_like(grad)) for grad in grads]
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = grad.clone()
    return parameters


def flat(grads: list[Tensor]) -> Tensor:
    return torch.cat([grad.double().flatten() for grad in grads])


def cosine(a: list[Tensor], b: list[Tensor]) -> float:
    return (flat(a) @ flat(b) / (flat(a).norm() * flat(b).norm())).item()


# ------------------------------------------------------------------------------------------------------- clipping


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("seed", range(5))
def test_clipping_is_torchs(seed, scale):
    ours, parameters = gradients(seed, scale), parameters_with(gradients(seed, scale))
    norm, torch_norm = clip_by_norm_(ours, 2.0), nn.utils.clip_grad_norm_(parameters, 2.0)
    # torch sums 47 squares in fp32, ours in fp64: a few ulp of fp32
    torch.testing.assert_close(norm, torch_norm.double(), rtol=4 * FP32_ULP, atol=0)
    torch.testing.assert_close(ours, [p.grad for p in parameters], rtol=6 * FP32_ULP, atol=0)

    ours, parameters = gradients(seed, scale), parameters_with(gradients(seed, scale))
    assert clip_by_value_(iter(ours), 0.5) is nn.utils.clip_grad_value_(parameters, 0.5) is None
    assert all(torch.equal(grad, p.grad) for grad, p in zip(ours, parameters, strict=True))


def test_one_tensor_an_empty_list_and_a_graph_are_fine():
    W = torch.ones(2, 2, requires_grad=True)
    (grad,) = torch.autograd.grad((3 * W).sum(), W, create_graph=True)
    assert clip_by_norm_(grad, 3.0).item() == 6 and not grad.requires_grad
    torch.testing.assert_close(grad, torch.full((2, 2), 1.5))
    assert clip_by_norm_([], 1.0) == nn.utils.clip_grad_norm_([], 1.0) == 0
    clip_by_value_([], 1.0)


def test_value_clipping_loses_the_direction_and_norm_clipping_keeps_it():
    before = torch.tensor([100.0, 1.0])
    by_value, by_norm = before.clone(), before.clone()
    clip_by_value_(by_value, 1.0)
    clip_by_norm_(by_norm, 1.0)
    assert by_value.tolist() == [1, 1]
    angle = math.degrees(math.acos(cosine([before], [by_value])))
    assert angle == pytest.approx(45 - math.degrees(math.atan(0.01)), abs=1e-6)  # acos of a float64 cosine
    assert round(angle, 1) == 44.4
    assert cosine([before], [by_norm]) == pytest.approx(1, abs=FP32_ULP)


@given(st.integers(0, 2**31), st.floats(-30, 30), st.floats(-20, 20))
@settings(deadline=None, max_examples=60, derandomize=True)
def test_clipped_gradients_are_within_the_threshold(seed, log2_scale, log2_threshold):
    before, threshold = gradients(seed, 2**log2_scale), 2**log2_threshold
    by_norm, by_value = [g.clone() for g in before], [g.clone() for g in before]
    norm = clip_by_norm_(by_norm, threshold)
    clip_by_value_(by_value, threshold)
    assert norm.item() == pytest.approx(flat(before).norm().item(), rel=1e-14)
    assert flat(by_norm).norm() <= threshold * (1 + FP32_ULP)  # each entry is rounded by half an ulp at most
    assert flat(by_value).abs().max() <= threshold * (1 + FP32_ULP)  # the threshold itself is rounded to fp32
    if norm + 1e-6 <= threshold:
        assert torch.equal(flat(by_norm), flat(before))
    assert cosine(before, by_norm) == pytest.approx(1, abs=FP32_ULP)


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_clipping_does_not_cure_a_nonfinite_gradient(bad):
    for clip in (clip_by_norm_, clip_by_value_):
        grads = [torch.ones(3), torch.tensor([[bad, 1.0]])]
        with pytest.raises(
            ValueError, match=r"grads\[1\]: expected finite entries, got 1 Inf or NaN in shape \(1, 2\)"
        ):
            clip(grads, 1e-3)
        assert torch.equal(grads[0], torch.ones(3)) and grads[1][0, 1] == 1  # nothing was changed


@pytest.mark.parametrize("entries", [[math.inf, 1.0], [math.nan, 1.0]])
def test_the_flag_asks_for_what_torch_does(entries):
    ours, parameters = torch.tensor(entries), parameters_with([torch.tensor(entries)])
    norm, torch_norm = clip_by_norm_(ours, 2.0, error_if_nonfinite=False), nn.utils.clip_grad_norm_(parameters, 2.0)
    torch.testing.assert_close(norm.float(), torch_norm, equal_nan=True)
    torch.testing.assert_close(ours, parameters[0].grad, rtol=0, atol=0, equal_nan=True)
    if math.isinf(entries[0]):
        assert ours[0].isnan() and ours[1] == 0

    ours, parameters = torch.tensor(entries), parameters_with([torch.tensor(entries)])
    clip_by_value_(ours, 2.0, error_if_nonfinite=False)
    nn.utils.clip_grad_value_(parameters, 2.0)
    torch.testing.assert_close(ours, parameters[0].grad, rtol=0, atol=0, equal_nan=True)
    if math.isinf(entries[0]):
        assert ours.tolist() == [2, 1]  # the Inf is hidden


def test_a_norm_beyond_fp16_is_no_reason_to_lose_the_gradient():
    grad = torch.full((2,), 6e4, dtype=torch.float16)
    (parameter,) = parameters_with([grad])
    assert nn.utils.clip_grad_norm_([parameter], 1.0).isinf() and (parameter.grad == 0).all()
    assert clip_by_norm_(grad, 1.0).item() == pytest.approx(math.hypot(6e4, 6e4), rel=1e-14)
    torch.testing.assert_close(grad.double(), torch.full((2,), 0.5**0.5).double(), rtol=2.0**-11, atol=0)


# -------------------------------------------------------------------------------------------------- normalisation


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_standardised_gradients_have_mean_0_and_variance_1(scale):
    before = [g for g in gradients(0, scale) if g.numel() > 1]
    after = [g.clone() for g in before]
    standardise_(after)
    for old, new in zip(before, after, strict=True):
        # entries are rounded to fp32: half an ulp of the largest, about 2
        assert new.double().mean().item() == pytest.approx(0, abs=FP32_ULP)
        assert new.double().var(correction=0).item() == pytest.approx(1, abs=4 * FP32_ULP)
        expected = F.layer_norm(old.double() / scale, old.shape, eps=0)
        torch.testing.assert_close(new.double(), expected, rtol=FP32_ULP, atol=FP32_ULP)
        std, mean = torch.std_mean(old.double(), correction=0)
        assert cosine([old], [new]) == pytest.approx((std / (mean**2 + std**2).sqrt()).item(), abs=FP32_ULP)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_unit_norm_keeps_the_direction(scale):
    before, after = gradients(1, scale), gradients(1, scale)
    norm = unit_norm_(after)
    assert norm.item() == pytest.approx(flat(before).norm().item(), rel=1e-14)
    assert flat(after).norm().item() == pytest.approx(1, abs=FP32_ULP)
    assert cosine(before, after) == pytest.approx(1, abs=FP32_ULP)
    expected = F.normalize(flat(before) / scale, dim=0)
    torch.testing.assert_close(flat(after), expected, rtol=FP32_ULP, atol=0)


def test_standardising_turns_the_gradient_and_unit_norm_does_not():
    before = torch.tensor([100.0, 1.0])
    standardised, unit = before.clone(), before.clone()
    standardise_(standardised)
    unit_norm_(unit)
    assert standardised.tolist() == [1, -1]  # the second entry changed sign
    assert cosine([before], [standardised]) == pytest.approx(99 / math.sqrt(2 * 10001), rel=1e-12)
    assert cosine([before], [unit]) == pytest.approx(1, abs=FP32_ULP)


def test_standardising_survives_squares_that_underflow():
    grad = torch.tensor([3e-200, 1e-200], dtype=torch.float64)
    standardise_(grad)
    torch.testing.assert_close(grad, torch.tensor([1.0, -1.0], dtype=torch.float64), rtol=4 * 2.0**-53, atol=0)


def test_gradients_without_a_direction_are_refused():
    for grad in (torch.full((2, 2), 3.0), torch.tensor(1.0), torch.zeros(0)):
        with pytest.raises(ValueError, match=r"grads\[1\]: expected unequal entries, got all equal in shape \("):
            standardise_([torch.tensor([1.0, 2.0]), grad])
    with pytest.raises(ValueError, match=r"grads: expected a norm above 0, got 0 from 2 tensors"):
        unit_norm_([torch.zeros(2), torch.zeros(3)])
    for normalise in (standardise_, unit_norm_):
        with pytest.raises(ValueError, match=r"grads\[0\]: expected finite entries, got 2 Inf or NaN"):
            normalise(torch.tensor([math.inf, math.nan, 1.0]))


def test_parameters_and_bad_thresholds_are_refused():
    parameter = nn.Parameter(torch.ones(4, 3))
    for call in (lambda g: clip_by_norm_(g, 1.0), lambda g: clip_by_value_(g, 1.0), standardise_, unit_norm_):
        with pytest.raises(ValueError, match=r"grads\[0\]: expected a gradient, got a parameter of shape \(4, 3\)"):
            call([parameter])
    for bad in (-1.0, math.nan):
        with pytest.raises(ValueError, match=rf"max_norm: expected at least 0, got {bad}"):
            clip_by_norm_([], bad)
        with pytest.raises(ValueError, match=rf"threshold: expected at least 0, got {bad}"):
            clip_by_value_([], bad)


# --------------------------------------------------------------------------------------------------- loss scaling


@pytest.mark.parametrize("name", ["fp16", "e5m2", "e4m3"])
@given(st.lists(st.floats(2.0**-60, 2.0**30, width=32), min_size=1, max_size=30), st.sampled_from([1.0, 0.9, 0.5]))
@settings(deadline=None, max_examples=60, derandomize=True)
@example(values=[2.0**-24], share=1.0)
@example(values=[65504.0], share=1.0)
def test_exactly_the_chosen_scales_keep_the_gradients(name, values, share):
    fmt, grads = FORMATS[name], torch.tensor([*values, 0.0])
    exponents = torch.arange(-250, 250)
    wide = grads.double() * 2.0 ** exponents.double().unsqueeze(1)  # (scale, entry), exact
    alive = (wide.to(fmt.dtype).double() != 0).sum(
        1
    )  # fp32 times a power of two, here inside fp32's normal range: rounded once
    keeps = (wide.max(1).values <= fmt.max) & (alive >= share * len(values))
    assert exponents[keeps].tolist() == list(choose_loss_scale(grads, name, share=share))


def test_loss_scale_over_several_tensors():
    grads = [torch.tensor([[-3.0]]), torch.tensor([1e-7, 0.0]), torch.tensor([1e-11])]
    lowest, *_, highest = choose_loss_scale(grads)
    assert 2.0**lowest * 1e-11 > 2.0**-25 >= 2.0 ** (lowest - 1) * 1e-11
    assert 2.0**highest * 3 <= 65504 < 2.0 ** (highest + 1) * 3
    assert choose_loss_scale([torch.tensor(1e-9), torch.tensor(1e9)]) == range(0)  # wider than fp16: no scale
    assert 0 in choose_loss_scale(grads, "fp32")
    assert choose_loss_scale(torch.tensor([5e-324], dtype=torch.float64)) == range(1050, 1090)  # 2**-1074, exactly


def test_scaled_loss_saves_an_underflowing_gradient():
    """d/dw of 1e-4 * (1e-4 w) is 1e-8, which is 0 in fp16; scaled by the loss it survives."""

    def gradient(scale: float) -> Tensor:
        w = torch.ones(3, dtype=torch.float16, requires_grad=True)
        loss = (w * 1e-4).sum() * 1e-4 * scale
        return torch.autograd.grad(loss, w)[0].float() / scale

    exponents = choose_loss_scale(torch.full((3,), 1e-8), "fp16")
    assert (gradient(1.0) == 0).all() and 0 not in exponents and 12 in exponents
    torch.testing.assert_close(gradient(2.0**12), torch.full((3,), 1e-8), rtol=0.02, atol=0)  # fp16 subnormals: 1 %


def test_bad_input_to_choose_loss_scale():
    for share in (0.0, 1.1, math.nan):
        with pytest.raises(ValueError, match=rf"share: expected a number in \(0, 1\], got {share}"):
            choose_loss_scale(torch.ones(2), share=share)
    for nothing in ([], torch.zeros(3)):
        with pytest.raises(ValueError, match="grads: expected an entry that is not 0, got none"):
            choose_loss_scale(nothing)
    with pytest.raises(ValueError, match=r"grads\[0\]: expected finite"):
        choose_loss_scale(torch.tensor([math.inf]))


@given(st.lists(st.booleans(), max_size=80), st.sampled_from([1, 2, 5]), st.sampled_from([(2.0, 0.5), (1.5, 0.25)]))
@settings(deadline=None, max_examples=60, derandomize=True)
@example(found=[False] * 200, interval=1, factors=(2.0, 0.5))  # up to the largest power of two in fp32, and no further
def test_dynamic_scale_is_torchs(found, interval, factors):
    growth, backoff = factors
    state, scale, tracker = (65536.0, 0), torch.tensor(65536.0), torch.tensor(0, dtype=torch.int32)
    for found_inf in found:
        state = update_loss_scale(
            *state, found_inf, growth_factor=growth, backoff_factor=backoff, growth_interval=interval
        )
        torch._amp_update_scale_(scale, tracker, torch.tensor(float(found_inf)), growth, backoff, interval)
        assert state[1] == tracker.item()
        # one fp32 rounding for each of at most 80 growths by 1.5; powers of two are exact
        assert state[0] == pytest.approx(scale.item(), rel=0 if growth == 2 else 80 * FP32_ULP)


def test_dynamic_scale_is_that_of_grad_scaler():
    scaler, state = torch.amp.GradScaler("cpu", growth_interval=50), (65536.0, 0)
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.0)
    for step in range(100):
        found_inf = step in (0, 1, 40)
        scaler.scale(torch.zeros(1))  # creates the scale on first use
        parameter.grad = torch.full((1,), math.inf if found_inf else 1.0)
        scaler.step(optimizer)
        scaler.update()
        state = update_loss_scale(*state, found_inf, growth_interval=50)
        assert state == (scaler.get_scale(), scaler._get_growth_tracker())
    assert state == (16384.0, 9)  # three times halved, once doubled: 41 + 50 + 9 steps

    scaler, defaults = torch.amp.GradScaler("cpu"), update_loss_scale.__kwdefaults__
    assert defaults["growth_factor"] == scaler.get_growth_factor()
    assert defaults["backoff_factor"] == scaler.get_backoff_factor()
    assert defaults["growth_interval"] == scaler.get_growth_interval()
