// SPDX-License-Identifier: Apache-2.0
// Scaling of accumulators (NUMERICS.md §2) in few instructions; equal to core/requantise.h in every bit.
#ifndef JLT_KERNELS_ARMV6M_SCALE_H
#define JLT_KERNELS_ARMV6M_SCALE_H

#include "core/requantise.h"
#include "kernels/armv6m/layout.h"

// What one channel does to its sums: `base` is added and they are scaled.
typedef struct {
  uint32_t base;
  int32_t multiplier;
  int32_t right;  // minus the shift
  int32_t times;  // at 4 bits, what doubled sums count: 8, or −8 for a channel of 15 − u
} jlt_v6m_channel_t;

// What the channels of an op have in common.
typedef struct {
  int32_t zero_point;
  int32_t low;  // of what is scaled, before the zero point
  int32_t high;
  bool is_simple;  // every channel is shifted right, and nothing is clamped but to 8 bits
} jlt_v6m_out_t;

static JLT_ALWAYS_INLINE jlt_v6m_out_t jlt_v6m_out_of(const jlt_conv_params_t *p) {
  return (jlt_v6m_out_t){
      .zero_point = p->out_zero_point,
      .low = p->act_min - p->out_zero_point,
      .high = p->act_max - p->out_zero_point,
      .is_simple = p->act_min == INT8_MIN && p->act_max == INT8_MAX,
  };
}

// Fills `table`, a record a channel, for weights that sum up to `sums`; `zero` is the input's zero point as the sums want it,
// `is_4` whether they say which channels hold 15 − u.
static JLT_V6M_UNUSED jlt_v6m_out_t jlt_v6m_prepare(const jlt_conv_params_t *p, const jlt_weights_t *w, const uint32_t *sums,
                                                    uint32_t zero, bool is_4, jlt_v6m_channel_t *table) {
  const uint32_t step = w->record->n_multipliers > 1 ? 1u : 0u;
  const uint32_t mask = is_4 ? 1u : 0u;
  jlt_v6m_out_t out = jlt_v6m_out_of(p);
  for (uint32_t c = 0; c < p->out_c; c++, table++) {
    table->base = (uint32_t)w->bias[c] - zero * (sums[c] & ~mask);
    table->times = sums[c] & mask ? -8 : 8;
    table->multiplier = w->multipliers[c * step];
    table->right = -w->shifts[c * step];
    out.is_simple = out.is_simple && table->right > 0;
  }
  return out;
}

#if defined(__thumb2__) && defined(__GNUC__)

// The carries of both shifts round: bit 30 of the product, and the last bit shifted out. `right` is 1 at least.
static JLT_ALWAYS_INLINE int32_t jlt_v6m_moved(int32_t value, int32_t multiplier, int32_t right, int32_t zero_point) {
  int32_t low;
  int32_t high;
  __asm__("smull %0, %1, %2, %3\n\t"
          "lsrs %0, %0, #31\n\t"
          "adcs %0, %0, %1, lsl #1\n\t"
          "adds %0, %0, %0, asr #31\n\t"
          "asrs %0, %0, %4\n\t"
          "adc %0, %0, %5"
          : "=&r"(low), "=&r"(high)
          : "r"(value), "r"(multiplier), "r"(right), "r"(zero_point)
          : "cc");
  return low;
}

static JLT_ALWAYS_INLINE int32_t jlt_v6m_saturated(int32_t value) {
  __asm__("ssat %0, #8, %0" : "+r"(value));
  return value;
}

#elif defined(__thumb__) && defined(__GNUC__) && !defined(__clang__)

