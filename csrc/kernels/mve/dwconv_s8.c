// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution for Helium. Layout of weights: layout.h.
//
// Windows of at most sixteen taps: of sixteen channels at a time, the columns that three outputs read are turned into a strip of sixteen
// bytes a channel, column after column; an output's window lies together there, so that one instruction makes its sum, as weights of 0
// meet what is behind it. Σ q(x − zero_point_x) = Σ qx − zero_point_x Σ q, padding x = zero_point_x.
// Larger windows: four channels at a time, one output after the other; borders are left out.
#include "kernels/variants.h"

#if defined(JLT_WITH_MVE) && defined(__ARM_FEATURE_MVE)
#include "kernels/mve/bytes.h"
#include "kernels/mve/layout.h"
#include "kernels/mve/scale.h"

// Outputs that lie beside each other, their columns of the input, and how channels lie in it.
typedef struct {
  const int8_t *image;
  int32_t y;
  int32_t x;
  uint32_t columns;
} block_t;

// How a vector of the input goes into strips: `together` columns of few channels, or part of one of many.
typedef struct {
  uint8x16_t offsets;
  uint32_t together;
} turn_t;

static turn_t turn_of(const jlt_conv_params_t *p) {
  const uint32_t together = p->in_c <= JLT_MVE_BYTES ? JLT_MVE_BYTES / p->in_c : 1u;
  const uint32_t channels = together > 1 ? p->in_c : JLT_MVE_BYTES;
  uint8_t offsets[JLT_MVE_BYTES] = {0};
  for (uint32_t i = 0; i < together * channels; i++) {
    offsets[i] = (uint8_t)(i % channels * JLT_MVE_BYTES + i / channels * p->k_h);
  }
  return (turn_t){.offsets = vldrbq_u8(offsets), .together = together};
}

// Columns of one row, from the first of `channels` channels on.
static JLT_ALWAYS_INLINE void turn_row(const jlt_conv_params_t *p, const turn_t *turn, const int8_t *x, uint32_t columns,
                                       uint32_t channels, int8_t *to) {
  const uint32_t each = turn->together * channels;
  const uint32_t step = turn->together * p->in_c;
  for (uint32_t left = columns * channels;; left -= each, x += step, to += turn->together * p->k_h) {
    const mve_pred16_t there = vctp8q(left < each ? left : each);
    vstrbq_scatter_offset_p_s8(to, turn->offsets, vldrbq_z_s8(x, there), there);
    if (left <= each) {
      return;
    }
  }
}

static void turn_block(const jlt_conv_params_t *p, const turn_t *turn, const block_t *block, uint32_t first, uint32_t channels,
                       int8_t *strips) {
  const jlt_inside_t inside = jlt_inside(block->x, block->columns, p->in_w);
  const int32_t y = block->y;
  const uint32_t begin = y < 0 ? (uint32_t)-y : 0u;
  const uint32_t end = y + p->k_h > (int32_t)p->in_h ? (uint32_t)((int32_t)p->in_h - y) : p->k_h;
  if (inside.count < block->columns || end - begin < p->k_h) {
    jlt_mve_fill(strips, p->in_zero_point, channels * JLT_MVE_BYTES);
  }
  if (inside.count == 0 || y + p->k_h <= 0 || y >= (int32_t)p->in_h) {
    return;
  }
  const int8_t *x = block->image + ((size_t)(uint32_t)(y + (int32_t)begin) * p->in_w + inside.from) * p->in_c + first;
  int8_t *to = strips + inside.before * p->k_h;
  for (uint32_t ky = begin; ky < end; ky++, x += p->in_w * p->in_c) {
    turn_row(p, turn, x, inside.count, channels, to + ky);
  }
}

// Four channels, each with its own strip.
static JLT_ALWAYS_INLINE int32x4_t sum_strips(const int8_t *x, const int8x16_t *w) {
  int32_t a, b, c, d;
  int32x4_t sums;
  __asm__ volatile(
      "vldrb.u8 q0, [%[x]]\n\t"
      "vmladav.s8 %[a], q0, %q[w0]\n\t"
      "vldrb.u8 q0, [%[x], #32]\n\t"
      "vmladav.s8 %[c], q0, %q[w2]\n\t"
      "vldrb.u8 q0, [%[x], #16]\n\t"
      "vmladav.s8 %[b], q0, %q[w1]\n\t"
      "vldrb.u8 q0, [%[x], #48]\n\t"
      "vmladav.s8 %[d], q0, %q[w3]\n\t"
      "vmov %q[sums][2], %q[sums][0], %[a], %[c]\n\t"
      "vmov %q[sums][3], %q[sums][1], %[b], %[d]\n\t"
      : [a] "=&Te"(a), [b] "=&Te"(b), [c] "=&Te"(c), [d] "=&Te"(d), [sums] "=&w"(sums)
      : [x] "r"(x), [w0] "w"(w[0]), [w1] "w"(w[1]), [w2] "w"(w[2]), [w3] "w"(w[3])
      : "q0", "memory");
  return sums;
}

