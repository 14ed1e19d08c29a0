// SPDX-License-Identifier: Apache-2.0
// What the bodies share, after a lanes.h.
#ifndef JLT_KERNELS_WIDE_LANES_COMMON_H
#define JLT_KERNELS_WIDE_LANES_COMMON_H

static JLT_ALWAYS_INLINE void jlt_take_bytes(uint8_t *to, const int8_t *from, uint32_t n) { memcpy(to, from, n); }

static JLT_ALWAYS_INLINE void jlt_repeat_bytes(uint8_t *to, int32_t value, uint32_t n) { memset(to, value, n); }

// Sixteen of an array with one value a channel; past its end the last one again.
static JLT_ALWAYS_INLINE const int32_t *sixteen(const int32_t *values, uint32_t channels, uint32_t first, int32_t *room) {
  if (channels - first >= JLT_WIDE_CHANNELS) {
    return values + first;
  }
  for (uint32_t i = 0; i < JLT_WIDE_CHANNELS; i++) {
    room[i] = values[first + i < channels ? first + i : channels - 1u];
  }
  return room;
}

// `head`: a block's sums of weights, which `each` multiplies.
static JLT_ALWAYS_INLINE void jlt_prepare_block(const jlt_weights_t *w, uint32_t channels, uint32_t block, const void *head,
                                                uint32_t each, jlt_finish_t *f) {
  const uint32_t first = block * JLT_WIDE_CHANNELS;
  int32_t room[3][JLT_WIDE_CHANNELS];
  const int32_t *bias = sixteen(w->bias, channels, first, room[0]);
  if (w->record->n_multipliers > 1) {
    jlt_prepare(f, bias, head, each, sixteen(w->multipliers, channels, first, room[1]),
                sixteen(w->shifts, channels, first, room[2]));
    return;
  }
  for (uint32_t i = 0; i < JLT_WIDE_CHANNELS; i++) {
    room[1][i] = w->multipliers[0];
    room[2][i] = w->shifts[0];
  }
  jlt_prepare(f, bias, head, each, room[1], room[2]);
}

#endif
