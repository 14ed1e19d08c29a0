// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution with what every AArch64 core has: products of sixteen channels and one tap. kernels/wide/dwconv_body.h.
#include "kernels/variants.h"

#if defined(JLT_WITH_NEON) && defined(__aarch64__)
#define JLT_NEON_HAS_DOT 0
#include "kernels/neon/lanes.h"
#include "kernels/neon/products.h"

// Sixteen channels of up to four rows of one column.
typedef struct {
  int8x16_t of[4];
} jlt_column_t;

typedef jlt_column_t jlt_column_weights_t;

static JLT_ALWAYS_INLINE jlt_column_t jlt_column(const int8_t *a, const int8_t *b, const int8_t *c, const int8_t *d,
                                                 const uint32_t rows) {
  (void)rows;
  return (jlt_column_t){{vld1q_s8(a), vld1q_s8(b), vld1q_s8(c), vld1q_s8(d)}};
}

static JLT_ALWAYS_INLINE jlt_column_weights_t jlt_column_weights(const uint8_t *w) {
  const int8x16x4_t rows = vld4q_s8((const int8_t *)w);
  return (jlt_column_t){{rows.val[0], rows.val[1], rows.val[2], rows.val[3]}};
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_add_column(jlt_sums_t s, jlt_column_weights_t w, jlt_column_t x, const uint32_t rows) {
  JLT_UNROLL
  for (uint32_t i = 0; i < rows; i++) {
    const int16x8_t low = vmull_s8(vget_low_s8(w.of[i]), vget_low_s8(x.of[i])), high = vmull_high_s8(w.of[i], x.of[i]);
    s = (jlt_sums_t){vaddw_s16(s.a, vget_low_s16(low)), vaddw_high_s16(s.b, low), vaddw_s16(s.c, vget_low_s16(high)),
                     vaddw_high_s16(s.d, high)};
  }
  return s;
}

#include "kernels/wide/dwconv_body.h"

void jlt_dwconv_s8_base__neon(const jlt_call_t *call) { jlt_wide_dwconv(call); }
#endif
