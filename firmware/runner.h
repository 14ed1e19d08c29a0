// SPDX-License-Identifier: Apache-2.0
// The ASCII protocol of the MLPerf Tiny runner, in which every board boots. PROTOCOL.md §2.
#ifndef JLT_FIRMWARE_RUNNER_H
#define JLT_FIRMWARE_RUNNER_H

#include <stdbool.h>
#include <stdint.h>

void jlt_runner_open(void);

// Takes one byte; true when it ended the command that asks for frames.
bool jlt_runner_feed(uint8_t byte);

// Forgets a half-received command. While `armed`, what is not ASCII is dropped in silence.
void jlt_runner_clear(void);
void jlt_runner_arm(bool armed);

#endif
