// SPDX-License-Identifier: Apache-2.0
// Sixteen channels in one register, for the kernels of kernels/wide/. Included once the target is AVX-512 VNNI.
//
// VPDPBUSD multiplies unsigned by signed bytes: at 8 bits activations gain 128 while they are gathered, which where the
// accumulators start takes back; at 4 bits u is the unsigned one.
#ifndef JLT_KERNELS_AVX512VNNI_LANES_H
#define JLT_KERNELS_AVX512VNNI_LANES_H

#include <immintrin.h>
#include <string.h>

#include "kernels/wide/layout.h"

// The largest tile.
#define JLT_TILE_PIXELS 8
#define JLT_TILE_BLOCKS 2
#define JLT_TILE_SIX 1
#define JLT_READY_IN_REGISTERS 0
#define JLT_CONV_HAS_NIBBLES 0
#define JLT_HAS_TILE_4 0
#define JLT_FC_BLOCKS_8 8  // that meet a vector at once: a product takes five cycles, and a core begins one or two in each
#define JLT_FC_BLOCKS_4 4  // of low and of high nibbles
#define JLT_QUADS_MAY_OVERFLOW 0
#define JLT_WIDENS_4 0  // sums at 4 bits are wide from the start

enum {
  JLT_K_8 = 4,         // products a channel of one step at 8 bits
  JLT_OFFSET_8 = 128,  // what activations at 8 bits gain while they are gathered
  JLT_ELEMENT_BYTES_8 = 1,
  JLT_GROUP_BYTES = 64,  // of four rows of a column of a depthwise window
};

typedef struct {
  __m512i all;
} jlt_sums_t;

typedef jlt_sums_t jlt_factors_t;

static JLT_ALWAYS_INLINE __m512i load(const void *from) { return _mm512_loadu_si512(from); }

static JLT_ALWAYS_INLINE jlt_sums_t jlt_no_sums(void) { return (jlt_sums_t){_mm512_setzero_si512()}; }

static JLT_ALWAYS_INLINE jlt_sums_t jlt_same_sums(int32_t value) { return (jlt_sums_t){_mm512_set1_epi32(value)}; }

// Sums lie in order.
static JLT_ALWAYS_INLINE jlt_sums_t jlt_turned(jlt_sums_t sums) { return sums; }

static JLT_ALWAYS_INLINE jlt_sums_t jlt_sums_at(const int32_t *from) { return (jlt_sums_t){load(from)}; }

static JLT_ALWAYS_INLINE void jlt_store_sums(int32_t *to, jlt_sums_t sums) { _mm512_storeu_si512(to, sums.all); }

static JLT_ALWAYS_INLINE jlt_sums_t jlt_add_sums(jlt_sums_t a, jlt_sums_t b, const bool negates) {
  return (jlt_sums_t){negates ? _mm512_sub_epi32(a.all, b.all) : _mm512_add_epi32(a.all, b.all)};
}

static JLT_ALWAYS_INLINE jlt_factors_t jlt_factors_8(const uint8_t *w) { return (jlt_factors_t){load(w)}; }

