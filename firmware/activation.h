// SPDX-License-Identifier: Apache-2.0
// Models and policies have two sides, A and B: one is used, the other one is written. Which is which stands in
// non-volatile memory, and changes with the last word of one record. PROTOCOL.md, section 7.
#ifndef JLT_FIRMWARE_ACTIVATION_H
#define JLT_FIRMWARE_ACTIVATION_H

#include <stdbool.h>
#include <stdint.h>

#include "link/wire.h"
#include "port.h"

enum { JLT_SIDE_A = 0, JLT_SIDE_B = 1 };

// After the journal is open.
void jlt_activation_open(void);

// Whether a slot has two sides here, and memory that tells them apart. Without, all there is lies on side A.
bool jlt_has_sides(uint32_t slot);
const jlt_region_t *jlt_side_region(uint32_t slot, uint32_t side);

// Firmware that takes signed updates only runs nothing on side B but what it has checked itself.
bool jlt_side_vouched(uint32_t slot, uint32_t side);

// The side to try first.
uint32_t jlt_side_named(uint32_t slot);

// From here on these sides are used; false: the memory does not take it, and nothing has changed.
bool jlt_activate(uint32_t model_side, uint32_t policy_side);

#endif
