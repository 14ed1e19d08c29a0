// SPDX-License-Identifier: Apache-2.0
// Scaling of accumulators (NUMERICS.md §2) in few instructions; equal to core/requantise.h in every bit.
#ifndef JLT_KERNELS_ARMV6M_SCALE_H
#define JLT_KERNELS_ARMV6M_SCALE_H

#include "core/requantise.h"
#include "kernels/kernels.h"

#if defined(__ARM_ARCH) && __ARM_ARCH >= 7 && defined(__thumb__) && defined(__GNUC__)
#define JLT_V6M_IS_ARMV7M 1
#else
#define JLT_V6M_IS_ARMV7M 0
#endif

// How one channel is scaled; the multiplier in two halves for cores that multiply 32 bits only.
typedef struct {
  int32_t multiplier;
  uint32_t left;
  uint32_t right;
  int32_t zero_point;
  int32_t low;   // of what is scaled, before the zero point
  int32_t high;
} jlt_v6m_scale_t;

static JLT_ALWAYS_INLINE jlt_v6m_scale_t jlt_v6m_scale_of(int32_t multiplier, int32_t shift, const jlt_conv_params_t *p) {
  return (jlt_v6m_scale_t){
      .multiplier = multiplier,
      .left = shift > 0 ? (uint32_t)shift : 0u,
      .right = shift < 0 ? (uint32_t)-shift : 0u,
      .zero_point = p->out_zero_point,
      .low = p->act_min - p->out_zero_point,
      .high = p->act_max - p->out_zero_point,
  };
}

#if JLT_V6M_IS_ARMV7M

// The carries of both shifts round: bit 30 of the product, and the last bit shifted out.
static JLT_ALWAYS_INLINE int32_t jlt_v6m_scaled(int32_t value, const jlt_v6m_scale_t *s) {
  int32_t low;
  int32_t high;
  __asm__("smull %0, %1, %2, %3\n\t"
          "lsrs %0, %0, #31\n\t"
          "adc %0, %0, %1, lsl #1"
          : "=&r"(low), "=&r"(high)
          : "r"((int32_t)((uint32_t)value << s->left)), "r"(s->multiplier)
          : "cc");
  if (s->right == 0) {
    return low;
  }
  __asm__("adds %0, %0, %0, asr #31\n\t"
          "asrs %0, %0, %1\n\t"
          "adc %0, %0, #0"
          : "+r"(low)
          : "r"(s->right)
          : "cc");
  return low;
}

#else

// (value · m + 2^30) >> 31 from four products of halves: with value = a·2^16 + b and m = c·2^16 + d it is
// 2ac + ⌊(ad + ((bd >> 16) + bc) + 2^14) / 2^15⌋, and that sum of 33 bits is halved before it is added up.
static JLT_ALWAYS_INLINE int32_t jlt_v6m_high_mul(int32_t value, int32_t m) {
  const int32_t a = value >> 16;
  const uint32_t b = (uint32_t)value & 0xFFFFu;
  const int32_t c = m >> 16;
  const uint32_t d = (uint32_t)m & 0xFFFFu;
  const int32_t ad = a * (int32_t)d;
  const int32_t rest = (int32_t)(((b * d) >> 16) + b * (uint32_t)c + (1u << 14));
  const int32_t half = (ad >> 1) + (rest >> 1) + (ad & rest & 1);
  return 2 * (a * c) + (half >> 14);
}

static JLT_ALWAYS_INLINE int32_t jlt_v6m_scaled(int32_t value, const jlt_v6m_scale_t *s) {
  const int32_t product = jlt_v6m_high_mul((int32_t)((uint32_t)value << s->left), s->multiplier);
  if (s->right == 0) {
    return product;
  }
  const int32_t doubled = (product + (product >> 31)) >> (s->right - 1u);
  return (doubled >> 1) + (doubled & 1);
}

#endif

static JLT_ALWAYS_INLINE int8_t jlt_v6m_requantised(int32_t value, const jlt_v6m_scale_t *s) {
  return (int8_t)(jlt_clamp(jlt_v6m_scaled(value, s), s->low, s->high) + s->zero_point);
}

#endif
