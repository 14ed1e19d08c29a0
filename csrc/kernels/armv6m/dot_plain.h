// SPDX-License-Identifier: Apache-2.0
// Inner loops of dot.h in plain C, for cores with some thirty registers and no multiplication that accumulates, as RISC-V's.
//
// Four channels with four pixels, whose cells are halfwords at both precisions. A word holds two pixels, a0 + 2^16·a1, and one
// multiplication gives the products of both with a weight b. At 8 bits the products fill a word, P = a0·b + 2^16·a1·b, and are summed
// twice: the upper ones alone, Σ (P >> 16) = Σ a1·b, and whole ones modulo 2^32, of which that leaves Σ a0·b. At 4 bits the sums
// themselves fit, over a run.
#ifndef JLT_KERNELS_ARMV6M_DOT_PLAIN_H
#define JLT_KERNELS_ARMV6M_DOT_PLAIN_H

#include "kernels/armv6m/layout.h"

// No code: but the compiler neither moves a sum across it nor regroups sums, for which it would want more registers than there are.
#if defined(__GNUC__)
#define JLT_V6M_KEEP(sum) __asm__("" : "+r"(sum))
#else
#define JLT_V6M_KEEP(sum) (void)(sum)
#endif

static JLT_ALWAYS_INLINE void jlt_v6m_add(uint32_t *sum, uint32_t value) {
  *sum += value;
  JLT_V6M_KEEP(*sum);
}

static JLT_ALWAYS_INLINE uint32_t jlt_v6m_word(const void *from) {
  uint32_t word;
  __builtin_memcpy(&word, __builtin_assume_aligned(from, 4), sizeof(word));
  return word;
}

// One weight of 8 bits with four pixels.
static JLT_ALWAYS_INLINE void jlt_v6m_mac_8(uint32_t b, uint32_t x01, uint32_t x23, uint32_t *whole, uint32_t *upper) {
  const uint32_t p = x01 * b;
  const uint32_t q = x23 * b;
  jlt_v6m_add(&whole[0], p);
  jlt_v6m_add(&whole[1], q);
  jlt_v6m_add(&upper[0], p >> 16);
  jlt_v6m_add(&upper[1], q >> 16);
}

// Channels of w and of v, [k][2] each.
static JLT_V6M_APART JLT_V6M_UNUSED void jlt_v6m_dot_8(const uint16_t *x, const uint8_t *w, const uint8_t *w_end, const uint8_t *v,
                                                       uint32_t *sums) {
  uint32_t whole[8] = {0};
  uint32_t upper[8] = {0};
  for (; w != w_end; x += 16, w += 8, v += 8) {
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; k++) {
      const uint32_t x01 = jlt_v6m_word(x + 4 * k);
      const uint32_t x23 = jlt_v6m_word(x + 4 * k + 2);
      jlt_v6m_mac_8(w[2 * k], x01, x23, whole, upper);
      jlt_v6m_mac_8(w[2 * k + 1], x01, x23, whole + 2, upper + 2);
      jlt_v6m_mac_8(v[2 * k], x01, x23, whole + 4, upper + 4);
      jlt_v6m_mac_8(v[2 * k + 1], x01, x23, whole + 6, upper + 6);
    }
  }
#pragma GCC unroll 8
  for (uint32_t i = 0; i < 8; i++) {
    sums[2 * i] = whole[i] - (upper[i] << 16);
    sums[2 * i + 1] = upper[i];
  }
}

// One weight of 4 bits with four pixels.
static JLT_ALWAYS_INLINE void jlt_v6m_mac_4(uint32_t u, uint32_t x01, uint32_t x23, uint32_t *lanes) {
  jlt_v6m_add(&lanes[0], x01 * u);
  jlt_v6m_add(&lanes[1], x23 * u);
}

