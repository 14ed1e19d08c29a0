// SPDX-License-Identifier: Apache-2.0
// Whose updates are taken: anybody's, or those signed with the key that belongs to the one this firmware was built with.
#ifndef JLT_FIRMWARE_SIGNATURE_H
#define JLT_FIRMWARE_SIGNATURE_H

#include <stdbool.h>
#include <stdint.h>

bool jlt_signed_only(void);

// EdDSA over edwards25519 with BLAKE2b, as Monocypher's crypto_eddsa has it: not Ed25519, whose hash is SHA-512.
bool jlt_signed(const uint8_t signature[64], const void *message, uint32_t bytes);

#endif
