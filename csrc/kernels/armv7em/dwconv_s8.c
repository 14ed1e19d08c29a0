// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution 3 by 3 for cores with SMLAD: blocks of up to eight pixels of a row, four channels at a time.
//
// Tensors and arithmetic as ref/dwconv_s8.c. The columns under a block are widened into scratch, x - zero point, rows 0 and 1 of
// a channel as a pair: six words a column: p0 e p2 p1 o p3, where pn is the pair of channel n and row 2 lies in e (channels 0 and
// 2) and o (1 and 3). Every channel's neighbours are an ldrd. Padding is 0 there, so no sum knows of borders.
// Packed weights: eight words a channel: what meets those two words of each of three columns; the scale.
// The last group of channels ends with the tensor, so it may begin with channels that are done; they are not used again.
#include "kernels/variants.h"

#if defined(JLT_WITH_ARMV7EM) && defined(__ARM_FEATURE_DSP) && JLT_IS_M_PROFILE
#include "kernels/armv7em/packed.h"
#include "kernels/armv7em/requantise.h"
#include "kernels/armv7em/simd.h"

enum { LANES = 4, COLUMN = JLT_V7_DW_COLUMN_WORDS };

// `times` so many pixels at a time.
typedef struct {
  uint32_t pixels;
  uint32_t times;
} run_t;

typedef struct {
  const jlt_call_t *call;
  const jlt_conv_params_t *p;
  uint32_t minus;
  uint32_t row_bytes;
  const int8_t *from;  // channel 0 of the first column inside the input, in the first row
  uint32_t second;     // the other rows from there [bytes], back from a row that is outside
  uint32_t third;
  uint32_t keep;  // lanes of rows 0 and 1 inside the input
  bool keep_third;
  uint32_t begin;  // columns inside the input
  uint32_t end;
  uint32_t columns;
  uint32_t pixels;
  run_t run;         // of them, four or five at a time
  uint32_t singles;  // after those
  int8_t *out;       // of channel 0
  bool quick;
} block_t;

// Columns of three rows, `second` and `third` bytes from the first. A function of its own: it takes all registers.
__attribute__((noinline)) static void widen_columns(const block_t *b, const int8_t *from, uint32_t *to, const uint32_t *end) {
  uint32_t t;
  __asm__ volatile(
      "1:\n\t"
      "ldr r0, [%[from]]\n\t"
      "ldr r2, [%[from], %[second]]\n\t"
      "ldr r4, [%[from], %[third]]\n\t"
      "add %[from], %[from], %[step]\n\t"
      "sxtab16 %[t], %[minus], r0, ror #8\n\t"
      "sxtab16 r5, %[minus], r2, ror #8\n\t"
      "pkhbt r3, %[t], r5, lsl #16\n\t"
      "pkhtb r5, r5, %[t], asr #16\n\t"
      "sxtab16 %[t], %[minus], r0\n\t"
      "sxtab16 r2, %[minus], r2\n\t"
      "pkhbt r0, %[t], r2, lsl #16\n\t"
      "pkhtb r2, r2, %[t], asr #16\n\t"
      "sxtab16 r1, %[minus], r4\n\t"
      "sxtab16 r4, %[minus], r4, ror #8\n\t"
      "stmia %[to]!, {r0-r5}\n\t"
      "cmp %[to], %[end]\n\t"
      "bne 1b\n\t"
      : [from] "+r"(from), [to] "+r"(to), [t] "=&r"(t)
      : [second] "r"(b->second), [third] "r"(b->third), [step] "r"(b->p->in_c), [minus] "r"(b->minus), [end] "r"(end)
      : "r0", "r1", "r2", "r3", "r4", "r5", "cc", "memory");
}

// Rows outside the input have been read inside of it, and become 0: `keep` has the lanes of the first two that stay.
static void clear_rows(uint32_t *to, const uint32_t *end, uint32_t keep, bool keep_third) {
  for (; to < end; to += COLUMN) {
    to[0] &= keep;
    to[2] &= keep;
    to[3] &= keep;
    to[5] &= keep;
    to[1] = keep_third ? to[1] : 0;
    to[4] = keep_third ? to[4] : 0;
  }
}

// Operands of the sums, in registers that are named after what they hold behind them.
#define X "%[multiplier]"
#define Y "%[power]"
#define A0 "%[zero_point]"
#define A1 "%[step]"
#define A2 "%[a2]"
#define B0 "%[out]"
#define B1 "%[bias]"
#define B2 "%[b2]"

// Sums begin with the bias, which lies in the register of the last one.
#define BIAS_TO(last) "ldr %[" last "], %[bias_at]\n\tldr %[" last "], [%[" last "]]\n\t"
#define WEIGHTS                                  \
  "ldrd " A0 ", " B0 ", [%[weights]], #8\n\t"   \
  "ldrd " A1 ", " B1 ", [%[weights]], #8\n\t"   \
  "ldrd " A2 ", " B2 ", [%[weights]], #8\n\t"
