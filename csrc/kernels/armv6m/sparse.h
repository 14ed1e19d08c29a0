// SPDX-License-Identifier: Apache-2.0
// Sparse weights for cores without SIMD; runtime/plan/packings/armv6m.py writes them.
//
// A block is four neighbouring elements of two output channels. A word for each channel, the sum of its weights; then, for every two
// channels, a halfword, how many blocks they have (1 or more), and as many blocks of nine bytes: how many absent ones come before, and
// the weights as [k][2], signed. Everything but the sums lies at any address.
#ifndef JLT_KERNELS_ARMV6M_SPARSE_H
#define JLT_KERNELS_ARMV6M_SPARSE_H

#include "kernels/armv6m/layout.h"

enum {
  JLT_V6M_SPARSE_ELEMENTS = 4,  // of one channel in a block
  JLT_V6M_SPARSE_HEAD_BYTES = 2,
  JLT_V6M_SPARSE_BLOCK_BYTES = 9,
};

static inline uint32_t jlt_v6m_sparse_blocks(const uint8_t *from) { return from[0] | (uint32_t)from[1] << 8; }

#endif
