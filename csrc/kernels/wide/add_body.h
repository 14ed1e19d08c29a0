// SPDX-License-Identifier: Apache-2.0
// Sums and differences of tensors of one shape for SIMD lanes; a lanes.h before this says how sixteen elements are computed.
#ifndef JLT_KERNELS_WIDE_ADD_BODY_H
#define JLT_KERNELS_WIDE_ADD_BODY_H

// One operand: it, its zero point and what scales it.
typedef struct {
  const int8_t *from;
  int32_t zero_point;
  int32_t left_shift;
  jlt_ready_t scale;
} jlt_operand_t;

// n elements, 16 at most, from `i` on.
static JLT_ALWAYS_INLINE jlt_sums_t scaled_at(const jlt_operand_t *x, uint32_t i, uint32_t n) {
  return jlt_scaled(jlt_load_differences(x->from + i, n, x->zero_point, x->left_shift), &x->scale, false);
}

// Reads sixteen elements of both operands before it writes them: y may be x.
static JLT_ALWAYS_INLINE void add_tile(const jlt_call_t *call, const bool negates, const bool is_plain) {
  const jlt_binary_params_t *p = call->params;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_ELEMENTS, call->out_tensor->elements);
  jlt_finish_t room[3];
  const jlt_operand_t a = {call->in[0], p->a_zero_point, p->left_shift,
                           jlt_ready_same(&room[0], p->a_multiplier, p->a_shift, false)};
  const jlt_operand_t b = {call->in[1], p->b_zero_point, p->left_shift,
                           jlt_ready_same(&room[1], p->b_multiplier, p->b_shift, false)};
  const jlt_ready_t of_sum = jlt_ready_same(&room[2], p->out_multiplier, p->out_shift, is_plain);
  const jlt_output_t output = jlt_output(p->out_zero_point, p->act_min, p->act_max);
  int8_t *out = call->out;
  uint32_t i = tile.begin;
  for (; tile.end - i >= JLT_WIDE_CHANNELS; i += JLT_WIDE_CHANNELS) {
    const jlt_sums_t sums = jlt_add_sums(scaled_at(&a, i, JLT_WIDE_CHANNELS), scaled_at(&b, i, JLT_WIDE_CHANNELS), negates);
    jlt_store_bytes(out + i, jlt_finished(sums, &of_sum, &output, is_plain), JLT_WIDE_CHANNELS);
  }
  const uint32_t left = tile.end - i;
  if (left > 0) {
    const jlt_sums_t sums = jlt_add_sums(scaled_at(&a, i, left), scaled_at(&b, i, left), negates);
    jlt_store_bytes(out + i, jlt_finished(sums, &of_sum, &output, is_plain), left);
  }
}

static JLT_ALWAYS_INLINE void jlt_wide_add(const jlt_call_t *call, const bool negates) {
  const jlt_binary_params_t *p = call->params;
  if (jlt_fills_int8(p->out_zero_point, p->act_min, p->act_max) && jlt_plain_shift(p->out_shift)) {
    add_tile(call, negates, true);
  } else {
    add_tile(call, negates, false);
  }
}

#endif
