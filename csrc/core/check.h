// SPDX-License-Identifier: Apache-2.0
// The parts of jlt_container_check, in the order they run; each relies on those before it.
#ifndef JLT_CORE_CHECK_H
#define JLT_CORE_CHECK_H

#include "kernels/kernels.h"

// Model, tensors, precisions, exits, paths: every count and index.
JLT_MUST_CHECK jlt_status_t jlt_check_records(const jlt_container_t *c);

// Weights and layers: storage bounds, multipliers, shifts, biases.
JLT_MUST_CHECK jlt_status_t jlt_check_weights(const jlt_container_t *c);

// Ops: indices, types, parameters against the tensors' elements, accumulators.
JLT_MUST_CHECK jlt_status_t jlt_check_ops(const jlt_container_t *c);

// Parameters of one op whose record and tensors are already checked.
JLT_MUST_CHECK jlt_status_t jlt_check_params(const jlt_container_t *c, const jlt_op_t *op);

// Σ |w − zero_point| · max |x − zero_point| + |bias| < 2^31 in every row at every precision; `terms` is the number
// of products in one sum.
JLT_MUST_CHECK jlt_status_t jlt_check_accumulator(const jlt_container_t *c, const jlt_op_t *op, uint64_t terms);

// Arena: offsets, lifetimes without overlap, order of writing and reading, scratch.
JLT_MUST_CHECK jlt_status_t jlt_check_arena(const jlt_container_t *c);

// Last op during which a tensor must keep its values, -1 without; the number of ops for what a host reads at the end.
int32_t jlt_last_use(const jlt_container_t *c, uint32_t tensor);

// -1 without.
int32_t jlt_first_writer(const jlt_container_t *c, uint32_t tensor);

// The plan part in use: packed weights in their bounds, and its arena. Its container has passed all of the above.
JLT_MUST_CHECK jlt_status_t jlt_check_plan(const jlt_container_t *c);

// Whether paths at f32 can run. A build without their kernels looks at nothing that only they use.
static inline bool jlt_runs_f32(const jlt_container_t *c) {
  for (uint32_t i = 0; JLT_WITH_F32 && i < c->model->n_precisions; i++) {
    if (c->precisions[i].is_f32) {
      return true;
    }
  }
  return false;
}

// Whether [offset, offset + bytes) lies in POOL, offset a multiple of `alignment`.
bool jlt_in_pool(const jlt_container_t *c, uint32_t offset, uint64_t bytes, uint32_t alignment);

static inline bool jlt_is_s8(int32_t value) { return value >= -128 && value <= 127; }

#endif
