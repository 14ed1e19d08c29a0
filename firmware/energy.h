// SPDX-License-Identifier: Apache-2.0
// What a session knows of its energy: what is stored, by the store's voltage; what was spent, by time and the session's
// figures; what came in is the rest.
#ifndef JLT_FIRMWARE_ENERGY_H
#define JLT_FIRMWARE_ENERGY_H

#include "core/governor.h"
#include "core/ledger.h"
#include "link/wire.h"

// Accounts begin at power-up; the plan stays where it is.
void jlt_energy_open(const jlt_wire_session_t *plan);

uint32_t jlt_energy_running_nw(void);  // from the store while the core runs

// Above brown-out; a store that cannot be read counts as full.
uint64_t jlt_energy_usable_fj(void);
uint64_t jlt_energy_full_fj(void);
uint64_t jlt_energy_of_mv(uint32_t mv);  // of a store at this voltage, down to nothing [fJ]

// The table's levels, of which the last one is a full store.
uint32_t jlt_energy_level_q16(uint64_t usable_fj);
uint64_t jlt_energy_of_level_fj(uint32_t level_q16);

// Books what has been drawn since the last booking, asleep (JLT_ACCOUNT_SLEEP) or awake; returns the time [us].
uint64_t jlt_energy_book(uint32_t account);

// Takes what came in until now into the means of the harvest.
void jlt_energy_follow(uint64_t usable_fj, uint64_t now_us);

// What the energy side of a decision is asked about, at a given energy and at this time of day.
void jlt_energy_question(jlt_question_t *question, uint32_t energy_q16, uint64_t now_us);

void jlt_energy_ledger(jlt_wire_ledger_record_t *out);

#endif
