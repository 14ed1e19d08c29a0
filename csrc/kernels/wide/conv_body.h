// SPDX-License-Identifier: Apache-2.0
// Convolution and fully connected for SIMD lanes; a lanes.h before this says how sixteen channels are computed.
//
// A strip is what the windows of neighbouring pixels see: a row of input columns for each row of the window, padding as zero
// points. It is copied once; then each block of channels meets a few of its pixels at a time. What zero points add lies in
// where the accumulators start. All that a strip's pixels need is read before any of them is written. Layouts:
// kernels/wide/layout.h.
#ifndef JLT_KERNELS_WIDE_CONV_BODY_H
#define JLT_KERNELS_WIDE_CONV_BODY_H

typedef struct {
  const jlt_conv_params_t *params;
  const jlt_weights_t *weights;
  jlt_ends_t ends;  // from first_block on
  uint32_t each;  // of the sums of weights, where accumulators start
  uint8_t *strip;        // k_h rows
  jlt_walk_t walk;
  uint32_t first_block;
  uint32_t end_block;
  bool is_4;        // weights are nibbles
  bool uses_4;      // tiles are those for 4 bits
} jlt_wide_conv_t;

typedef void (*jlt_take_t)(uint8_t *to, const int8_t *from, uint32_t n);
typedef void (*jlt_repeat_t)(uint8_t *to, int32_t value, uint32_t n);

// Columns [x0, x0 + columns) of the rows that windows at y0 see; `each` is the bytes of an element.
static JLT_ALWAYS_INLINE void gather(const jlt_wide_conv_t *t, const int8_t *image, int32_t y0, int32_t x0, uint32_t columns,
                                     uint32_t each, jlt_take_t take, jlt_repeat_t repeat) {
  const jlt_conv_params_t *p = t->params;
  const uint32_t c = p->in_c;
  const jlt_inside_t inside = jlt_inside(x0, columns, p->in_w);
  const uint32_t end = inside.before + inside.count;
  uint8_t *to = t->strip;
  for (int32_t y = y0; y < y0 + p->k_h; y++, to += t->walk.row_bytes) {
    if (y < 0 || y >= (int32_t)p->in_h || inside.count == 0) {
      repeat(to, p->in_zero_point, columns * c);
      continue;
    }
    if (inside.before > 0) {
      repeat(to, p->in_zero_point, inside.before * c);
    }
    take(to + inside.before * c * each, image + ((size_t)y * p->in_w + inside.from) * c, inside.count * c);
    if (end < columns) {
      repeat(to + end * c * each, p->in_zero_point, (columns - end) * c);
    }
  }
}

#if JLT_CONV_HAS_NIBBLES
static JLT_ALWAYS_INLINE void clear(const uint32_t pixels, const uint32_t blocks, jlt_sums_t *sums) {
  JLT_UNROLL
  for (uint32_t j = 0; j < pixels * blocks; j++) {
    sums[j] = jlt_no_sums();
  }
}

// One row of windows at 4 bits, widened every JLT_GROUPS_4 steps of eight products.
static JLT_ALWAYS_INLINE void row_4(const jlt_walk_t *walk, const uint8_t *x, const uint8_t *w, const uint32_t pixels,
                                    const uint32_t blocks, jlt_sums_t *acc) {
  for (uint32_t left = walk->steps; left > 0;) {
    jlt_sums_t part[JLT_WIDE_TILE];
    const uint32_t now = left < JLT_GROUPS_4 ? left : JLT_GROUPS_4;
    clear(pixels, blocks, part);
    for (uint32_t s = 0; s < now; s++) {
      JLT_UNROLL
      for (uint32_t j = 0; j < pixels * blocks; j++) {
        const jlt_factors_4_t factors = jlt_factors_4(w + j / pixels * walk->block_bytes);
        part[j] = jlt_add_products_4(part[j], factors, x + j % pixels * walk->pixel_bytes);
      }
      w += 8 * JLT_WIDE_CHANNELS / 2;
      x += 8;
    }
    JLT_UNROLL
    for (uint32_t j = 0; j < pixels * blocks; j++) {
      jlt_sums_t *sums = &acc[jlt_sums_place(j, pixels)];
      *sums = jlt_widen_4(*sums, part[j]);
    }
    left -= now;
  }
}

