// SPDX-License-Identifier: Apache-2.0
// Convolution whose weights have absent blocks, for Helium: conv_s8.c that gathers what the others meet.
//
// Tensors and arithmetic as ref/conv_s8.c, where what is absent is 0. Weights: sparse.h. Scratch: convolve.h.
#include "kernels/sparse.h"

#if JLT_SPARSE && defined(JLT_WITH_MVE) && defined(__ARM_FEATURE_MVE)
#include "kernels/mve/convolve.h"
#include "kernels/mve/sparse.h"

_Static_assert(JLT_MVE_SPARSE_BYTES == 36, "as the code goes on from vector to vector");

// Four blocks of two channels with three pixels.
#define JLT_MVE_BLOCKS(sum)                        \
  "vldrb.u32 q3, [%[w]], #36\n\t"                  \
  "vldrb.u8 q0, [%[w], #-32]\n\t"                  \
  "vldrb.u8 q1, [%[w], #-16]\n\t"                  \
  "vldrw.u32 q2, [%[x], q3, uxtw #2]\n\t"          \
  sum " %[a], q2, q0\n\t"                          \
  sum " %[b], q2, q1\n\t"                          \
  "vldrw.u32 q2, [%[y], q3, uxtw #2]\n\t"          \
  sum " %[c], q2, q0\n\t"                          \
  sum " %[d], q2, q1\n\t"                          \
  "vldrw.u32 q2, [%[z], q3, uxtw #2]\n\t"          \
  sum " %[e], q2, q0\n\t"                          \
  sum " %[f], q2, q1\n\t"

// Two neighbouring channels, whose sums are one half of a register: `e` or `f`, as compilers name them.
#define JLT_MVE_SPARSE_PAIR(half)                  \
  "ldrb %[more], [%[w]], #1\n\t"                   \
  JLT_MVE_BLOCKS("vmladav.s8")                     \
  "wls lr, %[more], 2f\n"                          \
  "1:\n\t"                                         \
  JLT_MVE_BLOCKS("vmladava.s8")                    \
  "le lr, 1b\n"                                    \
  "2:\n\t"                                         \
  "vmov %" half "[s0], %[a], %[b]\n\t"             \
  "vmov %" half "[s1], %[c], %[d]\n\t"             \
  "vmov %" half "[s2], %[e], %[f]\n\t"

static JLT_ALWAYS_INLINE const int8_t *sum_blocks(const int8_t *const *patches, uint32_t more, const int8_t *w, int32x4_t *sums) {
  int32_t a, b, c, d, e, f;
  int32x4_t s0, s1, s2;
  __asm__ volatile(
      JLT_MVE_SPARSE_PAIR("e")
      JLT_MVE_SPARSE_PAIR("f")
      : [a] "=&Te"(a), [b] "=&Te"(b), [c] "=&Te"(c), [d] "=&Te"(d), [e] "=&Te"(e), [f] "=&Te"(f), [w] "+&l"(w),
        [more] "=&r"(more), [s0] "=&w"(s0), [s1] "=&w"(s1), [s2] "=&w"(s2)
      : [x] "r"(patches[0]), [y] "r"(patches[1]), [z] "r"(patches[2])
      : "lr", "q0", "q1", "q2", "q3", "memory");
  sums[0] = s0;
  sums[1] = s1;
  sums[2] = s2;
  return w;
}

void jlt_conv_sparse_s8__mve(const jlt_call_t *call) { jlt_mve_convolve(call, sum_blocks); }

#endif
