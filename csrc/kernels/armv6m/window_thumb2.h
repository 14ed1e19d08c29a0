// SPDX-License-Identifier: Apache-2.0
// Windows three wide for ARMv7-M, two to six outputs of one channel at stride 1, four at stride 2; every input is read once.
#ifndef JLT_KERNELS_ARMV6M_WINDOW_THUMB2_H
#define JLT_KERNELS_ARMV6M_WINDOW_THUMB2_H

#include "kernels/armv6m/layout.h"

enum { JLT_V6M_WINDOW_MOST = 6 };

// Inputs lie 0, 1, 2 and 4 columns from x at first, and 3 and 5 after a step of one column: what an address can do.
#define JLT_V6M_AT(place) "ldrsb %[v], [%[x]" place "]\n\t"
#define JLT_V6M_MAC(i, k) "mla %[a" #i "], %[v], %[w" #k "], %[a" #i "]\n\t"
#define JLT_V6M_STEP "add %[x], %[x], %[c]\n\t"
#define JLT_V6M_WEIGHTS "1:\n\tldrsb %[w0], [%[w]], #1\n\tldrsb %[w1], [%[w]], #1\n\tldrsb %[w2], [%[w]], #1\n\t"
#define JLT_V6M_TWO                                        \
  JLT_V6M_WEIGHTS JLT_V6M_AT("") JLT_V6M_MAC(0, 0)         \
  JLT_V6M_AT(", %[c]") JLT_V6M_MAC(0, 1) JLT_V6M_MAC(1, 0) \
  JLT_V6M_AT(", %[c], lsl #1") JLT_V6M_MAC(0, 2) JLT_V6M_MAC(1, 1)
// By now there is no register left for the step from row to row.
#define JLT_V6M_END "ldr %[v], %[row]\n\tadd %[x], %[x], %[v]\n\tsubs %[n], %[n], #1\n\tbne 1b\n\t"

#define JLT_V6M_WINDOW(name, body, ...)                                                                                        \
  static JLT_ALWAYS_INLINE void jlt_v6m_window_##name(const int8_t *x, uint32_t c, uint32_t row, const int8_t *w, uint32_t n,  \
                                                      uint32_t *sums) {                                                        \
    uint32_t w0;                                                                                                               \
    uint32_t w1;                                                                                                               \
    uint32_t w2;                                                                                                               \
    uint32_t v;                                                                                                                \
    __asm__ volatile(body JLT_V6M_END                                                                                          \
                     : [a0] "+r"(sums[0]), [a1] "+r"(sums[1]), __VA_ARGS__ [w0] "=&r"(w0), [w1] "=&r"(w1), [w2] "=&r"(w2),      \
                       [v] "=&r"(v), [x] "+r"(x), [w] "+r"(w), [n] "+r"(n)                                                     \
                     : [c] "r"(c), [row] "m"(row)                                                                              \
                     : "cc", "memory");                                                                                        \
  }
#define JLT_V6M_SUM(i) [a##i] "+r"(sums[i]),

// clang-format off
JLT_V6M_WINDOW(2,
               JLT_V6M_TWO
               JLT_V6M_STEP JLT_V6M_AT(", %[c], lsl #1") JLT_V6M_MAC(1, 2), )
JLT_V6M_WINDOW(3,
               JLT_V6M_TWO JLT_V6M_MAC(2, 0) JLT_V6M_AT(", %[c], lsl #2") JLT_V6M_MAC(2, 2)
               JLT_V6M_STEP JLT_V6M_AT(", %[c], lsl #1") JLT_V6M_MAC(1, 2) JLT_V6M_MAC(2, 1), JLT_V6M_SUM(2))
JLT_V6M_WINDOW(4,
               JLT_V6M_TWO JLT_V6M_MAC(2, 0) JLT_V6M_AT(", %[c], lsl #2") JLT_V6M_MAC(2, 2) JLT_V6M_MAC(3, 1)
               JLT_V6M_STEP JLT_V6M_AT(", %[c], lsl #1") JLT_V6M_MAC(1, 2) JLT_V6M_MAC(2, 1) JLT_V6M_MAC(3, 0)
               JLT_V6M_AT(", %[c], lsl #2") JLT_V6M_MAC(3, 2), JLT_V6M_SUM(2) JLT_V6M_SUM(3))
