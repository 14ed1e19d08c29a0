// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution for Helium. Layout of weights: layout.h.
//
// Windows of at most sixteen taps: of sixteen channels at a time, the columns that three outputs read are turned into a strip of sixteen
// bytes a channel, column after column; an output's window lies together there, so that one instruction makes its sum, as weights of 0
// meet what is behind it. Σ q(x − zero_point_x) = Σ qx − zero_point_x Σ q, padding x = zero_point_x.
// Larger windows: four channels at a time, one output after the other; borders are left out.
#include "kernels/variants.h"

#if defined(JLT_WITH_MVE) && defined(__ARM_FEATURE_MVE)
#include "kernels/mve/layout.h"
#include "kernels/mve/scale.h"

// How a vector of the input goes into strips: `together` columns of few channels, or part of one of many.
typedef struct {
  uint8x16_t offsets;
  uint32_t together;
} turn_t;

// The columns of the input that a few outputs read, and the part of them that lies in it.
typedef struct {
  const int8_t *image;
  uint32_t columns;
  jlt_inside_t x;
  jlt_inside_t y;
  uint32_t whole;  // columns.count = whole · together + rest
  uint32_t rest;
} block_t;

static turn_t turn_of(const jlt_conv_params_t *p) {
  const uint32_t together = p->in_c <= JLT_MVE_BYTES ? JLT_MVE_BYTES / p->in_c : 1u;
  const uint32_t channels = together > 1 ? p->in_c : JLT_MVE_BYTES;
  uint8_t offsets[JLT_MVE_BYTES] = {0};
  for (uint32_t i = 0; i < together * channels; i++) {
    offsets[i] = (uint8_t)(i % channels * JLT_MVE_BYTES + i / channels * p->k_h);
  }
  return (turn_t){.offsets = vldrbq_u8(offsets), .together = together};
}

// A byte into every strip, `count` times.
static JLT_ALWAYS_INLINE void turn_byte(int32_t value, uint8x16_t offsets, int8_t *to, uint32_t step, uint32_t count) {
  __asm__ volatile(
      "vdup.8 q0, %[value]\n\t"
      "wls lr, %[count], 2f\n"
      "1:\n\t"
      "vstrb.8 q0, [%[to], %q[offsets]]\n\t"
      "add %[to], %[to], %[step]\n\t"
      "le lr, 1b\n"
      "2:"
      : [to] "+r"(to)
      : [value] "r"(value), [offsets] "w"(offsets), [step] "r"(step), [count] "r"(count)
      : "lr", "q0", "memory");
}

// `count` vectors of a row, each of `lanes` bytes.
static JLT_ALWAYS_INLINE void turn_row(const int8_t *x, uint32_t x_step, uint8x16_t offsets, int8_t *to, uint32_t step, uint32_t count,
                                       uint32_t lanes) {
  __asm__ volatile(
      "wls lr, %[count], 2f\n"
      "1:\n\t"
      "vpstt\n\t"
      "vldrbt.u8 q0, [%[x]]\n\t"
      "vstrbt.8 q0, [%[to], %q[offsets]]\n\t"
      "add %[x], %[x], %[x_step]\n\t"
      "add %[to], %[to], %[step]\n\t"
      "le lr, 1b\n"
      "2:"
      : [x] "+r"(x), [to] "+r"(to)
      : [x_step] "r"(x_step), [offsets] "w"(offsets), [step] "r"(step), [count] "r"(count), [there] "Up"(vctp8q(lanes))
      : "lr", "q0", "memory");
}

// The same of three rows, `row` apart.
static JLT_ALWAYS_INLINE void turn_three(const int8_t *x, uint32_t row, uint32_t x_step, uint8x16_t offsets, int8_t *to, uint32_t step,
                                         uint32_t count, uint32_t lanes) {
  const int8_t *y = x + row;
  const int8_t *z = y + row;
  const uint8x16_t second = vaddq_n_u8(offsets, 1);
  const uint8x16_t third = vaddq_n_u8(offsets, 2);
  __asm__ volatile(
      "wls lr, %[count], 2f\n"
      "1:\n\t"
      "vpsttt\n\t"
      "vldrbt.u8 q0, [%[x]]\n\t"
      "vldrbt.u8 q1, [%[y]]\n\t"
      "vldrbt.u8 q2, [%[z]]\n\t"
      "vpsttt\n\t"
      "vstrbt.8 q0, [%[to], %q[first]]\n\t"
      "vstrbt.8 q1, [%[to], %q[second]]\n\t"
      "vstrbt.8 q2, [%[to], %q[third]]\n\t"
      "add %[x], %[x], %[x_step]\n\t"
      "add %[y], %[y], %[x_step]\n\t"
      "add %[z], %[z], %[x_step]\n\t"
      "add %[to], %[to], %[step]\n\t"
      "le lr, 1b\n"
      "2:"
      : [x] "+r"(x), [y] "+r"(y), [z] "+r"(z), [to] "+r"(to)
      : [x_step] "r"(x_step), [first] "w"(offsets), [second] "w"(second), [third] "w"(third), [step] "r"(step), [count] "r"(count),
        [there] "Up"(vctp8q(lanes))
      : "lr", "q0", "q1", "q2", "memory");
}

