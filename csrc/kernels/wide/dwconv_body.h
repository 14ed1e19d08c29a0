// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution for SIMD lanes; before this stand a lanes.h and how columns of a window are kept, multiplied and added up.
//
// A run of a row's pixels meets block by block of channels. A column of 3 x 3 meets all windows that see it. Columns and rows
// in the padding are zero points; what zero points add lies in where the sums start. Of eight channels two neighbours fill a block.
// Layout: kernels/wide/layout.h.
#ifndef JLT_KERNELS_WIDE_DWCONV_BODY_H
#define JLT_KERNELS_WIDE_DWCONV_BODY_H

typedef struct {
  const jlt_conv_params_t *params;
  const uint8_t *packed;
  int8_t *zeros;    // sixteen a block
  int32_t *starts;  // sixteen a block
  jlt_ends_t ends;
  size_t block_bytes;
  uint32_t blocks;
  uint32_t run_pixels;  // at most
} jlt_wide_dwconv_t;

enum { MOST_COLUMNS = 2 * (JLT_WIDE_LONG_RUN - 1) + 3 };  // of a run with windows of 3 x 3

// One column of such a window: its three pixels, or zero points.
typedef struct {
  const int8_t *rows[3];
} jlt_pixels_t;

// A run: its rows of the input, null in the padding, and its pixels.
typedef struct {
  const int8_t *rows[JLT_WIDE_MOST_TAPS];
  const jlt_pixels_t *columns;  // where channels come in whole blocks, else null: found once for all blocks
  int32_t x0;  // the first column that its first window sees
  uint32_t pixels;
  uint32_t together;  // neighbours that fill a block
  bool has_last;      // of the input's rows
  int8_t *out;
} jlt_run_t;

// One block's channels of a run.
typedef struct {
  const uint8_t *w;
  jlt_sums_t start;
  jlt_ready_t ready;
  jlt_output_t output;
  uint32_t first;  // channel
  uint32_t bytes;  // of the output that a block makes, 16 at most
  uint32_t whole;  // columns of which sixteen bytes may be read and mean what they should
} jlt_channels_t;

static JLT_ALWAYS_INLINE int32_t least(int32_t a, int32_t b) { return a < b ? a : b; }

static JLT_ALWAYS_INLINE int32_t most(int32_t a, int32_t b) { return a > b ? a : b; }

// The last row's end is the tensor's.
static JLT_ALWAYS_INLINE uint32_t whole_columns(const jlt_conv_params_t *p, const jlt_run_t *run, uint32_t first) {
  const uint32_t c = p->in_c, end = first + JLT_WIDE_CHANNELS;
  if (p->in_w * c < JLT_WIDE_CHANNELS) {
    return 0;
  }
  if (run->together > 1) {
    return p->in_w - 1u;
  }
  return p->in_w - (run->has_last && end > c ? (end - 1u) / c : 0u);
}

static JLT_ALWAYS_INLINE jlt_channels_t channels_of(const jlt_wide_dwconv_t *t, const jlt_run_t *run, uint32_t block,
                                                    const bool is_plain) {
  const uint32_t first = block * JLT_WIDE_CHANNELS, left = run->together * t->params->out_c - first;
  return (jlt_channels_t){
      .w = t->packed + block * t->block_bytes + JLT_WIDE_HEAD_BYTES,
      .start = jlt_sums_at(t->starts + first),
      .ready = jlt_ready(&t->ends.records[block * t->ends.step], is_plain),
      .output = t->ends.output,
      .first = first,
      .bytes = left < JLT_WIDE_CHANNELS ? left : JLT_WIDE_CHANNELS,
      .whole = whole_columns(t->params, run, first),
  };
}

