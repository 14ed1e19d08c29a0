// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution with AVX2: kernels/wide/dwconv_body.h.
#include "kernels/variants.h"

#if defined(JLT_WITH_AVX2) && defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "kernels/wide/layout.h"
#include "kernels/wide/target.h"

JLT_TARGET_BEGIN("avx2")
#include "kernels/avx2/lanes.h"

// Four rows of one column, pairs of them side by side: [pair][half of the channels], as unpacking leaves them.
typedef struct {
  __m256i of[2][2];
} jlt_column_t;

static JLT_ALWAYS_INLINE __m256i wide_row(const int8_t *from) { return _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)from)); }

static JLT_ALWAYS_INLINE jlt_column_t jlt_column(const int8_t *a, const int8_t *b, const int8_t *c, const int8_t *d,
                                                 const uint32_t rows) {
  (void)rows;
  const __m256i x[4] = {wide_row(a), wide_row(b), wide_row(c), wide_row(d)};
  return (jlt_column_t){{{_mm256_unpacklo_epi16(x[0], x[1]), _mm256_unpackhi_epi16(x[0], x[1])},
                         {_mm256_unpacklo_epi16(x[2], x[3]), _mm256_unpackhi_epi16(x[2], x[3])}}};
}

// There are too few registers for weights.
typedef const uint8_t *jlt_column_weights_t;

static JLT_ALWAYS_INLINE jlt_column_weights_t jlt_column_weights(const uint8_t *w) { return w; }

static JLT_ALWAYS_INLINE jlt_sums_t jlt_add_column(jlt_sums_t s, jlt_column_weights_t w, jlt_column_t x, const uint32_t rows) {
  (void)rows;
  JLT_UNROLL
  for (uint32_t i = 0; i < 2; i++, w += 64) {
    s.low = _mm256_add_epi32(s.low, _mm256_madd_epi16(x.of[i][0], load(w)));
    s.high = _mm256_add_epi32(s.high, _mm256_madd_epi16(x.of[i][1], load(w + 32)));
  }
  return s;
}

#include "kernels/wide/dwconv_body.h"

void jlt_dwconv_s8__avx2(const jlt_call_t *call) { jlt_wide_dwconv(call); }
JLT_TARGET_END
#endif
