// SPDX-License-Identifier: Apache-2.0
// A matrix times one vector for cores with SMLAD: four rows at a time; several vectors are a convolution.
//
// Tensors and arithmetic as ref/conv_s8.c. The input is widened as it is read. Packed weights: a head, then for every four rows: of
// each four elements, at 8 bits the words that conv_s8.c has for two rows, then those for the other two; at 4 bits two words (elements
// 0 and 2, elements 1 and 3), the nibbles of a lane being the four rows', the last one's less 8 and signed; then four scales.
// Scratch: an input that does not end with a group of four, filled up with its zero point.
#include "kernels/variants.h"

#if defined(JLT_WITH_ARMV7EM) && defined(__ARM_FEATURE_DSP) && JLT_IS_M_PROFILE
#include <string.h>

#include "kernels/armv7em/dot.h"
#include "kernels/armv7em/requantise.h"
#include "kernels/armv7em/simd.h"

enum { ROWS = 4, CHUNK_GROUPS = 64, GROUP8_BYTES = 64, GROUP4_BYTES = 72 };  // of code
enum { NIBBLES = 0, APART = 4, STACKED = 8 };  // kinds of weights: where in a table of jumps [bytes]

// Registers are named after what they hold when the sums are done. The registers of an ldm ascend, so they have names.
#define X "%[multiplier]"
#define Y "%[power]"
#define FROM "%[zero_point]"
#define S0 "%[s0]"
#define S1 "%[s1]"
#define S2 "%[s2]"
#define S3 "%[s3]"

#define WIDEN_FOUR                             \
  "ldr " X ", [" FROM "], #4\n\t"              \
  "sxtab16 " Y ", %[minus], " X ", ror #8\n\t" \
  "sxtab16 " X ", %[minus], " X "\n\t"

// Stacked rows as in dot.h.
#define PAIR8(first, second, x)                     \
  "smlad " S1 ", " first ", " x ", " S1 "\n\t"      \
  "sxtb16 " first ", " first "\n\t"                 \
  "smlad " S3 ", " second ", " x ", " S3 "\n\t"     \
  "sxtb16 " second ", " second "\n\t"               \
  "smlad " S0 ", " first ", " x ", " S0 "\n\t"      \
  "smlad " S2 ", " second ", " x ", " S2 "\n\t"
#define GROUP8 WIDEN_FOUR "ldmia.w %[weights]!, {r3-r6}\n\t" PAIR8("r3", "r5", X) PAIR8("r4", "r6", Y)

#define PAIR8_APART(first, second, x)               \
  "sxtb16 r6, " first "\n\t"                        \
  "smlad " S0 ", r6, " x ", " S0 "\n\t"             \
  "sxtb16 r6, " first ", ror #8\n\t"                \
  "smlad " S1 ", r6, " x ", " S1 "\n\t"             \
  "sxtb16 r6, " second "\n\t"                       \
  "smlad " S2 ", r6, " x ", " S2 "\n\t"             \
  "sxtb16 r6, " second ", ror #8\n\t"               \
  "smlad " S3 ", r6, " x ", " S3 "\n\t"
#define GROUP8_APART                           \
  WIDEN_FOUR                                   \
  "ldr r3, [%[weights], #0]\n\t"               \
  "ldr r5, [%[weights], #8]\n\t"               \
  PAIR8_APART("r3", "r5", X)                   \
  "ldr r3, [%[weights], #4]\n\t"               \
  "ldr r5, [%[weights], #12]\n\t"              \
  PAIR8_APART("r3", "r5", Y)                   \
  "add %[weights], #16\n\t"

#define PAIR4(word, x)                              \
  "and r5, " word ", #0x000F000F\n\t"               \
  "and r6, " word ", #0x00F000F0\n\t"               \
  "smlad " S0 ", r5, " x ", " S0 "\n\t"             \
  "and r5, " word ", #0x0F000F00\n\t"               \
  "smlad " S1 ", r6, " x ", " S1 "\n\t"             \
  "smlad " S2 ", r5, " x ", " S2 "\n\t"             \
  "smlad " S3 ", " word ", " x ", " S3 "\n\t"
#define GROUP4                                \
  WIDEN_FOUR                                  \
  "ldrd r3, r4, [%[weights]], #8\n\t"         \
  PAIR4("r3", X) PAIR4("r4", Y)

#define UNTIL_END(loop) "cmp " FROM ", %[end]\n\tbne " loop "\n\t"

