// SPDX-License-Identifier: Apache-2.0
// A tile of a convolution without SDOT: SMULL, then SADALP into two halves of each channel's sum, which meet at the end. Two
// products fit 16 bits whatever they are, three would not. At 4 bits weights are 16u − 120 = 8 (2u − 15): an eighth of them makes
// products of at most 15 · 128, of which 17 fit, so SMLAL adds sixteen up before SADALP.
#ifndef JLT_KERNELS_NEON_TILE_BASE_H
#define JLT_KERNELS_NEON_TILE_BASE_H

enum { SHORT_STEPS = 16 };

// Sixteen channels of one pixel, [channel][half].
typedef struct {
  int32x4_t of[8];
} jlt_halves_t;

// Products of four channels with x, and with y into other sums. As assembly, because compilers begin all products before they add
// the first up, and spill.
static JLT_ALWAYS_INLINE void add_four(int32x4_t *of_x, int32x4_t *of_y, int8x16_t w, int8x16_t x, int8x16_t y) {
  int16x8_t a, b, c, d;
  __asm__(
      "smull %0.8h, %8.8b, %9.8b\n\t"
      "smull2 %1.8h, %8.16b, %9.16b\n\t"
      "smull %2.8h, %8.8b, %10.8b\n\t"
      "smull2 %3.8h, %8.16b, %10.16b\n\t"
      "sadalp %4.4s, %0.8h\n\t"
      "sadalp %5.4s, %1.8h\n\t"
      "sadalp %6.4s, %2.8h\n\t"
      "sadalp %7.4s, %3.8h"
      : "=&w"(a), "=&w"(b), "=&w"(c), "=&w"(d), "+w"(of_x[0]), "+w"(of_x[1]), "+w"(of_y[0]), "+w"(of_y[1])
      : "w"(w), "w"(x), "w"(y));
}

static JLT_ALWAYS_INLINE void add_half(int32x4_t *of_x, int8x16_t w, int8x16_t x) {
  of_x[0] = vpadalq_s16(of_x[0], vmull_s8(vget_low_s8(w), vget_low_s8(x)));
  of_x[1] = vpadalq_s16(of_x[1], vmull_high_s8(w, x));
}

static JLT_ALWAYS_INLINE jlt_sums_t join_halves(const jlt_halves_t *s, jlt_sums_t start) {
  return (jlt_sums_t){vaddq_s32(start.a, vpaddq_s32(s->of[0], s->of[1])), vaddq_s32(start.b, vpaddq_s32(s->of[2], s->of[3])),
                      vaddq_s32(start.c, vpaddq_s32(s->of[4], s->of[5])), vaddq_s32(start.d, vpaddq_s32(s->of[6], s->of[7]))};
}

static JLT_ALWAYS_INLINE void no_halves(jlt_halves_t *sums, const uint32_t count) {
  JLT_UNROLL
  for (uint32_t i = 0; i < 8 * count; i++) {
    sums[i / 8].of[i % 8] = vdupq_n_s32(0);
  }
}

static JLT_ALWAYS_INLINE void tile_of_pixels(const jlt_walk_t *walk, const uint8_t *x, const uint8_t *w, jlt_halves_t *two) {
  no_halves(two, 2);
  for (uint32_t ky = 0; ky < walk->rows; ky++, x += walk->row_bytes) {
    const uint8_t *at = x;
    for (uint32_t s = 0; s < walk->steps; s++, w += 64, at += 4) {
      const int8x16_t first = broadcast_4(at), second = broadcast_4(at + walk->pixel_bytes);
      const int8x16x4_t factors = vld1q_s8_x4((const int8_t *)w);
      JLT_UNROLL
      for (uint32_t i = 0; i < 4; i++) {
        add_four(&two[0].of[2 * i], &two[1].of[2 * i], factors.val[i], first, second);
      }
    }
  }
}

static JLT_ALWAYS_INLINE void tile_of_blocks(const jlt_walk_t *walk, const uint8_t *x, const uint8_t *w, const uint32_t blocks,
                                             jlt_halves_t *sums) {
  no_halves(sums, blocks);
  for (uint32_t ky = 0; ky < walk->rows; ky++, x += walk->row_bytes) {
    const uint8_t *at = x;
    for (uint32_t s = 0; s < walk->steps; s++, w += 64, at += 4) {
      const int8x16_t x4 = broadcast_4(at);
      JLT_UNROLL
      for (uint32_t b = 0; b < blocks; b++) {
        const int8x16x4_t factors = vld1q_s8_x4((const int8_t *)w + b * walk->block_bytes);
        JLT_UNROLL
        for (uint32_t i = 0; i < 4; i++) {
          add_half(&sums[b].of[2 * i], factors.val[i], x4);
        }
      }
    }
  }
}

