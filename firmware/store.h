// SPDX-License-Identifier: Apache-2.0
// The energy store as sensors see it: its voltage, and what a counter says has been drawn.
#ifndef JLT_FIRMWARE_STORE_H
#define JLT_FIRMWARE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "link/wire.h"

void jlt_store_open(void);
bool jlt_store_senses(void);          // its voltage can be read
bool jlt_store_read_mv(uint32_t *mv);  // false: it cannot, or not now
void jlt_store_sensors(jlt_wire_sensors_t *out);

#endif