// With value = a·2^16 + b and m = c·2^16 + d, (value · m) >> 16 is (ac + (ad >> 16))·2^16 + (ad & 0xFFFF) + ((bd >> 16) + bc); it is
// shifted by 15 more. Carries round: the last bit shifted out. `right` is 1 at least.
static JLT_ALWAYS_INLINE int32_t jlt_v6m_moved(int32_t value, int32_t multiplier, int32_t right, int32_t zero_point) {
  const int32_t c = multiplier >> 16;
  const int32_t d = multiplier & 0xFFFF;
  int32_t b;
  int32_t t;
  int32_t u;
  __asm__(".syntax unified\n\t"
          "uxth %[b], %[a]\n\t"
          "asrs %[a], %[a], #16\n\t"
          "movs %[t], %[b]\n\t"
          "muls %[t], %[d], %[t]\n\t"
          "lsrs %[t], %[t], #16\n\t"
          "muls %[b], %[c], %[b]\n\t"
          "adds %[t], %[b]\n\t"
          "movs %[u], %[a]\n\t"
          "muls %[u], %[d], %[u]\n\t"
          "muls %[a], %[c], %[a]\n\t"
          "asrs %[b], %[u], #16\n\t"
          "adds %[a], %[b]\n\t"
          "uxth %[u], %[u]\n\t"
          "adds %[t], %[u]\n\t"
          "lsrs %[t], %[t], #15\n\t"
          "adcs %[t], %[a]\n\t"
          "adds %[t], %[a]\n\t"
          "asrs %[u], %[t], #31\n\t"
          "adds %[t], %[u]\n\t"
          "asrs %[t], %[right]\n\t"
          "adcs %[t], %[zero]\n\t"
          : [a] "+l"(value), [b] "=&l"(b), [t] "=&l"(t), [u] "=&l"(u)
          : [c] "l"(c), [d] "l"(d), [right] "l"(right), [zero] "l"(zero_point)
          : "cc");
  return t;
}

static JLT_ALWAYS_INLINE int32_t jlt_v6m_saturated(int32_t value) {
  return (int8_t)value == value ? value : (value >> 31) ^ INT8_MAX;
}

#else

// By twice the multiplier, the upper half of the product is the product over 2^31, and the highest bit of the lower half rounds it. The
// last bit but one that is shifted out rounds the rest, halves away from zero. `right` is 1 at least.
static JLT_ALWAYS_INLINE int32_t jlt_v6m_moved(int32_t value, int32_t multiplier, int32_t right, int32_t zero_point) {
  const int64_t product = (int64_t)value * (int64_t)(2u * (uint32_t)multiplier);
  const int32_t high = (int32_t)(product >> 32) + (int32_t)((uint32_t)product >> 31);
  const int32_t doubled = (high + (high >> 31)) >> (right - 1);
  return ((int32_t)((uint32_t)doubled + 1u) >> 1) + zero_point;
}

static JLT_ALWAYS_INLINE int32_t jlt_v6m_saturated(int32_t value) {
  return (uint32_t)value + 128u < 256u ? value : (value >> 31) ^ INT8_MAX;
}

#endif

// Stores `count` scaled sums of one channel, each pixel `step` bytes from the last.
static JLT_V6M_APART JLT_V6M_UNUSED void jlt_v6m_store_any(const uint32_t *sums, uint32_t count, const jlt_v6m_channel_t *c,
                                                           const jlt_v6m_out_t *o, int8_t *out, uint32_t step) {
  for (uint32_t i = 0; i < count; i++, out += step) {
    *out = (int8_t)(jlt_clamp(jlt_scale((int32_t)sums[i], c->multiplier, -c->right), o->low, o->high) + o->zero_point);
  }
}

// Several times in a row this is not small where a multiplication is not.
#if defined(__thumb__) && !defined(__thumb2__)
#define JLT_V6M_STORE JLT_V6M_APART
#else
#define JLT_V6M_STORE JLT_ALWAYS_INLINE
#endif

// The same where scaling is simple.
static JLT_V6M_STORE JLT_V6M_UNUSED void jlt_v6m_store(const uint32_t *sums, uint32_t count, const jlt_v6m_channel_t *channel,
                                                       int32_t zero_point, int8_t *out, uint32_t step) {
  const int32_t multiplier = channel->multiplier;
  const int32_t right = channel->right;
#pragma GCC unroll 6
  for (uint32_t i = 0; i < count; i++, out += step) {
    *out = (int8_t)jlt_v6m_saturated(jlt_v6m_moved((int32_t)sums[i], multiplier, right, zero_point));
  }
}

#endif
