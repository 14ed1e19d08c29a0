// SPDX-License-Identifier: Apache-2.0
// Mean over any of six dimensions. s8: requantise(Σ x − count · zero_point), NUMERICS.md §4.
// Scratch at s8: one int32 sum an output element.
#include <string.h>

#include "core/requantise.h"
#include "kernels/kernels.h"
#include "kernels/ref/walk.h"

static uint64_t outputs(const jlt_mean_params_t *p) {
  uint64_t count = 1;
  for (uint32_t d = 0; d < 6; d++) {
    count *= p->reduced[d] ? 1u : p->dims[d];
    count = count < UINT32_MAX ? count : UINT32_MAX;
  }
  return count;
}

uint64_t jlt_mean_scratch_bytes(const void *params, bool is_f32) { return is_f32 ? 0u : outputs(params) * 4u; }

// Element strides of the output, 0 where the dimension is summed away.
static void out_strides(const jlt_mean_params_t *p, int64_t *stride) {
  int64_t step = 1;
  for (uint32_t d = 6; d-- > 0;) {
    stride[d] = p->reduced[d] ? 0 : step;
    step *= p->reduced[d] ? 1 : (int64_t)p->dims[d];
  }
}

// Whether the outputs are those of the last dimension alone, as after a global average over an image.
static bool by_channel(const jlt_mean_params_t *p, uint32_t count) { return !p->reduced[5] && p->dims[5] == count; }

uint32_t jlt_mean_unit_elements(const void *params, const jlt_tensor_t *out) {
  return by_channel(params, out->elements) ? JLT_UNIT_CHANNELS : out->elements;
}

void jlt_mean_s8__ref(const jlt_call_t *call) {
  const jlt_mean_params_t *p = call->params;
  const int8_t *in = call->in[0];
  int32_t *sums = call->scratch;
  const uint32_t count = call->out_tensor->elements;
  const jlt_span_t tile = jlt_tile(call, jlt_mean_unit_elements(p, call->out_tensor), count);
  // the columns of the input that lead to the tile: all of them where it is the whole output
  const jlt_span_t columns = by_channel(p, count) ? tile : (jlt_span_t){.end = p->dims[5]};
  int64_t stride[1][6];
  int64_t at[1] = {0};
  uint32_t index[6] = {0};
  out_strides(p, stride[0]);
  memset(sums, 0, count * sizeof(*sums));
  do {
    for (uint32_t i = columns.begin; i < columns.end; i++) {
      sums[at[0] + (int64_t)i * stride[0][5]] += in[i];
    }
    in += p->dims[5];
  } while (jlt_next_row(p->dims, index, 1, stride, at));
  const int32_t offset = (int32_t)p->count * p->in_zero_point;
  for (uint32_t i = tile.begin; i < tile.end; i++) {
    ((int8_t *)call->out)[i] =
        jlt_requantise_s8(sums[i] - offset, p->multiplier, p->shift, p->out_zero_point, -128, 127);
  }
}

void jlt_mean_f32__ref(const jlt_call_t *call) {
  const jlt_mean_params_t *p = call->params;
  const float *in = call->in[0];
  float *out = call->out;
  const uint32_t count = (uint32_t)outputs(p);
  int64_t stride[1][6];
  int64_t at[1] = {0};
  uint32_t index[6] = {0};
  out_strides(p, stride[0]);
  memset(out, 0, count * sizeof(*out));
  do {
    for (uint32_t i = 0; i < p->dims[5]; i++) {
      out[at[0] + (int64_t)i * stride[0][5]] += *in++;
    }
  } while (jlt_next_row(p->dims, index, 1, stride, at));
  for (uint32_t i = 0; i < count; i++) {
    out[i] /= (float)p->count;
  }
}
