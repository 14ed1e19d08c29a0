// SPDX-License-Identifier: Apache-2.0
// How the arena is divided: tensors from its beginning, an op's scratch at its end. In a plan part both may have the same bytes
// where they are not needed at the same time. Its first bytes may lie in another memory than the rest: slow ones come first, so
// scratch is in the fast one.
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

// The arena's first bytes, which lie in another memory than the rest.
static inline uint32_t jlt_slow_bytes(const jlt_engine_t *engine) {
#if JLT_TWO_MEMORIES
  return engine->slow_bytes;
#else
  (void)engine;
  return 0;
#endif
}

// The byte at an offset of an engine's arena: whoever has an offset asks here.
static inline uint8_t *jlt_arena_at(const jlt_engine_t *engine, size_t offset) {
#if JLT_TWO_MEMORIES
  if (offset < engine->slow_bytes) {
    return engine->slow + offset;
  }
#endif
  return engine->arena + (offset - jlt_slow_bytes(engine));
}

// Where the scratch of an op begins that asks for `bytes`: never in the slow memory.
static inline uint8_t *jlt_scratch_at(const jlt_engine_t *engine, uint32_t bytes) {
  return engine->arena + (jlt_scratch_begin(engine->scratch_end, bytes) - jlt_slow_bytes(engine));
}

// Whether bytes inside the arena do not lie on both sides of the border between two memories.
static inline bool jlt_in_one_memory(uint32_t slow_bytes, uint32_t offset, uint32_t bytes) {
  return offset >= slow_bytes || offset + bytes <= slow_bytes;
}

// Where integer paths have a tensor that has an offset.
static inline uint8_t *jlt_tensor_at(const jlt_engine_t *engine, uint16_t tensor) {
  return jlt_arena_at(engine, engine->container->arena_offsets[tensor]);
}

#endif
