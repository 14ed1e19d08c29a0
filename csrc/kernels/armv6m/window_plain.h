// SPDX-License-Identifier: Apache-2.0
// Windows three wide in plain C: every input is read once and meets its weights; with a constant count and stride all is unrolled.
#ifndef JLT_KERNELS_ARMV6M_WINDOW_PLAIN_H
#define JLT_KERNELS_ARMV6M_WINDOW_PLAIN_H

#include "kernels/armv6m/layout.h"

enum { JLT_V6M_WINDOW_MOST = 6 };

static JLT_ALWAYS_INLINE void jlt_v6m_window(const int8_t *x, uint32_t column, uint32_t row, const int8_t *w, uint32_t k_h,
                                             uint32_t count, uint32_t stride, uint32_t *sums) {
  for (; k_h > 0; k_h--, x += row, w += 3) {
    const int8_t *at = x;
#pragma GCC unroll 9
    for (uint32_t j = 0; j < (count - 1) * stride + 3; j++, at += column) {
      const int32_t value = *at;
#pragma GCC unroll 6
      for (uint32_t i = 0; i < count; i++) {
        if (j >= i * stride && j - i * stride < 3) {
          sums[i] += (uint32_t)(w[j - i * stride] * value);
        }
      }
    }
  }
}

#endif
