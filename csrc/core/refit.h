// SPDX-License-Identifier: Apache-2.0
// An exit's head is fitted again on the device, sample by sample: recursive least squares in float32, from the head
// that the container brings, and after every sample the head in integers that the engine runs. The backbone stays as
// it is. NUMERICS.md §13.
//
// Weights are in steps of the logits for 128 steps of a feature; feature n is the constant 1, whose weights are the
// biases.
#ifndef JLT_CORE_REFIT_H
#define JLT_CORE_REFIT_H

#include "core/head.h"
#include "core/rls.h"
#include "joulet.h"

enum {
  JLT_REFIT_FEATURES_LIMIT = 512,  // then the covariance takes 526 KB, and an update some 410,000 multiplications
  JLT_REFIT_CLASSES_LIMIT = 64,
};

// How to learn; all of it is checked at open.
typedef struct {
  float forgetting;  // weight of a sample when the next one comes, 0.9..1
  float prior;       // the factory head weighs as much as 1 / prior samples in every direction, 1e-6..1e3
  float target;      // logit of the right class [steps], 8..255; 0: that which a head by least squares was fitted for
} jlt_refit_rule_t;

typedef struct {
  jlt_head_t head;  // for jlt_engine_set_head
  jlt_rls_t rls;
  const jlt_container_t *container;
  float *state;          // covariance, weights and counts (core/prequential.h): all that has been learned
  float *x;              // (n + 1,) scratch
  uint32_t state_bytes;
  uint32_t updates;      // samples learned from
  float target;
  int32_t zero_point;    // of the features
} jlt_refit_t;

// Memory that a head takes, all of it [bytes]; 0 beyond the limits.
uint32_t jlt_refit_bytes(uint32_t n_features, uint32_t n_classes);

// Begins with the container's own head. `memory` is 4-byte aligned and stays the refit's. JLT_ERR_EXIT: see
// jlt_head_find, or the head is beyond the limits; JLT_ERR_PARAMS: a rule out of range, or no target in the head;
// JLT_ERR_ARGUMENT: too little memory.
JLT_MUST_CHECK jlt_status_t jlt_refit_open(jlt_refit_t *refit, const jlt_container_t *container, uint8_t exit,
                                           const jlt_refit_rule_t *rule, void *memory, uint32_t bytes);

// Back to the container's own head.
void jlt_refit_reset(jlt_refit_t *refit);

// Learns that the features in the head belong to a class, and makes the integers. JLT_ERR_STATE: no fresh features.
JLT_MUST_CHECK jlt_status_t jlt_refit_update(jlt_refit_t *refit, uint16_t label);

// After `state` has been filled from outside: makes the integers, or goes back to the container's head where what
// came is no state that learning can leave (JLT_ERR_STATE).
JLT_MUST_CHECK jlt_status_t jlt_refit_restore(jlt_refit_t *refit, uint32_t updates);

#endif
