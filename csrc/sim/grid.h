// SPDX-License-Identifier: Apache-2.0
// How stored energy moves over a slot of constant power, on a regular grid of levels.
#ifndef JLT_SIM_GRID_H
#define JLT_SIM_GRID_H

#include "sim/optimum.h"

#define JLT_SIM_NEVER (-1e30F)  // value of what cannot be

// After a slot, energy x (in levels from brown-out) has become keep * x + gain.
typedef struct {
  double keep;
  double gain;
} jlt_sim_drift_t;

// Energy after `seconds` at constant net power, from energy e, both counted from an empty store [J].
double jlt_sim_relax(double energy_j, double power_w, double tau_s, double seconds);

// The drift of a powered board: harvest minus sleep and leakage.
jlt_sim_drift_t jlt_sim_drift(const jlt_sim_store_t *store, double power_w, double load_w, double seconds, double level_j);

// Band of the converter at an energy counted from brown-out.
uint32_t jlt_sim_band(const jlt_sim_store_t *store, double energy_j);

// Where each of n points, the first at level -n_below, lies after the slot. Points that fall below 0 get index
// UINT32_MAX; those above the grid its end.
void jlt_sim_places(const jlt_sim_store_t *store, const jlt_sim_drift_t *drifts, double level_j, uint32_t n_levels,
                    uint32_t n_below, uint32_t n, uint32_t *index, float *share);

#endif
