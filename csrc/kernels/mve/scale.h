// SPDX-License-Identifier: Apache-2.0
// Scaling of four accumulators at once, equal to core/requantise.h in every bit: VQRDMULH rounds as the first step does, as its one
// saturating case needs a negative multiplier; VRSHL rounds halves up, so what is below zero is lowered by one first.
#ifndef JLT_KERNELS_MVE_SCALE_H
#define JLT_KERNELS_MVE_SCALE_H

#include <arm_mve.h>

#include "kernels/kernels.h"

// The zero point moves to the bounds so that no addition can overflow.
static JLT_ALWAYS_INLINE int32x4_t jlt_mve_bounded(int32x4_t value, const jlt_conv_params_t *p) {
  value = vmaxq_s32(value, vdupq_n_s32(p->act_min - p->out_zero_point));
  value = vminq_s32(value, vdupq_n_s32(p->act_max - p->out_zero_point));
  return vaddq_n_s32(value, p->out_zero_point);
}

// One channel's sums with four pixels.
static JLT_ALWAYS_INLINE int32x4_t jlt_mve_scaled(int32x4_t value, int32_t multiplier, int32_t shift) {
  value = vqrdmulhq_n_s32(vshlq_r_s32(value, shift > 0 ? shift : 0), multiplier);
  return shift < 0 ? vrshlq_n_s32(vaddq_s32(value, vshrq_n_s32(value, 31)), shift) : value;
}

// Four channels, each its own way.
static JLT_ALWAYS_INLINE int32x4_t jlt_mve_scaled_by(int32x4_t value, int32x4_t multiplier, int32x4_t shift) {
  const int32x4_t zero = vdupq_n_s32(0);
  const int32x4_t right = vminq_s32(shift, zero);
  value = vqrdmulhq_s32(vshlq_s32(value, vmaxq_s32(shift, zero)), multiplier);
  const mve_pred16_t shifted = vcmpltq_n_s32(right, 0);
  value = vaddq_m_s32(value, value, vshrq_n_s32(value, 31), shifted);
  return vrshlq_s32(value, right);
}

#endif
