// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution at f32; layouts as dwconv_s8.c.
#include <string.h>

#include "kernels/kernels.h"

static void sum_window(const jlt_conv_params_t *p, const float *image, uint32_t out_y, uint32_t out_x,
                       const float *weights, float *sums) {
  const uint32_t times = p->out_c / p->in_c;
  for (uint32_t ky = 0; ky < p->k_h; ky++) {
    const int32_t y = (int32_t)(out_y * p->stride_h + ky * p->dilation_h) - p->pad_top;
    for (uint32_t kx = 0; kx < p->k_w; kx++) {
      const int32_t x = (int32_t)(out_x * p->stride_w + kx * p->dilation_w) - p->pad_left;
      if (y < 0 || y >= (int32_t)p->in_h || x < 0 || x >= (int32_t)p->in_w) {
        continue;
      }
      const float *from = image + ((size_t)y * p->in_w + (uint32_t)x) * p->in_c;
      const float *w = weights + (size_t)(ky * p->k_w + kx) * p->out_c;
      if (times == 1) {
        for (uint32_t o = 0; o < p->out_c; o++) {
          sums[o] += from[o] * w[o];
        }
      } else {
        for (uint32_t o = 0; o < p->out_c; o++) {
          sums[o] += from[o / times] * w[o];
        }
      }
    }
  }
}

void jlt_dwconv_f32__ref(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const jlt_weights_t *w = &call->weights;
  float *out = call->out;
  for (uint32_t row = 0; row < p->n * p->out_h; row++) {
    const float *image = (const float *)call->in[0] + (size_t)(row / p->out_h) * p->in_h * p->in_w * p->in_c;
    for (uint32_t x = 0; x < p->out_w; x++, out += p->out_c) {
      memcpy(out, w->f32_bias, p->out_c * sizeof(*out));
      sum_window(p, image, row % p->out_h, x, w->f32, out);
      for (uint32_t o = 0; o < p->out_c; o++) {
        out[o] = out[o] < p->f32_min ? p->f32_min : (out[o] > p->f32_max ? p->f32_max : out[o]);
      }
    }
  }
}
