// SPDX-License-Identifier: Apache-2.0
// The voltage of the energy store.
#ifndef JLT_FIRMWARE_STORE_H
#define JLT_FIRMWARE_STORE_H

#include <stdbool.h>
#include <stdint.h>

void jlt_store_open(void);
bool jlt_store_senses(void);          // its voltage can be read
bool jlt_store_read_mv(uint32_t *mv);  // false: it cannot, or not now

#endif
