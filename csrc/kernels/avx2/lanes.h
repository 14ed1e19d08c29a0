// SPDX-License-Identifier: Apache-2.0
// Sixteen channels in two registers of eight, for the kernels of kernels/wide/. Included once the target is AVX2.
//
// 8 bits: int16 pairs by VPMADDWD, as no product of pairs of bytes fits int16 at full range. 4 bits: u < 16, so eight sums of two
// products by VPMADDUBSW fit int16 before they are widened.
#ifndef JLT_KERNELS_AVX2_LANES_H
#define JLT_KERNELS_AVX2_LANES_H

#include <immintrin.h>
#include <string.h>

#include "kernels/wide/layout.h"

// The largest tile.
#define JLT_TILE_PIXELS 4
#define JLT_TILE_BLOCKS 1
#define JLT_TILE_SIX 1
#define JLT_READY_IN_REGISTERS 0
#define JLT_CONV_HAS_NIBBLES 1
#define JLT_HAS_TILE_4 0
#define JLT_WIDENS_4 1
#define JLT_FC_BLOCKS_8 4  // that meet a vector at once
#define JLT_FC_BLOCKS_4 2
#define JLT_QUADS_MAY_OVERFLOW 1

enum {
  JLT_K_8 = 2,         // products a channel of one step at 8 bits
  JLT_OFFSET_8 = 0,    // what activations at 8 bits gain while they are gathered
  JLT_ELEMENT_BYTES_8 = 2,
  JLT_GROUP_BYTES = 128,  // of four rows of a column of a depthwise window
  JLT_GROUPS_4 = 4,  // of eight products a channel, before sums at 4 bits must be widened
};

// Channels 0-3 and 8-11, and 4-7 and 12-15: unpacking leaves them so, and so packing wants them. Named, not an array: compilers
// then keep them in registers.
typedef struct {
  __m256i low;
  __m256i high;
} jlt_sums_t;

typedef jlt_sums_t jlt_factors_t;

static JLT_ALWAYS_INLINE __m256i load(const void *from) { return _mm256_loadu_si256(from); }

static JLT_ALWAYS_INLINE void store(void *to, __m256i v) { _mm256_storeu_si256(to, v); }

static JLT_ALWAYS_INLINE jlt_sums_t jlt_no_sums(void) {
  return (jlt_sums_t){_mm256_setzero_si256(), _mm256_setzero_si256()};
}

// What lies in order becomes what sums are, and the reverse.
static JLT_ALWAYS_INLINE jlt_sums_t jlt_turned(jlt_sums_t s) {
  return (jlt_sums_t){_mm256_permute2x128_si256(s.low, s.high, 0x20), _mm256_permute2x128_si256(s.low, s.high, 0x31)};
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_sums_at(const int32_t *from) {
  return jlt_turned((jlt_sums_t){load(from), load(from + 8)});
}

static JLT_ALWAYS_INLINE void jlt_store_sums(int32_t *to, jlt_sums_t sums) {
  const jlt_sums_t in_order = jlt_turned(sums);
  store(to, in_order.low);
  store(to + 8, in_order.high);
}

static JLT_ALWAYS_INLINE jlt_factors_t jlt_factors_8(const uint8_t *w) {
  return (jlt_factors_t){_mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)w)),
                          _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(w + 16)))};
}

static JLT_ALWAYS_INLINE __m256i broadcast_4(const uint8_t *x) {
  int32_t four;
  memcpy(&four, x, sizeof(four));
  return _mm256_set1_epi32(four);
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_add_products_8(jlt_sums_t sums, jlt_factors_t w, const uint8_t *x) {
  const __m256i pair = broadcast_4(x);
  return (jlt_sums_t){_mm256_add_epi32(sums.low, _mm256_madd_epi16(w.low, pair)),
                      _mm256_add_epi32(sums.high, _mm256_madd_epi16(w.high, pair))};
}

// Eight channels of one step, for two pixels: sums lie in order, one pixel's in each register.
typedef __m256i jlt_eight_t;

static JLT_ALWAYS_INLINE jlt_eight_t jlt_eight(const uint8_t *w) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)w));
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_add_eight(jlt_sums_t sums, jlt_eight_t w, const uint8_t *x, const uint8_t *next) {
  return (jlt_sums_t){_mm256_add_epi32(sums.low, _mm256_madd_epi16(w, broadcast_4(x))),
                      _mm256_add_epi32(sums.high, _mm256_madd_epi16(w, broadcast_4(next)))};
}

