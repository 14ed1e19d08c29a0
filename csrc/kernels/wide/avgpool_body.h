// SPDX-License-Identifier: Apache-2.0
// Average pooling for SIMD lanes, sixteen channels at a time; a lanes.h before this says how.
#ifndef JLT_KERNELS_WIDE_AVGPOOL_BODY_H
#define JLT_KERNELS_WIDE_AVGPOOL_BODY_H

#include "core/requantise.h"
#include "kernels/ref/pool_window.h"

// Sixteen channels of one window, of which n exist.
static JLT_ALWAYS_INLINE void average(const jlt_pool_params_t *p, const int8_t *image, jlt_span_t rows, jlt_span_t columns,
                                      uint32_t n, int8_t *out) {
  jlt_sums_t sums = jlt_no_sums();
  const int32_t count = (int32_t)((rows.end - rows.begin) * (columns.end - columns.begin));
  for (uint32_t y = rows.begin; y < rows.end; y++) {
    const int8_t *from = image + ((size_t)y * p->in_w + columns.begin) * p->c;
    for (uint32_t x = columns.begin; x < columns.end; x++, from += p->c) {
      sums = jlt_add_sums(sums, jlt_load_sums(from, n, 0), false);
    }
  }
  int32_t means[JLT_WIDE_CHANNELS];
  jlt_store_sums(means, sums);
  for (uint32_t i = 0; i < JLT_WIDE_CHANNELS; i++) {
    // a quotient of 32-bit integers is never rounded up to one that it does not reach, so doubles divide as integers do
    const double away = (double)(means[i] > 0 ? means[i] + count / 2 : means[i] - count / 2);
    means[i] = jlt_clamp((int32_t)(away / count), p->act_min, p->act_max);
  }
  int8_t bytes[JLT_WIDE_CHANNELS];
  for (uint32_t i = 0; i < JLT_WIDE_CHANNELS; i++) {
    bytes[i] = (int8_t)means[i];
  }
  memcpy(out, bytes, n);
}

static JLT_ALWAYS_INLINE void jlt_wide_avgpool(const jlt_call_t *call) {
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
      uint32_t c = 0;
      for (; c + JLT_WIDE_CHANNELS <= p->c; c += JLT_WIDE_CHANNELS) {
        average(p, image + c, rows, columns, JLT_WIDE_CHANNELS, out + c);
      }
      if (c < p->c) {
        average(p, image + c, rows, columns, p->c - c, out + c);
      }
    }
  }
}

#endif
