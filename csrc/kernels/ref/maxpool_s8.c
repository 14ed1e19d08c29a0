// SPDX-License-Identifier: Apache-2.0
// Max pooling, s8 → s8 on one grid; padding never counts.
#include "core/requantise.h"
#include "kernels/kernels.h"
#include "kernels/ref/pool_window.h"

// Of one channel: it may be written where another pixel's lies that nothing reads any more.
static int8_t max_window(const jlt_pool_params_t *p, const int8_t *channel, jlt_span_t rows, jlt_span_t columns) {
  int32_t most = p->act_min;
  for (uint32_t y = rows.begin; y < rows.end; y++) {
    const int8_t *from = channel + ((size_t)y * p->in_w + columns.begin) * p->c;
    for (uint32_t x = columns.begin; x < columns.end; x++, from += p->c) {
      most = *from > most ? *from : most;
    }
  }
  return (int8_t)jlt_clamp(most, p->act_min, p->act_max);
}

void jlt_maxpool_s8__ref(const jlt_call_t *call) {
  const jlt_pool_params_t *p = call->params;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_PIXELS, p->n * p->out_h * p->out_w);
  int8_t *out = (int8_t *)call->out + (size_t)tile.begin * p->c;
  uint32_t left = tile.end - tile.begin;
  uint32_t x = tile.begin % p->out_w;
  for (uint32_t row = tile.begin / p->out_w; left > 0; row++, x = 0) {
    const int8_t *image = (const int8_t *)call->in[0] + (size_t)(row / p->out_h) * p->in_h * p->in_w * p->c;
    const jlt_span_t rows = jlt_pool_span(row % p->out_h, p->stride_h, p->pad_top, p->k_h, p->in_h);
    for (; x < p->out_w && left > 0; x++, left--, out += p->c) {
      const jlt_span_t columns = jlt_pool_span(x, p->stride_w, p->pad_left, p->k_w, p->in_w);
      for (uint32_t c = 0; c < p->c; c++) {
        out[c] = max_window(p, image + c, rows, columns);
      }
    }
  }
}
