// SPDX-License-Identifier: Apache-2.0
// Whole batches in one call, for hosts: a loop over jlt_engine_step that costs no interpreter time a sample.
#ifndef JLT_HOST_BATCH_H
#define JLT_HOST_BATCH_H

#include "joulet.h"

enum { JLT_DEPTH_AUTO = -1 };  // stop where the confidence reaches the path's auto threshold

typedef struct {
  uint32_t n;                  // samples
  uint16_t path;
  int16_t depth;               // exit, or JLT_DEPTH_AUTO
  const void *const *inputs;   // (n, tensor bytes) each, uint8 at an 8-bit unsigned border
  void *const *outputs;        // (n, tensor bytes) each; an early exit answers in output 0 and zeroes the others
  uint8_t *exits;              // (n,) exit taken
  uint16_t *confidences_q15;   // (n,)
  uint64_t *macs;              // (n,) multiply-accumulates
  uint8_t *staging;            // bytes of the largest input; may be null when no border is unsigned
} jlt_batch_t;

// Stops at the first error; what came before it is written.
JLT_MUST_CHECK jlt_status_t jlt_host_infer_batch(jlt_engine_t *engine, const jlt_batch_t *batch);

// Copies one input in, flipping the sign bit where the outside world is unsigned.
JLT_MUST_CHECK jlt_status_t jlt_host_write(jlt_engine_t *engine, uint16_t input, const void *from, uint8_t *staging);

// Copies one tensor out, likewise.
JLT_MUST_CHECK jlt_status_t jlt_host_read(const jlt_engine_t *engine, uint16_t tensor, void *to);

// Steps until `exit` is reached.
JLT_MUST_CHECK jlt_status_t jlt_host_run_to_exit(jlt_engine_t *engine, uint8_t exit, jlt_event_t *event);

#endif
