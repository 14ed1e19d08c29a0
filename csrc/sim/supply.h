// SPDX-License-Identifier: Apache-2.0
// The energy side of a simulated run: harvester, converter and store under a load; twin of runtime/energy/supply.py.
//
// Energies are those held by the store, counted from empty. Power is constant within a segment of the trace and a band
// of the converter, so the store advances in closed form from one to the next.
#ifndef JLT_SIM_SUPPLY_H
#define JLT_SIM_SUPPLY_H

#include "core/ledger.h"
#include "joulet.h"

enum { JLT_SIM_LOAD_OFF = 0, JLT_SIM_LOAD_SLEEP = 1, JLT_SIM_LOAD_RUN = 2, JLT_SIM_LOAD_SENSE = 3, JLT_SIM_LOADS = 4 };

typedef struct {
  uint32_t n_segments;
  const double *segment_s;  // (n_segments,) beginnings, rising, the first 0; power is 0 after `span_s`
  double span_s;
  const double *harvest_w;  // (n_segments,) before the converter
  uint32_t n_bands;         // 1 or more
  const double *band_j;     // (n_bands,) energy at which a band begins, rising, the first 0
  const double *output_w;   // (n_bands, n_segments) reaches the store
  const double *dark_w;     // (n_bands,) the same after the end of the trace
  const double *draw_w;     // (n_bands, JLT_SIM_LOADS) drawn from the store by each load
  double load_w[JLT_SIM_LOADS];  // reaches the load
  double full_j;
  double off_j;
  double on_j;
  double stop_j[JLT_SIM_LOADS];  // brown-out under each load: at or above off_j
  double tau_s;                  // leakage; infinity for none
  double charge_efficiency;      // of what goes into the store, 0..1
  double charge_limit_w;         // most that goes in; the rest is clipped
  double esr_ohm;
  double volt_square_per_j;  // capacitor: V^2 = volt_square_per_j * E; 0 for a battery
  double volt_empty;         // battery: V = volt_empty + volt_per_j * E
  double volt_per_j;
} jlt_sim_supply_t;

typedef struct {
  const jlt_sim_supply_t *supply;
  double now_s;
  double energy_j;
  double last_drawn_j;
  double delivered_j;
  double off_s;
  double outage_s;
  double longest_outage_s;
  uint32_t segment;
  uint32_t brownouts;
  bool powered;
  jlt_ledger_t ledger;
  double carry_fj[JLT_ACCOUNTS];
} jlt_sim_world_t;

void jlt_sim_world_begin(jlt_sim_world_t *world, const jlt_sim_supply_t *supply, double energy_j);

// Harvested power at this moment [W], before and after the converter.
double jlt_sim_harvest_w(jlt_sim_world_t *world);
double jlt_sim_output_w(jlt_sim_world_t *world);

double jlt_sim_voltage_v(const jlt_sim_supply_t *supply, double energy_j);

// Energy that can be drawn before brown-out under the running load.
double jlt_sim_usable_j(const jlt_sim_world_t *world);

// Goes on until a time, a brown-out or an energy (INFINITY for none); false after a brown-out. `account` may be
// JLT_ACCOUNTS: posted later by jlt_sim_post.
bool jlt_sim_advance(jlt_sim_world_t *world, double until_s, uint32_t load, uint32_t account, double stop_above_j);

// Stays off until power-good or a time.
void jlt_sim_wait_for_power(jlt_sim_world_t *world, double until_s);

void jlt_sim_post(jlt_sim_world_t *world, uint32_t account, double energy_j);

#endif
