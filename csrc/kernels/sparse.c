// SPDX-License-Identifier: Apache-2.0
// Which sparse copy an op has, the kernel for it, and whether it can be trusted.
#include "kernels/sparse.h"

#include "core/bytes.h"

#if JLT_SPARSE
#define JLT_SPARSE_VARIANT(isa, ISA, code, name, like)                               \
  {JLT_RUN_##isa(jlt_##name##__##isa), jlt_##name##_takes__##isa,                    \
   jlt_##like##_scratch_bytes__##isa,  jlt_##name##_sound__##isa,                    \
   JLT_ISA_##ISA,                      JLT_OP_CODE_##code},
static const jlt_sparse_variant_t variants[] = {
#include "kernels/kernels.def"
    {.isa = JLT_ISA_REF},
};
#undef JLT_SPARSE_VARIANT

static const jlt_sparse_variant_t *variant_of(uint32_t isa, uint8_t code, const void *params, const jlt_weight_t *weight) {
  for (const jlt_sparse_variant_t *v = variants; v->isa != JLT_ISA_REF; v++) {
    if (v->isa == isa && v->code == code && v->takes(params, weight)) {
      return v;
    }
  }
  return NULL;
}

bool jlt_takes_sparse(uint32_t isa, uint8_t code, const void *params, const jlt_weight_t *weight) {
  return variant_of(isa, code, params, weight) != NULL;
}

// From the start of the section; JLT_NO_OFFSET without a copy [bytes].
static uint32_t offset_of(const jlt_container_t *c, const jlt_op_t *op) {
  if (!c->sparse || op->weight == JLT_NO_INDEX) {
    return JLT_NO_OFFSET;
  }
  return ((const uint32_t *)(c->sparse + 1))[op->weight];
}

bool jlt_choose_sparse(const jlt_container_t *c, const jlt_op_t *op, jlt_choice_t *choice) {
  const uint32_t offset = offset_of(c, op);
  if (offset == JLT_NO_OFFSET) {
    return false;
  }
  const void *params = c->pool + op->params_offset;
  const jlt_weight_t *weight = &c->weights[op->weight];
  const jlt_sparse_variant_t *v = variant_of(c->isa, op->code, params, weight);
  if (!v || !v->run) {
    return false;
  }
  const uint64_t scratch_bytes = v->scratch_bytes(params, weight);
  *choice = (jlt_choice_t){
      .run = v->run,
      .packed = (const uint8_t *)c->sparse + offset,
      .scratch_bytes = scratch_bytes < UINT32_MAX ? (uint32_t)scratch_bytes : UINT32_MAX,
  };
  return true;
}

static bool is_sound(const jlt_container_t *c, const jlt_op_t *op, uint32_t offset) {
  const void *params = c->pool + op->params_offset;
  const jlt_sparse_variant_t *v = variant_of(c->isa, op->code, params, &c->weights[op->weight]);
  const uint32_t head = (uint32_t)sizeof(*c->sparse) + 4u * c->model->n_weights;
  return v && offset % 4u == 0 && offset >= head && offset < c->sparse->section_bytes &&
         v->sound(params, (const uint8_t *)c->sparse + offset, c->sparse->section_bytes - offset);
}

jlt_status_t jlt_check_sparse(const jlt_container_t *c) {
  for (uint32_t i = 0; i < c->model->n_ops; i++) {
    const uint32_t offset = offset_of(c, &c->ops[i]);
    if (offset != JLT_NO_OFFSET && !is_sound(c, &c->ops[i], offset)) {
      return JLT_ERR_SPARSE;
    }
  }
  return JLT_OK;
}
#endif
