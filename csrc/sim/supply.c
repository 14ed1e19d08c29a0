// SPDX-License-Identifier: Apache-2.0
#include "sim/supply.h"

#include <math.h>
#include <string.h>

#define NONE_V (-1.0)       // no lower stop
#define SLACK (1.0 - 1e-9)  // of the power-good threshold, for rounding

typedef enum { STOP_TIME, STOP_REACHED, STOP_BROWNOUT, STOP_EDGE, STOP_BOUND } stop_t;

// Harvested, given to the store, got by the load, drawn for it, turned into heat by that [W].
typedef struct {
  double harvest_w;
  double given_w;
  double load_w;
  double draw_w;
  double heat_w;
} powers_t;

// What flowed, summed over steps [J].
typedef struct {
  double harvested_j;
  double delivered_j;
  double loaded_j;
  double lost_j;
  double leaked_j;
  double clipped_j;
  double unmet_j;
} flows_t;

// What is asked of a step.
typedef struct {
  uint32_t load;
  bool dark;            // after the end of the trace
  double seconds;
  double off_v;         // terminal voltage of brown-out; NONE_V while the load is off
  double stop_above_v;  // INFINITY for none
} asked_t;

typedef struct {
  double at_v;
  stop_t stop;
} limit_t;

/// Trace ///

static void find_segment(jlt_sim_world_t *world) {
  const jlt_sim_supply_t *supply = world->supply;
  while (world->segment + 1U < supply->n_segments && supply->segment_s[world->segment + 1U] <= world->now_s) {
    world->segment++;
  }
}

// End of the segment, and in `dark` whether the trace is over.
static double segment_end_s(const jlt_sim_world_t *world, bool *dark) {
  const jlt_sim_supply_t *supply = world->supply;
  *dark = world->now_s >= supply->span_s;
  if (*dark) {
    return INFINITY;
  }
  return world->segment + 1U < supply->n_segments ? supply->segment_s[world->segment + 1U] : supply->span_s;
}

static double given_w(const jlt_sim_world_t *world, uint32_t band, bool dark) {
  const jlt_sim_supply_t *supply = world->supply;
  return dark ? supply->dark_w[band] : supply->output_w[(uint64_t)band * supply->n_segments + world->segment];
}

double jlt_sim_output_w(jlt_sim_world_t *world) {
  find_segment(world);
  return given_w(world, world->band, world->now_s >= world->supply->span_s);
}

double jlt_sim_usable_j(const jlt_sim_world_t *world) {
  const double usable_j = world->held.energy_j - world->supply->off_j;
  return usable_j > 0.0 ? usable_j : 0.0;
}

/// One step: as joulet.energy.feed.Feed.step ///

static powers_t powers_at(const jlt_sim_world_t *world, uint32_t band, const asked_t *asked, double voltage_v) {
  const jlt_sim_supply_t *supply = world->supply;
  powers_t powers = {
      .harvest_w = asked->dark ? 0.0 : supply->harvest_w[world->segment],
      .given_w = given_w(world, band, asked->dark),
      .load_w = supply->load_w[asked->load],
      .draw_w = supply->draw_w[band * JLT_SIM_LOADS + asked->load],
  };
  // at or below off_v the load browns out before any time passes
  if (supply->storage.esr_ohm > 0.0 && asked->off_v >= 0.0 && voltage_v > asked->off_v) {
    const double current_a = powers.draw_w / voltage_v;
    powers.heat_w = current_a * current_a * supply->storage.esr_ohm;
  }
  return powers;
}

static double net_w(const powers_t *powers) { return powers->given_w - (powers->draw_w + powers->heat_w); }

static void book(flows_t *flows, const powers_t *powers, const jlt_sim_passed_t *step) {
  const double seconds = step->elapsed_s;
  flows->harvested_j += powers->harvest_w * seconds;
  flows->delivered_j += powers->given_w * seconds;
  flows->loaded_j += powers->load_w * seconds;
  flows->lost_j += (powers->draw_w - powers->load_w + powers->heat_w) * seconds + step->lost_j;
  flows->leaked_j += step->leaked_j;
  flows->clipped_j += step->clipped_j;
  flows->unmet_j += step->unmet_j;
}

// Voltage of the store at which a draw pulls the terminal down to `off_v`.
static double brownout_at_v(double off_v, double draw_w, double esr_ohm) {
  return esr_ohm > 0.0 ? (off_v + sqrt(off_v * off_v + 4.0 * draw_w * esr_ohm)) / 2.0 : off_v;
}

