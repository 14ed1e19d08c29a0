// SPDX-License-Identifier: Apache-2.0
// Inner loops of dot.h for ARMv6-M: only additions reach the upper registers, so sums live there, which the compiler does not see.
#ifndef JLT_KERNELS_ARMV6M_DOT_THUMB1_H
#define JLT_KERNELS_ARMV6M_DOT_THUMB1_H

#include "kernels/armv6m/layout.h"

#define JLT_V6M_SYNTAX ".syntax unified\n\t"  // the compiler assumes the old one for this core, and puts its own back afterwards

// A multiplication overwrites what it multiplies, so each x but the last of a k is copied before it meets the second weight.
#define JLT_V6M_PIXEL(k, i, a, b)                             \
  "ldrb %[v], [%[x], #(4 * " k " + " i ")]\n\t"               \
  "movs %[s], %[v]\n\t"                                       \
  "muls %[s], %[t], %[s]\n\tadd " a ", %[s]\n\t"              \
  "muls %[v], %[u], %[v]\n\tadd " b ", %[v]\n\t"
#define JLT_V6M_LAST(k, a, b)                                 \
  "ldrb %[v], [%[x], #(4 * " k " + 3)]\n\t"                   \
  "muls %[t], %[v], %[t]\n\tadd " a ", %[t]\n\t"              \
  "muls %[u], %[v], %[u]\n\tadd " b ", %[u]\n\t"
#define JLT_V6M_K(k)                                                                        \
  "ldrb %[t], [%[w], #(2 * " k ")]\n\tldrb %[u], [%[w], #(2 * " k " + 1)]\n\t"              \
  JLT_V6M_PIXEL(k, "0", "r8", "r9") JLT_V6M_PIXEL(k, "1", "r10", "r11")                     \
  JLT_V6M_PIXEL(k, "2", "r12", "lr") JLT_V6M_LAST(k, "%[a3]", "%[b3]")

#define JLT_V6M_CLEAR_EIGHT                                                                                         \
  "movs %[a3], #0\n\tmovs %[b3], #0\n\t"                                                                           \
  "mov r8, %[a3]\n\tmov r9, %[a3]\n\tmov r10, %[a3]\n\tmov r11, %[a3]\n\tmov r12, %[a3]\n\tmov lr, %[a3]\n\t"
#define JLT_V6M_STORE_EIGHT                                                                                         \
  "ldr %[s], %[to]\n\t"                                                                                            \
  "mov %[t], r8\n\tmov %[u], r10\n\tmov %[v], r12\n\t"                                                            \
  "str %[t], [%[s]]\n\tstr %[u], [%[s], #4]\n\tstr %[v], [%[s], #8]\n\tstr %[a3], [%[s], #12]\n\t"                 \
  "mov %[t], r9\n\tmov %[u], r11\n\tmov %[v], lr\n\t"                                                             \
  "str %[t], [%[s], #16]\n\tstr %[u], [%[s], #20]\n\tstr %[v], [%[s], #24]\n\tstr %[b3], [%[s], #28]\n\t"

