// SPDX-License-Identifier: Apache-2.0
#include "kernels/variants.h"

#ifdef JLT_WITH_NEON
#define JLT_ISA neon
#define JLT_TOGETHER 4
#include "kernels/neon/dwconv_layout.h"
#include "kernels/wide/needs.h"

uint64_t jlt_dwconv_s8_scratch_bytes__neon(const void *params, const jlt_weight_t *weight) {
  (void)weight;
  return jlt_neon_zeros_bytes(params) + jlt_wide_blocks(params) * (JLT_WIDE_HEAD_BYTES + JLT_WIDE_FINISH_BYTES);
}

uint64_t jlt_dwconv_s8_packed_bytes__neon(const void *params, const jlt_weight_t *weight, uint32_t bits) {
  (void)weight;
  (void)bits;
  return jlt_wide_blocks(params) * jlt_neon_dwconv_block_bytes(params);
}
#endif
