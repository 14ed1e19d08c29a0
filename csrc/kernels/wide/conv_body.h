// SPDX-License-Identifier: Apache-2.0
// Convolution and fully connected for SIMD lanes; a lanes.h before this says how sixteen channels are computed.
//
// The patches of a few pixels are gathered, padding as zero points; each block of channels meets all of them, and what it
// adds for weights and zero points lies in where its accumulators start. Every patch of a tile is read before any of
// the tile's output is written. Layouts: kernels/wide/layout.h.
#ifndef JLT_KERNELS_WIDE_CONV_BODY_H
#define JLT_KERNELS_WIDE_CONV_BODY_H

typedef struct {
  const jlt_conv_params_t *params;
  const jlt_weights_t *weights;
  const int8_t *in;
  int8_t *out;
  uint8_t *rows;  // patches
  jlt_finish_t *finish;  // one a block from first_block on
  size_t row_bytes;
  size_t block_bytes;
  uint32_t patch;        // elements
  uint32_t steps;        // of a block
  uint32_t first_block;
  uint32_t end_block;
  bool is_4;
} jlt_wide_conv_t;

typedef void (*jlt_take_t)(uint8_t *to, const int8_t *from, uint32_t n);
typedef void (*jlt_repeat_t)(uint8_t *to, int32_t value, uint32_t n);

static JLT_ALWAYS_INLINE void jlt_take_bytes(uint8_t *to, const int8_t *from, uint32_t n) {
  uint32_t i = 0;
  for (; i + 16u <= n; i += 16u) {
    memcpy(to + i, from + i, 16);
  }
  if (n >= 16u) {
    memcpy(to + n - 16u, from + n - 16u, 16);
  } else if (n >= 8u) {
    memcpy(to, from, 8);
    memcpy(to + n - 8u, from + n - 8u, 8);
  } else if (n >= 4u) {
    memcpy(to, from, 4);
    memcpy(to + n - 4u, from + n - 4u, 4);
  } else {
    for (; i < n; i++) {
      to[i] = (uint8_t)from[i];
    }
  }
}

static JLT_ALWAYS_INLINE void jlt_repeat_bytes(uint8_t *to, int32_t value, uint32_t n) { memset(to, value, n); }

// One patch; `each` is the bytes of an element.
static JLT_ALWAYS_INLINE void gather(const jlt_conv_params_t *p, const int8_t *image, int32_t y0, int32_t x0, uint8_t *to,
                                     uint32_t each, jlt_take_t take, jlt_repeat_t repeat) {
  const uint32_t c = p->in_c, row_elements = p->k_w * c;
  const int32_t k_w = p->k_w;
  const int32_t first = x0 < 0 ? (-x0 < k_w ? -x0 : k_w) : 0;
  const int32_t room = (int32_t)p->in_w - x0;
  const int32_t end = room < k_w ? (room > first ? room : first) : k_w;
  for (int32_t y = y0; y < y0 + p->k_h; y++, to += row_elements * each) {
    if (y < 0 || y >= (int32_t)p->in_h || end <= first) {
      repeat(to, p->in_zero_point, row_elements);
      continue;
    }
    if (first > 0) {
      repeat(to, p->in_zero_point, (uint32_t)first * c);
    }
    take(to + (uint32_t)first * c * each, image + ((size_t)y * p->in_w + (size_t)(x0 + first)) * c, (uint32_t)(end - first) * c);
    if (end < k_w) {
      repeat(to + (uint32_t)end * c * each, p->in_zero_point, (uint32_t)(k_w - end) * c);
    }
  }
}

static JLT_ALWAYS_INLINE void gather_pixels(const jlt_wide_conv_t *t, uint32_t first, uint32_t count, uint32_t each,
                                            jlt_take_t take, jlt_repeat_t repeat) {
  const jlt_conv_params_t *p = t->params;
  uint32_t x = first % p->out_w;
  uint32_t y = first / p->out_w % p->out_h;
  const int8_t *image = t->in + (size_t)(first / p->out_w / p->out_h) * p->in_h * p->in_w * p->in_c;
  for (uint32_t i = 0; i < count; i++) {
    const int32_t y0 = (int32_t)(y * p->stride_h) - p->pad_top;
    const int32_t x0 = (int32_t)(x * p->stride_w) - p->pad_left;
    gather(p, image, y0, x0, t->rows + i * t->row_bytes, each, take, repeat);
    if (++x == p->out_w) {
      x = 0;
      if (++y == p->out_h) {
        y = 0;
        image += (size_t)p->in_h * p->in_w * p->in_c;
      }
    }
  }
}

// Patches that are pixels lie side by side.
static bool is_pointwise(const jlt_conv_params_t *p) {
  return p->k_h == 1 && p->k_w == 1 && p->stride_h == 1 && p->stride_w == 1 && p->in_h == p->out_h && p->in_w == p->out_w;
}

static JLT_ALWAYS_INLINE void gather_tile(const jlt_wide_conv_t *t, uint32_t first, uint32_t count, uint32_t each,
                                          jlt_take_t take, jlt_repeat_t repeat) {
  if (!is_pointwise(t->params)) {
    gather_pixels(t, first, count, each, take, repeat);
    return;
  }
  for (uint32_t i = 0; i < count; i++) {
    take(t->rows + i * t->row_bytes, t->in + (size_t)(first + i) * t->patch, t->patch);
  }
}

