// SPDX-License-Identifier: Apache-2.0
// Convolution whose weights have absent blocks, for cores without SIMD: conv_s8.c that skips them.
//
// x is taken unsigned as there, a = x + 128, but q signed, as an absent block's sum of a is not known: Σ q(x − zero_point_x) =
// Σ qa − z Σ q with z = zero_point_x + 128. Weights: sparse.h. Scratch: what channels do to their sums; four pixels' patches as [k][4].
#include "kernels/armv6m/dot.h"
#include "kernels/armv6m/patches.h"
#include "kernels/armv6m/scale.h"
#include "kernels/armv6m/sparse.h"
#include "kernels/sparse.h"

#if JLT_SPARSE && defined(JLT_WITH_ARMV6M)

// One channel's sums with `count` pixels.
static JLT_V6M_APART void finish(const jlt_v6m_frame_t *f, const jlt_v6m_channel_t *channel, uint32_t *sums, uint32_t count, int8_t *out) {
  for (uint32_t i = 0; i < JLT_V6M_PIXELS; i++) {
    sums[i] += channel->base;
  }
  if (count == JLT_V6M_PIXELS && f->out.is_simple) {
    jlt_v6m_store(sums, JLT_V6M_PIXELS, channel, f->out.zero_point, out, f->p->out_c);
  } else {
    jlt_v6m_store_any(sums, count, channel, &f->out, out, f->p->out_c);
  }
}

static void multiply(const jlt_v6m_frame_t *f, const uint8_t *w, uint32_t count, int8_t *out) {
  const jlt_v6m_channel_t *channel = f->channels;
  const jlt_v6m_channel_t *const end = channel + f->p->out_c;
  for (; channel != end; channel += JLT_V6M_PAIR, out += JLT_V6M_PAIR) {
    uint32_t sums[JLT_V6M_PAIR * JLT_V6M_PIXELS];
    const uint8_t *const from = w + JLT_V6M_SPARSE_HEAD_BYTES;
    w = from + jlt_v6m_sparse_blocks(w) * JLT_V6M_SPARSE_BLOCK_BYTES;
    jlt_v6m_dot_sparse(f->cells, from, w, sums);
    finish(f, channel, sums, count, out);
    finish(f, channel + 1, sums + JLT_V6M_PIXELS, count, out + 1);
  }
}

void jlt_conv_sparse_s8__armv6m(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const uint32_t *weight_sums = call->weights.packed;
  jlt_v6m_frame_t frame = jlt_v6m_frame(call);
  frame.out = jlt_v6m_prepare(p, &call->weights, weight_sums, frame.zero, false, call->scratch);
  const jlt_span_t pixels = jlt_tile(call, JLT_UNIT_PIXELS, p->n * p->out_h * p->out_w);
  for (uint32_t first = pixels.begin; first < pixels.end; first += JLT_V6M_PIXELS) {
    const uint32_t count = pixels.end - first < JLT_V6M_PIXELS ? pixels.end - first : JLT_V6M_PIXELS;
    jlt_v6m_gather_8(&frame, call->in[0], first, count);
    multiply(&frame, (const uint8_t *)(weight_sums + p->out_c), count, (int8_t *)call->out + (size_t)first * p->out_c);
  }
}
#endif
