// SPDX-License-Identifier: Apache-2.0
// Names of features for JLT_TARGET_BEGIN.
#ifndef JLT_KERNELS_NEON_TARGET_H
#define JLT_KERNELS_NEON_TARGET_H

#include "kernels/wide/target.h"

#if defined(__clang__)
#define JLT_TARGET_DOT "dotprod"
#define JLT_TARGET_MM "dotprod,i8mm"
#else
#define JLT_TARGET_DOT "arch=armv8.2-a+dotprod"
#define JLT_TARGET_MM "arch=armv8.2-a+dotprod+i8mm"
#endif

#endif