static JLT_ALWAYS_INLINE __m512i broadcast_4(const uint8_t *x) {
  int32_t four;
  memcpy(&four, x, sizeof(four));
  return _mm512_set1_epi32(four);
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_add_products_8(jlt_sums_t sums, jlt_factors_t w, const uint8_t *x) {
  return (jlt_sums_t){_mm512_dpbusd_epi32(sums.all, broadcast_4(x), w.all)};
}

// Four activations of one vector, for all channels.
typedef __m512i jlt_quad_t;

static JLT_ALWAYS_INLINE jlt_quad_t jlt_quad(const int8_t *x) {
  return _mm512_xor_si512(broadcast_4((const uint8_t *)x), _mm512_set1_epi8(-128));
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_add_quad(jlt_sums_t sums, const uint8_t *w, jlt_quad_t x) {
  return (jlt_sums_t){_mm512_dpbusd_epi32(sums.all, x, load(w))};
}

// Eight channels of one step, for two pixels.
typedef __m512i jlt_eight_t;

static JLT_ALWAYS_INLINE jlt_eight_t jlt_eight(const uint8_t *w) {
  return _mm512_broadcast_i64x4(_mm256_loadu_si256((const void *)w));
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_add_eight(jlt_sums_t sums, jlt_eight_t w, const uint8_t *x, const uint8_t *next) {
  int32_t four;
  memcpy(&four, next, sizeof(four));
  return (jlt_sums_t){_mm512_dpbusd_epi32(sums.all, _mm512_mask_set1_epi32(broadcast_4(x), 0xFF00, four), w)};
}

// Four products a channel at 4 bits, of low nibbles and of high ones, these sixteen times as large: neither sum waits for the other, and
// nothing is shifted.
static JLT_ALWAYS_INLINE jlt_sums_t add_masked(__m512i sums, const uint8_t *w, const int8_t mask, const uint8_t *x) {
  sums = _mm512_dpbusd_epi32(sums, _mm512_and_si512(load(w), _mm512_set1_epi8(mask)), broadcast_4(x));
#if !defined(JLT_WITHOUT_TARGET)
  __asm__("" : "+v"(sums));  // GCC 12 would copy sums to and fro
#endif
  return (jlt_sums_t){sums};
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_add_low_4(jlt_sums_t sums, const uint8_t *w, const uint8_t *x) {
  return add_masked(sums.all, w, 0x0F, x);
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_add_high_4(jlt_sums_t sums, const uint8_t *w, const uint8_t *x) {
  return add_masked(sums.all, w, -16, x + 4);
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_join_4(jlt_sums_t low, jlt_sums_t high) {
  return (jlt_sums_t){_mm512_add_epi32(low.all, _mm512_srai_epi32(high.all, 4))};
}

// start + 16 · sums + more, what 4 bits count.
static JLT_ALWAYS_INLINE jlt_sums_t jlt_scale_sums_4(jlt_sums_t start, jlt_sums_t sums, int32_t more) {
  const __m512i beside = _mm512_add_epi32(start.all, _mm512_set1_epi32(more));
  return (jlt_sums_t){_mm512_add_epi32(_mm512_slli_epi32(sums.all, 4), beside)};
}

// bias − each · sums of weights, wrapping where the sum of what it cancels does.
static JLT_ALWAYS_INLINE jlt_sums_t jlt_start(const int32_t *bias, const void *sums, uint32_t each) {
  return (jlt_sums_t){_mm512_sub_epi32(load(bias), _mm512_mullo_epi32(load(sums), _mm512_set1_epi32((int32_t)each)))};
}

// How the accumulators of one block become bytes. NUMERICS.md §2 in one shift of 64 bits: with e = max(−shift, 0) and P the
// product, ⌊(P + 2^30 + 2^(30 + e) − [P < 0] · 2^31) / 2^(31 + e)⌋, as the floor of a floor is the floor of the whole; for
// e = 0 without the second and third. The upper halves are that by 2^32, so that e − 1 is left to shift; for e = 0 the sum is
// doubled before.
typedef struct {
  int32_t multiplier[2][16];  // [even, odd lanes]
  int32_t left[16];
  int32_t right[16];
  int64_t round[2][8];
  int64_t below[2][8];  // what a negative product loses
  int64_t doubles[2][8];
  int32_t may_be_plain;
  int32_t is_right;  // every shift
  int32_t none[14];  // so that all records lie alike
} jlt_finish_t;
_Static_assert(sizeof(jlt_finish_t) <= JLT_WIDE_FINISH_BYTES, "finish");

// Of eight lanes of 64 bits that end in e.
static JLT_ALWAYS_INLINE void prepare_half(jlt_finish_t *f, int odd, __m512i e) {
  const __m512i half = _mm512_set1_epi64((int64_t)1 << 30);
  const __mmask8 rounds = _mm512_cmpgt_epi64_mask(e, _mm512_setzero_si512());
  _mm512_storeu_si512(f->round[odd], _mm512_mask_add_epi64(half, rounds, half, _mm512_sllv_epi64(half, e)));
  _mm512_storeu_si512(f->below[odd], _mm512_maskz_set1_epi64(rounds, (int64_t)1 << 31));
  _mm512_storeu_si512(f->doubles[odd], _mm512_maskz_set1_epi64((__mmask8)~rounds, 1));
}

static JLT_ALWAYS_INLINE void jlt_prepare(jlt_finish_t *f, const int32_t *multiplier, const int32_t *shift) {
  const __m512i zero = _mm512_setzero_si512();
  const __m512i m = load(multiplier), s = load(shift);
  const __m512i e = _mm512_max_epi32(_mm512_sub_epi32(zero, s), zero);
  _mm512_storeu_si512(f->multiplier[0], m);
  _mm512_storeu_si512(f->multiplier[1], _mm512_srli_epi64(m, 32));
  _mm512_storeu_si512(f->left, _mm512_max_epi32(s, zero));
  _mm512_storeu_si512(f->right, _mm512_max_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), zero));
  prepare_half(f, 0, _mm512_and_si512(e, _mm512_set1_epi64(0xFFFFFFFF)));
  prepare_half(f, 1, _mm512_srli_epi64(e, 32));
  f->is_right = _mm512_movepi32_mask(s) == 0xFFFF;
  f->may_be_plain = f->is_right && _mm512_cmpgt_epi32_mask(_mm512_set1_epi32(-JLT_WIDE_PLAIN_SHIFT), s) == 0;
}

// The zero point joins what rounds: −128 · 2^(31 + e), from 2^30 + 2^(30 + e).
static JLT_ALWAYS_INLINE void jlt_make_plain(jlt_finish_t *f) {
  JLT_UNROLL
  for (int odd = 0; odd < 2; odd++) {
    const __m512i round = load(f->round[odd]);
    const __m512i power = _mm512_sub_epi64(round, _mm512_set1_epi64((int64_t)1 << 30));
    _mm512_storeu_si512(f->round[odd], _mm512_sub_epi64(round, _mm512_slli_epi64(power, 8)));
  }
}

// A record as it is best at hand for the next accumulators: where it lies, as there are few registers, and what loops are split by.
typedef struct {
  const jlt_finish_t *record;
  bool is_right;
} jlt_ready_t;

static JLT_ALWAYS_INLINE jlt_ready_t jlt_ready(const jlt_finish_t *f, const bool is_plain) {
  return (jlt_ready_t){f, is_plain || f->is_right};
}

static JLT_ALWAYS_INLINE __m512i scale_half(__m512i a, const jlt_ready_t *ready, int odd, const bool is_plain) {
  const jlt_finish_t *f = ready->record;
  const __m512i product = _mm512_mul_epi32(a, load(f->multiplier[odd]));
  const __m512i rounded = _mm512_add_epi64(product, load(f->round[odd]));
  if (is_plain) {
    return rounded;
  }
  const __m512i sum = _mm512_mask_sub_epi64(rounded, _mm512_movepi64_mask(product), rounded, load(f->below[odd]));
  return ready->is_right ? sum : _mm512_sllv_epi64(sum, load(f->doubles[odd]));
}

static JLT_ALWAYS_INLINE jlt_sums_t scaled(jlt_sums_t sums, const jlt_ready_t *ready, const bool is_plain) {
  const jlt_finish_t *f = ready->record;
  const __m512i a = ready->is_right ? sums.all : _mm512_sllv_epi32(sums.all, load(f->left));
  const __m512i even = scale_half(a, ready, 0, is_plain);
  const __m512i odd = scale_half(_mm512_srli_epi64(a, 32), ready, 1, is_plain);
  return (jlt_sums_t){_mm512_srav_epi32(_mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB), load(f->right))};
}

// Bounds before the zero point is added: then that overflows nothing, and bytes hold the sum.
typedef struct {
  __m512i zero_point;
  __m512i least;
  __m512i most;
} jlt_output_t;

static JLT_ALWAYS_INLINE jlt_output_t jlt_output(int32_t zero_point, int32_t act_min, int32_t act_max) {
  return (jlt_output_t){_mm512_set1_epi32(zero_point), _mm512_set1_epi32(act_min - zero_point),
                        _mm512_set1_epi32(act_max - zero_point)};
}

static JLT_ALWAYS_INLINE __mmask16 first_16(uint32_t n) { return (__mmask16)(n >= 16u ? 0xFFFFu : (1u << n) - 1u); }

typedef __m128i jlt_bytes_t;

static JLT_ALWAYS_INLINE jlt_sums_t jlt_scaled(jlt_sums_t sums, const jlt_ready_t *ready, const bool is_plain) {
  return scaled(sums, ready, is_plain);
}

static JLT_ALWAYS_INLINE jlt_bytes_t jlt_finished(jlt_sums_t sums, const jlt_ready_t *ready, const jlt_output_t *o,
                                                  const bool is_plain) {
  if (is_plain) {
    return _mm512_cvtsepi32_epi8(scaled(sums, ready, true).all);
  }
  const __m512i kept = _mm512_min_epi32(_mm512_max_epi32(scaled(sums, ready, false).all, o->least), o->most);
  return _mm512_cvtepi32_epi8(_mm512_add_epi32(kept, o->zero_point));
}

// Writes the first n of sixteen channels.
static JLT_ALWAYS_INLINE void jlt_store_bytes(int8_t *to, jlt_bytes_t bytes, uint32_t n) {
  _mm_mask_storeu_epi8(to, first_16(n), bytes);
}

static JLT_ALWAYS_INLINE __mmask64 first_64(uint32_t n) { return n >= 64u ? ~(__mmask64)0 : ((__mmask64)1 << n) - 1u; }

// n activations as the products at 8 bits want them.
static JLT_ALWAYS_INLINE void jlt_take_8(uint8_t *to, const int8_t *from, uint32_t n) {
  const __m512i top = _mm512_set1_epi8(-128);
  for (; n >= 64u; n -= 64u, to += 64, from += 64) {
    _mm512_storeu_si512(to, _mm512_xor_si512(load(from), top));
  }
  const __mmask64 rest = first_64(n);
  _mm512_mask_storeu_epi8(to, rest, _mm512_xor_si512(_mm512_maskz_loadu_epi8(rest, from), top));
}

// Columns in the padding are mostly few: no call for them.
static JLT_ALWAYS_INLINE void jlt_repeat_8(uint8_t *to, int32_t value, uint32_t n) {
  const __m512i all = _mm512_set1_epi8((int8_t)(value ^ 0x80));
  for (; n >= 64u; n -= 64u, to += 64) {
    _mm512_storeu_si512(to, all);
  }
  _mm512_mask_storeu_epi8(to, first_64(n), all);
}

static JLT_ALWAYS_INLINE int32_t jlt_sum_bytes(const int8_t *x, uint32_t n) {
  const __m512i ones = _mm512_set1_epi8(1);
  __m512i sums = _mm512_setzero_si512();
  for (; n >= 64u; n -= 64u, x += 64) {
    sums = _mm512_dpbusd_epi32(sums, ones, load(x));
  }
  if (n > 0) {
    sums = _mm512_dpbusd_epi32(sums, ones, _mm512_maskz_loadu_epi8(first_64(n), x));
  }
  return _mm512_reduce_add_epi32(sums);
}

static JLT_ALWAYS_INLINE __m128i load_part(const int8_t *from, uint32_t n) { return _mm_maskz_loadu_epi8(first_16(n), from); }

static JLT_ALWAYS_INLINE jlt_sums_t jlt_load_sums(const int8_t *from, uint32_t n, int32_t left_shift) {
  return (jlt_sums_t){_mm512_sll_epi32(_mm512_cvtepi8_epi32(load_part(from, n)), _mm_cvtsi32_si128(left_shift))};
}

// (x - zero point) << shift of n elements.
static JLT_ALWAYS_INLINE jlt_sums_t jlt_load_differences(const int8_t *from, uint32_t n, int32_t zero_point, int32_t left_shift) {
  const __m512i x = _mm512_cvtepi8_epi32(load_part(from, n));
  return (jlt_sums_t){_mm512_sll_epi32(_mm512_sub_epi32(x, _mm512_set1_epi32(zero_point)), _mm_cvtsi32_si128(left_shift))};
}

#include "kernels/wide/lanes_common.h"

#endif
