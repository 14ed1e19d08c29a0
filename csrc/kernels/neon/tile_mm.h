// SPDX-License-Identifier: Apache-2.0
// A tile of a convolution with SMMLA: eight products of two pixels with two channels at a time; single pixels with SDOT.
#ifndef JLT_KERNELS_NEON_TILE_MM_H
#define JLT_KERNELS_NEON_TILE_MM_H

#include "kernels/neon/tile_dot.h"

// Of two pixels: four channels each, [pair of channels][pixel][channel].
typedef struct {
  int32x4_t low;
  int32x4_t high;
} jlt_square_t;

// Of four pixels and sixteen channels: [channels / 4][pair of pixels].
typedef struct {
  jlt_square_t of[4][2];
} jlt_squares_t;

static JLT_ALWAYS_INLINE jlt_square_t square_of(int32x4_t channels) {
  const int64x2_t pairs = vreinterpretq_s64_s32(channels);
  return (jlt_square_t){vreinterpretq_s32_s64(vdupq_laneq_s64(pairs, 0)), vreinterpretq_s32_s64(vdupq_laneq_s64(pairs, 1))};
}

static JLT_ALWAYS_INLINE int32x4_t pixel_of(jlt_square_t s, const bool second) {
  const int64x2_t low = vreinterpretq_s64_s32(s.low), high = vreinterpretq_s64_s32(s.high);
  return vreinterpretq_s32_s64(second ? vzip2q_s64(low, high) : vzip1q_s64(low, high));
}

// Eight products of eight channels, whose weights lie at two places, with two pairs of pixels. As assembly, because compilers prepare
// all channels before they add up the first, and spill.
#define JLT_ADD_SQUARES(s, w, at, next, x, y)                                                                        \
  do {                                                                                                               \
    int8x16_t a, b, c, d, even, odd;                                                                                 \
    __asm__(                                                                                                         \
        "ldp %q[a], %q[b], [%[from], #" #at "]\n\tldp %q[c], %q[d], [%[from], #" #next "]\n\t"                       \
        "zip1 %[even].4s, %[a].4s, %[c].4s\n\tzip2 %[odd].4s, %[a].4s, %[c].4s\n\t"                                  \
        "smmla %[s0].4s, %[first].16b, %[even].16b\n\tsmmla %[s1].4s, %[first].16b, %[odd].16b\n\t"                  \
        "smmla %[s2].4s, %[second].16b, %[even].16b\n\tsmmla %[s3].4s, %[second].16b, %[odd].16b\n\t"                \
        "zip1 %[even].4s, %[b].4s, %[d].4s\n\tzip2 %[odd].4s, %[b].4s, %[d].4s\n\t"                                  \
        "smmla %[s4].4s, %[first].16b, %[even].16b\n\tsmmla %[s5].4s, %[first].16b, %[odd].16b\n\t"                  \
        "smmla %[s6].4s, %[second].16b, %[even].16b\n\tsmmla %[s7].4s, %[second].16b, %[odd].16b"                     \
        : [s0] "+w"((s)[0][0].low), [s1] "+w"((s)[0][0].high), [s2] "+w"((s)[0][1].low), [s3] "+w"((s)[0][1].high),    \
          [s4] "+w"((s)[1][0].low), [s5] "+w"((s)[1][0].high), [s6] "+w"((s)[1][1].low), [s7] "+w"((s)[1][1].high),    \
          [a] "=&w"(a), [b] "=&w"(b), [c] "=&w"(c), [d] "=&w"(d), [even] "=&w"(even), [odd] "=&w"(odd)                \
        : [from] "r"(w), [first] "w"(x), [second] "w"(y), "m"(*(const uint8_t(*)[(next) + 32])(w)));                           \
  } while (0)

// Eight bytes of four pixels, two by two: half 0 or 1 of sixteen.
typedef struct {
  int8x16_t first;
  int8x16_t second;
} jlt_pairs_t;

static JLT_ALWAYS_INLINE jlt_pairs_t pairs_of(const int64x2_t *x, const bool second) {
  return (jlt_pairs_t){vreinterpretq_s8_s64(second ? vzip2q_s64(x[0], x[1]) : vzip1q_s64(x[0], x[1])),
                       vreinterpretq_s8_s64(second ? vzip2q_s64(x[2], x[3]) : vzip1q_s64(x[2], x[3]))};
}

