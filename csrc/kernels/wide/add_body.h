// SPDX-License-Identifier: Apache-2.0
// Sums and differences of tensors of one shape for SIMD lanes; a lanes.h before this says how sixteen elements are computed.
#ifndef JLT_KERNELS_WIDE_ADD_BODY_H
#define JLT_KERNELS_WIDE_ADD_BODY_H

// Reads sixteen elements of both operands before it writes them: y may be x.
static JLT_ALWAYS_INLINE void jlt_wide_add(const jlt_call_t *call, const bool negates) {
  const jlt_binary_params_t *p = call->params;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_ELEMENTS, call->out_tensor->elements);
  const int8_t *a = call->in[0];
  const int8_t *b = call->in[1];
  int8_t *out = call->out;
  jlt_finish_t of_a, of_b, of_sum;
  const jlt_sums_t zero_a = jlt_same_sums(-p->a_zero_point * (1 << p->left_shift));
  const jlt_sums_t zero_b = jlt_same_sums(-p->b_zero_point * (1 << p->left_shift));
  jlt_prepare_same(&of_a, p->a_multiplier, p->a_shift);
  jlt_prepare_same(&of_b, p->b_multiplier, p->b_shift);
  jlt_prepare_same(&of_sum, p->out_multiplier, p->out_shift);
  const jlt_output_t output = jlt_output(p->out_zero_point, p->act_min, p->act_max);
  for (uint32_t i = tile.begin; i < tile.end; i += JLT_WIDE_CHANNELS) {
    const uint32_t n = tile.end - i < JLT_WIDE_CHANNELS ? tile.end - i : JLT_WIDE_CHANNELS;
    const jlt_sums_t scaled_a = jlt_scale_sums(jlt_add_sums(jlt_load_sums(a + i, n, p->left_shift), zero_a, false), &of_a);
    const jlt_sums_t scaled_b = jlt_scale_sums(jlt_add_sums(jlt_load_sums(b + i, n, p->left_shift), zero_b, false), &of_b);
    jlt_store_bytes(out + i, jlt_finished_by(jlt_add_sums(scaled_a, scaled_b, negates), &of_sum, &output, false), n);
  }
}

#endif
