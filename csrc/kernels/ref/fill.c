// SPDX-License-Identifier: Apache-2.0
// The whole output set to one value.
#include <string.h>

#include "kernels/kernels.h"

static void fill_f32(float *out, uint32_t count, float value) {
  for (uint32_t i = 0; i < count; i++) {
    out[i] = value;
  }
}

static void fill_s32(int32_t *out, uint32_t count, int32_t value) {
  for (uint32_t i = 0; i < count; i++) {
    out[i] = value;
  }
}

void jlt_fill__ref(const jlt_call_t *call) {
  const jlt_fill_params_t *p = call->params;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_ELEMENTS, call->out_tensor->elements);
  const uint32_t count = tile.end - tile.begin;
  if (call->out_tensor->dtype == JLT_DTYPE_S8) {
    memset((uint8_t *)call->out + tile.begin, p->value & 0xFF, count);
  } else if (call->out_tensor->dtype == JLT_DTYPE_S32) {
    fill_s32((int32_t *)call->out + tile.begin, count, p->value);
  } else {
    fill_f32((float *)call->out + tile.begin, count, p->f32_value);
  }
}

void jlt_fill_f32__ref(const jlt_call_t *call) {
  const jlt_fill_params_t *p = call->params;
  if (call->out_tensor->dtype == JLT_DTYPE_S32) {
    fill_s32(call->out, call->out_tensor->elements, p->value);
  } else {
    fill_f32(call->out, call->out_tensor->elements, p->f32_value);
  }
}