#define COLUMN_AT(n) "ldrd " X ", " Y ", [%[from], #" #n "*24]\n\t"
#define SUM(sum, begin, k) \
  "smlad %[" sum "], " X ", " A##k ", %[" begin "]\n\tsmlad %[" sum "], " Y ", " B##k ", %[" sum "]\n\t"
#define ADD(sum, k) SUM(sum, sum, k)

#define FOUR_CLOSE                                                                                              \
  BIAS_TO("s3") WEIGHTS                                                                                         \
  COLUMN_AT(0) SUM("s0", "s3", 0) COLUMN_AT(1) ADD("s0", 1) SUM("s1", "s3", 0) COLUMN_AT(2) ADD("s0", 2)        \
  ADD("s1", 1) SUM("s2", "s3", 0) COLUMN_AT(3) ADD("s1", 2) ADD("s2", 1) ADD("s3", 0) COLUMN_AT(4) ADD("s2", 2) \
  ADD("s3", 1) COLUMN_AT(5) ADD("s3", 2)
#define FOUR_APART                                                                                              \
  BIAS_TO("s3") WEIGHTS                                                                                         \
  COLUMN_AT(0) SUM("s0", "s3", 0) COLUMN_AT(1) ADD("s0", 1) COLUMN_AT(2) ADD("s0", 2) SUM("s1", "s3", 0)        \
  COLUMN_AT(3) ADD("s1", 1) COLUMN_AT(4) ADD("s1", 2) SUM("s2", "s3", 0) COLUMN_AT(5) ADD("s2", 1) COLUMN_AT(6) \
  ADD("s2", 2) ADD("s3", 0) COLUMN_AT(7) ADD("s3", 1) COLUMN_AT(8) ADD("s3", 2)
// The fifth sum is where the pointer to the weights was.
#define FIVE                                                                                                    \
  WEIGHTS "str %[weights], %[weights_at]\n\t" BIAS_TO("weights")                                                \
  COLUMN_AT(0) SUM("s0", "weights", 0) COLUMN_AT(1) ADD("s0", 1) SUM("s1", "weights", 0) COLUMN_AT(2)           \
  ADD("s0", 2) ADD("s1", 1) SUM("s2", "weights", 0) COLUMN_AT(3) ADD("s1", 2) ADD("s2", 1)                      \
  SUM("s3", "weights", 0) COLUMN_AT(4) ADD("s2", 2) ADD("s3", 1) ADD("weights", 0) COLUMN_AT(5) ADD("s3", 2)    \
  ADD("weights", 1) COLUMN_AT(6) ADD("weights", 2)
#define ONE BIAS_TO("s0") WEIGHTS COLUMN_AT(0) ADD("s0", 0) COLUMN_AT(1) ADD("s0", 1) COLUMN_AT(2) ADD("s0", 2)

// The scale is behind the weights.
#define PLACE(weights)                                              \
  "ldrd %[multiplier], %[power], [%[" weights "]], #8\n\t"          \
  "ldrd %[zero_point], %[step], %[fixed]\n\t"                       \
  "ldrd %[out], %[bias], %[moving]\n\t"
#define PUT_FOUR PLACE("weights") JLT_V7_PUT_FOUR(JLT_V7_REQUANTISE, "%[s0]", "%[s1]", "%[s2]", "%[s3]")
#define PUT_ONE PLACE("weights") JLT_V7_REQUANTISE("%[s0]") "strb %[s0], [%[out]]\n\t"
#define PUT_FIVE                                                                        \
  "ldr %[b2], %[weights_at]\n\t"                                                        \
  PLACE("b2")                                                                           \
  JLT_V7_REQUANTISE("%[weights]") "strb %[weights], [%[out], %[step], lsl #2]\n\t"      \
  JLT_V7_PUT_FOUR(JLT_V7_REQUANTISE, "%[s0]", "%[s1]", "%[s2]", "%[s3]")                                   \
  "mov %[weights], %[b2]\n\t"