// Sixteen bytes of column x where some lie in the padding, or behind the tensor's end and mean nothing.
static void copy_part(const jlt_wide_dwconv_t *t, const jlt_run_t *run, uint32_t row, int32_t x, uint32_t first, int8_t *to) {
  const uint32_t c = t->params->in_c, n = c - first < JLT_WIDE_CHANNELS ? c - first : JLT_WIDE_CHANNELS;
  memcpy(to, t->zeros, JLT_WIDE_CHANNELS);
  for (uint32_t i = 0; i < run->together; i++, x++) {
    if (run->rows[row] && (uint32_t)x < t->params->in_w) {
      memcpy(to + i * c, run->rows[row] + (size_t)x * c + first, n);
    }
  }
}

// Rows [row, row + 4) of column x, whatever of them exists.
static __attribute__((noinline)) jlt_column_t edge_column(const jlt_wide_dwconv_t *t, const jlt_run_t *run, uint32_t row, int32_t x,
                                                          uint32_t first) {
  int8_t bytes[4][JLT_WIDE_CHANNELS];
  for (uint32_t i = 0; i < 4; i++) {
    if (row + i < t->params->k_h) {
      copy_part(t, run, row + i, x, first, bytes[i]);
    } else {
      memcpy(bytes[i], t->zeros, JLT_WIDE_CHANNELS);
    }
  }
  return jlt_column(bytes[0], bytes[1], bytes[2], bytes[3], 4);
}

// The columns of a 3 x 3 window's three rows, one after another; `at` are the next one that is whole, the others are copies or padding.
typedef struct {
  const int8_t *at[3];
  const int8_t (*copies)[3][JLT_WIDE_CHANNELS];  // of column x0 and those behind it
  size_t steps[3];  // none in the padding
  int32_t x;
  uint32_t last;  // beyond which all is padding
  const int8_t *zeros;
} jlt_columns_t;

// Copies columns [x, end): a call for each in a loop of sums would cost their registers.
static __attribute__((noinline)) void copy_edges(const jlt_wide_dwconv_t *t, const jlt_run_t *run, int32_t x, int32_t end,
                                                 uint32_t first, int8_t (*copies)[3][JLT_WIDE_CHANNELS]) {
  for (; x < end; x++, copies++) {
    for (uint32_t row = 0; row < 3; row++) {
      copy_part(t, run, row, x, first, (*copies)[row]);
    }
  }
}

static JLT_ALWAYS_INLINE jlt_columns_t columns_of(const jlt_wide_dwconv_t *t, const jlt_run_t *run, uint32_t first, uint32_t whole,
                                                  const uint32_t stride, int8_t (*copies)[3][JLT_WIDE_CHANNELS]) {
  const bool is_single = run->together == 1;
  const int32_t begin = run->x0, inside = most(begin, 0), behind = most(begin, (int32_t)whole);
  const int32_t end = begin + (int32_t)((run->pixels - 1u) / run->together * stride) + 3;
  const size_t from = (size_t)inside * t->params->in_c + first;
  jlt_columns_t columns;
  for (uint32_t i = 0; i < 3; i++) {
    columns.at[i] = run->rows[i] ? run->rows[i] + from : t->zeros;
    columns.steps[i] = run->rows[i] ? t->params->in_c : 0u;
  }
  columns.copies = (const int8_t(*)[3][JLT_WIDE_CHANNELS])copies;
  columns.x = begin;
  columns.last = is_single ? t->params->in_w - 1u : UINT32_MAX;
  columns.zeros = t->zeros;
  if (begin < 0 && !is_single) {
    copy_edges(t, run, begin, least(end, 0), first, copies);
  }
  const int32_t copied = is_single ? least(end, (int32_t)t->params->in_w) : end;
  if (copied > behind) {
    copy_edges(t, run, behind, copied, first, copies + (behind - begin));
  }
  return columns;
}

static JLT_ALWAYS_INLINE jlt_column_t next_column(jlt_columns_t *columns, uint32_t whole) {
  const int8_t(*copy)[JLT_WIDE_CHANNELS] = *columns->copies++;
  const uint32_t x = (uint32_t)columns->x++;
  if (x >= whole) {
    const bool is_padding = x > columns->last;
    const int8_t *from = is_padding ? columns->zeros : copy[0];
    const size_t apart = is_padding ? 0u : JLT_WIDE_CHANNELS;
    return jlt_column(from, from + apart, from + 2u * apart, from + 2u * apart, 3);
  }
  const jlt_column_t column = jlt_column(columns->at[0], columns->at[1], columns->at[2], columns->at[2], 3);
  JLT_UNROLL
  for (uint32_t i = 0; i < 3; i++) {
    columns->at[i] += columns->steps[i];
  }
  return column;
}

