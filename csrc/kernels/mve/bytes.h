// SPDX-License-Identifier: Apache-2.0
// Runs of bytes in low-overhead loops, which the compiler does not make.
#ifndef JLT_KERNELS_MVE_BYTES_H
#define JLT_KERNELS_MVE_BYTES_H

#include <arm_mve.h>

#include "kernels/kernels.h"

// Around what an assembly statement does with the predicate register: GCC is told of it by its name, for which clang has none.
#if defined(__clang__)
#define JLT_MVE_KEEP "vstr p0, [sp, #-4]!\n\t"
#define JLT_MVE_GIVE_BACK "\n\tvldr p0, [sp], #4"
#define JLT_MVE_PREDICATE "memory"
#else
#define JLT_MVE_KEEP
#define JLT_MVE_GIVE_BACK
#define JLT_MVE_PREDICATE "p0", "memory"
#endif

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

// `count` rows of up to 16 bytes.
static JLT_ALWAYS_INLINE void jlt_mve_copy_rows(int8_t *to, uint32_t to_step, const int8_t *from, uint32_t from_step, uint32_t bytes,
                                                uint32_t count) {
  __asm__ volatile(
      JLT_MVE_KEEP
      "vctp.8 %[bytes]\n\t"
      "wls lr, %[count], 2f\n"
      "1:\n\t"
      "vpstt\n\t"
      "vldrbt.u8 q0, [%[from]]\n\t"
      "vstrbt.8 q0, [%[to]]\n\t"
      "add %[from], %[from], %[from_step]\n\t"
      "add %[to], %[to], %[to_step]\n\t"
      "le lr, 1b\n"
      "2:" JLT_MVE_GIVE_BACK
      : [to] "+r"(to), [from] "+r"(from)
      : [to_step] "r"(to_step), [from_step] "r"(from_step), [bytes] "r"(bytes), [count] "r"(count)
      : "lr", "q0", JLT_MVE_PREDICATE);
}

#endif
