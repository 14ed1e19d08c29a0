// SPDX-License-Identifier: Apache-2.0
// core/requantise.h in five instructions, for sums below 2^30 and right shifts; what is outside takes the long way.
#ifndef JLT_KERNELS_ARMV7EM_REQUANTISE_H
#define JLT_KERNELS_ARMV7EM_REQUANTISE_H

#include "core/requantise.h"
#include "kernels/kernels.h"

typedef struct {
  int32_t multiplier;
  int32_t power;  // -2^(32 - right shift): negative, as 2^31 is no int32
} jlt_v7_scale_t;

// For shifts of -31..-1.
static inline jlt_v7_scale_t jlt_v7_scale(int32_t multiplier, int32_t shift) {
  return (jlt_v7_scale_t){.multiplier = multiplier, .power = (int32_t)(0u - (1u << (uint32_t)(32 + shift)))};
}

// Twice the sum times the multiplier, the high half rounded, is jlt_high_mul; the second rounding is a product too, and takes the
// zero point along. The clamp is that of int8.
#define JLT_V7_REQUANTISE(value)                             \
  "add " value ", %[twice_bias], " value ", lsl #1\n\t"      \
  "smmulr " value ", " value ", %[multiplier]\n\t"           \
  "add " value ", " value ", " value ", asr #31\n\t"         \
  "smmlsr " value ", " value ", %[power], %[zero_point]\n\t" \
  "ssat " value ", #8, " value "\n\t"

static inline int32_t jlt_v7_requantise(int32_t sum, int32_t twice_bias, jlt_v7_scale_t scale, int32_t zero_point) {
  __asm__(JLT_V7_REQUANTISE("%[sum]")
          : [sum] "+r"(sum)
          : [twice_bias] "r"(twice_bias), [multiplier] "r"(scale.multiplier), [power] "r"(scale.power),
            [zero_point] "r"(zero_point));
  return sum;
}

// One channel of four pixels, sums s0 to s3, at `out` and `step` bytes on; s2 is spent. The first pixel goes last: with a step
// of 0 it is the one that stays.
#define JLT_V7_PUT_FOUR(s0, s1, s2, s3)                              \
  JLT_V7_REQUANTISE(s1) "strb " s1 ", [%[out], %[step]]\n\t"         \
  JLT_V7_REQUANTISE(s2) "strb " s2 ", [%[out], %[step], lsl #1]\n\t" \
  "add " s2 ", %[out], %[step]\n\t"                                  \
  JLT_V7_REQUANTISE(s3) "strb " s3 ", [" s2 ", %[step], lsl #1]\n\t" \
  JLT_V7_REQUANTISE(s0) "strb " s0 ", [%[out]]\n\t"

// Whether that holds for all channels [begin, end).
bool jlt_v7_is_quick(const jlt_weights_t *weights, uint32_t begin, uint32_t end);

// The long way, for one channel: sums + bias to out, out + stride, ...
void jlt_v7_requantise_slow(const jlt_call_t *call, uint32_t channel, const int32_t *sums, uint32_t count, int8_t *out);

// Clamps bytes to a range where that is narrower than int8.
void jlt_v7_clamp(int32_t least, int32_t most, int8_t *bytes, uint32_t count);

#endif
