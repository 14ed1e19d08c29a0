// SPDX-License-Identifier: Apache-2.0
// Which convolutions the kernel for absent blocks takes, and whether a sparse copy (sparse.h) is sound; plain C.
#include "kernels/mve/sparse.h"

#include "kernels/sparse.h"

#if JLT_SPARSE && defined(JLT_WITH_MVE)

static uint32_t patch_words(const jlt_conv_params_t *p) { return jlt_mve_length(p) / 4u; }

bool jlt_conv_sparse_s8_takes__mve(const void *params, const jlt_weight_t *weight) {
  const jlt_conv_params_t *p = params;
  return jlt_conv_s8_takes__mve(params, weight) && jlt_mve_pixels(p) > 1 && p->in_c % 4u == 0 && p->out_c % JLT_MVE_PAIR == 0 &&
         (uint64_t)p->k_h * p->k_w * p->in_c <= 4u * JLT_MVE_SPARSE_WORDS;
}

// Bytes of two channels; 0 where they end outside, or a block leaves the patch.
static uint32_t pair_bytes(const uint8_t *from, uint32_t bytes, uint32_t words) {
  const uint32_t taken = bytes > 0 ? 1u + (from[0] + 1u) * JLT_MVE_SPARSE_BYTES : 0u;
  if (taken > bytes) {
    return 0;
  }
  for (uint32_t at = 1; at < taken; at += JLT_MVE_SPARSE_BYTES) {
    for (uint32_t i = 0; i < JLT_MVE_SPARSE_BLOCKS; i++) {
      if (from[at + i] >= words) {
        return 0;
      }
    }
  }
  return taken;
}

bool jlt_conv_sparse_s8_sound__mve(const void *params, const void *copy, uint32_t bytes) {
  const jlt_conv_params_t *p = params;
  const uint32_t words = patch_words(p);
  const uint32_t rows = jlt_mve_rows(p);
  if (bytes / 4u < rows) {
    return false;
  }
  return jlt_sparse_pairs_sound((const uint8_t *)copy + 4u * rows, bytes - 4u * rows, rows / JLT_MVE_PAIR, words, pair_bytes);
}
#endif
