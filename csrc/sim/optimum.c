// SPDX-License-Identifier: Apache-2.0
// The bound: backward over slots from the last one. A board that browned out decides nothing until power-good, so its
// value is that of the slot in which it wakes, found by running the store forward.
#include "sim/optimum.h"

#include <math.h>
#include <string.h>

#include "sim/chain.h"
#include "sim/grid.h"

typedef struct {
  const jlt_sim_bound_t *bound;
  double level_j;
  uint32_t n_levels;
  uint32_t n_below;    // points below brown-out: energy that the slot still brings
  float *now;          // (queue + 1, n_levels) value before the slot
  float *next;         // (queue + 1, n_levels) value after it
  float *after;        // (queue + 1, 2 n_levels) value of what is left within it
  float *serve;        // scratch of jlt_sim_serve
  uint32_t *index;     // (2 n_levels,)
  float *share;        // (2 n_levels,)
  double *awake;       // (n_slots + 1,) value of waking in a slot
  double base;         // of the float tables, so that they keep their digits
  uint32_t later;      // slot for which `later_wakes` holds
  uint32_t later_wakes;  // waking slot of a brown-out at the beginning of `later`
} solver_t;

static uint64_t words(uint64_t count) { return (count + 3U) & ~(uint64_t)3U; }

uint64_t jlt_sim_bound_scratch_bytes(const jlt_sim_bound_t *bound) {
  if (bound->n_levels < 2 || bound->n_levels > (1U << 20) || bound->queue < 1 || bound->queue > JLT_SIM_QUEUE_LIMIT ||
      bound->n_slots > (1U << 28) || bound->store->n_bands < 1 || bound->store->n_bands > JLT_SIM_BANDS_LIMIT) {
    return 0;
  }
  if (bound->chain != NULL && (bound->chain->n_bins < 1 || bound->chain->n_bins > JLT_SIM_BINS_LIMIT ||
                               bound->chain->n_nodes < 1 || bound->chain->n_nodes > JLT_SIM_NODES_LIMIT)) {
    return 0;
  }
  const uint64_t wide = 2U * (uint64_t)bound->n_levels;
  const uint64_t tables = 2U * words(((uint64_t)bound->queue + 1U) * bound->n_levels);
  const uint64_t after = words(((uint64_t)bound->queue + 1U) * wide) + 2U * words(wide);
  const uint64_t serve = bound->chain == NULL ? 0 : words(jlt_sim_serve_floats(bound->chain, (uint32_t)wide));
  return 4U * (tables + after + serve) + 8U * (((uint64_t)bound->n_slots + 3U) & ~(uint64_t)1U);
}

static void lay_out(solver_t *solver, const jlt_sim_bound_t *bound, void *scratch) {
  const uint64_t wide = 2U * (uint64_t)bound->n_levels;
  const uint64_t table = words(((uint64_t)bound->queue + 1U) * bound->n_levels);
  double *doubles = scratch;
  solver->awake = doubles;
  float *floats = (float *)(doubles + ((bound->n_slots + 3U) & ~1U));
  solver->now = floats;
  solver->next = floats + table;
  solver->after = floats + 2U * table;
  solver->index = (uint32_t *)(solver->after + words(((uint64_t)bound->queue + 1U) * wide));
  solver->share = (float *)(solver->index + words(wide));
  solver->serve = solver->share + words(wide);
}

static double power_w(const jlt_sim_bound_t *bound, uint32_t band, uint32_t slot) {
  return bound->power_w[(uint64_t)band * bound->n_slots + slot];
}

// First slot from `slot` on in which a store that begins it with `energy_j` (from brown-out), unpowered, reaches
// power-good; n_slots when none does.
static uint32_t waking_slot(const jlt_sim_bound_t *bound, uint32_t slot, double energy_j) {
  const jlt_sim_store_t *store = bound->store;
  double held_j = energy_j + store->off_j;
  for (; slot < bound->n_slots; slot++) {
    const uint32_t band = jlt_sim_band(store, held_j - store->off_j);
    held_j = jlt_sim_relax(held_j, power_w(bound, band, slot), store->tau_s, bound->slot_s[slot]);
    held_j = held_j > 0.0 ? held_j : 0.0;
    if (held_j >= store->off_j + store->on_j) {
      return slot;
    }
  }
  return slot;
}

// Value of a brown-out in a slot, absolute: as if it came at the beginning of the slot or at its end, whichever is better.
static double dark(solver_t *solver, uint32_t slot) {
  const uint32_t early = waking_slot(solver->bound, slot, 0.0);
  const uint32_t late =
      solver->later == slot + 1U ? solver->later_wakes : waking_slot(solver->bound, slot + 1U, 0.0);
  solver->later = slot;
  solver->later_wakes = early;
  const double first = solver->awake[early > slot ? early : slot + 1U];
  const double second = solver->awake[late];
  return first > second ? first : second;
}

static void look_up(const solver_t *solver, const float *values, float off, float *out) {
  const uint32_t n = solver->n_levels + solver->n_below;
  for (uint32_t x = 0; x < n; x++) {
    const uint32_t at = solver->index[x];
    if (at == UINT32_MAX) {
      // what is spent must be there; what is kept may run out later
      out[x] = x < solver->n_below ? JLT_SIM_NEVER : off;
    } else {
      out[x] = values[at] + solver->share[x] * (values[at + 1U] - values[at]);
    }
  }
}

