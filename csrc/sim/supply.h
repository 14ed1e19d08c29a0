// SPDX-License-Identifier: Apache-2.0
// The energy side of a simulated run: harvester, converter and store under a load; twin of runtime/energy/supply.py and
// feed.py, in the same arithmetic and the same order.
//
// Power is constant within a segment of the trace and a band of the converter, so the store advances in closed form from
// one to the next. Between bands lie edges; feed.py says what happens at one, esr.py what series resistance does.
#ifndef JLT_SIM_SUPPLY_H
#define JLT_SIM_SUPPLY_H

#include "core/ledger.h"
#include "joulet.h"
#include "sim/storage.h"

enum {
  JLT_SIM_LOAD_OFF = 0,
  JLT_SIM_LOAD_SLEEP = 1,
  JLT_SIM_LOAD_RUN = 2,
  JLT_SIM_LOAD_SENSE = 3,
  JLT_SIM_LOAD_READ = 4,
  JLT_SIM_LOADS = 5,
};

typedef struct {
  jlt_sim_storage_t storage;
  jlt_sim_held_t start;     // at the beginning of a run
  uint32_t n_segments;
  const double *segment_s;  // (n_segments,) beginnings, rising, the first 0; power is 0 after `span_s`
  double span_s;
  const double *harvest_w;  // (n_segments,) before the converter
  uint32_t n_bands;         // 1 or more
  const double *edge_v;     // (n_bands - 1,) rising; an edge is in the band above
  const double *output_w;   // (n_bands, n_segments) reaches the store
  const double *dark_w;     // (n_bands,) the same after the end of the trace
  const double *draw_w;     // (n_bands, JLT_SIM_LOADS) drawn from the store by each load
  double load_w[JLT_SIM_LOADS];  // reaches the load
  double step_low;          // factors on the voltage at which a step under series resistance ends
  double step_high;
  double brownout_v;        // of the terminal
  double on_v;              // power-good
  double full_v;
  double off_j;             // held where a running board may brown out: usable energy counts from here
} jlt_sim_supply_t;

typedef struct {
  const jlt_sim_supply_t *supply;
  double now_s;
  jlt_sim_held_t held;
  double last_drawn_j;
  double delivered_j;
  double off_s;
  double outage_s;
  double longest_outage_s;
  uint32_t segment;
  uint32_t brownouts;
  uint32_t band;
  int32_t edge;   // at which the store stands; -1 between edges
  bool came_up;   // to that edge from below
  bool powered;
  jlt_ledger_t ledger;
  double carry_fj[JLT_ACCOUNTS];
} jlt_sim_world_t;

void jlt_sim_world_begin(jlt_sim_world_t *world, const jlt_sim_supply_t *supply);

// Power that reaches the store at this moment [W].
double jlt_sim_output_w(jlt_sim_world_t *world);

// Energy that can be drawn before a running board may brown out.
double jlt_sim_usable_j(const jlt_sim_world_t *world);

// Goes on until a time, a brown-out or a voltage (INFINITY for none); false after a brown-out. `account` may be
// JLT_ACCOUNTS: posted later by jlt_sim_post.
bool jlt_sim_advance(jlt_sim_world_t *world, double until_s, uint32_t load, uint32_t account, double stop_above_v);

// Stays off until power-good or a time.
void jlt_sim_wait_for_power(jlt_sim_world_t *world, double until_s);

void jlt_sim_post(jlt_sim_world_t *world, uint32_t account, double energy_j);

#endif
