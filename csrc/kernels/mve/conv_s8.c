// SPDX-License-Identifier: Apache-2.0
// Convolution and fully connected for Helium: four channels with three pixels, or with the only one; sixteen products an instruction.
//
// Σ q(x − zero_point_x) = Σ qx − zero_point_x Σ q, padding x = zero_point_x. Layout of weights: layout.h. Scratch: the scales, then
// three patches; what is behind a patch in its last vector meets weights of 0.
#include "kernels/variants.h"

#if defined(JLT_WITH_MVE) && defined(__ARM_FEATURE_MVE)
#include "kernels/mve/bytes.h"
#include "kernels/mve/layout.h"
#include "kernels/mve/scale.h"

// Where the window of an output pixel begins.
typedef struct {
  const int8_t *image;
  int32_t y;
  int32_t x;
  uint32_t out_y;
  uint32_t out_x;
} place_t;

static place_t place_of(const jlt_conv_params_t *p, const int8_t *in, uint32_t pixel) {
  const uint32_t row = pixel / p->out_w;
  const uint32_t out_x = pixel % p->out_w;
  const uint32_t out_y = row % p->out_h;
  return (place_t){
      .image = in + (size_t)(row / p->out_h) * p->in_h * p->in_w * p->in_c,
      .y = (int32_t)(out_y * p->stride_h) - p->pad_top,
      .x = (int32_t)(out_x * p->stride_w) - p->pad_left,
      .out_y = out_y,
      .out_x = out_x,
  };
}

static JLT_ALWAYS_INLINE void go_on(const jlt_conv_params_t *p, place_t *at) {
  at->x += p->stride_w;
  if (++at->out_x < p->out_w) {
    return;
  }
  at->out_x = 0;
  at->x = -(int32_t)p->pad_left;
  at->y += p->stride_h;
  if (++at->out_y == p->out_h) {
    at->out_y = 0;
    at->y = -(int32_t)p->pad_top;
    at->image += (size_t)p->in_h * p->in_w * p->in_c;
  }
}

static void gather_border(const jlt_conv_params_t *p, const place_t *at, int8_t *to) {
  const uint32_t c = p->in_c;
  const jlt_inside_t inside = jlt_inside(at->x, p->k_w, p->in_w);
  const uint32_t end = inside.before + inside.count;
  int32_t y = at->y;
  for (uint32_t ky = 0; ky < p->k_h; ky++, y++, to += p->k_w * c) {
    if (y < 0 || y >= (int32_t)p->in_h) {
      jlt_mve_fill(to, p->in_zero_point, p->k_w * c);
      continue;
    }
    jlt_mve_fill(to, p->in_zero_point, inside.before * c);
    jlt_mve_copy(to + inside.before * c, at->image + ((size_t)y * p->in_w + inside.from) * c, inside.count * c);
    jlt_mve_fill(to + end * c, p->in_zero_point, (p->k_w - end) * c);
  }
}

// The patches of `count` output pixels, `length` bytes each; moves on behind them.
static __attribute__((noinline)) void gather(const jlt_conv_params_t *p, place_t *place, uint32_t count, uint32_t length, int8_t *to) {
  const uint32_t bytes = p->k_w * p->in_c;
  const uint32_t row = p->in_w * p->in_c;
  const int32_t last_x = (int32_t)p->in_w - p->k_w;
  const int32_t last_y = (int32_t)p->in_h - p->k_h;
  place_t at = *place;
  for (; count > 0; count--, to += length, go_on(p, &at)) {
    if (at.x < 0 || at.y < 0 || at.x > last_x || at.y > last_y) {
      gather_border(p, &at, to);
      continue;
    }
    const int8_t *from = at.image + (uint32_t)at.y * row + (uint32_t)at.x * p->in_c;
    if (bytes <= JLT_MVE_BYTES) {
      jlt_mve_copy_rows(to, bytes, from, row, bytes, p->k_h);
      continue;
    }
    int8_t *next = to;
    for (uint32_t ky = p->k_h; ky > 0; ky--, from += row, next += bytes) {
      jlt_mve_copy(next, from, bytes);
    }
  }
  *place = at;
}

// Windows of one pixel each, without a border between: nothing to be looked for.
static bool is_pointwise(const jlt_conv_params_t *p) {
  return p->k_h == 1 && p->k_w == 1 && p->stride_h == 1 && p->stride_w == 1 && p->out_h == p->in_h && p->out_w == p->in_w &&
         p->pad_top == 0 && p->pad_left == 0;
}

