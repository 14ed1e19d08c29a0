// SPDX-License-Identifier: Apache-2.0
#include "core/governor.h"

#include "core/crc32.h"

// Worth of an energy. 65535 * 65535 + (65535 << 8) < 2^32.
static inline uint32_t worth_at(const uint16_t *row, uint32_t top_q16, uint32_t energy_q16) {
  const uint32_t energy = energy_q16 < top_q16 ? energy_q16 : top_q16 - 1U;
  const uint16_t *at = row + (energy >> 16);
  return ((uint32_t)at[0] << 8) + (((uint32_t)(at[1] - at[0]) * (energy & 0xFFFFU)) >> 8);
}

static inline uint32_t less(uint32_t a, uint32_t b) { return a > b ? a - b : 0U; }

static const uint16_t *worth_row(const jlt_governor_t *governor, const jlt_question_t *question) {
  const jlt_policy_header_t *header = governor->header;
  uint32_t slow = 0;
  while (slow + 1U < header->n_slow && question->slow_nw >= governor->slow_nw[slow]) {
    slow++;
  }
  const uint32_t last = header->n_harvest - 1U;
  const uint32_t *borders = governor->harvest_nw + slow * last;
  uint32_t harvest = 0;
  while (harvest < last && question->harvest_nw >= borders[harvest]) {
    harvest++;
  }
  const uint32_t slot = (uint32_t)question->half_hour * header->n_slots / JLT_HALF_HOURS;
  return governor->worth + ((slot * header->n_slow + slow) * header->n_harvest + harvest) * header->n_levels;
}

static jlt_answer_t answer_of(const jlt_governor_t *governor, uint8_t action, const jlt_policy_option_t *option) {
  const jlt_policy_link_t *link = governor->links + (option->step & 0xFFU);
  return (jlt_answer_t){.action = action, .path = link->path, .exit = link->exit};
}

// Energy that the waiting event can count on by its deadline; at most what fills the store.
static uint32_t inflow_of(const jlt_governor_t *governor, const jlt_question_t *question, uint32_t top) {
  const uint64_t energy_fj = (uint64_t)question->harvest_nw * question->deadline_left_us >> 20;  // in units of 2^20
  const uint64_t inflow =
      energy_fj > UINT32_MAX ? top : (uint64_t)(uint32_t)energy_fj * governor->header->inflow_q32 >> 32;
  return inflow < top ? (uint32_t)inflow : top;
}

// An inference that waits until its energy is there is worth its gain times the patience of the queue; both sides are
// compared as if all of the inflow had come.
static jlt_answer_t start(const jlt_governor_t *governor, const jlt_question_t *question, const uint16_t *row) {
  const jlt_policy_header_t *header = governor->header;
  const uint32_t top = (uint32_t)(header->n_levels - 1U) << 16;
  const uint32_t inflow = inflow_of(governor, question, top);
  const uint32_t energy = question->energy_q16;
  const uint32_t later = energy + inflow;
  const uint32_t reach = later - (inflow >> 3);  // not all of what is only expected
  const uint32_t limit = question->deadline_left_us | 0xFFU;
  const jlt_policy_option_t *best = NULL;
  uint32_t most = worth_at(row, top, later);
  const jlt_policy_option_t *end = governor->options + governor->menus[1];
  for (const jlt_policy_option_t *option = governor->options + governor->menus[0]; option < end; option++) {
    uint32_t gain = option->gain;
    if (option->step > limit) {
      continue;
    }
    if (option->need_q16 > energy) {
      if (option->need_q16 > reach) {
        continue;
      }
      gain = (gain >> 8) * header->patience_q15 >> 7;
    }
    const uint32_t total = gain + worth_at(row, top, less(later, option->cost_q16));
    if (total > most) {
      most = total;
      best = option;
    }
  }
  if (best == NULL) {
    return (jlt_answer_t){.action = JLT_ANSWER_DEFER};
  }
  if (best->need_q16 <= energy) {
    return answer_of(governor, JLT_ANSWER_START, best);
  }
  return (jlt_answer_t){.action = JLT_ANSWER_DEFER, .wake_q16 = best->need_q16 + (best->need_q16 >> 5)};
}

