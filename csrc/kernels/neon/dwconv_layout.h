// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution with NEON: how weights are packed and what of scratch is for what.
//
// Block by block of sixteen channels, the last one padded with zeros: 16 sums of weights (int32), then column by column of the window
// [rows / 4][16][4] int8, its rows padded to 4 with zeros: four products of a channel side by side, as SDOT takes them. At 4 bits
// they are 16u - 120. runtime/plan/packings/neon.py writes it.
#ifndef JLT_KERNELS_NEON_DWCONV_LAYOUT_H
#define JLT_KERNELS_NEON_DWCONV_LAYOUT_H

#include "kernels/wide/layout.h"

enum {
  JLT_NEON_RUN = 8,           // pixels of a row that a block of channels meets at once
  JLT_NEON_GROUP_BYTES = 64,  // of four rows of one column
};

static inline uint32_t jlt_neon_groups(const jlt_conv_params_t *p) { return (p->k_h + 3u) / 4u; }

static inline uint64_t jlt_neon_dwconv_block_bytes(const jlt_conv_params_t *p) {
  return JLT_WIDE_HEAD_BYTES + (uint64_t)p->k_w * jlt_neon_groups(p) * JLT_NEON_GROUP_BYTES;
}

// A run's columns of zero points.
static inline uint64_t jlt_neon_zeros_bytes(const jlt_conv_params_t *p) {
  return jlt_align_up((2u * (JLT_NEON_RUN - 1u) + 3u) * (uint64_t)p->in_c, 16) + JLT_WIDE_CHANNELS;
}

#endif
