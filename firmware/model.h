// SPDX-License-Identifier: Apache-2.0
// The model in its slot, an engine on it, and the input that waits for it.
#ifndef JLT_FIRMWARE_MODEL_H
#define JLT_FIRMWARE_MODEL_H

#include "core/governor.h"
#include "joulet.h"
#include "link/wire.h"

typedef struct {
  jlt_container_t container;
  jlt_engine_t engine;
  jlt_governor_t governor;
  int32_t status;         // of the container
  int32_t policy_status;  // of the policy
  uint8_t *work;          // all memory that is not the firmware's: the arena first, the input last; of two memories the slow one
  uint32_t work_bytes;
  uint32_t arena_bytes;  // of `work` that the arena takes
#if JLT_TWO_MEMORIES
  uint32_t fast_bytes;       // of the fast memory, which has the rest of the arena
  uint32_t fast_room_bytes;  // that it has
#endif
  uint8_t *input;
  uint32_t input_bytes;  // all inputs, one after the other
  uint64_t cycles;       // at START
  uint64_t ticks;
  uint32_t generation;   // counts the models that have been looked at
  uint16_t exit;         // reached last
  uint8_t model_side;    // that they lie on
  uint8_t policy_side;
  bool answered;
  bool fed;     // the input has been uploaded, whole
  bool floats;  // and the floats it was made from lie below it
} jlt_loaded_t;

extern jlt_loaded_t jlt_loaded;

// Looks at the slots again: at the side that is named, and if that does not pass its check, at the other one.
void jlt_model_load(void);
void jlt_policy_load(void);

// What the check of one side of MODEL or POLICY says, memory and the model that a policy was made for among it.
int32_t jlt_side_check(uint32_t slot, uint32_t side);

// Whether the side that is not used would run; looked at once, until it is forgotten.
bool jlt_other_runs(uint32_t slot);
void jlt_other_forget(uint32_t slot);

// Reads all sums of the container again, trusted or not; what fails is trusted no more.
int32_t jlt_model_recheck(void);

// All memory that is there for arena and input.
static inline uint32_t jlt_model_room_bytes(void) {
#if JLT_TWO_MEMORIES
  return jlt_loaded.work_bytes + jlt_loaded.fast_room_bytes;
#else
  return jlt_loaded.work_bytes;
#endif
}

// What the most demanding path that integers can run takes of it for its arena.
static inline uint32_t jlt_model_arena_bytes(void) {
#if JLT_TWO_MEMORIES
  return jlt_loaded.arena_bytes + jlt_loaded.fast_bytes;
#else
  return jlt_loaded.arena_bytes;
#endif
}

// Content of SAMPLES or SESSION; null unless magic, code, size and CRC are right.
const void *jlt_slot_content(uint32_t slot, uint32_t *bytes);

JLT_MUST_CHECK jlt_status_t jlt_model_start(uint16_t path, const uint8_t *input);

// Runs one op; `reached` is filled when it ended at `exit`, and *done is set.
JLT_MUST_CHECK jlt_status_t jlt_model_step(uint8_t exit, jlt_wire_reached_t *reached, bool *done);

// The same for at most `units` units of the op; 0: all of it.
JLT_MUST_CHECK jlt_status_t jlt_model_tile(uint8_t exit, uint32_t units, jlt_wire_reached_t *reached, bool *done);

// The answer of the exit reached: at an early exit its output, at the last one all outputs of the model.
uint32_t jlt_model_answer_bytes(void);
JLT_MUST_CHECK jlt_status_t jlt_model_answer(uint32_t offset, uint8_t *to, uint32_t bytes);

// Largest element of the answer's first tensor, the first of equals; 0xFFFF without classes.
uint16_t jlt_model_predicted(void);

#endif
