// SPDX-License-Identifier: Apache-2.0
// Frames out: answers, and what nobody asked for while a host listens.
#ifndef JLT_FIRMWARE_SENDER_H
#define JLT_FIRMWARE_SENDER_H

#include <stdbool.h>
#include <stdint.h>

// Whether a host listens in frame mode; nobody does at first.
void jlt_sender_listen(bool listening);

void jlt_sender_send(uint8_t type, uint16_t sequence, const void *payload, uint16_t length);

// Sends a frame that nobody asked for, if a host listens.
void jlt_sender_tell(uint8_t type, const void *payload, uint16_t length);

#endif
