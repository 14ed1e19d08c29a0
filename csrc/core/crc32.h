// SPDX-License-Identifier: Apache-2.0
// CRC-32 of IEEE 802.3 (reflected 0xEDB88320, initial and final value all ones).
#ifndef JLT_CORE_CRC32_H
#define JLT_CORE_CRC32_H

#include <stddef.h>
#include <stdint.h>

// Continues from `crc` (0 to begin) over `bytes` bytes.
uint32_t jlt_crc32(uint32_t crc, const void *data, size_t bytes);

#endif
