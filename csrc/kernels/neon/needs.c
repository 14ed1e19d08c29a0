// SPDX-License-Identifier: Apache-2.0
#include "kernels/variants.h"

#ifdef JLT_WITH_NEON
#define JLT_ISA neon
#define JLT_TOGETHER 4
#define JLT_GROUP_BYTES 64
#define JLT_CONV_HAS_NIBBLES 0
#define JLT_HAS_FC 0
#include "kernels/wide/needs.h"
#endif
