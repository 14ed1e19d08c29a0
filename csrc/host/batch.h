// SPDX-License-Identifier: Apache-2.0
// Whole batches in one call, for hosts: no board links this.
#ifndef JLT_HOST_BATCH_H
#define JLT_HOST_BATCH_H

#include "joulet.h"

enum { JLT_DEPTH_LAST = -1, JLT_DEPTH_AUTO = -2 };

typedef struct {
  uint16_t path;
  int32_t depth;  // exit index, JLT_DEPTH_LAST, or JLT_DEPTH_AUTO: the first exit whose confidence suffices
  uint64_t samples;
  const uint8_t *inputs[JLT_MAX_INPUTS];  // samples × the input's bytes, in the outside dtype
  uint8_t *outputs[JLT_MAX_OUTPUTS];      // samples × the output's bytes; the answer goes to outputs[0]
  uint8_t *exits;                         // samples
  uint16_t *confidences_q15;              // samples
  uint64_t *macs;                         // samples
} jlt_host_call_t;

// Runs every sample of the call. Outputs beyond the first are written at the last exit and zeroed at earlier ones.
JLT_MUST_CHECK jlt_status_t jlt_host_infer_batch(jlt_engine_t *engine, const jlt_host_call_t *call);

// Writes one sample's inputs, in the outside dtype; the session's way in.
JLT_MUST_CHECK jlt_status_t jlt_host_write(jlt_engine_t *engine, uint16_t input, const uint8_t *from);

// Runs until `exit` is reached.
JLT_MUST_CHECK jlt_status_t jlt_host_run_to_exit(jlt_engine_t *engine, uint8_t exit, jlt_event_t *event);

// Reads the answer of the exit just reached in the outside dtype.
JLT_MUST_CHECK jlt_status_t jlt_host_answer(const jlt_engine_t *engine, uint8_t exit, uint8_t *to);

#endif
