// SPDX-License-Identifier: Apache-2.0
#include "host/peak.h"

#include <stddef.h>

#include "core/format.h"

// Sixteen independent chains would spill where there are sixteen registers, so chains are eight. The empty assembly keeps the
// compiler from computing a product once for all rounds.
enum { CHAINS = 8, UNROLLED = 4 };

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

__attribute__((target("avx2"))) static uint64_t peak_avx2(uint32_t rounds) {
  __m256i sums[CHAINS], w = _mm256_set1_epi16(3), x = _mm256_set1_epi16(5);
  for (int i = 0; i < CHAINS; i++) {
    sums[i] = _mm256_setzero_si256();
  }
  for (uint32_t round = 0; round < rounds; round++) {
    UNROLL
    for (int i = 0; i < CHAINS * UNROLLED; i++) {
      __asm__ volatile("" : "+x"(x));
      sums[i % CHAINS] = _mm256_add_epi32(sums[i % CHAINS], _mm256_madd_epi16(w, x));
    }
  }
  for (int i = 0; i < CHAINS; i++) {
    __asm__ volatile("" : : "x"(sums[i]));
  }
  return (uint64_t)rounds * CHAINS * UNROLLED * 16u;
}

__attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni"))) static uint64_t peak_avx512vnni(uint32_t rounds) {
  __m512i sums[2 * CHAINS], w = _mm512_set1_epi8(3), x = _mm512_set1_epi8(5);
  for (int i = 0; i < 2 * CHAINS; i++) {
    sums[i] = _mm512_setzero_si512();
  }
  for (uint32_t round = 0; round < rounds; round++) {
    UNROLL
    for (int i = 0; i < CHAINS * UNROLLED; i++) {
      __asm__ volatile("" : "+v"(x));
      sums[i % (2 * CHAINS)] = _mm512_dpbusd_epi32(sums[i % (2 * CHAINS)], w, x);
    }
  }
  for (int i = 0; i < 2 * CHAINS; i++) {
    __asm__ volatile("" : : "v"(sums[i]));
  }
  return (uint64_t)rounds * CHAINS * UNROLLED * 64u;
}
#endif

#if defined(__aarch64__) && defined(__GNUC__)
#include <arm_neon.h>

// With what every core has: eight products into int16, added in pairs. Cores with SDOT do four times as much at most.
static uint64_t peak_neon(uint32_t rounds) {
  int32x4_t sums[CHAINS];
  int8x8_t w = vdup_n_s8(3), x = vdup_n_s8(5);
  for (int i = 0; i < CHAINS; i++) {
    sums[i] = vdupq_n_s32(0);
  }
  for (uint32_t round = 0; round < rounds; round++) {
    UNROLL
    for (int i = 0; i < CHAINS * UNROLLED; i++) {
      __asm__ volatile("" : "+w"(x));
      sums[i % CHAINS] = vpadalq_s16(sums[i % CHAINS], vmull_s8(w, x));
    }
  }
  for (int i = 0; i < CHAINS; i++) {
    __asm__ volatile("" : : "w"(sums[i]));
  }
  return (uint64_t)rounds * CHAINS * UNROLLED * 8u;
}
#endif

uint64_t jlt_host_peak(uint32_t isa, uint32_t rounds) {
  switch (isa) {
#if defined(__x86_64__) && defined(__GNUC__)
    case JLT_ISA_AVX2:
      return peak_avx2(rounds);
    case JLT_ISA_AVX512VNNI:
      return peak_avx512vnni(rounds);
#endif
#if defined(__aarch64__) && defined(__GNUC__)
    case JLT_ISA_NEON:
      return peak_neon(rounds);
#endif
    default:
      (void)rounds;
      return 0;
  }
}
