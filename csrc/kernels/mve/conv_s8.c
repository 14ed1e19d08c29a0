// SPDX-License-Identifier: Apache-2.0
// Convolution and fully connected for Helium: two channels with four pixels, sixteen products an instruction.
//
// Σ q(x − zero_point_x) = Σ qx − zero_point_x Σ q, padding x = zero_point_x. Layout of weights: layout.h. Scratch: four patches.
#include "kernels/variants.h"

#if defined(JLT_WITH_MVE) && defined(__ARM_FEATURE_MVE)
#include <string.h>

#include "core/requantise.h"
#include "kernels/mve/layout.h"
#include "kernels/mve/scale.h"

static JLT_ALWAYS_INLINE void copy(int8_t *to, const int8_t *from, int32_t bytes) {
  for (; bytes > 0; bytes -= 16, to += 16, from += 16) {
    const mve_pred16_t some = vctp8q((uint32_t)bytes);
    vstrbq_p_s8(to, vldrbq_z_s8(from, some), some);
  }
}

static JLT_ALWAYS_INLINE void fill(int8_t *to, int32_t value, int32_t bytes) {
  for (; bytes > 0; bytes -= 16, to += 16) {
    vstrbq_p_s8(to, vdupq_n_s8((int8_t)value), vctp8q((uint32_t)bytes));
  }
}

static void gather(const jlt_conv_params_t *p, const int8_t *in, uint32_t pixel, int8_t *to) {
  const int32_t c = (int32_t)p->in_c;
  const int32_t k_w = p->k_w;
  const uint32_t out_x = pixel % p->out_w;
  const uint32_t row = pixel / p->out_w;
  const int8_t *image = in + (size_t)(row / p->out_h) * p->in_h * p->in_w * p->in_c;
  const jlt_inside_t inside = jlt_inside((int32_t)(out_x * p->stride_w) - p->pad_left, p->k_w, p->in_w);
  const int32_t before = (int32_t)inside.before;
  const int32_t end = before + (int32_t)inside.count;
  int32_t y = (int32_t)(row % p->out_h * p->stride_h) - p->pad_top;
  for (uint32_t ky = 0; ky < p->k_h; ky++, y++, to += k_w * c) {
    if (y < 0 || y >= (int32_t)p->in_h) {
      fill(to, p->in_zero_point, k_w * c);
      continue;
    }
    fill(to, p->in_zero_point, before * c);
    copy(to + before * c, image + ((size_t)y * p->in_w + inside.from) * p->in_c, (end - before) * c);
    fill(to + end * c, p->in_zero_point, (k_w - end) * c);
  }
}

// One channel with four pixels.
static JLT_ALWAYS_INLINE int32x4_t dot(const int8_t *x, uint32_t step, const int8_t *w, uint32_t length) {
  const int8_t *x1 = x + step;
  const int8_t *x2 = x1 + step;
  const int8_t *x3 = x2 + step;
  int32_t a = 0;
  int32_t b = 0;
  int32_t c = 0;
  int32_t d = 0;
  // the compiler has no low-overhead loop, and moves sums about
  __asm__ volatile(
      "dls lr, %[n]\n\t"
      "1:\n\t"
      "vldrb.u8 q0, [%[w]], #16\n\t"
      "vldrb.u8 q1, [%[x]], #16\n\t"
      "vmladava.s8 %[a], q1, q0\n\t"
      "vldrb.u8 q1, [%[x1]], #16\n\t"
      "vmladava.s8 %[b], q1, q0\n\t"
      "vldrb.u8 q1, [%[x2]], #16\n\t"
      "vmladava.s8 %[c], q1, q0\n\t"
      "vldrb.u8 q1, [%[x3]], #16\n\t"
      "vmladava.s8 %[d], q1, q0\n\t"
      "le lr, 1b\n\t"
      : [a] "+Te"(a), [b] "+Te"(b), [c] "+Te"(c), [d] "+Te"(d), [x] "+r"(x), [x1] "+r"(x1), [x2] "+r"(x2), [x3] "+r"(x3),
        [w] "+r"(w)
      : [n] "r"(length / 16u)
      : "lr", "q0", "q1", "memory");
  int32x4_t sums = vdupq_n_s32(a);
  sums = vsetq_lane_s32(b, sums, 1);
  sums = vsetq_lane_s32(c, sums, 2);
  return vsetq_lane_s32(d, sums, 3);
}

