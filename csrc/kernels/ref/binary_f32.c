// SPDX-License-Identifier: Apache-2.0
// Element-wise add, sub and mul at f32 with broadcasting; y may be x of the same shape (in place).
#include "kernels/kernels.h"
#include "kernels/ref/walk.h"

typedef float (*element_t)(float a, float b);

static float add(float a, float b) { return a + b; }

static float sub(float a, float b) { return a - b; }

static float mul(float a, float b) { return a * b; }

static void run(const jlt_call_t *call, element_t element) {
  const jlt_binary_params_t *p = call->params;
  float *out = call->out;
  int64_t stride[2][6];
  int64_t at[2] = {0, 0};
  uint32_t index[6] = {0};
  for (uint32_t d = 0; d < 6; d++) {
    stride[0][d] = p->stride_a[d];
    stride[1][d] = p->stride_b[d];
  }
  do {
    for (uint32_t i = 0; i < p->dims[5]; i++) {
      const float a = jlt_operand_f32(call, 0, (uint64_t)(at[0] + i * stride[0][5]));
      const float b = jlt_operand_f32(call, 1, (uint64_t)(at[1] + i * stride[1][5]));
      const float value = element(a, b);
      *out++ = value < p->f32_min ? p->f32_min : (value > p->f32_max ? p->f32_max : value);
    }
  } while (jlt_next_row(p->dims, index, 2, stride, at));
}

void jlt_add_f32__ref(const jlt_call_t *call) { run(call, add); }

void jlt_sub_f32__ref(const jlt_call_t *call) { run(call, sub); }

void jlt_mul_f32__ref(const jlt_call_t *call) { run(call, mul); }
