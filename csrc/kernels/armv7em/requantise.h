// SPDX-License-Identifier: Apache-2.0
// core/requantise.h in four instructions, for sums below 2^30, multipliers of 2^30 and more and right shifts; what is outside takes
// the long way.
#ifndef JLT_KERNELS_ARMV7EM_REQUANTISE_H
#define JLT_KERNELS_ARMV7EM_REQUANTISE_H

#include "core/requantise.h"
#include "kernels/kernels.h"

// The sum times 2^32, plus the sum times `multiplier`, which is 2^32 less than twice the real one, high half rounded: that is
// jlt_high_mul. The second rounding is a product too, with `power` = -2^(32 - right shift), and takes the zero point along. The clamp
// is that of int8. Both are packed with the weights; a real multiplier of 0 is a power of 0.
#define JLT_V7_REQUANTISE(value)                               \
  "smmlar " value ", " value ", %[multiplier], " value "\n\t" \
  "add " value ", " value ", " value ", asr #31\n\t"          \
  "smmlsr " value ", " value ", %[power], %[zero_point]\n\t"  \
  "ssat " value ", #8, " value "\n\t"

// The same without the correction that takes halves below zero away from it. A product below zero is 0 at most with it and without, so
// where the activation's least value is no less than the zero point (a ReLU's), both are clamped to that.
#define JLT_V7_REQUANTISE_RELU(value)                          \
  "smmlar " value ", " value ", %[multiplier], " value "\n\t" \
  "smmlsr " value ", " value ", %[power], %[zero_point]\n\t"  \
  "ssat " value ", #8, " value "\n\t"

// One channel of four pixels, sums s0 to s3, at `out` and `step` bytes on; s2 is spent. The first pixel goes last: with a step
// of 0 it is the one that stays.
#define JLT_V7_PUT_FOUR(requantise, s0, s1, s2, s3)           \
  requantise(s1) "strb " s1 ", [%[out], %[step]]\n\t"         \
  requantise(s2) "strb " s2 ", [%[out], %[step], lsl #1]\n\t" \
  "add " s2 ", %[out], %[step]\n\t"                           \
  requantise(s3) "strb " s3 ", [" s2 ", %[step], lsl #1]\n\t" \
  requantise(s0) "strb " s0 ", [%[out]]\n\t"

// Whether that holds for all channels [begin, end).
bool jlt_v7_is_quick(const jlt_weights_t *weights, uint32_t begin, uint32_t end);

// The long way, for one channel: sums + bias to out, out + stride, ...
void jlt_v7_requantise_slow(const jlt_call_t *call, uint32_t channel, const int32_t *sums, uint32_t count, int8_t *out);

// Clamps bytes to a range where that is narrower than int8.
void jlt_v7_clamp(int32_t least, int32_t most, int8_t *bytes, uint32_t count);

#endif
