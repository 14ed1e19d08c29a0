// SPDX-License-Identifier: Apache-2.0
// Optimal values over stored energy, by dynamic programming; for hosts, in floating point. DESIGN.md, "The optimum".
//
// Energy is counted from brown-out, in levels of a regular grid. Time is cut into slots that begin where events arrive;
// within a slot power is constant and an event that waits may be served at any moment. What arrives is known, what an
// exit will say is not: it is a Markov chain over confidence bins.
#ifndef JLT_SIM_OPTIMUM_H
#define JLT_SIM_OPTIMUM_H

#include "joulet.h"

enum {
  JLT_SIM_BINS_LIMIT = 16,
  JLT_SIM_NODES_LIMIT = 512,
  JLT_SIM_QUEUE_LIMIT = 8,
  JLT_SIM_BANDS_LIMIT = 16,
};

// Exits as a chain: nodes in rising order of depth, links from a node (-1: the start) to a deeper one.
typedef struct {
  uint32_t n_nodes;
  uint32_t n_bins;
  uint32_t n_links;
  const int16_t *links;     // (n_links, 2) from, to
  const double *link_j;     // (n_links,) energy of the step [J]
  const double *direct_s;   // (n_nodes,) time from the start to a node [s]
  const double *direct_j;   // (n_nodes,) energy from the start to a node [J]
  const float *transition;  // (n_links, n_bins, n_bins) P(bin at the end | bin at the beginning)
  const float *accuracy;    // (n_nodes, n_bins) P(correct)
} jlt_sim_chain_t;

// The store and what it feeds; energies are counted from brown-out.
typedef struct {
  double full_j;
  double off_j;    // held at brown-out
  double on_j;     // power-good
  double tau_s;    // leakage; infinity for none
  double sleep_w;  // drawn while powered
  uint32_t n_bands;
  const double *band_low_j;  // (n_bands,) lowest energy at which a band of the converter holds; the first is below all
} jlt_sim_store_t;

typedef struct {
  const jlt_sim_chain_t *chain;  // null: every event is right at the price of hit_j
  const jlt_sim_store_t *store;
  uint32_t n_levels;        // of the grid, 2 or more
  uint32_t queue;           // events that may wait
  bool interpolate;         // between levels after an inference; else its energy is rounded down to the grid
  double deadline_s;        // no inference may last longer [s]
  double initial_j;         // may be below brown-out
  double brownout_j;        // most that may be left at a brown-out; 0 or more
  double charge_efficiency; // stored over accepted
  bool powered;             // at the beginning
  uint32_t n_slots;
  const double *slot_s;     // (n_slots,) length [s]
  const double *power_w;    // (n_bands, n_slots) reaches the store [W]
  const double *charge;     // (n_slots,) share of what is gained, and of what an answer costs, that counts in a slot
  const uint8_t *arrives;   // (n_slots,) 1: an event arrives at the beginning of the slot
  const uint8_t *kept;      // (n_slots,) most events that can still wait at the end of the slot
  const double *hit_j;      // (n_slots,) cheapest right answer of the newest event [J]; only without a chain
} jlt_sim_bound_t;

// Bytes of scratch that jlt_sim_bound needs; 0 when a size is out of range.
uint64_t jlt_sim_bound_scratch_bytes(const jlt_sim_bound_t *bound);

// Writes the largest expected number of right answers to `value`. `scratch` is 16-byte aligned.
JLT_MUST_CHECK jlt_status_t jlt_sim_bound(const jlt_sim_bound_t *bound, void *scratch, double *value);

#endif
