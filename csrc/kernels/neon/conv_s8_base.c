// SPDX-License-Identifier: Apache-2.0
// Convolution and fully connected with what every AArch64 core has: kernels/wide/conv_body.h.
#include "kernels/variants.h"

#if defined(JLT_WITH_NEON) && defined(__aarch64__)
#define JLT_NEON_HAS_DOT 0
#include "kernels/neon/lanes.h"
#include "kernels/neon/products.h"
#include "kernels/neon/tile_base.h"
#include "kernels/wide/conv_body.h"

void jlt_conv_s8_base__neon(const jlt_call_t *call) { jlt_wide_conv(call); }
#endif
