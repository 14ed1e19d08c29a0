// SPDX-License-Identifier: Apache-2.0
// An exit's head fitted again on the board, as the Refit record behind the session's plan says. PROTOCOL.md §8.1.
//
// What has been learned is kept in two places of non-volatile memory in turns, each valid by its checksum, which is
// written last: a power cut leaves the head before or the head after. On memory that is erased in pages it lives as
// long as power does.
#ifndef JLT_FIRMWARE_REFIT_H
#define JLT_FIRMWARE_REFIT_H

#include <stdbool.h>
#include <stdint.h>

#include "joulet.h"
#include "link/wire.h"

#if JLT_WITH_REFIT

// There is no model, for now.
void jlt_refit_drop(void);

// Bytes of memory, counted from `end` downwards, that a head of this container takes for itself; 0: none is to be
// fitted, or it cannot be. The engine has been opened before jlt_refit_attach.
uint32_t jlt_refit_claim(const jlt_container_t *container, uint8_t *end, uint32_t room);
void jlt_refit_attach(jlt_engine_t *engine);

// The Refit record in force; null: nothing is fitted.
const jlt_wire_refit_t *jlt_refit_plan(void);

// A new inference begins: what the last one left is not learned from any more.
void jlt_refit_forget(void);

// An event has its last answer: the label comes with the sample, from the last exit, or later over the link.
void jlt_refit_answered(const jlt_wire_event_record_t *event);

// Says what an event was. JLT_ERR_STATE: it is not the last one, or has not come by the exit, or has been learned from.
jlt_status_t jlt_refit_label(uint32_t event, uint16_t label);

// Whether features wait with their label; and what is done about it, some milliseconds of computing.
bool jlt_refit_due(void);
void jlt_refit_learn(void);

// RefitState and the head behind it.
uint32_t jlt_refit_state_bytes(void);
bool jlt_refit_read(uint32_t offset, uint8_t *to, uint32_t bytes);

#endif
#endif
