// SPDX-License-Identifier: Apache-2.0
// Convolution and fully connected with NEON, with the dot products of Armv8.2 where the core has them.
#include "kernels/variants.h"

#if defined(JLT_WITH_NEON) && defined(__aarch64__)
#include "kernels/neon/dot.h"

#if defined(__linux__)
#include <sys/auxv.h>
enum { HWCAP_DOT = 1 << 20 };  // HWCAP_ASIMDDP
static bool has_dot(void) { return (getauxval(AT_HWCAP) & HWCAP_DOT) != 0; }
#elif defined(__ARM_FEATURE_DOTPROD)
static bool has_dot(void) { return true; }
#else
static bool has_dot(void) { return false; }
#endif

void jlt_conv_s8__neon(const jlt_call_t *call) {
  if (has_dot()) {
    jlt_conv_s8_dot__neon(call);
  } else {
    jlt_conv_s8_base__neon(call);
  }
}
#endif
