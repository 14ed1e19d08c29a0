// SPDX-License-Identifier: Apache-2.0
// What the convolutions for SIMD lanes ask for. JLT_ISA names the instruction set that includes this, JLT_TOGETHER how many
// products it adds up at 8 bits.
#include "kernels/wide/layout.h"

#define JLT_NAME_3(name, isa) name##__##isa
#define JLT_NAME_2(name, isa) JLT_NAME_3(name, isa)
#define JLT_NAME(name) JLT_NAME_2(name, JLT_ISA)

static bool is_plain(const jlt_conv_params_t *p, const jlt_weight_t *weight) {
  return weight && p->groups == 1 && p->dilation_h == 1 && p->dilation_w == 1 && weight->zero_point == 0 &&
         weight->rounding == JLT_ROUNDING_TWICE;
}

bool JLT_NAME(jlt_conv_s8_takes)(const void *params, const jlt_weight_t *weight) { return is_plain(params, weight); }

uint64_t JLT_NAME(jlt_conv_s8_scratch_bytes)(const void *params, const jlt_weight_t *weight) {
  (void)weight;
  return ((const jlt_conv_params_t *)params)->k_h * jlt_wide_strip_bytes(params) + jlt_wide_blocks(params) * JLT_WIDE_FINISH_BYTES;
}

uint64_t JLT_NAME(jlt_conv_s8_packed_bytes)(const void *params, const jlt_weight_t *weight, uint32_t bits) {
  (void)weight;
  return jlt_wide_blocks(params) * jlt_wide_conv_block_bytes(params, bits, JLT_TOGETHER);
}

bool JLT_NAME(jlt_dwconv_s8_takes)(const void *params, const jlt_weight_t *weight) {
  const jlt_conv_params_t *p = params;
  return is_plain(p, weight) && p->in_c == p->out_c && (uint32_t)p->k_h * p->k_w <= JLT_WIDE_MOST_TAPS;
}

uint64_t JLT_NAME(jlt_dwconv_s8_scratch_bytes)(const void *params, const jlt_weight_t *weight) {
  (void)weight;
  return jlt_wide_zeros_bytes(params) + jlt_wide_blocks(params) * (JLT_WIDE_HEAD_BYTES + JLT_WIDE_FINISH_BYTES);
}

uint64_t JLT_NAME(jlt_dwconv_s8_packed_bytes)(const void *params, const jlt_weight_t *weight, uint32_t bits) {
  (void)weight;
  (void)bits;
  return jlt_wide_blocks(params) * jlt_wide_dwconv_block_bytes(params);
}

static bool is_dense(const uint32_t *dims, const uint32_t *stride) {
  uint64_t step = 1;
  for (uint32_t d = 6; d-- > 0; step *= dims[d]) {
    if (dims[d] > 1 && stride[d] != step) {
      return false;
    }
  }
  return true;
}

static bool adds(const void *params, const jlt_weight_t *weight) {
  const jlt_binary_params_t *p = params;
  (void)weight;
  return is_dense(p->dims, p->stride_a) && is_dense(p->dims, p->stride_b);
}

static uint64_t none(const void *params, const jlt_weight_t *weight) {
  (void)params;
  (void)weight;
  return 0;
}

bool JLT_NAME(jlt_add_s8_takes)(const void *params, const jlt_weight_t *weight) { return adds(params, weight); }

uint64_t JLT_NAME(jlt_add_s8_scratch_bytes)(const void *params, const jlt_weight_t *weight) { return none(params, weight); }

uint64_t JLT_NAME(jlt_add_s8_packed_bytes)(const void *params, const jlt_weight_t *weight, uint32_t bits) {
  (void)bits;
  return none(params, weight);
}

bool JLT_NAME(jlt_sub_s8_takes)(const void *params, const jlt_weight_t *weight) { return adds(params, weight); }

uint64_t JLT_NAME(jlt_sub_s8_scratch_bytes)(const void *params, const jlt_weight_t *weight) { return none(params, weight); }

uint64_t JLT_NAME(jlt_sub_s8_packed_bytes)(const void *params, const jlt_weight_t *weight, uint32_t bits) {
  (void)bits;
  return none(params, weight);
}

bool JLT_NAME(jlt_avgpool_s8_takes)(const void *params, const jlt_weight_t *weight) {
  (void)params;
  (void)weight;
  return true;
}

uint64_t JLT_NAME(jlt_avgpool_s8_scratch_bytes)(const void *params, const jlt_weight_t *weight) { return none(params, weight); }

uint64_t JLT_NAME(jlt_avgpool_s8_packed_bytes)(const void *params, const jlt_weight_t *weight, uint32_t bits) {
  (void)bits;
  return none(params, weight);
}
