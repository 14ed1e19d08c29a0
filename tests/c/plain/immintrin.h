// SPDX-License-Identifier: Apache-2.0
// The AVX-512 intrinsics that csrc/kernels/avx512vnni uses, in plain C after Intel's Intrinsics Guide, so that those kernels'
// arithmetic and layouts are tested on machines without the instructions. Test code only; compiled with -DJLT_WITHOUT_TARGET.
#ifndef PLAIN_IMMINTRIN_H
#define PLAIN_IMMINTRIN_H

#include <stdint.h>
#include <string.h>

typedef uint8_t __mmask8;
typedef uint16_t __mmask16;
typedef uint32_t __mmask32;
typedef uint64_t __mmask64;

#define VECTOR(name, n)                                                                     \
  typedef union {                                                                           \
    int8_t i8[n];                                                                           \
    uint8_t u8[n];                                                                          \
    int16_t i16[(n) / 2];                                                                   \
    uint16_t u16[(n) / 2];                                                                  \
    int32_t i32[(n) / 4];                                                                   \
    uint32_t u32[(n) / 4];                                                                  \
    int64_t i64[(n) / 8];                                                                   \
    uint64_t u64[(n) / 8];                                                                  \
  } name;
VECTOR(__m128i, 16)
VECTOR(__m256i, 32)
VECTOR(__m512i, 64)

// One function of `count` lanes: r.FIELD[i] = VALUE.
#define LANES(type, name, parameters, field, count, value) \
  static inline type name parameters {                     \
    type r;                                                \
    for (int i = 0; i < (count); i++) {                    \
      r.field[i] = value;                                  \
    }                                                      \
    return r;                                              \
  }

static inline int8_t plain_s8(int32_t x) { return (int8_t)(x < INT8_MIN ? INT8_MIN : (x > INT8_MAX ? INT8_MAX : x)); }
#define BIT(mask, i) (((mask) >> (i)) & 1u)

LANES(__m512i, _mm512_setzero_si512, (void), i64, 8, 0)
LANES(__m512i, _mm512_set1_epi8, (int8_t a), i8, 64, a)
LANES(__m512i, _mm512_set1_epi32, (int32_t a), i32, 16, a)
LANES(__m512i, _mm512_mask_set1_epi32, (__m512i s, __mmask16 k, int32_t a), i32, 16, BIT(k, i) ? a : s.i32[i])
LANES(__m512i, _mm512_broadcast_i64x4, (__m256i a), i64, 8, a.i64[i % 4])
LANES(__m128i, _mm_loadu_si128, (const void *from), i8, 16, ((const int8_t *)from)[i])
LANES(__m256i, _mm256_loadu_si256, (const void *from), i8, 32, ((const int8_t *)from)[i])
LANES(__m512i, _mm512_set1_epi64, (int64_t a), i64, 8, a)
LANES(__m512i, _mm512_maskz_set1_epi64, (__mmask8 k, int64_t a), i64, 8, BIT(k, i) ? a : 0)

LANES(__m512i, _mm512_add_epi32, (__m512i a, __m512i b), u32, 16, a.u32[i] + b.u32[i])
LANES(__m512i, _mm512_sub_epi32, (__m512i a, __m512i b), u32, 16, a.u32[i] - b.u32[i])
LANES(__m512i, _mm512_mullo_epi32, (__m512i a, __m512i b), u32, 16, a.u32[i] * b.u32[i])
LANES(__m512i, _mm512_max_epi32, (__m512i a, __m512i b), i32, 16, a.i32[i] > b.i32[i] ? a.i32[i] : b.i32[i])
LANES(__m512i, _mm512_min_epi32, (__m512i a, __m512i b), i32, 16, a.i32[i] < b.i32[i] ? a.i32[i] : b.i32[i])
LANES(__m512i, _mm512_srai_epi32, (__m512i a, unsigned n), i32, 16, a.i32[i] >> n)
LANES(__m128i, _mm512_cvtepi32_epi8, (__m512i a), i8, 16, (int8_t)a.i32[i])
LANES(__m512i, _mm512_add_epi64, (__m512i a, __m512i b), u64, 8, a.u64[i] + b.u64[i])
LANES(__m512i, _mm512_sub_epi64, (__m512i a, __m512i b), u64, 8, a.u64[i] - b.u64[i])
LANES(__m512i, _mm512_mask_add_epi64, (__m512i s, __mmask8 k, __m512i a, __m512i b), u64, 8,
      BIT(k, i) ? a.u64[i] + b.u64[i] : s.u64[i])
LANES(__m512i, _mm512_mask_sub_epi64, (__m512i s, __mmask8 k, __m512i a, __m512i b), u64, 8,
      BIT(k, i) ? a.u64[i] - b.u64[i] : s.u64[i])
LANES(__m512i, _mm512_mul_epi32, (__m512i a, __m512i b), i64, 8, (int64_t)a.i32[2 * i] * b.i32[2 * i])
LANES(__m512i, _mm512_and_si512, (__m512i a, __m512i b), u64, 8, a.u64[i] & b.u64[i])
LANES(__m512i, _mm512_or_si512, (__m512i a, __m512i b), u64, 8, a.u64[i] | b.u64[i])
LANES(__m512i, _mm512_xor_si512, (__m512i a, __m512i b), u64, 8, a.u64[i] ^ b.u64[i])

