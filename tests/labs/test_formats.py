"""labs.formats against numpy's float16, native torch arithmetic and exact rational arithmetic."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labs import formats
from labs.formats import (
    FORMATS,
    band_in,
    classify,
    direct_cast,
    first_nonfinite,
    get_format,
    overflow_depth,
    round_to,
    running_product,
    sticking_point,
    subnormal_depth,
    underflow_depth,
)

NAMES = list(FORMATS)
# Significant bits, smallest and largest exponent, as the formats' definitions give them (IEEE 754; Micikevicius et al.
# 2022, table 1). The largest e4m3 significand is 1.75, not 2 - ulp: its last code is NaN.
PARAMETERS = {
    "fp64": (53, -1022, 1023),
    "fp32": (24, -126, 127),
    "bf16": (8, -126, 127),
    "fp16": (11, -14, 15),
    "e5m2": (3, -14, 15),
    "e4m3": (4, -6, 8),
}


def largest(name: str) -> Fraction:
    bits, _, exponent = PARAMETERS[name]
    lost_codes = 2 if name == "e4m3" else 1
    return (2 - lost_codes * Fraction(2, 2**bits)) * Fraction(2) ** exponent


def exact_round(x: Fraction, name: str) -> Fraction:
    """The nearest number of the format, half to even, as if the exponent had no upper end."""
    bits, smallest, _ = PARAMETERS[name]
    exponent = x.numerator.bit_length() - x.denominator.bit_length()
    if Fraction(2) ** exponent > x:
        exponent -= 1
    ulp = Fraction(2) ** (max(exponent, smallest) - bits + 1)
    return round(x / ulp) * ulp  # round() of a Fraction is half to even


def exact_running_product(factor: float, steps: int, name: str) -> list[float]:
    """The products in rationals; past the largest number what the format's own cast makes of it."""
    past_max = {"inf": math.inf, "nan": math.nan, "saturate": FORMATS[name].max}[FORMATS[name].overflow]
    weight, value, products = exact_round(Fraction(factor), name), Fraction(1), []
    for step in range(steps):
        value = exact_round(value * weight, name)
        if value > largest(name):
            if past_max != FORMATS[name].max:
                return products + [past_max] * (steps - step)
            value = largest(name)
        products.append(float(value))
    return products


# ------------------------------------------------------------------------------------------------------ the table


@pytest.mark.parametrize("name", NAMES)
def test_table_matches_the_definitions(name):
    fmt, (bits, exponent, _) = FORMATS[name], PARAMETERS[name]
    assert fmt.max == float(largest(name))
    assert fmt.smallest_normal == 2.0**exponent
    assert fmt.smallest_subnormal == 2.0 ** (exponent - bits + 1)
    assert fmt.eps == 2.0 ** (1 - bits)
    assert fmt.has_inf == (name != "e4m3")


@pytest.mark.parametrize("name", ["fp16", "fp32", "fp64"])
def test_table_matches_numpy(name):
    fmt, info = FORMATS[name], np.finfo({"fp16": np.float16, "fp32": np.float32, "fp64": np.float64}[name])
    expected = [info.max, info.smallest_normal, info.smallest_subnormal, info.eps]
    assert [fmt.max, fmt.smallest_normal, fmt.smallest_subnormal, fmt.eps] == [float(x) for x in expected]


def test_erratum_6_range_of_fp16():
    fmt = FORMATS["fp16"]
    assert (fmt.smallest_normal, fmt.max, fmt.smallest_subnormal) == (2.0**-14, 65504.0, 2.0**-24)
    assert f"{fmt.smallest_normal:.3e} {fmt.smallest_subnormal:.2e}" == "6.104e-05 5.96e-08"


def test_get_format_by_name_dtype_and_itself():
    for name, fmt in FORMATS.items():
        assert get_format(name) is get_format(fmt.dtype) is get_format(fmt) is fmt
    for unknown in ("float16", torch.int8):
        with pytest.raises(ValueError, match=r"format: expected one of fp64, fp32, .*float16|int8"):
            get_format(unknown)


# ------------------------------------------------------------------------------------------------------- rounding


def test_C4_one_plus_half_an_ulp_is_one_in_fp16():
    one, half_ulp = torch.tensor([1.0, 2.0**-11], dtype=torch.float16)
    assert one + half_ulp == 1
    assert one + 2 * half_ulp == 1 + FORMATS["fp16"].eps
    assert round_to(torch.tensor(1 + 2.0**-11), "fp16") == 1


