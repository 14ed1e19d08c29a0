// SPDX-License-Identifier: Apache-2.0
// The autonomous loop: sense, ask the governor, step, account, sleep. Twin of runtime/session.py on a board.
#ifndef JLT_FIRMWARE_SESSION_H
#define JLT_FIRMWARE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

// Looks for sensors; the session starts if its slot says so.
void jlt_session_open(void);

// Starts from the SESSION slot, or stops; false when model, policy, samples or session are missing.
bool jlt_session_go(bool go);
bool jlt_session_running(void);

// Does one thing and returns when to look again: now, or a time [us]; UINT64_MAX when there is nothing left to do.
uint64_t jlt_session_step(void);

#endif
