// SPDX-License-Identifier: Apache-2.0
// Index of the largest element along one axis, the first of equals; int32 output.
#include "kernels/kernels.h"

uint32_t jlt_argmax_unit_elements(const void *params, const jlt_tensor_t *out) {
  (void)params;
  (void)out;
  return JLT_UNIT_CHANNELS;
}

void jlt_argmax_s8__ref(const jlt_call_t *call) {
  const jlt_arg_max_params_t *p = call->params;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_CHANNELS, p->outer * p->inner);
  const int8_t *in = (const int8_t *)call->in[0] + (size_t)(tile.begin / p->inner) * p->size * p->inner;
  int32_t *out = call->out;
  uint32_t inner = tile.begin % p->inner;
  for (uint32_t o = tile.begin; o < tile.end; o++) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < p->size; i++) {
      best = in[(size_t)i * p->inner + inner] > in[(size_t)best * p->inner + inner] ? i : best;
    }
    out[o] = (int32_t)best;
    if (++inner == p->inner) {
      inner = 0;
      in += (size_t)p->size * p->inner;
    }
  }
}

void jlt_argmax_f32__ref(const jlt_call_t *call) {
  const jlt_arg_max_params_t *p = call->params;
  const float *in = call->in[0];
  int32_t *out = call->out;
  for (uint32_t outer = 0; outer < p->outer; outer++, in += (size_t)p->size * p->inner) {
    for (uint32_t inner = 0; inner < p->inner; inner++) {
      uint32_t best = 0;
      for (uint32_t i = 1; i < p->size; i++) {
        best = in[(size_t)i * p->inner + inner] > in[(size_t)best * p->inner + inner] ? i : best;
      }
      *out++ = (int32_t)best;
    }
  }
}
