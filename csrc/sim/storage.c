// SPDX-License-Identifier: Apache-2.0
#include "sim/storage.h"

#include <math.h>

static double larger(double a, double b) { return a > b ? a : b; }
static double smaller(double a, double b) { return a < b ? a : b; }

static bool is_battery(const jlt_sim_storage_t *storage) { return storage->capacitance_f <= 0.0; }

static double energy_at_j(const jlt_sim_storage_t *storage, double voltage_v) {
  if (is_battery(storage)) {
    return larger(0.0, (voltage_v - storage->empty_v) / storage->span_v * storage->full_j);
  }
  return 0.5 * storage->capacitance_f * voltage_v * voltage_v;
}

static double voltage_at_v(const jlt_sim_storage_t *storage, double energy_j) {
  const double held_j = larger(energy_j, 0.0);
  return is_battery(storage) ? storage->empty_v + held_j / storage->full_j * storage->span_v
                             : sqrt(2.0 * held_j / storage->capacitance_f);
}

double jlt_sim_energy_at_j(const jlt_sim_storage_t *storage, double voltage_v) {
  return energy_at_j(storage, voltage_v);
}

double jlt_sim_voltage_at_v(const jlt_sim_storage_t *storage, double energy_j) {
  return voltage_at_v(storage, energy_j);
}

// The state of a capacitor is its voltage, that of a battery its energy.
static void set(const jlt_sim_storage_t *storage, jlt_sim_held_t *held, double energy_j) {
  held->voltage_v = voltage_at_v(storage, energy_j);
  held->energy_j = is_battery(storage) ? energy_j : energy_at_j(storage, held->voltage_v);
}

// Share of the way to balance that passes, negative: E(t) = E0 + (E0 - P tau) * decay.
static double decay(double seconds, double tau_s) { return expm1(-seconds / tau_s); }

static double leaked_j(double start_j, double power_w, double seconds, double tau_s, double decayed) {
  return isinf(tau_s) ? 0.0 : larger(0.0, power_w * seconds - (start_j - power_w * tau_s) * decayed);
}

// Time at which the curve, known to pass the limit, meets it; 0 where only rounding keeps it from being there.
static double reach_s(double start_j, double power_w, double limit_j, double tau_s) {
  if (isinf(tau_s)) {
    return power_w < 0.0 || power_w > 0.0 ? larger(0.0, (limit_j - start_j) / power_w) : 0.0;
  }
  const double away_j = start_j - power_w * tau_s;
  const double share = away_j < 0.0 || away_j > 0.0 ? (limit_j - start_j) / away_j : 0.0;
  return share > -1.0 ? larger(0.0, -tau_s * log1p(share)) : INFINITY;
}

// Of the accepted net power, what charges the store.
static double stored_w(const jlt_sim_storage_t *storage, double power_w) {
  return power_w > 0.0 ? storage->charge_efficiency * smaller(power_w, storage->charge_limit_w) : power_w;
}

// A step in which the store was neither full nor empty.
static jlt_sim_passed_t passed(const jlt_sim_storage_t *storage, double power_w, double seconds, double leak_j) {
  jlt_sim_passed_t step = {.elapsed_s = seconds, .leaked_j = leak_j};
  if (is_battery(storage)) {
    step.clipped_j = larger(0.0, power_w - storage->charge_limit_w) * seconds;
    step.lost_j =
        (1.0 - storage->charge_efficiency) * smaller(larger(power_w, 0.0), storage->charge_limit_w) * seconds;
  }
  return step;
}

// Prolongs a step by a time at which the store stays empty, or full.
static void stay(const jlt_sim_storage_t *storage, double energy_j, double power_w, double rest_s, bool empty,
                 jlt_sim_passed_t *step) {
  step->elapsed_s += rest_s;
  if (empty) {  // what the load still asks for is not there
    step->unmet_j = -power_w * rest_s;
    return;
  }
  const double held_w = energy_j / storage->tau_s;  // leakage is topped up, the rest is refused
  const double taken_w = held_w / storage->charge_efficiency;
  step->leaked_j += held_w * rest_s;
  step->lost_j += (taken_w - held_w) * rest_s;
  step->clipped_j += (power_w - taken_w) * rest_s;
}

jlt_sim_passed_t jlt_sim_storage_advance(const jlt_sim_storage_t *storage, jlt_sim_held_t *held, double power_w,
                                         double seconds, double stop_below_v, double stop_above_v) {
  const bool stops_below = stop_below_v >= 0.0;
  const bool stops_above = stop_above_v < INFINITY;
  const double start_j = held->energy_j;
  const double tau_s = storage->tau_s;
  const double low_j = stops_below ? energy_at_j(storage, stop_below_v) : 0.0;
  const double high_j =
      stops_above ? smaller(storage->full_j, energy_at_j(storage, stop_above_v)) : storage->full_j;
  // already at or beyond a stop: nothing passes
  if ((stops_below && start_j <= low_j) || (stops_above && start_j >= high_j)) {
    return (jlt_sim_passed_t){.stopped = true, .below = stops_below && start_j <= low_j};
  }
  const double net_w = stored_w(storage, power_w);
  const bool leaks = !isinf(tau_s);
  const double decayed = leaks ? decay(seconds, tau_s) : 0.0;
  const double end_j = leaks ? start_j + (start_j - net_w * tau_s) * decayed : start_j + net_w * seconds;
  const bool fell = end_j < low_j;
  if (!fell && !(end_j > high_j)) {
    set(storage, held, end_j);
    return passed(storage, power_w, seconds, leaked_j(start_j, net_w, seconds, tau_s, decayed));
  }
  const double limit_j = fell ? low_j : high_j;
  const double reached_s = smaller(seconds, reach_s(start_j, net_w, limit_j, tau_s));
  const double leak_j = leaked_j(start_j, net_w, reached_s, tau_s, leaks ? decay(reached_s, tau_s) : 0.0);
  set(storage, held, limit_j);
  jlt_sim_passed_t step = passed(storage, power_w, reached_s, leak_j);
  step.stopped = fell ? stops_below : stops_above;
  step.below = step.stopped && fell;
  if (!step.stopped) {
    stay(storage, limit_j, power_w, seconds - reached_s, fell, &step);
  }
  return step;
}

double jlt_sim_storage_rate_w(const jlt_sim_storage_t *storage, const jlt_sim_held_t *held, double power_w) {
  return stored_w(storage, power_w) - held->energy_j / storage->tau_s;
}

jlt_sim_passed_t jlt_sim_storage_hold(const jlt_sim_storage_t *storage, const jlt_sim_held_t *held, double power_w,
                                      double seconds) {
  return passed(storage, power_w, seconds, held->energy_j / storage->tau_s * seconds);
}