static JLT_ALWAYS_INLINE void tile_4(const jlt_walk_t *walk, const uint8_t *x, const uint8_t *w, const uint32_t pixels,
                                     const uint32_t blocks, jlt_sums_t *acc) {
  JLT_UNROLL
  for (uint32_t j = 0; j < pixels * blocks; j++) {
    acc[jlt_sums_place(j, pixels)] = jlt_no_sums();
  }
  for (uint32_t ky = 0; ky < walk->rows; ky++) {
    row_4(walk, x + ky * walk->row_bytes, w + (size_t)ky * walk->steps * (8 * JLT_WIDE_CHANNELS / 2), pixels, blocks, acc);
  }
}

// −120 · Σ (x − zero point) of one window: what u stands for beside 16u.
static int32_t offset_4(const jlt_wide_conv_t *t, uint32_t pixel) {
  const jlt_conv_params_t *p = t->params;
  const uint32_t count = (uint32_t)p->k_w * p->in_c;
  int32_t sum = 0;
  for (uint32_t ky = 0; ky < p->k_h; ky++) {
    sum += jlt_sum_bytes((const int8_t *)t->strip + ky * t->walk.row_bytes + pixel * t->walk.pixel_bytes, count);
  }
  return -120 * (sum - (int32_t)(p->k_h * count) * p->in_zero_point);
}
#endif

// Tiles of neighbouring pixels are computed: acc[block][JLT_WIDE_SUMS].
typedef void (*jlt_tiles_t)(const jlt_walk_t *walk, const uint8_t *x, const uint8_t *w, const jlt_sums_t *start, uint32_t tiles,
                            jlt_sums_t *acc);

// How many pixels and blocks meet at once.
typedef struct {
  jlt_tiles_t at_8;
  jlt_tiles_t at_4;  // null where 4 bits are added up as 8 are
  uint32_t pixels;
  uint32_t blocks;
} jlt_shape_t;

// Functions of their own: inlined, what surrounds them takes their registers.
#define JLT_TILES(bits, p, b, ...)                                                                                     \
  static __attribute__((noinline)) void tile_##bits##_##p##_##b(const jlt_walk_t *walk, const uint8_t *x, const uint8_t *w, \
                                                                const jlt_sums_t *start, uint32_t tiles, jlt_sums_t *acc) { \
    (void)start;                                                                                                       \
    for (; tiles > 0; tiles--, x += p * walk->pixel_bytes, acc += p) {                                                 \
      __VA_ARGS__;                                                                                                     \
    }                                                                                                                  \
  }
#define JLT_TILES_8(p, b) JLT_TILES(8, p, b, jlt_tile_8(walk, x, w, p, b, start, acc))
#if JLT_CONV_HAS_NIBBLES
#define JLT_SHAPE(p, b)                                     \
  JLT_TILES_8(p, b)                                         \
  JLT_TILES(4, p, b, tile_4(walk, x, w, p, b, acc))         \
  static const jlt_shape_t shape_##p##_##b = {tile_8_##p##_##b, tile_4_##p##_##b, p, b};
#elif JLT_HAS_TILE_4
#define JLT_SHAPE(p, b)                                            \
  JLT_TILES_8(p, b)                                                \
  JLT_TILES(4, p, b, jlt_tile_4(walk, x, w, p, b, start, acc))     \
  static const jlt_shape_t shape_##p##_##b = {tile_8_##p##_##b, tile_4_##p##_##b, p, b};
#else
#define JLT_SHAPE(p, b) \
  JLT_TILES_8(p, b)     \
  static const jlt_shape_t shape_##p##_##b = {tile_8_##p##_##b, NULL, p, b};
#endif

