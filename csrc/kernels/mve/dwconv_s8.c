// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution for Helium. Layout of weights: layout.h.
//
// Windows of at most sixteen taps: of sixteen channels at a time, the columns that a few outputs read are turned into strips, sixteen
// bytes a channel (32 where there are at most eight), column after column. An output's window lies together in one: one instruction
// sums it, as weights of 0 meet what is behind it. Σ q(x − zero_point_x) = Σ qx − zero_point_x Σ q, padding x = zero_point_x.
// Larger windows: four channels at a time, one output after the other; borders are left out.
#include "kernels/variants.h"

#if defined(JLT_WITH_MVE) && defined(__ARM_FEATURE_MVE)
#include "kernels/mve/bytes.h"
#include "kernels/mve/layout.h"
#include "kernels/mve/scale.h"

// Functions kept apart, so that what one of them needs is not worked out for the others: blocks are short.
#define JLT_MVE_APART static __attribute__((noinline)) void

enum { MOST_PIXELS = 8 };  // of a block; kernels.h

// What is the same for all blocks of a call. A vector of the input goes into strips as `together` columns of few channels, or as
// part of one column of many.
typedef struct {
  uint8x16_t offsets;
  jlt_mve_bounds_t bounds;
  const int8_t *w;
  const int32_t *scales;
  int8_t *strips;
  uint32_t together;
  uint32_t strip;   // bytes of a channel
  uint32_t row;     // bytes of the input
  uint32_t x_step;  // from vector to vector, of the input
  uint32_t to_step;
  uint32_t x_pixel;  // from output to output, of the strips
  uint32_t channels;
  uint32_t k_h;
  uint32_t pixels;  // of a block, at most
  int32_t zero_point;
  bool is_simple;
} job_t;

// The columns of the input that a few outputs read, and the part of them that lies in it.
typedef struct {
  const int8_t *from;  // what lies in the input begins here
  uint32_t columns;
  jlt_inside_t x;
  jlt_inside_t y;
  uint32_t whole;  // x.count = whole · together + rest
  uint32_t rest;
} block_t;

// A byte into every strip, `count` times.
static JLT_ALWAYS_INLINE void turn_byte(int32_t value, uint8x16_t offsets, int8_t *to, uint32_t step, uint32_t count) {
  __asm__ volatile(
      "vdup.8 q0, %[value]\n\t"
      "wls lr, %[count], 2f\n"
      "1:\n\t"
      "vstrb.8 q0, [%[to], %q[offsets]]\n\t"
      "add %[to], %[to], %[step]\n\t"
      "le lr, 1b\n"
      "2:"
      : [to] "+r"(to)
      : [value] "r"(value), [offsets] "w"(offsets), [step] "r"(step), [count] "r"(count)
      : "lr", "q0", "memory");
}

// `count` vectors of a row, each of `lanes` bytes.
static JLT_ALWAYS_INLINE void turn_row(const int8_t *x, uint32_t x_step, uint8x16_t offsets, int8_t *to, uint32_t step, uint32_t count,
                                       uint32_t lanes) {
  __asm__ volatile(
      JLT_MVE_KEEP
      "vctp.8 %[lanes]\n\t"
      "wls lr, %[count], 2f\n"
      "1:\n\t"
      "vpstt\n\t"
      "vldrbt.u8 q0, [%[x]]\n\t"
      "vstrbt.8 q0, [%[to], %q[offsets]]\n\t"
      "add %[x], %[x], %[x_step]\n\t"
      "add %[to], %[to], %[step]\n\t"
      "le lr, 1b\n"
      "2:" JLT_MVE_GIVE_BACK
      : [x] "+r"(x), [to] "+r"(to)
      : [x_step] "r"(x_step), [offsets] "w"(offsets), [step] "r"(step), [count] "r"(count), [lanes] "r"(lanes)
      : "lr", "q0", JLT_MVE_PREDICATE);
}

