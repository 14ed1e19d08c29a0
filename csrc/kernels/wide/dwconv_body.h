// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution for SIMD lanes; a lanes.h before this says how sixteen channels are computed.
//
// Pixel by pixel, and in it block by block: the taps' bytes are widened and two taps at a time multiplied. Taps in the padding
// read a pixel of zero points. Layouts: kernels/wide/layout.h.
#ifndef JLT_KERNELS_WIDE_DWCONV_BODY_H
#define JLT_KERNELS_WIDE_DWCONV_BODY_H

typedef struct {
  const jlt_conv_params_t *params;
  const jlt_weights_t *weights;
  const int8_t *in_end;
  int8_t *zeros;  // k_w pixels and 16 bytes more
  int32_t *starts;  // sixteen a block
  jlt_ends_t ends;
  size_t block_bytes;
  uint32_t blocks;
} jlt_wide_dwconv_t;

// All channels of one pixel, or of two neighbours of eight channels each; no tap lies behind `last`.
static JLT_ALWAYS_INLINE void run_pixel(const jlt_wide_dwconv_t *t, const int8_t *const *x, const uint32_t taps,
                                        const int8_t *last, const uint32_t pixels, int8_t *out) {
  const uint32_t c = t->params->out_c * pixels;
  const uint8_t *w = (const uint8_t *)t->weights->packed + JLT_WIDE_HEAD_BYTES;
  for (uint32_t block = 0, at = 0; block < t->blocks; block++, at += JLT_WIDE_CHANNELS, w += t->block_bytes) {
    jlt_sums_t sums = jlt_no_sums();
    const uint32_t n = c - at < JLT_WIDE_CHANNELS ? c - at : JLT_WIDE_CHANNELS;
    if (n == JLT_WIDE_CHANNELS || t->in_end - last >= (ptrdiff_t)(at + JLT_WIDE_CHANNELS)) {  // more is read than meant
      JLT_UNROLL
      for (uint32_t k = 0; k < taps; k += 2u) {
        const jlt_tap_t second = k + 1u < taps ? jlt_tap(x[k + 1u] + at, JLT_WIDE_CHANNELS) : jlt_no_tap();
        sums = jlt_add_taps(sums, jlt_tap(x[k] + at, JLT_WIDE_CHANNELS), second, w + 32u * k);
      }
    } else {
      for (uint32_t k = 0; k < taps; k += 2u) {
        const jlt_tap_t second = k + 1u < taps ? jlt_tap(x[k + 1u] + at, n) : jlt_no_tap();
        sums = jlt_add_taps(sums, jlt_tap(x[k] + at, n), second, w + 32u * k);
      }
    }
    sums = jlt_add_sums(jlt_taps_in_order(sums), jlt_sums_at(t->starts + at), false);
    const jlt_finish_t *finish = &t->ends.records[block * t->ends.step];
    const jlt_bytes_t bytes = t->ends.is_plain ? jlt_finished_by(sums, finish, &t->ends.output, true)
                                               : jlt_finished_by(sums, finish, &t->ends.output, false);
    jlt_store_bytes(out + at, bytes, n);
  }
}

// One pixel with taps beyond the left or right border.
static void run_edge(const jlt_wide_dwconv_t *t, const int8_t *const *rows, int32_t x0, int8_t *out) {
  const jlt_conv_params_t *p = t->params;
  const int8_t *x[JLT_WIDE_MOST_TAPS];
  const int8_t *last = NULL;
  uint32_t k = 0;
  for (uint32_t ky = 0; ky < p->k_h; ky++) {
    for (int32_t at = x0; at < x0 + p->k_w; at++, k++) {
      const bool inside = rows[ky] && at >= 0 && at < (int32_t)p->in_w;
      x[k] = inside ? rows[ky] + (size_t)at * p->in_c : t->zeros;
      last = inside ? x[k] : last;
    }
  }
  run_pixel(t, x, k, last ? last : t->in_end - p->in_c, 1, out);
}

// Pixels [x, end) whose windows lie inside, `pixels` at a time.
static JLT_ALWAYS_INLINE void run_inside(const jlt_wide_dwconv_t *t, const int8_t *const *rows, uint32_t x, uint32_t end,
                                         const uint32_t k_h, const uint32_t k_w, const uint32_t pixels, int8_t *out) {
  const jlt_conv_params_t *p = t->params;
  const uint32_t c = p->in_c;
  const size_t left = (size_t)(x * p->stride_w - p->pad_left) * c;
  const size_t step = (size_t)pixels * p->stride_w * c;
  const int8_t *at[JLT_WIDE_MOST_TAPS];
  size_t steps[JLT_WIDE_MOST_TAPS];
  const int8_t *last = NULL;
  for (uint32_t ky = 0; ky < k_h; ky++) {
    at[ky] = rows[ky] ? rows[ky] + left : t->zeros;
    steps[ky] = rows[ky] ? step : 0u;
    last = rows[ky] ? at[ky] + (size_t)(k_w - 1u) * c : last;
  }
  const size_t last_step = last ? step : 0u;  // a window wholly in the padding reads no row
  last = last ? last : t->in_end - c;
  for (; x < end; x += pixels, out += pixels * c, last += last_step) {
    const int8_t *taps[JLT_WIDE_MOST_TAPS];
    JLT_UNROLL
    for (uint32_t ky = 0; ky < k_h; ky++) {
      JLT_UNROLL
      for (uint32_t kx = 0; kx < k_w; kx++) {
        taps[ky * k_w + kx] = at[ky] + (size_t)kx * c;
      }
      at[ky] += steps[ky];
    }
    run_pixel(t, taps, k_h * k_w, last, pixels, out);
  }
}

