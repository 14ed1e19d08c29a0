// SPDX-License-Identifier: Apache-2.0
// The way from a window of PCM to ten coefficients. Products are 16 × 16 or 32 × 16 bits: no CPU needs more than its
// 32-bit multiplier. Right shifts of negative numbers are arithmetic, as everywhere in the core.
#include "front/mfcc.h"

#include <string.h>

#include "front/mfcc_tables.h"

enum {
  POINTS = FFT_POINTS / 2,  // of the complex transform
  OVERLAP = JLT_MFCC_WINDOW - JLT_MFCC_STRIDE,
  HALF_BANDS = JLT_MFCC_MELS / 2,
};

_Static_assert(JLT_MFCC_FFT_WORDS == 2 * POINTS, "a word for each part");

/// Arithmetic ///

// Halves of a word for products with q15: high · 2^15 + low, low 0..32767.
static inline int32_t high_of(int32_t a) {
  return a >> 15;
}

static inline int32_t low_of(int32_t a) {
  return (int32_t)((uint32_t)a & 0x7FFFu);
}

// a × b / 2^15 to nearest, halves up; |b| < 2^15.
static inline int32_t mul_q15(int32_t a, int32_t b) {
  return high_of(a) * b + ((low_of(a) * b + 0x4000) >> 15);
}

// a × b / 2^16, rounded down.
static inline uint32_t mul_q16(uint32_t a, uint16_t b) {
  return (a >> 16) * b + (((a & 0xFFFFu) * b) >> 16);
}

static inline int32_t magnitude_of(int32_t value) {
  return value < 0 ? -value : value;
}

// Leading zeros of a word that has a bit set.
static uint32_t leading_zeros(uint32_t word) {
  uint32_t zeros = 0;
  for (uint32_t width = 16; width > 0; width >>= 1) {
    if (word >> (32u - width) == 0) {
      word <<= width;
      zeros += width;
    }
  }
  return zeros;
}

// log2 of a positive word, linear between 33 points: at most 1.8e-4 low.
static int32_t log2_q15(uint32_t word) {
  const uint32_t zeros = leading_zeros(word);
  word <<= zeros;
  const uint32_t segment = (word >> 26) & 31u;
  const uint32_t within_q16 = (word >> 10) & 0xFFFFu;
  const uint32_t low = LOG2_Q15[segment];
  const uint32_t rise = LOG2_Q15[segment + 1] - low;
  return (int32_t)(((31u - zeros) << 15) + low + ((rise * within_q16 + 0x8000u) >> 16));
}

/// Spectrum ///

// Largest sample of the window, and the shift that brings the largest magnitude to 16 bits: 15 for silence.
static uint32_t loudness(const int16_t *pcm, int16_t *peak) {
  int32_t largest = INT16_MIN;
  uint32_t bits = 0;
  for (uint32_t i = 0; i < JLT_MFCC_WINDOW; i++) {
    const int32_t sample = pcm[i];
    largest = sample > largest ? sample : largest;
    bits |= (uint32_t)(sample ^ (sample >> 15));
  }
  *peak = (int16_t)largest;
  return bits == 0 ? 15 : leading_zeros(bits) - 17u;
}

// At most 2^30 before the shift.
static inline int32_t windowed(int32_t sample, int32_t gain, uint16_t weight) {
  return (sample * gain * (int32_t)weight + 0x100) >> 9;
}

// Writes the windowed samples, times gain and 2^6, where a radix-4 transform in place wants them.
static void window_in(jlt_mfcc_t *state, int32_t gain) {
  const int16_t *pcm = state->pcm;
  for (uint32_t i = 0; i < POINTS; i++) {
    // base-4 digits in reverse
    int32_t *at = state->z + (((i & 3u) << 7) | ((i & 12u) << 3) | ((i >> 1) & 24u) | ((i >> 5) & 6u));
    if (i < JLT_MFCC_WINDOW / 4) {
      at[0] = windowed(pcm[2 * i], gain, WINDOW_Q15[2 * i]);
      at[1] = windowed(pcm[2 * i + 1], gain, WINDOW_Q15[2 * i + 1]);
    } else if (i < JLT_MFCC_WINDOW / 2) {
      at[0] = windowed(pcm[2 * i], gain, WINDOW_Q15[JLT_MFCC_WINDOW - 2 * i]);
      at[1] = windowed(pcm[2 * i + 1], gain, WINDOW_Q15[JLT_MFCC_WINDOW - 1 - 2 * i]);
    } else {
      at[0] = 0;
      at[1] = 0;
    }
  }
}

typedef struct {
  int32_t re;
  int32_t im;
} complex_t;

// e^(−2πi · turn / 512), turn below 384, in q15.
static inline complex_t twiddle(uint32_t turn) {
  const uint32_t ahead = turn + 128u;
  const int32_t cosine = ahead <= 256u ? SINE_Q15[ahead] : -SINE_Q15[ahead - 256u];
  const int32_t sine = turn <= 256u ? SINE_Q15[turn] : -SINE_Q15[turn - 256u];
  return (complex_t){cosine, -sine};
}

