// SPDX-License-Identifier: Apache-2.0
// Inner loops of dot.h for ARMv7-M: the compiler has too few registers for them by one, and adds where it could accumulate.
#ifndef JLT_KERNELS_ARMV6M_DOT_THUMB2_H
#define JLT_KERNELS_ARMV6M_DOT_THUMB2_H

#include "kernels/armv6m/layout.h"

// Every x is loaded once and meets both weights.
#define JLT_V6M_PIXEL(a, b)          \
  "ldrb %[v], [%[x]], #1\n\t"        \
  "mla " a ", %[v], %[t], " a "\n\t" \
  "mla " b ", %[v], %[u], " b "\n\t"
#define JLT_V6M_K                                                                                                   \
  "ldrb %[t], [%[w]], #1\n\tldrb %[u], [%[w]], #1\n\t"                                                             \
  JLT_V6M_PIXEL("%[a0]", "%[b0]") JLT_V6M_PIXEL("%[a1]", "%[b1]") JLT_V6M_PIXEL("%[a2]", "%[b2]") JLT_V6M_PIXEL("%[a3]", "%[b3]")

static JLT_V6M_APART JLT_V6M_UNUSED void jlt_v6m_dot_8(const uint8_t *x, const uint8_t *w, const uint8_t *w_end, uint32_t *sums) {
  uint32_t a0 = 0;
  uint32_t a1 = 0;
  uint32_t a2 = 0;
  uint32_t a3 = 0;
  uint32_t b0 = 0;
  uint32_t b1 = 0;
  uint32_t b2 = 0;
  uint32_t b3 = 0;
  uint32_t t;
  uint32_t u;
  uint32_t v;
  __asm__ volatile(
      "1:\n\t" JLT_V6M_K JLT_V6M_K JLT_V6M_K JLT_V6M_K
      "cmp %[w], %[end]\n\t"
      "bne 1b\n\t"
      : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [b0] "+r"(b0), [b1] "+r"(b1), [b2] "+r"(b2),
        [b3] "+r"(b3), [t] "=&r"(t), [u] "=&r"(u), [v] "=&r"(v), [x] "+r"(x), [w] "+r"(w)
      : [end] "r"(w_end)
      : "cc", "memory");
  sums[0] = a0;
  sums[1] = a1;
  sums[2] = a2;
  sums[3] = a3;
  sums[4] = b0;
  sums[5] = b1;
  sums[6] = b2;
  sums[7] = b3;
}

#define JLT_V6M_SIGNED_K                                                                                            \
  "ldrsb %[t], [%[w]], #1\n\tldrsb %[u], [%[w]], #1\n\t"                                                           \
  JLT_V6M_PIXEL("%[a0]", "%[b0]") JLT_V6M_PIXEL("%[a1]", "%[b1]") JLT_V6M_PIXEL("%[a2]", "%[b2]") JLT_V6M_PIXEL("%[a3]", "%[b3]")

static JLT_V6M_APART JLT_V6M_UNUSED void jlt_v6m_dot_sparse(const uint8_t *x, const uint8_t *w, const uint8_t *w_end,
                                                            uint32_t *sums) {
  uint32_t a0 = 0;
  uint32_t a1 = 0;
  uint32_t a2 = 0;
  uint32_t a3 = 0;
  uint32_t b0 = 0;
  uint32_t b1 = 0;
  uint32_t b2 = 0;
  uint32_t b3 = 0;
  uint32_t t;
  uint32_t u;
  uint32_t v;
  __asm__ volatile(
      "1:\n\t"
      "ldrb %[t], [%[w]], #1\n\tadd %[x], %[x], %[t], lsl #4\n\t"
      JLT_V6M_SIGNED_K JLT_V6M_SIGNED_K JLT_V6M_SIGNED_K JLT_V6M_SIGNED_K
      "cmp %[w], %[end]\n\t"
      "bne 1b\n\t"
      : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [b0] "+r"(b0), [b1] "+r"(b1), [b2] "+r"(b2),
        [b3] "+r"(b3), [t] "=&r"(t), [u] "=&r"(u), [v] "=&r"(v), [x] "+r"(x), [w] "+r"(w)
      : [end] "r"(w_end)
      : "cc", "memory");
  sums[0] = a0;
  sums[1] = a1;
  sums[2] = a2;
  sums[3] = a3;
  sums[4] = b0;
  sums[5] = b1;
  sums[6] = b2;
  sums[7] = b3;
}
#undef JLT_V6M_SIGNED_K
#undef JLT_V6M_K
#undef JLT_V6M_PIXEL

#define JLT_V6M_K(first, second)                        \
  "ldrd %[t], %[u], [%[x]], #8\n\t"                     \
  "ubfx %[v], %[four], #" first ", #4\n\t"              \
  "mla %[a01], %[v], %[t], %[a01]\n\t"                  \
  "mla %[a23], %[v], %[u], %[a23]\n\t"                  \
  "ubfx %[v], %[four], #" second ", #4\n\t"             \
  "mla %[b01], %[v], %[t], %[b01]\n\t"                  \
  "mla %[b23], %[v], %[u], %[b23]\n\t"

