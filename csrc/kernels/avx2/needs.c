// SPDX-License-Identifier: Apache-2.0
#include "kernels/variants.h"

#ifdef JLT_WITH_AVX2
#define JLT_ISA avx2
#define JLT_TOGETHER 2
#define JLT_GROUP_BYTES 128
#define JLT_CONV_HAS_NIBBLES 1
#define JLT_HAS_FC 1
#include "kernels/wide/needs.h"
#endif
