// SPDX-License-Identifier: Apache-2.0
// How runtime/plan/packings/mve.py lays weights out: at both precisions as int8 (q, or 16u − 120), with the int32 sum of each channel,
// channels padded to groups of four.
//
// Convolution and fully connected, rows padded with 0 to 16. With one output pixel: group after group, its rows, 16 bytes of each
// in turn, then its sums. Else all sums, then groups of two pairs of rows, channels 0 and 2, then 1 and 3, as one instruction moves two
// sums into the lanes of such a pair; 16 bytes of each of the pair in turn.
// Depthwise: all sums, then 16 bytes a channel, column after column of the window, then 0. Windows of more than 16 taps:
// [k_h · k_w][channels of the groups].
#ifndef JLT_KERNELS_MVE_LAYOUT_H
#define JLT_KERNELS_MVE_LAYOUT_H

#include "kernels/kernels.h"

enum {
  JLT_MVE_PIXELS = 3,  // at once: as many sums of two channels as there are even registers
  JLT_MVE_LANES = 4,   // channels of a group
  JLT_MVE_BYTES = 16,  // of a vector
  JLT_MVE_SCALE = 12,  // int32 that a group is scaled by: bias, multiplier and shift of each channel
  // scratch of a depthwise convolution: a vector for each of sixteen channels, and what the last ones read behind theirs
  JLT_MVE_STRIPS = 17 * JLT_MVE_BYTES,
};

static inline uint32_t jlt_mve_length(const jlt_conv_params_t *p) {
  return (p->k_h * p->k_w * p->in_c + JLT_MVE_BYTES - 1u) & ~(JLT_MVE_BYTES - 1u);
}

// Channels with those that fill the last group.
static inline uint32_t jlt_mve_rows(const jlt_conv_params_t *p) { return (p->out_c + JLT_MVE_LANES - 1u) & ~(JLT_MVE_LANES - 1u); }

// Whether the taps of a depthwise window fit one vector.
static inline bool jlt_mve_is_small(const jlt_conv_params_t *p) { return (uint32_t)p->k_h * p->k_w <= JLT_MVE_BYTES; }

// Scratch for the scales of all groups.
static inline uint32_t jlt_mve_scales_bytes(const jlt_conv_params_t *p) {
  return jlt_mve_rows(p) / JLT_MVE_LANES * JLT_MVE_SCALE * 4u;
}

static inline uint32_t jlt_mve_pixels(const jlt_conv_params_t *p) { return p->n * p->out_h * p->out_w; }

#endif
