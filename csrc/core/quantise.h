// SPDX-License-Identifier: Apache-2.0
// Between real values and the s8 grid (NUMERICS.md §6). Used at float borders and by the f32 precision only.
#ifndef JLT_CORE_QUANTISE_H
#define JLT_CORE_QUANTISE_H

#include <stdint.h>

// Round to nearest, halves away from zero, saturate; NaN becomes the zero point.
static inline int8_t jlt_quantise_s8(float value, float scale, int32_t zero_point) {
  const float steps = value / scale;
  // Beyond ±512 steps every zero point saturates; the bound keeps the conversion defined.
  const float bounded = steps > 512.0f ? 512.0f : (steps < -512.0f ? -512.0f : steps);
  if (!(bounded == bounded)) {
    return (int8_t)zero_point;
  }
  const float magnitude = bounded < 0.0f ? -bounded : bounded;
  int32_t whole = (int32_t)magnitude;
  if (magnitude - (float)whole >= 0.5f) {
    whole++;
  }
  const int32_t q = (bounded < 0.0f ? -whole : whole) + zero_point;
  return (int8_t)(q < -128 ? -128 : (q > 127 ? 127 : q));
}

static inline float jlt_dequantise_s8(int8_t value, float scale, int32_t zero_point) {
  return scale * (float)((int32_t)value - zero_point);
}

#endif