// Sixteen products a channel.
static JLT_ALWAYS_INLINE void add_sixteen(jlt_squares_t *s, const uint8_t *w, const uint8_t *x, size_t pixel_bytes) {
  int64x2_t x16[4];
  JLT_UNROLL
  for (uint32_t i = 0; i < 4; i++) {
    x16[i] = vreinterpretq_s64_s8(vld1q_s8((const int8_t *)x + i * pixel_bytes));
  }
  const jlt_pairs_t low = pairs_of(x16, false), high = pairs_of(x16, true);
  JLT_ADD_SQUARES(s->of, w, 0, 64, low.first, low.second);
  JLT_ADD_SQUARES(s->of + 2, w, 32, 96, low.first, low.second);
  JLT_ADD_SQUARES(s->of, w, 128, 192, high.first, high.second);
  JLT_ADD_SQUARES(s->of + 2, w, 160, 224, high.first, high.second);
}

static JLT_ALWAYS_INLINE void add_eight(jlt_squares_t *s, const uint8_t *w, const uint8_t *x, size_t pixel_bytes) {
  int64x2_t x8[4];
  JLT_UNROLL
  for (uint32_t i = 0; i < 4; i++) {
    x8[i] = vreinterpretq_s64_s8(vcombine_s8(vld1_s8((const int8_t *)x + i * pixel_bytes), vdup_n_s8(0)));
  }
  const jlt_pairs_t pairs = pairs_of(x8, false);
  JLT_ADD_SQUARES(s->of, w, 0, 64, pairs.first, pairs.second);
  JLT_ADD_SQUARES(s->of + 2, w, 32, 96, pairs.first, pairs.second);
}

// Four products a channel: the other half of what is multiplied is zero.
static JLT_ALWAYS_INLINE void add_four(jlt_squares_t *s, const uint8_t *w, const uint8_t *x, size_t pixel_bytes) {
  int64x2_t x4[4];
  JLT_UNROLL
  for (uint32_t i = 0; i < 4; i++) {
    int32_t four;
    memcpy(&four, x + i * pixel_bytes, sizeof(four));
    x4[i] = vreinterpretq_s64_s32(vsetq_lane_s32(four, vdupq_n_s32(0), 0));
  }
  const jlt_pairs_t pairs = pairs_of(x4, false);
  JLT_UNROLL
  for (uint32_t i = 0; i < 4; i++) {
    const int32x4_t four = vreinterpretq_s32_s8(vld1q_s8((const int8_t *)w + 16 * i)), none = vdupq_n_s32(0);
    const int8x16_t even = vreinterpretq_s8_s32(vzip1q_s32(four, none)), odd = vreinterpretq_s8_s32(vzip2q_s32(four, none));
    s->of[i][0].low = vmmlaq_s32(s->of[i][0].low, pairs.first, even);
    s->of[i][0].high = vmmlaq_s32(s->of[i][0].high, pairs.first, odd);
    s->of[i][1].low = vmmlaq_s32(s->of[i][1].low, pairs.second, even);
    s->of[i][1].high = vmmlaq_s32(s->of[i][1].high, pairs.second, odd);
  }
}

// Four pixels of one block.
static JLT_ALWAYS_INLINE void tile_of_squares(const jlt_walk_t *walk, const uint8_t *x, const uint8_t *w,
                                              const jlt_sums_t *start, jlt_sums_t *acc) {
  const size_t pixel_bytes = walk->pixel_bytes;
  jlt_squares_t s;
  JLT_UNROLL
  for (uint32_t i = 0; i < 2; i++) {
    s.of[0][i] = square_of(start->a);
    s.of[1][i] = square_of(start->b);
    s.of[2][i] = square_of(start->c);
    s.of[3][i] = square_of(start->d);
  }
  for (uint32_t ky = 0; ky < walk->rows; ky++, x += walk->row_bytes) {
    const uint8_t *at = x;
    uint32_t left = walk->steps;
    for (; left >= 4; left -= 4, at += 16, w += 256) {
      add_sixteen(&s, w, at, pixel_bytes);
    }
    if (left >= 2) {
      add_eight(&s, w, at, pixel_bytes);
      left -= 2;
      at += 8;
      w += 128;
    }
    if (left > 0) {
      add_four(&s, w, at, pixel_bytes);
      w += 64;
    }
  }
  JLT_UNROLL
  for (uint32_t i = 0; i < 4; i++) {
    acc[i] = (jlt_sums_t){pixel_of(s.of[0][i / 2], i % 2), pixel_of(s.of[1][i / 2], i % 2), pixel_of(s.of[2][i / 2], i % 2),
                          pixel_of(s.of[3][i / 2], i % 2)};
  }
}

// Whole windows, from x on. acc[block][JLT_WIDE_SUMS].
static JLT_ALWAYS_INLINE void jlt_tile_8(const jlt_walk_t *walk, const uint8_t *x, const uint8_t *w, const uint32_t pixels,
                                         const uint32_t blocks, const jlt_sums_t *start, jlt_sums_t *acc) {
  if (pixels == 4 && blocks == 1) {
    tile_of_squares(walk, x, w, start, acc);
  } else {
    jlt_tile_dot(walk, x, w, pixels, blocks, start, acc);
  }
}

#endif
