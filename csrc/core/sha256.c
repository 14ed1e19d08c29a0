// SPDX-License-Identifier: Apache-2.0
// FIPS 180-4, sections 4.1.2, 4.2.2, 5 and 6.2. The message schedule is kept as a window of 16 words.
#include "core/sha256.h"

#include <string.h>

// 4.2.2: fractional parts of the cube roots of the first 64 primes
static const uint32_t round_constants[64] = {
    0x428A2F98u, 0x71374491u, 0xB5C0FBCFu, 0xE9B5DBA5u, 0x3956C25Bu, 0x59F111F1u, 0x923F82A4u, 0xAB1C5ED5u,
    0xD807AA98u, 0x12835B01u, 0x243185BEu, 0x550C7DC3u, 0x72BE5D74u, 0x80DEB1FEu, 0x9BDC06A7u, 0xC19BF174u,
    0xE49B69C1u, 0xEFBE4786u, 0x0FC19DC6u, 0x240CA1CCu, 0x2DE92C6Fu, 0x4A7484AAu, 0x5CB0A9DCu, 0x76F988DAu,
    0x983E5152u, 0xA831C66Du, 0xB00327C8u, 0xBF597FC7u, 0xC6E00BF3u, 0xD5A79147u, 0x06CA6351u, 0x14292967u,
    0x27B70A85u, 0x2E1B2138u, 0x4D2C6DFCu, 0x53380D13u, 0x650A7354u, 0x766A0ABBu, 0x81C2C92Eu, 0x92722C85u,
    0xA2BFE8A1u, 0xA81A664Bu, 0xC24B8B70u, 0xC76C51A3u, 0xD192E819u, 0xD6990624u, 0xF40E3585u, 0x106AA070u,
    0x19A4C116u, 0x1E376C08u, 0x2748774Cu, 0x34B0BCB5u, 0x391C0CB3u, 0x4ED8AA4Au, 0x5B9CCA4Fu, 0x682E6FF3u,
    0x748F82EEu, 0x78A5636Fu, 0x84C87814u, 0x8CC70208u, 0x90BEFFFAu, 0xA4506CEBu, 0xBEF9A3F7u, 0xC67178F2u,
};

static uint32_t turn(uint32_t x, uint32_t by) { return x >> by | x << (32u - by); }

static uint32_t load(const uint8_t *at) {
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void store(uint8_t *at, uint32_t x) {
  for (uint32_t i = 0; i < 4u; i++) {
    at[i] = (uint8_t)(x >> (24u - 8u * i));
  }
}

// W of 6.2.2 from the 16 words before it, which it replaces the oldest of.
static uint32_t scheduled(uint32_t w[16], uint32_t t) {
  const uint32_t x = w[(t + 1u) & 15u], y = w[(t + 14u) & 15u];
  const uint32_t small0 = turn(x, 7) ^ turn(x, 18) ^ x >> 3;
  const uint32_t small1 = turn(y, 17) ^ turn(y, 19) ^ y >> 10;
  return w[t & 15u] += small0 + small1 + w[(t + 9u) & 15u];
}

static void compress(uint32_t state[8], const uint8_t *block) {
  uint32_t w[16], s[8];
  memcpy(s, state, sizeof(s));
  for (uint32_t t = 0; t < 64u; t++) {
    const uint32_t word = t < 16u ? (w[t] = load(block + 4u * t)) : scheduled(w, t);
    const uint32_t big1 = turn(s[4], 6) ^ turn(s[4], 11) ^ turn(s[4], 25);
    const uint32_t chosen = (s[4] & s[5]) ^ (~s[4] & s[6]);
    const uint32_t t1 = s[7] + big1 + chosen + round_constants[t] + word;
    const uint32_t big0 = turn(s[0], 2) ^ turn(s[0], 13) ^ turn(s[0], 22);
    const uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
    for (uint32_t i = 7; i > 0; i--) {
      s[i] = s[i - 1u];
    }
    s[4] += t1;
    s[0] = t1 + big0 + majority;
  }
  for (uint32_t i = 0; i < 8u; i++) {
    state[i] += s[i];
  }
}

void jlt_sha256_begin(jlt_sha256_t *sha) {
  // 5.3.3: fractional parts of the square roots of the first eight primes
  static const uint32_t initial[8] = {0x6A09E667u, 0xBB67AE85u, 0x3C6EF372u, 0xA54FF53Au,
                                      0x510E527Fu, 0x9B05688Cu, 0x1F83D9ABu, 0x5BE0CD19u};
  memcpy(sha->state, initial, sizeof(initial));
  sha->bytes = 0;
}

void jlt_sha256_take(jlt_sha256_t *sha, const void *data, size_t bytes) {
  const uint8_t *at = data;
  while (bytes > 0) {
    const size_t held = (size_t)(sha->bytes % JLT_SHA256_BLOCK_BYTES);
    const size_t room = JLT_SHA256_BLOCK_BYTES - held;
    const size_t count = bytes < room ? bytes : room;
    memcpy(sha->block + held, at, count);
    sha->bytes += count;
    at += count;
    bytes -= count;
    if (count == room) {
      compress(sha->state, sha->block);
    }
  }
}

void jlt_sha256_end(jlt_sha256_t *sha, uint8_t digest[JLT_SHA256_BYTES]) {
  const uint64_t bits = sha->bytes * 8u;
  size_t held = (size_t)(sha->bytes % JLT_SHA256_BLOCK_BYTES);
  sha->block[held++] = 0x80;
  memset(sha->block + held, 0, JLT_SHA256_BLOCK_BYTES - held);
  if (held > JLT_SHA256_BLOCK_BYTES - 8u) {
    compress(sha->state, sha->block);
    memset(sha->block, 0, JLT_SHA256_BLOCK_BYTES);
  }
  store(sha->block + 56, (uint32_t)(bits >> 32));
  store(sha->block + 60, (uint32_t)bits);
  compress(sha->state, sha->block);
  for (uint32_t i = 0; i < 8u; i++) {
    store(digest + 4u * i, sha->state[i]);
  }
}
