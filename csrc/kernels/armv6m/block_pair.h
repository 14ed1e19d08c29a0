// SPDX-License-Identifier: Apache-2.0
// Blocks of two channels with four pixels, for cores with few registers: cells are bytes at 8 bits.
#ifndef JLT_KERNELS_ARMV6M_BLOCK_PAIR_H
#define JLT_KERNELS_ARMV6M_BLOCK_PAIR_H

#include "kernels/armv6m/dot.h"
#include "kernels/armv6m/finish.h"

// As dot_8, at 4 bits, over whole runs.
static JLT_V6M_APART JLT_V6M_UNUSED void jlt_v6m_dot_4(const uint16_t *x, const uint8_t *w, const uint8_t *w_end, uint32_t run, uint32_t *sums) {
  uint32_t lanes[4];
  jlt_v6m_lanes_4(x, w, w + run, lanes);
  jlt_v6m_split(lanes, sums);
  for (w += run, x += 4 * run; w != w_end; w += run, x += 4 * run) {
    jlt_v6m_lanes_4(x, w, w + run, lanes);
    jlt_v6m_split_add(lanes, sums);
  }
}

enum { JLT_V6M_BLOCK = JLT_V6M_PAIR, JLT_V6M_HAS_LONG = 1 };
#define JLT_V6M_GATHER_8 jlt_v6m_gather_8

// Two channels with four pixels, in `lanes` at 4 bits; `is_long`: there is more than one run.
static JLT_ALWAYS_INLINE void jlt_v6m_multiply(const jlt_v6m_frame_t *f, const uint8_t *w, uint32_t w_bytes, bool is_4,
                                               bool is_long, uint32_t left, uint32_t *sums) {
  (void)left;
  if (!is_4) {
    jlt_v6m_dot_8(f->cells, w, w + w_bytes, sums);
    return;
  }
  const uint16_t *cells = f->cells;
  const uint32_t before = is_long ? w_bytes - f->last : 0;
  uint32_t runs[JLT_V6M_PAIR * JLT_V6M_PIXELS];
  uint32_t lanes[4];
  if (is_long) {
    jlt_v6m_dot_4(cells, w, w + before, f->run, runs);
  }
  jlt_v6m_lanes_4(cells + 4u * before, w + before, w + w_bytes, lanes);
  jlt_v6m_split(lanes, sums);
#pragma GCC unroll 8
  for (uint32_t i = 0; i < JLT_V6M_PAIR * JLT_V6M_PIXELS; i++) {
    sums[i] += is_long ? runs[i] : 0u;
  }
}

// All channels with four pixels, where scaling is simple.
static JLT_ALWAYS_INLINE void jlt_v6m_multiply_block(const jlt_v6m_frame_t *f, bool is_4, bool is_long, int8_t *out) {
  const uint32_t out_c = f->p->out_c;
  const uint32_t w_bytes = jlt_v6m_length(f->p) * (is_4 ? 1u : 2u);
  const uint8_t *w = jlt_v6m_weights(f->p, f->w->packed);
  const jlt_v6m_channel_t *channel = f->channels;
  const jlt_v6m_channel_t *const last = channel + out_c - 1u;
  for (; channel <= last; channel += JLT_V6M_PAIR, out += JLT_V6M_PAIR, w += w_bytes) {
    uint32_t sums[JLT_V6M_PAIR * JLT_V6M_PIXELS];
    jlt_v6m_multiply(f, w, w_bytes, is_4, is_long, JLT_V6M_PAIR, sums);
    jlt_v6m_finish(f, channel, sums, is_4, out, out_c);
    if (channel != last) {
      jlt_v6m_finish(f, channel + 1, sums + JLT_V6M_PIXELS, is_4, out + 1, out_c);
    }
  }
}

#endif
