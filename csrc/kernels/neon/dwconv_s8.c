// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution with NEON: kernels/wide/dwconv_body.h.
#include "kernels/variants.h"

#if defined(JLT_WITH_NEON) && defined(__aarch64__)
#define JLT_NEON_DOT 0
#include "kernels/neon/lanes.h"
#include "kernels/wide/dwconv_body.h"

void jlt_dwconv_s8__neon(const jlt_call_t *call) { jlt_wide_dwconv(call); }
#endif
