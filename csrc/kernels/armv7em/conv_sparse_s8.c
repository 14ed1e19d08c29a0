// SPDX-License-Identifier: Apache-2.0
// Convolution whose weights have absent blocks, for cores with SMLAD: conv_s8.c that skips them.
//
// Tensors and arithmetic as ref/conv_s8.c, where what is absent is 0. Weights: sparse.h. Scratch: four widened patches.
#include "kernels/sparse.h"

#if JLT_SPARSE && defined(JLT_WITH_ARMV7EM) && defined(__ARM_FEATURE_DSP) && JLT_IS_M_PROFILE
#include "kernels/armv7em/dot.h"
#include "kernels/armv7em/gather.h"
#include "kernels/armv7em/rows.h"
#include "kernels/armv7em/simd.h"
#include "kernels/armv7em/sparse.h"

#define FIND_PUT JLT_V7_ALIGN "ldr " Y ", %[clamp]\n\t" JLT_V7_PLACE(Y, W, "9f") "str " Y ", %[put]\n"

// A group behind those that are absent; `back`: how far the byte that counts them lies behind the weights.
#define GROUP(back)                                        \
  "ldrb " W ", [" WEIGHTS ", #-" back "]\n\t"              \
  "add " PATCHES ", " PATCHES ", " W ", lsl #5\n\t" GROUP8

// Both rows' sums begin with the first one's bias, as in conv_s8.c.
#define ROWS                                                                                       \
  "0:\n\t"                                                                                         \
  "ldr " PATCHES ", %[patches_at]\n\t"                                                             \
  "ldr " X ", %[bias_at]\n\t"                                                                      \
  "ldr " Y ", [" WEIGHTS "], #8\n\t"                                                               \
  "ldr " E0 ", [" X "]\n\t"                                                                        \
  "and " Y ", " Y ", #3\n\t"                                                                       \
  "mov " E1 ", " E0 "\n\tmov " E2 ", " E0 "\n\tmov " E3 ", " E0 "\n\tmov " B0 ", " E0 "\n\t"       \
  "mov " B1 ", " E0 "\n\tmov " B2 ", " E0 "\n\tmov " B3 ", " E0 "\n\t"                             \
  "add " WEIGHTS ", " WEIGHTS ", " Y ", lsl #3\n\t"                                                \
  "tbb [pc, " Y "]\n"                                                                              \
  "5:\n\t"                                                                                         \
  ".byte (1f - 5b) / 2, (2f - 5b) / 2, (3f - 5b) / 2, (4f - 5b) / 2\n"                             \
  "1:\n\t" GROUP("4") "2:\n\t" GROUP("11") "3:\n\t" GROUP("18") "4:\n\t" GROUP("25")               \
  "ldr " X ", [" WEIGHTS "], #4\n\t"                                                               \
  "adds " X ", " X ", #1\n\t"                                                                      \
  "bne.w 1b\n\t"                                                                                   \
  BIASES APART8(E0, B0) APART8(E1, B1) APART8(E2, B2) APART8(E3, B3)                               \
  "ldr.w pc, %[put]\n"

typedef struct {
  const jlt_call_t *call;
  const uint32_t *patches;
  int8_t *out;
  uint32_t step;  // between pixels of the output; 0 for a single one
} block_t;

