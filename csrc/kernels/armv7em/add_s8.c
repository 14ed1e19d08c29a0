// SPDX-License-Identifier: Apache-2.0
// Element-wise sum of two tensors of one shape for cores with the DSP extension.
//
// Arithmetic as ref/binary_s8.c. The input with the larger scale is scaled by one half, which is a shift; the other's second
// rounding takes the first's term along. y may be x (in place). No scratch.
#include "kernels/variants.h"

#if defined(JLT_WITH_ARMV7EM) && defined(__ARM_FEATURE_DSP) && JLT_IS_M_PROFILE
#include "kernels/armv7em/add.h"
#include "kernels/armv7em/requantise.h"
#include "kernels/armv7em/simd.h"

typedef struct {
  int32_t multiplier;
  int32_t power;  // -2^(32 - right shift): negative, as 2^31 is no int32
} scale_t;

typedef struct {
  int32_t zero_half;   // zero points where their tensors' values are shifted to
  int32_t zero_other;
  scale_t other;
  scale_t out;
  int32_t zero_point;
} sum_t;

// For shifts of -31..-1.
static scale_t scale_of(int32_t multiplier, int32_t shift) {
  return (scale_t){.multiplier = multiplier, .power = (int32_t)(0u - (1u << (uint32_t)(32 + shift)))};
}

static inline int32_t add(const sum_t *s, int32_t half, int32_t other) {
  __asm__(
      "rsb %[half], %[zero_half], %[half], lsl #19\n\t"
      "rsb %[other], %[zero_other], %[other], lsl #21\n\t"
      "smmulr %[other], %[other], %[multiplier]\n\t"
      "add %[other], %[other], %[other], asr #31\n\t"
      "smmlsr %[other], %[other], %[power], %[half]\n\t"
      "lsl %[other], %[other], #1\n\t"
      "smmulr %[other], %[other], %[out_multiplier]\n\t"
      "add %[other], %[other], %[other], asr #31\n\t"
      "smmlsr %[other], %[other], %[out_power], %[zero_point]\n\t"
      "ssat %[other], #8, %[other]"
      : [half] "+r"(half), [other] "+r"(other)
      : [zero_half] "r"(s->zero_half), [zero_other] "r"(s->zero_other), [multiplier] "r"(s->other.multiplier),
        [power] "r"(s->other.power), [out_multiplier] "r"(s->out.multiplier), [out_power] "r"(s->out.power),
        [zero_point] "r"(s->zero_point));
  return other;
}

void jlt_add_s8__armv7em(const jlt_call_t *call) {
  const jlt_binary_params_t *p = call->params;
  const bool first_halves = jlt_v7_halves(p->a_multiplier, p->a_shift);
  const sum_t s = {
      .zero_half = (first_halves ? p->a_zero_point : p->b_zero_point) * (1 << 19),
      .zero_other = (first_halves ? p->b_zero_point : p->a_zero_point) * (1 << 21),
      .other = scale_of(first_halves ? p->b_multiplier : p->a_multiplier, first_halves ? p->b_shift : p->a_shift),
      .out = scale_of(p->out_multiplier, p->out_shift),
      .zero_point = p->out_zero_point,
  };
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_ELEMENTS, call->out_tensor->elements);
  const int8_t *half = (const int8_t *)call->in[first_halves ? 0 : 1] + tile.begin;
  const int8_t *other = (const int8_t *)call->in[first_halves ? 1 : 0] + tile.begin;
  int8_t *out = (int8_t *)call->out + tile.begin;
  int8_t *const end = (int8_t *)call->out + tile.end;
#pragma GCC unroll 4
  while (out < end) {
    *out++ = (int8_t)add(&s, *half++, *other++);
  }
  jlt_v7_clamp(p->act_min, p->act_max, (int8_t *)call->out + tile.begin, tile.end - tile.begin);
}
#endif