// From pixels to the next ones, where the loop is entered; then all channels, whose words are 3, -2 and 3 apart.
#define CHANNELS(pixels, put)                                                                                       \
  __asm__ volatile(                                                                                                 \
      "0:\n\t"                                                                                                      \
      "ldrd %[s0], %[s1], %[start]\n\t"                                                                             \
      "ldr %[s2], %[out_step]\n\t"                                                                                  \
      "add %[s0], %[s0], %[s2]\n\t"                                                                                 \
      "strd %[s0], %[s1], %[start]\n\t"                                                                             \
      "strd %[s0], %[s1], %[moving]\n\t"                                                                            \
      "ldr %[from], %[first]\n\t"                                                                                   \
      "ldr %[s2], %[from_step]\n\t"                                                                                 \
      "add %[from], %[from], %[s2]\n\t"                                                                             \
      "str %[from], %[first]\n\t"                                                                                   \
      "ldrd %[s0], %[s1], %[all]\n\t"                                                                               \
      "strd %[s0], %[s1], %[left]\n\t"                                                                              \
      "ldr %[weights], %[packed]\n"                                                                                 \
      "1:\n\t" pixels put                                                                                           \
      "add %[out], %[out], #1\n\t"                                                                                  \
      "add %[bias], %[bias], #4\n\t"                                                                                \
      "strd %[out], %[bias], %[moving]\n\t"                                                                         \
      "ldrd %[s0], %[s1], %[left]\n\t"                                                                              \
      "add %[from], %[from], %[s1], lsl #2\n\t"                                                                     \
      "rsb %[s1], %[s1], #1\n\t"                                                                                    \
      "subs %[s0], %[s0], #1\n\t"                                                                                   \
      "strd %[s0], %[s1], %[left]\n\t"                                                                              \
      "bne 1b\n\t"                                                                                                  \
      "ldr %[s0], %[times]\n\t"                                                                                     \
      "subs %[s0], %[s0], #1\n\t"                                                                                   \
      "str %[s0], %[times]\n\t"                                                                                     \
      "bne 0b\n\t"                                                                                                  \
      : [s0] "=&r"(t0), [s1] "=&r"(t1), [s2] "=&r"(t2), [s3] "=&r"(t3), [multiplier] "=&r"(t4), [power] "=&r"(t5),  \
        [zero_point] "=&r"(t6), [step] "=&r"(t7), [a2] "=&r"(t8), [out] "=&r"(t9), [bias] "=&r"(t10),       \
        [b2] "=&r"(t11), [weights] "=&r"(t12), [from] "=&r"(t13), [start] "+m"(start), [first] "+m"(first),         \
        [times] "+m"(times), [moving] "=m"(moving), [bias_at] "=m"(moving.bias), [left] "=m"(left), [weights_at] "=m"(weights_at)                \
      : [fixed] "m"(fixed), [all] "m"(all), [packed] "m"(packed), [out_step] "m"(out_step),                         \
        [from_step] "m"(from_step)                                                                                  \
      : "cc", "memory")

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

static const uint32_t *first_words(const uint32_t *columns, uint32_t lane) { return columns + lane / 2u + lane % 2u * 3u; }

// A group of channels, from `at` on, into scratch.
static void widen_group(const block_t *b, uint32_t at, uint32_t *columns) {
  uint32_t *const first = columns + b->begin * COLUMN;
  const uint32_t *const end = columns + b->end * COLUMN;
  if (first < end) {
    widen_columns(b, b->from + at, first, end);
    if (b->keep != UINT32_MAX || !b->keep_third) {
      clear_rows(first, end, b->keep, b->keep_third);
    }
  }
}

// Both runs of a block, group by group; the second goes pixel by pixel.
__attribute__((noinline)) static void convolve(const block_t *b, uint32_t *columns) {
  const struct {
    int32_t zero_point;
    uint32_t step;
  } fixed = {b->p->out_zero_point, b->p->out_c};
  struct {
    uint32_t channels;
    int32_t words;  // to the next one's
  } all = {LANES, 3};
  struct {
    int8_t *out;
    const int32_t *bias;
  } start, moving;
  const uint32_t channels = fixed.step;
  const uint32_t one_step = b->p->stride_w * (COLUMN * 4u);
  const uint32_t *packed = b->call->weights.packed;
  const uint32_t *weights_at;
  uint32_t left[2];
  int32_t t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11, t12, t13;
  for (uint32_t c = 0; c < channels; c += LANES, packed += LANES * JLT_V7_DW_WORDS) {
    uint32_t lane = 0;
    if (c + LANES > channels) {
      lane = c + LANES - channels;
      all.channels = LANES - lane;
      all.words = lane % 2u ? -2 : 3;
    }
    widen_group(b, c - lane, columns);
    uint32_t out_step = b->run.pixels * fixed.step;
    uint32_t from_step = b->run.pixels * one_step;
    uint32_t times = b->run.times;
    uintptr_t first = (uintptr_t)first_words(columns, lane) - from_step;
    start.out = b->out + c - out_step;
    start.bias = b->call->weights.bias + c;
    if (b->run.pixels == 5) {
      CHANNELS(FIVE, PUT_FIVE);
    } else if (times > 0 && b->p->stride_w == 1) {
      CHANNELS(FOUR_CLOSE, PUT_FOUR);
    } else if (times > 0) {
      CHANNELS(FOUR_APART, PUT_FOUR);
    }
    times = b->singles;
    if (times > 0) {
      start.out += out_step - fixed.step;
      first += from_step - one_step;
      from_step = one_step;
      out_step = fixed.step;
      CHANNELS(ONE, PUT_ONE);
    }
  }
}

