// SPDX-License-Identifier: Apache-2.0
// What the kernels for SIMD lanes (avx2, avx512vnni, neon) share: sizes of packed weights and of scratch.
//
// Output channels come in blocks of 16, the last one padded with zero weights. A packed convolution is, block by block, the sums
// of the weights of 16 channels (int32), then their weights, row by row of the window: at 8 bits [R / s][16][s] int8, R = k_w · in_c
// padded to s, the products that the instruction set adds up (2 or 4), [8] where there are eight channels in all; at 4 bits
// [R / 8][16][4] bytes, R padded to 8, with u of four elements in the low nibbles and of the next four in the high ones, and sums of
// u; where R is below 64, and but for AVX2, 4 bits are kept as 8 bits are, w = 16u − 120. A packed depthwise convolution is, block by block, 16 sums,
// then column by column of the window groups of four rows, padded with zeros: [rows / 4][16][4] int8, four products of a channel side
// by side; AVX2, which multiplies pairs of int16, has [rows / 4][2][16][2] int16, the channels as unpacking leaves them: 0-3, 8-11,
// 4-7, 12-15. Eight channels are there twice; at 4 bits w = 16u − 120. A packed matrix that meets one vector is a line of 64 bytes, the
// first of which is 1 where a weight at 8 bits is −128, then blocks as of a convolution with s = 4, never of eight channels; AVX2 has the
// channels in the order just said.
// runtime/plan/packings/wide.py writes all of it.
#ifndef JLT_KERNELS_WIDE_LAYOUT_H
#define JLT_KERNELS_WIDE_LAYOUT_H

#include "core/bytes.h"
#include "kernels/variants.h"

// Before a loop of a few rounds, a constant number once it is inlined: arrays that it walks are then registers.
#if defined(__clang__)
#define JLT_UNROLL _Pragma("clang loop unroll(full)")
#else
#define JLT_UNROLL _Pragma("GCC unroll 16")
#endif

enum {
  JLT_WIDE_CHANNELS = 16,       // of a block
  JLT_WIDE_TILE = 16,           // most blocks x pixels that are computed at once
  JLT_WIDE_STRIP_PIXELS = 32,   // most that are gathered at once
  JLT_WIDE_SUMS = 40,           // room for the accumulators of a block: a strip, and what its last tile has too many
  JLT_WIDE_HEAD_BYTES = 64,     // of a block: sums of weights
  JLT_WIDE_FINISH_BYTES = 768,  // of what a block's accumulators need to become bytes
  JLT_WIDE_MOST_TAPS = 64,
  JLT_WIDE_RUN = 8,          // most pixels of a row that a block of a depthwise convolution's channels meets at once
  JLT_WIDE_LONG_RUN = 32,    // where order is of no account
  JLT_WIDE_LINE_BYTES = 64,  // scratch begins at a multiple of 16, what is read often at one of this
  JLT_WIDE_LONG_ROW = 64,  // elements
  JLT_WIDE_PLAIN_SHIFT = 23,
};

// How a tile walks through a strip and a block's weights.
typedef struct {
  size_t row_bytes;    // of the strip
  size_t pixel_bytes;  // from window to window
  size_t block_bytes;  // of weights
  uint32_t rows;       // of the window
  uint32_t steps;      // of one of them
} jlt_walk_t;

// Where the j-th of a tile's sums, [block][pixel], lies among accumulators, [block][JLT_WIDE_SUMS].
static inline uint32_t jlt_sums_place(uint32_t j, uint32_t pixels) { return j / pixels * JLT_WIDE_SUMS + j % pixels; }

// Shifts to the right of a plain end (wide/lanes_common.h): with a zero point of −128 the sums of 64 bits stay below 2^63 then.
static inline bool jlt_plain_shift(int32_t shift) { return shift < 0 && shift >= -JLT_WIDE_PLAIN_SHIFT; }

static inline void *jlt_wide_aligned(void *at) {
  return (uint8_t *)at + -(uintptr_t)at % JLT_WIDE_LINE_BYTES;
}

static inline uint64_t jlt_wide_blocks(const jlt_conv_params_t *p) {
  return ((uint64_t)p->out_c + JLT_WIDE_CHANNELS - 1u) / JLT_WIDE_CHANNELS;
}

// Whether nibbles are worth while: where rows are short, bytes 16u − 120 run faster, and there is little to save. Convolutions find
// their weights in the nearest cache, so only AVX2, which has more products of u at once, has nibbles for them; a matrix that meets one
// vector comes from farther away.
static inline bool jlt_wide_is_long_row(const jlt_conv_params_t *p) { return (uint64_t)p->k_w * p->in_c >= JLT_WIDE_LONG_ROW; }

static inline uint64_t jlt_wide_conv_block_bytes(const jlt_conv_params_t *p, bool is_nibbles, uint32_t together) {
  const uint64_t row = (uint64_t)p->k_w * p->in_c;
  const uint32_t channels = p->out_c == JLT_WIDE_CHANNELS / 2u ? p->out_c : JLT_WIDE_CHANNELS;
  const uint64_t body = is_nibbles ? jlt_align_up(row, 8) * JLT_WIDE_CHANNELS / 2u : jlt_align_up(row, together) * channels;
  return JLT_WIDE_HEAD_BYTES + jlt_align_up(p->k_h * body, 64);
}

// Of a matrix that meets one vector.
static inline bool jlt_wide_is_one_vector(const jlt_conv_params_t *p) {
  return (uint64_t)p->n * p->out_h * p->out_w == 1 && p->k_h == 1 && p->k_w == 1;
}

static inline uint64_t jlt_wide_fc_block_bytes(const jlt_conv_params_t *p, bool is_nibbles) {
  const uint64_t body =
      is_nibbles ? jlt_align_up(p->in_c, 8) * JLT_WIDE_CHANNELS / 2u : jlt_align_up(p->in_c, 4) * JLT_WIDE_CHANNELS;
  return JLT_WIDE_HEAD_BYTES + jlt_align_up(body, 64);
}

// One row of a strip at two bytes an element; pixels that a tile has too many and the padding of R are read, never used.
static inline uint64_t jlt_wide_strip_bytes(const jlt_conv_params_t *p) {
  const uint64_t columns = (uint64_t)(JLT_WIDE_STRIP_PIXELS + 7u) * p->stride_w + p->k_w;
  return jlt_align_up(columns * p->in_c * 2u + 32u, 64);
}

// `group_bytes`: of four rows of one column.
static inline uint64_t jlt_wide_dwconv_block_bytes(const jlt_conv_params_t *p, uint32_t group_bytes) {
  return JLT_WIDE_HEAD_BYTES + (uint64_t)p->k_w * ((p->k_h + 3u) / 4u) * group_bytes;
}

#endif