// One run of channels of w and of v, two in each byte.
static JLT_ALWAYS_INLINE void jlt_v6m_run_lanes(const uint16_t *x, const uint8_t *w, const uint8_t *stop, const uint8_t *v,
                                                uint32_t *lanes) {
  for (; w != stop; x += 16, w += 4, v += 4) {
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; k++) {
      const uint32_t x01 = jlt_v6m_word(x + 4 * k);
      const uint32_t x23 = jlt_v6m_word(x + 4 * k + 2);
      const uint32_t u = w[k];
      const uint32_t t = v[k];
      jlt_v6m_mac_4(u & 15u, x01, x23, lanes);
      jlt_v6m_mac_4(u >> 4, x01, x23, lanes + 2);
      jlt_v6m_mac_4(t & 15u, x01, x23, lanes + 4);
      jlt_v6m_mac_4(t >> 4, x01, x23, lanes + 6);
    }
  }
}

// Channels of w and of v at 4 bits.
static JLT_V6M_APART JLT_V6M_UNUSED void jlt_v6m_dot_4(const uint16_t *x, const uint8_t *w, const uint8_t *w_end, const uint8_t *v,
                                                       uint32_t run, uint32_t *sums) {
  const uint8_t *const begin = w;
  while (w != w_end) {
    const uint32_t left = (uint32_t)(w_end - w);
    const uint32_t here = left < run ? left : run;
    uint32_t lanes[8] = {0};
    jlt_v6m_run_lanes(x, w, w + here, v, lanes);
    if (w == begin) {
      jlt_v6m_split(lanes, sums);
      jlt_v6m_split(lanes + 4, sums + 8);
    } else {
      jlt_v6m_split_add(lanes, sums);
      jlt_v6m_split_add(lanes + 4, sums + 8);
    }
    x += 4 * here;
    w += here;
    v += here;
  }
}

// One k of a sparse group.
static JLT_ALWAYS_INLINE void jlt_v6m_mac_sparse(int32_t first, int32_t second, const uint8_t *x, uint32_t *sums) {
#pragma GCC unroll 4
  for (uint32_t i = 0; i < 4; i++) {
    jlt_v6m_add(&sums[i], (uint32_t)(first * (int32_t)x[i]));
    jlt_v6m_add(&sums[4 + i], (uint32_t)(second * (int32_t)x[i]));
  }
}

static JLT_V6M_APART JLT_V6M_UNUSED void jlt_v6m_dot_sparse(const uint8_t *x, const uint8_t *w, const uint8_t *w_end,
                                                            uint32_t *to) {
  uint32_t sums[8] = {0};
  for (; w != w_end; x += 16, w += 9) {
    x += 16u * w[0];
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; k++) {
      jlt_v6m_mac_sparse((int8_t)w[1 + 2 * k], (int8_t)w[2 + 2 * k], x + 4 * k, sums);
    }
  }
#pragma GCC unroll 8
  for (uint32_t i = 0; i < 8; i++) {
    to[i] = sums[i];
  }
}

static JLT_V6M_APART JLT_V6M_UNUSED void jlt_v6m_row_8(const uint8_t *x, const uint8_t *x_end, const uint8_t *w, uint32_t *to) {
  uint32_t sums[8] = {0};
  for (; x != x_end; x += 4, w += 32) {
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; k++) {
      const uint32_t a = x[k];
#pragma GCC unroll 8
      for (uint32_t i = 0; i < 8; i++) {
        jlt_v6m_add(&sums[i], (uint32_t)w[8 * k + i] * a);
      }
    }
  }
#pragma GCC unroll 8
  for (uint32_t i = 0; i < 8; i++) {
    to[i] = sums[i];
  }
}

static JLT_ALWAYS_INLINE JLT_V6M_UNUSED void jlt_v6m_row_run_4(const uint8_t *x, const uint8_t *stop, const uint8_t *w, uint32_t *sums) {
  uint32_t lanes[4] = {0};
  for (; x != stop; x += 4, w += 16) {
#pragma GCC unroll 4
    for (uint32_t i = 0; i < 4; i++) {
      const uint32_t word = jlt_v6m_word(w + 4 * i);
#pragma GCC unroll 4
      for (uint32_t k = 0; k < 4; k++) {
        jlt_v6m_add(&lanes[i], ((word >> (4 * k)) & 0x000F000Fu) * x[k]);
      }
    }
  }
  jlt_v6m_split_add(lanes, sums);
}

#endif
