// SPDX-License-Identifier: Apache-2.0
// The frame mode of the link: one request at a time, each answered once more when it comes once more.
#ifndef JLT_FIRMWARE_LINK_H
#define JLT_FIRMWARE_LINK_H

#include <stdbool.h>
#include <stdint.h>

void jlt_link_open(void);
void jlt_link_close(void);  // nothing is told from here on

typedef enum { JLT_LINK_NOTHING, JLT_LINK_HELLO, JLT_LINK_REQUEST, JLT_LINK_BYE } jlt_link_heard_t;

// Takes one byte. Until HELLO has been heard, with `armed`, nothing else is answered.
jlt_link_heard_t jlt_link_feed(uint8_t byte, bool armed);

#endif
