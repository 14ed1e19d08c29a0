// SPDX-License-Identifier: Apache-2.0
// Which kernel runs an op: that of the plan's instruction set where it takes the op and its weights are packed, else the reference.
#include "kernels/variants.h"

#include "core/bytes.h"
#include "kernels/selection.h"
#include "kernels/sparse.h"

// Places in the list, from 1; a build for one instruction set has no others.
#define JLT_VARIANT(isa, ISA, code, name) AT_##isa##_##code##_##name,
#define JLT_VARIANT_SHARING JLT_VARIANT
#define JLT_VARIANT_UNWEIGHTED JLT_VARIANT
enum {
  NOWHERE,
#include "kernels/kernels.def"
  VARIANTS_END
};
#undef JLT_VARIANT
#undef JLT_VARIANT_SHARING
#undef JLT_VARIANT_UNWEIGHTED
_Static_assert(!JLT_IS_SELECTION || VARIANTS_END <= 33, "a selection has a bit for each");

// What a selection leaves out goes to place 0, which is emptied last.
#define PLACE(at) [JLT_HAS(JLT_ISA_KERNELS, (at) - 1) ? (at) : NOWHERE]
#define WEIGHTED(isa, ISA, code, name, shares)                                                       \
  PLACE(AT_##isa##_##code##_##name) = {JLT_RUN_##isa(jlt_##name##__##isa), jlt_##name##_takes__##isa, \
                                       jlt_##name##_scratch_bytes__##isa, jlt_##name##_packed_bytes__##isa, \
                                       JLT_ISA_##ISA, JLT_OP_CODE_##code, shares},
#define JLT_VARIANT(isa, ISA, code, name) WEIGHTED(isa, ISA, code, name, false)
#define JLT_VARIANT_SHARING(isa, ISA, code, name) WEIGHTED(isa, ISA, code, name, true)
#define JLT_VARIANT_UNWEIGHTED(isa, ISA, code, name)                                                  \
  PLACE(AT_##isa##_##code##_##name) = {JLT_RUN_##isa(jlt_##name##__##isa), jlt_##name##_takes__##isa, \
                                       NULL, NULL, JLT_ISA_##ISA, JLT_OP_CODE_##code, false},
static const jlt_variant_t variants[] = {
#include "kernels/kernels.def"
    [NOWHERE] = {.isa = JLT_ISA_REF},
};
#undef JLT_VARIANT
#undef JLT_VARIANT_SHARING
#undef JLT_VARIANT_UNWEIGHTED

static const jlt_weight_t *weight_of(const jlt_container_t *c, const jlt_op_t *op) {
  return op->weight == JLT_NO_INDEX ? NULL : &c->weights[op->weight];
}

const jlt_variant_t *jlt_variant_of(uint32_t isa, uint8_t code, const void *params, const jlt_weight_t *weight) {
  const jlt_variant_t *const end = variants + sizeof(variants) / sizeof(variants[0]);
  for (const jlt_variant_t *v = variants; isa != JLT_ISA_REF && v < end; v++) {
    if (v->isa == isa && v->code == code && v->takes(params, weight)) {
      return v;
    }
  }
  return NULL;
}

// Both places are one: a copy of both precisions.
static bool is_shared(const jlt_packing_t *p) { return JLT_SHARED && p->offset_8 == p->offset_4; }

static const void *packed_at(const jlt_container_t *c, uint16_t weight, uint32_t bits) {
  const jlt_packing_t *p = &c->packings[weight];
  const uint32_t offset = bits == 8 ? p->offset_8 : p->offset_4;
  return offset == JLT_NO_OFFSET ? NULL : c->packed + offset;
}

static const jlt_variant_t *choose(const jlt_container_t *c, const jlt_op_t *op, uint32_t bits, const void **packed) {
  const void *params = c->pool + op->params_offset;
  const jlt_weight_t *weight = weight_of(c, op);
  const jlt_variant_t *v = jlt_variant_of(c->isa, op->code, params, weight);
  *packed = NULL;
  if (v && v->run && weight && v->packed_bytes(params, weight, bits) > 0) {
    *packed = packed_at(c, op->weight, bits);
    return *packed ? v : NULL;
  }
  return v && v->run ? v : NULL;
}

// Place among the variants of its instruction set, from 0.
static uint32_t place_of(const jlt_variant_t *variant) {
  uint32_t place = 0;
  for (const jlt_variant_t *v = variants; v < variant; v++) {
    place += v->isa == variant->isa;
  }
  return place;
}

static uint32_t saturated(uint64_t bytes) { return bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX; }

// Of a variant, or of the reference where there is none.
static uint32_t scratch_of(const jlt_container_t *c, const jlt_op_t *op, const jlt_variant_t *v) {
  const void *params = c->pool + op->params_offset;
  const jlt_weight_t *weight = weight_of(c, op);
  if (!v) {
    return saturated(jlt_kernel_entry(op->code)->scratch_bytes(params, false));
  }
  return weight ? saturated(v->scratch_bytes(params, weight)) : 0;
}

jlt_choice_t jlt_choose(const jlt_container_t *container, const jlt_op_t *op, uint32_t bits) {
  jlt_choice_t choice;
  if (JLT_SPARSE && bits == 8 && jlt_choose_sparse(container, op, &choice)) {
    return choice;
  }
  const jlt_variant_t *v = choose(container, op, bits, &choice.packed);
  choice.run = v ? v->run : jlt_kernel_entry(op->code)->integer;
  choice.shared = choice.packed && is_shared(&container->packings[op->weight]);
  choice.scratch_bytes = scratch_of(container, op, v);
  return choice;
}

uint32_t jlt_chosen_scratch_bytes(const jlt_container_t *container, const jlt_op_t *op) {
  if (op->weight == JLT_NO_INDEX) {
    return jlt_choose(container, op, 0).scratch_bytes;
  }
  uint32_t most = 0;
  bool seen[2] = {false, false};
  for (uint32_t k = 0; k < container->model->n_precisions && !(seen[0] && seen[1]); k++) {
    const uint32_t bits = container->layers[k * container->model->n_weights + op->weight].bits;
    if (bits == 32 || seen[bits == 8]) {
      continue;
    }
    seen[bits == 8] = true;
    const uint32_t bytes = jlt_choose(container, op, bits).scratch_bytes;
    most = bytes > most ? bytes : most;
  }
  return most;
}

static bool runs(const jlt_container_t *c, const jlt_op_t *op) {
  if (op->weight == JLT_NO_INDEX) {
    return jlt_choose(c, op, 0).run != NULL;
  }
  for (uint32_t k = 0; k < c->model->n_precisions; k++) {
    const uint32_t bits = c->layers[k * c->model->n_weights + op->weight].bits;
    if (bits != 32 && !jlt_choose(c, op, bits).run) {
      return false;
    }
  }
  return true;
}

jlt_status_t jlt_check_kernels(const jlt_container_t *container) {
  for (uint32_t i = 0; JLT_IS_SELECTION && i < container->model->n_ops; i++) {
    if (!runs(container, &container->ops[i])) {
      return JLT_ERR_KERNEL;
    }
  }
  return JLT_OK;
}

jlt_status_t jlt_isa_needs(const jlt_container_t *container, uint32_t isa, uint16_t op, jlt_isa_needs_t *needs) {
  if (!container || !needs || op >= container->model->n_ops) {
    return JLT_ERR_ARGUMENT;
  }
  if (JLT_ISA_BUILD != JLT_ISA_REF && isa != JLT_ISA_BUILD) {
    return JLT_ERR_ABSENT;
  }
  const jlt_op_t *record = &container->ops[op];
  const void *params = container->pool + record->params_offset;
  const jlt_weight_t *weight = weight_of(container, record);
  const jlt_variant_t *v = jlt_variant_of(isa, record->code, params, weight);
  *needs = (jlt_isa_needs_t){.taken = v != NULL, .scratch_bytes = scratch_of(container, record, v)};
  if (v) {
    needs->kernel = place_of(v);
  }
  needs->takes_sparse = JLT_SPARSE && weight && jlt_takes_sparse(isa, record->code, params, weight);
  if (v && weight) {
    needs->packed_8_bytes = saturated(v->packed_bytes(params, weight, 8));
    needs->packed_4_bytes = saturated(v->packed_bytes(params, weight, 4));
    needs->packed_shared_bytes = v->shares ? needs->packed_8_bytes : 0;
  }
  return JLT_OK;
}
