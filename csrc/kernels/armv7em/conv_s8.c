// SPDX-License-Identifier: Apache-2.0
// Convolution for cores with SMLAD: blocks of two output channels and four pixels.
//
// Tensors and arithmetic as ref/conv_s8.c. Packed weights: a head, then for every two output channels, of each group of four
// elements in the order of gather.h, two words (8 bits: first and second row's element 0, then 2; then 1 and 3) or one (4 bits:
// nibbles of elements 0 and 1 in the low lane, 2 and 3 in the high one), then two scales. Scratch: four widened patches.
#include "kernels/variants.h"

#if defined(__ARM_FEATURE_DSP) && JLT_IS_M_PROFILE
#include <string.h>

#include "kernels/armv7em/dot.h"
#include "kernels/armv7em/gather.h"
#include "kernels/armv7em/requantise.h"

typedef struct {
  const jlt_call_t *call;
  const uint32_t *patches;
  const uint32_t *weights;  // of the first channel
  jlt_span_t channels;
  uint32_t groups;
  uint32_t pixels;
  int8_t *out;  // of channel 0
  int32_t less[JLT_V7_PIXELS];  // at 4 bits: q = 16u - 120, so 16 times the sum of u x, less 120 times that of x
  uint32_t behind;
  int32_t zero_point;
  uint32_t step;  // between pixels of the output
  bool is_4;
  bool stacked;
  bool quick;
} block_t;

// Registers are as scarce around the loop as in it, so sums, and pointers that advance, lie in memory in between.
typedef struct {
  int32_t even[JLT_V7_PIXELS];  // of the first row
  int32_t odd[JLT_V7_PIXELS];   // of the second
} sums_t;

#define SUM_TWO_ROWS(dot, finish)                                                                                   \
  __asm__ volatile(                                                                                                 \
      "mov %[e0], #0\n\t"                                                                                           \
      "mov %[e1], #0\n\t"                                                                                           \
      "mov %[e2], #0\n\t"                                                                                           \
      "mov %[e3], #0\n\t"                                                                                           \
      "mov %[b0], #0\n\t"                                                                                           \
      "mov %[b1], #0\n\t"                                                                                           \
      "mov %[b2], #0\n\t"                                                                                           \
      "mov %[b3], #0\n\t"                                                                                           \
      dot                                                                                             \
      finish                                                                                                        \
      "strd %[e0], %[e1], %[even01]\n\t"                                                                            \
      "strd %[e2], %[e3], %[even23]\n\t"                                                                            \
      "strd %[b0], %[b1], %[odd01]\n\t"                                                                             \
      "strd %[b2], %[b3], %[odd23]\n\t"                                                                             \
      : [e0] "=&r"(t0), [e1] "=&r"(t1), [e2] "=&r"(t2), [e3] "=&r"(t3), [b0] "=&r"(t4), [b1] "=&r"(t5),             \
        [b2] "=&r"(t6), [b3] "=&r"(t7), [w] "=&r"(t8), [e] "=&r"(t9), [x] "=&r"(t10), [y] "=&r"(t11),               \
        [weights] "+r"(weights), [patches] "+r"(patches), [even01] "=m"(PAIR(sums.even[0])),                        \
        [even23] "=m"(PAIR(sums.even[2])), [odd01] "=m"(PAIR(sums.odd[0])), [odd23] "=m"(PAIR(sums.odd[2]))         \
      : [end] "m"(end), [behind] "m"(behind), [less01] "m"(PAIR(less[0])), [less23] "m"(PAIR(less[2]))              \
      : "cc", "memory")

#define PAIR(first) (*(int32_t(*)[2])(void *)&(first))

// 8 bits: the odd row's sums, 256 times, lie on top of the even one's.
#define APART(even, odd) "sub " odd ", " odd ", " even "\n\tasr " odd ", " odd ", #8\n\t"
#define FINISH8 APART("%[e0]", "%[b0]") APART("%[e1]", "%[b1]") APART("%[e2]", "%[b2]") APART("%[e3]", "%[b3]")

// 4 bits: q = 16u - 120, so 16 times the sum of u x, less 120 times that of x.
#define WEIGH(even, odd, less)          \
  "sub " odd ", " odd ", " even "\n\t"  \
  "add " odd ", " odd ", " less "\n\t"  \
  "add " even ", " less ", " even ", lsl #4\n\t"
#define FINISH4                                                                                                    \
  "ldrd %[w], %[e], %[less01]\n\t"                                                                                 \
  "ldrd %[x], %[y], %[less23]\n\t"                                                                                 \
  WEIGH("%[e0]", "%[b0]", "%[w]") WEIGH("%[e1]", "%[b1]", "%[e]") WEIGH("%[e2]", "%[b2]", "%[x]")                  \
  WEIGH("%[e3]", "%[b3]", "%[y]")

// Two rows of four pixels to their places.
#define SCALE_AND_BIAS                                       \
  "ldrd %[multiplier], %[power], [%[weights]], #8\n\t"       \
  "ldr %[twice_bias], [%[bias]], #4\n\t"                     \
  "lsl %[twice_bias], %[twice_bias], #1\n\t"

