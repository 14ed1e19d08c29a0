// SPDX-License-Identifier: Apache-2.0
// Of pooling: the part of a window that lies inside the input, and the mean over it.
#ifndef JLT_KERNELS_REF_POOL_WINDOW_H
#define JLT_KERNELS_REF_POOL_WINDOW_H

#include "core/requantise.h"
#include "kernels/kernels.h"

// Never empty (checked).
static inline jlt_span_t jlt_pool_span(uint32_t out, uint32_t stride, uint32_t pad, uint32_t window, uint32_t extent) {
  const int64_t first = (int64_t)out * stride - pad;
  const int64_t last = first + window;
  return (jlt_span_t){
      .begin = first < 0 ? 0u : (uint32_t)first,
      .end = last > (int64_t)extent ? extent : (uint32_t)last,
  };
}

// What one output pixel is made of: `rows` of `columns` pixels of the input from `from` on.
typedef struct {
  const int8_t *from;
  uint32_t rows;
  uint32_t columns;
} jlt_pool_window_t;

static inline jlt_pool_window_t jlt_pool_window(const jlt_pool_params_t *p, const int8_t *in, uint32_t pixel) {
  const uint32_t row = pixel / p->out_w;
  const jlt_span_t rows = jlt_pool_span(row % p->out_h, p->stride_h, p->pad_top, p->k_h, p->in_h);
  const jlt_span_t columns = jlt_pool_span(pixel % p->out_w, p->stride_w, p->pad_left, p->k_w, p->in_w);
  return (jlt_pool_window_t){
      .from = in + (((size_t)(row / p->out_h) * p->in_h + rows.begin) * p->in_w + columns.begin) * p->c,
      .rows = rows.end - rows.begin,
      .columns = columns.end - columns.begin,
  };
}

// The mean of `count` elements, half away from zero.
static inline int8_t jlt_pool_mean(const jlt_pool_params_t *p, int32_t sum, int32_t count) {
  return (int8_t)jlt_clamp((sum > 0 ? sum + count / 2 : sum - count / 2) / count, p->act_min, p->act_max);
}

#endif