// The same of three rows, `row` apart.
static JLT_ALWAYS_INLINE void turn_three(const int8_t *x, uint32_t row, uint32_t x_step, uint8x16_t offsets, int8_t *to, uint32_t step,
                                         uint32_t count, uint32_t lanes) {
  const int8_t *y = x + row;
  const int8_t *z = y + row;
  const uint8x16_t second = vaddq_n_u8(offsets, 1);
  const uint8x16_t third = vaddq_n_u8(offsets, 2);
  if (lanes == JLT_MVE_BYTES) {
    __asm__ volatile(
        "wls lr, %[count], 2f\n"
        "1:\n\t"
        "vldrb.u8 q0, [%[x]]\n\t"
        "vldrb.u8 q1, [%[y]]\n\t"
        "vldrb.u8 q2, [%[z]]\n\t"
        "vstrb.8 q0, [%[to], %q[first]]\n\t"
        "vstrb.8 q1, [%[to], %q[second]]\n\t"
        "vstrb.8 q2, [%[to], %q[third]]\n\t"
        "add %[x], %[x], %[x_step]\n\t"
        "add %[y], %[y], %[x_step]\n\t"
        "add %[z], %[z], %[x_step]\n\t"
        "add %[to], %[to], %[step]\n\t"
        "le lr, 1b\n"
        "2:"
        : [x] "+r"(x), [y] "+r"(y), [z] "+r"(z), [to] "+r"(to)
        : [x_step] "r"(x_step), [first] "w"(offsets), [second] "w"(second), [third] "w"(third), [step] "r"(step), [count] "r"(count)
        : "lr", "q0", "q1", "q2", "memory");
    return;
  }
  __asm__ volatile(
      JLT_MVE_KEEP
      "vctp.8 %[lanes]\n\t"
      "wls lr, %[count], 2f\n"
      "1:\n\t"
      "vpsttt\n\t"
      "vldrbt.u8 q0, [%[x]]\n\t"
      "vldrbt.u8 q1, [%[y]]\n\t"
      "vldrbt.u8 q2, [%[z]]\n\t"
      "vpsttt\n\t"
      "vstrbt.8 q0, [%[to], %q[first]]\n\t"
      "vstrbt.8 q1, [%[to], %q[second]]\n\t"
      "vstrbt.8 q2, [%[to], %q[third]]\n\t"
      "add %[x], %[x], %[x_step]\n\t"
      "add %[y], %[y], %[x_step]\n\t"
      "add %[z], %[z], %[x_step]\n\t"
      "add %[to], %[to], %[step]\n\t"
      "le lr, 1b\n"
      "2:" JLT_MVE_GIVE_BACK
      : [x] "+r"(x), [y] "+r"(y), [z] "+r"(z), [to] "+r"(to)
      : [x_step] "r"(x_step), [first] "w"(offsets), [second] "w"(second), [third] "w"(third), [step] "r"(step), [count] "r"(count),
        [lanes] "r"(lanes)
      : "lr", "q0", "q1", "q2", JLT_MVE_PREDICATE);
}

// The zero point where a block has no input.
static void turn_border(const job_t *job, const block_t *block) {
  const uint32_t k_h = job->k_h;
  const uint32_t end = block->x.before + block->x.count;
  turn_byte(job->zero_point, job->offsets, job->strips, 1, block->x.before * k_h);
  turn_byte(job->zero_point, job->offsets, job->strips + end * k_h, 1, (block->columns - end) * k_h);
  for (uint32_t ky = 0; ky < k_h; ky++) {
    if (ky - block->y.before >= block->y.count) {
      turn_byte(job->zero_point, job->offsets, job->strips + ky, k_h, block->columns);
    }
  }
}

// Up to sixteen channels from `first` on.
JLT_MVE_APART turn_block(const job_t *job, const block_t *block, uint32_t first, uint32_t channels) {
  const int8_t *x = block->from + first;
  int8_t *to = job->strips;
  if (block->x.count < block->columns || block->y.count < job->k_h) {
    turn_border(job, block);
    to += block->x.before * job->k_h + block->y.before;
  }
  const uint32_t lanes = job->together * channels;
  const int8_t *x_rest = x + block->whole * job->x_step;
  int8_t *to_rest = to + block->whole * job->to_step;
  if (block->y.count == 3) {
    turn_three(x, job->row, job->x_step, job->offsets, to, job->to_step, block->whole, lanes);
    if (block->rest > 0) {
      turn_three(x_rest, job->row, 0, job->offsets, to_rest, 0, 1, block->rest * channels);
    }
    return;
  }
  for (uint32_t ky = 0; ky < block->y.count; ky++, x += job->row, x_rest += job->row) {
    turn_row(x, job->x_step, job->offsets, to + ky, job->to_step, block->whole, lanes);
    turn_row(x_rest, 0, job->offsets, to_rest + ky, 0, 1, block->rest * channels);
  }
}

