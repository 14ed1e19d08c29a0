// SPDX-License-Identifier: Apache-2.0
// Average pooling with NEON: kernels/wide/avgpool_body.h.
#include "kernels/variants.h"

#if defined(JLT_WITH_NEON) && defined(__aarch64__)
#define JLT_NEON_HAS_DOT 0
#include "kernels/neon/lanes.h"
#include "kernels/wide/avgpool_body.h"

void jlt_avgpool_s8__neon(const jlt_call_t *call) { jlt_wide_avgpool(call); }
#endif
