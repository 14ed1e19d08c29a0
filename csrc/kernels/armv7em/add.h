// SPDX-License-Identifier: Apache-2.0
#ifndef JLT_KERNELS_ARMV7EM_ADD_H
#define JLT_KERNELS_ARMV7EM_ADD_H

#include "kernels/kernels.h"

// Whether a scale is exactly one half, that of the input with the larger grid.
static inline bool jlt_v7_halves(int32_t multiplier, int32_t shift) { return multiplier == 1 << 30 && shift == 0; }

#endif
