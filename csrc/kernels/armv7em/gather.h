// SPDX-License-Identifier: Apache-2.0
// Patches of a few pixels, widened, as the rows of weights meet them.
//
// to[group][odd][pixel]: a pair of x - zero point, elements 0 and 2 of the group, or 1 and 3. Places without an element are 0.
#ifndef JLT_KERNELS_ARMV7EM_GATHER_H
#define JLT_KERNELS_ARMV7EM_GATHER_H

#include "kernels/armv7em/packed.h"

typedef struct {
  const jlt_conv_params_t *p;
  const int8_t *in;
  jlt_v7_patch_t patch;
  uint32_t minus;        // minus the zero point, twice
  uint32_t in_row;       // [bytes]
  uint32_t step;         // from pixel to pixel [bytes]
  uint32_t left_at;      // the word in which a kernel row's last elements are; 0 where there is none
  uint32_t left_shift;
  uint32_t left_points;  // what its other bytes become
  int32_t end_inside;    // the last column at which a window inside may begin
  bool is_flat;          // output pixels are those of the input, one to one
} jlt_v7_gather_t;

jlt_v7_gather_t jlt_v7_gatherer(const jlt_conv_params_t *p, const int8_t *in);

// `count` pixels from `first` on, 1 or JLT_V7_PIXELS. A single one is the first; the places of the others hold anything.
void jlt_v7_gather(const jlt_v7_gather_t *g, uint32_t first, uint32_t count, uint32_t *to);

// Sums over a block's patches, a pixel each.
void jlt_v7_sum_patches(const uint32_t *patches, uint32_t groups, int32_t *sums);

#endif
