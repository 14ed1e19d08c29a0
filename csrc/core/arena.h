// SPDX-License-Identifier: Apache-2.0
// How the arena is divided: tensors from its beginning, an op's scratch at its end. In a plan part both may have the same bytes
// where they are not needed at the same time.
#ifndef JLT_CORE_ARENA_H
#define JLT_CORE_ARENA_H

#include "core/bytes.h"
#include "joulet.h"

// Bytes of the arena that a path of integers, or of f32, needs.
static inline uint64_t jlt_arena_end(const jlt_container_t *c, bool is_f32) {
  const uint64_t tensors = is_f32 ? c->f32_arena->tensor_bytes * (uint64_t)4 : c->arena->tensor_bytes;
  const uint64_t scratch = is_f32 ? c->f32_arena->scratch_f32_bytes : c->arena->scratch_bytes;
  return jlt_align_up(tensors, JLT_ARENA_ALIGN_BYTES) + jlt_align_up(scratch, JLT_ARENA_ALIGN_BYTES);
}

// Where the scratch of an op begins that asks for `bytes` of an arena that has as many.
static inline uint64_t jlt_scratch_begin(uint64_t arena_end, uint32_t bytes) {
  return arena_end - jlt_align_up(bytes, JLT_ARENA_ALIGN_BYTES);
}

#endif