// Eight products a channel at 4 bits: those of low nibbles, then of high ones.
typedef struct {
  jlt_sums_t first;
  jlt_sums_t second;
} jlt_factors_4_t;

static JLT_ALWAYS_INLINE jlt_factors_4_t jlt_factors_4(const uint8_t *w) {
  const __m256i mask = _mm256_set1_epi8(15);
  const __m256i a = load(w);
  const __m256i b = load(w + 32);
  return (jlt_factors_4_t){{_mm256_and_si256(a, mask), _mm256_and_si256(b, mask)},
                           {_mm256_and_si256(_mm256_srli_epi16(a, 4), mask), _mm256_and_si256(_mm256_srli_epi16(b, 4), mask)}};
}

static JLT_ALWAYS_INLINE __m256i products_4(__m256i sums, __m256i w, __m256i x, __m256i w_second, __m256i x_second) {
  const __m256i products = _mm256_add_epi16(_mm256_maddubs_epi16(w, x), _mm256_maddubs_epi16(w_second, x_second));
  return _mm256_add_epi16(sums, products);
}

// Sums of int16: two a channel.
static JLT_ALWAYS_INLINE jlt_sums_t jlt_add_products_4(jlt_sums_t sums, jlt_factors_4_t w, const uint8_t *x) {
  const __m256i first = broadcast_4(x);
  const __m256i second = broadcast_4(x + 4);
  return (jlt_sums_t){products_4(sums.low, w.first.low, first, w.second.low, second),
                      products_4(sums.high, w.first.high, first, w.second.high, second)};
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_widen_4(jlt_sums_t sums, jlt_sums_t part) {
  const __m256i ones = _mm256_set1_epi16(1);
  return (jlt_sums_t){_mm256_add_epi32(sums.low, _mm256_madd_epi16(part.low, ones)),
                      _mm256_add_epi32(sums.high, _mm256_madd_epi16(part.high, ones))};
}

// Four activations of one vector, for all channels. VPMADDUBSW wants one factor without a sign: w gets that of x. A sum of two products is
// at most 2 · 128 · 127 then, unless a weight is −128.
typedef struct {
  __m256i signs;
  __m256i magnitudes;
} jlt_quad_t;

static JLT_ALWAYS_INLINE jlt_quad_t jlt_quad(const int8_t *x) {
  const __m256i four = broadcast_4((const uint8_t *)x);
  return (jlt_quad_t){four, _mm256_abs_epi8(four)};
}

static JLT_ALWAYS_INLINE __m256i quad_products(__m256i w, jlt_quad_t x) {
  const __m256i pairs = _mm256_maddubs_epi16(x.magnitudes, _mm256_sign_epi8(w, x.signs));
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_add_quad(jlt_sums_t sums, const uint8_t *w, jlt_quad_t x) {
  return (jlt_sums_t){_mm256_add_epi32(sums.low, quad_products(load(w), x)),
                      _mm256_add_epi32(sums.high, quad_products(load(w + 32), x))};
}

// The same for any weights: two sums a channel, of four channels in a register.
typedef struct {
  __m256i four[4];
} jlt_careful_t;

static JLT_ALWAYS_INLINE void jlt_add_careful(jlt_careful_t *sums, const uint8_t *w, const int8_t *x) {
  const __m256i wide = _mm256_cvtepi8_epi16(_mm256_castsi256_si128(broadcast_4((const uint8_t *)x)));
  JLT_UNROLL
  for (uint32_t i = 0; i < 4; i++) {
    const __m256i products = _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(w + 16u * i))), wide);
    sums->four[i] = _mm256_add_epi32(sums->four[i], products);
  }
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_careful_sums(const jlt_careful_t *sums) {
  const __m256i low = _mm256_hadd_epi32(sums->four[0], sums->four[1]), high = _mm256_hadd_epi32(sums->four[2], sums->four[3]);
  return (jlt_sums_t){_mm256_permute4x64_epi64(low, 0xD8), _mm256_permute4x64_epi64(high, 0xD8)};
}