JLT_SHAPE(1, 1)
JLT_SHAPE(1, 4)
JLT_SHAPE(4, 1)
#if JLT_TILE_SIX
JLT_SHAPE(6, 1)
#endif
#if JLT_TILE_PIXELS > 4
JLT_SHAPE(8, 1)
#endif
#if JLT_TILE_BLOCKS > 1
JLT_SHAPE(4, 2)
JLT_SHAPE(6, 2)
JLT_SHAPE(8, 2)
#endif

// Where the accumulators of some blocks start.
static JLT_ALWAYS_INLINE void start_blocks(const jlt_wide_conv_t *t, uint32_t block, uint32_t blocks, jlt_sums_t *start) {
  for (uint32_t b = 0; b < blocks; b++) {
    const uint8_t *head = (const uint8_t *)t->weights->packed + (block + b) * t->walk.block_bytes;
    start[b] = jlt_start_of(t->weights, t->params->out_c, block + b, head, t->each);
  }
}

// Accumulators that become bytes: how many, how far apart they and their bytes lie, and of the first the channels that are left.
typedef struct {
  jlt_sums_t *acc;
  int8_t *out;
  const jlt_finish_t *finish;
  size_t acc_step;
  size_t out_step;
  uint32_t count;
  uint32_t channels;
} jlt_row_t;

static JLT_ALWAYS_INLINE void write_row(const jlt_row_t *row, const jlt_output_t output, const bool is_plain) {
  const jlt_ready_t ready = jlt_ready(row->finish, is_plain);
  const jlt_sums_t *acc = row->acc;
  int8_t *out = row->out;
  if (row->channels >= JLT_WIDE_CHANNELS) {
    for (uint32_t i = row->count; i > 0; i--, acc += row->acc_step, out += row->out_step) {
      jlt_store_bytes(out, jlt_finished(*acc, &ready, &output, is_plain), JLT_WIDE_CHANNELS);
    }
  } else {
    for (uint32_t i = row->count; i > 0; i--, acc += row->acc_step, out += row->out_step) {
      jlt_store_bytes(out, jlt_finished(*acc, &ready, &output, is_plain), row->channels);
    }
  }
}

static JLT_ALWAYS_INLINE void finish_row(const jlt_wide_conv_t *t, const jlt_row_t *row) {
  if (t->ends.is_plain) {
    write_row(row, t->ends.output, true);
  } else {
    write_row(row, t->ends.output, false);
  }
}

// The accumulators of `count` pixels of one block become bytes, at 4 bits once they are scaled.
static JLT_ALWAYS_INLINE void finish_block(const jlt_wide_conv_t *t, jlt_sums_t *acc, jlt_sums_t start, uint32_t block,
                                           uint32_t count, const int32_t *offsets, int8_t *out) {
  const uint32_t channel = block * JLT_WIDE_CHANNELS, out_c = t->params->out_c;
#if JLT_CONV_HAS_NIBBLES
  for (uint32_t i = 0; t->is_4 && i < count; i++) {
    acc[i] = jlt_scale_sums_4(start, acc[i], offsets[i]);
  }
#else
  (void)start;
  (void)offsets;
#endif
  const jlt_row_t row = {.acc = acc,
                         .out = out + channel,
                         .finish = &t->ends.records[(block - t->first_block) * t->ends.step],
                         .acc_step = 1,
                         .out_step = out_c,
                         .count = count,
                         .channels = out_c - channel};
  finish_row(t, &row);
}

// Computes tiles from pixel `first` on.
static JLT_ALWAYS_INLINE void run_shape(const jlt_wide_conv_t *t, const jlt_shape_t *shape, const jlt_sums_t *start,
                                        uint32_t block, uint32_t first, uint32_t tiles, jlt_sums_t *acc) {
  const uint8_t *x = t->strip + first * t->walk.pixel_bytes;
  const uint8_t *w = (const uint8_t *)t->weights->packed + block * t->walk.block_bytes + JLT_WIDE_HEAD_BYTES;
  (t->uses_4 ? shape->at_4 : shape->at_8)(&t->walk, x, w, start, tiles, acc + first);
}