static JLT_ALWAYS_INLINE void gather_pointwise(const int8_t *from, uint32_t c, uint32_t length, uint32_t count, int8_t *to) {
  if (c == length) {
    jlt_mve_copy(to, from, count * c);
  } else if (c < JLT_MVE_BYTES) {
    jlt_mve_copy_rows(to, JLT_MVE_BYTES, from, c, c, count);
  } else {
    for (; count > 0; count--, to += length, from += c) {
      jlt_mve_copy(to, from, c);
    }
  }
}

// One pair of channels with three pixels, whose patches `x`, `y` and `z` point to and are moved behind.
#define JLT_MVE_VECTOR(sum, x, y, z)            \
  "vldrb.u8 q1, [%[w], #16]\n\t"                \
  "vldrb.u8 q0, [%[w]], #32\n\t"                \
  "vldrb.u8 q2, [%[" x "]], #16\n\t"            \
  sum " %[a], q2, q0\n\t"                       \
  sum " %[b], q2, q1\n\t"                       \
  "vldrb.u8 q2, [%[" y "]], #16\n\t"            \
  sum " %[c], q2, q0\n\t"                       \
  sum " %[d], q2, q1\n\t"                       \
  "vldrb.u8 q2, [%[" z "]], #16\n\t"            \
  sum " %[e], q2, q0\n\t"                       \
  sum " %[f], q2, q1\n\t"

#define JLT_MVE_PAIR(x, y, z, high, low)                    \
  JLT_MVE_VECTOR("vmladav.s8", x, y, z)                     \
  "wls lr, %[more], 2f\n"                                   \
  "1:\n\t"                                                  \
  JLT_MVE_VECTOR("vmladava.s8", x, y, z)                    \
  "le lr, 1b\n"                                             \
  "2:\n\t"                                                  \
  "vmov %q[s0][" high "], %q[s0][" low "], %[a], %[b]\n\t"  \
  "vmov %q[s1][" high "], %q[s1][" low "], %[c], %[d]\n\t"  \
  "vmov %q[s2][" high "], %q[s2][" low "], %[e], %[f]\n\t"

// A group of channels with three patches of 16 · (more + 1) bytes, one behind the other; returns the weights behind those read. The
// second pair finds the pointers of the first one patch further on, so that only one is set back.
static JLT_ALWAYS_INLINE const int8_t *sum_pixels(const int8_t *const *patches, uint32_t more, const int8_t *w, int32x4_t *sums) {
  const int8_t *x = patches[0];
  const int8_t *y = patches[1];
  const int8_t *z = patches[2];
  int32_t a, b, c, d, e, f;
  int32x4_t s0, s1, s2;
  __asm__ volatile(
      JLT_MVE_PAIR("x", "y", "z", "2", "0")
      "ldr %[z], %[patches]\n\t"
      JLT_MVE_PAIR("z", "x", "y", "3", "1")
      : [a] "=&Te"(a), [b] "=&Te"(b), [c] "=&Te"(c), [d] "=&Te"(d), [e] "=&Te"(e), [f] "=&Te"(f), [x] "+&r"(x), [y] "+&r"(y),
        [z] "+&r"(z), [w] "+&r"(w), [s0] "=&w"(s0), [s1] "=&w"(s1), [s2] "=&w"(s2)
      : [patches] "m"(patches[0]), [more] "r"(more)
      : "lr", "q0", "q1", "q2", "memory");
  sums[0] = s0;
  sums[1] = s1;
  sums[2] = s2;
  return w;
}

#define JLT_MVE_ROWS                     \
  "vldrb.u8 q0, [%[x]], #16\n\t"         \
  "vldrb.u8 q1, [%[w], #16]\n\t"         \
  "vmladava.s8 %[b], q1, q0\n\t"         \
  "vldrb.u8 q2, [%[w], #32]\n\t"         \
  "vmladava.s8 %[c], q2, q0\n\t"         \
  "vldrb.u8 q1, [%[w], #48]\n\t"         \
  "vmladava.s8 %[d], q1, q0\n\t"         \
  "vldrb.u8 q2, [%[w]], #64\n\t"         \
  "vmladava.s8 %[a], q2, q0\n\t"

#define JLT_MVE_ONE_BEGIN                 \
  "ldrd %[a], %[b], [%[bias]]\n\t"        \
  "ldrd %[c], %[d], [%[bias], #8]\n\t"

#define JLT_MVE_ONE_REST    \
  "wls lr, %[rest], 2f\n"   \
  "1:\n\t"                  \
  JLT_MVE_ROWS              \
  "le lr, 1b\n"             \
  "2:\n\t"

#define JLT_MVE_ONE_END                                            \
  "wls lr, %[fours], 4f\n"                                         \
  "3:\n\t"                                                         \
  JLT_MVE_ROWS JLT_MVE_ROWS JLT_MVE_ROWS JLT_MVE_ROWS              \
  "le lr, 3b\n"                                                    \
  "4:\n\t"                                                         \
  "vmov %q[sums][2], %q[sums][0], %[a], %[c]\n\t"                  \
  "vmov %q[sums][3], %q[sums][1], %[b], %[d]\n\t"

