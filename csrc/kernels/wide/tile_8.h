// SPDX-License-Identifier: Apache-2.0
// A tile of a convolution at 8 bits, of whatever adds up JLT_K_8 products at a time; a lanes.h before this says how.
#ifndef JLT_KERNELS_WIDE_TILE_8_H
#define JLT_KERNELS_WIDE_TILE_8_H

// Whole windows, from x on. acc[block][JLT_WIDE_SUMS]; one flat loop, which compilers unroll early enough to keep all of it in registers.
static JLT_ALWAYS_INLINE void jlt_tile_8(const jlt_walk_t *walk, const uint8_t *x, const uint8_t *w, const uint32_t pixels,
                                         const uint32_t blocks, const jlt_sums_t *start, jlt_sums_t *acc) {
  jlt_sums_t sums[JLT_WIDE_TILE];
  JLT_UNROLL
  for (uint32_t j = 0; j < pixels * blocks; j++) {
    sums[j] = start[j / pixels];
  }
  for (uint32_t ky = 0; ky < walk->rows; ky++, x += walk->row_bytes) {
    const uint8_t *at = x;
    for (uint32_t s = 0; s < walk->steps; s++) {
      JLT_UNROLL
      for (uint32_t j = 0; j < pixels * blocks; j++) {
        const jlt_factors_t factors = jlt_factors_8(w + j / pixels * walk->block_bytes);
        sums[j] = jlt_add_products_8(sums[j], factors, at + j % pixels * walk->pixel_bytes);
      }
      w += JLT_K_8 * JLT_WIDE_CHANNELS;
      at += JLT_K_8 * JLT_ELEMENT_BYTES_8;
    }
  }
  JLT_UNROLL
  for (uint32_t j = 0; j < pixels * blocks; j++) {
    acc[jlt_sums_place(j, pixels)] = sums[j];
  }
}

#endif
