// SPDX-License-Identifier: Apache-2.0
#include "sim/supply.h"

#include <math.h>
#include <string.h>

#include "sim/grid.h"

typedef struct {
  double elapsed_s;
  double leaked_j;
  double clipped_j;
  double unmet_j;
  bool stopped;
} step_t;

void jlt_sim_world_begin(jlt_sim_world_t *world, const jlt_sim_supply_t *supply, double energy_j) {
  memset(world, 0, sizeof *world);
  world->supply = supply;
  world->energy_j = energy_j;
  world->powered = energy_j >= supply->on_j * (1.0 - 2e-9);
}

static void find_segment(jlt_sim_world_t *world) {
  const jlt_sim_supply_t *supply = world->supply;
  while (world->segment + 1U < supply->n_segments && supply->segment_s[world->segment + 1U] <= world->now_s) {
    world->segment++;
  }
}

static bool ended(const jlt_sim_world_t *world) { return world->now_s >= world->supply->span_s; }

static double segment_end_s(const jlt_sim_world_t *world) {
  const jlt_sim_supply_t *supply = world->supply;
  if (ended(world)) {
    return INFINITY;
  }
  return world->segment + 1U < supply->n_segments ? supply->segment_s[world->segment + 1U] : supply->span_s;
}

static double given_w(const jlt_sim_world_t *world, uint32_t band) {
  const jlt_sim_supply_t *supply = world->supply;
  return ended(world) ? supply->dark_w[band] : supply->output_w[(uint64_t)band * supply->n_segments + world->segment];
}

static uint32_t band_of(const jlt_sim_supply_t *supply, double energy_j) {
  uint32_t band = 0;
  while (band + 1U < supply->n_bands && energy_j >= supply->band_j[band + 1U]) {
    band++;
  }
  return band;
}

double jlt_sim_harvest_w(jlt_sim_world_t *world) {
  find_segment(world);
  return ended(world) ? 0.0 : world->supply->harvest_w[world->segment];
}

double jlt_sim_output_w(jlt_sim_world_t *world) {
  find_segment(world);
  return given_w(world, band_of(world->supply, world->energy_j));
}

double jlt_sim_voltage_v(const jlt_sim_supply_t *supply, double energy_j) {
  return supply->volt_square_per_j > 0.0 ? sqrt(supply->volt_square_per_j * energy_j)
                                         : supply->volt_empty + supply->volt_per_j * energy_j;
}

double jlt_sim_usable_j(const jlt_sim_world_t *world) {
  const double usable_j = world->energy_j - world->supply->stop_j[JLT_SIM_LOAD_RUN];
  return usable_j > 0.0 ? usable_j : 0.0;
}

void jlt_sim_post(jlt_sim_world_t *world, uint32_t account, double energy_j) {
  const double exact_fj = energy_j * 1e15 + world->carry_fj[account];
  const double whole_fj = floor(exact_fj);
  world->carry_fj[account] = exact_fj - whole_fj;
  jlt_ledger_post_fj(&world->ledger, account, whole_fj > 0.0 ? (uint64_t)whole_fj : 0U);
}

static double leaked_j(double start_j, double power_w, double tau_s, double seconds) {
  if (isinf(tau_s)) {
    return 0.0;
  }
  const double lost_j = power_w * seconds - (start_j - power_w * tau_s) * expm1(-seconds / tau_s);
  return lost_j > 0.0 ? lost_j : 0.0;
}

// Time at which the curve, known to pass the limit, meets it.
static double reach_s(double start_j, double power_w, double tau_s, double limit_j) {
  if (isinf(tau_s)) {
    return (limit_j - start_j) / power_w;
  }
  return -tau_s * log1p((limit_j - start_j) / (start_j - power_w * tau_s));
}

