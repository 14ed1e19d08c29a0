// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution 3 by 3 for cores with SMLAD: blocks of up to eight pixels of a row, four channels at a time.
//
// Tensors and arithmetic as ref/dwconv_s8.c. The columns under a block are widened into scratch, x - zero point, rows 0 and 1 of
// a channel as a pair: six words a column: p0 e p2 p1 o p3, where pn is the pair of channel n and row 2 lies in e (channels 0 and
// 2) and o (1 and 3). Every channel's neighbours are an ldrd. Padding is 0 there, so no sum knows of borders.
// Packed weights: five words a channel: three kernel columns in the order of those two words, even bytes for the first; the scale.
// The last group of channels ends with the tensor, so it may begin with channels that are done; they are not used again.
#include "kernels/variants.h"

#if defined(__ARM_FEATURE_DSP) && JLT_IS_M_PROFILE
#include <string.h>

#include "kernels/armv7em/packed.h"
#include "kernels/armv7em/requantise.h"
#include "kernels/armv7em/simd.h"

enum { LANES = 4, COLUMN = JLT_V7_DW_COLUMN_WORDS };

typedef struct {
  const jlt_call_t *call;
  const jlt_conv_params_t *p;
  uint32_t minus;
  const int8_t *image;
  int32_t y0;  // of the window of the block's first pixel
  int32_t x0;
  uint32_t begin;  // columns inside the input
  uint32_t end;
  uint32_t columns;
  uint32_t pixels;
  int8_t *out;  // of channel 0
  bool quick;
} block_t;

// Columns of which all three rows lie in the input. A function of its own: it takes all registers but one.
__attribute__((noinline)) static void widen_columns(const int8_t *from, uint32_t row_bytes, uint32_t step, uint32_t minus, uint32_t *to,
                          const uint32_t *end) {
  uint32_t t;
  __asm__ volatile(
      "1:\n\t"
      "ldr r0, [%[from]]\n\t"
      "ldr r2, [%[from], %[row]]\n\t"
      "ldr r4, [%[from], %[row], lsl #1]\n\t"
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
      : [row] "r"(row_bytes), [step] "r"(step), [minus] "r"(minus), [end] "r"(end)
      : "r0", "r1", "r2", "r3", "r4", "r5", "cc", "memory");
}

// The same where rows lie outside: those are 0.
static void widen_at_border(const block_t *b, const int8_t *from, uint32_t row_bytes, uint32_t *to, const uint32_t *end) {
  for (; to < end; to += COLUMN, from += b->p->in_c) {
    uint32_t even[3] = {0};
    uint32_t odd[3] = {0};
    for (int32_t r = 0; r < 3; r++) {
      if (b->y0 + r >= 0 && b->y0 + r < (int32_t)b->p->in_h) {
        const uint32_t word = jlt_word_at(from + r * (int32_t)row_bytes);
        even[r] = jlt_widen_even(b->minus, word);
        odd[r] = jlt_widen_odd(b->minus, word);
      }
    }
    to[0] = (even[0] & 0xFFFFu) | even[1] << 16;
    to[1] = even[2];
    to[2] = even[0] >> 16 | (even[1] & 0xFFFF0000u);
    to[3] = (odd[0] & 0xFFFFu) | odd[1] << 16;
    to[4] = odd[2];
    to[5] = odd[0] >> 16 | (odd[1] & 0xFFFF0000u);
  }
}

static void widen(const block_t *b, uint32_t channel, uint32_t *columns) {
  const jlt_conv_params_t *p = b->p;
  const uint32_t row_bytes = p->in_w * p->in_c;
  const int32_t at = (b->y0 * (int32_t)p->in_w + b->x0 + (int32_t)b->begin) * (int32_t)p->in_c + (int32_t)channel;
  uint32_t *to = columns + b->begin * COLUMN;
  const uint32_t *end = columns + b->end * COLUMN;
  if (b->begin >= b->end) {
    return;
  }
  if (b->y0 >= 0 && b->y0 + 3 <= (int32_t)p->in_h) {
    widen_columns(b->image + at, row_bytes, p->in_c, b->minus, to, end);
  } else {
    widen_at_border(b, b->image + at, row_bytes, to, end);
  }
}