// Low halves and twiddles make sums below 2^15 · √2 · 2^15.
static inline complex_t turned(complex_t a, complex_t by) {
  const int32_t re = low_of(a.re) * by.re - low_of(a.im) * by.im;
  const int32_t im = low_of(a.re) * by.im + low_of(a.im) * by.re;
  return (complex_t){high_of(a.re) * by.re - high_of(a.im) * by.im + ((re + 0x4000) >> 15),
                     high_of(a.re) * by.im + high_of(a.im) * by.re + ((im + 0x4000) >> 15)};
}

static inline complex_t get(const int32_t *z, uint32_t i) {
  return (complex_t){z[2 * i], z[2 * i + 1]};
}

static inline void put(int32_t *z, uint32_t i, int32_t re, int32_t im) {
  z[2 * i] = re;
  z[2 * i + 1] = im;
}

static inline void four_points(int32_t *z, uint32_t i, uint32_t apart, complex_t b, complex_t c, complex_t d) {
  const complex_t a = get(z, i);
  const complex_t sum = {a.re + c.re, a.im + c.im};
  const complex_t difference = {a.re - c.re, a.im - c.im};
  const complex_t odd_sum = {b.re + d.re, b.im + d.im};
  const complex_t odd_difference = {b.re - d.re, b.im - d.im};
  put(z, i, sum.re + odd_sum.re, sum.im + odd_sum.im);
  put(z, i + apart, difference.re + odd_difference.im, difference.im - odd_difference.re);
  put(z, i + 2 * apart, sum.re - odd_sum.re, sum.im - odd_sum.im);
  put(z, i + 3 * apart, difference.re - odd_difference.im, difference.im + odd_difference.re);
}

// 256 complex points in place. No scaling: no partial sum exceeds the sum of all |z|, 2^15 · 2^6 · 240 < 2^29.
static void transform(int32_t *z) {
  for (uint32_t apart = 1, step = FFT_POINTS / 4; apart < POINTS; apart *= 4, step /= 4) {
    for (uint32_t i = 0; i < POINTS; i += 4 * apart) {
      four_points(z, i, apart, get(z, i + apart), get(z, i + 2 * apart), get(z, i + 3 * apart));
    }
    for (uint32_t j = 1; j < apart; j++) {
      const complex_t once = twiddle(j * step);
      const complex_t twice = twiddle(2 * j * step);
      const complex_t thrice = twiddle(3 * j * step);
      for (uint32_t i = j; i < POINTS; i += 4 * apart) {
        four_points(z, i, apart, turned(get(z, i + apart), once), turned(get(z, i + 2 * apart), twice),
                    turned(get(z, i + 3 * apart), thrice));
      }
    }
  }
}

// Length of a vector times 1.6467 by rotations onto the axis: the angle left is below 2^-6, the error below 2^-13.
static inline uint32_t length(int32_t re, int32_t im) {
  int32_t x = magnitude_of(re);
  int32_t y = magnitude_of(im);
  for (uint32_t step = 0; step < MAGNITUDE_STEPS; step++) {
    const int32_t along = x + (y >> step);
    y = magnitude_of(y - (x >> step));
    x = along;
  }
  return (uint32_t)x;
}

// Amplitude of bin k of the 512 real points, 1..127, times UNIT: at most 1.65 · 2^29.9 / 4.
static uint32_t amplitude(const int32_t *z, uint32_t k) {
  const complex_t a = get(z, k);
  const complex_t b = get(z, POINTS - k);
  const complex_t even = {a.re + b.re, a.im - b.im};
  const complex_t by = {SINE_Q15[FFT_POINTS / 4 + k], -SINE_Q15[k]};
  const complex_t odd = turned((complex_t){a.im + b.im, b.re - a.re}, by);
  return length(even.re + odd.re, even.im + odd.im) >> 2;
}

/// Bands and coefficients ///

// log2 of a band's sum over one step of the PCM.
static int16_t band_log_q10(uint32_t sum, uint32_t shift) {
  if (sum == 0) {
    return LEAST_Q10;
  }
  const int32_t log_q15 = log2_q15(sum) - UNIT_LOG2_Q15 - (int32_t)(shift << 15);
  const int32_t log_q10 = (log_q15 + 16) >> 5;
  return (int16_t)(log_q10 < LEAST_Q10 ? LEAST_Q10 : log_q10);
}

// Each bin is shared by the two bands whose centres it lies between. The shares of a band come to 6.6 bins at most, so a
// sum stays below 6.6 · 1.65 · 2^27.9 < 2^31.4.
static void bands(const int32_t *z, uint32_t shift, int16_t *log_q10) {
  uint32_t k = 1;
  uint32_t rising = 0;
  for (uint32_t gap = 0; gap <= JLT_MFCC_MELS; gap++) {
    uint32_t falling = rising;
    rising = 0;
    for (uint32_t end = k + MEL_BINS[gap]; k < end; k++) {
      const uint32_t whole = amplitude(z, k);
      const uint32_t share = mul_q16(whole, MEL_RISE_Q16[k - 1]);
      rising += share;
      falling += whole - share;
    }
    if (gap > 0) {
      log_q10[gap - 1] = band_log_q10(falling, shift);
    }
  }
}

