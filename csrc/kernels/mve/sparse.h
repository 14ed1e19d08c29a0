// SPDX-License-Identifier: Apache-2.0
// Sparse weights for Helium; runtime/plan/packings/mve.py writes them.
//
// A block is a word of the patch, four neighbouring elements, with two output channels: both need it, or it is absent. All sums of
// weights, as layout.h has them for several pixels; then, for every two channels of the groups, a byte, how many vectors follow the
// first one, and as many vectors of four blocks: where their words lie in the patch, a byte each, the first channel's weights, the
// second one's. What fills a vector up has weights of 0. Everything but the sums lies at any address.
#ifndef JLT_KERNELS_MVE_SPARSE_H
#define JLT_KERNELS_MVE_SPARSE_H

#include "kernels/mve/layout.h"

enum {
  JLT_MVE_PAIR = 2,           // channels of a block
  JLT_MVE_SPARSE_BLOCKS = 4,  // of a vector
  JLT_MVE_SPARSE_BYTES = JLT_MVE_SPARSE_BLOCKS + JLT_MVE_PAIR * JLT_MVE_BYTES,  // of one with its places
  JLT_MVE_SPARSE_WORDS = 256,  // of a patch, that a byte tells apart
};

#endif