#define JLT_MVE_STRIP(sums, at1, at2, at3)        \
  "vldrb.u8 q0, [%[x]]\n\t"                       \
  "vmladav.s8 %[a], q0, q1\n\t"                   \
  "vldrb.u8 q0, [%[x], #" at1 "]\n\t"             \
  "vmladav.s8 %[b], q0, q2\n\t"                   \
  "vldrb.u8 q0, [%[x], #" at2 "]\n\t"             \
  "vmladav.s8 %[c], q0, q3\n\t"                   \
  "vldrb.u8 q0, [%[x], #" at3 "]\n\t"             \
  "vmladav.s8 %[d], q0, q4\n\t"                   \
  "vmov %q[" sums "][2], %q[" sums "][0], %[a], %[c]\n\t" \
  "vmov %q[" sums "][3], %q[" sums "][1], %[b], %[d]\n\t"

#define JLT_MVE_NEXT_STRIP "add %[x], %[x], %[x_pixel]\n\t"

#define JLT_MVE_STRIP_WEIGHTS        \
  "vldrb.u8 q1, [%[w]]\n\t"          \
  "vldrb.u8 q2, [%[w], #16]\n\t"     \
  "vldrb.u8 q3, [%[w], #32]\n\t"     \
  "vldrb.u8 q4, [%[w], #48]\n\t"

#define JLT_MVE_SUM_STRIPS(...)                                                                                                     \
  __asm__ volatile(JLT_MVE_STRIP_WEIGHTS JLT_MVE_STRIP("s0", __VA_ARGS__)                                                           \
                   : [a] "=&Te"(a), [b] "=&Te"(b), [c] "=&Te"(c), [d] "=&Te"(d), [s0] "=&w"(sums[0])                                 \
                   : [x] "r"(x), [w] "r"(w)                                                                                         \
                   : "q0", "q1", "q2", "q3", "q4", "memory")

#define JLT_MVE_SUM_STRIPS_2(...)                                                                                                   \
  __asm__ volatile(JLT_MVE_STRIP_WEIGHTS JLT_MVE_STRIP("s0", __VA_ARGS__) JLT_MVE_NEXT_STRIP JLT_MVE_STRIP("s1", __VA_ARGS__)       \
                   : [a] "=&Te"(a), [b] "=&Te"(b), [c] "=&Te"(c), [d] "=&Te"(d), [x] "+&r"(x), [s0] "=&w"(sums[0]),                  \
                     [s1] "=&w"(sums[1])                                                                                            \
                   : [x_pixel] "r"(x_pixel), [w] "r"(w)                                                                             \
                   : "q0", "q1", "q2", "q3", "q4", "memory")

#define JLT_MVE_SUM_STRIPS_3(...)                                                                                                   \
  __asm__ volatile(JLT_MVE_STRIP_WEIGHTS JLT_MVE_STRIP("s0", __VA_ARGS__) JLT_MVE_NEXT_STRIP JLT_MVE_STRIP("s1", __VA_ARGS__)       \
                       JLT_MVE_NEXT_STRIP JLT_MVE_STRIP("s2", __VA_ARGS__)                                                          \
                   : [a] "=&Te"(a), [b] "=&Te"(b), [c] "=&Te"(c), [d] "=&Te"(d), [x] "+&r"(x), [s0] "=&w"(sums[0]),                  \
                     [s1] "=&w"(sums[1]), [s2] "=&w"(sums[2])                                                                       \
                   : [x_pixel] "r"(x_pixel), [w] "r"(w)                                                                             \
                   : "q0", "q1", "q2", "q3", "q4", "memory")

// A group of channels, each with its own strip of 16 or 32 bytes, with one to three outputs.
static JLT_ALWAYS_INLINE void sum_strips(const int8_t *x, uint32_t strip, uint32_t x_pixel, const int8_t *w, uint32_t pixels,
                                         int32x4_t *sums) {
  int32_t a, b, c, d;
  if (strip == JLT_MVE_BYTES) {
    if (pixels == 1) {
      JLT_MVE_SUM_STRIPS("16", "32", "48");
    } else if (pixels == 2) {
      JLT_MVE_SUM_STRIPS_2("16", "32", "48");
    } else {
      JLT_MVE_SUM_STRIPS_3("16", "32", "48");
    }
  } else if (pixels == 1) {
    JLT_MVE_SUM_STRIPS("32", "64", "96");
  } else if (pixels == 2) {
    JLT_MVE_SUM_STRIPS_2("32", "64", "96");
  } else {
    JLT_MVE_SUM_STRIPS_3("32", "64", "96");
  }
}