// The same for scales out of the ordinary.
static void convolve_slowly(const block_t *b, uint32_t *columns) {
  for (uint32_t channel = 0; channel < b->p->out_c; channel++) {
    const uint32_t at = least(channel / LANES * LANES, b->p->out_c - LANES);
    const uint32_t *w = (const uint32_t *)b->call->weights.packed + (size_t)channel * JLT_V7_DW_WORDS;
    const uint32_t *from = first_words(columns, channel - at);
    int8_t *out = b->out + channel;
    widen_group(b, at, columns);
    for (uint32_t i = 0; i < b->pixels; i++, from += b->p->stride_w * COLUMN, out += b->p->out_c) {
      int32_t sum = 0;
      for (uint32_t k = 0; k < 3; k++) {
        sum = jlt_dot_pair(from[k * COLUMN], w[2 * k], sum);
        sum = jlt_dot_pair(from[k * COLUMN + 1], w[2 * k + 1], sum);
      }
      jlt_v7_requantise_slow(b->call, channel, &sum, 1, out);
    }
  }
}

static void clear_columns(uint32_t *to, const uint32_t *end) {
  while (to < end) {
    *to++ = 0;
  }
}

static void run_block(const block_t *b) {
  uint32_t *columns = b->call->scratch;
  clear_columns(columns, columns + b->begin * COLUMN);
  clear_columns(columns + b->end * COLUMN, columns + b->columns * COLUMN);
  if (b->quick) {
    convolve(b, columns);
  } else {
    convolve_slowly(b, columns);
  }
  jlt_v7_clamp(b->p->act_min, b->p->act_max, b->out, b->pixels * b->p->out_c);
}

// Where the three rows from y0 on lie: those outside the input are read where another one is.
static const int8_t *set_rows(block_t *b, const int8_t *image, int32_t y0) {
  const int32_t last = (int32_t)b->p->in_h - 1;
  int32_t row[3];
  bool keep[3];
  for (int32_t r = 0; r < 3; r++) {
    row[r] = jlt_clamp(y0 + r, 0, last);
    keep[r] = row[r] == y0 + r;
  }
  b->second = (uint32_t)(row[1] - row[0]) * b->row_bytes;
  b->third = (uint32_t)(row[2] - row[0]) * b->row_bytes;
  b->keep = (keep[0] ? 0xFFFFu : 0u) | (keep[1] ? 0xFFFF0000u : 0u);
  b->keep_third = keep[2];
  return image + (size_t)row[0] * b->row_bytes;
}

static run_t run_of(uint32_t pixels, uint32_t stride) {
  const bool is_five = stride == 1 && (pixels == 5 || pixels == 6);
  return (run_t){.pixels = is_five ? 5 : 4, .times = is_five ? 1 : pixels / 4u};
}

void jlt_dwconv_s8__armv7em(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_PIXELS, p->n * p->out_h * p->out_w);
  block_t b = {.call = call, .p = p, .minus = jlt_minus_pair(p->in_zero_point), .row_bytes = p->in_w * p->in_c};
  uint32_t row = tile.begin / p->out_w;
  uint32_t x = tile.begin % p->out_w;
  b.out = (int8_t *)call->out + (size_t)tile.begin * p->out_c;
  b.quick = jlt_v7_is_quick(&call->weights, 0, p->out_c);
  for (uint32_t left = tile.end - tile.begin; left > 0; row++, x = 0) {
    const int8_t *image = (const int8_t *)call->in[0] + (size_t)(row / p->out_h) * p->in_h * b.row_bytes;
    const int8_t *first_row = set_rows(&b, image, (int32_t)(row % p->out_h * p->stride_h) - p->pad_top);
    for (; x < p->out_w && left > 0; x += b.pixels, left -= b.pixels, b.out += b.pixels * p->out_c) {
      const int32_t x0 = (int32_t)(x * p->stride_w) - p->pad_left;
      b.pixels = least(least(left, p->out_w - x), JLT_V7_DW_PIXELS);
      b.run = run_of(b.pixels, p->stride_w);
      b.singles = b.pixels - b.run.pixels * b.run.times;
      b.columns = (b.pixels - 1u) * p->stride_w + 3u;
      const jlt_inside_t inside = jlt_inside(x0, b.columns, p->in_w);
      b.begin = inside.before;
      b.end = inside.before + inside.count;
      b.from = first_row + inside.from * p->in_c;
      run_block(&b);
    }
  }
}
#endif