static jlt_answer_t go_on(const jlt_governor_t *governor, const jlt_question_t *question, const uint16_t *row) {
  const jlt_policy_header_t *header = governor->header;
  const uint32_t node = governor->node_of[(uint32_t)question->path * header->n_exits + question->exit];
  if (node == JLT_POLICY_NO_NODE) {
    return (jlt_answer_t){.action = JLT_ANSWER_STOP};
  }
  const uint16_t *borders = governor->borders_q15 + node * (header->n_bins - 1U);
  uint32_t bin = 0;
  while (bin + 1U < header->n_bins && question->confidence_q15 >= borders[bin]) {
    bin++;
  }
  const uint32_t at = node * header->n_bins + bin;
  const uint32_t top = (uint32_t)(header->n_levels - 1U) << 16;
  const uint32_t energy = question->energy_q16;
  const uint32_t limit = question->deadline_left_us | 0xFFU;
  const jlt_policy_option_t *best = NULL;
  uint32_t most = governor->stop_gain[at] + worth_at(row, top, energy);
  const jlt_policy_option_t *end = governor->options + governor->menus[2U + at];
  for (const jlt_policy_option_t *option = governor->options + governor->menus[1U + at]; option < end; option++) {
    if (option->need_q16 > energy || option->step > limit) {
      continue;
    }
    const uint32_t total = option->gain + worth_at(row, top, less(energy, option->cost_q16));
    if (total > most) {
      most = total;
      best = option;
    }
  }
  return best == NULL ? (jlt_answer_t){.action = JLT_ANSWER_STOP} : answer_of(governor, JLT_ANSWER_CONTINUE, best);
}

uint32_t jlt_governor_worth(const jlt_governor_t *governor, const jlt_question_t *question) {
  const uint32_t top = (uint32_t)(governor->header->n_levels - 1U) << 16;
  return worth_at(worth_row(governor, question), top, question->energy_q16);
}

jlt_answer_t jlt_governor_decide(const jlt_governor_t *governor, const jlt_question_t *question) {
  const uint16_t *row = worth_row(governor, question);
  return question->at_exit ? go_on(governor, question, row) : start(governor, question, row);
}

// A window that lasted longer weighs more, up to all.
static uint32_t moved(uint32_t mean_nw, uint32_t fresh_nw, uint64_t windows, uint32_t shift) {
  const int64_t weight = windows < (1U << shift) ? (int64_t)windows : (int64_t)(1U << shift);
  return (uint32_t)(mean_nw + ((int64_t)fresh_nw - mean_nw) * weight / (1 << shift));
}

void jlt_harvest_mean_take(jlt_harvest_mean_t *mean, const jlt_governor_t *governor, uint64_t time_us,
                           int64_t delivered_nj, uint32_t now_nw) {
  const jlt_policy_header_t *header = governor->header;
  if (!mean->begun) {
    mean->begun = true;
    mean->time_us = time_us;
    mean->delivered_nj = delivered_nj;
  }
  const uint64_t passed_us = time_us - mean->time_us;
  if (passed_us >= header->window_us && passed_us > 0U) {
    // 2^63 nJ are 9 GJ: times 1e6 it stays in range for 9 kJ a window
    const int64_t power_nw = (delivered_nj - mean->delivered_nj) * 1000000 / (int64_t)passed_us;
    const uint32_t fresh_nw = power_nw < 0 ? 0U : power_nw > INT32_MAX ? INT32_MAX : (uint32_t)power_nw;
    const uint64_t windows = header->window_us > 0U ? passed_us / header->window_us : UINT32_MAX;
    mean->mean_nw = mean->warm ? moved(mean->mean_nw, fresh_nw, windows, header->mean_shift) : fresh_nw;
    mean->slow_nw = mean->warm ? moved(mean->slow_nw, fresh_nw, windows, header->slow_shift) : fresh_nw;
    mean->warm = true;
    mean->time_us = time_us;
    mean->delivered_nj = delivered_nj;
  }
  if (!mean->warm) {
    mean->mean_nw = now_nw;
    mean->slow_nw = now_nw;
  }
}

/// Check ///

typedef struct {
  const uint8_t *base;
  uint64_t at;
} reader_t;

static const void *take(reader_t *reader, uint64_t count, uint64_t bytes_each) {
  const void *here = reader->base + reader->at;
  reader->at += (count * bytes_each + 3U) & ~(uint64_t)3U;
  return here;
}

static bool rises(const uint16_t *row, uint32_t n) {
  for (uint32_t i = 1; i < n; i++) {
    if (row[i] < row[i - 1U]) {
      return false;
    }
  }
  return true;
}

