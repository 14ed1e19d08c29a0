// SPDX-License-Identifier: Apache-2.0
// How far an inference has come, in non-volatile memory: what a power cut leaves to go on from.
//
// Two records take turns, each valid by its checksum, which is written last; the one with the higher sequence number counts.
// Tensors lie at places of their own: none that a record needs is overwritten before the next record stands.
#ifndef JLT_FIRMWARE_PROGRESS_H
#define JLT_FIRMWARE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "joulet.h"
#include "link/wire.h"

typedef struct {
  uint32_t sequence;
  uint32_t epoch;         // checksum of the session's plan
  uint8_t build_id[8];    // a record of another firmware, or of another model, is none
  uint8_t model_hash[8];
  jlt_engine_mark_t mark;
  jlt_wire_event_record_t event;  // with the answer of the last exit
  uint8_t running;        // 0: no inference is under way
  uint8_t target;         // exit that was decided on
  uint8_t reserved[2];
  uint32_t crc32;         // last
} jlt_progress_record_t;

// After the journal is open and the model is loaded. False: memory is missing or too small, and nothing survives.
bool jlt_progress_open(uint32_t epoch);
bool jlt_progress_ready(void);

// Writes the next record; what it says is true from the moment its last word stands.
bool jlt_progress_commit(jlt_progress_record_t *record);

// The newest valid record of this epoch, firmware and model.
bool jlt_progress_load(jlt_progress_record_t *record);

// Keeps bytes of a tensor.
bool jlt_progress_store(uint16_t tensor, uint32_t from, uint32_t to);

// Keeps what is needed from an op on of the tensors in the arena; `present` has a bit for each. What is not there lies in
// memory, and must not be overwritten with what happens to be in its place.
bool jlt_progress_store_live(uint16_t next_op, uint32_t unit, const uint32_t *present);

// Brings a tensor back into the arena.
bool jlt_progress_fetch(uint16_t tensor);

#endif