// First voltage to be met on the way down; brown-out before all else.
static limit_t lower_limit(const jlt_sim_world_t *world, const powers_t *powers, const asked_t *asked) {
  const jlt_sim_supply_t *supply = world->supply;
  limit_t limit = {.at_v = NONE_V, .stop = STOP_BROWNOUT};
  if (asked->off_v >= 0.0) {
    limit.at_v = brownout_at_v(asked->off_v, powers->draw_w, supply->storage.esr_ohm);
  }
  const int32_t below = (int32_t)world->band - 1;
  if (below >= 0 && below != world->edge && supply->edge_v[below] > limit.at_v) {
    limit = (limit_t){.at_v = supply->edge_v[below], .stop = STOP_EDGE};
  }
  if (powers->heat_w > 0.0) {
    const double bound_v = world->held.voltage_v * supply->step_low;
    // an empty battery is a brown-out, not the end of a step
    if (bound_v > supply->storage.empty_v && bound_v > limit.at_v) {
      limit = (limit_t){.at_v = bound_v, .stop = STOP_BOUND};
    }
  }
  return limit;
}

// First voltage to be met on the way up; the one asked for before all else.
static limit_t upper_limit(const jlt_sim_world_t *world, const powers_t *powers, const asked_t *asked) {
  const jlt_sim_supply_t *supply = world->supply;
  limit_t limit = {.at_v = asked->stop_above_v, .stop = STOP_REACHED};
  const uint32_t above = world->band;
  if (above + 1U < supply->n_bands && (int32_t)above != world->edge && supply->edge_v[above] < limit.at_v) {
    limit = (limit_t){.at_v = supply->edge_v[above], .stop = STOP_EDGE};
  }
  if (powers->heat_w > 0.0) {
    const double bound_v = world->held.voltage_v * supply->step_high;
    if (bound_v < supply->full_v && bound_v < limit.at_v) {
      limit = (limit_t){.at_v = bound_v, .stop = STOP_BOUND};
    }
  }
  return limit;
}

// Chooses the band to leave an edge into; true where the store stays at it.
static bool rests(jlt_sim_world_t *world, const powers_t *sides) {
  const jlt_sim_storage_t *storage = &world->supply->storage;
  const bool falls = jlt_sim_storage_rate_w(storage, &world->held, net_w(&sides[0])) < 0.0;
  const bool rises = jlt_sim_storage_rate_w(storage, &world->held, net_w(&sides[1])) > 0.0;
  if (rises || falls) {
    const bool up = rises && falls ? world->came_up : rises;
    world->band = (uint32_t)world->edge + (up ? 1U : 0U);
  }
  return !rises && !falls;
}

// Stays at an edge for a whole step, in both bands by turns.
static stop_t rest(const jlt_sim_world_t *world, const powers_t *sides, const asked_t *asked, flows_t *flows,
                   double *elapsed_s) {
  const jlt_sim_storage_t *storage = &world->supply->storage;
  const double edge_v = world->supply->edge_v[world->edge];
  const double draw_w = sides[0].draw_w > sides[1].draw_w ? sides[0].draw_w : sides[1].draw_w;
  *elapsed_s = 0.0;
  if (asked->off_v >= 0.0 && edge_v <= brownout_at_v(asked->off_v, draw_w, storage->esr_ohm)) {
    return STOP_BROWNOUT;
  }
  if (edge_v >= asked->stop_above_v) {
    return STOP_REACHED;
  }
  const double gain_w = jlt_sim_storage_rate_w(storage, &world->held, net_w(&sides[0]));
  const double loss_w = jlt_sim_storage_rate_w(storage, &world->held, net_w(&sides[1]));
  const double above = gain_w > loss_w ? gain_w / (gain_w - loss_w) : 1.0;
  for (uint32_t side = 0; side < 2U; side++) {
    const double seconds = (side == 0 ? 1.0 - above : above) * asked->seconds;
    const jlt_sim_passed_t step = jlt_sim_storage_hold(storage, &world->held, net_w(&sides[side]), seconds);
    book(flows, &sides[side], &step);
  }
  *elapsed_s = asked->seconds;
  return STOP_TIME;
}