static bool counts_fit(const jlt_policy_header_t *h, uint32_t bytes) {
  return h->magic == JLT_POLICY_MAGIC && h->version == JLT_POLICY_VERSION &&
         h->header_bytes == JLT_POLICY_HEADER_BYTES && h->bytes == bytes && h->n_levels >= 2 && h->n_slots >= 1 &&
         JLT_HALF_HOURS % h->n_slots == 0 && h->n_harvest >= 1 && h->n_bins >= 1 && h->n_paths >= 1 &&
         h->n_exits >= 1 && h->gain_q <= 23 && h->n_slow >= 1 && h->mean_shift <= 15 && h->slow_shift <= 15;
}

// From an exit, every plan leads to a deeper one.
static bool leads_on(const jlt_governor_t *g) {
  const jlt_policy_header_t *h = g->header;
  for (uint32_t i = 0; i < (uint32_t)h->n_paths * h->n_exits; i++) {
    const uint32_t node = g->node_of[i];
    if (node == JLT_POLICY_NO_NODE) {
      continue;
    }
    if (node >= h->n_nodes) {
      return false;
    }
    const uint16_t *menu = g->menus + 1U + node * h->n_bins;
    for (uint32_t option = menu[0]; option < menu[h->n_bins]; option++) {
      if (g->links[g->options[option].step & 0xFFU].exit <= i % h->n_exits) {
        return false;
      }
    }
  }
  return true;
}

static bool contents_fit(const jlt_governor_t *g) {
  const jlt_policy_header_t *h = g->header;
  const uint32_t n_states = (uint32_t)h->n_nodes * h->n_bins;
  for (uint32_t i = 0; i < h->n_links; i++) {
    if (g->links[i].path >= h->n_paths || g->links[i].exit >= h->n_exits) {
      return false;
    }
  }
  for (uint32_t i = 0; i < h->n_options; i++) {
    // a gain is at most one right answer, so that a gain and a worth stay in 32 bits
    if ((g->options[i].step & 0xFFU) >= h->n_links || g->options[i].gain > (1U << h->gain_q)) {
      return false;
    }
  }
  for (uint32_t i = 0; i < n_states; i++) {
    if (g->stop_gain[i] > (1U << h->gain_q)) {
      return false;
    }
  }
  for (uint32_t row = 0; row < (uint32_t)h->n_slots * h->n_slow * h->n_harvest; row++) {
    if (!rises(g->worth + row * h->n_levels, h->n_levels)) {
      return false;
    }
  }
  return rises(g->menus, n_states + 2U) && g->menus[n_states + 1U] <= h->n_options && leads_on(g);
}

jlt_status_t jlt_governor_check(const void *base, uint32_t bytes, jlt_governor_t *out) {
  if (base == NULL || out == NULL) {
    return JLT_ERR_ARGUMENT;
  }
  if (((uintptr_t)base & 3U) != 0) {
    return JLT_ERR_ALIGNMENT;
  }
  const jlt_policy_header_t *h = base;
  if (bytes < JLT_POLICY_HEADER_BYTES) {
    return JLT_ERR_TRUNCATED;
  }
  if (!counts_fit(h, bytes)) {
    return JLT_ERR_POLICY;
  }
  reader_t reader = {.base = base, .at = JLT_POLICY_HEADER_BYTES};
  const uint64_t n_states = (uint64_t)h->n_nodes * h->n_bins;
  jlt_governor_t governor = {.header = h};
  governor.slow_nw = take(&reader, h->n_slow - 1U, 4);
  governor.harvest_nw = take(&reader, (uint64_t)h->n_slow * (h->n_harvest - 1U), 4);
  governor.links = take(&reader, h->n_links, sizeof(jlt_policy_link_t));
  governor.options = take(&reader, h->n_options, sizeof(jlt_policy_option_t));
  governor.stop_gain = take(&reader, n_states, 4);
  governor.menus = take(&reader, n_states + 2U, 2);
  governor.borders_q15 = take(&reader, (uint64_t)h->n_nodes * (h->n_bins - 1U), 2);
  governor.worth = take(&reader, (uint64_t)h->n_slots * h->n_slow * h->n_harvest * h->n_levels, 2);
  governor.node_of = take(&reader, (uint64_t)h->n_paths * h->n_exits, 1);
  if (reader.at != bytes) {
    return JLT_ERR_POLICY;
  }
  if (jlt_crc32(0, (const uint8_t *)base + JLT_POLICY_HEADER_BYTES, bytes - JLT_POLICY_HEADER_BYTES) != h->crc32) {
    return JLT_ERR_CRC;
  }
  if (!contents_fit(&governor)) {
    return JLT_ERR_POLICY;
  }
  *out = governor;
  return JLT_OK;
}
