// SPDX-License-Identifier: Apache-2.0
// How the innermost loops of convolutions and matrices go.
//
// They do four groups a turn; the first turn is entered so far behind its beginning that the rest is full.
// Two elements of both rows are the bytes of a word, the first row's in even places. Stacked, a lane of the word as it is, taken
// as int16, is 256 times the second row's element plus the first's, and the sums come apart in the end: that spares an
// instruction a word. Rows that could leave the 24 bits that a sum has then, or the 16 of a lane, are packed without.
#ifndef JLT_KERNELS_ARMV7EM_DOT_H
#define JLT_KERNELS_ARMV7EM_DOT_H

#include "kernels/armv7em/packed.h"

enum {
  JLT_V7_TURN = 4,  // groups
  JLT_V7_DOT8_GROUP_BYTES = 96,  // of code: all of its instructions have four bytes
  JLT_V7_DOT4_GROUP_BYTES = 104,
};

// Bytes of code to enter the first turn behind, so that `groups` end a turn; all of it for none.
static inline uint32_t jlt_v7_behind(uint32_t groups, uint32_t group_bytes) {
  return (groups == 0 ? JLT_V7_TURN : (0u - groups) % JLT_V7_TURN) * group_bytes;
}

// Begins code with labels that JLT_V7_PLACE is asked for: distances are from words, so code must not be linked between two.
#define JLT_V7_ALIGN ".p2align 2\n\t"

// What code lies `at` bytes behind a label: its address, for a load to pc. `t` is free.
#define JLT_V7_PLACE(at, t, label)         \
  "adr.w " t ", " label "\n\t"            \
  "add " at ", " at ", " t "\n\t"         \
  "orr " at ", " at ", #1\n\t"

#endif
