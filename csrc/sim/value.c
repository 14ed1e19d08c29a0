// SPDX-License-Identifier: Apache-2.0
// Tables are interpolated linearly; they are finer than what a board gets, so that interpolation adds little spread.
#include "sim/value.h"

#include <math.h>
#include <string.h>

#include "sim/chain.h"
#include "sim/grid.h"

typedef struct {
  const jlt_sim_value_t *value;
  double level_j;
  double dark_level_j;
  uint32_t n;
  uint32_t m;
  float *now;    // (n_harvest, 2, n) before an epoch, none or one event waiting
  float *next;   // the same after it
  float *dark;   // (n_harvest, m) while off
  float *later;  // the same after the epoch
  float *rest;   // (n,) after a decision, none waiting
  float *wait;   // (n,) the same, one waiting
  float *burst;  // (n_harvest, n) with an event at hand, as found an epoch later
  float *serve;
  uint32_t *index;  // (n_harvest, n) where an epoch leads, per level that is entered
  float *share;
  double base;
} iteration_t;

static uint64_t words(uint64_t count) { return (count + 3U) & ~(uint64_t)3U; }

static bool fits(const jlt_sim_value_t *value) {
  return value->n_levels >= 2 && value->n_levels <= 65536 && value->n_dark_levels >= 2 &&
         value->n_dark_levels <= 65536 && value->n_slots >= 1 && value->n_slots <= 1440 && value->n_harvest >= 1 &&
         value->n_harvest <= JLT_SIM_HARVEST_LIMIT && value->again >= 0.0 && value->again < 1.0 && value->phases >= 1 && value->n_epochs >= 1 &&
         value->store->n_bands >= 1 && value->store->n_bands <= JLT_SIM_BANDS_LIMIT &&
         value->chain->n_bins >= 1 && value->chain->n_bins <= JLT_SIM_BINS_LIMIT && value->chain->n_nodes >= 1 &&
         value->chain->n_nodes <= JLT_SIM_NODES_LIMIT;
}

uint64_t jlt_sim_value_scratch_bytes(const jlt_sim_value_t *value) {
  if (!fits(value)) {
    return 0;
  }
  const uint64_t on = words((uint64_t)value->n_harvest * 2U * value->n_levels);
  const uint64_t off = words((uint64_t)value->n_harvest * value->n_dark_levels);
  const uint64_t row = words(value->n_levels);
  const uint64_t places = words((uint64_t)value->n_harvest * value->n_levels);
  return 4U * (2U * on + 2U * off + 2U * row + 3U * places + words(jlt_sim_serve_floats(value->chain, value->n_levels)));
}

static void lay_out(iteration_t *it, const jlt_sim_value_t *value, float *floats) {
  const uint64_t on = words((uint64_t)value->n_harvest * 2U * value->n_levels);
  const uint64_t off = words((uint64_t)value->n_harvest * value->n_dark_levels);
  const uint64_t places = words((uint64_t)value->n_harvest * value->n_levels);
  it->now = floats;
  it->next = it->now + on;
  it->dark = it->next + on;
  it->later = it->dark + off;
  it->rest = it->later + off;
  it->wait = it->rest + words(value->n_levels);
  it->index = (uint32_t *)(it->wait + words(value->n_levels));
  it->share = (float *)(it->index + places);
  it->burst = it->share + places;
  it->serve = it->burst + places;
}

static float between(const float *row, double place, uint32_t n) {
  const double top = (double)(n - 1U);
  const double held = place < 0.0 ? 0.0 : place > top ? top : place;
  const uint32_t at = held < top ? (uint32_t)held : n - 2U;
  return row[at] + (float)(held - at) * (row[at + 1U] - row[at]);
}

static double power_w(const jlt_sim_value_t *value, uint32_t slot, uint32_t harvest, uint32_t band) {
  return value->power_w[((uint64_t)slot * value->n_harvest + harvest) * value->store->n_bands + band];
}

