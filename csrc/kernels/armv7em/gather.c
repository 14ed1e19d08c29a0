// SPDX-License-Identifier: Apache-2.0
// Widening patches; armv7em/gather.h.
#include "kernels/variants.h"

#if defined(__ARM_FEATURE_DSP) && JLT_IS_M_PROFILE
#include "kernels/armv7em/gather.h"
#include "kernels/armv7em/simd.h"

enum { PAIRS = JLT_V7_PIXELS, GROUP = 2 * JLT_V7_PIXELS };  // words

typedef struct {
  const jlt_conv_params_t *p;
  jlt_v7_patch_t patch;
  uint32_t minus;  // the zero point, twice
  uint32_t *to;    // group 0 of one pixel
} pixel_t;

static inline uint32_t *widen_word(uint32_t *to, uint32_t minus, const int8_t *from) {
  const uint32_t word = jlt_word_at(from);
  to[PAIRS] = jlt_widen_odd(minus, word);
  to[0] = jlt_widen_even(minus, word);
  return to + GROUP;
}

static uint32_t *widen(uint32_t *to, uint32_t minus, const int8_t *from, uint32_t groups) {
  for (; groups >= 4; groups -= 4, from += 16) {
    to = widen_word(to, minus, from);
    to = widen_word(to, minus, from + 4);
    to = widen_word(to, minus, from + 8);
    to = widen_word(to, minus, from + 12);
  }
  for (; groups > 0; groups--, from += 4) {
    to = widen_word(to, minus, from);
  }
  return to;
}

static uint32_t *zeros(uint32_t *to, uint32_t groups) {
  for (; groups > 0; groups--, to += GROUP) {
    to[PAIRS] = 0;
    to[0] = 0;
  }
  return to;
}

// One element of a group.
static inline void put(uint32_t *to, uint32_t element, int32_t value) {
  ((int16_t *)(to + (size_t)(element / 4u) * GROUP + (element & 1u) * PAIRS))[element >> 1 & 1u] = (int16_t)value;
}

static void inside(const pixel_t *o, const int8_t *from, uint32_t in_row) {
  const jlt_conv_params_t *p = o->p;
  const jlt_v7_patch_t patch = o->patch;
  uint32_t *to = o->to;
  uint32_t element = 4u * patch.whole * p->k_h;
  for (uint32_t ky = p->k_h; ky > 0; ky--, from += in_row) {
    to = widen(to, o->minus, from, patch.whole);
    for (uint32_t i = 0; i < patch.left; i++) {
      put(o->to, element++, from[4u * patch.whole + i] - p->in_zero_point);
    }
  }
}

// A kernel row of which the elements [begin, end) lie in the input; `from` is where element 0 would.
static void row_at_border(const pixel_t *o, uint32_t ky, const int8_t *from, uint32_t begin, uint32_t end) {
  const jlt_v7_patch_t patch = o->patch;
  uint32_t *to = o->to + (size_t)ky * patch.whole * GROUP;
  if ((begin | end | patch.left) % 4u == 0) {
    to = zeros(to, begin / 4u);
    to = widen(to, o->minus, from + begin, (end - begin) / 4u);
    zeros(to, patch.whole - end / 4u);
    return;
  }
  for (uint32_t i = 0; i < 4u * patch.whole + patch.left; i++) {
    const int32_t value = i >= begin && i < end ? from[i] - o->p->in_zero_point : 0;
    if (i < 4u * patch.whole) {
      put(to, i, value);
    } else {
      put(o->to, 4u * patch.whole * o->p->k_h + ky * patch.left + i - 4u * patch.whole, value);
    }
  }
}

static void at_border(const pixel_t *o, const int8_t *image, int32_t y0, int32_t x0) {
  const jlt_conv_params_t *p = o->p;
  const int32_t k_w = p->k_w;
  const int32_t room = (int32_t)p->in_w - x0;
  const int32_t first = x0 < 0 ? (-x0 < k_w ? -x0 : k_w) : 0;
  const int32_t end = room < k_w ? (room > first ? room : first) : k_w;
  for (uint32_t ky = 0; ky < p->k_h; ky++) {
    const int32_t y = y0 + (int32_t)ky;
    if (y < 0 || y >= (int32_t)p->in_h) {
      row_at_border(o, ky, image, 0, 0);
    } else {
      row_at_border(o, ky, image + (y * (int32_t)p->in_w + x0) * (int32_t)p->in_c, (uint32_t)first * p->in_c,
                    (uint32_t)end * p->in_c);
    }
  }
}

void jlt_v7_gather(const jlt_conv_params_t *p, jlt_v7_patch_t patch, const int8_t *in, uint32_t first, uint32_t count,
                   uint32_t *to) {
  const uint32_t in_row = p->in_w * p->in_c;
  pixel_t o = {.p = p, .patch = patch, .minus = jlt_minus_pair(p->in_zero_point), .to = to};
  uint32_t row = first / p->out_w;
  uint32_t x = first - row * p->out_w;
  for (; count > 0; count--, o.to++, x++) {
    if (x == p->out_w) {
      x = 0;
      row++;
    }
    const uint32_t image_index = row / p->out_h;
    const int8_t *image = in + (size_t)image_index * p->in_h * in_row;
    const int32_t y0 = (int32_t)((row - image_index * p->out_h) * p->stride_h) - p->pad_top;
    const int32_t x0 = (int32_t)(x * p->stride_w) - p->pad_left;
    if (y0 >= 0 && x0 >= 0 && y0 + p->k_h <= (int32_t)p->in_h && x0 + p->k_w <= (int32_t)p->in_w) {
      inside(&o, image + (size_t)y0 * in_row + (size_t)x0 * p->in_c, in_row);
    } else {
      at_border(&o, image, y0, x0);
    }
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
