// SPDX-License-Identifier: Apache-2.0
// What the kernels for SIMD lanes ask for. JLT_ISA names the instruction set that includes this, JLT_TOGETHER how many
// products it adds up at 8 bits, JLT_GROUP_BYTES what four rows of a depthwise convolution's column take, JLT_HAS_FC whether a matrix that
// meets one vector has a kernel of its own, JLT_CONV_HAS_NIBBLES whether long rows
// of a convolution are nibbles at 4 bits.
#include "core/bytes.h"
#include "kernels/wide/layout.h"

#define JLT_NAME_3(name, isa) name##__##isa
#define JLT_NAME_2(name, isa) JLT_NAME_3(name, isa)
#define JLT_NAME(name) JLT_NAME_2(name, JLT_ISA)

bool JLT_NAME(jlt_conv_s8_takes)(const void *params, const jlt_weight_t *weight) { return jlt_is_plain_conv(params, weight); }

uint64_t JLT_NAME(jlt_conv_s8_scratch_bytes)(const void *params, const jlt_weight_t *weight) {
  (void)weight;
  return JLT_WIDE_LINE_BYTES + ((const jlt_conv_params_t *)params)->k_h * jlt_wide_strip_bytes(params) +
         jlt_wide_blocks(params) * JLT_WIDE_FINISH_BYTES;
}

uint64_t JLT_NAME(jlt_conv_s8_packed_bytes)(const void *params, const jlt_weight_t *weight, uint32_t bits) {
  const bool is_nibbles = JLT_CONV_HAS_NIBBLES && bits == 4 && jlt_wide_is_long_row(params);
  (void)weight;
  return jlt_wide_blocks(params) * jlt_wide_conv_block_bytes(params, is_nibbles, JLT_TOGETHER);
}

#if JLT_HAS_FC
bool JLT_NAME(jlt_fc_s8_takes)(const void *params, const jlt_weight_t *weight) {
  return jlt_wide_is_one_vector(params) && jlt_is_plain_conv(params, weight);
}

uint64_t JLT_NAME(jlt_fc_s8_scratch_bytes)(const void *params, const jlt_weight_t *weight) {
  (void)params;
  (void)weight;
  return 0;
}

uint64_t JLT_NAME(jlt_fc_s8_packed_bytes)(const void *params, const jlt_weight_t *weight, uint32_t bits) {
  (void)weight;
  return JLT_WIDE_LINE_BYTES + jlt_wide_blocks(params) * jlt_wide_fc_block_bytes(params, bits == 4 && jlt_wide_is_long_row(params));
}
#endif

bool JLT_NAME(jlt_dwconv_s8_takes)(const void *params, const jlt_weight_t *weight) {
  const jlt_conv_params_t *p = params;
  return jlt_is_plain_conv(p, weight) && p->in_c == p->out_c && (uint32_t)p->k_h * p->k_w <= JLT_WIDE_MOST_TAPS;
}

uint64_t JLT_NAME(jlt_dwconv_s8_scratch_bytes)(const void *params, const jlt_weight_t *weight) {
  (void)weight;
  return JLT_WIDE_LINE_BYTES + jlt_wide_blocks(params) * (JLT_WIDE_CHANNELS + JLT_WIDE_HEAD_BYTES + JLT_WIDE_FINISH_BYTES);
}

uint64_t JLT_NAME(jlt_dwconv_s8_packed_bytes)(const void *params, const jlt_weight_t *weight, uint32_t bits) {
  (void)weight;
  (void)bits;
  return jlt_wide_blocks(params) * jlt_wide_dwconv_block_bytes(params, JLT_GROUP_BYTES);
}

static bool adds(const void *params, const jlt_weight_t *weight) {
  const jlt_binary_params_t *p = params;
  (void)weight;
  return jlt_is_dense(p->dims, p->stride_a) && jlt_is_dense(p->dims, p->stride_b);
}

bool JLT_NAME(jlt_add_s8_takes)(const void *params, const jlt_weight_t *weight) { return adds(params, weight); }

bool JLT_NAME(jlt_sub_s8_takes)(const void *params, const jlt_weight_t *weight) { return adds(params, weight); }

bool JLT_NAME(jlt_avgpool_s8_takes)(const void *params, const jlt_weight_t *weight) {
  (void)params;
  (void)weight;
  return true;
}
