// SPDX-License-Identifier: Apache-2.0
// Sums and differences with AVX2: kernels/wide/add_body.h.
#include "kernels/variants.h"

#if defined(JLT_WITH_AVX2) && defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "kernels/wide/layout.h"
#include "kernels/wide/target.h"

JLT_TARGET_BEGIN("avx2")
#include "kernels/avx2/lanes.h"
#include "kernels/wide/add_body.h"

void jlt_add_s8__avx2(const jlt_call_t *call) { jlt_wide_add(call, false); }

void jlt_sub_s8__avx2(const jlt_call_t *call) { jlt_wide_add(call, true); }
JLT_TARGET_END
#endif