// start + 16 · sums + more, what 4 bits count.
static JLT_ALWAYS_INLINE jlt_sums_t jlt_scale_sums_4(jlt_sums_t start, jlt_sums_t sums, int32_t more) {
  const __m256i all = _mm256_set1_epi32(more);
  return (jlt_sums_t){_mm256_add_epi32(_mm256_slli_epi32(sums.low, 4), _mm256_add_epi32(start.low, all)),
                      _mm256_add_epi32(_mm256_slli_epi32(sums.high, 4), _mm256_add_epi32(start.high, all))};
}

// bias − each · sums of weights, wrapping where the sum of what it cancels does.
static JLT_ALWAYS_INLINE jlt_sums_t jlt_start(const int32_t *bias, const void *sums, uint32_t each) {
  const __m256i factor = _mm256_set1_epi32((int32_t)each);
  return jlt_turned(
      (jlt_sums_t){_mm256_sub_epi32(load(bias), _mm256_mullo_epi32(load(sums), factor)),
                   _mm256_sub_epi32(load(bias + 8), _mm256_mullo_epi32(load((const int32_t *)sums + 8), factor))});
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_same_sums(int32_t value) {
  return (jlt_sums_t){_mm256_set1_epi32(value), _mm256_set1_epi32(value)};
}

// How the accumulators of one block become bytes. NUMERICS.md §2 in one shift of 64 bits: with e = max(−shift, 0) and P the
// product, ⌊(P + 2^30 + 2^(30 + e) − [P < 0] · 2^31) / 2^(31 + e)⌋, as the floor of a floor is the floor of the whole; for
// e = 0 without the second and third. The upper halves are that by 2^32, so that e − 1 is left to shift; for e = 0 the sum is
// doubled before.
typedef struct {
  int32_t multiplier[2][2][8];  // [register][even, odd lanes]
  int32_t left[2][8];
  int32_t right[2][8];
  int64_t round[2][2][4];
  int64_t round_below[2][2][4];  // for negative products
  int64_t doubles[2][2][4];
  int32_t any_left;  // or none to the right
  int32_t may_be_plain;
  int32_t none[14];  // so that all records lie alike
} jlt_finish_t;
_Static_assert(sizeof(jlt_finish_t) <= JLT_WIDE_FINISH_BYTES, "finish");

// Of four lanes of 64 bits that end in e.
static JLT_ALWAYS_INLINE void prepare_half(jlt_finish_t *f, int reg, int odd, __m256i e) {
  const __m256i half = _mm256_set1_epi64x((1 << 30));
  const __m256i rounds = _mm256_cmpgt_epi64(e, _mm256_setzero_si256());
  const __m256i round = _mm256_add_epi64(half, _mm256_and_si256(rounds, _mm256_sllv_epi64(half, e)));
  store(f->round[reg][odd], round);
  store(f->round_below[reg][odd], _mm256_sub_epi64(round, _mm256_and_si256(rounds, _mm256_set1_epi64x((int64_t)1 << 31))));
  store(f->doubles[reg][odd], _mm256_andnot_si256(rounds, _mm256_set1_epi64x(1)));
}

static JLT_ALWAYS_INLINE void prepare_register(jlt_finish_t *f, int reg, __m256i m, __m256i s) {
  const __m256i zero = _mm256_setzero_si256();
  const __m256i e = _mm256_max_epi32(_mm256_sub_epi32(zero, s), zero);
  store(f->multiplier[reg][0], m);
  store(f->multiplier[reg][1], _mm256_srli_epi64(m, 32));
  store(f->left[reg], _mm256_max_epi32(s, zero));
  store(f->right[reg], _mm256_max_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), zero));
  prepare_half(f, reg, 0, _mm256_blend_epi32(e, zero, 0xAA));
  prepare_half(f, reg, 1, _mm256_srli_epi64(e, 32));
}

static JLT_ALWAYS_INLINE void jlt_prepare(jlt_finish_t *f, const int32_t *multiplier, const int32_t *shift) {
  const jlt_sums_t m = jlt_sums_at(multiplier), s = jlt_sums_at(shift);
  prepare_register(f, 0, m.low, s.low);
  prepare_register(f, 1, m.high, s.high);
  f->any_left = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_and_si256(s.low, s.high))) != 0xFF;
  const __m256i far = _mm256_set1_epi32(-JLT_WIDE_PLAIN_SHIFT);
  const __m256i is_far = _mm256_or_si256(_mm256_cmpgt_epi32(far, s.low), _mm256_cmpgt_epi32(far, s.high));
  f->may_be_plain = !f->any_left && _mm256_testz_si256(is_far, is_far);
}

