// SPDX-License-Identifier: Apache-2.0
#include "surplus.h"

#include "clock.h"
#include "energy.h"
#include "model.h"

// Of the next sixteenth of a full store: a single fit takes too little for the table's steps.
static uint32_t price(jlt_question_t *question, uint64_t usable_fj) {
  question->energy_q16 = jlt_energy_level_q16(usable_fj);
  const uint32_t worth = jlt_governor_worth(&jlt_loaded.governor, question);
  question->energy_q16 = jlt_energy_level_q16(usable_fj - jlt_energy_full_fj() / 16u);
  return worth - jlt_governor_worth(&jlt_loaded.governor, question);
}

// The store is above the level that the plan names; or energy is worth no more to the policy than out of a full store, by
// a sixteenth: its price is at its floor.
bool jlt_in_surplus(const jlt_wire_session_t *session, const jlt_wire_refit_t *refit) {
  const uint64_t usable = jlt_energy_usable_fj();
  const uint64_t cost_fj = (uint64_t)refit->cycles * session->energy_fj_per_cycle / 65536u * session->dearness_q16;
  if (usable < 2u * cost_fj) {
    return false;
  }
  if (refit->surplus_mv > 0) {
    return usable + jlt_energy_of_mv(session->off_mv) >= jlt_energy_of_mv(refit->surplus_mv);
  }
  if (jlt_loaded.policy_status != JLT_OK || usable < jlt_energy_full_fj() / 16u) {
    return false;
  }
  jlt_question_t question;
  jlt_energy_question(&question, 0, jlt_now_us());
  const uint32_t least = price(&question, jlt_energy_full_fj());
  return price(&question, usable) <= least + least / 16u;
}
