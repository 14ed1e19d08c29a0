// SPDX-License-Identifier: Apache-2.0
#include "core/ledger.h"

#include <string.h>

void jlt_ledger_clear(jlt_ledger_t *ledger) { memset(ledger, 0, sizeof *ledger); }

void jlt_ledger_post_fj(jlt_ledger_t *ledger, uint32_t account, uint64_t energy_fj) {
  const uint64_t exact_fj = energy_fj + ledger->carry_fj[account];
  ledger->pj[account] += exact_fj / 1000U;
  ledger->carry_fj[account] = (uint16_t)(exact_fj % 1000U);
}

void jlt_ledger_post_nw_us(jlt_ledger_t *ledger, uint32_t account, uint32_t power_nw, uint32_t time_us) {
  jlt_ledger_post_fj(ledger, account, (uint64_t)power_nw * time_us);
}

int64_t jlt_ledger_residual_pj(const jlt_ledger_t *ledger, int64_t stored_delta_pj) {
  uint64_t spent_pj = 0;
  for (uint32_t account = JLT_ACCOUNT_HARVESTED + 1U; account < JLT_ACCOUNTS; account++) {
    spent_pj += ledger->pj[account];
  }
  return (int64_t)(ledger->pj[JLT_ACCOUNT_HARVESTED] - spent_pj - (uint64_t)stored_delta_pj);
}
