// SPDX-License-Identifier: Apache-2.0
// What the bodies share, after a lanes.h.
#ifndef JLT_KERNELS_WIDE_LANES_COMMON_H
#define JLT_KERNELS_WIDE_LANES_COMMON_H

static JLT_ALWAYS_INLINE void jlt_take_bytes(uint8_t *to, const int8_t *from, uint32_t n) { memcpy(to, from, n); }

static JLT_ALWAYS_INLINE void jlt_repeat_bytes(uint8_t *to, int32_t value, uint32_t n) { memset(to, value, n); }

// Sixteen of an array with one value a channel; past its end it begins again, so that eight channels serve two pixels.
static JLT_ALWAYS_INLINE const int32_t *sixteen(const int32_t *values, uint32_t channels, uint32_t first, int32_t *room) {
  if (channels - first >= JLT_WIDE_CHANNELS) {
    return values + first;
  }
  for (uint32_t i = 0; i < JLT_WIDE_CHANNELS; i++) {
    room[i] = values[first + i < channels ? first + i : (first + i - channels) % channels];
  }
  return room;
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

// How blocks [first, end) end, one record each or one for all; returns how far apart the records are.
static JLT_ALWAYS_INLINE uint32_t jlt_prepare_blocks(const jlt_weights_t *w, uint32_t channels, uint32_t first, uint32_t end,
                                                     jlt_finish_t *f) {
  int32_t room[2][JLT_WIDE_CHANNELS];
  if (w->record->n_multipliers == 1) {
    jlt_prepare_same(f, w->multipliers[0], w->shifts[0]);
    return 0;
  }
  for (uint32_t block = first; block < end; block++) {
    const uint32_t at = block * JLT_WIDE_CHANNELS;
    jlt_prepare(&f[block - first], sixteen(w->multipliers, channels, at, room[0]), sixteen(w->shifts, channels, at, room[1]));
  }
  return 1;
}

#endif
