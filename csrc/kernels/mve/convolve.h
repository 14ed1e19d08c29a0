// SPDX-License-Identifier: Apache-2.0
// Convolution of several pixels: three at once with four channels, whatever the weights look like. Scratch: the scales, then three
// patches, each filled up to whole vectors. Sums of weights come before the weights.
#ifndef JLT_KERNELS_MVE_CONVOLVE_H
#define JLT_KERNELS_MVE_CONVOLVE_H

#include "kernels/mve/gather.h"
#include "kernels/mve/scale.h"

// Σ qx of a group of channels with each of three patches of 16 · (more + 1) bytes, one behind the other; returns the weights behind
// those read.
typedef const int8_t *(*jlt_mve_sum_t)(const int8_t *const *patches, uint32_t more, const int8_t *w, int32x4_t *sums);

// A group with three pixels, whose outputs lie at `places` from the first one's or, where there are fewer, over it: it comes last.
static JLT_ALWAYS_INLINE const int8_t *jlt_mve_group(jlt_mve_sum_t sum, const int8_t *const *patches, uint32_t more, const int8_t *w,
                                                     const int32_t *scales, jlt_mve_bounds_t bounds, jlt_mve_care_t care, int8_t *out,
                                                     uint32_t second, uint32_t third, uint32_t channels) {
  int32x4_t sums[JLT_MVE_PIXELS];
  w = sum(patches, more, w, sums);
  const jlt_mve_scale_t scale = jlt_mve_read_scale(scales);
  jlt_mve_put(out + third, jlt_mve_biased(sums[2], &scale, bounds, care), channels);
  jlt_mve_put(out + second, jlt_mve_biased(sums[1], &scale, bounds, care), channels);
  jlt_mve_put(out, jlt_mve_biased(sums[0], &scale, bounds, care), channels);
  return w;
}

static JLT_ALWAYS_INLINE void jlt_mve_convolve_with(const jlt_call_t *call, jlt_mve_care_t care, jlt_mve_sum_t sum) {
  const jlt_conv_params_t *p = call->params;
  const jlt_span_t pixels = jlt_tile(call, JLT_UNIT_PIXELS, jlt_mve_pixels(p));
  const jlt_mve_bounds_t bounds = jlt_mve_bounds(p->out_zero_point, p->act_min, p->act_max);
  const bool pointwise = jlt_mve_is_pointwise(p);
  const uint32_t in_c = p->in_c;
  const uint32_t out_c = p->out_c;
  const uint32_t length = jlt_mve_length(p);
  const uint32_t more = length / JLT_MVE_BYTES - 1u;
  const int32_t *const all_scales = call->scratch;
  int8_t *const to = (int8_t *)call->scratch + jlt_mve_scales_bytes(p);
  const int8_t *const patches[JLT_MVE_PIXELS] = {to, to + length, to + 2u * length};
  const int8_t *const all_weights = (const int8_t *)call->weights.packed + 4u * jlt_mve_rows(p);
  const int8_t *from = (const int8_t *)call->in[0] + (size_t)pixels.begin * in_c;
  int8_t *out = (int8_t *)call->out + (size_t)pixels.begin * out_c;
  jlt_mve_place_t at = jlt_mve_place(p, call->in[0], pixels.begin);
  jlt_mve_write_scales(call, p->in_zero_point, call->scratch);
  for (uint32_t left = pixels.end - pixels.begin; left > 0;) {
    const uint32_t count = left < JLT_MVE_PIXELS ? left : JLT_MVE_PIXELS;
    const uint32_t second = count > 1 ? out_c : 0u;
    const uint32_t third = count > 2 ? 2u * out_c : 0u;
    const int8_t *w = all_weights;
    const int32_t *scales = all_scales;
    if (pointwise) {
      jlt_mve_gather_pointwise(from, in_c, length, count, to);
      from += count * in_c;
    } else {
      jlt_mve_gather(p, &at, count, length, to);
    }
    int8_t *const end = out + (out_c & ~(JLT_MVE_LANES - 1u));
    for (; out != end; out += JLT_MVE_LANES, scales += JLT_MVE_SCALE) {
      w = jlt_mve_group(sum, patches, more, w, scales, bounds, care, out, second, third, JLT_MVE_LANES);
    }
    if (out_c % JLT_MVE_LANES > 0) {
      jlt_mve_group(sum, patches, more, w, scales, bounds, care, out, second, third, out_c % JLT_MVE_LANES);
    }
    out += out_c % JLT_MVE_LANES + (count - 1u) * out_c;
    left -= count;
  }
}

static JLT_ALWAYS_INLINE void jlt_mve_convolve(const jlt_call_t *call, jlt_mve_sum_t sum) {
  switch (jlt_mve_care(call)) {
    case JLT_MVE_SIMPLE:
      jlt_mve_convolve_with(call, JLT_MVE_SIMPLE, sum);
      break;
    case JLT_MVE_RIGHT:
      jlt_mve_convolve_with(call, JLT_MVE_RIGHT, sum);
      break;
    case JLT_MVE_ANY:
      jlt_mve_convolve_with(call, JLT_MVE_ANY, sum);
      break;
  }
}

#endif