// Whole groups of up to sixteen channels, with two or three outputs.
static JLT_ALWAYS_INLINE void run_simple(const job_t *job, const int8_t *x, uint32_t strip, const int8_t *w, const int32_t *scales,
                                         uint32_t pixels, int8_t *out, uint32_t channels) {
  const jlt_mve_bounds_t bounds = job->bounds;
  const uint32_t x_pixel = job->x_pixel;
  const uint32_t out_c = job->channels;
  for (; channels >= JLT_MVE_LANES; channels -= JLT_MVE_LANES) {
    int32x4_t sums[JLT_MVE_PIXELS];
    sum_strips(x, strip, x_pixel, w, pixels, sums);
    const jlt_mve_scale_t scale = jlt_mve_read_scale(scales);
    vstrbq_s32(out, jlt_mve_biased(sums[0], &scale, bounds, JLT_MVE_SIMPLE));
    vstrbq_s32(out + out_c, jlt_mve_biased(sums[1], &scale, bounds, JLT_MVE_SIMPLE));
    if (pixels > 2) {
      vstrbq_s32(out + 2u * out_c, jlt_mve_biased(sums[2], &scale, bounds, JLT_MVE_SIMPLE));
    }
    x += JLT_MVE_LANES * strip;
    w += JLT_MVE_LANES * JLT_MVE_BYTES;
    scales += JLT_MVE_SCALE;
    out += JLT_MVE_LANES;
  }
}

// Up to sixteen channels with one output.
static JLT_ALWAYS_INLINE void run_any(const job_t *job, const int8_t *x, uint32_t strip, const int8_t *w, const int32_t *scales,
                                      int8_t *out, uint32_t channels) {
  for (uint32_t c = 0; c < channels; c += JLT_MVE_LANES) {
    int32x4_t sums[1];
    sum_strips(x, strip, 0, w, 1, sums);
    const jlt_mve_scale_t scale = jlt_mve_read_scale(scales);
    vstrbq_p_s32(out + c, jlt_mve_biased(sums[0], &scale, job->bounds, JLT_MVE_ANY), vctp32q(channels - c));
    x += JLT_MVE_LANES * strip;
    w += JLT_MVE_LANES * JLT_MVE_BYTES;
    scales += JLT_MVE_SCALE;
  }
}

JLT_MVE_APART run_three(const job_t *job, const int8_t *x, const int8_t *w, const int32_t *scales, int8_t *out, uint32_t channels) {
  run_simple(job, x, JLT_MVE_BYTES, w, scales, 3, out, channels);
}

JLT_MVE_APART run_two(const job_t *job, const int8_t *x, const int8_t *w, const int32_t *scales, int8_t *out, uint32_t channels) {
  run_simple(job, x, JLT_MVE_BYTES, w, scales, 2, out, channels);
}

JLT_MVE_APART run_three_long(const job_t *job, const int8_t *x, const int8_t *w, const int32_t *scales, int8_t *out,
                             uint32_t channels) {
  run_simple(job, x, 2 * JLT_MVE_BYTES, w, scales, 3, out, channels);
}

JLT_MVE_APART run_two_long(const job_t *job, const int8_t *x, const int8_t *w, const int32_t *scales, int8_t *out, uint32_t channels) {
  run_simple(job, x, 2 * JLT_MVE_BYTES, w, scales, 2, out, channels);
}

// Channels from `done` on, output after output.
JLT_MVE_APART run_rest(const job_t *job, const int8_t *x, uint32_t first, uint32_t done, uint32_t channels, uint32_t pixels,
                       int8_t *out) {
  const int8_t *w = job->w + (first + done) * JLT_MVE_BYTES;
  const int32_t *scales = job->scales + (first + done) / JLT_MVE_LANES * JLT_MVE_SCALE;
  for (uint32_t i = 0; i < pixels; i++, x += job->x_pixel, out += job->channels) {
    if (job->strip == JLT_MVE_BYTES) {
      run_any(job, x + done * JLT_MVE_BYTES, JLT_MVE_BYTES, w, scales, out + done, channels - done);
    } else {
      run_any(job, x + done * 2 * JLT_MVE_BYTES, 2 * JLT_MVE_BYTES, w, scales, out + done, channels - done);
    }
  }
}

