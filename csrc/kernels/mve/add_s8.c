// SPDX-License-Identifier: Apache-2.0
// Addition of two tensors of one shape for Helium: four bytes at a time.
#include "kernels/variants.h"

#if defined(JLT_WITH_MVE) && defined(__ARM_FEATURE_MVE)
#include "kernels/mve/scale.h"

void jlt_add_s8__mve(const jlt_call_t *call) {
  const jlt_binary_params_t *p = call->params;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_ELEMENTS, call->out_tensor->elements);
  const int8_t *a = call->in[0];
  const int8_t *b = call->in[1];
  for (uint32_t i = tile.begin; i < tile.end; i += 4) {
    const mve_pred16_t there = vctp32q(tile.end - i);
    int32x4_t x = vshlq_n_s32(vsubq_n_s32(vldrbq_z_s32(a + i, there), p->a_zero_point), 20);
    int32x4_t y = vshlq_n_s32(vsubq_n_s32(vldrbq_z_s32(b + i, there), p->b_zero_point), 20);
    x = jlt_mve_scaled(x, vdupq_n_s32(p->a_multiplier), vdupq_n_s32(p->a_shift));
    y = jlt_mve_scaled(y, vdupq_n_s32(p->b_multiplier), vdupq_n_s32(p->b_shift));
    x = jlt_mve_scaled(vaddq_s32(x, y), vdupq_n_s32(p->out_multiplier), vdupq_n_s32(p->out_shift));
    x = jlt_mve_bounded(x, p->out_zero_point, p->act_min, p->act_max);
    vstrbq_p_s32((int8_t *)call->out + i, x, there);
  }
}

#endif
