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

static inline uint32_t *widen(uint32_t *to, uint32_t minus, const int8_t *from, uint32_t groups) {
  for (; groups >= 4; groups -= 4, from += 16) {
    to = widen_word(to, minus, jlt_word_at(from));
    to = widen_word(to, minus, jlt_word_at(from + 4));
    to = widen_word(to, minus, jlt_word_at(from + 8));
    to = widen_word(to, minus, jlt_word_at(from + 12));
  }
  if (groups & 2u) {
    to = widen_word(to, minus, jlt_word_at(from));
    to = widen_word(to, minus, jlt_word_at(from + 4));
    from += 8;
  }
  return groups & 1u ? widen_word(to, minus, jlt_word_at(from)) : to;
}

// What is left of the kernel rows, then the zero point.
static inline uint32_t joined_word(const jlt_v7_gather_t *g, const int8_t *from) {
  uint32_t word = g->left_points;
  for (uint32_t ky = g->p->k_h; ky > 0; ky--) {
    word = word << 8 | (uint8_t)from[(ky - 1u) * g->in_row];
  }
  return word;
}

// Pixels whose windows lie inside. What is left of a kernel row is the end of the word that ends with it, then the zero point. A
// function of its own, so that its loops have all registers.
__attribute__((noinline)) static void inside(const jlt_v7_gather_t *g, const int8_t *from, uint32_t count, uint32_t *to) {
  const uint32_t minus = g->minus;
  for (; count > 0; count--, to++, from += g->step) {
    const int8_t *row = from;
    uint32_t *group = to;
    for (uint32_t ky = g->p->k_h; ky > 0; ky--, row += g->in_row) {
      group = widen(group, minus, row, g->patch.whole);
      if (g->left_at > 0) {
        group = widen_word(group, minus, g->left_points | jlt_word_at(row + g->left_at) >> g->left_shift);
      }
    }
    if (g->patch.joined) {
      widen_word(group, minus, joined_word(g, from + 4u * g->patch.whole));
    }
  }
}

static inline void put(uint32_t *to, uint32_t element, int32_t value) {
  int16_t *pair = (int16_t *)(to + element / 4u * GROUP + (element & 1u) * PAIRS);
  pair[element >> 1 & 1u] = (int16_t)value;
}

// Kernel row `ky`, of which the elements [begin, end) lie in the input; `from` is where element 0 would.
static void row_at_border(const jlt_v7_gather_t *g, uint32_t ky, const int8_t *from, uint32_t begin, uint32_t end,
                          uint32_t *to) {
  const uint32_t whole = 4u * g->patch.whole;
  const uint32_t left = g->patch.left;
  const uint32_t row_elements = left > 0 && !g->patch.joined ? whole + 4u : whole;
  uint32_t *row = to + ky * row_elements / 4u * GROUP;
  if ((begin | end | left) % 4u == 0) {
    for (uint32_t i = 0; i < row_elements / 4u; i++) {
      row[i * GROUP] = row[i * GROUP + PAIRS] = 0;
    }
    widen(row + begin / 4u * GROUP, g->minus, from + begin, (end - begin) / 4u);
    return;
  }
  for (uint32_t i = 0; i < row_elements; i++) {
    put(row, i, i >= begin && i < end ? from[i] - g->p->in_zero_point : 0);
  }
  for (uint32_t i = whole; g->patch.joined && i < whole + left; i++) {
    put(to, g->p->k_h * whole + ky * left + i - whole, i >= begin && i < end ? from[i] - g->p->in_zero_point : 0);
  }
}

__attribute__((noinline)) static void at_border(const jlt_v7_gather_t *g, const int8_t *image, int32_t y0, int32_t x0,
                                                uint32_t *to) {
  const jlt_conv_params_t *p = g->p;
  const int32_t k_w = p->k_w;
  const int32_t room = (int32_t)p->in_w - x0;
  const int32_t first = x0 < 0 ? (-x0 < k_w ? -x0 : k_w) : 0;
  const int32_t end = room < k_w ? (room > first ? room : first) : k_w;
  for (uint32_t i = 0; g->patch.joined && i < 4; i++) {
    put(to, 4u * (g->patch.groups - 1u) + i, 0);
  }
  for (uint32_t ky = 0; ky < p->k_h; ky++) {
    const int32_t y = y0 + (int32_t)ky;
    const bool is_in = y >= 0 && y < (int32_t)p->in_h;
    row_at_border(g, ky, image + (y * (int32_t)p->in_w + x0) * (int32_t)p->in_c, is_in ? (uint32_t)first * p->in_c : 0u,
                  is_in ? (uint32_t)end * p->in_c : 0u, to);
  }
}

jlt_v7_gather_t jlt_v7_gatherer(const jlt_conv_params_t *p, const int8_t *in) {
  const jlt_v7_patch_t patch = jlt_v7_patch(p);
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
      // else the word would begin before the row
      .end_inside = patch.whole > 0 || patch.left == 0 || patch.joined ? (int32_t)p->in_w - p->k_w : -1,
  };
}

// Pixels of one row of the output.
static void gather_row(const jlt_v7_gather_t *g, uint32_t row, uint32_t x, uint32_t count, uint32_t *to) {
  const jlt_conv_params_t *p = g->p;
  const uint32_t image_index = row / p->out_h;
  const int8_t *image = g->in + (size_t)image_index * p->in_h * g->in_row;
  const int32_t y0 = (int32_t)((row - image_index * p->out_h) * p->stride_h) - p->pad_top;
  const bool rows_inside = y0 >= 0 && y0 + p->k_h <= (int32_t)p->in_h;
  int32_t x0 = (int32_t)(x * p->stride_w) - p->pad_left;
  for (uint32_t n; count > 0; count -= n, to += n) {
    const int8_t *from = image + (y0 * (int32_t)p->in_w + x0) * (int32_t)p->in_c;
    const bool is_inside = rows_inside && x0 >= 0 && x0 <= g->end_inside;
    int32_t next = x0 + p->stride_w;
    for (n = 1; is_inside && n < count && next <= g->end_inside; n++) {
      next += p->stride_w;
    }
    if (is_inside) {
      inside(g, from, n, to);
    } else {
      at_border(g, image, y0, x0, to);
    }
    x0 = next;
  }
}

void jlt_v7_gather(const jlt_v7_gather_t *g, uint32_t first, uint32_t count, uint32_t *to) {
  const uint32_t width = g->p->out_w;
  uint32_t row = first / width;
  uint32_t x = first - row * width;
  for (uint32_t n; count > 0; count -= n, to += n, x = 0, row++) {
    n = width - x < count ? width - x : count;
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
