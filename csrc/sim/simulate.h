// SPDX-License-Identifier: Apache-2.0
// The control loop over cached outcomes, for hosts: twin of runtime/session.py, a million decisions a second.
#ifndef JLT_SIM_SIMULATE_H
#define JLT_SIM_SIMULATE_H

#include "core/governor.h"
#include "joulet.h"
#include "sim/learn.h"
#include "sim/supply.h"

enum { JLT_SIM_EXITS_LIMIT = 16, JLT_SIM_WAITING_LIMIT = 64 };

// As joulet.records.Status.
enum {
  JLT_SIM_PENDING = 0,
  JLT_SIM_ON_TIME = 1,
  JLT_SIM_LATE = 2,
  JLT_SIM_MISSED = 3,
  JLT_SIM_DROPPED = 4,
  JLT_SIM_EXPIRED = 5,
  JLT_SIM_LOST = 6,
};

// As joulet.records.Action.
enum { JLT_SIM_OFF = 0, JLT_SIM_DEFER = 1, JLT_SIM_START = 2, JLT_SIM_CONTINUE = 3, JLT_SIM_STOP = 4 };

typedef struct {
  double time_s;
  double store_voltage_v;
  double usable_j;
  double full_j;
  double harvest_w;
  double deadline_left_s;
  double spent_j;
  double delivered_j;
  double energy_ratio;  // of a reading: drawn over foretold; NaN without one
  int32_t slot;
  int32_t backlog;
  int32_t path;  // -1 before a start, as the next two
  int32_t exit;
  int32_t confidence_q15;
  int32_t event;
  int32_t readings;  // that found something to say so far
} jlt_sim_observation_t;

typedef struct {
  int32_t action;
  int32_t path;   // -1: the same
  int32_t exit;   // -1: the next
  int32_t read;   // 1: also read the energy counter
  double wake_j;  // negative: none
} jlt_sim_decision_t;

// Fills the decision; nonzero stops the run.
typedef int32_t (*jlt_sim_decide_t)(void *handle, const jlt_sim_observation_t *observation,
                                    jlt_sim_decision_t *decision);

// What the model costs and says.
typedef struct {
  uint32_t n_paths;
  uint32_t n_exits;
  uint32_t n_nodes;
  const int16_t *node_of;   // (n_paths, n_exits)
  const double *cycles;     // (n_paths, n_exits + 1, n_exits) from exit k - 1 to exit j; 0 where j < k
  const double *macs;       // the same shape
  const double *bit_macs;   // the same shape
  uint32_t n_samples;       // 0: outcomes are drawn from the chain
  const uint16_t *confidence_q15;  // (n_nodes, n_samples), or (n_nodes, n_bins)
  const uint8_t *correct;          // (n_nodes, n_samples)
  uint32_t n_bins;
  const int16_t *link_of;   // (n_nodes + 1, n_nodes) index of the link from node i - 1; -1 where there is none
  const float *transition;  // (n_links, n_bins, n_bins)
  const float *accuracy;    // (n_nodes, n_bins)
  uint64_t seed;            // of the draws
} jlt_sim_model_t;

// What happens, when, and what is asked of an answer.
typedef struct {
  uint32_t n_events;
  const double *event_s;    // (n_events,) not falling
  const uint32_t *sample;   // (n_events,) null when outcomes are drawn
  double duration_s;
  double deadline_s;
  uint32_t queue;
  bool guard;
  double sensing_s;      // taking one sample; 0 for none
  double reading_s;      // reading the energy counter; 0 where that costs nothing
  double clock_start_s;  // time of day at the beginning
  double clock_hz;
  double wake_cycles;
  double decision_cycles;
  double run_w;          // of the running board, by the cost table
  double cycle_j;        // energy taken from the store for one cycle, at worst
  double decision_j;     // the same for a question
  double retry_j;        // what asking again costs after a start was held
} jlt_sim_events_t;

// Who decides: a governor's tables, or a function. With two folds, day (or block) number n belongs to fold n % 2.
typedef struct {
  jlt_sim_decide_t decide;    // null: governors
  void *handle;
  const jlt_governor_t *governor[2];
  double fold_s;              // length of a block; 0: all is fold 0
  const jlt_sim_learning_t *learning;  // of an exit's head; null: none learns. By price only where governors decide
} jlt_sim_policy_t;

typedef struct {
  uint8_t *status;     // (n_events,)
  int8_t *path;        // (n_events,) -1 without an answer
  int8_t *exit;        // (n_events,)
  float *value;        // (n_events,) 1 right, 0 wrong, or the accuracy of the bin when outcomes are drawn
  float *latency_s;    // (n_events,) of answered events
  float *stored_j;     // (n_events,) held when the event arrived
  uint16_t *confidence_q15;  // (n_events,) of the last answer
  double macs;
  double bit_macs;
  uint64_t decisions;
  uint32_t cut;
  jlt_sim_learner_t learner;
  jlt_sim_world_t world;
  int32_t bad_event;   // of a decision that breaks the contract; -1 without
  jlt_sim_decision_t bad;
} jlt_sim_result_t;

// Runs all events, from where the supply starts. JLT_ERR_ARGUMENT: a decision broke the contract (see bad_event) or the
// policy stopped the run.
JLT_MUST_CHECK jlt_status_t jlt_sim_run(const jlt_sim_supply_t *supply, const jlt_sim_model_t *model,
                                        const jlt_sim_events_t *events, const jlt_sim_policy_t *policy,
                                        jlt_sim_result_t *result);

#endif