static JLT_ALWAYS_INLINE void run_group(const jlt_conv_params_t *p, const int8_t *strips, uint32_t pixels, const int8_t *w,
                                        jlt_mve_scales_t *scales, int8_t *const *out, uint32_t channels) {
  const int8x16_t rows[] = {vldrbq_s8(w), vldrbq_s8(w + 16), vldrbq_s8(w + 32), vldrbq_s8(w + 48)};
  int32x4_t sums[JLT_MVE_PIXELS];
  for (uint32_t i = 0; i < pixels; i++) {
    sums[i] = sum_strips(strips + i * p->stride_w * p->k_h, rows);
  }
  const jlt_mve_scale_t scale = jlt_mve_next(scales, p->in_zero_point);
  if (scales->is_simple) {
    jlt_mve_put(sums, pixels, &scale, p, true, out, channels);
  } else {
    jlt_mve_put(sums, pixels, &scale, p, false, out, channels);
  }
}

// Up to sixteen channels with `pixels` outputs.
static JLT_ALWAYS_INLINE void run_strips(const jlt_conv_params_t *p, const int8_t *strips, uint32_t pixels, const int8_t *w,
                                         jlt_mve_scales_t *scales, jlt_mve_spare_t spare, int8_t *to, uint32_t channels) {
  int8_t *out[JLT_MVE_PIXELS];
  for (uint32_t i = 0; i < pixels; i++) {
    out[i] = to + i * p->out_c;
  }
  for (; channels >= JLT_MVE_LANES; channels -= JLT_MVE_LANES) {
    run_group(p, strips, pixels, w, scales, out, JLT_MVE_LANES);
    strips += JLT_MVE_LANES * JLT_MVE_BYTES;
    w += JLT_MVE_LANES * JLT_MVE_BYTES;
    for (uint32_t i = 0; i < pixels; i++) {
      out[i] += JLT_MVE_LANES;
    }
  }
  if (channels > 0) {
    jlt_mve_begin_last(scales, channels, spare);
    run_group(p, strips, pixels, w, scales, out, channels);
  }
}

static void run_block(const jlt_call_t *call, const turn_t *turn, const block_t *block, uint32_t pixels, jlt_mve_scales_t scales,
                      jlt_mve_spare_t spare, int8_t *out) {
  const jlt_conv_params_t *p = call->params;
  const int8_t *w = (const int8_t *)call->weights.packed + 4u * jlt_mve_rows(p);
  for (uint32_t c = 0; c < p->in_c; c += 16, w += 16 * JLT_MVE_BYTES, out += 16) {
    const uint32_t channels = p->in_c - c < 16 ? p->in_c - c : 16;
    turn_block(p, turn, block, c, channels, call->scratch);
    if (pixels == 3) {
      run_strips(p, call->scratch, 3, w, &scales, spare, out, channels);
    } else if (pixels == 2) {
      run_strips(p, call->scratch, 2, w, &scales, spare, out, channels);
    } else {
      run_strips(p, call->scratch, 1, w, &scales, spare, out, channels);
    }
  }
}

static void run_small(const jlt_call_t *call, jlt_span_t tile) {
  const jlt_conv_params_t *p = call->params;
  jlt_mve_spare_t spare;
  const jlt_mve_scales_t scales = jlt_mve_begin(call, 0, spare);
  const turn_t turn = turn_of(p);
  const uint32_t fit = (JLT_MVE_BYTES - (uint32_t)p->k_h * p->k_w) / ((uint32_t)p->stride_w * p->k_h) + 1u;
  const uint32_t most = fit < JLT_MVE_PIXELS ? fit : JLT_MVE_PIXELS;
  int8_t *out = (int8_t *)call->out + (size_t)tile.begin * p->out_c;
  uint32_t row = tile.begin / p->out_w;
  uint32_t x = tile.begin % p->out_w;
  for (uint32_t left = tile.end - tile.begin; left > 0; row++, x = 0) {
    block_t block = {
        .image = (const int8_t *)call->in[0] + (size_t)(row / p->out_h) * p->in_h * p->in_w * p->in_c,
        .y = (int32_t)(row % p->out_h * p->stride_h) - p->pad_top,
    };
    while (x < p->out_w && left > 0) {
      const uint32_t here = p->out_w - x < left ? p->out_w - x : left;
      const uint32_t pixels = here < most ? here : most;
      block.x = (int32_t)(x * p->stride_w) - p->pad_left;
      block.columns = (pixels - 1u) * p->stride_w + p->k_w;
      run_block(call, &turn, &block, pixels, scales, spare, out);
      x += pixels;
      left -= pixels;
      out += pixels * p->out_c;
    }
  }
}

