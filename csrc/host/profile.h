// SPDX-License-Identifier: Apache-2.0
// What each op of an inference takes. Host only.
#ifndef JLT_HOST_PROFILE_H
#define JLT_HOST_PROFILE_H

#include "joulet.h"

// Runs `repeats` inferences along `path` to `exit` on whatever the arena holds, and keeps each op's least time; 0 for ops
// that do not run. `least_ns` has one entry an op of the model.
JLT_MUST_CHECK jlt_status_t jlt_host_profile(jlt_engine_t *engine, uint16_t path, uint8_t exit, uint32_t repeats,
                                             uint64_t *least_ns);

#endif
