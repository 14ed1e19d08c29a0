// SPDX-License-Identifier: Apache-2.0
// Functions of one variable: a table at s8, the function itself at f32. y may be x (in place).
#include <math.h>

#include "kernels/kernels.h"

void jlt_lut_s8__ref(const jlt_call_t *call) {
  const jlt_lut_params_t *p = call->params;
  const int8_t *in = call->in[0];
  int8_t *out = call->out;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_ELEMENTS, call->out_tensor->elements);
  for (uint32_t i = tile.begin; i < tile.end; i++) {
    out[i] = p->table[in[i] + 128];
  }
}

static float clamp(float value, float low, float high) { return value < low ? low : (value > high ? high : value); }

static float evaluate(uint32_t function, float alpha, float x) {
  switch (function) {
    case JLT_UNARY_RELU:
      return x > 0.0f ? x : 0.0f;
    case JLT_UNARY_RELU6:
      return clamp(x, 0.0f, 6.0f);
    case JLT_UNARY_RELU_N1_TO_1:
      return clamp(x, -1.0f, 1.0f);
    case JLT_UNARY_LEAKY_RELU:
      return x > 0.0f ? x : alpha * x;
    case JLT_UNARY_HARD_SWISH:
      return x * clamp(x + 3.0f, 0.0f, 6.0f) / 6.0f;
    case JLT_UNARY_LOGISTIC:
      return 1.0f / (1.0f + expf(-x));
    case JLT_UNARY_TANH:
      return tanhf(x);
    default:  // requantize changes nothing but the grid
      return x;
  }
}

void jlt_lut_f32__ref(const jlt_call_t *call) {
  const jlt_lut_params_t *p = call->params;
  float *out = call->out;
  for (uint32_t i = 0; i < call->out_tensor->elements; i++) {
    out[i] = evaluate(p->function, p->alpha, ((const float *)call->in[0])[i]);
  }
}
