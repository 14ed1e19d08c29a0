// SPDX-License-Identifier: Apache-2.0
// A matrix times one vector for cores with SMLAD: four rows at a time; several vectors are a convolution.
//
// Tensors and arithmetic as ref/conv_s8.c. The input is widened as it is read, so there is no scratch. Packed weights: a
// head, then for every four rows: of each four elements, at 8 bits the words that conv_s8.c has for two rows, then those for the other two; at
// 4 bits two words (elements 0 and 2, elements 1 and 3), the nibbles of a lane being the four rows', the last one's less 8 and
// signed; then four scales. What a last group has too many meets x - zero point = 0.
#include "kernels/variants.h"

#if defined(JLT_WITH_ARMV7EM) && defined(__ARM_FEATURE_DSP) && JLT_IS_M_PROFILE
#include <string.h>

#include "kernels/armv7em/dot.h"
#include "kernels/armv7em/requantise.h"
#include "kernels/armv7em/simd.h"

enum { ROWS = 4, CHUNK_GROUPS = 64, GROUP8_BYTES = 64, GROUP4_BYTES = 72 };  // of code

#define WIDEN_FOUR                            \
  "ldr %[x], [%[from]], #4\n\t"               \
  "sxtab16 %[y], %[minus], %[x], ror #8\n\t"  \
  "sxtab16 %[x], %[minus], %[x]\n\t"

// The registers of an ldm ascend, so they have names. Stacked rows as in dot.h.
#define PAIR8(first, second, x)            \
  "smlad %[s1], " first ", " x ", %[s1]\n\t"   \
  "sxtb16 " first ", " first "\n\t"            \
  "smlad %[s3], " second ", " x ", %[s3]\n\t"  \
  "sxtb16 " second ", " second "\n\t"          \
  "smlad %[s0], " first ", " x ", %[s0]\n\t"   \
  "smlad %[s2], " second ", " x ", %[s2]\n\t"
#define GROUP8 WIDEN_FOUR "ldmia.w %[weights]!, {r3-r6}\n\t" PAIR8("r3", "r5", "%[x]") PAIR8("r4", "r6", "%[y]")

#define PAIR8_APART(first, second, x)      \
  "sxtb16 r6, " first "\n\t"                   \
  "smlad %[s0], r6, " x ", %[s0]\n\t"          \
  "sxtb16 r6, " first ", ror #8\n\t"           \
  "smlad %[s1], r6, " x ", %[s1]\n\t"          \
  "sxtb16 r6, " second "\n\t"                  \
  "smlad %[s2], r6, " x ", %[s2]\n\t"          \
  "sxtb16 r6, " second ", ror #8\n\t"          \
  "smlad %[s3], r6, " x ", %[s3]\n\t"
#define GROUP8_APART                           \
  WIDEN_FOUR                                   \
  "ldr r3, [%[weights], #0]\n\t"               \
  "ldr r5, [%[weights], #8]\n\t"               \
  PAIR8_APART("r3", "r5", "%[x]")              \
  "ldr r3, [%[weights], #4]\n\t"               \
  "ldr r5, [%[weights], #12]\n\t"              \
  PAIR8_APART("r3", "r5", "%[y]")              \
  "add %[weights], #16\n\t"

#define PAIR4(word, x)                      \
  "and r5, " word ", #0x000F000F\n\t"       \
  "and r6, " word ", #0x00F000F0\n\t"       \
  "smlad %[s0], r5, " x ", %[s0]\n\t"       \
  "and r5, " word ", #0x0F000F00\n\t"       \
  "smlad %[s1], r6, " x ", %[s1]\n\t"       \
  "smlad %[s2], r5, " x ", %[s2]\n\t"       \
  "smlad %[s3], " word ", " x ", %[s3]\n\t"

#define GROUP4                              \
  WIDEN_FOUR                                \
  "ldrd r3, r4, [%[weights]], #8\n\t"       \
  PAIR4("r3", "%[x]") PAIR4("r4", "%[y]")

#define TURN(group) "add pc, %[x]\n\tnop.n\n1:\n\t" group group group group
#define DOT(turn)                                                                                                       \
  __asm__ volatile(                                                                                                     \
      turn                                                                                                              \
      "cmp %[from], %[end]\n\t"                                                                                         \
      "bne 1b\n\t"                                                                                                      \
      : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [weights] "+r"(weights), [from] "+r"(from),         \
        [x] "+r"(behind), [y] "=&r"(y)                                                                                  \
      : [minus] "r"(minus), [end] "r"(end)                                                                              \
      : "r3", "r4", "r5", "r6", "cc", "memory")

typedef struct {
  const int8_t *x;
  uint32_t last;   // the elements after the whole groups, then the zero point
  uint32_t whole;  // groups
  uint32_t minus;  // the zero point, twice
  int32_t less;    // at 4 bits: -120 and 8 times the sum of x - zero point
  int32_t more;
  bool has_last;
  bool is_4;
  bool stacked;
} vector_t;

