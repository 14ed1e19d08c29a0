// SPDX-License-Identifier: Apache-2.0
// What the kernels for Helium take, and what they ask for.
#include "core/bytes.h"
#include "kernels/mve/layout.h"
#include "kernels/variants.h"

#if defined(JLT_WITH_MVE)

bool jlt_conv_s8_takes__mve(const void *params, const jlt_weight_t *weight) {
  const jlt_conv_params_t *p = params;
  return jlt_is_plain_conv(p, weight) && p->in_c < 65536u && p->out_c < 65536u;
}

uint64_t jlt_conv_s8_scratch_bytes__mve(const void *params, const jlt_weight_t *weight) {
  (void)weight;
  const jlt_conv_params_t *p = params;
  const uint64_t patch = jlt_mve_length(p);
  return jlt_mve_pixels(p) == 1 ? patch : JLT_MVE_PIXELS * patch + jlt_mve_scales_bytes(p);
}

uint64_t jlt_conv_s8_packed_bytes__mve(const void *params, const jlt_weight_t *weight, uint32_t bits) {
  const jlt_conv_params_t *p = params;
  (void)weight;
  (void)bits;
  return jlt_mve_rows(p) * (4u + (uint64_t)jlt_mve_length(p));
}

bool jlt_dwconv_s8_takes__mve(const void *params, const jlt_weight_t *weight) {
  const jlt_conv_params_t *p = params;
  return p->in_c == p->out_c && p->dilation_h == 1 && p->dilation_w == 1 && weight->zero_point == 0;
}

uint64_t jlt_dwconv_s8_scratch_bytes__mve(const void *params, const jlt_weight_t *weight) {
  (void)weight;
  const jlt_conv_params_t *p = params;
  return jlt_mve_scales_bytes(p) + (jlt_mve_is_small(p) ? JLT_MVE_STRIPS : 0u);
}

uint64_t jlt_dwconv_s8_packed_bytes__mve(const void *params, const jlt_weight_t *weight, uint32_t bits) {
  const jlt_conv_params_t *p = params;
  (void)weight;
  (void)bits;
  return jlt_mve_rows(p) * (4u + (jlt_mve_is_small(p) ? JLT_MVE_BYTES : (uint64_t)p->k_h * p->k_w));
}

bool jlt_add_s8_takes__mve(const void *params, const jlt_weight_t *weight) {
  const jlt_binary_params_t *p = params;
  (void)weight;
  return jlt_is_dense(p->dims, p->stride_a) && jlt_is_dense(p->dims, p->stride_b) && p->left_shift == 20 &&
         p->a_shift <= 0 && p->b_shift <= 0 && p->out_shift <= 0;
}

bool jlt_avgpool_s8_takes__mve(const void *params, const jlt_weight_t *weight) {
  const jlt_pool_params_t *p = params;
  (void)weight;
  return (uint32_t)p->k_h * p->k_w <= 255;  // sums of int16
}

#endif
