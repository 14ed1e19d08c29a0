// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution with AVX-512 VNNI: kernels/wide/dwconv_body.h.
#include "kernels/variants.h"

#if defined(JLT_WITH_AVX512VNNI) && defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "kernels/wide/layout.h"
#include "kernels/wide/target.h"

JLT_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
#include "kernels/avx512vnni/lanes.h"

// Four rows of one column, those of a channel side by side; 128 more, as VPDPBUSD takes unsigned ones.
typedef struct {
  __m512i all;
} jlt_column_t;

static JLT_ALWAYS_INLINE __m512i wide_row(const int8_t *from) { return _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)from)); }

static JLT_ALWAYS_INLINE jlt_column_t jlt_column(const int8_t *a, const int8_t *b, const int8_t *c, const int8_t *d,
                                                 const uint32_t rows) {
  const __m512i top = _mm512_set1_epi8(-128);
  const __m512i first = _mm512_or_si512(wide_row(a), _mm512_slli_epi32(wide_row(b), 8));
  const __m512i third = _mm512_slli_epi32(wide_row(c), 16);
  const __m512i others = rows > 3 ? _mm512_or_si512(third, _mm512_slli_epi32(wide_row(d), 24)) : third;
  return (jlt_column_t){_mm512_xor_si512(_mm512_or_si512(first, others), top)};
}

typedef __m512i jlt_column_weights_t;

static JLT_ALWAYS_INLINE jlt_column_weights_t jlt_column_weights(const uint8_t *w) { return load(w); }

static JLT_ALWAYS_INLINE jlt_sums_t jlt_add_column(jlt_sums_t s, jlt_column_weights_t w, jlt_column_t x, const uint32_t rows) {
  (void)rows;
  return (jlt_sums_t){_mm512_dpbusd_epi32(s.all, x.all, w)};
}

#include "kernels/wide/dwconv_body.h"

void jlt_dwconv_s8__avx512vnni(const jlt_call_t *call) { jlt_wide_dwconv(call); }
JLT_TARGET_END
#endif
