// SPDX-License-Identifier: Apache-2.0
// Patches of four pixels at a time.
#include "kernels/armv6m/patches.h"

#include "kernels/variants.h"

#if defined(JLT_WITH_ARMV6M)

// `count` cells of four pixels that are `step` bytes apart: one word of bytes, or two of halfwords. Adds up what they hold.
static JLT_ALWAYS_INLINE uint8_t *take_4(const uint8_t *x, uint32_t step, uint32_t count, uint8_t *cells, bool halves, uint32_t *sums) {
  const uint8_t *const end = x + count;
  while (x != end) {
    const uint8_t *const stop = end - x > 256 ? x + 256 : end;  // as many as two lanes of a register hold
    uint32_t even = 0;
    uint32_t odd = 0;
    for (; x != stop; x++) {
      const uint32_t x0 = x[0];
      const uint32_t x1 = x[step];
      const uint32_t x2 = x[2 * step];
      const uint32_t x3 = x[3 * step];
      if (halves) {
        const uint32_t first = (x0 | x1 << 16) ^ 0x00800080u;
        const uint32_t second = (x2 | x3 << 16) ^ 0x00800080u;
        even += first;
        odd += second;
        cells = jlt_v6m_put_word(jlt_v6m_put_word(cells, first), second);
      } else {
        const uint32_t word = (x0 | x1 << 8 | x2 << 16 | x3 << 24) ^ 0x80808080u;
        even += word & 0x00FF00FFu;
        odd += (word >> 8) & 0x00FF00FFu;
        cells = jlt_v6m_put_word(cells, word);
      }
    }
    sums[0] += even & 0xFFFFu;
    sums[halves ? 1 : 2] += even >> 16;
    sums[halves ? 2 : 1] += odd & 0xFFFFu;
    sums[3] += odd >> 16;
  }
  return cells;
}

// Patches of four pixels that touch neither the left nor the right border; the first begins at `column` of the image.
static JLT_ALWAYS_INLINE void gather_inside(jlt_v6m_frame_t *f, const int8_t *image, int32_t y, uint32_t column, bool halves,
                                           uint32_t times) {
  const jlt_conv_params_t *p = f->p;
  const uint32_t row = p->k_w * p->in_c;
  const uint32_t step = p->stride_w * p->in_c;
  const uint32_t padding = f->zero * (halves ? 0x00010001u : 0x01010101u);
  uint8_t *cells = f->cells;
  uint32_t sums[JLT_V6M_PIXELS] = {0};
  for (uint32_t ky = 0; ky < p->k_h; ky++, y++) {
    if (y >= 0 && y < (int32_t)p->in_h) {
      const int8_t *from = image + ((size_t)y * p->in_w + column) * p->in_c;
      cells = take_4((const uint8_t *)from, step, row, cells, halves, sums);
      continue;
    }
    for (uint32_t k = halves ? 2 * row : row; k > 0; k--) {
      cells = jlt_v6m_put_word(cells, padding);
    }
    for (uint32_t i = 0; i < JLT_V6M_PIXELS; i++) {
      sums[i] += f->zero * row;
    }
  }
  for (uint32_t i = 0; i < JLT_V6M_PIXELS; i++) {
    f->sums_x[i] = sums[i] * times;
  }
}

// Patches of `count` pixels from `first`, side by side; Σ a is told `times` over.
static JLT_ALWAYS_INLINE void gather_block(jlt_v6m_frame_t *f, const int8_t *in, uint32_t first, uint32_t count, bool halves,
                                           uint32_t times) {
  const jlt_conv_params_t *p = f->p;
  if (f->is_flat && count == JLT_V6M_PIXELS) {
    gather_inside(f, in, 0, first, halves, times);
    return;
  }
  uint32_t x = first % p->out_w;
  uint32_t row = first / p->out_w;
  uint32_t y = row % p->out_h;
  const int8_t *image = in + (size_t)(row / p->out_h) * p->in_h * p->in_w * p->in_c;
  const int32_t column = (int32_t)(x * p->stride_w) - p->pad_left;
  if (count == JLT_V6M_PIXELS && x + count <= p->out_w && column >= 0 &&
      (uint32_t)column + (JLT_V6M_PIXELS - 1u) * p->stride_w + p->k_w <= p->in_w) {
    gather_inside(f, image, (int32_t)(y * p->stride_h) - p->pad_top, (uint32_t)column, halves, times);
    return;
  }
  for (uint32_t i = 0; i < count; i++) {
    uint8_t *to = (uint8_t *)f->cells + i * (halves ? 2u : 1u);
    f->sums_x[i] = jlt_v6m_gather(f, image, y, x, to, halves ? JLT_V6M_CELLS_HALVES_OF_4 : JLT_V6M_CELLS_BYTES_OF_4) * times;
    if (++x == p->out_w) {
      x = 0;
      if (++y == p->out_h) {
        y = 0;
        image += (size_t)p->in_h * p->in_w * p->in_c;
      }
    }
  }
}

void jlt_v6m_gather_4(jlt_v6m_frame_t *f, const int8_t *in, uint32_t first, uint32_t count) {
  gather_block(f, in, first, count, true, 15u);
}

void jlt_v6m_gather_8(jlt_v6m_frame_t *f, const int8_t *in, uint32_t first, uint32_t count) {
  gather_block(f, in, first, count, false, 128u);
}

void jlt_v6m_gather_halves_8(jlt_v6m_frame_t *f, const int8_t *in, uint32_t first, uint32_t count) {
  gather_block(f, in, first, count, true, 128u);
}

#endif