@pytest.mark.parametrize("name", ["bf16", "fp16", "e5m2", "e4m3"])
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=40))
@settings(deadline=None, max_examples=50, derandomize=True)
def test_rounding_is_monotone_idempotent_odd_and_nearest(name, values):
    x = torch.tensor(sorted(values))
    rounded = round_to(x, name)
    assert rounded.dtype == x.dtype
    assert torch.equal(round_to(rounded, name).nan_to_num(), rounded.nan_to_num())
    assert torch.equal(round_to(-x, name).nan_to_num(), -rounded.nan_to_num())
    inside = x.abs() <= FORMATS[name].max
    assert (rounded[inside].diff() >= 0).all()
    for value, result in zip(x[inside].tolist(), rounded[inside].tolist(), strict=True):
        assert Fraction(abs(result)) == (exact_round(Fraction(abs(value)), name) if value else 0)


@pytest.mark.parametrize("length", [1, 100])  # one entry and many take different code paths in torch
def test_overflow_of_the_fp8_casts(length):
    e4m3, e5m2 = FORMATS["e4m3"], FORMATS["e5m2"]
    expected = {"saturate": 448.0, "nan": math.nan}[e4m3.overflow]  # torch 2.13 saturates, older releases give NaN
    for value in (480.0, 1e4, math.inf):
        result = round_to(torch.full((length,), value), e4m3)
        torch.testing.assert_close(result, torch.full((length,), expected), rtol=0, atol=0, equal_nan=True)
    assert (round_to(torch.full((length,), 463.0), e4m3) == 448).all()  # the tie is at 464

    assert e5m2.overflow == "inf"
    assert (round_to(torch.full((length,), 61439.0), e5m2) == 57344).all()
    assert round_to(torch.full((length,), 61440.0), e5m2).isinf().all()  # the tie goes to even: Inf


def test_saturation_hides_an_overflow():
    products = exact_running_product(1.5, 40, "e4m3")
    settled = next(k for k, value in enumerate(products, 1) if value == products[-1] or math.isnan(value))
    assert sticking_point(1.5, "e4m3")[0] == settled
    assert overflow_depth(1.5, "e4m3") == (None if FORMATS["e4m3"].overflow == "saturate" else settled)


# ------------------------------------------------------------------------------------------- products and their depth


def test_C2_product_of_1_5_in_fp16():
    products = running_product(1.5, 30, "fp16")
    assert products.dtype == torch.float16 and products.shape == (30,)
    assert products[:27].isfinite().all() and products[27:].isinf().all()
    assert overflow_depth(1.5, "fp16") == overflow_depth(1.5, "fp16", mode="cast") == 28


def test_C3_product_of_0_8_in_fp16():
    products = running_product(0.8, 200, "fp16")
    assert (products[70:] == 2 * 2.0**-24).all() and products[69] > products[70] > 0
    assert sticking_point(0.8, "fp16") == (71, 2 * 2.0**-24)
    assert f"{2 * 2.0**-24:.3e}" == "1.192e-07"
    assert underflow_depth(0.8, "fp16") is None

    cast = direct_cast(0.8, 200, "fp16")
    subnormal = (cast > 0) & (cast < 2.0**-14)
    assert subnormal.nonzero().flatten().add(1).tolist() == list(range(44, 78)) and (cast[77:] == 0).all()
    assert subnormal_depth(0.8, "fp16", mode="cast") == 44
    assert underflow_depth(0.8, "fp16", mode="cast") == 78


def test_erratum_4_the_lectures_numbers_stay_inside_fp32():
    largest_fp32 = (2 - Fraction(1, 2**23)) * 2**127
    past_max = (2 - Fraction(1, 2**24)) * 2**127  # half an ulp beyond: here rounding gives Inf
    assert Fraction(3, 2) ** 218 < largest_fp32 < past_max < Fraction(3, 2) ** 219
    assert overflow_depth(1.5, "fp32") == overflow_depth(1.5, "fp32", mode="cast") == 219
    assert {classify(1.5**100, "fp32"), classify(0.8**100, "fp32")} == {"normal"}
    for factor in (1.5, 0.8):
        assert running_product(factor, 100, "fp32")[-1].item() == pytest.approx(factor**100, rel=100 * 2.0**-24 * 2)


