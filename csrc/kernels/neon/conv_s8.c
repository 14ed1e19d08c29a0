// SPDX-License-Identifier: Apache-2.0
// Convolution and fully connected with NEON, with what multiplies bytes best on this core.
#include "kernels/variants.h"

#if defined(JLT_WITH_NEON) && defined(__aarch64__)
#include "kernels/neon/products.h"

void jlt_conv_s8__neon(const jlt_call_t *call) {
  switch (jlt_neon_products()) {
    case JLT_NEON_MM:
      jlt_conv_s8_mm__neon(call);
      break;
    case JLT_NEON_DOT:
      jlt_conv_s8_dot__neon(call);
      break;
    default:
      jlt_conv_s8_base__neon(call);
  }
}
#endif
