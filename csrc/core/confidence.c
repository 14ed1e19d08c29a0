// SPDX-License-Identifier: Apache-2.0
// Integer confidence; FORMAT.md (CONFIDENCE) and NUMERICS.md §7.
#include "core/confidence.h"

#include "core/quantise.h"

static void keep_two(int32_t value, int32_t *first, int32_t *second) {
  if (value > *first) {
    *second = *first;
    *first = value;
  } else if (value > *second) {
    *second = value;
  }
}

uint16_t jlt_margin_s8(const int8_t *logits, uint32_t count) {
  int32_t first = -128;
  int32_t second = -128;
  for (uint32_t i = 0; i < count; i++) {
    keep_two(logits[i], &first, &second);
  }
  return count < 2 ? 0 : (uint16_t)(first - second);
}

uint16_t jlt_margin_f32(const float *logits, uint32_t count, float scale, int32_t zero_point) {
  int32_t first = -128;
  int32_t second = -128;
  for (uint32_t i = 0; i < count; i++) {
    keep_two(jlt_quantise_s8(logits[i], scale, zero_point), &first, &second);
  }
  return count < 2 ? 0 : (uint16_t)(first - second);
}

uint16_t jlt_confidence_q15(const jlt_container_t *container, uint16_t path, uint8_t exit, uint16_t margin) {
  const uint16_t table = container->paths[path].confidence[exit];
  if (table == JLT_NO_INDEX) {
    return JLT_CONFIDENCE_CONSTANT_Q15;
  }
  return container->confidence[(uint32_t)table * JLT_CONFIDENCE_BINS + (margin >> 3)];
}