// The taps of a window that lie inside the image.
typedef struct {
  const int8_t *x;
  const int8_t *w;
  uint32_t rows;
  uint32_t columns;
} inside_t;

static inside_t inside(const jlt_conv_params_t *p, const int8_t *image, const int8_t *w, uint32_t out_y, uint32_t out_x) {
  const int32_t y = (int32_t)(out_y * p->stride_h) - p->pad_top;
  const int32_t x = (int32_t)(out_x * p->stride_w) - p->pad_left;
  const jlt_inside_t rows = jlt_inside(y, p->k_h, p->in_h);
  const jlt_inside_t columns = jlt_inside(x, p->k_w, p->in_w);
  return (inside_t){
      .x = image + ((size_t)rows.from * p->in_w + columns.from) * p->in_c,
      .w = w + (size_t)(rows.before * p->k_w + columns.before) * jlt_mve_rows(p),
      .rows = rows.count,
      .columns = columns.count,
  };
}

static JLT_ALWAYS_INLINE int32x4_t sum_window(const jlt_conv_params_t *p, const inside_t *in, uint32_t c, mve_pred16_t there) {
  const uint32_t rows = jlt_mve_rows(p);
  const int8_t *x_row = in->x + c;
  const int8_t *w_row = in->w + c;
  int32x4_t sum = vdupq_n_s32(0);
  for (uint32_t ky = 0; ky < in->rows; ky++, x_row += p->in_w * p->in_c, w_row += p->k_w * rows) {
    const int8_t *x = x_row;
    const int8_t *w = w_row;
    for (uint32_t kx = 0; kx < in->columns; kx++, x += p->in_c, w += rows) {
      const int32x4_t value = vsubq_n_s32(vldrbq_z_s32(x, there), p->in_zero_point);
      sum = vaddq_s32(sum, vmulq_s32(value, vldrbq_s32(w)));
    }
  }
  return sum;
}

static void run_large(const jlt_call_t *call, jlt_span_t tile) {
  const jlt_conv_params_t *p = call->params;
  const int8_t *w = (const int8_t *)call->weights.packed + 4u * jlt_mve_rows(p);
  jlt_mve_spare_t spare;
  const jlt_mve_scales_t begin = jlt_mve_begin(call, 0, spare);
  int8_t *out = (int8_t *)call->out + (size_t)tile.begin * p->out_c;
  for (uint32_t pixel = tile.begin; pixel < tile.end; pixel++) {
    const uint32_t row = pixel / p->out_w;
    const int8_t *image = (const int8_t *)call->in[0] + (size_t)(row / p->out_h) * p->in_h * p->in_w * p->in_c;
    const inside_t in = inside(p, image, w, row % p->out_h, pixel % p->out_w);
    jlt_mve_scales_t scales = begin;
    for (uint32_t c = 0; c < p->out_c; c += JLT_MVE_LANES, out += JLT_MVE_LANES) {
      const uint32_t count = p->out_c - c < JLT_MVE_LANES ? p->out_c - c : JLT_MVE_LANES;
      if (count < JLT_MVE_LANES) {
        jlt_mve_begin_last(&scales, count, spare);
      }
      const int32x4_t sum = sum_window(p, &in, c, vctp32q(count));
      const jlt_mve_scale_t scale = jlt_mve_next(&scales, 0);
      vstrbq_p_s32(out, jlt_mve_output(sum, &scale, p, false), vctp32q(count));
      out -= JLT_MVE_LANES - count;
    }
  }
}

void jlt_dwconv_s8__mve(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_PIXELS, p->n * p->out_h * p->out_w);
  if (jlt_mve_is_small(p)) {
    run_small(call, tile);
  } else {
    run_large(call, tile);
  }
}

#endif
