// SPDX-License-Identifier: Apache-2.0
// Which convolutions the kernel for absent blocks takes, and whether a sparse copy (sparse.h) is sound.
#include "kernels/armv6m/sparse.h"

#include "kernels/sparse.h"

#if JLT_SPARSE && defined(JLT_WITH_ARMV6M)

bool jlt_conv_sparse_s8_takes__armv6m(const void *params, const jlt_weight_t *weight) {
  const jlt_conv_params_t *p = params;
  return jlt_conv_s8_takes__armv6m(params, weight) && !jlt_v6m_one_pixel(p) && p->in_c % JLT_V6M_SPARSE_ELEMENTS == 0 &&
         p->out_c % JLT_V6M_PAIR == 0;
}

// Bytes of two channels; 0 where they end outside, or their blocks leave the patch.
static uint32_t pair_bytes(const uint8_t *from, uint32_t bytes, uint32_t groups) {
  const uint32_t blocks = bytes >= JLT_V6M_SPARSE_HEAD_BYTES ? jlt_v6m_sparse_blocks(from) : 0;
  const uint32_t taken = JLT_V6M_SPARSE_HEAD_BYTES + blocks * JLT_V6M_SPARSE_BLOCK_BYTES;
  if (blocks == 0 || taken > bytes) {
    return 0;
  }
  uint32_t met = blocks;  // groups of the patch, up to the last that is there
  for (uint32_t i = 0; i < blocks; i++) {
    met += from[JLT_V6M_SPARSE_HEAD_BYTES + i * JLT_V6M_SPARSE_BLOCK_BYTES];
  }
  return met <= groups ? taken : 0;
}

bool jlt_conv_sparse_s8_sound__armv6m(const void *params, const void *copy, uint32_t bytes) {
  const jlt_conv_params_t *p = params;
  const uint32_t groups = jlt_v6m_length(p) / JLT_V6M_SPARSE_ELEMENTS;
  const uint32_t sums = 4u * p->out_c;
  if (bytes < sums) {
    return false;
  }
  return jlt_sparse_pairs_sound((const uint8_t *)copy + sums, bytes - sums, p->out_c / JLT_V6M_PAIR, groups, pair_bytes);
}
#endif
