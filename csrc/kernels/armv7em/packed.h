// SPDX-License-Identifier: Apache-2.0
// Sizes of the packed weights of Cortex-M4, M7 and M33; runtime/plan/packings/armv7em.py writes them, FORMAT as there.
#ifndef JLT_KERNELS_ARMV7EM_PACKED_H
#define JLT_KERNELS_ARMV7EM_PACKED_H

#include "kernels/kernels.h"

enum {
  JLT_V7_PIXELS = 4,           // of a convolution's block
  JLT_V7_GROUP_BYTES = 32,     // of widened patches: 4 elements of 4 pixels
  JLT_V7_DEPTH_LIMIT = 16384,  // elements of a sum: twice any sum stays below 2^30
  JLT_V7_HEAD_BYTES = 4,       // before the weights of a convolution or a matrix: 1 where rows are stacked, else 0
  JLT_V7_BYTES_LIMIT = 4096,   // weights of a convolution up to which those of 4 bits are packed as bytes
  JLT_V7_SCALE_BYTES = 8,      // of one channel; requantise.h
  JLT_V7_DW_WORDS = 8,         // of a channel of a depthwise convolution: two for each kernel column, its scale
  JLT_V7_DW_COLUMN_WORDS = 6,  // of a widened column: 4 channels, 3 rows
  JLT_V7_DW_PIXELS = 8,        // of a depthwise block
};

// A patch in groups of four elements. Every kernel row begins a new one, but where they have one element each left over, as those
// of three by three colours do: the last group has them all then.
typedef struct {
  uint32_t whole;   // groups of one kernel row
  uint32_t left;    // elements of one kernel row after them, 0..3
  uint32_t groups;  // of the patch
  bool joined;      // the last group has what is left of all rows
} jlt_v7_patch_t;

jlt_v7_patch_t jlt_v7_patch(const jlt_conv_params_t *p);

static inline bool jlt_v7_one_vector(const jlt_conv_params_t *p) { return p->n * p->out_h * p->out_w == 1; }

// Whether a convolution at 4 bits reads nibbles: where there are few of them a byte each is faster, and small enough.
static inline bool jlt_v7_reads_nibbles(const jlt_conv_params_t *p, uint32_t groups, bool is_4) {
  return is_4 && (uint64_t)groups * 4u * p->out_c > JLT_V7_BYTES_LIMIT;
}

// Bytes of two output channels of a convolution, and of four of a matrix times one vector.
static inline uint32_t jlt_v7_rows2_bytes(uint32_t groups, bool is_4) {
  return groups * (is_4 ? 4u : 8u) + 2u * JLT_V7_SCALE_BYTES;
}

static inline uint32_t jlt_v7_rows4_bytes(uint32_t groups, bool is_4) {
  return groups * (is_4 ? 8u : 16u) + 4u * JLT_V7_SCALE_BYTES;
}

static inline uint32_t jlt_v7_dw_columns(const jlt_conv_params_t *p) {
  const uint32_t pixels = p->out_w < JLT_V7_DW_PIXELS ? p->out_w : JLT_V7_DW_PIXELS;
  return (pixels - 1u) * p->stride_w + 3u;
}

#endif
