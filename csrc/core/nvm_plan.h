// SPDX-License-Identifier: Apache-2.0
// What a container says about surviving power cuts on a board: the NVM section of a plan part; FORMAT.md §7.
#ifndef JLT_CORE_NVM_PLAN_H
#define JLT_CORE_NVM_PLAN_H

#include "joulet.h"

// Points into the container.
typedef struct {
  const jlt_nvm_plan_t *plan;
  const uint32_t *offsets;  // one a tensor, into a copy [bytes]; JLT_NO_OFFSET where nothing is kept
} jlt_nvm_plan_view_t;

// Finds the plan for a board by name; its strategy exists and its size is right, its offsets have not been looked at.
JLT_MUST_CHECK jlt_status_t jlt_nvm_plan_head(const jlt_container_t *c, const char *board, const jlt_nvm_plan_t **out);

// Finds and checks the plan for a board by name. `nvm_bytes` is the memory that there is for it. After JLT_OK every kept
// tensor lies inside total_bytes <= nvm_bytes, and running an interval again is safe. JLT_ERR_ABSENT: there is no such
// plan. Takes time in tensors times ops; its result stays valid as long as the container.
JLT_MUST_CHECK jlt_status_t jlt_nvm_plan_find(const jlt_container_t *c, const char *board, uint32_t nvm_bytes,
                                              jlt_nvm_plan_view_t *out);

#endif