// Up to sixteen channels from `first` on with up to three outputs.
static JLT_ALWAYS_INLINE void run_strips(const job_t *job, const int8_t *x, uint32_t first, uint32_t pixels, int8_t *out,
                                         uint32_t channels) {
  uint32_t done = 0;
  if (job->is_simple && pixels > 1) {
    const int8_t *w = job->w + first * JLT_MVE_BYTES;
    const int32_t *scales = job->scales + first / JLT_MVE_LANES * JLT_MVE_SCALE;
    done = channels & ~(JLT_MVE_LANES - 1u);
    if (job->strip > JLT_MVE_BYTES) {
      if (pixels > 2) {
        run_three_long(job, x, w, scales, out, done);
      } else {
        run_two_long(job, x, w, scales, out, done);
      }
    } else if (pixels > 2) {
      run_three(job, x, w, scales, out, done);
    } else {
      run_two(job, x, w, scales, out, done);
    }
  }
  if (done < channels) {
    run_rest(job, x, first, done, channels, pixels, out);
  }
}

static void run_block(const job_t *job, const block_t *block, uint32_t pixels, int8_t *out) {
  for (uint32_t c = 0; c < job->channels; c += 16) {
    const uint32_t channels = job->channels - c < 16 ? job->channels - c : 16;
    turn_block(job, block, c, channels);
    for (uint32_t i = 0; i < pixels; i += JLT_MVE_PIXELS) {
      const uint32_t here = pixels - i < JLT_MVE_PIXELS ? pixels - i : JLT_MVE_PIXELS;
      run_strips(job, job->strips + i * job->x_pixel, c, here, out + i * job->channels + c, channels);
    }
  }
}

static job_t job_of(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const uint32_t together = p->in_c <= JLT_MVE_BYTES ? JLT_MVE_BYTES / p->in_c : 1u;
  const uint32_t channels = together > 1 ? p->in_c : JLT_MVE_BYTES;
  const uint32_t x_pixel = (uint32_t)p->stride_w * p->k_h;
  const uint32_t strip = p->in_c <= JLT_MVE_BYTES / 2 ? 2 * JLT_MVE_BYTES : JLT_MVE_BYTES;
  const uint32_t fit = (strip - (uint32_t)p->k_h * p->k_w) / x_pixel + 1u;
  uint8_t offsets[JLT_MVE_BYTES] = {0};
  for (uint32_t i = 0; i < together * channels; i++) {
    offsets[i] = (uint8_t)(i % channels * strip + i / channels * p->k_h);
  }
  return (job_t){
      .offsets = vldrbq_u8(offsets),
      .bounds = jlt_mve_bounds(p->out_zero_point, p->act_min, p->act_max),
      .w = (const int8_t *)call->weights.packed + 4u * jlt_mve_rows(p),
      .scales = call->scratch,
      .strips = (int8_t *)call->scratch + jlt_mve_scales_bytes(p),
      .together = together,
      .strip = strip,
      .row = p->in_w * p->in_c,
      .x_step = together * p->in_c,
      .to_step = together * p->k_h,
      .x_pixel = x_pixel,
      .channels = p->in_c,
      .k_h = p->k_h,
      .pixels = fit < MOST_PIXELS ? fit : MOST_PIXELS,
      .zero_point = p->in_zero_point,
      .is_simple = jlt_mve_care(call) == JLT_MVE_SIMPLE,
  };
}

static void run_small(const jlt_call_t *call, jlt_span_t tile) {
  const jlt_conv_params_t *p = call->params;
  const job_t job = job_of(call);
  const uint32_t k_h = p->k_h;
  const uint32_t in_w = p->in_w;
  const uint32_t out_w = p->out_w;
  const uint32_t most_columns = (job.pixels - 1u) * p->stride_w + p->k_w;
  int8_t *out = (int8_t *)call->out + (size_t)tile.begin * p->out_c;
  uint32_t row = tile.begin / out_w;
  uint32_t x = tile.begin % out_w;
  jlt_mve_write_scales(call, p->in_zero_point, call->scratch);
  for (uint32_t left = tile.end - tile.begin; left > 0; row++, x = 0) {
    const int8_t *image = (const int8_t *)call->in[0] + (size_t)(row / p->out_h) * p->in_h * job.row;
    block_t block = {.y = jlt_inside((int32_t)(row % p->out_h * p->stride_h) - p->pad_top, k_h, p->in_h)};
    image += block.y.from * job.row;
    while (x < out_w && left > 0) {
      const uint32_t here = out_w - x < left ? out_w - x : left;
      const uint32_t pixels = here < job.pixels ? here : job.pixels;
      const int32_t x0 = (int32_t)(x * p->stride_w) - p->pad_left;
      block.columns = most_columns - (job.pixels - pixels) * p->stride_w;
      if (x0 >= 0 && (uint32_t)x0 + block.columns <= in_w) {
        block.x = (jlt_inside_t){.count = block.columns, .from = (uint32_t)x0};
      } else {
        block.x = jlt_inside(x0, block.columns, in_w);
      }
      block.whole = job.together > 1 ? block.x.count / job.together : block.x.count;
      block.rest = block.x.count - block.whole * job.together;
      block.from = image + block.x.from * p->in_c;
      run_block(&job, &block, pixels, out);
      x += pixels;
      left -= pixels;
      out += pixels * p->out_c;
    }
  }
}