// The shape for `left` pixels of one block or two.
static const jlt_shape_t *shape_for(uint32_t left, uint32_t blocks) {
#if JLT_TILE_BLOCKS > 1
  if (blocks > 1) {
    return left == 5 || left == 6 ? &shape_6_2 : (left > 4 ? &shape_8_2 : &shape_4_2);
  }
#endif
  (void)blocks;
#if JLT_TILE_SIX
  if (left == 5 || left == 6) {
    return &shape_6_1;
  }
#endif
#if JLT_TILE_PIXELS > 4
  if (left > 4) {
    return &shape_8_1;
  }
#endif
  return left > 1 ? &shape_4_1 : &shape_1_1;
}

static void run_pixels(const jlt_wide_conv_t *t, uint32_t block, uint32_t blocks, uint32_t pixels, const int32_t *offsets,
                       int8_t *out) {
  jlt_sums_t start[JLT_TILE_BLOCKS], acc[JLT_TILE_BLOCKS * JLT_WIDE_SUMS];
  start_blocks(t, block, blocks, start);
  for (uint32_t first = 0; first < pixels;) {
    const jlt_shape_t *shape = shape_for(pixels - first, blocks);
    const uint32_t whole = (pixels - first) / shape->pixels, tiles = whole > 0 ? whole : 1u;
    run_shape(t, shape, start, block, first, tiles, acc);
    first += tiles * shape->pixels;
  }
  for (uint32_t b = 0; b < blocks; b++) {
    finish_block(t, acc + b * JLT_WIDE_SUMS, start[b], block + b, pixels, offsets, out);
  }
}

static void run_one_pixel(const jlt_wide_conv_t *t, const int32_t *offsets, int8_t *out) {
  jlt_sums_t start[4], acc[4 * JLT_WIDE_SUMS];
  for (uint32_t block = t->first_block; block < t->end_block;) {
    const jlt_shape_t *shape = block + 4u <= t->end_block ? &shape_1_4 : &shape_1_1;
    start_blocks(t, block, shape->blocks, start);
    run_shape(t, shape, start, block, 0, 1, acc);
    if (!t->is_4 && t->ends.step == 0 && (block + shape->blocks) * JLT_WIDE_CHANNELS <= t->params->out_c) {
      const jlt_row_t row = {.acc = acc,
                             .out = out + block * JLT_WIDE_CHANNELS,
                             .finish = t->ends.records,
                             .acc_step = JLT_WIDE_SUMS,
                             .out_step = JLT_WIDE_CHANNELS,
                             .count = shape->blocks,
                             .channels = JLT_WIDE_CHANNELS};
      finish_row(t, &row);
    } else {
      for (uint32_t b = 0; b < shape->blocks; b++) {
        finish_block(t, acc + b * JLT_WIDE_SUMS, start[b], block + b, 1, offsets, out);
      }
    }
    block += shape->blocks;
  }
}

// Eight channels fill half the lanes: two pixels share them. acc[pair].
static JLT_ALWAYS_INLINE void tile_pairs(const jlt_walk_t *walk, const uint8_t *x, const uint8_t *w, const uint32_t pairs,
                                         jlt_sums_t start, jlt_sums_t *acc) {
  jlt_sums_t sums[4];
  JLT_UNROLL
  for (uint32_t j = 0; j < pairs; j++) {
    sums[j] = jlt_turned(start);
  }
  for (uint32_t ky = 0; ky < walk->rows; ky++, x += walk->row_bytes) {
    const uint8_t *at = x;
    for (uint32_t s = 0; s < walk->steps; s++) {
      const jlt_eight_t eight = jlt_eight(w);
      JLT_UNROLL
      for (uint32_t j = 0; j < pairs; j++) {
        sums[j] = jlt_add_eight(sums[j], eight, at + 2u * j * walk->pixel_bytes, at + (2u * j + 1u) * walk->pixel_bytes);
      }
      w += JLT_K_8 * JLT_WIDE_CHANNELS / 2;
      at += JLT_K_8 * JLT_ELEMENT_BYTES_8;
    }
  }
  JLT_UNROLL
  for (uint32_t j = 0; j < pairs; j++) {
    acc[j] = jlt_turned(sums[j]);
  }
}

