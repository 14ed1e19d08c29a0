// SPDX-License-Identifier: Apache-2.0
// Softmax over the last dimension, s8 → s8 with scale 1/256 and zero point −128; NUMERICS.md §5. y may be x (in place).
#include "core/requantise.h"
#include "kernels/kernels.h"

enum { SUM_INTEGER_BITS = 12 };

static uint32_t leading_zeros(uint32_t value) {
  uint32_t count = 0;
  while (count < 32 && !(value & 0x80000000u)) {
    value <<= 1;
    count++;
  }
  return count;
}

static int32_t double_saturating(int32_t value, uint32_t exponent) {
  const int64_t wide = (int64_t)value * ((int64_t)1 << exponent);
  return wide > INT32_MAX ? INT32_MAX : (wide < INT32_MIN ? INT32_MIN : (int32_t)wide);
}

// 1 / (1 + a) for a in [0, 1), both q31: three Newton steps from 48/17 − 32/17 · (1 + a)/2, in q29.
static int32_t reciprocal_of_one_plus(int32_t a) {
  const int32_t half_denominator = (int32_t)(((int64_t)a + INT32_MAX + 1) / 2);
  int32_t x = 1515870810 + jlt_high_mul(half_denominator, -1010580540);
  for (int step = 0; step < 3; step++) {
    const int32_t error = (1 << 29) - jlt_high_mul(half_denominator, x);
    x += double_saturating(jlt_high_mul(x, error), 2);
  }
  return double_saturating(x, 1);
}

uint32_t jlt_softmax_unit_elements(const void *params, const jlt_tensor_t *out) {
  (void)out;
  return ((const jlt_softmax_params_t *)params)->columns;
}

static void softmax_row(const jlt_softmax_params_t *p, const int8_t *in, int8_t *out) {
  int32_t most = -128;
  for (uint32_t i = 0; i < p->columns; i++) {
    most = in[i] > most ? in[i] : most;
  }
  int32_t sum = 0;
  for (uint32_t i = 0; i < p->columns; i++) {
    sum += jlt_shift_right_rounding(p->exp_table[most - in[i]], SUM_INTEGER_BITS);
  }
  // sum = (1 + a) · 2^(12 − headroom)
  const uint32_t headroom = leading_zeros((uint32_t)sum);
  const int32_t a = (int32_t)(((uint32_t)sum << headroom) - 0x80000000u);
  const int32_t reciprocal = reciprocal_of_one_plus(a);
  const uint32_t exponent = SUM_INTEGER_BITS - headroom + 31u - 8u;
  for (uint32_t i = 0; i < p->columns; i++) {
    const int32_t share = jlt_high_mul(reciprocal, p->exp_table[most - in[i]]);
    out[i] = (int8_t)jlt_clamp(jlt_shift_right_rounding(share, exponent) - 128, -128, 127);
  }
}

void jlt_softmax_s8__ref(const jlt_call_t *call) {
  const jlt_softmax_params_t *p = call->params;
  const int8_t *in = call->in[0];
  int8_t *out = call->out;
  for (uint32_t row = call->begin; row < call->end; row++) {
    softmax_row(p, in + (size_t)row * p->columns, out + (size_t)row * p->columns);
  }
}
