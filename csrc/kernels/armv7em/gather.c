// SPDX-License-Identifier: Apache-2.0
// Widening patches; armv7em/gather.h.
#include "kernels/variants.h"

#if defined(JLT_WITH_ARMV7EM) && defined(__ARM_FEATURE_DSP) && JLT_IS_M_PROFILE
#include "kernels/armv7em/gather.h"
#include "kernels/armv7em/simd.h"

enum { PAIRS = JLT_V7_PIXELS, GROUP = 2 * JLT_V7_PIXELS };  // words

static inline uint32_t *widen_word(uint32_t *to, uint32_t minus, uint32_t word) {
  to[PAIRS] = jlt_widen_odd(minus, word);
  to[0] = jlt_widen_even(minus, word);
  return to + GROUP;
}

// What the last group of a patch has, from the first kernel row's end on: what is left of the kernel rows, then the zero point.
static inline uint32_t joined_word(const jlt_v7_gather_t *g, const int8_t *from) {
  uint32_t word = g->left_points;
  for (uint32_t ky = g->p->k_h; ky > 0; ky--) {
    word = word << 8 | (uint8_t)from[(ky - 1u) * g->in_row];
  }
  return word;
}

// What is left of a kernel row is the end of the word that ends with it, then the zero point.
static inline uint32_t left_word(const jlt_v7_gather_t *g, const int8_t *row) {
  return g->left_points | jlt_word_at(row + g->left_at) >> g->left_shift;
}

// Groups of one pixel.
__attribute__((noinline)) static uint32_t *widen(uint32_t *to, uint32_t minus, const int8_t *from, uint32_t groups) {
#pragma GCC unroll 4
  for (; groups > 0; groups--, from += 4) {
    to = widen_word(to, minus, jlt_word_at(from));
  }
  return to;
}

// One pixel whose window lies inside.
__attribute__((noinline)) static void one_inside(const jlt_v7_gather_t *g, const int8_t *from, uint32_t *to) {
  const uint32_t minus = g->minus;
  const int8_t *const ends = from + 4u * g->patch.whole;
  for (uint32_t ky = g->p->k_h;;) {
    to = widen(to, minus, from, g->patch.whole);
    if (g->left_at > 0) {
      to = widen_word(to, minus, left_word(g, from));
    }
    if (--ky == 0) {
      break;
    }
    from += g->in_row;
  }
  if (g->patch.joined) {
    widen_word(to, minus, joined_word(g, ends));
  }
}

// A group of four pixels.
#define LOAD_FOUR                             \
  "ldr r5, [%[from], %[step]]\n\t"            \
  "ldr r6, [%[from], %[step], lsl #1]\n\t"    \
  "ldr r4, [%[from]], #4\n\t"                 \
  "ldr r8, [%[last]], #4\n\t"
#define WIDEN_FOUR                            \
  "sxtab16 r0, %[minus], r4\n\t"              \
  "sxtab16 r1, %[minus], r5\n\t"              \
  "sxtab16 r2, %[minus], r6\n\t"              \
  "sxtab16 r3, %[minus], r8\n\t"              \
  "stmia %[to]!, {r0-r3}\n\t"                 \
  "sxtab16 r4, %[minus], r4, ror #8\n\t"      \
  "sxtab16 r5, %[minus], r5, ror #8\n\t"      \
  "sxtab16 r6, %[minus], r6, ror #8\n\t"      \
  "sxtab16 r8, %[minus], r8, ror #8\n\t"      \
  "stmia %[to]!, {r4, r5, r6, r8}\n\t"