static __attribute__((noinline)) void tile_pairs_4(const jlt_walk_t *walk, const uint8_t *x, const uint8_t *w,
                                                   const jlt_sums_t *start, jlt_sums_t *acc) {
  tile_pairs(walk, x, w, 4, *start, acc);
}

static __attribute__((noinline)) void tile_pairs_1(const jlt_walk_t *walk, const uint8_t *x, const uint8_t *w,
                                                   const jlt_sums_t *start, jlt_sums_t *acc) {
  tile_pairs(walk, x, w, 1, *start, acc);
}

// Bytes of `count` pixels of eight channels.
static JLT_ALWAYS_INLINE void write_pairs(const jlt_wide_conv_t *t, const jlt_sums_t *acc, uint32_t count, int8_t *out,
                                          const bool is_plain) {
  const jlt_ready_t ready = jlt_ready(t->ends.records, is_plain);
  for (uint32_t i = 0; i < count; i += 2u, out += JLT_WIDE_CHANNELS) {
    const jlt_bytes_t bytes = jlt_finished(acc[i / 2u], &ready, &t->ends.output, is_plain);
    jlt_store_bytes(out, bytes, count - i >= 2u ? JLT_WIDE_CHANNELS : JLT_WIDE_CHANNELS / 2u);
  }
}

static void run_pairs(const jlt_wide_conv_t *t, uint32_t pixels, int8_t *out) {
  const uint8_t *w = (const uint8_t *)t->weights->packed + JLT_WIDE_HEAD_BYTES;
  jlt_sums_t acc[4], start[1];
  start_blocks(t, 0, 1, start);
  for (uint32_t first = 0; first < pixels;) {
    const uint32_t left = pixels - first;
    const uint32_t most = left > 2 ? 8u : 2u, count = left < most ? left : most;
    (left > 2 ? tile_pairs_4 : tile_pairs_1)(&t->walk, t->strip + first * t->walk.pixel_bytes, w, start, acc);
    if (t->ends.is_plain) {
      write_pairs(t, acc, count, out, true);
    } else {
      write_pairs(t, acc, count, out, false);
    }
    out += count * (JLT_WIDE_CHANNELS / 2u);
    first += count;
  }
}

static void run_strip(const jlt_wide_conv_t *t, uint32_t pixels, int8_t *out) {
  int32_t offsets[JLT_WIDE_STRIP_PIXELS];  // at 4 bits
  uint32_t block = t->first_block;
#if JLT_CONV_HAS_NIBBLES
  for (uint32_t i = 0; t->is_4 && i < pixels; i++) {
    offsets[i] = offset_4(t, i);
  }
#endif
  if (!t->is_4 && t->params->out_c == JLT_WIDE_CHANNELS / 2u) {
    run_pairs(t, pixels, out);
    return;
  }
  if (pixels == 1) {
    run_one_pixel(t, offsets, out);
    return;
  }
  for (; block + JLT_TILE_BLOCKS <= t->end_block; block += JLT_TILE_BLOCKS) {
    run_pixels(t, block, JLT_TILE_BLOCKS, pixels, offsets, out);
  }
  for (; JLT_TILE_BLOCKS > 1 && block < t->end_block; block++) {
    run_pixels(t, block, 1, pixels, offsets, out);
  }
}

