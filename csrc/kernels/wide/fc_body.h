// SPDX-License-Identifier: Apache-2.0
// Fully connected of one pixel for SIMD lanes: a matrix times a vector. A lanes.h before this says how sixteen channels are computed.
//
// Each weight is used once, so that to fetch and to widen it costs as much as to multiply it; blocks of channels side by side share what
// is read of the vector. Layouts: kernels/wide/layout.h.
#ifndef JLT_KERNELS_WIDE_FC_BODY_H
#define JLT_KERNELS_WIDE_FC_BODY_H

typedef struct {
  const jlt_conv_params_t *params;
  const jlt_weights_t *weights;
  const int8_t *x;
  const uint8_t *blocks;    // of packed weights
  size_t block_bytes;
  uint32_t steps;           // whole ones, of the vector
  uint32_t each;            // of the sums of weights, where accumulators start
  int32_t offset;           // at 4 bits: −120 · Σ (x − zero point), what u stands for beside 16u
  int8_t last[8];           // what is left of the vector, and zeros
  bool has_last;
  bool is_4;
  bool is_careful;          // at 8 bits: a weight is −128, where that is of account
} jlt_wide_fc_t;

// `count` steps of four products.
static JLT_ALWAYS_INLINE void steps_8(const jlt_wide_fc_t *t, const int8_t *x, const uint8_t *w, uint32_t count, const uint32_t blocks,
                                      jlt_sums_t *sums) {
  for (; count > 0; count--, x += 4, w += 4 * JLT_WIDE_CHANNELS) {
    const jlt_quad_t quad = jlt_quad(x);
    JLT_UNROLL
    for (uint32_t b = 0; b < blocks; b++) {
      sums[b] = jlt_add_quad(sums[b], w + b * t->block_bytes, quad);
    }
  }
}

static JLT_ALWAYS_INLINE void blocks_8(const jlt_wide_fc_t *t, const uint8_t *w, const uint32_t blocks, const jlt_sums_t *start,
                                       jlt_sums_t *acc) {
  jlt_sums_t sums[JLT_FC_BLOCKS_8];
  JLT_UNROLL
  for (uint32_t b = 0; b < blocks; b++) {
    sums[b] = start[b];
  }
  steps_8(t, t->x, w, t->steps, blocks, sums);
  if (t->has_last) {
    steps_8(t, t->last, w + t->steps * (4u * JLT_WIDE_CHANNELS), 1, blocks, sums);
  }
  JLT_UNROLL
  for (uint32_t b = 0; b < blocks; b++) {
    acc[b] = sums[b];
  }
}

#if JLT_QUADS_MAY_OVERFLOW
static __attribute__((noinline)) void fc_careful(const jlt_wide_fc_t *t, const uint8_t *w, const jlt_sums_t *start, jlt_sums_t *acc) {
  jlt_careful_t sums = {0};
  for (uint32_t s = 0; s < t->steps; s++, w += 4 * JLT_WIDE_CHANNELS) {
    jlt_add_careful(&sums, w, t->x + 4u * s);
  }
  if (t->has_last) {
    jlt_add_careful(&sums, w, t->last);
  }
  *acc = jlt_add_sums(*start, jlt_careful_sums(&sums), false);
}
#endif

#if JLT_WIDENS_4
// `count` steps of eight products of u, few enough for the sums.
static JLT_ALWAYS_INLINE void few_steps_4(const jlt_wide_fc_t *t, const int8_t *x, const uint8_t *w, uint32_t count,
                                          const uint32_t blocks, jlt_sums_t *sums) {
  for (; count > 0; count--, x += 8, w += 4 * JLT_WIDE_CHANNELS) {
    JLT_UNROLL
    for (uint32_t b = 0; b < blocks; b++) {
      sums[b] = jlt_add_products_4(sums[b], jlt_factors_4(w + b * t->block_bytes), (const uint8_t *)x);
    }
  }
}

