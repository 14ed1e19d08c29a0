// SPDX-License-Identifier: Apache-2.0
// Convolution for cores with SMLAD: blocks of two output channels and four pixels.
//
// Tensors and arithmetic as ref/conv_s8.c. Packed weights: a head, then for every two output channels, of each group of four
// elements in the order of gather.h, two words (8 bits: first and second row's element 0, then 2; then 1 and 3) or one (4 bits:
// nibbles of elements 0 and 1 in the low lane, 2 and 3 in the high one), then two scales. A single last row is the second of two. A
// copy for both precisions is as one of 8 bits; what its bytes are says dot.h.
// Scratch: four widened patches.
#include "kernels/variants.h"

#if defined(JLT_WITH_ARMV7EM) && defined(__ARM_FEATURE_DSP) && JLT_IS_M_PROFILE
#include "kernels/armv7em/dot.h"
#include "kernels/armv7em/gather.h"
#include "kernels/armv7em/requantise.h"
#include "kernels/armv7em/rows.h"
#include "kernels/armv7em/simd.h"
#include "kernels/selection.h"

typedef struct {
  const jlt_call_t *call;
  const uint32_t *patches;
  const uint32_t *patches_end;
  const uint32_t *weights;  // of the first channel
  jlt_span_t channels;
  uint32_t groups;
  int8_t *out;                  // of channel 0
  int32_t less[JLT_V7_PIXELS];  // at 4 bits: q = 16u - 120, so 16 times the sum of u x, less 120 times that of x
  int32_t more[JLT_V7_PIXELS];  // behind `less`: of the second row of a shared copy, as that is of the first
  uint32_t kind;
  uint32_t behind;  // where the loop is entered [bytes of code]
  uint32_t clamp;
  int32_t zero_point;
  uint32_t step;  // between pixels of the output
  bool quick;
} block_t;

#define SECOND_APART "sxtb16 " W ", " W ", ror #8\n\t"
#define GROUP8_APART PAIR8(SECOND_APART, ADD8) PAIR8(SECOND_APART, ADD8)

// Stacked, both rows' sums begin with the first one's bias: what is between them is then 256 times the second row's sum.
#define FIRST_GROUP8                                                \
  "ldr " E3 ", [" X "]\n\t"                                         \
  PAIR8("", PRODUCTS(E3, E3, E3, E3, E3, E3, E3, E3)) PAIR8("", ADD8)
#define FIRST_GROUP8_APART                                          \
  "ldrd " E3 ", " B3 ", [" X "], #8\n\t"                             \
  "str " X ", %[bias_at]\n\t"                                        \
  PAIR8(SECOND_APART, PRODUCTS(E3, E3, E3, E3, B3, B3, B3, B3)) PAIR8(SECOND_APART, ADD8)

// Four elements of both rows are the nibbles of one word; the odd nibble, with the even one below it, is 16 times the second row's.
#define GROUP4_OF(op, last)                    \
  "ldr " W ", [" WEIGHTS "], #4\n\t"           \
  "ldrd " X ", " Y ", [" PATCHES "], #8\n\t"   \
  "and " E ", " W ", #0x000F000F\n\t"          \
  op E0 ", " E ", " X last(E0)                 \
  op E1 ", " E ", " Y last(E1)                 \
  "uxtb16 " E ", " W "\n\t"                    \
  "smlad " B0 ", " E ", " X ", " B0 "\n\t"     \
  "smlad " B1 ", " E ", " Y ", " B1 "\n\t"     \
  "ldrd " X ", " Y ", [" PATCHES "], #8\n\t"   \
  "smlad " B2 ", " E ", " X ", " B2 "\n\t"     \
  "smlad " B3 ", " E ", " Y ", " B3 "\n\t"     \
  "and " E ", " E ", #0x000F000F\n\t"          \
  op E2 ", " E ", " X last(E2)                 \
  op E3 ", " E ", " Y last(E3)                 \
  "uxtb16 " W ", " W ", ror #8\n\t"            \
  "ldrd " X ", " Y ", [" PATCHES "], #8\n\t"   \
  "and " E ", " W ", #0x000F000F\n\t"          \
  ADD8
#define NO_SUM(sum) "\n\t"
#define TO_SUM(sum) ", " sum "\n\t"
#define GROUP4 GROUP4_OF("smlad ", TO_SUM)
// The second row's sums begin with `less`, which the first one's cannot: they are multiplied in the end.
#define FIRST_GROUP4                          \
  "ldrd " B0 ", " B1 ", %[less01]\n\t"        \
  "ldrd " B2 ", " B3 ", %[less23]\n\t"        \
  GROUP4_OF("smuad ", NO_SUM)