// acc[pixel][block] over whole patches at 8 bits.
static JLT_ALWAYS_INLINE void tile_8(const jlt_wide_conv_t *t, const uint8_t *w, const uint32_t pixels, const uint32_t blocks,
                                     jlt_sums_t (*acc)[4]) {
  jlt_sums_t sums[JLT_WIDE_PIXELS][4];
  const uint8_t *x = t->rows;
#pragma GCC unroll 8
  for (uint32_t i = 0; i < pixels; i++) {
#pragma GCC unroll 4
    for (uint32_t b = 0; b < blocks; b++) {
      sums[i][b] = jlt_no_sums();
    }
  }
  for (uint32_t s = 0; s < t->steps; s++) {
    jlt_factors_t factors[4];
#pragma GCC unroll 4
    for (uint32_t b = 0; b < blocks; b++) {
      factors[b] = jlt_factors_8(w + b * t->block_bytes);
    }
#pragma GCC unroll 8
    for (uint32_t i = 0; i < pixels; i++) {
#pragma GCC unroll 4
      for (uint32_t b = 0; b < blocks; b++) {
        sums[i][b] = jlt_add_products_8(sums[i][b], factors[b], x + i * t->row_bytes);
      }
    }
    w += JLT_K_8 * JLT_WIDE_CHANNELS;
    x += JLT_K_8 * JLT_ELEMENT_BYTES_8;
  }
#pragma GCC unroll 8
  for (uint32_t i = 0; i < pixels; i++) {
#pragma GCC unroll 4
    for (uint32_t b = 0; b < blocks; b++) {
      acc[i][b] = sums[i][b];
    }
  }
}

// Eight products a step at 4 bits, widened every JLT_GROUPS_4.
static JLT_ALWAYS_INLINE void tile_4(const jlt_wide_conv_t *t, const uint8_t *w, const uint32_t pixels, const uint32_t blocks,
                                     jlt_sums_t (*acc)[4]) {
  const uint8_t *x = t->rows;
  for (uint32_t i = 0; i < pixels; i++) {
    for (uint32_t b = 0; b < blocks; b++) {
      acc[i][b] = jlt_no_sums();
    }
  }
  for (uint32_t left = t->steps; left > 0;) {
    jlt_sums_t part[JLT_WIDE_PIXELS][4];
    const uint32_t now = left < JLT_GROUPS_4 ? left : JLT_GROUPS_4;
#pragma GCC unroll 8
    for (uint32_t i = 0; i < pixels; i++) {
#pragma GCC unroll 4
      for (uint32_t b = 0; b < blocks; b++) {
        part[i][b] = jlt_no_sums();
      }
    }
    for (uint32_t s = 0; s < now; s++) {
#pragma GCC unroll 4
      for (uint32_t b = 0; b < blocks; b++) {
        const jlt_factors_4_t factors = jlt_factors_4(w + b * t->block_bytes);
#pragma GCC unroll 8
        for (uint32_t i = 0; i < pixels; i++) {
          part[i][b] = jlt_add_products_4(part[i][b], factors, x + i * t->row_bytes);
        }
      }
      w += 64;
      x += 8;
    }
#pragma GCC unroll 8
    for (uint32_t i = 0; i < pixels; i++) {
#pragma GCC unroll 4
      for (uint32_t b = 0; b < blocks; b++) {
        acc[i][b] = jlt_widen_4(acc[i][b], part[i][b]);
      }
    }
    left -= now;
  }
}

// −120 · Σ (x − zero point) of one patch: what u stands for beside 16u.
static JLT_ALWAYS_INLINE int32_t offset_4(const jlt_wide_conv_t *t, uint32_t pixel) {
  const int8_t *x = (const int8_t *)t->rows + pixel * t->row_bytes;
  int32_t sum = 0;
  for (uint32_t i = 0; i < t->patch; i++) {
    sum += x[i];
  }
  return -120 * (sum - (int32_t)t->patch * t->params->in_zero_point);
}

// Where accumulators start and how they end, for one block.
static void prepare_block(const jlt_wide_conv_t *t, uint32_t block, jlt_finish_t *f) {
  const jlt_weights_t *w = t->weights;
  const jlt_conv_params_t *p = t->params;
  const uint32_t first = block * JLT_WIDE_CHANNELS;
  int32_t sums[JLT_WIDE_CHANNELS];
  memcpy(sums, (const uint8_t *)w->packed + block * t->block_bytes, sizeof(sums));
  // wraps where the sum of what it cancels does
  const uint32_t each = t->is_4 ? 16u * (uint32_t)p->in_zero_point : (uint32_t)p->in_zero_point + JLT_OFFSET_8;
  f->any_left = 0;
  for (uint32_t i = 0; i < JLT_WIDE_CHANNELS; i++) {
    const uint32_t channel = first + i < p->out_c ? first + i : p->out_c - 1u;
    const uint32_t m = w->record->n_multipliers > 1 ? channel : 0;
    jlt_prepare(f, i, (int32_t)((uint32_t)w->bias[channel] - each * (uint32_t)sums[i]), w->multipliers[m], w->shifts[m]);
  }
}