// Whole windows, from x on, two pixels or blocks at a time. acc[block][JLT_WIDE_SUMS].
static JLT_ALWAYS_INLINE void jlt_tile_8(const jlt_walk_t *walk, const uint8_t *x, const uint8_t *w, const uint32_t pixels,
                                         const uint32_t blocks, const jlt_sums_t *start, jlt_sums_t *acc) {
  jlt_halves_t two[2];
  const uint32_t together = pixels * blocks > 1 ? 2 : 1;
  for (uint32_t j = 0; j < pixels * blocks; j += together) {
    if (pixels > 1) {
      tile_of_pixels(walk, x + j * walk->pixel_bytes, w, two);
    } else {
      tile_of_blocks(walk, x, w + j * walk->block_bytes, together, two);
    }
    JLT_UNROLL
    for (uint32_t i = 0; i < together; i++) {
      acc[jlt_sums_place(j + i, pixels)] = join_halves(&two[i], start[(j + i) / pixels]);
    }
  }
}

// Products of four channels, [channel][4], of many steps.
typedef struct {
  int16x8_t of[8];
} jlt_short_t;

static JLT_ALWAYS_INLINE void begin_short(jlt_short_t *sums) {
  JLT_UNROLL
  for (uint32_t i = 0; i < 16; i++) {
    sums[i / 8].of[i % 8] = vdupq_n_s16(0);
  }
}

static JLT_ALWAYS_INLINE void add_short(jlt_short_t *sums, uint32_t i, int8x16_t w, int8x16_t x) {
  sums->of[2 * i] = vmlal_s8(sums->of[2 * i], vget_low_s8(w), vget_low_s8(x));
  sums->of[2 * i + 1] = vmlal_high_s8(sums->of[2 * i + 1], w, x);
}

// `steps` of two pixels, or of two blocks of one pixel: `x_step` and `w_step` lead from the first to the second.
static JLT_ALWAYS_INLINE void steps_short(const uint8_t *x, const uint8_t *w, size_t x_step, size_t w_step, uint32_t steps,
                                          const bool is_pixels, jlt_short_t *sums) {
  for (; steps > 0; steps--, w += 64, x += 4) {
    const int8x16_t first = broadcast_4(x), second = is_pixels ? broadcast_4(x + x_step) : first;
    JLT_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
      const int8x16_t a = vshrq_n_s8(vld1q_s8((const int8_t *)w + 16 * i), 3);
      const int8x16_t b = is_pixels ? a : vshrq_n_s8(vld1q_s8((const int8_t *)w + w_step + 16 * i), 3);
      add_short(&sums[0], i, a, first);
      add_short(&sums[1], i, b, second);
    }
  }
}

static JLT_ALWAYS_INLINE void tile_short(const jlt_walk_t *walk, const uint8_t *x, const uint8_t *w, const bool is_pixels,
                                         jlt_halves_t *two) {
  no_halves(two, 2);
  for (uint32_t ky = 0; ky < walk->rows; ky++, x += walk->row_bytes) {
    const uint8_t *at = x;
    for (uint32_t left = walk->steps; left > 0;) {
      const uint32_t now = left < SHORT_STEPS ? left : SHORT_STEPS;
      jlt_short_t sums[2];
      begin_short(sums);
      steps_short(at, w, walk->pixel_bytes, walk->block_bytes, now, is_pixels, sums);
      JLT_UNROLL
      for (uint32_t i = 0; i < 16; i++) {
        two[i / 8].of[i % 8] = vpadalq_s16(two[i / 8].of[i % 8], sums[i / 8].of[i % 8]);
      }
      at += 4 * now;
      w += 64 * now;
      left -= now;
    }
  }
}

static JLT_ALWAYS_INLINE jlt_sums_t join_eighths(const jlt_halves_t *s, jlt_sums_t start) {
  const jlt_sums_t sums = join_halves(s, jlt_no_sums());
  return (jlt_sums_t){vaddq_s32(start.a, vshlq_n_s32(sums.a, 3)), vaddq_s32(start.b, vshlq_n_s32(sums.b, 3)),
                      vaddq_s32(start.c, vshlq_n_s32(sums.c, 3)), vaddq_s32(start.d, vshlq_n_s32(sums.d, 3))};
}

// The same at 4 bits; of a single pixel and block as at 8.
static JLT_ALWAYS_INLINE void jlt_tile_4(const jlt_walk_t *walk, const uint8_t *x, const uint8_t *w, const uint32_t pixels,
                                         const uint32_t blocks, const jlt_sums_t *start, jlt_sums_t *acc) {
  jlt_halves_t two[2];
  if (pixels * blocks == 1) {
    jlt_tile_8(walk, x, w, 1, 1, start, acc);
    return;
  }
  for (uint32_t j = 0; j < pixels * blocks; j += 2) {
    tile_short(walk, pixels > 1 ? x + j * walk->pixel_bytes : x, pixels > 1 ? w : w + j * walk->block_bytes, pixels > 1, two);
    JLT_UNROLL
    for (uint32_t i = 0; i < 2; i++) {
      acc[jlt_sums_place(j + i, pixels)] = join_eighths(&two[i], start[(j + i) / pixels]);
    }
  }
}

#endif
