# SPDX-License-Identifier: Apache-2.0
"""Integer arithmetic shared by importer, quantiser and lowering: multipliers, clamps and lookup tables.

The rules are those of TensorFlow Lite Micro's int8 kernels; csrc/NUMERICS.md states them. Everything here works on
single numbers and 256-entry tables, so it is written for clarity in exact Python integers.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from joulet.errors import ModelError
from joulet.ir import Activation, OpKind, Quant, UnaryKind

S8_MIN = -128
S8_MAX = 127
I32_MIN = -(1 << 31)
I32_MAX = (1 << 31) - 1
ADD_LEFT_SHIFT = 20  # headroom of add and sub


def round_half_away(value: float) -> int:
    """Return the nearest integer; halves go away from zero (C ``round``)."""
    magnitude = abs(value)
    floor = math.floor(magnitude)
    rounded = floor + (1 if magnitude - floor >= 0.5 else 0)
    return rounded if value >= 0 else -rounded


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Return ``(multiplier_q31, shift)`` with ``real ≈ multiplier × 2^(shift − 31)``.

    Multipliers below 2⁻³¹ become 0. ``real`` must be finite, non-negative and below 2³⁰.
    """
    if not math.isfinite(real) or real < 0:
        raise ModelError(f"scales give the multiplier {real}: every scale must be positive; re-export the model")
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = round_half_away(fraction * (1 << 31))
    if multiplier == 1 << 31:
        multiplier //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    if shift > 30:
        raise ModelError(f"scales give the multiplier {real:g}, more than 2^30: the quantisation is broken")
    return multiplier, shift


def saturating_high_mul(a: int, b: int) -> int:
    """Return ``a × b × 2`` of two int32, upper half, rounded to nearest (halves up), saturated."""
    if a == b == I32_MIN:
        return I32_MAX
    product = a * b
    nudge = 1 << 30 if product >= 0 else 1 - (1 << 30)
    total = product + nudge
    return total >> 31 if total >= 0 else -((-total) >> 31)


def rounding_shift_right(value: int, exponent: int) -> int:
    """Return ``value / 2^exponent`` rounded to nearest, halves away from zero."""
    mask = (1 << exponent) - 1
    threshold = (mask >> 1) + (1 if value < 0 else 0)
    return (value >> exponent) + (1 if value & mask > threshold else 0)


def _wrap32(value: int) -> int:
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


def multiply_by_multiplier(value: int, multiplier_q31: int, shift: int) -> int:
    """Return ``value × multiplier × 2^(shift − 31)`` with the two roundings of the reference."""
    left = _wrap32(value << shift) if shift > 0 else value
    return rounding_shift_right(saturating_high_mul(left, multiplier_q31), -shift if shift < 0 else 0)


def multiply_rounding_once(value: int, multiplier_q31: int, shift: int) -> int:
    """Return ``value × multiplier × 2^(shift − 31)`` rounded once to nearest, halves up, saturated to int32."""
    right = 31 - shift
    scaled = (value * multiplier_q31 + (1 << (right - 1))) >> right
    return min(max(scaled, -(1 << 31)), (1 << 31) - 1)


def clamp_s8(value: int) -> int:
    """Return ``value`` saturated to int8."""
    return min(max(value, S8_MIN), S8_MAX)


# --- multipliers of the ops -------------------------------------------------------------------------------------


def conv_multiplier(in_scale: float, weight_scale: float, out_scale: float) -> tuple[int, int]:
    """Multiplier and shift of one output channel of conv, dwconv and fc (product of scales in double precision)."""
    return quantize_multiplier(float(in_scale) * float(weight_scale) / float(out_scale))


def uint8_multiplier(in_scale: float, weight_scale: float, out_scale: float) -> tuple[int, int]:
    """Multiplier and shift of a weighted op that was uint8: its reference rounds the product of scales to float32."""
    product = np.float32(in_scale) * np.float32(weight_scale)
    return quantize_multiplier(float(product) / float(out_scale))


def rounds_once(kind: OpKind, was_uint8: bool) -> bool:
    """Whether a weighted op scales with one rounding: the reference's uint8 fully connected, and nothing else."""
    return was_uint8 and kind is OpKind.FULLY_CONNECTED


def weighted_multiplier(
    kind: OpKind, was_uint8: bool, in_scale: float, weight_scale: float, out_scale: float
) -> tuple[int, int]:
    """Multiplier and shift of a weighted op, by the rule of its reference."""
    float_product = was_uint8 and kind is not OpKind.FULLY_CONNECTED
    rule = uint8_multiplier if float_product else conv_multiplier
    return rule(in_scale, weight_scale, out_scale)


