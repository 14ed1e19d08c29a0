// SPDX-License-Identifier: Apache-2.0
// Scaling of four accumulators at once, equal to core/requantise.h in every bit: VQRDMULH rounds as the first step does, as its one
// saturating case needs a negative multiplier; VRSHL rounds halves up, so what is below zero is lowered by one before a shift.
#ifndef JLT_KERNELS_MVE_SCALE_H
#define JLT_KERNELS_MVE_SCALE_H

#include <arm_mve.h>

#include "kernels/mve/layout.h"

// What scaling has to take care of: nothing but shifts to the right where what is below zero is cut off; rounding below zero; all.
typedef enum { JLT_MVE_SIMPLE, JLT_MVE_RIGHT, JLT_MVE_ANY } jlt_mve_care_t;

// Four lanes, each its own way.
static JLT_ALWAYS_INLINE int32x4_t jlt_mve_scaled(int32x4_t value, int32x4_t multiplier, int32x4_t shift, jlt_mve_care_t care) {
  if (care == JLT_MVE_SIMPLE) {
    return vrshlq_s32(vqrdmulhq_s32(value, multiplier), shift);
  }
  if (care == JLT_MVE_RIGHT) {
    value = vqrdmulhq_s32(value, multiplier);
    return vrshlq_s32(vaddq_s32(value, vshrq_n_s32(value, 31)), shift);
  }
  const int32x4_t zero = vdupq_n_s32(0);
  const int32x4_t right = vminq_s32(shift, zero);
  value = vqrdmulhq_s32(vshlq_s32(value, vmaxq_s32(shift, zero)), multiplier);
  value = vaddq_s32(value, vshrq_n_s32(vandq_s32(value, right), 31));  // the sign of both
  return vrshlq_s32(value, right);
}

// The zero point moves to the bounds so that no addition can overflow. Kept in registers: every store of a byte might change parameters.
typedef struct {
  int32x4_t low;
  int32x4_t high;
  int32_t zero_point;
} jlt_mve_bounds_t;

static JLT_ALWAYS_INLINE jlt_mve_bounds_t jlt_mve_bounds(int32_t zero_point, int32_t act_min, int32_t act_max) {
  return (jlt_mve_bounds_t){
      .low = vdupq_n_s32(act_min - zero_point),
      .high = vdupq_n_s32(act_max - zero_point),
      .zero_point = zero_point,
  };
}

static JLT_ALWAYS_INLINE int32x4_t jlt_mve_bounded(int32x4_t value, jlt_mve_bounds_t bounds) {
  return vaddq_n_s32(vminq_s32(vmaxq_s32(value, bounds.low), bounds.high), bounds.zero_point);
}

// What four sums become outputs by. Σ q(x − zero_point_x) + bias = Σ qx + (bias − zero_point_x Σ q).
typedef struct {
  int32x4_t bias;
  int32x4_t multiplier;
  int32x4_t shift;
} jlt_mve_scale_t;

static inline jlt_mve_care_t jlt_mve_care(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const int32_t *shifts = call->weights.shifts;
  uint32_t left = call->weights.record->n_multipliers;
  int32_t most = -31;
  for (; left >= JLT_MVE_LANES; left -= JLT_MVE_LANES, shifts += JLT_MVE_LANES) {
    most = vmaxvq_s32(most, vldrwq_s32(shifts));
  }
  for (; left > 0; left--, shifts++) {
    most = *shifts > most ? *shifts : most;
  }
  if (p->act_min >= p->out_zero_point && most <= 0) {
    return JLT_MVE_SIMPLE;
  }
  return most < 0 ? JLT_MVE_RIGHT : JLT_MVE_ANY;
}

// The scales of all groups, one behind the other, as they are wanted again for every few pixels; those of no channel are 0.
static inline void jlt_mve_write_scales(const jlt_call_t *call, int32_t zero_point, int32_t *to) {
  const jlt_conv_params_t *p = call->params;
  const jlt_weights_t *w = &call->weights;
  const int32_t *sums = w->packed;
  const bool each = w->record->n_multipliers > 1;
  int32x4_t multiplier = vdupq_n_s32(w->multipliers[0]);
  int32x4_t shift = vdupq_n_s32(w->shifts[0]);
  for (uint32_t o = 0; o < p->out_c; o += JLT_MVE_LANES, to += JLT_MVE_SCALE) {
    const mve_pred16_t there = vctp32q(p->out_c - o);
    if (each) {
      multiplier = vldrwq_z_s32(w->multipliers + o, there);
      shift = vldrwq_z_s32(w->shifts + o, there);
    }
    vstrwq_s32(to, vmlaq_n_s32(vldrwq_z_s32(w->bias + o, there), vldrwq_s32(sums + o), -zero_point));
    vstrwq_s32(to + 4, multiplier);
    vstrwq_s32(to + 8, shift);
  }
}

static JLT_ALWAYS_INLINE jlt_mve_scale_t jlt_mve_read_scale(const int32_t *from) {
  return (jlt_mve_scale_t){.bias = vldrwq_s32(from), .multiplier = vldrwq_s32(from + 4), .shift = vldrwq_s32(from + 8)};
}

// Outputs of four channels from what they sum to.
static JLT_ALWAYS_INLINE int32x4_t jlt_mve_output(int32x4_t value, const jlt_mve_scale_t *scale, jlt_mve_bounds_t bounds,
                                                  jlt_mve_care_t care) {
  return jlt_mve_bounded(jlt_mve_scaled(value, scale->multiplier, scale->shift, care), bounds);
}

// The same from their sums without bias.
static JLT_ALWAYS_INLINE int32x4_t jlt_mve_biased(int32x4_t sums, const jlt_mve_scale_t *scale, jlt_mve_bounds_t bounds,
                                                  jlt_mve_care_t care) {
  return jlt_mve_output(vaddq_s32(sums, scale->bias), scale, bounds, care);
}

// The first `channels` of four bytes.
static JLT_ALWAYS_INLINE void jlt_mve_put(int8_t *out, int32x4_t value, uint32_t channels) {
  if (channels == JLT_MVE_LANES) {
    vstrbq_s32(out, value);
  } else {
    vstrbq_p_s32(out, value, vctp32q(channels));
  }
}

#endif
