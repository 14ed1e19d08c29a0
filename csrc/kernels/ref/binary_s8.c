// SPDX-License-Identifier: Apache-2.0
// Element-wise add, sub and mul of s8 with broadcasting; y may be x of the same shape (in place).
// add, sub: both inputs scaled onto one finer grid, summed, requantised; mul: requantise((a − za)(b − zb)). NUMERICS.md §5.
#include "core/requantise.h"
#include "kernels/kernels.h"
#include "kernels/ref/walk.h"

typedef int8_t (*element_t)(const jlt_binary_params_t *p, int32_t sign, int32_t a, int32_t b);

static int8_t finish(const jlt_binary_params_t *p, int32_t value) {
  return jlt_requantise_s8(value, p->out_multiplier, p->out_shift, p->out_zero_point, p->act_min, p->act_max);
}

static int32_t onto_grid(int32_t value, int32_t left_shift, int32_t multiplier, int32_t shift) {
  return jlt_scale(value * (1 << left_shift), multiplier, shift);
}

static int8_t sum(const jlt_binary_params_t *p, int32_t sign, int32_t a, int32_t b) {
  return finish(p, onto_grid(a, p->left_shift, p->a_multiplier, p->a_shift) +
                       sign * onto_grid(b, p->left_shift, p->b_multiplier, p->b_shift));
}

static int8_t product(const jlt_binary_params_t *p, int32_t sign, int32_t a, int32_t b) {
  (void)sign;
  return finish(p, a * b);
}

static jlt_walk_t begin(const jlt_call_t *call) {
  const jlt_binary_params_t *p = call->params;
  jlt_walk_t walk = {.dims = p->dims};
  for (uint32_t d = 0; d < 6; d++) {
    walk.stride[0][d] = p->stride_a[d];
    walk.stride[1][d] = p->stride_b[d];
  }
  jlt_walk_begin(&walk, jlt_tile(call, JLT_UNIT_ELEMENTS, call->out_tensor->elements));
  return walk;
}

// Inlined, lest every element be a call.
static JLT_ALWAYS_INLINE void run(const jlt_call_t *call, element_t element, int32_t sign) {
  const jlt_binary_params_t *p = call->params;
  int8_t *out = (int8_t *)call->out + (size_t)call->begin * JLT_UNIT_ELEMENTS;
  jlt_walk_t walk = begin(call);
  do {
    const int8_t *a = (const int8_t *)call->in[0] + walk.at[0];
    const int8_t *b = (const int8_t *)call->in[1] + walk.at[1];
    for (uint32_t i = walk.column; i < walk.end; i++) {
      const int32_t value_a = a[i * walk.stride[0][5]] - p->a_zero_point;
      const int32_t value_b = b[i * walk.stride[1][5]] - p->b_zero_point;
      *out++ = element(p, sign, value_a, value_b);
    }
  } while (jlt_walk_next(&walk));
}

// One loop for both: the second term is scaled before it changes its sign, as its rounding is not symmetric.
static void run_sum(const jlt_call_t *call, int32_t sign) { run(call, sum, sign); }

void jlt_add_s8__ref(const jlt_call_t *call) { run_sum(call, 1); }

void jlt_sub_s8__ref(const jlt_call_t *call) { run_sum(call, -1); }

void jlt_mul_s8__ref(const jlt_call_t *call) { run(call, product, 0); }
