// SPDX-License-Identifier: Apache-2.0
// The arithmetic is Monocypher's, fetched when a firmware with a key is built (runtime/firmware/monocypher.py).
#include "signature.h"

#include "board.h"

#if BOARD_SIGNED
#include "monocypher.h"

static const uint8_t public_key[32] = BOARD_PUBLIC_KEY;

bool jlt_signed_only(void) { return true; }

bool jlt_signed(const uint8_t signature[64], const void *message, uint32_t bytes) {
  return crypto_eddsa_check(signature, public_key, message, bytes) == 0;
}
#else
bool jlt_signed_only(void) { return false; }

bool jlt_signed(const uint8_t signature[64], const void *message, uint32_t bytes) {
  (void)signature;
  (void)message;
  (void)bytes;
  return false;
}
#endif
