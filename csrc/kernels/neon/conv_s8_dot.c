// SPDX-License-Identifier: Apache-2.0
// Convolution and fully connected with SDOT: kernels/wide/conv_body.h.
#include "kernels/variants.h"

#if defined(JLT_WITH_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#include <string.h>

#include "kernels/neon/dot.h"
#include "kernels/wide/layout.h"
#include "kernels/wide/target.h"

#if defined(__clang__)
JLT_TARGET_BEGIN("dotprod")
#else
JLT_TARGET_BEGIN("arch=armv8.2-a+dotprod")
#endif
#define JLT_NEON_DOT 1
#include "kernels/neon/lanes.h"
#include "kernels/wide/conv_body.h"

void jlt_conv_s8_dot__neon(const jlt_call_t *call) { jlt_wide_conv(call); }
JLT_TARGET_END
#endif