// A group of channels with the only patch: Σ qx + bias + `zero` · Σ q, the last of which is behind the weights. Moves them on to the
// next group. `whole`: vectors come in fours.
static JLT_ALWAYS_INLINE int32x4_t sum_pixel(const int8_t *x, const int8_t **weights, uint32_t vectors, const int32_t *bias,
                                             int32_t zero, bool whole) {
  const int8_t *w = *weights;
  int32_t a, b, c, d;
  int32x4_t sums;
  if (whole) {
    __asm__ volatile(
        JLT_MVE_ONE_BEGIN JLT_MVE_ONE_END
        : [a] "=&Te"(a), [b] "=&Te"(b), [c] "=&Te"(c), [d] "=&Te"(d), [x] "+&r"(x), [w] "+&r"(w), [sums] "=&w"(sums)
        : [bias] "r"(bias), [fours] "r"(vectors / 4u)
        : "lr", "q0", "q1", "q2", "memory");
  } else {
    __asm__ volatile(
        JLT_MVE_ONE_BEGIN JLT_MVE_ONE_REST JLT_MVE_ONE_END
        : [a] "=&Te"(a), [b] "=&Te"(b), [c] "=&Te"(c), [d] "=&Te"(d), [x] "+&r"(x), [w] "+&r"(w), [sums] "=&w"(sums)
        : [bias] "r"(bias), [rest] "r"(vectors % 4u), [fours] "r"(vectors / 4u)
        : "lr", "q0", "q1", "q2", "memory");
  }
  *weights = w + JLT_MVE_BYTES;
  return vmlaq_n_s32(sums, vldrwq_s32((const int32_t *)(const void *)w), zero);
}

// A group with three pixels, whose outputs lie at `places` from the first one's or, where there are fewer, over it: it comes last.
static JLT_ALWAYS_INLINE const int8_t *run_group(const int8_t *const *patches, uint32_t more, const int8_t *w, const int32_t *scales,
                                                 jlt_mve_bounds_t bounds, jlt_mve_care_t care, int8_t *out, uint32_t second, uint32_t third,
                                                 uint32_t channels) {
  int32x4_t sums[JLT_MVE_PIXELS];
  w = sum_pixels(patches, more, w, sums);
  const jlt_mve_scale_t scale = jlt_mve_read_scale(scales);
  jlt_mve_put(out + third, jlt_mve_biased(sums[2], &scale, bounds, care), channels);
  jlt_mve_put(out + second, jlt_mve_biased(sums[1], &scale, bounds, care), channels);
  jlt_mve_put(out, jlt_mve_biased(sums[0], &scale, bounds, care), channels);
  return w;
}

// Groups of channels with the only pixel; `each` has its own scale, or all have one.
static JLT_ALWAYS_INLINE void run_rows(const jlt_call_t *call, const int8_t *patch, jlt_span_t channels, bool each,
                                       jlt_mve_care_t care, bool whole) {
  const jlt_conv_params_t *p = call->params;
  const jlt_weights_t *weights = &call->weights;
  const jlt_mve_bounds_t bounds = jlt_mve_bounds(p->out_zero_point, p->act_min, p->act_max);
  const int32_t zero = -p->in_zero_point;
  const uint32_t vectors = jlt_mve_length(p) / JLT_MVE_BYTES;
  const int32_t *bias = weights->bias + channels.begin;
  const int32_t *multipliers = weights->multipliers + channels.begin;
  const int32_t *shifts = weights->shifts + channels.begin;
  const int8_t *w = (const int8_t *)weights->packed + (size_t)channels.begin * (4u + vectors * JLT_MVE_BYTES);
  int8_t *out = (int8_t *)call->out + channels.begin;
  jlt_mve_scale_t scale = {.multiplier = vdupq_n_s32(weights->multipliers[0]), .shift = vdupq_n_s32(weights->shifts[0])};
  uint32_t left = channels.end - channels.begin;
  for (; left >= JLT_MVE_LANES; left -= JLT_MVE_LANES) {
    const int32x4_t value = sum_pixel(patch, &w, vectors, bias, zero, whole);
    if (each) {
      scale.multiplier = vldrwq_s32(multipliers);
      scale.shift = vldrwq_s32(shifts);
    }
    vstrbq_s32(out, jlt_mve_output(value, &scale, bounds, care));
    bias += JLT_MVE_LANES;
    multipliers += JLT_MVE_LANES;
    shifts += JLT_MVE_LANES;
    out += JLT_MVE_LANES;
  }
  if (left > 0) {
    const mve_pred16_t there = vctp32q(left);
    int32_t last[JLT_MVE_LANES];
    vstrwq_s32(last, vldrwq_z_s32(bias, there));
    const int32x4_t value = sum_pixel(patch, &w, vectors, last, zero, whole);
    if (each) {
      scale.multiplier = vldrwq_z_s32(multipliers, there);
      scale.shift = vldrwq_z_s32(shifts, there);
    }
    vstrbq_p_s32(out, jlt_mve_output(value, &scale, bounds, care), there);
  }
}

