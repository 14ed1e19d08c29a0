// SPDX-License-Identifier: Apache-2.0
// Strided copy: out[out_offset + i·out_stride] = in[in_offset + i·in_stride]. Elements of one or four bytes.
// It comes in units where the output is written from its first element to its last, else whole.
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/ref/walk.h"

static bool fills_in_order(const jlt_copy_params_t *p, const jlt_tensor_t *out) {
  int64_t step = 1;
  for (uint32_t d = 6; d-- > 0;) {
    if (p->dims[d] > 1 && p->out_stride[d] != step) {
      return false;
    }
    step *= p->dims[d];
  }
  return step == out->elements;  // and so the offset is 0 (checked)
}

uint32_t jlt_copy_unit_elements(const void *params, const jlt_tensor_t *out) {
  return fills_in_order(params, out) ? JLT_UNIT_ELEMENTS : out->elements;
}

static jlt_walk_t begin(const jlt_copy_params_t *p, jlt_span_t tile) {
  jlt_walk_t walk = {.dims = p->dims, .at = {p->in_offset, p->out_offset}};
  for (uint32_t d = 0; d < 6; d++) {
    walk.stride[0][d] = p->in_stride[d];
    walk.stride[1][d] = p->out_stride[d];
  }
  jlt_walk_begin(&walk, tile);
  return walk;
}

static void copy_1(const jlt_call_t *call, jlt_span_t tile) {
  jlt_walk_t w = begin(call->params, tile);
  const bool dense = w.stride[0][5] == 1 && w.stride[1][5] == 1;
  do {
    const uint8_t *in = (const uint8_t *)call->in[0] + w.at[0];
    uint8_t *out = (uint8_t *)call->out + w.at[1];
    if (dense) {
      memcpy(out + w.column, in + w.column, w.end - w.column);
      continue;
    }
    for (uint32_t i = w.column; i < w.end; i++) {
      out[i * w.stride[1][5]] = in[i * w.stride[0][5]];
    }
  } while (jlt_walk_next(&w));
}

static void copy_4(const jlt_call_t *call, jlt_span_t tile) {
  jlt_walk_t w = begin(call->params, tile);
  do {
    const uint32_t *in = (const uint32_t *)call->in[0] + w.at[0];
    uint32_t *out = (uint32_t *)call->out + w.at[1];
    for (uint32_t i = w.column; i < w.end; i++) {
      out[i * w.stride[1][5]] = in[i * w.stride[0][5]];
    }
  } while (jlt_walk_next(&w));
}

void jlt_copy__ref(const jlt_call_t *call) {
  const uint32_t elements = call->out_tensor->elements;
  const jlt_span_t tile = jlt_tile(call, jlt_copy_unit_elements(call->params, call->out_tensor), elements);
  if (call->out_tensor->dtype == JLT_DTYPE_S8) {
    copy_1(call, tile);
  } else {
    copy_4(call, tile);
  }
}

void jlt_copy_f32__ref(const jlt_call_t *call) {
  const jlt_span_t whole = {.end = call->out_tensor->elements};
  const jlt_tensor_t *in = call->in_tensor[0];
  if (!(in->flags & JLT_TENSOR_FLAG_CONST) || in->dtype != JLT_DTYPE_S8) {
    copy_4(call, whole);
    return;
  }
  jlt_walk_t w = begin(call->params, whole);
  do {
    float *out = (float *)call->out + w.at[1];
    for (uint32_t i = w.column; i < w.end; i++) {
      out[i * w.stride[1][5]] = jlt_operand_f32(call, 0, (uint64_t)(w.at[0] + i * w.stride[0][5]));
    }
  } while (jlt_walk_next(&w));
}
