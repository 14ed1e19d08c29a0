// SPDX-License-Identifier: Apache-2.0
// Convolution and fully connected with SMMLA and SDOT: kernels/wide/conv_body.h.
#include "kernels/variants.h"

#if defined(JLT_WITH_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#include <string.h>

#include "kernels/neon/products.h"
#include "kernels/neon/target.h"
#include "kernels/wide/layout.h"

JLT_TARGET_BEGIN(JLT_TARGET_MM)
#define JLT_NEON_HAS_DOT 1
#include "kernels/neon/lanes.h"
#include "kernels/neon/tile_mm.h"
#include "kernels/wide/conv_body.h"

void jlt_conv_s8_mm__neon(const jlt_call_t *call) { jlt_wide_conv(call); }
JLT_TARGET_END
#endif
