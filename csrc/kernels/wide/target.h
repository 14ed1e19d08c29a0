// SPDX-License-Identifier: Apache-2.0
// Code for an instruction set that the rest of the build does not ask for: JLT_TARGET_BEGIN(features) ... JLT_TARGET_END.
#ifndef JLT_KERNELS_WIDE_TARGET_H
#define JLT_KERNELS_WIDE_TARGET_H

#define JLT_PRAGMA(text) _Pragma(#text)
#if defined(JLT_WITHOUT_TARGET)  // intrinsics in plain C, for machines without the instructions
#define JLT_TARGET_BEGIN(features)
#define JLT_TARGET_END
#elif defined(__clang__)
#define JLT_TARGET_BEGIN(features) \
  JLT_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define JLT_TARGET_END _Pragma("clang attribute pop")
#else
#define JLT_TARGET_BEGIN(features) _Pragma("GCC push_options") JLT_PRAGMA(GCC target(features))
#define JLT_TARGET_END _Pragma("GCC pop_options")
#endif

#endif
