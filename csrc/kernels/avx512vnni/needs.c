// SPDX-License-Identifier: Apache-2.0
#include "kernels/variants.h"

#ifdef JLT_WITH_AVX512VNNI
#define JLT_ISA avx512vnni
#define JLT_TOGETHER 4
#define JLT_GROUP_BYTES 64
#define JLT_CONV_HAS_NIBBLES 0
#define JLT_HAS_FC 1
#include "kernels/wide/needs.h"
#endif
