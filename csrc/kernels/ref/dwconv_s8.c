// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution, s8 activations, weights in any storage.
//
// x (n, in_h, in_w, in_c), weights (k_h, k_w, out_c) as one row, y (n, out_h, out_w, out_c); output channel o reads
// input channel o / (out_c / in_c). Arithmetic as conv_s8.c. Scratch: the widened weights (int16) and out_c int32.
#include <string.h>

#include "core/bytes.h"
#include "core/requantise.h"
#include "kernels/kernels.h"

uint64_t jlt_dwconv_scratch_bytes(const void *params, bool is_f32) {
  const jlt_conv_params_t *p = params;
  const uint64_t weights = (uint64_t)p->k_h * p->k_w * p->out_c;
  return is_f32 ? 0u : jlt_align_up(p->out_c * (uint64_t)4, 16) + weights * 2u;
}

uint32_t jlt_dwconv_unit_elements(const void *params, const jlt_tensor_t *out) {
  (void)out;
  return JLT_UNIT_PIXELS * ((const jlt_conv_params_t *)params)->out_c;
}

static void add_tap(const int8_t *x, const int16_t *w, uint32_t in_c, uint32_t times, int32_t zero_point,
                    int32_t *sums) {
  if (times == 1) {
    for (uint32_t c = 0; c < in_c; c++) {
      sums[c] += (int32_t)(int16_t)(x[c] - zero_point) * w[c];
    }
    return;
  }
  for (uint32_t c = 0; c < in_c; c++) {
    const int32_t value = x[c] - zero_point;
    for (uint32_t k = 0; k < times; k++) {
      sums[c * times + k] += value * w[c * times + k];
    }
  }
}

static void sum_window(const jlt_conv_params_t *p, const int8_t *image, uint32_t out_y, uint32_t out_x,
                       const int16_t *weights, int32_t *sums) {
  for (uint32_t ky = 0; ky < p->k_h; ky++) {
    const int32_t y = (int32_t)(out_y * p->stride_h + ky * p->dilation_h) - p->pad_top;
    if (y < 0 || y >= (int32_t)p->in_h) {
      continue;
    }
    for (uint32_t kx = 0; kx < p->k_w; kx++) {
      const int32_t x = (int32_t)(out_x * p->stride_w + kx * p->dilation_w) - p->pad_left;
      if (x >= 0 && x < (int32_t)p->in_w) {
        add_tap(image + ((size_t)y * p->in_w + (uint32_t)x) * p->in_c, weights + (size_t)(ky * p->k_w + kx) * p->out_c,
                p->in_c, p->out_c / p->in_c, p->in_zero_point, sums);
      }
    }
  }
}

void jlt_dwconv_s8__ref(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const jlt_weights_t *w = &call->weights;
  const bool per_channel = w->record->n_multipliers > 1;
  int32_t *sums = call->scratch;
  int16_t *weights = (int16_t *)((uint8_t *)call->scratch + jlt_align_up(p->out_c * (uint64_t)4, 16));
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_PIXELS, p->n * p->out_h * p->out_w);
  int8_t *out = (int8_t *)call->out + (size_t)tile.begin * p->out_c;
  uint32_t left = tile.end - tile.begin;
  uint32_t x = tile.begin % p->out_w;
  jlt_unpack_row(w, 0, weights);
  for (uint32_t row = tile.begin / p->out_w; left > 0; row++, x = 0) {
    const int8_t *image = (const int8_t *)call->in[0] + (size_t)(row / p->out_h) * p->in_h * p->in_w * p->in_c;
    for (; x < p->out_w && left > 0; x++, left--, out += p->out_c) {
      memcpy(sums, w->bias, p->out_c * sizeof(*sums));
      sum_window(p, image, row % p->out_h, x, weights, sums);
      for (uint32_t o = 0; o < p->out_c; o++) {
        const uint32_t m = per_channel ? o : 0;
        out[o] = jlt_requantise_s8(sums[o], w->multipliers[m], w->shifts[m], p->out_zero_point, p->act_min, p->act_max);
      }
    }
  }
}
