// SPDX-License-Identifier: Apache-2.0
// The bound: backward over slots from the last one. A board that browned out decides nothing until power-good, so its
// value is that of the slot in which it wakes, found by running the store forward. A board may brown out at will, by work
// that leads nowhere: being off saves the energy of sleep.
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
  double *awake;       // (n_slots + 1,) value of waking in a slot or later
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

// Energy held by a board that is off after a slot, at most: by the best of all bands that it can touch meanwhile.
static double dark_after_j(const jlt_sim_bound_t *bound, uint32_t slot, double held_j) {
  const jlt_sim_store_t *store = bound->store;
  uint32_t low = jlt_sim_band(store, held_j - store->off_j);
  uint32_t high = low;
  double most_j = 0.0;
  double least_j = INFINITY;
  for (uint32_t band = low;;) {
    const double given_w = power_w(bound, band, slot);
    const double stored_w = given_w > 0.0 ? bound->charge_efficiency * given_w : given_w;
    const double after_j = jlt_sim_relax(held_j, stored_w, store->tau_s, bound->slot_s[slot]);
    most_j = after_j > most_j ? after_j : most_j;
    least_j = after_j < least_j ? after_j : least_j;
    if (high + 1U < store->n_bands && most_j - store->off_j >= store->band_low_j[high + 1U]) {
      band = ++high;
    } else if (low > 0 && least_j - store->off_j < store->band_low_j[low]) {
      band = --low;
    } else {
      return most_j;
    }
  }
}

// First slot from `slot` on in which a store that begins it with `energy_j` (from brown-out), unpowered, reaches
// power-good; n_slots when none does.
static uint32_t waking_slot(const jlt_sim_bound_t *bound, uint32_t slot, double energy_j) {
  const jlt_sim_store_t *store = bound->store;
  double held_j = energy_j + store->off_j;
  for (; slot < bound->n_slots; slot++) {
    held_j = dark_after_j(bound, slot, held_j);
    if (held_j >= store->off_j + store->on_j) {
      return slot;
    }
  }
  return slot;
}

// Relative to `base`, linear between levels.
static double between(const solver_t *solver, const float *row, double place) {
  const double top = (double)(solver->n_levels - 1U);
  const double held = place < 0.0 ? 0.0 : place > top ? top : place;
  const uint32_t at = held < top ? (uint32_t)held : solver->n_levels - 2U;
  return row[at] + (held - at) * (double)(row[at + 1U] - row[at]);
}

// Value of a brown-out in a slot, absolute. From its beginning or its end, whichever wakes first, the board wakes then or
// later. Where it wakes in the same slot it has power-good at some moment of it, with nothing waiting.
static double dark(solver_t *solver, uint32_t slot, const jlt_sim_drift_t *drift) {
  const jlt_sim_bound_t *bound = solver->bound;
  const uint32_t early = waking_slot(bound, slot, bound->brownout_j);
  const uint32_t late =
      solver->later == slot + 1U ? solver->later_wakes : waking_slot(bound, slot + 1U, bound->brownout_j);
  solver->later = slot;
  solver->later_wakes = early;
  if (early > slot) {
    return solver->awake[early < late ? early : late];
  }
  // afterwards it holds no more than had it woken at once, nor than had it stayed off
  const double on = bound->store->on_j / solver->level_j;
  const double at_once = drift->keep * on + drift->gain;
  const double held_j = dark_after_j(bound, slot, bound->brownout_j + bound->store->off_j) - bound->store->off_j;
  const double off = held_j / solver->level_j;
  const double most = at_once < off ? at_once : off;
  const double now = solver->base + between(solver, solver->next, most > on ? most : on);
  return now > solver->awake[slot + 1U] ? now : solver->awake[slot + 1U];
}

static void look_up(const solver_t *solver, const float *values, float off, float *out) {
  const uint32_t n = solver->n_levels + solver->n_below;
  for (uint32_t x = 0; x < n; x++) {
    const uint32_t at = solver->index[x];
    if (at == UINT32_MAX) {
      // what is spent must be there; what is kept may run out later
      out[x] = x < solver->n_below ? JLT_SIM_NEVER : off;
    } else {
      const float value = values[at] + solver->share[x] * (values[at + 1U] - values[at]);
      out[x] = value > off ? value : off;
    }
  }
}

static void solve_slot(solver_t *solver, uint32_t slot) {
  const jlt_sim_bound_t *bound = solver->bound;
  const jlt_sim_store_t *store = bound->store;
  jlt_sim_drift_t drifts[JLT_SIM_BANDS_LIMIT];
  double best_w = 0.0;
  double most_gain = 0.0;
  for (uint32_t band = 0; band < store->n_bands; band++) {
    const double given_w = power_w(bound, band, slot);
    const double net_w = given_w - store->sleep_w;
    const double stored_w = net_w > 0.0 ? bound->charge[slot] * net_w : net_w;
    drifts[band] = jlt_sim_drift(store, stored_w, 0.0, bound->slot_s[slot], solver->level_j);
    best_w = given_w > best_w ? given_w : best_w;
    most_gain = drifts[band].gain > most_gain ? drifts[band].gain : most_gain;
  }
  solver->n_below = most_gain < (double)solver->n_levels ? (uint32_t)most_gain : solver->n_levels;
  const uint32_t n = solver->n_levels + solver->n_below;
  jlt_sim_places(store, drifts, solver->level_j, solver->n_levels, solver->n_below, n, solver->index, solver->share);
  const jlt_sim_drift_t *powered = &drifts[jlt_sim_band(store, store->on_j)];
  const float off = (float)(dark(solver, slot, powered) - solver->base);
  const uint64_t wide = 2U * (uint64_t)solver->n_levels;
  jlt_sim_serving_t serving = {
      .chain = bound->chain, .level_j = solver->level_j, .interpolate = bound->interpolate,
      .limit_j = store->full_j, .income_w = best_w, .limit_s = bound->deadline_s,
      .cost_share = bound->charge[slot]};
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
      jlt_sim_hit(bound->hit_j[slot] * bound->charge[slot], solver->level_j, bound->interpolate, rest, n, after);
    }
  }
  for (uint32_t waiting = 0; waiting <= bound->queue; waiting++) {
    memcpy(solver->now + (uint64_t)waiting * solver->n_levels, solver->after + wide * waiting + solver->n_below,
           4U * (uint64_t)solver->n_levels);
  }
}

// Value of waking in a slot: at power-good, at its beginning but after its own event was missed, or at its end.
static double waking_value(const solver_t *solver) {
  const double place = solver->bound->store->on_j / solver->level_j;
  const double first = between(solver, solver->now, place);
  const double last = between(solver, solver->next, place);
  return solver->base + (first > last ? first : last);
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
  return solver->base + between(solver, solver->next, bound->initial_j / solver->level_j);
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
    const double woken = waking_value(&solver);
    solver.awake[slot] = woken > solver.awake[slot + 1U] ? woken : solver.awake[slot + 1U];
    if (bound->arrives[slot] != 0) {
      take_event(&solver);
    }
    rebase(&solver);
  }
  *value = initial_value(&solver);
  return JLT_OK;
}
