// SPDX-License-Identifier: Apache-2.0
// Index of the largest element along one axis, the first of equals; int32 output.
#include "kernels/kernels.h"

void jlt_argmax_s8__ref(const jlt_call_t *call) {
  const jlt_arg_max_params_t *p = call->params;
  const int8_t *in = call->in[0];
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
