// SPDX-License-Identifier: Apache-2.0
#include "sim/grid.h"

#include <math.h>

double jlt_sim_relax(double energy_j, double power_w, double tau_s, double seconds) {
  if (isinf(tau_s)) {
    return energy_j + power_w * seconds;
  }
  return energy_j + (energy_j - power_w * tau_s) * expm1(-seconds / tau_s);
}

jlt_sim_drift_t jlt_sim_drift(const jlt_sim_store_t *store, double power_w, double load_w, double seconds,
                              double level_j) {
  const double at_zero = jlt_sim_relax(store->off_j, power_w - load_w, store->tau_s, seconds) - store->off_j;
  const double keep = isinf(store->tau_s) ? 1.0 : exp(-seconds / store->tau_s);
  return (jlt_sim_drift_t){.keep = keep, .gain = at_zero / level_j};
}

uint32_t jlt_sim_band(const jlt_sim_store_t *store, double energy_j) {
  uint32_t band = 0;
  while (band + 1U < store->n_bands && energy_j >= store->band_low_j[band + 1U]) {
    band++;
  }
  return band;
}

void jlt_sim_places(const jlt_sim_store_t *store, const jlt_sim_drift_t *drifts, double level_j, uint32_t n_levels,
                    uint32_t n_below, uint32_t n, uint32_t *index, float *share) {
  const double top = (double)(n_levels - 1U);
  uint32_t band = jlt_sim_band(store, 0.0);
  for (uint32_t x = 0; x < n; x++) {
    const double level = (double)x - (double)n_below;
    while (band + 1U < store->n_bands && level * level_j >= store->band_low_j[band + 1U]) {
      band++;
    }
    double place = drifts[band].keep * level + drifts[band].gain;
    if (place < 0.0) {
      index[x] = UINT32_MAX;
      share[x] = 0.0F;
      continue;
    }
    place = place < top ? place : top;
    const uint32_t whole = place < top ? (uint32_t)place : n_levels - 2U;
    index[x] = whole;
    share[x] = (float)(place - whole);
  }
}
