// SPDX-License-Identifier: Apache-2.0
// Sums and differences with NEON: kernels/wide/add_body.h.
#include "kernels/variants.h"

#if defined(JLT_WITH_NEON) && defined(__aarch64__)
#define JLT_NEON_HAS_DOT 0
#include "kernels/neon/lanes.h"
#include "kernels/wide/add_body.h"

void jlt_add_s8__neon(const jlt_call_t *call) { jlt_wide_add(call, false); }

void jlt_sub_s8__neon(const jlt_call_t *call) { jlt_wide_add(call, true); }
#endif
