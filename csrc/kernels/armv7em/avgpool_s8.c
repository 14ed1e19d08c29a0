// SPDX-License-Identifier: Apache-2.0
// Average pooling for cores with the DSP extension: four channels at a time, sums of int16.
//
// Tensors and arithmetic as ref/avgpool_s8.c; windows of at most 255 pixels, at least four channels. No scratch. The last group
// of channels ends with the tensor, so it may begin with channels that are done; they are not written again.
#include "kernels/variants.h"

#if defined(JLT_WITH_ARMV7EM) && defined(__ARM_FEATURE_DSP) && JLT_IS_M_PROFILE
#include "core/requantise.h"
#include "kernels/armv7em/simd.h"
#include "kernels/ref/pool_window.h"

enum { LANES = 4 };

// Channels 0 and 2 in the first pair, 1 and 3 in the second.
static void sum_window(const jlt_pool_params_t *p, const int8_t *from, uint32_t rows, uint32_t columns, uint32_t *pairs) {
  uint32_t even = 0;
  uint32_t odd = 0;
  for (; rows > 0; rows--, from += (size_t)(p->in_w - columns) * p->c) {
    for (uint32_t x = columns; x > 0; x--, from += p->c) {
      const uint32_t word = jlt_word_at(from);
      even = jlt_widen_even(even, word);
      odd = jlt_widen_odd(odd, word);
    }
  }
  pairs[0] = even;
  pairs[1] = odd;
}

static void put(const jlt_pool_params_t *p, const uint32_t *pairs, int32_t count, uint32_t first, int8_t *out) {
  for (uint32_t lane = first; lane < LANES; lane++) {
    const int32_t sum = (int16_t)(pairs[lane % 2u] >> (lane / 2u * 16u));
    out[lane] = jlt_pool_mean(p, sum, count);
  }
}

void jlt_avgpool_s8__armv7em(const jlt_call_t *call) {
  const jlt_pool_params_t *p = call->params;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_PIXELS, p->n * p->out_h * p->out_w);
  int8_t *out = (int8_t *)call->out + (size_t)tile.begin * p->c;
  for (uint32_t pixel = tile.begin; pixel < tile.end; pixel++, out += p->c) {
    const jlt_pool_window_t window = jlt_pool_window(p, call->in[0], pixel);
    for (uint32_t c = 0; c < p->c; c += LANES) {
      const uint32_t at = c + LANES <= p->c ? c : p->c - LANES;
      uint32_t pairs[2];
      sum_window(p, window.from + at, window.rows, window.columns, pairs);
      put(p, pairs, (int32_t)(window.rows * window.columns), c - at, out + at);
    }
  }
}
#endif
