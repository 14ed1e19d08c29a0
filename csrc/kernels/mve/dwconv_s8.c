// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution for Helium: four channels at a time, one output after the other; borders are left out, not padded.
// Layout of weights: layout.h.
#include "kernels/variants.h"

#if defined(JLT_WITH_MVE) && defined(__ARM_FEATURE_MVE)
#include "kernels/mve/layout.h"
#include "kernels/mve/scale.h"

// The taps of a window that lie inside the image.
typedef struct {
  const int8_t *x;
  const int8_t *w;
  uint32_t rows;
  uint32_t columns;
} inside_t;

static inside_t inside(const jlt_conv_params_t *p, const int8_t *image, const int8_t *w, uint32_t out_y, uint32_t out_x) {
  const int32_t y = (int32_t)(out_y * p->stride_h) - p->pad_top;
  const int32_t x = (int32_t)(out_x * p->stride_w) - p->pad_left;
  const int32_t y0 = y < 0 ? 0 : y;
  const int32_t x0 = x < 0 ? 0 : x;
  const int32_t y1 = y + p->k_h < (int32_t)p->in_h ? y + p->k_h : (int32_t)p->in_h;
  const int32_t x1 = x + p->k_w < (int32_t)p->in_w ? x + p->k_w : (int32_t)p->in_w;
  return (inside_t){
      .x = image + ((size_t)y0 * p->in_w + (size_t)x0) * p->in_c,
      .w = w + (size_t)((y0 - y) * p->k_w + (x0 - x)) * p->in_c,
      .rows = y1 > y0 ? (uint32_t)(y1 - y0) : 0u,
      .columns = x1 > x0 ? (uint32_t)(x1 - x0) : 0u,
  };
}

static JLT_ALWAYS_INLINE int32x4_t sum_window(const jlt_conv_params_t *p, const inside_t *in, uint32_t c, mve_pred16_t there,
                                              int32x4_t sum) {
  const int8_t *x_row = in->x + c;
  const int8_t *w_row = in->w + c;
  for (uint32_t ky = 0; ky < in->rows; ky++, x_row += p->in_w * p->in_c, w_row += p->k_w * p->in_c) {
    const int8_t *x = x_row;
    const int8_t *w = w_row;
    for (uint32_t kx = 0; kx < in->columns; kx++, x += p->in_c, w += p->in_c) {
      const int32x4_t value = vsubq_n_s32(vldrbq_z_s32(x, there), p->in_zero_point);
      sum = vaddq_s32(sum, vmulq_s32(value, vldrbq_z_s32(w, there)));
    }
  }
  return sum;
}

static void run_pixel(const jlt_call_t *call, const inside_t *in, int8_t *out) {
  const jlt_conv_params_t *p = call->params;
  const jlt_weights_t *w = &call->weights;
  for (uint32_t c = 0; c < p->out_c; c += 4) {
    const mve_pred16_t there = vctp32q(p->out_c - c);
    int32x4_t value = sum_window(p, in, c, there, vldrwq_z_s32(w->bias + c, there));
    if (w->record->n_multipliers > 1) {
      value = jlt_mve_scaled_by(value, vldrwq_z_s32(w->multipliers + c, there), vldrwq_z_s32(w->shifts + c, there));
    } else {
      value = jlt_mve_scaled(value, w->multipliers[0], w->shifts[0]);
    }
    vstrbq_p_s32(out + c, jlt_mve_bounded(value, p), there);
  }
}

void jlt_dwconv_s8__mve(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const int8_t *w = (const int8_t *)call->weights.packed + 4u * p->out_c;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_PIXELS, p->n * p->out_h * p->out_w);
  for (uint32_t pixel = tile.begin; pixel < tile.end; pixel++) {
    const uint32_t row = pixel / p->out_w;
    const int8_t *image = (const int8_t *)call->in[0] + (size_t)(row / p->out_h) * p->in_h * p->in_w * p->in_c;
    const inside_t in = inside(p, image, w, row % p->out_h, pixel % p->out_w);
    run_pixel(call, &in, (int8_t *)call->out + (size_t)pixel * p->out_c);
  }
}

#endif
