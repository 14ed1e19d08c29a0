// SPDX-License-Identifier: Apache-2.0
// What the depthwise convolutions of kernels/wide/dwconv_body.h ask for, after needs.h.
uint64_t JLT_NAME(jlt_dwconv_s8_scratch_bytes)(const void *params, const jlt_weight_t *weight) {
  (void)weight;
  return jlt_wide_zeros_bytes(params) + jlt_wide_blocks(params) * (JLT_WIDE_HEAD_BYTES + JLT_WIDE_FINISH_BYTES);
}

uint64_t JLT_NAME(jlt_dwconv_s8_packed_bytes)(const void *params, const jlt_weight_t *weight, uint32_t bits) {
  (void)weight;
  (void)bits;
  return jlt_wide_blocks(params) * jlt_wide_dwconv_block_bytes(params);
}
