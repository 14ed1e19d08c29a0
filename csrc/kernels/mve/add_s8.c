// SPDX-License-Identifier: Apache-2.0
// Addition of two tensors of one shape for Helium: four bytes at a time.
#include "kernels/variants.h"

#if defined(JLT_WITH_MVE) && defined(__ARM_FEATURE_MVE)
#include "kernels/mve/scale.h"

// (x − zero_point) · 2^20 is one multiplication and one addition. No shift goes to the left (needs.c).
typedef struct {
  int32x4_t shift;
  int32_t multiplier;
  int32_t offset;
} operand_t;

static JLT_ALWAYS_INLINE operand_t operand(int32_t zero_point, int32_t multiplier, int32_t shift) {
  return (operand_t){
      .shift = vdupq_n_s32(shift), .multiplier = multiplier, .offset = (int32_t)((uint32_t)-zero_point << 20)};
}

static JLT_ALWAYS_INLINE int32x4_t shifted(int32x4_t value, int32x4_t shift) {
  value = vaddq_s32(value, vshrq_n_s32(vandq_s32(value, shift), 31));  // the sign of both
  return vrshlq_s32(value, shift);
}

static JLT_ALWAYS_INLINE int32x4_t scaled(int32x4_t x, int32x4_t unit, const operand_t *o) {
  return shifted(vqrdmulhq_n_s32(vmlasq_n_s32(x, unit, o->offset), o->multiplier), o->shift);
}

static JLT_ALWAYS_INLINE int32x4_t sum(int32x4_t x, int32x4_t y, int32x4_t unit, const operand_t *a, const operand_t *b,
                                       const operand_t *out, jlt_mve_bounds_t bounds) {
  const int32x4_t both = vaddq_s32(scaled(x, unit, a), scaled(y, unit, b));
  return jlt_mve_bounded(shifted(vqrdmulhq_n_s32(both, out->multiplier), out->shift), bounds);
}

void jlt_add_s8__mve(const jlt_call_t *call) {
  const jlt_binary_params_t *p = call->params;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_ELEMENTS, call->out_tensor->elements);
  const operand_t a = operand(p->a_zero_point, p->a_multiplier, p->a_shift);
  const operand_t b = operand(p->b_zero_point, p->b_multiplier, p->b_shift);
  const operand_t out = operand(0, p->out_multiplier, p->out_shift);
  const jlt_mve_bounds_t bounds = jlt_mve_bounds(p->out_zero_point, p->act_min, p->act_max);
  const int32x4_t unit = vdupq_n_s32(1 << 20);
  const int8_t *x = (const int8_t *)call->in[0] + tile.begin;
  const int8_t *y = (const int8_t *)call->in[1] + tile.begin;
  int8_t *to = (int8_t *)call->out + tile.begin;
  uint32_t left = tile.end - tile.begin;
  for (; left >= 4; left -= 4, x += 4, y += 4, to += 4) {
    vstrbq_s32(to, sum(vldrbq_s32(x), vldrbq_s32(y), unit, &a, &b, &out, bounds));
  }
  const mve_pred16_t there = vctp32q(left);
  vstrbq_p_s32(to, sum(vldrbq_z_s32(x, there), vldrbq_z_s32(y, there), unit, &a, &b, &out, bounds), there);
}

#endif
