// SPDX-License-Identifier: Apache-2.0
// One scalar that corrects the whole cost table from readings of energy: measured over foretold, tracked by a Kalman
// filter of a random walk. Integers only; twin of JouleScaleQ16 in policies/joule_scale.py.
#ifndef JLT_CORE_JOULE_SCALE_H
#define JLT_CORE_JOULE_SCALE_H

#include <stdbool.h>
#include <stdint.h>

enum {
  JLT_JOULE_SCALE_ONE_Q16 = 65536,
  JLT_JOULE_SCALE_LEAST_Q16 = 4096,    // 1/16
  JLT_JOULE_SCALE_MOST_Q16 = 1048576,  // 16
};

// Variances of the square of a ratio, q32: below 1.
typedef struct {
  uint32_t noise_q32;       // R, of a reading
  uint32_t drift_q32;       // Q, added by each inference
  uint32_t read_above_q32;  // a reading is worth its price above this variance
} jlt_joule_scale_config_t;

typedef struct {
  uint32_t scale_q16;     // measured over foretold
  uint32_t variance_q32;  // P
} jlt_joule_scale_t;

// Take a reading, measured over foretold energy: K = P / (P + R), scale += K (ratio - scale), P = (1 - K) P + Q.
void jlt_joule_scale_update(jlt_joule_scale_t *state, const jlt_joule_scale_config_t *config, uint32_t ratio_q16);

// Let one inference pass without a reading: P += Q.
void jlt_joule_scale_drift(jlt_joule_scale_t *state, const jlt_joule_scale_config_t *config);

// Is the scale uncertain enough for a reading to be worth its price?
bool jlt_joule_scale_wants_reading(const jlt_joule_scale_t *state, const jlt_joule_scale_config_t *config);

// Energy of the table, corrected; to nearest, saturated to 32 bits [nJ].
uint32_t jlt_joule_scale_apply_nj(const jlt_joule_scale_t *state, uint32_t table_nj);

#endif
