// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution with NEON, with what multiplies bytes best on this core.
#include "kernels/variants.h"

#if defined(JLT_WITH_NEON) && defined(__aarch64__)
#include "kernels/neon/products.h"

void jlt_dwconv_s8__neon(const jlt_call_t *call) {
  if (jlt_neon_products() == JLT_NEON_BASE) {
    jlt_dwconv_s8_base__neon(call);
  } else {
    jlt_dwconv_s8_dot__neon(call);
  }
}
#endif