// As Capacitor.advance: constant net power, at most `seconds`, stops at energies (negative and INFINITY for none).
static step_t advance_store(jlt_sim_world_t *world, double power_w, double seconds, double below_j, double above_j) {
  const double full_j = world->supply->full_j;
  const double tau_s = world->supply->tau_s;
  const double start_j = world->energy_j;
  const double low_j = below_j < 0.0 ? 0.0 : below_j;
  const double high_j = above_j < full_j ? above_j : full_j;
  if ((below_j >= 0.0 && start_j <= low_j) || (above_j < INFINITY && start_j >= high_j)) {
    return (step_t){.stopped = true};
  }
  const double end_j = jlt_sim_relax(start_j, power_w, tau_s, seconds);
  if (end_j >= low_j && end_j <= high_j) {
    world->energy_j = end_j;
    return (step_t){.elapsed_s = seconds, .leaked_j = leaked_j(start_j, power_w, tau_s, seconds)};
  }
  const bool fell = end_j < low_j;
  const double limit_j = fell ? low_j : high_j;
  double reached_s = reach_s(start_j, power_w, tau_s, limit_j);
  reached_s = reached_s < seconds ? reached_s : seconds;
  const double lost_j = leaked_j(start_j, power_w, tau_s, reached_s);
  world->energy_j = limit_j;
  if (fell ? below_j >= 0.0 : above_j < INFINITY) {
    return (step_t){.elapsed_s = reached_s, .leaked_j = lost_j, .stopped = true};
  }
  const double rest_s = seconds - reached_s;
  if (fell) {  // empty: what the load still asks for is not there
    return (step_t){.elapsed_s = seconds, .leaked_j = lost_j, .unmet_j = -power_w * rest_s};
  }
  const double held_w = limit_j / tau_s;  // full: leakage is topped up, the rest is refused
  return (step_t){.elapsed_s = seconds, .leaked_j = lost_j + held_w * rest_s, .clipped_j = (power_w - held_w) * rest_s};
}

bool jlt_sim_advance(jlt_sim_world_t *world, double until_s, uint32_t load, uint32_t account, double stop_above_j) {
  const jlt_sim_supply_t *supply = world->supply;
  const double below_j = world->powered ? supply->stop_j[load] : -1.0;
  double harvested_j = 0.0;
  double delivered_j = 0.0;
  double unmet_j = 0.0;
  double lost_j = 0.0;
  double clipped_j = 0.0;
  double drawn_j = 0.0;
  bool stopped = false;
  while (world->now_s < until_s && !stopped) {
    const double harvest_w = jlt_sim_harvest_w(world);
    const uint32_t band = band_of(supply, world->energy_j);
    const double output_w = given_w(world, band);
    const double end_s = segment_end_s(world) < until_s ? segment_end_s(world) : until_s;
    const step_t step =
        advance_store(world, output_w - supply->load_w[load], end_s - world->now_s, below_j, stop_above_j);
    stopped = step.stopped;
    world->now_s = stopped ? world->now_s + step.elapsed_s : end_s;
    harvested_j += harvest_w * step.elapsed_s;
    delivered_j += output_w * step.elapsed_s;
    drawn_j += supply->load_w[load] * step.elapsed_s;
    lost_j += step.leaked_j;
    clipped_j += step.clipped_j;
    unmet_j += step.unmet_j;
  }
  world->delivered_j += delivered_j + unmet_j;
  jlt_sim_post(world, JLT_ACCOUNT_HARVESTED, harvested_j);
  jlt_sim_post(world, JLT_ACCOUNT_CONVERSION, harvested_j - delivered_j - unmet_j);
  jlt_sim_post(world, JLT_ACCOUNT_LEAKAGE, lost_j);
  jlt_sim_post(world, JLT_ACCOUNT_CLIPPED, clipped_j);
  if (account < JLT_ACCOUNTS) {
    jlt_sim_post(world, account, drawn_j);
  }
  world->last_drawn_j = drawn_j;
  if (stopped && world->powered && world->energy_j <= below_j * (1.0 + 2e-9)) {
    world->powered = false;
    world->brownouts++;
    world->outage_s = 0.0;
    return false;
  }
  return true;
}

void jlt_sim_wait_for_power(jlt_sim_world_t *world, double until_s) {
  const double start_s = world->now_s;
  (void)jlt_sim_advance(world, until_s, JLT_SIM_LOAD_OFF, JLT_ACCOUNTS, world->supply->on_j);
  const double passed_s = world->now_s - start_s;
  world->off_s += passed_s;
  world->outage_s += passed_s;
  world->longest_outage_s = world->outage_s > world->longest_outage_s ? world->outage_s : world->longest_outage_s;
  if (world->energy_j >= world->supply->on_j * (1.0 - 2e-9)) {
    world->powered = true;
    world->outage_s = 0.0;
  }
}
