// SPDX-License-Identifier: Apache-2.0
// Sparse weights of Cortex-M4, M7 and M33; runtime/plan/packings/armv7em.py writes them.
//
// A block is a group of four elements (gather.h) of two output channels: both need it, or it is absent. For every two channels:
// a word, how many groups the first turn lacks (0..3, the low bits count); then turns of four groups. A turn is a word whose bytes tell
// how many absent groups come before each of its own, and eight words of weights, stacked as in dot.h; what the first turn lacks is
// 0 and comes first. There is one turn at least. Then a word of ones, and both channels' scales.
#ifndef JLT_KERNELS_ARMV7EM_SPARSE_H
#define JLT_KERNELS_ARMV7EM_SPARSE_H

#include "kernels/armv7em/packed.h"

enum {
  JLT_V7_SPARSE_TURN = 4,  // groups
  JLT_V7_SPARSE_TURN_WORDS = 9,
  JLT_V7_SPARSE_SCALE_WORDS = 4,  // of both channels
};
#define JLT_V7_SPARSE_END 0xFFFFFFFFu

#endif
