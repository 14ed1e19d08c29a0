// SPDX-License-Identifier: Apache-2.0
// Sixteen channels in four registers, for the kernels of kernels/wide/. JLT_NEON_HAS_DOT says that SDOT is there; else four products
// are added up by SMULL and pairwise additions, which no operand can overflow.
#ifndef JLT_KERNELS_NEON_LANES_H
#define JLT_KERNELS_NEON_LANES_H

#include <arm_neon.h>
#include <string.h>

#include "kernels/wide/layout.h"

// The largest tile.
#define JLT_TILE_PIXELS 4
#define JLT_TILE_BLOCKS 1
#define JLT_TILE_SIX 0
#define JLT_READY_IN_REGISTERS 1
#define JLT_CONV_HAS_NIBBLES 0
#define JLT_HAS_TILE_4 (!JLT_NEON_HAS_DOT)  // a tile of its own for bytes at 4 bits

enum {
  JLT_K_8 = 4,       // products a channel of one step at 8 bits
  JLT_OFFSET_8 = 0,  // what activations at 8 bits gain while they are gathered
  JLT_ELEMENT_BYTES_8 = 1,
  JLT_GROUP_BYTES = 64,     // of four rows of a column of a depthwise window
};

typedef struct {
  int32x4_t a;
  int32x4_t b;
  int32x4_t c;
  int32x4_t d;
} jlt_sums_t;

typedef struct {
  int8x16_t a;
  int8x16_t b;
  int8x16_t c;
  int8x16_t d;
} jlt_factors_t;

static JLT_ALWAYS_INLINE jlt_sums_t jlt_same_sums(int32_t value) {
  const int32x4_t v = vdupq_n_s32(value);
  return (jlt_sums_t){v, v, v, v};
}

// Sums lie in order.
static JLT_ALWAYS_INLINE jlt_sums_t jlt_turned(jlt_sums_t sums) { return sums; }

static JLT_ALWAYS_INLINE jlt_sums_t jlt_no_sums(void) { return jlt_same_sums(0); }

static JLT_ALWAYS_INLINE jlt_sums_t jlt_sums_at(const int32_t *from) {
  return (jlt_sums_t){vld1q_s32(from), vld1q_s32(from + 4), vld1q_s32(from + 8), vld1q_s32(from + 12)};
}

static JLT_ALWAYS_INLINE void jlt_store_sums(int32_t *to, jlt_sums_t s) {
  vst1q_s32(to, s.a);
  vst1q_s32(to + 4, s.b);
  vst1q_s32(to + 8, s.c);
  vst1q_s32(to + 12, s.d);
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_add_sums(jlt_sums_t x, jlt_sums_t y, const bool negates) {
  return negates ? (jlt_sums_t){vsubq_s32(x.a, y.a), vsubq_s32(x.b, y.b), vsubq_s32(x.c, y.c), vsubq_s32(x.d, y.d)}
                 : (jlt_sums_t){vaddq_s32(x.a, y.a), vaddq_s32(x.b, y.b), vaddq_s32(x.c, y.c), vaddq_s32(x.d, y.d)};
}

// sums + the products of four bytes each.
static JLT_ALWAYS_INLINE int32x4_t dot(int32x4_t sums, int8x16_t w, int8x16_t x) {
#if JLT_NEON_HAS_DOT
  return vdotq_s32(sums, w, x);
#else
  const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(x)));
  const int32x4_t high = vpaddlq_s16(vmull_high_s8(w, x));
  return vaddq_s32(sums, vpaddq_s32(low, high));
#endif
}

