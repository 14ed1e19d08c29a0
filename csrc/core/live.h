// SPDX-License-Identifier: Apache-2.0
// Which tensors an inference still needs at a safe point: all that must be kept beside a jlt_engine_mark_t.
//
// Any exit may still be asked for, so the ops of every head that lie ahead count; answers of exits that lie behind do
// not. Constant tensors are in the container and never live.
#ifndef JLT_CORE_LIVE_H
#define JLT_CORE_LIVE_H

#include "joulet.h"

// Whether the content of a tensor is needed by `next_op`, of which `unit` units are done, or later. What is written of
// the output of `next_op` counts. Conservative where a head was skipped.
bool jlt_live_at(const jlt_container_t *container, uint16_t next_op, uint32_t unit, uint16_t tensor);

// Arena that the live tensors take at integer precisions [bytes]; what an output under way has of its inputs counts once.
uint32_t jlt_live_bytes(const jlt_container_t *container, uint16_t next_op, uint32_t unit);

#endif