// Cosine transform; even rows are symmetric about the middle and odd ones antisymmetric.
static void coefficients(const int16_t *log_q10, int16_t *c_q7) {
  int32_t folded[2][HALF_BANDS];
  int32_t total = 0;
  for (uint32_t n = 0; n < HALF_BANDS; n++) {
    const int32_t low = log_q10[n];
    const int32_t high = log_q10[JLT_MFCC_MELS - 1 - n];
    folded[0][n] = low + high;
    folded[1][n] = low - high;
    total += low + high;
  }
  c_q7[0] = (int16_t)((mul_q15(total, MEAN_Q17) + 16) >> 5);
  for (uint32_t k = 1; k < JLT_MFCC_COEFFICIENTS; k++) {
    const int32_t *from = folded[k & 1u];
    int32_t sum_q24 = 0x10000;
    for (uint32_t n = 0; n < HALF_BANDS; n++) {
      sum_q24 += from[n] * COSINE_Q14[k - 1][n];
    }
    c_q7[k] = (int16_t)(sum_q24 >> 17);
  }
}

/// Interface ///

void jlt_mfcc_begin(jlt_mfcc_t *state) {
  state->held = 0;
  state->peak = INT16_MIN;
}

static void finish_frame(jlt_mfcc_t *state, jlt_mfcc_frame_t *frame) {
  int16_t log_q10[JLT_MFCC_MELS];
  const uint32_t shift = loudness(state->pcm, &frame->peak);
  window_in(state, (int32_t)1 << shift);
  transform(state->z);
  bands(state->z, shift, log_q10);
  coefficients(log_q10, frame->c_q7);
  memcpy(state->pcm, state->pcm + JLT_MFCC_STRIDE, OVERLAP * sizeof state->pcm[0]);
  state->held = OVERLAP;
}

uint32_t jlt_mfcc_take(jlt_mfcc_t *state, jlt_pcm_t *pcm, jlt_mfcc_frame_t *frames, uint32_t room) {
  uint32_t written = 0;
  while (written < room && pcm->n > 0) {
    const uint32_t missing = JLT_MFCC_WINDOW - (uint32_t)state->held;
    const uint32_t count = pcm->n < missing ? pcm->n : missing;
    for (uint32_t i = 0; i < count; i++) {
      const int16_t sample = pcm->samples[i];
      state->pcm[state->held + i] = sample;
      state->peak = sample > state->peak ? sample : state->peak;
    }
    state->held = (uint16_t)(state->held + count);
    pcm->samples += count;
    pcm->n -= count;
    if (state->held == JLT_MFCC_WINDOW) {
      finish_frame(state, &frames[written]);
      written++;
    }
  }
  return written;
}

int16_t jlt_mfcc_peak(const jlt_mfcc_frame_t *frames, uint32_t n) {
  int16_t peak = INT16_MIN;
  for (uint32_t i = 0; i < n; i++) {
    peak = frames[i].peak > peak ? frames[i].peak : peak;
  }
  return peak;
}

// Below 2^24 units of q15 times a multiplier below 2^15 stays below 2^24, and the zero point's part below 2^28.
static int8_t on_grid(int32_t unit_q15, const jlt_mfcc_grid_t *grid) {
  const int32_t zero = (int32_t)grid->zero_point * ((int32_t)1 << grid->shift);
  const int32_t steps = mul_q15(unit_q15, grid->multiplier) + zero;
  const int32_t whole = steps < 0 ? -(-steps >> grid->shift) : steps >> grid->shift;
  return (int8_t)(whole < INT8_MIN ? INT8_MIN : (whole > INT8_MAX ? INT8_MAX : whole));
}

void jlt_mfcc_quantise(const jlt_mfcc_frame_t *frames, uint32_t n, int16_t peak, const jlt_mfcc_grid_t *grid,
                       int8_t *out) {
  const int32_t loudest = magnitude_of(peak);
  const int32_t loudness_q12 = mul_q15(log2_q15((uint32_t)(loudest > 0 ? loudest : 1)), PEAK_Q12);
  for (uint32_t i = 0; i < n; i++) {
    const int16_t *c_q7 = frames[i].c_q7;
    for (uint32_t k = 0; k < JLT_MFCC_COEFFICIENTS; k++) {
      const int32_t unit_q15 = (int32_t)c_q7[k] * 256 - (k == 0 ? loudness_q12 * 8 : 0);
      out[i * JLT_MFCC_COEFFICIENTS + k] = on_grid(unit_q15, grid);
    }
  }
}
