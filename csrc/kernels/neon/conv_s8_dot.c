// SPDX-License-Identifier: Apache-2.0
// Convolution and fully connected with SDOT: kernels/wide/conv_body.h.
#include "kernels/variants.h"

#if defined(JLT_WITH_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#include <string.h>

#include "kernels/neon/products.h"
#include "kernels/neon/target.h"
#include "kernels/wide/layout.h"

JLT_TARGET_BEGIN(JLT_TARGET_DOT)
#define JLT_NEON_HAS_DOT 1
#include "kernels/neon/lanes.h"
#include "kernels/neon/tile_dot.h"

static JLT_ALWAYS_INLINE void jlt_tile_8(const jlt_walk_t *walk, const uint8_t *x, const uint8_t *w, const uint32_t pixels,
                                         const uint32_t blocks, const jlt_sums_t *start, jlt_sums_t *acc) {
  jlt_tile_dot(walk, x, w, pixels, blocks, start, acc);
}

#include "kernels/wide/conv_body.h"

void jlt_conv_s8_dot__neon(const jlt_call_t *call) { jlt_wide_conv(call); }
JLT_TARGET_END
#endif