// A shared copy: the mask leaves 4 bits of each byte.
#define PAIR_SHARED(mask, sums)                \
  "ldr " W ", [" WEIGHTS "], #4\n\t"           \
  "ldrd " X ", " Y ", [" PATCHES "], #8\n\t"   \
  mask "uxtb16 " E ", " W "\n\t" sums
#define MASK4 "and " W ", " W ", #0xF0F0F0F0\n\t"
#define GROUP_SHARED(mask) PAIR_SHARED(mask, ADD8) PAIR_SHARED(mask, ADD8)
#define FIRST_GROUP_SHARED(mask)                                    \
  "ldr " E3 ", [" X "]\n\t"                                         \
  PAIR_SHARED(mask, PRODUCTS(E3, E3, E3, E3, E3, E3, E3, E3)) PAIR_SHARED(mask, ADD8)

#define UNTIL_END(loop)               \
  "ldr " X ", %[patches_end]\n\t"     \
  "cmp " PATCHES ", " X "\n\t"        \
  "bne " loop "\n\t"

#define WEIGH4(even, odd)                            \
  "sub " odd ", " odd ", " even "\n\t"               \
  "add " even ", " W ", " even ", lsl #4\n\t"        \
  "add " odd ", " odd ", " Y "\n\t"
#define LESS4(even0, even1)                          \
  "add " even0 ", " even0 ", " X "\n\t"              \
  "add " even1 ", " even1 ", " Y "\n\t"

#if JLT_SHARED
#define SHARED_KINDS "b.w 10f\n\t" "b.w 11f\n\t"
#define SHARED_LOOP(mask, loop)                                                                      \
  FIRST_GROUP_SHARED(mask)                                                                         \
  "ldr " X ", %[behind]\n\tadd pc, " X "\n\tnop.n\n" loop ":\n\t"                                 \
  GROUP_SHARED(mask) GROUP_SHARED(mask) GROUP_SHARED(mask) GROUP_SHARED(mask) UNTIL_END(loop "b")
#define SHARED_ROWS                                                                                \
  "10:\n\t" SHARED_LOOP("", "12") "b 14f\n"                                                       \
  "11:\n\t" SHARED_LOOP(MASK4, "13")                                                              \
  "14:\n\t" BIASES APART8(E0, B0) APART8(E1, B1) APART8(E2, B2) APART8(E3, B3)                    \
  "ldr " W ", %[less_at]\n\t"                                                                      \
  "ldrd " X ", " Y ", [" W "]\n\t" LESS4(E0, E1)                                                   \
  "ldrd " X ", " Y ", [" W ", #8]\n\t" LESS4(E2, E3)                                               \
  "ldrd " X ", " Y ", [" W ", #16]\n\t" LESS4(B0, B1)                                              \
  "ldrd " X ", " Y ", [" W ", #24]\n\t" LESS4(B2, B3)                                              \
  "ldr.w pc, %[put]\n"
#else
#define SHARED_KINDS
#define SHARED_ROWS
#endif

// Pairs of rows until `out` comes to its end. `first` leads to the weights' kind, whose first group begins the sums, `entry` into
// the loop of the rest, `put` to what is done with the sums; `add pc` counts from behind the nop. Eight sums, two pointers and four
// operands are all registers there are; all else lies in memory, by twos where it is wanted by twos.
#define FIND_PLACES                                                            \
  JLT_V7_ALIGN "ldrd " X ", " Y ", %[kinds]\n\t"                              \
  JLT_V7_PLACE(X, W, "7f") "str " X ", %[first]\n\t"                           \
  JLT_V7_PLACE(Y, W, "9f") "str " Y ", %[put]\n\t"                             \
  "ldr " X ", %[behind]\n\t"                                                   \
  JLT_V7_PLACE(X, W, "1f") "str " X ", %[entry]\n"
#define ROWS                                                                                       \
  "0:\n\t"                                                                                         \
  "ldr " PATCHES ", %[patches_at]\n\t"                                                             \
  "ldr " X ", %[bias_at]\n\t"                                                                      \
  "ldr.w pc, %[first]\n"                                                                           \
  "7:\n\t"                                                                                         \
  "b.w 4f\n\t"                                                                                     \
  "b.w 2f\n\t" SHARED_KINDS                                                                        \
  FIRST_GROUP8 "ldr.w pc, %[entry]\n"                                                              \
  "1:\n\t" GROUP8 GROUP8 GROUP8 GROUP8 UNTIL_END("1b")                                             \
  BIASES APART8(E0, B0) APART8(E1, B1) APART8(E2, B2) APART8(E3, B3)                               \
  "ldr.w pc, %[put]\n"                                                                             \
  "2:\n\t" FIRST_GROUP8_APART "b 8f\n"                                                             \
  "3:\n\t" GROUP8_APART "8:\n\t" UNTIL_END("3b")                                                   \
  "ldr.w pc, %[put]\n"                                                                             \
  "4:\n\t" FIRST_GROUP4                                                                            \
  "ldr " X ", %[behind]\n\tadd pc, " X "\n\tnop.n\n"                                               \
  "5:\n\t" GROUP4 GROUP4 GROUP4 GROUP4 UNTIL_END("5b")                                             \
  BIASES WEIGH4(E0, B0) WEIGH4(E1, B1) WEIGH4(E2, B2) WEIGH4(E3, B3)                               \
  "ldrd " X ", " Y ", %[less01]\n\t" LESS4(E0, E1)                                                 \
  "ldrd " X ", " Y ", %[less23]\n\t" LESS4(E2, E3)                                                 \
  "ldr.w pc, %[put]\n"                                                                             \
  SHARED_ROWS