// The taps of a window that lie inside the image.
typedef struct {
  const int8_t *x;
  const int8_t *w;
  uint32_t rows;
  uint32_t columns;
} inside_t;

static inside_t inside(const jlt_conv_params_t *p, const int8_t *image, const int8_t *w, uint32_t out_y, uint32_t out_x) {
  const int32_t y = (int32_t)(out_y * p->stride_h) - p->pad_top;
  const int32_t x = (int32_t)(out_x * p->stride_w) - p->pad_left;
  const jlt_inside_t rows = jlt_inside(y, p->k_h, p->in_h);
  const jlt_inside_t columns = jlt_inside(x, p->k_w, p->in_w);
  return (inside_t){
      .x = image + ((size_t)rows.from * p->in_w + columns.from) * p->in_c,
      .w = w + (size_t)(rows.before * p->k_w + columns.before) * jlt_mve_rows(p),
      .rows = rows.count,
      .columns = columns.count,
  };
}

static JLT_ALWAYS_INLINE int32x4_t sum_window(const jlt_conv_params_t *p, const inside_t *in, uint32_t c, mve_pred16_t there) {
  const uint32_t rows = jlt_mve_rows(p);
  const int8_t *x_row = in->x + c;
  const int8_t *w_row = in->w + c;
  int32x4_t sum = vdupq_n_s32(0);
  for (uint32_t ky = 0; ky < in->rows; ky++, x_row += p->in_w * p->in_c, w_row += p->k_w * rows) {
    const int8_t *x = x_row;
    const int8_t *w = w_row;
    for (uint32_t kx = 0; kx < in->columns; kx++, x += p->in_c, w += rows) {
      const int32x4_t value = vsubq_n_s32(vldrbq_z_s32(x, there), p->in_zero_point);
      sum = vaddq_s32(sum, vmulq_s32(value, vldrbq_s32(w)));
    }
  }
  return sum;
}

static void run_large(const jlt_call_t *call, jlt_span_t tile) {
  const jlt_conv_params_t *p = call->params;
  const int8_t *w = (const int8_t *)call->weights.packed + 4u * jlt_mve_rows(p);
  const jlt_mve_bounds_t bounds = jlt_mve_bounds(p->out_zero_point, p->act_min, p->act_max);
  int8_t *out = (int8_t *)call->out + (size_t)tile.begin * p->out_c;
  jlt_mve_write_scales(call, 0, call->scratch);  // the window's sums have no zero point any more
  for (uint32_t pixel = tile.begin; pixel < tile.end; pixel++, out += p->out_c) {
    const uint32_t row = pixel / p->out_w;
    const int8_t *image = (const int8_t *)call->in[0] + (size_t)(row / p->out_h) * p->in_h * p->in_w * p->in_c;
    const inside_t in = inside(p, image, w, row % p->out_h, pixel % p->out_w);
    const int32_t *scales = call->scratch;
    for (uint32_t c = 0; c < p->out_c; c += JLT_MVE_LANES, scales += JLT_MVE_SCALE) {
      const mve_pred16_t there = vctp32q(p->out_c - c);
      const jlt_mve_scale_t scale = jlt_mve_read_scale(scales);
      vstrbq_p_s32(out + c, jlt_mve_biased(sum_window(p, &in, c, there), &scale, bounds, JLT_MVE_ANY), there);
    }
  }
}

void jlt_dwconv_s8__mve(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const jlt_span_t tile = jlt_tile(call, JLT_UNIT_PIXELS, jlt_mve_pixels(p));
  if (jlt_mve_is_small(p)) {
    run_small(call, tile);
  } else {
    run_large(call, tile);
  }
}

#endif
