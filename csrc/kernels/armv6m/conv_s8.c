// SPDX-License-Identifier: Apache-2.0
// Convolution and fully connected for cores without SIMD.
//
// x and w are taken unsigned, x + 128 = a and q + 128 = b or u, for bytes load without extension at an offset and two lanes of a
// register do not borrow. With z = zero_point_x + 128: Σ q(x − zero_point_x) = Σ ab − 128 Σ a − z Σ q, and at 4 bits
// Σ (16u − 120)(x − zero_point_x) = 8 (2 Σ au − 15 Σ a) − z Σ (16u − 120). Padding is a = z. All is modulo 2^32, and the result fits.
// Layout of weights: layout.h. Scratch: what channels do to their sums; four pixels' patches as [k][4], or the only pixel's.
#include "kernels/armv6m/layout.h"
#include "kernels/armv6m/patches.h"
#include "kernels/armv6m/scale.h"
#include "kernels/variants.h"
#if defined(__thumb__) && defined(__GNUC__) && !defined(__clang__)
#include "kernels/armv6m/block_pair.h"
#else
#include "kernels/armv6m/block_four.h"
#endif

#if defined(JLT_WITH_ARMV6M)

static JLT_V6M_APART void multiply_short_4(const jlt_v6m_frame_t *f, int8_t *out) { jlt_v6m_multiply_block(f, true, false, out); }

static JLT_V6M_APART void multiply_long_4(const jlt_v6m_frame_t *f, int8_t *out) { jlt_v6m_multiply_block(f, true, true, out); }

static JLT_V6M_APART void multiply_8(const jlt_v6m_frame_t *f, int8_t *out) { jlt_v6m_multiply_block(f, false, false, out); }

// All channels with `count` pixels, whatever the scaling.
static JLT_V6M_APART void multiply_any(const jlt_v6m_frame_t *f, uint32_t count, int8_t *out) {
  const uint32_t out_c = f->p->out_c;
  const uint32_t w_bytes = jlt_v6m_length(f->p) * (f->is_4 ? 1u : 2u);
  const uint8_t *w = jlt_v6m_weights(f->p, f->w->packed);
  for (uint32_t o = 0; o < out_c; o += JLT_V6M_BLOCK, w += w_bytes * (JLT_V6M_BLOCK / JLT_V6M_PAIR)) {
    uint32_t sums[JLT_V6M_BLOCK * JLT_V6M_PIXELS];
    jlt_v6m_multiply(f, w, w_bytes, f->is_4, f->last != w_bytes, out_c - o, sums);
    for (uint32_t c = 0; c < JLT_V6M_BLOCK && o + c < out_c; c++) {
      const jlt_v6m_channel_t *channel = f->channels + o + c;
      for (uint32_t i = 0; i < count; i++) {
        sums[i] = jlt_v6m_corrected(channel, sums[c * JLT_V6M_PIXELS + i], f->sums_x[i], f->is_4);
      }
      jlt_v6m_store_any(sums, count, channel, &f->out, out + o + c, out_c);
    }
  }
}

static void multiply(const jlt_v6m_frame_t *f, uint32_t count, int8_t *out) {
  if (count < JLT_V6M_PIXELS || !f->out.is_simple) {
    multiply_any(f, count, out);
  } else if (!f->is_4) {
    multiply_8(f, out);
  } else if (!JLT_V6M_HAS_LONG || f->last == jlt_v6m_length(f->p)) {
    multiply_short_4(f, out);
  } else {
    multiply_long_4(f, out);
  }
}

static JLT_V6M_APART void convolve(const jlt_call_t *call, jlt_v6m_frame_t *f) {
  const jlt_conv_params_t *p = f->p;
  const jlt_span_t pixels = jlt_tile(call, JLT_UNIT_PIXELS, p->n * p->out_h * p->out_w);
  for (uint32_t first = pixels.begin; first < pixels.end; first += JLT_V6M_PIXELS) {
    const uint32_t count = pixels.end - first < JLT_V6M_PIXELS ? pixels.end - first : JLT_V6M_PIXELS;
    int8_t *out = (int8_t *)call->out + (size_t)first * p->out_c;
    if (f->is_4) {
      jlt_v6m_gather_4(f, call->in[0], first, count);
    } else {
      JLT_V6M_GATHER_8(f, call->in[0], first, count);
    }
    multiply(f, count, out);
  }
}

// Words of four values; returns their sum.
static uint32_t take_words(const int8_t *from, uint32_t count, uint8_t *cells) {
  const int8_t *const end = from + count;
  uint32_t sum = 0;
  while (from != end) {
    const int8_t *const stop = end - from > 1024 ? from + 1024 : end;  // as many as two lanes of a register hold
    uint32_t even = 0;
    uint32_t odd = 0;
    for (; from != stop; from += 4) {
      uint32_t word;
      __builtin_memcpy(&word, __builtin_assume_aligned(from, 4), sizeof(word));
      word ^= 0x80808080u;
      even += word & 0x00FF00FFu;
      odd += (word >> 8) & 0x00FF00FFu;
      cells = jlt_v6m_put_word(cells, word);
    }
    sum += (even & 0xFFFFu) + (even >> 16) + (odd & 0xFFFFu) + (odd >> 16);
  }
  return sum;
}