static JLT_ALWAYS_INLINE void run_blocks(const jlt_wide_conv_t *t, uint32_t block, const uint32_t blocks, const uint32_t pixels,
                                         uint32_t count, const int32_t *offsets, const jlt_output_t *o, int8_t *out) {
  jlt_sums_t acc[JLT_WIDE_PIXELS][4];
  const uint8_t *w = (const uint8_t *)t->weights->packed + block * t->block_bytes + JLT_WIDE_HEAD_BYTES;
  const uint32_t out_c = t->params->out_c;
  if (t->is_4) {
    tile_4(t, w, pixels, blocks, acc);
  } else {
    tile_8(t, w, pixels, blocks, acc);
  }
  for (uint32_t b = 0; b < blocks; b++) {
    const uint32_t channel = (block + b) * JLT_WIDE_CHANNELS;
    const jlt_finish_t *f = &t->finish[block + b - t->first_block];
    for (uint32_t i = 0; i < count; i++) {
      const jlt_sums_t sums = t->is_4 ? jlt_scale_sums_4(acc[i][b], offsets[i]) : acc[i][b];
      jlt_finish_sums(sums, f, o, out + (size_t)i * out_c + channel, out_c - channel);
    }
  }
}

static void run_tile(const jlt_wide_conv_t *t, uint32_t first, uint32_t count, const jlt_output_t *o) {
  int32_t offsets[JLT_WIDE_PIXELS] = {0};
  int8_t *out = t->out + (size_t)first * t->params->out_c;
  uint32_t block = t->first_block;
  if (t->is_4) {
    gather_tile(t, first, count, 1, jlt_take_bytes, jlt_repeat_bytes);
    for (uint32_t i = 0; i < count; i++) {
      offsets[i] = offset_4(t, i);
    }
  } else {
    gather_tile(t, first, count, JLT_ELEMENT_BYTES_8, jlt_take_8, jlt_repeat_8);
  }
  if (count == 1) {
    for (; block + 4u <= t->end_block; block += 4u) {
      run_blocks(t, block, 4, 1, 1, offsets, o, out);
    }
    for (; block < t->end_block; block++) {
      run_blocks(t, block, 1, 1, 1, offsets, o, out);
    }
    return;
  }
  for (; block + JLT_TILE_BLOCKS <= t->end_block; block += JLT_TILE_BLOCKS) {
    run_blocks(t, block, JLT_TILE_BLOCKS, JLT_TILE_PIXELS, count, offsets, o, out);
  }
  for (; block < t->end_block; block++) {
    run_blocks(t, block, 1, JLT_TILE_PIXELS, count, offsets, o, out);
  }
}

static JLT_ALWAYS_INLINE void jlt_wide_conv(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const uint32_t pixels = p->n * p->out_h * p->out_w;
  const bool one = pixels == 1;
  const jlt_span_t span = one ? (jlt_span_t){.end = 1} : jlt_tile(call, JLT_UNIT_PIXELS, pixels);
  jlt_wide_conv_t t = {
      .params = p,
      .weights = &call->weights,
      .in = call->in[0],
      .out = call->out,
      .rows = call->scratch,
      .row_bytes = jlt_wide_row_bytes(p),
      .patch = (uint32_t)jlt_wide_patch(p),
      .end_block = (uint32_t)jlt_wide_blocks(p),
      .is_4 = call->weights.high && !call->weights.low,
  };
  t.finish = (jlt_finish_t *)(void *)(t.rows + JLT_WIDE_PIXELS * t.row_bytes);
  t.block_bytes = jlt_wide_conv_block_bytes(p, t.is_4 ? 4 : 8);
  t.steps = (uint32_t)(t.is_4 ? jlt_align_up(t.patch, 8) / 8u : jlt_align_up(t.patch, JLT_K_8) / JLT_K_8);
  if (one) {  // a unit is a block
    t.first_block = call->begin;
    t.end_block = call->end < t.end_block ? call->end : t.end_block;
  }
  for (uint32_t block = t.first_block; block < t.end_block; block++) {
    prepare_block(&t, block, &t.finish[block - t.first_block]);
  }
  // what lies beyond a patch meets zero weights only; any fixed value does
  for (uint32_t i = 0; i < JLT_WIDE_PIXELS; i++) {
    const size_t used = t.patch * (t.is_4 ? 1u : (size_t)JLT_ELEMENT_BYTES_8);
    memset(t.rows + i * t.row_bytes + used, 0, t.row_bytes - used < 16u ? t.row_bytes - used : 16u);
  }
  const jlt_output_t o = jlt_output(p->out_zero_point, p->act_min, p->act_max);
  for (uint32_t first = span.begin; first < span.end; first += JLT_TILE_PIXELS) {
    const uint32_t count = span.end - first < JLT_TILE_PIXELS ? span.end - first : JLT_TILE_PIXELS;
    run_tile(&t, first, count, &o);
  }
}

#endif
