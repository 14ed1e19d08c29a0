// SPDX-License-Identifier: Apache-2.0
// Double-entry account of energy in whole picojoules; what is less than one is carried to the next posting.
#ifndef JLT_CORE_LEDGER_H
#define JLT_CORE_LEDGER_H

#include <stdint.h>

// In the order of joulet.records.ACCOUNTS, the harvest first.
enum {
  JLT_ACCOUNT_HARVESTED = 0,
  JLT_ACCOUNT_COMPUTE = 1,
  JLT_ACCOUNT_REDONE = 2,
  JLT_ACCOUNT_ABANDONED = 3,
  JLT_ACCOUNT_SLEEP = 4,
  JLT_ACCOUNT_SENSING = 5,
  JLT_ACCOUNT_POLICY = 6,
  JLT_ACCOUNT_CONVERSION = 7,
  JLT_ACCOUNT_LEAKAGE = 8,
  JLT_ACCOUNT_CLIPPED = 9,
  JLT_ACCOUNT_REFIT = 10,
  JLT_ACCOUNTS = 11,
};

// 2^64 pJ are 18 MJ: a 1 W source fills an account in seven months, a harvester in centuries.
typedef struct {
  uint64_t pj[JLT_ACCOUNTS];
  uint16_t carry_fj[JLT_ACCOUNTS];  // 0..999
} jlt_ledger_t;

void jlt_ledger_clear(jlt_ledger_t *ledger);

// Adds an energy [fJ], at most 2^64 - 1000.
void jlt_ledger_post_fj(jlt_ledger_t *ledger, uint32_t account, uint64_t energy_fj);

// Adds power over time: 1 nW for 1 us is 1 fJ.
void jlt_ledger_post_nw_us(jlt_ledger_t *ledger, uint32_t account, uint32_t power_nw, uint32_t time_us);

// What does not balance, with the change of the store measured on its own [pJ].
int64_t jlt_ledger_residual_pj(const jlt_ledger_t *ledger, int64_t stored_delta_pj);

#endif
