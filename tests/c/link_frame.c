// SPDX-License-Identifier: Apache-2.0
// The codec of frames over plain buffers. As a library: encode, decode a stream, count single-bit errors that pass. As a
// program: reads a stream from a file, decodes it, and has every frame it finds encoded and decoded once more.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link/frame.h"

enum { HEAD = 5 };  // type, sequence, length; the payload follows

size_t frame_encode(uint8_t *out, uint8_t type, uint16_t sequence, const uint8_t *payload, uint16_t length) {
  jlt_frame_writer_t writer;
  size_t at = 0;
  jlt_frame_begin(&writer, type, sequence, payload, length);
  while (jlt_frame_next(&writer, &out[at])) {
    at++;
  }
  return at;
}

// Writes what it finds one after the other; returns its size. `out` holds as many bytes as the stream and 5 more.
size_t frame_decode(const uint8_t *stream, size_t bytes, uint8_t *out) {
  jlt_frame_decoder_t *decoder = malloc(sizeof(*decoder));  // not zeroed: what clear leaves alone must not be read
  jlt_frame_t frame;
  size_t at = 0;
  jlt_frame_decoder_clear(decoder);
  for (size_t i = 0; i < bytes; i++) {
    if (jlt_frame_feed(decoder, stream[i], &frame)) {
      const uint8_t head[HEAD] = {frame.type, (uint8_t)frame.sequence, (uint8_t)(frame.sequence >> 8),
                                  (uint8_t)frame.length, (uint8_t)(frame.length >> 8)};
      memcpy(out + at, head, HEAD);
      memcpy(out + at + HEAD, frame.payload, frame.length);
      at += HEAD + frame.length;
    }
  }
  free(decoder);
  return at;
}

// How many of all single-bit errors of a frame, its zero included, give a frame that says something else.
uint32_t frame_passing_errors(const uint8_t *encoded, size_t bytes) {
  uint8_t broken[300], found[305], right[305];
  const size_t size = frame_decode(encoded, bytes, right);
  uint32_t passed = 0;
  for (size_t bit = 0; bit < 8 * bytes; bit++) {
    memcpy(broken, encoded, bytes);
    broken[bit / 8] ^= (uint8_t)(1u << bit % 8);
    broken[bytes] = 0;
    const size_t there = frame_decode(broken, bytes + 1, found);
    passed += there != 0 && (there != size || memcmp(found, right, size) != 0);
  }
  return passed;
}

uint16_t frame_crc(const uint8_t *data, size_t bytes) { return jlt_crc16(0xFFFFu, data, bytes); }

int main(int argc, char **argv) {
  FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
    return 2;
  }
  const size_t bytes = (size_t)ftell(file);
  rewind(file);
  uint8_t *stream = malloc(bytes);
  uint8_t *found = malloc(bytes + HEAD);
  if (stream == NULL || found == NULL || fread(stream, 1, bytes, file) != bytes) {
    return 2;
  }
  fclose(file);
  const size_t end = frame_decode(stream, bytes, found);
  size_t count = 0;
  for (size_t at = 0; at < end; count++) {
    const uint16_t length = (uint16_t)(found[at + 3] | found[at + 4] << 8);
    uint8_t *encoded = malloc((size_t)length + 12);  // 8 around it, a code byte for each 254, the zero, one to look ahead
    uint8_t *again = malloc((size_t)length + 17);
    const uint16_t sequence = (uint16_t)(found[at + 1] | found[at + 2] << 8);
    const size_t size = frame_encode(encoded, found[at], sequence, found + at + HEAD, length);
    if (frame_decode(encoded, size, again) != (size_t)HEAD + length || memcmp(again, found + at, HEAD + length) != 0) {
      return 1;
    }
    at += HEAD + length;
    free(encoded);
    free(again);
  }
  printf("%zu\n", count);
  free(stream);
  free(found);
  return 0;
}
