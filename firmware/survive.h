// SPDX-License-Identifier: Apache-2.0
// What of an inference outlives a power cut: how much is computed between two commits of progress, when memory may fall
// behind the arena, what is kept and brought back. firmware/progress.c writes it down; the session decides what runs.
#ifndef JLT_FIRMWARE_SURVIVE_H
#define JLT_FIRMWARE_SURVIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "input.h"
#include "link/wire.h"

// An inference, as the session knows it and as it comes back after a cut.
typedef struct {
  jlt_wire_event_record_t event;
  uint64_t spent_ticks;  // across power cuts
  uint8_t target;        // exit it runs to
} jlt_inference_t;

// What survives, and how: the session says it, or else what the container plans for this board.
typedef struct {
  uint32_t strategy;
  uint32_t commit_cycles;
  uint32_t warn_mv;
} jlt_survive_plan_t;

jlt_survive_plan_t jlt_survive_plan(const jlt_wire_session_t *session);

typedef struct {
  const jlt_wire_session_t *session;
  jlt_survive_plan_t plan;
  uint64_t interval_ticks;  // of computing between two commits, or two looks at what has been spent; 0: whole ops
  uint32_t running_nw;      // from the store while the core runs
  uint32_t epoch;           // checksum of the session
  bool from_flash;          // samples can be read again: else nothing survives
  bool capped;
} jlt_survive_settings_t;

// After the model and the journal. Nothing survives where memory is missing or too small either.
void jlt_survive_open(const jlt_survive_settings_t *settings);

// The inference that was under way when power went, in the engine and in *inference; false: there is none.
bool jlt_survive_take_up(const jlt_input_driver_t *input, jlt_inference_t *inference);

// Right after jlt_model_start: before anything of the last inference is overwritten.
void jlt_survive_begin(const jlt_inference_t *inference);

// Runs the next part; what it reads is brought back first. False: it cannot go on.
bool jlt_survive_tile(const jlt_inference_t *inference, jlt_wire_reached_t *reached, bool *done);

// After a part that ends at no exit; at an exit, before its answer is looked at, and when it is known what comes next.
void jlt_survive_keep(const jlt_inference_t *inference);
void jlt_survive_keep_answer(void);
void jlt_survive_keep_decision(const jlt_inference_t *inference);

// Nothing is under way any more.
void jlt_survive_end(void);

// With too little for the next part, and progress safe, it is better to sleep than to die.
bool jlt_survive_should_rest(void);

#endif
