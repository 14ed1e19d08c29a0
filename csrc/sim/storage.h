// SPDX-License-Identifier: Apache-2.0
// What holds the energy: a capacitor or a battery, advanced in closed form; twin of runtime/energy/capacitor.py and
// battery.py, in the same arithmetic and the same order.
#ifndef JLT_SIM_STORAGE_H
#define JLT_SIM_STORAGE_H

#include "joulet.h"

typedef struct {
  double capacitance_f;  // 0 for a battery
  double empty_v;        // of a battery, as the next
  double span_v;         // from empty to full
  double full_j;
  double tau_s;              // of leakage; infinity for none
  double esr_ohm;
  double charge_efficiency;  // stored over accepted, 0..1; 1 for a capacitor
  double charge_limit_w;     // accepted at most; infinity for none
} jlt_sim_storage_t;

// State: the energy held, counted from empty, and the voltage at it.
typedef struct {
  double energy_j;
  double voltage_v;
} jlt_sim_held_t;

// What happened while the store advanced.
typedef struct {
  double elapsed_s;
  double leaked_j;
  double clipped_j;
  double unmet_j;
  double lost_j;  // in charging
  bool stopped;
  bool below;     // by the lower stop
} jlt_sim_passed_t;

double jlt_sim_energy_at_j(const jlt_sim_storage_t *storage, double voltage_v);
double jlt_sim_voltage_at_v(const jlt_sim_storage_t *storage, double energy_j);

// Constant net power, at most `seconds`; stops at voltages: a negative one below and INFINITY above are none.
jlt_sim_passed_t jlt_sim_storage_advance(const jlt_sim_storage_t *storage, jlt_sim_held_t *held, double power_w,
                                         double seconds, double stop_below_v, double stop_above_v);

// How fast the energy held changes under a net power [W].
double jlt_sim_storage_rate_w(const jlt_sim_storage_t *storage, const jlt_sim_held_t *held, double power_w);

// What passes while the energy held stays as it is.
jlt_sim_passed_t jlt_sim_storage_hold(const jlt_sim_storage_t *storage, const jlt_sim_held_t *held, double power_w,
                                      double seconds);

#endif
