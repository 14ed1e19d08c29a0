// SPDX-License-Identifier: Apache-2.0
// Convolution and fully connected at f32; layouts as conv_s8.c. Sums run in eight lanes, added in order at the end.
#include <string.h>

#include "core/bytes.h"
#include "kernels/kernels.h"

enum { LANES = 8 };

static void gather(const jlt_conv_params_t *p, const float *in, uint32_t pixel, uint32_t group, float *to) {
  const uint32_t c = p->in_c / p->groups;
  const uint32_t out_x = pixel % p->out_w;
  const uint32_t out_y = pixel / p->out_w % p->out_h;
  const float *image = in + (size_t)(pixel / p->out_w / p->out_h) * p->in_h * p->in_w * p->in_c;
  for (uint32_t ky = 0; ky < p->k_h; ky++) {
    const int32_t y = (int32_t)(out_y * p->stride_h + ky * p->dilation_h) - p->pad_top;
    for (uint32_t kx = 0; kx < p->k_w; kx++, to += c) {
      const int32_t x = (int32_t)(out_x * p->stride_w + kx * p->dilation_w) - p->pad_left;
      if (y < 0 || y >= (int32_t)p->in_h || x < 0 || x >= (int32_t)p->in_w) {
        memset(to, 0, c * sizeof(*to));
      } else {
        memcpy(to, image + ((size_t)y * p->in_w + (uint32_t)x) * p->in_c + group * c, c * sizeof(*to));
      }
    }
  }
}

static float dot(const float *a, const float *b, uint32_t count) {
  float lanes[LANES] = {0};
  uint32_t i = 0;
  for (; i + LANES <= count; i += LANES) {
    for (uint32_t k = 0; k < LANES; k++) {
      lanes[k] += a[i + k] * b[i + k];
    }
  }
  for (; i < count; i++) {
    lanes[0] += a[i] * b[i];
  }
  float sum = 0;
  for (uint32_t k = 0; k < LANES; k++) {
    sum += lanes[k];
  }
  return sum;
}

void jlt_conv_f32__ref(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const jlt_weights_t *w = &call->weights;
  const uint32_t elements = p->k_h * p->k_w * (p->in_c / p->groups);
  const uint32_t pixels = p->n * p->out_h * p->out_w;
  const uint32_t per_group = p->out_c / p->groups;
  float *patch = call->scratch;
  float *out = call->out;
  for (uint32_t pixel = 0; pixel < pixels; pixel++, out += p->out_c) {
    for (uint32_t group = 0; group < p->groups; group++) {
      gather(p, call->in[0], pixel, group, patch);
      for (uint32_t o = group * per_group; o < (group + 1) * per_group; o++) {
        const float sum = dot(patch, w->f32 + (size_t)o * elements, elements) + w->f32_bias[o];
        out[o] = sum < p->f32_min ? p->f32_min : (sum > p->f32_max ? p->f32_max : sum);
      }
    }
  }
}