LANES(__m512i, _mm512_slli_epi32, (__m512i a, unsigned n), u32, 16, n < 32 ? a.u32[i] << n : 0)
LANES(__m512i, _mm512_slli_epi64, (__m512i a, unsigned n), u64, 8, n < 64 ? a.u64[i] << n : 0)
LANES(__m512i, _mm512_sll_epi32, (__m512i a, __m128i n), u32, 16, n.u64[0] < 32 ? a.u32[i] << n.u64[0] : 0)
LANES(__m512i, _mm512_sllv_epi32, (__m512i a, __m512i n), u32, 16, n.u32[i] < 32 ? a.u32[i] << n.u32[i] : 0)
LANES(__m512i, _mm512_sllv_epi64, (__m512i a, __m512i n), u64, 8, n.u64[i] < 64 ? a.u64[i] << n.u64[i] : 0)
LANES(__m512i, _mm512_srli_epi16, (__m512i a, unsigned n), u16, 32, (uint16_t)(n < 16 ? a.u16[i] >> n : 0))
LANES(__m512i, _mm512_srli_epi64, (__m512i a, unsigned n), u64, 8, n < 64 ? a.u64[i] >> n : 0)
LANES(__m512i, _mm512_srav_epi32, (__m512i a, __m512i n), i32, 16, a.i32[i] >> (n.u32[i] < 31 ? n.u32[i] : 31))

LANES(__m512i, _mm512_cvtepi8_epi32, (__m128i a), i32, 16, a.i8[i])
LANES(__m512i, _mm512_cvtepu8_epi32, (__m128i a), i32, 16, a.u8[i])
LANES(__m128i, _mm512_cvtsepi32_epi8, (__m512i a), i8, 16, plain_s8(a.i32[i]))
LANES(__m128i, _mm_cvtsi32_si128, (int32_t a), i32, 4, i == 0 ? a : 0)

typedef enum { _MM_PERM_DDBB = 0xF5 } _MM_PERM_ENUM;
LANES(__m512i, _mm512_mask_shuffle_epi32, (__m512i s, __mmask16 k, __m512i a, _MM_PERM_ENUM order), i32, 16,
      BIT(k, i) ? a.i32[(i & ~3) + ((order >> (2 * (i & 3))) & 3)] : s.i32[i])

static inline __m512i _mm512_dpbusd_epi32(__m512i s, __m512i a, __m512i b) {
  for (int i = 0; i < 64; i++) {
    s.u32[i / 4] += (uint32_t)(a.u8[i] * b.i8[i]);
  }
  return s;
}

static inline int32_t _mm512_reduce_add_epi32(__m512i a) {
  uint32_t sum = 0;
  for (int i = 0; i < 16; i++) {
    sum += a.u32[i];
  }
  return (int32_t)sum;
}

// Masks.
static inline __mmask8 _mm512_cmpgt_epi64_mask(__m512i a, __m512i b) {
  unsigned k = 0;
  for (int i = 0; i < 8; i++) {
    k |= (unsigned)(a.i64[i] > b.i64[i]) << i;
  }
  return (__mmask8)k;
}

static inline __mmask16 _mm512_cmpgt_epi32_mask(__m512i a, __m512i b) {
  unsigned k = 0;
  for (int i = 0; i < 16; i++) {
    k |= (unsigned)(a.i32[i] > b.i32[i]) << i;
  }
  return (__mmask16)k;
}

static inline __mmask8 _mm512_movepi64_mask(__m512i a) {
  unsigned k = 0;
  for (int i = 0; i < 8; i++) {
    k |= (unsigned)(a.i64[i] < 0) << i;
  }
  return (__mmask8)k;
}

static inline __mmask16 _mm512_movepi32_mask(__m512i a) {
  unsigned k = 0;
  for (int i = 0; i < 16; i++) {
    k |= (unsigned)(a.i32[i] < 0) << i;
  }
  return (__mmask16)k;
}

// Memory: masked lanes are not touched.
static inline __m512i _mm512_loadu_si512(const void *from) {
  __m512i r;
  memcpy(&r, from, sizeof(r));
  return r;
}

static inline void _mm512_storeu_si512(void *to, __m512i a) { memcpy(to, &a, sizeof(a)); }

LANES(__m512i, _mm512_maskz_loadu_epi8, (__mmask64 k, const void *from), i8, 64, BIT(k, i) ? ((const int8_t *)from)[i] : 0)
LANES(__m128i, _mm_maskz_loadu_epi8, (__mmask16 k, const void *from), i8, 16, BIT(k, i) ? ((const int8_t *)from)[i] : 0)

static inline void _mm512_mask_storeu_epi8(void *to, __mmask64 k, __m512i a) {
  for (int i = 0; i < 64; i++) {
    if (BIT(k, i)) {
      ((int8_t *)to)[i] = a.i8[i];
    }
  }
}

static inline void _mm_mask_storeu_epi8(void *to, __mmask16 k, __m128i a) {
  for (int i = 0; i < 16; i++) {
    if (BIT(k, i)) {
      ((int8_t *)to)[i] = a.i8[i];
    }
  }
}

#endif
