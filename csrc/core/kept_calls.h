// SPDX-License-Identifier: Apache-2.0
// Calls of ops that an engine has prepared once, where there is memory for them: which kernel runs an op and where its tensors and
// weights lie does not change from inference to inference, and to find it out takes as long as a small op.
#ifndef JLT_CORE_KEPT_CALLS_H
#define JLT_CORE_KEPT_CALLS_H

#include "core/call.h"

typedef struct jlt_kept_call {
  jlt_call_t call;
  jlt_kernel_t run;  // null: not prepared yet
  uint32_t units;    // of the op
} jlt_kept_call_t;

#if JLT_KEEPS_CALLS
// The call of an op along the engine's path, prepared where it was not; null for an engine that keeps none.
jlt_kept_call_t *jlt_kept_call(const jlt_engine_t *engine, uint16_t op);
#else
static inline jlt_kept_call_t *jlt_kept_call(const jlt_engine_t *engine, uint16_t op) {
  (void)engine;
  (void)op;
  return NULL;
}
#endif

#endif
