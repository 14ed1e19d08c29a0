// SPDX-License-Identifier: Apache-2.0
// Strided copy: out[out_offset + i·out_stride] = in[in_offset + i·in_stride]. Elements of one or four bytes.
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/ref/walk.h"

typedef struct {
  uint32_t index[6];
  int64_t stride[2][6];
  int64_t at[2];
} cursor_t;

static cursor_t begin(const jlt_copy_params_t *p) {
  cursor_t cursor = {.at = {p->in_offset, p->out_offset}};
  for (uint32_t d = 0; d < 6; d++) {
    cursor.stride[0][d] = p->in_stride[d];
    cursor.stride[1][d] = p->out_stride[d];
  }
  return cursor;
}

static void copy_1(const jlt_call_t *call) {
  const jlt_copy_params_t *p = call->params;
  const uint8_t *in = call->in[0];
  uint8_t *out = call->out;
  cursor_t c = begin(p);
  const bool dense = c.stride[0][5] == 1 && c.stride[1][5] == 1;
  do {
    if (dense) {
      memcpy(out + c.at[1], in + c.at[0], p->dims[5]);
      continue;
    }
    for (uint32_t i = 0; i < p->dims[5]; i++) {
      out[c.at[1] + i * c.stride[1][5]] = in[c.at[0] + i * c.stride[0][5]];
    }
  } while (jlt_next_row(p->dims, c.index, 2, c.stride, c.at));
}

static void copy_4(const jlt_call_t *call) {
  const jlt_copy_params_t *p = call->params;
  const uint32_t *in = call->in[0];
  uint32_t *out = call->out;
  cursor_t c = begin(p);
  do {
    for (uint32_t i = 0; i < p->dims[5]; i++) {
      out[c.at[1] + i * c.stride[1][5]] = in[c.at[0] + i * c.stride[0][5]];
    }
  } while (jlt_next_row(p->dims, c.index, 2, c.stride, c.at));
}

void jlt_copy__ref(const jlt_call_t *call) {
  if (call->out_tensor->dtype == JLT_DTYPE_S8) {
    copy_1(call);
  } else {
    copy_4(call);
  }
}

void jlt_copy_f32__ref(const jlt_call_t *call) {
  const jlt_tensor_t *in = call->in_tensor[0];
  if (!(in->flags & JLT_TENSOR_FLAG_CONST) || in->dtype != JLT_DTYPE_S8) {
    copy_4(call);
    return;
  }
  const jlt_copy_params_t *p = call->params;
  float *out = call->out;
  cursor_t c = begin(p);
  do {
    for (uint32_t i = 0; i < p->dims[5]; i++) {
      out[c.at[1] + i * c.stride[1][5]] = jlt_operand_f32(call, 0, (uint64_t)(c.at[0] + i * c.stride[0][5]));
    }
  } while (jlt_next_row(p->dims, c.index, 2, c.stride, c.at));
}