def mean_multiplier(in_scale: float, out_scale: float, count: int) -> tuple[int, int]:
    """Multiplier and shift of a mean over ``count`` elements; 1/count is folded in by an integer division."""
    multiplier, shift = quantize_multiplier(float(in_scale) / float(out_scale))
    fold = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << fold) // count, shift - fold


def mul_multiplier(a_scale: float, b_scale: float, out_scale: float) -> tuple[int, int]:
    """Multiplier and shift of an element-wise product."""
    return quantize_multiplier(float(a_scale) * float(b_scale) / float(out_scale))


def add_multipliers(
    a_scale: float, b_scale: float, out_scale: float
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """(multiplier, shift) of the first input, the second input and the output of add and sub."""
    twice_max = 2.0 * max(float(a_scale), float(b_scale))
    out = twice_max / ((1 << ADD_LEFT_SHIFT) * float(out_scale))
    if out >= 1.0:
        raise ModelError(
            f"add: the output scale {out_scale:g} is over a million times finer than its inputs'; re-quantise the model"
        )
    return (
        quantize_multiplier(float(a_scale) / twice_max),
        quantize_multiplier(float(b_scale) / twice_max),
        quantize_multiplier(out),
    )


# --- activations --------------------------------------------------------------------------------------------------

_REAL_RANGE = {
    Activation.NONE: (-math.inf, math.inf),
    Activation.RELU: (0.0, math.inf),
    Activation.RELU6: (0.0, 6.0),
    Activation.RELU_N1_TO_1: (-1.0, 1.0),
}


def activation_range_f32(activation: Activation) -> tuple[float, float]:
    """Clamp of a fused activation on real values; ±3.4e38 where it does not clamp."""
    limit = float(np.finfo(np.float32).max)
    low, high = _REAL_RANGE[activation]
    return max(low, -limit), min(high, limit)


def _to_grid(real: float, scale: float, zero_point: int) -> int:
    steps = float(np.float32(real)) / float(np.float32(scale))
    if abs(steps) > I32_MAX:
        raise ModelError(f"the scale {scale:g} is too fine for a clamp at {real:g}; re-quantise the model")
    return zero_point + round_half_away(float(np.float32(steps)))


def activation_range(activation: Activation, quant: Quant) -> tuple[int, int]:
    """Clamp of a fused activation on the int8 grid ``quant`` of the output."""
    low, high = _REAL_RANGE[activation]
    act_min = S8_MIN if low == -math.inf else max(S8_MIN, _to_grid(low, quant.scale[0], quant.zero_point))
    act_max = S8_MAX if high == math.inf else min(S8_MAX, _to_grid(high, quant.scale[0], quant.zero_point))
    return act_min, act_max


# --- fixed point functions ------------------------------------------------------------------------------------------
# A value with n integer bits is raw × 2^(n − 31).

_ONE_Q0 = I32_MAX


def _saturating_shift_left(value: int, exponent: int) -> int:
    return min(max(value << exponent, I32_MIN), I32_MAX)


def _exp_near_zero(a: int) -> int:
    """exp of a in [−1/4, 0) with 0 integer bits: fourth-order expansion around −1/8."""
    exp_minus_eighth = 1895147668
    third = 715827883
    x = a + (1 << 28)
    x2 = saturating_high_mul(x, x)
    x3 = saturating_high_mul(x2, x)
    x4 = saturating_high_mul(x2, x2)
    cubic = saturating_high_mul(rounding_shift_right(x4, 2) + x3, third) + x2
    return exp_minus_eighth + saturating_high_mul(exp_minus_eighth, x + rounding_shift_right(cubic, 1))


# round(exp(−2^k) × 2^31) for k = −2..4
_EXP_STEPS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


def exp_of_negative(raw: int, integer_bits: int) -> int:
    """exp of a non-positive fixed-point number with ``integer_bits`` (up to 5), as q31 with 0 integer bits."""
    if raw == 0:
        return _ONE_Q0
    fractional_bits = 31 - integer_bits
    quarter = 1 << (fractional_bits - 2)
    low = (raw & (quarter - 1)) - quarter
    result = _exp_near_zero(_saturating_shift_left(low, integer_bits))
    remainder = low - raw
    for k, factor in enumerate(_EXP_STEPS, start=-2):
        if integer_bits > k and remainder & (1 << (fractional_bits + k)):
            result = saturating_high_mul(result, factor)
    return result


def _reciprocal_of_half_sum(a: int) -> int:
    """2 / (1 + a) for a in [0, 1] (q31), with 2 integer bits, by three Newton steps."""
    half_denominator = (a + _ONE_Q0 + 1) // 2
    x = 1515870810 + saturating_high_mul(half_denominator, -1010580540)
    for _ in range(3):
        error = (1 << 29) - saturating_high_mul(half_denominator, x)
        x += _saturating_shift_left(saturating_high_mul(x, error), 2)
    return x


def reciprocal_of_one_plus(a: int) -> int:
    """1 / (1 + a) for a in [0, 1], both q31."""
    return _saturating_shift_left(_reciprocal_of_half_sum(a), 1)


def _logistic_q31(raw_q4: int) -> int:
    if raw_q4 == 0:
        return 1 << 30
    positive = reciprocal_of_one_plus(exp_of_negative(-abs(raw_q4), 4))
    return positive if raw_q4 > 0 else _ONE_Q0 - positive


def _tanh_q31(raw_q4: int) -> int:
    if raw_q4 == 0:
        return 0
    # doubling the argument is the same raw value with one more integer bit
    ratio = _reciprocal_of_half_sum(exp_of_negative(-abs(raw_q4), 5)) - (1 << 29)
    magnitude = _saturating_shift_left(ratio, 2)
    return magnitude if raw_q4 > 0 else -magnitude


def _input_radius(integer_bits: int, left_shift: int, total_bits: int = 31) -> int:
    return math.floor(((1 << integer_bits) - 1) * 2.0 ** (total_bits - integer_bits - left_shift))


# --- 256-entry tables ---------------------------------------------------------------------------------------------


def softmax_exp_table(in_scale: float, beta: float) -> npt.NDArray[np.int32]:
    """exp(−d × scale × beta) in q31 for differences d = 0..255 below the row's maximum, ``(256,)``."""
    real = min(float(np.float32(beta)) * float(np.float32(in_scale)) * (1 << 26), (1 << 31) - 1.0)
    if not real > 1.0:
        raise ModelError(f"softmax: input scale {in_scale:g} × beta {beta:g} is too small; re-quantise the model")
    multiplier, shift = quantize_multiplier_unbounded(real)
    reach = _input_radius(5, shift)
    table = np.zeros(256, dtype=np.int32)
    for difference in range(256):
        if difference <= reach:
            table[difference] = exp_of_negative(saturating_high_mul(_wrap32(-difference << shift), multiplier), 5)
    return table


def quantize_multiplier_unbounded(real: float) -> tuple[int, int]:
    """Like :func:`quantize_multiplier` for multipliers up to 2³¹, which only softmax, logistic and tanh have."""
    fraction, shift = math.frexp(real)
    multiplier = round_half_away(fraction * (1 << 31))
    return (multiplier // 2, shift + 1) if multiplier == 1 << 31 else (multiplier, shift)


def unary_table(kind: UnaryKind, alpha: float, in_quant: Quant, out_quant: Quant, *, uint8: bool = False) -> bytes:
    """Return ``table[q + 128]``, the int8 result of one unary function for every int8 input q.

    Parameters
    ----------
    kind, alpha
        The function, and the slope of leaky relu.
    in_quant, out_quant
        Quantisation on the int8 grid.
    uint8
        The model was uint8 before import: logistic and tanh are then rounded from floats, as its reference does.
    """
    scale_in, scale_out = np.float32(in_quant.scale[0]), np.float32(out_quant.scale[0])
    zero_in, zero_out = in_quant.zero_point, out_quant.zero_point
    inputs = [q - zero_in for q in range(S8_MIN, S8_MAX + 1)]
    if kind is UnaryKind.LOGISTIC or kind is UnaryKind.TANH:
        if uint8:
            values = _float_table(kind, inputs, scale_in, scale_out, zero_out)
        else:
            values = _sigmoid_table(kind, inputs, float(scale_in))
    elif kind is UnaryKind.HARD_SWISH:
        values = _hard_swish_table(inputs, scale_in, scale_out, zero_out)
    elif kind is UnaryKind.LEAKY_RELU:
        values = _leaky_relu_table(inputs, scale_in, scale_out, zero_out, np.float32(alpha))
    elif kind is UnaryKind.REQUANTIZE:
        multiplier = quantize_multiplier(float(scale_in) / float(scale_out))
        values = [multiply_by_multiplier(x, *multiplier) + zero_out for x in inputs]
    else:
        values = _relu_table(kind, inputs, in_quant, out_quant)
    return bytes(clamp_s8(value) & 0xFF for value in values)


def _relu_table(kind: UnaryKind, inputs: list[int], in_quant: Quant, out_quant: Quant) -> list[int]:
    if kind is UnaryKind.RELU6:
        # the reference clamps on the input's grid and does not rescale
        low, high = in_quant.zero_point, min(S8_MAX, _to_grid(6.0, in_quant.scale[0], in_quant.zero_point))
        return [min(max(x + in_quant.zero_point, low), high) for x in inputs]
    activation = Activation.RELU if kind is UnaryKind.RELU else Activation.RELU_N1_TO_1
    low, high = activation_range(activation, out_quant)
    multiplier = quantize_multiplier(float(np.float32(in_quant.scale[0])) / float(np.float32(out_quant.scale[0])))
    return [min(max(multiply_by_multiplier(x, *multiplier) + out_quant.zero_point, low), high) for x in inputs]


def _leaky_relu_table(
    inputs: list[int], scale_in: np.float32, scale_out: np.float32, zero_out: int, alpha: np.float32
) -> list[int]:
    with np.errstate(over="ignore", invalid="ignore"):
        identity_real, slope_real = float(scale_in / scale_out), float(scale_in * alpha / scale_out)
    identity = quantize_multiplier(identity_real)
    slope, slope_shift = quantize_multiplier(abs(slope_real))
    negative = (slope if slope_real >= 0 else -slope, slope_shift)
    return [multiply_by_multiplier(x, *(identity if x >= 0 else negative)) + zero_out for x in inputs]


def _sigmoid_table(kind: UnaryKind, inputs: list[int], scale_in: float) -> list[int]:
    multiplier, shift = quantize_multiplier_unbounded(scale_in * (1 << 27))
    radius = _input_radius(4, shift)
    values = []
    for x in inputs:
        if abs(x) >= radius:
            values.append(S8_MIN if x < 0 or radius <= 0 else S8_MAX)
            continue
        raw = multiply_by_multiplier(x, multiplier, shift)
        if kind is UnaryKind.LOGISTIC:
            values.append(rounding_shift_right(_logistic_q31(raw), 23) + S8_MIN)
        else:
            values.append(rounding_shift_right(_tanh_q31(raw), 24))
    return values


def _float_table(
    kind: UnaryKind, inputs: list[int], scale_in: np.float32, scale_out: np.float32, zero_out: int
) -> list[int]:
    x = scale_in * np.asarray(inputs, dtype=np.float32)
    with np.errstate(over="ignore"):  # exp(−x) = ∞ gives the right limit 0
        y = np.float32(1) / (np.float32(1) + np.exp(-x)) if kind is UnaryKind.LOGISTIC else np.tanh(x)
    # beyond ±1024 steps every value saturates; the bound keeps infinities out
    steps = np.clip(y * (np.float32(1) / scale_out), -1024, 1024)
    return [round_half_away(float(step)) + zero_out for step in steps]


def _saturate16(value: int) -> int:
    return min(max(value, -(1 << 15)), (1 << 15) - 1)


def _high_mul16(a: int, b: int) -> int:
    """Rounding doubling high multiply of two int16."""
    if a == b == -(1 << 15):
        return (1 << 15) - 1
    product = a * b
    total = product + (1 << 14 if product >= 0 else 1 - (1 << 14))
    return total >> 15 if total >= 0 else -((-total) >> 15)


def _multiplier16(real: np.float32) -> tuple[int, int]:
    multiplier, shift = quantize_multiplier(float(real))
    return (0x7FFF if multiplier >= 0x7FFF0000 else (multiplier + (1 << 15)) >> 16), shift


def _hard_swish_table(inputs: list[int], scale_in: np.float32, scale_out: np.float32, zero_out: int) -> list[int]:
    fine_scale = np.float32(1.0 / 128.0) * scale_in
    with np.errstate(over="ignore"):
        out_ratio = fine_scale / scale_out
        gate_ratio = fine_scale / (np.float32(3.0) / np.float32(32768.0))
    out_multiplier, out_shift = _multiplier16(out_ratio)
    gate_multiplier, gate_shift = _multiplier16(gate_ratio)
    if out_shift > 0:
        raise ModelError("hard_swish: the output scale is over 128 times finer than the input; re-quantise the model")
    values = []
    for x in inputs:
        fine = x << 7
        scaled = _high_mul16(fine, out_multiplier)
        # gate = clamp((x + 3) / 6) as q15: x is brought to a grid where 3.0 is 2^15, saturating on the last bit
        gate = _saturate16(fine << (gate_shift - 1)) if gate_shift > 0 else fine
        gate = _high_mul16(gate, gate_multiplier)
        if gate_shift > 0:
            gate = _saturate16(gate << 1)
        elif gate_shift < 0:
            gate = rounding_shift_right(gate, -gate_shift)
        gate = (gate + (1 << 15)) >> 1
        product = gate * scaled
        truncated = product >> 15 if product >= 0 else -((-product) >> 15)
        values.append(rounding_shift_right(truncated, -out_shift) + zero_out)
    return values
