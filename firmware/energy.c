// SPDX-License-Identifier: Apache-2.0
#include "energy.h"

#include <string.h>

#include "board.h"
#include "clock.h"
#include "model.h"
#include "port.h"
#include "store.h"

enum { HALF_HOUR_S = 1800, DAY_S = 86400 };

static struct {
  const jlt_wire_session_t *plan;  // null: there has been no session
  jlt_ledger_t ledger;
  jlt_harvest_mean_t harvest;
  uint64_t began_us;
  uint64_t booked_us;  // time up to which energy has been booked
  int64_t stored_nj;   // when the session began
  uint64_t full_fj;    // of a full store, above brown-out
  uint32_t running_nw;
  uint32_t sleeping_nw;
} energy;

uint32_t jlt_energy_running_nw(void) { return energy.running_nw; }

uint64_t jlt_energy_full_fj(void) { return energy.full_fj; }

uint64_t jlt_energy_of_mv(uint32_t mv) { return energy.plan->capacity_nf * mv * (uint64_t)mv / 2u; }

uint64_t jlt_energy_usable_fj(void) {
  uint32_t mv;
  if (!jlt_store_read_mv(&mv)) {
    return energy.full_fj;
  }
  const uint64_t off_fj = jlt_energy_of_mv(energy.plan->off_mv);
  const uint64_t now_fj = jlt_energy_of_mv(mv);
  return now_fj > off_fj ? now_fj - off_fj : 0u;
}

static uint32_t top_level(void) { return (uint32_t)(jlt_loaded.governor.header->n_levels - 1u) << 16; }

uint32_t jlt_energy_level_q16(uint64_t usable_fj) {
  const uint32_t top = top_level();
  // a full store may hold more femtojoules than leave room for the product
  const uint64_t unit = energy.full_fj >> 32 ? energy.full_fj >> 20 : 1u;
  const uint64_t level = usable_fj / unit * top / (energy.full_fj / unit);
  return level < top ? (uint32_t)level : top;
}

uint64_t jlt_energy_of_level_fj(uint32_t level_q16) {
  const uint32_t top = top_level();
  return energy.full_fj / top * level_q16 + energy.full_fj % top * level_q16 / top;
}

uint64_t jlt_energy_book(uint32_t account) {
  const uint32_t power_nw = account == JLT_ACCOUNT_SLEEP ? energy.sleeping_nw : energy.running_nw;
  const uint64_t now = jlt_now_us();
  while (energy.booked_us < now) {
    const uint64_t left = now - energy.booked_us;
    const uint32_t piece = left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
    jlt_ledger_post_nw_us(&energy.ledger, account, power_nw, piece);
    energy.booked_us += piece;
  }
  return now;
}

static int64_t spent_nj(void) {
  uint64_t pj = 0;
  for (uint32_t account = JLT_ACCOUNT_COMPUTE; account < JLT_ACCOUNTS; account++) {
    pj += energy.ledger.pj[account];
  }
  return (int64_t)(pj / 1000u);
}

// What came in is what is stored now and was not, and what was spent.
static int64_t delivered_nj(uint64_t usable) {
  const int64_t delivered = (int64_t)(usable / 1000000u) - energy.stored_nj + spent_nj();
  const uint64_t harvested = delivered > 0 ? (uint64_t)delivered * 1000u : 0u;
  if (harvested > energy.ledger.pj[JLT_ACCOUNT_HARVESTED]) {
    energy.ledger.pj[JLT_ACCOUNT_HARVESTED] = harvested;
  }
  return delivered;
}

void jlt_energy_follow(uint64_t usable_fj, uint64_t now_us) {
  const int64_t delivered = delivered_nj(usable_fj);
  jlt_harvest_mean_take(&energy.harvest, &jlt_loaded.governor, now_us - energy.began_us, delivered, 0);
}

void jlt_energy_question(jlt_question_t *question, uint32_t energy_q16, uint64_t now_us) {
  *question = (jlt_question_t){
      .energy_q16 = energy_q16,
      .harvest_nw = energy.harvest.mean_nw,
      .slow_nw = energy.harvest.slow_nw,
      .half_hour = (uint8_t)(now_us / 1000000u % DAY_S / HALF_HOUR_S),
  };
}

void jlt_energy_ledger(jlt_wire_ledger_record_t *out) {
  int64_t stored_pj = 0;
  if (energy.plan) {
    const uint64_t usable = jlt_energy_usable_fj();
    (void)delivered_nj(usable);
    stored_pj = (int64_t)(usable / 1000u) - energy.stored_nj * 1000;
  }
  memcpy(out->pj, energy.ledger.pj, sizeof(out->pj));
  out->stored_delta_pj = (uint64_t)stored_pj;
  out->time_us = jlt_now_us();
}

static uint32_t scaled_nw(uint64_t nw, uint32_t dearness_q16) {
  const uint64_t scaled = (nw >> 8) * dearness_q16 >> 8;
  return scaled < UINT32_MAX ? (uint32_t)scaled : UINT32_MAX;
}

void jlt_energy_open(const jlt_wire_session_t *plan) {
  energy.plan = plan;
  jlt_ledger_clear(&energy.ledger);
  energy.harvest = (jlt_harvest_mean_t){0};
  energy.full_fj = jlt_energy_of_mv(plan->full_mv) - jlt_energy_of_mv(plan->off_mv);
  energy.running_nw =
      scaled_nw((uint64_t)jlt_board.clock_hz * plan->energy_fj_per_cycle / 1000000u, plan->dearness_q16);
  energy.sleeping_nw = scaled_nw((uint64_t)plan->sleep_nw << 8, plan->dearness_q16) >> 8;
  energy.stored_nj = (int64_t)(jlt_energy_usable_fj() / 1000000u);
  energy.began_us = energy.booked_us = jlt_power_on_us();
}
