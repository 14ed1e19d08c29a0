// SPDX-License-Identifier: Apache-2.0
// A policy as const tables: what the stored energy is worth, and menus of plans to spend it on. Integers only.
//
// Every decision takes the plan that maximises its expected right answers plus the worth of the energy left, so each
// joule is paid at its price J(E) - J(E - c). csrc/POLICY.md; twin of policies/shadow.py.
//
// Energy is in levels of the value table, q16: a full store is (n_levels - 1) << 16. Worth and gain are in right answers,
// times 2^gain_q; 32 bits.
#ifndef JLT_CORE_GOVERNOR_H
#define JLT_CORE_GOVERNOR_H

#include "joulet.h"

enum {
  JLT_POLICY_MAGIC = 0x50544C4A,  // "JLTP"
  JLT_POLICY_VERSION = 1,
  JLT_POLICY_HEADER_BYTES = 64,
  JLT_POLICY_BYTES_LIMIT = 8192,
  JLT_POLICY_NO_NODE = 255,
  JLT_HALF_HOURS = 48,
};

// The header of a policy table, little-endian; the arrays follow in the order of jlt_governor_t, each 4-byte aligned.
typedef struct {
  uint32_t magic;
  uint16_t version;
  uint16_t header_bytes;
  uint32_t bytes;    // all of it
  uint32_t crc32;    // of what follows the header
  uint8_t model_hash[16];  // first half of the container's
  uint8_t n_levels;  // of energy, 2 or more
  uint8_t n_slots;   // of the day, dividing 48
  uint8_t n_harvest;  // levels of the quick mean
  uint8_t n_nodes;
  uint8_t n_bins;
  uint8_t n_links;
  uint8_t n_paths;
  uint8_t n_exits;
  uint16_t n_options;
  uint8_t gain_q;
  uint8_t mean_shift;       // of the quick mean of harvest: each new window weighs 2^-mean_shift
  uint32_t window_us;       // shortest window of harvest
  uint32_t inflow_q32;      // levels q16 that 2^20 fJ bring, times 2^32
  uint16_t patience_q15;    // P(an event that waits is not pushed out)
  uint8_t n_slow;           // levels of the slow mean, 1 or more
  uint8_t slow_shift;
  uint32_t reserved_words[2];
} jlt_policy_header_t;

_Static_assert(sizeof(jlt_policy_header_t) == JLT_POLICY_HEADER_BYTES, "no padding");

// Where a step leads.
typedef struct {
  uint8_t path;
  uint8_t exit;
} jlt_policy_link_t;

// A plan: what it comes to, and its first step.
typedef struct {
  uint32_t gain;      // expected right answers
  uint32_t cost_q16;  // expected energy, all steps
  uint32_t need_q16;  // energy of the first step
  uint32_t step;      // its time in units of 256 us, rounded up, times 256, plus the index of its link
} jlt_policy_option_t;

typedef struct {
  const jlt_policy_header_t *header;
  const uint32_t *slow_nw;            // (n_slow - 1,) borders of the slow mean, rising
  const uint32_t *harvest_nw;         // (n_slow, n_harvest - 1) borders of the quick mean, rising
  const jlt_policy_link_t *links;     // (n_links,)
  const jlt_policy_option_t *options; // (n_options,)
  const uint32_t *stop_gain;          // (n_nodes, n_bins) of the answer at hand
  const uint16_t *menus;              // (1 + n_nodes * n_bins + 1,) first option of the start's menu, then of each bin's
  const uint16_t *borders_q15;        // (n_nodes, n_bins - 1) not falling
  const uint16_t *worth;              // (n_slots, n_slow, n_harvest, n_levels) not falling along levels
  const uint8_t *node_of;             // (n_paths, n_exits)
} jlt_governor_t;

// Checks a table once; `base` is 4-byte aligned and stays where it is.
JLT_MUST_CHECK jlt_status_t jlt_governor_check(const void *base, uint32_t bytes, jlt_governor_t *out);

// Means of the power that reaches the store, kept between decisions; all zero at the beginning.
typedef struct {
  int64_t delivered_nj;
  uint64_t time_us;
  uint32_t mean_nw;
  uint32_t slow_nw;
  bool begun;
  bool warm;  // a window has passed
} jlt_harvest_mean_t;

// Takes in the energy delivered since the beginning; `now_nw` stands in until the first window has passed.
void jlt_harvest_mean_take(jlt_harvest_mean_t *mean, const jlt_governor_t *governor, uint64_t time_us,
                           int64_t delivered_nj, uint32_t now_nw);

typedef struct {
  uint32_t energy_q16;        // usable, in levels
  uint32_t harvest_nw;        // quick mean of the power that reaches the store
  uint32_t slow_nw;           // slow mean
  uint32_t deadline_left_us;  // 0 when it has passed
  uint16_t confidence_q15;
  uint8_t half_hour;          // of the day, 0..47
  uint8_t path;
  uint8_t exit;
  bool at_exit;
} jlt_question_t;

enum { JLT_ANSWER_DEFER = 1, JLT_ANSWER_START = 2, JLT_ANSWER_CONTINUE = 3, JLT_ANSWER_STOP = 4 };

typedef struct {
  uint8_t action;
  uint8_t path;
  uint8_t exit;
  uint32_t wake_q16;  // DEFER: ask again with this energy; 0: at the caller's own pace
} jlt_answer_t;

// Worth of the usable energy, in right answers times 2^gain_q; spending c costs worth(E) - worth(E - c).
uint32_t jlt_governor_worth(const jlt_governor_t *governor, const jlt_question_t *question);

// Pure: the same question gets the same answer.
jlt_answer_t jlt_governor_decide(const jlt_governor_t *governor, const jlt_question_t *question);

#endif