static void solve_slot(solver_t *solver, uint32_t slot) {
  const jlt_sim_bound_t *bound = solver->bound;
  const jlt_sim_store_t *store = bound->store;
  jlt_sim_drift_t drifts[JLT_SIM_BANDS_LIMIT];
  double best_w = 0.0;
  double most_gain = 0.0;
  bool may_fail = false;
  for (uint32_t band = 0; band < store->n_bands; band++) {
    const double given_w = power_w(bound, band, slot);
    drifts[band] = jlt_sim_drift(store, given_w, store->sleep_w, bound->slot_s[slot], solver->level_j);
    best_w = given_w > best_w ? given_w : best_w;
    most_gain = drifts[band].gain > most_gain ? drifts[band].gain : most_gain;
    may_fail = may_fail || drifts[band].gain < 0.0;
  }
  solver->n_below = most_gain < (double)solver->n_levels ? (uint32_t)most_gain : solver->n_levels;
  const uint32_t n = solver->n_levels + solver->n_below;
  jlt_sim_places(store, drifts, solver->level_j, solver->n_levels, solver->n_below, n, solver->index, solver->share);
  const float off = may_fail ? (float)(dark(solver, slot) - solver->base) : 0.0F;
  const uint64_t wide = 2U * (uint64_t)solver->n_levels;
  jlt_sim_serving_t serving = {
      .chain = bound->chain, .level_j = solver->level_j, .interpolate = bound->interpolate,
      .limit_j = store->full_j, .income_w = best_w, .limit_s = bound->deadline_s};
  for (uint32_t waiting = 0; waiting <= bound->queue; waiting++) {
    float *after = solver->after + wide * waiting;
    const uint32_t kept = waiting < bound->kept[slot] ? waiting : bound->kept[slot];
    look_up(solver, solver->next + (uint64_t)kept * solver->n_levels, off, after);
    if (waiting == 0) {
      continue;
    }
    const float *rest = solver->after + wide * (waiting - 1U);
    if (bound->chain != NULL) {
      jlt_sim_serve(&serving, rest, n, after, solver->serve);
    } else {
      jlt_sim_hit(bound->hit_j[slot], solver->level_j, bound->interpolate, rest, n, after);
    }
  }
  for (uint32_t waiting = 0; waiting <= bound->queue; waiting++) {
    memcpy(solver->now + (uint64_t)waiting * solver->n_levels, solver->after + wide * waiting + solver->n_below,
           4U * (uint64_t)solver->n_levels);
  }
}

static double at_power_good(const solver_t *solver, const float *row) {
  const double place = solver->bound->store->on_j / solver->level_j;
  const uint32_t at = place < (double)(solver->n_levels - 2U) ? (uint32_t)place : solver->n_levels - 2U;
  return (double)row[at] + (place - at) * (double)(row[at + 1U] - row[at]);
}

// Value of waking in a slot, after the slot's own event was missed: as if at its beginning, with all that it brings, or at
// its end, with nothing slept away, whichever is better.
static double waking_value(const solver_t *solver) {
  const double early = at_power_good(solver, solver->now);
  const double late = at_power_good(solver, solver->next);
  return solver->base + (early > late ? early : late);
}

static void take_event(solver_t *solver) {
  const uint64_t row = solver->n_levels;
  for (uint32_t waiting = 0; waiting < solver->bound->queue; waiting++) {
    memcpy(solver->now + row * waiting, solver->now + row * (waiting + 1U), 4U * row);
  }
}

static void rebase(solver_t *solver) {
  const uint64_t count = ((uint64_t)solver->bound->queue + 1U) * solver->n_levels;
  const float first = solver->now[0];
  for (uint64_t i = 0; i < count; i++) {
    solver->next[i] = solver->now[i] - first;
  }
  solver->base += first;
}

static double initial_value(const solver_t *solver) {
  const jlt_sim_bound_t *bound = solver->bound;
  if (!bound->powered) {
    return solver->awake[waking_slot(bound, 0, bound->initial_j)];
  }
  const double top = (double)(solver->n_levels - 1U);
  double place = bound->initial_j / solver->level_j;
  place = place < 0.0 ? 0.0 : place > top ? top : place;
  const uint32_t at = place < top ? (uint32_t)place : solver->n_levels - 2U;
  return solver->base + solver->next[at] + (place - at) * (double)(solver->next[at + 1U] - solver->next[at]);
}

jlt_status_t jlt_sim_bound(const jlt_sim_bound_t *bound, void *scratch, double *value) {
  if (bound == NULL || scratch == NULL || value == NULL || jlt_sim_bound_scratch_bytes(bound) == 0 ||
      (bound->chain == NULL && bound->hit_j == NULL)) {
    return JLT_ERR_ARGUMENT;
  }
  solver_t solver = {.bound = bound, .n_levels = bound->n_levels, .later = UINT32_MAX};
  solver.level_j = bound->store->full_j / (double)(bound->n_levels - 1U);
  lay_out(&solver, bound, scratch);
  memset(solver.next, 0, 4U * ((uint64_t)bound->queue + 1U) * bound->n_levels);
  solver.awake[bound->n_slots] = 0.0;
  solver.awake[bound->n_slots + 1U] = 0.0;
  for (uint32_t slot = bound->n_slots; slot-- > 0;) {
    solve_slot(&solver, slot);
    solver.awake[slot] = waking_value(&solver);
    if (bound->arrives[slot] != 0) {
      take_event(&solver);
    }
    rebase(&solver);
  }
  *value = initial_value(&solver);
  return JLT_OK;
}