// Sums are widened every JLT_GROUPS_4 steps.
static JLT_ALWAYS_INLINE void steps_4(const jlt_wide_fc_t *t, const int8_t *x, const uint8_t *w, uint32_t count, const uint32_t blocks,
                                      jlt_sums_t *sums) {
  while (count > 0) {
    const uint32_t now = count < JLT_GROUPS_4 ? count : JLT_GROUPS_4;
    jlt_sums_t part[JLT_FC_BLOCKS_4];
    JLT_UNROLL
    for (uint32_t b = 0; b < blocks; b++) {
      part[b] = jlt_no_sums();
    }
    few_steps_4(t, x, w, now, blocks, part);
    JLT_UNROLL
    for (uint32_t b = 0; b < blocks; b++) {
      sums[b] = jlt_widen_4(sums[b], part[b]);
    }
    x += 8u * now;
    w += 4u * JLT_WIDE_CHANNELS * now;
    count -= now;
  }
}
#else
// Sums of high nibbles have registers of their own.
static JLT_ALWAYS_INLINE void steps_4(const jlt_wide_fc_t *t, const int8_t *x, const uint8_t *w, uint32_t count, const uint32_t blocks,
                                      jlt_sums_t *sums) {
  jlt_sums_t high[JLT_FC_BLOCKS_4];
  JLT_UNROLL
  for (uint32_t b = 0; b < blocks; b++) {
    high[b] = jlt_no_sums();
  }
  for (; count > 0; count--, x += 8, w += 4 * JLT_WIDE_CHANNELS) {
    JLT_UNROLL
    for (uint32_t b = 0; b < blocks; b++) {
      sums[b] = jlt_add_low_4(sums[b], w + b * t->block_bytes, (const uint8_t *)x);
      high[b] = jlt_add_high_4(high[b], w + b * t->block_bytes, (const uint8_t *)x);
    }
  }
  JLT_UNROLL
  for (uint32_t b = 0; b < blocks; b++) {
    sums[b] = jlt_join_4(sums[b], high[b]);
  }
}
#endif

static JLT_ALWAYS_INLINE void blocks_4(const jlt_wide_fc_t *t, const uint8_t *w, const uint32_t blocks, const jlt_sums_t *start,
                                       jlt_sums_t *acc) {
  jlt_sums_t sums[JLT_FC_BLOCKS_4];
  JLT_UNROLL
  for (uint32_t b = 0; b < blocks; b++) {
    sums[b] = jlt_no_sums();
  }
  steps_4(t, t->x, w, t->steps, blocks, sums);
  if (t->has_last) {
    steps_4(t, t->last, w + t->steps * (4u * JLT_WIDE_CHANNELS), 1, blocks, sums);
  }
  JLT_UNROLL
  for (uint32_t b = 0; b < blocks; b++) {
    acc[b] = jlt_scale_sums_4(start[b], sums[b], t->offset);
  }
}

// Accumulators of neighbouring blocks are computed.
typedef void (*jlt_fc_blocks_t)(const jlt_wide_fc_t *t, const uint8_t *w, const jlt_sums_t *start, jlt_sums_t *acc);

#define JLT_FC_SHAPE(bits, name, count)                                                                                    \
  static __attribute__((noinline)) void fc_##bits##_##name(const jlt_wide_fc_t *t, const uint8_t *w, const jlt_sums_t *start, \
                                                           jlt_sums_t *acc) {                                            \
    blocks_##bits(t, w, count, start, acc);                                                                              \
  }
JLT_FC_SHAPE(8, one, 1)
JLT_FC_SHAPE(8, many, JLT_FC_BLOCKS_8)
JLT_FC_SHAPE(4, one, 1)
JLT_FC_SHAPE(4, many, JLT_FC_BLOCKS_4)

typedef struct {
  jlt_fc_blocks_t many;
  jlt_fc_blocks_t one;
  uint32_t count;
} jlt_fc_shapes_t;

