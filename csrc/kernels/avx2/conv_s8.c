// SPDX-License-Identifier: Apache-2.0
// Convolution and fully connected with AVX2: kernels/wide/conv_body.h.
#include "kernels/variants.h"

#if defined(JLT_WITH_AVX2) && defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "kernels/wide/layout.h"
#include "kernels/wide/target.h"

JLT_TARGET_BEGIN("avx2")
#include "kernels/avx2/lanes.h"
#include "kernels/wide/tile_8.h"
#include "kernels/wide/conv_body.h"

void jlt_conv_s8__avx2(const jlt_call_t *call) { jlt_wide_conv(call); }
JLT_TARGET_END
#endif
