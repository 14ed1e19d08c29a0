// SPDX-License-Identifier: Apache-2.0
// The serial line with a ring of received bytes. While it waits to send, it goes on receiving.
#ifndef JLT_FIRMWARE_CONSOLE_H
#define JLT_FIRMWARE_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void jlt_console_open(void);

// Takes in what the hardware has received.
void jlt_console_poll(void);
void jlt_console_irq(void);

bool jlt_console_read(uint8_t *byte);

// Drops a byte that the hardware does not take within its bound.
void jlt_console_write(const uint8_t *bytes, size_t count);
void jlt_console_puts(const char *text);
void jlt_console_put_u64(uint64_t value);
void jlt_console_put_hex(uint8_t byte);

// Sleeps until a byte arrives or a time comes (UINT64_MAX: none); may return early.
void jlt_console_idle(uint64_t until_us);

#endif
