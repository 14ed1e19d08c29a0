// SPDX-License-Identifier: Apache-2.0
// Convolution and fully connected, s8 activations, weights in any storage.
//
// x (n, in_h, in_w, in_c), weights (out_c, k_h, k_w, in_c / groups), y (n, out_h, out_w, out_c), all dense.
// acc = bias + Σ (w − zero_point_w)(x − zero_point_x), padding 0; y = requantise(acc), NUMERICS.md §3.
// Eight pixels' patches are widened to int16 once and meet each widened weight row; the sums have the order of no
// consequence of exact integers. A unit is a few pixels, or a few channels of the only one there is. Scratch: nine rows of k_h·k_w·in_c/groups int16, padded to 8.
#include <string.h>

#include "core/bytes.h"
#include "core/requantise.h"
#include "kernels/kernels.h"

enum { PIXELS = 8, LANES = 8 };

static uint32_t patch_elements(const jlt_conv_params_t *p) { return p->k_h * p->k_w * (p->in_c / p->groups); }

uint64_t jlt_conv_scratch_bytes(const void *params, bool is_f32) {
  const jlt_conv_params_t *p = params;
  const uint64_t patch = (uint64_t)p->k_h * p->k_w * (p->groups ? p->in_c / p->groups : 0u);
  const uint64_t row = jlt_align_up(patch, LANES);
  return is_f32 ? 2u * row * 4u : (PIXELS + 1u) * row * 2u;
}

static uint32_t pixels_of(const jlt_conv_params_t *p) { return p->n * p->out_h * p->out_w; }

uint32_t jlt_conv_unit_elements(const void *params, const jlt_tensor_t *out) {
  const jlt_conv_params_t *p = params;
  (void)out;
  return pixels_of(p) == 1 ? JLT_UNIT_CHANNELS : JLT_UNIT_PIXELS * p->out_c;
}

static void widen(const int8_t *from, uint32_t count, int32_t zero_point, int16_t *to) {
  for (uint32_t i = 0; i < count; i++) {
    to[i] = (int16_t)(from[i] - zero_point);
  }
}

// One row of the window at input column x0 (may be negative), undilated: the valid columns are contiguous.
static void gather_row(const jlt_conv_params_t *p, const int8_t *row, int32_t x0, int16_t *to) {
  const jlt_inside_t inside = jlt_inside(x0, p->k_w, p->in_w);
  const uint32_t c = p->in_c;
  const uint32_t end = inside.before + inside.count;
  memset(to, 0, (size_t)inside.before * c * sizeof(*to));
  widen(row + (size_t)inside.from * c, inside.count * c, p->in_zero_point, to + (size_t)inside.before * c);
  memset(to + (size_t)end * c, 0, (size_t)(p->k_w - end) * c * sizeof(*to));
}

// One row of the window with dilation or groups: column by column.
static void gather_row_sparse(const jlt_conv_params_t *p, const int8_t *row, int32_t x0, uint32_t c0, int16_t *to) {
  const uint32_t c = p->in_c / p->groups;
  for (uint32_t kx = 0; kx < p->k_w; kx++) {
    const int32_t x = x0 + (int32_t)(kx * p->dilation_w);
    if (x < 0 || x >= (int32_t)p->in_w) {
      memset(to + (size_t)kx * c, 0, c * sizeof(*to));
    } else {
      widen(row + (size_t)x * p->in_c + c0, c, p->in_zero_point, to + (size_t)kx * c);
    }
  }
}

static void gather(const jlt_conv_params_t *p, const int8_t *in, uint32_t pixel, uint32_t group, int16_t *to) {
  const uint32_t c = p->in_c / p->groups;
  const uint32_t row_elements = p->k_w * c;
  const uint32_t out_x = pixel % p->out_w;
  const uint32_t out_y = pixel / p->out_w % p->out_h;
  const int8_t *image = in + (size_t)(pixel / p->out_w / p->out_h) * p->in_h * p->in_w * p->in_c;
  const int32_t x0 = (int32_t)(out_x * p->stride_w) - p->pad_left;
  for (uint32_t ky = 0; ky < p->k_h; ky++, to += row_elements) {
    const int32_t y = (int32_t)(out_y * p->stride_h + ky * p->dilation_h) - p->pad_top;
    if (y < 0 || y >= (int32_t)p->in_h) {
      memset(to, 0, row_elements * sizeof(*to));
      continue;
    }
    const int8_t *row = image + (size_t)y * p->in_w * p->in_c;
    if (p->dilation_w == 1 && p->groups == 1) {
      gather_row(p, row, x0, to);
    } else {
      gather_row_sparse(p, row, x0, group * c, to);
    }
  }
}