// The only pixel's patch; returns its sum.
static JLT_V6M_APART uint32_t gather_1(const jlt_v6m_frame_t *f, const int8_t *in) {
  if (f->is_flat && f->p->in_c % 4u == 0 && (uintptr_t)in % 4u == 0) {
    return take_words(in, f->p->in_c, f->cells);
  }
  return jlt_v6m_gather(f, in, 0, 0, f->cells, JLT_V6M_CELLS_BYTES);
}

static JLT_V6M_APART int8_t requantised(const jlt_conv_params_t *p, int32_t value, int32_t multiplier, int32_t shift) {
  return jlt_requantise_s8(value, multiplier, shift, p->out_zero_point, p->act_min, p->act_max);
}

// Corrects and scales the sums of a block of channels with the only pixel.
static JLT_ALWAYS_INLINE void finish_vector(const jlt_v6m_frame_t *f, const uint32_t *sums, jlt_span_t channels, bool is_4, int8_t *out) {
  const jlt_conv_params_t *p = f->p;
  const jlt_weights_t *w = f->w;
  const uint32_t step = w->record->n_multipliers > 1 ? 1u : 0u;
  const uint32_t *w_sum = (const uint32_t *)w->packed + 1 + channels.begin;
  const int32_t *bias = w->bias + channels.begin;
  const int32_t *multiplier = w->multipliers + step * channels.begin;
  const int32_t *shift = w->shifts + step * channels.begin;
  const uint32_t sum_x = f->sums_x[0];
  const uint32_t zero = f->zero;
  const int32_t zero_point = p->out_zero_point;
  const bool is_full = p->act_min == INT8_MIN && p->act_max == INT8_MAX;
  int8_t *const end = out + channels.end;
  for (out += channels.begin; out != end; out++, multiplier += step, shift += step) {
    const uint32_t of_w = *w_sum++;
    uint32_t value;
    if (is_4) {
      value = 8u * (2u * *sums++ - sum_x);
      value = (of_w & 1u ? 0u - value : value) - zero * (of_w & ~1u);
    } else {
      value = *sums++ - sum_x - zero * of_w;
    }
    value += (uint32_t)*bias++;
    if (is_full && *shift < 0) {
      *out = (int8_t)jlt_v6m_saturated(jlt_v6m_moved((int32_t)value, *multiplier, -*shift, zero_point));
    } else {
      *out = requantised(p, (int32_t)value, *multiplier, *shift);
    }
  }
}

static JLT_V6M_APART void finish_vector_4(const jlt_v6m_frame_t *f, const uint32_t *sums, jlt_span_t channels, int8_t *out) {
  finish_vector(f, sums, channels, true, out);
}

static JLT_V6M_APART void finish_vector_8(const jlt_v6m_frame_t *f, const uint32_t *sums, jlt_span_t channels, int8_t *out) {
  finish_vector(f, sums, channels, false, out);
}

static JLT_V6M_APART void multiply_vector(const jlt_call_t *call, jlt_v6m_frame_t *f) {
  const jlt_span_t channels = jlt_tile(call, JLT_UNIT_CHANNELS, f->p->out_c);
  const uint32_t length = jlt_v6m_length(f->p);
  const uint32_t block_bytes = length * (f->is_4 ? 4u : 8u);
  const uint8_t *x = f->cells;
  const uint8_t *w = jlt_v6m_weights(f->p, f->w->packed) + (size_t)(channels.begin / JLT_V6M_ROWS) * block_bytes;
  f->sums_x[0] = gather_1(f, call->in[0]) * (f->is_4 ? 15u : 128u);
  for (uint32_t o = channels.begin; o < channels.end; o += JLT_V6M_ROWS, w += block_bytes) {
    const jlt_span_t block = {.begin = o, .end = channels.end - o < JLT_V6M_ROWS ? channels.end : o + JLT_V6M_ROWS};
    uint32_t sums[JLT_V6M_ROWS];
    if (f->is_4) {
      jlt_v6m_row_4(x, x + length, w, f->run, sums);
      finish_vector_4(f, sums, block, call->out);
    } else {
      jlt_v6m_row_8(x, x + length, w, sums);
      finish_vector_8(f, sums, block, call->out);
    }
  }
}

void jlt_conv_s8__armv6m(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  jlt_v6m_frame_t frame = jlt_v6m_frame(call);
  frame.run = jlt_v6m_run(call->weights.packed);
  for (frame.last = jlt_v6m_length(p); frame.last > frame.run; frame.last -= frame.run) {
  }
  if (jlt_v6m_one_pixel(p)) {
    multiply_vector(call, &frame);
  } else {
    frame.out = jlt_v6m_prepare(p, &call->weights, (const uint32_t *)call->weights.packed + 1, frame.zero, frame.is_4, call->scratch);
    convolve(call, &frame);
  }
}

#endif
