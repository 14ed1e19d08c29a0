// SPDX-License-Identifier: Apache-2.0
// A matrix times one vector with AVX2: kernels/wide/fc_body.h.
#include "kernels/variants.h"

#if defined(JLT_WITH_AVX2) && defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "kernels/wide/layout.h"
#include "kernels/wide/target.h"

JLT_TARGET_BEGIN("avx2")
#include "kernels/avx2/lanes.h"
#include "kernels/wide/fc_body.h"

void jlt_fc_s8__avx2(const jlt_call_t *call) { jlt_wide_fc(call); }
JLT_TARGET_END
#endif