// The zero point joins what rounds: −128 · 2^(31 + e), from 2^30 + 2^(30 + e).
static JLT_ALWAYS_INLINE void jlt_make_plain(jlt_finish_t *f) {
  JLT_UNROLL
  for (int i = 0; i < 4; i++) {
    int64_t *round = f->round[i / 2][i % 2];
    const __m256i power = _mm256_sub_epi64(load(round), _mm256_set1_epi64x(1 << 30));
    store(round, _mm256_sub_epi64(load(round), _mm256_slli_epi64(power, 8)));
  }
}

static JLT_ALWAYS_INLINE __m256i scale_half(__m256i a, const jlt_finish_t *f, int reg, int odd, const bool is_plain) {
  const __m256i product = _mm256_mul_epi32(a, load(f->multiplier[reg][odd]));
  if (is_plain) {
    return _mm256_add_epi64(product, load(f->round[reg][odd]));
  }
  const __m256i round = _mm256_castpd_si256(_mm256_blendv_pd(_mm256_castsi256_pd(load(f->round[reg][odd])),
                                                             _mm256_castsi256_pd(load(f->round_below[reg][odd])),
                                                             _mm256_castsi256_pd(product)));
  const __m256i sum = _mm256_add_epi64(product, round);
  return f->any_left ? _mm256_sllv_epi64(sum, load(f->doubles[reg][odd])) : sum;
}

static JLT_ALWAYS_INLINE __m256i scale(__m256i a, const jlt_finish_t *f, int reg, const bool is_plain) {
  if (!is_plain && f->any_left) {
    a = _mm256_sllv_epi32(a, load(f->left[reg]));
  }
  const __m256i even = scale_half(a, f, reg, 0, is_plain);
  const __m256i odd = scale_half(_mm256_srli_epi64(a, 32), f, reg, 1, is_plain);
  return _mm256_srav_epi32(_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA), load(f->right[reg]));
}

typedef struct {
  __m256i zero_point;
  __m128i act_min;
  __m128i act_max;
} jlt_output_t;

static JLT_ALWAYS_INLINE jlt_output_t jlt_output(int32_t zero_point, int32_t act_min, int32_t act_max) {
  return (jlt_output_t){_mm256_set1_epi16((int16_t)zero_point), _mm_set1_epi8((int8_t)act_min), _mm_set1_epi8((int8_t)act_max)};
}

typedef __m128i jlt_bytes_t;

// A record as it is best at hand for the next accumulators: where it lies, as there are few registers.
typedef const jlt_finish_t *jlt_ready_t;

static JLT_ALWAYS_INLINE jlt_ready_t jlt_ready(const jlt_finish_t *f, const bool is_plain) {
  (void)is_plain;
  return f;
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_scaled(jlt_sums_t sums, const jlt_ready_t *ready, const bool is_plain) {
  return (jlt_sums_t){scale(sums.low, *ready, 0, is_plain), scale(sums.high, *ready, 1, is_plain)};
}

static JLT_ALWAYS_INLINE jlt_bytes_t jlt_finished(jlt_sums_t sums, const jlt_ready_t *ready, const jlt_output_t *o,
                                                  const bool is_plain) {
  const jlt_sums_t s = jlt_scaled(sums, ready, is_plain);
  const __m256i packed = _mm256_packs_epi32(s.low, s.high);
  const __m256i words = is_plain ? packed : _mm256_adds_epi16(packed, o->zero_point);
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  return is_plain ? bytes : _mm_min_epi8(_mm_max_epi8(bytes, o->act_min), o->act_max);
}

static JLT_ALWAYS_INLINE void store_part(int8_t *to, __m128i bytes, uint32_t n) {
  uint64_t low = (uint64_t)_mm_cvtsi128_si64(bytes);
  if (n & 8u) {
    memcpy(to, &low, 8);
    low = (uint64_t)_mm_extract_epi64(bytes, 1);
    to += 8;
  }
  if (n & 4u) {
    memcpy(to, &low, 4);
    low >>= 32;
    to += 4;
  }
  if (n & 2u) {
    memcpy(to, &low, 2);
    low >>= 16;
    to += 2;
  }
  if (n & 1u) {
    *to = (int8_t)low;
  }
}

// Writes the first n of sixteen channels.
static JLT_ALWAYS_INLINE void jlt_store_bytes(int8_t *to, jlt_bytes_t bytes, uint32_t n) {
  if (n >= JLT_WIDE_CHANNELS) {
    _mm_storeu_si128((void *)to, bytes);
  } else {
    store_part(to, bytes, n);
  }
}

static JLT_ALWAYS_INLINE void widen_16(void *to, const int8_t *from) {
  _mm256_storeu_si256(to, _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)from)));
}

