// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution with NEON; before this stands how columns of a window are kept, multiplied and added up.
//
// A run of a row's pixels meets block by block of channels. Windows of 3 x 3 keep their columns for the next pixels. Columns and rows
// in the padding are zero points; what zero points add lies in where the sums start. Layout: dwconv_layout.h.
#ifndef JLT_KERNELS_NEON_DWCONV_BODY_H
#define JLT_KERNELS_NEON_DWCONV_BODY_H

#include "kernels/neon/dwconv_layout.h"

typedef struct {
  const jlt_conv_params_t *params;
  const uint8_t *packed;
  int8_t *zeros;
  int32_t *starts;  // sixteen a block
  jlt_ends_t ends;
  size_t block_bytes;
  uint32_t blocks;
} jlt_neon_dwconv_t;

// A run: its rows of the input, null in the padding, and its pixels.
typedef struct {
  const int8_t *rows[JLT_WIDE_MOST_TAPS];
  int32_t x0;  // the first column that its first window sees
  uint32_t pixels;
  int8_t *out;
} jlt_run_t;

// One block's channels of a run.
typedef struct {
  const uint8_t *w;
  jlt_sums_t start;
  jlt_ready_t ready;
  jlt_output_t output;
  uint32_t first;     // channel
  uint32_t channels;  // that exist, 16 at most
} jlt_channels_t;

static JLT_ALWAYS_INLINE jlt_channels_t channels_of(const jlt_neon_dwconv_t *t, uint32_t block, const bool is_plain) {
  const uint32_t first = block * JLT_WIDE_CHANNELS, left = t->params->out_c - first;
  return (jlt_channels_t){
      .w = t->packed + block * t->block_bytes + JLT_WIDE_HEAD_BYTES,
      .start = jlt_sums_at(t->starts + first),
      .ready = jlt_ready(&t->ends.records[block * t->ends.step], is_plain),
      .output = t->ends.output,
      .first = first,
      .channels = left < JLT_WIDE_CHANNELS ? left : JLT_WIDE_CHANNELS,
  };
}

// The columns of a 3 x 3 window's three rows, one after another; `at` are the next one that lies inside.
typedef struct {
  const int8_t *at[3];
  int32_t x;
  uint32_t width;
  uint32_t step;
  uint32_t channels;
  const int8_t *zeros;
} jlt_columns_t;

static JLT_ALWAYS_INLINE jlt_columns_t columns_of(const jlt_neon_dwconv_t *t, const jlt_run_t *run, uint32_t channel,
                                                  uint32_t channels) {
  const uint32_t c = t->params->in_c;
  const size_t from = (size_t)(run->x0 > 0 ? run->x0 : 0) * c + channel;
  jlt_columns_t columns = {.x = run->x0, .width = t->params->in_w, .step = c, .channels = channels, .zeros = t->zeros};
  for (uint32_t i = 0; i < 3; i++) {
    columns.at[i] = run->rows[i] ? run->rows[i] + from : t->zeros;
  }
  return columns;
}

static JLT_ALWAYS_INLINE jlt_column_t next_column(jlt_columns_t *columns, const bool is_whole) {
  const uint32_t n = is_whole ? JLT_WIDE_CHANNELS : columns->channels;
  if ((uint32_t)columns->x++ >= columns->width) {
    const int8x16_t zero_points = vld1q_s8(columns->zeros);
    return jlt_column(zero_points, zero_points, zero_points, zero_points);
  }
  const int8x16_t a = load_part(columns->at[0], n), b = load_part(columns->at[1], n), c = load_part(columns->at[2], n);
  JLT_UNROLL
  for (uint32_t i = 0; i < 3; i++) {
    columns->at[i] += columns->step;
  }
  return jlt_column(a, b, c, c);  // the fourth meets zeros
}

// One pixel from its three columns.
static JLT_ALWAYS_INLINE void write_3x3(const jlt_channels_t *channels, const jlt_column_t *w, jlt_column_t a, jlt_column_t b,
                                        jlt_column_t c, int8_t *out, const bool is_plain, const bool is_whole) {
  jlt_sums_t sums = jlt_add_column(channels->start, w[0], a, 3);
  sums = jlt_add_column(jlt_add_column(sums, w[1], b, 3), w[2], c, 3);
  jlt_store_bytes(out, jlt_finished(sums, &channels->ready, &channels->output, is_plain),
                  is_whole ? JLT_WIDE_CHANNELS : channels->channels);
}

// A run with windows of 3 x 3 at stride 1 or 2. The columns change their places, not their registers.
static JLT_ALWAYS_INLINE void run_3x3(const jlt_neon_dwconv_t *t, const jlt_run_t *run, uint32_t block, const uint32_t stride,
                                      const bool is_plain, const bool is_whole) {
  const jlt_channels_t channels = channels_of(t, block, is_plain);
  const jlt_column_t w[3] = {jlt_column_weights(channels.w), jlt_column_weights(channels.w + JLT_NEON_GROUP_BYTES),
                             jlt_column_weights(channels.w + 2 * JLT_NEON_GROUP_BYTES)};
  jlt_columns_t columns = columns_of(t, run, channels.first, channels.channels);
  const size_t step = t->params->out_c;
  int8_t *out = run->out + channels.first;
  const int8_t *const end = out + run->pixels * step;
  jlt_column_t a = next_column(&columns, is_whole), b, c;
  if (stride == 1) {
    b = next_column(&columns, is_whole);
  }
  for (;;) {
    if (stride == 2) {
      b = next_column(&columns, is_whole);
    }
    c = next_column(&columns, is_whole);
    write_3x3(&channels, w, a, b, c, out, is_plain, is_whole);
    if ((out += step) == end) {
      break;
    }
    if (stride == 2) {
      b = next_column(&columns, is_whole);
      a = next_column(&columns, is_whole);
      write_3x3(&channels, w, c, b, a, out, is_plain, is_whole);
    } else {
      a = next_column(&columns, is_whole);
      write_3x3(&channels, w, b, c, a, out, is_plain, is_whole);
      if ((out += step) == end) {
        break;
      }
      b = next_column(&columns, is_whole);
      write_3x3(&channels, w, c, a, b, out, is_plain, is_whole);
    }
    if ((out += step) == end) {
      break;
    }
  }
}

