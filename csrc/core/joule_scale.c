// SPDX-License-Identifier: Apache-2.0
// Kalman scale of the cost table in fixed point. A reading is rare, so its one 64-bit division does not matter.
#include "core/joule_scale.h"

enum { HALF_Q16 = 32768 };

static uint32_t saturate_u32(uint64_t value) {
  return value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

static int64_t clamp(int64_t value, int64_t low, int64_t high) {
  return value < low ? low : (value > high ? high : value);
}

void jlt_joule_scale_update(jlt_joule_scale_t *state, const jlt_joule_scale_config_t *config, uint32_t ratio_q16) {
  const uint64_t variance = state->variance_q32;
  const uint64_t both = variance + config->noise_q32;
  // at most 2^16, and 2^48 before the division
  const uint64_t gain_q16 = both == 0 ? 0 : (variance << 16) / both;
  const int64_t ratio = clamp(ratio_q16, JLT_JOULE_SCALE_LEAST_Q16, JLT_JOULE_SCALE_MOST_Q16);
  const int64_t away = ratio - (int64_t)state->scale_q16;
  // to nearest, halves up; the product stays below 2^37
  const int64_t scale = (int64_t)state->scale_q16 + (((int64_t)gain_q16 * away + HALF_Q16) >> 16);
  state->scale_q16 = (uint32_t)clamp(scale, JLT_JOULE_SCALE_LEAST_Q16, JLT_JOULE_SCALE_MOST_Q16);
  state->variance_q32 = saturate_u32((((JLT_JOULE_SCALE_ONE_Q16 - gain_q16) * variance) >> 16) + config->drift_q32);
}

void jlt_joule_scale_drift(jlt_joule_scale_t *state, const jlt_joule_scale_config_t *config) {
  state->variance_q32 = saturate_u32((uint64_t)state->variance_q32 + config->drift_q32);
}

bool jlt_joule_scale_wants_reading(const jlt_joule_scale_t *state, const jlt_joule_scale_config_t *config) {
  return state->variance_q32 > config->read_above_q32;
}

uint32_t jlt_joule_scale_apply_nj(const jlt_joule_scale_t *state, uint32_t table_nj) {
  // 2^32 × 2^20 fits
  return saturate_u32(((uint64_t)table_nj * state->scale_q16 + HALF_Q16) >> 16);
}