#define PUT_TWO_ROWS                                                                                              \
  __asm__ volatile(                                                                                               \
      SCALE_AND_BIAS                                                                                              \
      "ldrd %[s0], %[s1], %[even01]\n\t"                                                                          \
      "ldrd %[s2], %[s3], %[even23]\n\t"                                                                          \
      JLT_V7_PUT_FOUR("%[s0]", "%[s1]", "%[s2]", "%[s3]")                                                         \
      SCALE_AND_BIAS                                                                                              \
      "ldrd %[s0], %[s1], %[odd01]\n\t"                                                                           \
      "ldrd %[s2], %[s3], %[odd23]\n\t"                                                                           \
      "add %[out], %[out], #1\n\t"                                                                                \
      JLT_V7_PUT_FOUR("%[s0]", "%[s1]", "%[s2]", "%[s3]")                                                         \
      "add %[out], %[out], #1\n\t"                                                                                \
      : [s0] "=&r"(t0), [s1] "=&r"(t1), [s2] "=&r"(t2), [s3] "=&r"(t3), [multiplier] "=&r"(t4), [power] "=&r"(t5), \
        [twice_bias] "=&r"(t6), [weights] "+r"(weights), [bias] "+r"(bias), [out] "+r"(out)                       \
      : [zero_point] "r"(zero_point), [step] "r"(step), [even01] "m"(PAIR(sums.even[0])),                         \
        [even23] "m"(PAIR(sums.even[2])), [odd01] "m"(PAIR(sums.odd[0])), [odd23] "m"(PAIR(sums.odd[2]))          \
      : "memory")

// Less than a block's pixels, one row of the two, or scales out of the ordinary; sums: the first row's, the second's.
__attribute__((noinline)) static void put_slowly(const block_t *b, uint32_t channel, const int32_t *sums) {
  for (uint32_t row = 0; row < 2 && channel + row < b->channels.end; row++) {
    jlt_v7_requantise_slow(b->call, channel + row, sums + row * JLT_V7_PIXELS, b->pixels, b->out + channel + row);
  }
}

static void rows(const block_t *b) {
  const uint32_t *weights = b->weights;
  const int32_t *bias = b->call->weights.bias + b->channels.begin;
  int8_t *out = b->out + b->channels.begin;
  const uint32_t *const end = b->patches + (size_t)b->groups * (JLT_V7_GROUP_BYTES / 4);
  const uint32_t behind = b->behind;
  const int32_t zero_point = b->zero_point;
  const uint32_t step = b->step;
  const uint32_t quick_end = b->quick ? b->channels.end & ~1u : 0u;
  int32_t less[JLT_V7_PIXELS] = {b->less[0], b->less[1], b->less[2], b->less[3]};
  for (uint32_t o = b->channels.begin; o < b->channels.end; o += 2) {
    sums_t sums;
    const uint32_t *patches = b->patches;
    int32_t t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11;
    if (b->is_4) {
      SUM_TWO_ROWS(JLT_V7_DOT(JLT_V7_GROUP4), FINISH4);
    } else if (b->stacked) {
      SUM_TWO_ROWS(JLT_V7_DOT(JLT_V7_GROUP8), FINISH8);
    } else {
      SUM_TWO_ROWS(JLT_V7_DOT_APART, "");
    }
    if (o < quick_end) {
      PUT_TWO_ROWS;
    } else {
      put_slowly(b, o, sums.even);
      weights += 2 * JLT_V7_SCALE_BYTES / 4;
      bias += 2;
      out += 2;
    }
  }
}

static void minus_zero_weights(block_t *b) {
  jlt_v7_sum_patches(b->patches, b->groups, b->less);
  for (uint32_t i = 0; i < JLT_V7_PIXELS; i++) {
    b->less[i] *= -120;
  }
}

static block_t block_of(const jlt_call_t *call, jlt_v7_patch_t patch, jlt_span_t channels) {
  const jlt_conv_params_t *p = call->params;
  const bool is_4 = !call->weights.s8 && !call->weights.low;
  const uint32_t *packed = call->weights.packed;
  return (block_t){
      .call = call,
      .patches = call->scratch,
      .weights = packed + JLT_V7_HEAD_BYTES / 4 +
                 (size_t)(channels.begin / 2u) * (jlt_v7_rows2_bytes(patch.groups, is_4) / 4u),
      .channels = channels,
      .groups = patch.groups,
      .behind = jlt_v7_behind(patch.groups, is_4 ? JLT_V7_DOT4_GROUP_BYTES : JLT_V7_DOT8_GROUP_BYTES),
      .zero_point = p->out_zero_point,
      .step = p->out_c,
      .is_4 = is_4,
      .stacked = *packed != 0,
  };
}

void jlt_conv_s8__armv7em(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const jlt_v7_patch_t patch = jlt_v7_patch(p);
  const bool one_pixel = jlt_v7_one_vector(p);
  const jlt_span_t pixels =
      one_pixel ? (jlt_span_t){.end = 1} : jlt_tile(call, JLT_UNIT_PIXELS, p->n * p->out_h * p->out_w);
  const jlt_span_t channels = one_pixel ? jlt_tile(call, JLT_UNIT_CHANNELS, p->out_c) : (jlt_span_t){.end = p->out_c};
  const bool quick = jlt_v7_is_quick(&call->weights, channels.begin, channels.end);
  block_t b = block_of(call, patch, channels);
  // what the end of the last group has too many stays 0 throughout
  memset((uint32_t *)call->scratch + (size_t)(patch.groups - 1u) * (JLT_V7_GROUP_BYTES / 4), 0, JLT_V7_GROUP_BYTES);
  for (uint32_t first = pixels.begin; first < pixels.end; first += JLT_V7_PIXELS) {
    b.pixels = pixels.end - first < JLT_V7_PIXELS ? pixels.end - first : JLT_V7_PIXELS;
    b.out = (int8_t *)call->out + (size_t)first * p->out_c;
    b.quick = quick && b.pixels == JLT_V7_PIXELS;
    jlt_v7_gather(p, patch, call->in[0], first, b.pixels, call->scratch);
    if (b.is_4) {
      minus_zero_weights(&b);
    }
    rows(&b);
    jlt_v7_clamp(p, b.out + channels.begin, b.pixels * (channels.end - channels.begin));
  }
}
#endif