static void multiply(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const jlt_span_t channels = jlt_tile(call, JLT_UNIT_CHANNELS, p->out_c);
  const jlt_mve_care_t care = jlt_mve_care(call);
  const int8_t *patch = call->in[0];
  if (!is_pointwise(p) || p->in_c % JLT_MVE_BYTES > 0) {
    place_t at = place_of(p, patch, 0);
    gather(p, &at, 1, 0, call->scratch);
    patch = call->scratch;
  }
  if (call->weights.record->n_multipliers > 1) {
    run_rows(call, patch, channels, true, JLT_MVE_ANY, false);
  } else if (care == JLT_MVE_ANY || jlt_mve_length(p) % (4u * JLT_MVE_BYTES) > 0) {
    run_rows(call, patch, channels, false, JLT_MVE_ANY, false);
  } else if (care == JLT_MVE_RIGHT) {
    run_rows(call, patch, channels, false, JLT_MVE_RIGHT, true);
  } else {
    run_rows(call, patch, channels, false, JLT_MVE_SIMPLE, true);
  }
}

static JLT_ALWAYS_INLINE void convolve(const jlt_call_t *call, jlt_mve_care_t care) {
  const jlt_conv_params_t *p = call->params;
  const jlt_span_t pixels = jlt_tile(call, JLT_UNIT_PIXELS, jlt_mve_pixels(p));
  const jlt_mve_bounds_t bounds = jlt_mve_bounds(p->out_zero_point, p->act_min, p->act_max);
  const bool pointwise = is_pointwise(p);
  const uint32_t in_c = p->in_c;
  const uint32_t out_c = p->out_c;
  const uint32_t length = jlt_mve_length(p);
  const uint32_t more = length / JLT_MVE_BYTES - 1u;
  const int32_t *const all_scales = call->scratch;
  int8_t *const to = (int8_t *)call->scratch + jlt_mve_scales_bytes(p);
  const int8_t *const patches[JLT_MVE_PIXELS] = {to, to + length, to + 2u * length};
  const int8_t *const all_weights = (const int8_t *)call->weights.packed + 4u * jlt_mve_rows(p);
  const int8_t *from = (const int8_t *)call->in[0] + (size_t)pixels.begin * in_c;
  int8_t *out = (int8_t *)call->out + (size_t)pixels.begin * out_c;
  place_t at = place_of(p, call->in[0], pixels.begin);
  jlt_mve_write_scales(call, p->in_zero_point, call->scratch);
  for (uint32_t left = pixels.end - pixels.begin; left > 0;) {
    const uint32_t count = left < JLT_MVE_PIXELS ? left : JLT_MVE_PIXELS;
    const uint32_t second = count > 1 ? out_c : 0u;
    const uint32_t third = count > 2 ? 2u * out_c : 0u;
    const int8_t *w = all_weights;
    const int32_t *scales = all_scales;
    if (pointwise) {
      gather_pointwise(from, in_c, length, count, to);
      from += count * in_c;
    } else {
      gather(p, &at, count, length, to);
    }
    int8_t *const end = out + (out_c & ~(JLT_MVE_LANES - 1u));
    for (; out != end; out += JLT_MVE_LANES, scales += JLT_MVE_SCALE) {
      w = run_group(patches, more, w, scales, bounds, care, out, second, third, JLT_MVE_LANES);
    }
    if (out_c % JLT_MVE_LANES > 0) {
      run_group(patches, more, w, scales, bounds, care, out, second, third, out_c % JLT_MVE_LANES);
    }
    out += out_c % JLT_MVE_LANES + (count - 1u) * out_c;
    left -= count;
  }
}

void jlt_conv_s8__mve(const jlt_call_t *call) {
  if (jlt_mve_pixels(call->params) == 1) {
    multiply(call);
    return;
  }
  switch (jlt_mve_care(call)) {
    case JLT_MVE_SIMPLE:
      convolve(call, JLT_MVE_SIMPLE);
      break;
    case JLT_MVE_RIGHT:
      convolve(call, JLT_MVE_RIGHT);
      break;
    case JLT_MVE_ANY:
      convolve(call, JLT_MVE_ANY);
      break;
  }
}

#endif