JLT_V6M_WINDOW(5,
               JLT_V6M_TWO JLT_V6M_MAC(2, 0) JLT_V6M_AT(", %[c], lsl #2") JLT_V6M_MAC(2, 2) JLT_V6M_MAC(3, 1) JLT_V6M_MAC(4, 0)
               JLT_V6M_STEP JLT_V6M_AT(", %[c], lsl #1") JLT_V6M_MAC(1, 2) JLT_V6M_MAC(2, 1) JLT_V6M_MAC(3, 0)
               JLT_V6M_AT(", %[c], lsl #2") JLT_V6M_MAC(3, 2) JLT_V6M_MAC(4, 1)
               JLT_V6M_STEP JLT_V6M_AT(", %[c], lsl #2") JLT_V6M_MAC(4, 2), JLT_V6M_SUM(2) JLT_V6M_SUM(3) JLT_V6M_SUM(4))
JLT_V6M_WINDOW(6,
               JLT_V6M_TWO JLT_V6M_MAC(2, 0) JLT_V6M_AT(", %[c], lsl #2") JLT_V6M_MAC(2, 2) JLT_V6M_MAC(3, 1) JLT_V6M_MAC(4, 0)
               JLT_V6M_STEP JLT_V6M_AT(", %[c], lsl #1") JLT_V6M_MAC(1, 2) JLT_V6M_MAC(2, 1) JLT_V6M_MAC(3, 0)
               JLT_V6M_AT(", %[c], lsl #2") JLT_V6M_MAC(3, 2) JLT_V6M_MAC(4, 1) JLT_V6M_MAC(5, 0)
               JLT_V6M_STEP JLT_V6M_AT(", %[c], lsl #2") JLT_V6M_MAC(4, 2) JLT_V6M_MAC(5, 1)
               JLT_V6M_STEP JLT_V6M_AT(", %[c], lsl #2") JLT_V6M_MAC(5, 2),
               JLT_V6M_SUM(2) JLT_V6M_SUM(3) JLT_V6M_SUM(4) JLT_V6M_SUM(5))
JLT_V6M_WINDOW(4_apart,
               JLT_V6M_WEIGHTS JLT_V6M_AT("") JLT_V6M_MAC(0, 0) JLT_V6M_AT(", %[c]") JLT_V6M_MAC(0, 1)
               JLT_V6M_AT(", %[c], lsl #1") JLT_V6M_MAC(0, 2) JLT_V6M_MAC(1, 0)
               JLT_V6M_AT(", %[c], lsl #2") JLT_V6M_MAC(1, 2) JLT_V6M_MAC(2, 0) JLT_V6M_AT(", %[c], lsl #3") JLT_V6M_MAC(3, 2)
               JLT_V6M_STEP JLT_V6M_AT(", %[c], lsl #1") JLT_V6M_MAC(1, 1) JLT_V6M_AT(", %[c], lsl #2") JLT_V6M_MAC(2, 1)
               JLT_V6M_STEP JLT_V6M_AT(", %[c], lsl #2") JLT_V6M_MAC(2, 2) JLT_V6M_MAC(3, 0)
               JLT_V6M_STEP JLT_V6M_AT(", %[c], lsl #2") JLT_V6M_MAC(3, 1), JLT_V6M_SUM(2) JLT_V6M_SUM(3))
// clang-format on

#undef JLT_V6M_SUM
#undef JLT_V6M_WINDOW
#undef JLT_V6M_END
#undef JLT_V6M_TWO
#undef JLT_V6M_WEIGHTS
#undef JLT_V6M_STEP
#undef JLT_V6M_MAC
#undef JLT_V6M_AT

static JLT_ALWAYS_INLINE void jlt_v6m_window(const int8_t *x, uint32_t column, uint32_t row, const int8_t *w, uint32_t k_h,
                                             uint32_t count, uint32_t stride, uint32_t *sums) {
  if (stride == 2) {
    jlt_v6m_window_4_apart(x, column, row - 3 * column, w, k_h, sums);
  } else if (count == 2) {
    jlt_v6m_window_2(x, column, row - column, w, k_h, sums);
  } else if (count == 3) {
    jlt_v6m_window_3(x, column, row - column, w, k_h, sums);
  } else if (count == 4) {
    jlt_v6m_window_4(x, column, row - column, w, k_h, sums);
  } else if (count == 5) {
    jlt_v6m_window_5(x, column, row - 2 * column, w, k_h, sums);
  } else {
    jlt_v6m_window_6(x, column, row - 3 * column, w, k_h, sums);
  }
}

#endif
