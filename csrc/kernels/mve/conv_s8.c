// SPDX-License-Identifier: Apache-2.0
// Convolution and fully connected for Helium: four channels with three pixels, or with the only one; sixteen products an instruction.
//
// Σ q(x − zero_point_x) = Σ qx − zero_point_x Σ q, padding x = zero_point_x. Layout of weights: layout.h. Scratch: three patches; what
// is behind a patch in its last vector meets weights of 0.
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

static void go_on(const jlt_conv_params_t *p, place_t *at) {
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

static void gather(const jlt_conv_params_t *p, const place_t *at, int8_t *to) {
  if (at->x < 0 || at->y < 0 || at->x + p->k_w > (int32_t)p->in_w || at->y + p->k_h > (int32_t)p->in_h) {
    gather_border(p, at, to);
    return;
  }
  const uint32_t bytes = p->k_w * p->in_c;
  const uint32_t row = p->in_w * p->in_c;
  const int8_t *from = at->image + ((size_t)(uint32_t)at->y * p->in_w + (uint32_t)at->x) * p->in_c;
  for (uint32_t ky = p->k_h; ky > 0; ky--, from += row, to += bytes) {
    jlt_mve_copy(to, from, bytes);
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

// A group of channels with three patches one behind the other; returns the weights behind those read. The second pair finds the
// pointers of the first one patch further on, so that only one is set back.
static JLT_ALWAYS_INLINE const int8_t *sum_pixels(const int8_t *patches, const int8_t *w, uint32_t length, int32x4_t *sums) {
  const int8_t *x = patches;
  const int8_t *y = patches + length;
  const int8_t *z = y + length;
  int32_t a, b, c, d, e, f;
  int32x4_t s0, s1, s2;
  __asm__ volatile(
      JLT_MVE_PAIR("x", "y", "z", "2", "0")
      "ldr %[z], %[patches]\n\t"
      JLT_MVE_PAIR("z", "x", "y", "3", "1")
      : [a] "=&Te"(a), [b] "=&Te"(b), [c] "=&Te"(c), [d] "=&Te"(d), [e] "=&Te"(e), [f] "=&Te"(f), [x] "+&r"(x), [y] "+&r"(y),
        [z] "+&r"(z), [w] "+&r"(w), [s0] "=&w"(s0), [s1] "=&w"(s1), [s2] "=&w"(s2)
      : [patches] "m"(patches), [more] "r"(length / 16u - 1u)
      : "lr", "q0", "q1", "q2", "memory");
  sums[0] = s0;
  sums[1] = s1;
  sums[2] = s2;
  return w;
}

#define JLT_MVE_ROWS(sum)            \
  "vldrb.u8 q0, [%[x]], #16\n\t"     \
  "vldrb.u8 q1, [%[v], #16]\n\t"     \
  sum " %[c], q1, q0\n\t"            \
  "vldrb.u8 q2, [%[v]], #32\n\t"     \
  sum " %[a], q2, q0\n\t"            \
  "vldrb.u8 q1, [%[w], #16]\n\t"     \
  sum " %[d], q1, q0\n\t"            \
  "vldrb.u8 q2, [%[w]], #32\n\t"     \
  sum " %[b], q2, q0\n\t"

// A group of channels with the only patch; every second turn of the loop in one with the first.
static JLT_ALWAYS_INLINE int32x4_t sum_pixel(const int8_t *x, const int8_t *w, uint32_t length) {
  const int8_t *v = w;
  const uint32_t more = length / 16u - 1u;
  int32_t a = 0, b = 0, c = 0, d = 0;
  int32x4_t sums;
  w += 2u * length;
  __asm__ volatile(
      "cbz %[odd], 3f\n\t"
      JLT_MVE_ROWS("vmladava.s8")
      "3:\n\t"
      "wls lr, %[twice], 2f\n"
      "1:\n\t"
      JLT_MVE_ROWS("vmladava.s8")
      JLT_MVE_ROWS("vmladava.s8")
      "le lr, 1b\n"
      "2:\n\t"
      "vmov %q[sums][2], %q[sums][0], %[a], %[c]\n\t"
      "vmov %q[sums][3], %q[sums][1], %[b], %[d]\n\t"
      : [a] "+&Te"(a), [b] "+&Te"(b), [c] "+&Te"(c), [d] "+&Te"(d), [x] "+&r"(x), [v] "+&r"(v), [w] "+&r"(w), [sums] "=&w"(sums)
      : [odd] "l"((more + 1u) % 2u), [twice] "r"((more + 1u) / 2u)
      : "lr", "q0", "q1", "q2", "memory");
  return sums;
}

static JLT_ALWAYS_INLINE const int8_t *run_group(const jlt_conv_params_t *p, const int8_t *patches, const int8_t *w, uint32_t length,
                                                 jlt_mve_scales_t *scales, int8_t *const *out, uint32_t channels) {
  int32x4_t sums[JLT_MVE_PIXELS];
  w = sum_pixels(patches, w, length, sums);
  const jlt_mve_scale_t scale = jlt_mve_next(scales, p->in_zero_point);
  if (scales->is_simple) {
    jlt_mve_put(sums, JLT_MVE_PIXELS, &scale, p, true, out, channels);
  } else {
    jlt_mve_put(sums, JLT_MVE_PIXELS, &scale, p, false, out, channels);
  }
  return w;
}

static void convolve(const jlt_call_t *call, jlt_mve_scales_t scales, jlt_mve_spare_t spare, uint32_t first, uint32_t count) {
  const jlt_conv_params_t *p = call->params;
  const uint32_t length = jlt_mve_length(p);
  const int8_t *w = (const int8_t *)call->weights.packed + 4u * jlt_mve_rows(p);
  int8_t *out[JLT_MVE_PIXELS];
  out[0] = (int8_t *)call->out + (size_t)first * p->out_c;
  out[1] = count > 1 ? out[0] + p->out_c : out[0];
  out[2] = count > 2 ? out[1] + p->out_c : out[0];
  uint32_t left = p->out_c;
  for (; left >= JLT_MVE_LANES; left -= JLT_MVE_LANES) {
    w = run_group(p, call->scratch, w, length, &scales, out, JLT_MVE_LANES);
    out[0] += JLT_MVE_LANES;
    out[1] += JLT_MVE_LANES;
    out[2] += JLT_MVE_LANES;
  }
  if (left > 0) {
    jlt_mve_begin_last(&scales, left, spare);
    run_group(p, call->scratch, w, length, &scales, out, left);
  }
}

static void multiply(const jlt_call_t *call, jlt_span_t channels) {
  const jlt_conv_params_t *p = call->params;
  const uint32_t length = jlt_mve_length(p);
  const int8_t *w = (const int8_t *)call->weights.packed + 4u * jlt_mve_rows(p) + (size_t)channels.begin * length;
  int8_t *out = (int8_t *)call->out + channels.begin;
  jlt_mve_spare_t spare;
  jlt_mve_scales_t scales = jlt_mve_begin(call, channels.begin, spare);
  for (uint32_t left = channels.end - channels.begin; left > 0; w += JLT_MVE_LANES * length, out += JLT_MVE_LANES) {
    const uint32_t count = left < JLT_MVE_LANES ? left : JLT_MVE_LANES;
    if (count < JLT_MVE_LANES) {
      jlt_mve_begin_last(&scales, count, spare);
    }
    const int32x4_t sums = sum_pixel(call->scratch, w, length);
    const jlt_mve_scale_t scale = jlt_mve_next(&scales, p->in_zero_point);
    const int32x4_t value = scales.is_simple ? jlt_mve_output(sums, &scale, p, true) : jlt_mve_output(sums, &scale, p, false);
    vstrbq_p_s32(out, value, vctp32q(count));
    left -= count;
  }
}

void jlt_conv_s8__mve(const jlt_call_t *call) {
  const jlt_conv_params_t *p = call->params;
  const uint32_t total = p->n * p->out_h * p->out_w;
  const uint32_t length = jlt_mve_length(p);
  int8_t *patches = call->scratch;
  if (total == 1) {
    const place_t at = place_of(p, call->in[0], 0);
    gather(p, &at, patches);
    multiply(call, jlt_tile(call, JLT_UNIT_CHANNELS, p->out_c));
    return;
  }
  const jlt_span_t pixels = jlt_tile(call, JLT_UNIT_PIXELS, total);
  place_t at = place_of(p, call->in[0], pixels.begin);
  jlt_mve_spare_t spare;
  const jlt_mve_scales_t scales = jlt_mve_begin(call, 0, spare);
  for (uint32_t first = pixels.begin; first < pixels.end; first += JLT_MVE_PIXELS) {
    const uint32_t count = pixels.end - first < JLT_MVE_PIXELS ? pixels.end - first : JLT_MVE_PIXELS;
    for (uint32_t i = 0; i < count; i++) {
      gather(p, &at, patches + i * length);
      go_on(p, &at);
    }
    convolve(call, scales, spare, first, count);
  }
}

#endif