// A kernel column meets the words of a column of the input: the even bytes of its word the first, the odd ones the second.
#define WEIGHTS                          \
  "ldrd %[a0], %[a1], [%[weights]]\n\t"  \
  "ldr %[a2], [%[weights], #8]\n\t"      \
  "sxtb16 %[b0], %[a0], ror #8\n\t"      \
  "sxtb16 %[a0], %[a0]\n\t"              \
  "sxtb16 %[b1], %[a1], ror #8\n\t"      \
  "sxtb16 %[a1], %[a1]\n\t"              \
  "sxtb16 %[b2], %[a2], ror #8\n\t"      \
  "sxtb16 %[a2], %[a2]\n\t"
#define COLUMN_AT(n) "ldrd %[x], %[y], [%[from], #" #n "*24]\n\t"
#define BEGIN(sum) "smuad %[" sum "], %[x], %[a0]\n\tsmlad %[" sum "], %[y], %[b0], %[" sum "]\n\t"
#define ADD(sum, k) "smlad %[" sum "], %[x], %[a" #k "], %[" sum "]\n\tsmlad %[" sum "], %[y], %[b" #k "], %[" sum "]\n\t"

#define FOUR_CLOSE                                                                                           \
  COLUMN_AT(0) BEGIN("s0") COLUMN_AT(1) ADD("s0", 1) BEGIN("s1") COLUMN_AT(2) ADD("s0", 2) ADD("s1", 1)      \
  BEGIN("s2") COLUMN_AT(3) ADD("s1", 2) ADD("s2", 1) BEGIN("s3") COLUMN_AT(4) ADD("s2", 2) ADD("s3", 1)      \
  COLUMN_AT(5) ADD("s3", 2)
#define FOUR_APART                                                                                           \
  COLUMN_AT(0) BEGIN("s0") COLUMN_AT(1) ADD("s0", 1) COLUMN_AT(2) ADD("s0", 2) BEGIN("s1") COLUMN_AT(3)      \
  ADD("s1", 1) COLUMN_AT(4) ADD("s1", 2) BEGIN("s2") COLUMN_AT(5) ADD("s2", 1) COLUMN_AT(6) ADD("s2", 2)     \
  BEGIN("s3") COLUMN_AT(7) ADD("s3", 1) COLUMN_AT(8) ADD("s3", 2)
#define ONE COLUMN_AT(0) BEGIN("s0") COLUMN_AT(1) ADD("s0", 1) COLUMN_AT(2) ADD("s0", 2)
#define KEEP_FOUR "strd %[s0], %[s1], %[sums01]\n\tstrd %[s2], %[s3], %[sums23]\n\t"
#define KEEP_ONE "str %[s0], %[sums01]\n\t"

#define PAIR(first) (*(int32_t(*)[2])(void *)&(first))
#define SUM(pixels, keep)                                                                                       \
  __asm__(WEIGHTS pixels keep                                                                                   \
          : [s0] "=&r"(t0), [s1] "=&r"(t1), [s2] "=&r"(t2), [s3] "=&r"(t3), [x] "=&r"(t4), [y] "=&r"(t5),       \
            [a0] "=&r"(t6), [a1] "=&r"(t7), [a2] "=&r"(t8), [b0] "=&r"(t9), [b1] "=&r"(t10), [b2] "=&r"(t11),   \
            [sums01] "=m"(PAIR(sums[0])), [sums23] "=m"(PAIR(sums[2]))                                          \
          : [from] "r"(from), [weights] "r"(weights)                                                            \
          : "memory")

