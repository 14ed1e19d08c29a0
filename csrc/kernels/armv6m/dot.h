// SPDX-License-Identifier: Apache-2.0
// Inner products for cores without SIMD: unsigned bytes, and at 4 bits two to a register.
//
// Lengths are whole words of weights, one at least. Sums are exact modulo 2^32, and what is made of them fits.
#ifndef JLT_KERNELS_ARMV6M_DOT_H
#define JLT_KERNELS_ARMV6M_DOT_H

#include "kernels/armv6m/layout.h"

// Takes lanes apart.
static JLT_ALWAYS_INLINE void jlt_v6m_split(const uint32_t *lanes, uint32_t *sums) {
#pragma GCC unroll 4
  for (uint32_t i = 0; i < 4; i++) {
    sums[2 * i] = lanes[i] & 0xFFFFu;
    sums[2 * i + 1] = lanes[i] >> 16;
  }
}

// Takes lanes apart and adds them to sums.
static JLT_ALWAYS_INLINE void jlt_v6m_split_add(const uint32_t *lanes, uint32_t *sums) {
#pragma GCC unroll 4
  for (uint32_t i = 0; i < 4; i++) {
    sums[2 * i] += lanes[i] & 0xFFFFu;
    sums[2 * i + 1] += lanes[i] >> 16;
  }
}

// Inner loops; in plain C there are others for convolutions of many pixels (dot_plain.h):
// dot_8: two channels, w [k][2], with four pixels, x [k][4]; sums [2][4].
// dot_sparse: the same with signed weights, in groups of four k: a byte, how many groups of x are passed by before, and w [4][2].
// lanes_4: two channels, w [k] with one in each nibble, with four pixels, x [k][4] halfwords; lanes [2][2], each two pixels.
// row_8: eight channels, w [k][8], with one pixel, x [k]; sums [8].
// row_run_4: eight channels, w [k / 4][4] words of two channels each, with one pixel, x [k]; adds to sums [8].
#if defined(__thumb2__) && defined(__GNUC__) && !defined(__clang__)
#include "kernels/armv6m/dot_thumb2.h"
#elif defined(__thumb__) && defined(__GNUC__) && !defined(__clang__)
#include "kernels/armv6m/dot_thumb1.h"
#else
#include "kernels/armv6m/dot_plain.h"
#endif

// As row_8, at 4 bits.
static JLT_V6M_APART JLT_V6M_UNUSED void jlt_v6m_row_4(const uint8_t *x, const uint8_t *x_end, const uint8_t *w, uint32_t run, uint32_t *sums) {
#pragma GCC unroll 8
  for (uint32_t i = 0; i < 8; i++) {
    sums[i] = 0;
  }
  while (x != x_end) {
    const uint32_t left = (uint32_t)(x_end - x);
    const uint8_t *const stop = left < run ? x_end : x + run;
    jlt_v6m_row_run_4(x, stop, w, sums);
    w += 4 * (stop - x);
    x = stop;
  }
}

#endif
