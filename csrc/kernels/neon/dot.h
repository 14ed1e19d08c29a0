// SPDX-License-Identifier: Apache-2.0
// The convolution with and without SDOT; which one runs is asked of the core at every call.
#ifndef JLT_KERNELS_NEON_DOT_H
#define JLT_KERNELS_NEON_DOT_H

#include "kernels/kernels.h"

void jlt_conv_s8_base__neon(const jlt_call_t *call);
void jlt_conv_s8_dot__neon(const jlt_call_t *call);

#endif
