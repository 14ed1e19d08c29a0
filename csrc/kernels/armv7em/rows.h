// SPDX-License-Identifier: Apache-2.0
// Two rows of weights with four pixels: the registers, products and outputs that conv_s8.c and conv_sparse_s8.c have in common.
#ifndef JLT_KERNELS_ARMV7EM_ROWS_H
#define JLT_KERNELS_ARMV7EM_ROWS_H

#include "kernels/armv7em/requantise.h"

enum { ANY = 0, RELU = 4 };  // kinds of activations: where in the table of jumps at PUT [bytes]

// Registers are named after what they hold when the sums are done.
#define W "%[multiplier]"
#define E "%[power]"
#define X "%[out]"
#define Y "%[step]"
#define WEIGHTS "%[weights]"
#define PATCHES "%[zero_point]"
#define E0 "%[e0]"
#define E1 "%[e1]"
#define E2 "%[e2]"
#define E3 "%[e3]"
#define B0 "%[b0]"
#define B1 "%[b1]"
#define B2 "%[b2]"
#define B3 "%[b3]"

// One product of both rows with all four pixels. Sums begin with a register; that of the fourth pixel's may be its own.
#define PRODUCTS(e0, e1, e2, e3, b0, b1, b2, b3)  \
  "smlad " B0 ", " W ", " X ", " b0 "\n\t"       \
  "smlad " E0 ", " E ", " X ", " e0 "\n\t"       \
  "smlad " B1 ", " W ", " Y ", " b1 "\n\t"       \
  "smlad " E1 ", " E ", " Y ", " e1 "\n\t"       \
  "ldrd " X ", " Y ", [" PATCHES "], #8\n\t"     \
  "smlad " B2 ", " W ", " X ", " b2 "\n\t"       \
  "smlad " E2 ", " E ", " X ", " e2 "\n\t"       \
  "smlad " B3 ", " W ", " Y ", " b3 "\n\t"       \
  "smlad " E3 ", " E ", " Y ", " e3 "\n\t"
#define ADD8 PRODUCTS(E0, E1, E2, E3, B0, B1, B2, B3)
#define PAIR8(second_row, sums)                \
  "ldr " W ", [" WEIGHTS "], #4\n\t"           \
  "ldrd " X ", " Y ", [" PATCHES "], #8\n\t"   \
  "sxtb16 " E ", " W "\n\t" second_row sums
#define GROUP8 PAIR8("", ADD8) PAIR8("", ADD8)

// Both rows' biases to W and Y.
#define BIASES                          \
  "ldr " X ", %[bias_at]\n\t"            \
  "ldrd " W ", " Y ", [" X "], #8\n\t"   \
  "str " X ", %[bias_at]\n\t"
#define APART8(even, odd) "sub " odd ", " odd ", " even "\n\tadd " odd ", " Y ", " odd ", asr #8\n\t"

// The second row's outputs lie `distance` from the first one's: 1, or 0 where it is a single last row, which then lies over what
// the first one would be, as the first pixel does over the others with a step of 0.
#define PUT_ROWS(requantise)                                                                       \
  "ldrd %[multiplier], %[power], [" WEIGHTS "], #8\n\t"                                            \
  "ldrd %[zero_point], %[step], %[fixed]\n\t"                                                      \
  "ldr %[out], %[out_at]\n\t"                                                                      \
  JLT_V7_PUT_FOUR(requantise, E0, E1, E2, E3)                                                      \
  "ldrd %[multiplier], %[power], [" WEIGHTS "], #8\n\t"                                            \
  "ldrd " E2 ", " E3 ", %[ends]\n\t"                                                               \
  "add %[out], %[out], " E2 "\n\t"                                                                 \
  JLT_V7_PUT_FOUR(requantise, B0, B1, B2, B3)                                                      \
  "add %[out], %[out], #1\n\t"                                                                     \
  "str %[out], %[out_at]\n\t"                                                                      \
  "cmp %[out], " E3 "\n\t"                                                                         \
  "bne 0b\n\t"
#define PUT                                                                                        \
  "9:\n\t"                                                                                         \
  "b.w 6f\n\t"                                                                                     \
  PUT_ROWS(JLT_V7_REQUANTISE_RELU) "b 9f\n"                                                        \
  "6:\n\t" PUT_ROWS(JLT_V7_REQUANTISE)                                                             \
  "9:\n\t"
#define PAIR(first) (*(int32_t(*)[2])(void *)&(first))

#endif