// Stacked, two rows' sums begin with the first one's bias: what is between them is then 256 times the second row's sum.
#define BEGIN8                                          \
  "ldr r3, %[bias_at]\n\t"                              \
  "ldr " S1 ", [r3]\n\t"                                \
  "ldr " S3 ", [r3, #8]\n\t"                            \
  "mov " S0 ", " S1 "\n\t"                              \
  "mov " S2 ", " S3 "\n\t"
#define END8                                            \
  "ldr r3, %[bias_at]\n\t"                              \
  "ldr r5, [r3, #4]\n\t"                                \
  "ldr r6, [r3, #12]\n\t"                               \
  "sub " S1 ", " S1 ", " S0 "\n\t"                      \
  "sub " S3 ", " S3 ", " S2 "\n\t"                      \
  "add " S1 ", r5, " S1 ", asr #8\n\t"                  \
  "add " S3 ", r6, " S3 ", asr #8\n\t"
#define BEGIN8_APART                                    \
  "ldr r3, %[bias_at]\n\t"                              \
  "ldrd " S0 ", " S1 ", [r3]\n\t"                       \
  "ldrd " S2 ", " S3 ", [r3, #8]\n\t"

// q = 16u - 120, and the last row's u lacks 8. Its sum has all others' in it, and room for a chunk: `sums01` and `sums23` take the
// chunks along, and begin with -120 and 8 times the sum of x - zero point.
#define BEGIN4                                          \
  "mov " S0 ", #0\n\tmov " S1 ", #0\n\tmov " S2 ", #0\n\tmov " S3 ", #0\n\t"
#define CHUNK4                                          \
  "sub " S3 ", " S3 ", " S2 "\n\t"                      \
  "sub " S3 ", " S3 ", " S1 "\n\t"                      \
  "sub " S3 ", " S3 ", " S0 "\n\t"                      \
  "ldrd r3, r4, %[sums01]\n\t"                          \
  "ldrd r5, r6, %[sums23]\n\t"                          \
  "add " S0 ", r3, " S0 ", lsl #4\n\t"                  \
  "add " S1 ", r4, " S1 "\n\t"                          \
  "add " S2 ", r5, " S2 ", asr #4\n\t"                  \
  "add " S3 ", r6, " S3 ", asr #8\n\t"
#define NEXT_CHUNK4                                     \
  "strd " S0 ", " S1 ", %[sums01]\n\t"                  \
  "strd " S2 ", " S3 ", %[sums23]\n\t"                  \
  "add %[end], %[end], #256\n\t"
#define END4                                            \
  "ldrd r3, r4, %[less_more]\n\t"                       \
  "strd r3, r3, %[sums01]\n\t"                          \
  "strd r3, r4, %[sums23]\n\t"                          \
  "ldr r3, %[bias_at]\n\t"                              \
  "ldrd r5, r6, [r3]\n\t"                               \
  "add " S0 ", " S0 ", r5\n\t"                          \
  "add " S1 ", " S1 ", r6\n\t"                          \
  "ldrd r5, r6, [r3, #8]\n\t"                           \
  "add " S2 ", " S2 ", r5\n\t"                          \
  "add " S3 ", " S3 ", r6\n\t"

#define PUT(sum)                                        \
  "ldrd %[multiplier], %[power], [%[weights]], #8\n\t"  \
  JLT_V7_REQUANTISE(sum) "strb " sum ", [r4], #1\n\t"

