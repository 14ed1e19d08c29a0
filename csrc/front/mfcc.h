// SPDX-License-Identifier: Apache-2.0
// Mel-frequency cepstral coefficients of 16 kHz PCM, as keyword models take them: 30 ms windows every 20 ms, 40 bands from
// 20 to 4000 Hz, 10 coefficients. Integers only, no state but the caller's; csrc/NUMERICS.md §11, twin in
// runtime/front/mfcc.py.
//
// Loudness is left in the frames, as coefficient 0; quantising takes it out again by the peak of whatever stretch the
// model looks at. So frames may be kept in a ring and a model run over the last 49 whenever there is energy for it.
#ifndef JLT_FRONT_MFCC_H
#define JLT_FRONT_MFCC_H

#include <stdint.h>

enum {
  JLT_MFCC_WINDOW = 480,  // samples, 30 ms
  JLT_MFCC_STRIDE = 320,  // samples, 20 ms
  JLT_MFCC_MELS = 40,
  JLT_MFCC_COEFFICIENTS = 10,
  JLT_MFCC_FFT_WORDS = 512,
  // grid of the MLPerf Tiny keyword model's input: scale 0.5847029, zero point 83
  JLT_MFCC_KWS_MULTIPLIER = 28021,
  JLT_MFCC_KWS_SHIFT = 14,
  JLT_MFCC_KWS_ZERO_POINT = 83,
};

typedef struct {
  int16_t c_q7[10];  // of natural logarithms of amplitudes in steps of the PCM
  int16_t peak;      // largest sample in the window
} jlt_mfcc_frame_t;

typedef struct {
  int32_t z[512];    // transform in place: real and imaginary parts in turn
  int16_t pcm[480];  // what the next window holds so far
  uint16_t held;     // samples in it
  int16_t peak;      // largest sample since the beginning
} jlt_mfcc_t;

// Samples not yet taken.
typedef struct {
  const int16_t *samples;
  uint32_t n;
} jlt_pcm_t;

// Input grid of a model: multiplier × 2^-shift steps for one unit.
typedef struct {
  uint16_t multiplier;  // below 2^15
  uint8_t shift;        // 0..20
  int8_t zero_point;
} jlt_mfcc_grid_t;

// Forgets all samples.
void jlt_mfcc_begin(jlt_mfcc_t *state);

// Takes samples until `room` frames are written or none are left; returns how many were written.
uint32_t jlt_mfcc_take(jlt_mfcc_t *state, jlt_pcm_t *pcm, jlt_mfcc_frame_t *frames, uint32_t room);

// Largest sample in some frames; INT16_MIN for none.
int16_t jlt_mfcc_peak(const jlt_mfcc_frame_t *frames, uint32_t n);

// Frames on a model's grid, (n, 10) s8, loudness relative to `peak`: the sign of a peak does not matter, 0 counts as 1.
// Rounds towards the grid's 0 and saturates.
void jlt_mfcc_quantise(const jlt_mfcc_frame_t *frames, uint32_t n, int16_t peak, const jlt_mfcc_grid_t *grid,
                       int8_t *out);

#endif
