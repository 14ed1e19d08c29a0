// SPDX-License-Identifier: Apache-2.0
// What multiplies bytes on this core, asked of it at every call, and the kernels for each.
#ifndef JLT_KERNELS_NEON_PRODUCTS_H
#define JLT_KERNELS_NEON_PRODUCTS_H

#include "kernels/kernels.h"

typedef enum {
  JLT_NEON_BASE,  // what every AArch64 core has
  JLT_NEON_DOT,   // SDOT, from Armv8.2 on
  JLT_NEON_MM,    // SMMLA besides, from Armv8.6 on
} jlt_neon_products_t;

jlt_neon_products_t jlt_neon_products(void);

void jlt_conv_s8_base__neon(const jlt_call_t *call);
void jlt_conv_s8_dot__neon(const jlt_call_t *call);
void jlt_conv_s8_mm__neon(const jlt_call_t *call);
void jlt_dwconv_s8_base__neon(const jlt_call_t *call);
void jlt_dwconv_s8_dot__neon(const jlt_call_t *call);

#endif
