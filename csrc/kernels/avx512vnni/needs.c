// SPDX-License-Identifier: Apache-2.0
#include "kernels/variants.h"

#ifdef JLT_WITH_AVX512VNNI
#define JLT_ISA avx512vnni
#define JLT_TOGETHER 4
#include "kernels/wide/needs.h"
#include "kernels/wide/needs_dwconv.h"
#endif
