// SPDX-License-Identifier: Apache-2.0
// How far an inference has come, in non-volatile memory: what a power cut leaves to go on from.
//
// Two records take turns, each valid by its checksum, which is written last; the one with the higher sequence number counts.
// Tensors lie at places of their own: none that a record needs is overwritten before the next record stands.
//
// In internal flash each record is an entry of a ring (ring.h), and all tensors that it needs follow it in there.
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
  uint64_t spent_ticks;   // by this inference
  jlt_engine_mark_t mark;
  jlt_wire_event_record_t event;  // with the answer of the last exit
  uint8_t running;        // 0: no inference is under way
  uint8_t target;         // exit that was decided on
  uint8_t reserved[2];
  uint32_t part_to;       // bytes of the next op's output that are kept
  uint32_t crc32;         // last
} jlt_progress_record_t;

// After the journal is open and the model is loaded. False: memory is missing or too small, and nothing survives.
bool jlt_progress_open(uint32_t epoch);
bool jlt_progress_ready(void);
uint32_t jlt_progress_end(void);  // of what the loaded model keeps in memory that is written byte by byte
bool jlt_progress_appends(void);  // to a ring in flash: a record takes many times what it takes in other memory

// Writes the next record; what it says is true from the moment its last word stands.
bool jlt_progress_commit(jlt_progress_record_t *record);

// The newest valid record of this epoch, firmware and model.
bool jlt_progress_load(jlt_progress_record_t *record);

enum { JLT_TENSOR_WORDS = 8, JLT_TENSORS_KEPT = 32 * JLT_TENSOR_WORDS };  // models with more survive no cut

// Where the tensors of an inference are. What memory holds already is never written again: a cut in the middle would
// garble what the standing record needs.
typedef struct {
  uint32_t present[JLT_TENSOR_WORDS];  // bit of each tensor that the arena holds
  uint32_t kept[JLT_TENSOR_WORDS];     // of each that memory holds, whole
  uint32_t part_to;                    // bytes of `part` that memory holds
  uint16_t part;
} jlt_tensors_t;

bool jlt_tensor_bit(const uint32_t *bits, uint16_t tensor);
void jlt_set_tensor_bit(uint32_t *bits, uint16_t tensor, bool on);

// Keeps the last tile's bytes of the output; or all that is needed from here on and lies in the arena only.
bool jlt_progress_store_tile(jlt_tensors_t *tensors);
bool jlt_progress_store_live(jlt_tensors_t *tensors);

// What a record that has been gone back to leaves in memory; from a ring, all of it comes back into the arena at once.
bool jlt_progress_resume(jlt_tensors_t *tensors, uint32_t part_to);

// Before anything is computed: makes room for the next record where that takes an erase.
bool jlt_progress_prepare(void);

// Brings a tensor back into the arena, no more than so many bytes of it.
bool jlt_progress_fetch(uint16_t tensor, uint32_t bytes);

#endif
