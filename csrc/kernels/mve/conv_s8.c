// SPDX-License-Identifier: Apache-2.0
// Convolution and fully connected for Helium: four channels with three pixels, or with the only one; sixteen products an instruction.
//
// Σ q(x − zero_point_x) = Σ qx − zero_point_x Σ q, padding x = zero_point_x. Layout of weights: layout.h. Scratch: the scales, then
// three patches; what is behind a patch in its last vector meets weights of 0.
#include "kernels/variants.h"

#if defined(JLT_WITH_MVE) && defined(__ARM_FEATURE_MVE)
#include "kernels/mve/convolve.h"

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

// The second pair finds the pointers of the first one patch further on, so that only one is set back.
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
  if (!jlt_mve_is_pointwise(p) || p->in_c % JLT_MVE_BYTES > 0) {
    jlt_mve_place_t at = jlt_mve_place(p, patch, 0);
    jlt_mve_gather(p, &at, 1, 0, call->scratch);
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

void jlt_conv_s8__mve(const jlt_call_t *call) {
  if (jlt_mve_pixels(call->params) == 1) {
    multiply(call);
  } else {
    jlt_mve_convolve(call, sum_pixels);
  }
}

#endif
