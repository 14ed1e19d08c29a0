// SPDX-License-Identifier: Apache-2.0
// Runs of bytes in low-overhead loops, which the compiler does not make.
#ifndef JLT_KERNELS_MVE_BYTES_H
#define JLT_KERNELS_MVE_BYTES_H

#include <arm_mve.h>

#include "kernels/kernels.h"

static JLT_ALWAYS_INLINE void jlt_mve_copy(int8_t *to, const int8_t *from, uint32_t bytes) {
  __asm__ volatile(
      "wlstp.8 lr, %[bytes], 2f\n"
      "1:\n\t"
      "vldrb.u8 q0, [%[from]], #16\n\t"
      "vstrb.8 q0, [%[to]], #16\n\t"
      "letp lr, 1b\n"
      "2:"
      : [to] "+r"(to), [from] "+r"(from)
      : [bytes] "r"(bytes)
      : "lr", "q0", "memory");
}

static JLT_ALWAYS_INLINE void jlt_mve_fill(int8_t *to, int32_t value, uint32_t bytes) {
  __asm__ volatile(
      "vdup.8 q0, %[value]\n\t"
      "wlstp.8 lr, %[bytes], 2f\n"
      "1:\n\t"
      "vstrb.8 q0, [%[to]], #16\n\t"
      "letp lr, 1b\n"
      "2:"
      : [to] "+r"(to)
      : [value] "r"(value), [bytes] "r"(bytes)
      : "lr", "q0", "memory");
}

#endif
