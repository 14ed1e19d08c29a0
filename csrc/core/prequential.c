// SPDX-License-Identifier: Apache-2.0
#include "core/prequential.h"

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF  // GCC: -std=c11 does so
#endif

#define ONE_Q15 32767.0f
#define MOST_SEEN 0x1p24f  // without forgetting, counts stop here by themselves

void jlt_prequential_begin(jlt_prequential_t *counts) {
  for (uint32_t bin = 0; bin < JLT_PREQUENTIAL_BINS; bin++) {
    counts->seen[bin] = 0.0f;
    counts->right[bin] = 0.0f;
  }
  counts->prior = NULL;
}

void jlt_prequential_add(jlt_prequential_t *counts, uint16_t margin, bool right, float forgetting) {
  for (uint32_t bin = 0; bin < JLT_PREQUENTIAL_BINS; bin++) {
    counts->seen[bin] *= forgetting;
    counts->right[bin] *= forgetting;
  }
  counts->seen[margin >> 3] += 1.0f;
  counts->right[margin >> 3] += right ? 1.0f : 0.0f;
  counts->prior = NULL;
}

bool jlt_prequential_is_sound(const jlt_prequential_t *counts) {
  bool sound = true;
  for (uint32_t bin = 0; bin < JLT_PREQUENTIAL_BINS; bin++) {
    const float seen = counts->seen[bin];
    const float right = counts->right[bin];
    sound = sound && right >= 0.0f && right <= seen && seen <= MOST_SEEN;
  }
  return sound;
}

// Of bins [from, to) taken together.
static float pooled(const jlt_prequential_t *counts, const uint16_t *prior, uint32_t from, uint32_t to) {
  float right = 0.0f;
  float seen = 0.0f;
  for (uint32_t bin = from; bin < to; bin++) {
    right += (float)JLT_PREQUENTIAL_PRIOR * (float)prior[bin] + ONE_Q15 * counts->right[bin];
    seen += (float)JLT_PREQUENTIAL_PRIOR + counts->seen[bin];
  }
  return right / seen;
}

// Pools neighbours that fall, from the left (pool adjacent violators).
static void make_table(jlt_prequential_t *counts, const uint16_t *prior) {
  uint8_t begins[JLT_PREQUENTIAL_BINS + 1];  // of groups; behind them the end of the last
  uint32_t groups = 0;
  for (uint32_t bin = 0; bin < JLT_PREQUENTIAL_BINS; bin++) {
    begins[groups++] = (uint8_t)bin;
    begins[groups] = (uint8_t)(bin + 1u);
    while (groups > 1 && pooled(counts, prior, begins[groups - 2u], begins[groups - 1u]) >
                             pooled(counts, prior, begins[groups - 1u], begins[groups])) {
      begins[groups - 1u] = begins[groups];
      groups--;
    }
  }
  for (uint32_t group = 0; group < groups; group++) {
    const float value = pooled(counts, prior, begins[group], begins[group + 1u]) + 0.5f;
    for (uint32_t bin = begins[group]; bin < begins[group + 1u]; bin++) {
      counts->table[bin] = (uint16_t)value;
    }
  }
  counts->prior = prior;
}

uint16_t jlt_prequential_confidence(jlt_prequential_t *counts, const uint16_t *prior, uint16_t margin) {
  if (counts->prior != prior) {
    make_table(counts, prior);
  }
  return counts->table[margin >> 3];
}
