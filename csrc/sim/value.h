// SPDX-License-Identifier: Apache-2.0
// Value iteration over stored energy, harvest level and time of day: what a joule is worth when the future is a Markov
// chain. DESIGN.md, "The price of a joule".
#ifndef JLT_SIM_VALUE_H
#define JLT_SIM_VALUE_H

#include "sim/optimum.h"

enum { JLT_SIM_HARVEST_LIMIT = 32 };

// A day of `n_slots` slots, each of `n_epochs` epochs of `epoch_s`; events arrive at beginnings of epochs.
typedef struct {
  const jlt_sim_chain_t *chain;
  const jlt_sim_store_t *store;
  uint32_t n_levels;
  uint32_t n_dark_levels;    // of the energy held while off, from empty to power-good; 2 or more
  uint32_t n_slots;
  uint32_t n_epochs;
  uint32_t n_harvest;
  uint32_t n_sweeps;         // over the day
  uint32_t phases;           // an event can arrive every `phases` epochs
  double epoch_s;
  double deadline_s;
  double arrival;            // P(an event arrives at such an epoch)
  double survival;           // P(an event that waits still does after an epoch)
  double again;              // P(another event follows at once): bursts; less than 1
  const double *power_w;     // (n_slots, n_harvest, n_bands) reaches the store when the level is entered
  const double *transition;  // (n_slots, n_harvest, n_harvest) P(next level | level) for one epoch
  float *worth;              // out: (n_slots, n_harvest, n_levels) value of the energy left after a decision, from 0 at
                             // brown-out
  double *rate;              // out: (1,) right answers a day, of the last sweep
} jlt_sim_value_t;

uint64_t jlt_sim_value_scratch_bytes(const jlt_sim_value_t *value);

JLT_MUST_CHECK jlt_status_t jlt_sim_value(const jlt_sim_value_t *value, void *scratch);

#endif