// Pixels [x, end) of one row of the output.
static void run_row(const jlt_wide_dwconv_t *t, const int8_t *image, uint32_t y, uint32_t x, uint32_t end, int8_t *out) {
  const jlt_conv_params_t *p = t->params;
  const int8_t *rows[JLT_WIDE_MOST_TAPS];
  const uint32_t c = p->in_c;
  for (uint32_t ky = 0; ky < p->k_h; ky++) {
    const int32_t at = (int32_t)(y * p->stride_h + ky) - p->pad_top;
    rows[ky] = at >= 0 && at < (int32_t)p->in_h ? image + (size_t)at * p->in_w * c : NULL;
  }
  // columns whose windows lie inside
  const int32_t room = (int32_t)p->in_w + p->pad_left - p->k_w;
  const uint32_t first = ((uint32_t)p->pad_left + p->stride_w - 1u) / p->stride_w;
  const uint32_t inside = room < 0 ? 0u : (uint32_t)room / p->stride_w + 1u;
  for (; x < end && x < first; x++, out += c) {
    run_edge(t, rows, (int32_t)(x * p->stride_w) - p->pad_left, out);
  }
  const uint32_t stop = inside < end ? inside : end;
  if (x < stop) {
    const bool is_3x3 = p->k_h == 3 && p->k_w == 3;
    if (is_3x3 && c == 8 && p->stride_w == 1) {
      const uint32_t two = (stop - x) & ~1u;
      run_inside(t, rows, x, x + two, 3, 3, 2, out);
      out += (size_t)two * c;
      x += two;
    }
    if (is_3x3) {
      run_inside(t, rows, x, stop, 3, 3, 1, out);
    } else {
      run_inside(t, rows, x, stop, p->k_h, p->k_w, 1, out);
    }
    out += (size_t)(stop - x) * c;
    x = stop;
  }
  for (; x < end; x++, out += c) {
    run_edge(t, rows, (int32_t)(x * p->stride_w) - p->pad_left, out);
  }
}

static JLT_ALWAYS_INLINE void jlt_wide_dwconv(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const size_t image_bytes = (size_t)p->in_h * p->in_w * p->in_c;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_PIXELS, p->n * p->out_h * p->out_w);
  jlt_wide_dwconv_t t = {
      .params = p,
      .weights = &call->weights,
      .in_end = (const int8_t *)call->in[0] + p->n * image_bytes,
      .zeros = call->scratch,
      .block_bytes = jlt_wide_dwconv_block_bytes(p),
      .blocks = (uint32_t)jlt_wide_blocks(p),
  };
  const size_t zeros_bytes = jlt_wide_zeros_bytes(p);
  t.starts = (int32_t *)(void *)((uint8_t *)call->scratch + zeros_bytes);
  t.ends = jlt_prepare_ends(&call->weights, p, 0, t.blocks, (void *)(t.starts + t.blocks * JLT_WIDE_CHANNELS));
  memset(t.zeros, p->in_zero_point, zeros_bytes);
  for (uint32_t block = 0; block < t.blocks; block++) {
    const uint8_t *head = (const uint8_t *)call->weights.packed + block * t.block_bytes;
    jlt_store_sums(t.starts + block * JLT_WIDE_CHANNELS,
                   jlt_start_of(&call->weights, p->out_c, block, head, (uint32_t)p->in_zero_point));
  }
  int8_t *out = (int8_t *)call->out + (size_t)tile.begin * p->out_c;
  uint32_t left = tile.end - tile.begin;
  uint32_t x = tile.begin % p->out_w;
  for (uint32_t row = tile.begin / p->out_w; left > 0; row++, x = 0) {
    const int8_t *image = (const int8_t *)call->in[0] + (row / p->out_h) * image_bytes;
    const uint32_t count = p->out_w - x < left ? p->out_w - x : left;
    run_row(&t, image, row % p->out_h, x, x + count, out);
    out += (size_t)count * p->out_c;
    left -= count;
  }
}

#endif
