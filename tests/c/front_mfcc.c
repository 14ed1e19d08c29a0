// SPDX-License-Identifier: Apache-2.0
// Reads PCM from a file, pushes it through the front end in pieces of odd sizes, writes the keyword model's features.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "front/mfcc.h"

int main(int argc, char **argv) {
  FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
    return 2;
  }
  const size_t n = (size_t)ftell(file) / 2;
  rewind(file);
  int16_t *samples = malloc(2 * n);
  const size_t room = n / JLT_MFCC_STRIDE + 1;
  jlt_mfcc_frame_t *frames = malloc(room * sizeof *frames);
  int8_t *features = malloc(room * JLT_MFCC_COEFFICIENTS);
  jlt_mfcc_t *state = malloc(sizeof *state);  // not zeroed: what begin leaves alone must not be read
  if (samples == NULL || frames == NULL || features == NULL || state == NULL || fread(samples, 2, n, file) != n) {
    return 2;
  }
  fclose(file);
  jlt_mfcc_begin(state);
  size_t at = 0;
  uint32_t count = 0;
  for (uint32_t size = 1; at < n; size = size * 7 % 1009) {
    jlt_pcm_t piece = {samples + at, (uint32_t)(n - at < size ? n - at : size)};
    at += piece.n;
    while (piece.n > 0) {
      count += jlt_mfcc_take(state, &piece, frames + count, 1);
    }
  }
  const jlt_mfcc_grid_t grid = {JLT_MFCC_KWS_MULTIPLIER, JLT_MFCC_KWS_SHIFT, JLT_MFCC_KWS_ZERO_POINT};
  jlt_mfcc_quantise(frames, count, state->peak, &grid, features);
  fwrite(features, JLT_MFCC_COEFFICIENTS, count, stdout);
  free(samples);
  free(frames);
  free(features);
  free(state);
  return 0;
}
