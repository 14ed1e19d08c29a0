// SPDX-License-Identifier: Apache-2.0
// How runtime/plan/packings/armv6m.py lays weights out; rows of weights are padded to whole words of them.
//
// Convolution and fully connected: one word, the length of a run; a word for each channel, padded to whole blocks, the sum of its
// weights (q, or 16u − 120 at 4 bits); then the weights, block by block:
// Blocks of two channels: at 8 bits b = q + 128 as [k][2] bytes; at 4 bits [k] bytes, the first channel's u low.
// Where there is one pixel (a matrix times a vector), blocks of eight: b as [k][8] bytes; at 4 bits [k / 4][4] words, in word i
// the nibbles j of both halves are k + j of channels 2i (low half) and 2i + 1.
// What pads is 0, so that it multiplies whatever lies beside it to 0.
//
// At 4 bits two lanes of 16 bits share a register. A run is as many k, a multiple of four, as fit them: no more than 257 in the sum of
// u over any run of any channel. To make that more, a channel may hold 15 − u, which stands for −(16u − 120); the sum of its weights
// is that of those it has, and being a multiple of 8 carries the fact in its lowest bit.
//
// Depthwise: the sums of weights; then the weights widened to int8 (q, or 16u − 120) as [channel][k_h · k_w].
#ifndef JLT_KERNELS_ARMV6M_LAYOUT_H
#define JLT_KERNELS_ARMV6M_LAYOUT_H

#include "kernels/kernels.h"

// Inlined into what calls them some functions would share its registers, and there are too few.
#if defined(__GNUC__)
#define JLT_V6M_APART __attribute__((noinline))
#define JLT_V6M_UNUSED __attribute__((unused))
#else
#define JLT_V6M_APART
#define JLT_V6M_UNUSED
#endif

enum {
  JLT_V6M_PIXELS = 4,  // of one block of output
  JLT_V6M_PAIR = 2,    // channels that share the reading of a pixel
  JLT_V6M_WINDOW_BLOCK = 6,  // outputs of a depthwise convolution, at most
  JLT_V6M_ROWS = 8,    // channels of a block where there is but one pixel
};

static inline uint32_t jlt_v6m_up(uint32_t value, uint32_t to) { return (value + to - 1u) & ~(to - 1u); }

static inline uint32_t jlt_v6m_length(const jlt_conv_params_t *p) { return jlt_v6m_up(p->k_h * p->k_w * p->in_c, 4); }

static inline bool jlt_v6m_one_pixel(const jlt_conv_params_t *p) { return p->n == 1 && p->out_h == 1 && p->out_w == 1; }

// Channels, padded to whole blocks.
static inline uint32_t jlt_v6m_channels(const jlt_conv_params_t *p) {
  return jlt_v6m_up(p->out_c, jlt_v6m_one_pixel(p) ? JLT_V6M_ROWS : JLT_V6M_PAIR);
}

// Scratch for what each channel does to its sums, where it does so more than once.
static inline uint32_t jlt_v6m_table_bytes(const jlt_conv_params_t *p) { return jlt_v6m_one_pixel(p) ? 0u : 16u * p->out_c; }

// Weights of a convolution or fully connected.
static inline const uint8_t *jlt_v6m_weights(const jlt_conv_params_t *p, const void *packed) {
  return (const uint8_t *)packed + 4u + 4u * jlt_v6m_channels(p);
}

// The length of a run; 17 products of a byte and a nibble always fit 16 bits.
static inline uint32_t jlt_v6m_run(const void *packed) {
  const uint32_t run = *(const uint32_t *)packed;
  return run >= 4u && run % 4u == 0u ? run : 16u;
}

#endif
