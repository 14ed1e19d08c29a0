// SPDX-License-Identifier: Apache-2.0
// The part of a pooling window that lies inside the input.
#ifndef JLT_KERNELS_REF_POOL_WINDOW_H
#define JLT_KERNELS_REF_POOL_WINDOW_H

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

#endif