static void find_places(iteration_t *it, uint32_t slot) {
  const jlt_sim_value_t *value = it->value;
  jlt_sim_drift_t drifts[JLT_SIM_BANDS_LIMIT];
  for (uint32_t harvest = 0; harvest < value->n_harvest; harvest++) {
    for (uint32_t band = 0; band < value->store->n_bands; band++) {
      drifts[band] = jlt_sim_drift(value->store, power_w(value, slot, harvest, band), value->store->sleep_w,
                                   value->epoch_s, it->level_j);
    }
    jlt_sim_places(value->store, drifts, it->level_j, it->n, 0, it->n, it->index + (uint64_t)harvest * it->n,
                   it->share + (uint64_t)harvest * it->n);
  }
}

// Value of being off with an amount of energy held, when level `harvest` is entered.
static float dark_after(const iteration_t *it, uint32_t slot, uint32_t harvest, double held_j) {
  const jlt_sim_value_t *value = it->value;
  const jlt_sim_store_t *store = value->store;
  const double given_w = power_w(value, slot, harvest, jlt_sim_band(store, held_j - store->off_j));
  double after_j = jlt_sim_relax(held_j, given_w, store->tau_s, value->epoch_s);
  after_j = after_j > 0.0 ? after_j : 0.0;
  if (after_j >= store->off_j + store->on_j) {
    return between(it->next + (uint64_t)harvest * 2U * it->n, (after_j - store->off_j) / it->level_j, it->n);
  }
  return between(it->later + (uint64_t)harvest * it->m, after_j / it->dark_level_j, it->m);
}

static void step_dark(iteration_t *it, uint32_t slot, uint32_t harvest) {
  const jlt_sim_value_t *value = it->value;
  const double *row = value->transition + ((uint64_t)slot * value->n_harvest + harvest) * value->n_harvest;
  for (uint32_t level = 0; level < it->m; level++) {
    double sum = 0.0;
    for (uint32_t entered = 0; entered < value->n_harvest; entered++) {
      if (row[entered] > 0.0) {
        sum += row[entered] * (double)dark_after(it, slot, entered, level * it->dark_level_j);
      }
    }
    it->dark[(uint64_t)harvest * it->m + level] = (float)sum;
  }
}

static void mix(const iteration_t *it, uint32_t slot, uint32_t harvest) {
  const jlt_sim_value_t *value = it->value;
  const double *row = value->transition + ((uint64_t)slot * value->n_harvest + harvest) * value->n_harvest;
  const float survival = (float)value->survival;
  memset(it->rest, 0, 4U * (uint64_t)it->n);
  memset(it->wait, 0, 4U * (uint64_t)it->n);
  for (uint32_t entered = 0; entered < value->n_harvest; entered++) {
    const float weight = (float)row[entered];
    if (weight == 0.0F) {
      continue;
    }
    const uint32_t *index = it->index + (uint64_t)entered * it->n;
    const float *share = it->share + (uint64_t)entered * it->n;
    const float *idle = it->next + (uint64_t)entered * 2U * it->n;
    const float *pending = idle + it->n;
    const float off = dark_after(it, slot, entered, value->store->off_j);
    for (uint32_t x = 0; x < it->n; x++) {
      const uint32_t at = index[x];
      if (at == UINT32_MAX) {
        it->rest[x] += weight * off;
        it->wait[x] += weight * off;
        continue;
      }
      const float none = idle[at] + share[x] * (idle[at + 1U] - idle[at]);
      const float one = pending[at] + share[x] * (pending[at + 1U] - pending[at]);
      it->rest[x] += weight * none;
      it->wait[x] += weight * (none + survival * (one - none));
    }
  }
}

// What is left after a decision may be asked for again at once.
static void expect_more(const iteration_t *it, uint32_t harvest) {
  const float again = (float)it->value->again;
  const float *burst = it->burst + (uint64_t)harvest * it->n;
  for (uint32_t x = 0; x < it->n; x++) {
    it->rest[x] += again * (burst[x] > it->rest[x] ? burst[x] - it->rest[x] : 0.0F);
  }
}

