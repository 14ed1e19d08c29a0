// SPDX-License-Identifier: Apache-2.0
// Scaling of accumulators as NUMERICS.md §2 defines it: two roundings, to nearest, the second away from zero; or one.
#ifndef JLT_CORE_REQUANTISE_H
#define JLT_CORE_REQUANTISE_H

#include <stdint.h>

// a × b / 2^31 to nearest, halves up. Multipliers are never negative, so the one saturating case cannot occur.
static inline int32_t jlt_high_mul(int32_t a, int32_t b) {
  return (int32_t)(((int64_t)a * b + (1 << 30)) >> 31);
}

// value / 2^exponent to nearest, halves away from zero; exponent 0..62.
static inline int32_t jlt_shift_right_rounding(int32_t value, uint32_t exponent) {
  const int64_t half = ((int64_t)1 << exponent) >> 1;
  const int64_t below_zero = (value < 0 && exponent > 0) ? 1 : 0;
  return (int32_t)(((int64_t)value + half - below_zero) >> exponent);
}

// value × multiplier × 2^(shift − 31), shift −31..30; a left shift wraps like the reference.
static inline int32_t jlt_scale(int32_t value, int32_t multiplier, int32_t shift) {
  const uint32_t left = shift > 0 ? (uint32_t)shift : 0u;
  const uint32_t right = shift < 0 ? (uint32_t)-shift : 0u;
  return jlt_shift_right_rounding(jlt_high_mul((int32_t)((uint32_t)value << left), multiplier), right);
}

// The same with one rounding to nearest, halves up, saturated to 32 bits.
static inline int32_t jlt_scale_once(int32_t value, int32_t multiplier, int32_t shift) {
  const uint32_t right = (uint32_t)(31 - shift);  // 1..62
  const int64_t scaled = ((int64_t)value * multiplier + ((int64_t)1 << (right - 1u))) >> right;
  return scaled < INT32_MIN ? INT32_MIN : (scaled > INT32_MAX ? INT32_MAX : (int32_t)scaled);
}

static inline int32_t jlt_clamp(int32_t value, int32_t low, int32_t high) {
  return value < low ? low : (value > high ? high : value);
}

// The zero point moves to the bounds so that no addition can overflow.
static inline int8_t jlt_to_s8(int32_t scaled, int32_t zero_point, int32_t act_min, int32_t act_max) {
  return (int8_t)(jlt_clamp(scaled, act_min - zero_point, act_max - zero_point) + zero_point);
}

// The last step of every s8 kernel.
static inline int8_t jlt_requantise_s8(int32_t accumulator, int32_t multiplier, int32_t shift, int32_t zero_point,
                                       int32_t act_min, int32_t act_max) {
  return jlt_to_s8(jlt_scale(accumulator, multiplier, shift), zero_point, act_min, act_max);
}

#endif
