// SPDX-License-Identifier: Apache-2.0
// A tile of a convolution with SDOT: sixteen products a channel at a time, four pixels' bytes in four registers.
#ifndef JLT_KERNELS_NEON_TILE_DOT_H
#define JLT_KERNELS_NEON_TILE_DOT_H

static JLT_ALWAYS_INLINE jlt_factors_t factors_at(const uint8_t *w) {
  const int8x16x4_t four = vld1q_s8_x4((const int8_t *)w);
  return (jlt_factors_t){four.val[0], four.val[1], four.val[2], four.val[3]};
}

// What follows loads from `w` on once what precedes is done: compilers would begin all steps at once, and spill.
#define JLT_THEN(w) __asm__ volatile("" : "+r"(w) : : "memory");

// The products of one lane of x, four bytes.
#define JLT_ADD_LANE(s, w, x, lane)                                                                      \
  ((jlt_sums_t){vdotq_laneq_s32((s).a, (w).a, x, lane), vdotq_laneq_s32((s).b, (w).b, x, lane),          \
                vdotq_laneq_s32((s).c, (w).c, x, lane), vdotq_laneq_s32((s).d, (w).d, x, lane)})

#define JLT_STEP_OF_LANE(lane)                                                                           \
  JLT_UNROLL                                                                                             \
  for (uint32_t b = 0; b < blocks; b++) {                                                                \
    const jlt_factors_t factors = factors_at(of_block[b]);                                               \
    JLT_UNROLL                                                                                           \
    for (uint32_t i = 0; i < pixels; i++) {                                                              \
      sums[b * pixels + i] = JLT_ADD_LANE(sums[b * pixels + i], factors, x16[i], lane);                  \
    }                                                                                                    \
    of_block[b] += 64;                                                                                   \
    JLT_THEN(of_block[b])                                                                                \
  }

static JLT_ALWAYS_INLINE void sixteen_bytes(int8x16_t *x16, const uint8_t *x, size_t pixel_bytes, const uint32_t pixels) {
  JLT_UNROLL
  for (uint32_t i = 0; i < pixels; i++) {
    x16[i] = vld1q_s8((const int8_t *)x + i * pixel_bytes);
  }
}

// Whole windows, from x on. acc[block][JLT_WIDE_SUMS]. Up to 12 bytes beyond a row of the strip are read, not counted.
static JLT_ALWAYS_INLINE void jlt_tile_dot(const jlt_walk_t *walk, const uint8_t *x, const uint8_t *w, const uint32_t pixels,
                                           const uint32_t blocks, const jlt_sums_t *start, jlt_sums_t *acc) {
  jlt_sums_t sums[JLT_WIDE_TILE];
  int8x16_t x16[4];
  const uint8_t *of_block[4];
  const size_t pixel_bytes = walk->pixel_bytes;
  JLT_UNROLL
  for (uint32_t j = 0; j < pixels * blocks; j++) {
    sums[j] = start[j / pixels];
    of_block[j / pixels] = w + j / pixels * walk->block_bytes;
  }
  for (uint32_t ky = 0; ky < walk->rows; ky++, x += walk->row_bytes) {
    const uint8_t *at = x;
    uint32_t left = walk->steps;
    for (; left >= 4; left -= 4, at += 16) {
      sixteen_bytes(x16, at, pixel_bytes, pixels);
      JLT_STEP_OF_LANE(0)
      JLT_STEP_OF_LANE(1)
      JLT_STEP_OF_LANE(2)
      JLT_STEP_OF_LANE(3)
    }
    if (left > 0) {
      sixteen_bytes(x16, at, pixel_bytes, pixels);
      JLT_STEP_OF_LANE(0)
      if (left > 1) {
        JLT_STEP_OF_LANE(1)
      }
      if (left > 2) {
        JLT_STEP_OF_LANE(2)
      }
    }
  }
  JLT_UNROLL
  for (uint32_t j = 0; j < pixels * blocks; j++) {
    acc[jlt_sums_place(j, pixels)] = sums[j];
  }
}

#endif
