// SPDX-License-Identifier: Apache-2.0
// Inner products for cores without SIMD: unsigned bytes, and at 4 bits two to a register.
//
// The sums are exact in 32 bits: a product of bytes takes 16, and more terms than wrap do no harm, for what is made of them fits.
#ifndef JLT_KERNELS_ARMV6M_DOT_H
#define JLT_KERNELS_ARMV6M_DOT_H

#include <string.h>

#include "kernels/kernels.h"

static JLT_ALWAYS_INLINE uint32_t jlt_v6m_word(const void *at) {
  uint32_t word;
  __builtin_memcpy(&word, __builtin_assume_aligned(at, 4), sizeof(word));  // memcpy itself may be a call
  return word;
}

enum { JLT_V6M_FLUSH = 16 };  // products of a byte and a nibble that fit 16 bits: 17 do

// Two channels at 8 bits, w [k][2], with four pixels, x [k][4]; sums [2][4].
static void jlt_v6m_dot_8(const uint8_t *x, const uint8_t *w, const uint8_t *w_end, uint32_t *sums) {
  uint32_t a0 = 0;
  uint32_t a1 = 0;
  uint32_t a2 = 0;
  uint32_t a3 = 0;
  uint32_t b0 = 0;
  uint32_t b1 = 0;
  uint32_t b2 = 0;
  uint32_t b3 = 0;
  do {
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; k++) {
      const uint32_t u = w[2 * k];
      const uint32_t v = w[2 * k + 1];
      uint32_t value = x[4 * k];
      a0 += value * u;
      b0 += value * v;
      value = x[4 * k + 1];
      a1 += value * u;
      b1 += value * v;
      value = x[4 * k + 2];
      a2 += value * u;
      b2 += value * v;
      value = x[4 * k + 3];
      a3 += value * u;
      b3 += value * v;
    }
    x += 16;
    w += 8;
  } while (w != w_end);
  sums[0] = a0;
  sums[1] = a1;
  sums[2] = a2;
  sums[3] = a3;
  sums[4] = b0;
  sums[5] = b1;
  sums[6] = b2;
  sums[7] = b3;
}

// Two channels at 4 bits, w [k] with a channel in each nibble, with four pixels, x [k][4] halfwords; sums [2][4].
// A register holds two pixels, and one multiplication does both.
static void jlt_v6m_dot_4(const uint16_t *x, const uint8_t *w, const uint8_t *w_end, uint32_t *sums) {
  memset(sums, 0, 8 * sizeof(*sums));
  do {
    const uint8_t *stop = w_end - w > JLT_V6M_FLUSH ? w + JLT_V6M_FLUSH : w_end;
    uint32_t a01 = 0;
    uint32_t a23 = 0;
    uint32_t b01 = 0;
    uint32_t b23 = 0;
    do {
      const uint32_t four = jlt_v6m_word(w);
#pragma GCC unroll 4
      for (uint32_t k = 0; k < 4; k++) {
        const uint32_t x01 = jlt_v6m_word(x + 4 * k);
        const uint32_t x23 = jlt_v6m_word(x + 4 * k + 2);
        const uint32_t u = (four >> (8 * k)) & 15u;
        const uint32_t v = (four >> (8 * k + 4)) & 15u;
        a01 += x01 * u;
        a23 += x23 * u;
        b01 += x01 * v;
        b23 += x23 * v;
      }
      x += 16;
      w += 4;
    } while (w != stop);
    sums[0] += a01 & 0xFFFFu;
    sums[1] += a01 >> 16;
    sums[2] += a23 & 0xFFFFu;
    sums[3] += a23 >> 16;
    sums[4] += b01 & 0xFFFFu;
    sums[5] += b01 >> 16;
    sums[6] += b23 & 0xFFFFu;
    sums[7] += b23 >> 16;
  } while (w != w_end);
}

// Eight channels at 8 bits, w [k][8], with one pixel, x [k].
static void jlt_v6m_row_8(const uint8_t *x, const uint8_t *x_end, const uint8_t *w, uint32_t *sums) {
  uint32_t a0 = 0;
  uint32_t a1 = 0;
  uint32_t a2 = 0;
  uint32_t a3 = 0;
  uint32_t a4 = 0;
  uint32_t a5 = 0;
  uint32_t a6 = 0;
  uint32_t a7 = 0;
  do {
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; k++) {
      const uint32_t value = x[k];
      a0 += value * w[8 * k];
      a1 += value * w[8 * k + 1];
      a2 += value * w[8 * k + 2];
      a3 += value * w[8 * k + 3];
      a4 += value * w[8 * k + 4];
      a5 += value * w[8 * k + 5];
      a6 += value * w[8 * k + 6];
      a7 += value * w[8 * k + 7];
    }
    x += 4;
    w += 32;
  } while (x != x_end);
  sums[0] = a0;
  sums[1] = a1;
  sums[2] = a2;
  sums[3] = a3;
  sums[4] = a4;
  sums[5] = a5;
  sums[6] = a6;
  sums[7] = a7;
}

// Eight channels at 4 bits, w [k / 4][4] words of two channels each, with one pixel, x [k].
static void jlt_v6m_row_4(const uint8_t *x, const uint8_t *x_end, const uint8_t *w, uint32_t *sums) {
  const uint32_t mask = 0x000F000Fu;
  memset(sums, 0, 8 * sizeof(*sums));
  do {
    const uint8_t *stop = x_end - x > JLT_V6M_FLUSH ? x + JLT_V6M_FLUSH : x_end;
    uint32_t pairs[4] = {0};
    do {
#pragma GCC unroll 4
      for (uint32_t i = 0; i < 4; i++) {
        const uint32_t word = jlt_v6m_word(w + 4 * i);
        pairs[i] += (word & mask) * x[0];
        pairs[i] += ((word >> 4) & mask) * x[1];
        pairs[i] += ((word >> 8) & mask) * x[2];
        pairs[i] += ((word >> 12) & mask) * x[3];
      }
      x += 4;
      w += 16;
    } while (x != stop);
#pragma GCC unroll 4
    for (uint32_t i = 0; i < 4; i++) {
      sums[2 * i] += pairs[i] & 0xFFFFu;
      sums[2 * i + 1] += pairs[i] >> 16;
    }
  } while (x != x_end);
}

#endif