static JLT_ALWAYS_INLINE int8x16_t broadcast_4(const uint8_t *x) {
  int32_t four;
  memcpy(&four, x, sizeof(four));
  return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

static JLT_ALWAYS_INLINE jlt_factors_t jlt_factors_8(const uint8_t *w) {
  const int8_t *from = (const int8_t *)w;
  return (jlt_factors_t){vld1q_s8(from), vld1q_s8(from + 16), vld1q_s8(from + 32), vld1q_s8(from + 48)};
}

static JLT_ALWAYS_INLINE jlt_sums_t add_products(jlt_sums_t s, jlt_factors_t w, int8x16_t x) {
  return (jlt_sums_t){dot(s.a, w.a, x), dot(s.b, w.b, x), dot(s.c, w.c, x), dot(s.d, w.d, x)};
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_add_products_8(jlt_sums_t sums, jlt_factors_t w, const uint8_t *x) {
  return add_products(sums, w, broadcast_4(x));
}

// Eight channels of one step, for two pixels.
typedef struct {
  int8x16_t a;
  int8x16_t b;
} jlt_eight_t;

static JLT_ALWAYS_INLINE jlt_eight_t jlt_eight(const uint8_t *w) {
  return (jlt_eight_t){vld1q_s8((const int8_t *)w), vld1q_s8((const int8_t *)w + 16)};
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_add_eight(jlt_sums_t s, jlt_eight_t w, const uint8_t *x, const uint8_t *next) {
  const int8x16_t first = broadcast_4(x), second = broadcast_4(next);
  return (jlt_sums_t){dot(s.a, w.a, first), dot(s.b, w.b, first), dot(s.c, w.a, second), dot(s.d, w.b, second)};
}

// bias − each · sums of weights, wrapping where the sum of what it cancels does.
static JLT_ALWAYS_INLINE jlt_sums_t jlt_start(const int32_t *bias, const void *sums, uint32_t each) {
  const jlt_sums_t s = jlt_sums_at(sums), b = jlt_sums_at(bias);
  const int32_t factor = (int32_t)each;
  return (jlt_sums_t){vmlsq_n_s32(b.a, s.a, factor), vmlsq_n_s32(b.b, s.b, factor), vmlsq_n_s32(b.c, s.c, factor),
                      vmlsq_n_s32(b.d, s.d, factor)};
}

// How the accumulators of one block become bytes: NUMERICS.md §2 is SQRDMULH, then SRSHL after one less for negative values where
// there is a shift to the right.
typedef struct {
  int32_t multiplier[16];
  int32_t left[16];
  int32_t right[16];  // not above 0
  int32_t any_left;
  int32_t may_be_plain;
} jlt_finish_t;
_Static_assert(sizeof(jlt_finish_t) <= JLT_WIDE_FINISH_BYTES, "finish");

static JLT_ALWAYS_INLINE void jlt_prepare(jlt_finish_t *f, const int32_t *multiplier, const int32_t *shift) {
  const int32x4_t zero = vdupq_n_s32(0);
  int32x4_t any_left = zero;
  JLT_UNROLL
  for (int i = 0; i < 16; i += 4) {
    const int32x4_t s = vld1q_s32(shift + i), left = vmaxq_s32(s, zero);
    vst1q_s32(f->multiplier + i, vld1q_s32(multiplier + i));
    vst1q_s32(f->left + i, left);
    vst1q_s32(f->right + i, vminq_s32(s, zero));
    any_left = vorrq_s32(any_left, left);
  }
  f->any_left = vmaxvq_s32(any_left);
  f->may_be_plain = !f->any_left;
}

static JLT_ALWAYS_INLINE void jlt_make_plain(jlt_finish_t *f) { (void)f; }

// A record in registers.
typedef struct {
  jlt_sums_t multiplier;
  jlt_sums_t left;  // of no account where it is plain
  jlt_sums_t right;
  bool any_left;
} jlt_ready_t;

static JLT_ALWAYS_INLINE jlt_ready_t jlt_ready(const jlt_finish_t *f, const bool is_plain) {
  const jlt_sums_t right = jlt_sums_at(f->right);
  const bool any_left = !is_plain && f->any_left;
  return (jlt_ready_t){jlt_sums_at(f->multiplier), any_left ? jlt_sums_at(f->left) : right, right, any_left};
}

// The same for all lanes.
static JLT_ALWAYS_INLINE jlt_ready_t jlt_ready_same(jlt_finish_t *room, int32_t multiplier, int32_t shift, const bool is_plain) {
  (void)room;
  return (jlt_ready_t){jlt_same_sums(multiplier), jlt_same_sums(shift > 0 ? shift : 0), jlt_same_sums(shift < 0 ? shift : 0),
                       !is_plain && shift > 0};
}

static JLT_ALWAYS_INLINE int32x4_t scale(int32x4_t v, int32x4_t multiplier, int32x4_t right, const bool is_plain) {
  const int32x4_t high = vqrdmulhq_s32(v, multiplier);
  // one less where both the value and the shift are negative
  return vrshlq_s32(is_plain ? high : vsraq_n_s32(high, vandq_s32(high, right), 31), right);
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_scaled(jlt_sums_t s, const jlt_ready_t *f, const bool is_plain) {
  if (f->any_left) {
    s = (jlt_sums_t){vshlq_s32(s.a, f->left.a), vshlq_s32(s.b, f->left.b), vshlq_s32(s.c, f->left.c), vshlq_s32(s.d, f->left.d)};
  }
  return (jlt_sums_t){scale(s.a, f->multiplier.a, f->right.a, is_plain), scale(s.b, f->multiplier.b, f->right.b, is_plain),
                      scale(s.c, f->multiplier.c, f->right.c, is_plain), scale(s.d, f->multiplier.d, f->right.d, is_plain)};
}

typedef struct {
  int16x8_t zero_point;
  int8x16_t act_min;
  int8x16_t act_max;
} jlt_output_t;

static JLT_ALWAYS_INLINE jlt_output_t jlt_output(int32_t zero_point, int32_t act_min, int32_t act_max) {
  return (jlt_output_t){vdupq_n_s16((int16_t)zero_point), vdupq_n_s8((int8_t)act_min), vdupq_n_s8((int8_t)act_max)};
}

typedef int8x16_t jlt_bytes_t;

static JLT_ALWAYS_INLINE jlt_bytes_t jlt_finished(jlt_sums_t sums, const jlt_ready_t *ready, const jlt_output_t *o,
                                                  const bool is_plain) {
  const jlt_sums_t s = jlt_scaled(sums, ready, is_plain);
  const int16x8_t low = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(s.a), s.b), o->zero_point);
  const int16x8_t high = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(s.c), s.d), o->zero_point);
  const int8x16_t bytes = vqmovn_high_s16(vqmovn_s16(low), high);
  return is_plain ? bytes : vminq_s8(vmaxq_s8(bytes, o->act_min), o->act_max);
}

