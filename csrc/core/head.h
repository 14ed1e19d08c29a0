// SPDX-License-Identifier: Apache-2.0
// A linear head in RAM that stands in for one exit's own, and the features that it read last. NUMERICS.md §13.
//
// An integer FC like any other: int8 weights, int32 bias, multiplier and shift a class; the same bytes on every machine.
#ifndef JLT_CORE_HEAD_H
#define JLT_CORE_HEAD_H

#include "core/prequential.h"
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
  uint16_t predicted;  // of that inference: the class, and the margin of its logits
  uint16_t margin;
  uint8_t exit;
  bool fresh;    // the features are those of an inference that has not been learned from
  bool taught;   // the weights are not the container's any more, nor is how often they are right
  jlt_prequential_t prequential;
} jlt_head_t;

// Finds the FC that makes an exit's logits, before a gate if there is one, and nothing else; leaves the arrays as they are.
// JLT_ERR_EXIT: the exit is the imported one, which stays byte for byte, or has no linear head of one row.
JLT_MUST_CHECK jlt_status_t jlt_head_find(const jlt_container_t *container, uint8_t exit, jlt_head_t *head);

// Keeps the features and what came of them, and writes the logits of all classes.
void jlt_head_run(jlt_head_t *head, const jlt_conv_params_t *params, const int8_t *features, int8_t *logits);

// P(correct) at the head's exit, q15: as jlt_confidence_q15 until a label has been learned, then what the labels say too.
uint16_t jlt_head_confidence_q15(jlt_head_t *head, const jlt_container_t *container, uint16_t path, uint16_t margin);

#endif
