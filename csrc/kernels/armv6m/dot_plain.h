// SPDX-License-Identifier: Apache-2.0
// Inner loops of dot.h in plain C: what those in assembly do.
#ifndef JLT_KERNELS_ARMV6M_DOT_PLAIN_H
#define JLT_KERNELS_ARMV6M_DOT_PLAIN_H

#include "kernels/armv6m/layout.h"

static JLT_V6M_UNUSED void jlt_v6m_dot_8(const uint8_t *x, const uint8_t *w, const uint8_t *w_end, uint32_t *sums) {
  for (uint32_t i = 0; i < 8; i++) {
    sums[i] = 0;
  }
  for (; w != w_end; x += 4, w += 2) {
    for (uint32_t i = 0; i < 4; i++) {
      sums[i] += (uint32_t)w[0] * x[i];
      sums[4 + i] += (uint32_t)w[1] * x[i];
    }
  }
}

static JLT_V6M_UNUSED void jlt_v6m_dot_sparse(const uint8_t *x, const uint8_t *w, const uint8_t *w_end, uint32_t *sums) {
  for (uint32_t i = 0; i < 8; i++) {
    sums[i] = 0;
  }
  while (w != w_end) {
    x += 16u * *w++;
    for (uint32_t k = 0; k < 4; k++, x += 4, w += 2) {
      for (uint32_t i = 0; i < 4; i++) {
        sums[i] += (uint32_t)((int8_t)w[0] * (int32_t)x[i]);
        sums[4 + i] += (uint32_t)((int8_t)w[1] * (int32_t)x[i]);
      }
    }
  }
}

static JLT_ALWAYS_INLINE JLT_V6M_UNUSED void jlt_v6m_lanes_4(const uint16_t *x, const uint8_t *w, const uint8_t *stop, uint32_t *lanes) {
  for (uint32_t i = 0; i < 4; i++) {
    lanes[i] = 0;
  }
  for (; w != stop; x += 4, w++) {
    const uint32_t x01 = x[0] | (uint32_t)x[1] << 16;
    const uint32_t x23 = x[2] | (uint32_t)x[3] << 16;
    lanes[0] += x01 * (*w & 15u);
    lanes[1] += x23 * (*w & 15u);
    lanes[2] += x01 * (*w >> 4u);
    lanes[3] += x23 * (*w >> 4u);
  }
}

static JLT_V6M_UNUSED void jlt_v6m_row_8(const uint8_t *x, const uint8_t *x_end, const uint8_t *w, uint32_t *sums) {
  for (uint32_t i = 0; i < 8; i++) {
    sums[i] = 0;
  }
  for (; x != x_end; x++, w += 8) {
    for (uint32_t i = 0; i < 8; i++) {
      sums[i] += (uint32_t)w[i] * *x;
    }
  }
}

static JLT_ALWAYS_INLINE JLT_V6M_UNUSED void jlt_v6m_row_run_4(const uint8_t *x, const uint8_t *stop, const uint8_t *w, uint32_t *sums) {
  uint32_t lanes[4] = {0};
  for (; x != stop; x += 4, w += 16) {
    for (uint32_t i = 0; i < 4; i++) {
      const uint32_t word = w[4 * i] | (uint32_t)w[4 * i + 1] << 8 | (uint32_t)w[4 * i + 2] << 16 | (uint32_t)w[4 * i + 3] << 24;
      for (uint32_t k = 0; k < 4; k++) {
        lanes[i] += ((word >> (4 * k)) & 0x000F000Fu) * x[k];
      }
    }
  }
  jlt_v6m_split_add(lanes, sums);
}

#endif
