// SPDX-License-Identifier: Apache-2.0
// Addition of two tensors of one shape for cores without SIMD: one loop over their bytes.
#include "kernels/armv6m/scale.h"
#include "kernels/variants.h"

#if defined(JLT_WITH_ARMV6M)

// Both inputs onto one grid; a shift of 0, of one of them, cannot round by what it shifts out.
static JLT_ALWAYS_INLINE int32_t onto_grid(int32_t value, int32_t multiplier, int32_t right) {
  return right > 0 ? jlt_v6m_moved(value * (1 << 20), multiplier, right, 0) : jlt_high_mul(value * (1 << 20), multiplier);
}

void jlt_add_s8__armv6m(const jlt_call_t *call) {
  const jlt_binary_params_t *p = call->params;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_ELEMENTS, call->out_tensor->elements);
  const int32_t a_zero_point = p->a_zero_point;
  const int32_t b_zero_point = p->b_zero_point;
  const int32_t a_multiplier = p->a_multiplier;
  const int32_t b_multiplier = p->b_multiplier;
  const int32_t a_right = -p->a_shift;
  const int32_t b_right = -p->b_shift;
  const int32_t multiplier = p->out_multiplier;
  const int32_t right = -p->out_shift;
  const int32_t zero_point = p->out_zero_point;
  const int8_t *a = (const int8_t *)call->in[0] + tile.begin;
  const int8_t *b = (const int8_t *)call->in[1] + tile.begin;
  int8_t *out = (int8_t *)call->out + tile.begin;
  const int8_t *const end = (const int8_t *)call->out + tile.end;
  while (out != end) {
    const int32_t x = onto_grid(*a++ - a_zero_point, a_multiplier, a_right);
    const int32_t y = onto_grid(*b++ - b_zero_point, b_multiplier, b_right);
    *out++ = (int8_t)jlt_v6m_saturated(jlt_v6m_moved(x + y, multiplier, right, zero_point));
  }
}

#endif