// A run of one block of channels with windows of 3 x 3.
typedef struct {
  jlt_channels_t channels;
  jlt_columns_t columns;       // of channels that do not come in whole blocks,
  const jlt_pixels_t *pixels;  // of those that do: the next column's
  jlt_column_weights_t w[3];
  bool is_whole;  // the latter; a constant
} jlt_slide_t;

static JLT_ALWAYS_INLINE jlt_column_t next_of(jlt_slide_t *s) {
  if (!s->is_whole) {
    return next_column(&s->columns, s->channels.whole);
  }
  const int8_t *const *rows = (s->pixels++)->rows;
  const uint32_t first = s->channels.first;
  return jlt_column(rows[0] + first, rows[1] + first, rows[2] + first, rows[2] + first, 3);
}

static JLT_ALWAYS_INLINE void write_block(const jlt_slide_t *s, jlt_sums_t sums, int8_t *out, const bool is_plain) {
  jlt_store_bytes(out, jlt_finished(sums, &s->channels.ready, &s->channels.output, is_plain), s->channels.bytes);
}

// The next column meets the three windows that see it: the first one's last, the third one's first.
static JLT_ALWAYS_INLINE void slide_by_one(jlt_slide_t *s, const jlt_sums_t *first, jlt_sums_t *second, jlt_sums_t *third, int8_t *out,
                                           const bool is_plain) {
  const jlt_column_t column = next_of(s);
  *second = jlt_add_column(*second, s->w[1], column, 3);
  *third = jlt_add_column(s->channels.start, s->w[0], column, 3);
  write_block(s, jlt_add_column(*first, s->w[2], column, 3), out, is_plain);
}

// The next two, of which both windows see the latter.
static JLT_ALWAYS_INLINE void slide_by_two(jlt_slide_t *s, const jlt_sums_t *first, jlt_sums_t *second, int8_t *out,
                                           const bool is_plain) {
  const jlt_sums_t sums = jlt_add_column(*first, s->w[1], next_of(s), 3);
  const jlt_column_t column = next_of(s);
  *second = jlt_add_column(s->channels.start, s->w[0], column, 3);
  write_block(s, jlt_add_column(sums, s->w[2], column, 3), out, is_plain);
}

// The columns between blocks of the output are `stride`. Sums change their meaning, not their registers.
static JLT_ALWAYS_INLINE void run_3x3(const jlt_wide_dwconv_t *t, const jlt_run_t *run, uint32_t block, const uint32_t stride,
                                      const bool is_whole, const bool is_plain) {
  int8_t copies[MOST_COLUMNS][3][JLT_WIDE_CHANNELS];
  jlt_slide_t s;  // filled field by field, as compilers else clear it first
  s.channels = channels_of(t, run, block, is_plain);
  s.is_whole = is_whole;
  s.pixels = run->columns;
  if (!is_whole) {
    s.columns = columns_of(t, run, s.channels.first, s.channels.whole, stride, copies);
  }
  for (uint32_t i = 0; i < 3; i++) {
    s.w[i] = jlt_column_weights(s.channels.w + i * JLT_GROUP_BYTES);
  }
  const size_t step = run->together * t->params->out_c;
  int8_t *out = run->out + s.channels.first;
  const int8_t *const end = out + (size_t)run->pixels * t->params->out_c;
  jlt_sums_t a = jlt_add_column(s.channels.start, s.w[0], next_of(&s), 3), b = s.channels.start, c = s.channels.start;
  if (stride == 2) {
    for (;;) {
      slide_by_two(&s, &a, &b, out, is_plain);
      if ((out += step) == end) {
        return;
      }
      slide_by_two(&s, &b, &a, out, is_plain);
      if ((out += step) == end) {
        return;
      }
    }
  }
  const jlt_column_t column = next_of(&s);
  a = jlt_add_column(a, s.w[1], column, 3);
  b = jlt_add_column(b, s.w[0], column, 3);
  for (;;) {
    slide_by_one(&s, &a, &b, &c, out, is_plain);
    if ((out += step) == end) {
      return;
    }
    slide_by_one(&s, &b, &c, &a, out, is_plain);
    if ((out += step) == end) {
      return;
    }
    slide_by_one(&s, &c, &a, &b, out, is_plain);
    if ((out += step) == end) {
      return;
    }
  }
}

