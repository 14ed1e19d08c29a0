// SPDX-License-Identifier: Apache-2.0
// What has passed its checksums once is not read again at every power-up: non-volatile memory remembers which bytes they
// were, and forgets them before a transfer touches them.
#ifndef JLT_FIRMWARE_TRUST_H
#define JLT_FIRMWARE_TRUST_H

#include <stdbool.h>
#include <stdint.h>

#include "link/wire.h"

// What trust is given to: a slot, or one side of it.
static inline uint32_t jlt_trust_index(uint32_t slot, uint32_t side) {
  return side == 0 ? slot : JLT_WIRE_SLOT_SESSION + slot;
}

// After the journal is open. Without byte-wise non-volatile memory nothing is trusted.
void jlt_trust_open(void);

// Whether the content of an index with this checksum has passed before, under this very firmware.
bool jlt_trusted(uint32_t index, uint32_t crc32);
void jlt_trust(uint32_t index, uint32_t crc32);

// False when the memory does not take it: then what lies there must not be touched.
bool jlt_distrust(uint32_t index);

#endif
