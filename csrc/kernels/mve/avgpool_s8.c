// SPDX-License-Identifier: Apache-2.0
// Average pooling for Helium: sixteen channels at a time, in sums of int16. Tensors and arithmetic as ref/avgpool_s8.c; no scratch.
#include "kernels/variants.h"

#if defined(JLT_WITH_MVE) && defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>

#include "core/requantise.h"
#include "kernels/ref/pool_window.h"

enum { CHANNELS = 16 };

// Sums of even channels, then of odd ones.
static void sum_window(const jlt_pool_params_t *p, const int8_t *from, uint32_t rows, uint32_t columns, uint32_t channels,
                       int16_t *sums) {
  const mve_pred16_t there = vctp8q(channels);
  int16x8_t even = vdupq_n_s16(0);
  int16x8_t odd = even;
  for (; rows > 0; rows--, from += (p->in_w - columns) * p->c) {
    for (uint32_t x = columns; x > 0; x--, from += p->c) {
      const int8x16_t values = vldrbq_z_s8(from, there);
      even = vaddq_s16(even, vmovlbq_s8(values));
      odd = vaddq_s16(odd, vmovltq_s8(values));
    }
  }
  vstrhq_s16(sums, even);
  vstrhq_s16(sums + CHANNELS / 2, odd);
}

void jlt_avgpool_s8__mve(const jlt_call_t *call) {
  const jlt_pool_params_t *p = call->params;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_PIXELS, p->n * p->out_h * p->out_w);
  int8_t *out = (int8_t *)call->out + (size_t)tile.begin * p->c;
  for (uint32_t pixel = tile.begin; pixel < tile.end; pixel++, out += p->c) {
    const jlt_pool_window_t window = jlt_pool_window(p, call->in[0], pixel);
    const int32_t count = (int32_t)(window.rows * window.columns);
    for (uint32_t c = 0; c < p->c; c += CHANNELS) {
      const uint32_t channels = p->c - c < CHANNELS ? p->c - c : CHANNELS;
      int16_t sums[CHANNELS];
      sum_window(p, window.from + c, window.rows, window.columns, channels, sums);
      for (uint32_t i = 0; i < channels; i++) {
        const int32_t sum = sums[i / 2u + i % 2u * (CHANNELS / 2u)];
        out[c + i] = jlt_pool_mean(p, sum, count);
      }
    }
  }
}

#endif