static jlt_fc_shapes_t shapes_of(const jlt_wide_fc_t *t) {
  if (t->is_4) {
    return (jlt_fc_shapes_t){fc_4_many, fc_4_one, JLT_FC_BLOCKS_4};
  }
#if JLT_QUADS_MAY_OVERFLOW
  if (t->is_careful) {
    return (jlt_fc_shapes_t){fc_careful, fc_careful, 1};
  }
#endif
  return (jlt_fc_shapes_t){fc_8_many, fc_8_one, JLT_FC_BLOCKS_8};
}

// How a block's accumulators become bytes, and whether plainly.
static JLT_ALWAYS_INLINE bool prepare_record(const jlt_wide_fc_t *t, uint32_t block, jlt_finish_t *record) {
  const jlt_conv_params_t *p = t->params;
  jlt_prepare_block(t->weights, p->out_c, block, record);
  if (!jlt_fills_int8(p->out_zero_point, p->act_min, p->act_max) || !record->may_be_plain) {
    return false;
  }
  jlt_make_plain(record);
  return true;
}

static JLT_ALWAYS_INLINE void run_blocks(const jlt_wide_fc_t *t, uint32_t block, uint32_t end, int8_t *out) {
  const uint32_t channels = t->params->out_c;
  const jlt_fc_shapes_t shapes = shapes_of(t);
  const bool is_same = t->weights->record->n_multipliers == 1;
  const jlt_output_t output = jlt_output(t->params->out_zero_point, t->params->act_min, t->params->act_max);
  jlt_finish_t record;
  bool is_plain = prepare_record(t, block, &record);
  while (block < end) {
    const bool is_many = end - block >= shapes.count;
    const uint32_t count = is_many ? shapes.count : 1u;
    jlt_sums_t start[JLT_FC_BLOCKS_8], sums[JLT_FC_BLOCKS_8];  // at 4 bits as many or fewer
    const uint8_t *at = t->blocks + block * t->block_bytes;
    for (uint32_t b = 0; b < count; b++) {
      start[b] = jlt_start_of(t->weights, channels, block + b, at + b * t->block_bytes, t->each);
    }
    (is_many ? shapes.many : shapes.one)(t, at + JLT_WIDE_HEAD_BYTES, start, sums);
    for (uint32_t b = 0; b < count; b++, block++) {
      const uint32_t channel = block * JLT_WIDE_CHANNELS, left = channels - channel;
      const jlt_bytes_t bytes =
          is_plain ? jlt_finished_by(sums[b], &record, &output, true) : jlt_finished_by(sums[b], &record, &output, false);
      jlt_store_bytes(out + channel, bytes, left < JLT_WIDE_CHANNELS ? left : JLT_WIDE_CHANNELS);
      if (!is_same && block + 1u < end) {
        is_plain = prepare_record(t, block + 1u, &record);
      }
    }
  }
}

static JLT_ALWAYS_INLINE void jlt_wide_fc(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const uint8_t *packed = call->weights.packed;
  jlt_wide_fc_t t;  // filled field by field, as compilers else clear it first
  t.params = p;
  t.weights = &call->weights;
  t.x = call->in[0];
  t.is_4 = call->weights.high && !call->weights.low && jlt_wide_is_long_row(p);
  t.is_careful = *packed != 0;
  t.blocks = packed + JLT_WIDE_LINE_BYTES;
  t.block_bytes = jlt_wide_fc_block_bytes(p, t.is_4);
  const uint32_t step = t.is_4 ? 8 : 4, left = p->in_c % step;
  t.steps = p->in_c / step;
  t.has_last = left > 0;
  t.each = t.is_4 ? 16u * (uint32_t)p->in_zero_point : (uint32_t)p->in_zero_point + JLT_OFFSET_8;
  t.offset = t.is_4 ? -120 * (jlt_sum_bytes(t.x, p->in_c) - (int32_t)p->in_c * p->in_zero_point) : 0;
  memset(t.last, 0, sizeof(t.last));
  memcpy(t.last, t.x + t.steps * step, left);
  const uint32_t blocks = (uint32_t)jlt_wide_blocks(p);
  run_blocks(&t, call->begin, call->end < blocks ? call->end : blocks, call->out);
}

#endif
