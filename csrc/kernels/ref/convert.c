// SPDX-License-Identifier: Apache-2.0
// Between float tensors and the s8 grid; at the f32 precision both sides are float and the values are copied.
#include <string.h>

#include "core/quantise.h"
#include "kernels/kernels.h"

void jlt_quantize_s8__ref(const jlt_call_t *call) {
  const jlt_convert_params_t *p = call->params;
  const float *in = call->in[0];
  int8_t *out = call->out;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_ELEMENTS, call->out_tensor->elements);
  for (uint32_t i = tile.begin; i < tile.end; i++) {
    out[i] = jlt_quantise_s8(in[i], p->scale, p->zero_point);
  }
}

void jlt_dequantize_s8__ref(const jlt_call_t *call) {
  const jlt_convert_params_t *p = call->params;
  const int8_t *in = call->in[0];
  float *out = call->out;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_ELEMENTS, call->out_tensor->elements);
  for (uint32_t i = tile.begin; i < tile.end; i++) {
    out[i] = jlt_dequantise_s8(in[i], p->scale, p->zero_point);
  }
}

void jlt_convert_f32__ref(const jlt_call_t *call) {
  memmove(call->out, call->in[0], call->out_tensor->elements * sizeof(float));
}
