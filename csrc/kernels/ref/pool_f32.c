// SPDX-License-Identifier: Apache-2.0
// Average and max pooling at f32.
#include "kernels/kernels.h"
#include "kernels/ref/pool_window.h"

static float clamp(const jlt_pool_params_t *p, float value) {
  return value < p->f32_min ? p->f32_min : (value > p->f32_max ? p->f32_max : value);
}

static float average(const jlt_pool_params_t *p, const float *image, jlt_span_t rows, jlt_span_t columns, uint32_t c) {
  float sum = 0;
  for (uint32_t y = rows.begin; y < rows.end; y++) {
    for (uint32_t x = columns.begin; x < columns.end; x++) {
      sum += image[((size_t)y * p->in_w + x) * p->c + c];
    }
  }
  return sum / (float)((rows.end - rows.begin) * (columns.end - columns.begin));
}

static float maximum(const jlt_pool_params_t *p, const float *image, jlt_span_t rows, jlt_span_t columns, uint32_t c) {
  float most = image[((size_t)rows.begin * p->in_w + columns.begin) * p->c + c];
  for (uint32_t y = rows.begin; y < rows.end; y++) {
    for (uint32_t x = columns.begin; x < columns.end; x++) {
      const float value = image[((size_t)y * p->in_w + x) * p->c + c];
      most = value > most ? value : most;
    }
  }
  return most;
}

static void pool(const jlt_call_t *call, bool is_max) {
  const jlt_pool_params_t *p = call->params;
  float *out = call->out;
  for (uint32_t row = 0; row < p->n * p->out_h; row++) {
    const float *image = (const float *)call->in[0] + (size_t)(row / p->out_h) * p->in_h * p->in_w * p->c;
    const jlt_span_t rows = jlt_pool_span(row % p->out_h, p->stride_h, p->pad_top, p->k_h, p->in_h);
    for (uint32_t x = 0; x < p->out_w; x++, out += p->c) {
      const jlt_span_t columns = jlt_pool_span(x, p->stride_w, p->pad_left, p->k_w, p->in_w);
      for (uint32_t c = 0; c < p->c; c++) {
        out[c] = clamp(p, is_max ? maximum(p, image, rows, columns, c) : average(p, image, rows, columns, c));
      }
    }
  }
}

void jlt_avgpool_f32__ref(const jlt_call_t *call) { pool(call, false); }

void jlt_maxpool_f32__ref(const jlt_call_t *call) { pool(call, true); }