// Pixels [x, x + count) of one row of the output.
static void run_row(const jlt_wide_conv_t *t, const int8_t *image, uint32_t y, uint32_t x, uint32_t count, int8_t *out) {
  const jlt_conv_params_t *p = t->params;
  const int32_t y0 = (int32_t)(y * p->stride_h) - p->pad_top;
  for (uint32_t end = x + count; x < end;) {
    const uint32_t now = end - x < JLT_WIDE_STRIP_PIXELS ? end - x : JLT_WIDE_STRIP_PIXELS;
    const int32_t x0 = (int32_t)(x * p->stride_w) - p->pad_left;
    const uint32_t columns = (now - 1u) * p->stride_w + p->k_w;
    if (t->is_4) {
      gather(t, image, y0, x0, columns, 1, jlt_take_bytes, jlt_repeat_bytes);
    } else {
      gather(t, image, y0, x0, columns, JLT_ELEMENT_BYTES_8, jlt_take_8, jlt_repeat_8);
    }
    run_strip(t, now, out);
    out += (size_t)now * p->out_c;
    x += now;
  }
}

// Windows of single pixels side by side: one long row.
static bool is_pointwise(const jlt_conv_params_t *p) {
  return p->k_h == 1 && p->k_w == 1 && p->stride_h == 1 && p->stride_w == 1 && p->in_h == p->out_h && p->in_w == p->out_w;
}

static JLT_ALWAYS_INLINE void jlt_wide_conv(const jlt_call_t *call) {
  jlt_conv_params_t p = *(const jlt_conv_params_t *)call->params;
  if (is_pointwise(&p)) {
    p.in_w = p.out_w = p.n * p.out_h * p.out_w;
    p.n = p.in_h = p.out_h = 1;
  }
  const uint32_t pixels = p.n * p.out_h * p.out_w;
  const bool has_4 = call->weights.high && !call->weights.low;
  const bool is_4 = JLT_CONV_HAS_NIBBLES && has_4 && jlt_wide_is_long_row(&p);
  const uint32_t elements = p.k_w * p.in_c;  // of a row of the window
  jlt_wide_conv_t t;  // filled field by field, as compilers else clear it first
  t.params = &p;
  t.weights = &call->weights;
  t.strip = jlt_wide_aligned(call->scratch);
  t.walk.row_bytes = jlt_wide_strip_bytes(&p);
  t.walk.pixel_bytes = (size_t)p.stride_w * p.in_c * (is_4 ? 1u : (size_t)JLT_ELEMENT_BYTES_8);
  t.walk.block_bytes = jlt_wide_conv_block_bytes(&p, is_4, JLT_K_8);
  t.walk.rows = p.k_h;
  t.walk.steps = is_4 ? (elements + 7u) / 8u : (elements + JLT_K_8 - 1u) / JLT_K_8;
  t.first_block = 0;
  t.end_block = (uint32_t)jlt_wide_blocks(&p);
  t.each = is_4 ? 16u * (uint32_t)p.in_zero_point : (uint32_t)p.in_zero_point + JLT_OFFSET_8;
  t.is_4 = is_4;
  t.uses_4 = JLT_CONV_HAS_NIBBLES ? is_4 : JLT_HAS_TILE_4 && has_4;
  jlt_span_t span = {.end = 1};
  if (pixels == 1) {  // a unit is a block
    t.first_block = call->begin;
    t.end_block = call->end < t.end_block ? call->end : t.end_block;
  } else {
    span = jlt_tile(call, JLT_UNIT_PIXELS, pixels);
  }
  void *records = t.strip + p.k_h * t.walk.row_bytes;
  t.ends = jlt_prepare_ends(&call->weights, &p, t.first_block, t.end_block, records);
  int8_t *out = (int8_t *)call->out + (size_t)span.begin * p.out_c;
  uint32_t x = span.begin % p.out_w;
  for (uint32_t row = span.begin / p.out_w, left = span.end - span.begin; left > 0; row++, x = 0) {
    const uint32_t count = p.out_w - x < left ? p.out_w - x : left;
    const int8_t *image = (const int8_t *)call->in[0] + (size_t)(row / p.out_h) * p.in_h * p.in_w * p.in_c;
    run_row(&t, image, row % p.out_h, x, count, out);
    out += (size_t)count * p.out_c;
    left -= count;
  }
}

#endif
