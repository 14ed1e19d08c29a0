// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution for cores without SIMD: one input channel for each output channel.
//
// Up to six neighbouring outputs of a channel share the reading of its weights and, of a window three wide, of its inputs.
// Σ q(x − zero_point_x) = Σ qx − zero_point_x Σ q, padding x = zero_point_x. A window that reaches over a border is copied, borders
// and all, to scratch. All inputs of a block are read, channel by channel, before that channel is written.
// Layout of weights: layout.h. Scratch: what channels do to their sums; the inputs of a block.
#include <string.h>

#include "kernels/armv6m/layout.h"
#include "kernels/armv6m/scale.h"
#include "kernels/variants.h"
#if defined(__thumb2__) && defined(__GNUC__) && !defined(__clang__)
#include "kernels/armv6m/window_thumb2.h"
#elif defined(__thumb__) && defined(__GNUC__) && !defined(__clang__)
#include "kernels/armv6m/window_thumb1.h"
#else
#include "kernels/armv6m/window_plain.h"
#endif

#if defined(JLT_WITH_ARMV6M)

// The inputs of a block, wherever they lie.
typedef struct {
  const int8_t *at;
  uint32_t column;  // bytes from one to the next
  uint32_t row;
} window_t;

// Inputs of `count` outputs from (out_y, out_x) on, with what they reach beyond the borders.
static window_t copied(const jlt_conv_params_t *p, const int8_t *image, int32_t y, int32_t x0, uint32_t columns, int8_t *to) {
  const uint32_t c = p->in_c;
  const jlt_inside_t inside = jlt_inside(x0, columns, p->in_w);
  const uint32_t before = inside.before * c;
  const uint32_t taken = inside.count * c;
  const window_t window = {.at = to, .column = c, .row = columns * c};
  for (uint32_t ky = 0; ky < p->k_h; ky++, y++, to += columns * c) {
    if (y < 0 || y >= (int32_t)p->in_h) {
      memset(to, p->in_zero_point, columns * c);
      continue;
    }
    memset(to, p->in_zero_point, before);
    memcpy(to + before, image + ((size_t)y * p->in_w + inside.from) * c, taken);
    memset(to + before + taken, p->in_zero_point, columns * c - before - taken);
  }
  return window;
}

static window_t window_of(const jlt_conv_params_t *p, const int8_t *image, uint32_t out_y, uint32_t out_x, uint32_t count,
                          int8_t *scratch) {
  const int32_t y = (int32_t)(out_y * p->stride_h) - p->pad_top;
  const int32_t x = (int32_t)(out_x * p->stride_w) - p->pad_left;
  const uint32_t columns = (count - 1u) * p->stride_w + p->k_w;
  if (y < 0 || x < 0 || y + (int32_t)p->k_h > (int32_t)p->in_h || x + (int32_t)columns > (int32_t)p->in_w) {
    return copied(p, image, y, x, columns, scratch);
  }
  return (window_t){
      .at = image + ((size_t)y * p->in_w + (size_t)x) * p->in_c,
      .column = p->in_c,
      .row = p->in_w * p->in_c,
  };
}

// One row of a window.
static JLT_ALWAYS_INLINE void add_any(const int8_t *x, uint32_t column, const int8_t *w, uint32_t k_w, uint32_t count,
                                      uint32_t stride, uint32_t *sums) {
  for (uint32_t k = 0; k < k_w; k++, x += column) {
#pragma GCC unroll 4
    for (uint32_t i = 0; i < count; i++) {
      sums[i] += (uint32_t)((int32_t)w[k] * x[i * stride * column]);
    }
  }
}

typedef struct {
  const jlt_conv_params_t *p;
  const int8_t *w;
  const jlt_v6m_channel_t *channels;
  jlt_v6m_out_t out;
} frame_t;

// As jlt_v6m_store_any; a copy, or else the sums themselves would have to be in memory.
static JLT_ALWAYS_INLINE void store_any(const frame_t *f, const uint32_t *sums, uint32_t count, const jlt_v6m_channel_t *channel,
                                        int8_t *out) {
  uint32_t copies[JLT_V6M_WINDOW_MOST];
#pragma GCC unroll 6
  for (uint32_t i = 0; i < count; i++) {
    copies[i] = sums[i];
  }
  jlt_v6m_store_any(copies, count, channel, &f->out, out, f->p->out_c);
}

