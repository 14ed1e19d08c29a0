// SPDX-License-Identifier: Apache-2.0
// Patches of a convolution's input, row behind row, padded with its zero point; what is behind one in its last vector may be anything.
#ifndef JLT_KERNELS_MVE_GATHER_H
#define JLT_KERNELS_MVE_GATHER_H

#include "kernels/mve/bytes.h"
#include "kernels/mve/layout.h"

// Where the window of an output pixel begins.
typedef struct {
  const int8_t *image;
  int32_t y;
  int32_t x;
  uint32_t out_y;
  uint32_t out_x;
} jlt_mve_place_t;

static inline jlt_mve_place_t jlt_mve_place(const jlt_conv_params_t *p, const int8_t *in, uint32_t pixel) {
  const uint32_t row = pixel / p->out_w;
  const uint32_t out_x = pixel % p->out_w;
  const uint32_t out_y = row % p->out_h;
  return (jlt_mve_place_t){
      .image = in + (size_t)(row / p->out_h) * p->in_h * p->in_w * p->in_c,
      .y = (int32_t)(out_y * p->stride_h) - p->pad_top,
      .x = (int32_t)(out_x * p->stride_w) - p->pad_left,
      .out_y = out_y,
      .out_x = out_x,
  };
}

static JLT_ALWAYS_INLINE void jlt_mve_go_on(const jlt_conv_params_t *p, jlt_mve_place_t *at) {
  at->x += p->stride_w;
  if (++at->out_x < p->out_w) {
    return;
  }
  at->out_x = 0;
  at->x = -(int32_t)p->pad_left;
  at->y += p->stride_h;
  if (++at->out_y == p->out_h) {
    at->out_y = 0;
    at->y = -(int32_t)p->pad_top;
    at->image += (size_t)p->in_h * p->in_w * p->in_c;
  }
}

static inline void jlt_mve_gather_border(const jlt_conv_params_t *p, const jlt_mve_place_t *at, int8_t *to) {
  const uint32_t c = p->in_c;
  const jlt_inside_t inside = jlt_inside(at->x, p->k_w, p->in_w);
  const uint32_t end = inside.before + inside.count;
  int32_t y = at->y;
  for (uint32_t ky = 0; ky < p->k_h; ky++, y++, to += p->k_w * c) {
    if (y < 0 || y >= (int32_t)p->in_h) {
      jlt_mve_fill(to, p->in_zero_point, p->k_w * c);
      continue;
    }
    jlt_mve_fill(to, p->in_zero_point, inside.before * c);
    jlt_mve_copy(to + inside.before * c, at->image + ((size_t)y * p->in_w + inside.from) * c, inside.count * c);
    jlt_mve_fill(to + end * c, p->in_zero_point, (p->k_w - end) * c);
  }
}

// The patches of `count` output pixels, `length` bytes each; moves on behind them.
static __attribute__((noinline)) void jlt_mve_gather(const jlt_conv_params_t *p, jlt_mve_place_t *place, uint32_t count, uint32_t length, int8_t *to) {
  const uint32_t bytes = p->k_w * p->in_c;
  const uint32_t row = p->in_w * p->in_c;
  const int32_t last_x = (int32_t)p->in_w - p->k_w;
  const int32_t last_y = (int32_t)p->in_h - p->k_h;
  jlt_mve_place_t at = *place;
  for (; count > 0; count--, to += length, jlt_mve_go_on(p, &at)) {
    if (at.x < 0 || at.y < 0 || at.x > last_x || at.y > last_y) {
      jlt_mve_gather_border(p, &at, to);
      continue;
    }
    const int8_t *from = at.image + (uint32_t)at.y * row + (uint32_t)at.x * p->in_c;
    if (bytes <= JLT_MVE_BYTES) {
      jlt_mve_copy_rows(to, bytes, from, row, bytes, p->k_h);
      continue;
    }
    int8_t *next = to;
    for (uint32_t ky = p->k_h; ky > 0; ky--, from += row, next += bytes) {
      jlt_mve_copy(next, from, bytes);
    }
  }
  *place = at;
}

// Windows of one pixel each, without a border between: nothing to be looked for.
static inline bool jlt_mve_is_pointwise(const jlt_conv_params_t *p) {
  return p->k_h == 1 && p->k_w == 1 && p->stride_h == 1 && p->stride_w == 1 && p->out_h == p->in_h && p->out_w == p->in_w &&
         p->pad_top == 0 && p->pad_left == 0;
}

static JLT_ALWAYS_INLINE void jlt_mve_gather_pointwise(const int8_t *from, uint32_t c, uint32_t length, uint32_t count, int8_t *to) {
  if (c == length) {
    jlt_mve_copy(to, from, count * c);
  } else if (c < JLT_MVE_BYTES) {
    jlt_mve_copy_rows(to, JLT_MVE_BYTES, from, c, c, count);
  } else {
    for (; count > 0; count--, to += length, from += c) {
      jlt_mve_copy(to, from, c);
    }
  }
}

#endif
