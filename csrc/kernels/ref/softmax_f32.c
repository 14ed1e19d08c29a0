// SPDX-License-Identifier: Apache-2.0
// Softmax over the last dimension at f32; y may be x (in place).
#include <math.h>

#include "kernels/kernels.h"

void jlt_softmax_f32__ref(const jlt_call_t *call) {
  const jlt_softmax_params_t *p = call->params;
  const float *in = call->in[0];
  float *out = call->out;
  for (uint32_t row = 0; row < p->rows; row++, in += p->columns, out += p->columns) {
    float most = in[0];
    for (uint32_t i = 1; i < p->columns; i++) {
      most = in[i] > most ? in[i] : most;
    }
    float sum = 0;
    for (uint32_t i = 0; i < p->columns; i++) {
      out[i] = expf((in[i] - most) * p->beta);
      sum += out[i];
    }
    for (uint32_t i = 0; i < p->columns; i++) {
      out[i] /= sum;
    }
  }
}
