// SPDX-License-Identifier: Apache-2.0
// How the engine calls a kernel; inside of csrc/core.
#ifndef JLT_CORE_CALL_H
#define JLT_CORE_CALL_H

#include "kernels/kernels.h"
#include "kernels/selection.h"

// The call of an op with its tensors where the arena has them, but for the units; returns the kernel that runs it.
jlt_kernel_t jlt_call_prepare(const jlt_engine_t *engine, const jlt_op_t *op, jlt_call_t *call);

// Runs the band group that begins with an op to its end, at integer precisions.
#if JLT_BANDS
void jlt_bands_run(const jlt_engine_t *engine, uint32_t first_op);
#else
static inline void jlt_bands_run(const jlt_engine_t *engine, uint32_t first_op) {
  (void)engine;
  (void)first_op;
}
#endif

#endif