static stop_t feed(jlt_sim_world_t *world, const asked_t *asked, flows_t *flows, double *elapsed_s) {
  if (world->edge >= 0) {
    const uint32_t below = (uint32_t)world->edge;
    const double edge_v = world->supply->edge_v[below];
    const powers_t sides[2] = {powers_at(world, below, asked, edge_v), powers_at(world, below + 1U, asked, edge_v)};
    if (rests(world, sides)) {
      return rest(world, sides, asked, flows, elapsed_s);
    }
  }
  const powers_t powers = powers_at(world, world->band, asked, world->held.voltage_v);
  const limit_t low = lower_limit(world, &powers, asked);
  const limit_t high = upper_limit(world, &powers, asked);
  const jlt_sim_passed_t step = jlt_sim_storage_advance(&world->supply->storage, &world->held, net_w(&powers),
                                                        asked->seconds, low.at_v, high.at_v);
  book(flows, &powers, &step);
  const stop_t stop = !step.stopped ? STOP_TIME : step.below ? low.stop : high.stop;
  if (stop == STOP_EDGE) {
    world->edge = step.below ? (int32_t)world->band - 1 : (int32_t)world->band;
    world->came_up = !step.below;
  } else if (step.elapsed_s > 0.0) {
    world->edge = -1;
  }
  *elapsed_s = step.elapsed_s;
  return stop;
}

/// Steps strung together: as joulet.energy.supply.Supply ///

void jlt_sim_world_begin(jlt_sim_world_t *world, const jlt_sim_supply_t *supply) {
  memset(world, 0, sizeof *world);
  world->supply = supply;
  world->held = supply->start;
  world->edge = -1;
  while (world->band + 1U < supply->n_bands && supply->edge_v[world->band] <= supply->start.voltage_v) {
    world->band++;
  }
  world->powered = supply->start.voltage_v >= supply->on_v * SLACK;
}

static void post(jlt_sim_world_t *world, uint32_t account, double energy_j) {
  const double most_fj = 0x1p62;  // of one posting to the ledger
  double exact_fj = energy_j * 1e15 + world->carry_fj[account];
  for (; exact_fj > most_fj; exact_fj -= most_fj) {
    jlt_ledger_post_fj(&world->ledger, account, (uint64_t)most_fj);
  }
  if (exact_fj >= 1.0) {  // else too little, or rounded below zero: carried on
    const int64_t whole_fj = (int64_t)exact_fj;
    exact_fj -= (double)whole_fj;
    jlt_ledger_post_fj(&world->ledger, account, (uint64_t)whole_fj);
  }
  world->carry_fj[account] = exact_fj;
}

static void post_flows(jlt_sim_world_t *world, const flows_t *flows, uint32_t account) {
  world->delivered_j += flows->delivered_j + flows->unmet_j;
  post(world, JLT_ACCOUNT_HARVESTED, flows->harvested_j);
  // an empty store delivers nothing to the converter either
  post(world, JLT_ACCOUNT_CONVERSION,
       flows->harvested_j - flows->delivered_j - flows->unmet_j + flows->lost_j);
  post(world, JLT_ACCOUNT_LEAKAGE, flows->leaked_j);
  post(world, JLT_ACCOUNT_CLIPPED, flows->clipped_j);
  if (account < JLT_ACCOUNTS) {
    post(world, account, flows->loaded_j);
  }
  world->last_drawn_j = flows->loaded_j;
}

void jlt_sim_post(jlt_sim_world_t *world, uint32_t account, double energy_j) { post(world, account, energy_j); }

bool jlt_sim_advance(jlt_sim_world_t *world, double until_s, uint32_t load, uint32_t account, double stop_above_v) {
  asked_t asked = {.load = load, .stop_above_v = stop_above_v};
  asked.off_v = world->powered ? world->supply->brownout_v : NONE_V;
  flows_t flows = {0};
  stop_t stop = STOP_TIME;
  while (world->now_s < until_s && stop != STOP_REACHED && stop != STOP_BROWNOUT) {
    find_segment(world);
    double elapsed_s;
    double end_s = segment_end_s(world, &asked.dark);
    end_s = end_s < until_s ? end_s : until_s;
    asked.seconds = end_s - world->now_s;
    stop = feed(world, &asked, &flows, &elapsed_s);
    // the segment's own end, not a sum of steps: sums would drift
    world->now_s = stop == STOP_TIME ? end_s : world->now_s + elapsed_s;
  }
  post_flows(world, &flows, account);
  if (stop != STOP_BROWNOUT) {
    return true;
  }
  world->powered = false;
  world->brownouts++;
  world->outage_s = 0.0;
  return false;
}

void jlt_sim_wait_for_power(jlt_sim_world_t *world, double until_s) {
  const double start_s = world->now_s;
  (void)jlt_sim_advance(world, until_s, JLT_SIM_LOAD_OFF, JLT_ACCOUNTS, world->supply->on_v);
  const double passed_s = world->now_s - start_s;
  world->off_s += passed_s;
  world->outage_s += passed_s;
  world->longest_outage_s = world->outage_s > world->longest_outage_s ? world->outage_s : world->longest_outage_s;
  if (world->held.voltage_v >= world->supply->on_v * SLACK) {
    world->powered = true;
    world->outage_s = 0.0;
  }
}
