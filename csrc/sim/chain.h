// SPDX-License-Identifier: Apache-2.0
// One event served: from the value of the energy left afterwards to the value before.
#ifndef JLT_SIM_CHAIN_H
#define JLT_SIM_CHAIN_H

#include "sim/optimum.h"

typedef struct {
  const jlt_sim_chain_t *chain;
  double level_j;    // energy between two levels
  bool interpolate;  // else an energy is rounded down to the grid
  double limit_j;    // a full store: no inference can draw more than it and what comes in meanwhile
  double income_w;   // comes in meanwhile, at most
  double limit_s;    // no inference may last longer
  double cost_share; // of the energy of a step that counts
} jlt_sim_serving_t;

// Floats of scratch for tables of `n` levels.
uint64_t jlt_sim_serve_floats(const jlt_sim_chain_t *chain, uint32_t n);

// best[x] = max(best[x], value of serving an event with x levels), where after[x] is the value of being left with x.
void jlt_sim_serve(const jlt_sim_serving_t *serving, const float *after, uint32_t n, float *best, float *scratch);

// The same for an event that is right for certain at a price [J].
void jlt_sim_hit(double price_j, double level_j, bool interpolate, const float *after, uint32_t n, float *best);

#endif
