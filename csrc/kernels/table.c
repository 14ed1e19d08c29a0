// SPDX-License-Identifier: Apache-2.0
// Dispatch by op code, from kernels.def.
#include "core/bands.h"
#include "kernels/kernels.h"

#if JLT_WITH_F32
#define JLT_F32(f32) jlt_##f32##__ref
#else
#define JLT_F32(f32) NULL
#endif

#define JLT_KERNEL(code, integer, f32, scratch, unit)                                          \
  [JLT_OP_CODE_##code] = {jlt_##integer##__ref, JLT_F32(f32), jlt_##scratch##_scratch_bytes, \
                          jlt_##unit##_unit_elements},
static const jlt_kernel_entry_t entries[] = {
#include "kernels/kernels.def"
};
#undef JLT_KERNEL

const jlt_kernel_entry_t *jlt_kernel_entry(uint8_t code) {
  const uint32_t count = sizeof(entries) / sizeof(entries[0]);
  return code >= 1u && code < count ? &entries[code] : NULL;
}

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
  return whole ? out->elements : entries[op->code].unit_elements(container->pool + op->params_offset, out);
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