static void keep_worth(const iteration_t *it, uint32_t slot, uint32_t harvest, float weight) {
  float *worth = it->value->worth + ((uint64_t)slot * it->value->n_harvest + harvest) * it->n;
  for (uint32_t x = 0; x < it->n; x++) {
    worth[x] += weight * (it->rest[x] - it->rest[0]);
  }
}

static void step(iteration_t *it, uint32_t slot, bool arrives, float keep) {
  const jlt_sim_value_t *value = it->value;
  const jlt_sim_serving_t serving = {.chain = value->chain, .level_j = it->level_j, .interpolate = true,
                                     .limit_j = value->store->full_j, .limit_s = value->deadline_s,
                                     .cost_share = 1.0};
  const float arrival = arrives ? (float)value->arrival : 0.0F;
  for (uint32_t harvest = 0; harvest < value->n_harvest; harvest++) {
    mix(it, slot, harvest);
    float *idle = it->now + (uint64_t)harvest * 2U * it->n;
    memcpy(idle, it->rest, 4U * (uint64_t)it->n);
    expect_more(it, harvest);
    if (keep > 0.0F) {
      keep_worth(it, slot, harvest, keep);
    }
    jlt_sim_serve(&serving, it->rest, it->n, it->wait, it->serve);
    for (uint32_t x = 0; x < it->n; x++) {
      const float best = it->wait[x] > it->rest[x] ? it->wait[x] : it->rest[x];
      idle[it->n + x] = best;
      idle[x] += arrival * (best - idle[x]);
    }
    step_dark(it, slot, harvest);
  }
}

static void rebase(iteration_t *it) {
  const uint64_t on = (uint64_t)it->value->n_harvest * 2U * it->n;
  const uint64_t off = (uint64_t)it->value->n_harvest * it->m;
  const float first = it->now[0];
  for (uint64_t i = 0; i < on; i++) {
    it->next[i] = it->now[i] - first;
  }
  for (uint64_t i = 0; i < off; i++) {
    it->later[i] = it->dark[i] - first;
  }
  for (uint32_t harvest = 0; harvest < it->value->n_harvest; harvest++) {
    memcpy(it->burst + (uint64_t)harvest * it->n, it->next + ((uint64_t)harvest * 2U + 1U) * it->n, 4U * (uint64_t)it->n);
  }
  it->base += (double)first;
}

jlt_status_t jlt_sim_value(const jlt_sim_value_t *value, void *scratch) {
  if (value == NULL || scratch == NULL || !fits(value)) {
    return JLT_ERR_ARGUMENT;
  }
  iteration_t it = {.value = value, .n = value->n_levels, .m = value->n_dark_levels};
  it.level_j = value->store->full_j / (double)(it.n - 1U);
  it.dark_level_j = (value->store->off_j + value->store->on_j) / (double)(it.m - 1U);
  lay_out(&it, value, scratch);
  memset(scratch, 0, jlt_sim_value_scratch_bytes(value));
  memset(value->worth, 0, 4U * (uint64_t)value->n_slots * value->n_harvest * it.n);
  for (uint32_t sweep = 0; sweep < value->n_sweeps; sweep++) {
    const bool last = sweep + 1U == value->n_sweeps;
    const double before = it.base;
    for (uint32_t slot = value->n_slots; slot-- > 0;) {
      find_places(&it, slot);
      const uint32_t chances = (value->n_epochs + value->phases - 1U) / value->phases;
      for (uint32_t epoch = value->n_epochs; epoch-- > 0;) {
        const bool arrives = epoch % value->phases == 0;
        step(&it, slot, arrives, last && arrives ? 1.0F / (float)chances : 0.0F);
        rebase(&it);
      }
    }
    *value->rate = it.base - before;
  }
  return JLT_OK;
}