// Four rows a turn until `out` comes to its end. `first` leads to the weights' kind, `entry` into its loop.
#define ROWS_OF_FOUR                                                                         \
  JLT_V7_ALIGN "ldr r3, %[kind]\n\t" JLT_V7_PLACE("r3", "r5", "7f")                          \
  "ldr r4, %[behind]\n\t" JLT_V7_PLACE("r4", "r5", "1f")                                     \
  "strd r3, r4, %[places]\n"                                                                 \
  "0:\n\t"                                                                                   \
  "ldr " FROM ", %[x]\n\t"                                                                   \
  "ldr %[end], %[chunk_end]\n\t"                                                             \
  "ldr.w pc, %[first]\n"                                                                     \
  "7:\n\t"                                                                                   \
  "b.w 4f\n\t"                                                                               \
  "b.w 2f\n\t"                                                                               \
  BEGIN8 "ldr.w pc, %[entry]\n"                                                              \
  "1:\n\t" GROUP8 GROUP8 GROUP8 GROUP8 UNTIL_END("1b")                                       \
  END8 "b 6f\n"                                                                              \
  "2:\n\t" BEGIN8_APART                                                                      \
  "3:\n\t" GROUP8_APART UNTIL_END("3b")                                                      \
  "ldr r3, %[bias_at]\n\t"                                                                   \
  "b 6f\n"                                                                                   \
  "4:\n\t" BEGIN4 "ldr " X ", %[behind]\n\tadd pc, " X "\n\tnop.n\n"                         \
  "5:\n\t" GROUP4 GROUP4 GROUP4 GROUP4 UNTIL_END("5b")                                       \
  CHUNK4                                                                                     \
  "ldr " X ", %[x_end]\n\t"                                                                  \
  "cmp " FROM ", " X "\n\t"                                                                  \
  "beq 8f\n\t"                                                                               \
  NEXT_CHUNK4 BEGIN4 "b 5b\n"                                                                \
  "8:\n\t" END4                                                                              \
  "6:\n\t"                                                                                   \
  "add r3, r3, #16\n\t"                                                                      \
  "str r3, %[bias_at]\n\t"                                                                   \
  "ldr r4, %[out_at]\n\t"                                                                    \
  "ldr %[zero_point], %[zero]\n\t"                                                           \
  PUT(S0) PUT(S1) PUT(S2) PUT(S3)                                                            \
  "str r4, %[out_at]\n\t"                                                                    \
  "ldr r5, %[out_end]\n\t"                                                                   \
  "cmp r4, r5\n\t"                                                                           \
  "bne 0b\n\t"

typedef struct {
  const jlt_call_t *call;
  const int8_t *x;
  uint32_t groups;
  uint32_t minus;  // the zero point, twice
  uint32_t kind;
  int32_t sum;  // of x - zero point, where weights have 4 bits
} product_t;

#define PAIR(first) (*(int32_t(*)[2])(void *)&(first))

// `count` rows, a multiple of four.
__attribute__((noinline)) static void rows(const product_t *v, const uint32_t *weights, const int32_t *bias, int8_t *out,
                                           uint32_t count) {
  const bool is_4 = v->kind == NIBBLES;
  const uint32_t chunk = is_4 ? (v->groups - 1u) % CHUNK_GROUPS + 1u : v->groups;  // the first one
  const uint32_t kind = v->kind;
  const uint32_t behind = jlt_v7_behind(chunk, is_4 ? GROUP4_BYTES : GROUP8_BYTES);
  const int8_t *const x = v->x;
  const int8_t *const chunk_end = x + 4u * chunk;
  const int8_t *const x_end = x + 4u * v->groups;
  const int8_t *const out_end = out + count;
  const int32_t zero = ((const jlt_conv_params_t *)v->call->params)->out_zero_point;
  const int32_t less_more[2] = {-120 * v->sum, 8 * v->sum};
  int32_t sums[ROWS] = {less_more[0], less_more[0], less_more[0], less_more[1]};
  struct {
    uintptr_t first;
    uintptr_t entry;
  } places;
  int32_t t0, t1, t2, t3, t4, t5, t6, t7;
  __asm__ volatile(ROWS_OF_FOUR
                   : [s0] "=&r"(t0), [s1] "=&r"(t1), [s2] "=&r"(t2), [s3] "=&r"(t3), [multiplier] "=&r"(t4), [power] "=&r"(t5),
                     [zero_point] "=&r"(t6), [end] "=&r"(t7), [weights] "+r"(weights), [bias_at] "+m"(bias), [out_at] "+m"(out),
                     [sums01] "+m"(PAIR(sums[0])), [sums23] "+m"(PAIR(sums[2])), [places] "=m"(places),
                     [first] "=m"(places.first), [entry] "=m"(places.entry)
                   : [minus] "r"(v->minus), [kind] "m"(kind), [behind] "m"(behind), [x] "m"(x), [chunk_end] "m"(chunk_end),
                     [x_end] "m"(x_end), [out_end] "m"(out_end), [zero] "m"(zero), [less_more] "m"(PAIR(less_more[0]))
                   : "r3", "r4", "r5", "r6", "cc", "memory");
}

static uint32_t word_of(const product_t *v, const uint32_t *weights, uint32_t row, uint32_t odd) {
  if (v->kind == NIBBLES) {
    const uint32_t nibbles = weights[odd] >> 4u * row & 0x000F000Fu;
    return row == 3 ? nibbles ^ 0x00080008u : nibbles;
  }
  const uint32_t word = weights[row / 2u * 2u + odd];
  return row % 2u == 0 ? jlt_widen_even(0, word) : (v->kind == STACKED ? word : jlt_widen_odd(0, word));
}

