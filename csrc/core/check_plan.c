// SPDX-License-Identifier: Apache-2.0
// Checks of the plan part for one instruction set: packed weights and their bounds; FORMAT.md §7. What they hold is data: any
// bytes are safe to run, as sums of the kernels wrap, and only their checksum says that they are the canonical ones.
#include "core/bands.h"
#include "core/bytes.h"
#include "core/check.h"
#include "kernels/selection.h"
#include "kernels/sparse.h"
#include "kernels/variants.h"

static jlt_status_t check_packing(const jlt_container_t *c, const jlt_op_t *op, uint32_t offset, uint32_t bits) {
  const void *params = c->pool + op->params_offset;
  const jlt_weight_t *weight = &c->weights[op->weight];
  const jlt_variant_t *v = jlt_variant_of(c->isa, op->code, params, weight);
  const uint32_t head = (uint32_t)sizeof(jlt_packed_t) + c->model->n_weights * (uint32_t)sizeof(jlt_packing_t);
  if (offset == JLT_NO_OFFSET) {
    return JLT_OK;
  }
  if (!v && JLT_IS_SELECTION) {
    return JLT_ERR_KERNEL;
  }
  if (!v || offset % JLT_SECTION_ALIGN_BYTES || offset < head) {
    return JLT_ERR_WEIGHT;
  }
  return jlt_within(offset, v->packed_bytes(params, weight, bits), c->packed_bytes) ? JLT_OK : JLT_ERR_WEIGHT;
}

static jlt_status_t check_packings(const jlt_container_t *c, const jlt_op_t *op) {
  const jlt_packing_t *p = &c->packings[op->weight];
  if (!JLT_SHARED && p->offset_8 == p->offset_4 && p->offset_8 != JLT_NO_OFFSET) {
    return JLT_ERR_KERNEL;
  }
  const jlt_status_t err = check_packing(c, op, p->offset_8, 8);
  return err ? err : check_packing(c, op, p->offset_4, 4);
}

jlt_status_t jlt_check_plan(const jlt_container_t *c) {
  for (uint32_t i = 0; i < c->model->n_ops; i++) {
    const jlt_op_t *op = &c->ops[i];
    if (op->weight == JLT_NO_INDEX) {
      continue;
    }
    const jlt_status_t err = check_packings(c, op);
    if (err) {
      return err;
    }
  }
  jlt_status_t err = JLT_SPARSE ? jlt_check_sparse(c) : JLT_OK;
  if (!err) {
    err = jlt_check_bands(c);
  }
  return err ? err : jlt_check_arena(c);
}
