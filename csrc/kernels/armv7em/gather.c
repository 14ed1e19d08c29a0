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
  for (; groups > 0; groups--, from += 4) {
    to = widen_word(to, minus, jlt_word_at(from));
  }
  return to;
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
      if (g->patch.left > 0) {
        group = widen_word(group, minus, g->left_points | jlt_word_at(row + g->left_at) >> g->left_shift);
      }
    }
  }
}

// A kernel row of which the elements [begin, end) lie in the input; `from` is where element 0 would.
static void row_at_border(const jlt_v7_gather_t *g, const int8_t *from, uint32_t begin, uint32_t end, uint32_t *to) {
  const uint32_t groups = g->patch.whole + (g->patch.left > 0);
  if ((begin | end) % 4u == 0) {
    for (uint32_t i = 0; i < groups; i++) {
      to[i * GROUP] = to[i * GROUP + PAIRS] = 0;
    }
    widen(to + begin / 4u * GROUP, g->minus, from + begin, (end - begin) / 4u);
    return;
  }
  for (uint32_t i = 0; i < 4u * groups; i++) {
    int16_t *pair = (int16_t *)(to + i / 4u * GROUP + (i & 1u) * PAIRS);
    pair[i >> 1 & 1u] = (int16_t)(i >= begin && i < end ? from[i] - g->p->in_zero_point : 0);
  }
}

__attribute__((noinline)) static void at_border(const jlt_v7_gather_t *g, const int8_t *image, int32_t y0, int32_t x0, uint32_t *to) {
  const jlt_conv_params_t *p = g->p;
  const int32_t k_w = p->k_w;
  const int32_t room = (int32_t)p->in_w - x0;
  const int32_t first = x0 < 0 ? (-x0 < k_w ? -x0 : k_w) : 0;
  const int32_t end = room < k_w ? (room > first ? room : first) : k_w;
  const uint32_t row_words = (g->patch.whole + (g->patch.left > 0)) * GROUP;
  for (uint32_t ky = 0; ky < p->k_h; ky++) {
    const int32_t y = y0 + (int32_t)ky;
    const bool is_in = y >= 0 && y < (int32_t)p->in_h;
    row_at_border(g, image + (y * (int32_t)p->in_w + x0) * (int32_t)p->in_c, is_in ? (uint32_t)first * p->in_c : 0u,
                  is_in ? (uint32_t)end * p->in_c : 0u, to + ky * row_words);
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
      .left_at = 4u * patch.whole + patch.left - 4u,
      .left_shift = 32u - 8u * patch.left,
      .left_points = ((uint32_t)(uint8_t)p->in_zero_point * 0x01010101u) << (8u * patch.left),
      // the word would begin before the row
      .end_inside = patch.whole > 0 || patch.left == 0 ? (int32_t)p->in_w - p->k_w : -1,
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
  const uint32_t ones = 0x00010001u;
  int32_t s0 = 0;
  int32_t s1 = 0;
  int32_t s2 = 0;
  int32_t s3 = 0;
  for (const uint32_t *end = patches + (size_t)groups * GROUP; patches < end; patches += PAIRS) {
    s0 = jlt_dot_pair(patches[0], ones, s0);
    s1 = jlt_dot_pair(patches[1], ones, s1);
    s2 = jlt_dot_pair(patches[2], ones, s2);
    s3 = jlt_dot_pair(patches[3], ones, s3);
  }
  sums[0] = s0;
  sums[1] = s1;
  sums[2] = s2;
  sums[3] = s3;
}
#endif