// Four dot products that share the weights; `count` is a multiple of LANES.
static void dot4(const int16_t *w, const int16_t *x, uint32_t count, int32_t *sums) {
  const int16_t *x1 = x + count;
  const int16_t *x2 = x1 + count;
  const int16_t *x3 = x2 + count;
  int32_t s0 = 0;
  int32_t s1 = 0;
  int32_t s2 = 0;
  int32_t s3 = 0;
  for (uint32_t i = 0; i < count; i++) {
    s0 += (int32_t)w[i] * x[i];
    s1 += (int32_t)w[i] * x1[i];
    s2 += (int32_t)w[i] * x2[i];
    s3 += (int32_t)w[i] * x3[i];
  }
  sums[0] = s0;
  sums[1] = s1;
  sums[2] = s2;
  sums[3] = s3;
}

static int32_t dot(const int16_t *w, const int16_t *x, uint32_t count) {
  int32_t sum = 0;
  for (uint32_t i = 0; i < count; i++) {
    sum += (int32_t)w[i] * x[i];
  }
  return sum;
}

static void multiply_rows(const jlt_call_t *call, jlt_span_t channels, const int16_t *patches, uint32_t pixels,
                          uint32_t length, int8_t *out) {
  const jlt_conv_params_t *p = call->params;
  const jlt_weights_t *w = &call->weights;
  int16_t *row = (int16_t *)call->scratch + (size_t)PIXELS * length;
  const bool per_channel = w->record->n_multipliers > 1;
  const bool once = w->record->rounding == JLT_ROUNDING_ONCE;
  for (uint32_t o = channels.begin; o < channels.end; o++) {
    int32_t sums[PIXELS];
    jlt_unpack_row(w, o, row);
    if (pixels == 1) {
      sums[0] = dot(row, patches, length);
    } else {
      for (uint32_t i = 0; i < pixels; i += 4) {
        dot4(row, patches + (size_t)i * length, length, sums + i);
      }
    }
    const uint32_t m = per_channel ? o : 0;
    for (uint32_t i = 0; i < pixels; i++) {
      const int32_t acc = sums[i] + w->bias[o];
      const int32_t scaled = once ? jlt_scale_once(acc, w->multipliers[m], w->shifts[m])
                                  : jlt_scale(acc, w->multipliers[m], w->shifts[m]);
      out[(size_t)i * p->out_c + o] = jlt_to_s8(scaled, p->out_zero_point, p->act_min, p->act_max);
    }
  }
}

// The channels of a group that lie in `channels`; empty when begin is not below end.
static jlt_span_t group_of(const jlt_conv_params_t *p, uint32_t group, jlt_span_t channels) {
  const uint32_t begin = group * (p->out_c / p->groups);
  const uint32_t end = begin + p->out_c / p->groups;
  return (jlt_span_t){
      .begin = begin > channels.begin ? begin : channels.begin,
      .end = end < channels.end ? end : channels.end,
  };
}

void jlt_conv_s8__ref(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const uint32_t elements = patch_elements(p);
  const uint32_t length = (uint32_t)jlt_align_up(elements, LANES);
  const bool one_pixel = pixels_of(p) == 1;
  const jlt_span_t pixels = one_pixel ? (jlt_span_t){.end = 1} : jlt_tile(call, JLT_UNIT_PIXELS, pixels_of(p));
  const jlt_span_t channels = one_pixel ? jlt_tile(call, JLT_UNIT_CHANNELS, p->out_c) : (jlt_span_t){.end = p->out_c};
  int16_t *patches = call->scratch;
  // the padding to LANES stays 0 throughout
  memset(patches, 0, (size_t)(PIXELS + 1) * length * sizeof(*patches));
  for (uint32_t first = pixels.begin; first < pixels.end; first += PIXELS) {
    const uint32_t count = pixels.end - first < PIXELS ? pixels.end - first : PIXELS;
    for (uint32_t group = 0; group < p->groups; group++) {
      const jlt_span_t rows = group_of(p, group, channels);
      for (uint32_t i = 0; i < count && rows.begin < rows.end; i++) {
        gather(p, call->in[0], first + i, group, patches + (size_t)i * length);
      }
      multiply_rows(call, rows, patches, count, length, (int8_t *)call->out + (size_t)first * p->out_c);
    }
  }
}