static JLT_ALWAYS_INLINE JLT_V6M_UNUSED void jlt_v6m_lanes_4(const uint16_t *x, const uint8_t *w, const uint8_t *stop, uint32_t *lanes) {
  uint32_t a01 = 0;
  uint32_t a23 = 0;
  uint32_t b01 = 0;
  uint32_t b23 = 0;
  uint32_t four;
  uint32_t t;
  uint32_t u;
  uint32_t v;
  __asm__ volatile(
      "1:\n\t"
      "ldr %[four], [%[w]], #4\n\t" JLT_V6M_K("0", "4") JLT_V6M_K("8", "12") JLT_V6M_K("16", "20") JLT_V6M_K("24", "28")
      "cmp %[w], %[stop]\n\t"
      "bne 1b\n\t"
      : [a01] "+r"(a01), [a23] "+r"(a23), [b01] "+r"(b01), [b23] "+r"(b23), [four] "=&r"(four), [t] "=&r"(t),
        [u] "=&r"(u), [v] "=&r"(v), [x] "+r"(x), [w] "+r"(w)
      : [stop] "r"(stop)
      : "cc", "memory");
  lanes[0] = a01;
  lanes[1] = a23;
  lanes[2] = b01;
  lanes[3] = b23;
}
#undef JLT_V6M_K

#define JLT_V6M_ROW(a) "ldrb %[t], [%[w]], #1\n\tmla " a ", %[t], %[v], " a "\n\t"
#define JLT_V6M_K                                                                       \
  "ldrb %[v], [%[x]], #1\n\t"                                                           \
  JLT_V6M_ROW("%[a0]") JLT_V6M_ROW("%[a1]") JLT_V6M_ROW("%[a2]") JLT_V6M_ROW("%[a3]")   \
  JLT_V6M_ROW("%[a4]") JLT_V6M_ROW("%[a5]") JLT_V6M_ROW("%[a6]") JLT_V6M_ROW("%[a7]")

static JLT_V6M_APART JLT_V6M_UNUSED void jlt_v6m_row_8(const uint8_t *x, const uint8_t *x_end, const uint8_t *w, uint32_t *sums) {
  uint32_t a0 = 0;
  uint32_t a1 = 0;
  uint32_t a2 = 0;
  uint32_t a3 = 0;
  uint32_t a4 = 0;
  uint32_t a5 = 0;
  uint32_t a6 = 0;
  uint32_t a7 = 0;
  uint32_t t;
  uint32_t v;
  __asm__ volatile(
      "1:\n\t" JLT_V6M_K JLT_V6M_K JLT_V6M_K JLT_V6M_K
      "cmp %[x], %[end]\n\t"
      "bne 1b\n\t"
      : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [a4] "+r"(a4), [a5] "+r"(a5), [a6] "+r"(a6),
        [a7] "+r"(a7), [t] "=&r"(t), [v] "=&r"(v), [x] "+r"(x), [w] "+r"(w)
      : [end] "r"(x_end)
      : "cc", "memory");
  sums[0] = a0;
  sums[1] = a1;
  sums[2] = a2;
  sums[3] = a3;
  sums[4] = a4;
  sums[5] = a5;
  sums[6] = a6;
  sums[7] = a7;
}
#undef JLT_V6M_K
#undef JLT_V6M_ROW

#define JLT_V6M_PAIR_OF(a)                                                          \
  "ldr %[word], [%[w]], #4\n\t"                                                     \
  "and %[t], %[mask], %[word]\n\tmla " a ", %[t], %[x0], " a "\n\t"                 \
  "and %[t], %[mask], %[word], lsr #4\n\tmla " a ", %[t], %[x1], " a "\n\t"         \
  "and %[t], %[mask], %[word], lsr #8\n\tmla " a ", %[t], %[x2], " a "\n\t"         \
  "and %[t], %[mask], %[word], lsr #12\n\tmla " a ", %[t], %[x3], " a "\n\t"

#define JLT_V6M_SPLIT_ADD(a)                          \
  "ldrd %[x0], %[x1], [%[word]]\n\t"                  \
  "uxth %[t], " a "\n\t"                              \
  "add %[x0], %[x0], %[t]\n\t"                        \
  "add %[x1], %[x1], " a ", lsr #16\n\t"              \
  "strd %[x0], %[x1], [%[word]], #8\n\t"

static JLT_ALWAYS_INLINE JLT_V6M_UNUSED void jlt_v6m_row_run_4(const uint8_t *x, const uint8_t *stop, const uint8_t *w, uint32_t *sums) {
  uint32_t a = 0;
  uint32_t b = 0;
  uint32_t c = 0;
  uint32_t d = 0;
  uint32_t x0;
  uint32_t x1;
  uint32_t x2;
  uint32_t x3;
  uint32_t word;
  uint32_t t;
  __asm__ volatile(
      "1:\n\t"
      "ldrb %[x0], [%[x]], #1\n\tldrb %[x1], [%[x]], #1\n\tldrb %[x2], [%[x]], #1\n\tldrb %[x3], [%[x]], #1\n\t"
      JLT_V6M_PAIR_OF("%[a]") JLT_V6M_PAIR_OF("%[b]") JLT_V6M_PAIR_OF("%[c]") JLT_V6M_PAIR_OF("%[d]")
      "cmp %[x], %[stop]\n\t"
      "bne 1b\n\t"
      "ldr %[word], %[sums]\n\t"
      JLT_V6M_SPLIT_ADD("%[a]") JLT_V6M_SPLIT_ADD("%[b]") JLT_V6M_SPLIT_ADD("%[c]") JLT_V6M_SPLIT_ADD("%[d]")
      : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [x0] "=&r"(x0), [x1] "=&r"(x1), [x2] "=&r"(x2),
        [x3] "=&r"(x3), [word] "=&r"(word), [t] "=&r"(t), [x] "+r"(x), [w] "+r"(w)
      : [mask] "r"(0x000F000Fu), [stop] "r"(stop), [sums] "m"(sums)
      : "cc", "memory");
}
#undef JLT_V6M_SPLIT_ADD
#undef JLT_V6M_PAIR_OF

#endif