// `bias` and `out`: of the first of the rows.
static void rows(const block_t *b, const uint32_t *weights, const int32_t *bias, int8_t *out, uint32_t pairs,
                 uint32_t distance) {
  const uint32_t *const patches = b->patches;
  const uint32_t *const patches_end = b->patches_end;
  const struct {
    uint32_t weights;
    uint32_t clamp;
  } kinds = {b->kind, b->clamp};
  const uint32_t behind = b->behind;
  int32_t less[JLT_V7_PIXELS] = {b->less[0], b->less[1], b->less[2], b->less[3]};
  const int32_t *const less_at = b->less;
  struct {
    const int32_t *bias;
    int8_t *out;
  } at = {bias, out};
  uintptr_t first, entry, put;
  const struct {
    uint32_t distance;
    const int8_t *out_end;
  } ends = {distance, out + pairs * (1u + distance)};
  const struct {
    int32_t zero_point;
    uint32_t step;
  } fixed = {b->zero_point, b->step};
  int32_t t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11, t12;
  __asm__ volatile(FIND_PLACES ROWS PUT
                   : [e0] "=&r"(t0), [e1] "=&r"(t1), [e2] "=&r"(t2), [e3] "=&r"(t3), [b0] "=&r"(t4), [b1] "=&r"(t5),
                     [b2] "=&r"(t6), [b3] "=&r"(t7), [multiplier] "=&r"(t8), [power] "=&r"(t9), [out] "=&r"(t10),
                     [step] "=&r"(t11), [zero_point] "=&r"(t12), [weights] "+r"(weights), [bias_at] "=m"(at.bias),
                     [out_at] "=m"(at.out), [first] "=m"(first), [entry] "=m"(entry), [put] "=m"(put)
                   : [fixed] "m"(fixed), [patches_at] "m"(patches), [patches_end] "m"(patches_end), [kinds] "m"(kinds),
                     [behind] "m"(behind), [ends] "m"(ends), [less01] "m"(PAIR(less[0])), [less23] "m"(PAIR(less[2])),
                     [less_at] "m"(less_at), [at] "m"(at)
                   : "cc", "memory");
}

// Of a pair of elements: the operands that the loops make for the first row and for the second.
typedef struct {
  uint32_t first;
  uint32_t second;
} operands_t;

static operands_t operands_of(uint32_t kind, const uint32_t *weights, uint32_t pair) {
  if (kind == JLT_V7_NIBBLES) {
    const uint32_t w = weights[pair / 2u] >> pair % 2u * 8u;
    return (operands_t){w & 0x000F000Fu, w >> 4 & 0x000F000Fu};
  }
  const uint32_t w = weights[pair];
  if (jlt_v7_is_shared(kind)) {
    const uint32_t kept = kind == JLT_V7_SHARED4 ? w & 0xF0F0F0F0u : w;
    return (operands_t){kept & 0x00FF00FFu, kept};
  }
  return (operands_t){jlt_widen_even(0, w), kind == JLT_V7_STACKED ? w : jlt_widen_odd(0, w)};
}

// One pixel of two rows, for scales out of the ordinary.
static void pixel_slowly(const block_t *b, const uint32_t *weights, uint32_t channel, uint32_t pixel) {
  int32_t sums[2] = {0, 0};
  for (uint32_t i = 0; i < 2u * b->groups; i++) {
    const uint32_t x = b->patches[i * JLT_V7_PIXELS + pixel];
    const operands_t w = operands_of(b->kind, weights, i);
    sums[0] = jlt_dot_pair(w.first, x, sums[0]);
    sums[1] = jlt_dot_pair(w.second, x, sums[1]);
  }
  if (b->kind == JLT_V7_NIBBLES) {
    sums[0] = 16 * sums[0] + b->less[pixel];
    sums[1] = 16 * sums[1] + b->less[pixel];
  } else if (b->kind != JLT_V7_APART) {
    sums[1] = (sums[1] - sums[0]) >> 8;
  }
  if (jlt_v7_is_shared(b->kind)) {
    sums[0] += b->less[pixel];
    sums[1] += b->more[pixel];
  }
  const bool is_single = channel + 1u == b->channels.end;
  for (uint32_t row = is_single; row < 2; row++) {
    const uint32_t o = channel + row - is_single;
    jlt_v7_requantise_slow(b->call, o, &sums[row], 1, b->out + pixel * b->step + o);
  }
}

