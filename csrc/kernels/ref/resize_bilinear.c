// SPDX-License-Identifier: Apache-2.0
// Bilinear resize. s8: positions in q10, the weighted sum in q20, rounded to nearest with halves away from zero.
#include "kernels/kernels.h"

enum { ONE_Q10 = 1 << 10 };

typedef struct {
  uint32_t low;
  uint32_t high;
  int32_t fraction_q10;  // weight of `high`
} source_t;

static int32_t step_q10(uint32_t in, uint32_t out, bool align_corners) {
  if (align_corners && out > 1) {
    return (int32_t)((ONE_Q10 * (in - 1) + (out - 1) / 2) / (out - 1));
  }
  return (int32_t)((ONE_Q10 * in + out / 2) / out);
}

static source_t source_of(uint32_t out, int32_t step, bool half_pixel, uint32_t extent) {
  const int32_t at = (int32_t)out * step + (half_pixel ? step / 2 - ONE_Q10 / 2 : 0);
  const int32_t last = (int32_t)extent - 1;
  const int32_t low = at < 0 ? 0 : at / ONE_Q10;
  const int32_t high = (at + ONE_Q10 - 1) / ONE_Q10;
  return (source_t){
      .low = (uint32_t)(low < last ? low : last),
      .high = (uint32_t)(high < last ? high : last),
      .fraction_q10 = at - ONE_Q10 * low,
  };
}

static int8_t blend(int64_t top_left, int64_t top_right, int64_t bottom_left, int64_t bottom_right, source_t y,
                    source_t x) {
  const int64_t top = top_left * (ONE_Q10 - x.fraction_q10) + top_right * x.fraction_q10;
  const int64_t bottom = bottom_left * (ONE_Q10 - x.fraction_q10) + bottom_right * x.fraction_q10;
  const int64_t sum_q20 = top * (ONE_Q10 - y.fraction_q10) + bottom * y.fraction_q10;
  return (int8_t)((sum_q20 + (sum_q20 > 0 ? 1 << 19 : -(1 << 19))) / (1 << 20));
}

void jlt_resize_bilinear_s8__ref(const jlt_call_t *call) {
  const jlt_resize_params_t *p = call->params;
  const int32_t step_y = step_q10(p->in_h, p->out_h, p->align_corners);
  const int32_t step_x = step_q10(p->in_w, p->out_w, p->align_corners);
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_PIXELS, p->n * p->out_h * p->out_w);
  int8_t *out = (int8_t *)call->out + (size_t)tile.begin * p->c;
  uint32_t left_over = tile.end - tile.begin;
  uint32_t column = tile.begin % p->out_w;
  for (uint32_t row = tile.begin / p->out_w; left_over > 0; row++, column = 0) {
    const int8_t *image = (const int8_t *)call->in[0] + (size_t)(row / p->out_h) * p->in_h * p->in_w * p->c;
    const source_t y = source_of(row % p->out_h, step_y, p->half_pixel_centers, p->in_h);
    const int8_t *top = image + (size_t)y.low * p->in_w * p->c;
    const int8_t *bottom = image + (size_t)y.high * p->in_w * p->c;
    for (; column < p->out_w && left_over > 0; column++, left_over--) {
      const source_t x = source_of(column, step_x, p->half_pixel_centers, p->in_w);
      const size_t left = (size_t)x.low * p->c;
      const size_t right = (size_t)x.high * p->c;
      for (uint32_t c = 0; c < p->c; c++) {
        *out++ = blend(top[left + c], top[right + c], bottom[left + c], bottom[right + c], y, x);
      }
    }
  }
}

static float step_f32(uint32_t in, uint32_t out, bool align_corners) {
  return align_corners && out > 1 ? (float)(in - 1) / (float)(out - 1) : (float)in / (float)out;
}

static float source_f32(uint32_t out, float step, bool half_pixel, uint32_t extent, uint32_t *low, uint32_t *high) {
  const float at = half_pixel ? ((float)out + 0.5f) * step - 0.5f : (float)out * step;
  const uint32_t below = at < 0.0f ? 0u : (uint32_t)at;
  *low = below < extent ? below : extent - 1;
  *high = *low + 1 < extent ? *low + 1 : extent - 1;
  return at < 0.0f ? 0.0f : at - (float)*low;
}

void jlt_resize_bilinear_f32__ref(const jlt_call_t *call) {
  const jlt_resize_params_t *p = call->params;
  const float step_y = step_f32(p->in_h, p->out_h, p->align_corners);
  const float step_x = step_f32(p->in_w, p->out_w, p->align_corners);
  float *out = call->out;
  for (uint32_t row = 0; row < p->n * p->out_h; row++) {
    const float *image = (const float *)call->in[0] + (size_t)(row / p->out_h) * p->in_h * p->in_w * p->c;
    uint32_t y[2];
    uint32_t x[2];
    const float dy = source_f32(row % p->out_h, step_y, p->half_pixel_centers, p->in_h, &y[0], &y[1]);
    for (uint32_t column = 0; column < p->out_w; column++) {
      const float dx = source_f32(column, step_x, p->half_pixel_centers, p->in_w, &x[0], &x[1]);
      for (uint32_t c = 0; c < p->c; c++) {
        const float *top = image + (size_t)y[0] * p->in_w * p->c + c;
        const float *bottom = image + (size_t)y[1] * p->in_w * p->c + c;
        const float upper = top[(size_t)x[0] * p->c] * (1 - dx) + top[(size_t)x[1] * p->c] * dx;
        const float lower = bottom[(size_t)x[0] * p->c] * (1 - dx) + bottom[(size_t)x[1] * p->c] * dx;
        *out++ = upper * (1 - dy) + lower * dy;
      }
    }
  }
}
