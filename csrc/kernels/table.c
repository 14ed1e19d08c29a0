// SPDX-License-Identifier: Apache-2.0
// Dispatch by op code, from kernels.def.
#include "core/bands.h"
#include "kernels/kernels.h"
#include "kernels/selection.h"

#if JLT_WITH_F32
#define JLT_F32(name) .f32 = jlt_##name##__ref,
#else
#define JLT_F32(name)
#endif

// An entry each, so that those of ops that the build does not know are left out.
#define JLT_KERNEL(code, integer_, f32_, scratch, unit)                                          \
  static const jlt_kernel_entry_t entry_##code = {                                               \
      .integer = JLT_HAS(JLT_REF_OPS, JLT_OP_CODE_##code) ? jlt_##integer_##__ref : NULL,        \
      JLT_F32(f32_).scratch_bytes = jlt_##scratch##_scratch_bytes,                               \
      .unit_elements = jlt_##unit##_unit_elements,                                               \
  };
#include "kernels/kernels.def"
#undef JLT_KERNEL

#define JLT_KERNEL(code, integer, f32, scratch, unit) \
  case JLT_OP_CODE_##code:                            \
    return JLT_HAS(JLT_OPS, JLT_OP_CODE_##code) ? &entry_##code : NULL;
const jlt_kernel_entry_t *jlt_kernel_entry(uint8_t code) {
  switch (code) {
#include "kernels/kernels.def"
    default:
      return NULL;
  }
}
#undef JLT_KERNEL

uint64_t jlt_none_scratch_bytes(const void *params, bool is_f32) {
  (void)params;
  (void)is_f32;
  return 0;
}

uint32_t jlt_block_unit_elements(const void *params, const jlt_tensor_t *out) {
  (void)params;
  (void)out;
  return JLT_UNIT_ELEMENTS;
}

uint32_t jlt_op_unit_elements(const jlt_container_t *container, const jlt_op_t *op, bool is_f32) {
  const jlt_tensor_t *out = &container->tensors[op->output];
  const bool whole = is_f32 || jlt_band_group_of(container, (uint32_t)(op - container->ops));
  return whole ? out->elements : jlt_kernel_entry(op->code)->unit_elements(container->pool + op->params_offset, out);
}

uint32_t jlt_op_units(const jlt_container_t *container, uint16_t op, bool is_f32) {
  if (!container || op >= container->model->n_ops) {
    return 0;
  }
  const jlt_op_t *record = &container->ops[op];
  const uint32_t each = jlt_op_unit_elements(container, record, is_f32);
  return (container->tensors[record->output].elements + each - 1u) / each;
}

uint32_t jlt_op_scratch_bytes(uint8_t code, const void *params, bool is_f32) {
  const jlt_kernel_entry_t *entry = jlt_kernel_entry(code);
  if (!entry || !params) {
    return UINT32_MAX;
  }
  const uint64_t bytes = entry->scratch_bytes(params, is_f32);
  return bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
}
