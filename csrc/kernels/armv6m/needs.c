// SPDX-License-Identifier: Apache-2.0
// What the kernels for cores without SIMD take, and what they ask for.
#include "core/bytes.h"
#include "kernels/armv6m/layout.h"
#include "kernels/variants.h"

#if defined(JLT_WITH_ARMV6M)

bool jlt_conv_s8_takes__armv6m(const void *params, const jlt_weight_t *weight) {
  const jlt_conv_params_t *p = params;
  return jlt_is_plain_conv(p, weight) && p->in_c < 65536u && p->out_c < 65536u;
}

// Besides the table, four pixels' patches as halfwords; of one pixel, bytes.
uint64_t jlt_conv_s8_scratch_bytes__armv6m(const void *params, const jlt_weight_t *weight) {
  const jlt_conv_params_t *p = params;
  (void)weight;
  return jlt_v6m_table_bytes(p) + (jlt_v6m_one_pixel(p) ? 1u : 2u * JLT_V6M_PIXELS) * (uint64_t)jlt_v6m_length(p);
}

uint64_t jlt_conv_s8_packed_bytes__armv6m(const void *params, const jlt_weight_t *weight, uint32_t bits) {
  const jlt_conv_params_t *p = params;
  (void)weight;
  return 4u + jlt_v6m_channels(p) * (4u + (uint64_t)jlt_v6m_length(p) * bits / 8u);
}

bool jlt_dwconv_s8_takes__armv6m(const void *params, const jlt_weight_t *weight) {
  const jlt_conv_params_t *p = params;
  return p->in_c == p->out_c && p->dilation_h == 1 && p->dilation_w == 1 && weight->zero_point == 0;
}

// Besides the table, the inputs of one block.
uint64_t jlt_dwconv_s8_scratch_bytes__armv6m(const void *params, const jlt_weight_t *weight) {
  const jlt_conv_params_t *p = params;
  (void)weight;
  return 16u * (uint64_t)p->out_c + (uint64_t)p->k_h * ((JLT_V6M_WINDOW_BLOCK - 1u) * p->stride_w + p->k_w) * p->in_c;
}

uint64_t jlt_dwconv_s8_packed_bytes__armv6m(const void *params, const jlt_weight_t *weight, uint32_t bits) {
  const jlt_conv_params_t *p = params;
  (void)weight;
  (void)bits;
  return p->out_c * (4u + (uint64_t)p->k_h * p->k_w);
}

bool jlt_add_s8_takes__armv6m(const void *params, const jlt_weight_t *weight) {
  const jlt_binary_params_t *p = params;
  (void)weight;
  return jlt_is_dense(p->dims, p->stride_a) && jlt_is_dense(p->dims, p->stride_b) && p->left_shift == 20 && p->a_shift <= 0 &&
         p->b_shift <= 0 && p->out_shift < 0 && p->act_min == INT8_MIN && p->act_max == INT8_MAX;
}

#endif