static void run_block(const block_t *b) {
  const jlt_span_t span = b->channels;
  const uint32_t *weights = b->weights;
  const uint32_t words = jlt_v7_rows2_bytes(b->groups, b->kind == JLT_V7_NIBBLES) / 4u;
  const uint32_t pairs = (span.end - span.begin) / 2u;
  if (!b->quick) {
    for (uint32_t o = span.begin; o < span.end; o += 2, weights += words) {
      for (uint32_t pixel = 0; pixel == 0 || (b->step > 0 && pixel < JLT_V7_PIXELS); pixel++) {
        pixel_slowly(b, weights, o, pixel);
      }
    }
    return;
  }
  if (pairs > 0) {
    rows(b, weights, b->call->weights.bias + span.begin, b->out + span.begin, pairs, 1);
  }
  if ((span.end - span.begin) % 2u) {
    const int32_t bias[2] = {0, b->call->weights.bias[span.end - 1u]};
    rows(b, weights + pairs * words, bias, b->out + span.end - 1, 1, 0);
  }
}

static void minus_zero_weights(block_t *b) {
  jlt_v7_sum_patches(b->patches, b->groups, b->less);
  for (uint32_t i = 0; i < JLT_V7_PIXELS; i++) {
    if (JLT_SHARED) {
      b->more[i] = b->kind == JLT_V7_SHARED4 ? 8 * b->less[i] : 0;
    }
    b->less[i] *= b->kind == JLT_V7_SHARED8 ? -128 : -120;
  }
}

static block_t block_of(const jlt_call_t *call, uint32_t groups, jlt_span_t channels) {
  const jlt_conv_params_t *p = call->params;
  const uint32_t *packed = call->weights.packed;
  const uint32_t *patches = call->scratch;
  const bool at_4 = !call->weights.s8 && !call->weights.low;
  const uint32_t kind = jlt_v7_kind(&call->weights, at_4, jlt_v7_reads_nibbles(p, groups, at_4));
  const bool is_4 = kind == JLT_V7_NIBBLES;
  return (block_t){
      .call = call,
      .patches = patches,
      .patches_end = patches + (size_t)groups * (JLT_V7_GROUP_BYTES / 4),
      .weights = packed + JLT_V7_HEAD_BYTES / 4 +
                 (size_t)(channels.begin / 2u) * (jlt_v7_rows2_bytes(groups, is_4) / 4u),
      .channels = channels,
      .groups = groups,
      .kind = kind,
      .behind = jlt_v7_behind(groups - 1u, is_4 || kind == JLT_V7_SHARED4 ? JLT_V7_DOT4_GROUP_BYTES : JLT_V7_DOT8_GROUP_BYTES),
      .clamp = p->act_min >= p->out_zero_point ? RELU : ANY,
      .zero_point = p->out_zero_point,
      .quick = jlt_v7_is_quick(&call->weights, channels.begin, channels.end),
  };
}

void jlt_conv_s8__armv7em(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const bool one_pixel = jlt_v7_one_vector(p);
  const jlt_span_t pixels =
      one_pixel ? (jlt_span_t){.end = 1} : jlt_tile(call, JLT_UNIT_PIXELS, p->n * p->out_h * p->out_w);
  const jlt_span_t channels = one_pixel ? jlt_tile(call, JLT_UNIT_CHANNELS, p->out_c) : (jlt_span_t){.end = p->out_c};
  const jlt_v7_gather_t gather = jlt_v7_gatherer(p, call->in[0]);
  block_t b = block_of(call, gather.patch.groups, channels);
  for (uint32_t first = pixels.begin, n; first < pixels.end; first += n) {
    n = pixels.end - first < JLT_V7_PIXELS ? 1 : JLT_V7_PIXELS;
    b.step = n == 1 ? 0 : p->out_c;
    b.out = (int8_t *)call->out + (size_t)first * p->out_c;
    jlt_v7_gather(&gather, first, n, call->scratch);
    if (b.kind == JLT_V7_NIBBLES || jlt_v7_is_shared(b.kind)) {
      minus_zero_weights(&b);
    }
    run_block(&b);
    jlt_v7_clamp(p->act_min, p->act_max, b.out + channels.begin, n * (channels.end - channels.begin));
  }
}
#endif