// Rows [row, row + 4) of any window's column x.
static JLT_ALWAYS_INLINE jlt_column_t column_at(const jlt_wide_dwconv_t *t, const jlt_run_t *run, const jlt_channels_t *channels,
                                                uint32_t row, int32_t x) {
  const int8_t *rows[4];
  if ((uint32_t)x >= channels->whole) {
    return edge_column(t, run, row, x, channels->first);
  }
  const size_t from = (size_t)x * t->params->in_c + channels->first;
  for (uint32_t i = 0; i < 4; i++) {
    rows[i] = row + i < t->params->k_h && run->rows[row + i] ? run->rows[row + i] + from : t->zeros;
  }
  return jlt_column(rows[0], rows[1], rows[2], rows[3], 4);
}

static void run_any(const jlt_wide_dwconv_t *t, const jlt_run_t *run, uint32_t block) {
  const jlt_conv_params_t *p = t->params;
  const jlt_channels_t channels = channels_of(t, run, block, false);
  int8_t *out = run->out + channels.first;
  for (uint32_t i = 0; i < run->pixels; i++, out += p->out_c) {
    const uint8_t *w = channels.w;
    jlt_sums_t sums = channels.start;
    for (uint32_t kx = 0; kx < p->k_w; kx++) {
      const int32_t x = run->x0 + (int32_t)(i * p->stride_w + kx);
      for (uint32_t row = 0; row < p->k_h; row += 4u, w += JLT_GROUP_BYTES) {
        sums = jlt_add_column(sums, jlt_column_weights(w), column_at(t, run, &channels, row, x), 4);
      }
    }
    const jlt_bytes_t bytes = t->ends.is_plain ? jlt_finished(sums, &channels.ready, &channels.output, true)
                                               : jlt_finished(sums, &channels.ready, &channels.output, false);
    jlt_store_bytes(out, bytes, channels.bytes);
  }
}

static bool is_3x3(const jlt_conv_params_t *p) { return p->k_h == 3 && p->k_w == 3 && p->stride_w <= 2; }

static JLT_ALWAYS_INLINE void run_either(const jlt_wide_dwconv_t *t, const jlt_run_t *run, uint32_t block, const uint32_t stride,
                                         const bool is_whole) {
  if (t->ends.is_plain) {
    run_3x3(t, run, block, stride, is_whole, true);
  } else {
    run_3x3(t, run, block, stride, is_whole, false);
  }
}

static void run_block(const jlt_wide_dwconv_t *t, const jlt_run_t *run, uint32_t block) {
  const bool by_one = t->params->stride_w == 1 && run->together == 1;
  if (!is_3x3(t->params)) {
    run_any(t, run, block);
  } else if (run->columns && by_one) {
    run_either(t, run, block, 1, true);
  } else if (run->columns) {
    run_either(t, run, block, 2, true);
  } else if (by_one) {
    run_either(t, run, block, 1, false);
  } else {
    run_either(t, run, block, 2, false);
  }
}

static void find_columns(const jlt_wide_dwconv_t *t, const jlt_run_t *run, jlt_pixels_t *columns) {
  const jlt_conv_params_t *p = t->params;
  const uint32_t count = (run->pixels - 1u) * p->stride_w + 3u;
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t x = (uint32_t)run->x0 + i;  // from 2^31 on where it is negative
    for (uint32_t row = 0; row < 3; row++) {
      columns[i].rows[row] = run->rows[row] && x < p->in_w ? run->rows[row] + (size_t)x * p->in_c : t->zeros;
    }
  }
}

