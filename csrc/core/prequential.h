// SPDX-License-Identifier: Apache-2.0
// How often a head that learns was right at each margin, of labels that it had not learned from: each is first predicted
// by the head as it stands, then learned (A. P. Dawid, Present Position and Potential Developments, 1984). The confidence
// of a bin is the mean of a Beta distribution: the container's table is its prior, the counts are what was seen; then
// bins are pooled until none falls (weighted isotonic regression). NUMERICS.md §13.
#ifndef JLT_CORE_PREQUENTIAL_H
#define JLT_CORE_PREQUENTIAL_H

#include "joulet.h"

enum {
  JLT_PREQUENTIAL_BINS = 32,   // of 8 steps of margin, as those of the container's tables
  JLT_PREQUENTIAL_FLOATS = 64,  // that the counts take
  JLT_PREQUENTIAL_PRIOR = 4,   // labels that a bin of the container's table weighs as much as
};

typedef struct {
  float *seen;            // (32,) labels by bin of margin; the latest weighs 1, others have been forgotten in part
  float *right;           // (32,) of those, answered right
  const uint16_t *prior;  // the container's table that `table` was made with; null: none is made
  uint16_t table[32];     // P(correct), q15, never falling
} jlt_prequential_t;

// Nothing has been seen.
void jlt_prequential_begin(jlt_prequential_t *counts);

// One label: the margin with which it had been predicted, and whether rightly. `forgetting` is 0.9..1.
void jlt_prequential_add(jlt_prequential_t *counts, uint16_t margin, bool right, float forgetting);

// Whether counts can be what labels left. Every comparison with what is not a number is false.
bool jlt_prequential_is_sound(const jlt_prequential_t *counts);

// P(correct) at a margin, q15. `prior` is a table of the container; its values are what is told before the first label.
uint16_t jlt_prequential_confidence(jlt_prequential_t *counts, const uint16_t *prior, uint16_t margin);

#endif