// One kernel row's whole groups of four pixels, at least one; an odd count enters the loop in its middle. A function of its own, as it
// takes all registers.
__attribute__((noinline)) static uint32_t *widen_four(const jlt_v7_gather_t *g, const int8_t *from, uint32_t step, uint32_t *to) {
  const int8_t *last = from + 3u * step;
  uint32_t groups = g->patch.whole;
  __asm__ volatile(
      "lsrs r0, %[groups], #1\n\t"
      "add %[groups], %[from], %[groups], lsl #2\n\t"
      "bcs 2f\n"
      "1:\n\t" LOAD_FOUR WIDEN_FOUR
      "2:\n\t" LOAD_FOUR WIDEN_FOUR
      "cmp %[from], %[groups]\n\t"
      "bne 1b\n\t"
      : [to] "+r"(to), [from] "+r"(from), [last] "+r"(last), [groups] "+r"(groups)
      : [step] "r"(step), [minus] "r"(g->minus)
      : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r8", "cc", "memory");
  return to;
}

// joined_word of four pixels.
static inline void join_four(const jlt_v7_gather_t *g, const int8_t *from, uint32_t step, uint32_t *to) {
  uint32_t word0 = g->left_points;
  uint32_t word1 = word0;
  uint32_t word2 = word0;
  uint32_t word3 = word0;
  for (uint32_t ky = g->p->k_h; ky > 0; ky--) {
    const uint8_t *end = (const uint8_t *)from + (ky - 1u) * g->in_row;
    word0 = word0 << 8 | end[0];
    word1 = word1 << 8 | end[step];
    word2 = word2 << 8 | end[2u * step];
    word3 = word3 << 8 | end[3u * step];
  }
  widen_word(to, g->minus, word0);
  widen_word(to + 1, g->minus, word1);
  widen_word(to + 2, g->minus, word2);
  widen_word(to + 3, g->minus, word3);
}

// Four pixels whose windows lie inside, `step` bytes apart.
static void four_inside(const jlt_v7_gather_t *g, const int8_t *from, uint32_t step, uint32_t *to) {
  const int8_t *const ends = from + 4u * g->patch.whole;
  for (uint32_t ky = g->p->k_h;;) {
    if (g->patch.whole > 0) {
      to = widen_four(g, from, step, to);
    }
    if (g->left_at > 0) {
      for (uint32_t i = 0; i < PAIRS; i++) {
        widen_word(to + i, g->minus, left_word(g, from + i * step));
      }
      to += GROUP;
    }
    if (--ky == 0) {
      break;
    }
    from += g->in_row;
  }
  if (g->patch.joined) {
    join_four(g, ends, step, to);
  }
}

static inline uint32_t *clear(uint32_t *to, uint32_t groups) {
  for (; groups > 0; groups--, to += GROUP) {
    to[0] = to[PAIRS] = 0;
  }
  return to;
}

// A kernel row of which `count` elements, from element `begin` on, lie in the input, at `from`. The zero point stands for the others.
static uint32_t *row_at_border(const jlt_v7_gather_t *g, const int8_t *from, uint32_t begin, uint32_t count, uint32_t *to) {
  const uint32_t groups = g->patch.whole + (g->patch.left > 0 && !g->patch.joined);
  if ((begin | count | g->patch.left) % 4u == 0) {
    return clear(widen(clear(to, begin / 4u), g->minus, from, count / 4u), groups - (begin + count) / 4u);
  }
  for (uint32_t i = 0; i < 4u * groups; i += 4) {
    uint32_t word = 0;
    for (uint32_t k = 4; k > 0; k--) {
      const uint32_t at = i + k - 1u - begin;
      word = word << 8 | (uint8_t)(at < count ? from[at] : g->p->in_zero_point);
    }
    to = widen_word(to, g->minus, word);
  }
  return to;
}

__attribute__((noinline)) static void one_at_border(const jlt_v7_gather_t *g, const int8_t *image, int32_t y0, int32_t x0,
                                                    uint32_t *to) {
  const jlt_conv_params_t *p = g->p;
  const jlt_inside_t columns = jlt_inside(x0, p->k_w, p->in_w);
  const uint32_t begin = columns.before * p->in_c;
  const uint32_t end_at = 4u * g->patch.whole - begin;  // where what is left of a kernel row is, if that lies in the input
  uint32_t ends = g->left_points;  // what is left of every row, shifted in from above
  for (uint32_t ky = 0; ky < p->k_h; ky++) {
    const uint32_t y = (uint32_t)(y0 + (int32_t)ky);
    const bool is_in = y < p->in_h;
    const int8_t *from = image + (is_in ? y * g->in_row + columns.from * p->in_c : 0u);
    const uint32_t count = is_in ? columns.count * p->in_c : 0u;
    to = row_at_border(g, from, begin, count, to);
    ends = ends >> 8 | (uint32_t)(uint8_t)(end_at < count ? from[end_at] : p->in_zero_point) << 24;
  }
  if (g->patch.joined) {
    widen_word(to, g->minus, ends >> (32u - 8u * p->k_h) | ends << 8u * p->k_h % 32u);
  }
}

jlt_v7_gather_t jlt_v7_gatherer(const jlt_conv_params_t *p, const int8_t *in) {
  const jlt_v7_patch_t patch = jlt_v7_patch(p);
  const bool is_readable = patch.whole > 0 || patch.left == 0 || patch.joined;  // else the word would begin before the row
  return (jlt_v7_gather_t){
      .p = p,
      .in = in,
      .patch = patch,
      .minus = jlt_minus_pair(p->in_zero_point),
      .in_row = p->in_w * p->in_c,
      .step = p->stride_w * p->in_c,
      .left_at = patch.left > 0 && !patch.joined ? 4u * patch.whole + patch.left - 4u : 0u,
      .left_shift = 32u - 8u * patch.left,
      .left_points = ((uint32_t)(uint8_t)p->in_zero_point * 0x01010101u) << (patch.joined ? 0u : 8u * patch.left),
      .end_inside = is_readable ? (int32_t)p->in_w - p->k_w : -1,
      .is_flat = is_readable && p->k_h == 1 && p->k_w == 1 && p->stride_h == 1 && p->stride_w == 1 && p->in_h == p->out_h &&
                 p->in_w == p->out_w,
  };
}

// `count` pixels of one row of the output, 1 or 4.
static void gather_row(const jlt_v7_gather_t *g, uint32_t row, uint32_t x, uint32_t count, uint32_t *to) {
  const jlt_conv_params_t *p = g->p;
  const uint32_t image_index = row / p->out_h;
  const int8_t *image = g->in + (size_t)image_index * p->in_h * g->in_row;
  const int32_t y0 = (int32_t)((row - image_index * p->out_h) * p->stride_h) - p->pad_top;
  const bool rows_inside = y0 >= 0 && y0 + p->k_h <= (int32_t)p->in_h;
  int32_t x0 = (int32_t)(x * p->stride_w) - p->pad_left;
  if (count == PAIRS && rows_inside && x0 >= 0 && x0 + 3 * p->stride_w <= g->end_inside) {
    four_inside(g, image + (uint32_t)y0 * g->in_row + (uint32_t)x0 * p->in_c, g->step, to);
    return;
  }
  for (; count > 0; count--, to++, x0 += p->stride_w) {
    if (rows_inside && x0 >= 0 && x0 <= g->end_inside) {
      one_inside(g, image + (uint32_t)y0 * g->in_row + (uint32_t)x0 * p->in_c, to);
    } else {
      one_at_border(g, image, y0, x0, to);
    }
  }
}

void jlt_v7_gather(const jlt_v7_gather_t *g, uint32_t first, uint32_t count, uint32_t *to) {
  if (g->is_flat) {
    four_inside(g, g->in + (size_t)first * g->step, count == 1 ? 0u : g->step, to);
    return;
  }
  const uint32_t width = g->p->out_w;
  uint32_t row = first / width;
  uint32_t x = first - row * width;
  for (uint32_t n; count > 0; count -= n, to += n, x += n) {
    if (x == width) {
      x = 0;
      row++;
    }
    n = x + count <= width ? count : 1;
    gather_row(g, row, x, n, to);
  }
}

void jlt_v7_sum_patches(const uint32_t *patches, uint32_t groups, int32_t *sums) {
  const uint32_t *const end = patches + (size_t)groups * GROUP;
  int32_t s0 = 0;
  int32_t s1 = 0;
  int32_t s2 = 0;
  int32_t s3 = 0;
  uint32_t x;
  uint32_t y;
  while (patches < end) {
    __asm__(
        "ldrd %[x], %[y], [%[patches]]\n\t"
        "smlad %[s0], %[x], %[ones], %[s0]\n\t"
        "smlad %[s1], %[y], %[ones], %[s1]\n\t"
        "ldrd %[x], %[y], [%[patches], #8]\n\t"
        "smlad %[s2], %[x], %[ones], %[s2]\n\t"
        "smlad %[s3], %[y], %[ones], %[s3]\n\t"
        "ldrd %[x], %[y], [%[patches], #16]\n\t"
        "smlad %[s0], %[x], %[ones], %[s0]\n\t"
        "smlad %[s1], %[y], %[ones], %[s1]\n\t"
        "ldrd %[x], %[y], [%[patches], #24]\n\t"
        "smlad %[s2], %[x], %[ones], %[s2]\n\t"
        "smlad %[s3], %[y], %[ones], %[s3]"
        : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [x] "=&r"(x), [y] "=&r"(y)
        : [patches] "r"(patches), [ones] "r"(0x00010001u)
        : "memory");
    patches += GROUP;
  }
  sums[0] = s0;
  sums[1] = s1;
  sums[2] = s2;
  sums[3] = s3;
}
#endif
