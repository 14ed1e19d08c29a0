// SPDX-License-Identifier: Apache-2.0
// What the bodies share, after a lanes.h.
#ifndef JLT_KERNELS_WIDE_LANES_COMMON_H
#define JLT_KERNELS_WIDE_LANES_COMMON_H

static JLT_ALWAYS_INLINE void jlt_take_bytes(uint8_t *to, const int8_t *from, uint32_t n) { memcpy(to, from, n); }

static JLT_ALWAYS_INLINE void jlt_repeat_bytes(uint8_t *to, int32_t value, uint32_t n) { memset(to, value, n); }

static __attribute__((noinline)) const int32_t *begin_again(const int32_t *values, uint32_t channels, uint32_t first,
                                                            int32_t *room) {
  for (uint32_t i = 0; i < JLT_WIDE_CHANNELS; i++) {
    room[i] = values[first + i < channels ? first + i : (first + i - channels) % channels];
  }
  return room;
}

// Sixteen of an array with one value a channel; past its end it begins again, so that eight channels serve two pixels.
static JLT_ALWAYS_INLINE const int32_t *sixteen(const int32_t *values, uint32_t channels, uint32_t first, int32_t *room) {
  return channels - first >= JLT_WIDE_CHANNELS ? values + first : begin_again(values, channels, first, room);
}

static JLT_ALWAYS_INLINE jlt_sums_t jlt_start_of(const jlt_weights_t *w, uint32_t channels, uint32_t block, const void *head,
                                                 uint32_t each) {
  int32_t room[JLT_WIDE_CHANNELS];
  return jlt_start(sixteen(w->bias, channels, block * JLT_WIDE_CHANNELS, room), head, each);
}

static JLT_ALWAYS_INLINE void jlt_prepare_same(jlt_finish_t *f, int32_t multiplier, int32_t shift) {
  int32_t room[2][JLT_WIDE_CHANNELS];
  for (uint32_t i = 0; i < JLT_WIDE_CHANNELS; i++) {
    room[0][i] = multiplier;
    room[1][i] = shift;
  }
  jlt_prepare(f, room[0], room[1]);
}

// An op ends plainly where its outputs fill int8 from the zero point on and all shifts go to the right, not too far (jlt_plain_shift): what
// is below the zero point ends there however it is rounded, and saturation is all of clamping.
static JLT_ALWAYS_INLINE bool jlt_fills_int8(int32_t zero_point, int32_t act_min, int32_t act_max) {
  return zero_point == -128 && act_min == -128 && act_max == 127;
}

#if !JLT_READY_IN_REGISTERS
// The same for all lanes.
static JLT_ALWAYS_INLINE jlt_ready_t jlt_ready_same(jlt_finish_t *room, int32_t multiplier, int32_t shift, const bool is_plain) {
  jlt_prepare_same(room, multiplier, shift);
  if (is_plain) {
    jlt_make_plain(room);
  }
  return jlt_ready(room, is_plain);
}
#endif

static JLT_ALWAYS_INLINE jlt_bytes_t jlt_finished_by(jlt_sums_t sums, const jlt_finish_t *f, const jlt_output_t *output,
                                                     const bool is_plain) {
  const jlt_ready_t ready = jlt_ready(f, is_plain);
  return jlt_finished(sums, &ready, output, is_plain);
}

// How the blocks of an op end.
typedef struct {
  jlt_finish_t *records;  // from the first block on
  uint32_t step;          // from block to block; 0 where one record serves all
  bool is_plain;
  jlt_output_t output;
} jlt_ends_t;

// Of one block, or of all where all channels have the same multiplier.
static JLT_ALWAYS_INLINE void jlt_prepare_block(const jlt_weights_t *w, uint32_t channels, uint32_t block, jlt_finish_t *record) {
  int32_t room[2][JLT_WIDE_CHANNELS];
  const uint32_t first = block * JLT_WIDE_CHANNELS;
  if (w->record->n_multipliers == 1) {
    jlt_prepare_same(record, w->multipliers[0], w->shifts[0]);
  } else {
    jlt_prepare(record, sixteen(w->multipliers, channels, first, room[0]), sixteen(w->shifts, channels, first, room[1]));
  }
}

// Of blocks [first, end).
static JLT_ALWAYS_INLINE jlt_ends_t jlt_prepare_ends(const jlt_weights_t *w, const jlt_conv_params_t *p, uint32_t first,
                                                     uint32_t end, jlt_finish_t *records) {
  const uint32_t count = w->record->n_multipliers == 1 ? 1u : end - first;
  jlt_ends_t ends = {
      .records = records,
      .step = w->record->n_multipliers != 1,
      .is_plain = jlt_fills_int8(p->out_zero_point, p->act_min, p->act_max),
      .output = jlt_output(p->out_zero_point, p->act_min, p->act_max),
  };
  for (uint32_t i = 0; i < count; i++) {
    jlt_prepare_block(w, p->out_c, first + i, &records[i]);
    ends.is_plain = ends.is_plain && records[i].may_be_plain;
  }
  for (uint32_t i = 0; ends.is_plain && i < count; i++) {
    jlt_make_plain(&records[i]);
  }
  return ends;
}

#endif
