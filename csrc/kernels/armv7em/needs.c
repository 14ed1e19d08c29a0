// SPDX-License-Identifier: Apache-2.0
// What the kernels of Cortex-M4, M7 and M33 take and ask for; plain C, the same answer on every machine.
#include "core/bytes.h"
#include "kernels/armv7em/add.h"
#include "kernels/armv7em/packed.h"
#include "kernels/variants.h"

#ifdef JLT_WITH_ARMV7EM

__attribute__((noinline)) jlt_v7_patch_t jlt_v7_patch(const jlt_conv_params_t *p) {
  const uint32_t row = p->k_w * p->in_c;
  const uint32_t left = row % 4u;
  const bool joined = left == 1 && p->k_h > 1 && p->k_h <= 4;
  return (jlt_v7_patch_t){
      .whole = row / 4u,
      .left = left,
      .groups = joined ? p->k_h * (row / 4u) + 1u : p->k_h * ((row + 3u) / 4u),
      .joined = joined,
  };
}

static uint64_t depth(const jlt_conv_params_t *p) { return (uint64_t)p->k_h * p->k_w * p->in_c; }

bool jlt_conv_s8_takes__armv7em(const void *params, const jlt_weight_t *weight) {
  return jlt_is_plain_conv(params, weight) && depth(params) <= JLT_V7_DEPTH_LIMIT;
}

uint64_t jlt_conv_s8_scratch_bytes__armv7em(const void *params, const jlt_weight_t *weight) {
  (void)weight;
  return (uint64_t)jlt_v7_patch(params).groups * JLT_V7_GROUP_BYTES;
}

uint64_t jlt_conv_s8_packed_bytes__armv7em(const void *params, const jlt_weight_t *weight, uint32_t bits) {
  (void)weight;
  const jlt_conv_params_t *p = params;
  const uint32_t groups = jlt_v7_patch(p).groups;
  const bool is_4 = jlt_v7_reads_nibbles(p, groups, bits == 4);
  return JLT_V7_HEAD_BYTES + ((uint64_t)p->out_c + 1u) / 2u * jlt_v7_rows2_bytes(groups, is_4);
}

bool jlt_fc_s8_takes__armv7em(const void *params, const jlt_weight_t *weight) {
  return jlt_v7_one_vector(params) && jlt_conv_s8_takes__armv7em(params, weight);
}

uint64_t jlt_fc_s8_scratch_bytes__armv7em(const void *params, const jlt_weight_t *weight) {
  (void)weight;
  const jlt_conv_params_t *p = params;
  return p->in_c % 4u > 0 ? (p->in_c | 3u) + 1u : 0u;
}

uint64_t jlt_fc_s8_packed_bytes__armv7em(const void *params, const jlt_weight_t *weight, uint32_t bits) {
  (void)weight;
  const jlt_conv_params_t *p = params;
  return JLT_V7_HEAD_BYTES + ((uint64_t)p->out_c + 3u) / 4u * jlt_v7_rows4_bytes((p->in_c + 3u) / 4u, bits == 4);
}

bool jlt_dwconv_s8_takes__armv7em(const void *params, const jlt_weight_t *weight) {
  const jlt_conv_params_t *p = params;
  return jlt_is_plain_conv(p, weight) && p->in_c == p->out_c && p->in_c >= 4 && p->k_h == 3 && p->k_w == 3 &&
         p->stride_w <= 2;
}

uint64_t jlt_dwconv_s8_scratch_bytes__armv7em(const void *params, const jlt_weight_t *weight) {
  (void)weight;
  return (uint64_t)jlt_v7_dw_columns(params) * JLT_V7_DW_COLUMN_WORDS * 4u;
}

// Few weights are many instructions here, so both precisions keep them widened.
uint64_t jlt_dwconv_s8_packed_bytes__armv7em(const void *params, const jlt_weight_t *weight, uint32_t bits) {
  (void)weight;
  (void)bits;
  return (uint64_t)((const jlt_conv_params_t *)params)->out_c * JLT_V7_DW_WORDS * 4u;
}

static bool scales_right(int32_t shift) { return shift <= -1; }

bool jlt_add_s8_takes__armv7em(const void *params, const jlt_weight_t *weight) {
  (void)weight;
  const jlt_binary_params_t *p = params;
  const bool halves = (jlt_v7_halves(p->a_multiplier, p->a_shift) && scales_right(p->b_shift)) ||
                      (jlt_v7_halves(p->b_multiplier, p->b_shift) && scales_right(p->a_shift));
  return halves && p->left_shift == 20 && scales_right(p->out_shift) && jlt_is_dense(p->dims, p->stride_a) &&
         jlt_is_dense(p->dims, p->stride_b);
}

bool jlt_avgpool_s8_takes__armv7em(const void *params, const jlt_weight_t *weight) {
  (void)weight;
  const jlt_pool_params_t *p = params;
  return p->c >= 4 && (uint32_t)p->k_h * p->k_w <= 255;
}

#endif