static JLT_V6M_APART JLT_V6M_UNUSED void jlt_v6m_dot_8(const uint8_t *x, const uint8_t *w, const uint8_t *w_end, uint32_t *sums) {
  uint32_t *const to = sums;
  const uint8_t *const end = w_end;
  uint32_t a3;
  uint32_t b3;
  uint32_t s;
  uint32_t t;
  uint32_t u;
  uint32_t v;
  __asm__ volatile(
      JLT_V6M_SYNTAX JLT_V6M_CLEAR_EIGHT
      "1:\n\t" JLT_V6M_K("0") JLT_V6M_K("1") JLT_V6M_K("2") JLT_V6M_K("3")
      "adds %[x], #16\n\t"
      "adds %[w], #8\n\t"
      "ldr %[s], %[end]\n\t"
      "cmp %[w], %[s]\n\t"
      "bne 1b\n\t"
      JLT_V6M_STORE_EIGHT
      : [a3] "=&l"(a3), [b3] "=&l"(b3), [s] "=&l"(s), [t] "=&l"(t), [u] "=&l"(u), [v] "=&l"(v), [x] "+l"(x), [w] "+l"(w)
      : [end] "m"(end), [to] "m"(to)
      : "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}

// The same with signed weights, and `skip` groups of four k passed by before each group.
#define JLT_V6M_SIGNED_K(k, first, second)                                                                          \
  "ldrb %[t], [%[w], #" first "]\n\tldrb %[u], [%[w], #" second "]\n\tsxtb %[t], %[t]\n\tsxtb %[u], %[u]\n\t"       \
  JLT_V6M_PIXEL(k, "0", "r8", "r9") JLT_V6M_PIXEL(k, "1", "r10", "r11")                                             \
  JLT_V6M_PIXEL(k, "2", "r12", "lr") JLT_V6M_LAST(k, "%[a3]", "%[b3]")

static JLT_V6M_APART JLT_V6M_UNUSED void jlt_v6m_dot_sparse(const uint8_t *x, const uint8_t *w, const uint8_t *w_end,
                                                            uint32_t *sums) {
  uint32_t *const to = sums;
  const uint8_t *const end = w_end;
  uint32_t a3;
  uint32_t b3;
  uint32_t s;
  uint32_t t;
  uint32_t u;
  uint32_t v;
  __asm__ volatile(
      JLT_V6M_SYNTAX JLT_V6M_CLEAR_EIGHT
      "1:\n\t"
      "ldrb %[s], [%[w]]\n\tlsls %[s], %[s], #4\n\tadds %[x], %[x], %[s]\n\t"
      JLT_V6M_SIGNED_K("0", "1", "2") JLT_V6M_SIGNED_K("1", "3", "4") JLT_V6M_SIGNED_K("2", "5", "6") JLT_V6M_SIGNED_K("3", "7", "8")
      "adds %[x], #16\n\t"
      "adds %[w], #9\n\t"
      "ldr %[s], %[end]\n\t"
      "cmp %[w], %[s]\n\t"
      "bne 1b\n\t"
      JLT_V6M_STORE_EIGHT
      : [a3] "=&l"(a3), [b3] "=&l"(b3), [s] "=&l"(s), [t] "=&l"(t), [u] "=&l"(u), [v] "=&l"(v), [x] "+l"(x), [w] "+l"(w)
      : [end] "m"(end), [to] "m"(to)
      : "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}
#undef JLT_V6M_SIGNED_K
#undef JLT_V6M_K
#undef JLT_V6M_LAST
#undef JLT_V6M_PIXEL

#define JLT_V6M_K(k)                                                            \
  "ldrb %[t], [%[w], #" k "]\n\t"                                               \
  "ldr %[p], [%[x], #(8 * " k ")]\n\tldr %[q], [%[x], #(8 * " k " + 4)]\n\t"    \
  "lsrs %[u], %[t], #4\n\t"                                                     \
  "ands %[t], %[mask]\n\t"                                                      \
  "movs %[v], %[t]\n\t"                                                         \
  "muls %[v], %[p], %[v]\n\tadd r8, %[v]\n\t"                                   \
  "muls %[t], %[q], %[t]\n\tadd r9, %[t]\n\t"                                   \
  "muls %[p], %[u], %[p]\n\tadd r10, %[p]\n\t"                                  \
  "muls %[q], %[u], %[q]\n\tadd r11, %[q]\n\t"

static JLT_ALWAYS_INLINE JLT_V6M_UNUSED void jlt_v6m_lanes_4(const uint16_t *x, const uint8_t *w, const uint8_t *stop, uint32_t *lanes) {
  uint32_t p;
  uint32_t q;
  uint32_t t;
  uint32_t u;
  uint32_t v;
  uint32_t mask;
  __asm__ volatile(
      JLT_V6M_SYNTAX
      "mov r12, %[w]\n\t"  // %[w] is the end at first
      "movs %[mask], #0\n\t"
      "mov r8, %[mask]\n\tmov r9, %[mask]\n\tmov r10, %[mask]\n\tmov r11, %[mask]\n\t"
      "movs %[mask], #15\n\t"
      "ldr %[w], %[from]\n\t"
      "1:\n\t" JLT_V6M_K("0") JLT_V6M_K("1") JLT_V6M_K("2") JLT_V6M_K("3")
      "adds %[x], #32\n\t"
      "adds %[w], #4\n\t"
      "cmp %[w], r12\n\t"
      "bne 1b\n\t"
      "mov %[p], r8\n\tmov %[q], r9\n\tmov %[t], r10\n\tmov %[u], r11\n\t"
      : [p] "=&l"(p), [q] "=&l"(q), [t] "=&l"(t), [u] "=&l"(u), [v] "=&l"(v), [mask] "=&l"(mask), [x] "+l"(x), [w] "+l"(stop)
      : [from] "m"(w)
      : "r8", "r9", "r10", "r11", "r12", "cc", "memory");
  lanes[0] = p;
  lanes[1] = q;
  lanes[2] = t;
  lanes[3] = u;
}
#undef JLT_V6M_K

#define JLT_V6M_ROW(k, i, a)                                                    \
  "ldrb %[t], [%[w], #(8 * " k " + " i ")]\n\tmuls %[t], %[v], %[t]\n\tadd " a ", %[t]\n\t"
#define JLT_V6M_K(k)                                                                    \
  "ldrb %[v], [%[x], #" k "]\n\t"                                                       \
  JLT_V6M_ROW(k, "0", "r8") JLT_V6M_ROW(k, "1", "r9") JLT_V6M_ROW(k, "2", "r10") JLT_V6M_ROW(k, "3", "r11") \
  JLT_V6M_ROW(k, "4", "r12") JLT_V6M_ROW(k, "5", "lr") JLT_V6M_ROW(k, "6", "%[a6]") JLT_V6M_ROW(k, "7", "%[a7]")

static JLT_V6M_APART JLT_V6M_UNUSED void jlt_v6m_row_8(const uint8_t *x, const uint8_t *x_end, const uint8_t *w, uint32_t *sums) {
  uint32_t *const to = sums;
  uint32_t a6;
  uint32_t a7;
  uint32_t t;
  uint32_t v;
  __asm__ volatile(
      JLT_V6M_SYNTAX
      "movs %[a6], #0\n\tmovs %[a7], #0\n\t"
      "mov r8, %[a6]\n\tmov r9, %[a6]\n\tmov r10, %[a6]\n\tmov r11, %[a6]\n\tmov r12, %[a6]\n\tmov lr, %[a6]\n\t"
      "1:\n\t" JLT_V6M_K("0") JLT_V6M_K("1") JLT_V6M_K("2") JLT_V6M_K("3")
      "adds %[x], #4\n\t"
      "adds %[w], #32\n\t"
      "cmp %[x], %[end]\n\t"
      "bne 1b\n\t"
      "ldr %[w], %[to]\n\t"
      "mov %[t], r8\n\tmov %[v], r9\n\tstr %[t], [%[w]]\n\tstr %[v], [%[w], #4]\n\t"
      "mov %[t], r10\n\tmov %[v], r11\n\tstr %[t], [%[w], #8]\n\tstr %[v], [%[w], #12]\n\t"
      "mov %[t], r12\n\tmov %[v], lr\n\tstr %[t], [%[w], #16]\n\tstr %[v], [%[w], #20]\n\t"
      "str %[a6], [%[w], #24]\n\tstr %[a7], [%[w], #28]\n\t"
      : [a6] "=&l"(a6), [a7] "=&l"(a7), [t] "=&l"(t), [v] "=&l"(v), [x] "+l"(x), [w] "+l"(w)
      : [end] "l"(x_end), [to] "m"(to)
      : "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}
#undef JLT_V6M_K
#undef JLT_V6M_ROW

#define JLT_V6M_PAIR_OF(i, a)                                                                       \
  "ldr %[word], [%[w], #(4 * " i ")]\n\t"                                                           \
  "movs %[t], %[word]\n\tands %[t], %[mask]\n\tmuls %[t], %[x0], %[t]\n\tadd " a ", %[t]\n\t"       \
  "lsrs %[t], %[word], #4\n\tands %[t], %[mask]\n\tmuls %[t], %[x1], %[t]\n\tadd " a ", %[t]\n\t"   \
  "lsrs %[t], %[word], #8\n\tands %[t], %[mask]\n\tmuls %[t], %[x2], %[t]\n\tadd " a ", %[t]\n\t"   \
  "lsrs %[t], %[word], #12\n\tands %[t], %[mask]\n\tmuls %[t], %[x3], %[t]\n\tadd " a ", %[t]\n\t"

static JLT_ALWAYS_INLINE JLT_V6M_UNUSED void jlt_v6m_row_run_4(const uint8_t *x, const uint8_t *stop, const uint8_t *w, uint32_t *sums) {
  uint32_t x0;
  uint32_t x1;
  uint32_t x2;
  uint32_t x3;
  uint32_t word;
  uint32_t mask;
  uint32_t t;
  const uint8_t *const from = x;
  const uint8_t *const end = stop;
  __asm__ volatile(
      JLT_V6M_SYNTAX
      "ldr %[t], %[from]\n\tmov r12, %[t]\n\t"
      "ldr %[t], %[end]\n\tmov lr, %[t]\n\t"
      "movs %[mask], #0\n\t"
      "mov r8, %[mask]\n\tmov r9, %[mask]\n\tmov r10, %[mask]\n\tmov r11, %[mask]\n\t"
      "movs %[mask], #15\n\tlsls %[t], %[mask], #16\n\torrs %[mask], %[t]\n\t"
      "1:\n\t"
      "mov %[t], r12\n\t"
      "ldrb %[x0], [%[t]]\n\tldrb %[x1], [%[t], #1]\n\tldrb %[x2], [%[t], #2]\n\tldrb %[x3], [%[t], #3]\n\t"
      "adds %[t], #4\n\t"
      "mov r12, %[t]\n\t"
      JLT_V6M_PAIR_OF("0", "r8") JLT_V6M_PAIR_OF("1", "r9") JLT_V6M_PAIR_OF("2", "r10") JLT_V6M_PAIR_OF("3", "r11")
      "adds %[w], #16\n\t"
      "cmp r12, lr\n\t"
      "bne 1b\n\t"
      "mov %[x0], r8\n\tmov %[x1], r9\n\tmov %[x2], r10\n\tmov %[x3], r11\n\t"
      : [x0] "=&l"(x0), [x1] "=&l"(x1), [x2] "=&l"(x2), [x3] "=&l"(x3), [word] "=&l"(word), [mask] "=&l"(mask),
        [t] "=&l"(t), [w] "+l"(w)
      : [from] "m"(from), [end] "m"(end)
      : "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
  const uint32_t lanes[4] = {x0, x1, x2, x3};
  jlt_v6m_split_add(lanes, sums);
}
#undef JLT_V6M_PAIR_OF

#endif
