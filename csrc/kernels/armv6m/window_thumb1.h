// SPDX-License-Identifier: Apache-2.0
// Windows three wide for ARMv6-M, two to five outputs of one channel at stride 1, four at stride 2; every input is read once.
#ifndef JLT_KERNELS_ARMV6M_WINDOW_THUMB1_H
#define JLT_KERNELS_ARMV6M_WINDOW_THUMB1_H

#include "kernels/armv6m/layout.h"

enum { JLT_V6M_WINDOW_MOST = 5 };

// Sums live in r8 to r11 and lr, and all begin as the first one is. A multiplication overwrites: each input is copied for all weights it meets but the last.
#define JLT_V6M_NEXT "ldrsb %[v], [%[x], %[z]]\n\tadd %[x], r12\n\t"
#define JLT_V6M_MAC(a, k) "movs %[t], %[v]\n\tmuls %[t], %[w" #k "], %[t]\n\tadd " a ", %[t]\n\t"
#define JLT_V6M_LAST(a, k) "muls %[v], %[w" #k "], %[v]\n\tadd " a ", %[v]\n\t"
#define JLT_V6M_THREE(a, b, c) JLT_V6M_NEXT JLT_V6M_MAC(a, 2) JLT_V6M_MAC(b, 1) JLT_V6M_LAST(c, 0)
#define JLT_V6M_BEGIN JLT_V6M_NEXT JLT_V6M_LAST("r8", 0) JLT_V6M_NEXT JLT_V6M_MAC("r8", 1) JLT_V6M_LAST("r9", 0)
#define JLT_V6M_FINISH(a, b) JLT_V6M_NEXT JLT_V6M_MAC(a, 2) JLT_V6M_LAST(b, 1) JLT_V6M_NEXT JLT_V6M_LAST(b, 2)

#define JLT_V6M_WINDOW(name, columns, body)                                                                                   \
  static JLT_ALWAYS_INLINE void jlt_v6m_window_##name(const int8_t *x, uint32_t column, uint32_t row, const int8_t *w,         \
                                                      uint32_t k_h, uint32_t *sums) {                                          \
    const uint32_t step = row - (columns) * column; /* from behind one row of inputs to the next */                            \
    const int8_t *const end = w + 3 * k_h;                                                                                     \
    uint32_t *const to = sums;                                                                                                 \
    uint32_t t;                                                                                                                \
    uint32_t v;                                                                                                                \
    uint32_t w0;                                                                                                               \
    uint32_t w1;                                                                                                               \
    uint32_t w2;                                                                                                               \
    uint32_t z;                                                                                                                \
    __asm__ volatile(                                                                                                          \
        ".syntax unified\n\t"                                                                                                  \
        "ldr %[t], %[column]\n\tmov r12, %[t]\n\t"                                                                            \
        "ldr %[z], %[to]\n\tldr %[z], [%[z]]\n\t"                                                                               \
        "mov r8, %[z]\n\tmov r9, %[z]\n\tmov r10, %[z]\n\tmov r11, %[z]\n\tmov lr, %[z]\n\t"                                 \
        "movs %[z], #0\n\t"                                                                                                    \
        "1:\n\t"                                                                                                               \
        "ldrsb %[w0], [%[w], %[z]]\n\tadds %[w], #1\n\t"                                                                      \
        "ldrsb %[w1], [%[w], %[z]]\n\tadds %[w], #1\n\t"                                                                      \
        "ldrsb %[w2], [%[w], %[z]]\n\tadds %[w], #1\n\t" body                                                                 \
        "ldr %[t], %[step]\n\t"                                                                                                \
        "adds %[x], %[t]\n\t"                                                                                                  \
        "ldr %[t], %[end]\n\t"                                                                                                 \
        "cmp %[w], %[t]\n\t"                                                                                                   \
        "bne 1b\n\t"                                                                                                           \
        "ldr %[x], %[to]\n\t"                                                                                                  \
        "mov %[t], r8\n\tmov %[v], r9\n\tmov %[w0], r10\n\tmov %[w1], r11\n\tmov %[w2], lr\n\t"                            \
        "str %[t], [%[x]]\n\tstr %[v], [%[x], #4]\n\tstr %[w0], [%[x], #8]\n\tstr %[w1], [%[x], #12]\n\t"                   \
        "str %[w2], [%[x], #16]\n\t"                                                                                           \
        : [t] "=&l"(t), [v] "=&l"(v), [w0] "=&l"(w0), [w1] "=&l"(w1), [w2] "=&l"(w2), [z] "=&l"(z), [x] "+l"(x), [w] "+l"(w)   \
        : [column] "m"(column), [step] "m"(step), [end] "m"(end), [to] "m"(to)                                                 \
        : "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");                                                              \
  }

JLT_V6M_WINDOW(2, 4, JLT_V6M_BEGIN JLT_V6M_FINISH("r8", "r9"))
JLT_V6M_WINDOW(3, 5, JLT_V6M_BEGIN JLT_V6M_THREE("r8", "r9", "r10") JLT_V6M_FINISH("r9", "r10"))
JLT_V6M_WINDOW(4, 6, JLT_V6M_BEGIN JLT_V6M_THREE("r8", "r9", "r10") JLT_V6M_THREE("r9", "r10", "r11") JLT_V6M_FINISH("r10", "r11"))
JLT_V6M_WINDOW(5, 7,
               JLT_V6M_BEGIN JLT_V6M_THREE("r8", "r9", "r10") JLT_V6M_THREE("r9", "r10", "r11") JLT_V6M_THREE("r10", "r11", "lr")
                   JLT_V6M_FINISH("r11", "lr"))
JLT_V6M_WINDOW(4_apart, 9,
               JLT_V6M_NEXT JLT_V6M_LAST("r8", 0) JLT_V6M_NEXT JLT_V6M_LAST("r8", 1)
               JLT_V6M_NEXT JLT_V6M_MAC("r8", 2) JLT_V6M_LAST("r9", 0) JLT_V6M_NEXT JLT_V6M_LAST("r9", 1)
               JLT_V6M_NEXT JLT_V6M_MAC("r9", 2) JLT_V6M_LAST("r10", 0) JLT_V6M_NEXT JLT_V6M_LAST("r10", 1)
               JLT_V6M_NEXT JLT_V6M_MAC("r10", 2) JLT_V6M_LAST("r11", 0) JLT_V6M_NEXT JLT_V6M_LAST("r11", 1)
               JLT_V6M_NEXT JLT_V6M_LAST("r11", 2))

#undef JLT_V6M_WINDOW
#undef JLT_V6M_FINISH
#undef JLT_V6M_BEGIN
#undef JLT_V6M_THREE
#undef JLT_V6M_LAST
#undef JLT_V6M_MAC
#undef JLT_V6M_NEXT

static JLT_ALWAYS_INLINE void jlt_v6m_window(const int8_t *x, uint32_t column, uint32_t row, const int8_t *w, uint32_t k_h,
                                             uint32_t count, uint32_t stride, uint32_t *sums) {
  if (stride == 2) {
    jlt_v6m_window_4_apart(x, column, row, w, k_h, sums);
  } else if (count == 2) {
    jlt_v6m_window_2(x, column, row, w, k_h, sums);
  } else if (count == 3) {
    jlt_v6m_window_3(x, column, row, w, k_h, sums);
  } else if (count == 4) {
    jlt_v6m_window_4(x, column, row, w, k_h, sums);
  } else {
    jlt_v6m_window_5(x, column, row, w, k_h, sums);
  }
}

#endif
