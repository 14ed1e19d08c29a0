// SPDX-License-Identifier: Apache-2.0
// Average pooling, s8 → s8 on one grid; padding never counts; mean to nearest, halves away from zero.
// Scratch: c sums.
#include <string.h>

#include "core/requantise.h"
#include "kernels/kernels.h"
#include "kernels/ref/pool_window.h"

uint64_t jlt_pool_scratch_bytes(const void *params, bool is_f32) {
  const jlt_pool_params_t *p = params;
  return is_f32 ? 0u : (uint64_t)p->c * 4u;
}

uint32_t jlt_pool_unit_elements(const void *params, const jlt_tensor_t *out) {
  (void)out;
  return JLT_UNIT_PIXELS * ((const jlt_pool_params_t *)params)->c;
}

static void sum_window(const jlt_pool_params_t *p, const int8_t *image, jlt_span_t rows, jlt_span_t columns,
                       int32_t *sums) {
  memset(sums, 0, p->c * sizeof(*sums));
  for (uint32_t y = rows.begin; y < rows.end; y++) {
    for (uint32_t x = columns.begin; x < columns.end; x++) {
      const int8_t *from = image + ((size_t)y * p->in_w + x) * p->c;
      for (uint32_t c = 0; c < p->c; c++) {
        sums[c] += from[c];
      }
    }
  }
}

void jlt_avgpool_s8__ref(const jlt_call_t *call) {
  const jlt_pool_params_t *p = call->params;
  int32_t *sums = call->scratch;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_PIXELS, p->n * p->out_h * p->out_w);
  int8_t *out = (int8_t *)call->out + (size_t)tile.begin * p->c;
  uint32_t left = tile.end - tile.begin;
  uint32_t x = tile.begin % p->out_w;
  for (uint32_t row = tile.begin / p->out_w; left > 0; row++, x = 0) {
    const int8_t *image = (const int8_t *)call->in[0] + (size_t)(row / p->out_h) * p->in_h * p->in_w * p->c;
    const jlt_span_t rows = jlt_pool_span(row % p->out_h, p->stride_h, p->pad_top, p->k_h, p->in_h);
    for (; x < p->out_w && left > 0; x++, left--, out += p->c) {
      const jlt_span_t columns = jlt_pool_span(x, p->stride_w, p->pad_left, p->k_w, p->in_w);
      const int32_t count = (int32_t)((rows.end - rows.begin) * (columns.end - columns.begin));
      sum_window(p, image, rows, columns, sums);
      for (uint32_t c = 0; c < p->c; c++) {
        out[c] = jlt_pool_mean(p, sums[c], count);
      }
    }
  }
}
