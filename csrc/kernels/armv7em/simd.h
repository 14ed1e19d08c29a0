// SPDX-License-Identifier: Apache-2.0
// Single instructions of the DSP extension, with the operands that compilers do not fold into them.
#ifndef JLT_KERNELS_ARMV7EM_SIMD_H
#define JLT_KERNELS_ARMV7EM_SIMD_H

#include <stdint.h>

// One 32-bit load wherever it lies: these cores have it. A freestanding compiler keeps memcpy a call, but not this.
static inline uint32_t jlt_word_at(const void *from) {
  uint32_t word;
  __builtin_memcpy(&word, from, sizeof(word));
  return word;
}

static inline void jlt_put_word(void *to, uint32_t word) { __builtin_memcpy(to, &word, sizeof(word)); }

// A pair of int16 from one of 8-bit values' bytes 0 and 2, or 1 and 3, plus a pair.
static inline uint32_t jlt_widen_even(uint32_t plus, uint32_t bytes) {
  uint32_t pair;
  __asm__("sxtab16 %0, %1, %2" : "=r"(pair) : "r"(plus), "r"(bytes));
  return pair;
}

static inline uint32_t jlt_widen_odd(uint32_t plus, uint32_t bytes) {
  uint32_t pair;
  __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(pair) : "r"(plus), "r"(bytes));
  return pair;
}

static inline int32_t jlt_dot_pair(uint32_t a, uint32_t b, int32_t sum) {
  int32_t result;
  __asm__("smlad %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
  return result;
}

// Minus a zero point, twice.
static inline uint32_t jlt_minus_pair(int32_t zero_point) {
  const uint32_t half = (uint32_t)-zero_point & 0xFFFFu;
  return half << 16 | half;
}

#endif
