// SPDX-License-Identifier: Apache-2.0
// The part of a pooling window that lies inside the input.
#ifndef JLT_KERNELS_REF_POOL_WINDOW_H
#define JLT_KERNELS_REF_POOL_WINDOW_H

#include "joulet.h"

typedef struct {
  uint32_t begin;
  uint32_t end;  // after the last; never equal to begin (checked)
} jlt_span_t;

static inline jlt_span_t jlt_pool_span(uint32_t out, uint32_t stride, uint32_t pad, uint32_t window, uint32_t extent) {
  const int64_t first = (int64_t)out * stride - pad;
  const int64_t last = first + window;
  return (jlt_span_t){
      .begin = first < 0 ? 0u : (uint32_t)first,
      .end = last > (int64_t)extent ? extent : (uint32_t)last,
  };
}

#endif
