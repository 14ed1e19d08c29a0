// SPDX-License-Identifier: Apache-2.0
// The rare cases of armv7em/requantise.h.
#include "kernels/variants.h"

#if defined(JLT_WITH_ARMV7EM) && defined(__ARM_FEATURE_DSP) && JLT_IS_M_PROFILE
#include "kernels/armv7em/requantise.h"
#include "kernels/armv7em/simd.h"

bool jlt_v7_is_quick(const jlt_weights_t *weights, uint32_t begin, uint32_t end) {
  const int32_t *bias = weights->bias + begin;
  const int32_t *const bias_end = weights->bias + end;
  const bool per_channel = weights->record->n_multipliers > 1;
  uint32_t most = 0;
  while (bias < bias_end) {
    const int32_t value = *bias++;
    most |= (uint32_t)(value ^ (value >> 31));
  }
  bool quick = most < 1u << 29;
  for (uint32_t o = per_channel ? begin : 0u; o < (per_channel ? end : 1u); o++) {
    quick &= (weights->shifts[o] < 0 && weights->multipliers[o] >= 1 << 30) || weights->multipliers[o] == 0;
  }
  return quick;
}

void jlt_v7_requantise_slow(const jlt_call_t *call, uint32_t channel, const int32_t *sums, uint32_t count, int8_t *out) {
  const jlt_conv_params_t *p = call->params;
  const jlt_weights_t *w = &call->weights;
  const uint32_t m = w->record->n_multipliers > 1 ? channel : 0;
  for (uint32_t i = 0; i < count; i++) {
    out[(size_t)i * p->out_c] = jlt_requantise_s8(sums[i] + w->bias[channel], w->multipliers[m], w->shifts[m],
                                                  p->out_zero_point, p->act_min, p->act_max);
  }
}

static uint32_t most_of(uint32_t a, uint32_t b) {
  uint32_t result;
  __asm__("ssub8 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(result) : "r"(a), "r"(b) : "cc");
  return result;
}

static uint32_t least_of(uint32_t a, uint32_t b) {
  uint32_t result;
  __asm__("ssub8 %0, %1, %2\n\tsel %0, %2, %1" : "=&r"(result) : "r"(a), "r"(b) : "cc");
  return result;
}

void jlt_v7_clamp(int32_t least, int32_t most, int8_t *bytes, uint32_t count) {
  if (least <= -128 && most >= 127) {
    return;
  }
  const uint32_t least_4 = (uint32_t)(uint8_t)least * 0x01010101u;
  const uint32_t most_4 = (uint32_t)(uint8_t)most * 0x01010101u;
  for (; count >= 4; count -= 4, bytes += 4) {
    jlt_put_word(bytes, least_of(most_of(jlt_word_at(bytes), least_4), most_4));
  }
  for (; count > 0; count--, bytes++) {
    *bytes = (int8_t)jlt_clamp(*bytes, least, most);
  }
}
#endif