// How many of `left` pixels are a run, and how many of them fill a block.
static void begin_run(const jlt_wide_dwconv_t *t, jlt_run_t *run, uint32_t left) {
  const jlt_conv_params_t *p = t->params;
  const uint32_t pixels = t->run_pixels;
  run->together = p->out_c == JLT_WIDE_CHANNELS / 2u && p->stride_w == 1 && is_3x3(p) && left > 1 ? 2u : 1u;
  run->pixels = left < pixels ? left : pixels;
  run->pixels -= run->pixels % run->together;
}

// Pixels [x, end) of one row of the output.
static void run_row(const jlt_wide_dwconv_t *t, const int8_t *image, uint32_t y, uint32_t x, uint32_t end, int8_t *out) {
  const jlt_conv_params_t *p = t->params;
  const int32_t y0 = (int32_t)(y * p->stride_h) - p->pad_top;
  const bool is_whole = is_3x3(p) && p->in_c % JLT_WIDE_CHANNELS == 0;
  jlt_pixels_t columns[MOST_COLUMNS];
  jlt_run_t run;
  run.columns = is_whole ? columns : NULL;
  run.has_last = y0 + p->k_h >= (int32_t)p->in_h;
  run.out = out;
  for (int32_t ky = 0; ky < p->k_h; ky++) {
    const bool inside = y0 + ky >= 0 && y0 + ky < (int32_t)p->in_h;
    run.rows[ky] = inside ? image + (size_t)(y0 + ky) * p->in_w * p->in_c : NULL;
  }
  for (; x < end; x += run.pixels, run.out += (size_t)run.pixels * p->out_c) {
    begin_run(t, &run, end - x);
    run.x0 = (int32_t)(x * p->stride_w) - p->pad_left;
    if (is_whole) {
      find_columns(t, &run, columns);
    }
    for (uint32_t block = 0; block < t->blocks; block++) {
      run_block(t, &run, block);
    }
  }
}

// Blocks of channels of a run are written one after another. That is in order where pixels lie on pixels, or none on another;
// elsewhere a run is as short as core/overlap.c takes it to be.
static uint32_t run_pixels_of(const jlt_call_t *call, size_t in_bytes) {
  const jlt_conv_params_t *p = call->params;
  const uintptr_t in = (uintptr_t)call->in[0], out = (uintptr_t)call->out;
  const bool apart = out + (size_t)p->n * p->out_h * p->out_w * p->out_c <= in || in + in_bytes <= out;
  return apart || (in - out) % p->in_c == 0 ? JLT_WIDE_LONG_RUN : JLT_WIDE_RUN;
}

static JLT_ALWAYS_INLINE void jlt_wide_dwconv(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const size_t image_bytes = (size_t)p->in_h * p->in_w * p->in_c;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_PIXELS, p->n * p->out_h * p->out_w);
  jlt_wide_dwconv_t t = {
      .params = p,
      .packed = call->weights.packed,
      .zeros = call->scratch,
      .block_bytes = jlt_wide_dwconv_block_bytes(p, JLT_GROUP_BYTES),
      .blocks = (uint32_t)jlt_wide_blocks(p),
      .run_pixels = run_pixels_of(call, p->n * image_bytes),
  };
  t.starts = jlt_wide_aligned((uint8_t *)call->scratch + t.blocks * JLT_WIDE_CHANNELS);
  memset(t.zeros, p->in_zero_point, t.blocks * JLT_WIDE_CHANNELS);
  for (uint32_t block = 0; block < t.blocks; block++) {
    jlt_store_sums(t.starts + block * JLT_WIDE_CHANNELS,
                   jlt_start_of(&call->weights, p->out_c, block, t.packed + block * t.block_bytes,
                                (uint32_t)p->in_zero_point + JLT_OFFSET_8));
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
