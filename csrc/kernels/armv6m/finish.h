// SPDX-License-Identifier: Apache-2.0
// From the sums of a convolution to its output, four pixels of a channel at a time.
#ifndef JLT_KERNELS_ARMV6M_FINISH_H
#define JLT_KERNELS_ARMV6M_FINISH_H

#include "kernels/armv6m/patches.h"
#include "kernels/armv6m/scale.h"

// What one channel makes of its sum with one pixel, whose `sum_x` is already multiplied.
static JLT_ALWAYS_INLINE uint32_t jlt_v6m_corrected(const jlt_v6m_channel_t *channel, uint32_t sum, uint32_t sum_x, bool is_4) {
  return is_4 ? (2u * sum - sum_x) * (uint32_t)channel->times + channel->base : sum - sum_x + channel->base;
}

static JLT_ALWAYS_INLINE void jlt_v6m_finish(const jlt_v6m_frame_t *f, const jlt_v6m_channel_t *channel, const uint32_t *sums,
                                             bool is_4, int8_t *out, uint32_t out_c) {
  uint32_t values[JLT_V6M_PIXELS];
#pragma GCC unroll 4
  for (uint32_t i = 0; i < JLT_V6M_PIXELS; i++) {
    values[i] = jlt_v6m_corrected(channel, sums[i], f->sums_x[i], is_4);
  }
  jlt_v6m_store(values, JLT_V6M_PIXELS, channel, f->out.zero_point, out, out_c);
}

#endif