// n activations as the products at 8 bits want them.
static JLT_ALWAYS_INLINE void jlt_take_8(uint8_t *to, const int8_t *from, uint32_t n) {
  uint32_t i = 0;
  for (; i + 16u <= n; i += 16u) {
    widen_16(to + 2u * i, from + i);
  }
  if (i == n) {
    return;
  }
  if (n >= 16u) {
    widen_16(to + 2u * (n - 16u), from + n - 16u);
    return;
  }
  if (n >= 8u) {
    _mm_storeu_si128((void *)to, _mm_cvtepi8_epi16(_mm_loadl_epi64((const void *)from)));
    to += 2u * (n - 8u);
    _mm_storeu_si128((void *)to, _mm_cvtepi8_epi16(_mm_loadl_epi64((const void *)(from + n - 8u))));
    return;
  }
  for (; i < n; i++) {
    const int16_t wide = from[i];
    memcpy(to + 2u * i, &wide, sizeof(wide));
  }
}

static JLT_ALWAYS_INLINE void jlt_repeat_8(uint8_t *to, int32_t value, uint32_t n) {
  const int16_t wide = (int16_t)value;
  for (uint32_t i = 0; i < n; i++) {
    memcpy(to + 2u * i, &wide, sizeof(wide));
  }
}

static JLT_ALWAYS_INLINE int32_t jlt_sum_bytes(const int8_t *x, uint32_t n) {
  const __m256i ones = _mm256_set1_epi8(1);
  __m256i sums = _mm256_setzero_si256();
  uint32_t i = 0;
  for (; i + 32u <= n; i += 32u) {
    sums = _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_maddubs_epi16(ones, load(x + i)), _mm256_set1_epi16(1)));
  }
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  int32_t sum = _mm_cvtsi128_si32(four) + _mm_extract_epi32(four, 1);
  for (; i < n; i++) {
    sum += x[i];
  }
  return sum;
}

static JLT_ALWAYS_INLINE __m128i load_part(const int8_t *from, uint32_t n) {
  if (n >= 16u) {
    return _mm_loadu_si128((const void *)from);
  }
  uint64_t half[2] = {0, 0};
  uint8_t *to = (uint8_t *)half;
  for (uint32_t step = 8; step > 0; step /= 2u) {
    if (n & step) {
      memcpy(to, from, step);
      to += step;
      from += step;
    }
  }
  return _mm_set_epi64x((int64_t)half[1], (int64_t)half[0]);
}

// Sixteen of int16, and what they become when they are shifted to the left.
static JLT_ALWAYS_INLINE jlt_sums_t widened(__m256i x, int32_t left_shift) {
  const __m128i shift = _mm_cvtsi32_si128(left_shift);
  const __m256i low = _mm256_srai_epi32(_mm256_unpacklo_epi16(x, x), 16), high = _mm256_srai_epi32(_mm256_unpackhi_epi16(x, x), 16);
  return (jlt_sums_t){_mm256_sll_epi32(low, shift), _mm256_sll_epi32(high, shift)};
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_load_sums(const int8_t *from, uint32_t n, int32_t left_shift) {
  return widened(_mm256_cvtepi8_epi16(load_part(from, n)), left_shift);
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_add_sums(jlt_sums_t a, jlt_sums_t b, const bool negates) {
  return negates ? (jlt_sums_t){_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)}
                 : (jlt_sums_t){_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}

// (x - zero point) << shift of n elements.
static JLT_ALWAYS_INLINE jlt_sums_t jlt_load_differences(const int8_t *from, uint32_t n, int32_t zero_point, int32_t left_shift) {
  const __m256i x = _mm256_cvtepi8_epi16(load_part(from, n));
  return widened(_mm256_sub_epi16(x, _mm256_set1_epi16((int16_t)zero_point)), left_shift);
}

#include "kernels/wide/lanes_common.h"

#endif
