// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution with SDOT: four rows of a column side by side, which the next pixels use again. kernels/wide/dwconv_body.h.
#include "kernels/variants.h"

#if defined(JLT_WITH_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#include <string.h>

#include "kernels/neon/products.h"
#include "kernels/neon/target.h"

JLT_TARGET_BEGIN(JLT_TARGET_DOT)
#define JLT_NEON_HAS_DOT 1
#include "kernels/neon/lanes.h"

// Four rows of one column, [channel][row], four channels a register.
typedef struct {
  int8x16_t of[4];
} jlt_column_t;

typedef jlt_column_t jlt_column_weights_t;

static JLT_ALWAYS_INLINE jlt_column_t jlt_column(const int8_t *from_a, const int8_t *from_b, const int8_t *from_c,
                                                 const int8_t *from_d, const uint32_t rows) {
  (void)rows;
  const int8x16_t a = vld1q_s8(from_a), b = vld1q_s8(from_b), c = vld1q_s8(from_c), d = vld1q_s8(from_d);
  const int16x8_t ab_low = vreinterpretq_s16_s8(vzip1q_s8(a, b)), ab_high = vreinterpretq_s16_s8(vzip2q_s8(a, b));
  const int16x8_t cd_low = vreinterpretq_s16_s8(vzip1q_s8(c, d)), cd_high = vreinterpretq_s16_s8(vzip2q_s8(c, d));
  return (jlt_column_t){{vreinterpretq_s8_s16(vzip1q_s16(ab_low, cd_low)), vreinterpretq_s8_s16(vzip2q_s16(ab_low, cd_low)),
                         vreinterpretq_s8_s16(vzip1q_s16(ab_high, cd_high)),
                         vreinterpretq_s8_s16(vzip2q_s16(ab_high, cd_high))}};
}

static JLT_ALWAYS_INLINE jlt_column_weights_t jlt_column_weights(const uint8_t *w) {
  const int8_t *from = (const int8_t *)w;
  return (jlt_column_t){{vld1q_s8(from), vld1q_s8(from + 16), vld1q_s8(from + 32), vld1q_s8(from + 48)}};
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_add_column(jlt_sums_t s, jlt_column_weights_t w, jlt_column_t x, const uint32_t rows) {
  (void)rows;
  return (jlt_sums_t){dot(s.a, w.of[0], x.of[0]), dot(s.b, w.of[1], x.of[1]), dot(s.c, w.of[2], x.of[2]),
                      dot(s.d, w.of[3], x.of[3])};
}

#include "kernels/wide/dwconv_body.h"

void jlt_dwconv_s8_dot__neon(const jlt_call_t *call) { jlt_wide_dwconv(call); }
JLT_TARGET_END
#endif
