// SPDX-License-Identifier: Apache-2.0
#include "kernels/variants.h"

#if defined(JLT_WITH_NEON) && defined(__aarch64__)
#include "kernels/neon/products.h"

#if defined(__linux__)
#include <sys/auxv.h>

enum {
  HWCAP_DOT = 1 << 20,   // HWCAP_ASIMDDP
  HWCAP2_MM = 1 << 13,  // HWCAP2_I8MM
};

jlt_neon_products_t jlt_neon_products(void) {
  if ((getauxval(AT_HWCAP) & HWCAP_DOT) == 0) {
    return JLT_NEON_BASE;
  }
  return (getauxval(AT_HWCAP2) & HWCAP2_MM) != 0 ? JLT_NEON_MM : JLT_NEON_DOT;
}
#elif defined(__ARM_FEATURE_MATMUL_INT8)
jlt_neon_products_t jlt_neon_products(void) { return JLT_NEON_MM; }
#elif defined(__ARM_FEATURE_DOTPROD)
jlt_neon_products_t jlt_neon_products(void) { return JLT_NEON_DOT; }
#else
jlt_neon_products_t jlt_neon_products(void) { return JLT_NEON_BASE; }
#endif
#endif