// Writes the first n of sixteen channels; no call, which would empty all registers.
static JLT_ALWAYS_INLINE void jlt_store_bytes(int8_t *to, jlt_bytes_t bytes, uint32_t n) {
  if (n >= JLT_WIDE_CHANNELS) {
    vst1q_s8(to, bytes);
    return;
  }
  uint64_t low = vgetq_lane_u64(vreinterpretq_u64_s8(bytes), 0);
  if (n & 8u) {
    memcpy(to, &low, 8);
    low = vgetq_lane_u64(vreinterpretq_u64_s8(bytes), 1);
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

// n activations as the products at 8 bits want them.
static JLT_ALWAYS_INLINE void jlt_take_8(uint8_t *to, const int8_t *from, uint32_t n) { memcpy(to, from, n); }

static JLT_ALWAYS_INLINE void jlt_repeat_8(uint8_t *to, int32_t value, uint32_t n) { memset(to, value, n); }

static JLT_ALWAYS_INLINE int8x16_t load_part(const int8_t *from, uint32_t n) {
  if (n >= 16u) {
    return vld1q_s8(from);
  }
  if (n == 8u) {
    return vcombine_s8(vld1_s8(from), vdup_n_s8(0));
  }
  int8_t room[16] = {0};
  memcpy(room, from, n);
  return vld1q_s8(room);
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_load_sums(const int8_t *from, uint32_t n, int32_t left_shift) {
  const int8x16_t bytes = load_part(from, n);
  const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_high_s8(bytes);
  const int32x4_t shift = vdupq_n_s32(left_shift);
  return (jlt_sums_t){vshlq_s32(vmovl_s16(vget_low_s16(low)), shift), vshlq_s32(vmovl_high_s16(low), shift),
                      vshlq_s32(vmovl_s16(vget_low_s16(high)), shift), vshlq_s32(vmovl_high_s16(high), shift)};
}

// (x - zero point) << shift of n elements.
static JLT_ALWAYS_INLINE jlt_sums_t jlt_load_differences(const int8_t *from, uint32_t n, int32_t zero_point, int32_t left_shift) {
  const int8x16_t bytes = load_part(from, n);
  const int8x16_t zero = vdupq_n_s8((int8_t)zero_point);
  const int16x8_t low = vsubl_s8(vget_low_s8(bytes), vget_low_s8(zero)), high = vsubl_high_s8(bytes, zero);
  const int32x4_t shift = vdupq_n_s32(left_shift);
  return (jlt_sums_t){vshlq_s32(vmovl_s16(vget_low_s16(low)), shift), vshlq_s32(vmovl_high_s16(low), shift),
                      vshlq_s32(vmovl_s16(vget_low_s16(high)), shift), vshlq_s32(vmovl_high_s16(high), shift)};
}

#include "kernels/wide/lanes_common.h"

#endif