#define PUT_FOUR                                                                                                \
  __asm__ volatile(                                                                                             \
      "ldrd %[s0], %[s1], %[sums01]\n\t"                                                                        \
      "ldrd %[s2], %[s3], %[sums23]\n\t"                                                                        \
      JLT_V7_PUT_FOUR("%[s0]", "%[s1]", "%[s2]", "%[s3]")                                                       \
      : [s0] "=&r"(t0), [s1] "=&r"(t1), [s2] "=&r"(t2), [s3] "=&r"(t3)                                          \
      : [multiplier] "r"(scale.multiplier), [power] "r"(scale.power), [twice_bias] "r"(twice_bias),             \
        [zero_point] "r"(zero_point), [step] "r"(step), [out] "r"(out), [sums01] "m"(PAIR(sums[0])),            \
        [sums23] "m"(PAIR(sums[2]))                                                                             \
      : "memory")

static void convolve(const block_t *b, uint32_t channel, const uint32_t *from) {
  const uint32_t *weights = (const uint32_t *)b->call->weights.packed + (size_t)channel * JLT_V7_DW_WORDS;
  const jlt_v7_scale_t scale = {.multiplier = (int32_t)weights[3], .power = (int32_t)weights[4]};
  const int32_t twice_bias = 2 * b->call->weights.bias[channel];
  const int32_t zero_point = b->p->out_zero_point;
  const uint32_t step = b->p->out_c;
  const uint32_t stride = b->p->stride_w;
  int8_t *out = b->out + channel;
  int32_t sums[4];
  for (uint32_t left = b->pixels, n; left > 0; left -= n, out += n * step, from += n * stride * COLUMN) {
    int32_t t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11;
    n = left < 4 ? 1 : 4;
    if (n == 1) {
      SUM(ONE, KEEP_ONE);
    } else if (stride == 1) {
      SUM(FOUR_CLOSE, KEEP_FOUR);
    } else {
      SUM(FOUR_APART, KEEP_FOUR);
    }
    if (!b->quick) {
      jlt_v7_requantise_slow(b->call, channel, sums, n, out);
    } else if (n == 1) {
      *out = (int8_t)jlt_v7_requantise(sums[0], twice_bias, scale, zero_point);
    } else {
      PUT_FOUR;
    }
  }
}

static void run_block(const block_t *b) {
  uint32_t *columns = b->call->scratch;
  const uint32_t channels = b->p->in_c;
  memset(columns, 0, b->columns * COLUMN * sizeof(*columns));
  for (uint32_t c = 0; c < channels; c += LANES) {
    static const uint8_t places[LANES] = {0, 3, 1, 4};  // of a channel's two words
    const uint32_t at = c + LANES <= channels ? c : channels - LANES;
    widen(b, at, columns);
    for (uint32_t lane = c - at; lane < LANES; lane++) {
      convolve(b, at + lane, columns + places[lane]);
    }
  }
  jlt_v7_clamp(b->p, b->out, b->pixels * channels);
}

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

void jlt_dwconv_s8__armv7em(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_PIXELS, p->n * p->out_h * p->out_w);
  block_t b = {.call = call, .p = p, .minus = jlt_minus_pair(p->in_zero_point), .out = call->out};
  uint32_t row = tile.begin / p->out_w;
  uint32_t x = tile.begin % p->out_w;
  b.out += (size_t)tile.begin * p->out_c;
  b.quick = jlt_v7_is_quick(&call->weights, 0, p->out_c);
  for (uint32_t left = tile.end - tile.begin; left > 0; row++, x = 0) {
    b.image = (const int8_t *)call->in[0] + (size_t)(row / p->out_h) * p->in_h * p->in_w * p->in_c;
    b.y0 = (int32_t)(row % p->out_h * p->stride_h) - p->pad_top;
    for (; x < p->out_w && left > 0; x += b.pixels, left -= b.pixels, b.out += b.pixels * p->out_c) {
      b.pixels = least(least(left, p->out_w - x), JLT_V7_DW_PIXELS);
      b.columns = (b.pixels - 1u) * p->stride_w + 3u;
      b.x0 = (int32_t)(x * p->stride_w) - p->pad_left;
      b.begin = b.x0 < 0 ? (uint32_t)-b.x0 : 0u;
      b.end = (int32_t)p->in_w > b.x0 ? least(b.columns, (uint32_t)((int32_t)p->in_w - b.x0)) : 0u;
      run_block(&b);
    }
  }
}
#endif
