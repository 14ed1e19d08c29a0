// SPDX-License-Identifier: Apache-2.0
// A linear head in RAM that stands in for one exit's own, and the features that it read last. NUMERICS.md §13.
//
// An integer FC like any other: int8 weights, int32 bias, multiplier and shift a class; the same bytes on every machine.
#ifndef JLT_CORE_HEAD_H
#define JLT_CORE_HEAD_H

#include "joulet.h"

typedef struct jlt_head {
  int8_t *weights;       // (n_classes, n_features)
  int32_t *bias;         // (n_classes,)
  int32_t *multipliers;  // (n_classes,) q31
  int32_t *shifts;       // (n_classes,) -31..0
  int8_t *features;      // (n_features,) of the last inference that came by
  uint16_t n_features;
  uint16_t n_classes;
  uint16_t op;   // the FC that it stands in for
  uint8_t exit;
  bool fresh;    // the features are those of an inference that has not been learned from
} jlt_head_t;

// Finds the FC that makes an exit's logits, and nothing else; leaves the arrays as they are. JLT_ERR_EXIT: the exit is the
// imported one, which stays byte for byte, or has no linear head of one row.
JLT_MUST_CHECK jlt_status_t jlt_head_find(const jlt_container_t *container, uint8_t exit, jlt_head_t *head);

// Keeps the features, and writes the logits of all classes.
void jlt_head_run(jlt_head_t *head, const jlt_conv_params_t *params, const int8_t *features, int8_t *logits);

#endif