// All channels of `count` neighbouring outputs; `stride`: of windows as window_*.h have them, 0 for any others.
static JLT_ALWAYS_INLINE void run_block(const frame_t *f, window_t window, uint32_t count, uint32_t stride, int8_t *out) {
  const jlt_conv_params_t *p = f->p;
  const int8_t *w = f->w;
  const uint32_t channels = p->out_c;
  const uint32_t k_h = p->k_h;
  const uint32_t k_w = p->k_w;
  const jlt_v6m_channel_t *channel = f->channels;
  for (uint32_t c = 0; c < channels; c++, channel++, out++) {
    uint32_t sums[JLT_V6M_WINDOW_MOST];
    const int8_t *x = window.at + c;
#pragma GCC unroll 6
    for (uint32_t i = 0; i < count; i++) {
      sums[i] = channel->base;
    }
    if (stride) {
      jlt_v6m_window(x, window.column, window.row, w, k_h, count, stride, sums);
      w += 3u * k_h;
    } else {
      for (uint32_t ky = 0; ky < k_h; ky++, x += window.row, w += k_w) {
        add_any(x, window.column, w, k_w, count, p->stride_w, sums);
      }
    }
    if (f->out.is_simple) {
      jlt_v6m_store(sums, count, channel, f->out.zero_point, out, channels);
    } else {
      store_any(f, sums, count, channel, out);
    }
  }
}

#define JLT_V6M_RUN(name, count, stride) \
  static JLT_V6M_APART void run_##name(const frame_t *f, window_t window, int8_t *out) { run_block(f, window, count, stride, out); }
JLT_V6M_RUN(any_1, 1, 0)
JLT_V6M_RUN(any_2, 2, 0)
JLT_V6M_RUN(any_4, 4, 0)
JLT_V6M_RUN(2, 2, 1)
JLT_V6M_RUN(3, 3, 1)
JLT_V6M_RUN(4, 4, 1)
JLT_V6M_RUN(5, 5, 1)
JLT_V6M_RUN(6, JLT_V6M_WINDOW_MOST, 1)
JLT_V6M_RUN(4_apart, 4, 2)
#undef JLT_V6M_RUN

// The stride for which windows three wide have code of their own, else 0.
static uint32_t own_stride(const jlt_conv_params_t *p) { return p->k_w == 3 && p->stride_w <= 2 ? p->stride_w : 0; }

// How many outputs of `left` in a row go together.
static uint32_t block_of(const jlt_conv_params_t *p, uint32_t left) {
  if (own_stride(p) != 1) {
    return left >= 4 ? 4 : left >= 2 ? 2 : 1;
  }
  return left <= JLT_V6M_WINDOW_MOST ? left : left < 2 * JLT_V6M_WINDOW_MOST ? (left + 1u) / 2u : JLT_V6M_WINDOW_MOST;
}

static void run_counted(const frame_t *f, window_t window, uint32_t count, int8_t *out) {
  const uint32_t stride = own_stride(f->p);
  if (count == 1) {
    run_any_1(f, window, out);
  } else if (stride == 2 && count == 4) {
    run_4_apart(f, window, out);
  } else if (stride != 1) {
    if (count == 2) {
      run_any_2(f, window, out);
    } else {
      run_any_4(f, window, out);
    }
  } else if (count == 2) {
    run_2(f, window, out);
  } else if (count == 3) {
    run_3(f, window, out);
  } else if (count == 4) {
    run_4(f, window, out);
  } else if (count == 5) {
    run_5(f, window, out);
  } else {
    run_6(f, window, out);
  }
}

void jlt_dwconv_s8__armv6m(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  jlt_v6m_channel_t *channels = call->scratch;
  int8_t *copies = (int8_t *)(channels + p->out_c);
  const frame_t frame = {
      .p = p,
      .w = (const int8_t *)call->weights.packed + 4u * p->out_c,
      .channels = channels,
      .out = jlt_v6m_prepare(p, &call->weights, call->weights.packed, (uint32_t)p->in_zero_point, false, channels),
  };
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_PIXELS, p->n * p->out_h * p->out_w);
  int8_t *out = (int8_t *)call->out + (size_t)tile.begin * p->out_c;
  uint32_t left = tile.end - tile.begin;
  uint32_t x = tile.begin % p->out_w;
  for (uint32_t row = tile.begin / p->out_w; left > 0; row++, x = 0) {
    const int8_t *image = (const int8_t *)call->in[0] + (size_t)(row / p->out_h) * p->in_h * p->in_w * p->in_c;
    uint32_t here = p->out_w - x < left ? p->out_w - x : left;
    left -= here;
    while (here > 0) {
      const uint32_t count = block_of(p, here);
      run_counted(&frame, window_of(p, image, row % p->out_h, x, count, copies), count, out);
      x += count;
      here -= count;
      out += count * p->out_c;
    }
  }
}

#endif
