// SPDX-License-Identifier: Apache-2.0
// Scaling of four accumulators at once, equal to core/requantise.h in every bit: VQRDMULH rounds as the first step does, as its one
// saturating case needs a negative multiplier; VRSHL rounds halves up, so what is below zero is lowered by one before a shift.
#ifndef JLT_KERNELS_MVE_SCALE_H
#define JLT_KERNELS_MVE_SCALE_H

#include <arm_mve.h>

#include "kernels/mve/layout.h"

// Four lanes, each its own way.
static JLT_ALWAYS_INLINE int32x4_t jlt_mve_scaled(int32x4_t value, int32x4_t multiplier, int32x4_t shift) {
  const int32x4_t zero = vdupq_n_s32(0);
  const int32x4_t right = vminq_s32(shift, zero);
  value = vqrdmulhq_s32(vshlq_s32(value, vmaxq_s32(shift, zero)), multiplier);
  value = vaddq_s32(value, vshrq_n_s32(vandq_s32(value, right), 31));  // the sign of both
  return vrshlq_s32(value, right);
}

// What sums of four channels become outputs by; goes up from group to group.
typedef struct {
  const int32_t *bias;
  const int32_t *sums;
  const int32_t *multipliers;
  const int32_t *shifts;
  uint32_t step;   // of multipliers and shifts: 0 where there is one for all
  bool is_simple;  // no shift to the left, and what is below zero is cut off: neither needs its care
} jlt_mve_scales_t;

// What would be read behind the end of biases, multipliers and shifts.
typedef int32_t jlt_mve_spare_t[3][JLT_MVE_LANES];

typedef struct {
  int32x4_t bias;
  int32x4_t multiplier;
  int32x4_t shift;
} jlt_mve_scale_t;

static inline bool jlt_mve_shifts_left(const int32_t *shifts, uint32_t count) {
  int32_t most = 0;
  for (; count >= JLT_MVE_LANES; count -= JLT_MVE_LANES, shifts += JLT_MVE_LANES) {
    most = vmaxvq_s32(most, vldrwq_s32(shifts));
  }
  return vmaxvq_s32(most, vldrwq_z_s32(shifts, vctp32q(count))) > 0;
}

// Before the first group, which begins with channel `first`.
static inline jlt_mve_scales_t jlt_mve_begin(const jlt_call_t *call, uint32_t first, jlt_mve_spare_t spare) {
  const jlt_conv_params_t *p = call->params;
  const jlt_weights_t *w = &call->weights;
  jlt_mve_scales_t s = {
      .bias = w->bias + first,
      .sums = (const int32_t *)w->packed + first,
      .multipliers = w->multipliers + first,
      .shifts = w->shifts + first,
      .step = JLT_MVE_LANES,
      .is_simple = p->act_min >= p->out_zero_point && !jlt_mve_shifts_left(w->shifts, w->record->n_multipliers),
  };
  if (w->record->n_multipliers == 1) {
    vstrwq_s32(spare[1], vdupq_n_s32(w->multipliers[0]));
    vstrwq_s32(spare[2], vdupq_n_s32(w->shifts[0]));
    s.multipliers = spare[1];
    s.shifts = spare[2];
    s.step = 0;
  }
  return s;
}

// Before a group of fewer than four channels.
static inline void jlt_mve_begin_last(jlt_mve_scales_t *s, uint32_t count, jlt_mve_spare_t spare) {
  const mve_pred16_t there = vctp32q(count);
  vstrwq_s32(spare[0], vldrwq_z_s32(s->bias, there));
  s->bias = spare[0];
  if (s->step > 0) {
    vstrwq_s32(spare[1], vldrwq_z_s32(s->multipliers, there));
    vstrwq_s32(spare[2], vldrwq_z_s32(s->shifts, there));
    s->multipliers = spare[1];
    s->shifts = spare[2];
  }
}

// Σ q(x − zero_point_x) + bias = Σ qx + (bias − zero_point_x Σ q).
static JLT_ALWAYS_INLINE jlt_mve_scale_t jlt_mve_next(jlt_mve_scales_t *s, int32_t in_zero_point) {
  const jlt_mve_scale_t scale = {
      .bias = vmlaq_n_s32(vldrwq_s32(s->bias), vldrwq_s32(s->sums), -in_zero_point),
      .multiplier = vldrwq_s32(s->multipliers),
      .shift = vldrwq_s32(s->shifts),
  };
  s->bias += JLT_MVE_LANES;
  s->sums += JLT_MVE_LANES;
  s->multipliers += s->step;
  s->shifts += s->step;
  return scale;
}

// The zero point moves to the bounds so that no addition can overflow.
static JLT_ALWAYS_INLINE int32x4_t jlt_mve_bounded(int32x4_t value, int32_t zero_point, int32_t act_min, int32_t act_max) {
  value = vmaxq_s32(value, vdupq_n_s32(act_min - zero_point));
  value = vminq_s32(value, vdupq_n_s32(act_max - zero_point));
  return vaddq_n_s32(value, zero_point);
}

// Outputs of four channels from their sums with one pixel.
static JLT_ALWAYS_INLINE int32x4_t jlt_mve_output(int32x4_t sums, const jlt_mve_scale_t *scale, const jlt_conv_params_t *p,
                                                  bool is_simple) {
  int32x4_t value = vaddq_s32(sums, scale->bias);
  value = is_simple ? vrshlq_s32(vqrdmulhq_s32(value, scale->multiplier), scale->shift)
                    : jlt_mve_scaled(value, scale->multiplier, scale->shift);
  return jlt_mve_bounded(value, p->out_zero_point, p->act_min, p->act_max);
}

// Outputs of a group with several pixels, written backwards: those of a pixel that is not there lie where the first one's will.
static JLT_ALWAYS_INLINE void jlt_mve_put(const int32x4_t *sums, uint32_t pixels, const jlt_mve_scale_t *scale,
                                          const jlt_conv_params_t *p, bool is_simple, int8_t *const *out, uint32_t channels) {
  for (uint32_t i = pixels; i-- > 0;) {
    const int32x4_t value = jlt_mve_output(sums[i], scale, p, is_simple);
    if (channels == JLT_MVE_LANES) {
      vstrbq_s32(out[i], value);
    } else {
      vstrbq_p_s32(out[i], value, vctp32q(channels));
    }
  }
}

#endif
