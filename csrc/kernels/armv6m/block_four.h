// SPDX-License-Identifier: Apache-2.0
// Blocks of four channels with four pixels, for cores with many registers: cells are halfwords at both precisions.
#ifndef JLT_KERNELS_ARMV6M_BLOCK_FOUR_H
#define JLT_KERNELS_ARMV6M_BLOCK_FOUR_H

#include "kernels/armv6m/dot.h"
#include "kernels/armv6m/finish.h"

enum { JLT_V6M_BLOCK = 2 * JLT_V6M_PAIR, JLT_V6M_HAS_LONG = 0 };
#define JLT_V6M_GATHER_8 jlt_v6m_gather_halves_8

// Four channels with four pixels, of `left` channels that there are: where the second pair is not, the first is multiplied twice.
static JLT_ALWAYS_INLINE void jlt_v6m_multiply(const jlt_v6m_frame_t *f, const uint8_t *w, uint32_t w_bytes, bool is_4, bool is_long,
                                               uint32_t left, uint32_t *sums) {
  const uint8_t *const v = left > JLT_V6M_PAIR ? w + w_bytes : w;
  (void)is_long;
  if (is_4) {
    jlt_v6m_dot_4(f->cells, w, w + w_bytes, v, f->run, sums);
  } else {
    jlt_v6m_dot_8(f->cells, w, w + w_bytes, v, sums);
  }
}

// All channels with four pixels, where scaling is simple.
static JLT_ALWAYS_INLINE void jlt_v6m_multiply_block(const jlt_v6m_frame_t *f, bool is_4, bool is_long, int8_t *out) {
  const uint32_t out_c = f->p->out_c;
  const uint32_t w_bytes = jlt_v6m_length(f->p) * (is_4 ? 1u : 2u);
  const uint8_t *w = jlt_v6m_weights(f->p, f->w->packed);
  const jlt_v6m_channel_t *channel = f->channels;
  for (uint32_t left = out_c; left > 0; w += 2u * w_bytes) {
    uint32_t sums[JLT_V6M_BLOCK * JLT_V6M_PIXELS];
    jlt_v6m_multiply(f, w, w_bytes, is_4, is_long, left, sums);
    const uint32_t count = left < JLT_V6M_BLOCK ? left : JLT_V6M_BLOCK;
    const uint32_t *of_channel = sums;
    for (const jlt_v6m_channel_t *const end = channel + count; channel != end; channel++, out++, of_channel += JLT_V6M_PIXELS) {
      jlt_v6m_finish(f, channel, of_channel, is_4, out, out_c);
    }
    left -= count;
  }
}

#endif