// One of four rows, for scales out of the ordinary.
__attribute__((noinline)) static int32_t row_slowly(const product_t *v, const uint32_t *weights, uint32_t row) {
  const bool is_4 = v->kind == NIBBLES;
  int32_t sum = 0;
  for (uint32_t g = 0; g < v->groups; g++, weights += is_4 ? 2 : 4) {
    const uint32_t word = jlt_word_at(v->x + 4u * g);
    sum = jlt_dot_pair(word_of(v, weights, row, 0), jlt_widen_even(v->minus, word), sum);
    sum = jlt_dot_pair(word_of(v, weights, row, 1), jlt_widen_odd(v->minus, word), sum);
  }
  return is_4 ? 16 * sum - 120 * v->sum : sum;
}

static void four_slowly(const product_t *v, const uint32_t *weights, uint32_t first, uint32_t end, int8_t *out) {
  int32_t sums[ROWS];
  for (uint32_t row = 0; row < ROWS; row++) {
    sums[row] = row_slowly(v, weights, row);
  }
  if (v->kind == STACKED) {
    sums[1] = (sums[1] - sums[0]) >> 8;
    sums[3] = (sums[3] - sums[2]) >> 8;
  }
  for (uint32_t row = 0; row < ROWS && first + row < end; row++) {
    jlt_v7_requantise_slow(v->call, first + row, &sums[row], 1, out + row);
  }
}

__attribute__((noinline)) static int32_t sum_of(const int8_t *x, uint32_t groups, uint32_t minus) {
  const uint32_t ones = 0x00010001u;
  const int8_t *const end = x + 4u * groups;
  int32_t sum = 0;
  for (; x < end; x += 4) {
    sum = jlt_dot_pair(jlt_widen_even(minus, jlt_word_at(x)), ones, sum);
    sum = jlt_dot_pair(jlt_widen_odd(minus, jlt_word_at(x)), ones, sum);
  }
  return sum;
}

static product_t product_of(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const bool is_4 = !call->weights.s8 && !call->weights.low;
  product_t v = {
      .call = call,
      .x = call->in[0],
      .groups = (p->in_c + 3u) / 4u,
      .minus = jlt_minus_pair(p->in_zero_point),
      .kind = is_4 ? NIBBLES : (*(const uint32_t *)call->weights.packed ? STACKED : APART),
  };
  if (p->in_c % 4u > 0) {
    int8_t *filled = call->scratch;
    memcpy(filled, v.x, p->in_c);
    memset(filled + p->in_c, p->in_zero_point, 4u * v.groups - p->in_c);
    v.x = filled;
  }
  v.sum = is_4 ? sum_of(v.x, v.groups, v.minus) : 0;
  return v;
}

static void multiply(const jlt_call_t *call, jlt_span_t channels) {
  const product_t v = product_of(call);
  const uint32_t words = jlt_v7_rows4_bytes(v.groups, v.kind == NIBBLES) / 4u;  // of four rows
  const uint32_t *weights = (const uint32_t *)call->weights.packed + JLT_V7_HEAD_BYTES / 4 + channels.begin / ROWS * words;
  const int32_t *bias = call->weights.bias;
  int8_t *out = call->out;
  uint32_t first = channels.begin;
  if (jlt_v7_is_quick(&call->weights, channels.begin, channels.end)) {
    const uint32_t count = (channels.end - first) / ROWS * ROWS;
    if (count > 0) {
      rows(&v, weights, bias + first, out + first, count);
    }
    weights += count / ROWS * words;
    first += count;
    if (first < channels.end) {
      int32_t last_bias[ROWS] = {0};
      int8_t last[ROWS];
      memcpy(last_bias, bias + first, (channels.end - first) * sizeof(*bias));
      rows(&v, weights, last_bias, last, ROWS);
      memcpy(out + first, last, channels.end - first);
    }
  } else {
    for (; first < channels.end; first += ROWS, weights += words) {
      four_slowly(&v, weights, first, channels.end, out + first);
    }
  }
  jlt_v7_clamp(((const jlt_conv_params_t *)call->params)->act_min, ((const jlt_conv_params_t *)call->params)->act_max,
               out + channels.begin, channels.end - channels.begin);
}

void jlt_fc_s8__armv7em(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  multiply(call, jlt_tile(call, JLT_UNIT_CHANNELS, p->out_c));
}
#endif