def test_matches_numpy_float16():
    for factor in (1.5, 0.8, 0.3, 1.01, 0.99):
        value, weight, expected = np.float16(1), np.float16(factor), []
        with np.errstate(over="ignore", under="ignore"):
            for _ in range(1200):
                value = value * weight
                expected.append(value)
            cast = (np.float64(factor) ** np.arange(1, 1201)).astype(np.float16)
        np.testing.assert_array_equal(running_product(factor, 1200, "fp16").numpy(), np.array(expected))
        np.testing.assert_array_equal(direct_cast(factor, 1200, "fp16").numpy(), cast)


@pytest.mark.parametrize("name", ["bf16", "fp16", "fp32", "fp64"])
@pytest.mark.parametrize("factor", [0.8, 1.5, 1.1])
def test_matches_native_multiplication(name, factor):
    dtype = FORMATS[name].dtype
    value, weight, expected = torch.ones((), dtype=dtype), torch.tensor(factor, dtype=dtype), []
    for _ in range(600):
        value = value * weight
        expected.append(value)
    assert torch.equal(running_product(factor, 600, name), torch.stack(expected))


@pytest.mark.parametrize("name", NAMES)
@given(st.floats(0.0625, 20, width=32), st.integers(0, 120))
@settings(deadline=None, max_examples=25, derandomize=True)
def test_matches_exact_rationals(name, factor, steps):
    result = running_product(factor, steps, name).double().numpy()
    np.testing.assert_array_equal(result, exact_running_product(factor, steps, name))


@pytest.mark.parametrize("mode", ["product", "cast"])
@pytest.mark.parametrize("name", NAMES)
@given(st.one_of(st.floats(0.02, 0.8), st.floats(1.3, 50)), st.sampled_from([1.0, 0.25, 100.0]))
@settings(deadline=None, max_examples=8, derandomize=True)
def test_depths_are_those_of_the_sequence(name, mode, factor, start):
    fmt, steps = FORMATS[name], 3500  # 0.8 needs 3340 steps to leave fp64, 1.3 needs 2705
    steps = steps if name == "fp64" and mode == "cast" else 500 if name == "fp64" else 600
    sequence = (running_product if mode == "product" else direct_cast)(factor, steps, fmt, start=start).double()

    def first(mask: torch.Tensor) -> int | None:
        return mask.nonzero()[0].item() + 1 if mask.any() else None

    for depth, mask in (
        (overflow_depth, ~sequence.isfinite()),
        (underflow_depth, sequence == 0),
        (subnormal_depth, (sequence > 0) & (sequence < fmt.smallest_normal)),
    ):
        found = depth(factor, fmt, mode=mode, start=start)
        assert (found if found is None or found <= steps else None) == first(mask)


@pytest.mark.parametrize("name", NAMES)
def test_factor_one_and_factors_that_round_to_one_never_leave(name):
    for factor in (1, 1 + FORMATS[name].eps / 4):
        assert overflow_depth(factor, name) is underflow_depth(factor, name) is subnormal_depth(factor, name) is None
        assert sticking_point(factor, name) == (0, 1.0)
    assert overflow_depth(1, name, mode="cast") is underflow_depth(1, name, mode="cast") is None
    assert overflow_depth(0.5, name, mode="cast") is None and underflow_depth(2, name, mode="cast") is None


@pytest.mark.slow
def test_one_ulp_from_one_is_decided_for_16_bits_and_by_powers_for_all():
    for name in ("fp16", "bf16"):
        eps = FORMATS[name].eps
        assert sticking_point(1 + eps, name)[1] == math.inf
        assert sticking_point(1 - eps / 2, name)[1] == FORMATS[name].smallest_normal  # a tie there, and it is even
    assert overflow_depth(1 + 2.0**-40, "fp64", mode="cast") == math.ceil(1024 * math.log(2) / math.log1p(2.0**-40))


def test_undecided_product_is_refused_not_guessed(monkeypatch):
    monkeypatch.setattr(formats, "_MAX_STEPS", 50)
    assert overflow_depth(1.5, "fp16") == 28
    with pytest.raises(ValueError, match=r"factor: 1.001 is too near 1, undecided after 50 steps in fp32"):
        overflow_depth(1.001, "fp32")


def test_a_subnormal_start():
    tiny = 2.0**-24
    assert subnormal_depth(0.8, "fp16", start=tiny) == 0
    assert sticking_point(1.2, "fp16", start=tiny) == (0, tiny)  # 1.2 ulp rounds to 1 ulp
    assert sticking_point(1.5, "fp16", start=tiny)[1] == math.inf  # 1.5 ulp rounds to 2: the tie goes to even