static void convolve(const jlt_call_t *call, uint32_t first, uint32_t count) {
  const jlt_conv_params_t *p = call->params;
  const jlt_weights_t *weights = &call->weights;
  const uint32_t length = jlt_mve_length(p);
  const uint32_t step = weights->record->n_multipliers > 1 ? 1u : 0u;
  const int32_t *sums = weights->packed;
  const int8_t *w = (const int8_t *)(sums + p->out_c);
  const int8_t *x = call->scratch;
  const mve_pred16_t there = vctp32q(count);
  const uint32x4_t places = vmulq_n_u32(vidupq_n_u32(0, 1), p->out_c);
  int8_t *out = (int8_t *)call->out + (size_t)first * p->out_c;
  for (uint32_t o = 0; o < p->out_c; o++, w += length, out++) {
    int32x4_t value = vaddq_n_s32(dot(x, length, w, length), weights->bias[o] - p->in_zero_point * sums[o]);
    value = jlt_mve_bounded(jlt_mve_scaled(value, weights->multipliers[o * step], weights->shifts[o * step]), p);
    vstrbq_scatter_offset_p_s32(out, places, value, there);
  }
}

// Four channels with the only pixel.
static void multiply(const jlt_call_t *call, jlt_span_t channels) {
  const jlt_conv_params_t *p = call->params;
  const jlt_weights_t *weights = &call->weights;
  const uint32_t length = jlt_mve_length(p);
  const int32_t *sums = weights->packed;
  const int8_t *w = (const int8_t *)(sums + p->out_c) + (size_t)channels.begin * length;
  for (uint32_t o = channels.begin; o < channels.end; o += 4, w += 4 * length) {
    const uint32_t count = channels.end - o < 4 ? channels.end - o : 4;
    const mve_pred16_t there = vctp32q(count);
    // fewer than four rows: the first again in place of those behind the end
    int32x4_t value = vdupq_n_s32(0);
    if (count == 4) {
      value = dot(w, length, call->scratch, length);
    } else {
      for (uint32_t i = 0; i < count; i++) {
        int32_t sum = 0;
        for (uint32_t k = 0; k < length; k += 16) {
          sum = vmladavaq_s8(sum, vldrbq_s8(w + i * length + k), vldrbq_s8((const int8_t *)call->scratch + k));
        }
        value = vpselq_s32(vdupq_n_s32(sum), value, (mve_pred16_t)(0xFu << (4 * i)));
      }
    }
    value = vaddq_s32(value, vldrwq_z_s32(weights->bias + o, there));
    value = vsubq_s32(value, vmulq_n_s32(vldrwq_z_s32(sums + o, there), p->in_zero_point));
    if (weights->record->n_multipliers > 1) {
      value = jlt_mve_scaled_by(value, vldrwq_z_s32(weights->multipliers + o, there), vldrwq_z_s32(weights->shifts + o, there));
    } else {
      value = jlt_mve_scaled(value, weights->multipliers[0], weights->shifts[0]);
    }
    vstrbq_p_s32((int8_t *)call->out + o, jlt_mve_bounded(value, p), there);
  }
}

void jlt_conv_s8__mve(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const uint32_t total = p->n * p->out_h * p->out_w;
  const uint32_t length = jlt_mve_length(p);
  int8_t *patches = call->scratch;
  fill(patches, 0, (int32_t)(JLT_MVE_PIXELS * length));
  if (total == 1) {
    gather(p, call->in[0], 0, patches);
    multiply(call, jlt_tile(call, JLT_UNIT_CHANNELS, p->out_c));
    return;
  }
  const jlt_span_t pixels = jlt_tile(call, JLT_UNIT_PIXELS, total);
  for (uint32_t first = pixels.begin; first < pixels.end; first += JLT_MVE_PIXELS) {
    const uint32_t count = pixels.end - first < JLT_MVE_PIXELS ? pixels.end - first : JLT_MVE_PIXELS;
    for (uint32_t i = 0; i < count; i++) {
      gather(p, call->in[0], first + i, patches + i * length);
    }
    convolve(call, first, count);
  }
}

#endif
