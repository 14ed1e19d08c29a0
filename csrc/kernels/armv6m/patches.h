// SPDX-License-Identifier: Apache-2.0
// Patches of pixels as the convolutions for cores without SIMD want them: a = x + 128 as bytes or halfwords, those of four pixels side
// by side as [k][4], or the only pixel's.
#ifndef JLT_KERNELS_ARMV6M_PATCHES_H
#define JLT_KERNELS_ARMV6M_PATCHES_H

#include "kernels/armv6m/layout.h"
#include "kernels/armv6m/scale.h"

typedef struct {
  const jlt_conv_params_t *p;
  const jlt_weights_t *w;
  const jlt_v6m_channel_t *channels;
  void *cells;
  jlt_v6m_out_t out;
  uint32_t last;               // products of the last run
  uint32_t run;                // products of the others
  uint32_t zero;               // of the input, unsigned
  bool is_4;                   // the precision
  bool is_flat;                // each output has one input, in the same order
  uint32_t sums_x[JLT_V6M_PIXELS];  // Σ a, times 128 or 15
} jlt_v6m_frame_t;

// How cells of a patch lie: bytes or halfwords, one pixel's or four pixels' side by side.
typedef enum { JLT_V6M_CELLS_BYTES, JLT_V6M_CELLS_BYTES_OF_4, JLT_V6M_CELLS_HALVES_OF_4 } jlt_v6m_cells_t;

static JLT_ALWAYS_INLINE void jlt_v6m_put(void *cells, uint32_t k, uint32_t value, jlt_v6m_cells_t as) {
  if (as == JLT_V6M_CELLS_HALVES_OF_4) {
    ((uint16_t *)cells)[4 * k] = (uint16_t)value;
  } else {
    ((uint8_t *)cells)[as == JLT_V6M_CELLS_BYTES ? k : 4 * k] = (uint8_t)value;
  }
}

static JLT_ALWAYS_INLINE void *jlt_v6m_skip(void *cells, uint32_t k, jlt_v6m_cells_t as) {
  return (uint8_t *)cells + k * (as == JLT_V6M_CELLS_BYTES ? 1u : as == JLT_V6M_CELLS_BYTES_OF_4 ? 4u : 8u);
}

// Copies `count` values; returns their sum.
static JLT_ALWAYS_INLINE uint32_t jlt_v6m_take(const int8_t *from, uint32_t count, void *cells, jlt_v6m_cells_t as) {
  uint32_t sum = 0;
  const uint8_t *x = (const uint8_t *)from;
  for (; count >= 4; count -= 4, x += 4, cells = jlt_v6m_skip(cells, 4, as)) {
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; k++) {
      const uint32_t value = x[k] ^ 0x80u;
      jlt_v6m_put(cells, k, value, as);
      sum += value;
    }
  }
  for (uint32_t k = 0; k < count; k++) {
    const uint32_t value = x[k] ^ 0x80u;
    jlt_v6m_put(cells, k, value, as);
    sum += value;
  }
  return sum;
}

static JLT_ALWAYS_INLINE uint32_t jlt_v6m_pad(uint32_t zero, uint32_t count, void *cells, jlt_v6m_cells_t as) {
  for (uint32_t k = 0; k < count; k++) {
    jlt_v6m_put(cells, k, zero, as);
  }
  return zero * count;
}

// One pixel's patch; returns Σ a.
static JLT_ALWAYS_INLINE uint32_t jlt_v6m_gather(const jlt_v6m_frame_t *f, const int8_t *image, uint32_t out_y, uint32_t out_x, void *cells,
                                         jlt_v6m_cells_t as) {
  const jlt_conv_params_t *p = f->p;
  const uint32_t c = p->in_c;
  const uint32_t k_w = p->k_w;
  const jlt_inside_t inside = jlt_inside((int32_t)(out_x * p->stride_w) - p->pad_left, k_w, p->in_w);
  const uint32_t end = inside.before + inside.count;
  uint32_t sum = 0;
  int32_t y = (int32_t)(out_y * p->stride_h) - p->pad_top;
  for (uint32_t ky = 0; ky < p->k_h; ky++, y++) {
    if (y < 0 || y >= (int32_t)p->in_h) {
      sum += jlt_v6m_pad(f->zero, k_w * c, cells, as);
    } else {
      const int8_t *row = image + ((size_t)y * p->in_w + inside.from) * c;
      sum += jlt_v6m_pad(f->zero, inside.before * c, cells, as);
      sum += jlt_v6m_take(row, inside.count * c, jlt_v6m_skip(cells, inside.before * c, as), as);
      sum += jlt_v6m_pad(f->zero, (k_w - end) * c, jlt_v6m_skip(cells, end * c, as), as);
    }
    cells = jlt_v6m_skip(cells, k_w * c, as);
  }
  return sum;
}

static JLT_ALWAYS_INLINE uint8_t *jlt_v6m_put_word(uint8_t *cells, uint32_t word) {
  __builtin_memcpy(__builtin_assume_aligned(cells, 4), &word, sizeof(word));  // memcpy itself may be a call
  return cells + sizeof(word);
}

// Patches of `count` pixels from `first`, side by side, as halfwords, as bytes, or as halfwords for weights of 8 bits; fills in `sums_x`.
void jlt_v6m_gather_4(jlt_v6m_frame_t *f, const int8_t *in, uint32_t first, uint32_t count);
void jlt_v6m_gather_8(jlt_v6m_frame_t *f, const int8_t *in, uint32_t first, uint32_t count);
void jlt_v6m_gather_halves_8(jlt_v6m_frame_t *f, const int8_t *in, uint32_t first, uint32_t count);

static inline bool jlt_v6m_is_flat(const jlt_conv_params_t *p) {
  return p->k_h == 1 && p->k_w == 1 && p->stride_h == 1 && p->stride_w == 1 && p->pad_top == 0 && p->pad_left == 0 &&
         p->in_h == p->out_h && p->in_w == p->out_w;
}

// What a call's patches begin with; `is_4` is false where weights are read at 8 bits, sparse ones too.
static JLT_ALWAYS_INLINE jlt_v6m_frame_t jlt_v6m_frame(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  return (jlt_v6m_frame_t){
      .p = p,
      .w = &call->weights,
      .channels = call->scratch,
      .cells = (uint8_t *)call->scratch + jlt_v6m_table_bytes(p),
      .zero = (uint32_t)(p->in_zero_point + 128),
      .is_flat = jlt_v6m_is_flat(p),
      .is_4 = call->weights.low == NULL && call->weights.high != NULL,
  };
}

#endif
