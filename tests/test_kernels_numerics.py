# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of numerics.py by hand and by property; its twins in C are held by test_kernels.py."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulet import numerics
from joulet.errors import ModelError
from joulet.ir import Activation, Quant, UnaryKind

I32 = st.integers(numerics.I32_MIN, numerics.I32_MAX)


def _quant(scale: float, zero_point: int) -> Quant:
    return Quant(scale=(float(np.float32(scale)),), zero_point=zero_point)


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (0.0, (0, 0)),
        (1.0, (1 << 30, 1)),
        (0.5, (1 << 30, 0)),
        (0.75, (3 << 29, 0)),
        (2.0**-40, (0, 0)),
        (3.0, (3 << 29, 2)),
    ],
)
def test_multipliers_by_hand(real: float, expected: tuple[int, int]) -> None:
    assert numerics.quantize_multiplier(real) == expected


@given(st.floats(2.0**-31, 2.0**29))
def test_a_multiplier_stands_for_its_real_number(real: float) -> None:
    multiplier, shift = numerics.quantize_multiplier(real)
    assert 1 << 30 <= multiplier < 1 << 31
    assert multiplier * 2.0 ** (shift - 31) == pytest.approx(real, rel=2.0**-30)


@pytest.mark.parametrize("real", [-1.0, math.nan, math.inf, 2.0**31])
def test_impossible_multipliers_are_refused(real: float) -> None:
    with pytest.raises(ModelError):
        numerics.quantize_multiplier(real)


@pytest.mark.parametrize(("value", "exponent", "expected"), [(5, 1, 3), (-5, 1, -3), (6, 2, 2), (-6, 2, -2), (7, 0, 7)])
def test_shifts_round_halves_away_from_zero(value: int, exponent: int, expected: int) -> None:
    assert numerics.rounding_shift_right(value, exponent) == expected


@given(I32, st.integers(0, numerics.I32_MAX))
def test_high_multiplication_rounds_halves_upwards(a: int, b: int) -> None:
    assert numerics.saturating_high_mul(a, b) == math.floor((a * b + (1 << 30)) / (1 << 31)) or abs(a * b) > 1 << 53
    assert numerics.saturating_high_mul(a, b) == (a * b + (1 << 30)) >> 31


def test_the_one_product_that_saturates() -> None:
    assert numerics.saturating_high_mul(numerics.I32_MIN, numerics.I32_MIN) == numerics.I32_MAX


@given(st.floats(-15.9, 0))
def test_exp_is_exp(x: float) -> None:
    raw = round(x * 2**26)
    # the fourth-order expansion leaves (1/8)^5 / 5! = 2.5e-7, roundings a tenth of that
    assert numerics.exp_of_negative(raw, 5) / 2**31 == pytest.approx(math.exp(raw / 2**26), abs=2.8e-7)


@given(st.integers(0, numerics.I32_MAX))
def test_the_reciprocal_is_a_reciprocal(raw: int) -> None:
    assert numerics.reciprocal_of_one_plus(raw) / 2**31 == pytest.approx(1 / (1 + raw / 2**31), abs=1e-8)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (Activation.NONE, (-128, 127)),
        (Activation.RELU, (-28, 127)),
        (Activation.RELU6, (-28, 92)),
        (Activation.RELU_N1_TO_1, (-48, -8)),
    ],
)
def test_activation_ranges_by_hand(activation: Activation, expected: tuple[int, int]) -> None:
    assert numerics.activation_range(activation, _quant(0.05, -28)) == expected


@pytest.mark.parametrize("uint8", [False, True])
@pytest.mark.parametrize(
    ("kind", "function", "out"),
    [
        (UnaryKind.LOGISTIC, lambda x: 1 / (1 + np.exp(-x)), _quant(1 / 256, -128)),
        (UnaryKind.TANH, np.tanh, _quant(1 / 128, 0)),
        (UnaryKind.HARD_SWISH, lambda x: x * np.clip(x + 3, 0, 6) / 6, _quant(0.04, -100)),
        (UnaryKind.LEAKY_RELU, lambda x: np.where(x > 0, x, 0.1 * x), _quant(0.04, -100)),
        (UnaryKind.RELU, lambda x: np.maximum(x, 0), _quant(0.04, -128)),
        (UnaryKind.REQUANTIZE, lambda x: x, _quant(0.04, 5)),
    ],
)
def test_tables_follow_their_functions(kind: UnaryKind, function: object, out: Quant, uint8: bool) -> None:
    x_quant = _quant(0.05, 3)
    table = np.frombuffer(numerics.unary_table(kind, 0.1, x_quant, out, uint8=uint8), np.int8).astype(int)
    x = x_quant.scale[0] * (np.arange(-128, 128) - 3)
    expected = np.clip(function(x) / out.scale[0] + out.zero_point, -128, 127)  # type: ignore[operator]
    assert np.abs(table - expected).max() <= 1.01


def test_softmax_table_falls_from_one_to_nothing() -> None:
    table = numerics.softmax_exp_table(0.5, 1.0)
    assert table[0] == numerics.I32_MAX
    assert (np.diff(table.astype(np.int64)) <= 0).all()
    assert table[63:].max() == 0
    with pytest.raises(ModelError, match="softmax"):
        numerics.softmax_exp_table(1e-9, 1.0)


@given(
    st.sampled_from(list(UnaryKind)),
    st.floats(1e-40, 3e38),
    st.floats(1e-40, 3e38),
    st.integers(-128, 127),
    st.floats(width=32),
)
def test_any_quantisation_gives_a_table_or_a_clear_error(
    kind: UnaryKind, scale_in: float, scale_out: float, zero: int, alpha: float
) -> None:
    if np.float32(scale_in) == 0 or np.float32(scale_out) == 0:
        return
    try:
        table = numerics.unary_table(kind, alpha, _quant(scale_in, zero), _quant(scale_out, -zero - 1))
    except ModelError:
        return
    assert len(table) == 256
