// SPDX-License-Identifier: Apache-2.0
// SHA-256 of FIPS 180-4, in pieces of any size.
#ifndef JLT_CORE_SHA256_H
#define JLT_CORE_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { JLT_SHA256_BYTES = 32, JLT_SHA256_BLOCK_BYTES = 64 };

typedef struct {
  uint32_t state[8];
  uint64_t bytes;                         // taken so far
  uint8_t block[JLT_SHA256_BLOCK_BYTES];  // that is not full yet
} jlt_sha256_t;

void jlt_sha256_begin(jlt_sha256_t *sha);
void jlt_sha256_take(jlt_sha256_t *sha, const void *data, size_t bytes);

// The state is of no use afterwards.
void jlt_sha256_end(jlt_sha256_t *sha, uint8_t digest[JLT_SHA256_BYTES]);

#endif