static int32_t sum_of(const vector_t *v) {
  const uint32_t ones = 0x00010001u;
  int32_t sum = 0;
  for (uint32_t g = 0; g < v->whole + v->has_last; g++) {
    const uint32_t word = g < v->whole ? jlt_word_at(v->x + 4u * g) : v->last;
    sum = jlt_dot_pair(jlt_widen_even(v->minus, word), ones, sum);
    sum = jlt_dot_pair(jlt_widen_odd(v->minus, word), ones, sum);
  }
  return sum;
}

static vector_t vector_of(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  vector_t v = {
      .x = call->in[0],
      .last = (uint32_t)(uint8_t)p->in_zero_point * 0x01010101u,
      .whole = p->in_c / 4u,
      .minus = jlt_minus_pair(p->in_zero_point),
      .has_last = p->in_c % 4u > 0,
      .is_4 = !call->weights.s8 && !call->weights.low,
      .stacked = *(const uint32_t *)call->weights.packed != 0,
  };
  memcpy(&v.last, v.x + 4u * v.whole, p->in_c % 4u);
  if (v.is_4) {
    const int32_t sum = sum_of(&v);
    v.less = -120 * sum;
    v.more = 8 * sum;
  }
  return v;
}

// Sums of four rows; returns where their scales are. At 4 bits q = 16u - 120, and the last row's u lacks 8.
static inline const uint32_t *four_rows(const vector_t *v, const uint32_t *weights, int32_t *sums) {
  const uint32_t minus = v->minus;
  const int8_t *from = v->x;
  uint32_t left = v->whole;
  bool has_last = v->has_last;
  sums[0] = sums[1] = sums[2] = v->less;
  sums[3] = v->more;
  while (left > 0 || has_last) {
    const uint32_t n = left == 0 ? 1u : (left < CHUNK_GROUPS ? left : CHUNK_GROUPS);
    if (left == 0) {
      from = (const int8_t *)&v->last;
      has_last = false;
    } else {
      left -= n;
    }
    const int8_t *end = from + 4u * n;
    uint32_t behind = jlt_v7_behind(n, v->is_4 ? GROUP4_BYTES : GROUP8_BYTES);
    uint32_t y;
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    if (v->is_4) {
      DOT(TURN(GROUP4));
      s3 = (s3 - s2 - s1 - s0) >> 8;
      s2 >>= 4;
      s0 *= 16;
    } else if (v->stacked) {
      DOT(TURN(GROUP8));
      s1 = (s1 - s0) >> 8;
      s3 = (s3 - s2) >> 8;
    } else {
      DOT("1:\n\t" GROUP8_APART);
    }
    sums[0] += s0;
    sums[1] += s1;
    sums[2] += s2;
    sums[3] += s3;
  }
  return weights;
}

#define PUT                                               \
  "ldrd %[multiplier], %[power], [%[scales]], #8\n\t"     \
  "ldr %[twice_bias], [%[bias]], #4\n\t"                  \
  "ldr %[sum], [%[sums]], #4\n\t"                         \
  "lsl %[twice_bias], %[twice_bias], #1\n\t"              \
  JLT_V7_REQUANTISE("%[sum]")                             \
  "strb %[sum], [%[out]], #1\n\t"

static void put_four(const jlt_v7_scale_t *scales, const int32_t *bias, const int32_t *sums, int32_t zero_point, int8_t *out) {
  int32_t t0, t1, t2, t3;
  __asm__ volatile(PUT PUT PUT PUT
                   : [multiplier] "=&r"(t0), [power] "=&r"(t1), [twice_bias] "=&r"(t2), [sum] "=&r"(t3),
                     [scales] "+r"(scales), [bias] "+r"(bias), [sums] "+r"(sums), [out] "+r"(out)
                   : [zero_point] "r"(zero_point)
                   : "memory");
}

static void multiply(const jlt_call_t *call, jlt_span_t channels) {
  const jlt_conv_params_t *p = call->params;
  const uint32_t quick_end = jlt_v7_is_quick(&call->weights, channels.begin, channels.end) ? channels.end & ~3u : 0u;
  const int32_t *bias = call->weights.bias + channels.begin;
  int8_t *out = (int8_t *)call->out + channels.begin;
  const vector_t v = vector_of(call);
  const uint32_t *packed = call->weights.packed;
  const uint32_t *weights = packed + JLT_V7_HEAD_BYTES / 4 +
                            (size_t)(channels.begin / ROWS) * (jlt_v7_rows4_bytes((p->in_c + 3u) / 4u, v.is_4) / 4u);
  for (uint32_t first = channels.begin; first < channels.end; first += ROWS, bias += ROWS, out += ROWS) {
    int32_t sums[ROWS] = {0};
    const jlt_v7_scale_t *scales = (const jlt_v7_scale_t *)four_rows(&v, weights, sums);
    weights = (const uint32_t *)(scales + ROWS);
    if (first < quick_end) {
      put_four(scales, bias, sums, p->out_zero_point, out);
      continue;
    }
    for (uint32_t i = 0; i < ROWS && first + i < channels.end; i++) {
      jlt_v7_requantise_slow(call, first + i, &sums[i], 1, out + i);
    }
  }
  jlt_v7_clamp(p->act_min, p->act_max, (int8_t *)call->out + channels.begin, channels.end - channels.begin);
}

void jlt_fc_s8__armv7em(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  multiply(call, jlt_tile(call, JLT_UNIT_CHANNELS, p->out_c));
}
#endif