// The zero point where a block has no input.
static void turn_border(const jlt_conv_params_t *p, const turn_t *turn, const block_t *block, int8_t *strips) {
  const uint32_t k_h = p->k_h;
  const uint32_t end = block->x.before + block->x.count;
  turn_byte(p->in_zero_point, turn->offsets, strips, 1, block->x.before * k_h);
  turn_byte(p->in_zero_point, turn->offsets, strips + end * k_h, 1, (block->columns - end) * k_h);
  for (uint32_t ky = 0; ky < k_h; ky++) {
    if (ky - block->y.before >= block->y.count) {
      turn_byte(p->in_zero_point, turn->offsets, strips + ky, k_h, block->columns);
    }
  }
}

static void turn_block(const jlt_conv_params_t *p, const turn_t *turn, const block_t *block, uint32_t first, uint32_t channels,
                       int8_t *strips) {
  const uint32_t k_h = p->k_h;
  if (block->x.count < block->columns || block->y.count < k_h) {
    turn_border(p, turn, block, strips);
  }
  const uint32_t row = p->in_w * p->in_c;
  const uint32_t x_step = turn->together * p->in_c;
  const uint32_t step = turn->together * k_h;
  const uint32_t lanes = turn->together * channels;
  const int8_t *x = block->image + block->y.from * row + block->x.from * p->in_c + first;
  int8_t *to = strips + block->x.before * k_h + block->y.before;
  if (block->y.count == 3) {
    turn_three(x, row, x_step, turn->offsets, to, step, block->whole, lanes);
    if (block->rest > 0) {
      turn_three(x + block->whole * x_step, row, x_step, turn->offsets, to + block->whole * step, step, 1, block->rest * channels);
    }
    return;
  }
  for (uint32_t ky = block->y.count; ky > 0; ky--, x += row, to++) {
    turn_row(x, x_step, turn->offsets, to, step, block->whole, lanes);
    turn_row(x + block->whole * x_step, x_step, turn->offsets, to + block->whole * step, step, 1, block->rest * channels);
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

// A group with up to three pixels, backwards.
static JLT_ALWAYS_INLINE void run_group(const int8_t *strips, uint32_t pixels, uint32_t step, const int8_t *w, const int32_t *scales,
                                        jlt_mve_bounds_t bounds, bool is_simple, int8_t *out, uint32_t out_c, uint32_t channels) {
  const int8x16_t rows[] = {vldrbq_s8(w), vldrbq_s8(w + 16), vldrbq_s8(w + 32), vldrbq_s8(w + 48)};
  const int32x4_t first = sum_strips(strips, rows);
  const int32x4_t second = pixels > 1 ? sum_strips(strips + step, rows) : first;
  const int32x4_t third = pixels > 2 ? sum_strips(strips + 2u * step, rows) : first;
  const jlt_mve_scale_t scale = jlt_mve_read_scale(scales);
  jlt_mve_put(out, jlt_mve_biased(first, &scale, bounds, is_simple), channels);
  if (pixels > 1) {
    jlt_mve_put(out + out_c, jlt_mve_biased(second, &scale, bounds, is_simple), channels);
  }
  if (pixels > 2) {
    jlt_mve_put(out + 2u * out_c, jlt_mve_biased(third, &scale, bounds, is_simple), channels);
  }
}

// Up to sixteen channels with `pixels` outputs.
static JLT_ALWAYS_INLINE void run_strips(const jlt_conv_params_t *p, const int8_t *strips, uint32_t pixels, const int8_t *w,
                                         const int32_t *scales, bool is_simple, int8_t *out, uint32_t channels) {
  const jlt_mve_bounds_t bounds = jlt_mve_bounds(p->out_zero_point, p->act_min, p->act_max);
  const uint32_t step = (uint32_t)p->stride_w * p->k_h;
  const uint32_t out_c = p->out_c;
  for (; channels >= JLT_MVE_LANES; channels -= JLT_MVE_LANES) {
    run_group(strips, pixels, step, w, scales, bounds, is_simple, out, out_c, JLT_MVE_LANES);
    strips += JLT_MVE_LANES * JLT_MVE_BYTES;
    w += JLT_MVE_LANES * JLT_MVE_BYTES;
    scales += JLT_MVE_SCALE;
    out += JLT_MVE_LANES;
  }
  if (channels > 0) {
    run_group(strips, pixels, step, w, scales, bounds, is_simple, out, out_c, channels);
  }
}

static void run_block(const jlt_call_t *call, const turn_t *turn, const block_t *block, uint32_t pixels, bool is_simple,
                      int8_t *out) {
  const jlt_conv_params_t *p = call->params;
  const int8_t *w = (const int8_t *)call->weights.packed + 4u * jlt_mve_rows(p);
  const int32_t *scales = call->scratch;
  int8_t *strips = (int8_t *)call->scratch + jlt_mve_scales_bytes(p);
  for (uint32_t c = 0; c < p->in_c; c += 16, w += 16 * JLT_MVE_BYTES, scales += 4 * JLT_MVE_SCALE, out += 16) {
    const uint32_t channels = p->in_c - c < 16 ? p->in_c - c : 16;
    turn_block(p, turn, block, c, channels, strips);
    if (!is_simple) {
      for (uint32_t i = 0; i < pixels; i++) {
        run_strips(p, strips + i * p->stride_w * p->k_h, 1, w, scales, false, out + i * p->out_c, channels);
      }
    } else if (pixels == 3) {
      run_strips(p, strips, 3, w, scales, true, out, channels);
    } else if (pixels == 2) {
      run_strips(p, strips, 2, w, scales, true, out, channels);
    } else {
      run_strips(p, strips, 1, w, scales, true, out, channels);
    }
  }
}

static void run_small(const jlt_call_t *call, jlt_span_t tile) {
  const jlt_conv_params_t *p = call->params;
  const bool is_simple = jlt_mve_is_simple(call);
  const turn_t turn = turn_of(p);
  const uint32_t fit = (JLT_MVE_BYTES - (uint32_t)p->k_h * p->k_w) / ((uint32_t)p->stride_w * p->k_h) + 1u;
  const uint32_t most = fit < JLT_MVE_PIXELS ? fit : JLT_MVE_PIXELS;
  int8_t *out = (int8_t *)call->out + (size_t)tile.begin * p->out_c;
  uint32_t row = tile.begin / p->out_w;
  uint32_t x = tile.begin % p->out_w;
  jlt_mve_write_scales(call, p->in_zero_point, call->scratch);
  for (uint32_t left = tile.end - tile.begin; left > 0; row++, x = 0) {
    block_t block = {
        .image = (const int8_t *)call->in[0] + (size_t)(row / p->out_h) * p->in_h * p->in_w * p->in_c,
        .y = jlt_inside((int32_t)(row % p->out_h * p->stride_h) - p->pad_top, p->k_h, p->in_h),
    };
    while (x < p->out_w && left > 0) {
      const uint32_t here = p->out_w - x < left ? p->out_w - x : left;
      const uint32_t pixels = here < most ? here : most;
      block.columns = (pixels - 1u) * p->stride_w + p->k_w;
      block.x = jlt_inside((int32_t)(x * p->stride_w) - p->pad_left, block.columns, p->in_w);
      block.whole = block.x.count / turn.together;
      block.rest = block.x.count % turn.together;
      run_block(call, &turn, &block, pixels, is_simple, out);
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
  const jlt_mve_bounds_t bounds = jlt_mve_bounds(p->out_zero_point, p->act_min, p->act_max);
  int8_t *out = (int8_t *)call->out + (size_t)tile.begin * p->out_c;
  jlt_mve_write_scales(call, 0, call->scratch);  // the window's sums have no zero point any more
  for (uint32_t pixel = tile.begin; pixel < tile.end; pixel++, out += p->out_c) {
    const uint32_t row = pixel / p->out_w;
    const int8_t *image = (const int8_t *)call->in[0] + (size_t)(row / p->out_h) * p->in_h * p->in_w * p->in_c;
    const inside_t in = inside(p, image, w, row % p->out_h, pixel % p->out_w);
    const int32_t *scales = call->scratch;
    for (uint32_t c = 0; c < p->out_c; c += JLT_MVE_LANES, scales += JLT_MVE_SCALE) {
      const mve_pred16_t there = vctp32q(p->out_c - c);
      const jlt_mve_scale_t scale = jlt_mve_read_scale(scales);
      vstrbq_p_s32(out + c, jlt_mve_biased(sum_window(p, &in, c, there), &scale, bounds, false), there);
    }
  }
}

void jlt_dwconv_s8__mve(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_PIXELS, jlt_mve_pixels(p));
  if (jlt_mve_is_small(p)) {
    run_small(call, tile);
  } else {
    run_large(call, tile);
  }
}

#endif