static void rows(const block_t *b, const uint32_t *weights) {
  const jlt_conv_params_t *p = b->call->params;
  const uint32_t *const patches = b->patches;
  const int32_t *bias = b->call->weights.bias;
  int8_t *out = b->out;
  const uint32_t clamp = p->act_min >= p->out_zero_point ? RELU : ANY;
  uintptr_t put;
  const struct {
    uint32_t distance;
    const int8_t *out_end;
  } ends = {1, out + p->out_c};
  const struct {
    int32_t zero_point;
    uint32_t step;
  } fixed = {p->out_zero_point, b->step};
  int32_t t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11, t12;
  __asm__ volatile(FIND_PUT ROWS PUT
                   : [e0] "=&r"(t0), [e1] "=&r"(t1), [e2] "=&r"(t2), [e3] "=&r"(t3), [b0] "=&r"(t4), [b1] "=&r"(t5),
                     [b2] "=&r"(t6), [b3] "=&r"(t7), [multiplier] "=&r"(t8), [power] "=&r"(t9), [out] "=&r"(t10),
                     [step] "=&r"(t11), [zero_point] "=&r"(t12), [weights] "+r"(weights), [bias_at] "+m"(bias),
                     [out_at] "+m"(out), [put] "=m"(put)
                   : [fixed] "m"(fixed), [patches_at] "m"(patches), [ends] "m"(ends), [clamp] "m"(clamp)
                   : "cc", "memory");
}

// One pixel of two rows, for scales out of the ordinary; returns where the next two rows' weights are.
static const uint32_t *pixel_slowly(const block_t *b, const uint32_t *weights, uint32_t channel, uint32_t pixel) {
  const uint32_t *x = b->patches + pixel;
  int32_t sums[2] = {0, 0};
  uint32_t turn = *weights++ & 3u;
  do {
    for (uint32_t skips = *weights >> 8u * turn; turn < JLT_V7_SPARSE_TURN; turn++, skips >>= 8) {
      x += (skips & 255u) * (JLT_V7_GROUP_BYTES / 4);
      for (uint32_t odd = 0; odd < 2; odd++, x += JLT_V7_PIXELS) {
        const uint32_t w = weights[1u + 2u * turn + odd];
        sums[0] = jlt_dot_pair(jlt_widen_even(0, w), *x, sums[0]);
        sums[1] = jlt_dot_pair(w, *x, sums[1]);
      }
    }
    turn = 0;
    weights += JLT_V7_SPARSE_TURN_WORDS;
  } while (*weights != JLT_V7_SPARSE_END);
  sums[1] = (sums[1] - sums[0]) >> 8;
  for (uint32_t row = 0; row < 2; row++) {
    jlt_v7_requantise_slow(b->call, channel + row, &sums[row], 1, b->out + pixel * b->step + channel + row);
  }
  return weights + 1 + JLT_V7_SPARSE_SCALE_WORDS;
}

__attribute__((noinline)) static void rows_slowly(const block_t *b, const uint32_t *weights) {
  const uint32_t channels = ((const jlt_conv_params_t *)b->call->params)->out_c;
  const uint32_t pixels = b->step > 0 ? JLT_V7_PIXELS : 1;
  for (uint32_t o = 0; o < channels; o += 2) {
    const uint32_t *next = weights;
    for (uint32_t pixel = 0; pixel < pixels; pixel++) {
      next = pixel_slowly(b, weights, o, pixel);
    }
    weights = next;
  }
}

void jlt_conv_sparse_s8__armv7em(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const jlt_span_t pixels = jlt_tile(call, JLT_UNIT_PIXELS, p->n * p->out_h * p->out_w);
  const jlt_v7_gather_t gather = jlt_v7_gatherer(p, call->in[0]);
  const bool quick = jlt_v7_is_quick(&call->weights, 0, p->out_c);
  block_t b = {.call = call, .patches = call->scratch};
  for (uint32_t first = pixels.begin, n; first < pixels.end; first += n) {
    n = pixels.end - first < JLT_V7_PIXELS ? 1 : JLT_V7_PIXELS;
    b.step = n == 1 ? 0 : p->out_c;
    b.out = (int8_t *)call->out + (size_t)first * p->out_c;
    jlt_v7_gather(&gather, first, n, call->scratch);
    if (quick) {
      rows(&b, call->weights.packed);
    } else {
      rows_slowly(&b, call->weights.packed);
    }
    jlt_v7_clamp(p->act_min, p->act_max, b.out, n * p->out_c);
  }
}
#endif