static JLT_ALWAYS_INLINE void choose_3x3(const jlt_neon_dwconv_t *t, const jlt_run_t *run, uint32_t block, const bool is_plain,
                                         const bool is_whole) {
  if (t->params->stride_w == 1) {
    run_3x3(t, run, block, 1, is_plain, is_whole);
  } else {
    run_3x3(t, run, block, 2, is_plain, is_whole);
  }
}

// Four rows of any window's column x.
static JLT_ALWAYS_INLINE jlt_column_t column_at(const jlt_neon_dwconv_t *t, const jlt_run_t *run, uint32_t row, int32_t x,
                                                uint32_t channel, uint32_t n) {
  int8x16_t rows[4];
  for (uint32_t i = 0; i < 4; i++) {
    const int8_t *from = row + i < t->params->k_h && (uint32_t)x < t->params->in_w ? run->rows[row + i] : NULL;
    rows[i] = from ? load_part(from + (size_t)x * t->params->in_c + channel, n) : vld1q_s8(t->zeros);
  }
  return jlt_column(rows[0], rows[1], rows[2], rows[3]);
}

static void run_any(const jlt_neon_dwconv_t *t, const jlt_run_t *run, uint32_t block) {
  const jlt_conv_params_t *p = t->params;
  const jlt_channels_t channels = channels_of(t, block, false);
  int8_t *out = run->out + channels.first;
  for (uint32_t i = 0; i < run->pixels; i++, out += p->out_c) {
    const uint8_t *w = channels.w;
    jlt_sums_t sums = channels.start;
    for (uint32_t kx = 0; kx < p->k_w; kx++) {
      const int32_t x = run->x0 + (int32_t)(i * p->stride_w + kx);
      for (uint32_t row = 0; row < p->k_h; row += 4u, w += JLT_NEON_GROUP_BYTES) {
        const jlt_column_t column = column_at(t, run, row, x, channels.first, channels.channels);
        sums = jlt_add_column(sums, jlt_column_weights(w), column, 4);
      }
    }
    jlt_store_bytes(out, jlt_finished(sums, &channels.ready, &channels.output, false), channels.channels);
  }
}

static void run_block(const jlt_neon_dwconv_t *t, const jlt_run_t *run, uint32_t block) {
  const jlt_conv_params_t *p = t->params;
  const bool is_whole = p->out_c - block * JLT_WIDE_CHANNELS >= JLT_WIDE_CHANNELS;
  if (p->k_h != 3 || p->k_w != 3 || p->stride_w > 2) {
    run_any(t, run, block);
  } else if (t->ends.is_plain && is_whole) {
    choose_3x3(t, run, block, true, true);
  } else if (t->ends.is_plain) {
    choose_3x3(t, run, block, true, false);
  } else if (is_whole) {
    choose_3x3(t, run, block, false, true);
  } else {
    choose_3x3(t, run, block, false, false);
  }
}

// Pixels [x, end) of one row of the output.
static void run_row(const jlt_neon_dwconv_t *t, const int8_t *image, uint32_t y, uint32_t x, uint32_t end, int8_t *out) {
  const jlt_conv_params_t *p = t->params;
  jlt_run_t run = {.out = out};
  for (uint32_t ky = 0; ky < p->k_h; ky++) {
    const int32_t at = (int32_t)(y * p->stride_h + ky) - p->pad_top;
    run.rows[ky] = at >= 0 && at < (int32_t)p->in_h ? image + (size_t)at * p->in_w * p->in_c : NULL;
  }
  for (; x < end; x += run.pixels, run.out += (size_t)run.pixels * p->out_c) {
    run.pixels = end - x < JLT_NEON_RUN ? end - x : JLT_NEON_RUN;
    run.x0 = (int32_t)(x * p->stride_w) - p->pad_left;
    for (uint32_t block = 0; block < t->blocks; block++) {
      run_block(t, &run, block);
    }
  }
}

static JLT_ALWAYS_INLINE void jlt_neon_dwconv(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const size_t image_bytes = (size_t)p->in_h * p->in_w * p->in_c;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_PIXELS, p->n * p->out_h * p->out_w);
  jlt_neon_dwconv_t t = {
      .params = p,
      .packed = call->weights.packed,
      .zeros = call->scratch,
      .block_bytes = jlt_neon_dwconv_block_bytes(p),
      .blocks = (uint32_t)jlt_wide_blocks(p),
  };
  const size_t zeros_bytes = jlt_neon_zeros_bytes(p);
  t.starts = (int32_t *)(void *)((uint8_t *)call->scratch + zeros_bytes);
  memset(t.zeros, p->in_zero_point, zeros_bytes);
  for (uint32_t block = 0; block < t.blocks; block++) {
    jlt_store_sums(t.starts + block * JLT_WIDE_CHANNELS,
                   jlt_start_of(&call->weights, p->out_c, block, t.packed + block * t.block_bytes, (uint32_t)p->in_zero_point));
  }
  t.ends = jlt_prepare_ends(&call->weights, p, 0, t.blocks, (void *)(t.starts + t.blocks * JLT_WIDE_CHANNELS));
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
