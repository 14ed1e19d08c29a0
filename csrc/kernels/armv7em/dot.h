// SPDX-License-Identifier: Apache-2.0
// The innermost loop of a convolution: two rows of weights times the patches of four pixels.
//
// Eight sums, two pointers, and four registers for operands are all a core has; where the loop ends and where it is entered come
// from the stack. It does four groups a turn; the first turn is entered so far behind its beginning that the rest is full.
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

// Bytes of code to enter the first turn behind, so that `groups` end a turn.
static inline uint32_t jlt_v7_behind(uint32_t groups, uint32_t group_bytes) {
  return (0u - groups) % JLT_V7_TURN * group_bytes;
}

#define JLT_V7_PAIR8(second_row)      \
  "ldr %[w], [%[weights]], #4\n\t"    \
  "ldrd %[x], %[y], [%[patches]], #8\n\t" \
  "sxtb16 %[e], %[w]\n\t" second_row  \
  "smlad %[e0], %[e], %[x], %[e0]\n\t" \
  "smlad %[b0], %[w], %[x], %[b0]\n\t" \
  "smlad %[e1], %[e], %[y], %[e1]\n\t" \
  "smlad %[b1], %[w], %[y], %[b1]\n\t" \
  "ldrd %[x], %[y], [%[patches]], #8\n\t" \
  "smlad %[e2], %[e], %[x], %[e2]\n\t" \
  "smlad %[b2], %[w], %[x], %[b2]\n\t" \
  "smlad %[e3], %[e], %[y], %[e3]\n\t" \
  "smlad %[b3], %[w], %[y], %[b3]\n\t"

// Four elements of both rows are the nibbles of one word; the odd nibble, with the even one below it, is 16 times the second row's.
#define JLT_V7_GROUP4                 \
  "ldr %[w], [%[weights]], #4\n\t"    \
  "ldrd %[x], %[y], [%[patches]], #8\n\t" \
  "and %[e], %[w], #0x000F000F\n\t"   \
  "smlad %[e0], %[e], %[x], %[e0]\n\t" \
  "smlad %[e1], %[e], %[y], %[e1]\n\t" \
  "uxtb16 %[e], %[w]\n\t"             \
  "smlad %[b0], %[e], %[x], %[b0]\n\t" \
  "smlad %[b1], %[e], %[y], %[b1]\n\t" \
  "ldrd %[x], %[y], [%[patches]], #8\n\t" \
  "smlad %[b2], %[e], %[x], %[b2]\n\t" \
  "smlad %[b3], %[e], %[y], %[b3]\n\t" \
  "and %[e], %[e], #0x000F000F\n\t"   \
  "smlad %[e2], %[e], %[x], %[e2]\n\t" \
  "smlad %[e3], %[e], %[y], %[e3]\n\t" \
  "uxtb16 %[w], %[w], ror #8\n\t"     \
  "ldrd %[x], %[y], [%[patches]], #8\n\t" \
  "and %[e], %[w], #0x000F000F\n\t"   \
  "smlad %[e0], %[e], %[x], %[e0]\n\t" \
  "smlad %[b0], %[w], %[x], %[b0]\n\t" \
  "smlad %[e1], %[e], %[y], %[e1]\n\t" \
  "smlad %[b1], %[w], %[y], %[b1]\n\t" \
  "ldrd %[x], %[y], [%[patches]], #8\n\t" \
  "smlad %[e2], %[e], %[x], %[e2]\n\t" \
  "smlad %[b2], %[w], %[x], %[b2]\n\t" \
  "smlad %[e3], %[e], %[y], %[e3]\n\t" \
  "smlad %[b3], %[w], %[y], %[b3]\n\t"

#define JLT_V7_GROUP8 JLT_V7_PAIR8("") JLT_V7_PAIR8("")
#define JLT_V7_APART "sxtb16 %[w], %[w], ror #8\n\t"

#define JLT_V7_UNTIL_END      \
  "ldr %[x], %[end]\n\t"      \
  "cmp %[patches], %[x]\n\t"  \
  "bne 1b\n\t"

// `add pc` counts from the instruction after the nop.
#define JLT_V7_DOT(group)    \
  "ldr %[x], %[behind]\n\t"  \
  "add pc, %[x]\n\t"         \
  "nop.n\n"                  \
  "1:\n\t" group group group group JLT_V7_UNTIL_END
#define JLT_V7_DOT_APART "1:\n\t" JLT_V7_PAIR8(JLT_V7_APART) JLT_V7_PAIR8(JLT_V7_APART) JLT_V7_UNTIL_END

#endif