def test_nan_on_overflow_ends_the_walk(monkeypatch):
    """The e4m3 cast of older torch releases, imitated: NaN from 480 on."""
    cast = formats._round
    monkeypatch.setattr(formats, "_round", lambda x, fmt: math.nan if not x < 464 else cast(x, fmt))
    step, value = sticking_point(1.5, "e4m3")
    assert math.isnan(value) and overflow_depth(1.5, "e4m3") == overflow_depth(1.5, "e4m3", mode="cast") == step
    assert underflow_depth(1.5, "e4m3") is None


@pytest.mark.parametrize("factor", [0, -1.5, math.nan, math.inf])
def test_bad_factor(factor):
    for call in (
        lambda: running_product(factor, 3, "fp16"),
        lambda: direct_cast(factor, 3, "fp16"),
        lambda: overflow_depth(factor, "fp16"),
        lambda: sticking_point(factor, "fp16"),
    ):
        with pytest.raises(ValueError, match=rf"factor: expected a positive finite number, got {factor}"):
            call()


def test_bad_start_steps_mode_and_value():
    for start in (0.0, -1.0, math.nan, 1e-9, 1e6):
        with pytest.raises(ValueError, match=r"start: expected a number that is positive and finite in fp16"):
            overflow_depth(1.5, "fp16", start=start)
    for sequence in (running_product, direct_cast):
        assert sequence(1.5, 0, "fp16").shape == (0,)
        with pytest.raises(ValueError, match="steps: expected at least 0, got -1"):
            sequence(1.5, -1, "fp16")
    with pytest.raises(ValueError, match="mode: expected 'product' or 'cast', got 'sum'"):
        underflow_depth(0.5, "fp16", mode="sum")
    with pytest.raises(ValueError, match="value: expected a finite number, got nan"):
        classify(math.nan, "fp16")


def test_flush_to_zero_is_seen_in_fp32_and_not_in_fp16():
    if not torch.set_flush_denormal(True):
        pytest.skip("this CPU cannot flush subnormals")
    try:
        assert underflow_depth(0.8, "fp32") is not None
        assert sticking_point(0.8, "fp16") == (71, 2.0**-23)
    finally:
        torch.set_flush_denormal(False)
    assert underflow_depth(0.8, "fp32") is None


# ------------------------------------------------------------------------------------------------- band, forward pass


def test_band_of_the_lecture():
    assert {name: band_in(name) for name in NAMES} == {
        "fp64": ("normal", "normal"),
        "fp32": ("normal", "normal"),
        "bf16": ("normal", "normal"),
        "fp16": ("subnormal", "normal"),
        "e5m2": ("zero", "normal"),
        "e4m3": ("zero", "beyond max"),
    }
    assert band_in("fp16", 1e-9, 7e4) == ("zero", "beyond max")


@pytest.mark.parametrize("name", NAMES)
def test_classify_at_the_borders(name):
    fmt = FORMATS[name]
    kinds = [classify(x, fmt) for x in (0.0, fmt.smallest_subnormal, fmt.smallest_normal, -fmt.max)]
    assert kinds == ["zero", "subnormal", "normal", "normal"]
    if name != "fp64":
        assert classify(fmt.smallest_subnormal / 2, fmt) == "zero"
        assert classify(-fmt.max * (1 + fmt.eps / 8), fmt) == "beyond max"


def test_first_nonfinite():
    ones = torch.ones(2, 3)
    assert first_nonfinite([]) is first_nonfinite([ones, torch.zeros(0)]) is None
    assert first_nonfinite(t for t in [ones, ones * torch.nan, ones * torch.inf]) == 1
    assert first_nonfinite([torch.tensor(1e300, dtype=torch.float64), -ones / 0]) == 1
    e4m3, e5m2 = torch.tensor(math.nan).to(torch.float8_e4m3fn), torch.tensor(math.inf).to(torch.float8_e5m2)
    assert first_nonfinite([ones.to(torch.float8_e4m3fn), e4m3]) == first_nonfinite([ones, e5m2]) == 1


def test_forward_pass_leaves_fp16_at_the_predicted_layer():
    """64 x 64 entries of 0.1 on ones, ReLU: a factor 6.4 a layer, and 6.4**6 = 68719 overflows."""
    W, h, states = torch.full((64, 64), 0.1, dtype=torch.float16), torch.ones(1, 64, dtype=torch.float16), []
    for _ in range(8):
        h = torch.relu(h @ W.T)
        states.append(h)
    assert first_nonfinite(states) == 5  # layer 6
    assert overflow_depth(6.4, "fp16") == 6
