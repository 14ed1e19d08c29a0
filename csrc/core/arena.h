// SPDX-License-Identifier: Apache-2.0
// How the arena is divided: tensors from its beginning, an op's scratch at its end. In a plan part both may have the same bytes
// where they are not needed at the same time.
#ifndef JLT_CORE_ARENA_H
#define JLT_CORE_ARENA_H

#include "core/bytes.h"
#include "joulet.h"

static inline uint32_t jlt_scratch_align(uint32_t bytes) {
  return (bytes + (JLT_ARENA_ALIGN_BYTES - 1u)) & ~(JLT_ARENA_ALIGN_BYTES - 1u);
}

// Bytes of the arena that a path of integers, or of f32, needs: below 2^32, as sizes in the record are at most 2^29 (checked).
static inline uint32_t jlt_arena_end(const jlt_container_t *c, bool is_f32) {
  const uint32_t tensors = is_f32 ? c->f32_arena->tensor_bytes * 4u : c->arena->tensor_bytes;
  const uint32_t scratch = is_f32 ? c->f32_arena->scratch_f32_bytes : c->arena->scratch_bytes;
  return jlt_scratch_align(tensors) + jlt_scratch_align(scratch);
}

// Where the scratch of an op begins that asks for `bytes` of an arena that has as many.
static inline uint32_t jlt_scratch_begin(uint32_t arena_end, uint32_t bytes) { return arena_end - jlt_scratch_align(bytes); }

// The byte at an offset of an engine's arena: whoever has an offset asks here.
static inline uint8_t *jlt_arena_at(const jlt_engine_t *engine, size_t offset) { return engine->arena + offset; }

// Where integer paths have a tensor that has an offset.
static inline uint8_t *jlt_tensor_at(const jlt_engine_t *engine, uint16_t tensor) {
  return jlt_arena_at(engine, engine->container->arena_offsets[tensor]);
}

#endif
